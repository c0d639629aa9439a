/* Numbers in payloads, and differences that are mostly zeros (codecs/numbers.py, codecs/sparse.py). */
#include "dib.h"

static inline int64_t put_number(uint8_t *out, int64_t at, uint64_t value)
{
    for (; value >= 128; value >>= 7)
        out[at++] = (uint8_t)(value & 127) | 128;
    out[at++] = (uint8_t)value;
    return at;
}

/* Read a number below 2^63 that has its shortest encoding; return -1 if the encoding is malformed. */
static inline int64_t get_number(const uint8_t *in, int64_t size, int64_t *at)
{
    uint64_t value = 0;
    for (int shift = 0; shift <= 56 && *at < size; shift += 7) {
        uint8_t byte = in[(*at)++];
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return byte == 0 && shift ? -1 : (int64_t)value;
    }
    return -1;
}

/* Write `count` non-negative numbers to `out`, which has space for 9 bytes per number; return how many bytes were
 * written. */
int64_t dib_numbers_put(const int64_t *values, int64_t count, uint8_t *out)
{
    int64_t at = 0;
    for (int64_t k = 0; k < count; k++)
        at = put_number(out, at, (uint64_t)values[k]);
    assert(at <= 9 * count);
    return at;
}

/* Read `count` numbers, which must fill the input exactly. */
int64_t dib_numbers_get(const uint8_t *in, int64_t size, int64_t *values, int64_t count)
{
    int64_t at = 0;
    for (int64_t k = 0; k < count; k++)
        if ((values[k] = get_number(in, size, &at)) < 0)
            return MALFORMED;
    return at == size ? 0 : MALFORMED;
}

/* Split `data` into three outputs: the number of zeros before each run of nonzero bytes, the runs' lengths, and the
 * runs' bytes. Each output has space for `size` bytes; `sizes` receives the sizes of the outputs. */
int64_t dib_sparse_split(const uint8_t *data, int64_t size, uint8_t *gaps, uint8_t *lengths, uint8_t *values,
                         int64_t *sizes)
{
    int64_t at = 0, g = 0, l = 0, v = 0;
    while (at < size) {
        int64_t start = at, first;
        for (uint64_t eight; at + 8 <= size; at += 8) {
            memcpy(&eight, data + at, 8);
            if (eight)
                break;
        }
        while (at < size && data[at] == 0)
            at++;
        if (at == size)
            break;
        first = at;
        while (at < size && data[at])
            values[v++] = data[at++];
        g = put_number(gaps, g, (uint64_t)(first - start));
        l = put_number(lengths, l, (uint64_t)(at - first));
        assert(g <= at && l <= at && v <= at);
    }
    sizes[0] = g;
    sizes[1] = l;
    sizes[2] = v;
    return 0;
}

/* Undo dib_sparse_split; `data` is written from the first byte to the last byte. */
int64_t dib_sparse_join(const uint8_t *gaps, int64_t gaps_size, const uint8_t *lengths, int64_t lengths_size,
                        const uint8_t *values, int64_t values_size, uint8_t *data, int64_t size)
{
    int64_t at = 0, g = 0, l = 0, v = 0;
    memset(data, 0, (size_t)size);
    while (g < gaps_size) {
        int64_t gap = get_number(gaps, gaps_size, &g), length = get_number(lengths, lengths_size, &l);
        if (gap < 0 || length < 1 || gap > size - at || length > size - at - gap || length > values_size - v)
            return MALFORMED;
        at += gap;
        memcpy(data + at, values + v, (size_t)length);
        at += length;
        v += length;
    }
    return l == lengths_size && v == values_size ? 0 : MALFORMED;
}

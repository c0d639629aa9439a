/* The hot loops of dib. C99, nothing but the standard library, no Python headers: loaded with ctypes.
 *
 * Each function has a plain Python twin in the module that calls it, which gives the same bytes and refuses the same
 * inputs. Offsets and sizes are in bytes. Functions return 0 (or a size) when all is well and a negative number when the
 * input is malformed; which fault it was is not told apart here.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ABI 8
#define MALFORMED (-1)
#define NO_MEMORY (-2)

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

typedef struct { int64_t source, target, length; } cover_t;

/* memcpy that may be given NULL for nothing. */
static inline void copy_bytes(uint8_t *to, const uint8_t *from, int64_t size)
{
    if (size > 0)
        memcpy(to, from, (size_t)size);
}

/* ---------------------------------------------------------------- covers: delta/cover.py */

#define JOINED 64 /* bytes joined at a time, so that compilers use wide registers */

/* difference: target - source over all covers; literals: the target outside them. */
EXPORT int64_t dib_cover_split(const uint8_t *source, const uint8_t *target, int64_t target_size, const cover_t *covers,
                               int64_t count, uint8_t *difference, uint8_t *literals)
{
    int64_t at = 0;
    for (int64_t k = 0; k < count; k++) {
        const uint8_t *s = source + covers[k].source, *t = target + covers[k].target;
        int64_t before = covers[k].target - at, n = covers[k].length;
        copy_bytes(literals, target + at, before);
        literals += before;
        for (int64_t i = 0; i < n; i++)
            difference[i] = (uint8_t)(t[i] - s[i]);
        difference += n;
        at = covers[k].target + n;
    }
    copy_bytes(literals, target + at, target_size - at);
    return 0;
}

/* Undo dib_cover_split in place: the difference, covered bytes, lies at the end of target. As covers are in order and what
   they leave out has its room before it, no byte of it is overwritten before it is used. */
EXPORT int64_t dib_cover_join(const uint8_t *source, const cover_t *covers, int64_t count, int64_t covered,
                              const uint8_t *literals, uint8_t *target, int64_t target_size)
{
    const uint8_t *difference = target + (target_size - covered);
    int64_t at = 0;
    for (int64_t k = 0; k < count; k++) {
        const uint8_t *restrict s = source + covers[k].source;
        uint8_t *t = target + covers[k].target;
        int64_t before = covers[k].target - at, n = covers[k].length, i = 0;
        copy_bytes(target + at, literals, before);
        literals += before;
        for (; i + JOINED <= n; i += JOINED) {
            uint8_t piece[JOINED];
            memcpy(piece, difference + i, JOINED);
            for (int j = 0; j < JOINED; j++)
                t[i + j] = (uint8_t)(s[i + j] + piece[j]);
        }
        for (; i < n; i++)
            t[i] = (uint8_t)(s[i] + difference[i]);
        difference += n;
        at = covers[k].target + n;
    }
    copy_bytes(target + at, literals, target_size - at);
    return 0;
}

/* Copy up to width bytes of source from before and behind each run of literals, as far as out has room; return how many. */
EXPORT int64_t dib_cover_context(const uint8_t *source, int64_t source_size, const cover_t *covers, int64_t count,
                                 int64_t width, uint8_t *out, int64_t room)
{
    int64_t source_end = 0, target_end = 0, size = 0;
    for (int64_t k = 0; k <= count; k++) {
        if (k == count || covers[k].target > target_end) {
            int64_t after = source_size - source_end, before = k < count ? covers[k].source : 0;
            after = after < width ? after : width;
            after = after < room - size ? after : room - size;
            copy_bytes(out + size, source + source_end, after);
            size += after;
            before = before < width ? before : width;
            before = before < room - size ? before : room - size;
            copy_bytes(out + size, source + (k < count ? covers[k].source : 0) - before, before);
            size += before;
        }
        if (k < count) {
            source_end = covers[k].source + covers[k].length;
            target_end = covers[k].target + covers[k].length;
        }
    }
    return size;
}

/* Whether every cover is within both sides, not empty and behind the one before. */
EXPORT int64_t dib_cover_fits(const int64_t *sources, const int64_t *targets, const int64_t *lengths, int64_t count,
                              int64_t source_size, int64_t target_size)
{
    int64_t end = 0;
    for (int64_t k = 0; k < count; k++) {
        if (lengths[k] <= 0 || lengths[k] > source_size || sources[k] < 0 || sources[k] > source_size - lengths[k]
            || targets[k] < end || lengths[k] > target_size || targets[k] > target_size - lengths[k])
            return 0;
        end = targets[k] + lengths[k];
    }
    return 1;
}

/* Write the columns that tell where the covers are: bytes of the target between one and the next, and how far the source
 * jumps beyond that (twice it, or minus twice it less 1). Each column has room for count numbers. */
EXPORT void dib_cover_columns(const cover_t *covers, int64_t count, int64_t *gaps, int64_t *turns)
{
    int64_t source_end = 0, target_end = 0;
    for (int64_t k = 0; k < count; k++) {
        int64_t gap = covers[k].target - target_end, seek = covers[k].source - source_end - gap;
        gaps[k] = gap;
        turns[k] = seek >= 0 ? seek * 2 : -seek * 2 - 1;
        source_end = covers[k].source + covers[k].length;
        target_end = covers[k].target + covers[k].length;
    }
}

/* Undo that: fill covers from the columns and return the sum of their lengths; -1 where one does not fit into the source
 * or the target. All numbers are 0 to 2^63 - 1, the sizes at most 2^60. */
EXPORT int64_t dib_cover_place(const int64_t *gaps, const int64_t *lengths, const int64_t *turns, int64_t count,
                               int64_t source_size, int64_t target_size, cover_t *covers)
{
    int64_t source_end = 0, target_end = 0, total = 0;
    for (int64_t k = 0; k < count; k++) {
        int64_t length = lengths[k], seek = turns[k] & 1 ? -(turns[k] >> 1) - 1 : turns[k] >> 1, source;
        if (gaps[k] > target_size - target_end || length > target_size - target_end - gaps[k] || length == 0)
            return MALFORMED;
        source = source_end + gaps[k] + seek;
        if (source < 0 || source > source_size || length > source_size - source)
            return MALFORMED;
        covers[k].source = source;
        covers[k].target = target_end + gaps[k];
        covers[k].length = length;
        source_end = source + length;
        target_end = covers[k].target + length;
        total += length;
    }
    return total;
}

/* ---------------------------------------------------------------- sparse differences: delta/sparse.py */

static inline int64_t put_number(uint8_t *out, int64_t at, uint64_t value)
{
    for (; value >= 128; value >>= 7)
        out[at++] = (uint8_t)(value & 127) | 128;
    out[at++] = (uint8_t)value;
    return at;
}

/* Read a number in its shortest form below 2^63; -1 where there is none. */
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

/* Write count numbers, none of them negative, to out, which has room for 9 bytes each; return how many bytes they took. */
EXPORT int64_t dib_numbers_put(const int64_t *values, int64_t count, uint8_t *out)
{
    int64_t at = 0;
    for (int64_t k = 0; k < count; k++)
        at = put_number(out, at, (uint64_t)values[k]);
    return at;
}

/* Read count numbers that are all there is. */
EXPORT int64_t dib_numbers_get(const uint8_t *in, int64_t size, int64_t *values, int64_t count)
{
    int64_t at = 0;
    for (int64_t k = 0; k < count; k++)
        if ((values[k] = get_number(in, size, &at)) < 0)
            return MALFORMED;
    return at == size ? 0 : MALFORMED;
}

/* Split data into how many zeros stand before each run of other bytes, how long the runs are, and these. Each of the
 * three has room for size bytes; sizes takes what they got. */
EXPORT int64_t dib_sparse_split(const uint8_t *data, int64_t size, uint8_t *gaps, uint8_t *lengths, uint8_t *values,
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
    }
    sizes[0] = g;
    sizes[1] = l;
    sizes[2] = v;
    return 0;
}

/* Undo dib_sparse_split: data is written from its first byte to its last. */
EXPORT int64_t dib_sparse_join(const uint8_t *gaps, int64_t gaps_size, const uint8_t *lengths, int64_t lengths_size,
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

/* ---------------------------------------------------------------- binary arithmetic coding: delta/model.py */

#define INPUTS 6

static int32_t squash_table[4096];  /* of -2048..2047: 4096 / (1 + e^(-x / 256)) */
static int32_t stretch_table[4096]; /* its inverse */
static int32_t rate_table[1024];    /* how far a counter that saw n bits moves, of 65536 */

static void fill_tables(int32_t *squash, int32_t *stretch, int32_t *rate)
{
    static const int32_t knots[33] = {1,    2,    3,    6,    10,   16,   27,   45,   73,   120,  194,
                                      310,  488,  747,  1101, 1546, 2047, 2549, 2994, 3348, 3607, 3785,
                                      3901, 3975, 4022, 4050, 4068, 4079, 4085, 4089, 4092, 4093, 4094};
    int32_t next = 0;
    for (int32_t x = -2048; x < 2048; x++) {
        int32_t k = (x + 2048) >> 7, w = (x + 2048) & 127;
        squash[x + 2048] = (knots[k] * (128 - w) + knots[k + 1] * w + 64) >> 7;
    }
    for (int32_t x = -2047; x < 2048; x++)
        for (int32_t v = squash[x + 2048]; next <= v; next++)
            stretch[next] = x;
    while (next < 4096)
        stretch[next++] = 2047;
    for (int32_t n = 0; n < 1024; n++)
        rate[n] = 655360 / (10 * n + 16);
}

typedef struct {
    uint32_t low, high, code;
    uint8_t *out;
    const uint8_t *in;
    int64_t at, size; /* in the buffer; an encoder counts on beyond its end, so the caller learns that it did not fit */
} coder_t;

static inline uint32_t next_byte(coder_t *c)
{
    uint32_t byte = c->at < c->size ? c->in[c->at] : 0;
    c->at++;
    return byte;
}

/* Code one bit whose chance of being 1 is chance / 65536, 0 < chance < 65536. */
static inline int code_bit(coder_t *c, const int decoding, int bit, uint32_t chance)
{
    uint32_t middle = c->low + (uint32_t)(((uint64_t)(c->high - c->low) * chance) >> 16);
    if (decoding)
        bit = c->code <= middle;
    if (bit)
        c->high = middle;
    else
        c->low = middle + 1;
    while (((c->low ^ c->high) & 0xff000000u) == 0) {
        if (decoding) {
            c->code = c->code << 8 | next_byte(c);
        } else {
            if (c->at < c->size)
                c->out[c->at] = (uint8_t)(c->high >> 24);
            c->at++;
        }
        c->low <<= 8;
        c->high = c->high << 8 | 255;
    }
    return bit;
}

/* A counter: 22 bits of probability above 10 bits that say how many bits it has seen. */
static inline void count_bit(uint32_t *counter, int bit, uint32_t limit)
{
    uint32_t v = *counter, n = v & 1023;
    int32_t p = (int32_t)(v >> 10);
    p += (int32_t)(((int64_t)((bit ? 4194303 : 0) - p) * rate_table[n]) >> 16);
    *counter = (uint32_t)p << 10 | (n + (n < limit));
}

/* Code one bit with the mix of what several counters say, and teach it to counters and weights. */
static inline int mix_bit(coder_t *c, const int decoding, int bit, uint32_t *const *slots, int32_t *weights,
                          uint32_t limit)
{
    int32_t x[INPUTS], p;
    int64_t dot = 0;
    for (int i = 0; i < INPUTS; i++) {
        x[i] = stretch_table[*slots[i] >> 20];
        dot += (int64_t)x[i] * weights[i];
    }
    dot >>= 16;
    dot = dot > 2047 ? 2047 : dot < -2047 ? -2047 : dot;
    p = squash_table[dot + 2048];
    bit = code_bit(c, decoding, bit, (uint32_t)p << 4 | 8);
    p = (bit * 4096 - p) * 6;
    for (int i = 0; i < INPUTS; i++) {
        weights[i] += (x[i] * p + 0x8000) >> 16;
        count_bit(slots[i], bit, limit);
    }
    return bit;
}

static inline uint32_t hash3(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t h = a * 0x9E3779B1u ^ b * 0x85EBCA6Bu ^ (c + 1) * 0xC2B2AE35u;
    h ^= h >> 15;
    h *= 0x2C1B3C6Du;
    return h ^ h >> 13;
}

/* Take each of the four bytes of b from that of a, modulo 256. */
static inline uint32_t bytes_minus(uint32_t a, uint32_t b)
{
    return ((a | 0x80808080u) - (b & 0x7f7f7f7fu)) ^ ((a ^ ~b) & 0x80808080u);
}

static inline uint32_t bytes_plus(uint32_t a, uint32_t b)
{
    return ((a & 0x7f7f7f7fu) + (b & 0x7f7f7f7fu)) ^ ((a ^ b) & 0x80808080u);
}

#define SPAN 32   /* equal bytes that one bit stands for ... */
#define STILL 128 /* ... after so many of them */
#define WEIGHTS 4096 /* sets of each kind; few kinds use them all */

typedef struct {
    uint32_t *flags, *values;      /* INPUTS tables of 1 << bits counters each */
    uint32_t *quiet;               /* 1 << 19 counters */
    int32_t (*flag_weights)[INPUTS], (*guess_weights)[INPUTS], (*value_weights)[INPUTS];
    uint32_t *near_shift, *far_shift; /* 65536 each */
} model_t;

static int model_open(model_t *m, int bits)
{
    size_t n = (size_t)INPUTS << bits;
    m->flags = malloc(n * 4);
    m->values = malloc(n * 4);
    m->quiet = malloc(4u << 19);
    m->flag_weights = malloc(sizeof(int32_t[INPUTS]) * WEIGHTS);
    m->guess_weights = malloc(sizeof(int32_t[INPUTS]) * WEIGHTS);
    m->value_weights = malloc(sizeof(int32_t[INPUTS]) * WEIGHTS);
    m->near_shift = calloc(65536, 4);
    m->far_shift = calloc(65536, 4);
    if (!m->flags || !m->values || !m->quiet || !m->flag_weights || !m->guess_weights || !m->value_weights || !m->near_shift ||
        !m->far_shift)
        return 0;
    for (size_t i = 0; i < n; i++) {
        m->flags[i] = 262144u << 10;
        m->values[i] = 2097152u << 10;
    }
    for (size_t i = 0; i < 1u << 19; i++)
        m->quiet[i] = 16384u << 10;
    for (int i = 0; i < WEIGHTS; i++)
        for (int k = 0; k < INPUTS; k++)
            m->flag_weights[i][k] = m->guess_weights[i][k] = m->value_weights[i][k] = 26214;
    return 1;
}

static void model_close(model_t *m)
{
    free(m->flags);
    free(m->values);
    free(m->quiet);
    free(m->flag_weights);
    free(m->guess_weights);
    free(m->value_weights);
    free(m->near_shift);
    free(m->far_shift);
}

static inline uint32_t source_byte(const uint8_t *source, int64_t size, int64_t at)
{
    return at >= 0 && at < size ? source[at] : 0;
}

static inline uint32_t source_word(const uint8_t *s)
{
    return s[0] | (uint32_t)s[1] << 8 | (uint32_t)s[2] << 16 | (uint32_t)s[3] << 24;
}

static inline int code_value(coder_t *c, const int decoding, int value, model_t *m, int bits, const uint32_t *contexts,
                             uint32_t guesses, uint32_t hits, uint32_t place)
{
    uint32_t tree = 1, node = 1, *slots[INPUTS], *lines[INPUTS] = {0};
    for (int b = 7; b >= 0; b--) {
        uint32_t expected = 0;
        if (b == 7 || b == 3) {
            for (int k = 0; k < INPUTS; k++) {
                uint32_t h = (contexts[k] + (b == 3 ? tree * 0x9E3779B1u : 0)) * 0x2C1B3C6Du;
                lines[k] = m->values + ((size_t)k << bits) + (h >> (36 - bits) << 4);
            }
            node = 1;
        }
        for (int k = 0; k < INPUTS; k++)
            slots[k] = lines[k] + node;
        for (int k = 0; k < 3; k++)
            expected |= (uint32_t)(((guesses >> (8 * k) & 255) | 256) >> (b + 1) == tree) << k;
        uint32_t bit = (uint32_t)mix_bit(c, decoding, value >> b & 1, slots,
                                         m->value_weights[(expected & hits) | place << 3 | (uint32_t)b << 5], 127);
        tree = tree << 1 | bit;
        node = node << 1 | bit;
    }
    return (int)(tree & 255);
}

static inline int64_t run_model(coder_t *c, const int decoding, const uint8_t *source, int64_t source_size,
                                const cover_t *covers, int64_t count, uint8_t *difference, int bits, int quiet)
{
    model_t m;
    uint32_t quiet_mask = quiet >= 32 ? 0xffffffffu : (1u << quiet) - 1;
    uint32_t guessed_last = 0, seen = 0, last = 0, before_last = 0, group_last = 0, still = STILL, spans = 0;
    uint32_t span_counters[256];
    for (int k = 0; k < 256; k++)
        span_counters[k] = 2097152u << 10;
    if (!model_open(&m, bits)) {
        model_close(&m);
        return NO_MEMORY;
    }
    for (int64_t k = 0; k < count; k++) {
        uint32_t moved = (uint32_t)(covers[k].target - covers[k].source);
        uint32_t place = 0, group = 0, guess_near = 0, guess_far = 0, aim = 0;
        for (int64_t i = 0; i < covers[k].length; i++) {
            if (quiet && place == 0 && still >= STILL && covers[k].length - i >= SPAN) {
                static const uint8_t zeros[SPAN];
                uint32_t *counter = span_counters + (spans & 255), chance = *counter >> 16;
                int equal = code_bit(c, decoding, decoding || memcmp(difference + i, zeros, SPAN) == 0, chance ? chance : 1);
                count_bit(counter, equal, 255);
                spans = spans << 1 | (uint32_t)equal;
                if (equal) {
                    if (decoding)
                        memset(difference + i, 0, SPAN);
                    i += SPAN - 1;
                    continue;
                }
                still = 0;
            }
            int64_t at = covers[k].source + i;
            const uint8_t *s = source + at;
            uint32_t s0 = s[0], s1, s2, s3, n1, n2, n3;
            if (at >= 3 && at + 3 < source_size) {
                s1 = s[-1], s2 = s[-2], s3 = s[-3], n1 = s[1], n2 = s[2], n3 = s[3];
            } else {
                s1 = source_byte(source, source_size, at - 1);
                s2 = source_byte(source, source_size, at - 2);
                s3 = source_byte(source, source_size, at - 3);
                n1 = source_byte(source, source_size, at + 1);
                n2 = source_byte(source, source_size, at + 2);
                n3 = source_byte(source, source_size, at + 3);
            }
            if (place == 0) {
                uint32_t word = s0 | n1 << 8 | n2 << 16 | n3 << 24, shift;
                aim = (uint32_t)at + word;
                shift = m.near_shift[aim * 0x9E3779B1u >> 16];
                guess_near = shift ? bytes_minus(word + shift - moved, word) : 0;
                shift = m.far_shift[aim >> 12 & 65535];
                guess_far = shift ? bytes_minus(word + shift - moved, word) : 0;
                group = 0;
            }
            uint32_t g1 = guess_near >> (8 * place) & 255, g2 = guess_far >> (8 * place) & 255,
                     g3 = group_last >> (8 * place) & 255, low = (1u << (8 * place)) - 1;
            uint32_t hits = (uint32_t)(group == (guess_near & low)) | (uint32_t)(group == (guess_far & low)) << 1 |
                            (uint32_t)(group == (group_last & low)) << 2;
            uint32_t state = (uint32_t)(g1 != 0) | (uint32_t)(g2 != 0) << 1 | (uint32_t)(g3 != 0) << 2 | hits << 3;
            uint32_t four = seen & 15, flag, value = decoding ? 0 : difference[i];
            if (quiet && place == 0 && (seen & quiet_mask) == 0) {
                uint32_t *counter = m.quiet + ((s1 | s2 << 8) << 3 | (state & 7)), chance = *counter >> 16;
                flag = (uint32_t)code_bit(c, decoding, value != 0, chance ? chance : 1);
                count_bit(counter, (int)flag, 1000);
            } else {
                uint32_t open = state | (uint32_t)(place == 0 && (seen & 7) == 0) << 6, *slots[INPUTS];
                int shift = 32 - bits;
                slots[0] = m.flags + (hash3(s1 | s2 << 8, four, 1) >> shift);
                slots[1] = m.flags + ((size_t)1 << bits) + (hash3(s1, seen & 255, 2 | place << 8) >> shift);
                slots[2] = m.flags + ((size_t)2 << bits) + (hash3(s0 | s1 << 8 | n1 << 16, seen & 7, 3) >> shift);
                slots[3] = m.flags + ((size_t)3 << bits) + (hash3(open, four, place) >> shift);
                slots[4] = m.flags + ((size_t)4 << bits) + (hash3(s1 | s2 << 8 | s3 << 16, open, 5) >> shift);
                slots[5] = m.flags + ((size_t)5 << bits) +
                           (hash3(n3 | n2 << 8 | s1 << 16, four | place << 8, 6) >> shift);
                flag = (uint32_t)mix_bit(c, decoding, value != 0, slots, m.flag_weights[state | four << 6 | place << 10],
                                         255);
            }
            if (flag) {
                uint32_t contexts[INPUTS];
                uint32_t h1 = hits & 1, h3 = hits >> 2;
                contexts[0] = hash3(g1 | h1 << 8 | place << 9, g2 | (hits >> 1 & 1) << 8, 11);
                contexts[1] = hash3(last | before_last << 8, place, 12);
                contexts[2] = hash3(s0 | s1 << 8, place | four << 4, 13);
                contexts[3] = hash3(g3 | h3 << 8 | h1 << 9, place, 14);
                contexts[4] = hash3(place, last, 15);
                contexts[5] = hash3(g1 | h1 << 8, last | place << 8, 16);
                uint32_t from = h1 && g1 ? 1 : h3 && g3 ? 3 : (hits & 2) && g2 ? 2 : 0, guessed = 0;
                uint32_t guess = from == 1 ? g1 : from == 3 ? g3 : g2;
                if (from) {
                    uint32_t alike = (uint32_t)(g1 == guess) | (uint32_t)(g2 == guess) << 1 | (uint32_t)(g3 == guess) << 2;
                    uint32_t trust = from | alike << 2 | hits << 5 | place << 8, *slots[INPUTS];
                    int shift = 32 - bits;
                    slots[0] = m.flags + (hash3(trust, four, 21) >> shift);
                    slots[1] = m.flags + ((size_t)1 << bits) + (hash3(trust, s1 | s2 << 8, 22) >> shift);
                    slots[2] = m.flags + ((size_t)2 << bits) + (hash3(guess | last << 8, trust, 23) >> shift);
                    slots[3] = m.flags + ((size_t)3 << bits) + (hash3(guessed_last & 255, trust, 24) >> shift);
                    slots[4] = m.flags + ((size_t)4 << bits) + (hash3(s0 | s1 << 8 | guess << 16, trust, 25) >> shift);
                    slots[5] = m.flags + ((size_t)5 << bits) + (hash3(aim >> 12, trust, 26) >> shift);
                    guessed = (uint32_t)mix_bit(c, decoding, value == guess, slots, m.guess_weights[trust], 255);
                    guessed_last = guessed_last << 1 | guessed;
                }
                if (guessed)
                    value = guess;
                else
                    value = (uint32_t)code_value(c, decoding, (int)value, &m, bits, contexts, g1 | g2 << 8 | g3 << 16,
                                                 hits, place);
                if (decoding && value == 0) {
                    model_close(&m);
                    return MALFORMED;
                }
            }
            if (decoding)
                difference[i] = (uint8_t)value;
            seen = seen << 1 | flag;
            still = flag ? 0 : still + (still < STILL);
            before_last = last;
            last = value;
            group |= value << (8 * place);
            place = place == 0 && value == 0 ? 0 : (place + 1) & 3;
            if (place == 0 && group) {
                uint32_t word = source_word(source + at - 3), shift = bytes_plus(word, group) - word + moved;
                group_last = group;
                m.near_shift[aim * 0x9E3779B1u >> 16] = shift;
                m.far_shift[aim >> 12 & 65535] = shift;
            }
            if (decoding && c->at > c->size) {
                model_close(&m);
                return MALFORMED;
            }
        }
        difference += covers[k].length;
    }
    model_close(&m);
    return 0;
}

/* Return the size of the stream, which is written only as far as out_size goes. */
EXPORT int64_t dib_model_encode(const uint8_t *source, int64_t source_size, const cover_t *covers, int64_t count,
                                const uint8_t *difference, int64_t bits, int64_t quiet, uint8_t *out, int64_t out_size)
{
    coder_t c = {0, 0xffffffffu, 0, out, NULL, 0, out_size};
    int64_t status = run_model(&c, 0, source, source_size, covers, count, (uint8_t *)difference, (int)bits, (int)quiet);
    if (status)
        return status;
    for (int k = 0; k < 4; k++) {
        if (c.at < c.size)
            c.out[c.at] = (uint8_t)(c.low >> 24);
        c.at++;
        c.low <<= 8;
    }
    return c.at;
}

EXPORT int64_t dib_model_decode(const uint8_t *source, int64_t source_size, const cover_t *covers, int64_t count,
                                uint8_t *difference, int64_t bits, int64_t quiet, const uint8_t *in, int64_t in_size)
{
    coder_t c = {0, 0xffffffffu, 0, NULL, in, 0, in_size};
    for (int k = 0; k < 4; k++)
        c.code = c.code << 8 | next_byte(&c);
    int64_t status = run_model(&c, 1, source, source_size, covers, count, difference, (int)bits, (int)quiet);
    if (status)
        return status;
    return c.at == c.size && c.code == c.low ? 0 : MALFORMED;
}

/* ---------------------------------------------------------------- relinking: delta/relink.py */

typedef struct { int64_t start, length, address, base, mode; } region_t; /* a stretch of the source and how to read it */
typedef struct { int64_t at, shift, kind; } step_t; /* from address at to the next step: where it went, what is there */
typedef struct { int64_t address, shift; } vote_t;  /* an operand says that address went by shift */

enum { NO_MODE, X86, ARM, POINTERS, BASED, FRAMES, TABLES, X86_FIXED, TABLES_FIXED };
enum { HOLE, DATA, TABLE, CODE };
enum { RELINK, MASK, VOTE };
#define BUCKETS 65536
#define SAMPLE 16
#define MAX_STEPS (1 << 21)
#define MAX_TABLES 16 /* regions of jump tables */
#define FARTHEST ((uint64_t)1 << 40) /* how far an operand can say that something went: layout.py's space */

typedef struct {
    const step_t *steps;
    int64_t count;
    uint32_t *bucket; /* BUCKETS + 1: the last step at or before the start of each */
    uint64_t *sample; /* the address of every SAMPLE-th step: one step far away puts all others into one bucket */
    int down;
} map_t;

static int map_open(map_t *m, const step_t *steps, int64_t count)
{
    m->steps = steps;
    m->count = count;
    m->down = 0;
    m->bucket = malloc((BUCKETS + 1) * sizeof *m->bucket);
    m->sample = malloc((size_t)(count / SAMPLE + 1) * sizeof *m->sample);
    if (!m->bucket || !m->sample) {
        free(m->bucket);
        free(m->sample);
        return 0;
    }
    for (int64_t j = 0; j < count; j += SAMPLE)
        m->sample[j / SAMPLE] = (uint64_t)steps[j].at;
    uint64_t span = count ? (uint64_t)steps[count - 1].at - (uint64_t)steps[0].at : 0;
    while (span >> m->down >= BUCKETS)
        m->down++;
    int64_t k = 0;
    for (uint64_t b = 0; b <= BUCKETS; b++) {
        while (k + 1 < count && (uint64_t)steps[k + 1].at - (uint64_t)steps[0].at <= b << m->down)
            k++;
        m->bucket[b] = (uint32_t)k;
    }
    return 1;
}

static void map_close(map_t *m)
{
    free(m->bucket);
    free(m->sample);
}

/* The step that holds an address; a hole for what lies before all of them. */
static inline const step_t *look(const map_t *m, uint64_t address)
{
    static const step_t none = {0, 0, HOLE};
    if (!m->count || address < (uint64_t)m->steps[0].at || address >> 63)
        return &none;
    uint64_t b = (address - (uint64_t)m->steps[0].at) >> m->down;
    if (b >= BUCKETS)
        return &m->steps[m->count - 1];
    int64_t low = m->bucket[b], high = m->bucket[b + 1];
    if (high - low >= 2 * SAMPLE) { /* no branches: nobody could foresee them */
        const uint64_t *first = m->sample + (low + SAMPLE - 1) / SAMPLE;
        int64_t left = high / SAMPLE - (low + SAMPLE - 1) / SAMPLE + 1;
        if (*first > address) {
            high = (first - m->sample) * SAMPLE - 1;
        } else {
            while (left > 1) {
                int64_t half = left >> 1;
                first = first[half] <= address ? first + half : first;
                left -= half;
            }
            low = (first - m->sample) * SAMPLE;
            high = high < low + SAMPLE - 1 ? high : low + SAMPLE - 1;
        }
    }
    const step_t *found = m->steps + low;
    for (int64_t left = high - low + 1; left > 1;) {
        int64_t half = left >> 1;
        found = (uint64_t)found[half].at <= address ? found + half : found;
        left -= half;
    }
    return found;
}

/* What code points to in the regions of jump tables: a bit for each four bytes. */
typedef struct { uint64_t address, size; uint8_t *bits; } marks_t;

typedef struct {
    const map_t *map;
    const marks_t *marks;
    int64_t marks_count;
    uint8_t *data;        /* the bytes of the stretch */
    const uint8_t *other; /* VOTE: their counterpart in the target */
    int64_t size;
    uint64_t address, base;
    const step_t *place, *last; /* the step of the place at hand */
    int64_t moved;              /* VOTE: how far the stretch moved */
    vote_t *votes;
    int64_t count, room;
    int full;
} walk_t;

static inline void write_word(uint8_t *to, uint32_t word)
{
    to[0] = (uint8_t)word, to[1] = (uint8_t)(word >> 8), to[2] = (uint8_t)(word >> 16), to[3] = (uint8_t)(word >> 24);
}

static inline void mark(const walk_t *w, uint64_t address)
{
    for (int64_t k = 0; k < w->marks_count; k++) {
        uint64_t at = address - w->marks[k].address;
        if (at < w->marks[k].size && (at & 3) == 0)
            w->marks[k].bits[at >> 5] |= (uint8_t)(1 << (at >> 2 & 7));
    }
}

static inline void vote(walk_t *w, uint64_t address, uint64_t shift)
{
    if (shift + FARTHEST > 2 * FARTHEST)
        return; /* what is there in the target is no address */
    if (w->count == w->room) {
        vote_t *more = realloc(w->votes, (size_t)w->room * 2 * sizeof *more);
        if (!more) {
            w->full = 1;
            return;
        }
        w->votes = more;
        w->room *= 2;
    }
    w->votes[w->count++] = (vote_t){(int64_t)address, (int64_t)shift};
}

static inline uint64_t place_shift(walk_t *w, int64_t at)
{
    uint64_t address = w->address + (uint64_t)at;
    if (address < (uint64_t)w->map->steps[0].at)
        return 0;
    if (!w->place || (uint64_t)w->place->at > address)
        w->place = look(w->map, address);
    while (w->place < w->last && (uint64_t)w->place[1].at <= address)
        w->place++;
    return (uint64_t)w->place->shift;
}

/* Treat the 4 bytes at data[at] as a distance from address zero; 0 if it leads nowhere. */
static inline int distance(walk_t *w, const int action, int64_t at, uint64_t zero, int least, uint64_t zero_shift)
{
    uint32_t word = source_word(w->data + at);
    uint64_t target = zero + (uint64_t)(int64_t)(int32_t)word;
    const step_t *step = look(w->map, target);
    if (step->kind < least || (action == VOTE && w->other[at - 1] != w->data[at - 1]))
        return 0;
    if (step->kind == TABLE)
        mark(w, target);
    if (action == RELINK)
        write_word(w->data + at, word + (uint32_t)step->shift - (uint32_t)zero_shift);
    else if (action == MASK)
        write_word(w->data + at, 0);
    else
        vote(w, target, (uint64_t)(int64_t)(int32_t)(source_word(w->other + at) - word) + zero_shift);
    return 1;
}

#define SHIFT_AT(at) (action == VOTE ? (uint64_t)w->moved : action == MASK ? 0 : place_shift(w, at))

/* Treat the 4 bytes at data[at] as an address of their own; 0 if it leads nowhere. */
static inline int fixed_word(walk_t *w, const int action, int64_t at)
{
    uint32_t word = source_word(w->data + at);
    uint64_t target = w->base + word;
    const step_t *step = look(w->map, target);
    if (step->kind == HOLE || (action == VOTE && w->other[at - 1] != w->data[at - 1]))
        return 0;
    if (step->kind == TABLE)
        mark(w, target);
    if (action == RELINK)
        write_word(w->data + at, word + (uint32_t)step->shift);
    else if (action == MASK)
        write_word(w->data + at, 0);
    else
        vote(w, target, (uint64_t)(int64_t)(int32_t)(source_word(w->other + at) - word));
    return 1;
}

/* Whether the bytes before at, the first of four, may be an instruction's up to an address in it. */
static inline int takes_address(uint32_t byte, uint32_t before)
{
    return ((byte & 0xF8) == 0xB8 && before != 0x0F) || byte == 0x68 || byte == 0x3D ||
           ((byte & 7) == 5 && (before & 0xC7) == 4) || ((byte & 0xF8) == 0xC0 && (before == 0xC7 || before == 0x81)) ||
           ((byte & 0xF8) == 0xF8 && before == 0x81);
}

/* Where the address may be in a C7 or 81 at data[i] that has it behind an operand in memory; 0 if there is none. */
static inline int64_t after_memory(const walk_t *w, int64_t i)
{
    uint32_t operand = w->data[i + 1], mode = operand >> 6;
    if (mode == 3 || (operand & 0xC7) == 5)
        return 0;
    i += 2 + ((operand & 7) == 4) + (mode == 1 ? 1 : mode == 2 ? 4 : 0);
    return i + 4 <= w->size ? i : 0;
}

static inline void walk_x86(walk_t *w, const int action, const int fixed)
{
    for (int64_t i = 1; i + 5 <= w->size;) {
        uint32_t byte = w->data[i], before = w->data[i - 1];
        int64_t at;
        int least;
        if ((byte | 1) == 0xE9) {
            at = i + 1;
            least = CODE;
        } else if ((byte & 0xF0) == 0x80 && before == 0x0F) {
            at = i + 1;
            least = CODE;
        } else if ((byte & 0xC7) == 5) {
            at = i + 1;
            least = DATA;
        } else {
            least = HOLE;
            at = i + 1;
        }
        if (least != HOLE && distance(w, action, at, w->address + (uint64_t)at + 4, least, SHIFT_AT(at)))
            i = at + 4;
        else if (fixed && takes_address(byte, before) && fixed_word(w, action, at))
            i = at + 4;
        else if (fixed && (byte == 0xC7 || byte == 0x81) && (at = after_memory(w, i)) && fixed_word(w, action, at))
            i = at + 4;
        else
            i++;
    }
}

static inline void walk_arm(walk_t *w, const int action)
{
    struct { int64_t at; uint64_t page, fresh; int open, moved; } reg[32];
    memset(reg, 0, sizeof reg);
    int64_t i = (int64_t)(-w->address & 3);
    for (; i + 4 <= w->size; i += 4) {
        uint32_t op = source_word(w->data + i);
        uint64_t here = w->address + (uint64_t)i, target;
        const step_t *step;
        if ((op & 0x7C000000) == 0x14000000) { /* B, BL */
            int64_t far = (int64_t)((int32_t)(op << 6) >> 6) * 4;
            target = here + (uint64_t)far;
            step = look(w->map, target);
            if (step->kind == CODE) {
                if (action == RELINK) {
                    uint64_t fresh = (uint64_t)far + (uint64_t)step->shift - place_shift(w, i);
                    write_word(w->data + i, (op & 0xFC000000) | ((uint32_t)(fresh >> 2) & 0x3FFFFFF));
                } else if (action == MASK) {
                    write_word(w->data + i, op & 0xFC000000);
                } else {
                    uint32_t now = source_word(w->other + i);
                    if ((now & 0xFC000000) == (op & 0xFC000000))
                        vote(w, target, (uint64_t)((int64_t)((int32_t)(now << 6) >> 6) * 4 - far + w->moved));
                }
            }
        } else if ((op & 0xFF000010) == 0x54000000 || (op & 0x7E000000) == 0x34000000 || (op & 0x3B000000) == 0x18000000) {
            /* B.cond, CBZ, CBNZ, LDR literal */
            int64_t far = (int64_t)((int32_t)(op << 8) >> 13) * 4;
            target = here + (uint64_t)far;
            step = look(w->map, target);
            if (step->kind != HOLE) {
                if (action == RELINK) {
                    uint64_t fresh = (uint64_t)far + (uint64_t)step->shift - place_shift(w, i);
                    write_word(w->data + i, (op & 0xFF00001F) | (((uint32_t)(fresh >> 2) & 0x7FFFF) << 5));
                } else if (action == MASK) {
                    write_word(w->data + i, op & 0xFF00001F);
                }
            }
        } else if ((op & 0x9F000000) == 0x90000000) { /* ADRP */
            int64_t far = (int64_t)((uint64_t)(((op >> 5 & 0x7FFFF) << 2) | (op >> 29 & 3)) << 43) >> 31;
            int r = op & 31;
            target = (here & ~(uint64_t)4095) + (uint64_t)far;
            reg[r].at = i;
            reg[r].page = target;
            reg[r].moved = 0;
            reg[r].open = look(w->map, target)->kind != HOLE || look(w->map, target + 4095)->kind != HOLE;
            if (action == MASK && reg[r].open)
                write_word(w->data + i, op & 0x9F00001F);
            if (action == VOTE) {
                uint32_t now = source_word(w->other + i);
                int64_t gone = (int64_t)((uint64_t)(((now >> 5 & 0x7FFFF) << 2) | (now >> 29 & 3)) << 43) >> 31;
                if ((now & 0x9F00001F) != (op & 0x9F00001F))
                    reg[r].open = 0;
                reg[r].fresh = ((here + (uint64_t)w->moved) & ~(uint64_t)4095) + (uint64_t)gone;
            }
        } else {
            int add = (op & 0xFFC00000) == 0x91000000, load = (op & 0x3B000000) == 0x39000000;
            int r = op >> 5 & 31;
            if ((add || load) && reg[r].open && i - reg[r].at <= 256) {
                int scale = add ? 0 : (int)(op >> 30);
                if (load && (op & 0x04800000) == 0x04800000)
                    scale = 4;
                uint64_t low = (uint64_t)(op >> 10 & 0xFFF) << scale;
                target = reg[r].page + low;
                step = look(w->map, target);
                if (step->kind != HOLE && low < 4096) {
                    if (step->kind == TABLE)
                        mark(w, target);
                    if (action == RELINK) {
                        uint64_t fresh = target + (uint64_t)step->shift;
                        uint64_t place = w->address + (uint64_t)reg[r].at;
                        place += (uint64_t)look(w->map, place)->shift;
                        if ((fresh & ((1u << scale) - 1)) == 0) {
                            if (!reg[r].moved) {
                                uint32_t head = source_word(w->data + reg[r].at);
                                uint32_t pages = (uint32_t)(((fresh & ~(uint64_t)4095) - (place & ~(uint64_t)4095)) >> 12);
                                write_word(w->data + reg[r].at, (head & 0x9F00001F) | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5);
                                reg[r].moved = 1;
                            }
                            write_word(w->data + i, (op & 0xFFC003FF) | ((uint32_t)((fresh & 4095) >> scale) << 10));
                        }
                    } else if (action == MASK) {
                        write_word(w->data + i, op & 0xFFC003FF);
                    } else {
                        uint32_t now = source_word(w->other + i);
                        if ((now & 0xFFC003FF) == (op & 0xFFC003FF))
                            vote(w, target, reg[r].fresh + ((uint64_t)(now >> 10 & 0xFFF) << scale) - target);
                    }
                }
            }
            if ((op & 31) != 31 && (add || load))
                reg[op & 31].open = 0;
        }
    }
}

static inline uint64_t read_long(const uint8_t *s)
{
    return source_word(s) | (uint64_t)source_word(s + 4) << 32;
}

static inline void walk_based(walk_t *w, const int action)
{
    uint64_t moved = action == RELINK ? (uint64_t)look(w->map, w->base)->shift : 0;
    if (action == VOTE)
        return;
    for (int64_t i = (int64_t)(-w->address & 3); i + 4 <= w->size; i += 4)
        distance(w, action, i, w->base, DATA, moved);
}

/* Treat the 8 bytes at data[at] as an address; 0 if it leads nowhere. */
static inline int pointer(walk_t *w, const int action, int64_t at)
{
    uint64_t value = read_long(w->data + at);
    const step_t *step = look(w->map, value + w->base);
    if (!value || step->kind == HOLE)
        return 0;
    if (action == VOTE) {
        vote(w, value + w->base, read_long(w->other + at) - value);
    } else {
        value = action == RELINK ? value + (uint64_t)step->shift : 0;
        write_word(w->data + at, (uint32_t)value);
        write_word(w->data + at + 4, (uint32_t)(value >> 32));
    }
    return 1;
}

static inline void walk_pointers(walk_t *w, const int action)
{
    for (int64_t i = (int64_t)(-w->address & 7); i + 8 <= w->size; i += 8)
        pointer(w, action, i);
}

/* Jump tables: words that lead into code from the start of the table, which code points to. */
static inline void walk_tables(walk_t *w, const int action, const uint8_t *bits, const int fixed)
{
    uint64_t zero = 0, moved = 0;
    int open = 0;
    for (int64_t i = 0; i + 4 <= w->size; i += 4) {
        if (bits[i >> 5] >> (i >> 2 & 7) & 1) {
            open = 1;
            zero = w->address + (uint64_t)i;
            moved = action == RELINK ? (uint64_t)look(w->map, zero)->shift : 0;
        }
        if (open)
            open = distance(w, action, i, zero, CODE, moved);
        if (fixed && !open && ((w->address + (uint64_t)i) & 7) == 0 && i + 8 <= w->size && pointer(w, action, i))
            i += 4;
    }
}

static inline void walk_frames(walk_t *w, const int action)
{
    for (int64_t i = 0; i + 16 <= w->size;) {
        uint32_t size = source_word(w->data + i), id = source_word(w->data + i + 4);
        if (size < 4 || (int64_t)size > w->size - i - 4)
            break;
        if (id && size >= 12) {
            uint64_t here = w->address + (uint64_t)i + 4, from = here - id;
            int64_t end = i + 4 + (int64_t)size;
            const step_t *step = look(w->map, from);
            if (step->kind != HOLE && action != VOTE) {
                if (action == RELINK)
                    write_word(w->data + i + 4, id + (uint32_t)place_shift(w, i + 4) - (uint32_t)step->shift);
                else
                    write_word(w->data + i + 4, 0);
            }
            distance(w, action, i + 8, here + 4, CODE, SHIFT_AT(i + 8));
            if (i + 21 <= end && w->data[i + 16] == 4)
                distance(w, action, i + 17, here + 13, DATA, SHIFT_AT(i + 17));
        }
        i += 4 + (int64_t)size;
    }
}

static inline void walk(walk_t *w, const int action, int64_t mode)
{
    if (mode == X86)
        walk_x86(w, action, 0);
    else if (mode == X86_FIXED)
        walk_x86(w, action, 1);
    else if (mode == ARM)
        walk_arm(w, action);
    else if (mode == POINTERS)
        walk_pointers(w, action);
    else if (mode == BASED)
        walk_based(w, action);
    else if (mode == FRAMES)
        walk_frames(w, action);
}

/* Relink data, a copy of the source, in place; or mask (mask != 0) what relinking would touch. */
EXPORT int64_t dib_relink(uint8_t *data, const region_t *regions, int64_t count, const step_t *steps, int64_t step_count,
                          int64_t mask)
{
    map_t map;
    marks_t marks[MAX_TABLES];
    int64_t tables = 0, status = 0;
    if (step_count == 0)
        return 0;
    if (!map_open(&map, steps, step_count))
        return NO_MEMORY;
    for (int64_t k = 0; k < count && tables < MAX_TABLES; k++)
        if (regions[k].mode == TABLES || regions[k].mode == TABLES_FIXED) {
            marks[tables].address = (uint64_t)regions[k].address;
            marks[tables].size = (uint64_t)regions[k].length;
            marks[tables].bits = calloc((size_t)(regions[k].length / 32 + 1), 1);
            if (!marks[tables].bits) {
                status = NO_MEMORY;
                break;
            }
            tables++;
        }
    for (int late = 0; late < 2 && !status; late++) {
        int64_t table = 0;
        for (int64_t k = 0; k < count; k++) {
            walk_t w = {.map = &map, .marks = marks, .marks_count = tables, .data = data + regions[k].start,
                        .size = regions[k].length, .address = (uint64_t)regions[k].address,
                        .base = (uint64_t)regions[k].base, .last = steps + step_count - 1};
            if (regions[k].mode == TABLES || regions[k].mode == TABLES_FIXED) {
                int fixed = regions[k].mode == TABLES_FIXED;
                if (late && table < tables) {
                    if (mask)
                        walk_tables(&w, MASK, marks[table].bits, fixed);
                    else
                        walk_tables(&w, RELINK, marks[table].bits, fixed);
                    table++;
                }
            } else if (!late) {
                if (mask)
                    walk(&w, MASK, regions[k].mode);
                else
                    walk(&w, RELINK, regions[k].mode);
            }
        }
    }
    while (tables)
        free(marks[--tables].bits);
    map_close(&map);
    return status;
}

static int by_vote(const void *left, const void *right)
{
    const vote_t *a = left, *b = right;
    if (a->address != b->address)
        return (uint64_t)a->address < (uint64_t)b->address ? -1 : 1;
    return a->shift < b->shift ? -1 : a->shift > b->shift;
}

static void put_step(step_t *out, int64_t *size, int64_t room, uint64_t at, int64_t shift, int64_t kind)
{
    if (*size < room)
        out[*size] = (step_t){(int64_t)at, shift, kind};
    ++*size;
}

/* Compare the operands of pieces of the source with their counterparts in the target: where did what they lead to go?
 * Where gain more of them than agree with the steps agree on another shift, that becomes a step, in out: return how
 * many there are. */
EXPORT int64_t dib_relink_votes(const uint8_t *source, const uint8_t *target, const region_t *pieces,
                                const int64_t *targets, const int64_t *moved, int64_t count, const step_t *steps,
                                int64_t step_count, int64_t gain, step_t *out, int64_t room)
{
    map_t map;
    walk_t w = {0};
    int64_t size = 0;
    uint64_t until = 0, last = 0, end = 0;
    const step_t *under = NULL; /* the step that a run of addresses which agree on another shift stands in */
    if (step_count == 0)
        return 0;
    if (!map_open(&map, steps, step_count))
        return NO_MEMORY;
    w.map = &map;
    w.last = steps + step_count - 1;
    w.room = 65536;
    w.votes = malloc((size_t)w.room * sizeof *w.votes);
    w.full = !w.votes;
    for (int64_t k = 0; k < count && !w.full; k++) {
        w.data = (uint8_t *)source + pieces[k].start; /* not written to by VOTE */
        w.other = target + targets[k];
        w.size = pieces[k].length;
        w.address = (uint64_t)pieces[k].address;
        w.base = (uint64_t)pieces[k].base;
        w.moved = moved[k];
        walk(&w, VOTE, pieces[k].mode);
    }
    if (w.full) {
        free(w.votes);
        map_close(&map);
        return NO_MEMORY;
    }
    qsort(w.votes, (size_t)w.count, sizeof *w.votes, by_vote);
    for (int64_t k = 0; k < w.count;) {
        uint64_t address = (uint64_t)w.votes[k].address, best = 0;
        const step_t *step = look(&map, address);
        int64_t for_step = 0, for_last = 0, most = 0;
        while (k < w.count && (uint64_t)w.votes[k].address == address) {
            int64_t first = k;
            while (k < w.count && (uint64_t)w.votes[k].address == address && w.votes[k].shift == w.votes[first].shift)
                k++;
            if (w.votes[first].shift == step->shift)
                for_step = k - first;
            if ((uint64_t)w.votes[first].shift == last)
                for_last = k - first;
            if (k - first > most) {
                most = k - first;
                best = (uint64_t)w.votes[first].shift;
            }
        }
        if (under && address < until && for_last >= for_step && for_last && most - for_last < gain) {
            end = address + 1;
            continue;
        }
        if (under && end < until)
            put_step(out, &size, room, end, under->shift, under->kind);
        under = NULL;
        if (most - for_step >= gain) {
            put_step(out, &size, room, address, (int64_t)best, step->kind);
            until = step < w.last ? (uint64_t)step[1].at : UINT64_MAX;
            under = step;
            last = best;
            end = address + 1;
            if (step->kind == CODE) { /* what stands behind moved with its cover */
                if (end < until)
                    put_step(out, &size, room, end, step->shift, CODE);
                under = NULL;
            }
        }
    }
    if (under && end < until)
        put_step(out, &size, room, end, under->shift, under->kind);
    free(w.votes);
    map_close(&map);
    return size;
}

/* ---- the map */

typedef struct { int64_t at, end, shift, order; } piece_t;

static int by_address(const void *left, const void *right)
{
    const piece_t *a = left, *b = right;
    int64_t n = a->end - a->at, m = b->end - b->at;
    if (a->at != b->at)
        return a->at < b->at ? -1 : 1;
    if (n != m)
        return n > m ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

typedef struct { int64_t start, length, address; } section_t;

/* Cut the covers at the bounds of regions and sections; keep pieces of least bytes and more that moved the longest of
 * which wins where they overlap; put them between the fixed steps. Return the number of steps in out. */
EXPORT int64_t dib_relink_steps(const cover_t *covers, int64_t count, const region_t *regions, int64_t region_count,
                                const section_t *sections, int64_t section_count, int64_t least, const step_t *fixed,
                                int64_t fixed_count, step_t *out, int64_t room)
{
    int64_t n = 0, kept = 0, size = 0, section = 0, limit = 1024;
    piece_t *pieces = malloc((size_t)limit * sizeof *pieces);
    if (!pieces)
        return NO_MEMORY;
    for (int64_t k = 0; k < count; k++) {
        int64_t s = covers[k].source, t = covers[k].target, left = covers[k].length, low = 0, high = region_count;
        if (left < least)
            continue;
        while (low < high) { /* the first region that ends behind s */
            int64_t middle = (low + high) / 2;
            if (regions[middle].start + regions[middle].length <= s)
                low = middle + 1;
            else
                high = middle;
        }
        while (section < section_count && sections[section].start + sections[section].length <= t)
            section++;
        for (int64_t r = low, c = section; left > 0 && r < region_count && c < section_count;) {
            int64_t skip = regions[r].start - s, part = regions[r].start + regions[r].length - s;
            if (sections[c].start - t > skip)
                skip = sections[c].start - t;
            if (sections[c].start + sections[c].length - t < part)
                part = sections[c].start + sections[c].length - t;
            if (left < part)
                part = left;
            if (skip < 0)
                skip = 0;
            if (part - skip >= least) {
                int64_t address = regions[r].address + (s + skip - regions[r].start);
                int64_t fresh = sections[c].address + (t + skip - sections[c].start);
                if (n == MAX_STEPS) {
                    free(pieces);
                    return MALFORMED;
                }
                if (n == limit) {
                    piece_t *more = realloc(pieces, (size_t)limit * 2 * sizeof *pieces);
                    if (!more) {
                        free(pieces);
                        return NO_MEMORY;
                    }
                    pieces = more;
                    limit *= 2;
                }
                pieces[n] = (piece_t){address, address + part - skip, fresh - address, n};
                n++;
            }
            if (part > 0)
                s += part, t += part, left -= part;
            if (regions[r].start + regions[r].length <= s)
                r++;
            else if (sections[c].start + sections[c].length <= t)
                c++;
        }
    }
    qsort(pieces, (size_t)n, sizeof *pieces, by_address);
    for (int64_t k = 0; k < n; k++) {
        piece_t p = pieces[k];
        while (kept && p.at < pieces[kept - 1].end) {
            piece_t *q = &pieces[kept - 1];
            if (p.end - p.at <= q->end - q->at)
                p.at = q->end;
            else if (p.at > q->at)
                q->end = p.at;
            else
                kept--;
        }
        if (p.at < p.end)
            pieces[kept++] = p;
    }
    for (int64_t f = 0, k = 0; f < fixed_count; f++) {
        step_t step = fixed[f];
        if (size < room)
            out[size] = step;
        size++;
        while (k < kept && (f + 1 == fixed_count || pieces[k].at < fixed[f + 1].at)) {
            if (pieces[k].at >= fixed[f].at && step.kind != HOLE && pieces[k].shift != step.shift) {
                step.shift = pieces[k].shift;
                if (pieces[k].at == step.at)
                    size--;
                step.at = pieces[k].at;
                if (size < room)
                    out[size] = step;
                size++;
            }
            k++;
        }
    }
    free(pieces);
    return size;
}

/* ---- the first pass: long equal stretches of two masked files */

static inline uint64_t hash32(const uint8_t *s)
{
    uint64_t a = read_long(s) * 0x9E3779B97F4A7C15ull + read_long(s + 8) * 0xC2B2AE3D27D4EB4Full;
    uint64_t b = read_long(s + 16) * 0x165667B19E3779F9ull + read_long(s + 24) * 0xD6E8FEB86659FD93ull;
    a ^= b << 32 | b >> 32;
    return (a ^ a >> 29) * 0x9E3779B97F4A7C15ull;
}

#define BATCH 32 /* places whose table entries are fetched before the first is looked at: memory is slow to answer */

#if defined(__GNUC__)
#define FETCH(address) __builtin_prefetch(address)
#else
#define FETCH(address) (void)(address)
#endif

/* Where in the source the 32 bytes at t may be found: the places are in a table by their hash, counted in strides from 1,
   above them as many bits of the hash as there is room for, so that few wrong places are looked at. The filter has a bit
   for each two places of the table and fits into a near cache: four lookups of five end there (31 MB of a program, which 6.6 MB are not found: 0.20 s without it, 0.17 s with it). */
typedef struct {
    uint32_t *table;
    uint64_t *filter;
    int bits, place_bits;
    int64_t stride; /* one of so many places of the source is in the table */
} anchor_table_t;

static inline uint64_t anchor_bit(const anchor_table_t *a, uint64_t h)
{
    return h >> (63 - a->bits);
}

static inline int anchor_may(const anchor_table_t *a, uint64_t h)
{
    uint64_t bit = anchor_bit(a, h);
    return a->filter[bit >> 6] >> (bit & 63) & 1;
}

static inline uint32_t anchor_tag(const anchor_table_t *a, uint64_t h)
{
    return (uint32_t)((uint64_t)(uint32_t)(h >> 8) << a->place_bits);
}

static int anchor_open(anchor_table_t *a, const uint8_t *source, int64_t size, int64_t stride)
{
    a->stride = stride;
    a->bits = 16;
    while (a->bits < 24 && (int64_t)1 << a->bits < 2 * size / stride)
        a->bits++;
    a->place_bits = 1;
    while (a->place_bits < 32 && (size / stride + 1) >> a->place_bits)
        a->place_bits++;
    a->table = calloc((size_t)1 << a->bits, 4);
    a->filter = calloc((size_t)1 << (a->bits - 5), 8);
    if (!a->table || !a->filter)
        return 0;
    uint64_t hashes[BATCH];
    for (int64_t i = 0; i + 32 <= size;) {
        int count = 0;
        for (int64_t at = i; count < BATCH && at + 32 <= size; at += stride) {
            hashes[count] = hash32(source + at);
            FETCH(a->table + (hashes[count++] >> (64 - a->bits)));
        }
        for (int k = 0; k < count; k++, i += stride) {
            uint64_t bit = anchor_bit(a, hashes[k]);
            a->table[hashes[k] >> (64 - a->bits)] = (uint32_t)(i / stride + 1) | (a->place_bits < 32 ? anchor_tag(a, hashes[k]) : 0);
            a->filter[bit >> 6] |= (uint64_t)1 << (bit & 63);
        }
    }
    return 1;
}

/* The place in the source of the 32 bytes at t, by their hash; -1 if there is none, or they are all the same. */
static inline int64_t anchor_find(const anchor_table_t *a, const uint8_t *source, const uint8_t *t, uint64_t h)
{
    uint32_t entry = a->table[h >> (64 - a->bits)];
    if (!entry)
        return -1;
    if (a->place_bits < 32) {
        uint32_t mask = ((uint32_t)1 << a->place_bits) - 1;
        if ((entry & ~mask) != anchor_tag(a, h))
            return -1;
        entry &= mask;
    }
    int64_t s = ((int64_t)entry - 1) * a->stride;
    return memcmp(source + s, t, 32) != 0 || memcmp(t, t + 1, 31) == 0 ? -1 : s;
}

EXPORT int64_t dib_anchors(const uint8_t *source, int64_t source_size, const uint8_t *target, int64_t target_size,
                           int64_t stride, cover_t *covers, int64_t room)
{
    anchor_table_t a;
    uint64_t hashes[BATCH];
    int64_t n = 0, diagonal = 0, done = 0, t = 0, hashed = 0;
    if (!anchor_open(&a, source, source_size, stride)) {
        free(a.table);
        free(a.filter);
        return NO_MEMORY;
    }
    while (t + 32 <= target_size && n < room) {
        int64_t s = t + diagonal, from, length;
        /* on the same diagonal as before? */
        if (!(s >= 0 && s + 32 <= source_size && memcmp(source + s, target + t, 32) == 0)) {
            if (t >= hashed) {
                hashed = t;
                for (int k = 0; k < BATCH && hashed + 32 <= target_size; k++, hashed++) {
                    hashes[hashed % BATCH] = hash32(target + hashed);
                    if (anchor_may(&a, hashes[hashed % BATCH]))
                        FETCH(a.table + (hashes[hashed % BATCH] >> (64 - a.bits)));
                }
            }
            s = anchor_may(&a, hashes[t % BATCH]) ? anchor_find(&a, source, target + t, hashes[t % BATCH]) : -1;
            if (s < 0) {
                t++;
                continue;
            }
        }
        from = t;
        while (from > done && s > 0 && source[s - 1] == target[from - 1])
            from--, s--;
        length = t - from;
        int64_t most = source_size - s < target_size - from ? source_size - s : target_size - from;
        while (length + 8 <= most && read_long(source + s + length) == read_long(target + from + length))
            length += 8;
        while (length < most && source[s + length] == target[from + length])
            length++;
        diagonal = s - from;
        covers[n++] = (cover_t){s, from, length};
        done = t = from + length;
    }
    free(a.table);
    free(a.filter);
    return n;
}

/* Covers on one diagonal become one where at most bridge bytes lie between them, fewer after short ones; how many are left. */
EXPORT int64_t dib_bridge(cover_t *covers, int64_t count, int64_t bridge)
{
    int64_t n = 0;
    for (int64_t k = 0; k < count; k++) {
        cover_t *last = covers + (n ? n - 1 : 0);
        if (n && covers[k].source - covers[k].target == last->source - last->target) {
            int64_t near = bridge / 64 + last->length, gap = covers[k].target - last->target - last->length;
            if (gap <= (near < bridge ? near : bridge)) {
                last->length = covers[k].target + covers[k].length - last->target;
                continue;
            }
        }
        covers[n++] = covers[k];
    }
    return n;
}

/* ---------------------------------------------------------------- VCDIFF windows: delta/vcdiff.py */

typedef struct { const uint8_t *at, *end; } bytes_t;

/* Read an RFC 3284 integer below 2^62; -1 where there is none. */
static int64_t read_number(bytes_t *b)
{
    int64_t value = 0;
    while (b->at < b->end) {
        uint8_t byte = *b->at++;
        if (value >= (int64_t)1 << 55)
            return -1;
        value = value << 7 | (byte & 127);
        if (byte < 128)
            return value;
    }
    return -1;
}

typedef struct { uint8_t type1, size1, mode1, type2, size2, mode2; } code_t;

enum { NOOP, ADD, RUN, COPY };

/* The default code table of RFC 3284, section 5.6. */
static void fill_codes(code_t *codes)
{
    int n = 0;
    memset(codes, 0, 256 * sizeof *codes);
    codes[n++].type1 = RUN;
    for (int size = 0; size <= 17; size++)
        codes[n++] = (code_t){ADD, (uint8_t)size, 0, NOOP, 0, 0};
    for (int mode = 0; mode < 9; mode++) {
        codes[n++] = (code_t){COPY, 0, (uint8_t)mode, NOOP, 0, 0};
        for (int size = 4; size <= 18; size++)
            codes[n++] = (code_t){COPY, (uint8_t)size, (uint8_t)mode, NOOP, 0, 0};
    }
    for (int mode = 0; mode < 9; mode++)
        for (int add = 1; add <= 4; add++)
            for (int size = 4; size <= (mode < 6 ? 6 : 4); size++)
                codes[n++] = (code_t){ADD, (uint8_t)add, 0, COPY, (uint8_t)size, (uint8_t)mode};
    for (int mode = 0; mode < 9; mode++)
        codes[n++] = (code_t){COPY, 4, (uint8_t)mode, ADD, 1, 0};
}

/* The last four addresses, and the last address of each remainder modulo 768. */
typedef struct { int64_t near[4], same[768]; int next; } cache_t;

static void cache_add(cache_t *cache, int64_t address)
{
    cache->near[cache->next] = address;
    cache->next = (cache->next + 1) & 3;
    cache->same[address % 768] = address;
}

/* Decode one window of target_size bytes. source is its source segment, wherever that came from. */
EXPORT int64_t dib_vcdiff_window(const uint8_t *data, int64_t data_size, const uint8_t *codes, int64_t codes_size,
                                 const uint8_t *addresses, int64_t addresses_size, const uint8_t *source,
                                 int64_t source_size, uint8_t *target, int64_t target_size)
{
    code_t table[256];
    cache_t cache;
    bytes_t d = {data, data + data_size}, c = {codes, codes + codes_size}, a = {addresses, addresses + addresses_size};
    int64_t at = 0;
    fill_codes(table);
    memset(&cache, 0, sizeof cache);
    while (c.at < c.end) {
        code_t code = table[*c.at++];
        for (int half = 0; half < 2; half++) {
            int type = half ? code.type2 : code.type1, mode = half ? code.mode2 : code.mode1;
            int64_t size = half ? code.size2 : code.size1;
            if (type == NOOP)
                continue;
            if (size == 0)
                size = read_number(&c);
            if (size < 0 || size > target_size - at)
                return MALFORMED;
            if (type == ADD) {
                if (size > d.end - d.at)
                    return MALFORMED;
                if (size)
                    memcpy(target + at, d.at, (size_t)size);
                d.at += size;
            } else if (type == RUN) {
                if (d.at == d.end)
                    return MALFORMED;
                if (size)
                    memset(target + at, *d.at, (size_t)size);
                d.at++;
            } else {
                int64_t here = source_size + at, address;
                if (mode >= 6) {
                    if (a.at == a.end)
                        return MALFORMED;
                    address = cache.same[(mode - 6) * 256 + *a.at++];
                } else {
                    address = read_number(&a);
                    if (address < 0)
                        return MALFORMED;
                    if (mode == 1)
                        address = here - address;
                    else if (mode >= 2)
                        address += cache.near[mode - 2];
                }
                if (address < 0 || address >= here)
                    return MALFORMED;
                cache_add(&cache, address);
                int64_t from_source = address < source_size ? source_size - address : 0;
                if (from_source > size)
                    from_source = size;
                if (from_source)
                    memcpy(target + at, source + address, (size_t)from_source);
                for (int64_t i = from_source, from = address - source_size; i < size; i++)
                    target[at + i] = target[from + i]; /* may overlap itself: byte by byte, by definition */
            }
            at += size;
        }
    }
    return at == target_size && d.at == d.end && a.at == a.end ? 0 : MALFORMED;
}

typedef struct {
    uint8_t *data, *codes, *addresses;
    int64_t data_size, codes_size, addresses_size, room; /* the room of each of the three */
    cache_t cache;
    int held, held_size, held_mode; /* a code of one instruction that may yet take a second one in */
    int full;
} writer_t;

static int number_size(int64_t value)
{
    int n = 1;
    while (value >>= 7)
        n++;
    return n;
}

static void write_number(uint8_t *out, int64_t *at, int64_t room, int64_t value, int *full)
{
    int n = number_size(value);
    if (*at + n > room) {
        *full = 1;
        return;
    }
    for (int k = n - 1; k >= 0; k--)
        out[(*at)++] = (uint8_t)((value >> (7 * k) & 127) | (k ? 128 : 0));
}

static void write_code(writer_t *w, int code)
{
    if (w->codes_size < w->room)
        w->codes[w->codes_size++] = (uint8_t)code;
    else
        w->full = 1;
}

static void write_add(writer_t *w, const uint8_t *bytes, int64_t size)
{
    if (size > w->room - w->data_size) {
        w->full = 1;
        return;
    }
    memcpy(w->data + w->data_size, bytes, (size_t)size);
    w->data_size += size;
    if (size == 1 && w->held == COPY && w->held_size == 4) {
        w->codes[w->codes_size - 1] = (uint8_t)(247 + w->held_mode);
        w->held = NOOP;
        return;
    }
    write_code(w, size <= 17 ? (int)(1 + size) : 1);
    if (size > 17)
        write_number(w->codes, &w->codes_size, w->room, size, &w->full);
    w->held = size <= 4 ? ADD : NOOP;
    w->held_size = (int)size;
}

static void write_run(writer_t *w, uint8_t byte, int64_t size)
{
    if (w->data_size >= w->room) {
        w->full = 1;
        return;
    }
    w->data[w->data_size++] = byte;
    write_code(w, 0);
    write_number(w->codes, &w->codes_size, w->room, size, &w->full);
    w->held = NOOP;
}

static void write_copy(writer_t *w, int64_t address, int64_t here, int64_t size)
{
    int mode = 0;
    int64_t value = address;
    if (number_size(here - address) < number_size(value))
        mode = 1, value = here - address;
    for (int k = 0; k < 4; k++)
        if (address >= w->cache.near[k] && number_size(address - w->cache.near[k]) < number_size(value))
            mode = 2 + k, value = address - w->cache.near[k];
    if (w->cache.same[address % 768] == address && number_size(value) > 1) {
        mode = 6 + (int)(address % 768 / 256);
        if (w->addresses_size < w->room)
            w->addresses[w->addresses_size++] = (uint8_t)(address % 256);
        else
            w->full = 1;
    } else {
        write_number(w->addresses, &w->addresses_size, w->room, value, &w->full);
    }
    cache_add(&w->cache, address);
    if (w->held == ADD && size >= 4 && size <= (mode < 6 ? 6 : 4)) {
        w->codes[w->codes_size - 1] = (uint8_t)(mode < 6 ? 163 + 12 * mode + 3 * (w->held_size - 1) + (int)size - 4
                                                         : 235 + 4 * (mode - 6) + w->held_size - 1);
        w->held = NOOP;
        return;
    }
    write_code(w, 19 + 16 * mode + (size >= 4 && size <= 18 ? (int)size - 3 : 0));
    if (size < 4 || size > 18)
        write_number(w->codes, &w->codes_size, w->room, size, &w->full);
    w->held = COPY;
    w->held_size = size <= 18 ? (int)size : 0;
    w->held_mode = mode;
}

/* Write target[from:to], which nothing covers: runs of run_length equal bytes and more become RUN, the rest ADD. */
static void write_literals(writer_t *w, const uint8_t *target, int64_t from, int64_t to, int64_t run_length)
{
    int64_t start = from, at = from;
    while (at < to) {
        int64_t end = at + 1;
        while (end < to && target[end] == target[at])
            end++;
        if (end - at >= run_length) {
            if (at > start)
                write_add(w, target + start, at - start);
            write_run(w, target[at], end - at);
            start = end;
        }
        at = end;
    }
    if (to > start)
        write_add(w, target + start, to - start);
}

/* Write the three sections of one window; sizes takes theirs. Covers count from the source segment and from the window;
 * copy_length: the shortest copy worth an instruction. */
EXPORT int64_t dib_vcdiff_encode(const uint8_t *source, int64_t source_size, const uint8_t *target, int64_t target_size,
                                 const cover_t *covers, int64_t count, int64_t copy_length, int64_t run_length,
                                 uint8_t *data, uint8_t *codes, uint8_t *addresses, int64_t room, int64_t *sizes)
{
    writer_t w = {data, codes, addresses, 0, 0, 0, room, {{0}, {0}, 0}, NOOP, 0, 0, 0};
    int64_t done = 0;
    for (int64_t k = 0; k < count; k++) {
        const uint8_t *s = source + covers[k].source, *t = target + covers[k].target;
        int64_t n = covers[k].length;
        for (int64_t i = 0; i < n;) {
            int64_t j = i;
            while (j < n && s[j] == t[j])
                j++;
            if (j - i >= copy_length) {
                write_literals(&w, target, done, covers[k].target + i, run_length);
                write_copy(&w, covers[k].source + i, source_size + covers[k].target + i, j - i);
                done = covers[k].target + j;
            }
            i = j + 1;
        }
    }
    write_literals(&w, target, done, target_size, run_length);
    sizes[0] = w.data_size;
    sizes[1] = w.codes_size;
    sizes[2] = w.addresses_size;
    return w.full ? MALFORMED : 0;
}

/* ---------------------------------------------------------------- loading */

/* Called once, before any other function. */
EXPORT int64_t dib_abi(void)
{
    fill_tables(squash_table, stretch_table, rate_table);
    return ABI;
}

/* Decoding and encoding of VCDIFF windows (codecs/vcdiff.py). */
#include "dib.h"

typedef struct { const uint8_t *at, *end; } bytes_t;

/* Read an RFC 3284 integer below 2^62, of at most 9 bytes; return -1 if it is malformed. */
static int64_t read_number(bytes_t *b)
{
    int64_t value = 0;
    for (int n = 0; n < 9 && b->at < b->end; n++) {
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

/* The four most recent addresses, and the most recent address for each remainder modulo 768. */
typedef struct { int64_t near[4], same[768]; int next; } cache_t;

static void cache_add(cache_t *cache, int64_t address)
{
    cache->near[cache->next] = address;
    cache->next = (cache->next + 1) & 3;
    cache->same[address % 768] = address;
}

/* Decode a window of `target_size` bytes; `source` is the window's source segment. */
int64_t dib_vcdiff_window(const uint8_t *data, int64_t data_size, const uint8_t *codes, int64_t codes_size,
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
                    target[at + i] = target[from + i]; /* copy byte by byte, because source and destination of the copy may overlap (RFC 3284) */
            }
            at += size;
        }
    }
    return at == target_size && d.at == d.end && a.at == a.end ? 0 : MALFORMED;
}

typedef struct {
    uint8_t *data, *codes, *addresses;
    int64_t data_size, codes_size, addresses_size, room; /* room: the capacity of each of the three outputs */
    cache_t cache;
    int held, held_size, held_mode; /* a code with one instruction; a second instruction may be added to this code */
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

/* Write `target[from:to]`, which is not in any cover: at least `run_length` equal bytes in a row become RUN, all other
 * bytes become ADD. */
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

/* Write the three sections of a window; `sizes` receives their sizes. Covers are relative to the source segment and to
 * the window. `copy_length`: the shortest copy that is worth an instruction. */
int64_t dib_vcdiff_encode(const uint8_t *source, int64_t source_size, const uint8_t *target, int64_t target_size,
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

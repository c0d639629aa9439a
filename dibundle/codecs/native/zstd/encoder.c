/* The encoder's interface (content in pieces of any size, frames as output), and XXH64, the checksum of frames. */
#include "zstd.h"

#define P1 0x9E3779B185EBCA87u
#define P2 0xC2B2AE3D27D4EB4Fu
#define P3 0x165667B19E3779F9u
#define P4 0x85EBCA77C2B2AE63u
#define P5 0x27D4EB2F165667C5u

static inline uint64_t turned(uint64_t v, int by)
{
    return v << by | v >> (64 - by);
}

static inline uint64_t hash_round(uint64_t sum, uint64_t v)
{
    return turned(sum + v * P2, 31) * P1;
}

static void hash_start(encoder_t *e)
{
    e->hash[0] = P1 + P2;
    e->hash[1] = P2;
    e->hash[2] = 0;
    e->hash[3] = 0 - P1;
    e->content = 0;
}

static void hash_add(encoder_t *e, const uint8_t *p, int64_t n)
{
    int64_t held = e->content & 31;
    e->content += n;
    while (n > 0) {
        if (held == 0 && n >= 32) {
            for (; n >= 32; p += 32, n -= 32)
                for (int i = 0; i < 4; i++)
                    e->hash[i] = hash_round(e->hash[i], load64(p + 8 * i));
            continue;
        }
        int64_t taken = 32 - held < n ? 32 - held : n;
        memcpy(e->hash_rest + held, p, (size_t)taken);
        held += taken;
        p += taken;
        n -= taken;
        if (held == 32) {
            for (int i = 0; i < 4; i++)
                e->hash[i] = hash_round(e->hash[i], load64(e->hash_rest + 8 * i));
            held = 0;
        }
    }
}

static uint64_t hash_end(const encoder_t *e)
{
    uint64_t h = P5;
    if (e->content >= 32) {
        h = turned(e->hash[0], 1) + turned(e->hash[1], 7) + turned(e->hash[2], 12) + turned(e->hash[3], 18);
        for (int i = 0; i < 4; i++)
            h = (h ^ hash_round(0, e->hash[i])) * P1 + P4;
    }
    h += (uint64_t)e->content;
    const uint8_t *p = e->hash_rest;
    int64_t n = e->content & 31;
    for (; n >= 8; p += 8, n -= 8)
        h = turned(h ^ hash_round(0, load64(p)), 27) * P1 + P4;
    if (n >= 4) {
        h = turned(h ^ load32(p) * P1, 23) * P2 + P3;
        p += 4;
        n -= 4;
    }
    for (; n > 0; p++, n--)
        h = turned(h ^ *p * P5, 11) * P1;
    h = (h ^ h >> 33) * P2;
    h = (h ^ h >> 29) * P3;
    return h ^ h >> 32;
}

/* logarithms of the sizes of `entries`, `more_entries`, `pairs` and `more_pairs`; 0: this table does not exist */
static void table_logs(int level, int logs[4])
{
    static const uint8_t LOGS[5][4] = {{0, 0, 0, 0}, {15, 0, 0, 0}, {15, 17, 0, 0}, {13, 0, 19, 0}, {0, 0, 22, 18}};
    for (int i = 0; i < 4; i++)
        logs[i] = LOGS[level][i];
}

/* Initialise the state of a frame; history and tables can stay, because nothing in them is within reach. `first`: the
 * size of the first block, if the writer flushed before this block was full; otherwise 0. */
static void start_frame(encoder_t *e, int32_t first)
{
    e->origin += e->window + e->size;
    e->size = e->filled = 0;
    e->started = e->finished = 0;
    e->wanted = first ? first : e->block;
    e->huffman.may_repeat = 0;
    for (int i = 0; i < 3; i++)
        e->alphabets[i].tables[e->alphabets[i].current ^ 1].symbols = 0;
    hash_start(e);
}

int64_t dib_zstd_free(void *handle)
{
    encoder_t *e = handle;
    if (e) {
        free(e->history);
        free(e->entries);
        free(e->more_entries);
        free(e->pairs);
        free(e->more_pairs);
        free(e->literals);
        free(e->sequences);
        free(e->out);
        free(e->marks);
        free(e);
    }
    return 0;
}

static void *zeroed(int log, size_t each)
{
    return log ? calloc((size_t)1 << log, each) : NULL;
}

/* The handle of a new encoder of level 1 (fastest) to 4 (best); 0 on failure. `first`: see start_frame. */
int64_t dib_zstd_new(int64_t encoder, int64_t level, int64_t first)
{
    int logs[4], is_known = encoder >= KLAUSPOST_17 && encoder <= KLAUSPOST_15 && level >= FASTEST && level <= BEST;
    encoder_t *e = is_known && first >= 0 && first < BLOCK / 2 ? calloc(1, sizeof *e) : NULL;
    if (!e)
        return 0;
    table_logs((int)level, logs);
    e->encoder = (int)encoder;
    e->level = (int)level;
    e->window = level == FASTEST ? 4 << 20 : 8 << 20;
    if (encoder == KLAUSPOST_15 && level >= BETTER)
        e->window *= level == BETTER ? 2 : 4;
    e->block = level == FASTEST ? BLOCK / 2 : BLOCK;
    e->room = 2 * e->window;
    e->history = malloc((size_t)e->room + SLACK); /* not calloc, because writing zeros would take 2 ms for each encoder */
    e->entries = zeroed(logs[0], sizeof *e->entries);
    e->more_entries = zeroed(logs[1], sizeof *e->more_entries);
    e->pairs = zeroed(logs[2], sizeof *e->pairs);
    e->more_pairs = zeroed(logs[3], sizeof *e->more_pairs);
    e->literals = malloc(BLOCK);
    e->sequences = malloc(BLOCK / 3 * sizeof *e->sequences);
    if (!e->history || !e->literals || !e->sequences || (logs[0] && !e->entries) || (logs[1] && !e->more_entries) ||
        (logs[2] && !e->pairs) || (logs[3] && !e->more_pairs) || !make_defaults(e->defaults)) {
        dib_zstd_free(e);
        return 0;
    }
    start_frame(e, (int32_t)first);
    return (int64_t)(intptr_t)e;
}

static int32_t moved(int32_t at, int32_t least, int32_t by)
{
    return at < least ? 0 : at - by;
}

/* Make positions relative to the window before they exceed 32 bits; positions out of reach become 0. */
static void move_origin(encoder_t *e)
{
    int32_t by = e->origin - e->window, least = e->origin + e->size - e->window;
    int logs[4];
    table_logs(e->level, logs);
    for (int32_t i = 0; logs[0] && i < 1 << logs[0]; i++)
        e->entries[i].at = moved(e->entries[i].at, least, by);
    for (int32_t i = 0; logs[1] && i < 1 << logs[1]; i++)
        e->more_entries[i].at = moved(e->more_entries[i].at, least, by);
    for (int k = 2; k < 4; k++) {
        pair_t *pairs = k == 2 ? e->pairs : e->more_pairs;
        for (int32_t i = 0; logs[k] && i < 1 << logs[k]; i++) {
            pairs[i].at = moved(pairs[i].at, least, by);
            pairs[i].before = moved(pairs[i].before, least, by);
        }
    }
    e->origin = e->window;
}

/* Make space for `n` more bytes of output, and for one more block position (mark). */
static int reserve(encoder_t *e, int64_t n)
{
    if (e->out_size + n > e->out_room) {
        int64_t room = 2 * e->out_room + n;
        uint8_t *out = realloc(e->out, (size_t)room);
        if (!out)
            return 0;
        e->out = out;
        e->out_room = room;
    }
    if (e->mark_count == e->mark_room) {
        int64_t room = 2 * e->mark_room + 64;
        int64_t *marks = realloc(e->marks, (size_t)room * sizeof *marks);
        if (!marks)
            return 0;
        e->marks = marks;
        e->mark_room = room;
    }
    return 1;
}

static void put_bytes_of(encoder_t *e, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        e->out[e->out_size++] = (uint8_t)(value >> 8 * i);
}

/* Write the header of a frame (RFC 8878, 3.1.1.1); `content`: the size of the content, or -1 for a header without
 * it. */
static void put_frame_head(encoder_t *e, int64_t content)
{
    int single = content > 1024, format = content < 256 ? 0 : content < 65536 + 256 ? 1 : 2;
    put_bytes_of(e, 0xFD2FB528u, 4);
    put_bytes_of(e, (uint64_t)(format << 6 | single << 5 | 4), 1);
    if (!single)
        put_bytes_of(e, content < 0 ? (uint64_t)(highest((uint32_t)e->window) - 10) << 3 : content == 1024 ? 8 : 0, 1);
    if (format == 1)
        put_bytes_of(e, (uint64_t)content - 256, 2);
    else if (format == 2)
        put_bytes_of(e, (uint64_t)content, 4);
    e->started = 1;
}

/* Write the filled block. */
static void end_block(encoder_t *e, int last)
{
    int alone = last && !e->started;
    int32_t n = e->filled, s = e->size, end = s + n;
    const uint8_t *content = e->history + s;
    if (!reserve(e, BLOCK_ROOM)) {
        e->failed = NO_MEMORY;
        return;
    }
    if (!e->started)
        put_frame_head(e, alone ? n : -1);
    if (e->origin >= INT32_MAX - 4 * e->window)
        move_origin(e);
    e->literal_count = e->sequence_count = 0;
    memset(e->history + end, 0, SLACK);
    if (e->level == FASTEST) {
        find_fastest(e, s, end, alone);
    } else if (e->level == DEFAULT) {
        find_default(e, s, end, alone);
    } else if (e->encoder != KLAUSPOST_15 && n > SHORTEST && same_bytes(content + 1, content, n - 1) == n - 1) {
        add_sequence(e, s, s + 1, n - 1, 4);
    } else if (n < 16) {
        add_rest(e, s, end);
    } else if (e->level == BETTER) {
        find_better(e, s, end);
    } else if (e->encoder == KLAUSPOST_15) {
        find_best_as_before(e, s, end);
    } else {
        find_best(e, s, end);
    }
    e->marks[e->mark_count++] = e->written + e->out_size;
    int64_t size = put_block(e, content, n, last, e->out + e->out_size);
    if (size < 0) {
        e->failed = MALFORMED;
        return;
    }
    assert(size <= BLOCK_ROOM - 64);
    e->out_size += size;
    e->size += n;
    e->filled = 0;
    e->wanted = e->block;
}

/* Take `n` bytes of content; with `finish`, these bytes are the last of the frame. Return how many bytes of output are
 * available. */
int64_t dib_zstd_write(void *handle, const uint8_t *content, int64_t n, int64_t finish)
{
    encoder_t *e = handle;
    if (e->finished || n < 0)
        return MALFORMED;
    hash_add(e, content, n);
    while (n > 0 && !e->failed) {
        if (e->filled == 0 && e->size + e->block > e->room) {
            memmove(e->history, e->history + e->size - e->window, (size_t)e->window);
            e->origin += e->size - e->window;
            e->size = e->window;
        }
        int64_t taken = e->wanted - e->filled < n ? e->wanted - e->filled : n;
        memcpy(e->history + e->size + e->filled, content, (size_t)taken);
        e->filled += (int32_t)taken;
        content += taken;
        n -= taken;
        if (e->filled == e->wanted)
            end_block(e, 0);
    }
    if (finish && !e->failed && (e->content || e->encoder == KLAUSPOST_20)) {
        if (e->filled) {
            end_block(e, 1);
        } else if (reserve(e, 32)) {
            if (!e->started)
                put_frame_head(e, -1);
            e->marks[e->mark_count++] = e->written + e->out_size;
            e->out_size = put_block_head(e->out + e->out_size, RAW, 0, 1) - e->out;
        } else {
            e->failed = NO_MEMORY;
        }
        if (!e->failed && reserve(e, 4))
            put_bytes_of(e, hash_end(e), 4);
        else
            e->failed = e->failed ? e->failed : NO_MEMORY;
    }
    e->finished = finish != 0;
    return e->failed ? e->failed : e->out_size;
}

/* Begin another frame, as a reused encoder does; before this call, finish the previous frame and take all its bytes. */
int64_t dib_zstd_reset(void *handle, int64_t first)
{
    encoder_t *e = handle;
    if (!e->finished || e->failed || e->out_size || e->mark_count || first < 0 || first >= BLOCK / 2)
        return MALFORMED;
    if (e->origin >= INT32_MAX - 4 * e->window)
        move_origin(e);
    start_frame(e, (int32_t)first);
    e->written = 0;
    return 0;
}

/* Move up to `room` bytes of the frame to `out`; return how many bytes were moved. */
int64_t dib_zstd_take(void *handle, uint8_t *out, int64_t room)
{
    encoder_t *e = handle;
    int64_t n = e->out_size < room ? e->out_size : room;
    if (n <= 0)
        return 0;
    memcpy(out, e->out, (size_t)n);
    e->out_size -= n;
    e->written += n;
    memmove(e->out, e->out + n, (size_t)e->out_size);
    return n;
}

/* Move up to `most` marks to `out`; marks are the positions in the frame at which blocks start. Return their number. */
int64_t dib_zstd_marks(void *handle, int64_t *out, int64_t most)
{
    encoder_t *e = handle;
    int64_t n = e->mark_count < most ? e->mark_count : most;
    if (n <= 0)
        return 0;
    memcpy(out, e->marks, (size_t)n * sizeof *out);
    e->mark_count -= n;
    memmove(e->marks, e->marks + n, (size_t)e->mark_count * sizeof *out);
    return n;
}

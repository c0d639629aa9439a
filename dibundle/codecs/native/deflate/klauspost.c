/* flate of klauspost/compress, of pgzip and of Go 1.27; all three use klauspost's encoder. */
#include "klauspost.h"

/* flate/{deflate,fast_encoder,level1,level5,level6,token,huffman_bit_writer}.go of klauspost/compress 1.18.0; pgzip's
 * gzip.go 1.2.6; src/compress/flate of Go 1.27. */

static inline void near_insert(klauspost_t *k, uint64_t bytes, int32_t position)
{
    k->near[near_hash(bytes)] = position + k->offset;
}

static inline void far_insert(klauspost_t *k, uint64_t bytes, int32_t position)
{
    int32_t *pair = k->far[far_hash(bytes)];
    pair[1] = pair[0];
    pair[0] = position + k->offset;
}

static int32_t rebased(const klauspost_t *k, int32_t entry)
{
    return entry <= k->offset + k->history_size - WINDOW ? 0 : entry - k->offset + WINDOW;
}

/* Keep table entries below 2^31. Entries out of reach become 0. If the newer entry of a pair is out of reach, both
 * entries become 0. */
static void klauspost_rebase(klauspost_t *k)
{
    for (int i = 0; i < 1 << 15; i++) {
        k->near[i] = rebased(k, k->near[i]);
        k->far[i][0] = rebased(k, k->far[i][0]);
        k->far[i][1] = k->far[i][0] ? rebased(k, k->far[i][1]) : 0;
    }
    k->offset = WINDOW;
}

/* Append content to the history; if the content does not fit, first move the history to the start of the buffer. Return
 * the content's offset. */
static int32_t klauspost_append(klauspost_t *k, const uint8_t *content, int32_t n)
{
    if (k->history_size + n > HISTORY) {
        int32_t move = k->history_size - WINDOW;
        memmove(k->history, k->history + move, WINDOW);
        k->offset += move;
        k->history_size = WINDOW;
    }
    memcpy(k->history + k->history_size, content, (size_t)n);
    k->history_size += n;
    return k->history_size - n;
}

typedef struct {
    int32_t at, from, length; /* length: number of equal bytes, or 0 if only the first 4 bytes were compared */
    int32_t next;             /* the first position that has not been looked up */
} found_t;

/* Return the length of a match of at least 4 bytes; it is at most 258, and the match does not go beyond the chunk. */
static inline int32_t capped_length(const klauspost_t *k, int32_t at, int32_t from)
{
    return 4 + same_bytes(k->history + at + 4, k->history + from + 4, least(LONGEST - 4, k->history_size - at - 4));
}

static inline void take_longer(const klauspost_t *k, found_t *found, int32_t at, int32_t from)
{
    int32_t length = capped_length(k, at, from);
    if (length > found->length) {
        found->at = at;
        found->from = from;
        found->length = length;
    }
}

/* Levels 5 and 6: search from `s` on for a match; return 0 if no match begins before `limit`. */
static int klauspost_search(klauspost_t *k, int32_t s, int32_t emitted, int32_t limit, int32_t repeat, found_t *found)
{
    const uint8_t *history = k->history;
    int skip = k->level == 5 ? 6 : 7;
    uint64_t bytes = load64(history + s);
    for (;;) {
        int32_t next = s + 1 + ((s - emitted) >> skip);
        if (next > limit)
            return 0;
        int32_t near = k->near[near_hash(bytes)] - k->offset;
        const int32_t *pair = k->far[far_hash(bytes)];
        int32_t far = pair[0] - k->offset, farther = pair[1] - k->offset;
        uint64_t next_bytes = load64(history + next);
        uint32_t four = (uint32_t)bytes, next_four = (uint32_t)next_bytes;
        near_insert(k, bytes, s);
        far_insert(k, bytes, s);
        found->at = s;
        found->next = next;
        found->length = 0;
        if (s - far < WINDOW) {
            int hit = load32(history + far) == four;
            if (hit || reaches(k, farther, s, four)) {
                near_insert(k, next_bytes, next);
                far_insert(k, next_bytes, next);
                found->from = hit ? far : farther;
                if (hit && reaches(k, farther, s, four)) {
                    found->length = capped_length(k, s, far);
                    take_longer(k, found, s, farther);
                }
                return 1;
            }
        }
        if (reaches(k, near, s, four)) {
            found->from = near;
            found->length = capped_length(k, s, near);
            pair = k->far[far_hash(next_bytes)];
            far = pair[0] - k->offset;
            farther = pair[1] - k->offset;
            near_insert(k, next_bytes, next);
            far_insert(k, next_bytes, next);
            int32_t before = found->length;
            if (k->level == 6) {
                int32_t from = s + 1 - repeat;
                if (load32(history + from) == (uint32_t)(bytes >> 8)) {
                    take_longer(k, found, s + 1, from);
                    if (found->length > before)
                        return 1;
                }
            }
            if (next - far < WINDOW) {
                if (load32(history + far) == next_four) {
                    take_longer(k, found, next, far);
                    if (k->level == 5 && found->length > before)
                        return 1;
                }
                if (reaches(k, farther, next, next_four))
                    take_longer(k, found, next, farther);
            }
            return 1;
        }
        bytes = next_bytes;
        s = next;
    }
}

/* Look up the bytes at the end of `found`; if these bytes lead to a longer match, use the longer match. */
static void take_aligned(const klauspost_t *k, found_t *found, int32_t s, int32_t from)
{
    int32_t distance = s - from;
    if (from < 0 || distance <= 0 || distance >= WINDOW)
        return;
    int32_t length = full_length(k, s, from);
    if (length > found->length) {
        found->at = s;
        found->from = from;
        found->length = length;
    }
}

/* Levels 5 and 6: extend the match, try a match for the bytes at its end, and extend the better match backwards. */
static void klauspost_extend(const klauspost_t *k, found_t *found, int32_t emitted, int32_t limit)
{
    if (found->length == 0 || found->length == LONGEST)
        found->length = full_length(k, found->at, found->from);
    int32_t end = found->at + found->length;
    if (end < limit && (k->level == 6 || found->length < 30)) {
        const int32_t *pair = k->far[far_hash(load64(k->history + end))];
        int32_t s = found->at + k->align;
        int32_t from = pair[0] - k->offset - found->length + k->align;
        if (s - from < WINDOW) {
            take_aligned(k, found, s, from);
            if (k->level == 6) /* the older entry uses `found->length`, which the first call may have changed */
                take_aligned(k, found, s, pair[1] - k->offset - found->length + k->align);
        }
    }
    while (found->from > 0 && found->at > emitted && k->history[found->from - 1] == k->history[found->at - 1]) {
        found->from--;
        found->at--;
        found->length++;
    }
}

/* Level 5: index positions inside a match that ends at `s`, then the position before `s`. */
static void klauspost_index5(klauspost_t *k, int32_t s, int32_t length)
{
    int32_t i = s - length + 1;
    if (i < s - 1) {
        uint64_t bytes = load64(k->history + i);
        near_insert(k, bytes, i);
        far_insert(k, bytes, i);
        far_insert(k, bytes >> 8, i + 1);
        near_insert(k, bytes >> 16, i + 2);
        for (i += 4; i < s - 1; i += 3) {
            bytes = load64(k->history + i);
            far_insert(k, bytes, i);
            near_insert(k, bytes >> 8, i + 1);
        }
    }
    uint64_t bytes = load64(k->history + s - 1);
    near_insert(k, bytes, s - 1);
    far_insert(k, bytes, s - 1);
}

/* Level 6: add positions to the index, from the end of the search to `s`, the end of the match. The chunk's end is the
 * limit. */
static void klauspost_index6(klauspost_t *k, int32_t from, int32_t s, int32_t limit)
{
    if (s >= limit) {
        for (int32_t i = from; i < k->history_size - 8; i += 2) {
            uint64_t bytes = load64(k->history + i);
            near_insert(k, bytes, i);
            far_insert(k, bytes, i);
        }
        return;
    }
    for (int32_t i = from; i < s - 1; i += 2) {
        uint64_t bytes = load64(k->history + i);
        near_insert(k, bytes, i);
        far_insert(k, bytes, i);
        far_insert(k, bytes >> 8, i + 1);
    }
}

static void klauspost_match56(klauspost_t *k, int32_t s)
{
    int32_t emitted = s, limit = k->history_size - 11, repeat = 1;
    found_t found;
    while (klauspost_search(k, s, emitted, limit, repeat, &found)) {
        klauspost_extend(k, &found, emitted, limit);
        klauspost_literals(k, emitted, found.at);
        repeat = found.at - found.from;
        klauspost_long(k, found.length, repeat);
        emitted = s = found.at + found.length;
        if (found.next >= s)
            s = found.next + 1;
        if (k->level == 6)
            klauspost_index6(k, found.next + 1, s, limit);
        if (s >= limit)
            break;
        if (k->level == 5)
            klauspost_index5(k, s, found.length);
    }
    if (k->count)
        klauspost_literals(k, emitted, k->history_size);
}

/* Level 1 uses only the table `near`, with five bytes as the key. */
static void klauspost_match1(klauspost_t *k, int32_t s)
{
    const uint8_t *history = k->history;
    int32_t emitted = s, limit = k->history_size - 11, next, from;
    uint64_t bytes = load64(history + s);
    for (;;) {
        for (;;) { /* look up pairs of positions; the distance between pairs grows */
            uint32_t hash = five_hash(bytes);
            next = s + 2 + ((s - emitted) >> 5);
            if (next > limit)
                goto rest;
            uint64_t next_bytes = load64(history + next);
            from = k->near[hash] - k->offset;
            k->near[hash] = s + k->offset;
            hash = five_hash(next_bytes);
            if (reaches(k, from, s, (uint32_t)bytes)) {
                k->near[hash] = next + k->offset;
                break;
            }
            bytes = next_bytes;
            s = next++;
            from = k->near[hash] - k->offset;
            k->near[hash] = s + k->offset;
            next_bytes >>= 8;
            if (reaches(k, from, s, (uint32_t)bytes)) {
                k->near[hash] = next + k->offset; /* the hash of s is used here, as in the original program */
                break;
            }
            bytes = next_bytes;
            s = next;
        }
        for (;;) {
            int32_t length = klauspost_backwards(k, &s, &from, full_length(k, s, from), emitted);
            klauspost_literals(k, emitted, s);
            klauspost_long(k, length, s - from);
            emitted = s += length;
            if (next >= s)
                s = next + 1;
            if (s >= limit)
                goto rest;
            bytes = load64(history + s - 2);
            k->near[five_hash(bytes)] = s - 2 + k->offset;
            bytes >>= 16;
            uint32_t hash = five_hash(bytes);
            from = k->near[hash] - k->offset;
            k->near[hash] = s + k->offset;
            if (s - from > WINDOW || load32(history + from) != (uint32_t)bytes)
                break;
        }
        bytes >>= 8;
        s++;
    }
rest:
    if (k->count)
        klauspost_literals(k, emitted, k->history_size);
}

/* Convert `content` to tokens; if there is no match, write no tokens. */
static void klauspost_match(klauspost_t *k, const uint8_t *content, int32_t n)
{
    k->count = 0;
    if (k->offset >= REBASE_AT)
        klauspost_rebase(k);
    int32_t s = klauspost_append(k, content, n);
    if (n < 13)
        return;
    switch (k->level) {
    case 1:
        klauspost_match1(k, s);
        break;
    case 2:
        klauspost_match2(k, s);
        break;
    case 3:
        klauspost_match3(k, s);
        break;
    case 4:
        klauspost_match4(k, s);
        break;
    default:
        klauspost_match56(k, s);
    }
}

/* If a block is still open, write its end of block. */
static void klauspost_close(klauspost_t *k)
{
    if (k->live)
        put_end(&k->base.sink, &k->code);
    k->live = 0;
}

static void klauspost_stored(klauspost_t *k, const uint8_t *content, int64_t n)
{
    klauspost_close(k);
    put_stored(&k->base.sink, content, n, 0);
}

static float fast_log2(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    float log2 = (float)((int32_t)(bits >> 23 & 255) - 128);
    bits = (bits & ~(255u << 23)) + (127u << 23);
    memcpy(&value, &bits, 4);
    float square = -0.34484843f * value + 2.02466578f;
    float rest = square * value - 0.67487759f;
    return log2 + rest;
}

static float entropy(uint32_t count, float share)
{
    float n = (float)count, bits = -fast_log2(n * share);
    return (bits < 1 ? 1 : bits > 15 ? 15 : bits) * n;
}

/* Estimate the bits of `n` tokens with a code made for these tokens; the end of block counts as a token. */
static int64_t estimated_bits(const counts_t *counts, int64_t n)
{
    float bits = 0, share = 1.0f / (float)n;
    int64_t extra = 0, matches = 0;
    for (int i = 0; i < 256; i++)
        if (counts->literal[i])
            bits += entropy(counts->literal[i], share);
    bits += 15; /* the end of block */
    for (int i = 0; i < 29; i++)
        if (counts->literal[257 + i]) {
            bits += entropy(counts->literal[257 + i], share);
            extra += (int64_t)length_extra(i) * counts->literal[257 + i];
            matches += counts->literal[257 + i];
        }
    share = 1.0f / (float)matches;
    for (int i = 0; matches && i < DISTANCES; i++)
        if (counts->distance[i]) {
            bits += entropy(counts->distance[i], share);
            extra += (int64_t)distance_extra(i) * counts->distance[i];
        }
    return (int64_t)bits + extra;
}

/* Whether each symbol below `n` that occurs has a length in the code. */
static int has_codes(const uint32_t *counts, const uint8_t *lengths, int n)
{
    for (int i = 0; i < n; i++)
        if (counts[i] && !lengths[i])
            return 0;
    return 1;
}

static int has_distances(const counts_t *counts)
{
    for (int i = 0; i < DISTANCES; i++)
        if (counts->distance[i])
            return 1;
    return 0;
}

static void klauspost_fixed_block(klauspost_t *k)
{
    code_t fixed;
    fixed_code(&fixed);
    klauspost_close(k);
    put_start(&k->base.sink, FIXED, 0);
    put_tokens(&k->base.sink, k->tokens, k->count, &fixed);
    put_end(&k->base.sink, &fixed);
}

/* Write tokens in a new block or in the open block. With `sync`, the block is closed; otherwise, it stays open. Without
 * `raw`, the content cannot be written as a stored block. */
void klauspost_tokens(klauspost_t *k, const uint8_t *raw, int64_t size, int sync)
{
    counts_t counts;
    code_t code, fixed;
    header_t header;
    sink_t *s = &k->base.sink;
    /* before a sync, the end of block counts as one token */
    int64_t stored = raw && size <= CHUNK ? 8 * (size + 5) : INT64_MAX, count = k->count + sync;
    int small = count < 250;
    count_tokens(&counts, k->tokens, k->count);
    counts.literal[END_OF_BLOCK] = sync || k->trimmed ? 1 : 0;
    fixed_code(&fixed);
    int64_t extra = extra_bits(&counts);
    if (k->live && (k->literals_only || !has_codes(counts.literal, k->code.literal, LITERALS) ||
                    !has_codes(counts.distance, k->code.distance, DISTANCES)))
        klauspost_close(k);
    if (k->live) {
        int64_t fresh = k->live + estimated_bits(&counts, count);
        fresh += k->code.literal[END_OF_BLOCK] + (fresh >> k->penalty);
        int64_t bits = code_bits(&counts, &k->code) + extra;
        if (fresh < bits) {
            klauspost_close(k);
            bits = fresh;
        }
        int fixed_wins = small && code_bits(&counts, &fixed) + 3 + extra + 7 < bits;
        if (stored <= bits) {
            klauspost_stored(k, raw, size);
            return;
        }
        if (fixed_wins) {
            klauspost_fixed_block(k);
            return;
        }
    }
    if (!k->live) {
        counts.literal[END_OF_BLOCK] = 1;
        int lacks_distances = !sync && !k->trimmed && !has_distances(&counts);
        go_code(&counts, &code, &header);
        if (lacks_distances) { /* if no distance occurs, remove the code that go_code() gives to one distance */
            counts.distance[0] = 0;
            code.distance[0] = 0;
        }
        if (!sync && !k->trimmed)
            make_header(&header, &code, LITERALS, DISTANCES, 1, merged_lengths);
        int64_t bits = 3 + header.bits + code_bits(&counts, &code) + extra;
        int64_t with_fixed = 3 + code_bits(&counts, &fixed) + extra;
        int fixed_wins = small && with_fixed <= bits;
        if (stored <= (fixed_wins ? with_fixed : bits)) {
            klauspost_stored(k, raw, size);
            return;
        }
        if (fixed_wins) {
            klauspost_fixed_block(k);
            return;
        }
        put_header(s, &header, 0);
        k->code = code;
        k->live = 3 + header.bits;
        k->literals_only = 0;
    }
    put_tokens(s, k->tokens, k->count, &k->code);
    if (sync)
        klauspost_close(k);
}

/* Whether all literals have similar frequencies, so that a code saves less than its header costs. */
static int is_flat(const uint32_t *counts, int64_t n)
{
    double average = (double)n / 256, sum = 0;
    for (int i = 0; i < 256; i++)
        sum += ((double)counts[i] - average) * ((double)counts[i] - average);
    return n > 1024 && sum < (double)(2 * n);
}

static void klauspost_literal_block(klauspost_t *k, const uint8_t *raw, int64_t size, int sync)
{
    uint32_t counts[257] = {0};
    code_t code;
    header_t header;
    sink_t *s = &k->base.sink;
    for (int64_t i = 0; i < size; i++)
        counts[raw[i]]++;
    if (is_flat(counts, size)) {
        klauspost_stored(k, raw, size);
        return;
    }
    counts[END_OF_BLOCK] = 1;
    memset(&code, 0, sizeof code);
    merged_lengths(counts, 257, 15, code.literal);
    code.distance[0] = 1;
    int64_t bits = coded_bits(counts, code.literal, 257) + (k->live ? k->live : 70 * 8);
    bits += bits >> 7;
    if (8 * (size + 5) <= bits) {
        klauspost_stored(k, raw, size);
        return;
    }
    if (k->live && (!has_codes(counts, k->code.literal, 256) || bits < coded_bits(counts, k->code.literal, 256)))
        klauspost_close(k);
    if (!k->live) {
        make_header(&header, &code, 257, 1, 1, merged_lengths);
        put_header(s, &header, 0);
        k->code = code;
        k->live = 3 + header.bits;
        k->literals_only = 1;
    }
    put_literals(s, raw, size, &k->code);
    if (sync)
        klauspost_close(k);
}

/* Write the chunk; only a chunk before a sync may be short. */
static void klauspost_chunk(klauspost_t *k, int sync)
{
    int32_t n = k->fill;
    if (n == 0)
        return;
    if (n <= 32) {
        klauspost_stored(k, k->chunk, n);
    } else if (n < 128) {
        klauspost_literal_block(k, k->chunk, n, 1);
    } else {
        klauspost_match(k, k->chunk, n);
        if (k->count == 0)
            klauspost_stored(k, k->chunk, n);
        else if (k->count > n - (n >> 4))
            klauspost_literal_block(k, k->chunk, n, sync);
        else
            klauspost_tokens(k, k->chunk, n, sync);
    }
    int32_t kept = n < TAIL ? TAIL - n : 0;
    memmove(k->tail, k->tail + TAIL - kept, (size_t)kept);
    memcpy(k->tail + kept, k->chunk + n - (TAIL - kept), (size_t)(TAIL - kept));
    k->base.sink.content += n;
    k->fill = 0;
}

/* Reset the state, and index the dictionary; the dictionary's tokens are dropped. */
void klauspost_restart(klauspost_t *k, const uint8_t *dictionary, int32_t n)
{
    if (k->lazy) {
        lazy_restart(k, dictionary, n);
        return;
    }
    memset(k->near, 0, sizeof k->near);
    memset(k->far, 0, sizeof k->far);
    if (k->level == 2 || k->level == 3)
        memset(k->wide, 0, sizeof k->wide);
    k->history_size = 0;
    k->offset = CHUNK;
    if (n)
        klauspost_match(k, dictionary, n);
}

/* Flush in the same way as pgzip does at the end of each of its blocks. */
void klauspost_sync(klauspost_t *k)
{
    if (k->lazy)
        lazy_sync(k);
    else
        klauspost_chunk(k, 1);
    klauspost_stored(k, NULL, 0);
}

static void put_last_empty_block(sink_t *s)
{
    put_start(s, FIXED, 1);
    if (!sink_grow(s, 3))
        return;
    put(s, 0, 7);
    put_padding(s);
}

void klauspost_end_frame(klauspost_t *k)
{
    klauspost_sync(k);
    klauspost_restart(k, k->lazy ? lazy_tail(k) : k->tail, k->block_fill > TAIL ? TAIL : 0);
    k->block_fill = 0;
}

static void klauspost_write(encoder_t *self, const uint8_t *content, int64_t n, int finish)
{
    klauspost_t *k = (klauspost_t *)self;
    while (n > 0) {
        if (k->fill == CHUNK)
            klauspost_chunk(k, 0);
        int32_t piece = k->lazy ? CHUNK : CHUNK - k->fill;
        if (piece > n)
            piece = (int32_t)n;
        if (k->block_size && piece > k->block_size - k->block_fill)
            piece = (int32_t)(k->block_size - k->block_fill);
        if (k->lazy) {
            lazy_write(k, content, piece);
        } else {
            memcpy(k->chunk + k->fill, content, (size_t)piece);
            k->fill += piece;
        }
        k->block_fill += piece;
        content += piece;
        n -= piece;
        if (k->block_size && k->block_fill == k->block_size)
            klauspost_end_frame(k);
    }
    if (finish) {
        if (k->framed)
            klauspost_sync(k);
        klauspost_chunk(k, 1);
        klauspost_close(k);
        put_last_empty_block(&k->base.sink);
    }
}

encoder_t *klauspost_new(int encoder, int level, int64_t block_size)
{
    klauspost_t *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    k->base.write = klauspost_write;
    k->level = level;
    k->align = encoder == PGZIP_0 ? 0 : 2;
    k->trimmed = encoder == PGZIP_3 || encoder == KLAUSPOST;
    k->misplaced = encoder == PGZIP_2 || encoder == PGZIP_3;
    k->framed = encoder != KLAUSPOST;
    k->block_size = block_size;
    k->offset = CHUNK;
    k->penalty = level < 7 ? 7 : 8;
    if (level >= 7 && !lazy_new(k, encoder == PGZIP_1 ? 0 : encoder == PGZIP_2 ? 1 : 2)) {
        free(k);
        return NULL;
    }
    return &k->base;
}

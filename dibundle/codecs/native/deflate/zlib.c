/* zlib's deflate: deflate.c and trees.c of zlib 1.3.1. */
#include "zlib.h"

static const zlib_level_t ZLIB_LEVELS[10] = {
    {0, 0, 0, 0},     {4, 4, 8, 4},       {4, 5, 16, 8},      {4, 6, 32, 32},       {4, 4, 16, 16},
    {8, 16, 32, 32}, {8, 16, 128, 128}, {8, 32, 128, 256}, {32, 128, 258, 1024}, {32, 258, 258, 4096},
};

/* Put a position at the head of its chain; return the previous head, or 0 if there is none. */
int32_t zlib_insert(zlib_t *z, int32_t at)
{
    const uint8_t *p = z->window + at;
    uint32_t hash = ((uint32_t)p[0] << 2 * z->shift ^ (uint32_t)p[1] << z->shift ^ p[2]) & z->mask;
    uint16_t before = z->head[hash];
    z->previous[at & (WINDOW - 1)] = before;
    z->head[hash] = (uint16_t)at;
    return before;
}

/* Return the longest match that is longer than `best`; the first candidate is `candidate`. */
static int32_t zlib_longest(zlib_t *z, int32_t candidate, int32_t best)
{
    const uint8_t *here = z->window + z->at;
    int32_t chain = z->limits.chain, nice = least(z->limits.nice, z->ahead + z->behind);
    int32_t lowest = z->at > FARTHEST ? z->at - FARTHEST : 0;
    if (best >= z->limits.good)
        chain >>= 2;
    uint16_t start = pair_at(here), end = pair_at(here + best - 1);
    do {
        const uint8_t *there = z->window + candidate;
        if (pair_at(there + best - 1) == end && pair_at(there) == start) {
            int32_t n = same_bytes(here, there, LONGEST);
            if (n > best) {
                z->from = candidate;
                best = n;
                if (n >= nice)
                    break;
                end = pair_at(here + best - 1);
            }
        }
        candidate = z->previous[candidate & (WINDOW - 1)];
    } while (candidate > lowest && --chain);
    return least(best, z->ahead);
}

void zlib_end_block(zlib_t *z, int last)
{
    counts_t counts;
    code_t code, fixed;
    header_t header;
    sink_t *s = &z->base.sink;
    const uint8_t *raw = z->block_start >= 0 ? z->window + z->block_start : NULL;
    int64_t size = z->at - z->block_start;
    count_tokens(&counts, z->tokens, z->count);
    counts.literal[END_OF_BLOCK] = 1;
    memset(&code, 0, sizeof code);
    tree_lengths(counts.literal, LITERALS, 15, code.literal);
    tree_lengths(counts.distance, DISTANCES, 15, code.distance);
    int literals = LITERALS, distances = DISTANCES;
    while (code.literal[literals - 1] == 0)
        literals--;
    while (code.distance[distances - 1] == 0)
        distances--;
    make_header(&header, &code, literals, distances, 0, tree_lengths);
    fixed_code(&fixed);
    int64_t extra = extra_bits(&counts);
    int64_t dynamic_bytes = (header.bits + code_bits(&counts, &code) + extra + 10) >> 3;
    int64_t fixed_bytes = (code_bits(&counts, &fixed) + extra + 10) >> 3;
    int is_fixed = fixed_bytes <= dynamic_bytes;
    if (raw && size <= CHUNK && size + 4 <= (is_fixed ? fixed_bytes : dynamic_bytes)) {
        put_stored(s, raw, size, last);
    } else {
        if (is_fixed)
            put_start(s, FIXED, last);
        else
            put_header(s, &header, last);
        put_tokens(s, z->tokens, z->count, is_fixed ? &fixed : &code);
        put_end(s, is_fixed ? &fixed : &code);
    }
    z->count = 0;
    z->block_start = z->at;
    s->content = z->origin + z->at;
}

/* Add a token; return whether the block ends after this token. */
static int zlib_token(zlib_t *z, uint32_t token)
{
    z->tokens[z->count++] = token;
    return z->count == z->stop && (!z->ends || z->ends(z));
}

static void zlib_slide(zlib_t *z)
{
    memcpy(z->window, z->window + WINDOW, WINDOW);
    z->at -= WINDOW;
    z->from -= WINDOW;
    z->block_start -= WINDOW;
    z->origin += WINDOW;
    for (int i = 0; i < 1 << 16; i++)
        z->head[i] = (uint16_t)(z->head[i] >= WINDOW ? z->head[i] - WINDOW : 0);
    for (int i = 0; i < WINDOW; i++)
        z->previous[i] = (uint16_t)(z->previous[i] >= WINDOW ? z->previous[i] - WINDOW : 0);
}

/* Prepare steps at the end of the input, when fewer than AHEAD bytes are left. In gzip's window, this happens only
 * once. */
void zlib_starve(zlib_t *z)
{
    if (z->at >= WINDOW + FARTHEST && !z->behind)
        zlib_slide(z);
}

/* Whether a search at this position is allowed, if its first candidate is `candidate`. */
static inline int zlib_may_search(const zlib_t *z, int32_t candidate)
{
    return candidate && z->at - candidate <= FARTHEST && z->at <= 2 * WINDOW - AHEAD;
}

/* Whether there is enough input for a step: enough to look ahead or, at the input's end, at least one byte. */
static int zlib_may_step(zlib_t *z, int closing)
{
    if (z->ahead >= AHEAD)
        return 1;
    if (!closing)
        return 0;
    zlib_starve(z);
    return z->ahead > 0;
}

/* Levels 1 to 3: use each match without a search at the next position. */
static void zlib_fast(zlib_t *z, int closing)
{
    while (zlib_may_step(z, closing)) {
        int32_t length = 0, head = z->ahead >= 3 ? zlib_insert(z, z->at) : 0;
        if (zlib_may_search(z, head))
            length = zlib_longest(z, head, 2);
        int ends;
        if (length >= 3) {
            ends = zlib_token(z, match_token(length, z->at - z->from));
            z->ahead -= length;
            int32_t stop = z->at + length;
            if (length <= z->limits.lazy && z->ahead >= 3)
                while (++z->at < stop)
                    zlib_insert(z, z->at);
            z->at = stop;
        } else {
            ends = zlib_token(z, z->window[z->at]);
            z->ahead--;
            z->at++;
        }
        if (ends)
            zlib_end_block(z, 0);
    }
}

/* Levels 4 to 9: use a match only if the match at the next position is not longer. */
static void zlib_lazy(zlib_t *z, int closing)
{
    while (zlib_may_step(z, closing)) {
        int32_t head = z->ahead >= 3 ? zlib_insert(z, z->at) : 0;
        int32_t length = z->length, from = z->from;
        z->length = 2;
        if (length < z->limits.lazy && zlib_may_search(z, head)) {
            z->length = zlib_longest(z, head, length);
            if (z->length == 3 && z->at - z->from > 4096)
                z->length = 2;
        }
        if (length >= 3 && z->length <= length) {
            int ends = zlib_token(z, match_token(length, z->at - 1 - from));
            int32_t insert_end = z->at + z->ahead - 3;
            z->ahead -= length - 1;
            int32_t stop = z->at + length - 1;
            while (++z->at < stop)
                if (z->at <= insert_end)
                    zlib_insert(z, z->at);
            z->pending = 0;
            z->length = 2;
            if (ends)
                zlib_end_block(z, 0);
        } else {
            if (z->pending && zlib_token(z, z->window[z->at - 1]))
                zlib_end_block(z, 0);
            z->pending = 1;
            z->at++;
            z->ahead--;
        }
    }
    if (closing && z->pending)
        zlib_token(z, z->window[z->at - 1]);
}

void zlib_run(zlib_t *z, int closing)
{
    while (z->insert && z->ahead + z->insert >= 3) {
        zlib_insert(z, z->at - z->insert);
        z->insert--;
    }
    if (z->level <= 3)
        zlib_fast(z, closing);
    else
        zlib_lazy(z, closing);
}

void zlib_write(encoder_t *self, const uint8_t *content, int64_t n, int finish)
{
    zlib_t *z = (zlib_t *)self;
    while (n > 0) {
        int32_t end = z->at + z->ahead;
        if (end == 2 * WINDOW) {
            zlib_run(z, 0);
            zlib_slide(z);
            end -= WINDOW;
        }
        int32_t piece = 2 * WINDOW - end;
        if (piece > n)
            piece = (int32_t)n;
        memcpy(z->window + end, content, (size_t)piece);
        z->ahead += piece;
        content += piece;
        n -= piece;
    }
    if (finish) {
        zlib_run(z, 1);
        zlib_end_block(z, 1);
        put_padding(&z->base.sink);
    }
}

encoder_t *zlib_new(int level, int memory_level)
{
    zlib_t *z = calloc(1, sizeof *z);
    if (!z)
        return NULL;
    int hash_bits = memory_level + 7;
    z->base.write = zlib_write;
    z->limits = ZLIB_LEVELS[level];
    z->level = level;
    z->shift = (hash_bits + 2) / 3;
    z->mask = (1u << hash_bits) - 1;
    z->stop = (1 << (memory_level + 6)) - 1;
    z->length = 2;
    return &z->base;
}

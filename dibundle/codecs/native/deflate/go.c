/* Go's compress/flate, up to Go 1.26. */
#include "go.h"

/* src/compress/flate/{deflate,deflatefast,huffman_bit_writer,huffman_code}.go of Go 1.24. */

static const go_level_t GO_LEVELS[10] = {
    {0, 0, 0, 0},     {0, 0, 0, 0},     {0, 16, 8, 5},     {0, 32, 32, 6},      {4, 16, 16, 0},
    {16, 32, 32, 0}, {16, 128, 128, 0}, {32, 128, 256, 0}, {128, 258, 1024, 0}, {258, 258, 4096, 0},
};

/* Compute the code lengths of both alphabets, and the header. The block's end counts as one symbol. Return the number
 * of distances. */
void go_code(counts_t *counts, code_t *code, header_t *header)
{
    int literals = LITERALS, distances = DISTANCES;
    while (counts->literal[literals - 1] == 0)
        literals--;
    while (distances > 0 && counts->distance[distances - 1] == 0)
        distances--;
    if (distances == 0)
        counts->distance[0] = (uint32_t)(distances = 1);
    memset(code, 0, sizeof *code);
    merged_lengths(counts->literal, LITERALS, 15, code->literal);
    merged_lengths(counts->distance, DISTANCES, 15, code->distance);
    make_header(header, code, literals, distances, 1, merged_lengths);
}

int64_t code_bits(const counts_t *counts, const code_t *code)
{
    return coded_bits(counts->literal, code->literal, 288) + coded_bits(counts->distance, code->distance, 32);
}

/* Levels 2 to 9: write the smallest of the three kinds of block. If the block's start has left the window, `raw` is
 * NULL. */
void go_smallest_block(sink_t *s, const uint32_t *tokens, int64_t n, const uint8_t *raw, int64_t size)
{
    counts_t counts;
    code_t code, fixed;
    header_t header;
    int storable = raw && size <= CHUNK;
    count_tokens(&counts, tokens, n);
    counts.literal[END_OF_BLOCK] = 1;
    int64_t extra = storable ? extra_bits(&counts) : 0;
    go_code(&counts, &code, &header);
    fixed_code(&fixed);
    int64_t bits = 3 + code_bits(&counts, &fixed) + extra;
    int64_t dynamic = 3 + header.bits + code_bits(&counts, &code) + extra;
    int is_dynamic = dynamic < bits;
    if (is_dynamic)
        bits = dynamic;
    if (storable && 8 * (size + 5) < bits) {
        put_stored(s, raw, size, 0);
        return;
    }
    if (is_dynamic)
        put_header(s, &header, 0);
    else
        put_start(s, FIXED, 0);
    put_tokens(s, tokens, n, is_dynamic ? &code : &fixed);
    put_end(s, is_dynamic ? &code : &fixed);
}

enum { FAR = 65535 };

static inline uint32_t go_hash(const uint8_t *p)
{
    uint32_t four = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    return (four * 0x1e35a7bdu) >> 15;
}

/* Put `index` at the head of its chain; return the previous head. */
static inline int32_t go_insert(go_chain_t *g, int32_t index)
{
    int32_t *head = g->head + go_hash(g->window + index), before = *head;
    *head = index + g->offset;
    g->back[index & (WINDOW - 1)] = (uint16_t)least(*head - before, FAR);
    return before;
}

void go_insert_all(go_chain_t *g, int32_t end)
{
    for (int32_t index = 0; index < end; index++)
        go_insert(g, index);
}

static void go_end_block(go_chain_t *g, int32_t index)
{
    const uint8_t *raw = g->block_start >= 0 ? g->window + g->block_start : NULL;
    go_smallest_block(&g->base.sink, g->tokens, g->count, raw, index - g->block_start);
    g->block_start = index;
    g->base.sink.content = g->origin + index;
    g->count = 0;
}

/* `index`: the position after the token. `held`: a match that begins before `index` is pending until the result at
 * `index` is known. */
static inline void go_token(go_chain_t *g, uint32_t token, int32_t index, int held)
{
    if (g->found) {
        g->found[g->found_count++] = token | (held ? HELD : 0);
        return;
    }
    g->tokens[g->count++] = token;
    if (g->count == BLOCK_TOKENS)
        go_end_block(g, index);
}

/* Return the length of the longest match at `index`; the first candidate is `candidate`. A match of 4 bytes counts only
 * if its distance is at most 4096; a length of 3 means that there is no match. */
static int32_t go_longest(const go_chain_t *g, int32_t candidate, int32_t ahead, int32_t *distance)
{
    const uint8_t *here = g->window + g->index;
    int32_t most = least(ahead, LONGEST), nice = least(g->level.nice, most), best = 3, lowest = g->index - WINDOW;
    /* a match that is longer than the best match must have these 4 bytes, which few candidates have */
    uint32_t wanted = load32(here);
    for (int tries = g->level.chain; tries > 0; tries--) {
        const uint8_t *there = g->window + candidate;
        if (load32(there + best - 3) == wanted) {
            int32_t n = same_bytes(here, there, most);
            if (n > best && (n > 4 || g->index - candidate <= 4096)) {
                best = n;
                *distance = g->index - candidate;
                if (n >= nice)
                    break;
                wanted = load32(here + best - 3);
            }
        }
        if (candidate == lowest)
            break;
        candidate -= g->back[candidate & (WINDOW - 1)];
        if (candidate < lowest || candidate < 0)
            break;
    }
    return best;
}

static inline int go_reaches(const go_chain_t *g)
{
    int32_t lowest = g->index > WINDOW ? g->index - WINDOW : 0;
    return g->chain - g->offset >= lowest;
}

/* Levels 4 to 9: use a match only if the match at the next position is not longer. */
static void go_lazy(go_chain_t *g, int closing)
{
    int32_t insert_end = g->end - 3, most = g->limit - g->origin < g->end ? (int32_t)(g->limit - g->origin) : g->end;
    for (;;) {
        int32_t ahead = g->end - g->index;
        if (g->index >= most || (ahead < 262 && !closing))
            break;
        if (g->index < insert_end)
            g->chain = go_insert(g, g->index);
        int32_t length = g->length, distance = g->distance;
        g->length = 3;
        if (go_reaches(g) && ahead > length && length < g->level.lazy)
            g->length = go_longest(g, g->chain - g->offset, ahead, &g->distance);
        if (length >= 4 && g->length <= length) {
            int32_t stop = g->index + length - 1;
            while (++g->index < stop)
                if (g->index < insert_end)
                    go_insert(g, g->index);
            g->pending = 0;
            g->length = 3;
            go_token(g, match_token(length, distance), g->index, 0);
        } else {
            if (g->pending)
                go_token(g, g->window[g->index - 1], g->index, length > 3);
            g->index++;
            g->pending = 1;
        }
    }
    if (closing && g->pending && g->index == g->end)
        go_token(g, g->window[g->index - 1], g->index, 0);
}

/* Levels 2 and 3: use each match without a search at the next position. */
static void go_greedy(go_chain_t *g, int closing)
{
    int32_t insert_end = g->end - 3;
    for (;;) {
        int32_t ahead = g->end - g->index, length = 3, distance = 0;
        if (ahead == 0 || (ahead < 262 && !closing))
            break;
        if (g->index < insert_end)
            g->chain = go_insert(g, g->index);
        if (go_reaches(g) && ahead > 3)
            length = go_longest(g, g->chain - g->offset, ahead, &distance);
        if (length < 4) {
            g->index++;
            go_token(g, g->window[g->index - 1], g->index, 0);
            continue;
        }
        int32_t stop = g->index + length;
        if (length <= g->level.most_inserted)
            while (++g->index < stop)
                if (g->index < insert_end)
                    go_insert(g, g->index);
        g->index = stop;
        go_token(g, match_token(length, distance), g->index, 0);
    }
}

void go_step(go_chain_t *g, int closing)
{
    if (g->level.lazy)
        go_lazy(g, closing);
    else
        go_greedy(g, closing);
    if (closing && g->count)
        go_end_block(g, g->index);
}

void go_slide(go_chain_t *g)
{
    memcpy(g->window, g->window + WINDOW, WINDOW);
    g->index -= WINDOW;
    g->end -= WINDOW;
    g->block_start = g->block_start >= WINDOW ? g->block_start - WINDOW : -1;
    g->origin += WINDOW;
    g->offset += WINDOW;
    if (g->offset <= 1 << 24)
        return;
    int32_t delta = g->offset - 1; /* this number is subtracted from all entries to keep them small; entries below it are out of reach */
    g->offset -= delta;
    g->chain -= delta;
    for (int i = 0; i < 1 << 17; i++)
        g->head[i] = g->head[i] > delta ? g->head[i] - delta : 0;
}

static void go_chain_write(encoder_t *self, const uint8_t *content, int64_t n, int finish)
{
    go_chain_t *g = (go_chain_t *)self;
    while (n > 0) {
        if (g->end == 2 * WINDOW) {
            go_step(g, 0);
            go_slide(g);
        }
        int32_t piece = 2 * WINDOW - g->end;
        if (piece > n)
            piece = (int32_t)n;
        memcpy(g->window + g->end, content, (size_t)piece);
        g->end += piece;
        content += piece;
        n -= piece;
    }
    if (finish) {
        go_step(g, 1);
        put_stored(&g->base.sink, NULL, 0, 1);
    }
}

encoder_t *go_chain_new(int level)
{
    go_chain_t *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->base.write = go_chain_write;
    g->level = GO_LEVELS[level];
    g->length = 3;
    g->chain = -1;
    g->offset = 1;
    g->limit = INT64_MAX;
    return &g->base;
}

/* Level 1. */

typedef struct {
    encoder_t base;
    int32_t fill, earlier; /* number of bytes in this chunk, and number of kept bytes of the previous chunk */
    int32_t base_position; /* an entry is this number plus a position in the chunk */
    int stores; /* level 0 */
    int64_t count;
    struct {
        uint32_t value;
        int32_t position;
    } table[1 << 14];
    uint32_t tokens[CHUNK];
    uint8_t content[2 * CHUNK]; /* the previous chunk, then this chunk */
} go_speed_t;

static inline uint32_t go_speed_hash(uint32_t four)
{
    return (four * 0x1e35a7bdu) >> 18;
}

static void go_speed_literals(go_speed_t *g, const uint8_t *from, const uint8_t *to)
{
    while (from < to)
        g->tokens[g->count++] = *from++;
}

/* Keep positions below 2^31: positions out of reach become 0. */
static void go_speed_rebase(go_speed_t *g)
{
    for (int i = 0; i < 1 << 14; i++) {
        int32_t position = g->table[i].position - g->base_position + WINDOW + 1;
        g->table[i].position = position < 0 ? 0 : position;
    }
    g->base_position = WINDOW + 1;
}

static void go_speed_match(go_speed_t *g)
{
    const uint8_t *chunk = g->content + CHUNK;
    int32_t n = g->fill, limit = n - 15, emitted = 0, s = 0;
    g->count = 0;
    if (g->base_position >= INT32_MAX - 2 * CHUNK)
        go_speed_rebase(g);
    uint32_t value = load32(chunk);
    for (;;) {
        int32_t skip = 32, next = s, from;
        for (;;) { /* the step grows by one after every 32 positions without a match */
            s = next;
            int32_t step = skip >> 5;
            next = s + step;
            skip += step;
            if (next > limit)
                goto rest;
            uint32_t hash = go_speed_hash(value), seen = g->table[hash].value;
            from = g->table[hash].position - g->base_position;
            g->table[hash].value = value;
            g->table[hash].position = s + g->base_position;
            if (s - from <= WINDOW && seen == value)
                break;
            value = load32(chunk + next);
        }
        go_speed_literals(g, chunk + emitted, chunk + s);
        for (;;) {
            int32_t length = 4 + same_bytes(chunk + s + 4, chunk + from + 4, least(LONGEST - 4, n - s - 4));
            g->tokens[g->count++] = match_token(length, s - from);
            s += length;
            emitted = s;
            if (s >= limit)
                goto rest;
            value = load32(chunk + s - 1);
            uint32_t hash = go_speed_hash(value);
            g->table[hash].value = value;
            g->table[hash].position = s - 1 + g->base_position;
            value = load32(chunk + s);
            hash = go_speed_hash(value);
            uint32_t seen = g->table[hash].value;
            from = g->table[hash].position - g->base_position;
            g->table[hash].value = value;
            g->table[hash].position = s + g->base_position;
            if (s - from > WINDOW || seen != value)
                break;
        }
        s++;
        value = load32(chunk + s);
    }
rest:
    go_speed_literals(g, chunk + emitted, chunk + n);
    g->base_position += n;
}

/* Write a block that has only literals; if a stored block is hardly larger, write a stored block instead. */
static void go_literal_block(sink_t *s, const uint8_t *raw, int64_t size)
{
    counts_t counts;
    code_t code;
    header_t header;
    memset(&counts, 0, sizeof counts);
    memset(&code, 0, sizeof code);
    for (int64_t i = 0; i < size; i++)
        counts.literal[raw[i]]++;
    counts.literal[END_OF_BLOCK] = 1;
    counts.distance[0] = 1;
    code.distance[0] = 1;
    merged_lengths(counts.literal, LITERALS, 15, code.literal);
    make_header(&header, &code, 257, 1, 1, merged_lengths);
    int64_t bits = 3 + header.bits + code_bits(&counts, &code);
    if (8 * (size + 5) < bits + (bits >> 4)) {
        put_stored(s, raw, size, 0);
        return;
    }
    put_header(s, &header, 0);
    put_literals(s, raw, size, &code);
    put_end(s, &code);
}

static void go_dynamic_block(sink_t *s, const uint32_t *tokens, int64_t n, const uint8_t *raw, int64_t size)
{
    counts_t counts;
    code_t code;
    header_t header;
    count_tokens(&counts, tokens, n);
    counts.literal[END_OF_BLOCK] = 1;
    go_code(&counts, &code, &header);
    int64_t bits = 3 + header.bits + code_bits(&counts, &code);
    if (8 * (size + 5) < bits + (bits >> 4)) {
        put_stored(s, raw, size, 0);
        return;
    }
    put_header(s, &header, 0);
    put_tokens(s, tokens, n, &code);
    put_end(s, &code);
}

static void go_speed_chunk(go_speed_t *g)
{
    const uint8_t *chunk = g->content + CHUNK;
    sink_t *s = &g->base.sink;
    int32_t n = g->fill;
    if (n == 0)
        return;
    if (n <= 16 || g->stores) {
        put_stored(s, chunk, n, 0);
    } else if (n < 128) {
        go_literal_block(s, chunk, n);
    } else {
        go_speed_match(g);
        if (g->count > n - (n >> 4))
            go_literal_block(s, chunk, n);
        else
            go_dynamic_block(s, g->tokens, g->count, chunk, n);
        memcpy(g->content, chunk, CHUNK);
    }
    s->content += n;
    g->fill = 0;
}

static void go_speed_write(encoder_t *self, const uint8_t *content, int64_t n, int finish)
{
    go_speed_t *g = (go_speed_t *)self;
    while (n > 0) {
        if (g->fill == CHUNK)
            go_speed_chunk(g);
        int32_t piece = CHUNK - g->fill;
        if (piece > n)
            piece = (int32_t)n;
        memcpy(g->content + CHUNK + g->fill, content, (size_t)piece);
        g->fill += piece;
        content += piece;
        n -= piece;
    }
    if (finish) {
        go_speed_chunk(g);
        put_stored(&g->base.sink, NULL, 0, 1);
    }
}

/* Levels 0 and 1; level 0 stores everything. */
encoder_t *go_speed_new(int level)
{
    go_speed_t *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->base.write = go_speed_write;
    g->base_position = CHUNK;
    g->stores = level == 0;
    return &g->base;
}

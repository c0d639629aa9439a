/* klauspost's levels 7 to 9, as pgzip uses them: lazy matching with chains; after each match, a second check looks for
 * a longer match. */
#include "klauspost.h"

/* flate/deflate.go of klauspost/compress 1.15.12, 1.17.9, 1.18.0, 1.20.0 and 1.20.3. */

#define HASH_BITS 17
#define SHORTEST 4
#define AHEAD (SHORTEST + LONGEST)
#define MOST_TOKENS WINDOW
#define NO_START INT32_MAX

typedef struct {
    int lazy, nice, chain;
} lazy_level_t;

static const lazy_level_t LEVELS[3] = {{12, 16, 24}, {30, 40, 64}, {258, 258, 1024}};

struct lazy {
    lazy_level_t limits;
    int version;      /* klauspost's version: 0 is up to 1.15, 1 is 1.17.9 to 1.18.0, 2 is from 1.18.2 on */
    int32_t at, end;  /* in the window */
    int32_t start;    /* start of the block, or NO_START after the start has left the window */
    int32_t inserted; /* positions below `inserted` are indexed */
    int32_t length, from_distance, head, offset;
    int pending;   /* whether the byte before `at` is pending */
    uint16_t idle; /* number of positions without a match; as in the original program, this may overflow */
    int sync;
    int32_t heads[1 << HASH_BITS], previous[WINDOW]; /* positions + offset */
    int32_t costs[2 * WINDOW + 1];                   /* level 9: number of bits that all bytes up to a position take as literals */
    uint8_t window[2 * WINDOW + 8];
};

static inline uint32_t four_hash(const uint8_t *bytes)
{
    return (load32(bytes) * 2654435761u) >> (32 - HASH_BITS);
}

static inline void lazy_insert(lazy_t *z, int32_t position)
{
    int32_t *head = z->heads + four_hash(z->window + position);
    z->previous[position & (WINDOW - 1)] = *head;
    *head = position + z->offset;
}

/* Look up and insert the current position, unless it is too near to the end. */
static inline void lazy_look_up(lazy_t *z)
{
    if (z->at < z->inserted) {
        z->head = z->heads[four_hash(z->window + z->at)];
        lazy_insert(z, z->at);
    }
}

static void lazy_block(klauspost_t *k)
{
    lazy_t *z = k->lazy;
    if (z->at > 0) {
        int storable = z->start <= z->at;
        const uint8_t *raw = storable ? z->window + z->start : NULL;
        klauspost_tokens(k, raw, storable ? z->at - z->start : 0, z->sync);
        z->start = z->at;
    }
    k->base.sink.content = k->lazy_content + z->at;
    k->count = 0;
}

static inline void lazy_token(klauspost_t *k, uint32_t token)
{
    k->tokens[k->count++] = token;
    if (k->count == MOST_TOKENS)
        lazy_block(k);
}

/* The cost of the match's bytes as literals, minus the cost of the match. */
static inline int32_t gain(const lazy_t *z, int32_t length, int32_t distance)
{
    int length_bits, distance_bits;
    length_symbol((uint32_t)length - 3, &length_bits);
    /* the original program also uses distance, not distance - 1 */
    distance_symbol(distance == WINDOW ? 128 : (uint32_t)distance, &distance_bits);
    return z->costs[z->at + length] - z->costs[z->at] - distance_bits - length_bits - (z->version ? 3 : 6);
}

/* Find the longest match of more than 3 bytes here; at level 9, the match must save more than the previous match saves. */
static void lazy_search(lazy_t *z, int32_t from, int32_t ahead)
{
    const uint8_t *window = z->window;
    int32_t most = least(LONGEST, ahead), nice = least(z->limits.nice, ahead), best = SHORTEST - 1;
    int32_t lowest = z->at > WINDOW ? z->at - WINDOW : 0, best_gain = z->version ? 4 : 0;
    int weighs = z->limits.chain > 100;
    for (int tries = z->limits.chain; tries > 0; tries--) {
        if (window[from + best] == window[z->at + best]) {
            int32_t n = same_bytes(window + from, window + z->at, most);
            int32_t gained = weighs && n > best ? gain(z, n, z->at - from) : 0;
            if (n > best && (!weighs || gained > best_gain)) {
                best = n;
                best_gain = gained;
                z->length = n;
                z->from_distance = z->at - from;
                if (n >= nice)
                    break;
            }
        }
        if (from <= lowest)
            break;
        from = z->previous[from & (WINDOW - 1)] - z->offset;
        if (from < lowest)
            break;
    }
}

/* Up to 1.15: use a longer match. The key of the lookup begins two bytes before the end of the current match. */
static void lazy_take_aligned(lazy_t *z, int32_t *length, int32_t *distance, int32_t ahead, int32_t lowest)
{
    int32_t s = z->at - 1;
    if (s + *length + 2 >= z->inserted)
        return;
    int32_t from = z->heads[four_hash(z->window + s + *length - 2)] - z->offset - *length + 2;
    if (from <= lowest)
        return;
    int32_t n = same_bytes(z->window + s, z->window + from, least(ahead, LONGEST));
    if (n > *length) {
        *length = n;
        *distance = s - from;
    }
}

/* After 1.15: use a longer match that begins at the current match's third byte; the current match's first two bytes may
 * become literals. */
static void lazy_take_later(klauspost_t *k, int32_t *length, int32_t *distance, int32_t ahead, int32_t lowest)
{
    lazy_t *z = k->lazy;
    int32_t s = z->at - 1;
    if (*length >= LONGEST - 2 || s + *length >= z->inserted)
        return;
    int32_t from = z->heads[four_hash(z->window + s + *length)] - z->offset - *length;
    if (s - from == *distance || from <= lowest + 2)
        return;
    int32_t n = same_bytes(z->window + s + 2, z->window + from + 2, least(ahead, LONGEST + 2) - 2);
    if (n <= *length)
        return;
    *length = n;
    *distance = s - from;
    for (int32_t i = 1; i >= 0; i--) {
        if (*length < LONGEST && z->window[s + i] == z->window[from + i]) {
            ++*length;
            continue;
        }
        for (int32_t j = 0; j <= i; j++) {
            lazy_token(k, z->window[s + j]);
            z->at++;
            lazy_look_up(z);
        }
        break;
    }
}

/* Level 9 compares the costs of matches. It takes the costs from a Huffman code that it builds for the next bytes. */
static void lazy_weigh(lazy_t *z)
{
    uint32_t counts[256] = {0};
    uint8_t lengths[256] = {0};
    int32_t counted = z->version == 2 ? least(z->end - z->at, MOST_TOKENS) : z->end - z->at;
    for (int32_t i = 0; i < counted; i++)
        counts[z->window[z->at + i]]++;
    for (int i = 0; i < 256; i++)
        counts[i] &= 0xffff; /* 16 bits, as in the original program */
    merged_lengths(counts, 256, 15, lengths);
    z->costs[z->at] = 0;
    for (int32_t i = z->at; i < z->end; i++)
        z->costs[i + 1] = z->costs[i] + lengths[z->window[i]];
}

/* Emit the match at the previous position, and index the positions inside this match. */
static void lazy_match(klauspost_t *k, int32_t length, int32_t distance, int32_t ahead, int32_t lowest)
{
    lazy_t *z = k->lazy;
    if (z->version)
        lazy_take_later(k, &length, &distance, ahead, lowest);
    else
        lazy_take_aligned(z, &length, &distance, ahead, lowest);
    int32_t next = z->at + length - 1, end = least(next, z->inserted);
    k->tokens[k->count++] = match_token(length, distance);
    for (int32_t i = z->at + 1; i < end; i++)
        lazy_insert(z, i);
    z->at = next;
    z->pending = 0;
    z->length = SHORTEST - 1;
    if (k->count == MOST_TOKENS)
        lazy_block(k);
    z->idle = 0;
}

/* Emit the pending literal; after many literals, emit a few more without a search. */
static void lazy_literal(klauspost_t *k)
{
    lazy_t *z = k->lazy;
    if (z->length >= SHORTEST)
        z->idle = 0;
    if (!z->pending) {
        z->at++;
        z->pending = 1;
        return;
    }
    z->idle++;
    lazy_token(k, z->window[z->at - 1]);
    z->at++;
    int32_t skip = z->idle - z->limits.chain;
    if (skip <= 0)
        return;
    for (int32_t left = 1 + (skip >> 6); left > 0 && z->at < z->end - 1; left--) {
        lazy_token(k, z->window[z->at - 1]);
        lazy_look_up(z);
        z->at++;
    }
    z->pending = 0;
    lazy_token(k, z->window[z->at - 1]);
}

static void lazy_run(klauspost_t *k)
{
    lazy_t *z = k->lazy;
    if (z->end - z->at < AHEAD && !z->sync)
        return;
    if (z->end != z->at && z->limits.chain > 100)
        lazy_weigh(z);
    z->inserted = z->end - (SHORTEST - 1);
    for (;;) {
        int32_t ahead = z->end - z->at;
        if (ahead < AHEAD && !z->sync)
            return;
        if (ahead == 0)
            break;
        lazy_look_up(z);
        int32_t length = z->length, distance = z->from_distance, lowest = z->at > WINDOW ? z->at - WINDOW : 0;
        z->length = SHORTEST - 1;
        z->from_distance = 0;
        if (z->head - z->offset >= lowest && ahead > length && length < z->limits.lazy)
            lazy_search(z, z->head - z->offset, ahead);
        if (length >= SHORTEST && z->length <= length)
            lazy_match(k, length, distance, ahead, lowest);
        else
            lazy_literal(k);
    }
    if (z->pending)
        k->tokens[k->count++] = z->window[z->at - 1];
    z->pending = 0;
    if (k->count)
        lazy_block(k);
}

static void lazy_fill(klauspost_t *k, const uint8_t *content, int64_t n)
{
    lazy_t *z = k->lazy;
    while (n > 0) {
        if (z->end == 2 * WINDOW)
            lazy_run(k);
        if (z->at >= 2 * WINDOW - AHEAD) {
            memcpy(z->window, z->window + WINDOW, WINDOW);
            z->at -= WINDOW;
            z->end -= WINDOW;
            z->start = z->start != NO_START && z->start >= WINDOW ? z->start - WINDOW : NO_START;
            z->offset += WINDOW;
            k->lazy_content += WINDOW;
        }
        int32_t piece = 2 * WINDOW - z->end;
        if (piece > n)
            piece = (int32_t)n;
        memcpy(z->window + z->end, content, (size_t)piece);
        z->end += piece;
        content += piece;
        n -= piece;
    }
}

/* Reset the state and index the dictionary; up to 1.18.0, the first block is treated as if it began with the
 * dictionary. */
void lazy_restart(klauspost_t *k, const uint8_t *dictionary, int32_t n)
{
    lazy_t *z = k->lazy;
    memset(z->heads, 0, sizeof z->heads);
    memset(z->previous, 0, sizeof z->previous);
    k->lazy_content += z->end - n;
    k->count = 0;
    z->head = -1;
    z->offset = 1;
    z->length = SHORTEST - 1;
    z->from_distance = z->inserted = z->pending = z->idle = 0;
    if (n)
        memmove(z->window, dictionary, (size_t)n);
    for (int32_t i = 0; i < n - (SHORTEST - 1); i++)
        lazy_insert(z, i);
    z->at = z->end = n;
    z->start = z->version == 2 ? n : 0;
}

void lazy_sync(klauspost_t *k)
{
    lazy_t *z = k->lazy;
    z->sync = 1;
    lazy_run(k);
    z->sync = 0;
}

/* Keep the last bytes of a block; they are the dictionary of the next block. */
const uint8_t *lazy_tail(const klauspost_t *k)
{
    return k->lazy->window + k->lazy->end - TAIL;
}

void lazy_write(klauspost_t *k, const uint8_t *content, int64_t n)
{
    lazy_fill(k, content, n);
}

/* Return 0 if memory is not available. */
int lazy_new(klauspost_t *k, int version)
{
    lazy_t *z = calloc(1, sizeof *z);
    if (!z)
        return 0;
    k->base.more = k->lazy = z;
    z->limits = LEVELS[k->level - 7];
    z->version = version;
    lazy_restart(k, NULL, 0);
    return 1;
}

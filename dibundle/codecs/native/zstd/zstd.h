/* Shared parts of this folder: loads, bits, codes, sequences, and the state of an encoder.
 *
 * The encoder writes Zstandard frames, byte for byte like klauspost/compress. spec/zstd.md has every rule, with the
 * same names. The code is C99, uses only the standard library, and has no state outside of the handles. Offsets and
 * sizes are in bytes unless they are called bits. */
#ifndef DIB_ZSTD_H
#define DIB_ZSTD_H

#include "../dib.h"

/* The encoders by the numbers in recipes (dibundle/codecs/frames/encoders.py has their names). */
enum { KLAUSPOST_17 = 32, KLAUSPOST_20 = 33, KLAUSPOST_15 = 34 };

enum { FASTEST = 1, DEFAULT = 2, BETTER = 3, BEST = 4 };

#define BLOCK 131072   /* maximum content of a block */
#define LONGEST 131074 /* the longest match */
#define SHORTEST 3     /* the base of match lengths */
#define SYMBOLS 53     /* the size of the largest alphabet of sequences: the codes of match lengths */
#define SLACK 16       /* number of bytes after the content that may be loaded */

/* Maximum output of one block: literals (a code has at most 11 bits), then up to BLOCK / 4 sequences of less than 12
 * bytes each. */
#define BLOCK_ROOM (BLOCK * 2 + BLOCK / 4 * 12 + 4096)

static inline uint32_t load32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t load64(const uint8_t *p)
{
    return (uint64_t)load32(p) | (uint64_t)load32(p + 4) << 32;
}

/* The index of the highest set bit; for 0, -1 (all bits set), as in the encoders' arithmetic. */
static inline uint32_t highest(uint32_t n)
{
    return n ? 31u - (uint32_t)__builtin_clz(n) : 0xFFFFFFFFu;
}

/* The number of equal bytes at `a` and `b`, up to `most`; `a` and `b` may overlap. */
static inline int32_t same_bytes(const uint8_t *a, const uint8_t *b, int32_t most)
{
    int32_t n = 0;
    for (; n + 8 <= most; n += 8) {
        uint64_t other = load64(a + n) ^ load64(b + n);
        if (other)
            return n + (__builtin_ctzll(other) >> 3);
    }
    while (n < most && a[n] == b[n])
        n++;
    return n;
}

/* The output of bits, the lowest first. */
typedef struct {
    uint8_t *at;
    uint64_t bits;
    uint32_t count;
} bits_t;

/* Append up to 32 bits. */
static inline void put(bits_t *b, uint32_t value, uint32_t count)
{
    b->bits |= (uint64_t)value << b->count;
    b->count += count;
    if (b->count >= 32) {
        for (int i = 0; i < 4; i++)
            *b->at++ = (uint8_t)(b->bits >> 8 * i);
        b->bits >>= 32;
        b->count -= 32;
    }
}

/* Append a set bit and the padding of the last byte; return the end. */
static inline uint8_t *put_end(bits_t *b)
{
    put(b, 1, 1);
    for (; b->count > 0; b->count -= b->count < 8 ? b->count : 8, b->bits >>= 8)
        *b->at++ = (uint8_t)b->bits;
    return b->at;
}

/* The shares of symbols in a table, and the transitions of states, with which FSE encodes. */
typedef struct {
    int symbols; /* one more than the highest symbol that occurs; 0: unusable */
    int log;
    int run; /* whether there is only one symbol, so that states have no bits */
    int16_t share[256];
    uint32_t bits[256]; /* a value to add to a state: the upper 16 bits of the sum are the number of bits to write */
    int32_t first[256];
    uint16_t next[512];
} states_t;

/* states.c */
int share_out(states_t *t, const uint32_t *counts, uint32_t total);
int build_states(states_t *t);
uint8_t *put_shares(const states_t *t, uint8_t *out);
uint32_t state_cost(const states_t *t, const uint32_t *counts, int symbols);

/* The first state, which depends only on the symbol. */
static inline uint32_t first_state(const states_t *t, int symbol)
{
    if (t->run)
        return 0;
    uint32_t count = (t->bits[symbol] + (1u << 15)) >> 16;
    int32_t rest = (int32_t)((count << 16) - t->bits[symbol]);
    return t->next[(rest >> count) + t->first[symbol]];
}

/* Encode a symbol: write the low bits of the state, and go to the next state. */
static inline void put_state(bits_t *b, const states_t *t, uint32_t *state, int symbol)
{
    if (t->run)
        return;
    uint32_t count = (*state + t->bits[symbol]) >> 16;
    put(b, *state & ((1u << count) - 1), count);
    *state = t->next[(int32_t)(*state >> count) + t->first[symbol]];
}

/* A code for bytes. */
typedef struct {
    int symbols; /* one more than the highest symbol with a code; 0: no code */
    uint16_t value[256];
    uint8_t length[256];
} huffman_t;

/* The code of a block's literals, which later blocks may use. */
typedef struct {
    huffman_t code;
    int may_repeat;
} literals_t;

enum { RAW = 0, RUN = 1, CODED = 2, REPEATED = 3 };

/* huffman.c */
int put_coded(literals_t *state, const uint8_t *in, int32_t n, uint8_t *out, int32_t *size);

typedef struct {
    uint32_t literals, length, offset; /* length: minus 3; offset: 1 to 3 repeat an offset, others are stored plus 3 */
} sequence_t;

/* An alphabet of sequences: a block's table, and the previous table, which may be reused. */
typedef struct {
    states_t tables[2];
    int current;
    uint32_t counts[SYMBOLS];
} alphabet_t;

typedef struct {
    uint32_t value;
    int32_t at;
} entry_t;

typedef struct {
    int32_t at, before;
} pair_t;

typedef struct encoder {
    int encoder, level;
    int32_t window, block;
    /* the history; positions count from its first byte; in tables, `origin` is added */
    uint8_t *history;
    int32_t size, room, origin;
    int32_t filled; /* bytes of the next block so far; they come after the history */
    int32_t wanted; /* size of the next block when it is full */
    int started, finished, failed;
    uint64_t hash[4]; /* XXH64 of the content */
    uint8_t hash_rest[32];
    int64_t content;
    /* tables of matches: "fastest" and "default" have entries, "better" has entries and pairs, "best" has pairs
     * twice */
    entry_t *entries, *more_entries;
    pair_t *pairs, *more_pairs;
    /* the block: the matcher's results */
    uint8_t *literals;
    int32_t literal_count;
    sequence_t *sequences;
    int32_t sequence_count;
    /* state of earlier blocks that a block may reuse */
    literals_t huffman;
    alphabet_t alphabets[3]; /* lengths of literals, offsets, lengths of matches */
    states_t defaults[3];
    /* output that is ready to be taken */
    uint8_t *out;
    int64_t out_size, out_room;
    int64_t written; /* bytes that are already taken */
    int64_t *marks;  /* starts of blocks in the whole output, until they are taken */
    int64_t mark_count, mark_room;
} encoder_t;

/* matches.c and best.c */
int length_code(uint32_t length);
int literals_code(uint32_t literals);
extern const uint8_t LITERAL_BITS[36], LENGTH_BITS[53];
void find_fastest(encoder_t *e, int32_t s, int32_t end, int alone);
void find_default(encoder_t *e, int32_t s, int32_t end, int alone);
void find_better(encoder_t *e, int32_t s, int32_t end);
void find_best(encoder_t *e, int32_t s, int32_t end);
void find_best_as_before(encoder_t *e, int32_t s, int32_t end);

/* blocks.c */
int make_defaults(states_t *defaults);
int64_t put_block(encoder_t *e, const uint8_t *content, int32_t n, int last, uint8_t *out);
uint8_t *put_block_head(uint8_t *out, int type, int32_t size, int last);

static inline uint32_t hash4(uint64_t v, int log)
{
    return ((uint32_t)v * 2654435761u) >> (32 - log);
}

static inline uint32_t hash5(uint64_t v, int log)
{
    return (uint32_t)(((v << 24) * 889523592379u) >> (64 - log));
}

static inline uint32_t hash6(uint64_t v, int log)
{
    return (uint32_t)(((v << 16) * 227718039650203u) >> (64 - log));
}

static inline uint32_t hash8(uint64_t v, int log)
{
    return (uint32_t)((v * 0xcf1bbcdcb7a56463u) >> (64 - log));
}

/* Add a sequence: the literals from `from` to `at`, and a match. */
static inline void add_sequence(encoder_t *e, int32_t from, int32_t at, int32_t length, uint32_t offset)
{
    memcpy(e->literals + e->literal_count, e->history + from, (size_t)(at - from));
    e->literal_count += at - from;
    e->sequences[e->sequence_count++] = (sequence_t){(uint32_t)(at - from), (uint32_t)(length - SHORTEST), offset};
}

static inline void add_rest(encoder_t *e, int32_t from, int32_t end)
{
    if (from < end) {
        memcpy(e->literals + e->literal_count, e->history + from, (size_t)(end - from));
        e->literal_count += end - from;
    }
}

#endif

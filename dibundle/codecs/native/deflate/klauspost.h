/* Shared parts of klauspost's files: the state, hashes, tokens. */
#ifndef DIB_KLAUSPOST_H
#define DIB_KLAUSPOST_H

#include "deflate.h"

#define HISTORY (5 * CHUNK)
#define TAIL 16384 /* bytes of the previous block that pgzip uses as dictionary */
#define REBASE_AT (INT32_MAX - HISTORY - CHUNK)

typedef struct lazy lazy_t;

typedef struct {
    encoder_t base;
    int level, align, trimmed; /* trimmed: version 3, whose headers list no unused symbols and count the end of block */
    int misplaced;             /* level 4 compares at the wrong place (spec/deflate.md) */
    int penalty;               /* a new code must save at least one bit of every 2^penalty bits */
    lazy_t *lazy;              /* levels 7 to 9 */
    int64_t lazy_content;      /* content before its window */
    int framed;                /* pgzip: blocks of block_size, each with a separate history */
    int64_t block_size, block_fill;
    int32_t fill, history_size, offset; /* entries are history positions + offset */
    int64_t count;
    int64_t live;      /* bits of the header of the open block; 0: no block is open */
    int literals_only; /* the open block's code does not suit matches */
    code_t code;
    uint32_t tokens[1 << 16];
    int32_t near[1 << 15], far[1 << 15][2]; /* far: the latest entry and the previous entry */
    int32_t wide[1 << 17];                  /* levels 2 and 3: level 3 has pairs */
    uint8_t chunk[CHUNK], tail[TAIL], history[HISTORY];
} klauspost_t;

static inline uint32_t near_hash(uint64_t bytes)
{
    return ((uint32_t)bytes * 2654435761u) >> 17;
}

static inline uint32_t far_hash(uint64_t bytes)
{
    return (uint32_t)(((bytes << 8) * 58295818150454627u) >> 49);
}

static inline uint32_t five_hash(uint64_t bytes)
{
    return (uint32_t)(((bytes << 24) * 889523592379u) >> 49);
}

static inline void klauspost_literals(klauspost_t *k, int32_t from, int32_t to)
{
    while (from < to)
        k->tokens[k->count++] = k->history[from++];
}

/* A match of any length, in pieces of 3 to 258 bytes. */
static inline void klauspost_long(klauspost_t *k, int32_t length, int32_t distance)
{
    while (length > 0) {
        int32_t piece = length <= LONGEST ? length : length > LONGEST + 3 ? LONGEST : LONGEST - 3;
        k->tokens[k->count++] = match_token(piece, distance);
        length -= piece;
    }
}

static inline int reaches(const klauspost_t *k, int32_t from, int32_t at, uint32_t four)
{
    return at - from < WINDOW && load32(k->history + from) == four;
}

static inline int32_t full_length(const klauspost_t *k, int32_t at, int32_t from)
{
    return same_bytes(k->history + at, k->history + from, k->history_size - at);
}

/* Extend a match backwards, within the history and not before `emitted`; return its length. */
static inline int32_t klauspost_backwards(const klauspost_t *k, int32_t *s, int32_t *from, int32_t length, int32_t emitted)
{
    while (*from > 0 && *s > emitted && k->history[*from - 1] == k->history[*s - 1]) {
        --*from;
        --*s;
        length++;
    }
    return length;
}

/* klauspost.c */
void klauspost_restart(klauspost_t *k, const uint8_t *dictionary, int32_t n);
void klauspost_sync(klauspost_t *k);
void klauspost_end_frame(klauspost_t *k);
encoder_t *klauspost_new(int encoder, int level, int64_t block_size);


void klauspost_tokens(klauspost_t *k, const uint8_t *raw, int64_t size, int sync);

/* klauspost_lazy.c */
int lazy_new(klauspost_t *k, int version);
void lazy_restart(klauspost_t *k, const uint8_t *dictionary, int32_t n);
void lazy_write(klauspost_t *k, const uint8_t *content, int64_t n);
void lazy_sync(klauspost_t *k);
const uint8_t *lazy_tail(const klauspost_t *k);

/* klauspost_fast.c */
void klauspost_match2(klauspost_t *k, int32_t s);
void klauspost_match3(klauspost_t *k, int32_t s);
void klauspost_match4(klauspost_t *k, int32_t s);

#endif

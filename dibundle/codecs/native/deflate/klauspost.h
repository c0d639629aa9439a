/* klauspost.c as encoders.c sees it. */
#ifndef DIB_KLAUSPOST_H
#define DIB_KLAUSPOST_H

#include "deflate.h"

#define HISTORY (5 * CHUNK)
#define TAIL 16384 /* what pgzip gives a block of the one before it */
#define REBASE_AT (INT32_MAX - HISTORY - CHUNK)

typedef struct {
    encoder_t base;
    int level, align, trimmed; /* trimmed: version 3, headers list no unused symbols and the end of block counts */
    int framed;                /* pgzip: blocks of block_size, each with a history of its own */
    int64_t block_size, block_fill;
    int32_t fill, history_size, offset; /* entries are history positions + offset */
    int64_t count;
    int64_t live;      /* bits of the header of the block that is still open; 0: none is */
    int literals_only; /* its code has no use for matches */
    code_t code;
    uint32_t tokens[1 << 16];
    int32_t near[1 << 15], far[1 << 15][2]; /* far: the latest and the one before */
    uint8_t chunk[CHUNK], tail[TAIL], history[HISTORY];
} klauspost_t;

/* klauspost.c */
void klauspost_restart(klauspost_t *k, const uint8_t *dictionary, int32_t n);
void klauspost_sync(klauspost_t *k);
void klauspost_end_frame(klauspost_t *k);
encoder_t *klauspost_new(int encoder, int level, int64_t block_size);

#endif

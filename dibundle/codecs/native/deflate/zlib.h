/* The parts of zlib.c that gnu.c and pigz.c use. */
#ifndef DIB_ZLIB_H
#define DIB_ZLIB_H

#include "deflate.h"

#define AHEAD 262 /* content that a search needs ahead: 258 + 3 + 1 */
#define FARTHEST (WINDOW - AHEAD)

typedef struct {
    int good, lazy, nice, chain; /* levels 1 to 3: the positions inside a match are indexed up to the length `lazy` */
} zlib_level_t;

typedef struct zlib {
    encoder_t base;
    zlib_level_t limits;
    int level;
    int shift;
    uint32_t mask;
    int32_t at, ahead, block_start; /* positions; block_start is below 0 if it is before the window */
    /* number of bytes after the content that searches read: 0, except at the end in gzip */
    int32_t behind;
    int32_t length, from;           /* the match at the previous position; length 2: there is no match */
    /* for pigz: number of positions before `at` that are indexed as soon as more bytes arrive */
    int32_t insert;
    int pending;                    /* whether the literal at the previous position is pending */
    int64_t origin;                 /* content before window[0] */
    int64_t count, stop;            /* tokens of the block; at `stop` tokens, it ends if ends() allows this */
    int (*ends)(struct zlib *self); /* only for gzip, from level 3 on */
    int64_t matches, distance_bits; /* for ends: matches among the tokens, and the bits of their distances */
    uint32_t tokens[WINDOW];
    uint16_t head[1 << 16], previous[WINDOW];
    uint8_t window[2 * WINDOW + 8];
} zlib_t;

/* zlib.c */
int32_t zlib_insert(zlib_t *z, int32_t at);
void zlib_end_block(zlib_t *z, int last);
void zlib_starve(zlib_t *z);
void zlib_run(zlib_t *z, int closing);
void zlib_write(encoder_t *self, const uint8_t *content, int64_t n, int finish);

#endif

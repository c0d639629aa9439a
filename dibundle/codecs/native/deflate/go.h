/* Go's levels 2 to 9: the state that go.c and go_pieces.c share. */
#ifndef DIB_GO_H
#define DIB_GO_H

#include "deflate.h"

#define BLOCK_TOKENS 16384
#define HELD 0x40000000u /* flag of a found token: the encoder's state after it depends on earlier tokens */

typedef struct {
    /* lazy 0: matches are taken at once, and only short matches are fully inserted */
    int lazy, nice, chain, most_inserted;
} go_level_t;

typedef struct {
    encoder_t base;
    go_level_t level;
    int32_t index, end, block_start; /* in the window; block_start -1: it has left the window */
    int32_t length, distance;        /* the match at index - 1; length 3: there is no match */
    int pending;                     /* whether the literal at index - 1 waits for the result at index */
    int32_t chain, offset;           /* entries are window positions + offset; 0: none yet */
    int64_t origin;                  /* content before window[0] */
    int64_t count;
    int64_t limit;         /* end of the content, at which the search stops */
    uint32_t *found;       /* if not NULL, the output is these tokens instead of blocks; the caller ensures the size */
    int64_t found_count;
    uint32_t tokens[BLOCK_TOKENS];
    int32_t head[1 << 17];
    uint16_t back[WINDOW]; /* distance to the previous position of the same chain; FAR: out of reach */
    uint8_t window[2 * WINDOW];
} go_chain_t;

/* go.c */
void go_smallest_block(sink_t *s, const uint32_t *tokens, int64_t n, const uint8_t *raw, int64_t size);
void go_insert_all(go_chain_t *g, int32_t end);
void go_step(go_chain_t *g, int closing);
void go_slide(go_chain_t *g);

#endif

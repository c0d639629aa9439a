/* GNU gzip: its differences from zlib (spec/deflate.md, 7). */
#include "zlib.h"

#define MOST 32767 /* maximum tokens of a block */
#define LOOK 4096  /* levels 3 to 9 check after every LOOK tokens whether the block should end */

/* Return whether the block ends; this is called after every LOOK tokens, and after MOST tokens. A block ends early if
 * few of its tokens are matches, and its compressed size is less than half of its content's size. The reason is that
 * the next content may be of another kind. */
static int gnu_ends(zlib_t *z)
{
    int ends = z->count == MOST;
    if (z->count == LOOK)
        z->matches = z->distance_bits = 0;
    if (!ends) {
        for (int64_t i = z->count - LOOK; i < z->count; i++) {
            int extra, is_match = z->tokens[i] >= MATCH;
            distance_symbol(z->tokens[i] & (WINDOW - 1), &extra);
            z->matches += is_match;
            z->distance_bits += is_match * (5 + extra);
        }
        int64_t made = (8 * z->count + z->distance_bits) >> 3;
        ends = z->matches < z->count / 2 && made < (z->at - z->block_start) / 2;
    }
    z->stop = ends ? LOOK : least((int32_t)z->count + LOOK, MOST);
    return ends;
}

/* If no content is left to read, and fewer than AHEAD bytes are ahead, the window moves at most once more. Afterwards,
 * searches read what follows the content: two zeros, then the bytes that are still in the window there. */
static void gnu_write(encoder_t *self, const uint8_t *content, int64_t n, int finish)
{
    zlib_t *z = (zlib_t *)self;
    zlib_write(self, content, n, 0);
    if (finish) {
        zlib_run(z, 0);
        zlib_starve(z);
        memset(z->window + z->at + z->ahead, 0, 2);
        z->behind = LONGEST;
        zlib_write(self, NULL, 0, 1);
    }
}

encoder_t *gnu_new(int level)
{
    zlib_t *z = (zlib_t *)zlib_new(level, 8); /* gzip's hash */
    if (!z)
        return NULL;
    z->base.write = gnu_write;
    z->stop = level < 3 ? MOST : LOOK;
    z->ends = level < 3 ? NULL : gnu_ends;
    return &z->base;
}

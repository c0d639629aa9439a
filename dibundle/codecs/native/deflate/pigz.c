/* pigz: zlib's streams, cut into blocks that pigz's threads compress in parallel (spec/deflate.md, 9). */
#include "zlib.h"

/* pigz.c of pigz 2.8, with zlib from 1.2.6 on. */

#define HIT 0x7ff /* if the hash (12 bits) has this value, a piece ends */
#define MOST_HELD (4 << 20)
/* The maximum number of hits is (content + FREE) / RARE. There is a maximum, because a hit takes as much time as 300 other
 * bytes. */
#define RARE 64
#define FREE 4096

enum { THREADS = 0, INDEPENDENT = 1, RSYNCABLE = 2, ONE_THREAD = 3 };

typedef struct pigz {
    int mode;
    int64_t block_size;
    int64_t fill;        /* number of bytes of the block's content; in mode RSYNCABLE, number of held bytes */
    int64_t job;         /* number of bytes of content before the block */
    int64_t taken; /* hits so far */
    uint32_t hash;
    int64_t scanned;     /* number of bytes of `held` that were checked */
    int64_t *hits, count; /* ends of the pieces that were found in the first `scanned` bytes of `held` */
    uint8_t *held;
} pigz_t;

/* End a piece at a byte boundary: write nothing, an empty stored block, or empty fixed blocks. */
static void pigz_flush(zlib_t *z)
{
    pigz_t *p = z->base.more;
    sink_t *s = &z->base.sink;
    zlib_run(z, 1);
    if (z->count)
        zlib_end_block(z, 0);
    z->pending = 0;
    z->length = 2;
    z->insert = least(z->at, 2);
    if (s->count & 1 || p->mode == INDEPENDENT) {
        put_stored(s, NULL, 0, 0);
    } else {
        while (s->count & 7 && !s->failed) {
            put_start(s, FIXED, 0);
            if (!sink_grow(s, 2))
                return;
            put(s, 0, 7);
        }
    }
    if (p->mode == INDEPENDENT)
        put_stored(s, NULL, 0, 0);
}

/* Start the encoder again; the dictionary is the end of the window. */
static void pigz_reset(zlib_t *z)
{
    pigz_t *p = z->base.more;
    int32_t n = p->mode == INDEPENDENT ? 0 : least(z->at, WINDOW);
    memmove(z->window, z->window + z->at - n, (size_t)n);
    memset(z->head, 0, sizeof z->head);
    z->origin += z->at - n;
    z->at = z->block_start = n;
    z->from = 0;
    z->insert = least(n, 2);
    for (int32_t i = 0; i < n - 2; i++)
        zlib_insert(z, i);
}

static void pigz_finish(zlib_t *z)
{
    zlib_write(&z->base, NULL, 0, 1);
}

/* Compress the held block up to the last hit. If there is no hit, or if pigz's buffers contain no more content,
 * compress the whole block. */
static void pigz_block(zlib_t *z, int ended)
{
    pigz_t *p = z->base.more;
    /* the end of pigz's buffer, relative to the start of the block */
    int64_t buffer_end = p->block_size - p->job % p->block_size;
    int64_t most = p->fill < p->block_size ? p->fill : p->block_size, end = most, at = 0, used = 0;
    while (used < p->count && p->hits[used] <= most)
        used++;
    if (used && !(ended && p->fill <= buffer_end))
        end = p->hits[used - 1];
    int is_last = ended && end == p->fill;
    for (int64_t i = 0; i < used; i++) {
        zlib_write(&z->base, p->held + at, p->hits[i] - at, 0);
        at = p->hits[i];
        if (at < end || !is_last)
            pigz_flush(z);
    }
    if (at < end) {
        zlib_write(&z->base, p->held + at, end - at, 0);
        if (!is_last)
            pigz_flush(z);
    }
    if (is_last)
        pigz_finish(z);
    else
        pigz_reset(z);
    memmove(p->held, p->held + end, (size_t)(p->fill - end));
    memmove(p->hits, p->hits + used, (size_t)(p->count - used) * sizeof *p->hits);
    p->count -= used;
    for (int64_t i = 0; i < p->count; i++)
        p->hits[i] -= end;
    p->fill -= end;
    p->scanned -= end;
    p->job += end;
}

static void pigz_write_rsyncable(zlib_t *z, const uint8_t *content, int64_t n, int finish)
{
    pigz_t *p = z->base.more;
    while (n > 0) {
        if (p->fill > p->block_size)
            pigz_block(z, 0);
        int64_t piece = p->block_size + 1 - p->fill;
        if (piece > n)
            piece = n;
        memcpy(p->held + p->fill, content, (size_t)piece);
        p->fill += piece;
        content += piece;
        n -= piece;
        for (; p->scanned < p->fill; p->scanned++) {
            p->hash = (p->hash << 1 ^ p->held[p->scanned]) & 0xfff;
            if (p->hash == HIT && RARE * p->taken < p->job + p->scanned + 1 + FREE) {
                p->hits[p->count++] = p->scanned + 1;
                p->taken++;
            }
        }
    }
    if (finish)
        do
            pigz_block(z, 1);
        while (p->fill);
}

static void pigz_write(encoder_t *self, const uint8_t *content, int64_t n, int finish)
{
    zlib_t *z = (zlib_t *)self;
    pigz_t *p = self->more;
    if (p->mode == RSYNCABLE) {
        pigz_write_rsyncable(z, content, n, finish);
        return;
    }
    while (n > 0) {
        if (p->fill == p->block_size) {
            pigz_flush(z);
            if (p->mode != ONE_THREAD)
                pigz_reset(z);
            p->fill = 0;
        }
        int64_t piece = p->block_size - p->fill;
        if (piece > n)
            piece = n;
        zlib_write(self, content, piece, 0);
        p->fill += piece;
        content += piece;
        n -= piece;
    }
    if (finish)
        pigz_finish(z);
}

/* `parameter`: four times the block's KiB, plus the mode. */
encoder_t *pigz_new(int level, int64_t parameter)
{
    int mode = (int)(parameter & 3);
    int64_t block_size = (parameter >> 2) << 10;
    if (block_size < WINDOW || block_size > MOST_HELD)
        return NULL;
    int64_t held = mode == RSYNCABLE ? block_size + 1 : 0, hits = mode == RSYNCABLE ? block_size / 4 + 8 : 0;
    pigz_t *p = calloc(1, sizeof *p + (size_t)hits * sizeof *p->hits + (size_t)held);
    zlib_t *z = (zlib_t *)zlib_new(level, 8);
    if (!p || !z) {
        free(p);
        free(z);
        return NULL;
    }
    p->mode = mode;
    p->block_size = block_size;
    p->hash = HIT;
    p->hits = (int64_t *)(p + 1);
    p->held = (uint8_t *)(p->hits + hits);
    z->base.more = p;
    z->base.write = pigz_write;
    return &z->base;
}

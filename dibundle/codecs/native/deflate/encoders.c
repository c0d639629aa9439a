/* The encoders' interface: all encoders have the same functions. */
#include "klauspost.h"

static int is_framed(int64_t encoder)
{
    return (encoder >= PGZIP_0 && encoder <= PGZIP_3) || encoder == PGZIP_2;
}

/* pgzip's levels, for each version of its compressor; a level for which two versions give the same output is listed
 * once. */
static int has_level(int64_t encoder, int64_t level)
{
    switch (encoder) {
    case PGZIP_1:
    case PGZIP_3:
        return 1;
    case PGZIP_2:
        return level == 4 || level >= 7;
    default:
        return level == 5;
    }
}

/* `parameter` is pgzip's block size (0: not known yet), zlib's memLevel (8 or 9), pigz's parameter (see pigz.c), or
 * else 0. Return NULL if the encoder is unknown, or if memory is not available. */
static encoder_t *new_encoder(int64_t encoder, int64_t level, int64_t parameter)
{
    encoder_t *e = NULL;
    int framed = is_framed(encoder);
    if (level < (encoder == GO ? 0 : 1) || level > 9)
        return NULL;
    if (encoder == GO && parameter == 0)
        e = level <= 1 ? go_speed_new((int)level) : go_chain_new((int)level);
    else if (encoder == KLAUSPOST && parameter == 0 && (level == 1 || level == 5 || level == 6))
        e = klauspost_new((int)encoder, (int)level, 0);
    else if (framed && has_level(encoder, level) && (parameter == 0 || parameter > TAIL) && parameter <= 1 << 30)
        e = klauspost_new((int)encoder, (int)level, parameter);
    else if (encoder == ZLIB && (parameter == 8 || parameter == 9))
        e = zlib_new((int)level, (int)parameter);
    else if (encoder == GNU && parameter == 0)
        e = gnu_new((int)level);
    else if (encoder == PIGZ)
        e = pigz_new((int)level, parameter);
    if (e)
        e->encoder = (int)encoder;
    return e;
}

/* The handle of a new encoder; 0 on failure. */
int64_t dib_deflate_new(int64_t encoder, int64_t level, int64_t parameter)
{
    return (int64_t)(intptr_t)new_encoder(encoder, level, parameter);
}

int64_t dib_deflate_free(void *handle)
{
    encoder_t *e = handle;
    if (e) {
        if (e->release)
            e->release(e);
        free(e->more);
        free(e->sink.data);
        free(e->sink.marks.items);
        free(e);
    }
    return 0;
}

/* Take `n` bytes of content; with `finish`, these bytes are the last. Return how many bytes of the body are available. */
int64_t dib_deflate_write(void *handle, const uint8_t *content, int64_t n, int64_t finish)
{
    encoder_t *e = handle;
    if (e->finished || n < 0 || !e->write)
        return MALFORMED;
    if (!e->sink.failed)
        e->write(e, content, n, finish != 0);
    e->finished = finish != 0;
    return e->sink.failed ? NO_MEMORY : e->sink.size;
}

/* Move up to `room` bytes of the body to `out`; return how many bytes were moved. Content that comes later cannot
 * change these bytes. */
int64_t dib_deflate_take(void *handle, uint8_t *out, int64_t room)
{
    sink_t *s = &((encoder_t *)handle)->sink;
    int64_t n = s->size < room ? s->size : room;
    if (n <= 0)
        return 0;
    memcpy(out, s->data, (size_t)n);
    s->size -= n;
    s->budget -= n;
    s->taken += n;
    memmove(s->data, s->data + n, (size_t)s->size);
    return n;
}

/* Move up to `most` marks to `out`. A mark is three numbers: the bit at which a block starts, the content's offset, and
 * 2 * type + (1 if the block is the last). */
int64_t dib_deflate_marks(void *handle, int64_t *out, int64_t most)
{
    return marks_take(&((encoder_t *)handle)->sink.marks, out, most);
}

/* Set the block size of a pgzip encoder that was created with the block size 0. The block size must be at least the
 * size of the content so far. */
int64_t dib_deflate_frame(void *handle, int64_t block_size)
{
    klauspost_t *k = handle;
    int framed = is_framed(k->base.encoder);
    if (!framed || k->block_size || block_size <= TAIL || block_size > 1 << 30 || block_size < k->block_fill || k->base.finished)
        return MALFORMED;
    k->block_size = block_size;
    if (k->block_fill == block_size)
        klauspost_end_frame(k);
    return k->base.sink.failed ? NO_MEMORY : k->base.sink.size;
}

/* Encode a single pgzip block; `dictionary`: the 16 KiB before the block, or no bytes. Return the size of the block. If
 * the block does not fit into `out`, it is not written. A block of `n` bytes of content takes at most `n` + 32 bytes,
 * plus 5 bytes for every 65535 bytes of content. */
int64_t dib_deflate_block(int64_t encoder, int64_t level, const uint8_t *dictionary, int64_t dictionary_size,
                          const uint8_t *block, int64_t n, int64_t last, uint8_t *out, int64_t room)
{
    if (!is_framed(encoder) || !has_level(encoder, level) || dictionary_size < 0 || dictionary_size > TAIL || n < 0)
        return MALFORMED;
    encoder_t *e = new_encoder(encoder, level, 0);
    if (!e)
        return NO_MEMORY;
    klauspost_t *k = (klauspost_t *)e;
    klauspost_restart(k, dictionary, (int32_t)dictionary_size);
    e->write(e, block, n, last != 0);
    if (!last)
        klauspost_sync(k);
    int64_t size = e->sink.failed ? NO_MEMORY : e->sink.size;
    if (size >= 0 && size <= room)
        memcpy(out, e->sink.data, (size_t)size);
    dib_deflate_free(e);
    return size;
}

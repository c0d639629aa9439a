/* Bytes and words, shared by several files. */
#ifndef DIB_BYTES_H
#define DIB_BYTES_H

#include "dib.h"

#if defined(__GNUC__)
#define FETCH(address) __builtin_prefetch(address)
#else
#define FETCH(address) (void)(address)
#endif

/* memcpy that accepts NULL for an empty copy. */
static inline void copy_bytes(uint8_t *to, const uint8_t *from, int64_t size)
{
    if (size > 0)
        memcpy(to, from, (size_t)size);
}

static inline uint32_t source_word(const uint8_t *s)
{
    return s[0] | (uint32_t)s[1] << 8 | (uint32_t)s[2] << 16 | (uint32_t)s[3] << 24;
}

/* Add each of the eight bytes of `b` to the same byte of `a`, modulo 256. */
static inline uint64_t add_eight(uint64_t a, uint64_t b)
{
    const uint64_t low = 0x7f7f7f7f7f7f7f7full;
    return ((a & low) + (b & low)) ^ ((a ^ b) & ~low);
}

static inline uint64_t read_long(const uint8_t *s)
{
    return source_word(s) | (uint64_t)source_word(s + 4) << 32;
}

static inline void write_word(uint8_t *to, uint32_t word)
{
    to[0] = (uint8_t)word, to[1] = (uint8_t)(word >> 8), to[2] = (uint8_t)(word >> 16), to[3] = (uint8_t)(word >> 24);
}

static inline void write_long(uint8_t *to, uint64_t word)
{
    write_word(to, (uint32_t)word);
    write_word(to + 4, (uint32_t)(word >> 32));
}

#endif

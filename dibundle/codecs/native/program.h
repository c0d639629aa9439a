/* Layout of program regions (spec/relink.md). */
#ifndef DIB_PROGRAM_H
#define DIB_PROGRAM_H

#include "bytes.h"

enum { RAW, X86, ARM, POINTERS, INDEX, FRAMES, TABLES, X86_FIXED, TABLES_FIXED, RELOCATIONS, SYMBOLS, RISCV, THUMB, WORDS, GO };

#define NEAR 0x80000000u /* a word from this value on is the distance of a field from its expected value */
#define NEAR_MOST 8192u  /* upper limit of the distances of fields from their expected values */

static inline int is_near(uint32_t word)
{
    return word - NEAR < NEAR_MOST;
}

/* The size of a record of frames at `s`, at most `left` bytes; 0 at the end of the records. */
static inline int64_t record_size(const uint8_t *s, int64_t left)
{
    uint32_t size = left >= 16 ? source_word(s) : 0;
    return size < 4 || (int64_t)size > left - 4 ? 0 : 4 + (int64_t)size;
}

/* Whether a function's record of `size` bytes has the address of the function's table of exceptions. */
static inline int has_table(const uint8_t *s, int64_t size)
{
    return size >= 21 && s[16] == 4;
}

#endif

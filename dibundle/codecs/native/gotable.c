/* The table of functions in Go programs: their addresses and records (spec/relink.md). */
#include "walk.h"

#define HEAD 72
#define RECORD 44 /* number of fixed bytes in a function's record, without its lists */
/* maximum list entries to read; a record that overlaps an earlier one is skipped, so each word is looked up once */
#define MOST 8

typedef struct { uint64_t at; uint32_t shift; } zero_t; /* the base address of offsets, and its shift */

static zero_t zero_at(const walk_t *w, const int action, uint64_t at)
{
    return (zero_t){at, action == RELINK ? (uint32_t)look(w->map, at)->shift : 0};
}

static inline void offset(walk_t *w, const int action, uint64_t i, const zero_t *zero, int least)
{
    uint32_t word = source_word(w->data + i);
    const step_t *step = look(w->map, zero->at + word);
    if (step->kind < least)
        return;
    write_word(w->data + i, action == RELINK ? word + (uint32_t)step->shift - zero->shift : 0);
}

void walk_go(walk_t *w, int action)
{
    if (w->size < HEAD || action == VOTE)
        return;
    uint64_t size = (uint64_t)w->size, count = read_long(w->data + 8), functions = read_long(w->data + 64);
    uint64_t names = read_long(w->data + 32), programs = read_long(w->data + 56);
    if (names > size || programs > size || functions > size || count > (size - functions) / 8)
        return;
    zero_t code = zero_at(w, action, w->base), of_names = zero_at(w, action, w->address + names);
    zero_t of_programs = zero_at(w, action, w->address + programs), records = zero_at(w, action, w->address + functions);
    for (uint64_t i = functions, end = 0; count > 0; count--, i += 8) {
        uint64_t record = functions + source_word(w->data + i + 4);
        offset(w, action, i, &code, CODE);
        offset(w, action, i + 4, &records, DATA);
        if (record < end || record + RECORD > size)
            continue;
        uint64_t more = source_word(w->data + record + 28);
        offset(w, action, record, &code, CODE);
        offset(w, action, record + 4, &of_names, DATA);
        for (uint64_t k = 16; k < 28; k += 4)
            if (source_word(w->data + record + k))
                offset(w, action, record + k, &of_programs, DATA);
        end = record + RECORD + 4 * (more < MOST ? more : MOST);
        for (uint64_t k = record + RECORD; k + 4 <= size && k < end; k += 4)
            if (source_word(w->data + k))
                offset(w, action, k, &of_programs, DATA);
    }
}

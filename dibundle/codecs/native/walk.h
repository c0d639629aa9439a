/* Walking through native code: operands and actions that are the same for all machines (spec/relink.md). */
#ifndef DIB_WALK_H
#define DIB_WALK_H

#include "program.h"

typedef struct { int64_t address, shift; } vote_t;  /* a vote: an operand shows that `address` moved by `shift` */

enum { HOLE, DATA, TABLE, CODE };
enum { RELINK, MASK, VOTE };
#define BUCKETS 65536
#define SAMPLE 16
#define SPACE ((uint64_t)1 << 40) /* size of a program's address space, and maximum shift that an operand can show */

typedef struct {
    const step_t *steps;
    int64_t count;
    uint32_t *bucket; /* BUCKETS + 1 numbers: the last step at or before the start of each bucket */
    /* address of every SAMPLE-th step, for the case that a distant step puts all other steps into one bucket */
    uint64_t *sample;
    int down;
} map_t;

/* The step that contains an address; a hole for addresses before all steps. */
static inline const step_t *look(const map_t *m, uint64_t address)
{
    static const step_t none = {0, 0, HOLE};
    if (!m->count || address < (uint64_t)m->steps[0].at || address >> 63)
        return &none;
    uint64_t b = (address - (uint64_t)m->steps[0].at) >> m->down;
    if (b >= BUCKETS)
        return &m->steps[m->count - 1];
    int64_t low = m->bucket[b], high = m->bucket[b + 1];
    if (high - low >= 2 * SAMPLE) { /* without branches, because they could not be predicted */
        const uint64_t *first = m->sample + (low + SAMPLE - 1) / SAMPLE;
        int64_t left = high / SAMPLE - (low + SAMPLE - 1) / SAMPLE + 1;
        if (*first > address) {
            high = (first - m->sample) * SAMPLE - 1;
        } else {
            while (left > 1) {
                int64_t half = left >> 1;
                first = first[half] <= address ? first + half : first;
                left -= half;
            }
            low = (first - m->sample) * SAMPLE;
            high = high < low + SAMPLE - 1 ? high : low + SAMPLE - 1;
        }
    }
    const step_t *found = m->steps + low;
    for (int64_t left = high - low + 1; left > 1;) {
        int64_t half = left >> 1;
        found = (uint64_t)found[half].at <= address ? found + half : found;
        left -= half;
    }
    return found;
}

/* The places in the regions of jump tables to which code points: one bit for every four bytes. */
typedef struct { uint64_t address, size; uint8_t *bits; } marks_t;

typedef struct {
    const map_t *map;
    const marks_t *marks;
    int64_t marks_count;
    uint8_t *data;        /* the bytes of the stretch */
    const uint8_t *other; /* VOTE: the counterpart of these bytes in the target */
    int64_t size;
    uint64_t address, base;
    const step_t *place, *last; /* the step of the current place */
    int64_t moved;              /* VOTE: the shift of the stretch */
    vote_t *votes;
    int64_t count, room;
    int full;
} walk_t;

static inline void mark(const walk_t *w, uint64_t address)
{
    for (int64_t k = 0; k < w->marks_count; k++) {
        uint64_t at = address - w->marks[k].address;
        if (at < w->marks[k].size && (at & 3) == 0)
            w->marks[k].bits[at >> 5] |= (uint8_t)(1 << (at >> 2 & 7));
    }
}

static inline void vote(walk_t *w, uint64_t address, uint64_t shift)
{
    if (shift + SPACE > 2 * SPACE)
        return; /* the target has no address there */
    if (w->count == w->room) {
        vote_t *more = realloc(w->votes, (size_t)w->room * 2 * sizeof *more);
        if (!more) {
            w->full = 1;
            return;
        }
        w->votes = more;
        w->room *= 2;
    }
    w->votes[w->count++] = (vote_t){(int64_t)address, (int64_t)shift};
}

static inline uint64_t place_shift(walk_t *w, int64_t at)
{
    uint64_t address = w->address + (uint64_t)at;
    if (address < (uint64_t)w->map->steps[0].at)
        return 0;
    if (!w->place || (uint64_t)w->place->at > address)
        w->place = look(w->map, address);
    while (w->place < w->last && (uint64_t)w->place[1].at <= address)
        w->place++;
    return (uint64_t)w->place->shift;
}

/* Process the 4 bytes at `data[at]` as a distance from the address `zero`; return 0 if no content is at the address. */
static inline int distance(walk_t *w, const int action, int64_t at, uint64_t zero, int least, uint64_t zero_shift)
{
    uint32_t word = source_word(w->data + at);
    uint64_t target = zero + (uint64_t)(int64_t)(int32_t)word;
    const step_t *step = look(w->map, target);
    if (step->kind < least || (action == VOTE && w->other[at - 1] != w->data[at - 1]))
        return 0;
    if (step->kind == TABLE)
        mark(w, target);
    if (action == RELINK)
        write_word(w->data + at, word + (uint32_t)step->shift - (uint32_t)zero_shift);
    else if (action == MASK)
        write_word(w->data + at, 0);
    else
        vote(w, target, (uint64_t)(int64_t)(int32_t)(source_word(w->other + at) - word) + zero_shift);
    return 1;
}

#define SHIFT_AT(at) (action == VOTE ? (uint64_t)w->moved : action == MASK ? 0 : place_shift(w, at))

/* Process the 8 bytes at `data[at]` as an address; return 0 if no content is at the address. */
static inline int pointer(walk_t *w, const int action, int64_t at)
{
    uint64_t value = read_long(w->data + at);
    const step_t *step = look(w->map, value + w->base);
    if (!value || step->kind == HOLE)
        return 0;
    if (action == VOTE) {
        vote(w, value + w->base, read_long(w->other + at) - value);
    } else {
        value = action == RELINK ? value + (uint64_t)step->shift : 0;
        write_long(w->data + at, value);
    }
    return 1;
}

/* riscv.c, thumb.c */
void walk_riscv(walk_t *w, int action);
void walk_thumb(walk_t *w, int action);
/* gotable.c */
void walk_go(walk_t *w, int action);

#endif

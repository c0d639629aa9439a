/* Find, mask and recompute addresses in native code (codecs/relink.py, codecs/encode/layout.py). */
#include "walk.h"

#define MAX_STEPS (1 << 21)
#define MAX_TABLES 16 /* regions of jump tables */

static int map_open(map_t *m, const step_t *steps, int64_t count)
{
    m->steps = steps;
    m->count = count;
    m->down = 0;
    m->bucket = malloc((BUCKETS + 1) * sizeof *m->bucket);
    m->sample = malloc((size_t)(count / SAMPLE + 1) * sizeof *m->sample);
    if (!m->bucket || !m->sample) {
        free(m->bucket);
        free(m->sample);
        return 0;
    }
    for (int64_t j = 0; j < count; j += SAMPLE)
        m->sample[j / SAMPLE] = (uint64_t)steps[j].at;
    uint64_t span = count ? (uint64_t)steps[count - 1].at - (uint64_t)steps[0].at : 0;
    while (span >> m->down >= BUCKETS)
        m->down++;
    int64_t k = 0;
    for (uint64_t b = 0; b <= BUCKETS; b++) {
        while (k + 1 < count && (uint64_t)steps[k + 1].at - (uint64_t)steps[0].at <= b << m->down)
            k++;
        m->bucket[b] = (uint32_t)k;
    }
    return 1;
}

static void map_close(map_t *m)
{
    free(m->bucket);
    free(m->sample);
}

/* Process the 4 bytes at `data[at]` as an absolute address; return 0 if the address leads to no content. */
static inline int fixed_word(walk_t *w, const int action, int64_t at)
{
    uint32_t word = source_word(w->data + at);
    uint64_t target = w->base + word;
    const step_t *step = look(w->map, target);
    if (step->kind == HOLE || (action == VOTE && w->other[at - 1] != w->data[at - 1]))
        return 0;
    if (step->kind == TABLE)
        mark(w, target);
    if (action == RELINK)
        write_word(w->data + at, word + (uint32_t)step->shift);
    else if (action == MASK)
        write_word(w->data + at, 0);
    else
        vote(w, target, (uint64_t)(int64_t)(int32_t)(source_word(w->other + at) - word));
    return 1;
}

/* Whether the bytes before `at` may begin an instruction that has an address in the four bytes from `at` on. */
static inline int takes_address(uint32_t byte, uint32_t before)
{
    return ((byte & 0xF8) == 0xB8 && before != 0x0F) || byte == 0x68 || byte == 0x3D ||
           ((byte & 7) == 5 && (before & 0xC7) == 4) || ((byte & 0xF8) == 0xC0 && (before == 0xC7 || before == 0x81)) ||
           ((byte & 0xF8) == 0xF8 && before == 0x81);
}

/* The offset of the address in a C7 or 81 instruction at `data[i]` with an operand in memory; 0 if there is none. */
static inline int64_t after_memory(const walk_t *w, int64_t i)
{
    uint32_t operand = w->data[i + 1], mode = operand >> 6;
    if (mode == 3 || (operand & 0xC7) == 5)
        return 0;
    i += 2 + ((operand & 7) == 4) + (mode == 1 ? 1 : mode == 2 ? 4 : 0);
    return i + 4 <= w->size ? i : 0;
}

static inline void walk_x86(walk_t *w, const int action, const int fixed)
{
    const uint8_t *data = w->data;
    const int64_t end = w->size - 5;
    uint8_t begins[256]; /* 1: an operand may follow this byte; 2: only if 0F precedes this byte */
    for (uint32_t byte = 0; byte < 256; byte++) {
        int always = (byte | 1) == 0xE9 || (byte & 0xC7) == 5 ||
                     (fixed && (takes_address(byte, 4) || takes_address(byte, 0x81) || byte == 0xC7 || byte == 0x81));
        begins[byte] = (uint8_t)(always ? 1 : (byte & 0xF0) == 0x80 ? 2 : 0);
    }
    for (int64_t i = 1; i <= end;) {
        uint32_t byte = data[i], before = data[i - 1];
        int64_t at;
        int least;
        if (!(begins[byte] & (before == 0x0F ? 3 : 1))) { /* most bytes need only a single branch */
            i++;
            continue;
        }
        if ((byte | 1) == 0xE9) {
            at = i + 1;
            least = CODE;
        } else if ((byte & 0xF0) == 0x80 && before == 0x0F) {
            at = i + 1;
            least = CODE;
        } else if ((byte & 0xC7) == 5) {
            at = i + 1;
            least = DATA;
        } else {
            least = HOLE;
            at = i + 1;
        }
        if (least != HOLE && distance(w, action, at, w->address + (uint64_t)at + 4, least, SHIFT_AT(at)))
            i = at + 4;
        else if (fixed && takes_address(byte, before) && fixed_word(w, action, at))
            i = at + 4;
        else if (fixed && (byte == 0xC7 || byte == 0x81) && (at = after_memory(w, i)) && fixed_word(w, action, at))
            i = at + 4;
        else
            i++;
    }
}

/* Process code for aarch64: branches, literals and pages. ADRP gives a page; later instructions add offsets to it. */
static inline void walk_arm(walk_t *w, const int action)
{
    struct { int64_t at; uint64_t page, fresh; int open, moved; } reg[32];
    memset(reg, 0, sizeof reg);
    int64_t i = (int64_t)(-w->address & 3);
    for (; i + 4 <= w->size; i += 4) {
        uint32_t op = source_word(w->data + i);
        uint64_t here = w->address + (uint64_t)i, target;
        const step_t *step;
        if ((op & 0x7C000000) == 0x14000000) { /* B, BL */
            int64_t far = (int64_t)((int32_t)(op << 6) >> 6) * 4;
            target = here + (uint64_t)far;
            step = look(w->map, target);
            if (step->kind == CODE) {
                if (action == RELINK) {
                    uint64_t fresh = (uint64_t)far + (uint64_t)step->shift - place_shift(w, i);
                    write_word(w->data + i, (op & 0xFC000000) | ((uint32_t)(fresh >> 2) & 0x3FFFFFF));
                } else if (action == MASK) {
                    write_word(w->data + i, op & 0xFC000000);
                } else {
                    uint32_t now = source_word(w->other + i);
                    if ((now & 0xFC000000) == (op & 0xFC000000))
                        vote(w, target, (uint64_t)((int64_t)((int32_t)(now << 6) >> 6) * 4 - far + w->moved));
                }
            }
        } else if ((op & 0xFF000010) == 0x54000000 || (op & 0x7E000000) == 0x34000000 || (op & 0x3B000000) == 0x18000000) {
            /* B.cond, CBZ, CBNZ, LDR literal */
            int64_t far = (int64_t)((int32_t)(op << 8) >> 13) * 4;
            target = here + (uint64_t)far;
            step = look(w->map, target);
            if (step->kind != HOLE) {
                if (action == RELINK) {
                    uint64_t fresh = (uint64_t)far + (uint64_t)step->shift - place_shift(w, i);
                    write_word(w->data + i, (op & 0xFF00001F) | (((uint32_t)(fresh >> 2) & 0x7FFFF) << 5));
                } else if (action == MASK) {
                    write_word(w->data + i, op & 0xFF00001F);
                }
            }
        } else if ((op & 0x9F000000) == 0x90000000) { /* ADRP */
            int64_t far = (int64_t)((uint64_t)(((op >> 5 & 0x7FFFF) << 2) | (op >> 29 & 3)) << 43) >> 31;
            int r = op & 31;
            target = (here & ~(uint64_t)4095) + (uint64_t)far;
            reg[r].at = i;
            reg[r].page = target;
            reg[r].moved = 0;
            reg[r].open = look(w->map, target)->kind != HOLE || look(w->map, target + 4095)->kind != HOLE;
            if (action == MASK && reg[r].open)
                write_word(w->data + i, op & 0x9F00001F);
            if (action == VOTE) {
                uint32_t now = source_word(w->other + i);
                int64_t gone = (int64_t)((uint64_t)(((now >> 5 & 0x7FFFF) << 2) | (now >> 29 & 3)) << 43) >> 31;
                if ((now & 0x9F00001F) != (op & 0x9F00001F))
                    reg[r].open = 0;
                reg[r].fresh = ((here + (uint64_t)w->moved) & ~(uint64_t)4095) + (uint64_t)gone;
            }
        } else {
            int add = (op & 0xFFC00000) == 0x91000000, load = (op & 0x3B000000) == 0x39000000;
            int r = op >> 5 & 31;
            if ((add || load) && reg[r].open && i - reg[r].at <= 256) {
                int scale = add ? 0 : (int)(op >> 30);
                if (load && (op & 0x04800000) == 0x04800000)
                    scale = 4;
                uint64_t low = (uint64_t)(op >> 10 & 0xFFF) << scale;
                target = reg[r].page + low;
                step = look(w->map, target);
                if (step->kind != HOLE && low < 4096) {
                    if (step->kind == TABLE)
                        mark(w, target);
                    if (action == RELINK) {
                        uint64_t fresh = target + (uint64_t)step->shift;
                        uint64_t place = w->address + (uint64_t)reg[r].at;
                        place += (uint64_t)look(w->map, place)->shift;
                        if ((fresh & ((1u << scale) - 1)) == 0) {
                            if (!reg[r].moved) {
                                uint32_t head = source_word(w->data + reg[r].at);
                                uint32_t pages = (uint32_t)(((fresh & ~(uint64_t)4095) - (place & ~(uint64_t)4095)) >> 12);
                                write_word(w->data + reg[r].at, (head & 0x9F00001F) | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5);
                                reg[r].moved = 1;
                            }
                            write_word(w->data + i, (op & 0xFFC003FF) | ((uint32_t)((fresh & 4095) >> scale) << 10));
                        }
                    } else if (action == MASK) {
                        write_word(w->data + i, op & 0xFFC003FF);
                    } else {
                        uint32_t now = source_word(w->other + i);
                        if ((now & 0xFFC003FF) == (op & 0xFFC003FF))
                            vote(w, target, reg[r].fresh + ((uint64_t)(now >> 10 & 0xFFF) << scale) - target);
                    }
                }
            }
            if ((op & 31) != 31 && (add || load))
                reg[op & 31].open = 0;
        }
    }
}

static inline void walk_pointers(walk_t *w, const int action)
{
    for (int64_t i = (int64_t)(-w->address & 7); i + 8 <= w->size; i += 8)
        pointer(w, action, i);
}

/* Process pointers of 32 bits. */
static inline void walk_words(walk_t *w, const int action)
{
    for (int64_t i = (int64_t)(-w->address & 3); i + 4 <= w->size; i += 4) {
        uint32_t word = source_word(w->data + i);
        const step_t *step = look(w->map, word + w->base);
        if (!word || step->kind == HOLE)
            continue;
        if (action == VOTE)
            vote(w, word + w->base, (uint64_t)(int64_t)(int32_t)(source_word(w->other + i) - word));
        else
            write_word(w->data + i, action == RELINK ? word + (uint32_t)step->shift : 0);
    }
}

/* Process jump tables: words with distances from the start of the table to code. Instructions in the code contain the
 * address of the table's start. */
static inline void walk_tables(walk_t *w, const int action, const uint8_t *bits, const int fixed)
{
    uint64_t zero = 0, moved = 0;
    int open = 0;
    for (int64_t i = 0; i + 4 <= w->size; i += 4) {
        if (bits[i >> 5] >> (i >> 2 & 7) & 1) {
            open = 1;
            zero = w->address + (uint64_t)i;
            moved = action == RELINK ? (uint64_t)look(w->map, zero)->shift : 0;
        }
        if (open)
            open = distance(w, action, i, zero, CODE, moved);
        if (fixed && !open && ((w->address + (uint64_t)i) & 7) == 0 && i + 8 <= w->size && pointer(w, action, i))
            i += 4;
    }
}

/* Process records of frames (unwinding information). When RELINK gets the records, derive.c has already changed them.
 * RELINK skips values in the range that begins at NEAR. */
static inline void walk_frames(walk_t *w, const int action)
{
    for (int64_t i = 0, size; (size = record_size(w->data + i, w->size - i)) != 0; i += size) {
        uint32_t id = source_word(w->data + i + 4);
        uint64_t here = w->address + (uint64_t)i + 8;
        if (id == (action == RELINK ? (uint32_t)i + 4 : 0) || size < 16)
            continue;
        if (action == MASK)
            write_word(w->data + i + 4, 0);
        if (action != RELINK || !is_near(source_word(w->data + i + 8)))
            distance(w, action, i + 8, here, CODE, SHIFT_AT(i + 8));
        if (has_table(w->data + i, size) && (action != RELINK || !is_near(source_word(w->data + i + 17))))
            distance(w, action, i + 17, here + 9, DATA, SHIFT_AT(i + 17));
    }
}

/* Process relocations. When RELINK gets the relocations, derive.c has already changed them: the first of their three
 * longs is no longer an address. */
static inline void walk_relocations(walk_t *w, const int action)
{
    if (action != RELINK)
        walk_pointers(w, action);
    else
        for (int64_t i = 16; i + 8 <= w->size; i += 24)
            pointer(w, action, i);
}

/* Process tables of symbols; each symbol has an address and the offset of its name. */
static inline void walk_symbols(walk_t *w, const int action)
{
    uint64_t names = w->base, moved = action == RELINK ? (uint64_t)look(w->map, names)->shift : 0;
    w->base = names & ~(SPACE - 1);
    for (int64_t i = 0; i + 24 <= w->size; i += 24) {
        const step_t *step = look(w->map, names + source_word(w->data + i));
        if (action == MASK)
            write_word(w->data + i, 0);
        else if (action == RELINK && step->kind != HOLE)
            write_word(w->data + i, source_word(w->data + i) + (uint32_t)step->shift - (uint32_t)moved);
        pointer(w, action, i + 8);
    }
}

static inline void walk(walk_t *w, const int action, int64_t mode)
{
    if (mode == X86)
        walk_x86(w, action, 0);
    else if (mode == X86_FIXED)
        walk_x86(w, action, 1);
    else if (mode == ARM)
        walk_arm(w, action);
    else if (mode == RISCV)
        walk_riscv(w, action);
    else if (mode == THUMB)
        walk_thumb(w, action);
    else if (mode == WORDS)
        walk_words(w, action);
    else if (mode == POINTERS)
        walk_pointers(w, action);
    else if (mode == GO)
        walk_go(w, action);
    else if (mode == SYMBOLS)
        walk_symbols(w, action);
    else if (mode == FRAMES)
        walk_frames(w, action);
    else if (mode == RELOCATIONS)
        walk_relocations(w, action);
    else if (mode == INDEX && action == MASK)
        memset(w->data, 0, (size_t)w->size);
}

/* Relink `data`, a copy of the source, in place; with `mask` != 0, mask the words that relinking would change. */
int64_t dib_relink(uint8_t *data, const region_t *regions, int64_t count, const step_t *steps, int64_t step_count,
                   int64_t mask)
{
    map_t map;
    marks_t marks[MAX_TABLES];
    int64_t tables = 0, status = 0;
    if (step_count == 0)
        return 0;
    if (!map_open(&map, steps, step_count))
        return NO_MEMORY;
    for (int64_t k = 0; k < count && tables < MAX_TABLES; k++)
        if (regions[k].mode == TABLES || regions[k].mode == TABLES_FIXED) {
            marks[tables].address = (uint64_t)regions[k].address;
            marks[tables].size = (uint64_t)regions[k].length;
            marks[tables].bits = calloc((size_t)(regions[k].length / 32 + 1), 1);
            if (!marks[tables].bits) {
                status = NO_MEMORY;
                break;
            }
            tables++;
        }
    for (int late = 0; late < 2 && !status; late++) {
        int64_t table = 0;
        for (int64_t k = 0; k < count; k++) {
            walk_t w = {.map = &map, .marks = marks, .marks_count = tables, .data = data + regions[k].start,
                        .size = regions[k].length, .address = (uint64_t)regions[k].address,
                        .base = (uint64_t)regions[k].base, .last = steps + step_count - 1};
            if (regions[k].mode == TABLES || regions[k].mode == TABLES_FIXED) {
                int fixed = regions[k].mode == TABLES_FIXED;
                if (late && table < tables) {
                    if (mask)
                        walk_tables(&w, MASK, marks[table].bits, fixed);
                    else
                        walk_tables(&w, RELINK, marks[table].bits, fixed);
                    table++;
                }
            } else if (!late) {
                if (mask)
                    walk(&w, MASK, regions[k].mode);
                else
                    walk(&w, RELINK, regions[k].mode);
            }
        }
    }
    while (tables)
        free(marks[--tables].bits);
    map_close(&map);
    return status;
}

static int by_shift(const void *left, const void *right)
{
    const vote_t *a = left, *b = right;
    return a->shift < b->shift ? -1 : a->shift > b->shift;
}

/* Sort the entries (votes) by address, then by shift. The first passes each sort by 16 bits of the address, the lowest
 * bits first. A pass is left out if its 16 bits are equal in all entries. Then the entries of each address are sorted
 * by shift. With qsort alone, sorting took half as long as the comparison of the votes. */
static int sort_votes(vote_t *votes, int64_t count)
{
    enum { DIGITS = 1 << 16 };
    vote_t *spare = malloc((size_t)count * sizeof *spare + 1), *from = votes, *to = spare;
    int64_t *places = malloc((DIGITS + 1) * sizeof *places);
    if (!spare || !places) {
        free(spare);
        free(places);
        return 0;
    }
    for (int down = 0; down < 64 && count; down += 16) {
        memset(places, 0, (DIGITS + 1) * sizeof *places);
        for (int64_t k = 0; k < count; k++)
            places[((uint64_t)from[k].address >> down & (DIGITS - 1)) + 1]++;
        if (places[((uint64_t)from[0].address >> down & (DIGITS - 1)) + 1] == count)
            continue;
        for (int64_t k = 0; k < DIGITS; k++)
            places[k + 1] += places[k];
        for (int64_t k = 0; k < count; k++)
            to[places[(uint64_t)from[k].address >> down & (DIGITS - 1)]++] = from[k];
        vote_t *swapped = from;
        from = to;
        to = swapped;
    }
    if (from != votes)
        memcpy(votes, from, (size_t)count * sizeof *votes);
    free(spare);
    free(places);
    for (int64_t first = 0, k = 0; k < count; first = k) {
        int same = 1;
        for (; k < count && votes[k].address == votes[first].address; k++)
            same &= votes[k].shift == votes[first].shift;
        if (!same)
            qsort(votes + first, (size_t)(k - first), sizeof *votes, by_shift);
    }
    return 1;
}

typedef struct { const region_t *region, *section; int64_t source, target, length; } cut_t;

typedef struct {
    const cover_t *covers;
    const region_t *regions, *sections;
    int64_t count, region_count, section_count, least;
    int64_t next, first;                /* the next cover, and the first section that ends after the cover's target */
    /* the remaining part of the current cover, and the region and section in which its next piece may lie */
    int64_t source, target, left, r, c;
} cutter_t;

/* Cut the covers of at least `least` bytes at the bounds of regions and sections. Fill `piece` with the next piece of
 * at least `least` bytes that lies within one region and one section; return whether there is such a piece. */
static int next_cut(cutter_t *w, cut_t *piece)
{
    for (;;) {
        while (w->left > 0 && w->r < w->region_count && w->c < w->section_count) {
            const region_t *region = w->regions + w->r, *section = w->sections + w->c;
            int64_t s = w->source, t = w->target, skip = region->start - s, part = region->start + region->length - s;
            if (section->start - t > skip)
                skip = section->start - t;
            if (section->start + section->length - t < part)
                part = section->start + section->length - t;
            if (w->left < part)
                part = w->left;
            if (skip < 0)
                skip = 0;
            if (part > 0)
                w->source += part, w->target += part, w->left -= part;
            if (region->start + region->length <= w->source)
                w->r++;
            else if (section->start + section->length <= w->target)
                w->c++;
            if (part - skip >= w->least) {
                *piece = (cut_t){region, section, s + skip, t + skip, part - skip};
                return 1;
            }
        }
        while (w->next < w->count && w->covers[w->next].length < w->least)
            w->next++;
        if (w->next == w->count)
            return 0;
        const cover_t *cover = w->covers + w->next++;
        int64_t low = 0, high = w->region_count;
        while (low < high) { /* the first region that ends after `source` */
            int64_t middle = (low + high) / 2;
            if (w->regions[middle].start + w->regions[middle].length <= cover->source)
                low = middle + 1;
            else
                high = middle;
        }
        while (w->first < w->section_count
               && w->sections[w->first].start + w->sections[w->first].length <= cover->target)
            w->first++;
        w->source = cover->source, w->target = cover->target, w->left = cover->length;
        w->r = low, w->c = w->first;
    }
}

static int64_t address_of(const cut_t *piece)
{
    return piece->region->address + (piece->source - piece->region->start);
}

/* Return the shift of a piece's content. */
static int64_t shift_of(const cut_t *piece)
{
    return piece->section->address + (piece->target - piece->section->start) - address_of(piece);
}

static void put_step(step_t *out, int64_t *size, int64_t room, uint64_t at, int64_t shift, int64_t kind)
{
    if (*size < room)
        out[*size] = (step_t){(int64_t)at, shift, kind};
    ++*size;
}

/* Compare the operands in pieces of covers with their counterparts in the target. The pieces have at least `least`
 * bytes. The counterparts show how far the operands' addresses moved. A new shift becomes a step in `out` if at least
 * `gain` more operands agree on it than on the old shift. Return the number of steps. */
int64_t dib_relink_votes(const uint8_t *source, const uint8_t *target, const cover_t *covers, int64_t count,
                         const region_t *regions, int64_t region_count, const region_t *sections, int64_t section_count,
                         int64_t least, const step_t *steps, int64_t step_count, int64_t gain, step_t *out, int64_t room)
{
    map_t map;
    walk_t w = {0};
    cutter_t cutter = {covers, regions, sections, count, region_count, section_count, least, 0, 0, 0, 0, 0, 0, 0};
    cut_t piece;
    int64_t size = 0;
    uint64_t until = 0, last = 0, end = 0;
    const step_t *under = NULL; /* the step that contains a series of addresses with a different shift */
    if (step_count == 0)
        return 0;
    if (!map_open(&map, steps, step_count))
        return NO_MEMORY;
    w.map = &map;
    w.last = steps + step_count - 1;
    w.room = 65536;
    w.votes = malloc((size_t)w.room * sizeof *w.votes);
    w.full = !w.votes;
    while (!w.full && next_cut(&cutter, &piece)) {
        if (piece.region->mode == RAW)
            continue;
        w.data = (uint8_t *)source + piece.source; /* casting away const is safe, because VOTE does not write to the data */
        w.other = target + piece.target;
        w.size = piece.length;
        w.address = (uint64_t)address_of(&piece);
        w.base = (uint64_t)piece.region->base;
        w.moved = shift_of(&piece);
        walk(&w, VOTE, piece.region->mode);
    }
    if (w.full || !sort_votes(w.votes, w.count)) {
        free(w.votes);
        map_close(&map);
        return NO_MEMORY;
    }
    for (int64_t k = 0; k < w.count;) {
        uint64_t address = (uint64_t)w.votes[k].address, best = 0;
        const step_t *step = look(&map, address);
        int64_t for_step = 0, for_last = 0, most = 0;
        while (k < w.count && (uint64_t)w.votes[k].address == address) {
            int64_t first = k;
            while (k < w.count && (uint64_t)w.votes[k].address == address && w.votes[k].shift == w.votes[first].shift)
                k++;
            if (w.votes[first].shift == step->shift)
                for_step = k - first;
            if ((uint64_t)w.votes[first].shift == last)
                for_last = k - first;
            if (k - first > most) {
                most = k - first;
                best = (uint64_t)w.votes[first].shift;
            }
        }
        if (under && address < until && for_last >= for_step && for_last && most - for_last < gain) {
            end = address + 1;
            continue;
        }
        if (under && end < until)
            put_step(out, &size, room, end, under->shift, under->kind);
        under = NULL;
        if (most - for_step >= gain) {
            put_step(out, &size, room, address, (int64_t)best, step->kind);
            until = step < w.last ? (uint64_t)step[1].at : UINT64_MAX;
            under = step;
            last = best;
            end = address + 1;
            if (step->kind == CODE) { /* the content at this address moved by the same distance as its cover */
                if (end < until)
                    put_step(out, &size, room, end, step->shift, CODE);
                under = NULL;
            }
        }
    }
    if (under && end < until)
        put_step(out, &size, room, end, under->shift, under->kind);
    free(w.votes);
    map_close(&map);
    return size;
}

/* ---- the map */

typedef struct { int64_t at, end, shift, order; } piece_t;

static int by_address(const void *left, const void *right)
{
    const piece_t *a = left, *b = right;
    int64_t n = a->end - a->at, m = b->end - b->at;
    if (a->at != b->at)
        return a->at < b->at ? -1 : 1;
    if (n != m)
        return n > m ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

/* Cut the covers at the bounds of regions and sections. Keep moved pieces of at least `least` bytes; if pieces overlap,
 * the longest piece counts. Put the pieces between the fixed steps. Return the number of steps in `out`. */
int64_t dib_relink_steps(const cover_t *covers, int64_t count, const region_t *regions, int64_t region_count,
                         const region_t *sections, int64_t section_count, int64_t least, const step_t *fixed,
                         int64_t fixed_count, step_t *out, int64_t room)
{
    int64_t n = 0, kept = 0, size = 0, limit = 1024;
    cutter_t cutter = {covers, regions, sections, count, region_count, section_count, least, 0, 0, 0, 0, 0, 0, 0};
    cut_t cut;
    piece_t *pieces = malloc((size_t)limit * sizeof *pieces);
    if (!pieces)
        return NO_MEMORY;
    while (next_cut(&cutter, &cut)) {
        int64_t address = address_of(&cut);
        if (n == MAX_STEPS) {
            free(pieces);
            return MALFORMED;
        }
        if (n == limit) {
            piece_t *more = realloc(pieces, (size_t)limit * 2 * sizeof *pieces);
            if (!more) {
                free(pieces);
                return NO_MEMORY;
            }
            pieces = more;
            limit *= 2;
        }
        pieces[n] = (piece_t){address, address + cut.length, shift_of(&cut), n};
        n++;
    }
    qsort(pieces, (size_t)n, sizeof *pieces, by_address);
    for (int64_t k = 0; k < n; k++) {
        piece_t p = pieces[k];
        while (kept && p.at < pieces[kept - 1].end) {
            piece_t *q = &pieces[kept - 1];
            if (p.end - p.at <= q->end - q->at)
                p.at = q->end;
            else if (p.at > q->at)
                q->end = p.at;
            else
                kept--;
        }
        if (p.at < p.end)
            pieces[kept++] = p;
    }
    for (int64_t f = 0, k = 0; f < fixed_count; f++) {
        step_t step = fixed[f];
        if (size < room)
            out[size] = step;
        size++;
        while (k < kept && (f + 1 == fixed_count || pieces[k].at < fixed[f + 1].at)) {
            if (pieces[k].at >= fixed[f].at && step.kind != HOLE && pieces[k].shift != step.shift) {
                step.shift = pieces[k].shift;
                if (pieces[k].at == step.at)
                    size--;
                step.at = pieces[k].at;
                if (size < room)
                    out[size] = step;
                size++;
            }
            k++;
        }
    }
    free(pieces);
    return size;
}

static int by_start(const void *left, const void *right)
{
    const step_t *a = left, *b = right;
    if (a->at != b->at)
        return a->at < b->at ? -1 : 1;
    return a->shift < b->shift ? -1 : a->shift > b->shift;
}

/* Cut the covers into pieces of at least `least` bytes. Fill `out` with a step for each piece, ordered by address;
 * return the number of steps. */
int64_t dib_relink_pieces(const cover_t *covers, int64_t count, const region_t *regions, int64_t region_count,
                          const region_t *sections, int64_t section_count, int64_t least, step_t *out, int64_t room)
{
    int64_t size = 0;
    cutter_t cutter = {covers, regions, sections, count, region_count, section_count, least, 0, 0, 0, 0, 0, 0, 0};
    cut_t piece;
    while (next_cut(&cutter, &piece))
        put_step(out, &size, room, (uint64_t)address_of(&piece), shift_of(&piece), 0);
    if (size <= room)
        qsort(out, (size_t)size, sizeof *out, by_start);
    return size;
}

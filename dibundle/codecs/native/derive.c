/* Fields of programs that can be computed from other fields of the same program. The expected value is subtracted from
 * each field, so that the field becomes small. Adding the values back restores any program (codecs/relink.py,
 * spec/relink.md). */
#include "program.h"


/* an entry of an index: the start of a function, and the offset of the function's record */
typedef struct { uint32_t code, frame; } row_t;

typedef struct {
    uint8_t *data;
    const region_t *parts;
    const region_t **by_address;
    /* whether an index of these frames was already processed; each index is processed only once */
    uint8_t *indexed;
    int64_t count;
    int put_back;
} derive_t;

static int by_address(const void *left, const void *right)
{
    const region_t *a = *(const region_t *const *)left, *b = *(const region_t *const *)right;
    return a->address != b->address ? (a->address < b->address ? -1 : 1) : a->start < b->start ? -1 : a->start > b->start;
}

static int by_code(const void *left, const void *right)
{
    const row_t *a = left, *b = right;
    int32_t x = (int32_t)a->code, y = (int32_t)b->code;
    return x != y ? (x < y ? -1 : 1) : a->frame < b->frame ? -1 : a->frame > b->frame;
}

/* Return the part with the highest address that is not above the given address; if several parts have this address,
 * return the last. Return NULL if there is no such part. */
static const region_t *part_at(const derive_t *d, uint64_t address)
{
    int64_t low = 0, high = d->count;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if ((uint64_t)d->by_address[middle]->address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? d->by_address[low - 1] : NULL;
}

/* Replace a field by its distance from the expected value, or restore the field. */
static inline void turn_word(const derive_t *d, uint8_t *at, uint32_t expected)
{
    write_word(at, d->put_back ? source_word(at) + expected : source_word(at) - expected);
}

/* Exchange the range of values that begins at `expected` with the range that begins at NEAR: a word in one range moves
 * to the other. If the ranges overlap, change nothing. */
static inline uint32_t exchanged(uint32_t word, uint32_t expected)
{
    if (expected - NEAR + NEAR_MOST < 2 * NEAR_MOST)
        return word;
    return word - expected < NEAR_MOST ? word - expected + NEAR : is_near(word) ? word - NEAR + expected : word;
}

static void derive_frames(const derive_t *d, const region_t *part)
{
    uint8_t *s = d->data + part->start;
    uint32_t end = 0, table = 0; /* the end of the previous function, and the previous function's table of exceptions */
    for (int64_t i = 0, size; (size = record_size(s, part->length - i)) != 0; i += size, s += size) {
        uint32_t here = (uint32_t)part->address + (uint32_t)i, id = source_word(s + 4), other = (uint32_t)i + 4 - id;
        write_word(s + 4, other);
        if ((d->put_back ? other : id) == 0 || size < 16)
            continue;
        uint32_t before = source_word(s + 8), after = exchanged(before, ((end + 15) & ~15u) - (here + 8));
        write_word(s + 8, after);
        end = here + 8 + (d->put_back ? after : before) + source_word(s + 12);
        if (has_table(s, size)) {
            before = source_word(s + 17);
            after = exchanged(before, table - (here + 17));
            write_word(s + 17, after);
            table = here + 17 + (d->put_back ? after : before);
        }
    }
}

static int64_t derive_index(const derive_t *d, const region_t *part)
{
    static const uint8_t form[4] = {1, 0x1b, 3, 0x3b};
    uint8_t *s = d->data + part->start;
    if (part->length < 12 || memcmp(s, form, 4) != 0)
        return 0;
    uint64_t frames = (uint64_t)part->address + 4 + (uint64_t)(int64_t)(int32_t)source_word(s + 4);
    const region_t *from = part_at(d, frames);
    if (!from || (uint64_t)from->address != frames || from->mode != FRAMES || d->indexed[from - d->parts])
        return 0;
    d->indexed[from - d->parts] = 1;
    int64_t room = (part->length - 12) / 8, count = 0;
    row_t *rows = malloc((size_t)room * sizeof *rows + 1);
    const uint8_t *f = d->data + from->start;
    if (!rows)
        return NO_MEMORY;
    for (int64_t i = 0, size; count < room && (size = record_size(f + i, from->length - i)) != 0; i += size)
        if (source_word(f + i + 4) && size >= 16) {
            uint32_t here = (uint32_t)(frames - (uint64_t)part->address) + (uint32_t)i;
            rows[count++] = (row_t){here + 8 + source_word(f + i + 8), here};
        }
    qsort(rows, (size_t)count, sizeof *rows, by_code);
    for (int64_t k = 0; k < count; k++) {
        turn_word(d, s + 12 + 8 * k, rows[k].code);
        turn_word(d, s + 16 + 8 * k, rows[k].frame);
    }
    free(rows);
    return 0;
}

static void derive_relocations(const derive_t *d, const region_t *part)
{
    uint8_t *s = d->data + part->start;
    uint64_t last = 0;
    for (int64_t i = 0; i + 24 <= part->length; i += 24) {
        uint64_t before = read_long(s + i), what = read_long(s + i + 8), word = 0;
        write_long(s + i, d->put_back ? before + last : before - last);
        last = d->put_back ? before + last : before;
        if (what != 8 && what != 1027)
            continue;
        uint64_t address = last + (uint64_t)part->base;
        const region_t *from = part_at(d, address);
        uint64_t at = from ? address - (uint64_t)from->address : 0;
        if (from && at < (uint64_t)from->length && (uint64_t)from->length - at >= 8 && from->mode != INDEX &&
            from->mode != FRAMES && from->mode != RELOCATIONS)
            word = read_long(d->data + from->start + at);
        before = read_long(s + i + 16);
        write_long(s + i + 16, d->put_back ? before + word : before - word);
    }
}

/* Subtract derived values from the fields in the `parts` of `data`, or add these values back. */
int64_t dib_derive(uint8_t *data, const region_t *parts, int64_t count, int64_t put_back)
{
    /* the order in which values are subtracted; values are added back in reverse order */
    static const int modes[3] = {RELOCATIONS, INDEX, FRAMES};
    derive_t d = {.data = data, .parts = parts, .count = count, .put_back = put_back != 0};
    d.by_address = malloc((size_t)count * sizeof *d.by_address + 1);
    d.indexed = calloc((size_t)count + 1, 1);
    int64_t status = d.by_address && d.indexed ? 0 : NO_MEMORY;
    for (int64_t k = 0; k < count && !status; k++)
        d.by_address[k] = parts + k;
    if (!status)
        qsort(d.by_address, (size_t)count, sizeof *d.by_address, by_address);
    for (int turn = 0; turn < 3 && !status; turn++)
        for (int64_t k = 0, mode = modes[put_back ? 2 - turn : turn]; k < count && !status; k++) {
            if (parts[k].mode != mode)
                continue;
            if (mode == FRAMES)
                derive_frames(&d, parts + k);
            else if (mode == RELOCATIONS)
                derive_relocations(&d, parts + k);
            else
                status = derive_index(&d, parts + k);
        }
    free(d.by_address);
    free(d.indexed);
    return status;
}

/* Covers: differences and literals, contexts, and covers as columns of numbers (codecs/cover.py). */
#include "bytes.h"

/* difference: target - source, for all bytes in covers; literals: the bytes of the target outside of covers. */
int64_t dib_cover_split(const uint8_t *source, const uint8_t *target, int64_t target_size, const cover_t *covers,
                        int64_t count, uint8_t *difference, uint8_t *literals)
{
    int64_t at = 0;
    for (int64_t k = 0; k < count; k++) {
        const uint8_t *s = source + covers[k].source, *t = target + covers[k].target;
        int64_t before = covers[k].target - at, n = covers[k].length;
        assert(before >= 0 && n > 0 && n <= target_size - covers[k].target);
        copy_bytes(literals, target + at, before);
        literals += before;
        for (int64_t i = 0; i < n; i++)
            difference[i] = (uint8_t)(t[i] - s[i]);
        difference += n;
        at = covers[k].target + n;
    }
    copy_bytes(literals, target + at, target_size - at);
    return 0;
}

/* Undo dib_cover_split in place: the difference has `covered` bytes, and is at the end of `target`. Covers are in
 * order, and each run of literals comes before its cover. Therefore, each byte of the difference is used before it is
 * overwritten. */
int64_t dib_cover_join(const uint8_t *source, const cover_t *covers, int64_t count, int64_t covered,
                       const uint8_t *literals, uint8_t *target, int64_t target_size)
{
    const uint8_t *difference = target + (target_size - covered);
    int64_t at = 0;
    for (int64_t k = 0; k < count; k++) {
        const uint8_t *restrict s = source + covers[k].source;
        uint8_t *t = target + covers[k].target;
        int64_t before = covers[k].target - at, n = covers[k].length, i = 0;
        assert(before >= 0 && n > 0 && n <= target_size - covers[k].target && t + n <= difference + n);
        copy_bytes(target + at, literals, before);
        literals += before;
        for (; i + 8 <= n; i += 8) {
            uint64_t from, change;
            memcpy(&from, s + i, 8);
            memcpy(&change, difference + i, 8);
            from = add_eight(from, change);
            memcpy(t + i, &from, 8);
        }
        for (; i < n; i++)
            t[i] = (uint8_t)(s[i] + difference[i]);
        difference += n;
        at = covers[k].target + n;
    }
    copy_bytes(target + at, literals, target_size - at);
    return 0;
}

/* For each run of literals, copy bytes of `source`: up to `width` after the previous cover, and up to `width` before
 * the next cover. Stop when `out` is full; return the copied size. */
int64_t dib_cover_context(const uint8_t *source, int64_t source_size, const cover_t *covers, int64_t count,
                          int64_t width, uint8_t *out, int64_t room)
{
    int64_t source_end = 0, target_end = 0, size = 0;
    for (int64_t k = 0; k <= count; k++) {
        if (k == count || covers[k].target > target_end) {
            int64_t after = source_size - source_end, before = k < count ? covers[k].source : 0;
            after = after < width ? after : width;
            after = after < room - size ? after : room - size;
            copy_bytes(out + size, source + source_end, after);
            size += after;
            before = before < width ? before : width;
            before = before < room - size ? before : room - size;
            copy_bytes(out + size, source + (k < count ? covers[k].source : 0) - before, before);
            size += before;
        }
        if (k < count) {
            source_end = covers[k].source + covers[k].length;
            target_end = covers[k].target + covers[k].length;
        }
    }
    return size;
}

/* Whether every cover lies within source and target, is not empty, and in the target does not overlap the previous
 * cover. */
int64_t dib_cover_fits(const int64_t *sources, const int64_t *targets, const int64_t *lengths, int64_t count,
                       int64_t source_size, int64_t target_size)
{
    int64_t end = 0;
    for (int64_t k = 0; k < count; k++) {
        if (lengths[k] <= 0 || lengths[k] > source_size || sources[k] < 0 || sources[k] > source_size - lengths[k]
            || targets[k] < end || lengths[k] > target_size || targets[k] > target_size - lengths[k])
            return 0;
        end = targets[k] + lengths[k];
    }
    return 1;
}

/* Write two columns for the covers: the gap before each cover in the target, and how much larger the source's gap is. A
 * distance d is written as 2d or, if it is negative, as -2d - 1. Each column has space for `count` numbers. */
void dib_cover_columns(const cover_t *covers, int64_t count, int64_t *gaps, int64_t *turns)
{
    int64_t source_end = 0, target_end = 0;
    for (int64_t k = 0; k < count; k++) {
        int64_t gap = covers[k].target - target_end, seek = covers[k].source - source_end - gap;
        gaps[k] = gap;
        turns[k] = seek >= 0 ? seek * 2 : -seek * 2 - 1;
        source_end = covers[k].source + covers[k].length;
        target_end = covers[k].target + covers[k].length;
    }
}

/* Undo dib_cover_columns: fill `covers` from the columns. Return the total length of the covers, or -1 if a cover does
 * not fit into the source or the target. All numbers are between 0 and 2^63 - 1. The sizes are at most 2^60. */
int64_t dib_cover_place(const int64_t *gaps, const int64_t *lengths, const int64_t *turns, int64_t count,
                        int64_t source_size, int64_t target_size, cover_t *covers)
{
    int64_t source_end = 0, target_end = 0, total = 0;
    for (int64_t k = 0; k < count; k++) {
        int64_t length = lengths[k], seek = turns[k] & 1 ? -(turns[k] >> 1) - 1 : turns[k] >> 1, source;
        if (gaps[k] > target_size - target_end || length > target_size - target_end - gaps[k] || length == 0)
            return MALFORMED;
        source = source_end + gaps[k] + seek;
        if (source < 0 || source > source_size || length > source_size - source)
            return MALFORMED;
        covers[k].source = source;
        covers[k].target = target_end + gaps[k];
        covers[k].length = length;
        source_end = source + length;
        target_end = covers[k].target + length;
        total += length;
    }
    return total;
}

/* Content from which some parts (stretches) were removed. Each remaining piece has two offsets: in the whole content,
 * and in the content without the removed parts (the rest). The last offset in the rest is the size of the rest. */
typedef struct { const int64_t *starts, *places; int64_t count, at; } rest_t;

/* Convert an offset in the rest to an offset in the whole content. `*room` receives the number of bytes from this
 * offset to the end of the piece that contains it. */
static int64_t place_in_whole(rest_t *r, int64_t at, int64_t *room)
{
    if (at < r->places[r->at] || at >= r->places[r->at + 1]) {
        int64_t low = 0, high = r->count - 1;
        while (low < high) { /* find the last piece that begins at or before the offset `at` */
            int64_t middle = (low + high + 1) / 2;
            if (r->places[middle] <= at)
                low = middle;
            else
                high = middle - 1;
        }
        r->at = low;
    }
    *room = r->places[r->at + 1] - at;
    return r->starts[r->at] + at - r->places[r->at];
}

static void put_cover(cover_t *out, int64_t *size, int64_t room, cover_t cover)
{
    cover_t *last = *size > 0 && *size <= room ? out + *size - 1 : NULL;
    if (last && last->source + last->length == cover.source && last->target + last->length == cover.target) {
        last->length += cover.length;
        return;
    }
    if (*size < room)
        out[*size] = cover;
    ++*size;
}

/* Fill `out` with covers of the whole content: the rest's covers, cut at each removed part, and the removed parts
 * themselves (`middles`). If a cover continues the previous cover, both covers are joined. The covers are in the order
 * of the target. Return the number of covers. */
int64_t dib_cover_whole(const cover_t *covers, int64_t count, const int64_t *old_starts, const int64_t *old_places,
                        int64_t old_count, const int64_t *new_starts, const int64_t *new_places, int64_t new_count,
                        const cover_t *middles, int64_t middle_count, cover_t *out, int64_t room)
{
    rest_t old = {old_starts, old_places, old_count, 0}, fresh = {new_starts, new_places, new_count, 0};
    int64_t size = 0, m = 0;
    for (int64_t k = 0; k < count; k++) {
        for (int64_t done = 0; done < covers[k].length;) {
            int64_t old_room, new_room, part = covers[k].length - done;
            cover_t cover = {place_in_whole(&old, covers[k].source + done, &old_room),
                             place_in_whole(&fresh, covers[k].target + done, &new_room), 0};
            if (old_room < part)
                part = old_room;
            if (new_room < part)
                part = new_room;
            cover.length = part;
            while (m < middle_count && middles[m].target < cover.target)
                put_cover(out, &size, room, middles[m++]);
            put_cover(out, &size, room, cover);
            done += part;
        }
    }
    while (m < middle_count)
        put_cover(out, &size, room, middles[m++]);
    return size;
}

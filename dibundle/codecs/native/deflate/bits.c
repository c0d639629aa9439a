/* The output of encoders: bytes, bits, and the positions of blocks (marks). */
#include "deflate.h"

int marks_add(marks_t *marks, int64_t bit, int64_t content, int64_t kind)
{
    if (marks->count == marks->room) {
        int64_t room = marks->room ? 2 * marks->room : 64;
        int64_t *items = realloc(marks->items, (size_t)room * 3 * sizeof *items);
        if (!items)
            return 0;
        marks->items = items;
        marks->room = room;
    }
    int64_t *mark = marks->items + 3 * marks->count++;
    mark[0] = bit;
    mark[1] = content;
    mark[2] = kind;
    return 1;
}

/* Move up to `most` marks to `out`; return how many marks were moved. */
int64_t marks_take(marks_t *marks, int64_t *out, int64_t most)
{
    int64_t n = marks->count < most ? marks->count : most;
    if (n <= 0)
        return 0;
    memcpy(out, marks->items, (size_t)n * 3 * sizeof *out);
    marks->count -= n;
    memmove(marks->items, marks->items + 3 * n, (size_t)marks->count * 3 * sizeof *out);
    return n;
}

/* Ensure that `n` more bytes, including the pending bits, can be written without a check. */
int sink_grow(sink_t *s, int64_t n)
{
    if (s->failed)
        return 0;
    if (s->size + n + 16 > s->room) {
        int64_t room = 2 * s->room + n + 4096;
        uint8_t *data = realloc(s->data, (size_t)room);
        if (!data) {
            s->failed = 1;
            return 0;
        }
        s->data = data;
        s->room = room;
    }
    s->budget = s->size + n;
    return 1;
}

void put_start(sink_t *s, int type, int last)
{
    int64_t bit = 8 * (s->taken + s->size) + s->count;
    if (!sink_grow(s, 2))
        return;
    if (!marks_add(&s->marks, bit, s->content, 2 * type + last))
        s->failed = 1;
    put(s, (uint64_t)(2 * type + last), 3);
}

void put_padding(sink_t *s)
{
    if (s->count)
        put(s, 0, 8 - s->count);
}

void put_stored(sink_t *s, const uint8_t *content, int64_t n, int last)
{
    put_start(s, STORED, last);
    if (!sink_grow(s, n + 6))
        return;
    put_padding(s);
    put(s, (uint64_t)n | (uint64_t)(~n & 0xffff) << 16, 32);
    if (n)
        memcpy(s->data + s->size, content, (size_t)n);
    s->size += n;
    assert(s->size <= s->budget);
}

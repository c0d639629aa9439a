/* The search for matches at the three faster levels of klauspost/compress, zstd (NOTICE; spec/zstd.md describes this
 * search). */
#include "zstd.h"

static inline int32_t larger(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* Use a match with a repeated offset at `at`; the match's source is `offset` bytes before `at`. Extend the match
 * backwards, but leave at least one literal before it. */
static int32_t add_repeated(encoder_t *e, int32_t emitted, int32_t s, int32_t at, int32_t offset, int32_t end, int32_t most)
{
    const uint8_t *h = e->history;
    int32_t from = at - offset, length = 4 + same_bytes(h + at + 4, h + from + 4, end - at - 4);
    int32_t after = at + length, least = larger(s - e->window, 0);
    while (from > least && at > emitted + 1 && h[from - 1] == h[at - 1] && length < most) {
        from--;
        at--;
        length++;
    }
    add_sequence(e, emitted, at, length, 1);
    return after;
}

/* Take a match of the `length` bytes at `s` with the bytes at `t`: extend the match backwards and add it; return its
 * end. */
static int32_t add_match(encoder_t *e, int32_t emitted, int32_t s, int32_t t, int32_t length)
{
    const uint8_t *h = e->history;
    int32_t least = larger(s - e->window, 0), offset = s - t;
    while (t > least && s > emitted && h[t - 1] == h[s - 1] && length < LONGEST) {
        s--;
        t--;
        length++;
    }
    add_sequence(e, emitted, s, length, (uint32_t)offset + 3);
    return s + length;
}

/* `alone`: whether this block is the whole content. If the block is the whole content, repeated offsets are tried at
 * more positions. */
void find_fastest(encoder_t *e, int32_t s, int32_t end, int alone)
{
    enum { LOG = 15 };
    const uint8_t *h = e->history;
    entry_t *table = e->entries;
    int32_t limit = end - 8, emitted = s, near = 1, far = 4, origin = e->origin;
    if (end - s < 10) {
        add_rest(e, s, end);
        return;
    }
    while (s < limit) {
        int may_repeat = e->sequence_count > 2;
        int32_t t = -1;
        while (s < limit) {
            uint64_t v = load64(h + s);
            entry_t *one = &table[hash6(v, LOG)], *two = &table[hash6(v >> 8, LOG)];
            entry_t first = *one, second = *two;
            *one = (entry_t){(uint32_t)v, s + origin};
            *two = (entry_t){(uint32_t)(v >> 8), s + origin + 1};
            if (alone)
                may_repeat = e->sequence_count > 2;
            int32_t repeat = s - near + 2;
            if (may_repeat && repeat >= 0 && load32(h + repeat) == (uint32_t)(v >> 16)) {
                s = emitted = add_repeated(e, emitted, s, s + 2, near, end, LONGEST);
                continue;
            }
            int32_t from = first.at - origin, from2 = second.at - origin;
            if (s - from < e->window && (uint32_t)v == first.value) {
                t = from;
                break;
            }
            if (s - from2 + 1 < e->window && (uint32_t)(v >> 8) == second.value) {
                t = from2;
                s++;
                break;
            }
            s += 2 + ((s - emitted) >> 5);
        }
        if (t < 0)
            break;
        far = near;
        near = s - t;
        s = emitted = add_match(e, emitted, s, t, 4 + same_bytes(h + s + 4, h + t + 4, end - s - 4));
        if (s >= limit)
            break;
        if (alone)
            may_repeat = e->sequence_count > 2;
        uint64_t v = load64(h + s);
        if (may_repeat && load32(h + s - far) == (uint32_t)v) {
            int32_t length = 4 + same_bytes(h + s + 4, h + s - far + 4, end - s - 4);
            table[hash6(v, LOG)] = (entry_t){(uint32_t)v, s + origin};
            add_sequence(e, s, s, length, 1);
            s = emitted = s + length;
            int32_t kept = near;
            near = far;
            far = kept;
        }
    }
    add_rest(e, emitted, end);
}

void find_default(encoder_t *e, int32_t s, int32_t end, int alone)
{
    enum { LOG = 15, LONG = 17 };
    const uint8_t *h = e->history;
    entry_t *table = e->entries, *longs = e->more_entries;
    int32_t limit = end - 10, emitted = s, near = 1, far = 4, origin = e->origin;
    if (end - s < 16) {
        add_rest(e, s, end);
        return;
    }
    while (s < limit) {
        int may_repeat = e->sequence_count > 2;
        int32_t t = -1;
        while (s < limit) {
            uint64_t v = load64(h + s);
            entry_t *one = &longs[hash8(v, LONG)], *two = &table[hash5(v, LOG)];
            entry_t far_one = *one, near_one = *two;
            *one = *two = (entry_t){(uint32_t)v, s + origin};
            if (alone)
                may_repeat = e->sequence_count > 2;
            int32_t repeat = s - near + 1;
            if (may_repeat && repeat >= 0 && load32(h + repeat) == (uint32_t)(v >> 8)) {
                s = emitted = add_repeated(e, emitted, s, s + 1, near, end, LONGEST - 1);
                continue;
            }
            int32_t from = far_one.at - origin;
            if (s - from < e->window && (uint32_t)v == far_one.value) {
                t = from;
                break;
            }
            from = near_one.at - origin;
            if (s - from < e->window && (uint32_t)v == near_one.value) {
                t = from;
                uint64_t after = load64(h + s + 1);
                one = &longs[hash8(after, LONG)];
                far_one = *one;
                *one = (entry_t){(uint32_t)after, s + 1 + origin};
                from = far_one.at - origin;
                if (s - from + 1 < e->window && (uint32_t)after == far_one.value) {
                    t = from;
                    s++;
                }
                break;
            }
            s += 1 + ((s - emitted) >> 7);
        }
        if (t < 0)
            break;
        far = near;
        near = s - t;
        s = emitted = add_match(e, emitted, s, t, 4 + same_bytes(h + s + 4, h + t + 4, end - s - 4));
        if (s >= limit)
            break;
        int32_t at[2] = {s - (int32_t)e->sequences[e->sequence_count - 1].length - SHORTEST + 1, s - 2};
        uint32_t kept = 0;
        for (int i = 0; i < 2; i++) {
            uint64_t v = load64(h + at[i]);
            longs[hash8(v, LONG)] = (entry_t){(uint32_t)v, at[i] + origin};
        }
        for (int i = 0; i < 2; i++) {
            uint64_t v = load64(h + at[i]) >> 8;
            table[hash5(v, LOG)] = (entry_t){(uint32_t)v, at[i] + 1 + origin};
            kept = hash5(v >> 8, LOG);
        }
        if (alone)
            may_repeat = e->sequence_count > 2;
        while (may_repeat && s < limit) {
            uint64_t v = load64(h + s);
            if (load32(h + s - far) != (uint32_t)v)
                break;
            int32_t length = 4 + same_bytes(h + s + 4, h + s - far + 4, end - s - 4);
            longs[hash8(v, LONG)] = (entry_t){(uint32_t)v, s + origin};
            table[alone ? kept : hash5(v, LOG)] = (entry_t){(uint32_t)v, s + origin};
            add_sequence(e, s, s, length, 1);
            s = emitted = s + length;
            int32_t swapped = near;
            near = far;
            far = swapped;
        }
    }
    add_rest(e, emitted, end);
}

/* Add every second position, from `at` to s - 2, to the tables of the level "better". */
static void enter_better(encoder_t *e, int32_t at, int32_t s)
{
    for (; at < s - 1; at += 2) {
        uint64_t v = load64(e->history + at), after = v >> 8;
        pair_t *pair = &e->pairs[hash8(v, 19)];
        *pair = (pair_t){at + e->origin, pair->at};
        e->entries[hash5(after, 13)] = (entry_t){(uint32_t)after, at + 1 + e->origin};
    }
}

/* Whether the bytes at `from` are within the window and may match the bytes at `s`; `value`: the 8 bytes at `s`. */
static inline int reaches(const encoder_t *e, int32_t s, int32_t from, uint64_t value)
{
    return s - from < e->window && value == load64(e->history + from);
}

void find_better(encoder_t *e, int32_t s, int32_t end)
{
    enum { LOG = 13, LONG = 19 };
    const uint8_t *h = e->history;
    entry_t *table = e->entries;
    pair_t *longs = e->pairs;
    int32_t limit = end - 10, emitted = s, near = 1, far = 4, origin = e->origin;
    while (s < limit) {
        int may_repeat = e->sequence_count > 2;
        int32_t t = -1, matched = 0, entered = 0;
        while (s < limit) {
            uint64_t v = load64(h + s);
            pair_t *one = &longs[hash8(v, LONG)];
            entry_t *two = &table[hash5(v, LOG)];
            pair_t pair = *one;
            entry_t entry = *two;
            *one = (pair_t){s + origin, pair.at};
            *two = (entry_t){(uint32_t)v, s + origin};
            entered = s + 1;
            int32_t repeat = s - near + 1;
            if (may_repeat && repeat >= 0 && load32(h + repeat) == (uint32_t)(v >> 8)) {
                int32_t next = add_repeated(e, emitted, s, s + 1, near, end, LONGEST - 1);
                if (next < limit)
                    enter_better(e, s + 1, next);
                s = emitted = next;
                continue;
            }
            for (int i = 0; i < 2; i++) {
                int32_t from = (i ? pair.before : pair.at) - origin;
                if (reaches(e, s, from, v)) {
                    int32_t length = 8 + same_bytes(h + s + 8, h + from + 8, end - s - 8);
                    if (length > matched) {
                        matched = length;
                        t = from;
                    }
                }
            }
            if (t >= 0)
                break;
            int32_t from = entry.at - origin;
            if (s - from < e->window && (uint32_t)v == entry.value) {
                matched = 4 + same_bytes(h + s + 4, h + from + 4, end - s - 4);
                t = from;
                uint64_t after = load64(h + s + 1);
                one = &longs[hash8(after, LONG)];
                pair = *one;
                *one = (pair_t){s + 1 + origin, pair.at};
                for (int i = 0; i < 2; i++) {
                    from = (i ? pair.before : pair.at) - origin;
                    /* as in the original program, the window is measured from s, not from s + 1 */
                    if (!reaches(e, s, from, after))
                        continue;
                    int32_t length = 8 + same_bytes(h + s + 9, h + from + 8, end - s - 9);
                    if (length > matched) {
                        t = from;
                        s++;
                        matched = length;
                        break;
                    }
                }
                break;
            }
            s += 1 + ((s - emitted) >> 8);
        }
        if (t < 0)
            break;
        /* the bytes after the match may lead to a longer match, which covers most of this match */
        if (s + matched < limit) {
            pair_t pair = longs[hash8(load64(h + s + matched), LONG)];
            int32_t at = s + 3;
            uint32_t v = load32(h + at);
            for (int i = 0; i < 2; i++) {
                int32_t from = (i ? pair.before : pair.at) - origin - matched + 3;
                if (from < 0 || from >= at || at - from >= e->window || v != load32(h + from))
                    continue;
                int32_t length = 4 + same_bytes(h + at + 4, h + from + 4, end - at - 4);
                if (length > matched) {
                    t = from;
                    s = at;
                    matched = length;
                }
            }
        }
        far = near;
        near = s - t;
        s = emitted = add_match(e, emitted, s, t, matched);
        if (s >= limit)
            break;
        if (e->encoder == KLAUSPOST_15)
            entered = s - (int32_t)e->sequences[e->sequence_count - 1].length - SHORTEST + 1;
        enter_better(e, entered, s);
        while (may_repeat && s < limit) {
            uint64_t v = load64(h + s);
            if (load32(h + s - far) != (uint32_t)v)
                break;
            int32_t length = 4 + same_bytes(h + s + 4, h + s - far + 4, end - s - 4);
            pair_t *one = &longs[hash8(v, LONG)];
            *one = (pair_t){s + origin, one->at};
            table[hash5(v, LOG)] = (entry_t){(uint32_t)v, s + origin};
            add_sequence(e, s, s, length, 1);
            s = emitted = s + length;
            int32_t swapped = near;
            near = far;
            far = swapped;
        }
    }
    add_rest(e, emitted, end);
}

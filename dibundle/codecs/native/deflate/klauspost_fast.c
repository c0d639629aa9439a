/* The matches of klauspost's levels 2 to 4. Level 1 and levels 5 and 6 are in klauspost.c. */
#include "klauspost.h"

/* flate/{level2,level3,level4}.go of klauspost/compress 1.15.12 to 1.20.3. */

static inline uint32_t wide_hash(uint64_t bytes, int bits)
{
    return (uint32_t)(((bytes << 24) * 889523592379u) >> (64 - bits));
}

static inline int32_t *single(klauspost_t *k, uint64_t bytes)
{
    return k->wide + wide_hash(bytes, 17);
}

/* Level 2 is like level 1, but its table has 2^17 entries, and level 2 also indexes positions inside matches. */
void klauspost_match2(klauspost_t *k, int32_t s)
{
    const uint8_t *history = k->history;
    int32_t emitted = s, limit = k->history_size - 11, next = s, from;
    uint64_t bytes = load64(history + s);
    for (;;) {
        next = s;
        for (;;) { /* look up pairs of positions; the distance between pairs grows */
            int32_t *entry = single(k, bytes);
            s = next;
            next = s + 2 + ((s - emitted) >> 5);
            if (next > limit)
                goto rest;
            uint64_t next_bytes = load64(history + next);
            from = *entry - k->offset;
            *entry = s + k->offset;
            entry = single(k, next_bytes);
            if (reaches(k, from, s, (uint32_t)bytes)) {
                *entry = next + k->offset;
                break;
            }
            bytes = next_bytes;
            s = next++;
            from = *entry - k->offset;
            next_bytes >>= 8;
            *entry = s + k->offset;
            if (reaches(k, from, s, (uint32_t)bytes))
                break;
            bytes = next_bytes;
        }
        for (;;) {
            int32_t length = klauspost_backwards(k, &s, &from, full_length(k, s, from), emitted);
            klauspost_literals(k, emitted, s);
            klauspost_long(k, length, s - from);
            emitted = s += length;
            if (next >= s)
                s = next + 1;
            if (s >= limit)
                goto rest;
            for (int32_t i = s - length + 2; i < s - 5; i += 7) {
                bytes = load64(history + i);
                for (int32_t j = 0; j < 6; j += 2)
                    *single(k, bytes >> 8 * j) = i + j + k->offset;
            }
            bytes = load64(history + s - 2);
            *single(k, bytes) = s - 2 + k->offset;
            *single(k, bytes >> 8) = s - 1 + k->offset;
            int32_t *entry = single(k, bytes >> 16);
            from = *entry - k->offset;
            *entry = s + k->offset;
            bytes >>= 16;
            if (s - from > WINDOW || load32(history + from) != (uint32_t)bytes)
                break;
        }
        bytes >>= 8;
        s++;
    }
rest:
    if (k->count)
        klauspost_literals(k, emitted, k->history_size);
}

static inline int32_t *pair(klauspost_t *k, uint64_t bytes)
{
    return k->wide + 2 * wide_hash(bytes, 16);
}

static inline void pair_insert(klauspost_t *k, uint64_t bytes, int32_t position)
{
    int32_t *entry = pair(k, bytes);
    entry[1] = entry[0];
    entry[0] = position + k->offset;
}

/* Level 3: two candidates that begin with the same five bytes, at most 32,764 bytes back. */
void klauspost_match3(klauspost_t *k, int32_t s)
{
    const uint8_t *history = k->history;
    int32_t emitted = s, limit = k->history_size - 11, next = s, from;
    uint64_t bytes = load64(history + s);
    for (;;) {
        next = s;
        for (;;) {
            int32_t *entry = pair(k, bytes);
            s = next;
            next = s + 1 + ((s - emitted) >> 7);
            if (next > limit)
                goto rest;
            int32_t latest = entry[0] - k->offset, before = entry[1] - k->offset, least_from = s - (WINDOW - 4);
            uint32_t four = (uint32_t)bytes;
            entry[1] = entry[0];
            entry[0] = s + k->offset;
            bytes = load64(history + next);
            if (latest < least_from)
                continue;
            from = latest;
            if (load32(history + latest) == four) {
                if (before >= least_from && load32(history + before) == four &&
                    full_length(k, s, before) > full_length(k, s, latest))
                    from = before;
                break;
            }
            from = before;
            if (before > least_from && load32(history + before) == four)
                break;
        }
        for (;;) {
            int32_t length = klauspost_backwards(k, &s, &from, full_length(k, s, from), emitted);
            klauspost_literals(k, emitted, s);
            klauspost_long(k, length, s - from);
            emitted = s += length;
            if (next >= s)
                s = next + 1;
            if (s >= limit) {
                from += length;
                if (from + 8 < k->history_size)
                    pair_insert(k, load64(history + from), from);
                goto rest;
            }
            for (int32_t i = s - length + 2; i < s - 5; i += 6)
                pair_insert(k, load64(history + i), i);
            bytes = load64(history + s - 2);
            pair_insert(k, bytes, s - 2);
            pair_insert(k, bytes >> 8, s - 1);
            bytes >>= 16;
            const int32_t *entry = pair(k, bytes);
            int32_t latest = entry[0] - k->offset, before = entry[1] - k->offset, least_from = s - (WINDOW - 4);
            pair_insert(k, bytes, s);
            if (latest <= least_from)
                break;
            from = latest;
            if (load32(history + from) == (uint32_t)bytes)
                continue;
            from = before;
            if (before > least_from && load32(history + from) == (uint32_t)bytes)
                continue;
            break;
        }
        bytes >>= 8;
        s++;
    }
rest:
    if (k->count)
        klauspost_literals(k, emitted, k->history_size);
}

static inline void both_insert(klauspost_t *k, uint64_t bytes, int32_t position)
{
    k->near[near_hash(bytes)] = position + k->offset;
    k->far[far_hash(bytes)][0] = position + k->offset;
}

/* Level 4: a candidate that begins with the same seven bytes; if there is none, a candidate with the same four bytes.
 * If a candidate has only four equal bytes, a longer match of seven bytes at the next position is preferred. */
void klauspost_match4(klauspost_t *k, int32_t s)
{
    const uint8_t *history = k->history;
    int32_t emitted = s, limit = k->history_size - 11, next = s, from;
    uint64_t bytes = load64(history + s);
    for (;;) {
        next = s;
        for (;;) {
            s = next;
            next = s + 1 + ((s - emitted) >> 6);
            if (next > limit)
                goto rest;
            int32_t near = k->near[near_hash(bytes)] - k->offset, far = k->far[far_hash(bytes)][0] - k->offset;
            uint64_t next_bytes = load64(history + next);
            both_insert(k, bytes, s);
            from = far;
            if (reaches(k, far, s, (uint32_t)bytes))
                break;
            from = near;
            if (reaches(k, near, s, (uint32_t)bytes)) {
                far = k->far[far_hash(next_bytes)][0] - k->offset;
                if (reaches(k, far, next, (uint32_t)next_bytes)) {
                    /* from 1.18.0 on, candidates are compared at a wrong offset: their distance is used as their *
                     * offset in the history */
                    int32_t other = k->misplaced ? next - far : far;
                    int32_t length = full_length(k, s + 4, near + 4);
                    if (full_length(k, next + 4, other + 4) > length) {
                        s = next;
                        from = far;
                    }
                }
                break;
            }
            bytes = next_bytes;
        }
        int32_t length = klauspost_backwards(k, &s, &from, full_length(k, s, from), emitted);
        klauspost_literals(k, emitted, s);
        klauspost_long(k, length, s - from);
        emitted = s += length;
        if (next >= s)
            s = next + 1;
        if (s >= limit) {
            if (s + 8 < k->history_size)
                both_insert(k, load64(history + s), s);
            goto rest;
        }
        for (int32_t i = next; i < s - 1; i += 3) {
            bytes = load64(history + i);
            k->far[far_hash(bytes)][0] = i + k->offset;
            both_insert(k, bytes >> 8, i + 1);
        }
        bytes = load64(history + s - 1);
        both_insert(k, bytes, s - 1);
        bytes >>= 8;
    }
rest:
    if (k->count)
        klauspost_literals(k, emitted, k->history_size);
}

/* The search for covers: parts of a target that resemble parts of a source (codecs/encode/covers.py). Like bsdiff, the
 * search goes through the target from start to end. The search follows a cover until another part of the source matches
 * the next bytes so well that a new cover is worth its cost. Then the search extends the old cover forwards and the new
 * cover backwards, while enough bytes are equal. The search uses a table of offsets in the source; the key is the eight
 * bytes at each offset. Near the offset to which the followed cover leads, a match may be shorter, because such a match
 * costs fewer bytes. */
#include "bytes.h"

#define MOST_SOURCE ((int64_t)1 << 30)
#define KEY 8          /* number of bytes that are hashed; a new cover begins with at least this many equal bytes */
#define FOLLOWED 32    /* if a cover has at least this many equal bytes, it is followed without a search */
#define LONGEST 1024   /* maximum number of bytes to compare at once; later bytes are compared when the search reaches them */
/* minimum bytes of a distant match; the last five bytes are hashed, and a table entry has a few bits of this hash */
#define FAR_KEY 13
#define LOST 1024       /* an extension ends when its value falls below its best value by this amount */
/* maximum bytes of a backward extension; without a limit, hostile contents could cause the same comparisons again and
 * again */
#define BACK 4096
#define FAVOUR 9       /* weight of an equal byte: 9 / 4 of the weight of an unequal byte */
#define UNEQUAL 4

typedef struct { int64_t near, far; } limits_t;
/* upper limits of the classes of distance, in bytes; the distance is measured from the offset at which the previous
 * cover would continue */
static const limits_t reach = {1024, 65536};
/* for each class of distance: a match begins with at least this number of equal bytes */
static const int64_t least[3] = {KEY, FAR_KEY, 14};
/* for each class: the minimum lead of a match over the current cover, in equal bytes */
static const int64_t more[3] = {4, 5, 6};
static const int64_t cost[3] = {0, 2, 4};    /* for each class: bytes to subtract from a match's length, so that nearer matches may be shorter */
static const int64_t worth[3] = {15, 22, 30}; /* for each class: minimum value of the whole cover */

/* number of equal bytes, from `at` in the target and from `place` in the source */
typedef struct { int64_t at, place, length; } match_t;

typedef struct {
    const uint8_t *source, *target;
    int64_t source_size, target_size;
    /* for each hash: the index of its first item. The items of a hash are sorted by offset; their low bits hold bits of
     * a second hash */
    uint32_t *bucket, *places;
    int down, bits;
    int64_t around;            /* maximum number of offsets to compare on each side of the previous cover's offset */
    int quick;
} search_t;

static inline uint64_t hash8(const uint8_t *s)
{
    return read_long(s) * 0x9E3779B97F4A7C15ull;
}

/* Some bits of a hash of the bytes that follow the key; 0 if too few bytes follow. */
static inline uint32_t bits_behind(const search_t *w, const uint8_t *s, int64_t left)
{
    return left < FAR_KEY ? 0 : (uint32_t)((read_long(s + FAR_KEY - 8) >> 24) * 0x9E3779B97F4A7C15ull >> (64 - w->bits));
}

static inline int64_t equal_bytes(const uint8_t *a, const uint8_t *b, int64_t most)
{
    int64_t n = 0;
    while (n + 8 <= most && read_long(a + n) == read_long(b + n))
        n += 8;
    while (n < most && a[n] == b[n])
        n++;
    return n;
}

/* The number of unequal bytes among `n` bytes; `n` is a multiple of eight. */
static inline int64_t unequal_bytes(const uint8_t *a, const uint8_t *b, int64_t n)
{
    const uint64_t low = 0x7f7f7f7f7f7f7f7full;
    int64_t count = 0;
    for (int64_t k = 0; k < n; k += 8) {
        uint64_t x = read_long(a + k) ^ read_long(b + k);
        count += (int64_t)((((((x & low) + low) | x) & ~low) >> 7) * 0x0101010101010101ull >> 56);
    }
    return count;
}

/* The number of hash bits that select a bucket in a source's table; a bucket has about four offsets. */
static int bucket_bits(int64_t source_size)
{
    int bits = 12;
    while (bits < 24 && (int64_t)4 << bits < source_size)
        bits++;
    return bits;
}

static void search_open(search_t *w, uint32_t *table)
{
    int bits = bucket_bits(w->source_size);
    w->down = 64 - bits;
    w->bits = 6;
    while (w->source_size >> (32 - w->bits))
        w->bits--;
    w->bucket = table;
    w->places = table + ((size_t)1 << bits) + 1;
}

/* The number of words that dib_match_table writes for a source; 0 if the source is too short for a table. */
int64_t dib_match_words(int64_t source_size)
{
    if (source_size > MOST_SOURCE)
        return MALFORMED;
    return source_size < KEY ? 0 : ((int64_t)1 << bucket_bits(source_size)) + 1 + source_size;
}

/* Build a part of the table of a source's offsets; all searches share this table. Step 0 counts the offsets in a share
 * of the buckets, step 1 adds up the counts, and step 2 writes the share's offsets. Each step must run for all shares,
 * in any order, before the next step. */
int64_t dib_match_table(const uint8_t *source, int64_t source_size, uint32_t *table, int64_t step, int64_t shares, int64_t share)
{
    search_t w = {.source = source, .source_size = source_size};
    search_open(&w, table);
    int64_t end = source_size - KEY;
    uint64_t count = (uint64_t)1 << (64 - w.down), low = count * (uint64_t)share / (uint64_t)shares,
             high = count * (uint64_t)(share + 1) / (uint64_t)shares - low;
    if (step == 1) {
        uint32_t sum = 0;
        for (uint64_t k = 0; k <= count; k++)
            w.bucket[k] = sum += w.bucket[k];
    }
    if (step == 0)
        for (int64_t k = 0; k <= end; k++) {
            uint64_t at = hash8(source + k) >> w.down;
            if (at - low < high)
                w.bucket[at]++;
        }
    if (step == 2)
        for (int64_t k = end; k >= 0; k--) {
            uint64_t at = hash8(source + k) >> w.down;
            if (at - low < high)
                w.places[--w.bucket[at]] = (uint32_t)k << w.bits | bits_behind(&w, source + k, source_size - k);
        }
    return 0;
}

static inline int distance_class(int64_t distance)
{
    return distance < reach.near ? 0 : distance < reach.far ? 1 : 2;
}

/* Find a match for the target at offset `at`, preferably near `expected` in the source; return its length. */
static inline int64_t find(const search_t *w, int64_t at, int64_t expected, int64_t *place)
{
    int64_t room = w->target_size - at, best = 0, best_value = 0;
    const uint8_t *target = w->target + at;
    if (room < KEY)
        return 0;
    if (room >= 32) { /* prefetch for the next searches, because memory has a high latency */
        FETCH(w->bucket + (hash8(target + 16) >> w->down));
        FETCH(w->places + w->bucket[hash8(target + 8) >> w->down]);
    }
    const uint32_t *bucket = w->bucket + (hash8(target) >> w->down);
    int64_t low = bucket[0], high = bucket[1];
    if (high - low > 2 * w->around) {
        int64_t left = low, right = high;
        while (right - left > 1) {
            int64_t middle = (left + right) / 2;
            if ((int64_t)(w->places[middle] >> w->bits) <= expected)
                left = middle;
            else
                right = middle;
        }
        low = left - w->around + 1 > low ? left - w->around + 1 : low;
        high = left + w->around + 1 < high ? left + w->around + 1 : high;
    }
    uint32_t mask = ((uint32_t)1 << w->bits) - 1, behind = bits_behind(w, target, room);
    for (int64_t k = low; k < high; k++) {
        int64_t p = w->places[k] >> w->bits, distance = p < expected ? expected - p : p - expected;
        int class = distance_class(distance);
        if (class && (w->places[k] & mask) != behind)
            continue;
        int64_t most = w->source_size - p < room ? w->source_size - p : room;
        int64_t n = equal_bytes(w->source + p, target, most < LONGEST ? most : LONGEST), value = n - cost[class];
        if (value > best_value || (value == best_value && best && distance < llabs(*place - expected))) {
            best_value = value;
            best = n;
            *place = p;
        }
    }
    return best;
}

/* Return the best extension of a cover by at most `most` bytes: after `a` and `b` (`way` 1), or before `a` and `b`
 * (`way` -1). */
static int64_t extend(const uint8_t *a, const uint8_t *b, int64_t most, const int way)
{
    int64_t length = 0, value = 0, best = 0;
    for (int64_t k = 0; k < most && value > best - LOST; k++) {
        int64_t at = way > 0 ? k : -1 - k;
        value += a[at] == b[at] ? FAVOUR - UNEQUAL : -UNEQUAL;
        if (value > best)
            best = value, length = k + 1;
    }
    return length;
}

/* Divide the first `n` bytes at `t` between the earlier cover `a` and the later cover `b`; return how many bytes `a`
 * gets. If several numbers of bytes are equally good, return the smallest of these numbers. */
static int64_t split(const uint8_t *a, const uint8_t *b, const uint8_t *t, int64_t n)
{
    int64_t value = 0, best = 0, length = 0;
    for (int64_t k = 0; k < n; k++) {
        value += (a[k] == t[k]) - (b[k] == t[k]);
        if (value > best)
            best = value, length = k + 1;
    }
    return length;
}

/* Whether a cover of `n` bytes at this distance from the previous cover saves more than it costs. */
static int is_worth(const uint8_t *a, const uint8_t *b, int64_t n, int64_t distance)
{
    int64_t value = 0;
    for (int64_t k = 0; k < n; k++)
        value += a[k] == b[k] ? FAVOUR - UNEQUAL : -UNEQUAL;
    return value >= worth[distance_class(distance)] * (FAVOUR - UNEQUAL);
}

/* Return how many bytes after an offset need no search, because the followed cover is good enough there. */
static inline int64_t followed(const search_t *w, int64_t own, int64_t here, int64_t at)
{
    if (own >= FOLLOWED)
        return own;
    if (!w->quick || here < 0 || here + 32 > w->source_size || at + 32 > w->target_size)
        return 0;
    return unequal_bytes(w->source + here, w->target + at, 32) <= more[2] ? FOLLOWED / 2 : 0;
}

static inline int is_equal(const search_t *w, int64_t here, int64_t at)
{
    return here >= 0 && here < w->source_size && w->source[here] == w->target[at];
}

/* Follow the cover that maps `at` in the target to `at + moved` in the source, until another cover is better or the
 * target ends. */
static match_t next_match(const search_t *w, int64_t at, int64_t moved)
{
    int64_t equal = 0, counted = at; /* number of equal bytes of the followed cover, from `at` to `counted` */
    for (int64_t step = 1; at < w->target_size; at += step) {
        int64_t here = at + moved, own = 0, place = here;
        step = 1;
        if (here >= 0 && here < w->source_size) {
            int64_t most = w->source_size - here < w->target_size - at ? w->source_size - here : w->target_size - at;
            own = equal_bytes(w->source + here, w->target + at, most < LONGEST ? most : LONGEST);
        }
        int64_t length = followed(w, own, here, at);
        if (!length) {
            length = find(w, at, here, &place);
            if (length < own)
                length = own, place = here;
            int class = distance_class(llabs(place - here));
            if (length < least[class] && length != own)
                length = 0;
            for (; counted < at + length; counted++)
                equal += is_equal(w, counted + moved, counted);
            if (length > equal + more[class])
                return (match_t){at, place, length};
            if (!length || length != equal) {
                equal -= is_equal(w, here, at);
                continue;
            }
        }
        step = length;
        equal = 0;
        counted = at + step;
    }
    return (match_t){w->target_size, 0, 0};
}

/* Find covers for a piece of the target; they do not overlap, and are in the target's order. Return their number. The
 * table is from dib_match_table. `place`: the offset in the source at which the piece probably begins. A quick search
 * follows a cover over more unequal bytes, and compares fewer offsets. */
int64_t dib_match(const uint8_t *source, int64_t source_size, uint32_t *table, const uint8_t *target, int64_t target_size,
                  int64_t place, int64_t quick, cover_t *out, int64_t room)
{
    search_t w = {.source = source, .target = target, .source_size = source_size, .target_size = target_size,
                  .around = quick ? 4 : 16, .quick = quick != 0};
    int64_t count = 0, moved = place; /* number of covers, and the shift of the last cover */
    int64_t from = 0;                 /* the offset in the target at which the followed cover begins; `place` is the offset in the source */
    match_t next = {0, 0, 0};
    search_open(&w, table);
    do {
        next = next_match(&w, next.at + next.length, place - from);
        int64_t gap = next.at - from, left = source_size - place, back = 0;
        int64_t forward = extend(source + place, target + from, left < gap ? left : gap, 1);
        if (next.at < target_size) {
            int64_t most = next.place < gap ? next.place : gap;
            back = extend(source + next.place, target + next.at, most < BACK ? most : BACK, -1);
        }
        int64_t both = forward + back - gap;
        if (both > 0) {
            int64_t kept = split(source + place + gap - back, source + next.place - back, target + next.at - back, both);
            forward += kept - both;
            back -= kept;
        }
        if (is_worth(source + place, target + from, forward, llabs(place - from - moved))) {
            moved = place - from;
            if (count < room)
                out[count] = (cover_t){place, from, forward};
            count++;
        }
        from = next.at - back;
        place = next.place - back;
    } while (next.at < target_size);
    return count;
}

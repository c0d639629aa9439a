/* The search for covers: stretches of a target that are nearly like ones of a source (codecs/encode/covers.py).
 *
 * A walk through the target, after the idea of bsdiff: it follows one cover until a stretch elsewhere in the source is so much
 * more like what comes that another cover pays; then the old one is extended forwards, and the new one backwards, as far as
 * enough bytes are equal. Stretches are found in a table of the source's places by the eight bytes there, those near to
 * where the cover that is followed leads first: what is near costs fewer bytes to tell, so it may be shorter. */
#include "bytes.h"

#define MOST_SOURCE ((int64_t)1 << 30)
#define KEY 8          /* bytes that are hashed, and the least that a new cover begins with */
#define FOLLOWED 32    /* equal bytes from which on a cover is followed without a search */
#define LONGEST 1024   /* bytes that are compared at most: what comes behind is compared when it is reached */
#define FAR_KEY 13     /* bytes that a stretch which is not near must have: places hold a few bits of the last five */
#define LOST 1024       /* an extension ends where so much was lost since it was best; backwards it may be */
#define BACK 4096      /* so long, so that hostile contents cannot have the same bytes extended over again and again */
#define FAVOUR 9       /* an equal byte is worth as much as 9 / 4 that are not */
#define UNEQUAL 4

typedef struct { int64_t near, far; } limits_t;
static const limits_t reach = {1024, 65536};    /* how near a stretch is: bytes from where the last cover leads; */
static const int64_t least[3] = {KEY, FAR_KEY, 14}; /* of such a distance: how many bytes must be equal to begin with, */
static const int64_t more[3] = {4, 5, 6};    /* how many more than where the last cover leads, */
static const int64_t cost[3] = {0, 2, 4};    /* by how many a nearer one may be shorter, */
static const int64_t worth[3] = {15, 22, 30}; /* and how many a cover must be worth in the end */

typedef struct { int64_t at, place, length; } match_t; /* from at in the target and place in the source on they are equal */

typedef struct {
    const uint8_t *source, *target;
    int64_t source_size, target_size;
    uint32_t *bucket, *places; /* of each hash the first of its places, which ascend; a place has bits of a hash below it */
    int down, bits;
    int64_t around;            /* of many places as many on either side of where the last cover leads are looked at */
    int quick;
} search_t;

static inline uint64_t hash8(const uint8_t *s)
{
    return read_long(s) * 0x9E3779B97F4A7C15ull;
}

/* Some bits of a hash of the bytes behind the key, of at least so many there are; 0 where there are fewer. */
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

/* How many of n bytes differ, n a multiple of eight. */
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

/* The bits of a hash that number the buckets of a source's table: a bucket for four places or so. */
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

/* How many words dib_match_table writes for a source; 0 where there is no place in it. */
int64_t dib_match_words(int64_t source_size)
{
    if (source_size > MOST_SOURCE)
        return MALFORMED;
    return source_size < KEY ? 0 : ((int64_t)1 << bucket_bits(source_size)) + 1 + source_size;
}

/* Make a part of the table of a source's places that searches share: step 0 counts those of a share of the buckets, step 1
 * adds up, step 2 puts the share's places in. Each step is done for all shares before the next, in any order. */
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

/* Find what is like the target at an offset, best near a place of the source; return how long it is. */
static inline int64_t find(const search_t *w, int64_t at, int64_t expected, int64_t *place)
{
    int64_t room = w->target_size - at, best = 0, best_value = 0;
    const uint8_t *target = w->target + at;
    if (room < KEY)
        return 0;
    if (room >= 32) { /* memory is slow to answer: ask for what the next searches look at */
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

/* How far it pays to extend a cover from a and b on (1), or before them (-1), by at most so many bytes. */
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

/* How many of the n bytes at t are better left to a, which comes before b: the fewer where that is the same. */
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

/* Whether a cover of n bytes saves more than telling of it takes, so far from where the last one leads. */
static int is_worth(const uint8_t *a, const uint8_t *b, int64_t n, int64_t distance)
{
    int64_t value = 0;
    for (int64_t k = 0; k < n; k++)
        value += a[k] == b[k] ? FAVOUR - UNEQUAL : -UNEQUAL;
    return value >= worth[distance_class(distance)] * (FAVOUR - UNEQUAL);
}

/* How many bytes from an offset on are like those where the cover that is followed leads, so that no search is worth it. */
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

/* Follow a cover that leads from at to at + moved to where another one pays; there is none at the target's end. */
static match_t next_match(const search_t *w, int64_t at, int64_t moved)
{
    int64_t equal = 0, counted = at; /* bytes from at to counted that are equal where the cover leads */
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

/* Find covers of a piece of the target, apart from each other and in its order; return how many there are. The table is what
 * dib_match_table made; place: where in the source the piece is likely to come from. A quick search follows a cover through
 * more bytes that differ, and looks at fewer places. */
int64_t dib_match(const uint8_t *source, int64_t source_size, uint32_t *table, const uint8_t *target, int64_t target_size,
                  int64_t place, int64_t quick, cover_t *out, int64_t room)
{
    search_t w = {.source = source, .target = target, .source_size = source_size, .target_size = target_size,
                  .around = quick ? 4 : 16, .quick = quick != 0};
    int64_t count = 0, moved = place; /* covers, and how far the last one leads */
    int64_t from = 0;                 /* the one that is followed begins at from, in the source at place */
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

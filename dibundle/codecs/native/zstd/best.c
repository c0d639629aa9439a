/* The search for matches at the level "best" of klauspost/compress, zstd (NOTICE; spec/zstd.md describes this search). */
#include "zstd.h"

enum { SHORT = 18, LONG = 22 };

#define UNLIKELY (LONGEST * 8)
#define GOOD_ENOUGH 250

typedef struct {
    int32_t from, at, length, repeat, cost;
} match_t;

typedef struct {
    encoder_t *e;
    int32_t end, emitted, bits_per_byte;
    match_t best;
} search_t;

/* The natural logarithm of `x` (1/2 to 1), computed like Go's math.Log with the series of FreeBSD's e_log.c. */
static double natural_log(double x)
{
    int down = x < 0.70710678118654752440;
    double f = (down ? 2 * x : x) - 1, k = down ? -1 : 0;
    double s = f / (2 + f), s2 = s * s, s4 = s2 * s2;
    double one = s2 * (6.666666666666735130e-01 + s4 * (2.857142874366239149e-01 +
                                                        s4 * (1.818357216161805012e-01 + s4 * 1.479819860511658591e-01)));
    double two = s4 * (3.999999999940941908e-01 + s4 * (2.222219843214978396e-01 + s4 * 1.531383769920937332e-01));
    double r = one + two, half = 0.5 * f * f;
    return k * 6.93147180369123816490e-01 - ((half - (s * (half + r) + k * 1.90821492927058770002e-10)) - f);
}

/* The binary logarithm of `x` (0 < x <= 1), computed like Go's math.Log2. */
static double binary_log(double x)
{
    int exponent = 0;
    while (x < 0.5) {
        x *= 2;
        exponent--;
    }
    if (x >= 1) {
        x *= 0.5;
        exponent++;
    }
    if (x == 0.5)
        return exponent - 1;
    return natural_log(x) * (1 / 0.693147180559945309417232121458176568) + exponent;
}

/* The cost of a byte as a literal, in 1,024ths of a bit. */
static int32_t literal_cost(const uint8_t *content, int32_t n)
{
    uint32_t counts[256] = {0};
    double each = 1.0 / (double)n;
    int64_t bits = 0;
    for (int32_t i = 0; i < n; i++)
        counts[content[i]]++;
    for (int i = 0; i < 256; i++)
        if (counts[i]) {
            double exact = -binary_log((double)counts[i] * each) * (double)counts[i];
            int64_t whole = (int64_t)exact;
            bits += whole + (exact > (double)whole);
        }
    int32_t cost = (int32_t)(bits * 1024 / n);
    return cost < 1024 ? 1024 : cost;
}

/* Set the cost of a match: its bits with the default tables, minus the bits of the same content as literals. */
static void set_cost(const search_t *x, match_t *m)
{
    const states_t *offsets = &x->e->defaults[1], *lengths = &x->e->defaults[2];
    int length = length_code((uint32_t)m->length - SHORTEST);
    int offset = (int)highest(m->repeat < 0 ? (uint32_t)(m->at - m->from) + 3 : (uint32_t)m->repeat & 3);
    m->cost = offset + LENGTH_BITS[length] + (int32_t)((offsets->bits[offset] >> 16) + (lengths->bits[length] >> 16));
    m->cost -= (int32_t)(((int64_t)m->length * x->bits_per_byte) >> 10);
    if (m->cost > 0) {
        m->length = 0;
        m->cost = UNLIKELY;
    }
}

/* Use the match of `at` with `from` if it is better than the best match so far. */
static void improve(search_t *x, int32_t from, int32_t at, uint32_t first, int32_t repeat)
{
    match_t *m = &x->best;
    const encoder_t *e = x->e;
    const uint8_t *h = e->history;
    if (at - from >= e->window || at <= from || load32(h + from) != first)
        return;
    if (m->length > 16) {
        int32_t left = x->end - (m->at + m->length), check = m->length - (at - m->at) - 8;
        if (left <= 0)
            return;
        if (left > 2 && check > 4 && load32(h + from + check) != load32(h + at + check))
            return;
    }
    int32_t length = 4 + same_bytes(h + at + 4, h + from + 4, x->end - at - 4);
    if (m->repeat <= 0) {
        int32_t least = at > e->window ? at - e->window : 0;
        while (from > least && at > x->emitted && h[from - 1] == h[at - 1] && length < LONGEST) {
            at--;
            from--;
            length++;
        }
    }
    match_t other = {from, at, length, repeat, 0};
    set_cost(x, &other);
    if (m->cost >= UNLIKELY || other.cost - m->cost + (((other.at - m->at) * x->bits_per_byte) >> 10) < 0)
        *m = other;
}

static inline void improve_pair(search_t *x, pair_t pair, int32_t at, uint32_t first)
{
    improve(x, pair.at - x->e->origin, at, first, -1);
    improve(x, pair.before - x->e->origin, at, first, -1);
}

static void enter_best(encoder_t *e, int32_t at, int32_t end)
{
    for (; at < end; at++) {
        uint64_t v = load64(e->history + at);
        pair_t *one = &e->pairs[hash8(v, LONG)], *two = &e->more_pairs[hash4(v, SHORT)];
        *one = (pair_t){at + e->origin, one->at};
        *two = (pair_t){at + e->origin, two->at};
    }
}

void find_best(encoder_t *e, int32_t s, int32_t end)
{
    const uint8_t *h = e->history;
    pair_t *longs = e->pairs, *shorts = e->more_pairs;
    int32_t limit = end - 12, one = 1, two = 4, three = 8, origin = e->origin;
    search_t x = {e, end, s, literal_cost(h + s, end - s), {0, 0, 0, 0, 0}};
    while (s < limit) {
        int may_repeat = e->sequence_count > 2;
        uint64_t v = load64(h + s);
        pair_t *at_long = &longs[hash8(v, LONG)], *at_short = &shorts[hash4(v, SHORT)];
        x.best = (match_t){0, s, 0, 0, UNLIKELY};
        improve_pair(&x, *at_long, s, (uint32_t)v);
        improve_pair(&x, *at_short, s, (uint32_t)v);
        if (may_repeat && x.best.length < GOOD_ENOUGH) {
            if (s == x.emitted) {
                improve(&x, s - two, s, (uint32_t)v, 1 | 4);
                improve(&x, s - three, s, (uint32_t)v, 2 | 4);
                if (one > 1)
                    improve(&x, s - (one - 1), s, (uint32_t)v, 3 | 4);
            }
            if (x.best.repeat <= 0) {
                uint32_t after = (uint32_t)(v >> 8);
                improve(&x, s + 1 - one, s + 1, after, 1);
                improve(&x, s + 1 - two, s + 1, after, 2);
                improve(&x, s + 1 - three, s + 1, after, 3);
                if (x.best.repeat < 0) {
                    after = (uint32_t)(v >> 24);
                    improve(&x, s + 3 - one, s + 3, after, 1);
                    improve(&x, s + 3 - two, s + 3, after, 2);
                    improve(&x, s + 3 - three, s + 3, after, 3);
                }
            }
        }
        *at_long = (pair_t){s + origin, at_long->at};
        *at_short = (pair_t){s + origin, at_short->at};
        int32_t entered = s + 1;
        if (x.best.length < GOOD_ENOUGH) {
            if (x.best.length < 4) {
                s += 1 + ((s - x.emitted) >> 9);
                continue;
            }
            uint64_t next = load64(h + s + 1), second = load64(h + s + 2);
            pair_t short_one = shorts[hash4(v >> 8, SHORT)];
            pair_t long_one = longs[hash8(next, LONG)], long_two = longs[hash8(second, LONG)];
            improve(&x, short_one.at - origin, s + 1, (uint32_t)next, -1);
            improve_pair(&x, long_one, s + 1, (uint32_t)next);
            improve_pair(&x, long_two, s + 2, (uint32_t)second);
            int32_t behind = x.best.at + x.best.length;
            if (x.best.at > s - 2 && behind < limit) {
                pair_t pair = longs[hash8(load64(h + behind), LONG)];
                int32_t from = pair.at - origin - x.best.length + 2;
                if (from >= 0) {
                    improve(&x, from, x.best.at + 2, load32(h + x.best.at + 2), -1);
                    from = pair.before - origin - x.best.length + 2;
                    if (from >= 0)
                        improve(&x, from, x.best.at + 2, load32(h + x.best.at + 2), -1);
                }
            }
        }
        match_t m = x.best;
        s = m.at + m.length;
        int32_t before = one, last = two;
        if (m.repeat > 0) {
            add_sequence(e, x.emitted, m.at, m.length, (uint32_t)m.repeat & 3);
            enter_best(e, entered, s < limit + 4 ? s : limit + 4);
            if (m.repeat == 2 || m.repeat == (1 | 4)) {
                one = two;
                two = before;
            } else if (m.repeat == 3 || m.repeat == (2 | 4)) {
                one = three;
                two = before;
                three = last;
            } else if (m.repeat == (3 | 4)) {
                one = before - 1;
                two = before;
                three = last;
            }
        } else {
            one = m.at - m.from;
            two = before;
            three = last;
            add_sequence(e, x.emitted, m.at, m.length, (uint32_t)one + 3);
            enter_best(e, entered, s < limit - 4 ? s : limit - 4);
        }
        x.emitted = s;
    }
    add_rest(e, x.emitted, end);
}

/* ---------------------------------------------------------------- version 1.15 */

#define UNLIKELY_BEFORE 25000

/* Use the match of `at` with `from` unless the best match so far is better. The match is not extended backwards yet. */
static void compare(search_t *x, int32_t from, int32_t at, uint32_t first, int32_t repeat)
{
    const uint8_t *h = x->e->history;
    match_t m = {from, at, 0, repeat, UNLIKELY_BEFORE}, *best = &x->best;
    if (at - from < x->e->window && at > from && load32(h + from) == first) {
        m.length = 4 + same_bytes(h + at + 4, h + from + 4, x->end - at - 4);
        set_cost(x, &m);
        if (m.length == 0)
            m.cost = UNLIKELY_BEFORE;
    } else {
        m = (match_t){0, at, 0, 0, UNLIKELY_BEFORE};
    }
    int32_t ahead = ((best->at - m.at) * x->bits_per_byte) >> 10, behind = ((m.at - best->at) * x->bits_per_byte) >> 10;
    if (best->cost + ahead >= m.cost + behind)
        *best = m;
}

static inline void compare_pair(search_t *x, pair_t pair, int32_t at, uint32_t first)
{
    compare(x, pair.at - x->e->origin, at, first, -1);
    compare(x, pair.before - x->e->origin, at, first, -1);
}

void find_best_as_before(encoder_t *e, int32_t s, int32_t end)
{
    enum { ENOUGH = 100 };
    const uint8_t *h = e->history;
    pair_t *longs = e->pairs, *shorts = e->more_pairs;
    int32_t limit = end - 12, one = 1, two = 4, three = 8, origin = e->origin;
    search_t x = {e, end, s, literal_cost(h + s, end - s), {0, 0, 0, 0, 0}};
    while (s < limit) {
        int may_repeat = e->sequence_count > 2;
        uint64_t v = load64(h + s);
        pair_t *at_long = &longs[hash8(v, LONG)], *at_short = &shorts[hash4(v, SHORT)];
        x.best = (match_t){0, s, 0, 0, UNLIKELY_BEFORE};
        compare_pair(&x, *at_long, s, (uint32_t)v);
        compare_pair(&x, *at_short, s, (uint32_t)v);
        if (may_repeat && x.best.length < ENOUGH) {
            for (int step = 1; step <= 3 && (step == 1 || x.best.length > 0); step += 2) {
                uint32_t after = (uint32_t)(v >> 8 * step);
                compare(&x, s + step - one, s + step, after, 1);
                compare(&x, s + step - two, s + step, after, 2);
                compare(&x, s + step - three, s + step, after, 3);
            }
        }
        *at_long = (pair_t){s + origin, at_long->at};
        *at_short = (pair_t){s + origin, at_short->at};
        if (x.best.length < ENOUGH) {
            if (x.best.length < 4) {
                s += 1 + ((s - x.emitted) >> 9);
                continue;
            }
            s++;
            uint64_t next = load64(h + s), second = load64(h + s + 1);
            pair_t short_one = shorts[hash4(v >> 8, SHORT)];
            pair_t long_one = longs[hash8(next, LONG)], long_two = longs[hash8(second, LONG)];
            compare(&x, short_one.at - origin, s, (uint32_t)next, -1);
            compare_pair(&x, long_one, s, (uint32_t)next);
            compare_pair(&x, long_two, s + 1, (uint32_t)second);
            int32_t behind = x.best.at + x.best.length;
            if (behind < limit) {
                pair_t pair = longs[hash8(load64(h + behind), LONG)];
                int32_t at = x.best.at, length = x.best.length;
                uint32_t first = load32(h + at);
                if (pair.at - origin - length >= 0) {
                    compare(&x, pair.at - origin - length, at, first, -1);
                    if (pair.before - origin - length >= 0)
                        compare(&x, pair.before - origin - length, at, first, -1);
                }
            }
        }
        match_t m = x.best;
        int32_t least = m.at > e->window ? m.at - e->window : 0, before = one, last = two;
        int32_t least_emitted = x.emitted + (m.repeat > 0), most = m.repeat > 0 ? LONGEST - 1 : LONGEST, at = m.at;
        s = m.at + m.length;
        while (m.from > least && m.at > least_emitted && h[m.from - 1] == h[m.at - 1] && m.length < most) {
            m.from--;
            m.at--;
            m.length++;
        }
        if (m.repeat > 0) {
            add_sequence(e, x.emitted, m.at, m.length, (uint32_t)m.repeat);
            x.emitted = s;
            if (s >= limit)
                break;
            enter_best(e, at, s - 1);
            if (m.repeat == 2) {
                one = two;
                two = before;
            } else if (m.repeat == 3) {
                one = three;
                two = before;
                three = last;
            }
            continue;
        }
        one = m.at - m.from;
        two = before;
        three = last;
        add_sequence(e, x.emitted, m.at, m.length, (uint32_t)one + 3);
        x.emitted = s;
        if (s >= limit)
            break;
        enter_best(e, m.at + 1, s - 1);
        while (may_repeat && s < limit) {
            uint64_t here = load64(h + s);
            if (load32(h + s - two) != (uint32_t)here)
                break;
            int32_t length = 4 + same_bytes(h + s + 4, h + s - two + 4, end - s - 4);
            enter_best(e, s, s + 1);
            add_sequence(e, s, s, length, 1);
            s = x.emitted = s + length;
            int32_t swapped = one;
            one = two;
            two = swapped;
        }
    }
    add_rest(e, x.emitted, end);
}

/* The modelled difference: groups of changed bytes. Counters code each bit; the bytes of the source around the group
 * select the counters (codecs/model.py, spec/cover.md). */
#include "model.h"

#include "bytes.h"

/* after this many unchanged bytes, one bit can represent the same number of further unchanged bytes */
#define SPAN 32
#define GROUP 4          /* maximum bytes of a group */
#define GUESSES 5
/* a counter below this value means a probability below 1 in 64; with the value 128, the result of the benchmark
 * rebuild-noop is 13 % larger */
#define RARE (64 << 4)
/* coding takes 8 % less time with this value; measured results were 0.8 % larger, for some contents up to 40 % */
#define RARE_QUICKLY (256 << 4)
#define QUICK 32 /* this flag in the bits parameter selects RARE_QUICKLY */
#define KNOWN 65536      /* number of entries in the tables of earlier changes */
#define FLAG_INPUTS 3
#define GUESS_INPUTS 2
#define VALUE_INPUTS 4
/* with this limit, the sum of four weights, each multiplied by a factor below 2048, stays below 2^31 */
#define WEIGHT_LIMIT ((1 << 18) - 1)

static uint16_t squash_table[4096]; /* for x from -2048 on: 65536 / (1 + e^(-x / 256)) */
static int16_t stretch_table[4096]; /* the inverse function, for probabilities in 4096ths */
static uint16_t rate_table[16];     /* the step of a counter that has counted n bits, in 65536ths */

void model_fill_tables(void)
{
    uint64_t power = (uint64_t)1 << 32; /* e^(-x / 256) in 2^-32 */
    for (int x = 0; x <= 2048; x++) {
        int32_t high = (int32_t)(((uint64_t)65536 << 32) / (((uint64_t)1 << 32) + power));
        if (x < 2048)
            squash_table[2048 + x] = (uint16_t)high;
        squash_table[2048 - x] = (uint16_t)(65536 - high);
        power = power * 4278222832u >> 32; /* 2^32 e^(-1 / 256) */
    }
    for (int p = 0, x = -2047; p < 4096; p++) {
        while (x < 2047 && squash_table[x + 2048] < 16 * p + 8)
            x++;
        stretch_table[p] = (int16_t)x;
    }
    for (int n = 0; n < 16; n++)
        rate_table[n] = (uint16_t)(131072 / (2 * n + 3));
}

/* A range coder: low and range for encoding, code and range for decoding. */
typedef struct {
    uint64_t low;
    uint32_t range, code;
    uint8_t *out;
    const uint8_t *in;
    /* offset in the buffer; an encoder also counts bytes beyond the end of the buffer, so that the caller learns the
     * required size */
    int64_t at, size;
    int64_t held;           /* number of bytes that a carry may still change: one byte, and the bytes with the value 255 after it */
    uint8_t first;          /* the first of the bytes that a carry may still change */
} coder_t;

static inline void put_byte(coder_t *c, uint32_t byte)
{
    if (c->at >= 0 && c->at < c->size)
        c->out[c->at] = (uint8_t)byte;
    c->at++;
}

static void shift_low(coder_t *c)
{
    if (c->low < 0xff000000u || c->low >> 32) {
        uint32_t carry = (uint32_t)(c->low >> 32), byte = c->first;
        for (; c->held > 0; c->held--, byte = 255)
            put_byte(c, byte + carry);
        c->first = (uint8_t)(c->low >> 24);
    }
    c->held++;
    c->low = (uint32_t)c->low << 8;
}

static inline uint32_t next_byte(coder_t *c)
{
    uint32_t byte = c->at < c->size ? c->in[c->at] : 0;
    c->at++;
    return byte;
}

/* Code one bit; the probability of a 1 is `chance` / 65536; 0 < `chance` < 65536. */
static inline int code_bit(coder_t *c, const int decoding, int bit, uint32_t chance)
{
    uint32_t bound = (c->range >> 16) * chance;
    if (decoding)
        bit = c->code < bound;
    if (bit) {
        c->range = bound;
    } else {
        c->range -= bound;
        if (decoding)
            c->code -= bound;
        else
            c->low += bound;
    }
    while (c->range < 1u << 24) {
        c->range <<= 8;
        if (decoding)
            c->code = c->code << 8 | next_byte(c);
        else
            shift_low(c);
    }
    return bit;
}

/* A counter has 12 bits for the probability; its other 4 bits count the coded bits, up to 15. Updating the probability
 * does not change the 4 count bits. */
static inline void count_bit(uint16_t *counter, int bit)
{
    int32_t v = *counter, n = v & 15;
    v += ((((bit ? 65535 : 15) - v) >> 1) * (int32_t)rate_table[n] >> 15) & ~15;
    *counter = (uint16_t)(v + (n < 15));
}

static inline uint32_t chance_of(int32_t p)
{
    return (uint32_t)(p < 32 ? 32 : p > 65504 ? 65504 : p);
}

/* Code one bit with the mix of `n` counters; then train the counters and weights with this bit. */
static inline int mix_bit(coder_t *c, const int decoding, int bit, const int n, uint16_t *const *slots, int32_t *weights)
{
    int32_t x[VALUE_INPUTS], dot = 0;
    for (int i = 0; i < n; i++) {
        x[i] = stretch_table[*slots[i] >> 4];
        dot += x[i] * weights[i];
    }
    dot >>= 16;
    dot = dot > 2047 ? 2047 : dot < -2048 ? -2048 : dot;
    int32_t p = squash_table[dot + 2048];
    bit = code_bit(c, decoding, bit, chance_of(p));
    int32_t error = (bit << 16) - p;
    for (int i = 0; i < n; i++) {
        int32_t w = weights[i] + ((x[i] * error + 8192) >> 14);
        weights[i] = w > WEIGHT_LIMIT ? WEIGHT_LIMIT : w < -WEIGHT_LIMIT ? -WEIGHT_LIMIT : w;
        count_bit(slots[i], bit);
    }
    return bit;
}

static inline uint32_t hash(uint64_t key)
{
    return (uint32_t)(key * 0x9E3779B97F4A7C15ull >> 32);
}

/* Subtract each of the four bytes of `b` from the same byte of `a`, modulo 256. */
static inline uint32_t bytes_minus(uint32_t a, uint32_t b)
{
    return ((a | 0x80808080u) - (b & 0x7f7f7f7fu)) ^ ((a ^ ~b) & 0x80808080u);
}

static inline uint32_t bytes_plus(uint32_t a, uint32_t b)
{
    return ((a & 0x7f7f7f7fu) + (b & 0x7f7f7f7fu)) ^ ((a ^ b) & 0x80808080u);
}

typedef struct { uint32_t word, group; } change_t; /* the most recent change of a word of the source */

typedef struct {
    /* FLAG_INPUTS, GUESS_INPUTS and VALUE_INPUTS tables, each with 1 << bits counters */
    uint16_t *flags, *guesses, *values;
    int32_t flag_weights[32][FLAG_INPUTS], guess_weights[1024][GUESS_INPUTS], value_weights[1024][VALUE_INPUTS];
    uint16_t spans[256];
    change_t words[KNOWN];
    uint32_t near_shift[KNOWN], far_shift[KNOWN]; /* the last shifts of addresses; near_shift is indexed by address, far_shift by page */
    uint32_t word_shift[KNOWN];                   /* recent increases of words, indexed by the words' upper half */
    int bits, rare;
    uint16_t *counters; /* the allocated block that holds all counters */
} model_t;

static model_t *model_new(int parameter)
{
    int bits = parameter & (QUICK - 1);
    size_t n = (size_t)1 << bits, all = n * (FLAG_INPUTS + GUESS_INPUTS + VALUE_INPUTS);
    model_t *m = calloc(1, sizeof *m);
    uint16_t *counters = malloc(all * sizeof *counters + 64);
    if (!m || !counters) {
        free(m);
        free(counters);
        return NULL;
    }
    m->bits = bits;
    m->rare = parameter & QUICK ? RARE_QUICKLY : RARE;
    m->counters = counters;
    /* align the counters, so that each row of 16 counters lies in one cache line */
    counters += (64 - ((uintptr_t)counters & 63)) / sizeof *counters;
    m->flags = counters;
    m->guesses = m->flags + n * FLAG_INPUTS;
    m->values = m->guesses + n * GUESS_INPUTS;
    for (size_t i = 0; i < all; i++)
        counters[i] = i < n * FLAG_INPUTS ? 256 << 4 : 2048 << 4;
    for (int i = 0; i < 256; i++)
        m->spans[i] = 2048 << 4;
    for (int i = 0; i < 1024; i++) {
        for (int k = 0; k < FLAG_INPUTS && i < 32; k++)
            m->flag_weights[i][k] = 24576;
        for (int k = 0; k < GUESS_INPUTS; k++)
            m->guess_weights[i][k] = 24576;
        for (int k = 0; k < VALUE_INPUTS; k++)
            m->value_weights[i][k] = 24576;
    }
    return m;
}

static void model_free(model_t *m)
{
    free(m->counters);
    free(m);
}

/* The bytes of the source at the offset where a group begins. */
typedef struct {
    uint32_t word;       /* the four bytes from this offset on; 0 after the end of the source */
    uint32_t p1, p2, p3; /* the three bytes before this offset */
} place_t;

static inline place_t place_of(const uint8_t *source, int64_t size, int64_t at)
{
    place_t p;
    if (at >= 3 && at + 4 <= size) {
        const uint8_t *s = source + at;
        p.word = source_word(s);
        p.p1 = s[-1], p.p2 = s[-2], p.p3 = s[-3];
        return p;
    }
    p.word = 0;
    for (int k = 3; k >= 0; k--)
        p.word = p.word << 8 | (at + k < size ? source[at + k] : 0);
    p.p1 = at >= 1 ? source[at - 1] : 0;
    p.p2 = at >= 2 ? source[at - 2] : 0;
    p.p3 = at >= 3 ? source[at - 3] : 0;
    return p;
}

static inline change_t *change_at(model_t *m, const place_t *p)
{
    return m->words + (hash((uint64_t)p->word << 8 | p->p1) >> 16);
}

static inline uint32_t is_known(const change_t *change, const place_t *p)
{
    return change->group != 0 && change->word == p->word;
}

/* Encode or decode the flag that says whether a group begins here. If the counter `recent` makes a group improbable,
 * use only this counter. */
static inline int code_flag(coder_t *c, const int decoding, int flag, model_t *m, const place_t *p, uint32_t seen)
{
    int down = 32 - m->bits;
    size_t n = (size_t)1 << m->bits;
    uint32_t two = p->p1 | p->p2 << 8;
    uint16_t *recent = m->flags + (hash((uint64_t)p->p1 << 12 | (seen & 4095)) >> down);
    if (*recent < m->rare && (*recent & 15) >= 8) {
        flag = code_bit(c, decoding, flag, chance_of((int32_t)(*recent & 0xfff0)));
        count_bit(recent, flag);
        return flag;
    }
    uint32_t known = is_known(change_at(m, p), p);
    uint16_t *slots[FLAG_INPUTS] = {
        recent,
        m->flags + n + (hash((uint64_t)two << 16 | p->word >> 24 << 8 | known) >> down),
        m->flags + 2 * n + (hash((uint64_t)(two | p->p3 << 16) << 8 | (p->word & 255)) >> down),
    };
    return mix_bit(c, decoding, flag, FLAG_INPUTS, slots, m->flag_weights[known | (seen & 15) << 1]);
}

/* Encode or decode the index of the guess that equals the group; return this index, or GUESSES if no guess is right. */
static inline int code_guess(coder_t *c, const int decoding, uint32_t group, model_t *m, const place_t *p,
                             const uint32_t *guesses, uint32_t *hits)
{
    int down = 32 - m->bits;
    size_t n = (size_t)1 << m->bits;
    for (int j = 0; j < GUESSES; j++) {
        uint32_t alike = 0;
        int is_new = (guesses[j] & 255) != 0;
        for (int k = 0; k < j; k++)
            is_new &= guesses[k] != guesses[j];
        if (!is_new)
            continue;
        for (int k = j + 1; k < GUESSES; k++)
            alike |= (uint32_t)(guesses[k] == guesses[j]) << (k - 1);
        uint32_t what = (uint32_t)j | alike << 3;
        uint16_t *slots[GUESS_INPUTS] = {
            m->guesses + (hash((uint64_t)what << 8 | (*hits & 255)) >> down),
            m->guesses + n + (hash((uint64_t)what << 16 | p->p1 | p->p2 << 8) >> down),
        };
        int hit = mix_bit(c, decoding, group == guesses[j], GUESS_INPUTS, slots, m->guess_weights[what | (*hits & 7) << 7]);
        *hits = *hits << 1 | (uint32_t)hit;
        if (hit)
            return j;
    }
    return GUESSES;
}

static inline uint16_t *line_of(model_t *m, int input, uint32_t context)
{
    return m->values + ((size_t)input << m->bits) + (context * 0x9E3779B1u >> (36 - m->bits) << 4);
}

/* Prefetch the counters of a group's first byte; they are needed if no guess is right. */
static inline void prefetch_bytes(model_t *m, const place_t *p, uint32_t near_guess, uint32_t last)
{
    __builtin_prefetch(line_of(m, 0, hash(0)));
    __builtin_prefetch(line_of(m, 1, hash((uint64_t)((p->word & 255) | p->p1 << 8) << 16)));
    __builtin_prefetch(line_of(m, 2, hash((uint64_t)(near_guess & 255) << 16 | (last & 255) << 8)));
    __builtin_prefetch(line_of(m, 3, hash((uint64_t)(p->p1 | p->p2 << 8) << 16)));
}

/* Encode or decode the bytes of a group for which no guess is right; return the group. */
static inline uint32_t code_bytes(coder_t *c, const int decoding, uint32_t group, int size, model_t *m, const place_t *p,
                                  uint32_t near_guess, uint32_t last)
{
    uint32_t made = 0, previous = 0;
    for (int j = 0; j < size; j++) {
        uint32_t number = (uint32_t)j, here = p->word >> 8 * j & 255, byte = group >> 8 * j & 255;
        uint32_t contexts[VALUE_INPUTS] = {
            hash((uint64_t)made << 8 | number),
            hash((uint64_t)(here | p->p1 << 8) << 16 | number | previous << 8),
            hash((uint64_t)(near_guess >> 8 * j & 255) << 16 | (last >> 8 * j & 255) << 8 | number),
            hash((uint64_t)(p->p1 | p->p2 << 8) << 16 | number | previous << 8),
        };
        uint32_t tree = 1, node = 1;
        uint16_t *lines[VALUE_INPUTS] = {0}, *slots[VALUE_INPUTS];
        for (int b = 7; b >= 0; b--) {
            if (b == 7 || b == 3) { /* for each half, a row of 16 counters */
                for (int k = 0; k < VALUE_INPUTS; k++) {
                    lines[k] = line_of(m, k, contexts[k] + (b == 3 ? tree * 0x9E3779B1u : 0));
                }
                node = 1;
            }
            if (b == 7 && j) { /* fast path: most bytes after the first are 0 */
                for (int k = 0; k < VALUE_INPUTS; k++)
                    slots[k] = lines[k];
                if (!mix_bit(c, decoding, byte != 0, VALUE_INPUTS, slots, m->value_weights[number << 8])) {
                    tree = 0;
                    break;
                }
            }
            for (int k = 0; k < VALUE_INPUTS; k++)
                slots[k] = lines[k] + node;
            uint32_t bit = (uint32_t)mix_bit(c, decoding, byte >> b & 1, VALUE_INPUTS, slots, m->value_weights[number << 8 | tree]);
            tree = tree << 1 | bit;
            node = node << 1 | bit;
        }
        previous = tree & 255;
        made |= previous << 8 * j;
    }
    return made;
}

static inline int64_t run_model(coder_t *c, const int decoding, const uint8_t *source, int64_t source_size,
                                const cover_t *covers, int64_t count, uint8_t *difference, int bits)
{
    static const uint8_t unchanged[SPAN];
    uint32_t seen = 0, spans = 0, hits = 0, last = 0, still = SPAN;
    model_t *m = model_new(bits);
    if (!m)
        return NO_MEMORY;
    for (int64_t k = 0; k < count; k++) {
        uint32_t moved = (uint32_t)(covers[k].target - covers[k].source);
        int64_t n = covers[k].length;
        if (decoding)
            memset(difference, 0, (size_t)n);
        for (int64_t i = 0; i < n;) {
            if (still >= SPAN && n - i >= SPAN) {
                uint16_t *counter = m->spans + (spans & 255);
                int equal = code_bit(c, decoding, decoding || memcmp(difference + i, unchanged, SPAN) == 0,
                                     chance_of((int32_t)(*counter & 0xfff0)));
                count_bit(counter, equal);
                spans = spans << 1 | (uint32_t)equal;
                if (equal) {
                    i += SPAN;
                    if (decoding && c->at > c->size)
                        break;
                    continue;
                }
                still = 0;
            }
            int64_t at = covers[k].source + i;
            place_t p = place_of(source, source_size, at);
            if (at + 8 <= source_size) /* prefetch for the offset four bytes later; this saves 5 % of the time */
                __builtin_prefetch(m->words + (hash((uint64_t)source_word(source + at + 4) << 8 | source[at + 3]) >> 16));
            int flag = code_flag(c, decoding, decoding || difference[i] != 0, m, &p, seen);
            seen = seen << 1 | (uint32_t)flag;
            if (!flag) {
                still++;
                i++;
                continue;
            }
            still = 0;
            change_t *change = change_at(m, &p);
            int size = n - i < GROUP ? (int)(n - i) : GROUP;
            uint32_t mask = size == 4 ? 0xffffffffu : (1u << 8 * size) - 1, group = 0;
            uint32_t aim = (uint32_t)at + p.word;
            uint32_t *near_shift = m->near_shift + (hash(aim) >> 16), *far_shift = m->far_shift + (aim >> 12 & 65535);
            uint32_t *word_shift = m->word_shift + (p.word >> 16);
            uint32_t guesses[GUESSES] = {
                *near_shift ? bytes_minus(p.word + *near_shift - moved, p.word) & mask : 0,
                is_known(change, &p) ? change->group & mask : 0,
                last & mask,
                *far_shift ? bytes_minus(p.word + *far_shift - moved, p.word) & mask : 0,
                bytes_minus(p.word + *word_shift, p.word) & mask,
            };
            if (!decoding)
                for (int j = 0; j < size; j++)
                    group |= (uint32_t)difference[i + j] << 8 * j;
            prefetch_bytes(m, &p, guesses[0], last);
            int which = code_guess(c, decoding, group, m, &p, guesses, &hits);
            group = which < GUESSES ? guesses[which] : code_bytes(c, decoding, group, size, m, &p, guesses[0], last);
            if (decoding) {
                if (c->at > c->size) {
                    model_free(m);
                    return MALFORMED;
                }
                for (int j = 0; j < size; j++)
                    difference[i + j] = (uint8_t)(group >> 8 * j);
            }
            if (size == GROUP) {
                *word_shift = bytes_plus(p.word, group) - p.word;
                *near_shift = *far_shift = *word_shift + moved;
            }
            change->word = p.word;
            change->group = group;
            last = group;
            i += size;
        }
        if (decoding && c->at > c->size) {
            model_free(m);
            return MALFORMED;
        }
        difference += n;
    }
    model_free(m);
    return 0;
}

/* Write a difference to `out`, one cover after another; return the difference's size. If `out` is too small, this size
 * exceeds `out_size`. */
int64_t dib_model_encode(const uint8_t *source, int64_t source_size, const cover_t *covers, int64_t count,
                         const uint8_t *difference, int64_t bits, uint8_t *out, int64_t out_size)
{
    coder_t c = {0};
    c.range = 0xffffffffu;
    c.out = out;
    c.size = out_size;
    c.at = -1; /* the first byte is always 0, so it is not written */
    c.held = 1;
    if (run_model(&c, 0, source, source_size, covers, count, (uint8_t *)(uintptr_t)difference, (int)bits))
        return NO_MEMORY;
    for (int k = 0; k < 5; k++)
        shift_low(&c);
    return c.at;
}

/* Decode the `size` bytes at `in` into a difference. */
int64_t dib_model_decode(const uint8_t *source, int64_t source_size, const cover_t *covers, int64_t count,
                         uint8_t *difference, int64_t bits, const uint8_t *in, int64_t in_size)
{
    coder_t c = {0};
    c.range = 0xffffffffu;
    c.in = in;
    c.size = in_size;
    for (int k = 0; k < 4; k++)
        c.code = c.code << 8 | next_byte(&c);
    if (c.code == c.range) /* from here on, `code` must be below `range` */
        return MALFORMED;
    int64_t status = run_model(&c, 1, source, source_size, covers, count, difference, (int)bits);
    return status ? status : c.at == c.size && c.code == 0 ? 0 : MALFORMED;
}

/* Binary arithmetic coding with mixed contexts (codecs/model.py). */
#include "mixer.h"

#include "bytes.h"

#define INPUTS 6

static int32_t squash_table[4096];  /* of -2048..2047: 4096 / (1 + e^(-x / 256)) */
static int32_t stretch_table[4096]; /* its inverse */
static int32_t rate_table[1024];    /* how far a counter that saw n bits moves, of 65536 */

void mixer_fill_tables(void)
{
    static const int32_t knots[33] = {1,    2,    3,    6,    10,   16,   27,   45,   73,   120,  194,
                                      310,  488,  747,  1101, 1546, 2047, 2549, 2994, 3348, 3607, 3785,
                                      3901, 3975, 4022, 4050, 4068, 4079, 4085, 4089, 4092, 4093, 4094};
    int32_t next = 0;
    for (int32_t x = -2048; x < 2048; x++) {
        int32_t k = (x + 2048) >> 7, w = (x + 2048) & 127;
        squash_table[x + 2048] = (knots[k] * (128 - w) + knots[k + 1] * w + 64) >> 7;
    }
    for (int32_t x = -2047; x < 2048; x++)
        for (int32_t v = squash_table[x + 2048]; next <= v; next++)
            stretch_table[next] = x;
    while (next < 4096)
        stretch_table[next++] = 2047;
    for (int32_t n = 0; n < 1024; n++)
        rate_table[n] = 655360 / (10 * n + 16);
}

typedef struct {
    uint32_t low, high, code;
    uint8_t *out;
    const uint8_t *in;
    int64_t at, size; /* in the buffer; an encoder counts on beyond its end, so the caller learns that it did not fit */
} coder_t;

static inline uint32_t next_byte(coder_t *c)
{
    uint32_t byte = c->at < c->size ? c->in[c->at] : 0;
    c->at++;
    return byte;
}

/* Code one bit whose chance of being 1 is chance / 65536, 0 < chance < 65536. */
static inline int code_bit(coder_t *c, const int decoding, int bit, uint32_t chance)
{
    uint32_t middle = c->low + (uint32_t)(((uint64_t)(c->high - c->low) * chance) >> 16);
    if (decoding)
        bit = c->code <= middle;
    if (bit)
        c->high = middle;
    else
        c->low = middle + 1;
    while (((c->low ^ c->high) & 0xff000000u) == 0) {
        if (decoding) {
            c->code = c->code << 8 | next_byte(c);
        } else {
            if (c->at < c->size)
                c->out[c->at] = (uint8_t)(c->high >> 24);
            c->at++;
        }
        c->low <<= 8;
        c->high = c->high << 8 | 255;
    }
    return bit;
}

/* A counter: 22 bits of probability above 10 bits that say how many bits it has seen. */
static inline void count_bit(uint32_t *counter, int bit, uint32_t limit)
{
    uint32_t v = *counter, n = v & 1023;
    int32_t p = (int32_t)(v >> 10);
    p += (int32_t)(((int64_t)((bit ? 4194303 : 0) - p) * rate_table[n]) >> 16);
    *counter = (uint32_t)p << 10 | (n + (n < limit));
}

/* Code one bit with the mix of what several counters say, and teach it to counters and weights. */
static inline int mix_bit(coder_t *c, const int decoding, int bit, uint32_t *const *slots, int32_t *weights,
                          uint32_t limit)
{
    int32_t x[INPUTS], p;
    int64_t dot = 0;
    for (int i = 0; i < INPUTS; i++) {
        x[i] = stretch_table[*slots[i] >> 20];
        dot += (int64_t)x[i] * weights[i];
    }
    dot >>= 16;
    dot = dot > 2047 ? 2047 : dot < -2047 ? -2047 : dot;
    p = squash_table[dot + 2048];
    bit = code_bit(c, decoding, bit, (uint32_t)p << 4 | 8);
    p = (bit * 4096 - p) * 6;
    for (int i = 0; i < INPUTS; i++) {
        weights[i] += (x[i] * p + 0x8000) >> 16;
        count_bit(slots[i], bit, limit);
    }
    return bit;
}

static inline uint32_t hash3(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t h = a * 0x9E3779B1u ^ b * 0x85EBCA6Bu ^ (c + 1) * 0xC2B2AE35u;
    h ^= h >> 15;
    h *= 0x2C1B3C6Du;
    return h ^ h >> 13;
}

/* Take each of the four bytes of b from that of a, modulo 256. */
static inline uint32_t bytes_minus(uint32_t a, uint32_t b)
{
    return ((a | 0x80808080u) - (b & 0x7f7f7f7fu)) ^ ((a ^ ~b) & 0x80808080u);
}

static inline uint32_t bytes_plus(uint32_t a, uint32_t b)
{
    return ((a & 0x7f7f7f7fu) + (b & 0x7f7f7f7fu)) ^ ((a ^ b) & 0x80808080u);
}

#define SPAN 32   /* equal bytes that one bit stands for ... */
#define STILL 128 /* ... after so many of them */
#define WEIGHTS 4096 /* sets of each kind; few kinds use them all */

typedef struct {
    uint32_t *flags, *values;      /* INPUTS tables of 1 << bits counters each */
    uint32_t *quiet;               /* 1 << 19 counters */
    int32_t (*flag_weights)[INPUTS], (*guess_weights)[INPUTS], (*value_weights)[INPUTS];
    uint32_t *near_shift, *far_shift; /* 65536 each */
} model_t;

static int model_open(model_t *m, int bits)
{
    size_t n = (size_t)INPUTS << bits;
    m->flags = malloc(n * 4);
    m->values = malloc(n * 4);
    m->quiet = malloc(4u << 19);
    m->flag_weights = malloc(sizeof(int32_t[INPUTS]) * WEIGHTS);
    m->guess_weights = malloc(sizeof(int32_t[INPUTS]) * WEIGHTS);
    m->value_weights = malloc(sizeof(int32_t[INPUTS]) * WEIGHTS);
    m->near_shift = calloc(65536, 4);
    m->far_shift = calloc(65536, 4);
    if (!m->flags || !m->values || !m->quiet || !m->flag_weights || !m->guess_weights || !m->value_weights || !m->near_shift ||
        !m->far_shift)
        return 0;
    for (size_t i = 0; i < n; i++) {
        m->flags[i] = 262144u << 10;
        m->values[i] = 2097152u << 10;
    }
    for (size_t i = 0; i < 1u << 19; i++)
        m->quiet[i] = 16384u << 10;
    for (int i = 0; i < WEIGHTS; i++)
        for (int k = 0; k < INPUTS; k++)
            m->flag_weights[i][k] = m->guess_weights[i][k] = m->value_weights[i][k] = 26214;
    return 1;
}

static void model_close(model_t *m)
{
    free(m->flags);
    free(m->values);
    free(m->quiet);
    free(m->flag_weights);
    free(m->guess_weights);
    free(m->value_weights);
    free(m->near_shift);
    free(m->far_shift);
}

static inline uint32_t source_byte(const uint8_t *source, int64_t size, int64_t at)
{
    return at >= 0 && at < size ? source[at] : 0;
}

static inline int code_value(coder_t *c, const int decoding, int value, model_t *m, int bits, const uint32_t *contexts,
                             uint32_t guesses, uint32_t hits, uint32_t place)
{
    uint32_t tree = 1, node = 1, *slots[INPUTS], *lines[INPUTS] = {0};
    for (int b = 7; b >= 0; b--) {
        uint32_t expected = 0;
        if (b == 7 || b == 3) {
            for (int k = 0; k < INPUTS; k++) {
                uint32_t h = (contexts[k] + (b == 3 ? tree * 0x9E3779B1u : 0)) * 0x2C1B3C6Du;
                lines[k] = m->values + ((size_t)k << bits) + (h >> (36 - bits) << 4);
            }
            node = 1;
        }
        for (int k = 0; k < INPUTS; k++)
            slots[k] = lines[k] + node;
        for (int k = 0; k < 3; k++)
            expected |= (uint32_t)(((guesses >> (8 * k) & 255) | 256) >> (b + 1) == tree) << k;
        uint32_t bit = (uint32_t)mix_bit(c, decoding, value >> b & 1, slots,
                                         m->value_weights[(expected & hits) | place << 3 | (uint32_t)b << 5], 127);
        tree = tree << 1 | bit;
        node = node << 1 | bit;
    }
    return (int)(tree & 255);
}

static inline int64_t run_model(coder_t *c, const int decoding, const uint8_t *source, int64_t source_size,
                                const cover_t *covers, int64_t count, uint8_t *difference, int bits, int quiet)
{
    model_t m;
    uint32_t quiet_mask = quiet >= 32 ? 0xffffffffu : (1u << quiet) - 1;
    uint32_t guessed_last = 0, seen = 0, last = 0, before_last = 0, group_last = 0, still = STILL, spans = 0;
    uint32_t span_counters[256];
    for (int k = 0; k < 256; k++)
        span_counters[k] = 2097152u << 10;
    if (!model_open(&m, bits)) {
        model_close(&m);
        return NO_MEMORY;
    }
    for (int64_t k = 0; k < count; k++) {
        uint32_t moved = (uint32_t)(covers[k].target - covers[k].source);
        uint32_t place = 0, group = 0, guess_near = 0, guess_far = 0, aim = 0;
        for (int64_t i = 0; i < covers[k].length; i++) {
            if (quiet && place == 0 && still >= STILL && covers[k].length - i >= SPAN) {
                static const uint8_t zeros[SPAN];
                uint32_t *counter = span_counters + (spans & 255), chance = *counter >> 16;
                int equal = code_bit(c, decoding, decoding || memcmp(difference + i, zeros, SPAN) == 0, chance ? chance : 1);
                count_bit(counter, equal, 255);
                spans = spans << 1 | (uint32_t)equal;
                if (equal) {
                    if (decoding)
                        memset(difference + i, 0, SPAN);
                    i += SPAN - 1;
                    continue;
                }
                still = 0;
            }
            int64_t at = covers[k].source + i;
            const uint8_t *s = source + at;
            uint32_t s0 = s[0], s1, s2, s3, n1, n2, n3;
            if (at >= 3 && at + 3 < source_size) {
                s1 = s[-1], s2 = s[-2], s3 = s[-3], n1 = s[1], n2 = s[2], n3 = s[3];
            } else {
                s1 = source_byte(source, source_size, at - 1);
                s2 = source_byte(source, source_size, at - 2);
                s3 = source_byte(source, source_size, at - 3);
                n1 = source_byte(source, source_size, at + 1);
                n2 = source_byte(source, source_size, at + 2);
                n3 = source_byte(source, source_size, at + 3);
            }
            if (place == 0) {
                uint32_t word = s0 | n1 << 8 | n2 << 16 | n3 << 24, shift;
                aim = (uint32_t)at + word;
                shift = m.near_shift[aim * 0x9E3779B1u >> 16];
                guess_near = shift ? bytes_minus(word + shift - moved, word) : 0;
                shift = m.far_shift[aim >> 12 & 65535];
                guess_far = shift ? bytes_minus(word + shift - moved, word) : 0;
                group = 0;
            }
            uint32_t g1 = guess_near >> (8 * place) & 255, g2 = guess_far >> (8 * place) & 255,
                     g3 = group_last >> (8 * place) & 255, low = (1u << (8 * place)) - 1;
            uint32_t hits = (uint32_t)(group == (guess_near & low)) | (uint32_t)(group == (guess_far & low)) << 1 |
                            (uint32_t)(group == (group_last & low)) << 2;
            uint32_t state = (uint32_t)(g1 != 0) | (uint32_t)(g2 != 0) << 1 | (uint32_t)(g3 != 0) << 2 | hits << 3;
            uint32_t four = seen & 15, flag, value = decoding ? 0 : difference[i];
            if (quiet && place == 0 && (seen & quiet_mask) == 0) {
                uint32_t *counter = m.quiet + ((s1 | s2 << 8) << 3 | (state & 7)), chance = *counter >> 16;
                flag = (uint32_t)code_bit(c, decoding, value != 0, chance ? chance : 1);
                count_bit(counter, (int)flag, 1000);
            } else {
                uint32_t open = state | (uint32_t)(place == 0 && (seen & 7) == 0) << 6, *slots[INPUTS];
                int shift = 32 - bits;
                slots[0] = m.flags + (hash3(s1 | s2 << 8, four, 1) >> shift);
                slots[1] = m.flags + ((size_t)1 << bits) + (hash3(s1, seen & 255, 2 | place << 8) >> shift);
                slots[2] = m.flags + ((size_t)2 << bits) + (hash3(s0 | s1 << 8 | n1 << 16, seen & 7, 3) >> shift);
                slots[3] = m.flags + ((size_t)3 << bits) + (hash3(open, four, place) >> shift);
                slots[4] = m.flags + ((size_t)4 << bits) + (hash3(s1 | s2 << 8 | s3 << 16, open, 5) >> shift);
                slots[5] = m.flags + ((size_t)5 << bits) +
                           (hash3(n3 | n2 << 8 | s1 << 16, four | place << 8, 6) >> shift);
                flag = (uint32_t)mix_bit(c, decoding, value != 0, slots, m.flag_weights[state | four << 6 | place << 10],
                                         255);
            }
            if (flag) {
                uint32_t contexts[INPUTS];
                uint32_t h1 = hits & 1, h3 = hits >> 2;
                contexts[0] = hash3(g1 | h1 << 8 | place << 9, g2 | (hits >> 1 & 1) << 8, 11);
                contexts[1] = hash3(last | before_last << 8, place, 12);
                contexts[2] = hash3(s0 | s1 << 8, place | four << 4, 13);
                contexts[3] = hash3(g3 | h3 << 8 | h1 << 9, place, 14);
                contexts[4] = hash3(place, last, 15);
                contexts[5] = hash3(g1 | h1 << 8, last | place << 8, 16);
                uint32_t from = h1 && g1 ? 1 : h3 && g3 ? 3 : (hits & 2) && g2 ? 2 : 0, guessed = 0;
                uint32_t guess = from == 1 ? g1 : from == 3 ? g3 : g2;
                if (from) {
                    uint32_t alike = (uint32_t)(g1 == guess) | (uint32_t)(g2 == guess) << 1 | (uint32_t)(g3 == guess) << 2;
                    uint32_t trust = from | alike << 2 | hits << 5 | place << 8, *slots[INPUTS];
                    int shift = 32 - bits;
                    slots[0] = m.flags + (hash3(trust, four, 21) >> shift);
                    slots[1] = m.flags + ((size_t)1 << bits) + (hash3(trust, s1 | s2 << 8, 22) >> shift);
                    slots[2] = m.flags + ((size_t)2 << bits) + (hash3(guess | last << 8, trust, 23) >> shift);
                    slots[3] = m.flags + ((size_t)3 << bits) + (hash3(guessed_last & 255, trust, 24) >> shift);
                    slots[4] = m.flags + ((size_t)4 << bits) + (hash3(s0 | s1 << 8 | guess << 16, trust, 25) >> shift);
                    slots[5] = m.flags + ((size_t)5 << bits) + (hash3(aim >> 12, trust, 26) >> shift);
                    guessed = (uint32_t)mix_bit(c, decoding, value == guess, slots, m.guess_weights[trust], 255);
                    guessed_last = guessed_last << 1 | guessed;
                }
                if (guessed)
                    value = guess;
                else
                    value = (uint32_t)code_value(c, decoding, (int)value, &m, bits, contexts, g1 | g2 << 8 | g3 << 16,
                                                 hits, place);
                if (decoding && value == 0) {
                    model_close(&m);
                    return MALFORMED;
                }
            }
            if (decoding)
                difference[i] = (uint8_t)value;
            seen = seen << 1 | flag;
            still = flag ? 0 : still + (still < STILL);
            before_last = last;
            last = value;
            group |= value << (8 * place);
            place = place == 0 && value == 0 ? 0 : (place + 1) & 3;
            if (place == 0 && group) {
                uint32_t word = source_word(source + at - 3), shift = bytes_plus(word, group) - word + moved;
                group_last = group;
                m.near_shift[aim * 0x9E3779B1u >> 16] = shift;
                m.far_shift[aim >> 12 & 65535] = shift;
            }
            if (decoding && c->at > c->size) {
                model_close(&m);
                return MALFORMED;
            }
        }
        difference += covers[k].length;
    }
    model_close(&m);
    return 0;
}

/* Return the size of the stream, which is written only as far as out_size goes. */
int64_t dib_model_encode(const uint8_t *source, int64_t source_size, const cover_t *covers, int64_t count,
                         const uint8_t *difference, int64_t bits, int64_t quiet, uint8_t *out, int64_t out_size)
{
    coder_t c = {0, 0xffffffffu, 0, out, NULL, 0, out_size};
    int64_t status = run_model(&c, 0, source, source_size, covers, count, (uint8_t *)difference, (int)bits, (int)quiet);
    if (status)
        return status;
    for (int k = 0; k < 4; k++) {
        if (c.at < c.size)
            c.out[c.at] = (uint8_t)(c.low >> 24);
        c.at++;
        c.low <<= 8;
    }
    return c.at;
}

int64_t dib_model_decode(const uint8_t *source, int64_t source_size, const cover_t *covers, int64_t count,
                         uint8_t *difference, int64_t bits, int64_t quiet, const uint8_t *in, int64_t in_size)
{
    coder_t c = {0, 0xffffffffu, 0, NULL, in, 0, in_size};
    for (int k = 0; k < 4; k++)
        c.code = c.code << 8 | next_byte(&c);
    int64_t status = run_model(&c, 1, source, source_size, covers, count, difference, (int)bits, (int)quiet);
    if (status)
        return status;
    return c.at == c.size && c.code == c.low ? 0 : MALFORMED;
}

/* Shared parts of this folder: bits, tokens, codes, blocks, and the common state of encoders.
 *
 * The encoders write deflate, bit for bit like well-known writers of gzip layers. spec/deflate.md has every rule, with
 * the same names. The sizes of an encoder's input pieces do not change its output. The code is C99, uses only the
 * standard library, and has no state outside of the handles. Offsets and sizes are in bytes unless they are called
 * bits. */
#ifndef DIB_DEFLATE_H
#define DIB_DEFLATE_H

#include "../dib.h"

/* The encoders by the numbers in recipes (dibundle/codecs/deflate/encoders.py has their names). */
enum { GO = 1, KLAUSPOST = 2, PGZIP_0 = 3, PGZIP_1 = 4, PGZIP_3 = 5, ZLIB = 6, GNU = 7, PGZIP_2 = 8, PIGZ = 9 };

enum { STORED = 0, FIXED = 1, DYNAMIC = 2 };

#define WINDOW 32768
#define LONGEST 258
#define END_OF_BLOCK 256
#define LITERALS 286
#define DISTANCES 30
#define CHUNK 65535 /* maximum content of a stored block, and the input size of Go's and klauspost's fast levels */

static inline int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static inline uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static inline void store64(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, 8);
}
#else
static inline uint32_t load32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t load64(const uint8_t *p)
{
    return (uint64_t)load32(p) | (uint64_t)load32(p + 4) << 32;
}

static inline void store64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}
#endif

static inline uint16_t pair_at(const uint8_t *p) /* only for comparisons: the value depends on the byte order */
{
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}

/* The number of equal bytes at `a` and `b`, up to `most`; `a` and `b` may overlap. */
static inline int32_t same_bytes(const uint8_t *a, const uint8_t *b, int32_t most)
{
    int32_t n = 0;
    for (; n + 8 <= most; n += 8) {
        uint64_t other = load64(a + n) ^ load64(b + n);
        if (other)
            return n + (__builtin_ctzll(other) >> 3);
    }
    while (n < most && a[n] == b[n])
        n++;
    return n;
}

typedef struct {
    /* the bit of the block's header, the number of bytes of content before the block, 2 * type + (1 if it is the last
     * block) */
    int64_t *items;
    int64_t count, room;
} marks_t;

/* An encoder's output: whole bytes, ready for the caller, then up to 7 bits. */
typedef struct {
    uint8_t *data;
    int64_t size, room, budget; /* budget: maximum `size` until the next call of sink_grow */
    uint64_t bits;
    int count;
    int64_t taken;   /* bytes that the caller has taken */
    int64_t content; /* content before the current block */
    int failed;      /* whether memory ran out; if so, later output is invalid */
    marks_t marks;
} sink_t;

/* Append up to 56 bits, the lowest first. */
static inline void put(sink_t *s, uint64_t value, int count)
{
    s->bits |= value << s->count;
    s->count += count;
    store64(s->data + s->size, s->bits);
    s->size += s->count >> 3;
    assert(s->size + !!(s->count & 7) <= s->budget);
    s->bits >>= s->count & ~7;
    s->count &= 7;
}

/* A token is a literal (below 256) or a match: the match's length minus 3, and its distance minus 1. */
#define MATCH 0x80000000u

static inline uint32_t match_token(int32_t length, int32_t distance)
{
    return MATCH | (uint32_t)(length - 3) << 15 | (uint32_t)(distance - 1);
}

static inline int log2_of(uint32_t n)
{
    return 31 - __builtin_clz(n);
}

/* Return the number of a length's symbol minus 257, and the number of extra bits (RFC 1951, 3.2.5); `n` is the length
 * minus 3. */
static inline int length_symbol(uint32_t n, int *extra)
{
    if (n < 8 || n == LONGEST - 3) {
        *extra = 0;
        return n < 8 ? (int)n : 28;
    }
    *extra = log2_of(n) - 2;
    return 4 * *extra + (int)(n >> *extra);
}

/* Return the number of a distance's symbol, and the number of extra bits; `n` is the distance minus 1. */
static inline int distance_symbol(uint32_t n, int *extra)
{
    if (n < 4) {
        *extra = 0;
        return (int)n;
    }
    *extra = log2_of(n) - 1;
    return 2 * *extra + (int)(n >> *extra);
}

static inline int length_extra(int symbol)
{
    return symbol < 8 || symbol == 28 ? 0 : (symbol - 4) / 4;
}

static inline int distance_extra(int symbol)
{
    return symbol < 4 ? 0 : symbol / 2 - 1;
}

typedef struct {
    uint32_t literal[288], distance[32]; /* the number of occurrences of each symbol */
} counts_t;

/* The lengths of the codes of a block's two alphabets; 0: the symbol has no code. */
typedef struct {
    uint8_t literal[288], distance[32];
} code_t;

static inline uint32_t reverse_bits(uint32_t value, int count)
{
    uint32_t out = 0;
    for (int i = 0; i < count; i++, value >>= 1)
        out = out << 1 | (value & 1);
    return out;
}

/* Give each symbol that occurs a length up to `limit`. */
typedef void lengths_of(const uint32_t *counts, int n, int limit, uint8_t *lengths);

typedef struct {
    uint32_t count;
    int symbol;
} leaf_t;

/* The heap with which zlib builds trees; the heap decides the order of equal weights. */
typedef struct {
    uint32_t weight[2 * LITERALS + 1];
    int parent[2 * LITERALS + 1];
    int depth[2 * LITERALS + 1];
    int heap[LITERALS + 2], size; /* indexed from 1 on */
} tree_t;

static inline int lighter(const tree_t *t, int a, int b)
{
    return t->weight[a] < t->weight[b] || (t->weight[a] == t->weight[b] && t->depth[a] <= t->depth[b]);
}

typedef struct {
    uint16_t items[320]; /* symbol | extra bits << 8 */
    int count, literals, distances, listed;
    uint8_t lengths[19];
    int64_t bits; /* size in bits, without the first three bits of the block */
} header_t;

static inline int run_extra(int symbol)
{
    return symbol == 16 ? 2 : symbol == 17 ? 3 : symbol == 18 ? 7 : 0;
}

/* The first fields of every encoder. */
typedef struct encoder {
    sink_t sink;
    void *more; /* further state, freed with the encoder */
    int encoder, finished;
    void (*write)(struct encoder *self, const uint8_t *content, int64_t n, int finish);
    void (*release)(struct encoder *self); /* NULL, or frees memory that only this encoder has */
} encoder_t;

/* bits.c */
int marks_add(marks_t *marks, int64_t bit, int64_t content, int64_t kind);
int64_t marks_take(marks_t *marks, int64_t *out, int64_t most);
int sink_grow(sink_t *s, int64_t n);
void put_start(sink_t *s, int type, int last);
void put_padding(sink_t *s);
void put_stored(sink_t *s, const uint8_t *content, int64_t n, int last);

/* huffman.c */
void count_tokens(counts_t *counts, const uint32_t *tokens, int64_t n);
int64_t extra_bits(const counts_t *counts);
void fixed_code(code_t *code);
void assign_codes(const uint8_t *lengths, int n, uint32_t *codes);
int64_t coded_bits(const uint32_t *counts, const uint8_t *lengths, int n);
void merged_lengths(const uint32_t *counts, int n, int limit, uint8_t *lengths);
void tree_lengths(const uint32_t *counts, int n, int limit, uint8_t *lengths);

/* blocks.c */
extern const uint8_t LISTING_ORDER[19];
void make_header(header_t *h, const code_t *code, int literals, int distances, int one_run, lengths_of *build);
void put_header(sink_t *s, const header_t *h, int last);
void put_end(sink_t *s, const code_t *code);
void put_tokens(sink_t *s, const uint32_t *tokens, int64_t n, const code_t *code);
void put_literals(sink_t *s, const uint8_t *content, int64_t n, const code_t *code);

/* go.c */
void go_code(counts_t *counts, code_t *code, header_t *header);
int64_t code_bits(const counts_t *counts, const code_t *code);
encoder_t *go_chain_new(int level);
encoder_t *go_speed_new(int level);

/* zlib.c */
encoder_t *zlib_new(int level, int memory_level);

/* gnu.c */
encoder_t *gnu_new(int level);

/* pigz.c */
encoder_t *pigz_new(int level, int64_t parameter);

#endif

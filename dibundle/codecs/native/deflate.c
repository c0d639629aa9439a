/* Deflate, bit for bit as well-known writers of gzip layers write it, and inflate that tells where blocks start.
 *
 * spec/deflate.md has every rule; the names here are the ones used there. Each encoder takes its input in pieces of any
 * size and writes what one big write would have given. C99, the standard library alone, no state outside the handles.
 * Offsets and sizes are in bytes unless they are called bits. A negative result is one of the two faults below.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MALFORMED (-1)
#define NO_MEMORY (-2)

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* The encoders by the numbers that recipes carry (dibundle/codecs/deflate/encoders.py has their names). */
enum { GO = 1, KLAUSPOST = 2, PGZIP_0 = 3, PGZIP_1 = 4, PGZIP_3 = 5, ZLIB = 6, GNU = 7 };

enum { STORED = 0, FIXED = 1, DYNAMIC = 2 };

#define WINDOW 32768
#define LONGEST 258
#define END_OF_BLOCK 256
#define LITERALS 286
#define DISTANCES 30
#define CHUNK 65535 /* content that one stored block holds, and what Go's and klauspost's fast levels take at a time */

static inline int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* ---------------------------------------------------------------- bytes and bits */

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

static inline uint16_t pair_at(const uint8_t *p) /* for comparing alone: its value depends on the byte order */
{
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}

/* How many bytes, up to most, are the same at a and b, which may overlap. */
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
    int64_t *items; /* bit of the block's header, content before it, 2 * type + (1 if it is the last) */
    int64_t count, room;
} marks_t;

static int marks_add(marks_t *marks, int64_t bit, int64_t content, int64_t kind)
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

/* Move up to most marks to out; return how many. */
static int64_t marks_take(marks_t *marks, int64_t *out, int64_t most)
{
    int64_t n = marks->count < most ? marks->count : most;
    if (n <= 0)
        return 0;
    memcpy(out, marks->items, (size_t)n * 3 * sizeof *out);
    marks->count -= n;
    memmove(marks->items, marks->items + 3 * n, (size_t)marks->count * 3 * sizeof *out);
    return n;
}

/* Where an encoder writes: whole bytes that wait for the caller, then up to 7 bits. */
typedef struct {
    uint8_t *data;
    int64_t size, room;
    uint64_t bits;
    int count;
    int64_t taken;   /* bytes that the caller has taken */
    int64_t content; /* content before the block that is written */
    int failed;      /* memory ran out: nothing that follows counts */
    marks_t marks;
} sink_t;

/* Make sure that n more bytes can be put without a check. */
static int sink_grow(sink_t *s, int64_t n)
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
    return 1;
}

/* Append up to 56 bits, the lowest first. */
static inline void put(sink_t *s, uint64_t value, int count)
{
    s->bits |= value << s->count;
    s->count += count;
    store64(s->data + s->size, s->bits);
    s->size += s->count >> 3;
    s->bits >>= s->count & ~7;
    s->count &= 7;
}

static void put_start(sink_t *s, int type, int last)
{
    int64_t bit = 8 * (s->taken + s->size) + s->count;
    if (!sink_grow(s, 512))
        return;
    if (!marks_add(&s->marks, bit, s->content, 2 * type + last))
        s->failed = 1;
    put(s, (uint64_t)(2 * type + last), 3);
}

static void put_padding(sink_t *s)
{
    if (s->count)
        put(s, 0, 8 - s->count);
}

static void put_stored(sink_t *s, const uint8_t *content, int64_t n, int last)
{
    if (!sink_grow(s, n + 512))
        return;
    put_start(s, STORED, last);
    put_padding(s);
    put(s, (uint64_t)n | (uint64_t)(~n & 0xffff) << 16, 32);
    if (n)
        memcpy(s->data + s->size, content, (size_t)n);
    s->size += n;
}

/* ---------------------------------------------------------------- tokens */

/* A token is a literal below 256, or a match: its length less 3 and its distance less 1. */
#define MATCH 0x80000000u

static inline uint32_t match_token(int32_t length, int32_t distance)
{
    return MATCH | (uint32_t)(length - 3) << 15 | (uint32_t)(distance - 1);
}

static inline int log2_of(uint32_t n)
{
    return 31 - __builtin_clz(n);
}

/* The symbol's number after 257 and its extra bits for a length less 3 (RFC 1951, 3.2.5). */
static inline int length_symbol(uint32_t n, int *extra)
{
    if (n < 8 || n == LONGEST - 3) {
        *extra = 0;
        return n < 8 ? (int)n : 28;
    }
    *extra = log2_of(n) - 2;
    return 4 * *extra + (int)(n >> *extra);
}

/* The same for a distance less 1. */
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
    uint32_t literal[288], distance[32]; /* how often each symbol occurs */
} counts_t;

static void count_tokens(counts_t *counts, const uint32_t *tokens, int64_t n)
{
    int extra;
    memset(counts, 0, sizeof *counts);
    for (int64_t i = 0; i < n; i++) {
        uint32_t token = tokens[i];
        if (token & MATCH) {
            counts->literal[257 + length_symbol(token >> 15 & 255, &extra)]++;
            counts->distance[distance_symbol(token & (WINDOW - 1), &extra)]++;
        } else {
            counts->literal[token]++;
        }
    }
}

static int64_t extra_bits(const counts_t *counts)
{
    int64_t bits = 0;
    for (int i = 8; i < 28; i++)
        bits += (int64_t)counts->literal[257 + i] * length_extra(i);
    for (int i = 4; i < DISTANCES; i++)
        bits += (int64_t)counts->distance[i] * distance_extra(i);
    return bits;
}

/* ---------------------------------------------------------------- Huffman codes */

/* The lengths of the codes of a block's two alphabets; 0 is a symbol without a code. */
typedef struct {
    uint8_t literal[288], distance[32];
} code_t;

static void fixed_code(code_t *code)
{
    memset(code->literal, 8, 288);
    memset(code->literal + 144, 9, 112);
    memset(code->literal + 256, 7, 24);
    memset(code->distance, 5, 32);
}

static inline uint32_t reverse_bits(uint32_t value, int count)
{
    uint32_t out = 0;
    for (int i = 0; i < count; i++, value >>= 1)
        out = out << 1 | (value & 1);
    return out;
}

/* Canonical codes (RFC 1951, 3.2.2), each as it is put: its bits << 8 | its length. */
static void assign_codes(const uint8_t *lengths, int n, uint32_t *codes)
{
    uint32_t counts[16] = {0}, next[16], code = 0;
    for (int i = 0; i < n; i++)
        counts[lengths[i]]++;
    counts[0] = 0;
    for (int length = 1; length < 16; length++)
        next[length] = code = (code + counts[length - 1]) << 1;
    for (int i = 0; i < n; i++)
        codes[i] = lengths[i] ? reverse_bits(next[lengths[i]]++, lengths[i]) << 8 | lengths[i] : 0;
}

static int64_t coded_bits(const uint32_t *counts, const uint8_t *lengths, int n)
{
    int64_t bits = 0;
    for (int i = 0; i < n; i++)
        bits += (int64_t)counts[i] * lengths[i];
    return bits;
}

/* Give each symbol that occurs a length up to limit. */
typedef void lengths_of(const uint32_t *counts, int n, int limit, uint8_t *lengths);

typedef struct {
    uint32_t count;
    int symbol;
} leaf_t;

static int by_count(const void *a, const void *b)
{
    const leaf_t *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? -1 : 1;
    return x->symbol - y->symbol;
}

/* Package-merge as Go has it: of a leaf and a package that weigh the same the package comes first.
 *
 * Row r holds the leaves merged with the packages of row r-1; of the highest row the first 2n-2 items are bought, of each row below
 * twice as many as packages of it were bought above. A leaf's length is the number of rows that it is bought in. */
static void merged_lengths(const uint32_t *counts, int n, int limit, uint8_t *lengths)
{
    leaf_t leaves[288];
    uint32_t weight[2][2 * 288];
    uint8_t is_leaf[15][2 * 288];
    int leaf_count = 0, items = 0;
    for (int i = 0; i < n; i++) {
        lengths[i] = counts[i] ? 1 : 0;
        if (counts[i]) {
            leaves[leaf_count].count = counts[i];
            leaves[leaf_count++].symbol = i;
        }
    }
    if (leaf_count <= 2)
        return;
    qsort(leaves, (size_t)leaf_count, sizeof *leaves, by_count);
    int rows = limit < leaf_count - 1 ? limit : leaf_count - 1;
    for (int row = 0; row < rows; row++) {
        const uint32_t *below = weight[(row + 1) & 1];
        uint32_t *here = weight[row & 1];
        int packages = items / 2, leaf = 0, package = 0;
        items = 0;
        while (items < 2 * leaf_count - 2 && (leaf < leaf_count || package < packages)) {
            uint32_t packed = package < packages ? below[2 * package] + below[2 * package + 1] : UINT32_MAX;
            int take = leaf < leaf_count && leaves[leaf].count < packed;
            is_leaf[row][items] = (uint8_t)take;
            here[items++] = take ? leaves[leaf].count : packed;
            leaf += take;
            package += !take;
        }
    }
    for (int i = 0; i < leaf_count; i++)
        lengths[leaves[i].symbol] = 0;
    for (int row = rows - 1, bought = 2 * leaf_count - 2; row >= 0; row--) {
        int taken = 0;
        for (int i = 0; i < bought; i++)
            taken += is_leaf[row][i];
        for (int i = 0; i < taken; i++)
            lengths[leaves[i].symbol]++;
        bought = 2 * (bought - taken);
    }
}

/* The heap with which zlib and gzip build trees: the order of equal weights is decided by how it sifts. */
typedef struct {
    uint32_t weight[2 * LITERALS + 1];
    int parent[2 * LITERALS + 1];
    int depth[2 * LITERALS + 1];
    int heap[LITERALS + 2], size; /* from 1 on */
} tree_t;

static inline int lighter(const tree_t *t, int a, int b)
{
    return t->weight[a] < t->weight[b] || (t->weight[a] == t->weight[b] && t->depth[a] <= t->depth[b]);
}

static void sift(tree_t *t, int at)
{
    int node = t->heap[at];
    for (int child = 2 * at; child <= t->size; child *= 2) {
        if (child < t->size && lighter(t, t->heap[child + 1], t->heap[child]))
            child++;
        if (lighter(t, node, t->heap[child]))
            break;
        t->heap[at] = t->heap[child];
        at = child;
    }
    t->heap[at] = node;
}

/* Tree lengths as zlib and gzip have them; alphabets of fewer than two symbols are filled up with symbols of weight 1. */
static void tree_lengths(const uint32_t *counts, int n, int limit, uint8_t *lengths)
{
    tree_t t;
    int taken[2 * LITERALS], removed = 0, node = n, highest = -1, excess = 0;
    int at_length[17] = {0}, depth_of[2 * LITERALS + 1];
    t.size = 0;
    for (int i = 0; i < n; i++) {
        lengths[i] = 0;
        if (counts[i]) {
            t.weight[i] = counts[i];
            t.depth[i] = 0;
            t.heap[++t.size] = highest = i;
        }
    }
    while (t.size < 2) {
        int filler = highest < 2 ? ++highest : 0;
        t.weight[filler] = 1;
        t.depth[filler] = 0;
        t.heap[++t.size] = filler;
    }
    for (int at = t.size / 2; at >= 1; at--)
        sift(&t, at);
    while (t.size >= 2) {
        int first = t.heap[1];
        t.heap[1] = t.heap[t.size--];
        sift(&t, 1);
        int second = t.heap[1];
        taken[removed++] = first;
        taken[removed++] = second;
        t.weight[node] = t.weight[first] + t.weight[second];
        t.depth[node] = 1 + (t.depth[first] > t.depth[second] ? t.depth[first] : t.depth[second]);
        t.parent[first] = t.parent[second] = node;
        t.heap[1] = node++;
        sift(&t, 1);
    }
    depth_of[t.heap[1]] = 0;
    for (int i = removed - 1; i >= 0; i--) {
        int depth = depth_of[t.parent[taken[i]]] + 1;
        if (depth > limit) {
            depth = limit;
            excess++;
        }
        depth_of[taken[i]] = depth;
        if (taken[i] < n) {
            at_length[depth]++;
            lengths[taken[i]] = (uint8_t)depth;
        }
    }
    if (excess == 0)
        return;
    for (; excess > 0; excess -= 2) { /* hang one of the deepest beside a leaf that is higher up */
        int length = limit - 1;
        while (at_length[length] == 0)
            length--;
        at_length[length]--;
        at_length[length + 1] += 2;
        at_length[limit]--;
    }
    for (int length = limit, i = 0; length >= 1; length--) /* the rarest get the longest */
        for (int left = at_length[length]; left > 0; i++)
            if (taken[i] < n) {
                lengths[taken[i]] = (uint8_t)length;
                left--;
            }
}

/* ---------------------------------------------------------------- headers of dynamic blocks */

static const uint8_t LISTING_ORDER[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

typedef struct {
    uint16_t items[320]; /* symbol | extra bits << 8 */
    int count, literals, distances, listed;
    uint8_t lengths[19];
    int64_t bits; /* without the three bits that begin every block */
} header_t;

static inline int run_extra(int symbol)
{
    return symbol == 16 ? 2 : symbol == 17 ? 3 : symbol == 18 ? 7 : 0;
}

/* Append the run-length form of lengths: 16 repeats the last length 3 to 6 times, 17 and 18 stand for runs of zeros. */
static void add_runs(header_t *h, const uint8_t *lengths, int n)
{
    for (int i = 0; i < n;) {
        int length = lengths[i], run = 1;
        while (i + run < n && lengths[i + run] == length)
            run++;
        i += run;
        if (length) {
            h->items[h->count++] = (uint16_t)length;
            run--;
        }
        int most = length ? 6 : 138;
        while (run >= 3) {
            int piece = run < most ? run : most;
            int symbol = length ? 16 : piece <= 10 ? 17 : 18;
            h->items[h->count++] = (uint16_t)(symbol | (piece - (symbol == 18 ? 11 : 3)) << 8);
            run -= piece;
        }
        for (; run > 0; run--)
            h->items[h->count++] = (uint16_t)length;
    }
}

/* Lay out the header for the first literals and distances of a code. Go's run over both alphabets as one, zlib's do not. */
static void make_header(header_t *h, const code_t *code, int literals, int distances, int one_run, lengths_of *build)
{
    uint32_t counts[19] = {0};
    h->count = 0;
    h->literals = literals;
    h->distances = distances;
    if (one_run) {
        uint8_t both[LITERALS + 32];
        memcpy(both, code->literal, (size_t)literals);
        memcpy(both + literals, code->distance, (size_t)distances);
        add_runs(h, both, literals + distances);
    } else {
        add_runs(h, code->literal, literals);
        add_runs(h, code->distance, distances);
    }
    for (int i = 0; i < h->count; i++)
        counts[h->items[i] & 255]++;
    build(counts, 19, 7, h->lengths);
    h->listed = 19;
    while (h->listed > 4 && h->lengths[LISTING_ORDER[h->listed - 1]] == 0)
        h->listed--;
    h->bits = 5 + 5 + 4 + 3 * h->listed + coded_bits(counts, h->lengths, 19) + 2 * counts[16] + 3 * counts[17] + 7 * counts[18];
}

static void put_header(sink_t *s, const header_t *h, int last)
{
    uint32_t codes[19];
    put_start(s, DYNAMIC, last);
    if (!sink_grow(s, 1024))
        return;
    put(s, (uint64_t)(h->literals - 257), 5);
    put(s, (uint64_t)(h->distances - 1), 5);
    put(s, (uint64_t)(h->listed - 4), 4);
    for (int i = 0; i < h->listed; i++)
        put(s, h->lengths[LISTING_ORDER[i]], 3);
    assign_codes(h->lengths, 19, codes);
    for (int i = 0; i < h->count; i++) {
        int symbol = h->items[i] & 255;
        put(s, codes[symbol] >> 8, (int)(codes[symbol] & 255));
        put(s, (uint64_t)(h->items[i] >> 8), run_extra(symbol));
    }
}

/* ---------------------------------------------------------------- bodies of blocks */

static void put_end(sink_t *s, const code_t *code)
{
    uint32_t codes[288];
    if (!sink_grow(s, 16))
        return;
    assign_codes(code->literal, 288, codes);
    put(s, codes[END_OF_BLOCK] >> 8, (int)(codes[END_OF_BLOCK] & 255));
}

static void put_tokens(sink_t *s, const uint32_t *tokens, int64_t n, const code_t *code)
{
    uint32_t literals[288], distances[32], lengths[256];
    if (!sink_grow(s, 6 * n))
        return;
    assign_codes(code->literal, 288, literals);
    assign_codes(code->distance, 32, distances);
    for (uint32_t i = 0; i < 256; i++) { /* a length's code with its extra bits behind it */
        int extra, symbol = length_symbol(i, &extra);
        uint32_t c = literals[257 + symbol], bits = c & 255;
        lengths[i] = ((c >> 8 | (i & ((1u << extra) - 1)) << bits) << 8) | (bits + (uint32_t)extra);
    }
    for (int64_t i = 0; i < n; i++) {
        uint32_t token = tokens[i];
        if (!(token & MATCH)) {
            put(s, literals[token] >> 8, (int)(literals[token] & 255));
            continue;
        }
        uint32_t length = lengths[token >> 15 & 255], distance = token & (WINDOW - 1);
        int extra, symbol = distance_symbol(distance, &extra);
        int length_bits = (int)(length & 255), distance_bits = (int)(distances[symbol] & 255);
        uint64_t tail = (uint64_t)(distances[symbol] >> 8) | (uint64_t)(distance & ((1u << extra) - 1)) << distance_bits;
        put(s, (uint64_t)(length >> 8) | tail << length_bits, length_bits + distance_bits + extra);
    }
}

static void put_literals(sink_t *s, const uint8_t *content, int64_t n, const code_t *code)
{
    uint32_t literals[288];
    if (!sink_grow(s, 2 * n))
        return;
    assign_codes(code->literal, 288, literals);
    for (int64_t i = 0; i < n; i++)
        put(s, literals[content[i]] >> 8, (int)(literals[content[i]] & 255));
}

/* What every encoder begins with. */
typedef struct encoder {
    sink_t sink;
    int encoder, finished;
    void (*write)(struct encoder *self, const uint8_t *content, int64_t n, int finish);
} encoder_t;

/* ---------------------------------------------------------------- Go's compress/flate, up to Go 1.26 */

/* src/compress/flate/{deflate,deflatefast,huffman_bit_writer,huffman_code}.go of Go 1.24. */

typedef struct {
    int lazy, nice, chain, most_inserted; /* lazy 0: matches are taken at once, the shortest ones alone fully inserted */
} go_level_t;

static const go_level_t GO_LEVELS[10] = {
    {0, 0, 0, 0},     {0, 0, 0, 0},     {0, 16, 8, 5},     {0, 32, 32, 6},      {4, 16, 16, 0},
    {16, 32, 32, 0}, {16, 128, 128, 0}, {32, 128, 256, 0}, {128, 258, 1024, 0}, {258, 258, 4096, 0},
};

/* Lengths of both alphabets and the header for what counts say, an end of block among it; return the distances listed. */
static void go_code(counts_t *counts, code_t *code, header_t *header)
{
    int literals = LITERALS, distances = DISTANCES;
    while (counts->literal[literals - 1] == 0)
        literals--;
    while (distances > 0 && counts->distance[distances - 1] == 0)
        distances--;
    if (distances == 0)
        counts->distance[0] = (uint32_t)(distances = 1);
    memset(code, 0, sizeof *code);
    merged_lengths(counts->literal, LITERALS, 15, code->literal);
    merged_lengths(counts->distance, DISTANCES, 15, code->distance);
    make_header(header, code, literals, distances, 1, merged_lengths);
}

static int64_t code_bits(const counts_t *counts, const code_t *code)
{
    return coded_bits(counts->literal, code->literal, 288) + coded_bits(counts->distance, code->distance, 32);
}

/* Levels 2 to 9: the smallest of the three kinds; raw is NULL where the block's start has left the window. */
static void go_smallest_block(sink_t *s, const uint32_t *tokens, int64_t n, const uint8_t *raw, int64_t size)
{
    counts_t counts;
    code_t code, fixed;
    header_t header;
    int storable = raw && size <= CHUNK;
    count_tokens(&counts, tokens, n);
    counts.literal[END_OF_BLOCK] = 1;
    int64_t extra = storable ? extra_bits(&counts) : 0;
    go_code(&counts, &code, &header);
    fixed_code(&fixed);
    int64_t bits = 3 + code_bits(&counts, &fixed) + extra;
    int64_t dynamic = 3 + header.bits + code_bits(&counts, &code) + extra;
    int is_dynamic = dynamic < bits;
    if (is_dynamic)
        bits = dynamic;
    if (storable && 8 * (size + 5) < bits) {
        put_stored(s, raw, size, 0);
        return;
    }
    if (is_dynamic)
        put_header(s, &header, 0);
    else
        put_start(s, FIXED, 0);
    put_tokens(s, tokens, n, is_dynamic ? &code : &fixed);
    put_end(s, is_dynamic ? &code : &fixed);
}

enum { FAR = 65535 };

typedef struct {
    encoder_t base;
    go_level_t level;
    int32_t index, end, block_start; /* in the window; block_start -1: it has left */
    int32_t length, distance;        /* the match at index - 1; length 3: none */
    int pending;                     /* the literal at index - 1 waits for what is found at index */
    int32_t chain, offset;           /* entries are window positions + offset; 0: none yet */
    int64_t origin;                  /* content before window[0] */
    int64_t count;
    uint32_t tokens[16384];
    int32_t head[1 << 17];
    uint16_t back[WINDOW]; /* how far before a position its chain goes on; FAR: out of reach */
    uint8_t window[2 * WINDOW];
} go_chain_t;

static inline uint32_t go_hash(const uint8_t *p)
{
    uint32_t four = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    return (four * 0x1e35a7bdu) >> 15;
}

/* Put index at the head of its chain and return what was there. */
static inline int32_t go_insert(go_chain_t *g, int32_t index)
{
    int32_t *head = g->head + go_hash(g->window + index), before = *head;
    *head = index + g->offset;
    g->back[index & (WINDOW - 1)] = (uint16_t)least(*head - before, FAR);
    return before;
}

static void go_end_block(go_chain_t *g, int32_t index)
{
    const uint8_t *raw = g->block_start >= 0 ? g->window + g->block_start : NULL;
    go_smallest_block(&g->base.sink, g->tokens, g->count, raw, index - g->block_start);
    g->block_start = index;
    g->base.sink.content = g->origin + index;
    g->count = 0;
}

static inline void go_token(go_chain_t *g, uint32_t token, int32_t index)
{
    g->tokens[g->count++] = token;
    if (g->count == 16384)
        go_end_block(g, index);
}

/* The longest match at index from candidate on; 3 if there is none of 4 or more, or of 4 within 4096. */
static int32_t go_longest(const go_chain_t *g, int32_t candidate, int32_t ahead, int32_t *distance)
{
    const uint8_t *here = g->window + g->index;
    int32_t most = least(ahead, LONGEST), nice = least(g->level.nice, most), best = 3, lowest = g->index - WINDOW;
    uint32_t wanted = load32(here); /* the last 4 bytes of what is longer than the best: few candidates have those too */
    for (int tries = g->level.chain; tries > 0; tries--) {
        const uint8_t *there = g->window + candidate;
        if (load32(there + best - 3) == wanted) {
            int32_t n = same_bytes(here, there, most);
            if (n > best && (n > 4 || g->index - candidate <= 4096)) {
                best = n;
                *distance = g->index - candidate;
                if (n >= nice)
                    break;
                wanted = load32(here + best - 3);
            }
        }
        if (candidate == lowest)
            break;
        candidate -= g->back[candidate & (WINDOW - 1)];
        if (candidate < lowest || candidate < 0)
            break;
    }
    return best;
}

static inline int go_reaches(const go_chain_t *g)
{
    int32_t lowest = g->index > WINDOW ? g->index - WINDOW : 0;
    return g->chain - g->offset >= lowest;
}

/* Levels 4 to 9: a match is taken unless the next position has a longer one. */
static void go_lazy(go_chain_t *g, int closing)
{
    int32_t insert_end = g->end - 3;
    for (;;) {
        int32_t ahead = g->end - g->index;
        if (ahead == 0 || (ahead < 262 && !closing))
            break;
        if (g->index < insert_end)
            g->chain = go_insert(g, g->index);
        int32_t length = g->length, distance = g->distance;
        g->length = 3;
        if (go_reaches(g) && ahead > length && length < g->level.lazy)
            g->length = go_longest(g, g->chain - g->offset, ahead, &g->distance);
        if (length >= 4 && g->length <= length) {
            int32_t stop = g->index + length - 1;
            while (++g->index < stop)
                if (g->index < insert_end)
                    go_insert(g, g->index);
            g->pending = 0;
            g->length = 3;
            go_token(g, match_token(length, distance), g->index);
        } else {
            if (g->pending)
                go_token(g, g->window[g->index - 1], g->index);
            g->index++;
            g->pending = 1;
        }
    }
    if (closing && g->pending)
        g->tokens[g->count++] = g->window[g->index - 1];
}

/* Levels 2 and 3: a match is taken at once. */
static void go_greedy(go_chain_t *g, int closing)
{
    int32_t insert_end = g->end - 3;
    for (;;) {
        int32_t ahead = g->end - g->index, length = 3, distance = 0;
        if (ahead == 0 || (ahead < 262 && !closing))
            break;
        if (g->index < insert_end)
            g->chain = go_insert(g, g->index);
        if (go_reaches(g) && ahead > 3)
            length = go_longest(g, g->chain - g->offset, ahead, &distance);
        if (length < 4) {
            g->index++;
            go_token(g, g->window[g->index - 1], g->index);
            continue;
        }
        int32_t stop = g->index + length;
        if (length <= g->level.most_inserted)
            while (++g->index < stop)
                if (g->index < insert_end)
                    go_insert(g, g->index);
        g->index = stop;
        go_token(g, match_token(length, distance), g->index);
    }
}

static void go_step(go_chain_t *g, int closing)
{
    if (g->level.lazy)
        go_lazy(g, closing);
    else
        go_greedy(g, closing);
    if (closing && g->count)
        go_end_block(g, g->index);
}

static void go_slide(go_chain_t *g)
{
    memcpy(g->window, g->window + WINDOW, WINDOW);
    g->index -= WINDOW;
    g->end -= WINDOW;
    g->block_start = g->block_start >= WINDOW ? g->block_start - WINDOW : -1;
    g->origin += WINDOW;
    g->offset += WINDOW;
    if (g->offset <= 1 << 24)
        return;
    int32_t delta = g->offset - 1; /* entries stay small; those below are out of reach */
    g->offset -= delta;
    g->chain -= delta;
    for (int i = 0; i < 1 << 17; i++)
        g->head[i] = g->head[i] > delta ? g->head[i] - delta : 0;
}

static void go_chain_write(encoder_t *self, const uint8_t *content, int64_t n, int finish)
{
    go_chain_t *g = (go_chain_t *)self;
    while (n > 0) {
        if (g->end == 2 * WINDOW) {
            go_step(g, 0);
            go_slide(g);
        }
        int32_t piece = 2 * WINDOW - g->end;
        if (piece > n)
            piece = (int32_t)n;
        memcpy(g->window + g->end, content, (size_t)piece);
        g->end += piece;
        content += piece;
        n -= piece;
    }
    if (finish) {
        go_step(g, 1);
        put_stored(&g->base.sink, NULL, 0, 1);
    }
}

static encoder_t *go_chain_new(int level)
{
    go_chain_t *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->base.write = go_chain_write;
    g->level = GO_LEVELS[level];
    g->length = 3;
    g->chain = -1;
    g->offset = 1;
    return &g->base;
}

/* Level 1. */

typedef struct {
    encoder_t base;
    int32_t fill, earlier; /* bytes of this chunk, and of the one before it that are kept */
    int32_t base_position; /* entries are positions in the chunk + this */
    int64_t count;
    struct {
        uint32_t value;
        int32_t position;
    } table[1 << 14];
    uint32_t tokens[CHUNK];
    uint8_t content[2 * CHUNK]; /* the chunk before, then the chunk */
} go_speed_t;

static inline uint32_t go_speed_hash(uint32_t four)
{
    return (four * 0x1e35a7bdu) >> 18;
}

static void go_speed_literals(go_speed_t *g, const uint8_t *from, const uint8_t *to)
{
    while (from < to)
        g->tokens[g->count++] = *from++;
}

/* Keep positions below 2^31: what is too far away to be used becomes 0. */
static void go_speed_rebase(go_speed_t *g)
{
    for (int i = 0; i < 1 << 14; i++) {
        int32_t position = g->table[i].position - g->base_position + WINDOW + 1;
        g->table[i].position = position < 0 ? 0 : position;
    }
    g->base_position = WINDOW + 1;
}

static void go_speed_match(go_speed_t *g)
{
    const uint8_t *chunk = g->content + CHUNK;
    int32_t n = g->fill, limit = n - 15, emitted = 0, s = 0;
    g->count = 0;
    if (g->base_position >= INT32_MAX - 2 * CHUNK)
        go_speed_rebase(g);
    uint32_t value = load32(chunk);
    for (;;) {
        int32_t skip = 32, next = s, from;
        for (;;) { /* steps grow by one after every 32 positions without a match */
            s = next;
            int32_t step = skip >> 5;
            next = s + step;
            skip += step;
            if (next > limit)
                goto rest;
            uint32_t hash = go_speed_hash(value), seen = g->table[hash].value;
            from = g->table[hash].position - g->base_position;
            g->table[hash].value = value;
            g->table[hash].position = s + g->base_position;
            if (s - from <= WINDOW && seen == value)
                break;
            value = load32(chunk + next);
        }
        go_speed_literals(g, chunk + emitted, chunk + s);
        for (;;) {
            int32_t length = 4 + same_bytes(chunk + s + 4, chunk + from + 4, least(LONGEST - 4, n - s - 4));
            g->tokens[g->count++] = match_token(length, s - from);
            s += length;
            emitted = s;
            if (s >= limit)
                goto rest;
            value = load32(chunk + s - 1);
            uint32_t hash = go_speed_hash(value);
            g->table[hash].value = value;
            g->table[hash].position = s - 1 + g->base_position;
            value = load32(chunk + s);
            hash = go_speed_hash(value);
            uint32_t seen = g->table[hash].value;
            from = g->table[hash].position - g->base_position;
            g->table[hash].value = value;
            g->table[hash].position = s + g->base_position;
            if (s - from > WINDOW || seen != value)
                break;
        }
        s++;
        value = load32(chunk + s);
    }
rest:
    go_speed_literals(g, chunk + emitted, chunk + n);
    g->base_position += n;
}

/* A block of literals alone, or stored where that costs hardly more. */
static void go_literal_block(sink_t *s, const uint8_t *raw, int64_t size)
{
    counts_t counts;
    code_t code;
    header_t header;
    memset(&counts, 0, sizeof counts);
    memset(&code, 0, sizeof code);
    for (int64_t i = 0; i < size; i++)
        counts.literal[raw[i]]++;
    counts.literal[END_OF_BLOCK] = 1;
    counts.distance[0] = 1;
    code.distance[0] = 1;
    merged_lengths(counts.literal, LITERALS, 15, code.literal);
    make_header(&header, &code, 257, 1, 1, merged_lengths);
    int64_t bits = 3 + header.bits + code_bits(&counts, &code);
    if (8 * (size + 5) < bits + (bits >> 4)) {
        put_stored(s, raw, size, 0);
        return;
    }
    put_header(s, &header, 0);
    put_literals(s, raw, size, &code);
    put_end(s, &code);
}

static void go_dynamic_block(sink_t *s, const uint32_t *tokens, int64_t n, const uint8_t *raw, int64_t size)
{
    counts_t counts;
    code_t code;
    header_t header;
    count_tokens(&counts, tokens, n);
    counts.literal[END_OF_BLOCK] = 1;
    go_code(&counts, &code, &header);
    int64_t bits = 3 + header.bits + code_bits(&counts, &code);
    if (8 * (size + 5) < bits + (bits >> 4)) {
        put_stored(s, raw, size, 0);
        return;
    }
    put_header(s, &header, 0);
    put_tokens(s, tokens, n, &code);
    put_end(s, &code);
}

static void go_speed_chunk(go_speed_t *g)
{
    const uint8_t *chunk = g->content + CHUNK;
    sink_t *s = &g->base.sink;
    int32_t n = g->fill;
    if (n == 0)
        return;
    if (n <= 16) {
        put_stored(s, chunk, n, 0);
    } else if (n < 128) {
        go_literal_block(s, chunk, n);
    } else {
        go_speed_match(g);
        if (g->count > n - (n >> 4))
            go_literal_block(s, chunk, n);
        else
            go_dynamic_block(s, g->tokens, g->count, chunk, n);
        memcpy(g->content, chunk, CHUNK);
    }
    s->content += n;
    g->fill = 0;
}

static void go_speed_write(encoder_t *self, const uint8_t *content, int64_t n, int finish)
{
    go_speed_t *g = (go_speed_t *)self;
    while (n > 0) {
        if (g->fill == CHUNK)
            go_speed_chunk(g);
        int32_t piece = CHUNK - g->fill;
        if (piece > n)
            piece = (int32_t)n;
        memcpy(g->content + CHUNK + g->fill, content, (size_t)piece);
        g->fill += piece;
        content += piece;
        n -= piece;
    }
    if (finish) {
        go_speed_chunk(g);
        put_stored(&g->base.sink, NULL, 0, 1);
    }
}

static encoder_t *go_speed_new(void)
{
    go_speed_t *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->base.write = go_speed_write;
    g->base_position = CHUNK;
    return &g->base;
}

/* ---------------------------------------------------------------- klauspost/compress flate, and Go 1.27's, which is it */

/* flate/{deflate,fast_encoder,level1,level5,level6,token,huffman_bit_writer}.go of klauspost/compress 1.18.0; pgzip's
 * gzip.go 1.2.6; src/compress/flate of Go 1.27. */

#define HISTORY (5 * CHUNK)
#define TAIL 16384 /* what pgzip gives a block of the one before it */
#define REBASE_AT (INT32_MAX - HISTORY - CHUNK)

typedef struct {
    encoder_t base;
    int level, align, trimmed; /* trimmed: version 3, headers list no unused symbols and the end of block counts */
    int framed;                /* pgzip: blocks of block_size, each with a history of its own */
    int64_t block_size, block_fill;
    int32_t fill, history_size, offset; /* entries are history positions + offset */
    int64_t count;
    int64_t live;      /* bits of the header of the block that is still open; 0: none is */
    int literals_only; /* its code has no use for matches */
    code_t code;
    uint32_t tokens[1 << 16];
    int32_t near[1 << 15], far[1 << 15][2]; /* far: the latest and the one before */
    uint8_t chunk[CHUNK], tail[TAIL], history[HISTORY];
} klauspost_t;

static inline uint32_t near_hash(uint64_t bytes)
{
    return ((uint32_t)bytes * 2654435761u) >> 17;
}

static inline uint32_t far_hash(uint64_t bytes)
{
    return (uint32_t)(((bytes << 8) * 58295818150454627u) >> 49);
}

static inline uint32_t five_hash(uint64_t bytes)
{
    return (uint32_t)(((bytes << 24) * 889523592379u) >> 49);
}

static inline void near_insert(klauspost_t *k, uint64_t bytes, int32_t position)
{
    k->near[near_hash(bytes)] = position + k->offset;
}

static inline void far_insert(klauspost_t *k, uint64_t bytes, int32_t position)
{
    int32_t *pair = k->far[far_hash(bytes)];
    pair[1] = pair[0];
    pair[0] = position + k->offset;
}

static int32_t rebased(const klauspost_t *k, int32_t entry)
{
    return entry <= k->offset + k->history_size - WINDOW ? 0 : entry - k->offset + WINDOW;
}

/* Keep entries below 2^31; those out of reach become 0, the older of a pair too where the latest is. */
static void klauspost_rebase(klauspost_t *k)
{
    for (int i = 0; i < 1 << 15; i++) {
        k->near[i] = rebased(k, k->near[i]);
        k->far[i][0] = rebased(k, k->far[i][0]);
        k->far[i][1] = k->far[i][0] ? rebased(k, k->far[i][1]) : 0;
    }
    k->offset = WINDOW;
}

/* Append content to the history, moved down if it does not fit; return where it begins. */
static int32_t klauspost_append(klauspost_t *k, const uint8_t *content, int32_t n)
{
    if (k->history_size + n > HISTORY) {
        int32_t move = k->history_size - WINDOW;
        memmove(k->history, k->history + move, WINDOW);
        k->offset += move;
        k->history_size = WINDOW;
    }
    memcpy(k->history + k->history_size, content, (size_t)n);
    k->history_size += n;
    return k->history_size - n;
}

static inline void klauspost_literals(klauspost_t *k, int32_t from, int32_t to)
{
    while (from < to)
        k->tokens[k->count++] = k->history[from++];
}

/* A match of any length, in pieces of at most 258 none of which is shorter than 3. */
static void klauspost_long(klauspost_t *k, int32_t length, int32_t distance)
{
    while (length > 0) {
        int32_t piece = length <= LONGEST ? length : length > LONGEST + 3 ? LONGEST : LONGEST - 3;
        k->tokens[k->count++] = match_token(piece, distance);
        length -= piece;
    }
}

typedef struct {
    int32_t at, from, length; /* length: as far as it was compared, 0: not yet beyond 4 */
    int32_t next;             /* the first position that was not looked up */
} found_t;

static inline int reaches(const klauspost_t *k, int32_t from, int32_t at, uint32_t four)
{
    return at - from < WINDOW && load32(k->history + from) == four;
}

/* The length of a match of 4 or more, at most 258 and up to the end of the chunk. */
static inline int32_t capped_length(const klauspost_t *k, int32_t at, int32_t from)
{
    return 4 + same_bytes(k->history + at + 4, k->history + from + 4, least(LONGEST - 4, k->history_size - at - 4));
}

static inline int32_t full_length(const klauspost_t *k, int32_t at, int32_t from)
{
    return same_bytes(k->history + at, k->history + from, k->history_size - at);
}

static inline void take_longer(const klauspost_t *k, found_t *found, int32_t at, int32_t from)
{
    int32_t length = capped_length(k, at, from);
    if (length > found->length) {
        found->at = at;
        found->from = from;
        found->length = length;
    }
}

/* Levels 5 and 6: go on from s until something matches; 0 where that is not before limit. */
static int klauspost_search(klauspost_t *k, int32_t s, int32_t emitted, int32_t limit, int32_t repeat, found_t *found)
{
    const uint8_t *history = k->history;
    int skip = k->level == 5 ? 6 : 7;
    uint64_t bytes = load64(history + s);
    for (;;) {
        int32_t next = s + 1 + ((s - emitted) >> skip);
        if (next > limit)
            return 0;
        int32_t near = k->near[near_hash(bytes)] - k->offset;
        const int32_t *pair = k->far[far_hash(bytes)];
        int32_t far = pair[0] - k->offset, farther = pair[1] - k->offset;
        uint64_t next_bytes = load64(history + next);
        uint32_t four = (uint32_t)bytes, next_four = (uint32_t)next_bytes;
        near_insert(k, bytes, s);
        far_insert(k, bytes, s);
        found->at = s;
        found->next = next;
        found->length = 0;
        if (s - far < WINDOW) {
            int hit = load32(history + far) == four;
            if (hit || reaches(k, farther, s, four)) {
                near_insert(k, next_bytes, next);
                far_insert(k, next_bytes, next);
                found->from = hit ? far : farther;
                if (hit && reaches(k, farther, s, four)) {
                    found->length = capped_length(k, s, far);
                    take_longer(k, found, s, farther);
                }
                return 1;
            }
        }
        if (reaches(k, near, s, four)) {
            found->from = near;
            found->length = capped_length(k, s, near);
            pair = k->far[far_hash(next_bytes)];
            far = pair[0] - k->offset;
            farther = pair[1] - k->offset;
            near_insert(k, next_bytes, next);
            far_insert(k, next_bytes, next);
            int32_t before = found->length;
            if (k->level == 6) {
                int32_t from = s + 1 - repeat;
                if (load32(history + from) == (uint32_t)(bytes >> 8)) {
                    take_longer(k, found, s + 1, from);
                    if (found->length > before)
                        return 1;
                }
            }
            if (next - far < WINDOW) {
                if (load32(history + far) == next_four) {
                    take_longer(k, found, next, far);
                    if (k->level == 5 && found->length > before)
                        return 1;
                }
                if (reaches(k, farther, next, next_four))
                    take_longer(k, found, next, farther);
            }
            return 1;
        }
        bytes = next_bytes;
        s = next;
    }
}

/* Take a match that ends like the text behind found's end did before, if it is longer than found. */
static void take_aligned(const klauspost_t *k, found_t *found, int32_t s, int32_t from)
{
    int32_t distance = s - from;
    if (from < 0 || distance <= 0 || distance >= WINDOW)
        return;
    int32_t length = full_length(k, s, from);
    if (length > found->length) {
        found->at = s;
        found->from = from;
        found->length = length;
    }
}

/* Levels 5 and 6: lengthen what was found, try the match that ends like it, and lengthen it backwards. */
static void klauspost_extend(const klauspost_t *k, found_t *found, int32_t emitted, int32_t limit)
{
    if (found->length == 0 || found->length == LONGEST)
        found->length = full_length(k, found->at, found->from);
    int32_t end = found->at + found->length;
    if (end < limit && (k->level == 6 || found->length < 30)) {
        const int32_t *pair = k->far[far_hash(load64(k->history + end))];
        int32_t s = found->at + k->align;
        int32_t from = pair[0] - k->offset - found->length + k->align;
        if (s - from < WINDOW) {
            take_aligned(k, found, s, from);
            if (k->level == 6) /* the older entry is aligned by the length as it is now */
                take_aligned(k, found, s, pair[1] - k->offset - found->length + k->align);
        }
    }
    while (found->from > 0 && found->at > emitted && k->history[found->from - 1] == k->history[found->at - 1]) {
        found->from--;
        found->at--;
        found->length++;
    }
}

/* Level 5: index the inside of a match that ends at s, then the position before s. */
static void klauspost_index5(klauspost_t *k, int32_t s, int32_t length)
{
    int32_t i = s - length + 1;
    if (i < s - 1) {
        uint64_t bytes = load64(k->history + i);
        near_insert(k, bytes, i);
        far_insert(k, bytes, i);
        far_insert(k, bytes >> 8, i + 1);
        near_insert(k, bytes >> 16, i + 2);
        for (i += 4; i < s - 1; i += 3) {
            bytes = load64(k->history + i);
            far_insert(k, bytes, i);
            near_insert(k, bytes >> 8, i + 1);
        }
    }
    uint64_t bytes = load64(k->history + s - 1);
    near_insert(k, bytes, s - 1);
    far_insert(k, bytes, s - 1);
}

/* Level 6: index from where the search stopped up to a match's end at s, or to the end of the chunk. */
static void klauspost_index6(klauspost_t *k, int32_t from, int32_t s, int32_t limit)
{
    if (s >= limit) {
        for (int32_t i = from; i < k->history_size - 8; i += 2) {
            uint64_t bytes = load64(k->history + i);
            near_insert(k, bytes, i);
            far_insert(k, bytes, i);
        }
        return;
    }
    for (int32_t i = from; i < s - 1; i += 2) {
        uint64_t bytes = load64(k->history + i);
        near_insert(k, bytes, i);
        far_insert(k, bytes, i);
        far_insert(k, bytes >> 8, i + 1);
    }
}

static void klauspost_match56(klauspost_t *k, int32_t s)
{
    int32_t emitted = s, limit = k->history_size - 11, repeat = 1;
    found_t found;
    while (klauspost_search(k, s, emitted, limit, repeat, &found)) {
        klauspost_extend(k, &found, emitted, limit);
        klauspost_literals(k, emitted, found.at);
        repeat = found.at - found.from;
        klauspost_long(k, found.length, repeat);
        emitted = s = found.at + found.length;
        if (found.next >= s)
            s = found.next + 1;
        if (k->level == 6)
            klauspost_index6(k, found.next + 1, s, limit);
        if (s >= limit)
            break;
        if (k->level == 5)
            klauspost_index5(k, s, found.length);
    }
    if (k->count)
        klauspost_literals(k, emitted, k->history_size);
}

/* Level 1 looks up near alone, by five bytes. */
static void klauspost_match1(klauspost_t *k, int32_t s)
{
    const uint8_t *history = k->history;
    int32_t emitted = s, limit = k->history_size - 11, next, from;
    uint64_t bytes = load64(history + s);
    for (;;) {
        for (;;) { /* pairs of positions, farther and farther apart */
            uint32_t hash = five_hash(bytes);
            next = s + 2 + ((s - emitted) >> 5);
            if (next > limit)
                goto rest;
            uint64_t next_bytes = load64(history + next);
            from = k->near[hash] - k->offset;
            k->near[hash] = s + k->offset;
            hash = five_hash(next_bytes);
            if (reaches(k, from, s, (uint32_t)bytes)) {
                k->near[hash] = next + k->offset;
                break;
            }
            bytes = next_bytes;
            s = next++;
            from = k->near[hash] - k->offset;
            k->near[hash] = s + k->offset;
            next_bytes >>= 8;
            if (reaches(k, from, s, (uint32_t)bytes)) {
                k->near[hash] = next + k->offset; /* by the hash of s, as it is upstream */
                break;
            }
            bytes = next_bytes;
            s = next;
        }
        for (;;) {
            int32_t length = full_length(k, s, from);
            while (from > 0 && s > emitted && history[from - 1] == history[s - 1]) {
                from--;
                s--;
                length++;
            }
            klauspost_literals(k, emitted, s);
            klauspost_long(k, length, s - from);
            emitted = s += length;
            if (next >= s)
                s = next + 1;
            if (s >= limit)
                goto rest;
            bytes = load64(history + s - 2);
            k->near[five_hash(bytes)] = s - 2 + k->offset;
            bytes >>= 16;
            uint32_t hash = five_hash(bytes);
            from = k->near[hash] - k->offset;
            k->near[hash] = s + k->offset;
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

/* Turn content into tokens; none at all where nothing matched. */
static void klauspost_match(klauspost_t *k, const uint8_t *content, int32_t n)
{
    k->count = 0;
    if (k->offset >= REBASE_AT)
        klauspost_rebase(k);
    int32_t s = klauspost_append(k, content, n);
    if (n < 13)
        return;
    if (k->level == 1)
        klauspost_match1(k, s);
    else
        klauspost_match56(k, s);
}

/* Write the end of block that an open block owes. */
static void klauspost_close(klauspost_t *k)
{
    if (k->live)
        put_end(&k->base.sink, &k->code);
    k->live = 0;
}

static void klauspost_stored(klauspost_t *k, const uint8_t *content, int64_t n)
{
    klauspost_close(k);
    put_stored(&k->base.sink, content, n, 0);
}

static float fast_log2(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    float log2 = (float)((int32_t)(bits >> 23 & 255) - 128);
    bits = (bits & ~(255u << 23)) + (127u << 23);
    memcpy(&value, &bits, 4);
    float square = -0.34484843f * value + 2.02466578f;
    float rest = square * value - 0.67487759f;
    return log2 + rest;
}

static float entropy(uint32_t count, float share)
{
    float n = (float)count, bits = -fast_log2(n * share);
    return (bits < 1 ? 1 : bits > 15 ? 15 : bits) * n;
}

/* What tokens might take with a code of their own, in bits; n counts an end of block if it is among them. */
static int64_t estimated_bits(const counts_t *counts, int64_t n)
{
    float bits = 0, share = 1.0f / (float)n;
    int64_t extra = 0, matches = 0;
    for (int i = 0; i < 256; i++)
        if (counts->literal[i])
            bits += entropy(counts->literal[i], share);
    bits += 15; /* the end of block */
    for (int i = 0; i < 29; i++)
        if (counts->literal[257 + i]) {
            bits += entropy(counts->literal[257 + i], share);
            extra += (int64_t)length_extra(i) * counts->literal[257 + i];
            matches += counts->literal[257 + i];
        }
    share = 1.0f / (float)matches;
    for (int i = 0; matches && i < DISTANCES; i++)
        if (counts->distance[i]) {
            bits += entropy(counts->distance[i], share);
            extra += (int64_t)distance_extra(i) * counts->distance[i];
        }
    return (int64_t)bits + extra;
}

/* Whether the code has all literals below n that occur. */
static int has_codes(const uint32_t *counts, const uint8_t *lengths, int n)
{
    for (int i = 0; i < n; i++)
        if (counts[i] && !lengths[i])
            return 0;
    return 1;
}

static void klauspost_fixed_block(klauspost_t *k)
{
    code_t fixed;
    fixed_code(&fixed);
    klauspost_close(k);
    put_start(&k->base.sink, FIXED, 0);
    put_tokens(&k->base.sink, k->tokens, k->count, &fixed);
    put_end(&k->base.sink, &fixed);
}

/* Tokens in a block of their own, or in the one that is open; it stays open unless sync. */
static void klauspost_tokens(klauspost_t *k, const uint8_t *raw, int64_t size, int sync)
{
    counts_t counts;
    code_t code, fixed;
    header_t header;
    sink_t *s = &k->base.sink;
    int64_t stored = 8 * (size + 5), count = k->count + sync; /* the end of block is a token before a sync */
    int small = count < 250;
    count_tokens(&counts, k->tokens, k->count);
    counts.literal[END_OF_BLOCK] = sync || k->trimmed ? 1 : 0;
    fixed_code(&fixed);
    int64_t extra = extra_bits(&counts);
    if (k->live && (k->literals_only || !has_codes(counts.literal, k->code.literal, LITERALS) ||
                    !has_codes(counts.distance, k->code.distance, DISTANCES)))
        klauspost_close(k);
    if (k->live) {
        int64_t fresh = k->live + estimated_bits(&counts, count);
        fresh += k->code.literal[END_OF_BLOCK] + (fresh >> 7);
        int64_t bits = code_bits(&counts, &k->code) + extra;
        if (fresh < bits) {
            klauspost_close(k);
            bits = fresh;
        }
        int fixed_wins = small && code_bits(&counts, &fixed) + 3 + extra + 7 < bits;
        if (stored <= bits) {
            klauspost_stored(k, raw, size);
            return;
        }
        if (fixed_wins) {
            klauspost_fixed_block(k);
            return;
        }
    }
    if (!k->live) {
        counts.literal[END_OF_BLOCK] = 1;
        go_code(&counts, &code, &header);
        if (!sync && !k->trimmed)
            make_header(&header, &code, LITERALS, DISTANCES, 1, merged_lengths);
        int64_t bits = 3 + header.bits + code_bits(&counts, &code) + extra;
        int64_t with_fixed = 3 + code_bits(&counts, &fixed) + extra;
        int fixed_wins = small && with_fixed <= bits;
        if (stored <= (fixed_wins ? with_fixed : bits)) {
            klauspost_stored(k, raw, size);
            return;
        }
        if (fixed_wins) {
            klauspost_fixed_block(k);
            return;
        }
        put_header(s, &header, 0);
        k->code = code;
        k->live = 3 + header.bits;
        k->literals_only = 0;
    }
    put_tokens(s, k->tokens, k->count, &k->code);
    if (sync)
        klauspost_close(k);
}

/* Literals alone; a histogram this flat is not worth a code. */
static int is_flat(const uint32_t *counts, int64_t n)
{
    double average = (double)n / 256, sum = 0;
    for (int i = 0; i < 256; i++)
        sum += ((double)counts[i] - average) * ((double)counts[i] - average);
    return n > 1024 && sum < (double)(2 * n);
}

static void klauspost_literal_block(klauspost_t *k, const uint8_t *raw, int64_t size, int sync)
{
    uint32_t counts[257] = {0};
    code_t code;
    header_t header;
    sink_t *s = &k->base.sink;
    for (int64_t i = 0; i < size; i++)
        counts[raw[i]]++;
    if (is_flat(counts, size)) {
        klauspost_stored(k, raw, size);
        return;
    }
    counts[END_OF_BLOCK] = 1;
    memset(&code, 0, sizeof code);
    merged_lengths(counts, 257, 15, code.literal);
    code.distance[0] = 1;
    int64_t bits = coded_bits(counts, code.literal, 257) + (k->live ? k->live : 70 * 8);
    bits += bits >> 7;
    if (8 * (size + 5) <= bits) {
        klauspost_stored(k, raw, size);
        return;
    }
    if (k->live && (!has_codes(counts, k->code.literal, 256) || bits < coded_bits(counts, k->code.literal, 256)))
        klauspost_close(k);
    if (!k->live) {
        make_header(&header, &code, 257, 1, 1, merged_lengths);
        put_header(s, &header, 0);
        k->code = code;
        k->live = 3 + header.bits;
        k->literals_only = 1;
    }
    put_literals(s, raw, size, &k->code);
    if (sync)
        klauspost_close(k);
}

/* Write the chunk; only before a sync may it be short. */
static void klauspost_chunk(klauspost_t *k, int sync)
{
    int32_t n = k->fill;
    if (n == 0)
        return;
    if (n <= 32) {
        klauspost_stored(k, k->chunk, n);
    } else if (n < 128) {
        klauspost_literal_block(k, k->chunk, n, 1);
    } else {
        klauspost_match(k, k->chunk, n);
        if (k->count == 0)
            klauspost_stored(k, k->chunk, n);
        else if (k->count > n - (n >> 4))
            klauspost_literal_block(k, k->chunk, n, sync);
        else
            klauspost_tokens(k, k->chunk, n, sync);
    }
    int32_t kept = n < TAIL ? TAIL - n : 0;
    memmove(k->tail, k->tail + TAIL - kept, (size_t)kept);
    memcpy(k->tail + kept, k->chunk + n - (TAIL - kept), (size_t)(TAIL - kept));
    k->base.sink.content += n;
    k->fill = 0;
}

/* Forget all and learn the dictionary, whose tokens are dropped. */
static void klauspost_restart(klauspost_t *k, const uint8_t *dictionary, int32_t n)
{
    memset(k->near, 0, sizeof k->near);
    memset(k->far, 0, sizeof k->far);
    k->history_size = 0;
    k->offset = CHUNK;
    if (n)
        klauspost_match(k, dictionary, n);
}

/* Flush as pgzip does at the end of each of its blocks. */
static void klauspost_sync(klauspost_t *k)
{
    klauspost_chunk(k, 1);
    klauspost_stored(k, NULL, 0);
}

static void put_last_empty_block(sink_t *s)
{
    put_start(s, FIXED, 1);
    if (sink_grow(s, 16))
        put(s, 0, 7);
    put_padding(s);
}

static void klauspost_end_frame(klauspost_t *k)
{
    klauspost_sync(k);
    klauspost_restart(k, k->tail, k->block_fill > TAIL ? TAIL : 0);
    k->block_fill = 0;
}

static void klauspost_write(encoder_t *self, const uint8_t *content, int64_t n, int finish)
{
    klauspost_t *k = (klauspost_t *)self;
    while (n > 0) {
        if (k->fill == CHUNK)
            klauspost_chunk(k, 0);
        int32_t piece = CHUNK - k->fill;
        if (piece > n)
            piece = (int32_t)n;
        if (k->block_size && piece > k->block_size - k->block_fill)
            piece = (int32_t)(k->block_size - k->block_fill);
        memcpy(k->chunk + k->fill, content, (size_t)piece);
        k->fill += piece;
        k->block_fill += piece;
        content += piece;
        n -= piece;
        if (k->block_size && k->block_fill == k->block_size)
            klauspost_end_frame(k);
    }
    if (finish) {
        if (k->framed)
            klauspost_sync(k);
        klauspost_chunk(k, 1);
        klauspost_close(k);
        put_last_empty_block(&k->base.sink);
    }
}

static encoder_t *klauspost_new(int encoder, int level, int64_t block_size)
{
    klauspost_t *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    k->base.write = klauspost_write;
    k->level = level;
    k->align = encoder == PGZIP_0 ? 0 : 2;
    k->trimmed = encoder == PGZIP_3 || encoder == KLAUSPOST;
    k->framed = encoder != KLAUSPOST;
    k->block_size = block_size;
    k->offset = CHUNK;
    return &k->base;
}

/* ---------------------------------------------------------------- zlib's deflate and GNU gzip's, its ancestor */

/* deflate.c and trees.c of zlib 1.3.1; deflate.c and trees.c of gzip 1.13. */

#define AHEAD 262              /* content that a search wants before it: 258 + 3 + 1 */
#define FARTHEST (WINDOW - AHEAD)

typedef struct {
    int good, lazy, nice, chain; /* levels 1 to 3: lazy is the longest match whose inside is indexed */
} zlib_level_t;

static const zlib_level_t ZLIB_LEVELS[10] = {
    {0, 0, 0, 0},     {4, 4, 8, 4},       {4, 5, 16, 8},      {4, 6, 32, 32},       {4, 4, 16, 16},
    {8, 16, 32, 32}, {8, 16, 128, 128}, {8, 32, 128, 256}, {32, 128, 258, 1024}, {32, 258, 258, 4096},
};

typedef struct {
    encoder_t base;
    zlib_level_t limits;
    int level, gnu, over; /* over: gzip has seen the end of its input */
    int shift;
    uint32_t mask;
    int32_t at, ahead, block_start; /* in the window; block_start is below 0 where it has left */
    int32_t length, from;           /* the match at the position before; length 2: none */
    int pending;                    /* the literal there waits for what is found at this one */
    int64_t origin;                 /* content before window[0] */
    int64_t count, most;            /* tokens of the block */
    int64_t matches, match_bits;    /* of the block, for gzip's guess at its size */
    uint32_t tokens[WINDOW];
    uint16_t head[1 << 16], previous[WINDOW];
    uint8_t window[2 * WINDOW + 8];
} zlib_t;

/* Put a position at the head of its chain and return what was there; 0 is nothing. */
static inline int32_t zlib_insert(zlib_t *z, int32_t at)
{
    const uint8_t *p = z->window + at;
    uint32_t hash = ((uint32_t)p[0] << 2 * z->shift ^ (uint32_t)p[1] << z->shift ^ p[2]) & z->mask;
    uint16_t before = z->head[hash];
    z->previous[at & (WINDOW - 1)] = before;
    z->head[hash] = (uint16_t)at;
    return before;
}

/* The longest match from candidate on that is longer than best; gzip compares beyond the end of its input too. */
static int32_t zlib_longest(zlib_t *z, int32_t candidate, int32_t best)
{
    const uint8_t *here = z->window + z->at;
    int32_t chain = z->limits.chain, nice = z->limits.nice;
    int32_t lowest = z->at > FARTHEST ? z->at - FARTHEST : 0;
    if (best >= z->limits.good)
        chain >>= 2;
    if (!z->gnu)
        nice = least(nice, z->ahead);
    uint16_t start = pair_at(here), end = pair_at(here + best - 1);
    do {
        const uint8_t *there = z->window + candidate;
        if (pair_at(there + best - 1) == end && pair_at(there) == start) {
            int32_t n = same_bytes(here, there, LONGEST);
            if (n > best) {
                z->from = candidate;
                best = n;
                if (n >= nice)
                    break;
                end = pair_at(here + best - 1);
            }
        }
        candidate = z->previous[candidate & (WINDOW - 1)];
    } while (candidate > lowest && --chain);
    return least(best, z->ahead);
}

static void zlib_end_block(zlib_t *z, int last)
{
    counts_t counts;
    code_t code, fixed;
    header_t header;
    sink_t *s = &z->base.sink;
    const uint8_t *raw = z->block_start >= 0 ? z->window + z->block_start : NULL;
    int64_t size = z->at - z->block_start;
    count_tokens(&counts, z->tokens, z->count);
    counts.literal[END_OF_BLOCK] = 1;
    memset(&code, 0, sizeof code);
    tree_lengths(counts.literal, LITERALS, 15, code.literal);
    tree_lengths(counts.distance, DISTANCES, 15, code.distance);
    int literals = LITERALS, distances = DISTANCES;
    while (code.literal[literals - 1] == 0)
        literals--;
    while (code.distance[distances - 1] == 0)
        distances--;
    make_header(&header, &code, literals, distances, 0, tree_lengths);
    fixed_code(&fixed);
    int64_t extra = extra_bits(&counts);
    int64_t dynamic_bytes = (header.bits + code_bits(&counts, &code) + extra + 10) >> 3;
    int64_t fixed_bytes = (code_bits(&counts, &fixed) + extra + 10) >> 3;
    int is_fixed = fixed_bytes <= dynamic_bytes;
    if (raw && size <= CHUNK && size + 4 <= (is_fixed ? fixed_bytes : dynamic_bytes)) {
        put_stored(s, raw, size, last);
    } else {
        if (is_fixed)
            put_start(s, FIXED, last);
        else
            put_header(s, &header, last);
        put_tokens(s, z->tokens, z->count, is_fixed ? &fixed : &code);
        put_end(s, is_fixed ? &fixed : &code);
    }
    z->count = z->matches = z->match_bits = 0;
    z->block_start = z->at;
    s->content = z->origin + z->at;
}

/* Add a token; tell whether the block ends with it. */
static int zlib_token(zlib_t *z, uint32_t token)
{
    z->tokens[z->count++] = token;
    if (token & MATCH) {
        int extra;
        distance_symbol(token & (WINDOW - 1), &extra);
        z->matches++;
        z->match_bits += 5 + extra;
    }
    if (z->gnu && z->level > 2 && (z->count & 0xfff) == 0) { /* gzip ends a block early that compresses well */
        int64_t in = z->at - z->block_start, out = (8 * z->count + z->match_bits) >> 3;
        if (z->matches < z->count / 2 && out < in / 2)
            return 1;
    }
    return z->count == z->most;
}

static void zlib_slide(zlib_t *z)
{
    memcpy(z->window, z->window + WINDOW, WINDOW);
    z->at -= WINDOW;
    z->from -= WINDOW;
    z->block_start -= WINDOW;
    z->origin += WINDOW;
    for (int i = 0; i < 1 << 16; i++)
        z->head[i] = (uint16_t)(z->head[i] >= WINDOW ? z->head[i] - WINDOW : 0);
    for (int i = 0; i < WINDOW; i++)
        z->previous[i] = (uint16_t)(z->previous[i] >= WINDOW ? z->previous[i] - WINDOW : 0);
}

/* What happens at the end of the input when less than AHEAD is left: zlib still slides, gzip does once at most. */
static void zlib_starve(zlib_t *z)
{
    if (z->over)
        return;
    if (z->at >= WINDOW + FARTHEST)
        zlib_slide(z);
    z->over = z->gnu;
    if (z->gnu)
        memset(z->window + z->at + z->ahead, 0, 2);
}

/* Whether a search at this position from candidate on is allowed. */
static inline int zlib_may_search(const zlib_t *z, int32_t candidate)
{
    return candidate && z->at - candidate <= FARTHEST && z->at <= 2 * WINDOW - AHEAD;
}

/* Levels 1 to 3: a match is taken at once. */
static void zlib_fast(zlib_t *z, int closing)
{
    for (;;) {
        if (z->ahead < AHEAD) {
            if (!closing)
                return;
            zlib_starve(z);
            if (z->ahead == 0)
                return;
        }
        int32_t length = 0, head = z->gnu || z->ahead >= 3 ? zlib_insert(z, z->at) : 0;
        if (zlib_may_search(z, head))
            length = zlib_longest(z, head, 2);
        int ends;
        if (length >= 3) {
            ends = zlib_token(z, match_token(length, z->at - z->from));
            z->ahead -= length;
            int32_t stop = z->at + length;
            if (length <= z->limits.lazy && (z->gnu || z->ahead >= 3))
                while (++z->at < stop)
                    zlib_insert(z, z->at);
            z->at = stop;
        } else {
            ends = zlib_token(z, z->window[z->at]);
            z->ahead--;
            z->at++;
        }
        if (ends)
            zlib_end_block(z, 0);
    }
}

/* Levels 4 to 9: a match is taken unless the next position has a longer one. */
static void zlib_lazy(zlib_t *z, int closing)
{
    for (;;) {
        if (z->ahead < AHEAD) {
            if (!closing)
                return;
            zlib_starve(z);
            if (z->ahead == 0)
                break;
        }
        int32_t head = z->gnu || z->ahead >= 3 ? zlib_insert(z, z->at) : 0;
        int32_t length = z->length, from = z->from;
        z->length = 2;
        if (length < z->limits.lazy && zlib_may_search(z, head)) {
            z->length = zlib_longest(z, head, length);
            if (z->length == 3 && z->at - z->from > 4096)
                z->length = 2;
        }
        if (length >= 3 && z->length <= length) {
            int ends = zlib_token(z, match_token(length, z->at - 1 - from));
            int32_t insert_end = z->gnu ? INT32_MAX : z->at + z->ahead - 3;
            z->ahead -= length - 1;
            int32_t stop = z->at + length - 1;
            while (++z->at < stop)
                if (z->at <= insert_end)
                    zlib_insert(z, z->at);
            z->pending = 0;
            z->length = 2;
            if (ends)
                zlib_end_block(z, 0);
        } else {
            if (z->pending && zlib_token(z, z->window[z->at - 1]))
                zlib_end_block(z, 0);
            z->pending = 1;
            z->at++;
            z->ahead--;
        }
    }
    if (z->pending)
        zlib_token(z, z->window[z->at - 1]);
}

static void zlib_run(zlib_t *z, int closing)
{
    if (z->level <= 3)
        zlib_fast(z, closing);
    else
        zlib_lazy(z, closing);
}

static void zlib_write(encoder_t *self, const uint8_t *content, int64_t n, int finish)
{
    zlib_t *z = (zlib_t *)self;
    while (n > 0) {
        int32_t end = z->at + z->ahead;
        if (end == 2 * WINDOW) {
            zlib_run(z, 0);
            zlib_slide(z);
            end -= WINDOW;
        }
        int32_t piece = 2 * WINDOW - end;
        if (piece > n)
            piece = (int32_t)n;
        memcpy(z->window + end, content, (size_t)piece);
        z->ahead += piece;
        content += piece;
        n -= piece;
    }
    if (finish) {
        zlib_run(z, 1);
        zlib_end_block(z, 1);
        put_padding(&z->base.sink);
    }
}

static encoder_t *zlib_new(int gnu, int level, int memory_level)
{
    zlib_t *z = calloc(1, sizeof *z);
    if (!z)
        return NULL;
    int hash_bits = gnu ? 15 : memory_level + 7;
    z->base.write = zlib_write;
    z->limits = ZLIB_LEVELS[level];
    z->level = level;
    z->gnu = gnu;
    z->shift = (hash_bits + 2) / 3;
    z->mask = (1u << hash_bits) - 1;
    z->most = gnu ? WINDOW - 1 : (1 << (memory_level + 6)) - 1;
    z->length = 2;
    return &z->base;
}

/* ---------------------------------------------------------------- the encoders from outside */

/* Parameter is pgzip's block size (0: none yet), zlib's memLevel (8 or 9), else 0. NULL: no such encoder, or no memory. */
static encoder_t *new_encoder(int64_t encoder, int64_t level, int64_t parameter)
{
    encoder_t *e = NULL;
    int framed = encoder >= PGZIP_0 && encoder <= PGZIP_3;
    if (level < 1 || level > 9)
        return NULL;
    if (encoder == GO && parameter == 0)
        e = level == 1 ? go_speed_new() : go_chain_new((int)level);
    else if (encoder == KLAUSPOST && parameter == 0 && (level == 1 || level == 5 || level == 6))
        e = klauspost_new((int)encoder, (int)level, 0);
    else if (framed && level == 5 && (parameter == 0 || parameter > TAIL) && parameter <= 1 << 30)
        e = klauspost_new((int)encoder, (int)level, parameter);
    else if (encoder == ZLIB && (parameter == 8 || parameter == 9))
        e = zlib_new(0, (int)level, (int)parameter);
    else if (encoder == GNU && parameter == 0)
        e = zlib_new(1, (int)level, 0);
    if (e)
        e->encoder = (int)encoder;
    return e;
}

/* The handle of a new encoder; 0 where there is none. */
EXPORT int64_t dib_deflate_new(int64_t encoder, int64_t level, int64_t parameter)
{
    return (int64_t)(intptr_t)new_encoder(encoder, level, parameter);
}

EXPORT int64_t dib_deflate_free(void *handle)
{
    encoder_t *e = handle;
    if (e) {
        free(e->sink.data);
        free(e->sink.marks.items);
        free(e);
    }
    return 0;
}

/* Take n bytes of content, the last ones if finish; return how many bytes of the body wait to be taken. */
EXPORT int64_t dib_deflate_write(void *handle, const uint8_t *content, int64_t n, int64_t finish)
{
    encoder_t *e = handle;
    if (e->finished || n < 0)
        return MALFORMED;
    if (!e->sink.failed)
        e->write(e, content, n, finish != 0);
    e->finished = finish != 0;
    return e->sink.failed ? NO_MEMORY : e->sink.size;
}

/* Move up to room bytes of the body to out; return how many. Never more than what every later byte leaves as it is. */
EXPORT int64_t dib_deflate_take(void *handle, uint8_t *out, int64_t room)
{
    sink_t *s = &((encoder_t *)handle)->sink;
    int64_t n = s->size < room ? s->size : room;
    if (n <= 0)
        return 0;
    memcpy(out, s->data, (size_t)n);
    s->size -= n;
    s->taken += n;
    memmove(s->data, s->data + n, (size_t)s->size);
    return n;
}

/* Move up to most marks to out, three numbers each: bit, content, 2 * type + (1 if it is the last block). */
EXPORT int64_t dib_deflate_marks(void *handle, int64_t *out, int64_t most)
{
    return marks_take(&((encoder_t *)handle)->sink.marks, out, most);
}

/* Give a pgzip encoder that has none its block size, which is at least the content that it was given so far. */
EXPORT int64_t dib_deflate_frame(void *handle, int64_t block_size)
{
    klauspost_t *k = handle;
    int framed = k->base.encoder >= PGZIP_0 && k->base.encoder <= PGZIP_3;
    if (!framed || k->block_size || block_size <= TAIL || block_size > 1 << 30 || block_size < k->block_fill || k->base.finished)
        return MALFORMED;
    k->block_size = block_size;
    if (k->block_fill == block_size)
        klauspost_end_frame(k);
    return k->base.sink.failed ? NO_MEMORY : k->base.sink.size;
}

/* Encode one pgzip block by itself: dictionary is what precedes it, 16 KiB or nothing. Return the size of what it takes,
 * which is in out only if there is room for it: 5 bytes for every 65535 of n, and n + 32, are always enough. */
EXPORT int64_t dib_deflate_block(int64_t encoder, const uint8_t *dictionary, int64_t dictionary_size, const uint8_t *block,
                                 int64_t n, int64_t last, uint8_t *out, int64_t room)
{
    if (encoder < PGZIP_0 || encoder > PGZIP_3 || dictionary_size < 0 || dictionary_size > TAIL || n < 0)
        return MALFORMED;
    encoder_t *e = new_encoder(encoder, 5, 0);
    if (!e)
        return NO_MEMORY;
    klauspost_t *k = (klauspost_t *)e;
    klauspost_restart(k, dictionary, (int32_t)dictionary_size);
    e->write(e, block, n, last != 0);
    if (!last)
        klauspost_sync(k);
    int64_t size = e->sink.failed ? NO_MEMORY : e->sink.size;
    if (size >= 0 && size <= room)
        memcpy(out, e->sink.data, (size_t)size);
    dib_deflate_free(e);
    return size;
}

/* ---------------------------------------------------------------- inflate */

/* Table entries: bits 0-5 what the symbol takes with its extra bits, 8-11 its code alone, 16-31 its value. */
#define IS_LITERAL 0x1000u
#define IS_END 0x2000u
#define IS_LINK 0x4000u /* value: where the second table begins; bits 0-5: bits that index it */
#define IS_BAD 0x8000u

#define LITERAL_BITS 11
#define DISTANCE_BITS 8
/* Of a complete code at most 144 prefixes of 11 bits and 16 of 8 bits go on: each has two codes or more behind it. */
#define LITERAL_ENTRIES ((1 << 11) + 144 * 16)
#define DISTANCE_ENTRIES ((1 << 8) + 16 * 128)

enum { AT_BLOCK, AT_STORED, IN_STORED, AT_COUNTS, AT_LISTING, AT_LENGTHS, IN_BLOCK, IN_MATCH, AT_END };

typedef struct {
    uint64_t bits;
    int count;        /* bits that are there */
    int64_t consumed; /* bytes that went into bits */
    int state, last, is_fixed; /* is_fixed: what the tables hold */
    int32_t left;              /* of a stored block or a match */
    int32_t distance;          /* of the match */
    int literals, distances, listed, known; /* the header that is being read */
    int64_t content;                        /* given out */
    int64_t matched;                        /* of the first block, the bytes of matches but one for each */
    int64_t first;                          /* its tokens, when the second starts */
    int blocks;                             /* started, 2 for any more */
    int32_t kept;                           /* of window, which ends with the latest byte */
    marks_t marks;
    uint8_t listing[19], lengths[320];
    uint32_t literal[LITERAL_ENTRIES], distance_table[DISTANCE_ENTRIES], listing_table[128];
    uint8_t window[WINDOW];
} inflate_t;

static uint32_t literal_entry(int symbol)
{
    if (symbol < 256)
        return IS_LITERAL | (uint32_t)symbol << 16;
    if (symbol == END_OF_BLOCK)
        return IS_END;
    symbol -= 257;
    if (symbol > 28)
        return IS_BAD;
    uint32_t extra = (uint32_t)length_extra(symbol);
    uint32_t base = symbol < 8 ? (uint32_t)symbol : symbol == 28 ? 255 : (uint32_t)(4 + symbol % 4) << extra;
    return (base + 3) << 16 | extra;
}

static uint32_t distance_entry(int symbol)
{
    if (symbol >= DISTANCES)
        return IS_BAD;
    uint32_t extra = (uint32_t)distance_extra(symbol);
    uint32_t base = symbol < 4 ? (uint32_t)symbol : (uint32_t)(2 + symbol % 2) << extra;
    return (base + 1) << 16 | extra;
}

static uint32_t plain_entry(int symbol)
{
    return (uint32_t)symbol << 16;
}

/* Fill a table that is indexed by the next first bits; 0 if the lengths are no code that zlib takes: a complete one, or
 * (unless strict) one of a single symbol of length 1 or of none. */
static int fill_table(const uint8_t *lengths, int n, int first, int strict, uint32_t *table, uint32_t (*entry_of)(int))
{
    int counts[16] = {0}, longest = 0, left = 1;
    uint32_t next[16], code = 0, end = 1u << first;
    for (int i = 0; i < n; i++)
        counts[lengths[i]]++;
    counts[0] = 0;
    for (int length = 1; length < 16; length++) {
        left = 2 * left - counts[length];
        if (left < 0)
            return 0;
        if (counts[length])
            longest = length;
        next[length] = code = (code + (uint32_t)counts[length - 1]) << 1;
    }
    if (left > 0 && (strict || longest > 1))
        return 0;
    for (uint32_t i = 0; i < end; i++)
        table[i] = IS_BAD | 1;
    int second = longest - first;
    for (int i = 0; i < n; i++) {
        int length = lengths[i];
        if (length == 0)
            continue;
        uint32_t bits = reverse_bits(next[length]++, length), entry = entry_of(i);
        entry += (uint32_t)length | (uint32_t)length << 8;
        if (length <= first) {
            for (uint32_t at = bits; at < 1u << first; at += 1u << length)
                table[at] = entry;
            continue;
        }
        uint32_t *link = table + (bits & ((1u << first) - 1));
        if (!(*link & IS_LINK)) {
            *link = IS_LINK | end << 16 | (uint32_t)second;
            end += 1u << second;
        }
        for (uint32_t at = bits >> first; at < 1u << second; at += 1u << (length - first))
            table[(*link >> 16) + at] = entry;
    }
    return 1;
}

static void fill_fixed(inflate_t *f)
{
    code_t code;
    if (f->is_fixed)
        return;
    fixed_code(&code);
    fill_table(code.literal, 288, LITERAL_BITS, 1, f->literal, literal_entry);
    fill_table(code.distance, 32, DISTANCE_BITS, 1, f->distance_table, distance_entry);
    f->is_fixed = 1;
}

static inline uint32_t lookup(const uint32_t *table, uint64_t bits, int first)
{
    uint32_t entry = table[bits & ((1u << first) - 1)];
    if (entry & IS_LINK)
        entry = table[(entry >> 16) + (uint32_t)(bits >> first & ((1u << (entry & 63)) - 1))];
    return entry;
}

/* The base of a length or distance with its extra bits. */
static inline int32_t value_of(uint32_t entry, uint64_t bits)
{
    int code = (int)(entry >> 8 & 15), all = (int)(entry & 63);
    return (int32_t)((entry >> 16) + (uint32_t)((bits & (((uint64_t)1 << all) - 1)) >> code));
}

typedef struct {
    const uint8_t *in, *in_end;
    uint8_t *start, *out, *out_end;
} flow_t;

/* Have at least n bits, up to 56, if the input has them. */
static inline int want(inflate_t *f, flow_t *flow, int n)
{
    while (f->count < n) {
        if (flow->in == flow->in_end)
            return 0;
        f->bits |= (uint64_t)*flow->in++ << f->count;
        f->count += 8;
        f->consumed++;
    }
    return 1;
}

static inline uint32_t drop(inflate_t *f, int n)
{
    uint32_t value = (uint32_t)(f->bits & (((uint64_t)1 << n) - 1));
    f->bits >>= n;
    f->count -= n;
    return value;
}

/* Copy what there is room for of the match in left and distance; the window holds what is before start. */
static void copy_match(inflate_t *f, flow_t *flow)
{
    while (f->left > 0 && flow->out < flow->out_end) {
        int64_t made = flow->out - flow->start;
        *flow->out = f->distance <= made ? flow->out[-f->distance] : f->window[WINDOW + made - f->distance];
        flow->out++;
        f->left--;
    }
}

/* Whether distance reaches to before the content. */
static inline int too_far(const inflate_t *f, const flow_t *flow, int32_t distance)
{
    return distance > f->kept && distance > f->kept + (flow->out - flow->start);
}

/* Decode while neither end is near; 0 on a fault, and IN_BLOCK is left where it ends. */
static int inflate_fast(inflate_t *f, flow_t *flow)
{
    const uint8_t *in = flow->in;
    uint8_t *out = flow->out;
    uint64_t bits = f->bits;
    int count = f->count, good = 1;
    while (flow->in_end - in >= 8 && flow->out_end - out >= LONGEST + 16) {
        bits |= load64(in) << count;
        in += (63 - count) >> 3;
        count |= 56;
        uint32_t entry = lookup(f->literal, bits, LITERAL_BITS);
        if (entry & IS_LITERAL) { /* a second one fits into what is there, a match (48 bits) may not */
            bits >>= entry & 63;
            count -= (int)(entry & 63);
            *out++ = (uint8_t)(entry >> 16);
            entry = lookup(f->literal, bits, LITERAL_BITS);
            if (entry & IS_LITERAL) {
                bits >>= entry & 63;
                count -= (int)(entry & 63);
                *out++ = (uint8_t)(entry >> 16);
                continue;
            }
        }
        if (entry & (IS_END | IS_BAD)) {
            good = !(entry & IS_BAD);
            if (good) {
                bits >>= entry & 63;
                count -= (int)(entry & 63);
                f->state = AT_BLOCK;
            }
            break;
        }
        if (count < 48) /* a literal went before it */
            continue;
        int32_t length = value_of(entry, bits);
        bits >>= entry & 63;
        count -= (int)(entry & 63);
        entry = lookup(f->distance_table, bits, DISTANCE_BITS);
        int32_t distance = value_of(entry, bits);
        flow->out = out;
        if (entry & IS_BAD || too_far(f, flow, distance)) {
            good = 0;
            break;
        }
        bits >>= entry & 63;
        count -= (int)(entry & 63);
        f->matched += length - 1;
        if (distance > out - flow->start) {
            f->left = length;
            f->distance = distance;
            copy_match(f, flow);
            out = flow->out;
            continue;
        }
        const uint8_t *from = out - distance;
        uint8_t *end = out + length;
        if (distance >= 8) {
            for (; out < end; out += 8, from += 8)
                memcpy(out, from, 8);
        } else if (distance == 1) {
            memset(out, *from, (size_t)length);
        } else {
            while (out < end)
                *out++ = *from++;
        }
        out = end;
    }
    f->consumed += in - flow->in;
    f->bits = bits & (((uint64_t)1 << count) - 1);
    f->count = count;
    flow->in = in;
    flow->out = out;
    return good;
}

/* One symbol near an end of input or room; 1: done, 0: more input is needed, -1: a fault. */
static int inflate_symbol(inflate_t *f, flow_t *flow)
{
    want(f, flow, 48);
    uint32_t entry = lookup(f->literal, f->bits, LITERAL_BITS);
    int used = (int)(entry & 63);
    if (entry & IS_BAD)
        return f->count >= 15 ? -1 : 0; /* the bits that are missing may yet make it a good one */
    if (used > f->count)
        return 0;
    if (entry & IS_LITERAL) {
        *flow->out++ = (uint8_t)(entry >> 16);
    } else if (entry & IS_END) {
        f->state = AT_BLOCK;
    } else {
        uint64_t rest = f->bits >> used;
        uint32_t distance = lookup(f->distance_table, rest, DISTANCE_BITS);
        if (distance & IS_BAD)
            return f->count - used >= 15 ? -1 : 0;
        if (used + (int)(distance & 63) > f->count)
            return 0;
        f->left = value_of(entry, f->bits);
        f->distance = value_of(distance, rest);
        if (too_far(f, flow, f->distance))
            return -1;
        f->matched += f->left - 1;
        used += (int)(distance & 63);
        f->state = IN_MATCH;
    }
    drop(f, used);
    return 1;
}

/* Read the lengths of both codes and make their tables; 1, 0 or -1 as above. */
static int inflate_lengths(inflate_t *f, flow_t *flow)
{
    int all = f->literals + f->distances;
    while (f->known < all) {
        want(f, flow, 14);
        uint32_t entry = f->listing_table[f->bits & 127];
        int length = (int)(entry & 63), symbol = (int)(entry >> 16), extra = run_extra(symbol), base = symbol == 18 ? 11 : 3;
        if (length + extra > f->count)
            return 0;
        drop(f, length);
        if (symbol < 16) {
            f->lengths[f->known++] = (uint8_t)symbol;
            continue;
        }
        int run = base + (int)drop(f, extra);
        if ((symbol == 16 && f->known == 0) || f->known + run > all)
            return -1;
        memset(f->lengths + f->known, symbol == 16 ? f->lengths[f->known - 1] : 0, (size_t)run);
        f->known += run;
    }
    f->is_fixed = 0;
    if (f->lengths[END_OF_BLOCK] == 0 ||
        !fill_table(f->lengths, f->literals, LITERAL_BITS, 0, f->literal, literal_entry) ||
        !fill_table(f->lengths + f->literals, f->distances, DISTANCE_BITS, 0, f->distance_table, distance_entry))
        return -1;
    f->state = IN_BLOCK;
    return 1;
}

/* The header of a block up to what its type needs; 1, 0 or -1 as above. */
static int inflate_start(inflate_t *f, flow_t *flow)
{
    if (f->last) {
        f->consumed -= f->count >> 3; /* whole bytes behind the end are not ours */
        f->bits = 0;
        f->count = 0;
        f->state = AT_END;
        return 1;
    }
    if (!want(f, flow, 3))
        return 0;
    int64_t bit = 8 * f->consumed - f->count;
    int kind = (int)drop(f, 3), type = kind >> 1;
    f->last = kind & 1;
    int64_t content = f->content + (flow->out - flow->start);
    if (!marks_add(&f->marks, bit, content, 2 * type + f->last))
        return NO_MEMORY;
    if (f->blocks == 1)
        f->first = content - f->matched;
    f->blocks += f->blocks < 2;
    if (type == STORED)
        drop(f, f->count & 7);
    else if (type == FIXED)
        fill_fixed(f);
    f->state = type == STORED ? AT_STORED : type == FIXED ? IN_BLOCK : AT_COUNTS;
    return type == 3 ? -1 : 1;
}

static int inflate_counts(inflate_t *f, flow_t *flow)
{
    if (!want(f, flow, 14))
        return 0;
    f->literals = 257 + (int)drop(f, 5);
    f->distances = 1 + (int)drop(f, 5);
    f->listed = 4 + (int)drop(f, 4);
    f->known = 0;
    memset(f->listing, 0, sizeof f->listing);
    f->state = AT_LISTING;
    return f->literals > LITERALS || f->distances > DISTANCES ? -1 : 1;
}

static int inflate_listing(inflate_t *f, flow_t *flow)
{
    for (; f->known < f->listed; f->known++) {
        if (!want(f, flow, 3))
            return 0;
        f->listing[LISTING_ORDER[f->known]] = (uint8_t)drop(f, 3);
    }
    f->known = 0;
    f->state = AT_LENGTHS;
    return fill_table(f->listing, 19, 7, 1, f->listing_table, plain_entry) ? 1 : -1;
}

static int inflate_stored(inflate_t *f, flow_t *flow)
{
    if (!want(f, flow, 32))
        return 0;
    uint32_t length = drop(f, 16);
    f->left = (int32_t)length;
    f->state = IN_STORED;
    return length == (~drop(f, 16) & 0xffff) ? 1 : -1;
}

static int inflate_copy(inflate_t *f, flow_t *flow)
{
    while (f->left > 0 && f->count > 0 && flow->out < flow->out_end) { /* what was read ahead */
        *flow->out++ = (uint8_t)drop(f, 8);
        f->left--;
    }
    int64_t n = f->count > 0 ? 0 : f->left;
    if (n > flow->out_end - flow->out)
        n = flow->out_end - flow->out;
    if (n > flow->in_end - flow->in)
        n = flow->in_end - flow->in;
    if (n > 0) {
        memcpy(flow->out, flow->in, (size_t)n);
        flow->in += n;
        flow->out += n;
        f->consumed += n;
        f->left -= (int32_t)n;
    }
    if (f->left == 0)
        f->state = AT_BLOCK;
    return f->left == 0;
}

static int inflate_step(inflate_t *f, flow_t *flow)
{
    switch (f->state) {
    case AT_BLOCK:
        return inflate_start(f, flow);
    case AT_STORED:
        return inflate_stored(f, flow);
    case IN_STORED:
        return inflate_copy(f, flow);
    case AT_COUNTS:
        return inflate_counts(f, flow);
    case AT_LISTING:
        return inflate_listing(f, flow);
    case AT_LENGTHS:
        return inflate_lengths(f, flow);
    case IN_MATCH:
        copy_match(f, flow);
        if (f->left == 0)
            f->state = IN_BLOCK;
        return f->left == 0;
    default:
        if (!inflate_fast(f, flow))
            return -1;
        return f->state != IN_BLOCK || flow->out == flow->out_end ? f->state != IN_BLOCK : inflate_symbol(f, flow);
    }
}

/* Keep the last 32 KiB for matches of the next call. */
static void keep_window(inflate_t *f, const uint8_t *content, int64_t n)
{
    int64_t older = n < WINDOW ? WINDOW - n : 0, fresh = WINDOW - older;
    if (n == 0)
        return;
    memmove(f->window, f->window + fresh, (size_t)older);
    memcpy(f->window + older, content + n - fresh, (size_t)fresh);
    f->kept = f->kept + fresh > WINDOW ? WINDOW : (int32_t)(f->kept + fresh);
    f->content += n;
}

EXPORT int64_t dib_inflate_new(void)
{
    return (int64_t)(intptr_t)calloc(1, sizeof(inflate_t));
}

EXPORT int64_t dib_inflate_free(void *handle)
{
    if (handle)
        free(((inflate_t *)handle)->marks.items);
    free(handle);
    return 0;
}

/* Decode n bytes of a body into out; return how many bytes of content that gave.
 *
 * told: bytes of in that were read, 1 if the stream has ended, if so the bytes of the body in all, and the tokens of
 * the first block so far (of a stored one its bytes). Of what is read behind the end nothing
 * counts: the caller goes by the third. Call again with the rest of the input, with none of it if the room was filled. */
EXPORT int64_t dib_inflate_run(void *handle, const uint8_t *in, int64_t n, uint8_t *out, int64_t room, int64_t *told)
{
    inflate_t *f = handle;
    flow_t flow = {in, in + n, out, out, out + room};
    int result = 1;
    while (result > 0 && f->state != AT_END)
        result = inflate_step(f, &flow);
    if (result < 0)
        return result;
    keep_window(f, out, flow.out - out);
    told[0] = flow.in - in;
    told[1] = f->state == AT_END;
    told[2] = f->consumed;
    told[3] = f->blocks == 2 ? f->first : f->content - f->matched;
    return flow.out - out;
}

EXPORT int64_t dib_inflate_marks(void *handle, int64_t *out, int64_t most)
{
    return marks_take(&((inflate_t *)handle)->marks, out, most);
}

/* ---------------------------------------------------------------- runs of bits */

/* Up to 56 bits of data from a bit on; end is where data ends. */
static inline uint64_t bits_at(const uint8_t *data, int64_t end, int64_t bit, int count)
{
    int64_t byte = bit >> 3;
    uint64_t value = 0;
    if (byte + 8 <= end)
        value = load64(data + byte);
    else
        for (int64_t i = byte; i < end; i++)
            value |= (uint64_t)data[i] << 8 * (i - byte);
    return value >> (bit & 7) & (((uint64_t)1 << count) - 1);
}

/* How many of n bits are the same in a from a_bit on and in b from b_bit on. */
EXPORT int64_t dib_bits_same(const uint8_t *a, int64_t a_bit, const uint8_t *b, int64_t b_bit, int64_t n)
{
    int64_t a_end = (a_bit + n + 7) >> 3, b_end = (b_bit + n + 7) >> 3, done = 0;
    while (done < n) {
        int piece = n - done < 56 ? (int)(n - done) : 56;
        uint64_t other = bits_at(a, a_end, a_bit + done, piece) ^ bits_at(b, b_end, b_bit + done, piece);
        if (other)
            return done + __builtin_ctzll(other);
        done += piece;
    }
    return n;
}

/* Copy n bits of in from in_bit on to out from out_bit on; the bits of out's byte before out_bit stay, those behind become 0. */
EXPORT int64_t dib_bits_copy(uint8_t *out, int64_t out_bit, const uint8_t *in, int64_t in_bit, int64_t n)
{
    int64_t in_end = (in_bit + n + 7) >> 3;
    uint8_t *to = out + (out_bit >> 3);
    int count = (int)(out_bit & 7);
    uint64_t bits = count ? *to & ((1u << count) - 1) : 0;
    for (int64_t done = 0; done < n;) {
        int piece = n - done < 48 ? (int)(n - done) : 48;
        bits |= bits_at(in, in_end, in_bit + done, piece) << count;
        count += piece;
        done += piece;
        for (; count >= 8; count -= 8, bits >>= 8)
            *to++ = (uint8_t)bits;
    }
    if (count)
        *to = (uint8_t)bits;
    return n;
}

/* Literals in a Huffman code (RFC 8878, 4.2). The rules that choose the code are the same as in klauspost/compress,
 * huff0 (NOTICE). */
#include "zstd.h"

#define MOST_BITS 11
#define NONE (-1)

typedef struct {
    uint32_t count;
    int parent, symbol, length;
} node_t;

/* If lengths of the rarest symbols exceed `limit`, reduce these lengths. Nodes are ordered by frequency, with the most
 * frequent node first; `last` is the rarest node. */
static int limit_lengths(node_t *node, int last, int limit)
{
    int largest = node[last].length, n = last;
    if (largest <= limit)
        return largest;
    int32_t owed = 0;
    for (; node[n].length > limit; n--) {
        owed += (1 << (largest - limit)) - (1 << (largest - node[n].length));
        node[n].length = limit;
    }
    while (node[n].length == limit)
        n--;
    owed >>= largest - limit;

    int lasts[MOST_BITS + 2]; /* for each number of bits: the rarest symbol whose length is this many bits below the limit */
    for (int i = 0; i < MOST_BITS + 2; i++)
        lasts[i] = NONE;
    for (int i = n, length = limit; i >= 0; i--)
        if (node[i].length < length) {
            length = node[i].length;
            lasts[limit - length] = i;
        }
    while (owed > 0) {
        int by = (int)highest((uint32_t)owed) + 1;
        for (; by > 1; by--) {
            int high = lasts[by], low = lasts[by - 1];
            if (high == NONE)
                continue;
            if (low == NONE || node[high].count <= 2 * node[low].count)
                break;
        }
        while (by <= MOST_BITS && lasts[by] == NONE)
            by++;
        owed -= 1 << (by - 1);
        if (lasts[by - 1] == NONE)
            lasts[by - 1] = lasts[by];
        node[lasts[by]].length++;
        if (lasts[by] == 0)
            lasts[by] = NONE;
        else if (node[--lasts[by]].length != limit - by)
            lasts[by] = NONE;
    }
    for (; owed < 0; owed++) {
        if (lasts[1] == NONE) {
            while (node[n].length == limit)
                n--;
            lasts[1] = n + 1;
        } else {
            lasts[1]++;
        }
        node[lasts[1]].length--;
    }
    return limit;
}

/* Build a code for `counts`; at least two counts are not 0. Return the greatest length. */
static int make_code(huffman_t *code, const uint32_t *counts, int symbols, int32_t n)
{
    node_t node[512];
    int leaves = 0, most;
    uint32_t least = highest((uint32_t)n) + 1, by_symbols = highest((uint32_t)symbols - 1) + 2;
    uint32_t log = MOST_BITS, by_size = (highest((uint32_t)n - 1) - 1) & 255;
    if (by_symbols < least)
        least = by_symbols;
    if (by_size < log)
        log = by_size;
    if (least > log)
        log = least;
    log = log < 5 ? 5 : log > MOST_BITS ? MOST_BITS : log;

    /* sort by frequency, the most frequent symbol first, then by the symbol's number */
    for (int i = 0; i < symbols; i++) {
        if (counts[i] == 0)
            continue;
        int at = leaves++;
        for (; at > 0 && node[at - 1].count < counts[i]; at--)
            node[at] = node[at - 1];
        node[at] = (node_t){counts[i], 0, i, 0};
    }
    int leaf = leaves - 1, inner = leaves, root = 2 * leaves - 2;
    for (int made = leaves; made <= root; made++) {
        uint32_t sum = 0;
        for (int i = 0; i < 2; i++) {
            int is_leaf = leaf >= 0 && (inner >= made || node[leaf].count < node[inner].count);
            int taken = is_leaf ? leaf-- : inner++;
            node[taken].parent = made;
            sum += node[taken].count;
        }
        node[made] = (node_t){sum, 0, 0, 0};
    }
    for (int i = root - 1; i >= 0; i--)
        node[i].length = node[node[i].parent].length + 1;
    most = limit_lengths(node, leaves - 1, (int)log);

    uint32_t ranks[MOST_BITS + 2] = {0}, next[MOST_BITS + 2] = {0}, value = 0;
    memset(code, 0, sizeof *code);
    code->symbols = symbols;
    for (int i = 0; i < leaves; i++) {
        code->length[node[i].symbol] = (uint8_t)node[i].length;
        ranks[node[i].length]++;
    }
    for (int length = most; length > 0; length--) {
        next[length] = value;
        value = (value + ranks[length]) >> 1;
    }
    for (int i = 0; i < symbols; i++)
        if (code->length[i])
            code->value[i] = (uint16_t)next[code->length[i]]++;
    return most;
}

static uint32_t coded_size(const huffman_t *code, const uint32_t *counts, int symbols)
{
    uint32_t bits = 7;
    for (int i = 0; i < symbols; i++)
        bits += code->length[i] * counts[i];
    return bits >> 3;
}

/* Write the weights in FSE; return the number of written bytes, or 0 if the encoder would not use FSE. */
static int put_weights(const uint8_t *weights, int n, uint8_t *out)
{
    uint32_t counts[16] = {0}, most = 0;
    static const uint32_t limit = 6;
    states_t t;
    memset(&t, 0, sizeof t);
    for (int i = 0; i < n; i++)
        counts[weights[i]]++;
    for (int i = 0; i < 16; i++) {
        if (counts[i])
            t.symbols = i + 1;
        if (counts[i] > most)
            most = counts[i];
    }
    if (n <= 2 || most == (uint32_t)n || most == 1 || most < (uint32_t)n >> 7)
        return 0;
    uint32_t log = limit, least = highest((uint32_t)n - 1) + 1, by_symbols = highest((uint32_t)t.symbols - 1) + 2;
    uint32_t by_size = (highest((uint32_t)n - 1) - 2) & 255;
    if (by_symbols < least)
        least = by_symbols;
    if (by_size < log)
        log = by_size;
    if (least > log)
        log = least;
    t.log = log < 5 ? 5 : (int)log;
    if (!share_out(&t, counts, (uint32_t)n))
        return 0;
    bits_t b = {put_shares(&t, out), 0, 0};
    uint32_t state[2];
    /* two states alternate; if n is odd, the last weight belongs to the first state */
    int at = n - 1, turn = (n & 1) ^ 1;
    state[turn] = first_state(&t, weights[at--]);
    state[turn ^ 1] = first_state(&t, weights[at--]);
    for (; at >= 0; at--, turn ^= 1)
        put_state(&b, &t, &state[turn], weights[at]);
    put(&b, state[1] & ((1u << t.log) - 1), (uint32_t)t.log);
    put(&b, state[0] & ((1u << t.log) - 1), (uint32_t)t.log);
    int size = (int)(put_end(&b) - out);
    return size < n ? size : 0;
}

/* Write the lengths of a code; return the number of bytes, or 0 if the lengths cannot be written. */
static int put_code(const huffman_t *code, int most, uint8_t *out)
{
    uint8_t weights[257] = {0};
    int n = code->symbols - 1;
    for (int i = 0; i < n; i++)
        weights[i] = code->length[i] ? (uint8_t)(most + 1 - code->length[i]) : 0;
    if (n >= 2) {
        int size = put_weights(weights, n, out + 1);
        if (size && size < code->symbols >> 1) {
            out[0] = (uint8_t)size;
            return size + 1;
        }
    }
    if (n > 128)
        return 0;
    out[0] = (uint8_t)(128 | (n - 1));
    weights[n] = 0;
    for (int i = 0; i < n; i += 2)
        out[1 + i / 2] = (uint8_t)(weights[i] << 4 | weights[i + 1]);
    return 1 + (n + 1) / 2;
}

/* Write bytes in reverse order; return the end of the output. */
static uint8_t *put_stream(const huffman_t *code, const uint8_t *in, int32_t n, uint8_t *out)
{
    bits_t b = {out, 0, 0};
    for (int32_t i = n - 1; i >= 0; i--)
        put(&b, code->value[in[i]], code->length[in[i]]);
    return put_end(&b);
}

/* Write literals in one stream if there are fewer than 1,024, otherwise in four streams; return their size. */
static int32_t put_streams(const huffman_t *code, const uint8_t *in, int32_t n, uint8_t *out)
{
    if (n < 1024)
        return (int32_t)(put_stream(code, in, n, out) - out);
    int32_t part = (n + 3) / 4;
    uint8_t *at = out + 6;
    for (int i = 0; i < 4; i++) {
        uint8_t *end = put_stream(code, in + i * part, i < 3 ? part : n - 3 * part, at);
        if (i < 3) {
            out[2 * i] = (uint8_t)(end - at);
            out[2 * i + 1] = (uint8_t)((end - at) >> 8);
        }
        at = end;
    }
    return (int32_t)(at - out);
}

/* Write `n` > 16 literals without a header, with a new code or the previous code; return the kind of literals. If no
 * code saves more than it costs, write nothing, and return RAW or RUN. */
int put_coded(literals_t *state, const uint8_t *in, int32_t n, uint8_t *out, int32_t *size)
{
    uint32_t counts[256] = {0}, most = 0;
    int symbols = 0, can_repeat = state->may_repeat && state->code.symbols;
    int32_t wanted = n - (n >> 4);
    if (!state->may_repeat)
        state->code.symbols = 0;
    for (int32_t i = 0; i < n; i++)
        counts[in[i]]++;
    for (int i = 0; i < 256; i++) {
        if (!counts[i])
            continue;
        if (counts[i] > most)
            most = counts[i];
        symbols = i + 1;
        can_repeat &= i < state->code.symbols && state->code.length[i];
    }
    if (most == (uint32_t)n)
        return RUN;
    if (most == 1 || most < (uint32_t)n >> 7)
        return RAW;
    huffman_t code;
    int longest = make_code(&code, counts, symbols, n);
    if (can_repeat) {
        uint32_t old = coded_size(&state->code, counts, symbols);
        if (old <= coded_size(&code, counts, symbols) || 12 >= wanted) {
            *size = put_streams(&state->code, in, n, out);
            return *size >= wanted ? RAW : REPEATED;
        }
    }
    int head = put_code(&code, longest, out);
    if (!head)
        return RAW;
    *size = head + put_streams(&code, in, n, out + head);
    if (*size >= wanted)
        return RAW;
    state->code = code;
    return CODED;
}

/* Blocks: headers of dynamic blocks, and bodies. */
#include "deflate.h"

const uint8_t LISTING_ORDER[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

/* Append the run-length form of `lengths`: code 16 repeats the previous length 3 to 6 times; codes 17 and 18 are runs
 * of zeros. */
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

/* Lay out the header for the first `literals` literals and the first `distances` distances of a code. In Go, a run may
 * span both alphabets; in all other encoders, a run ends with its alphabet. */
void make_header(header_t *h, const code_t *code, int literals, int distances, int one_run, lengths_of *build)
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

void put_header(sink_t *s, const header_t *h, int last)
{
    uint32_t codes[19];
    put_start(s, DYNAMIC, last);
    if (!sink_grow(s, 568)) /* 14 + 19 * 3 bits; for each of 316 items, up to 7 bits for the symbol and up to 7 extra bits */
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

void put_end(sink_t *s, const code_t *code)
{
    uint32_t codes[288];
    if (!sink_grow(s, 4)) /* a code of 15 bits, up to 7 pending bits, and padding */
        return;
    assign_codes(code->literal, 288, codes);
    put(s, codes[END_OF_BLOCK] >> 8, (int)(codes[END_OF_BLOCK] & 255));
}

void put_tokens(sink_t *s, const uint32_t *tokens, int64_t n, const code_t *code)
{
    uint32_t literals[288], distances[32], lengths[256];
    if (!sink_grow(s, 6 * n + 1)) /* at most 15 + 5 + 15 + 13 bits for each token */
        return;
    assign_codes(code->literal, 288, literals);
    assign_codes(code->distance, 32, distances);
    for (uint32_t i = 0; i < 256; i++) { /* a length's code, followed by its extra bits */
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

void put_literals(sink_t *s, const uint8_t *content, int64_t n, const code_t *code)
{
    uint32_t literals[288];
    if (!sink_grow(s, 2 * n + 1))
        return;
    assign_codes(code->literal, 288, literals);
    for (int64_t i = 0; i < n; i++)
        put(s, literals[content[i]] >> 8, (int)(literals[content[i]] & 255));
}

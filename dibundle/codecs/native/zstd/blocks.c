/* Blocks: literals and sequences with their tables are made from the matcher's results (RFC 8878, 3.1.1.2 and 3.1.1.3).
 * The rules that choose tables and raw blocks are the same as in klauspost/compress, zstd (NOTICE). */
#include "zstd.h"

enum { BLOCK_RAW = 0, BLOCK_RUN = 1, BLOCK_CODED = 2 };
enum { LITERALS = 0, OFFSETS = 1, LENGTHS = 2 };
enum { PREDEFINED = 0, ONE_SYMBOL = 1, NEW = 2, REPEAT = 3 };

const uint8_t LITERAL_BITS[36] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  0,  1,  1,
                                  1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
const uint8_t LENGTH_BITS[53] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  0,  0,  0,
                                 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

/* The lowest codes of numbers (RFC 8878, 3.1.1.3.2.1.1) are exact values; then come ranges of growing size, then powers
 * of two. */
int literals_code(uint32_t n)
{
    static const uint8_t CODES[] = {16, 17, 18, 19, 20, 20, 21, 21, 22, 22, 22, 22, 23, 23, 23, 23};
    return n < 16 ? (int)n : n < 48 ? CODES[(n - 16) >> 1] : n < 64 ? 24 : (int)highest(n) + 19;
}

int length_code(uint32_t n)
{
    static const uint8_t CODES[] = {32, 33, 34, 35, 36, 36, 37, 37, 38, 38, 38, 38, 39, 39, 39, 39};
    return n < 32 ? (int)n : n < 64 ? CODES[(n - 32) >> 1] : n < 96 ? 40 + (n >= 80) : n < 128 ? 42 : (int)highest(n) + 36;
}

/* Build the predefined tables; blocks can use these tables without writing them (RFC 8878, 3.1.1.3.2.2). */
int make_defaults(states_t *defaults)
{
    static const int8_t LITERAL_SHARES[36] = {4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1,  2,  2,
                                              2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1};
    static const int8_t OFFSET_SHARES[29] = {1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1,
                                             1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1};
    static const int8_t LENGTH_SHARES[53] = {1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1,  1,  1,  1,  1,  1,  1, 1, 1, 1,
                                             1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1};
    static const int8_t *const SHARES[3] = {LITERAL_SHARES, OFFSET_SHARES, LENGTH_SHARES};
    static const int SYMBOLS_OF[3] = {36, 29, 53}, LOGS[3] = {6, 5, 6};
    int is_good = 1;
    memset(defaults, 0, 3 * sizeof *defaults);
    for (int i = 0; i < 3; i++) {
        defaults[i].symbols = SYMBOLS_OF[i];
        defaults[i].log = LOGS[i];
        for (int n = 0; n < SYMBOLS_OF[i]; n++)
            defaults[i].share[n] = SHARES[i][n];
        is_good &= build_states(&defaults[i]);
    }
    return is_good;
}

uint8_t *put_block_head(uint8_t *out, int type, int32_t size, int last)
{
    uint32_t head = (uint32_t)size << 3 | (uint32_t)type << 1 | (uint32_t)last;
    for (int i = 0; i < 3; i++)
        out[i] = (uint8_t)(head >> 8 * i);
    return out + 3;
}

static uint8_t *put_raw(uint8_t *out, const uint8_t *content, int32_t n, int last)
{
    out = put_block_head(out, BLOCK_RAW, n, last);
    memcpy(out, content, (size_t)n);
    return out + n;
}

/* The header size of raw literals or of a single repeated byte; the next function handles coded literals. */
static int plain_head(int32_t n)
{
    return n < 16 ? 1 : n < 2048 ? 2 : 3; /* for sizes of 16 to 31, the encoder writes two bytes, although one byte would be enough */
}

static int coded_head(int32_t n, int32_t size)
{
    return n < 1024 && size < 1024 ? 3 : n < 16384 && size < 16384 ? 4 : 5;
}

static uint8_t *put_head(uint8_t *out, uint64_t head, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *out++ = (uint8_t)(head >> 8 * i);
    return out;
}

static uint8_t *put_plain_head(uint8_t *out, int type, int32_t n)
{
    int bytes = plain_head(n);
    uint64_t format = bytes == 1 ? 0 : bytes == 2 ? 1 : 3;
    return put_head(out, (uint64_t)type | format << 2 | (uint64_t)n << (bytes == 1 ? 3 : 4), bytes);
}

static uint8_t *put_coded_head(uint8_t *out, int type, int32_t n, int32_t size)
{
    int bytes = coded_head(n, size), width = bytes == 3 ? 10 : bytes == 4 ? 14 : 18;
    uint64_t format = bytes == 3 ? 0 : bytes == 4 ? 2 : 3; /* 0: a header of three bytes, and one stream */
    return put_head(out, (uint64_t)type | format << 2 | (uint64_t)n << 4 | (uint64_t)size << (4 + width), bytes);
}

/* A block without sequences: raw bytes, one repeated byte, or coded literals. */
static uint8_t *put_bytes(encoder_t *e, const uint8_t *in, int32_t n, int last, uint8_t *out)
{
    int32_t size = 0;
    int type = RAW;
    int is_coded = e->encoder == KLAUSPOST_15 ? n > 32 && e->level >= DEFAULT : n >= 32 && e->level >= BETTER;
    if (is_coded)
        type = put_coded(&e->huffman, in, n, out + 8, &size);
    if (type >= CODED && e->encoder != KLAUSPOST_15 && size + 5 > n && size + coded_head(n, size) >= n)
        type = RAW;
    if (type == RAW)
        return put_raw(out, in, n, last);
    if (type == RUN) {
        out = put_block_head(out, BLOCK_RUN, n, last);
        *out++ = in[0];
        return out;
    }
    e->huffman.may_repeat = 1;
    int head = coded_head(n, size);
    memmove(out + 3 + head, out + 8, (size_t)size);
    put_block_head(out, BLOCK_CODED, size + head + 1, last);
    put_coded_head(out + 3, type, n, size);
    out[3 + head + size] = 0;
    return out + 3 + head + size + 1;
}

static uint8_t *put_literal_section(encoder_t *e, uint8_t *out)
{
    const uint8_t *in = e->literals;
    int32_t n = e->literal_count, size = 0;
    int type = n > (e->encoder == KLAUSPOST_15 ? 32 : 16) ? put_coded(&e->huffman, in, n, out + 5, &size) : RAW;
    if (type >= CODED && e->encoder != KLAUSPOST_15 && size + 5 > n && size + coded_head(n, size) >= n + plain_head(n))
        type = RAW;
    if (type == RAW) {
        out = put_plain_head(out, RAW, n);
        memcpy(out, in, (size_t)n);
        return out + n;
    }
    if (type == RUN) {
        out = put_plain_head(out, RUN, n);
        *out++ = in[0];
        return out;
    }
    e->huffman.may_repeat = 1;
    int head = coded_head(n, size);
    memmove(out + head, out + 5, (size_t)size);
    put_coded_head(out, type, n, size);
    return out + head + size;
}

/* Build the table of an alphabet from its counts, choose the new or an older table, and return the mode; -1 on failure. */
static int choose(alphabet_t *a, const states_t *preset, int symbols, uint32_t total, int weighs_heads, const states_t **taken)
{
    states_t *own = &a->tables[a->current], *before = &a->tables[a->current ^ 1];
    uint32_t most = 0;
    for (int i = 0; i < symbols; i++)
        if (a->counts[i] > most)
            most = a->counts[i];
    own->symbols = symbols;
    *taken = own;
    if (most == total) {
        own->run = 1;
        own->log = 0;
        return ONE_SYMBOL;
    }
    uint32_t log = 8, least = highest(total) + 1, by_symbols = highest((uint32_t)symbols - 1) + 2;
    uint32_t by_size = (highest(total - 1) - 2) & 255;
    if (by_symbols < least)
        least = by_symbols;
    if (by_size < log)
        log = by_size;
    if (least > log)
        log = least;
    own->log = log < 5 ? 5 : log > 8 ? 8 : (int)log;
    if (!share_out(own, a->counts, total))
        return -1;
    uint32_t cost = state_cost(own, a->counts, symbols) + ((((uint32_t)symbols * (uint32_t)own->log) >> 3) + 3) * 8;
    uint32_t by_preset = state_cost(preset, a->counts, symbols), by_before = state_cost(before, a->counts, symbols);
    cost += (cost + 2 * 8 * 16) >> 4;
    uint32_t beside_before = cost;
    /* also count the bits of the first states; for comparison with the previous table, use the real size of the new
     * shares */
    if (weighs_heads) {
        if (by_before != 0xFFFFFFFFu) {
            uint8_t shares[SYMBOLS * 2 + 8];
            beside_before = state_cost(own, a->counts, symbols) + (uint32_t)(put_shares(own, shares) - shares) * 8;
            by_before += (uint32_t)before->log;
        }
        if (by_preset != 0xFFFFFFFFu)
            by_preset += (uint32_t)preset->log;
        cost += (uint32_t)own->log;
        beside_before += (uint32_t)own->log;
    }
    if (by_preset <= by_before && by_preset <= cost) {
        *taken = preset;
        return PREDEFINED;
    }
    if (by_before <= beside_before) {
        *taken = before;
        return REPEAT;
    }
    return NEW;
}

static int code_of(int alphabet, const sequence_t *s)
{
    return alphabet == LITERALS ? literals_code(s->literals)
           : alphabet == OFFSETS ? (int)highest(s->offset)
                                 : length_code(s->length);
}

static uint8_t *put_sequences(encoder_t *e, uint8_t *out, int how[3])
{
    static const int SHIFT[3] = {6, 4, 2};
    const states_t *taken[3];
    int32_t n = e->sequence_count;
    if (n < 128) {
        *out++ = (uint8_t)n;
    } else if (n < 0x7f00) {
        *out++ = (uint8_t)(128 + (n >> 8));
        *out++ = (uint8_t)n;
    } else {
        *out++ = 255;
        *out++ = (uint8_t)(n - 0x7f00);
        *out++ = (uint8_t)((n - 0x7f00) >> 8);
    }
    *out = 0;
    for (int i = 0; i < 3; i++) {
        alphabet_t *a = &e->alphabets[i];
        int symbols = 0;
        memset(a->counts, 0, sizeof a->counts);
        for (int32_t k = 0; k < n; k++) {
            int code = code_of(i, &e->sequences[k]);
            assert(code >= 0 && code < SYMBOLS);
            a->counts[code]++;
            if (code >= symbols)
                symbols = code + 1;
        }
        how[i] = choose(a, &e->defaults[i], symbols, (uint32_t)n, e->encoder == KLAUSPOST_20, &taken[i]);
        if (how[i] < 0)
            return NULL;
        *out |= (uint8_t)(how[i] << SHIFT[i]);
    }
    out++;
    for (int i = 0; i < 3; i++) {
        if (how[i] == ONE_SYMBOL)
            *out++ = (uint8_t)code_of(i, e->sequences);
        else if (how[i] == NEW)
            out = put_shares(taken[i], out);
    }
    bits_t b = {out, 0, 0};
    uint32_t state[3];
    for (int32_t k = n - 1; k >= 0; k--) {
        const sequence_t *s = &e->sequences[k];
        int codes[3] = {literals_code(s->literals), (int)highest(s->offset), length_code(s->length)};
        static const int ORDER[3] = {OFFSETS, LENGTHS, LITERALS};
        for (int i = 0; i < 3; i++) {
            int which = ORDER[i];
            if (k == n - 1)
                state[which] = first_state(taken[which], codes[which]);
            else
                put_state(&b, taken[which], &state[which], codes[which]);
        }
        uint32_t width = LITERAL_BITS[codes[LITERALS]];
        put(&b, s->literals & ((1u << width) - 1), width);
        width = LENGTH_BITS[codes[LENGTHS]];
        put(&b, s->length & ((1u << width) - 1), width);
        width = (uint32_t)codes[OFFSETS];
        put(&b, s->offset & ((1u << width) - 1), width);
    }
    put(&b, state[LENGTHS] & ((1u << taken[LENGTHS]->log) - 1), (uint32_t)taken[LENGTHS]->log);
    put(&b, state[OFFSETS] & ((1u << taken[OFFSETS]->log) - 1), (uint32_t)taken[OFFSETS]->log);
    put(&b, state[LITERALS] & ((1u << taken[LITERALS]->log) - 1), (uint32_t)taken[LITERALS]->log);
    return put_end(&b);
}

/* Write a block of `n` > 0 bytes of content with the matcher's results; return its size, or -1 on failure. */
int64_t put_block(encoder_t *e, const uint8_t *content, int32_t n, int last, uint8_t *out)
{
    int is_older = e->encoder == KLAUSPOST_15;
    if (is_older && e->sequence_count == 0 && n == e->block)
        return put_raw(out, content, n, last) - out;
    if (e->sequence_count == 0)
        return put_bytes(e, e->literals, e->literal_count, last, out) - out;
    const sequence_t *first = e->sequences;
    if (!is_older && e->sequence_count == 1 && e->literal_count <= 1 && first->literals == (uint32_t)e->literal_count && first->offset == 4) {
        uint8_t *end = put_block_head(out, BLOCK_RUN, (int32_t)(first->length + SHORTEST + first->literals), last);
        *end++ = content[0];
        return end - out;
    }
    if (n - e->literal_count - (n >> (is_older ? 5 : 6)) < 16)
        return put_bytes(e, content, n, last, out) - out;
    int how[3];
    uint8_t *end = put_sequences(e, put_literal_section(e, out + 3), how);
    if (!end)
        return -1;
    if (end - out - 3 >= n) {
        e->huffman.may_repeat = 0;
        return put_raw(out, content, n, last) - out;
    }
    put_block_head(out, BLOCK_CODED, (int32_t)(end - out - 3), last);
    for (int i = 0; i < 3; i++) {
        alphabet_t *a = &e->alphabets[i];
        if (how[i] == NEW || how[i] == ONE_SYMBOL)
            a->current ^= 1;
        else if (how[i] == PREDEFINED)
            a->tables[a->current ^ 1].symbols = 0;
    }
    return end - out;
}

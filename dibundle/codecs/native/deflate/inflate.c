/* An inflater that reports where blocks start. */
#include "deflate.h"

/* Table entries: bits 0-5: total size of symbol and extra bits; bits 8-11: size of the code; bits 16-31: value. */
#define IS_LITERAL 0x1000u
#define IS_END 0x2000u
/* the value is the start of a second table; bits 0-5 are the number of bits that index this second table */
#define IS_LINK 0x4000u
#define IS_BAD 0x8000u

#define LITERAL_BITS 11
#define DISTANCE_BITS 8
/* A code word that is longer than LITERAL_BITS or DISTANCE_BITS needs a second table, one for each beginning. A complete
 * code has at most 144 such beginnings of 11 bits, or 16 of 8 bits, because at least two words share each of them. */
#define LITERAL_ENTRIES ((1 << 11) + 144 * 16)
#define DISTANCE_ENTRIES ((1 << 8) + 16 * 128)

enum { AT_BLOCK, AT_STORED, IN_STORED, AT_COUNTS, AT_LISTING, AT_LENGTHS, IN_BLOCK, IN_MATCH, AT_END };

typedef struct {
    uint64_t bits;
    int count;        /* available bits */
    int64_t consumed; /* number of bytes that were moved into `bits` */
    int state, last, is_fixed; /* is_fixed: whether the tables are for the fixed codes */
    int32_t left;              /* number of remaining bytes of a stored block or of a match */
    int32_t distance;          /* of the match */
    int literals, distances, listed, known; /* the block header that is being read */
    int64_t content;                        /* number of bytes of content returned so far */
    int64_t matched;                        /* in the first block: the total bytes of matches, minus the number of matches */
    int64_t first;                          /* number of tokens in the first block; this is set when the second block starts */
    int blocks;                             /* number of blocks that have begun; 2 means two or more */
    /* number of valid bytes in the window; the latest byte is at the window's end */
    int32_t kept;
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

/* Fill a table that is indexed by the next `first` bits; return 0 if zlib refuses the lengths. A complete code is
 * accepted. If `strict` is not set, two more cases are accepted: no symbols at all, and a single symbol whose code has
 * length 1. */
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

/* Return the base of a length or distance, plus the value of its extra bits. */
static inline int32_t value_of(uint32_t entry, uint64_t bits)
{
    int code = (int)(entry >> 8 & 15), all = (int)(entry & 63);
    return (int32_t)((entry >> 16) + (uint32_t)((bits & (((uint64_t)1 << all) - 1)) >> code));
}

typedef struct {
    const uint8_t *in, *in_end;
    uint8_t *start, *out, *out_end;
} flow_t;

/* Load at least `n` bits (`n` is at most 56) if the input has as many bits. */
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

/* Copy the match of `left` bytes at `distance`, or as much as fits into the output; the window holds the content before
 * `start`. */
static void copy_match(inflate_t *f, flow_t *flow)
{
    while (f->left > 0 && flow->out < flow->out_end) {
        int64_t made = flow->out - flow->start;
        *flow->out = f->distance <= made ? flow->out[-f->distance] : f->window[WINDOW + made - f->distance];
        flow->out++;
        f->left--;
    }
}

/* Whether `distance` leads to a position before the content's start. */
static inline int too_far(const inflate_t *f, const flow_t *flow, int32_t distance)
{
    return distance > f->kept && distance > f->kept + (flow->out - flow->start);
}

/* Decode until the input's end or the output's end is near. Return 0 if there is a fault. When the block has ended, the
 * state is no longer IN_BLOCK. */
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
        /* there are enough bits for a second literal, but possibly not for a match (48 bits) */
        if (entry & IS_LITERAL) {
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
        if (count < 48) /* a literal before this symbol has used some of the bits */
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

/* Decode one symbol near the end of input or output; return 1 if done, 0 if more input is needed, -1 after a fault. */
static int inflate_symbol(inflate_t *f, flow_t *flow)
{
    want(f, flow, 48);
    uint32_t entry = lookup(f->literal, f->bits, LITERAL_BITS);
    int used = (int)(entry & 63);
    if (entry & IS_BAD)
        return f->count >= 15 ? -1 : 0; /* the code may be valid when the missing bits have arrived */
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

/* Read the lengths of both codes and build their tables; return 1 if done, 0 for more input, -1 after a fault. */
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

/* Read a block's header, as far as its type requires; return 1 if done, 0 for more input, -1 after a fault. */
static int inflate_start(inflate_t *f, flow_t *flow)
{
    if (f->last) {
        f->consumed -= f->count >> 3; /* unread whole bytes after the body's end do not belong to the body */
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
    while (f->left > 0 && f->count > 0 && flow->out < flow->out_end) { /* bytes that were read ahead */
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

/* Keep the last 32 KiB of content, because matches in the next call may need them. */
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

int64_t dib_inflate_new(void)
{
    return (int64_t)(intptr_t)calloc(1, sizeof(inflate_t));
}

int64_t dib_inflate_free(void *handle)
{
    if (handle)
        free(((inflate_t *)handle)->marks.items);
    free(handle);
    return 0;
}

/* Decode `n` bytes of a body into `out`; return how many bytes of content were written. `told` receives four numbers:
 * the bytes of `in` that were read; 1 if the stream has ended; the bytes of the whole body; and the tokens of the first
 * block so far. If the first block is stored, the last number is the block's size in bytes. Bytes after the end of the
 * stream count in the first number, but not in the third. Call this function again with the remaining input. If `out`
 * is full after a call, call this function again without input. */
int64_t dib_inflate_run(void *handle, const uint8_t *in, int64_t n, uint8_t *out, int64_t room, int64_t *told)
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

int64_t dib_inflate_marks(void *handle, int64_t *out, int64_t most)
{
    return marks_take(&((inflate_t *)handle)->marks, out, most);
}

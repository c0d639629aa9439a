/* FSE: the shares of symbols, the states for these shares, and the encoding of both (RFC 8878, 4.1). The rules that
 * choose shares are the same as in klauspost/compress, fse and zstd (NOTICE), and in FiniteStateEntropy. */
#include "zstd.h"

static const uint32_t BEAT[8] = {0, 473195, 504333, 520860, 550000, 700000, 750000, 830000};

/* If the rounded shares exceed the sum 1 << log, distribute this sum again; the rarest symbols get 1 each. Return 0 on
 * failure. */
static int share_again(states_t *t, const uint32_t *counts, uint32_t total)
{
    enum { OPEN = -2 };
    uint32_t given = 0, low = total >> t->log, one = (total * 3) >> (t->log + 1), left = total;
    for (int i = 0; i < t->symbols; i++) {
        int16_t share = counts[i] == 0 ? 0 : counts[i] <= low ? -1 : counts[i] <= one ? 1 : OPEN;
        t->share[i] = share;
        if (share == -1 || share == 1) {
            given++;
            left -= counts[i];
        }
    }
    uint32_t rest = (1u << t->log) - given;
    if (rest == 0 || rest > 1u << t->log)
        return 0;
    if (left / rest > one) {
        one = (left * 3) / (rest * 2);
        for (int i = 0; i < t->symbols; i++)
            if (t->share[i] == OPEN && counts[i] <= one) {
                t->share[i] = 1;
                given++;
                left -= counts[i];
            }
        rest = (1u << t->log) - given;
    }
    if (left == 0) {
        int any = 0;
        for (int i = 0; i < t->symbols; i++)
            any |= t->share[i] > 0;
        for (int i = 0; any && rest > 0; i = (i + 1) % t->symbols)
            if (t->share[i] > 0) {
                rest--;
                t->share[i]++;
            }
        return any;
    }
    int shift = 62 - t->log;
    uint64_t half = ((uint64_t)1 << (shift - 1)) - 1;
    uint64_t step = (((uint64_t)1 << shift) * rest + half) / left, sum = half;
    for (int i = 0; i < t->symbols; i++) {
        if (t->share[i] != OPEN)
            continue;
        uint64_t end = sum + counts[i] * step;
        uint32_t share = (uint32_t)(end >> shift) - (uint32_t)(sum >> shift);
        if (share < 1)
            return 0;
        t->share[i] = (int16_t)share;
        sum = end;
    }
    return 1;
}

/* Choose shares for the `counts` of `t->symbols` symbols; their sum is 1 << `t->log`. Build the states of these shares.
 * Return 0 on failure. */
int share_out(states_t *t, const uint32_t *counts, uint32_t total)
{
    int shift = 62 - t->log, largest = 0;
    uint64_t step = ((uint64_t)1 << 62) / total, unit = (uint64_t)1 << (shift - 20);
    int32_t left = 1 << t->log, most = 0;
    uint32_t low = total >> t->log;
    t->run = 0;
    for (int i = 0; i < t->symbols; i++) {
        if (counts[i] == 0) {
            t->share[i] = 0;
        } else if (counts[i] <= low) {
            t->share[i] = -1;
            left--;
        } else {
            int32_t share = (int32_t)((counts[i] * step) >> shift);
            if (share < 8 && counts[i] * step - ((uint64_t)share << shift) > unit * BEAT[share])
                share++;
            if (share > most) {
                most = share;
                largest = i;
            }
            t->share[i] = (int16_t)share;
            left -= share;
        }
    }
    if (-left >= t->share[largest] >> 1) {
        if (!share_again(t, counts, total))
            return 0;
    } else {
        t->share[largest] = (int16_t)(t->share[largest] + left);
    }
    return build_states(t);
}

/* Build the states of shares; return 0 if the shares do not fill the table. */
int build_states(states_t *t)
{
    int size = 1 << t->log, mask = size - 1, high = size - 1, total = 0, position = 0;
    int starts[257];
    uint8_t symbols[512];
    memset(symbols, 0, sizeof symbols);
    for (int i = 0; i < t->symbols; i++) {
        starts[i] = total;
        total += t->share[i] == -1 ? 1 : t->share[i];
    }
    if (total != size)
        return 0;
    for (int i = 0; i < t->symbols; i++)
        if (t->share[i] == -1)
            symbols[high--] = (uint8_t)i;
    for (int i = 0; i < t->symbols; i++)
        for (int n = 0; n < t->share[i]; n++) {
            symbols[position] = (uint8_t)i;
            do
                position = (position + (size >> 1) + (size >> 3) + 3) & mask;
            while (position > high);
        }
    for (int i = 0, at = 0; i < t->symbols; i++) {
        int share = t->share[i];
        if (share == -1 || share == 1) {
            t->bits[i] = ((uint32_t)t->log << 16) - (uint32_t)size;
            t->first[i] = at++ - 1;
        } else if (share > 0) {
            uint32_t most = (uint32_t)t->log - highest((uint32_t)share - 1);
            t->bits[i] = (most << 16) - ((uint32_t)share << most);
            t->first[i] = at - share;
            at += share;
        }
    }
    for (int i = 0; i < size; i++)
        t->next[starts[symbols[i]]++] = (uint16_t)(size + i);
    return 1;
}

/* Write shares (RFC 8878, 4.1.1); return the end of the output. */
uint8_t *put_shares(const states_t *t, uint8_t *out)
{
    bits_t b = {out, 0, 0};
    int32_t left = (1 << t->log) + 1, threshold = 1 << t->log;
    uint32_t width = (uint32_t)t->log + 1;
    int symbol = 0, after_none = 0;
    put(&b, (uint32_t)t->log - 5, 4);
    while (left > 1 && symbol < t->symbols) {
        if (after_none) {
            int none = 0;
            while (symbol < t->symbols - 1 && t->share[symbol] == 0) {
                symbol++;
                none++;
            }
            for (; none >= 3; none -= 3)
                put(&b, 3, 2);
            put(&b, (uint32_t)none, 2);
        }
        int32_t share = t->share[symbol++], most = 2 * threshold - 1 - left;
        left -= share < 0 ? -share : share;
        share++;
        if (share >= threshold)
            share += most;
        put(&b, (uint32_t)share, share < most ? width - 1 : width);
        after_none = share == 1;
        while (left < threshold) {
            width--;
            threshold >>= 1;
        }
    }
    for (; b.count > 0; b.count -= b.count < 8 ? b.count : 8, b.bits >>= 8)
        *b.at++ = (uint8_t)b.bits;
    return b.at;
}

/* The approximate number of bits for the symbols with these states; if a symbol has no state, all bits of the result
 * are set. */
uint32_t state_cost(const states_t *t, const uint32_t *counts, int symbols)
{
    uint32_t cost = 0;
    if (t->symbols < symbols || t->run)
        return 0xFFFFFFFFu;
    for (int i = 0; i < symbols; i++) {
        if (counts[i] == 0)
            continue;
        if (t->share[i] == 0)
            return 0xFFFFFFFFu;
        uint32_t least = t->bits[i] >> 16;
        uint32_t beyond = ((least + 1) << 16) - (t->bits[i] + (1u << t->log));
        uint32_t each = (least + 1) * 256 - ((beyond << 8) >> t->log);
        if (each > (uint32_t)(t->log + 1) << 8)
            return 0xFFFFFFFFu;
        cost += counts[i] * each;
    }
    return cost >> 8;
}

/* Comparison and copies of runs of bits; a run may begin and end at any bit of a byte. */
#include "deflate.h"

/* Return up to 56 bits of `data`, from a given bit on; `end` is the end of `data`. */
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

/* Return the number of equal bits, at most `n`, in `a` from bit `a_bit` on and in `b` from bit `b_bit` on. */
int64_t dib_bits_same(const uint8_t *a, int64_t a_bit, const uint8_t *b, int64_t b_bit, int64_t n)
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

/* Copy `n` bits from `in`, from bit `in_bit` on, to `out`, from bit `out_bit` on. In the first byte of the output, bits
 * before `out_bit` are kept. In the last byte of the output, bits after the copied bits become 0. */
int64_t dib_bits_copy(uint8_t *out, int64_t out_bit, const uint8_t *in, int64_t in_bit, int64_t n)
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

/* Convert the operands of machine code in literals (codecs/relink.py, spec/relink.md). Operands become absolute, so
 * that all calls of a function are equal. The reverse conversion makes the operands relative again. */
#include "bytes.h"

enum { NO_CODE, X86_CODE, ARM_CODE };

/* Whether the bytes `before` and `byte` precede a four-byte operand that is relative to its own end. */
static inline int has_operand(uint32_t before, uint32_t byte)
{
    if ((byte | 1) == 0xE9 || (before == 0x0F && (byte & 0xF0) == 0x80)) /* call, jump, conditional jump */
        return 1;
    if ((byte & 0xC7) != 5) /* an address in memory, counted from the end of the operand */
        return 0;
    switch (before) {
    case 0x10: case 0x11: case 0x15: case 0x25: case 0x28: case 0x29: case 0x39: case 0x3B: case 0x63: case 0x6F:
    case 0x7F: case 0x80: case 0x83: case 0x89: case 0x8B: case 0x8D: case 0xC7: case 0xFF:
        return 1;
    default:
        return 0;
    }
}

/* Convert the operand that ends at `place`. A value becomes absolute if it leads into the target, which has `size`
 * bytes. Other values below `size` are moved out of the range of absolute values, so that the conversion can be undone.
 * */
static inline uint32_t turned(uint32_t word, uint32_t place, uint32_t size, int back)
{
    if (back)
        return word < size ? word - place : word + place < place ? word + size : word;
    return word + place < size ? word + place : word < size ? word - size : word;
}

static void turn_x86(uint8_t *data, int64_t length, int64_t place, uint32_t size, int back)
{
    uint32_t before = 0;
    for (int64_t i = 0; i + 5 <= length; i++) {
        uint32_t byte = data[i];
        if (has_operand(before, byte)) {
            uint8_t *s = data + i + 1;
            uint32_t word = back ? (uint32_t)s[0] << 24 | (uint32_t)s[1] << 16 | (uint32_t)s[2] << 8 | s[3] : source_word(s);
            word = turned(word, (uint32_t)(place + i + 5), size, back);
            /* the highest byte of an absolute operand is stored first, because usually only the other bytes differ */
            for (int k = 0; k < 4; k++)
                s[k] = (uint8_t)(word >> (back ? 8 * k : 24 - 8 * k));
            i += 4;
            byte = 0;
        }
        before = byte;
    }
}

static void turn_arm(uint8_t *data, int64_t length, int64_t place, int back)
{
    for (int64_t i = -place & 3; i + 4 <= length; i += 4) {
        uint8_t *s = data + i;
        uint32_t op = source_word(s), here = (uint32_t)((place + i) >> 2), by = back ? 0 - here : here;
        if ((op & 0x7C000000) == 0x14000000) { /* B, BL */
            op = (op & 0xFC000000) | ((op + by) & 0x03FFFFFF);
        } else if ((op & 0x9F000000) == 0x90000000) { /* ADRP */
            uint32_t page = (op >> 3 & 0x1FFFFC) | (op >> 29 & 3);
            page += back ? 0 - (here >> 10) : here >> 10;
            op = (op & 0x9F00001F) | (page & 3) << 29 | (page << 3 & 0xFFFFE0);
        } else {
            continue;
        }
        for (int k = 0; k < 4; k++)
            s[k] = (uint8_t)(op >> 8 * k);
    }
}

/* Convert the operands in all runs of literals, stored one after another in `data`; `machine` is the type of the code.
 * */
int64_t dib_absolute(uint8_t *data, const cover_t *covers, int64_t count, int64_t target_size, int64_t machine, int64_t back)
{
    int64_t end = 0;
    for (int64_t k = 0; k <= count; k++) {
        int64_t start = k < count ? covers[k].target : target_size, length = start - end;
        if (machine == X86_CODE)
            turn_x86(data, length, end, (uint32_t)target_size, back != 0);
        else if (machine == ARM_CODE)
            turn_arm(data, length, end, back != 0);
        data += length;
        if (k < count)
            end = start + covers[k].length;
    }
    return 0;
}

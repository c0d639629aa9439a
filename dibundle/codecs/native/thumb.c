/* Code for 32-bit ARM in Thumb (spec/relink.md): calls, and distances in literal pools. A distance counts from the ADD
 * instruction that uses it. */
#include "walk.h"

static inline uint32_t half(const uint8_t *s)
{
    return s[0] | (uint32_t)s[1] << 8;
}

/* Return the distance of BL, BLX and B.W in bytes; the upper half of `op` is the second half of the instruction. */
static inline int64_t branch_of(uint32_t op)
{
    uint32_t s = op >> 10 & 1, j1 = op >> 29 & 1, j2 = op >> 27 & 1;
    uint32_t far = s << 24 | (~(j1 ^ s) & 1) << 23 | (~(j2 ^ s) & 1) << 22 | (op & 0x3FF) << 12 | (op >> 16 & 0x7FF) << 1;
    return (int64_t)(far ^ 0x1000000) - 0x1000000;
}

static inline uint32_t with_branch(uint32_t op, uint32_t far)
{
    uint32_t s = far >> 24 & 1, j1 = ~(far >> 23 ^ s) & 1, j2 = ~(far >> 22 ^ s) & 1;
    return (op & 0xD000F800u) | s << 10 | (far >> 12 & 0x3FF) | j1 << 29 | j2 << 27 | (far >> 1 & 0x7FF) << 16;
}

static inline int is_branch(uint32_t op)
{
    uint32_t second = op >> 16 & 0xD000;
    return (op & 0xF800) == 0xF000 && (second == 0xD000 || second == 0x9000 || second == 0xC000);
}

static void branch(walk_t *w, const int action, int64_t i, uint32_t op)
{
    int64_t far = branch_of(op);
    uint64_t from = w->address + (uint64_t)i + 4, target;
    if ((op >> 16 & 0xD000) == 0xC000) /* the distance of BLX is relative to an aligned word */
        from &= ~(uint64_t)3;
    target = from + (uint64_t)far;
    const step_t *step = look(w->map, target);
    if (step->kind != CODE)
        return;
    if (action == RELINK) {
        uint64_t fresh = (uint64_t)far + (uint64_t)step->shift - place_shift(w, i);
        write_word(w->data + i, with_branch(op, (uint32_t)fresh));
    } else if (action == MASK) {
        write_word(w->data + i, with_branch(op, 0));
    } else {
        uint32_t now = source_word(w->other + i);
        if (with_branch(now, 0) == with_branch(op, 0))
            vote(w, target, (uint64_t)(branch_of(now) - far + w->moved));
    }
}

/* Process the word at `data[at]`. An ADD instruction adds the ADD's own address to this word. */
static void literal(walk_t *w, const int action, int64_t at, int64_t i)
{
    uint64_t from = w->address + (uint64_t)i + 4;
    uint32_t word = source_word(w->data + at);
    uint64_t target = from + (uint64_t)(int64_t)(int32_t)word;
    const step_t *step = look(w->map, target);
    if (step->kind == HOLE)
        return;
    if (step->kind == TABLE)
        mark(w, target);
    if (action == RELINK)
        write_word(w->data + at, word + (uint32_t)step->shift - (uint32_t)place_shift(w, i));
    else if (action == MASK)
        write_word(w->data + at, 0);
    else
        vote(w, target, (uint64_t)(int64_t)(int32_t)(source_word(w->other + at) - word) + (uint64_t)w->moved);
}

void walk_thumb(walk_t *w, int action)
{
    int64_t from[16], at[16]; /* for each register: the offset of the instruction that loads it, and the offset of the loaded word */
    for (int r = 0; r < 16; r++)
        from[r] = -1000;
    for (int64_t i = (int64_t)(w->address & 1), n; i + 2 <= w->size; i += n) {
        uint32_t op = half(w->data + i);
        uint64_t base = (w->address + (uint64_t)i + 4) & ~(uint64_t)3;
        n = (op & 0xF800) >= 0xE800 ? 4 : 2;
        if (i + n > w->size)
            break;
        if (n == 4)
            op = source_word(w->data + i);
        int64_t place = -1;
        uint32_t r = 0;
        if (n == 4 && is_branch(op)) {
            branch(w, action, i, op);
        } else if (n == 4 && (op & 0xFF7F) == 0xF85F) { /* LDR (literal) */
            int64_t far = op >> 16 & 0xFFF;
            r = op >> 28;
            place = (int64_t)(base - w->address) + (op & 0x80 ? far : -far);
        } else if (n == 2 && (op & 0xF800) == 0x4800) { /* LDR (literal) */
            r = op >> 8 & 7;
            place = (int64_t)(base - w->address) + (int64_t)(op & 0xFF) * 4;
        } else if (n == 2 && (op & 0xFF78) == 0x4478) { /* the ADD that adds the address */
            uint32_t to = (op & 7) | (op >> 4 & 8);
            if (i - from[to] <= 256)
                literal(w, action, at[to], i);
            from[to] = -1000;
        }
        if (place >= 0 && place + 4 <= w->size) {
            from[r] = i;
            at[r] = place;
        }
    }
}

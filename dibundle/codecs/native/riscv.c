/* Code for RISC-V: jumps and pages. AUIPC gives a page; later instructions add offsets to it (spec/relink.md). */
#include "walk.h"

/* Return `n` bits of an instruction, from bit `a` on. */
static inline uint32_t bits(uint32_t op, int a, int n)
{
    return op >> a & ((1u << n) - 1);
}

static inline int64_t low_of(uint32_t op, int store)
{
    uint32_t low = store ? bits(op, 25, 7) << 5 | bits(op, 7, 5) : bits(op, 20, 12);
    return (int64_t)(low ^ 0x800) - 0x800;
}

static inline uint32_t with_low(uint32_t op, int store, uint32_t low)
{
    return store ? (op & 0x01FFF07Fu) | (low >> 5 & 127) << 25 | (low & 31) << 7 : (op & 0xFFFFFu) | (low & 0xFFF) << 20;
}

static inline int64_t jump_of(uint32_t op)
{
    uint32_t far = bits(op, 31, 1) << 20 | bits(op, 12, 8) << 12 | bits(op, 20, 1) << 11 | bits(op, 21, 10) << 1;
    return (int64_t)(far ^ 0x100000) - 0x100000;
}

static inline uint32_t with_jump(uint32_t op, uint32_t far)
{
    return (op & 0xFFFu) | bits(far, 20, 1) << 31 | bits(far, 1, 10) << 21 | bits(far, 11, 1) << 20 | bits(far, 12, 8) << 12;
}

static inline int64_t page_of(uint32_t op)
{
    return (int64_t)(int32_t)(op & 0xFFFFF000u);
}

typedef struct { int64_t at; uint64_t page, fresh; int open, moved; } page_t; /* the content of a register */

/* Process an instruction that adds an offset to a page. */
static void add_low(walk_t *w, const int action, int64_t i, uint32_t op, int store, page_t *r)
{
    int64_t low = low_of(op, store);
    uint64_t target = r->page + (uint64_t)low;
    const step_t *step = look(w->map, target);
    if (step->kind == HOLE)
        return;
    if (step->kind == TABLE)
        mark(w, target);
    if (action == RELINK) {
        uint64_t place = w->address + (uint64_t)r->at;
        uint64_t far = target + (uint64_t)step->shift - (place + (uint64_t)look(w->map, place)->shift);
        write_word(w->data + i, with_low(op, store, (uint32_t)far));
        if (!r->moved) {
            uint32_t head = source_word(w->data + r->at);
            write_word(w->data + r->at, (head & 0xFFF) | (((uint32_t)far + 0x800u) & 0xFFFFF000u));
            r->moved = 1;
        }
    } else if (action == MASK) {
        write_word(w->data + i, with_low(op, store, 0));
    } else {
        uint32_t now = source_word(w->other + i);
        if (with_low(now, store, 0) == with_low(op, store, 0))
            vote(w, target, r->fresh + (uint64_t)low_of(now, store) - target);
    }
}

void walk_riscv(walk_t *w, int action)
{
    page_t reg[32];
    memset(reg, 0, sizeof reg);
    for (int64_t i = (int64_t)(w->address & 1), n; i + 4 <= w->size; i += n) {
        uint32_t op = source_word(w->data + i), kind = op & 127;
        n = (op & 3) == 3 ? 4 : 2;
        if (n == 2)
            continue;
        uint64_t here = w->address + (uint64_t)i;
        page_t *to = reg + bits(op, 7, 5);
        if (kind == 0x6F) { /* JAL */
            int64_t far = jump_of(op);
            const step_t *step = look(w->map, here + (uint64_t)far);
            if (step->kind == CODE) {
                if (action == RELINK)
                    write_word(w->data + i, with_jump(op, (uint32_t)((uint64_t)far + (uint64_t)step->shift - place_shift(w, i))));
                else if (action == MASK)
                    write_word(w->data + i, with_jump(op, 0));
                else if (with_jump(source_word(w->other + i), 0) == with_jump(op, 0))
                    vote(w, here + (uint64_t)far, (uint64_t)(jump_of(source_word(w->other + i)) - far + w->moved));
            }
            to->open = 0;
        } else if (kind == 0x17) { /* AUIPC */
            to->at = i;
            to->page = here + (uint64_t)page_of(op);
            to->moved = 0;
            to->open = look(w->map, to->page - 2048)->kind != HOLE || look(w->map, to->page + 2047)->kind != HOLE;
            if (action == MASK && to->open)
                write_word(w->data + i, op & 0xFFF);
            if (action == VOTE) {
                uint32_t now = source_word(w->other + i);
                to->open &= (now & 0xFFF) == (op & 0xFFF);
                to->fresh = here + (uint64_t)w->moved + (uint64_t)page_of(now);
            }
        } else {
            page_t *from = reg + bits(op, 15, 5);
            int store = kind == 0x23 || kind == 0x27, load = kind == 0x03 || kind == 0x07;
            int add = (kind == 0x13 || kind == 0x67) && bits(op, 12, 3) == 0;
            if ((store || load || add) && from->open && i - from->at <= 256)
                add_low(w, action, i, op, store, from);
            if (!store && kind != 0x63 && kind != 0x07) /* branches and FP loads set no general register */
                to->open = 0;
        }
    }
}

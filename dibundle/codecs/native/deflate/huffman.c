/* Counts of symbols, and the lengths of their codes; each program computes the lengths in its own way. */
#include "deflate.h"

void count_tokens(counts_t *counts, const uint32_t *tokens, int64_t n)
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

int64_t extra_bits(const counts_t *counts)
{
    int64_t bits = 0;
    for (int i = 8; i < 28; i++)
        bits += (int64_t)counts->literal[257 + i] * length_extra(i);
    for (int i = 4; i < DISTANCES; i++)
        bits += (int64_t)counts->distance[i] * distance_extra(i);
    return bits;
}

void fixed_code(code_t *code)
{
    memset(code->literal, 8, 288);
    memset(code->literal + 144, 9, 112);
    memset(code->literal + 256, 7, 24);
    memset(code->distance, 5, 32);
}

/* Compute the canonical codes (RFC 1951, 3.2.2) as bits << 8 | length; the bits are in the order in which they are
 * written. */
void assign_codes(const uint8_t *lengths, int n, uint32_t *codes)
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

int64_t coded_bits(const uint32_t *counts, const uint8_t *lengths, int n)
{
    int64_t bits = 0;
    for (int i = 0; i < n; i++)
        bits += (int64_t)counts[i] * lengths[i];
    return bits;
}

static int by_count(const void *a, const void *b)
{
    const leaf_t *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? -1 : 1;
    return x->symbol - y->symbol;
}

/* Package-merge as in Go: if a leaf and a package have the same weight, the package comes first. Row r has the packages
 * of row r-1 and all leaves, in order of weight. The first 2n-2 items of the highest row are selected. Each package
 * that is selected in one row selects two items in the row below. The length of a leaf's code is the number of rows in
 * which the leaf is selected. */
void merged_lengths(const uint32_t *counts, int n, int limit, uint8_t *lengths)
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

/* Compute lengths from a tree, as zlib and gzip do. If an alphabet has fewer than two symbols, symbols of weight 1 are
 * added. */
void tree_lengths(const uint32_t *counts, int n, int limit, uint8_t *lengths)
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
    for (; excess > 0; excess -= 2) { /* move one of the deepest leaves, so that it is beside a higher leaf */
        int length = limit - 1;
        while (at_length[length] == 0)
            length--;
        at_length[length]--;
        at_length[length + 1] += 2;
        at_length[limit]--;
    }
    for (int length = limit, i = 0; length >= 1; length--) /* the rarest symbols get the longest codes */
        for (int left = at_length[length]; left > 0; i++)
            if (taken[i] < n) {
                lengths[taken[i]] = (uint8_t)length;
                left--;
            }
}

/* Go's levels 4 to 9 in pieces, so that several threads can search for matches; the body stays the same. The match at a
 * position depends on the 32 KiB before this position, and on the content after this position. The match also depends
 * on whether a match at the previous byte is pending. No match is pending after a match, or after a literal at a
 * position without a match. Therefore, the search of each piece begins as if no match were pending. A search that began
 * in an earlier piece also continues into this piece. The search of the earlier pieces stops at the first position that
 * both searches reach with no match pending. From this position on, both searches would find the same matches, so the
 * two results are joined here. */
#include "go.h"

typedef struct {
    int64_t start, end;    /* start and end of the piece in the content */
    int is_last;
    uint8_t *kept;         /* the content, from `before` bytes before the piece on */
    const uint8_t *view;   /* the content that the search reads now: this piece's content, or a later piece's content */
    int64_t before, after; /* the available content */
    go_chain_t *search;    /* the state of the piece's own search; NULL: the piece is not searched in advance */
    int64_t room, next;    /* the capacity of `found` in tokens, and the number of tokens that are already joined */
} piece_t;

static int64_t reached(const go_chain_t *g)
{
    return g->origin + g->index;
}

static void piece_free(piece_t *piece)
{
    if (!piece)
        return;
    if (piece->search)
        free(piece->search->found);
    free(piece->search);
    free(piece->kept);
    free(piece);
}

/* Move content into the window. */
static void piece_fill(piece_t *piece)
{
    go_chain_t *g = piece->search;
    int64_t at = g->origin + g->end, n = 2 * WINDOW - g->end;
    if (n > piece->after - at)
        n = piece->after - at;
    if (n <= 0)
        return;
    memcpy(g->window + g->end, piece->view + (at - piece->before), (size_t)n);
    g->end += (int32_t)n;
}

/* Continue the search up to `limit` or to the end of the available content; return 0 if memory is not available. */
static int piece_search(piece_t *piece, int64_t limit)
{
    go_chain_t *g = piece->search;
    g->limit = limit;
    for (;;) {
        piece_fill(piece);
        int closing = piece->is_last && g->origin + g->end == piece->after;
        if (piece->next) {
            g->found_count -= piece->next;
            memmove(g->found, g->found + piece->next, (size_t)g->found_count * sizeof *g->found);
            piece->next = 0;
        }
        if (piece->room < g->found_count + 2 * WINDOW) {
            int64_t room = piece->room + piece->room / 2 + 2 * WINDOW;
            uint32_t *found = realloc(g->found, (size_t)room * sizeof *found);
            if (!found)
                return 0;
            g->found = found;
            piece->room = room;
        }
        go_step(g, closing);
        if (closing || reached(g) >= limit || g->end < 2 * WINDOW || g->origin + g->end == piece->after)
            return 1;
        go_slide(g);
    }
}

/* Create a piece that begins at `start`; `start` is a multiple of 32 KiB. The piece gets `n` bytes of content: `before`
 * bytes before the piece (64 KiB, or all earlier content), the piece itself, and `after` bytes after the piece.
 * `is_last`: the content ends at the piece's end, and `after` is 0. If the piece is not the last piece, `n` and `after`
 * are multiples of 32 KiB. `is_searched`: search the piece now. Return 0 if memory is not available, or if a size is
 * not allowed. */
int64_t dib_deflate_piece(int64_t level, int64_t start, const uint8_t *content, int64_t n, int64_t before, int64_t after,
                          int64_t is_last, int64_t is_searched)
{
    int64_t size = n - before - after;
    if (level < 4 || level > 9 || start < 0 || start % WINDOW || before < 0 || after < 0 || size < !!start)
        return 0;
    if (before != (start < 2 * WINDOW ? start : 2 * WINDOW) || (is_last ? after != 0 : after < WINDOW || n % WINDOW))
        return 0;
    if (start && size + after < WINDOW)
        return 0;
    piece_t *piece = calloc(1, sizeof *piece);
    if (!piece)
        return 0;
    piece->start = start;
    piece->before = start - before;
    piece->after = piece->before + n;
    piece->end = piece->after - after;
    piece->is_last = is_last != 0;
    piece->kept = malloc((size_t)n + 1);
    piece->view = piece->kept;
    if (piece->kept)
        memcpy(piece->kept, content, (size_t)n);
    int is_done = piece->kept != NULL;
    if (is_done && (is_searched || !start)) {
        go_chain_t *g = piece->search = (go_chain_t *)go_chain_new((int)level);
        is_done = g != NULL;
        if (is_done && start) {
            g->origin = start - WINDOW;
            piece_fill(piece);
            go_insert_all(g, WINDOW);
            g->index = WINDOW;
        }
        is_done = is_done && piece_search(piece, piece->end);
    }
    if (is_done)
        return (int64_t)(intptr_t)piece;
    piece_free(piece);
    return 0;
}

int64_t dib_deflate_piece_free(void *piece)
{
    piece_free(piece);
    return 0;
}

typedef struct {
    encoder_t base;
    piece_t *current;  /* the piece whose search result is being joined */
    int64_t at;        /* number of bytes of content that are joined */
    int is_held;       /* whether a match is pending at the end of the joined content */
    int64_t block_start, count;
    uint32_t tokens[BLOCK_TOKENS];
} joiner_t;

static void joiner_end_block(joiner_t *j, int64_t origin)
{
    const piece_t *piece = j->current;
    const uint8_t *raw = NULL;
    if (j->block_start >= origin && j->block_start >= piece->before)
        raw = piece->view + (j->block_start - piece->before);
    go_smallest_block(&j->base.sink, j->tokens, j->count, raw, j->at - j->block_start);
    j->block_start = j->base.sink.content = j->at;
    j->count = 0;
}

/* Return the content's offset at which the encoder's window begins during a search at a position. */
static int64_t origin_at(int64_t position)
{
    int64_t beyond = position + 262 - 2 * WINDOW;
    return beyond <= 0 ? 0 : (beyond + WINDOW - 1) / WINDOW * WINDOW;
}

static int64_t token_length(uint32_t token)
{
    return token & MATCH ? (int64_t)(token >> 15 & 0xff) + 3 : 1;
}

/* Join tokens of the current search up to `until`; return 0 if all tokens were already joined. */
static int join_until(joiner_t *j, int64_t until)
{
    piece_t *piece = j->current;
    go_chain_t *g = piece->search;
    while (j->at < until && piece->next < g->found_count) {
        uint32_t token = g->found[piece->next++];
        int64_t last = piece->is_last ? origin_at(piece->after - 262) : INT64_MAX, origin = origin_at(j->at + 1);
        j->at += token_length(token);
        j->is_held = (token & HELD) != 0;
        j->tokens[j->count++] = token & ~HELD;
        if (j->count == BLOCK_TOKENS)
            joiner_end_block(j, origin < last ? origin : last);
    }
    return j->at >= until;
}

/* Whether a piece's search reaches the joiner's position with no match pending; tokens before this position are
 * skipped. */
static int is_met(const joiner_t *j, piece_t *piece, int64_t *at, int *is_held)
{
    const go_chain_t *g = piece->search;
    while (*at < j->at && piece->next < g->found_count) {
        uint32_t token = g->found[piece->next++];
        *at += token_length(token);
        *is_held = (token & HELD) != 0;
    }
    return *at == j->at && !*is_held && !j->is_held;
}

/* Continue the current search into the next piece. Return 1 if it meets the next piece's own search, 0 if the piece
 * ends first, -1 if memory is not available. From now on, the current search reads the next piece's content. */
static int meet(joiner_t *j, piece_t *next)
{
    piece_t *piece = j->current;
    int64_t at = next->start;
    int is_held = 0;
    piece->view = next->view;
    piece->before = next->before;
    piece->after = next->after;
    piece->is_last = next->is_last;
    for (int64_t step = 1024;; step *= 2) {
        while (piece->next < piece->search->found_count && j->at < next->end) {
            if (next->search && j->at >= next->start && is_met(j, next, &at, &is_held))
                return 1;
            join_until(j, j->at + 1);
        }
        if (j->at >= next->end || reached(piece->search) >= next->after)
            return next->search && is_met(j, next, &at, &is_held);
        int64_t limit = reached(piece->search) + step;
        if (!piece_search(piece, limit < next->end ? limit : next->end + (next->is_last ? 0 : LONGEST)))
            return -1;
    }
}

static void joiner_release(encoder_t *self)
{
    piece_free(((joiner_t *)self)->current);
}

/* When the current search has reached the end of the next piece, replace the current piece by the next piece. */
static void joiner_keep(joiner_t *j, piece_t *next)
{
    piece_t *piece = j->current;
    uint8_t *kept = piece->kept;
    piece->kept = next->kept; /* its content */
    next->kept = kept;
    piece->start = next->start;
    piece->end = next->end;
    piece_free(next);
}

/* Join the next piece to the earlier pieces, and free it; return how many bytes of the body are available. `*is_met`
 * receives whether the result of the piece's own search was used. */
int64_t dib_deflate_join(void *handle, void *taken, int64_t *is_met)
{
    joiner_t *j = handle;
    piece_t *next = taken, *before = j->current;
    if (j->base.finished || j->base.sink.failed || next->start != (before ? before->end : 0)) {
        piece_free(next);
        return j->base.sink.failed ? NO_MEMORY : MALFORMED;
    }
    int found = before ? meet(j, next) : 1;
    if (found < 0) {
        piece_free(next);
        j->base.sink.failed = 1;
        return NO_MEMORY;
    }
    if (found) {
        j->current = next;
        piece_free(before);
    } else {
        joiner_keep(j, next);
    }
    *is_met = found;
    join_until(j, j->current->is_last ? INT64_MAX : j->current->end);
    if (j->current->is_last) {
        if (j->count)
            joiner_end_block(j, origin_at(j->current->after - 262));
        put_stored(&j->base.sink, NULL, 0, 1);
        j->base.finished = 1;
    }
    return j->base.sink.failed ? NO_MEMORY : j->base.sink.size;
}

/* Return the handle of an encoder that joins pieces; return 0 if memory is not available. This handle is used and freed
 * like the handle of any other encoder. */
int64_t dib_deflate_joiner(void)
{
    joiner_t *j = calloc(1, sizeof *j);
    if (j) {
        j->base.encoder = GO;
        j->base.release = joiner_release;
    }
    return (int64_t)(intptr_t)j;
}

/* The interface of the shared library: every function that Python calls, by the function's file.
 *
 * C99, nothing but the standard library, no Python headers: loaded with ctypes, where library.py has these signatures again
 * (tests/codecs/test_library.py compares them). Offsets and sizes are in bytes. Functions return 0 (or a size) on
 * success, and a negative number for malformed input, whatever the fault is. Unchecked writes have a budget; builds
 * without NDEBUG, which the sanitizers use (tests/fuzz/sanitize.py), assert that the budget is kept.
 */
#ifndef DIB_H
#define DIB_H

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MALFORMED (-1)
#define NO_MEMORY (-2)

#define EXPORT __attribute__((visibility("default")))

typedef struct { int64_t source, target, length; } cover_t; /* bytes of the source that are nearly those of the target */
typedef struct { int64_t start, length, address, base, mode; } region_t; /* a stretch of a side; mode: how to read it */
typedef struct { int64_t at, shift, kind; } step_t; /* from address at to the next step: its move, its content */

/* cover.c */
EXPORT int64_t dib_cover_split(const uint8_t *source, const uint8_t *target, int64_t target_size, const cover_t *covers,
                               int64_t count, uint8_t *difference, uint8_t *literals);
EXPORT int64_t dib_cover_join(const uint8_t *source, const cover_t *covers, int64_t count, int64_t covered,
                              const uint8_t *literals, uint8_t *target, int64_t target_size);
EXPORT int64_t dib_cover_context(const uint8_t *source, int64_t source_size, const cover_t *covers, int64_t count,
                                 int64_t width, uint8_t *out, int64_t room);
EXPORT int64_t dib_cover_fits(const int64_t *sources, const int64_t *targets, const int64_t *lengths, int64_t count,
                              int64_t source_size, int64_t target_size);
EXPORT int64_t dib_cover_whole(const cover_t *covers, int64_t count, const int64_t *old_starts, const int64_t *old_places,
                               int64_t old_count, const int64_t *new_starts, const int64_t *new_places, int64_t new_count,
                               const cover_t *middles, int64_t middle_count, cover_t *out, int64_t room);
EXPORT void dib_cover_columns(const cover_t *covers, int64_t count, int64_t *gaps, int64_t *turns);
EXPORT int64_t dib_cover_place(const int64_t *gaps, const int64_t *lengths, const int64_t *turns, int64_t count,
                               int64_t source_size, int64_t target_size, cover_t *covers);

/* numbers.c */
EXPORT int64_t dib_numbers_put(const int64_t *values, int64_t count, uint8_t *out);
EXPORT int64_t dib_numbers_get(const uint8_t *in, int64_t size, int64_t *values, int64_t count);
EXPORT int64_t dib_sparse_split(const uint8_t *data, int64_t size, uint8_t *gaps, uint8_t *lengths, uint8_t *values,
                                int64_t *sizes);
EXPORT int64_t dib_sparse_join(const uint8_t *gaps, int64_t gaps_size, const uint8_t *lengths, int64_t lengths_size,
                               const uint8_t *values, int64_t values_size, uint8_t *data, int64_t size);

/* model.c */
EXPORT int64_t dib_model_encode(const uint8_t *source, int64_t source_size, const cover_t *covers, int64_t count,
                                const uint8_t *difference, int64_t bits, uint8_t *out, int64_t out_size);
EXPORT int64_t dib_model_decode(const uint8_t *source, int64_t source_size, const cover_t *covers, int64_t count,
                                uint8_t *difference, int64_t bits, const uint8_t *in, int64_t in_size);

/* relink.c */
EXPORT int64_t dib_relink(uint8_t *data, const region_t *regions, int64_t count, const step_t *steps, int64_t step_count,
                          int64_t mask);
EXPORT int64_t dib_relink_votes(const uint8_t *source, const uint8_t *target, const cover_t *covers, int64_t count,
                                const region_t *regions, int64_t region_count, const region_t *sections,
                                int64_t section_count, int64_t least, const step_t *steps, int64_t step_count,
                                int64_t gain, step_t *out, int64_t room);
EXPORT int64_t dib_relink_pieces(const cover_t *covers, int64_t count, const region_t *regions, int64_t region_count,
                                 const region_t *sections, int64_t section_count, int64_t least, step_t *out,
                                 int64_t room);
EXPORT int64_t dib_relink_steps(const cover_t *covers, int64_t count, const region_t *regions, int64_t region_count,
                                const region_t *sections, int64_t section_count, int64_t least, const step_t *fixed,
                                int64_t fixed_count, step_t *out, int64_t room);

/* derive.c */
EXPORT int64_t dib_derive(uint8_t *data, const region_t *parts, int64_t count, int64_t put_back);

/* absolute.c */
EXPORT int64_t dib_absolute(uint8_t *data, const cover_t *covers, int64_t count, int64_t target_size, int64_t machine,
                            int64_t back);

/* match.c */
EXPORT int64_t dib_match_words(int64_t source_size);
EXPORT int64_t dib_match_table(const uint8_t *source, int64_t source_size, uint32_t *table, int64_t step, int64_t shares,
                               int64_t share);
EXPORT int64_t dib_match(const uint8_t *source, int64_t source_size, uint32_t *table, const uint8_t *target,
                         int64_t target_size, int64_t place, int64_t quick, cover_t *out, int64_t room);

/* anchors.c */
EXPORT int64_t dib_anchors_words(int64_t source_size, int64_t stride);
EXPORT int64_t dib_anchors_table(const uint8_t *source, int64_t source_size, uint32_t *table, int64_t stride);
EXPORT int64_t dib_anchors(const uint8_t *source, int64_t source_size, uint32_t *table, const uint8_t *target, int64_t from,
                           int64_t end, int64_t stride, cover_t *covers, int64_t room);
EXPORT int64_t dib_bridge(cover_t *covers, int64_t count, int64_t bridge);

/* vcdiff.c */
EXPORT int64_t dib_vcdiff_window(const uint8_t *data, int64_t data_size, const uint8_t *codes, int64_t codes_size,
                                 const uint8_t *addresses, int64_t addresses_size, const uint8_t *source,
                                 int64_t source_size, uint8_t *target, int64_t target_size);
EXPORT int64_t dib_vcdiff_encode(const uint8_t *source, int64_t source_size, const uint8_t *target, int64_t target_size,
                                 const cover_t *covers, int64_t count, int64_t copy_length, int64_t run_length,
                                 uint8_t *data, uint8_t *codes, uint8_t *addresses, int64_t room, int64_t *sizes);

/* deflate/encoders.c */
EXPORT int64_t dib_deflate_new(int64_t encoder, int64_t level, int64_t parameter);
EXPORT int64_t dib_deflate_free(void *handle);
EXPORT int64_t dib_deflate_write(void *handle, const uint8_t *content, int64_t n, int64_t finish);
EXPORT int64_t dib_deflate_take(void *handle, uint8_t *out, int64_t room);
EXPORT int64_t dib_deflate_marks(void *handle, int64_t *out, int64_t most);
EXPORT int64_t dib_deflate_frame(void *handle, int64_t block_size);
EXPORT int64_t dib_deflate_block(int64_t encoder, int64_t level, const uint8_t *dictionary, int64_t dictionary_size,
                                 const uint8_t *block, int64_t n, int64_t last, uint8_t *out, int64_t room);

/* deflate/go_pieces.c */
EXPORT int64_t dib_deflate_piece(int64_t level, int64_t start, const uint8_t *content, int64_t n, int64_t before,
                                 int64_t after, int64_t is_last, int64_t is_searched);
EXPORT int64_t dib_deflate_piece_free(void *piece);
EXPORT int64_t dib_deflate_joiner(void);
EXPORT int64_t dib_deflate_join(void *joiner, void *piece, int64_t *is_met);

/* deflate/inflate.c */
EXPORT int64_t dib_inflate_new(void);
EXPORT int64_t dib_inflate_free(void *handle);
EXPORT int64_t dib_inflate_run(void *handle, const uint8_t *in, int64_t n, uint8_t *out, int64_t room, int64_t *told);
EXPORT int64_t dib_inflate_marks(void *handle, int64_t *out, int64_t most);

/* deflate/ranges.c */
EXPORT int64_t dib_bits_same(const uint8_t *a, int64_t a_bit, const uint8_t *b, int64_t b_bit, int64_t n);
EXPORT int64_t dib_bits_copy(uint8_t *out, int64_t out_bit, const uint8_t *in, int64_t in_bit, int64_t n);

/* library.c */
EXPORT int64_t dib_open(void);
EXPORT void dib_take_large_pages(uint8_t *memory, int64_t size);

/* zstd/encoder.c */
EXPORT int64_t dib_zstd_new(int64_t encoder, int64_t level, int64_t first);
EXPORT int64_t dib_zstd_free(void *handle);
EXPORT int64_t dib_zstd_write(void *handle, const uint8_t *content, int64_t n, int64_t finish);
EXPORT int64_t dib_zstd_reset(void *handle, int64_t first);
EXPORT int64_t dib_zstd_take(void *handle, uint8_t *out, int64_t room);
EXPORT int64_t dib_zstd_marks(void *handle, int64_t *out, int64_t most);

#endif

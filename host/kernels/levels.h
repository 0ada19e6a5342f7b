/* SPDX-License-Identifier: MIT
 *
 * The levels of kernels.h, and what they share (internal to host/kernels).
 */
#ifndef WAGE_LEVELS_H
#define WAGE_LEVELS_H

#include "layer.h"

#ifndef WAGE_PLAIN
#define WAGE_PLAIN 0
#endif

/* x86, and a compiler that can be told to use AVX2 in one file. */
#if defined __x86_64__ && defined __GNUC__
#define WAGE_HAS_AVX2 1
#else
#define WAGE_HAS_AVX2 0
#endif

extern const struct wage_kernels wage_level_any;
#if WAGE_HAS_AVX2
extern const struct wage_kernels wage_level_avx2;
#endif

/* The runtime's kernels of the layer's kind, in threads. */
void wage_split_forward(const struct wage_layer *layer, uint32_t n,
                        const int8_t *in, const struct wage_output *out,
                        int8_t *row);
void wage_split_error(const struct wage_layer *layer, uint32_t n,
                      const int8_t *d, int32_t *e, int8_t *row);
void wage_split_gradient(const struct wage_layer *layer, uint32_t n,
                         const int8_t *d, uint32_t o, uint32_t rows,
                         int32_t *g);

#endif

/* SPDX-License-Identifier: MIT
 *
 * Level 2: the kernels for x86 with AVX2. All after the pragma is compiled
 * for it, also some of the runtime's own loops, which come in once more.
 */
// before layer.h, which then declares them, too
#define RUNTIME(f) wage_avx2_##f
#define WAGE_SKIP_ZEROS 0
#define wage_dot RUNTIME(dot)
#define wage_spread RUNTIME(spread)
#define wage_round_row RUNTIME(round_row)
#define wage_update RUNTIME(update)
#define wage_update_bias RUNTIME(update_bias)
#define wage_turn_slowly RUNTIME(turn_slowly)
#define wage_dense_forward RUNTIME(dense_forward)
#define wage_dense_error RUNTIME(dense_error)
#define wage_dense_gradient RUNTIME(dense_gradient)
#define wage_conv2d_forward RUNTIME(conv2d_forward)
#define wage_conv2d_error RUNTIME(conv2d_error)
#define wage_conv2d_gradient RUNTIME(conv2d_gradient)
#define wage_argmax RUNTIME(argmax)
#define wage_output_error RUNTIME(output_error)
#define wage_quantise_output RUNTIME(quantise_output)
#define wage_largest RUNTIME(largest)
#define wage_mask_error RUNTIME(mask_error)
#define wage_round_error RUNTIME(round_error)

#include "levels.h"
#include "num.h"
#include "work.h"

#include <string.h>

#if WAGE_HAS_AVX2

#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

#define LEVEL wage_level_avx2

#include "../../runtime/inner.c"
#include "../../runtime/update.c"
#include "../../runtime/loss.c"
#include "../../runtime/dense.c"
#include "../../runtime/conv2d.c"

#define WAGE_AVX2 1
#include "micro_x86.h"
#include "common.h"
#include "dense.h"
#include "conv_forward.h"
#include "conv_error.h"
#include "conv_gradient.h"
#include "elements.h"

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif

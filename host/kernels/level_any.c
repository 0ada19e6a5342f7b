/* SPDX-License-Identifier: MIT
 *
 * Level 1: the kernels for any CPU. With WAGE_PLAIN 1 (as everywhere but on
 * 64-bit x86) all of it is plain C.
 */
#include "levels.h"
#include "num.h"
#include "work.h"

#include <string.h>

#define LEVEL wage_level_any
#define RUNTIME(f) wage_##f

#if WAGE_HAS_AVX2 && !WAGE_PLAIN
#define WAGE_AVX2 0
#include "micro_x86.h"
#else
#include "micro_plain.h"
#endif
#include "common.h"
#include "dense.h"
#include "conv_forward.h"
#include "conv_error.h"
#include "conv_gradient.h"
#include "elements.h"

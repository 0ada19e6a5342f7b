/* SPDX-License-Identifier: MIT
 *
 * The host's fast kernels: the bits of the portable ones, sooner. Only the
 * host's extension module has them.
 */
#ifndef WAGE_KERNELS_H
#define WAGE_KERNELS_H

#include "layer.h"

/* cffi begin */
/* 0: the portable kernels; 1: fast ones for any CPU; 2: with AVX2. NULL:
 * this CPU or compiler has no such level. */
const struct wage_kernels *wage_host_kernels(int level);
/* The best level of this CPU. */
int wage_host_level(void);
/* From now on `multiplications` are worth a thread; returns what was before.
 * Tests lower it, to see threads at work on small layers. */
uint64_t wage_host_thread_work(uint64_t multiplications);
/* cffi end */

#endif

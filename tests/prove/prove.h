/* SPDX-License-Identifier: MIT
 *
 * What the bounded proofs share. ESBMC takes one function as the program and
 * looks at all of its runs: nondet_…() may be any number, and so may be what
 * a local array or fresh memory holds.
 */
#ifndef WAGE_PROVE_H
#define WAGE_PROVE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

uint8_t nondet_u8(void);
uint16_t nondet_u16(void);
uint32_t nondet_u32(void);
int32_t nondet_i32(void);

#define assume(what) __ESBMC_assume(what)
#define must(what) __ESBMC_assert(what, #what)

/* Memory of exactly that size and any contents. */
static inline uint8_t *exactly(uint32_t bytes)
{
    uint8_t *p = malloc(bytes);
    assume(p != NULL);
    return p;
}

#endif

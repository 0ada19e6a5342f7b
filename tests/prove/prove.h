/* SPDX-License-Identifier: MIT
 *
 * What the bounded proofs share. ESBMC takes one function as the program and
 * looks at all of its runs: nondet_…() may be any number, and so may be what
 * a local variable or fresh memory holds. The comment before an entry is
 * ESBMC's flags: its solver, and how often loops may go round, less one; one
 * that goes round more often fails, so that no bound is too small. Stubs take the place of what
 * has a proof of its own: they assert what it needs and give any answer that
 * it could, so that what holds with them holds with it.
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

/* Any number up to `most`. */
static inline uint32_t up_to(uint32_t most)
{
    uint32_t x = nondet_u32();
    assume(x <= most);
    return x;
}

/* The last `bytes` of an array, which are all that may be touched: memory of
 * a size that differs takes the solver much longer. */
#define last_of(array, bytes) ((array) + sizeof (array) - (bytes))

/* Fills an array with any bytes. */
#define any_bytes(array) \
    for (unsigned any_ = 0; any_ < sizeof (array); any_++) \
        ((uint8_t *)(array))[any_] = nondet_u8()

/* Memory of exactly that size and any contents. */
static inline uint8_t *exactly(uint32_t bytes)
{
    uint8_t *p = malloc(bytes);
    assume(p != NULL);
    return p;
}

/* Bytes that are there: the first and the last are read. */
static inline void readable(const void *from, uint32_t count)
{
    const uint8_t *bytes = from;
    volatile uint8_t kept;
    if (count) {
        kept = bytes[0];
        kept = bytes[count - 1];
    }
    (void)kept;
}

/* As readable(), and what is there may change: the first and the last do. */
static inline void writable(void *to, uint32_t count)
{
    uint8_t *bytes = to;
    if (count) {
        bytes[0] = nondet_u8();
        bytes[count - 1] = nondet_u8();
    }
}

#endif

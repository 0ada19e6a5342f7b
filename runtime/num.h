/* SPDX-License-Identifier: MIT
 *
 * All arithmetic that rounds, shifts, clamps or draws, and all little-endian
 * access: the only place where a negative number is shifted. SPEC section 1.
 */
#ifndef WAGE_NUM_H
#define WAGE_NUM_H

#include <stdint.h>

/* cffi begin */
int32_t wage_floor_shift(int32_t x, int n);    /* SPEC 1.1, 0 <= n < 32 */
int32_t wage_rne(int32_t x, int n);            /* SPEC 1.2, -24 <= n < 32 */
int wage_ilog2_round(uint32_t m);              /* SPEC 1.3, m > 0 */
int32_t wage_clamp(int32_t x, int32_t lo, int32_t hi);
uint32_t wage_mix(uint32_t x);                 /* SPEC 1.5 */
uint32_t wage_key(uint32_t seed, uint32_t step, uint32_t stage);
uint32_t wage_draw(uint32_t key, uint32_t i);  /* SPEC 1.7 */
uint32_t wage_below(uint32_t bits, uint32_t n);
int32_t wage_stochastic_shift(uint32_t m, int n, uint32_t r); /* SPEC 1.10 */
/* Goes on from `crc`; 0 to begin. SPEC 1.11. */
uint32_t wage_crc(uint32_t crc, const uint8_t *from, uint32_t count);
/* cffi end */

/* Stages of wage_key() beside 1 + layer index. */
#define WAGE_STAGE_RESERVOIR 64
#define WAGE_STAGE_REPLAY 65

static inline uint16_t load16(const uint8_t *p)
{
    return (uint16_t)(p[0] | ((uint16_t)p[1] << 8));
}

static inline uint32_t load32(const uint8_t *p)
{
    return load16(p) | ((uint32_t)load16(p + 2) << 16);
}

static inline void store16(uint8_t *p, uint16_t x)
{
    p[0] = (uint8_t)x;
    p[1] = (uint8_t)(x >> 8);
}

static inline void store32(uint8_t *p, uint32_t x)
{
    store16(p, (uint16_t)x);
    store16(p + 2, (uint16_t)(x >> 16));
}

/* The i-th of the 2-bit numbers in `from`: 0, 1, -1 (code 3), -2 (code 2). */
static inline int8_t load2(const uint8_t *from, uint32_t i)
{
    unsigned code = (unsigned)(from[i >> 2] >> (2 * (i & 3))) & 3u;
    return (int8_t)((int)(code ^ 2u) - 2);
}

#endif

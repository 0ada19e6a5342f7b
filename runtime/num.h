/* SPDX-License-Identifier: MIT
 *
 * All arithmetic that rounds, shifts, clamps or draws, and all little-endian
 * access: the only place where a negative number is shifted. SPEC section 1.
 */
#ifndef WAGE_NUM_H
#define WAGE_NUM_H

#include "flash.h"

#include <stdint.h>

/* cffi begin */
static inline int32_t wage_floor_shift(int32_t x, int n); /* SPEC 1.1 */
static inline int32_t wage_rne(int32_t x, int n);         /* SPEC 1.2 */
static inline int32_t wage_clamp(int32_t x, int32_t lo, int32_t hi);
static inline uint32_t wage_draw(uint32_t key, uint32_t i); /* SPEC 1.7 */
static inline uint32_t wage_fraction(uint32_t key, uint32_t index);
static inline int32_t wage_stochastic_shift(uint32_t m, int n, uint32_t r);
int wage_ilog2_round(uint32_t m);              /* SPEC 1.3, m > 0 */
uint32_t wage_mix(uint32_t x);                 /* SPEC 1.5 */
uint32_t wage_key(uint32_t seed, uint32_t step, uint32_t stage);
uint32_t wage_below(uint32_t bits, uint32_t n);
/* Goes on from `crc`; 0 to begin. SPEC 1.11. */
uint32_t wage_crc(uint32_t crc, const uint8_t *from, uint32_t count);
/* cffi end */

/* Stages of wage_key() beside 1 + layer index. */
#define WAGE_STAGE_RESERVOIR 64
#define WAGE_STAGE_REPLAY 65
#define WAGE_STAGE_LEAK 96      /* + layer index */

#define WAGE_DRAW_STEP ((uint32_t)0x9e3779b9)

// Inline: they stand in the inner loops, and a compiler that sees them there
// may compute several elements at once.

static inline int32_t wage_clamp(int32_t x, int32_t lo, int32_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

/* |x|, also of INT32_MIN. */
static inline uint32_t wage_size(int32_t x)
{
    return x < 0 ? 0u - (uint32_t)x : (uint32_t)x;
}

/* SPEC 1.1, 0 <= n < 32. */
static inline int32_t wage_floor_shift(int32_t x, int n)
{
    // ~x is never negative here, so both shifts are defined by the language
    return x >= 0 ? x >> n : ~(~x >> n);
}

/* SPEC 1.2, -24 <= n < 32. */
static inline int32_t wage_rne(int32_t x, int n)
{
    if (n <= 0)
        return x * (int32_t)((uint32_t)1 << -n);
    // the same for x and -x: add a half, or where that is even a bit less
    uint32_t size = wage_size(x), half = (uint32_t)1 << (n - 1);
    size = (size + half - 1 + (size >> n & 1)) >> n;
    return x < 0 ? -(int32_t)size : (int32_t)size;
}

/* SPEC 1.7. */
static inline uint32_t wage_draw(uint32_t key, uint32_t i)
{
    uint32_t x = key + i * WAGE_DRAW_STEP;
    x ^= x >> 16;
    x *= x + x + 1;
    return x ^ (x >> 16);
}

/* SPEC 1.8. */
static inline uint32_t wage_fraction(uint32_t key, uint32_t index)
{
    return wage_draw(key, index >> 1) >> (16 * (index & 1)) & 0xffff;
}

/* SPEC 1.10; m < 2^31, r has 16 bits. */
static inline int32_t wage_stochastic_shift(uint32_t m, int n, uint32_t r)
{
    if (n <= 0)
        return n <= -16 || m > (uint32_t)65535 >> -n
            ? (m ? 65535 : 0) : (int32_t)(m << -n);
    // the shifts depend on n alone: a loop with one n needs no branch
    int first = n <= 16 ? 0 : n <= 47 ? n - 16 : 31, last = n <= 16 ? n : 16;
    return (int32_t)(((m >> first) + (r >> (16 - last))) >> last);
}

// Out of line: many places, none of them in an inner loop.
uint16_t wage_load16(const uint8_t *p);
uint32_t wage_load32(const uint8_t *p);
void wage_store16(uint8_t *p, uint16_t x);
void wage_store32(uint8_t *p, uint32_t x);

static inline uint16_t load16(const uint8_t *p)
{
    return wage_load16(p);
}

static inline uint32_t load32(const uint8_t *p)
{
    return wage_load32(p);
}

/* CRC of a part of a blob. */
static inline uint32_t wage_fetch_crc(const uint8_t *from, uint32_t count)
{
#ifdef __AVR__
    uint32_t crc = 0;
    while (count--) {
        uint8_t byte = wage_fetch8(from++);
        crc = wage_crc(crc, &byte, 1);
    }
    return crc;
#else
    return wage_crc(0, from, count);
#endif
}

/* As load16() and load32(), in a blob. */
static inline uint16_t wage_fetch16(const uint8_t *p)
{
    return (uint16_t)(wage_fetch8(p) | ((uint16_t)wage_fetch8(p + 1) << 8));
}

static inline uint32_t wage_fetch32(const uint8_t *p)
{
    return wage_fetch16(p) | ((uint32_t)wage_fetch16(p + 2) << 16);
}

static inline void store16(uint8_t *p, uint16_t x)
{
    wage_store16(p, x);
}

static inline void store32(uint8_t *p, uint32_t x)
{
    wage_store32(p, x);
}

/* The i-th of the codes 0..3 in `from`. */
static inline unsigned code2(const uint8_t *from, uint32_t i)
{
    return (unsigned)(from[i >> 2] >> (2 * (i & 3))) & 3u;
}

/* The i-th of the 2-bit numbers in a blob: 0, 1, -1 (code 3), -2 (code 2). */
static inline int8_t wage_fetch2(const uint8_t *from, uint32_t i)
{
    uint8_t four = wage_fetch8(from + (i >> 2));
    return (int8_t)((int)(code2(&four, i & 3) ^ 2u) - 2);
}

static inline void set_code2(uint8_t *to, uint32_t i, unsigned code)
{
    unsigned at = 2 * (unsigned)(i & 3);
    to[i >> 2] = (uint8_t)((to[i >> 2] & ~(3u << at)) | (code << at));
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * Every function of num.h, for all arguments that its comment allows; arrays
 * of 8 bytes, CRCs of up to 8. That a CRC can go on from a part was tried,
 * too, and was not decided in two minutes: tests compare it with zlib's.
 */
#include "runtime/num.c"

#include "prove.h"

#define MOST 8u

void prove_clamp(void)
{
    int32_t x = nondet_i32(), lo = nondet_i32(), hi = nondet_i32();
    assume(lo <= hi);
    int32_t y = wage_clamp(x, lo, hi);
    must(lo <= y && y <= hi);
    must(x < lo || x > hi || y == x);
}

void prove_size(void)
{
    int32_t x = nondet_i32();
    int64_t wide = x;
    must(wage_size(x) == (uint64_t)(wide < 0 ? -wide : wide));
}

void prove_floor_shift(void)
{
    int32_t x = nondet_i32(), n = nondet_i32();
    assume(n >= 0 && n < 32);
    int64_t unit = (int64_t)1 << n, y = wage_floor_shift(x, n);
    must(y * unit <= x && x < (y + 1) * unit);
}

/* SPEC 1.2: the nearest, of two the even one. */
// --unwind 40 --z3
void prove_rne(void)
{
    int32_t x = nondet_i32(), n = nondet_i32();
    assume(n > 0 && n < 32);
    int64_t unit = (int64_t)1 << n, y = wage_rne(x, n);
    int64_t off = 2 * (x - y * unit);
    must(-unit <= off && off <= unit);
    must((off != unit && off != -unit) || y % 2 == 0);
}

/* To the left, where the product fits. */
void prove_rne_left(void)
{
    int32_t x = nondet_i32(), n = nondet_i32();
    assume(n <= 0 && n >= -24);
    int64_t y = (int64_t)x * ((int64_t)1 << -n);
    assume(y >= INT32_MIN && y <= INT32_MAX);
    must(wage_rne(x, n) == y);
}

void prove_draw(void)
{
    uint32_t key = nondet_u32(), i = nondet_u32();
    (void)wage_draw(key, i);
    must(wage_fraction(key, i) < 65536);
    (void)wage_mix(key);
    (void)wage_key(key, i, nondet_u32());
}

void prove_stochastic_shift(void)
{
    uint32_t m = nondet_u32(), r = nondet_u16();
    int32_t n = nondet_i32();
    assume(m < 0x80000000u);
    assume(n > -1000 && n < 1000);
    int32_t y = wage_stochastic_shift(m, n, r);
    must(y >= 0);
    must(n < 1 || n > 30 || (uint32_t)y == m >> n
         || (uint32_t)y == (m >> n) + 1);
    must(n > 0 || y <= 65535);
}

void prove_ilog2_round(void)
{
    uint32_t m = nondet_u32();
    assume(m > 0);
    int k = wage_ilog2_round(m);
    must(k >= 0 && k <= 32);
    // 2^(2k-1) <= m^2 < 2^(2k+1)
    must(k == 0 || (uint64_t)m * m >= (uint64_t)1 << (2 * k - 1));
    must(k == 32 || (uint64_t)m * m < (uint64_t)1 << (2 * k + 1));
}

// --unwind 40 --z3
void prove_below(void)
{
    uint32_t n = nondet_u32();
    assume(n > 0);
    must(wage_below(nondet_u32(), n) < n);
}

// --unwind 40 --z3
void prove_crc(void)
{
    uint32_t count = nondet_u32();
    assume(count <= MOST);
    uint8_t *bytes = exactly(count);
    (void)wage_crc(nondet_u32(), bytes, count);
    (void)wage_fetch_crc(bytes, count);
}

void prove_load_store(void)
{
    uint8_t *bytes = exactly(4);
    uint32_t x = nondet_u32();
    wage_store32(bytes, x);
    must(wage_load32(bytes) == x);
    store32(bytes, x);
    must(load32(bytes) == x && wage_fetch32(bytes) == x);
    wage_store16(bytes, (uint16_t)x);
    must(wage_load16(bytes) == (x & 0xffff));
    must(load16(bytes + 2) == x >> 16 && wage_fetch16(bytes) == (x & 0xffff));
    store16(bytes + 2, (uint16_t)x);
    must(load32(bytes) == ((x & 0xffff) | x << 16));
}

void prove_codes(void)
{
    uint8_t *bytes = exactly(MOST);
    uint32_t i = nondet_u32(), other = nondet_u32();
    unsigned code = nondet_u8() & 3u;
    assume(i < 4 * MOST && other < 4 * MOST && other != i);
    unsigned before = code2(bytes, other);
    set_code2(bytes, i, code);
    must(code2(bytes, i) == code && code2(bytes, other) == before);
    int x = wage_fetch2(bytes, i);
    must(x == (code == 3 ? -1 : code == 2 ? -2 : (int)code));
}

/* SPDX-License-Identifier: MIT
 *
 * The innermost loops for x86, with registers of 128 bits (SSE2, which every
 * 64-bit x86 has) or 256 (WAGE_AVX2 1). Each multiplies pairs of 16-bit
 * numbers and adds the two products (pmaddwd), with AVX2 16 products an
 * instruction: twice the rate of floats. micro_plain.h says what each
 * computes.
 */
#include <immintrin.h>
#include <string.h>

#if WAGE_AVX2
#define LANES 8                 /* sums of a register */
#define TILE 6                  /* rows: their 2 x 6 sums fill the registers */
#define WIDE 6                  /* groups of 16 columns, for the same reason */
typedef __m256i vector;
#define V(name) _mm256_##name
#define V_SI(name) _mm256_##name##_si256
#else
#define LANES 4
#define TILE 3
#define WIDE 3
typedef __m128i vector;
#define V(name) _mm_##name
#define V_SI(name) _mm_##name##_si128
#endif

#define SUMS (16 / LANES)       /* registers of a group of 16 columns */

#define PLACE(j, half) (2 * (j) + (half))

#define INNER static inline __attribute__((always_inline))

#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

INNER vector both(const int16_t *pair)
{
    int32_t x;
    memcpy(&x, pair, sizeof x);
    return V(set1_epi32)(x);
}

INNER vector load(const void *p)
{
    return V_SI(loadu)((const vector *)p);
}

INNER void store(void *p, vector x)
{
    V_SI(storeu)((vector *)p, x);
}

INNER vector add_product(vector acc, vector a, vector b)
{
    return V(add_epi32)(acc, V(madd_epi16)(a, b));
}

/* Pairs from 16 columns of two rows. With AVX2 interleaving works within
 * the halves of a register: pairs of columns 0-3, 8-11, then the others. */
INNER void pairs_of(vector b[SUMS], const int16_t *r0, const int16_t *r1)
{
    UNROLL
    for (int h = 0; h < SUMS; h += 2) {
        vector x = load(r0 + LANES * h), y = load(r1 + LANES * h);
        b[h] = V(unpacklo_epi16)(x, y);
        b[h + 1] = V(unpackhi_epi16)(x, y);
    }
}

/* Adds the sums of such pairs. */
INNER void add_group(int32_t *c, const vector acc[SUMS])
{
#if WAGE_AVX2
    vector in_order[SUMS] = {
        _mm256_permute2x128_si256(acc[0], acc[1], 0x20),
        _mm256_permute2x128_si256(acc[0], acc[1], 0x31) };
    acc = in_order;
#endif
    UNROLL
    for (int h = 0; h < SUMS; h++)
        store(c + LANES * h, V(add_epi32)(load(c + LANES * h), acc[h]));
}

static void tile_packed(int32_t *c, size_t stride, uint32_t live,
                        const int16_t *a, const int32_t *base,
                        const int32_t *off, uint32_t pairs,
                        const int16_t *b, const int32_t *init)
{
    const int16_t *at[TILE];
    vector acc[TILE][SUMS], w[SUMS];
    UNROLL
    for (int m = 0; m < TILE; m++) {
        at[m] = a + base[m];
        UNROLL
        for (int h = 0; h < SUMS; h++)
            acc[m][h] = load(init + LANES * h);
    }
    for (uint32_t p = 0; p < pairs; p++, b += 32) {
        ptrdiff_t o = off[p];
        UNROLL
        for (int h = 0; h < SUMS; h++)
            w[h] = load(b + 2 * LANES * h);
        UNROLL
        for (int m = 0; m < TILE; m++) {
            vector x = both(at[m] + o);
            UNROLL
            for (int h = 0; h < SUMS; h++)
                acc[m][h] = add_product(acc[m][h], x, w[h]);
        }
    }
    UNROLL
    for (uint32_t m = 0; m < TILE; m++) {
        if (m >= live)
            break;
        UNROLL
        for (int h = 0; h < SUMS; h++)
            store(c + m * stride + LANES * h, acc[m][h]);
    }
}

INNER void tile_rows(int32_t *c, const int32_t *at, uint32_t live,
                     const int16_t *a, size_t row, size_t step,
                     const int16_t *b, const int32_t *off, uint32_t pairs)
{
    vector acc[TILE][SUMS], w[SUMS];
    UNROLL
    for (int m = 0; m < TILE; m++)
        UNROLL
        for (int h = 0; h < SUMS; h++)
            acc[m][h] = V_SI(setzero)();
    for (uint32_t p = 0; p < pairs; p++, a += step) {
        pairs_of(w, b + off[2 * p], b + off[2 * p + 1]);
        UNROLL
        for (int m = 0; m < TILE; m++) {
            vector x = both(a + (size_t)m * row);
            UNROLL
            for (int h = 0; h < SUMS; h++)
                acc[m][h] = add_product(acc[m][h], x, w[h]);
        }
    }
    UNROLL
    for (uint32_t m = 0; m < TILE; m++) {
        if (m >= live)
            break;
        add_group(c + at[m], acc[m]);
    }
}

INNER void add_list_of(int32_t *c, const int16_t *b, const int32_t *off,
                       const int16_t *factor, uint32_t pairs,
                       const int groups)
{
    vector acc[WIDE][SUMS], w[SUMS];
    UNROLL
    for (int k = 0; k < groups; k++)
        UNROLL
        for (int h = 0; h < SUMS; h++)
            acc[k][h] = V_SI(setzero)();
    for (uint32_t p = 0; p < pairs; p++) {
        const int16_t *r0 = b + off[2 * p], *r1 = b + off[2 * p + 1];
        vector x = both(factor + 2 * p);
        UNROLL
        for (int k = 0; k < groups; k++) {
            pairs_of(w, r0 + 16 * k, r1 + 16 * k);
            UNROLL
            for (int h = 0; h < SUMS; h++)
                acc[k][h] = add_product(acc[k][h], x, w[h]);
        }
    }
    UNROLL
    for (int k = 0; k < groups; k++)
        add_group(c + 16 * k, acc[k]);
}

static void add_list(int32_t *c, const int16_t *b, const int32_t *off,
                     const int16_t *factor, uint32_t pairs, uint32_t groups)
{
    switch (groups) {
    case 1: add_list_of(c, b, off, factor, pairs, 1); break;
    case 2: add_list_of(c, b, off, factor, pairs, 2); break;
#if WIDE > 3
    case 3: add_list_of(c, b, off, factor, pairs, 3); break;
    case 4: add_list_of(c, b, off, factor, pairs, 4); break;
    case 5: add_list_of(c, b, off, factor, pairs, 5); break;
#endif
    default: add_list_of(c, b, off, factor, pairs, WIDE); break;
    }
}

#define DOT_A 4
#define DOT_B 3

INNER int32_t total(vector x)
{
#if WAGE_AVX2
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(x),
                              _mm256_extracti128_si256(x, 1));
#else
    __m128i s = x;
#endif
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

static void tile_dot(int32_t c[DOT_A][DOT_B], const int16_t *a,
                     const int16_t *b, size_t stride, size_t count)
{
    vector acc[DOT_A][DOT_B];
    UNROLL
    for (int m = 0; m < DOT_A; m++)
        acc[m][0] = acc[m][1] = acc[m][2] = V_SI(setzero)();
    for (size_t i = 0; i < count; i += 2 * LANES) {
        vector b0 = load(b + i), b1 = load(b + stride + i);
        vector b2 = load(b + 2 * stride + i);
        UNROLL
        for (int m = 0; m < DOT_A; m++) {
            vector x = load(a + (size_t)m * stride + i);
            acc[m][0] = add_product(acc[m][0], x, b0);
            acc[m][1] = add_product(acc[m][1], x, b1);
            acc[m][2] = add_product(acc[m][2], x, b2);
        }
    }
    UNROLL
    for (int m = 0; m < DOT_A; m++)
        UNROLL
        for (int k = 0; k < DOT_B; k++)
            c[m][k] = total(acc[m][k]);
}

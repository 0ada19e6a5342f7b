/* SPDX-License-Identifier: MIT
 *
 * The innermost loops in plain C, written so that compilers find vectors in
 * them. Columns come in groups of 16, reduced elements in pairs.
 */
#include <stddef.h>
#include <stdint.h>

#define TILE 2                  /* rows at once */
#define WIDE 1                  /* groups of 16 columns at once */

/* Where both numbers of column `j` stand in a packed pair of rows. */
#define PLACE(j, half) (16 * (half) + (j))

/* c[m][j] = init[j] + sum over p of the pair at a + base[m] + off[p] times
 * the pair (p, j) of b; m < live, m < TILE, j < 16. `base` has TILE entries. */
static void tile_packed(int32_t *c, size_t stride, uint32_t live,
                        const int16_t *a, const int32_t *base,
                        const int32_t *off, uint32_t pairs,
                        const int16_t *b, const int32_t *init)
{
    for (uint32_t m = 0; m < live && m < TILE; m++) {
        int32_t acc[16];
        const int16_t *from = b;
        for (int j = 0; j < 16; j++)
            acc[j] = init[j];
        for (uint32_t p = 0; p < pairs; p++, from += 32) {
            const int16_t *x = a + base[m] + off[p];
            for (int j = 0; j < 16; j++)
                acc[j] += x[0] * from[j] + x[1] * from[16 + j];
        }
        for (int j = 0; j < 16; j++)
            c[m * stride + (size_t)j] = acc[j];
    }
}

/* c[at[m] + j] += sum over p of the pair at a + m * row + p * step times rows
 * off[2 * p] and off[2 * p + 1] of b; row m after row m - 1: they may
 * overlap. */
static void tile_rows(int32_t *c, const int32_t *at, uint32_t live,
                      const int16_t *a, size_t row, size_t step,
                      const int16_t *b, const int32_t *off, uint32_t pairs)
{
    for (uint32_t m = 0; m < live && m < TILE; m++) {
        int32_t acc[16] = { 0 };
        for (uint32_t p = 0; p < pairs; p++) {
            const int16_t *r0 = b + off[2 * p], *r1 = b + off[2 * p + 1];
            const int16_t *x = a + m * row + p * step;
            int16_t x0 = x[0], x1 = x[1];
            for (int j = 0; j < 16; j++)
                acc[j] += x0 * r0[j] + x1 * r1[j];
        }
        for (int j = 0; j < 16; j++)
            c[at[m] + j] += acc[j];
    }
}

/* c[j] += sum over i of factor[i] * b[off[i] + j]; i < 2 * pairs, j < 16 *
 * groups, groups <= WIDE. */
static void add_list(int32_t *c, const int16_t *b, const int32_t *off,
                     const int16_t *factor, uint32_t pairs, uint32_t groups)
{
    int32_t acc[16] = { 0 };
    (void)groups;
    for (uint32_t p = 0; p < pairs; p++) {
        const int16_t *r0 = b + off[2 * p], *r1 = b + off[2 * p + 1];
        int16_t x0 = factor[2 * p], x1 = factor[2 * p + 1];
        for (int j = 0; j < 16; j++)
            acc[j] += x0 * r0[j] + x1 * r1[j];
    }
    for (int j = 0; j < 16; j++)
        c[j] += acc[j];
}

#define DOT_A 4
#define DOT_B 3

/* c[m][k] = sum over i < count of a[m * stride + i] * b[k * stride + i];
 * `count` is a multiple of 16. */
static void tile_dot(int32_t c[DOT_A][DOT_B], const int16_t *a,
                     const int16_t *b, size_t stride, size_t count)
{
    for (size_t m = 0; m < DOT_A; m++) {
        for (size_t k = 0; k < DOT_B; k++) {
            const int16_t *x = a + m * stride, *y = b + k * stride;
            int32_t acc = 0;
            for (size_t i = 0; i < count; i++)
                acc += x[i] * y[i];
            c[m][k] = acc;
        }
    }
}

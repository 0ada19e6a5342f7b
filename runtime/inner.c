/* SPDX-License-Identifier: MIT
 *
 * The innermost loops: most of what a step takes. Where all else is compiled
 * for size, compile this file for speed.
 */
#include "layer.h"
#include "num.h"

#include <stddef.h>

int32_t wage_dot(const int8_t *a, const int8_t *q, uint32_t count)
{
    int32_t acc = 0; // SPEC 2.6 bounds it
    for (uint32_t i = 0; i < count; i++)
        acc += a[i] * q[i];
    return acc;
}

void wage_spread(int32_t *restrict to, const int8_t *restrict from,
                 int32_t factor, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        to[i] += from[i] * factor;
}

void wage_round_row(const struct wage_layer *l, uint32_t first, int8_t *row)
{
    const int8_t *high = l->high + first;
    const int8_t *low = l->low ? l->low + first : NULL;
    int spare = l->store_bits - l->weight_bits;
    int32_t below = ((int32_t)1 << (spare - 1)) - 1;
    for (uint32_t i = 0; i < l->row_count; i++) {
        int32_t w = low ? high[i] * 256 + low[i] : high[i];
        // as wage_rne(), which counts down from zero instead: no matter
        int32_t odd = wage_floor_shift(w, spare) & 1;
        row[i] = (int8_t)wage_floor_shift(w + below + odd, spare);
    }
}

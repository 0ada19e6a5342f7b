/* SPDX-License-Identifier: MIT
 *
 * Residual addition: the layer below plus an earlier tensor, its skip.
 */
#include "layer.h"
#include "num.h"

void wage_add_forward(const struct wage_layer *l, uint32_t n,
                      const int8_t *in, const struct wage_output *out,
                      int8_t *row)
{
    (void)row;
    for (uint32_t i = 0; i < n * l->in_count; i++)
        wage_emit(l, i, in[i] + l->side[i], out);
}

void wage_add_error(const struct wage_layer *l, uint32_t n, const int8_t *d,
                    int32_t *e, int8_t *row)
{
    (void)row;
    for (uint32_t i = 0; i < n * l->in_count; i++)
        e[i] = d[i];
}

int wage_join(const struct wage_layer *add, int32_t *e, uint32_t count, int y)
{
    int y_skip = (int)(add->held_x - add->shift), rest = 0;
    int t = wage_largest(e, count) ? y_skip - y : 0;
    if (t == 0)
        y = y_skip; // the same, or there is nothing but the skip's error
    if (t > 16) { // far larger than e: e gives up bits instead
        rest = t - 16 < 31 ? t - 16 : 31;
        t = 16;
    }
    for (uint32_t i = 0; i < count; i++) {
        int32_t skip = t < -31 ? 0 : wage_rne(add->held[i], -t);
        e[i] = wage_rne(e[i], rest) + skip;
    }
    return y + rest;
}

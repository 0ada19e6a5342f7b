/* SPDX-License-Identifier: MIT
 *
 * Max-pooling 2 x 2 is done window by window on the sums, so that they are
 * never all in memory.
 */
#include "window.h"
#include "num.h"

#include <stddef.h>

struct window wage_window(const struct wage_layer *l, uint32_t y, uint32_t x)
{
    struct window v;
    v.top = (int32_t)(y * l->stride_h) - l->pad_top;
    v.left = (int32_t)(x * l->stride_w) - l->pad_left;
    v.y0 = v.top < 0 ? -v.top : 0;
    v.x0 = v.left < 0 ? -v.left : 0;
    v.y1 = wage_clamp((int32_t)l->in_h - v.top, 0, l->kernel_h);
    v.x1 = wage_clamp((int32_t)l->in_w - v.left, 0, l->kernel_w);
    return v;
}

struct window wage_window_of(const struct wage_layer *l, uint32_t i,
                             uint32_t y, uint32_t x)
{
    if (l->pool == 1)
        return wage_window(l, y, x);
    unsigned index = code2(l->winner, i);
    return wage_window(l, 2 * y + (index >> 1), 2 * x + (index & 1));
}

/* The sums of one output and one sample. */
struct sums {
    const struct wage_layer *l;
    wage_sum_at *at;
    const int8_t *in, *q;
    uint32_t o;
};

/* The largest sum of a pooling window, the first among equals, and which it
 * is; without pooling the window is one position. */
static int32_t largest(const struct sums *s, uint32_t y, uint32_t x,
                       unsigned *index)
{
    const struct wage_layer *l = s->l;
    unsigned pool = l->pool;
    int32_t best = INT32_MIN; // no sum is so low, SPEC 2.6
    for (unsigned k = 0; k < pool * pool; k++) {
        uint32_t sy = pool * y + (k >> 1), sx = pool * x + (k & 1);
        if (sy >= l->sum_h || sx >= l->sum_w)
            continue;
        struct window v = wage_window(l, sy, sx);
        int32_t sum = s->at(l, s->in, s->q, &v, s->o);
        if (sum > best) {
            best = sum;
            *index = k;
        }
    }
    return best;
}

/* Writes them from element `i` of the batch on. */
static void slide(const struct sums *s, uint32_t i,
                  const struct wage_output *out)
{
    const struct wage_layer *l = s->l;
    int32_t bias = wage_bias(l, s->o);
    for (uint32_t y = 0; y < l->out_h; y++) {
        for (uint32_t x = 0; x < l->out_w; x++, i += l->out_c) {
            unsigned index = 0;
            int32_t sum = largest(s, y, x, &index);
            if (l->winner)
                set_code2(l->winner, i, index);
            wage_emit(l, i, sum + bias, out);
        }
    }
}

void wage_slide(const struct wage_layer *l, wage_sum_at *at, uint32_t n,
                const int8_t *in, const struct wage_output *out, int8_t *row)
{
    for (uint32_t o = 0; o < l->out_c; o++) {
        const int8_t *q = l->weight_count ? wage_row(l, o, row) : NULL;
        for (uint32_t s = 0; s < n; s++) {
            struct sums sums = { l, at, in + s * l->in_count, q, o };
            slide(&sums, s * l->out_count + o, out);
        }
    }
}

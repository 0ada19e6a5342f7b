/* SPDX-License-Identifier: MIT
 *
 * Convolution with stride and zero padding; max-pooling 2 x 2 is part of it,
 * window by window on the sums, so that they are never all in memory.
 */
#include "layer.h"
#include "num.h"

#include <string.h>

/* The part of the kernel that lies inside the input at one position. */
struct window {
    int32_t top, left;          /* of the kernel in the input */
    int32_t y0, y1, x0, x1;     /* kernel rows and columns inside */
};

static struct window window_at(const struct wage_layer *l, uint32_t y,
                               uint32_t x)
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

/* First weight and first input of kernel row `ky`; both run `x1 - x0` pixels
 * of in_c elements. */
static uint32_t kernel_at(const struct wage_layer *l, const struct window *v,
                          int32_t ky)
{
    return (uint32_t)(ky * l->kernel_w + v->x0) * l->in_c;
}

static uint32_t input_at(const struct wage_layer *l, const struct window *v,
                         int32_t ky)
{
    return (uint32_t)((v->top + ky) * l->in_w + v->left + v->x0) * l->in_c;
}

static uint32_t run_of(const struct wage_layer *l, const struct window *v)
{
    return (uint32_t)(v->x1 - v->x0) * l->in_c; // padding is below kernel
}

static int32_t sum_at(const struct wage_layer *l, const int8_t *in,
                      const int8_t *q, uint32_t y, uint32_t x)
{
    struct window v = window_at(l, y, x);
    uint32_t run = run_of(l, &v);
    int32_t acc = 0; // |acc| <= 128 * 127 * 131,071 < 2^31
    for (int32_t ky = v.y0; ky < v.y1; ky++) {
        const int8_t *a = in + input_at(l, &v, ky);
        const int8_t *k = q + kernel_at(l, &v, ky);
        for (uint32_t i = 0; i < run; i++)
            acc += a[i] * k[i];
    }
    return acc;
}

static void set_winner(const struct wage_layer *l, uint32_t i, unsigned index)
{
    unsigned at = 2 * (i & 3);
    l->winner[i >> 2] = (uint8_t)((l->winner[i >> 2] & ~(3u << at))
                                  | (index << at));
}

/* The largest sum of a pooling window, the first among equals. */
static int32_t pool_at(const struct wage_layer *l, const int8_t *in,
                       const int8_t *q, uint32_t y, uint32_t x,
                       unsigned *index)
{
    int32_t best = INT32_MIN;
    for (unsigned k = 0; k < 4; k++) {
        uint32_t sy = 2 * y + (k >> 1), sx = 2 * x + (k & 1);
        if (sy >= l->sum_h || sx >= l->sum_w)
            continue;
        int32_t sum = sum_at(l, in, q, sy, sx);
        if (sum > best) {
            best = sum;
            *index = k;
        }
    }
    return best;
}

void wage_conv2d_forward(const struct wage_layer *l, const int8_t *in,
                         const struct wage_output *out, int8_t *row)
{
    for (uint32_t o = 0; o < l->out_c; o++) {
        const int8_t *q = wage_row(l, o, row);
        uint32_t i = o;
        for (uint32_t y = 0; y < l->out_h; y++) {
            for (uint32_t x = 0; x < l->out_w; x++, i += l->out_c) {
                unsigned index = 0;
                int32_t sum = l->pool == 2
                    ? pool_at(l, in, q, y, x, &index)
                    : sum_at(l, in, q, y, x);
                if (l->winner)
                    set_winner(l, i, index);
                wage_emit(l, i, sum, out);
            }
        }
    }
}

/* Where output element `i` at (y, x) took its sum from. */
static struct window source_of(const struct wage_layer *l, uint32_t i,
                               uint32_t y, uint32_t x)
{
    if (l->pool == 1)
        return window_at(l, y, x);
    unsigned index = (unsigned)(l->winner[i >> 2] >> (2 * (i & 3))) & 3u;
    return window_at(l, 2 * y + (index >> 1), 2 * x + (index & 1));
}

void wage_conv2d_error(const struct wage_layer *l, const int8_t *d,
                       int32_t *e, int8_t *row)
{
    memset(e, 0, l->in_count * sizeof *e);
    for (uint32_t o = 0; o < l->out_c; o++) {
        const int8_t *q = wage_row(l, o, row);
        uint32_t i = o;
        for (uint32_t y = 0; y < l->out_h; y++) {
            for (uint32_t x = 0; x < l->out_w; x++, i += l->out_c) {
                if (d[i] == 0)
                    continue;
                struct window v = source_of(l, i, y, x);
                uint32_t run = run_of(l, &v);
                for (int32_t ky = v.y0; ky < v.y1; ky++) {
                    int32_t *to = e + input_at(l, &v, ky);
                    const int8_t *k = q + kernel_at(l, &v, ky);
                    for (uint32_t j = 0; j < run; j++)
                        to[j] += k[j] * d[i];
                }
            }
        }
    }
}

void wage_conv2d_gradient(const struct wage_layer *l, const int8_t *in,
                          const int8_t *d, uint32_t o, int32_t *g)
{
    memset(g, 0, l->row_count * sizeof *g);
    uint32_t i = o;
    for (uint32_t y = 0; y < l->out_h; y++) {
        for (uint32_t x = 0; x < l->out_w; x++, i += l->out_c) {
            if (d[i] == 0)
                continue;
            struct window v = source_of(l, i, y, x);
            uint32_t run = run_of(l, &v);
            for (int32_t ky = v.y0; ky < v.y1; ky++) {
                const int8_t *a = in + input_at(l, &v, ky);
                int32_t *to = g + kernel_at(l, &v, ky);
                for (uint32_t j = 0; j < run; j++)
                    to[j] += a[j] * d[i];
            }
        }
    }
}

/* SPDX-License-Identifier: MIT
 *
 * Convolution with stride and zero padding. In every kernel row the inside
 * columns and all channels are one run of memory.
 */
#include "window.h"

#include <string.h>

static uint32_t kernel_at(const struct wage_layer *l, const struct window *v,
                          int32_t ky)
{
    return (uint32_t)(ky * l->kernel_w + v->x0) * l->in_c;
}

static uint32_t run_of(const struct wage_layer *l, const struct window *v)
{
    return (uint32_t)(v->x1 - v->x0) * l->in_c; // padding is below kernel
}

static int32_t sum_at(const struct wage_layer *l, const int8_t *in,
                      const int8_t *q, const struct window *v, uint32_t o)
{
    uint32_t run = run_of(l, v);
    int32_t acc = 0; // SPEC 2.6 bounds it
    (void)o;
    for (int32_t ky = v->y0; ky < v->y1; ky++) {
        const int8_t *a = in + wage_pixel(l, v, ky) * l->in_c;
        acc += wage_dot(a, q + kernel_at(l, v, ky), run);
    }
    return acc;
}

void wage_conv2d_forward(const struct wage_layer *l, uint32_t n,
                         const int8_t *in, const struct wage_output *out,
                         int8_t *row)
{
    wage_slide(l, sum_at, n, in, out, row);
}

/* e of one sample += q * d of output `o`. */
static void spread(const struct wage_layer *l, const int8_t *d,
                   const int8_t *q, uint32_t s, uint32_t o, int32_t *e)
{
    uint32_t i = s * l->out_count + o;
    for (uint32_t y = 0; y < l->out_h; y++) {
        for (uint32_t x = 0; x < l->out_w; x++, i += l->out_c) {
            if (d[i] == 0)
                continue;
            struct window v = wage_window_of(l, i, y, x);
            uint32_t run = run_of(l, &v);
            for (int32_t ky = v.y0; ky < v.y1; ky++) {
                int32_t *to = e + wage_pixel(l, &v, ky) * l->in_c;
                wage_spread(to, q + kernel_at(l, &v, ky), d[i], run);
            }
        }
    }
}

void wage_conv2d_error(const struct wage_layer *l, uint32_t n,
                       const int8_t *d, int32_t *e, int8_t *row)
{
    memset(e, 0, n * l->in_count * sizeof *e);
    for (uint32_t o = 0; o < l->out_c; o++) {
        const int8_t *q = wage_row(l, o, row);
        for (uint32_t s = 0; s < n; s++)
            spread(l, d, q, s, o, e + s * l->in_count);
    }
}

/* g of output `o` += a * d of one sample. */
static void gather(const struct wage_layer *l, const int8_t *d, uint32_t s,
                   uint32_t o, int32_t *g)
{
    const int8_t *in = l->in + s * l->in_count;
    uint32_t i = s * l->out_count + o;
    for (uint32_t y = 0; y < l->out_h; y++) {
        for (uint32_t x = 0; x < l->out_w; x++, i += l->out_c) {
            if (d[i] == 0)
                continue;
            struct window v = wage_window_of(l, i, y, x);
            uint32_t run = run_of(l, &v);
            for (int32_t ky = v.y0; ky < v.y1; ky++) {
                const int8_t *a = in + wage_pixel(l, &v, ky) * l->in_c;
                wage_spread(g + kernel_at(l, &v, ky), a, d[i], run);
            }
        }
    }
}

void wage_conv2d_gradient(const struct wage_layer *l, uint32_t n,
                          const int8_t *d, uint32_t o, uint32_t rows,
                          int32_t *g)
{
    memset(g, 0, rows * l->row_count * sizeof *g);
    for (uint32_t r = 0; r < rows; r++, g += l->row_count)
        for (uint32_t s = 0; s < n; s++)
            gather(l, d, s, o + r, g);
}

/* SPDX-License-Identifier: MIT
 *
 * Depthwise convolution: each channel has a kernel of its own.
 */
#include "window.h"

#include <string.h>

static int32_t sum_at(const struct wage_layer *l, const int8_t *in,
                      const int8_t *q, const struct window *v, uint32_t o)
{
    int32_t acc = 0; // SPEC 2.6 bounds it
    for (int32_t ky = v->y0; ky < v->y1; ky++) {
        const int8_t *a = in + wage_pixel(l, v, ky) * l->in_c + o;
        const int8_t *k = q + ky * l->kernel_w;
        for (int32_t kx = v->x0; kx < v->x1; kx++, a += l->in_c)
            acc += *a * k[kx];
    }
    return acc;
}

void wage_depthwise_forward(const struct wage_layer *l, uint32_t n,
                            const int8_t *in, const struct wage_output *out,
                            int8_t *row)
{
    wage_slide(l, sum_at, n, in, out, row);
}

void wage_depthwise_error(const struct wage_layer *l, uint32_t n,
                          const int8_t *d, int32_t *e, int8_t *row)
{
    memset(e, 0, n * l->in_count * sizeof *e);
    for (uint32_t o = 0; o < l->out_c; o++) {
        const int8_t *q = wage_row(l, o, row);
        uint32_t i = o;
        for (uint32_t s = 0; s < n; s++) {
            int32_t *sample = e + s * l->in_count + o;
            for (uint32_t y = 0; y < l->out_h; y++) {
                for (uint32_t x = 0; x < l->out_w; x++, i += l->out_c) {
                    struct window v = wage_window_of(l, i, y, x);
                    for (int32_t ky = v.y0; d[i] && ky < v.y1; ky++) {
                        int32_t *to = sample
                                      + wage_pixel(l, &v, ky) * l->in_c;
                        const int8_t *k = q + ky * l->kernel_w;
                        for (int32_t kx = v.x0; kx < v.x1;
                             kx++, to += l->in_c)
                            *to += k[kx] * d[i];
                    }
                }
            }
        }
    }
}

/* g of channel `o` += a * d of one sample. */
static void gather(const struct wage_layer *l, const int8_t *d, uint32_t s,
                   uint32_t o, int32_t *g)
{
    const int8_t *in = l->in + s * l->in_count;
    uint32_t i = s * l->out_count + o;
    for (uint32_t y = 0; y < l->out_h; y++) {
        for (uint32_t x = 0; x < l->out_w; x++, i += l->out_c) {
            struct window v = wage_window_of(l, i, y, x);
            for (int32_t ky = v.y0; d[i] && ky < v.y1; ky++) {
                const int8_t *a = in + wage_pixel(l, &v, ky) * l->in_c + o;
                for (int32_t kx = v.x0; kx < v.x1; kx++, a += l->in_c)
                    g[ky * l->kernel_w + kx] += *a * d[i];
            }
        }
    }
}

void wage_depthwise_gradient(const struct wage_layer *l, uint32_t n,
                             const int8_t *d, uint32_t o, uint32_t rows,
                             int32_t *g)
{
    memset(g, 0, rows * l->row_count * sizeof *g);
    for (uint32_t r = 0; r < rows; r++, g += l->row_count)
        for (uint32_t s = 0; s < n; s++)
            gather(l, d, s, o + r, g);
}

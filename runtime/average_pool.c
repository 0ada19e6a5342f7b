/* SPDX-License-Identifier: MIT
 *
 * Average of each window by a stored reciprocal, factor / 2^shift.
 */
#include "window.h"

#include <string.h>

static int32_t sum_at(const struct wage_layer *l, const int8_t *in,
                      const int8_t *q, const struct window *v, uint32_t o)
{
    int32_t acc = 0; // |acc * factor| < 128 * 2^24, SPEC 2.6
    (void)q;
    for (int32_t ky = v->y0; ky < v->y1; ky++) {
        const int8_t *a = in + wage_pixel(l, v, ky) * l->in_c + o;
        for (int32_t kx = v->x0; kx < v->x1; kx++, a += l->in_c)
            acc += *a;
    }
    return acc * l->factor;
}

void wage_average_pool_forward(const struct wage_layer *l, uint32_t n,
                               const int8_t *in,
                               const struct wage_output *out, int8_t *row)
{
    wage_slide(l, sum_at, n, in, out, row);
}

void wage_average_pool_error(const struct wage_layer *l, uint32_t n,
                             const int8_t *d, int32_t *e, int8_t *row)
{
    (void)row;
    memset(e, 0, n * l->in_count * sizeof *e);
    for (uint32_t s = 0; s < n; s++, e += l->in_count) {
        for (uint32_t y = 0; y < l->out_h; y++) {
            for (uint32_t x = 0; x < l->out_w; x++, d += l->out_c) {
                struct window v = wage_window(l, y, x);
                for (int32_t ky = v.y0; ky < v.y1; ky++) {
                    int32_t *to = e + wage_pixel(l, &v, ky) * l->in_c;
                    for (int32_t kx = v.x0; kx < v.x1; kx++)
                        for (uint32_t o = 0; o < l->out_c; o++)
                            *to++ += (int32_t)d[o] * l->factor;
                }
            }
        }
    }
}

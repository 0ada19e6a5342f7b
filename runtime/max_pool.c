/* SPDX-License-Identifier: MIT
 *
 * Largest activation of each window. (Pooling 2 x 2 behind a convolution is
 * part of that layer and works on the sums.)
 */
#include "window.h"

#include <string.h>

/* Input element, within its sample, of the first largest one of channel `o`
 * at one position. */
static uint32_t winner_at(const struct wage_layer *l, const int8_t *in,
                          const struct window *v, uint32_t o)
{
    uint32_t best = wage_pixel(l, v, v->y0) * l->in_c + o;
    for (int32_t ky = v->y0; ky < v->y1; ky++) {
        uint32_t i = wage_pixel(l, v, ky) * l->in_c + o;
        for (int32_t kx = v->x0; kx < v->x1; kx++, i += l->in_c)
            if (in[i] > in[best])
                best = i;
    }
    return best;
}

void wage_max_pool_forward(const struct wage_layer *l, uint32_t n,
                           const int8_t *in, const struct wage_output *out,
                           int8_t *row)
{
    uint32_t i = 0;
    (void)row;
    for (uint32_t s = 0; s < n; s++, in += l->in_count) {
        for (uint32_t y = 0; y < l->out_h; y++) {
            for (uint32_t x = 0; x < l->out_w; x++) {
                struct window v = wage_window(l, y, x);
                for (uint32_t o = 0; o < l->out_c; o++, i++)
                    wage_emit(l, i, in[winner_at(l, in, &v, o)], out);
            }
        }
    }
}

void wage_max_pool_error(const struct wage_layer *l, uint32_t n,
                         const int8_t *d, int32_t *e, int8_t *row)
{
    const int8_t *in = l->in;
    (void)row;
    memset(e, 0, n * l->in_count * sizeof *e);
    for (uint32_t s = 0; s < n; s++, in += l->in_count, e += l->in_count) {
        for (uint32_t y = 0; y < l->out_h; y++) {
            for (uint32_t x = 0; x < l->out_w; x++) {
                struct window v = wage_window(l, y, x);
                for (uint32_t o = 0; o < l->out_c; o++)
                    e[winner_at(l, in, &v, o)] += *d++;
            }
        }
    }
}

/* SPDX-License-Identifier: MIT
 *
 * What layers share that slide a kernel over their input (internal).
 */
#ifndef WAGE_WINDOW_H
#define WAGE_WINDOW_H

#include "layer.h"

/* The part of the kernel that lies inside the input at one position. */
struct window {
    int32_t top, left;          /* of the kernel in the input */
    int32_t y0, y1, x0, x1;     /* kernel rows and columns inside */
};

struct window wage_window(const struct wage_layer *layer, uint32_t y,
                          uint32_t x);

/* Where output element `i` of the batch, at (y, x), took its sum from. */
struct window wage_window_of(const struct wage_layer *layer, uint32_t i,
                             uint32_t y, uint32_t x);

/* First input pixel of kernel row `ky`, as a number of pixels. */
static inline uint32_t wage_pixel(const struct wage_layer *l,
                                  const struct window *v, int32_t ky)
{
    return (uint32_t)((v->top + ky) * l->in_w + v->left + v->x0);
}

/* The sum of output `o` at one position of a sample; q: its weights. */
typedef int32_t wage_sum_at(const struct wage_layer *layer, const int8_t *in,
                            const int8_t *q, const struct window *v,
                            uint32_t o);
/* Forward of a layer that has this sum, pooling when the layer does. */
void wage_slide(const struct wage_layer *layer, wage_sum_at *sum_at,
                uint32_t n, const int8_t *in, const struct wage_output *out,
                int8_t *row);

#endif

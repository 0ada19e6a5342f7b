/* SPDX-License-Identifier: MIT
 *
 * The table of layer kinds, and the weights as all kinds see them.
 */
#include "layer.h"
#include "num.h"

#include <stddef.h>

const struct wage_kernels *wage_kernels(uint8_t kind)
{
    static const struct wage_kernels table[] = {
        { wage_dense_forward, wage_dense_error, wage_dense_gradient },
        { wage_conv2d_forward, wage_conv2d_error, wage_conv2d_gradient },
    };
    if (kind < 1 || kind > sizeof table / sizeof table[0])
        return NULL;
    return &table[kind - 1];
}

const int8_t *wage_row(const struct wage_layer *layer, uint32_t o,
                       int8_t *row)
{
    uint32_t first = o * layer->row_count;
    if (layer->weight_bits == 8 && layer->trainable)
        return layer->high + first;
    if (layer->weight_bits == 8)
        return (const int8_t *)layer->blob + first;
    for (uint32_t i = 0; i < layer->row_count; i++) {
        if (layer->trainable) {
            int8_t w = layer->high[first + i];
            row[i] = (int8_t)((w > 32) - (w < -32));
        } else {
            row[i] = load2(layer->blob, first + i);
        }
    }
    return row;
}

void wage_emit(const struct wage_layer *layer, uint32_t i, int32_t sum,
               const struct wage_output *out)
{
    if (!layer->relu)
        out->sum[i] = sum;
    else if (sum <= 0)
        out->a[i] = 0;
    else
        out->a[i] = (int8_t)wage_clamp(wage_rne(sum, layer->shift), 0, 127);
}

int16_t wage_weight(const struct wage_layer *layer, uint32_t i)
{
    if (layer->weight_bits == 2)
        return layer->high[i];
    return (int16_t)(layer->high[i] * 256 + layer->low[i]);
}

void wage_set_weight(struct wage_layer *layer, uint32_t i, int16_t weight)
{
    if (layer->weight_bits == 2) {
        layer->high[i] = (int8_t)weight;
        return;
    }
    // the byte in use is the rounded weight; what is left fits in the other
    int32_t high = wage_floor_shift((int32_t)weight + 128, 8);
    layer->high[i] = (int8_t)high;
    layer->low[i] = (int8_t)((int32_t)weight - high * 256);
}

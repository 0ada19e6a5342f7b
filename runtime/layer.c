/* SPDX-License-Identifier: MIT
 *
 * The table of layer kinds, and what all kinds share: weights in use, stored
 * weights, activations.
 */
#include "layer.h"
#include "num.h"

#include <stddef.h>

/* What is left out is not linked, either. */
#define IF(has, function) ((has) ? (function) : 0)
#define KIND(kind, name) IF(WAGE_HAS(kind), wage_##name##_forward), \
                         IF(WAGE_HAS(kind), wage_##name##_error)

const struct wage_kernels wage_portable = {
    { { KIND(WAGE_DENSE, dense),
        IF(WAGE_HAS_GRADIENTS, wage_dense_gradient) },
      { KIND(WAGE_CONV2D, conv2d),
        IF(WAGE_HAS(WAGE_CONV2D), wage_conv2d_gradient) },
      { KIND(WAGE_DEPTHWISE, depthwise),
        IF(WAGE_HAS(WAGE_DEPTHWISE), wage_depthwise_gradient) },
      { KIND(WAGE_AVERAGE_POOL, average_pool), NULL },
      { KIND(WAGE_MAX_POOL, max_pool), NULL },
      { KIND(WAGE_ADD, add), NULL } },
    wage_mask_error,
    wage_round_error,
    wage_largest,
    IF(WAGE_HAS_GRADIENTS, wage_update),
    IF(WAGE_HAS(WAGE_DENSE), wage_turn)
};

const int8_t *wage_row(const struct wage_layer *layer, uint32_t o,
                       int8_t *row)
{
    uint32_t first = o * layer->row_count;
    int spare = layer->store_bits - layer->weight_bits;
    if (layer->store_bits && (layer->halves_up || spare == 0))
        return layer->high + first;
    if (!layer->store_bits && layer->weight_bits > 2)
        return (const int8_t *)wage_fetched(layer->blob + first, row,
                                            layer->row_count);
    if (WAGE_HAS(WAGE_USE_ROUND_ROW) && layer->store_bits)
        wage_round_row(layer, first, row);
    uint32_t packed = layer->store_bits ? 0 : layer->row_count;
    for (uint32_t i = 0; WAGE_HAS(WAGE_USE_FROZEN) && i < packed; i++)
        row[i] = wage_fetch2(layer->blob, first + i);
    return row;
}

int32_t wage_bias(const struct wage_layer *layer, uint32_t o)
{
    if (layer->bias)
        return layer->bias[o];
    return layer->blob_bias ? (int32_t)wage_fetch32(layer->blob_bias + 4 * o)
                            : 0;
}

/* Which masks of SPEC 3.5 a sum opens. */
static unsigned masks_of(const struct wage_layer *layer, int32_t sum)
{
    int32_t above = layer->activation == WAGE_SIGNED && sum < 0 ? -sum : sum;
    int open = layer->activation != WAGE_RELU || sum > 0;
    int saturated = (int64_t)above > (int64_t)127 << layer->shift;
    return (open ? WAGE_OPEN : 0u) | (saturated ? WAGE_SATURATED : 0u);
}

void wage_emit(const struct wage_layer *layer, uint32_t i, int32_t sum,
               const struct wage_output *out)
{
    if (layer->last) {
        out->sum[i] = sum;
        return;
    }
    if (WAGE_HAS(WAGE_USE_PAPER) && layer->mask)
        set_code2(layer->mask, i, masks_of(layer, sum));
    if (layer->activation == WAGE_RELU && sum <= 0)
        out->a[i] = 0;
    else
        out->a[i] = (int8_t)wage_clamp(wage_rne(sum, layer->shift),
                                       -127, 127);
}

int16_t wage_weight(const struct wage_layer *layer, uint32_t i)
{
    if (!layer->low)
        return layer->high[i];
    return (int16_t)((int32_t)layer->high[i] * 256 + layer->low[i]);
}

void wage_set_weight(struct wage_layer *layer, uint32_t i, int16_t weight)
{
    if (!layer->low) {
        layer->high[i] = (int8_t)weight;
        return;
    }
    // the upper byte is the rounded weight; what is left fits in the other
    int32_t high = wage_floor_shift((int32_t)weight + 128, 8);
    layer->high[i] = (int8_t)high;
    layer->low[i] = (int8_t)((int32_t)weight - high * 256);
}

int32_t wage_weight_max(const struct wage_layer *layer)
{
    int spare = layer->store_bits - layer->weight_bits;
    return ((int32_t)1 << (layer->store_bits - 1)) - ((int32_t)1 << spare);
}

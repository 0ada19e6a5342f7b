/* SPDX-License-Identifier: MIT */
#include "layer.h"
#include "num.h"

void wage_update(struct wage_layer *layer, uint32_t o, const int32_t *g,
                 int n, uint32_t key)
{
    int32_t limit = layer->weight_bits == 8 ? WAGE_WEIGHT_MAX_8
                                            : WAGE_WEIGHT_MAX_2;
    uint32_t index = o * layer->row_count;
    for (uint32_t i = 0; i < layer->row_count; i++, index++) {
        if (g[i] == 0)
            continue;
        uint32_t bits = wage_draw(key, index >> 1);
        uint32_t r = index & 1 ? bits >> 16 : bits & 0xffff;
        uint32_t size = (uint32_t)(g[i] < 0 ? -g[i] : g[i]);
        int32_t dw = wage_stochastic_shift(size, n, r);
        int32_t weight = wage_weight(layer, index);
        weight += g[i] < 0 ? dw : -dw;
        wage_set_weight(layer, index,
                        (int16_t)wage_clamp(weight, -limit, limit));
    }
}

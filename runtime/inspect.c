/* SPDX-License-Identifier: MIT
 *
 * What a host asks an open model for: the weights it has learned, byte by
 * byte, and what a layer gives for one input. SPEC 7.1 and 8.8.
 */
#include "layer.h"
#include "num.h"

static uint8_t byte_of(uint32_t word, uint32_t place)
{
    return (uint8_t)(word >> (8 * place));
}

/* Byte `i` of a layer's part of SPEC 7.1. */
static uint8_t weight_byte(const struct wage_layer *l, uint32_t i)
{
    uint32_t wide = l->low ? 1 : 0, weights = wage_learned(l) << wide;
    uint32_t at = i - weights; // in the bias
    if (WAGE_HAS(WAGE_USE_BIAS) && l->bias && i >= weights)
        return byte_of((uint32_t)l->bias[at / 4], at % 4);
    return byte_of((uint32_t)wage_weight(l, i >> wide), i & wide);
}

uint32_t wage_read_weights(const wage_t *w, uint32_t at, uint8_t *bytes,
                           uint32_t count)
{
    uint32_t first = 0; // byte of the layer
    for (unsigned k = w->frozen_count; k < w->layer_count; k++) {
        const struct wage_layer *l = &w->layers[k];
        uint32_t biased = WAGE_HAS(WAGE_USE_BIAS) && l->bias ? l->out_c : 0;
        uint32_t size = (wage_learned(l) << (l->low ? 1 : 0)) + 4 * biased;
        for (; at - first < size && count; at++, count--)
            *bytes++ = weight_byte(l, at - first); // at >= first, always
        first += size;
    }
    return first;
}

uint32_t wage_probe(wage_t *w, const int8_t *x, uint32_t layer)
{
    const int8_t *a = wage_forward(w, 1, x, 0, layer + 1);
    uint32_t count = w->layers[layer].out_count;
    // a board is little-endian, as SPEC 8.8 has the logits
    return wage_crc(0, a ? (const uint8_t *)a : (const uint8_t *)w->logits,
                    a ? count : 4 * count);
}

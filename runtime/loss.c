/* SPDX-License-Identifier: MIT
 *
 * Softmax cross-entropy to the base 2 in integers, and how errors become
 * 8 bits. SPEC sections 4 and 5.1.
 */
#include "layer.h"
#include "num.h"

/* 2^16 * 2^(-u/16) for the distance u of a logit below the largest one. */
static uint32_t exp2_below(uint32_t distance, int shift)
{
    static const uint16_t root[16] = {
        65535, 62757, 60097, 57549, 55109, 52773, 50535, 48393,
        46341, 44376, 42495, 40693, 38968, 37316, 35734, 34219 };
    uint32_t u;
    if (shift >= 0)
        u = distance >> shift;
    else
        u = distance > (uint32_t)511 >> -shift ? 511 : distance << -shift;
    if (u > 511)
        u = 511;
    uint32_t e = root[u & 15] + (uint32_t)((u & 15) == 0); // 2^16 needs 17
    return e >> (u >> 4);
}

uint8_t wage_argmax(const int32_t *logits, uint32_t count)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++)
        if (logits[i] > logits[best])
            best = i;
    return (uint8_t)best;
}

uint16_t wage_output_error(const wage_t *w, uint8_t label, int8_t *d)
{
    const struct wage_layer *last = &w->layers[w->layer_count - 1];
    int shift = 7 + last->shift - 4 - w->config.gain_shift;
    uint32_t top = (uint32_t)w->logits[wage_argmax(w->logits, w->classes)];
    uint32_t sum = 0; // <= 255 * 2^16
    for (uint32_t i = 0; i < w->classes; i++)
        sum += exp2_below(top - (uint32_t)w->logits[i], shift);
    uint32_t p_label = 0;
    for (uint32_t i = 0; i < w->classes; i++) {
        uint32_t e = exp2_below(top - (uint32_t)w->logits[i], shift);
        uint32_t p = ((e << 14) + sum / 2) / sum;
        int32_t error = (int32_t)p;
        if (i == label) {
            p_label = p;
            error -= 1 << 14;
        }
        d[i] = (int8_t)wage_clamp(wage_rne(error, 7), -127, 127);
    }
    return (uint16_t)p_label;
}

int wage_quantise_error(int32_t *e, const int8_t *a, int8_t *d,
                        uint32_t count)
{
    uint32_t max = 0;
    for (uint32_t i = 0; i < count; i++) {
        // ReLU closed, or clipped?
        if (a[i] <= 0 || a[i] == 127)
            e[i] = 0;
        uint32_t size = (uint32_t)(e[i] < 0 ? -e[i] : e[i]);
        if (size > max)
            max = size;
    }
    if (max == 0)
        return -1;
    int n = wage_ilog2_round(max);
    for (uint32_t i = 0; i < count; i++)
        d[i] = (int8_t)wage_clamp(wage_rne(e[i], n - 7), -127, 127);
    return n;
}

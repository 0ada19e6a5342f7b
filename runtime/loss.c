/* SPDX-License-Identifier: MIT
 *
 * The losses in integers, and how errors become 8 bits. SPEC sections 4 and
 * 5.1.
 */
#include "layer.h"
#include "num.h"

/* 2^16 * 2^(-u/16) for the distance u of a logit below the largest one. */
static uint32_t exp2_below(uint32_t distance, int shift)
{
    static const uint16_t root[16] WAGE_IN_FLASH = {
        65535, 62757, 60097, 57549, 55109, 52773, 50535, 48393,
        46341, 44376, 42495, 40693, 38968, 37316, 35734, 34219 };
    uint32_t u;
    if (shift >= 0)
        u = distance >> shift;
    else
        u = distance > (uint32_t)511 >> -shift ? 511 : distance << -shift;
    if (u > 511)
        u = 511;
    uint32_t e = wage_entry16(&root[u & 15]);
    e += (u & 15) == 0; // 2^16 needs 17 bits
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

/* log2 of one over the unit of the errors, SPEC 4.4. */
static int unit_shift(const wage_t *w)
{
    return wage_sse(w) ? 7 + w->layers[w->layer_count - 1].shift : 14;
}

uint16_t wage_output_error(const wage_t *w, int32_t *o, uint8_t label)
{
    const struct wage_layer *last = &w->layers[w->layer_count - 1];
    int shift = 7 + last->shift - 4 - w->config.gain_shift;
    uint32_t top = (uint32_t)o[wage_argmax(o, w->classes)];
    uint32_t sum = 0, p_label = 0; // sum <= 255 * 2^16
    for (uint32_t i = 0; i < w->classes; i++)
        sum += exp2_below(top - (uint32_t)o[i], shift);
    for (uint32_t i = 0; i < w->classes; i++) {
        uint32_t e = exp2_below(top - (uint32_t)o[i], shift);
        // NOLINTNEXTLINE(clang-analyzer-core.DivideZero): the top adds 2^16
        uint32_t p = ((e << 14) + sum / 2) / sum;
        if (i == label)
            p_label = p;
        if (!wage_sse(w))
            o[i] = (int32_t)p;
    }
    o[label] -= (int32_t)1 << unit_shift(w);
    return (uint16_t)p_label;
}

int wage_quantise_output(const wage_t *w, uint32_t n, int8_t *d, int *largest)
{
    uint32_t count = n * w->classes;
    int shift = unit_shift(w) - 7, x = 0;
    if (wage_paper(w)) {
        uint32_t max = wage_largest(w->logits, count);
        if (max > 0)
            shift = wage_ilog2_round(max) - 7;
        x = shift + 7 - unit_shift(w);
    }
    *largest = 0;
    for (uint32_t i = 0; i < count; i++) {
        int32_t error = wage_clamp(wage_rne(w->logits[i], shift), -127, 127);
        int size = (int)wage_size(error);
        d[i] = (int8_t)error;
        if (size > *largest)
            *largest = size;
    }
    return x;
}

uint32_t wage_largest(const int32_t *x, uint32_t count)
{
    uint32_t max = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size = wage_size(x[i]);
        max = size > max ? size : max;
    }
    return max;
}

uint32_t wage_mask_error(const struct wage_layer *below, uint32_t from,
                         uint32_t count, int32_t *e, const int8_t *a)
{
    e += from;
    a += from;
    if (WAGE_HAS(WAGE_USE_PAPER) && below->mask) {
        for (uint32_t i = 0; i < count; i++)
            if (code2(below->mask, from + i) & WAGE_SATURATED)
                e[i] = 0;
    } else if (below->activation != WAGE_NONE) {
        int8_t low = below->activation == WAGE_RELU ? 0 : -127;
        for (uint32_t i = 0; i < count; i++)
            e[i] = ((a[i] <= low) | (a[i] == 127)) ? 0 : e[i];
    }
    return wage_largest(e, count);
}

void wage_round_error(const struct wage_layer *below, uint32_t from,
                      uint32_t count, int n, const int32_t *e, int8_t *d)
{
    e += from;
    d += from;
    for (uint32_t i = 0; i < count; i++)
        d[i] = (int8_t)wage_clamp(wage_rne(e[i], n - 7), -127, 127);
    uint32_t masked = WAGE_HAS(WAGE_USE_PAPER) && below->mask ? count : 0;
    for (uint32_t i = 0; i < masked; i++)
        if (!(code2(below->mask, from + i) & WAGE_OPEN))
            d[i] = 0;
}

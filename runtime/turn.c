/* SPDX-License-Identifier: MIT
 *
 * How a device learns a dense layer: one sample, row by row, no gradient in
 * memory. As inner.c, a file to compile for speed.
 */
#include "layer.h"
#include "num.h"

#include <stddef.h>

/* Lists the pairs of inputs that share a draw and are not both 0: number of
 * the pair, second, first, in 16, 8 and 8 bits. `odd`: the very first input
 * is the second of its pair. Returns the list's end. */
static uint32_t *find(const int8_t *in, uint32_t count, uint32_t odd,
                      uint32_t *list)
{
    for (uint32_t i = 0; i < count + odd; i += 2) {
        uint32_t two = i < odd ? 0 : (uint8_t)in[i - odd];
        if (i + 1 < count + odd)
            two |= (uint32_t)(uint8_t)in[i + 1 - odd] << 8;
        if (two)
            *list++ = i << 15 | two;
    }
    return list;
}

/* A row of weights. The step is ((|a * unit| >> shift) + r) >> 16: this is
 * SPEC 1.10, with a shift to the left below 16 taken into the unit. */
struct row {
    int8_t *high, *low;         /* as in the layer */
    int32_t limit, unit;
    int shift;
};

/* Whether no |a * unit| exceeds 31 bits, and a pair's number 16. */
static int fits(const struct wage_layer *l, const struct wage_rate *rate)
{
    int left = rate->n < 16 ? 16 - rate->n : 0;
    return left < 18 && l->row_count < 65535
        && (uint32_t)rate->factor << left <= INT32_MAX / WAGE_PRODUCT_MAX;
}

/* Moves weight `i`, whose input is a. */
static inline void turn(const struct row *w, uint32_t i, int32_t a,
                        uint32_t r)
{
    int32_t g = a * w->unit;
    uint32_t size = wage_size(g), sum = (size >> w->shift) + r;
    int32_t step = (int32_t)(sum >> 16);
    int32_t weight = w->low ? w->high[i] * 256 + w->low[i] : w->high[i];
    weight = wage_clamp(g < 0 ? weight + step : weight - step, -w->limit,
                        w->limit);
    int32_t upper = w->low ? wage_floor_shift(weight + 128, 8) : weight;
    w->high[i] = (int8_t)upper;
    if (w->low)
        w->low[i] = (int8_t)(weight - upper * 256);
}

void wage_turn(struct wage_layer *l, const int8_t *d,
               const struct wage_rate *rate, uint32_t *list)
{
    if (!fits(l, rate)) {
        wage_turn_slowly(l, d, rate);
        return;
    }
    const int n = wage_clamp(rate->n, -1, 47); // above: steps are all 0
    const int shift = n > 16 ? n - 16 : 0;
    const int32_t scale = rate->factor * ((int32_t)1 << (16 + shift - n));
    const uint32_t stride = rate->stride;
    uint32_t *end = list, from = 0, odd = 2; // not listed yet
    for (uint32_t o = 0; o < l->out_c; o++, from += l->row_count) {
        if (d[o] == 0)
            continue;
        if ((from & 1) != odd) {
            odd = from & 1;
            end = find(l->in, l->row_count, odd, list);
        }
        const struct row w = { l->high + from - odd,
                               l->low ? l->low + from - odd : NULL,
                               wage_weight_max(l), d[o] * scale, shift };
        uint32_t key = rate->key + (from >> 1) * stride;
        for (const uint32_t *p = list; p < end; p++) {
            uint32_t i = *p >> 16, r = wage_draw(key + i * stride, 0);
            int8_t first = (int8_t)*p, second = (int8_t)(*p >> 8);
            if (first)
                turn(&w, 2 * i, first, r & 0xffff);
            if (second)
                turn(&w, 2 * i + 1, second, r >> 16);
        }
    }
}

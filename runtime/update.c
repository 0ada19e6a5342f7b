/* SPDX-License-Identifier: MIT
 *
 * Weights move against their gradient, rounded at random. SPEC 5.3, 5.4.
 */
#include "layer.h"
#include "num.h"

#include <stddef.h>

/* Where many elements are computed at once, testing each one costs more. */
#ifndef WAGE_SKIP_ZEROS
#define WAGE_SKIP_ZEROS 1
#endif

/* The step for gradient `g`: its sign, and its size rounded at random. */
static inline int32_t step_of(int32_t g, const struct wage_rate *rate, int n,
                              uint32_t index)
{
    uint32_t size = wage_size(g);
    if (rate->factor > 1) {
        uint64_t product = (uint64_t)size * rate->factor;
        size = product > INT32_MAX ? INT32_MAX : (uint32_t)product;
    }
    uint32_t r = wage_fraction(rate->key, index);
    int32_t step = wage_stochastic_shift(size, n, r);
    return g < 0 ? -step : step;
}

/* SPEC 5.3 with momentum: the new velocity. */
static inline int32_t velocity_of(int32_t v, int32_t step,
                                  const struct wage_rate *rate,
                                  uint32_t index)
{
    uint32_t r = wage_fraction(rate->leak_key, index);
    int32_t leak = wage_stochastic_shift(wage_size(v), rate->momentum, r);
    return wage_clamp(v - (v < 0 ? -leak : leak) + step, -32767, 32767);
}

/* `low` and `velocity` may be NULL; inline, so that a compiler can make a
 * loop of its own for each case. */
static inline void move(int8_t *restrict high, int8_t *restrict low,
                        int16_t *restrict velocity, int32_t limit,
                        uint32_t from, uint32_t count,
                        const int32_t *restrict g,
                        const struct wage_rate *rate)
{
    const struct wage_rate r = *rate;
    for (uint32_t i = 0; i < count; i++) {
        if (WAGE_SKIP_ZEROS && g[i] == 0 && !velocity)
            continue;
        int32_t step = step_of(g[i], &r, r.n, from + i);
        if (velocity) {
            step = velocity_of(velocity[i], step, &r, from + i);
            velocity[i] = (int16_t)step;
        }
        int32_t weight = low ? high[i] * 256 + low[i] : high[i];
        weight = wage_clamp(weight - step, -limit, limit);
        int32_t upper = low ? wage_floor_shift(weight + 128, 8) : weight;
        high[i] = (int8_t)upper;
        if (low)
            low[i] = (int8_t)(weight - upper * 256);
    }
}

void wage_update(struct wage_layer *l, uint32_t from, uint32_t count,
                 const int32_t *g, const struct wage_rate *rate)
{
    int32_t limit = wage_weight_max(l);
    int8_t *high = l->high + from, *low = l->low ? l->low + from : NULL;
    int16_t *velocity = WAGE_HAS(WAGE_USE_MOMENTUM) && l->velocity
        ? l->velocity + from : NULL;
    if (velocity || rate->factor > 1)
        move(high, low, velocity, limit, from, count, g, rate);
    else if (low)
        move(high, low, NULL, limit, from, count, g, rate);
    else
        move(high, NULL, NULL, limit, from, count, g, rate);
}

void wage_turn_slowly(struct wage_layer *l, const int8_t *d,
                      const struct wage_rate *rate)
{
    int32_t limit = wage_weight_max(l);
    for (uint32_t i = 0; i < l->weight_count; i++) {
        int32_t g = l->in[i % l->row_count] * d[i / l->row_count];
        int32_t weight = wage_weight(l, i) - step_of(g, rate, rate->n, i);
        wage_set_weight(l, i, (int16_t)wage_clamp(weight, -limit, limit));
    }
}

void wage_update_bias(struct wage_layer *l, uint32_t n, const int8_t *d,
                      const struct wage_rate *rate)
{
    for (uint32_t o = 0; o < l->out_c; o++) {
        int32_t g = 0;
        for (uint32_t i = o; i < n * l->out_count; i += l->out_c)
            g += d[i];
        int32_t step = step_of(g, rate, rate->n, l->weight_count + o);
        l->bias[o] = wage_clamp(l->bias[o] - step, -WAGE_BIAS_MAX,
                                WAGE_BIAS_MAX);
    }
}

/* SPDX-License-Identifier: MIT
 *
 * The nearest class mean, instead of gradients: each row of the last layer is
 * the mean of its class's latents, so that the largest logit is the mean
 * nearest by. SPEC 5.6.
 */
#include "layer.h"
#include "num.h"

#define MEAN_OF 256             /* samples at most: older ones fade */

int wage_can_mean(const wage_t *w, const struct wage_layer *last)
{
    return !wage_paper(w) && !wage_sse(w) && !wage_momentum(w)
           && w->frozen_count + 1u == w->layer_count
           && wage_is(last, WAGE_DENSE) && last->halves_up && last->blob_bias
           && last->row_count <= WAGE_MEAN_MAX;
}

/* Samples that the mean of class `label` is of, the new one too. */
static int32_t samples_of(const wage_t *w, const struct wage_layer *l,
                          uint8_t label)
{
    int32_t bias = (int32_t)wage_fetch32(l->blob_bias + 4 * label);
    uint32_t total = w->class_total[label];
    return bias != -WAGE_BIAS_MAX || total - 1 >= MEAN_OF ? MEAN_OF
                                                          : (int32_t)total;
}

void wage_move_mean(wage_t *w, uint8_t label)
{
    struct wage_layer *l = &w->layers[w->layer_count - 1];
    uint32_t first = label * l->row_count;
    int32_t n = samples_of(w, l, label), squares = 0;
    for (uint32_t i = 0; i < l->row_count; i++) {
        int32_t mean = wage_weight(l, first + i);
        int32_t away = wage_clamp(l->in[i], -127, 127) * 256 - mean;
        mean += (away + (away < 0 ? -(n / 2) : n / 2)) / n;
        wage_set_weight(l, first + i, (int16_t)mean);
        int32_t q = l->high[first + i];
        squares += q * q;
    }
    l->bias[label] = -(squares / 2);
}

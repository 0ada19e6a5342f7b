/* SPDX-License-Identifier: MIT */
#include "layer.h"

#include <string.h>

void wage_dense_forward(const struct wage_layer *layer, const int8_t *in,
                        const struct wage_output *out, int8_t *row)
{
    for (uint32_t o = 0; o < layer->out_c; o++) {
        const int8_t *q = wage_row(layer, o, row);
        int32_t acc = 0; // |acc| <= 128 * 127 * 131,071 < 2^31
        for (uint32_t i = 0; i < layer->row_count; i++)
            acc += in[i] * q[i];
        wage_emit(layer, o, acc, out);
    }
}

void wage_dense_error(const struct wage_layer *layer, const int8_t *d,
                      int32_t *e, int8_t *row)
{
    memset(e, 0, layer->in_count * sizeof *e);
    for (uint32_t o = 0; o < layer->out_c; o++) {
        if (d[o] == 0)
            continue;
        const int8_t *q = wage_row(layer, o, row);
        for (uint32_t i = 0; i < layer->row_count; i++)
            e[i] += q[i] * d[o];
    }
}

void wage_dense_gradient(const struct wage_layer *layer, const int8_t *in,
                         const int8_t *d, uint32_t o, int32_t *g)
{
    for (uint32_t i = 0; i < layer->row_count; i++)
        g[i] = in[i] * d[o];
}

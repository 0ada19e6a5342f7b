/* SPDX-License-Identifier: MIT */
#include "layer.h"

#include <string.h>

void wage_dense_forward(const struct wage_layer *l, uint32_t n,
                        const int8_t *in, const struct wage_output *out,
                        int8_t *row)
{
    for (uint32_t o = 0; o < l->out_c; o++) {
        const int8_t *q = wage_row(l, o, row), *a = in;
        for (uint32_t s = 0; s < n; s++, a += l->in_count) {
            int32_t acc = wage_bias(l, o) + wage_dot(a, q, l->row_count);
            wage_emit(l, s * l->out_c + o, acc, out);
        }
    }
}

void wage_dense_error(const struct wage_layer *l, uint32_t n, const int8_t *d,
                      int32_t *e, int8_t *row)
{
    memset(e, 0, n * l->in_count * sizeof *e);
    for (uint32_t o = 0; o < l->out_c; o++) {
        const int8_t *q = wage_row(l, o, row);
        int32_t *to = e;
        for (uint32_t s = 0; s < n; s++, to += l->in_count) {
            int32_t error = d[s * l->out_c + o];
            if (error)
                wage_spread(to, q, error, l->row_count);
        }
    }
}

void wage_dense_gradient(const struct wage_layer *l, uint32_t n,
                         const int8_t *d, uint32_t o, uint32_t rows,
                         int32_t *g)
{
    memset(g, 0, rows * l->row_count * sizeof *g);
    for (uint32_t r = 0; r < rows; r++, g += l->row_count) {
        const int8_t *a = l->in;
        for (uint32_t s = 0; s < n; s++, a += l->in_count) {
            int32_t error = d[s * l->out_c + o + r];
            if (error)
                wage_spread(g, a, error, l->row_count);
        }
    }
}

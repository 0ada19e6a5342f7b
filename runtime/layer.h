/* SPDX-License-Identifier: MIT
 *
 * One layer of an open model and the kernels that work on it (internal).
 * A layer kind is one file with a triplet forward, error, gradient, and one
 * row in the table of layer.c.
 */
#ifndef WAGE_LAYER_H
#define WAGE_LAYER_H

#include "wage.h"

/* cffi begin */
enum wage_kind { WAGE_DENSE = 1, WAGE_CONV2D = 2 };

struct wage_layer {
    uint8_t kind;               /* enum wage_kind */
    uint8_t weight_bits;        /* in use: 2 or 8 */
    uint8_t trainable;          /* 0 or 1 */
    uint8_t relu;               /* 0 for the last layer: wide logits */
    uint8_t shift;              /* H of SPEC 2.5 */
    uint8_t kernel_h, kernel_w, stride_h, stride_w;
    uint8_t pad_top, pad_left, pad_bottom, pad_right;
    uint8_t pool;               /* 1 or 2 */
    uint16_t in_h, in_w, in_c;
    uint16_t sum_h, sum_w;      /* before pooling */
    uint16_t out_h, out_w, out_c;
    uint32_t in_count, out_count; /* elements */
    uint32_t row_count;         /* weights of one output: the fan-in */
    uint32_t weight_count;
    const uint8_t *blob;        /* weights in the blob, SPEC 9.3 */
    int8_t *high;               /* trainable: 8 bits: weights in use; 2 bits:
                                 * stored weights. (out_c, row_count) */
    int8_t *low;                /* 8 bits: w - 256 * high, same shape */
    uint8_t *winner;            /* trainable with pool: (out_count) 2 bits */
    int8_t *in;                 /* trainable: (in_count) */
};

/* Forward writes int8 activations (hidden) or int32 sums (last) here. */
struct wage_output {
    int8_t *a;
    int32_t *sum;
};

/* Weights in use of output `o`; `row` (row_count) may serve as scratch. */
const int8_t *wage_row(const struct wage_layer *layer, uint32_t o,
                       int8_t *row);

/* SPEC 3.5: ReLU, rounding, clipping; or the sum as it is. */
void wage_emit(const struct wage_layer *layer, uint32_t i, int32_t sum,
               const struct wage_output *out);

/* in: (in_h, in_w, in_c) -> out: (out_h, out_w, out_c). */
void wage_dense_forward(const struct wage_layer *layer, const int8_t *in,
                        const struct wage_output *out, int8_t *row);
/* d: (out_c) -> e: (in_count), sums of SPEC 5.1. */
void wage_dense_error(const struct wage_layer *layer, const int8_t *d,
                      int32_t *e, int8_t *row);
/* g: (row_count), the gradient of the weights of output `o`, SPEC 5.2. */
void wage_dense_gradient(const struct wage_layer *layer, const int8_t *in,
                         const int8_t *d, uint32_t o, int32_t *g);

void wage_conv2d_forward(const struct wage_layer *layer, const int8_t *in,
                         const struct wage_output *out, int8_t *row);
void wage_conv2d_error(const struct wage_layer *layer, const int8_t *d,
                       int32_t *e, int8_t *row);
void wage_conv2d_gradient(const struct wage_layer *layer, const int8_t *in,
                          const int8_t *d, uint32_t o, int32_t *g);

/* SPEC 4.1 to 4.4. Returns p[label]; writes d: (classes). */
uint16_t wage_output_error(const wage_t *w, uint8_t label, int8_t *d);

/* SPEC 3.6. */
uint8_t wage_argmax(const int32_t *logits, uint32_t count);

/* SPEC 5.1: masks and quantises e: (count) to d: (count), with the
 * activations a: (count). Returns n, or -1 when all errors are 0. */
int wage_quantise_error(int32_t *e, const int8_t *a, int8_t *d,
                        uint32_t count);

/* SPEC 5.3: updates the weights of output `o` with their gradient
 * g: (row_count), shift n and the key of this layer and step. */
void wage_update(struct wage_layer *layer, uint32_t o, const int32_t *g,
                 int n, uint32_t key);

/* Stored weight `i`, SPEC 2.4. */
int16_t wage_weight(const struct wage_layer *layer, uint32_t i);
void wage_set_weight(struct wage_layer *layer, uint32_t i, int16_t weight);
/* cffi end */

/* A layer kind is this. */
struct wage_kernels {
    void (*forward)(const struct wage_layer *layer, const int8_t *in,
                    const struct wage_output *out, int8_t *row);
    void (*error)(const struct wage_layer *layer, const int8_t *d,
                  int32_t *e, int8_t *row);
    void (*gradient)(const struct wage_layer *layer, const int8_t *in,
                     const int8_t *d, uint32_t o, int32_t *g);
};

/* NULL for a kind that does not exist. */
const struct wage_kernels *wage_kernels(uint8_t kind);

/* SPEC 6.2: offers the latent at the cut to the replay. */
void wage_replay_offer(wage_t *w, uint8_t label);

#define WAGE_WEIGHT_MAX_8 32512 /* 127 * 256 */
#define WAGE_WEIGHT_MAX_2 64

#endif

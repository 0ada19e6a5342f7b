/* SPDX-License-Identifier: MIT
 *
 * One layer of an open model and the kernels that work on it (internal).
 * A layer kind is one file with a triplet forward, error, gradient, and one
 * row in the table of layer.c. A batch of n samples lies one behind the
 * other: element i of sample s is number s * count + i.
 */
#ifndef WAGE_LAYER_H
#define WAGE_LAYER_H

#include "classes.h"

/* What is compiled in: a bit for each enum wage_kind, and for what else only
 * some models use. The image of one model leaves out the rest, and refuses
 * other models by WAGE_E_KIND. */
#ifndef WAGE_LAYERS
#define WAGE_LAYERS 0xfffffful
#endif
#define WAGE_HAS(bit) ((WAGE_LAYERS & 1ul << (bit)) != 0)
#define WAGE_HAS_SLIDING (WAGE_LAYERS & 0x3c) /* kinds with a window */
/* What needs gradients in memory: those with weights, and uses 7, 9, 10. */
#define WAGE_HAS_GRADIENTS (WAGE_LAYERS & 0x68c)

/* cffi begin */
enum wage_use {
    WAGE_USE_PAPER = 7,         /* its policy */
    WAGE_USE_SSE = 8,           /* the loss */
    WAGE_USE_MOMENTUM = 9,
    WAGE_USE_BATCH = 10,        /* more than one sample a step */
    WAGE_USE_BIAS = 11,         /* trainable */
    WAGE_USE_FROZEN = 12,       /* layers that do not learn */
    WAGE_USE_ROUND_ROW = 13,    /* trainable weights for wage_round_row() */
    WAGE_USE_INPUTS = 14,       /* a replay of inputs */
    WAGE_USE_MEANS = 15,        /* class means, SPEC 5.6 */
    WAGE_USE_CLASSES = 16       /* names and confusion of classes */
};
enum wage_kind {
    WAGE_DENSE = 1, WAGE_CONV2D = 2, WAGE_DEPTHWISE = 3,
    WAGE_AVERAGE_POOL = 4, WAGE_MAX_POOL = 5, WAGE_ADD = 6
};
enum wage_activation { WAGE_NONE = 0, WAGE_RELU = 1, WAGE_SIGNED = 2 };
#define WAGE_NO_LAYER 255

#define WAGE_PRODUCTS_MAX 131072 /* of one sum, SPEC 2.6 */
#define WAGE_PRODUCT_MAX 16256  /* 128 * 127 */
#define WAGE_ELEMENTS_MAX 1048576 /* of one tensor, SPEC 9.4 */
#define WAGE_BIAS_MAX 16777215  /* 2^24 - 1 */
#define WAGE_BATCH_MAX 4096
#define WAGE_MOMENTUM_MAX 7
#define WAGE_MEAN_MAX 2080      /* inputs of a layer of class means: half the
                                * sum of their squares is a bias */
/* Room for a layer in an arena where pointers have 64 bits, taken everywhere,
 * so that a model needs the same arena on every machine. */
#define WAGE_LAYER_BYTES 152

struct wage_layer {
    uint8_t kind;               /* enum wage_kind */
    uint8_t weight_bits;        /* kW: in use, 2..8; 0 without weights */
    uint8_t store_bits;         /* kG: weights that learn, kW..16, else 0 */
    uint8_t trainable;          /* 0 or 1 */
    uint8_t activation;         /* enum wage_activation */
    uint8_t last;               /* 1: sums become wide logits */
    uint8_t halves_up;          /* weights in use are `high`, SPEC 2.4 */
    uint8_t shift;              /* H of SPEC 2.5 */
    uint8_t kernel_h, kernel_w, stride_h, stride_w;
    uint8_t pad_top, pad_left, pad_bottom, pad_right;
    uint8_t pool;               /* 1 or 2 */
    uint8_t skip;               /* of an add: layers below, else 0 */
    uint8_t joined;             /* add whose skip is `in`, or WAGE_NO_LAYER */
    uint16_t factor;            /* of an average pool */
    uint16_t in_h, in_w, in_c;
    uint16_t sum_h, sum_w;      /* before pooling */
    uint16_t out_h, out_w, out_c;
    uint32_t in_count, out_count; /* elements of one sample */
    uint32_t row_count;         /* weights of one output: the fan-in */
    uint32_t weight_count;
    int32_t held_x;             /* exponent of `held` */
    const uint8_t *blob;        /* weights in the blob, SPEC 9.3 */
    const uint8_t *blob_bias;   /* bias in the blob, or NULL */
    int8_t *high;               /* of kG bits: stored weights, upper bytes;
                                 * (out_c, row_count) */
    int8_t *low;                /* kG above 8: w - 256 * high, else NULL */
    int16_t *velocity;          /* with momentum; same shape */
    int32_t *bias;              /* trainable with bias: (out_c) */
    uint8_t *winner;            /* trainable with pool: 2 bits an output */
    uint8_t *mask;              /* trainable, paper: 2 bits an output:
                                 * WAGE_OPEN, WAGE_SATURATED */
    int8_t *held;               /* error of an add's output, for its skip */
    int8_t *in;                 /* (batch, in_count), or NULL: not kept */
    const int8_t *side;         /* of an add: the skip, (batch, in_count) */
};

#define WAGE_OPEN 1
#define WAGE_SATURATED 2

/* Forward writes int8 activations (hidden) or int32 sums (last) here. */
struct wage_output {
    int8_t *a;                  /* (n, out_count) */
    int32_t *sum;               /* (n, classes) */
};

/* How an update is made, SPEC 5.3. */
struct wage_rate {
    int32_t n;                  /* shift of the gradient */
    uint8_t factor;             /* lr_factor */
    uint8_t momentum;           /* M, 0: none */
    uint32_t key, leak_key;     /* of the random draws */
    uint32_t stride;            /* WAGE_DRAW_STEP, so that compilers multiply
                                 * and do not shift and add instead */
};

/* n inputs through layers `from` to `to` - 1. Returns the activations of the
 * last of them, or NULL when it gives logits. */
const int8_t *wage_forward(wage_t *w, uint32_t n, const int8_t *in,
                           unsigned from, unsigned to);

/* Weights in use of output `o`; `row` (row_count) may serve as scratch. */
const int8_t *wage_row(const struct wage_layer *layer, uint32_t o,
                       int8_t *row);
/* Bias of output `o`, 0 without. */
int32_t wage_bias(const struct wage_layer *layer, uint32_t o);

/* The sum of a[i] * q[i]. */
int32_t wage_dot(const int8_t *a, const int8_t *q, uint32_t count);

/* to[i] += from[i] * factor. */
void wage_spread(int32_t *restrict to, const int8_t *restrict from,
                 int32_t factor, uint32_t count);

/* Weights in use of an output whose first stored weight is `first`, where
 * both have different widths and halves go to even: writes row: (row_count). */
void wage_round_row(const struct wage_layer *layer, uint32_t first,
                    int8_t *row);

/* SPEC 3.5 for element `i` of the batch: masks, activation, rounding,
 * clipping; or the sum as it is. */
void wage_emit(const struct wage_layer *layer, uint32_t i, int32_t sum,
               const struct wage_output *out);

/* in: (n, in_count) -> out: (n, out_count); row: (row_count) scratch. */
void wage_dense_forward(const struct wage_layer *layer, uint32_t n,
                        const int8_t *in, const struct wage_output *out,
                        int8_t *row);
/* d: (n, out_count) -> e: (n, in_count), sums of SPEC 5.1.1. */
void wage_dense_error(const struct wage_layer *layer, uint32_t n,
                      const int8_t *d, int32_t *e, int8_t *row);
/* layer->in, d -> g: (rows, row_count), gradient of the weights of outputs
 * o..o+rows-1. */
void wage_dense_gradient(const struct wage_layer *layer, uint32_t n,
                         const int8_t *d, uint32_t o, uint32_t rows,
                         int32_t *g);

void wage_conv2d_forward(const struct wage_layer *layer, uint32_t n,
                         const int8_t *in, const struct wage_output *out,
                         int8_t *row);
void wage_conv2d_error(const struct wage_layer *layer, uint32_t n,
                       const int8_t *d, int32_t *e, int8_t *row);
void wage_conv2d_gradient(const struct wage_layer *layer, uint32_t n,
                          const int8_t *d, uint32_t o, uint32_t rows,
                          int32_t *g);

void wage_depthwise_forward(const struct wage_layer *layer, uint32_t n,
                            const int8_t *in, const struct wage_output *out,
                            int8_t *row);
void wage_depthwise_error(const struct wage_layer *layer, uint32_t n,
                          const int8_t *d, int32_t *e, int8_t *row);
void wage_depthwise_gradient(const struct wage_layer *layer, uint32_t n,
                             const int8_t *d, uint32_t o, uint32_t rows,
                             int32_t *g);

void wage_average_pool_forward(const struct wage_layer *layer, uint32_t n,
                               const int8_t *in,
                               const struct wage_output *out, int8_t *row);
void wage_average_pool_error(const struct wage_layer *layer, uint32_t n,
                             const int8_t *d, int32_t *e, int8_t *row);

void wage_max_pool_forward(const struct wage_layer *layer, uint32_t n,
                           const int8_t *in, const struct wage_output *out,
                           int8_t *row);
/* The winners are found again in layer->in. */
void wage_max_pool_error(const struct wage_layer *layer, uint32_t n,
                         const int8_t *d, int32_t *e, int8_t *row);

void wage_add_forward(const struct wage_layer *layer, uint32_t n,
                      const int8_t *in, const struct wage_output *out,
                      int8_t *row);
void wage_add_error(const struct wage_layer *layer, uint32_t n,
                    const int8_t *d, int32_t *e, int8_t *row);

/* SPEC 4.1 to 4.4: turns the logits of a sample (classes) into its errors e.
 * Returns p[label]. */
uint16_t wage_output_error(const wage_t *w, int32_t *logits, uint8_t label);

/* SPEC 3.6. */
uint8_t wage_argmax(const int32_t *logits, uint32_t count);

/* SPEC 4.5: the errors e: (n, classes) in w->logits as d: (n, classes).
 * Returns the exponent x and the largest |d|. */
int wage_quantise_output(const wage_t *w, uint32_t n, int8_t *d,
                         int *largest);

/* SPEC 5.1.2: joins the error that `add` keeps for its skip to e: (count),
 * whose y is given. Returns the new y. */
int wage_join(const struct wage_layer *add, int32_t *e, uint32_t count,
              int y);

/* SPEC 5.1.3: masks elements from..from+count-1 of the errors e as the layer
 * `below` says whose activations a are. Returns the largest |e| of them. */
uint32_t wage_mask_error(const struct wage_layer *below, uint32_t from,
                         uint32_t count, int32_t *e, const int8_t *a);

/* SPEC 5.1.4, 5.1.5: quantises the same elements to d by the shift n - 7. */
void wage_round_error(const struct wage_layer *below, uint32_t from,
                      uint32_t count, int n, const int32_t *e, int8_t *d);

/* Largest |x| of `count` numbers. */
uint32_t wage_largest(const int32_t *x, uint32_t count);

/* SPEC 5.3: updates weights `from`.. with their gradient g: (count). */
void wage_update(struct wage_layer *layer, uint32_t from, uint32_t count,
                 const int32_t *g, const struct wage_rate *rate);

/* The same for all weights of a dense layer, from one sample, d: (out_c), and
 * without momentum; list: (row_count) scratch. */
void wage_turn(struct wage_layer *layer, const int8_t *d,
               const struct wage_rate *rate, uint32_t *list);
/* What that does, at any rate and size, but slowly. */
void wage_turn_slowly(struct wage_layer *layer, const int8_t *d,
                      const struct wage_rate *rate);

/* SPEC 5.4, with d: (n, out_count). */
void wage_update_bias(struct wage_layer *layer, uint32_t n, const int8_t *d,
                      const struct wage_rate *rate);

/* Stored weight `i`, SPEC 2.4, and its largest size. */
int16_t wage_weight(const struct wage_layer *layer, uint32_t i);
void wage_set_weight(struct wage_layer *layer, uint32_t i, int16_t weight);
int32_t wage_weight_max(const struct wage_layer *layer);

/* A layer kind is this; without weights gradient is NULL. */
struct wage_layer_kernels {
    void (*forward)(const struct wage_layer *layer, uint32_t n,
                    const int8_t *in, const struct wage_output *out,
                    int8_t *row);
    void (*error)(const struct wage_layer *layer, uint32_t n, const int8_t *d,
                  int32_t *e, int8_t *row);
    void (*gradient)(const struct wage_layer *layer, uint32_t n,
                     const int8_t *d, uint32_t o, uint32_t rows, int32_t *g);
};

/* All arithmetic in bulk. wage_open() takes the portable set; another one
 * with the same bits may replace it. */
struct wage_kernels {
    struct wage_layer_kernels layer[6]; /* by kind - 1 */
    uint32_t (*mask_error)(const struct wage_layer *below, uint32_t from,
                           uint32_t count, int32_t *e, const int8_t *a);
    void (*round_error)(const struct wage_layer *below, uint32_t from,
                        uint32_t count, int n, const int32_t *e, int8_t *d);
    uint32_t (*largest)(const int32_t *x, uint32_t count);
    void (*update)(struct wage_layer *layer, uint32_t from, uint32_t count,
                   const int32_t *g, const struct wage_rate *rate);
    void (*turn)(struct wage_layer *layer, const int8_t *d,
                 const struct wage_rate *rate, uint32_t *list); /* or NULL */
};
/* cffi end */

extern const struct wage_kernels wage_portable;

static inline int wage_paper(const wage_t *w)
{
    return WAGE_HAS(WAGE_USE_PAPER) && w->paper;
}

static inline int wage_sse(const wage_t *w)
{
    return WAGE_HAS(WAGE_USE_SSE) && w->sse;
}

static inline int wage_momentum(const wage_t *w)
{
    return WAGE_HAS(WAGE_USE_MOMENTUM) ? w->momentum : 0;
}

/* Samples of a step, at most. */
static inline uint32_t wage_batch(const wage_t *w)
{
    return WAGE_HAS(WAGE_USE_BATCH) ? w->batch : 1;
}

static inline int wage_is(const struct wage_layer *l, enum wage_kind kind)
{
    return WAGE_HAS(kind) && l->kind == kind;
}

/* SPEC 6.3: weights, biases and replay of the blob; no velocity, no name. */
void wage_load_factory(wage_t *w);
/* Of a layer the weights and biases of outputs from..from+count-1. */
void wage_load_outputs(struct wage_layer *layer, uint32_t from,
                       uint32_t count);

/* Whether a layer's weights, if it has any, stay as they are in the blob. */
static inline int wage_fixed(const struct wage_layer *l)
{
    return WAGE_HAS(WAGE_USE_FROZEN) && !l->store_bits;
}

/* Weights of a layer that learning changes. */
static inline uint32_t wage_learned(const struct wage_layer *l)
{
    return wage_fixed(l) ? 0 : l->weight_count;
}

/* Whether the replay keeps inputs, and not latents. */
static inline int wage_inputs(const wage_t *w)
{
    return WAGE_HAS(WAGE_USE_INPUTS) && w->inputs;
}

/* Whether classes are means, SPEC 5.6. */
static inline int wage_means(const wage_t *w)
{
    return WAGE_HAS(WAGE_USE_MEANS) && w->means;
}

/* Whether names and confusion of classes are kept, SPEC 6.6. */
static inline int wage_table(const wage_t *w)
{
    return WAGE_HAS(WAGE_USE_CLASSES) && w->table;
}

/* Bytes of a sample in the replay. */
static inline uint32_t wage_replay_bytes(const wage_t *w)
{
    return wage_inputs(w) ? w->input_bytes : w->latent_bytes;
}

/* SPEC 6.2: offers a sample, as the replay keeps it. */
void wage_replay_offer(wage_t *w, const int8_t *sample, uint8_t label);

/* Whether the last layer can hold a mean a class, and only it learns. */
int wage_can_mean(const wage_t *w, const struct wage_layer *last);

/* SPEC 5.6: the mean of class `label` takes in the latent. */
void wage_move_mean(wage_t *w, uint8_t label);

/* Counts a prediction in the confusion of a model that keeps one. */
void wage_confuse(wage_t *w, uint8_t label, uint8_t prediction);

#endif

/* SPDX-License-Identifier: MIT
 *
 * The blob: every byte is checked before one is used. SPEC section 9.
 */
#include "blob.h"
#include "num.h"
#include "prepare.h"

#include <stddef.h>

/* Flags of the header and of a layer's record. */
enum { PAPER = 1, SSE = 2, INPUTS = 8, MEANS = 16, TABLE = 32, FLAGS = 63 };
#define IF_HAS(use, flag) (WAGE_HAS(use) ? (flag) : 0)
#define FLAGS_HERE (IF_HAS(WAGE_USE_PAPER, PAPER) | IF_HAS(WAGE_USE_SSE, SSE) \
                    | WAGE_EXTRAS | IF_HAS(WAGE_USE_INPUTS, INPUTS) \
                    | IF_HAS(WAGE_USE_MEANS, MEANS) \
                    | IF_HAS(WAGE_USE_CLASSES, TABLE))
enum { TRAINABLE = 1, BIASED = 2, FIXED = 4 };

static int all_zero(const uint8_t *p, uint32_t count)
{
    while (count--)
        if (wage_fetch8(p++))
            return 0;
    return 1;
}

int wage_check_config(const struct wage_config *config)
{
    return config->lr_shift < -24 || config->lr_shift > 7
        || config->gain_shift > 7 || config->threshold > 127
        || config->lr_factor < 1 || config->lr_factor > 15
        ? WAGE_E_CONFIG : WAGE_OK;
}

static int outside(const wage_t *w, uint32_t at, uint32_t bytes)
{
    uint32_t first = WAGE_HEADER_BYTES
                     + (uint32_t)w->layer_count * WAGE_RECORD_BYTES;
    return at < first || at > w->blob_bytes || bytes > w->blob_bytes - at;
}

static int has_weights(const struct wage_layer *l)
{
    return l->kind >= WAGE_DENSE && l->kind <= WAGE_DEPTHWISE;
}

/* Whether it needs what this build has not; its kind exists. */
static int left_out(const struct wage_layer *l, int biased, int fixed)
{
    if (!WAGE_HAS(l->kind))
        return 1;
    if (!l->trainable || fixed)
        return !WAGE_HAS(WAGE_USE_FROZEN)
               || (fixed && !WAGE_HAS(WAGE_USE_BIAS));
    return (biased && !WAGE_HAS(WAGE_USE_BIAS))
        || (!WAGE_HAS(WAGE_USE_ROUND_ROW) && !l->halves_up
            && l->store_bits != l->weight_bits);
}

/* Fields that only some kinds have, and widths of weights. */
static int check_kind(const wage_t *w, const struct wage_layer *l,
                      const uint8_t *r)
{
    static const int8_t shift_max[] = { 20, 20, 20, 24, 0, 7 };
    int8_t shift = (int8_t)r[3];
    int frozen = !l->trainable || (r[2] & FIXED), bits = l->weight_bits;
    if (l->kind < WAGE_DENSE || l->kind > WAGE_ADD
        || left_out(l, r[2] & BIASED, r[2] & FIXED))
        return WAGE_E_KIND;
    if (has_weights(l)
        ? bits < 2 || bits > 8
          || (frozen ? l->store_bits != 0
                     : l->store_bits < bits || l->store_bits > 16)
        : bits || l->store_bits)
        return WAGE_E_BITS;
    if ((r[2] & BIASED) && l->trainable && wage_paper(w))
        return WAGE_E_POLICY;
    return shift > shift_max[l->kind - 1]
        || shift < (has_weights(l) ? 2 - bits : 0) ? WAGE_E_LIMIT : WAGE_OK;
}

static int check_activation(const struct wage_layer *l)
{
    int pool = wage_is(l, WAGE_AVERAGE_POOL) || wage_is(l, WAGE_MAX_POOL);
    if (l->last)
        return l->activation != WAGE_NONE || l->kind >= WAGE_MAX_POOL
            ? WAGE_E_SHAPE : WAGE_OK;
    return l->activation > WAGE_SIGNED
        || (l->activation == WAGE_NONE) != pool ? WAGE_E_SHAPE : WAGE_OK;
}

/* Dense and add: one position. */
static int check_plain(const wage_t *w, struct wage_layer *l)
{
    if (l->kernel_h != 1 || l->kernel_w != 1 || l->stride_h != 1
        || l->stride_w != 1 || l->pool != 1 || l->pad_top || l->pad_left
        || l->pad_bottom || l->pad_right)
        return WAGE_E_SHAPE;
    int add = wage_is(l, WAGE_ADD);
    l->sum_h = l->out_h = add ? l->in_h : 1;
    l->sum_w = l->out_w = add ? l->in_w : 1;
    l->row_count = add ? 0 : l->in_count;
    return l->row_count > WAGE_PRODUCTS_MAX
        || (uint64_t)l->sum_h * l->sum_w * wage_batch(w) > WAGE_PRODUCTS_MAX
        ? WAGE_E_LIMIT : WAGE_OK;
}

static int check_sliding(const wage_t *w, struct wage_layer *l)
{
    uint32_t high = (uint32_t)l->in_h + l->pad_top + l->pad_bottom;
    uint32_t wide = (uint32_t)l->in_w + l->pad_left + l->pad_right;
    if (!l->kernel_h || !l->kernel_w || !l->stride_h || !l->stride_w
        || l->pool < 1 || l->pool > (has_weights(l) ? 2 : 1)
        || l->pad_top >= l->kernel_h || l->pad_bottom >= l->kernel_h
        || l->pad_left >= l->kernel_w || l->pad_right >= l->kernel_w
        || high < l->kernel_h || wide < l->kernel_w
        || (l->kind == WAGE_AVERAGE_POOL && l->factor == 0))
        return WAGE_E_SHAPE;
    high = (high - l->kernel_h) / l->stride_h + 1;
    wide = (wide - l->kernel_w) / l->stride_w + 1;
    uint32_t kernel = (uint32_t)l->kernel_h * l->kernel_w; // <= 65,025
    uint64_t fan_in = (uint64_t)kernel * (l->kind == WAGE_CONV2D ? l->in_c : 1);
    uint64_t fan_out = l->kind == WAGE_CONV2D ? (uint64_t)kernel * l->out_c : 0;
    if (high > 65535 || wide > 65535
        || (uint64_t)high * wide * wage_batch(w) > WAGE_PRODUCTS_MAX
        || fan_in > WAGE_PRODUCTS_MAX || fan_out > WAGE_PRODUCTS_MAX
        || (uint64_t)kernel * l->factor > WAGE_BIAS_MAX)
        return WAGE_E_LIMIT;
    l->sum_h = (uint16_t)high;
    l->sum_w = (uint16_t)wide;
    l->out_h = (uint16_t)((high + l->pool - 1u) / l->pool);
    l->out_w = (uint16_t)((wide + l->pool - 1u) / l->pool);
    l->row_count = has_weights(l) ? (uint32_t)fan_in : 0;
    return WAGE_OK;
}

static uint64_t largest_sum(const struct wage_layer *l)
{
    return l->kind == WAGE_AVERAGE_POOL
        ? (uint64_t)l->kernel_h * l->kernel_w * l->factor * 128
        : (uint64_t)l->row_count * WAGE_PRODUCT_MAX + WAGE_BIAS_MAX + 1;
}

static int check_shape(const wage_t *w, struct wage_layer *l)
{
    uint64_t in = (uint64_t)l->in_h * l->in_w * l->in_c;
    if (in == 0 || l->out_c == 0
        || (l->kind >= WAGE_DEPTHWISE && l->out_c != l->in_c))
        return WAGE_E_SHAPE;
    if (in > WAGE_ELEMENTS_MAX)
        return WAGE_E_LIMIT;
    l->in_count = (uint32_t)in;
    int error = !WAGE_HAS_SLIDING || l->kind == WAGE_DENSE
        || l->kind == WAGE_ADD ? check_plain(w, l) : check_sliding(w, l);
    if (error)
        return error;
    uint64_t out = (uint64_t)l->out_h * l->out_w * l->out_c;
    uint64_t weights = (uint64_t)l->row_count * l->out_c;
    if (out > WAGE_ELEMENTS_MAX || weights > UINT32_MAX / 2)
        return WAGE_E_LIMIT;
    if (l->last && wage_sse(w)
        && largest_sum(l) + ((uint64_t)1 << (7 + l->shift)) > INT32_MAX)
        return WAGE_E_LIMIT;
    l->out_count = (uint32_t)out;
    l->weight_count = (uint32_t)weights;
    return WAGE_OK;
}

static uint32_t weight_bytes(const struct wage_layer *l)
{
    if (l->store_bits)
        return l->weight_count << (l->store_bits > 8);
    return l->weight_bits == 2 ? (l->weight_count + 3) / 4 : l->weight_count;
}

/* Bytes and places of weights and bias. */
static int check_sections(const wage_t *w, struct wage_layer *l,
                          const uint8_t *r)
{
    uint32_t at = load32(r + 16), bias_at = load32(r + 28);
    if (load32(r + 20) != weight_bytes(l))
        return WAGE_E_SHAPE;
    if ((has_weights(l) && outside(w, at, load32(r + 20)))
        || ((r[2] & BIASED) && outside(w, bias_at, (uint32_t)4 * l->out_c)))
        return WAGE_E_RANGE;
    l->blob = w->blob + at;
    l->blob_bias = r[2] & BIASED ? w->blob + bias_at : NULL;
    return WAGE_OK;
}

int wage_blob_layer(const wage_t *w, unsigned k, struct wage_layer *l)
{
    const uint8_t *at = w->blob + WAGE_HEADER_BYTES + k * WAGE_RECORD_BYTES;
    uint8_t room[WAGE_RECORD_BYTES];
    const uint8_t *r = wage_fetched(at, room, sizeof room);
    uint8_t trainable_below = l->trainable;
    // one by one: a literal of all fields is larger code
    *l = (struct wage_layer){ .in_h = l->out_h, .in_w = l->out_w,
                              .in_c = l->out_c, .joined = WAGE_NO_LAYER };
    l->kind = r[0];
    l->weight_bits = r[1];
    l->trainable = r[2] & TRAINABLE;
    l->shift = (uint8_t)(r[3] + (r[1] ? r[1] - 1 : 0));
    l->out_c = load16(r + 4);
    l->kernel_h = r[6];
    l->kernel_w = r[7];
    l->stride_h = r[8];
    l->stride_w = r[9];
    l->pad_top = r[10];
    l->pad_left = r[11];
    l->pad_bottom = r[12];
    l->pad_right = r[13];
    l->pool = r[14];
    l->activation = r[15];
    l->store_bits = r[24];
    l->skip = r[25];
    l->factor = load16(r + 26);
    l->last = k + 1u == w->layer_count;
    l->halves_up = !wage_paper(w) && r[1] == 8 && r[24] == 16;
    if ((r[2] >= FIXED && r[2] != (TRAINABLE | BIASED | FIXED))
        || !all_zero(at + 32, WAGE_RECORD_BYTES - 32)
        || ((r[2] & BIASED) && !has_weights(l))
        || (!(r[2] & BIASED) && load32(r + 28))
        || (l->kind > WAGE_DEPTHWISE && l->kind <= WAGE_ADD && load32(r + 16))
        || (l->skip && l->kind != WAGE_ADD)
        || (l->factor && l->kind != WAGE_AVERAGE_POOL))
        return WAGE_E_RESERVED;
    if (l->trainable < trainable_below)
        return WAGE_E_LAYERS;
    int error = check_kind(w, l, r);
    if (!error)
        error = check_activation(l);
    if (!error)
        error = check_shape(w, l);
    return error ? error : check_sections(w, l, r);
}

static int check_weights(const struct wage_layer *l)
{
    if (!l->weight_count)
        return WAGE_OK;
    int32_t max = wage_fixed(l) ? ((int32_t)1 << l->weight_bits) / 2 - 1
                                : wage_weight_max(l);
    for (uint32_t i = 0; i < l->weight_count; i++) {
        int32_t x;
        if (l->store_bits > 8)
            x = (int16_t)wage_fetch16(l->blob + 2 * i);
        else if (l->store_bits || l->weight_bits > 2)
            x = (int8_t)wage_fetch8(l->blob + i);
        else
            x = wage_fetch2(l->blob, i);
        if (x < -max || x > max)
            return WAGE_E_WEIGHT;
    }
    for (uint32_t o = 0; l->blob_bias && o < l->out_c; o++) {
        int32_t bias = (int32_t)wage_fetch32(l->blob_bias + 4 * o);
        if (wage_size(bias) > WAGE_BIAS_MAX)
            return WAGE_E_WEIGHT;
    }
    return WAGE_OK;
}

/* An add `k` and its skip, the input of layer `source`. */
static int check_add(const wage_t *w, unsigned k, const struct wage_layer *add,
                     uint32_t *skips)
{
    const uint8_t *h = w->blob;
    struct wage_layer l = { .out_h = wage_fetch16(h + 20),
                            .out_w = wage_fetch16(h + 22),
                            .out_c = wage_fetch16(h + 24) };
    if (add->skip < 1 || add->skip > k)
        return WAGE_E_SHAPE;
    unsigned source = k - add->skip;
    for (unsigned j = 0; j < source; j++)
        (void)wage_blob_layer(w, j, &l); // was checked before
    if (l.out_h != add->in_h || l.out_w != add->in_w || l.out_c != add->in_c)
        return WAGE_E_SHAPE;
    if ((*skips & ((uint32_t)1 << source))
        || (add->trainable && source < w->frozen_count))
        return WAGE_E_LAYERS;
    *skips |= (uint32_t)1 << source;
    return WAGE_OK;
}

static int check_layers(wage_t *w)
{
    const uint8_t *h = w->blob;
    struct wage_layer l = { .out_h = wage_fetch16(h + 20),
                            .out_w = wage_fetch16(h + 22),
                            .out_c = wage_fetch16(h + 24) };
    uint32_t skips = 0; // bit k: the input of layer k is one
    w->input_bytes = 0;
    w->frozen_count = 0;
    for (unsigned k = 0; k < w->layer_count; k++) {
        int error = wage_blob_layer(w, k, &l);
        if (!error && wage_is(&l, WAGE_ADD))
            error = check_add(w, k, &l, &skips);
        if (!error)
            error = check_weights(&l);
        if (error)
            return error;
        if (k == 0)
            w->input_bytes = l.in_count;
        if (k == w->frozen_count)
            w->latent_bytes = l.in_count;
        if (!l.trainable)
            w->frozen_count++;
    }
    if (!l.trainable)
        return WAGE_E_LAYERS;
    if (wage_means(w) && !wage_can_mean(w, &l))
        return WAGE_E_POLICY;
    return l.out_count == w->classes ? WAGE_OK : WAGE_E_SHAPE;
}

static int check_replay(wage_t *w)
{
    uint32_t at = wage_fetch32(w->blob + 40);
    w->replay_capacity = wage_fetch16(w->blob + 36);
    w->replay_count = wage_fetch16(w->blob + 38);
    if (w->replay_count > w->replay_capacity || (!w->replay_count && at))
        return WAGE_E_REPLAY;
    if (!w->replay_count)
        return WAGE_OK;
    uint64_t bytes = (uint64_t)w->replay_count * (1 + wage_replay_bytes(w));
    if (bytes > w->blob_bytes || outside(w, at, (uint32_t)bytes))
        return WAGE_E_RANGE;
    for (uint32_t i = 0; i < w->replay_count; i++)
        if (wage_fetch8(w->blob + at + i) >= w->classes)
            return WAGE_E_REPLAY;
    return WAGE_OK;
}

/* h: the header, which is at the start of the blob. */
static int check_header(const uint8_t *h, const uint8_t *blob, uint32_t count)
{
    if (load32(h) != 0x45474157) // "WAGE"
        return WAGE_E_MAGIC;
    if (load16(h + 4) != WAGE_FORMAT || load16(h + 6) != WAGE_HEADER_BYTES
        || h[17] != WAGE_RECORD_BYTES)
        return WAGE_E_VERSION;
    if (load32(h + 8) > count)
        return WAGE_E_SHORT;
    if (load32(h + 8) < count)
        return WAGE_E_LENGTH;
    if (load32(h + 12) != wage_fetch_crc(blob + 16, count - 16))
        return WAGE_E_CRC;
    if (h[16] < 1 || h[16] > WAGE_LAYERS_MAX)
        return WAGE_E_LAYERS;
    if (count < WAGE_HEADER_BYTES + (uint32_t)h[16] * WAGE_RECORD_BYTES)
        return WAGE_E_RANGE;
    if (h[31] > FLAGS || h[59] || h[26] > 1)
        return WAGE_E_RESERVED;
    uint16_t classes = load16(h + 18);
    return classes < 2 || classes > WAGE_CLASSES_MAX ? WAGE_E_SHAPE : WAGE_OK;
}

int wage_blob_read(wage_t *w, const uint8_t *blob, uint32_t blob_bytes)
{
    uint8_t room[WAGE_HEADER_BYTES];
    if (blob_bytes < WAGE_HEADER_BYTES)
        return WAGE_E_SHORT;
    const uint8_t *h = wage_fetched(blob, room, sizeof room);
    int error = check_header(h, blob, blob_bytes);
    if (error)
        return error;
    *w = (wage_t){ .blob = blob, .blob_bytes = blob_bytes,
                   .blob_crc = load32(h + 12), .layer_count = h[16],
                   .classes = (uint8_t)load16(h + 18),
                   .paper = IF_HAS(WAGE_USE_PAPER, h[31] & 1),
                   .sse = IF_HAS(WAGE_USE_SSE, h[31] >> 1 & 1),
                   .inputs = IF_HAS(WAGE_USE_INPUTS, h[31] >> 3 & 1),
                   .means = IF_HAS(WAGE_USE_MEANS, h[31] >> 4 & 1),
                   .table = IF_HAS(WAGE_USE_CLASSES, h[31] >> 5 & 1),
                   .batch = load16(h + 60), .momentum = h[62] };
    w->config = (struct wage_config){
        .seed = load32(h + 32), .lr_shift = (int8_t)h[28],
        .replays = h[29], .gain_shift = h[27], .threshold = h[30],
        .lr_factor = h[63] };
    error = wage_check_config(&w->config);
    if (!error && (w->batch < 1 || w->batch > WAGE_BATCH_MAX
                   || w->momentum > WAGE_MOMENTUM_MAX))
        error = WAGE_E_CONFIG;
    if (!error && ((h[31] & (FLAGS & ~FLAGS_HERE))
                   || (!WAGE_HAS(WAGE_USE_MOMENTUM) && w->momentum)
                   || (!WAGE_HAS(WAGE_USE_BATCH) && w->batch != 1)))
        error = WAGE_E_KIND;
    if (!error)
        error = check_layers(w);
    if (!error)
        error = check_replay(w);
    return error;
}

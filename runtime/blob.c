/* SPDX-License-Identifier: MIT
 *
 * The blob: every byte is checked before one is used. SPEC section 9.
 */
#include "blob.h"
#include "num.h"

#define PRODUCTS_MAX 131071u    /* of one sum, SPEC 2.6 */
#define ELEMENTS_MAX 1048576u   /* of one tensor */
#define ALPHA_SHIFT_MAX 20

static int all_zero(const uint8_t *p, uint32_t count)
{
    while (count--)
        if (*p++)
            return 0;
    return 1;
}

int wage_check_config(const struct wage_config *config)
{
    return config->lr_shift < -24 || config->lr_shift > 7
        || config->gain_shift > 7 || config->threshold > 127
        ? WAGE_E_CONFIG : WAGE_OK;
}

static int outside(const wage_t *w, uint32_t at, uint32_t bytes)
{
    uint32_t first = WAGE_HEADER_BYTES
                     + (uint32_t)w->layer_count * WAGE_RECORD_BYTES;
    return at < first || at > w->blob_bytes || bytes > w->blob_bytes - at;
}

static int check_dense(struct wage_layer *l)
{
    if (l->kernel_h != 1 || l->kernel_w != 1 || l->stride_h != 1
        || l->stride_w != 1 || l->pool != 1 || l->pad_top || l->pad_left
        || l->pad_bottom || l->pad_right)
        return WAGE_E_SHAPE;
    l->sum_h = l->sum_w = l->out_h = l->out_w = 1;
    l->row_count = l->in_count;
    return l->row_count > PRODUCTS_MAX ? WAGE_E_LIMIT : WAGE_OK;
}

static int check_conv2d(struct wage_layer *l)
{
    uint32_t high = (uint32_t)l->in_h + l->pad_top + l->pad_bottom;
    uint32_t wide = (uint32_t)l->in_w + l->pad_left + l->pad_right;
    if (!l->kernel_h || !l->kernel_w || !l->stride_h || !l->stride_w
        || l->pool < 1 || l->pool > 2
        || l->pad_top >= l->kernel_h || l->pad_bottom >= l->kernel_h
        || l->pad_left >= l->kernel_w || l->pad_right >= l->kernel_w
        || high < l->kernel_h || wide < l->kernel_w)
        return WAGE_E_SHAPE;
    high = (high - l->kernel_h) / l->stride_h + 1;
    wide = (wide - l->kernel_w) / l->stride_w + 1;
    uint32_t kernel = (uint32_t)l->kernel_h * l->kernel_w; // <= 65,025
    if (high > 65535 || wide > 65535 || (uint64_t)high * wide > PRODUCTS_MAX
        || (uint64_t)kernel * l->in_c > PRODUCTS_MAX
        || (uint64_t)kernel * l->out_c > PRODUCTS_MAX)
        return WAGE_E_LIMIT;
    l->sum_h = (uint16_t)high;
    l->sum_w = (uint16_t)wide;
    l->out_h = (uint16_t)((high + l->pool - 1u) / l->pool);
    l->out_w = (uint16_t)((wide + l->pool - 1u) / l->pool);
    l->row_count = kernel * l->in_c;
    return WAGE_OK;
}

static int check_shape(struct wage_layer *l)
{
    uint64_t in = (uint64_t)l->in_h * l->in_w * l->in_c;
    if (in == 0 || l->out_c == 0)
        return WAGE_E_SHAPE;
    if (in > ELEMENTS_MAX)
        return WAGE_E_LIMIT;
    l->in_count = (uint32_t)in;
    int error = l->kind == WAGE_DENSE ? check_dense(l) : check_conv2d(l);
    if (error)
        return error;
    uint64_t out = (uint64_t)l->out_h * l->out_w * l->out_c;
    uint64_t weights = (uint64_t)l->row_count * l->out_c;
    if (out > ELEMENTS_MAX || weights > UINT32_MAX / 2)
        return WAGE_E_LIMIT;
    l->out_count = (uint32_t)out;
    l->weight_count = (uint32_t)weights;
    return WAGE_OK;
}

static uint32_t weight_bytes(const struct wage_layer *l)
{
    if (l->weight_bits == 8)
        return l->weight_count << l->trainable;
    return l->trainable ? l->weight_count : (l->weight_count + 3) / 4;
}

int wage_blob_layer(const wage_t *w, unsigned k, struct wage_layer *l)
{
    const uint8_t *r = w->blob + WAGE_HEADER_BYTES + k * WAGE_RECORD_BYTES;
    struct wage_layer below = *l;
    *l = (struct wage_layer){
        .kind = r[0], .weight_bits = r[1], .trainable = r[2] & 1,
        .shift = (uint8_t)((r[1] == 8 ? 7 : 1) + r[3]),
        .out_c = load16(r + 4), .kernel_h = r[6], .kernel_w = r[7],
        .stride_h = r[8], .stride_w = r[9], .pad_top = r[10],
        .pad_left = r[11], .pad_bottom = r[12], .pad_right = r[13],
        .pool = r[14], .relu = r[15], .in_h = below.out_h,
        .in_w = below.out_w, .in_c = below.out_c };
    if ((r[2] & ~1) || !all_zero(r + 24, WAGE_RECORD_BYTES - 24))
        return WAGE_E_RESERVED;
    if (l->trainable < below.trainable)
        return WAGE_E_LAYERS;
    if (l->kind != WAGE_DENSE && l->kind != WAGE_CONV2D)
        return WAGE_E_KIND;
    if (l->weight_bits != 2 && l->weight_bits != 8)
        return WAGE_E_BITS;
    if (r[3] > ALPHA_SHIFT_MAX)
        return WAGE_E_LIMIT;
    if (r[15] != (k + 1u < w->layer_count))
        return WAGE_E_SHAPE;
    int error = check_shape(l);
    if (error)
        return error;
    if (load32(r + 20) != weight_bytes(l))
        return WAGE_E_SHAPE;
    if (outside(w, load32(r + 16), load32(r + 20)))
        return WAGE_E_RANGE;
    l->blob = w->blob + load32(r + 16);
    return WAGE_OK;
}

static int check_weights(const struct wage_layer *l)
{
    for (uint32_t i = 0; i < l->weight_count; i++) {
        int bad;
        if (l->weight_bits == 8 && l->trainable) {
            int16_t x = (int16_t)load16(l->blob + 2 * i);
            bad = x < -WAGE_WEIGHT_MAX_8 || x > WAGE_WEIGHT_MAX_8;
        } else if (l->weight_bits == 8) {
            bad = (int8_t)l->blob[i] == -128;
        } else if (l->trainable) {
            int8_t x = (int8_t)l->blob[i];
            bad = x < -WAGE_WEIGHT_MAX_2 || x > WAGE_WEIGHT_MAX_2;
        } else {
            bad = load2(l->blob, i) == -2;
        }
        if (bad)
            return WAGE_E_WEIGHT;
    }
    return WAGE_OK;
}

static int check_layers(wage_t *w)
{
    const uint8_t *h = w->blob;
    struct wage_layer l = { .out_h = load16(h + 20), .out_w = load16(h + 22),
                            .out_c = load16(h + 24) };
    w->input_bytes = 0;
    w->frozen_count = 0;
    for (unsigned k = 0; k < w->layer_count; k++) {
        int error = wage_blob_layer(w, k, &l);
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
    return l.out_count == w->classes ? WAGE_OK : WAGE_E_SHAPE;
}

static int check_replay(wage_t *w)
{
    uint32_t at = load32(w->blob + 40);
    w->replay_capacity = load16(w->blob + 36);
    w->replay_count = load16(w->blob + 38);
    if (w->replay_count > w->replay_capacity || (!w->replay_count && at))
        return WAGE_E_REPLAY;
    if (!w->replay_count)
        return WAGE_OK;
    uint64_t bytes = (uint64_t)w->replay_count * (1 + w->latent_bytes);
    if (bytes > w->blob_bytes || outside(w, at, (uint32_t)bytes))
        return WAGE_E_RANGE;
    for (uint32_t i = 0; i < w->replay_count; i++)
        if (w->blob[at + i] >= w->classes)
            return WAGE_E_REPLAY;
    return WAGE_OK;
}

static int check_header(const uint8_t *h, uint32_t count)
{
    if (count < WAGE_HEADER_BYTES)
        return WAGE_E_SHORT;
    if (h[0] != 'W' || h[1] != 'A' || h[2] != 'G' || h[3] != 'E')
        return WAGE_E_MAGIC;
    if (load16(h + 4) != WAGE_FORMAT || load16(h + 6) != WAGE_HEADER_BYTES
        || h[17] != WAGE_RECORD_BYTES)
        return WAGE_E_VERSION;
    if (load32(h + 8) > count)
        return WAGE_E_SHORT;
    if (load32(h + 8) < count)
        return WAGE_E_LENGTH;
    if (load32(h + 12) != wage_crc(0, h + 16, count - 16))
        return WAGE_E_CRC;
    if (h[16] < 1 || h[16] > WAGE_LAYERS_MAX)
        return WAGE_E_LAYERS;
    if (count < WAGE_HEADER_BYTES + (uint32_t)h[16] * WAGE_RECORD_BYTES)
        return WAGE_E_RANGE;
    if (h[31] || h[59] || load32(h + 60) || h[26] > 1)
        return WAGE_E_RESERVED;
    uint16_t classes = load16(h + 18);
    return classes < 2 || classes > WAGE_CLASSES_MAX ? WAGE_E_SHAPE : WAGE_OK;
}

int wage_blob_read(wage_t *w, const uint8_t *blob, uint32_t blob_bytes)
{
    int error = check_header(blob, blob_bytes);
    if (error)
        return error;
    *w = (wage_t){ .blob = blob, .blob_bytes = blob_bytes,
                   .blob_crc = load32(blob + 12), .layer_count = blob[16],
                   .classes = (uint8_t)load16(blob + 18) };
    w->config = (struct wage_config){
        .seed = load32(blob + 32), .lr_shift = (int8_t)blob[28],
        .replays = blob[29], .gain_shift = blob[27], .threshold = blob[30] };
    error = wage_check_config(&w->config);
    if (!error)
        error = check_layers(w);
    if (!error)
        error = check_replay(w);
    return error;
}

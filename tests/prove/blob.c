/* SPDX-License-Identifier: MIT
 *
 * The blob. A record: any, of the 2nd of any number of layers, above any
 * layer. The whole walk: any 116 bytes that say they are one layer: header,
 * record and 4 bytes of weights, bias or replay.
 */
#include "runtime/blob.c"

#include "crc.h"
#include "prove.h"

#define MOST 168u

/* In place of that of layer.c, which state.c has. */
int32_t wage_weight_max(const struct wage_layer *layer)
{
    must(layer->store_bits >= layer->weight_bits && layer->store_bits <= 16);
    must(layer->weight_bits >= 2);
    return (int32_t)up_to(32767);
}

/* What a record promises that was accepted. */
static void check_layer(const wage_t *w, const struct wage_layer *l)
{
    uint32_t at = (uint32_t)(l->blob - w->blob), bytes = w->blob_bytes;
    must(l->in_count > 0 && l->in_count <= WAGE_ELEMENTS_MAX);
    must(l->out_count > 0 && l->out_count <= WAGE_ELEMENTS_MAX);
    must(l->row_count <= WAGE_PRODUCTS_MAX);
    must(l->weight_count == (uint64_t)l->row_count * l->out_c);
    must(l->shift < 32);
    must(!l->weight_count || (l->weight_bits >= 2 && l->weight_bits <= 8));
    must(!l->weight_count
         || (at <= bytes && weight_bytes(l) <= bytes - at));
    at = (uint32_t)(l->blob_bias - w->blob);
    must(!l->blob_bias || (at <= bytes && 4u * l->out_c <= bytes - at));
}

/* The 2nd layer, above one of up to `most` in each direction. */
static void read_layer(int sliding, uint16_t most)
{
    static uint8_t blob[WAGE_HEADER_BYTES + 2 * WAGE_RECORD_BYTES + 16];
    uint8_t *record = blob + WAGE_HEADER_BYTES + WAGE_RECORD_BYTES;
    wage_t w;
    struct wage_layer l;
    for (unsigned i = 0; i < 32; i++)
        record[i] = nondet_u8();
    assume((record[0] >= WAGE_CONV2D && record[0] <= WAGE_MAX_POOL)
           == sliding);
    w.blob = blob;
    w.blob_bytes = sizeof blob - up_to(16);
    assume(l.out_h <= most && l.out_w <= most && l.out_c <= most);
    assume(w.batch >= 1 && w.batch <= WAGE_BATCH_MAX);
    assume(1 < w.layer_count && w.paper < 2 && w.sse < 2);
    if (wage_blob_layer(&w, 1, &l) == WAGE_OK)
        check_layer(&w, &l);
}

// --boolector --unwind 33
void prove_plain_layer(void)
{
    read_layer(0, 65535);
}

// --boolector --unwind 33
void prove_sliding_layer(void)
{
    read_layer(1, 65535);
}

static void check_model(const wage_t *w)
{
    must(w->layer_count >= 1 && w->frozen_count < w->layer_count);
    must(w->classes >= 2 && w->batch >= 1 && w->batch <= WAGE_BATCH_MAX);
    must(w->replay_count <= w->replay_capacity);
    must(wage_check_config(&w->config) == WAGE_OK);
    must(w->input_bytes > 0 && w->latent_bytes > 0);
}

// --boolector --unwind 117 --unwindsetname blob.c@all_zero:0:17,blob.c@check_add:0:2,blob.c@check_layers:0:3,blob.c@check_weights:0:18,blob.c@check_weights:1:3,blob.c@check_replay:0:6
void prove_blob_read(void)
{
    static uint8_t blob[WAGE_HEADER_BYTES + WAGE_RECORD_BYTES + 4];
    wage_t w;
    for (unsigned i = 0; i < sizeof blob; i++)
        blob[i] = nondet_u8();
    assume(blob[16] == 1);
    int error = wage_blob_read(&w, blob, sizeof blob);
    must(error <= 0 && error >= WAGE_E_POLICY);
    if (error == WAGE_OK)
        check_model(&w);
}

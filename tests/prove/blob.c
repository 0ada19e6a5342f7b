/* SPDX-License-Identifier: MIT
 *
 * The blob. A layer record: any, the 1st to 3rd of a blob of up to 255
 * layers, below it any layer. The whole walk: any bytes, up to 168 of them,
 * which are a header, two layers and their weights.
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
    const uint8_t *end = w->blob + w->blob_bytes;
    must(l->in_count > 0 && l->in_count <= WAGE_ELEMENTS_MAX);
    must(l->out_count > 0 && l->out_count <= WAGE_ELEMENTS_MAX);
    must(l->row_count <= WAGE_PRODUCTS_MAX);
    must(l->weight_count == (uint64_t)l->row_count * l->out_c);
    must(l->shift < 32);
    must(!l->weight_count || (l->weight_bits >= 2 && l->weight_bits <= 8));
    must(!l->weight_count
         || weight_bytes(l) <= (uint32_t)(end - l->blob));
    must(!l->blob_bias || 4u * l->out_c <= (uint32_t)(end - l->blob_bias));
}

// --unwind 17
void prove_blob_layer(void)
{
    wage_t w;
    struct wage_layer l;
    unsigned k = up_to(2);
    w.blob_bytes = WAGE_HEADER_BYTES + (k + 1) * WAGE_RECORD_BYTES
                   + up_to(64);
    w.blob = exactly(w.blob_bytes);
    assume(w.batch >= 1 && w.batch <= WAGE_BATCH_MAX);
    assume(k < w.layer_count && w.paper < 2 && w.sse < 2);
    assume(WAGE_HEADER_BYTES + w.layer_count * WAGE_RECORD_BYTES
           <= w.blob_bytes);
    if (wage_blob_layer(&w, k, &l) == WAGE_OK)
        check_layer(&w, &l);
}

// --unwind 33
void prove_blob_read(void)
{
    wage_t w;
    uint32_t count = up_to(MOST);
    uint8_t *blob = exactly(count);
    int error = wage_blob_read(&w, blob, count);
    must(error <= 0 && error >= WAGE_E_POLICY);
    if (error == WAGE_OK) {
        must(w.layer_count >= 1 && w.frozen_count < w.layer_count);
        must(w.classes >= 2 && w.batch >= 1 && w.batch <= WAGE_BATCH_MAX);
        must(w.replay_count <= w.replay_capacity);
        must(wage_check_config(&w.config) == WAGE_OK);
        must(w.input_bytes > 0 && w.latent_bytes > 0);
    }
}

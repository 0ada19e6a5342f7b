/* SPDX-License-Identifier: MIT
 *
 * The algorithm: forward, output error, and layer by layer downwards the
 * error for the layer below, the gradient and the update. SPEC 5 and 6.
 */
#include "layer.h"
#include "num.h"

#include <string.h>

/* Where layer `k` puts its activations; NULL for the last (logits). */
static int8_t *output_of(const wage_t *w, unsigned k)
{
    if (k + 1 == w->layer_count)
        return NULL;
    if (k + 1 >= w->frozen_count)
        return w->layers[k + 1].in;
    return k & 1 ? w->odd : w->even;
}

static void forward(wage_t *w, const int8_t *in, unsigned from, unsigned to)
{
    for (unsigned k = from; k < to; k++) {
        const struct wage_layer *layer = &w->layers[k];
        struct wage_output out = { output_of(w, k), w->logits };
        wage_kernels(layer->kind)->forward(layer, in, &out, w->row);
        in = out.a;
    }
}

/* The sample through the frozen layers, to the cut. */
static void forward_frozen(wage_t *w, const int8_t *x)
{
    if (w->frozen_count == 0)
        memcpy(w->latent, x, w->latent_bytes);
    else
        forward(w, x, 0, w->frozen_count);
}

/* From the error in w->even down to the first trainable layer. */
static void backward(wage_t *w)
{
    int8_t *d = w->even, *below = w->odd;
    int x = 0;
    for (unsigned k = w->layer_count; k-- > w->frozen_count;) {
        struct wage_layer *layer = &w->layers[k];
        const struct wage_kernels *kernels = wage_kernels(layer->kind);
        int n = -1;
        if (k > w->frozen_count) { // with the weights as they were
            kernels->error(layer, d, w->wide, w->row);
            n = wage_quantise_error(w->wide, layer->in, below,
                                    layer->in_count);
        }
        uint32_t key = wage_key(w->config.seed, w->step, 1 + k);
        int shift = 7 - x - w->config.lr_shift
                    - (layer->weight_bits == 8 ? 8 : 0);
        for (uint32_t o = 0; o < layer->out_c; o++) {
            kernels->gradient(layer, layer->in, d, o, w->wide);
            wage_update(layer, o, w->wide, shift, key);
        }
        if (n < 0) // nothing left for the layers below
            return;
        x += n - 7 - layer->shift;
        int8_t *swap = d;
        d = below;
        below = swap;
    }
}

/* One step on the latent at the cut. */
static void step(wage_t *w, uint8_t label, struct wage_record *record)
{
    forward(w, w->latent, w->frozen_count, w->layer_count);
    record->label = label;
    record->prediction = wage_argmax(w->logits, w->classes);
    record->p_label = wage_output_error(w, label, w->even);
    int largest = 0;
    for (unsigned i = 0; i < w->classes; i++) {
        int size = w->even[i] < 0 ? -w->even[i] : w->even[i];
        if (size > largest)
            largest = size;
    }
    record->skipped = largest == 0 || largest < w->config.threshold;
    if (!record->skipped)
        backward(w);
    w->step++;
    w->metrics.steps++;
}

static void replay(wage_t *w)
{
    uint32_t key = wage_key(w->config.seed, w->sample, WAGE_STAGE_REPLAY);
    if (w->replay_count == 0)
        return;
    for (unsigned k = 0; k < w->config.replays; k++) {
        uint32_t slot = wage_below(wage_draw(key, k), w->replay_count);
        struct wage_record unused;
        memcpy(w->latent, w->replay_latent + slot * w->latent_bytes,
               w->latent_bytes);
        step(w, w->replay_label[slot], &unused);
    }
}

static void count(wage_t *w, const struct wage_record *record)
{
    uint32_t right = record->prediction == record->label;
    w->metrics.samples++;
    w->metrics.correct += right;
    w->metrics.skipped += record->skipped;
    w->class_seen[record->label]++;
    w->class_correct[record->label] += right;
}

int wage_learn(wage_t *w, uint32_t id, const int8_t *x, uint8_t label,
               struct wage_record *record)
{
    if (w->stream == 0)
        return WAGE_E_STREAM;
    if (id != w->last_id + 1)
        return WAGE_E_ORDER;
    if (label >= w->classes)
        return WAGE_E_LABEL;
    record->id = id;
    forward_frozen(w, x);
    step(w, label, record);
    count(w, record);
    wage_replay_offer(w, label);
    replay(w);
    w->sample++;
    w->last_id = id;
    return WAGE_OK;
}

int wage_predict(wage_t *w, const int8_t *x, uint8_t label,
                 struct wage_record *record)
{
    if (label >= w->classes)
        return WAGE_E_LABEL;
    forward_frozen(w, x);
    forward(w, w->latent, w->frozen_count, w->layer_count);
    record->id = 0;
    record->label = label;
    record->prediction = wage_argmax(w->logits, w->classes);
    record->p_label = wage_output_error(w, label, w->even);
    record->skipped = 0;
    return WAGE_OK;
}

/* SPDX-License-Identifier: MIT
 *
 * The algorithm: forward, output error, and layer by layer downwards the
 * error for the layer below, the gradient and the update. SPEC 5 and 6.
 */
#include "layer.h"
#include "num.h"
#include "phase.h"

#include <string.h>

/* Where layer `k` puts its activations; NULL for the last (logits). */
static int8_t *output_of(const wage_t *w, unsigned k)
{
    if (k + 1 == w->layer_count)
        return NULL;
    if (w->layers[k + 1].in)
        return w->layers[k + 1].in;
    return k & 1 ? w->odd : w->even;
}

const int8_t *wage_forward(wage_t *w, uint32_t n, const int8_t *in,
                           unsigned from, unsigned to)
{
    const int8_t *first = in;
    wage_tell(w, WAGE_PHASE_FORWARD);
    for (unsigned k = from; k < to; k++) {
        struct wage_layer *layer = &w->layers[k];
        struct wage_output out = { output_of(w, k), w->logits };
        if (wage_is(layer, WAGE_ADD)) {
            unsigned source = k - layer->skip;
            layer->side = source == from ? first : w->layers[source].in;
        }
        // there are no sums of errors now: rows of weights lie there
        w->kernels->layer[layer->kind - 1].forward(layer, n, in, &out,
                                                   (int8_t *)w->wide);
        in = out.a;
    }
    return in;
}

/* Samples through the frozen layers, to the cut. */
static void forward_frozen(wage_t *w, uint32_t n, const int8_t *x)
{
    if (w->frozen_count == 0)
        memcpy(w->latent, x, n * w->latent_bytes);
    else
        (void)wage_forward(w, n, x, 0, w->frozen_count);
}

static void forward_trainable(wage_t *w, uint32_t n)
{
    (void)wage_forward(w, n, w->latent, w->frozen_count, w->layer_count);
}

/* Whether output `o` has an error in any sample or place. */
static int has_error(const struct wage_layer *l, uint32_t n, const int8_t *d,
                     uint32_t o)
{
    while (o < n * l->out_count && d[o] == 0)
        o += l->out_c;
    return o < n * l->out_count;
}

/* Gradient and update, `rows` rows of weights at a time. */
static void learn_rows(wage_t *w, struct wage_layer *l, uint32_t n,
                       const int8_t *d, struct wage_rate *rate)
{
    uint32_t rows = wage_paper(w) || wage_batch(w) > 1 ? l->out_c : 1;
    int shift = rate->n;
    for (uint32_t o = 0; wage_learned(l) && o < l->out_c; o += rows) {
        uint32_t count = rows * l->row_count, max = 1;
        if (rows == 1 && !rate->momentum && !has_error(l, n, d, o))
            continue; // nothing to learn
        w->kernels->layer[l->kind - 1].gradient(l, n, d, o, rows, w->wide);
        if (wage_paper(w)) {
            max = w->kernels->largest(w->wide, count);
            rate->n = shift + (max ? wage_ilog2_round(max) : 0);
        }
        if (max)
            w->kernels->update(l, o * l->row_count, count, w->wide, rate);
    }
}

/* Gradient and update of layer `k` with the error d, x of its output. */
static void learn_layer(wage_t *w, unsigned k, uint32_t n, const int8_t *d,
                        int x)
{
    struct wage_layer *l = &w->layers[k];
    const struct wage_config *c = &w->config;
    struct wage_rate rate = {
        .n = (wage_paper(w) ? 0 : 7 - x) - c->lr_shift - (l->store_bits - 8),
        .factor = c->lr_factor, .momentum = (uint8_t)wage_momentum(w),
        .stride = WAGE_DRAW_STEP, .key = wage_key(c->seed, w->step, 1 + k) };
    if (rate.momentum)
        rate.leak_key = wage_key(c->seed, w->step, WAGE_STAGE_LEAK + k);
    if (WAGE_HAS_GRADIENTS
        && (l->kind != WAGE_DENSE || !w->kernels->turn || wage_paper(w)
            || wage_batch(w) > 1 || rate.momentum))
        learn_rows(w, l, n, d, &rate);
    else if (wage_is(l, WAGE_DENSE) && !wage_fixed(l))
        w->kernels->turn(l, d, &rate, (uint32_t *)w->wide);
    rate.n = 1 - l->weight_bits - x - c->lr_shift;
    if (WAGE_HAS(WAGE_USE_BIAS) && l->bias)
        wage_update_bias(l, n, d, &rate);
}

/* The error of layer `k`'s input from that of its output, d with exponent
 * *x. Writes it to `below` and *x. Returns 0 when it is all zero. */
static int error_below(wage_t *w, unsigned k, uint32_t n, const int8_t *d,
                       int8_t *below, int *x)
{
    const struct wage_layer *l = &w->layers[k];
    uint32_t count = n * l->in_count;
    int y = *x - l->shift;
    w->kernels->layer[l->kind - 1].error(l, n, d, w->wide, w->row);
    if (WAGE_HAS(WAGE_ADD) && l->joined != WAGE_NO_LAYER)
        y = wage_join(&w->layers[l->joined], w->wide, count, y);
    uint32_t max = w->kernels->mask_error(l - 1, 0, count, w->wide, l->in);
    int shift = max ? wage_ilog2_round(max) : 7;
    w->kernels->round_error(l - 1, 0, count, shift, w->wide, below);
    *x = y + shift - 7;
    return max > 0;
}

/* From the output error in w->even down to the first trainable layer. */
static void backward(wage_t *w, uint32_t n, int x)
{
    int8_t *d = w->even, *below = w->odd;
    unsigned waiting = 0; // adds whose skip has not had its error yet
    for (unsigned k = w->layer_count; k-- > w->frozen_count;) {
        struct wage_layer *l = &w->layers[k];
        int here = x, more = 0;
        if (WAGE_HAS(WAGE_ADD) && l->held) {
            memcpy(l->held, d, n * l->out_count);
            l->held_x = x;
            waiting++;
        }
        if (WAGE_HAS(WAGE_ADD) && l->joined != WAGE_NO_LAYER)
            waiting--;
        if (k > w->frozen_count) { // with the weights as they were
            wage_tell(w, WAGE_PHASE_BACKWARD);
            more = error_below(w, k, n, d, below, &x);
        }
        wage_tell(w, WAGE_PHASE_UPDATE);
        learn_layer(w, k, n, d, here);
        if (!more && !waiting) // nothing left for the layers below
            return;
        int8_t *swap = d;
        d = below;
        below = swap;
    }
}

static void look(wage_t *w, uint32_t s, struct wage_record *record)
{
    int32_t *logits = w->logits + s * w->classes;
    record->prediction = wage_argmax(logits, w->classes);
    record->p_label = wage_output_error(w, logits, record->label);
    record->skipped = 0;
}

int wage_knows(wage_t *w, uint8_t label)
{
    forward_trainable(w, 1);
    return wage_argmax(w->logits, w->classes) == label;
}

/* One step on the first `n` latents and labels; the first `known` of them
 * have records to be filled. */
static void step(wage_t *w, uint32_t n, struct wage_record *records,
                 uint32_t known)
{
    int largest;
    forward_trainable(w, n);
    for (uint32_t s = 0; s < n; s++) {
        struct wage_record unused = { .id = 0 };
        struct wage_record *r = s < known ? &records[s] : &unused;
        r->label = w->label[s];
        look(w, s, r);
    }
    int x = wage_quantise_output(w, n, w->even, &largest);
    int skip = largest == 0 || largest < w->config.threshold;
    for (uint32_t s = 0; s < known; s++)
        records[s].skipped = (uint8_t)skip;
    if (!skip)
        backward(w, n, x);
    w->step++;
    w->metrics.steps++;
}

/* Latent `s` of the batch: of what is in a slot of the replay. */
static void recall(wage_t *w, uint32_t slot, uint32_t s)
{
    int8_t *to = w->latent + s * w->latent_bytes;
    const int8_t *stored = w->replay_sample + slot * wage_replay_bytes(w);
    w->label[s] = w->replay_label[slot];
    if (wage_inputs(w)) {
        forward_frozen(w, 1, stored); // becomes the first latent
        stored = w->latent;
    }
    if (!wage_inputs(w) || s)
        memcpy(to, stored, w->latent_bytes);
}

/* The new sample, x, and replayed ones after it. A batch is filled from its
 * end on: inputs pass through its first latent. */
static void learn_with_replays(wage_t *w, const int8_t *x, uint8_t label,
                               struct wage_record *record)
{
    uint32_t key = wage_key(w->config.seed, w->sample, WAGE_STAGE_REPLAY);
    uint32_t more = w->replay_count ? w->config.replays : 0, k = 0;
    uint32_t known = 1;
    w->label[0] = label;
    do {
        uint32_t n = known;
        while (n < wage_batch(w) && k < more)
            n++, k++;
        for (uint32_t s = n; s-- > known;) {
            uint32_t draw = wage_draw(key, k - n + s);
            recall(w, wage_below(draw, w->replay_count), s);
        }
        if (known && wage_inputs(w))
            forward_frozen(w, 1, x);
        step(w, n, record, known);
        known = 0;
    } while (k < more);
}

/* The new sample, which is the latent, by its class's mean. */
static void learn_mean(wage_t *w, uint8_t label, struct wage_record *record)
{
    record->label = label;
    forward_trainable(w, 1);
    look(w, 0, record);
    wage_move_mean(w, label);
    w->step++;
    w->metrics.steps++;
}

static void note(wage_t *w, const struct wage_record *record)
{
    uint32_t right = record->prediction == record->label;
    w->metrics.samples++;
    w->metrics.correct += right;
    w->metrics.skipped += record->skipped;
    w->class_seen[record->label]++;
    w->class_correct[record->label] += right;
    if (wage_table(w))
        wage_confuse(w, record->label, record->prediction);
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
    if (!wage_inputs(w) || wage_means(w))
        forward_frozen(w, 1, x);
    wage_replay_offer(w, wage_inputs(w) ? x : w->latent, label);
    if (wage_means(w))
        learn_mean(w, label, record);
    else
        learn_with_replays(w, x, label, record);
    note(w, record);
    w->sample++;
    w->last_id = id;
    return WAGE_OK;
}

/* Checks a batch and begins its records. */
static int take_batch(const wage_t *w, uint32_t n, const uint8_t *labels,
                      struct wage_record *records)
{
    if (n < 1 || n > wage_batch(w))
        return WAGE_E_BATCH;
    for (uint32_t s = 0; s < n; s++)
        if (labels[s] >= w->classes)
            return WAGE_E_LABEL;
    for (uint32_t s = 0; s < n; s++)
        records[s] = (struct wage_record){ .label = labels[s] };
    return WAGE_OK;
}

int wage_predict(wage_t *w, uint32_t n, const int8_t *x,
                 const uint8_t *labels, struct wage_record *records)
{
    int error = take_batch(w, n, labels, records);
    if (error)
        return error;
    forward_frozen(w, n, x);
    forward_trainable(w, n);
    for (uint32_t s = 0; s < n; s++)
        look(w, s, &records[s]);
    return WAGE_OK;
}

int wage_train(wage_t *w, uint32_t n, const int8_t *x, const uint8_t *labels,
               struct wage_record *records)
{
    int error = take_batch(w, n, labels, records);
    if (error)
        return error;
    forward_frozen(w, n, x);
    memcpy(w->label, labels, n);
    step(w, n, records, n);
    return WAGE_OK;
}

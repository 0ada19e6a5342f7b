/* SPDX-License-Identifier: MIT
 *
 * The walk over everything learned, of a model with one trainable layer of 2
 * weights (of 16 bits with bias and velocity, or of 8 without), 2 classes,
 * 2 replayed samples of 33 bytes: any values, any bytes in the store.
 */
#include "runtime/layer.c"
#include "runtime/state.c"

#include "crc.h"
#include "prove.h"

#define WEIGHTS 2u
#define CLASSES 2u
#define REPLAY 2u
#define LATENT 33u
#define BYTES 192u              /* of the store, more than the state has */

struct learned {
    int8_t high[WEIGHTS], low[WEIGHTS];
    int16_t velocity[WEIGHTS];
    int32_t bias[1];
    uint32_t class_total[CLASSES], class_seen[CLASSES];
    uint32_t class_correct[CLASSES];
    uint8_t label[REPLAY];
    int8_t latent[REPLAY * LATENT];
};

static uint8_t bytes[BYTES];

static int read_bytes(void *context, uint32_t at, uint8_t *to,
                      uint32_t count)
{
    (void)context;
    memcpy(to, bytes + at, count);
    return nondet_u8() & 1 ? WAGE_OK : WAGE_E_STORE_IO;
}

static int program_bytes(void *context, uint32_t at, const uint8_t *from,
                         uint32_t count)
{
    (void)context;
    memcpy(bytes + at, from, count);
    return WAGE_OK;
}

static const struct wage_store store = {
    .read = read_bytes, .program = program_bytes, .bytes = BYTES,
    .erase_bytes = 32, .program_bytes = 4, .slots = 2 };

/* In place of that of blob.c. */
int wage_check_config(const struct wage_config *config)
{
    return config->lr_shift < -24 ? WAGE_E_CONFIG : WAGE_OK;
}

static wage_t model(struct learned *l, struct wage_layer *layer, int wide)
{
    wage_t w;
    *layer = (struct wage_layer){
        .kind = WAGE_DENSE, .weight_bits = 8, .store_bits = wide ? 16 : 8,
        .trainable = 1, .last = 1, .out_c = 1, .weight_count = WEIGHTS,
        .high = l->high, .low = wide ? l->low : NULL,
        .velocity = wide ? l->velocity : NULL,
        .bias = wide ? l->bias : NULL };
    w.layers = layer;
    w.layer_count = 1;
    w.frozen_count = 0;
    w.classes = CLASSES;
    w.latent_bytes = LATENT;
    w.replay_capacity = REPLAY;
    w.class_total = l->class_total;
    w.class_seen = l->class_seen;
    w.class_correct = l->class_correct;
    w.replay_label = l->label;
    w.replay_latent = l->latent;
    return w;
}

/* What any state of a model is. */
static int is_valid(const wage_t *w)
{
    uint32_t i = up_to(WEIGHTS - 1), s = up_to(REPLAY - 1);
    const struct wage_layer *l = w->layers;
    int32_t weight = wage_weight(l, i), max = wage_weight_max(l);
    return weight >= -max && weight <= max
        && (!l->bias || wage_size(l->bias[0]) <= WAGE_BIAS_MAX)
        && (!l->velocity || l->velocity[i] != INT16_MIN)
        && w->replay_count <= REPLAY && w->config.lr_shift >= -24
        && (w->replay_label[s] < CLASSES);
}

static void walk(enum way way, wage_t *w, struct walk *k)
{
    *k = (struct walk){ .way = way, .store = &store };
    wage_walk_state(k, w);
    if (way == SAVE)
        wage_walk_flush(k);
    must(k->bytes <= BYTES - WAGE_CHUNK_BYTES);
}

/* Checking changes nothing; what it lets through is valid once loaded, and
 * whatever is loaded stays inside. */
static void check_and_load(int wide)
{
    struct learned l, before;
    struct wage_layer layer;
    struct walk check, load;
    wage_t w = model(&l, &layer, wide);
    w.replay_count = (uint16_t)up_to(REPLAY);
    before = l;
    uint32_t stream = w.stream, count = w.replay_count;
    for (unsigned i = 0; i < BYTES; i++)
        bytes[i] = nondet_u8();
    walk(CHECK, &w, &check);
    uint32_t i = up_to(sizeof l - 1);
    must(((uint8_t *)&l)[i] == ((uint8_t *)&before)[i]);
    must(w.stream == stream && w.replay_count == count);
    walk(LOAD, &w, &load);
    must(check.bytes == load.bytes);
    must(check.error || load.error || is_valid(&w));
}

// --unwind 193 --unwindsetname state.c@walk_weights:0:3,state.c@walk_weights:1:3
void prove_walk_wide(void)
{
    check_and_load(1);
}

// --unwind 193 --unwindsetname state.c@walk_weights:0:3,state.c@walk_weights:1:3
void prove_walk_narrow(void)
{
    check_and_load(0);
}

/* What is saved comes back. */
// --unwind 193 --unwindsetname state.c@walk_weights:0:3,state.c@walk_weights:1:3
void prove_walk_saved(void)
{
    struct learned a, b;
    struct wage_layer layer, other;
    struct walk save, load;
    wage_t w = model(&a, &layer, 1), back = model(&b, &other, 1);
    w.replay_count = REPLAY;
    assume(is_valid(&w));
    walk(SAVE, &w, &save);
    must(!save.error);
    walk(LOAD, &back, &load);
    must(load.bytes == save.bytes);
    uint32_t i = up_to(sizeof a - 1);
    must(load.error || ((uint8_t *)&a)[i] == ((uint8_t *)&b)[i]);
    must(load.error || (w.stream == back.stream && w.step == back.step));
}

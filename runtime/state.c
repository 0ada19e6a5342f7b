/* SPDX-License-Identifier: MIT
 *
 * Everything learned as a row of bytes. One walk over it serves the CRC,
 * saving, checking and loading, so that they cannot disagree. SPEC 7.1, 7.2.
 */
#include "state.h"

#include <string.h>

#include "blob.h"
#include "num.h"

void wage_walk_flush(struct walk *k)
{
    uint32_t unit = k->store->program_bytes;
    uint32_t count = (k->used + unit - 1) & ~(unit - 1);
    memset(k->chunk + k->used, 0xff, count - k->used);
    if (!k->error && count)
        k->error = wage_store_program(k->store, k->at, k->chunk, count);
    k->at += count;
    k->used = 0;
}

/* A slot has room for whole chunks: reading the last one stays inside. */
static void refill(struct walk *k)
{
    if (!k->error)
        k->error = wage_store_read(k->store, k->at, k->chunk,
                                   WAGE_CHUNK_BYTES);
    k->at += WAGE_CHUNK_BYTES;
    k->used = WAGE_CHUNK_BYTES;
}

void wage_walk_pass(struct walk *k, uint8_t *bytes, uint32_t count)
{
    k->bytes += count;
    if (k->way == COUNT)
        return;
    for (uint32_t i = 0; k->way >= CHECK && i < count; i++) {
        if (k->used == 0)
            refill(k);
        bytes[i] = k->chunk[WAGE_CHUNK_BYTES - k->used--];
    }
    k->crc = wage_crc(k->crc, bytes, count);
    for (uint32_t i = 0; k->way == SAVE && i < count; i++) {
        k->chunk[k->used++] = bytes[i];
        if (k->used == WAGE_CHUNK_BYTES)
            wage_walk_flush(k);
    }
}

static uint32_t pass32(struct walk *k, uint32_t *value)
{
    uint8_t bytes[4];
    store32(bytes, *value);
    wage_walk_pass(k, bytes, 4);
    if (k->way == LOAD)
        *value = load32(bytes);
    return load32(bytes);
}

static void refuse_if(struct walk *k, int bad)
{
    if (bad && !k->error)
        k->error = WAGE_E_NO_CHECKPOINT;
}

static void walk_config(struct walk *k, struct wage_config *config)
{
    pass32(k, &config->seed);
    uint8_t bytes[5] = { (uint8_t)config->lr_shift, config->replays,
                         config->gain_shift, config->threshold,
                         config->lr_factor };
    wage_walk_pass(k, bytes, 5);
    struct wage_config now = { config->seed, (int8_t)bytes[0], bytes[1],
                               bytes[2], bytes[3], bytes[4] };
    refuse_if(k, wage_check_config(&now));
    if (k->way == LOAD)
        *config = now;
}

static void walk_weights(struct walk *k, struct wage_layer *l)
{
    int32_t limit = wage_learned(l) ? wage_weight_max(l) : 0;
    for (uint32_t i = 0; i < wage_learned(l); i++) {
        uint8_t bytes[2];
        store16(bytes, (uint16_t)wage_weight(l, i));
        wage_walk_pass(k, bytes, l->low ? 2 : 1);
        int16_t weight = l->low ? (int16_t)load16(bytes) : (int8_t)bytes[0];
        refuse_if(k, weight < -limit || weight > limit);
        if (k->way == LOAD)
            wage_set_weight(l, i, weight);
    }
    uint32_t biases = WAGE_HAS(WAGE_USE_BIAS) && l->bias ? l->out_c : 0;
    for (uint32_t o = 0; o < biases; o++) {
        uint32_t bias = (uint32_t)l->bias[o];
        bias = pass32(k, &bias);
        refuse_if(k, wage_size((int32_t)bias) > WAGE_BIAS_MAX);
        if (k->way == LOAD)
            l->bias[o] = (int32_t)bias;
    }
}

static void walk_velocity(struct walk *k, struct wage_layer *l)
{
    for (uint32_t i = 0; l->velocity && i < wage_learned(l); i++) {
        uint8_t bytes[2];
        store16(bytes, (uint16_t)l->velocity[i]);
        wage_walk_pass(k, bytes, 2);
        refuse_if(k, load16(bytes) == 0x8000);
        if (k->way == LOAD)
            l->velocity[i] = (int16_t)load16(bytes);
    }
}

static void walk_replay(struct walk *k, wage_t *w)
{
    uint32_t count = w->replay_count;
    count = pass32(k, &count);
    refuse_if(k, count > w->replay_capacity);
    if (k->way == LOAD)
        w->replay_count = (uint16_t)count;
    for (uint32_t i = 0; i < w->replay_capacity; i++) {
        int there = i < count;
        uint8_t label = there ? w->replay_label[i] : 0;
        wage_walk_pass(k, &label, 1);
        refuse_if(k, there ? label >= w->classes : label);
        if (k->way == LOAD)
            w->replay_label[i] = label;
        uint32_t size = wage_replay_bytes(w);
        uint8_t *sample = (uint8_t *)w->replay_sample + i * size;
        for (uint32_t at = 0; at < size; at += WAGE_CHUNK_BYTES) {
            uint8_t bytes[WAGE_CHUNK_BYTES] = { 0 };
            uint32_t left = size - at;
            uint32_t part = left < WAGE_CHUNK_BYTES ? left : WAGE_CHUNK_BYTES;
            if (there)
                memcpy(bytes, sample + at, part);
            wage_walk_pass(k, bytes, part);
            for (uint32_t j = 0; !there && j < part; j++)
                refuse_if(k, bytes[j]);
            if (k->way == LOAD)
                memcpy(sample + at, bytes, part);
        }
    }
}

static void walk_confusion(struct walk *k, wage_t *w)
{
    uint32_t cells = (uint32_t)w->classes * w->classes;
    for (uint32_t i = 0; i < cells; i++) {
        uint8_t bytes[2];
        store16(bytes, w->confusion[i]);
        wage_walk_pass(k, bytes, 2);
        if (k->way == LOAD)
            w->confusion[i] = load16(bytes);
    }
}

static void walk_names(struct walk *k, wage_t *w)
{
    for (uint32_t c = 0; c < w->classes; c++) {
        uint8_t bytes[WAGE_NAME_BYTES];
        char *name = w->names + c * WAGE_NAME_BYTES;
        memcpy(bytes, name, sizeof bytes);
        wage_walk_pass(k, bytes, sizeof bytes);
        refuse_if(k, bytes[sizeof bytes - 1]);
        if (k->way == LOAD)
            memcpy(name, bytes, sizeof bytes);
    }
}

void wage_walk_place(struct walk *k, wage_t *w)
{
    pass32(k, &w->guard); // wage_look() finds these two at the start
    pass32(k, &w->score);
    pass32(k, &w->best);
    pass32(k, &w->refused);
    pass32(k, &w->stream);
    pass32(k, &w->last_id);
    pass32(k, &w->step);
    pass32(k, &w->sample);
    walk_config(k, &w->config);
    pass32(k, &w->metrics.samples);
    pass32(k, &w->metrics.correct);
    pass32(k, &w->metrics.skipped);
    pass32(k, &w->metrics.steps);
    for (unsigned c = 0; c < w->classes; c++) {
        pass32(k, &w->class_seen[c]);
        pass32(k, &w->class_correct[c]);
    }
    if (wage_table(w))
        walk_confusion(k, w);
}

void wage_walk_learned(struct walk *k, wage_t *w)
{
    for (unsigned i = w->frozen_count; i < w->layer_count; i++)
        walk_weights(k, &w->layers[i]);
    for (unsigned i = w->frozen_count; i < w->layer_count; i++)
        if (WAGE_HAS(WAGE_USE_MOMENTUM))
            walk_velocity(k, &w->layers[i]);
    for (unsigned c = 0; c < w->classes; c++)
        pass32(k, &w->class_total[c]);
    if (wage_table(w))
        walk_names(k, w);
    walk_replay(k, w);
}

void wage_walk_state(struct walk *k, wage_t *w)
{
    wage_walk_place(k, w);
    wage_walk_learned(k, w);
}

// COUNT and HASH write nothing: the constness of the caller's word is true

uint32_t wage_state_crc(const wage_t *w)
{
    struct walk k = { .way = HASH };
    wage_walk_state(&k, (wage_t *)w);
    return k.crc;
}

uint32_t wage_checkpoint_bytes(const wage_t *w)
{
    struct walk k = { .way = COUNT };
    wage_walk_state(&k, (wage_t *)w);
    return WAGE_STORE_HEADER_BYTES + k.bytes;
}

uint32_t wage_weight_crc(const wage_t *w)
{
    struct walk k = { .way = HASH };
    for (unsigned i = w->frozen_count; i < w->layer_count; i++)
        walk_weights(&k, (struct wage_layer *)&w->layers[i]);
    return k.crc;
}

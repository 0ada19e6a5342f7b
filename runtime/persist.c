/* SPDX-License-Identifier: MIT
 *
 * Checkpoints: everything learned, as one generation, in one of two halves
 * of a store. One walk over the state serves the CRC, saving, checking and
 * loading, so that they cannot disagree. SPEC section 7.
 */
#include "blob.h"
#include "num.h"

#include <string.h>

#define STATE_FORMAT 1          /* version of a checkpoint */
#define HEADER_BYTES 32
#define CHUNK_BYTES 32          /* a multiple of every program unit */

enum way { COUNT, HASH, SAVE, CHECK, LOAD };

struct walk {
    enum way way;
    const struct wage_store *store;
    uint32_t at;                /* in the store */
    uint32_t bytes;             /* of state, so far */
    uint32_t crc;
    int error;                  /* the first one */
    uint8_t used;               /* of chunk */
    uint8_t chunk[CHUNK_BYTES]; /* SAVE: not programmed yet */
};

static void flush(struct walk *k)
{
    uint32_t unit = k->store->program_bytes;
    uint32_t count = (k->used + unit - 1) & ~(unit - 1);
    memset(k->chunk + k->used, 0xff, count - k->used);
    if (!k->error && count)
        k->error = k->store->program(k->store->context, k->at, k->chunk,
                                     count);
    k->at += count;
    k->used = 0;
}

/* The next `count` bytes of state: HASH and SAVE take them from `bytes`,
 * CHECK and LOAD put them there. */
static void pass(struct walk *k, uint8_t *bytes, uint32_t count)
{
    k->bytes += count;
    if (k->way == COUNT)
        return;
    if (k->way >= CHECK && !k->error) {
        k->error = k->store->read(k->store->context, k->at, bytes, count);
        k->at += count;
    }
    k->crc = wage_crc(k->crc, bytes, count);
    for (uint32_t i = 0; k->way == SAVE && i < count; i++) {
        k->chunk[k->used++] = bytes[i];
        if (k->used == CHUNK_BYTES)
            flush(k);
    }
}

static uint32_t pass32(struct walk *k, uint32_t *value)
{
    uint8_t bytes[4];
    store32(bytes, *value);
    pass(k, bytes, 4);
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
    pass(k, bytes, 5);
    struct wage_config now = { config->seed, (int8_t)bytes[0], bytes[1],
                               bytes[2], bytes[3], bytes[4] };
    refuse_if(k, wage_check_config(&now));
    if (k->way == LOAD)
        *config = now;
}

static void walk_weights(struct walk *k, struct wage_layer *l)
{
    int32_t limit = l->weight_count ? wage_weight_max(l) : 0;
    for (uint32_t i = 0; i < l->weight_count; i++) {
        uint8_t bytes[2];
        store16(bytes, (uint16_t)wage_weight(l, i));
        pass(k, bytes, l->low ? 2 : 1);
        int16_t weight = l->low ? (int16_t)load16(bytes) : (int8_t)bytes[0];
        refuse_if(k, weight < -limit || weight > limit);
        if (k->way == LOAD)
            wage_set_weight(l, i, weight);
    }
    for (uint32_t o = 0; l->bias && o < l->out_c; o++) {
        uint32_t bias = (uint32_t)l->bias[o];
        bias = pass32(k, &bias);
        refuse_if(k, wage_size((int32_t)bias) > WAGE_BIAS_MAX);
        if (k->way == LOAD)
            l->bias[o] = (int32_t)bias;
    }
}

static void walk_velocity(struct walk *k, struct wage_layer *l)
{
    for (uint32_t i = 0; l->velocity && i < l->weight_count; i++) {
        uint8_t bytes[2];
        store16(bytes, (uint16_t)l->velocity[i]);
        pass(k, bytes, 2);
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
        pass(k, &label, 1);
        refuse_if(k, there ? label >= w->classes : label);
        if (k->way == LOAD)
            w->replay_label[i] = label;
        uint8_t *latent = (uint8_t *)w->replay_latent + i * w->latent_bytes;
        for (uint32_t at = 0; at < w->latent_bytes; at += CHUNK_BYTES) {
            uint8_t bytes[CHUNK_BYTES] = { 0 };
            uint32_t left = w->latent_bytes - at;
            uint32_t part = left < CHUNK_BYTES ? left : CHUNK_BYTES;
            if (there)
                memcpy(bytes, latent + at, part);
            pass(k, bytes, part);
            for (uint32_t j = 0; !there && j < part; j++)
                refuse_if(k, bytes[j]);
            if (k->way == LOAD)
                memcpy(latent + at, bytes, part);
        }
    }
}

static void walk_state(struct walk *k, wage_t *w)
{
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
        pass32(k, &w->class_total[c]);
        pass32(k, &w->class_seen[c]);
        pass32(k, &w->class_correct[c]);
    }
    for (unsigned i = w->frozen_count; i < w->layer_count; i++)
        walk_weights(k, &w->layers[i]);
    for (unsigned i = w->frozen_count; i < w->layer_count; i++)
        walk_velocity(k, &w->layers[i]);
    walk_replay(k, w);
}

// COUNT and HASH write nothing: the constness of the caller's word is true

uint32_t wage_state_crc(const wage_t *w)
{
    struct walk k = { .way = HASH };
    walk_state(&k, (wage_t *)w);
    return k.crc;
}

uint32_t wage_checkpoint_bytes(const wage_t *w)
{
    struct walk k = { .way = COUNT };
    walk_state(&k, (wage_t *)w);
    return HEADER_BYTES + k.bytes;
}

uint32_t wage_weight_crc(const wage_t *w)
{
    struct walk k = { .way = HASH };
    for (unsigned i = w->frozen_count; i < w->layer_count; i++)
        walk_weights(&k, (struct wage_layer *)&w->layers[i]);
    return k.crc;
}

static uint32_t half_bytes(const struct wage_store *store)
{
    return store->bytes / 2 / store->erase_bytes * store->erase_bytes;
}

static int check_store(const wage_t *w, const struct wage_store *store)
{
    uint32_t unit = store->program_bytes;
    uint32_t padded = (wage_checkpoint_bytes(w) + CHUNK_BYTES - 1)
                      & ~(uint32_t)(CHUNK_BYTES - 1);
    if (unit == 0 || unit > CHUNK_BYTES || (unit & (unit - 1))
        || store->erase_bytes < unit
        || (store->erase_bytes & (store->erase_bytes - 1)))
        return WAGE_E_STORE_SIZE;
    return half_bytes(store) < padded ? WAGE_E_STORE_SIZE : WAGE_OK;
}

/* Reads `bytes` of the store at `at`. Returns 0 and their CRC, or an error. */
static int store_crc(const struct wage_store *store, uint32_t at,
                     uint32_t bytes, uint32_t *crc)
{
    *crc = 0;
    while (bytes) {
        uint8_t chunk[CHUNK_BYTES];
        uint32_t part = bytes < CHUNK_BYTES ? bytes : CHUNK_BYTES;
        int error = store->read(store->context, at, chunk, part);
        if (error)
            return error;
        *crc = wage_crc(*crc, chunk, part);
        at += part;
        bytes -= part;
    }
    return WAGE_OK;
}

/* Walks half `half` into `w`: CHECK changes nothing. Writes the CRC. */
static int read_half(wage_t *w, const struct wage_store *store, unsigned half,
                     enum way way, uint32_t *crc)
{
    struct walk k = { .way = way, .store = store,
                      .at = half * half_bytes(store) + HEADER_BYTES };
    walk_state(&k, w);
    *crc = k.crc;
    return k.error;
}

/* A checkpoint in the store. */
struct found {
    unsigned half;              /* 0 or 1 */
    uint32_t generation;        /* 0: there is none */
    uint32_t crc;               /* of its state */
    int ours;                   /* of this very model, all within range */
};

/* Looks at one half. Returns 0 and what is there, or an error. */
static int look(wage_t *w, const struct wage_store *store, unsigned half,
                struct found *found)
{
    uint8_t h[HEADER_BYTES];
    uint32_t at = half * half_bytes(store), crc;
    *found = (struct found){ .half = half };
    int error = store->read(store->context, at, h, HEADER_BYTES);
    if (error)
        return error;
    uint32_t bytes = load32(h + 12);
    if (load32(h) != 0x504b4357 /* "WCKP" */
        || load32(h + 4) != STATE_FORMAT || load32(h + 24) != 0
        || load32(h + 28) != wage_crc(0, h, 28)
        || bytes > half_bytes(store) - HEADER_BYTES
        || load32(h + 8) == UINT32_MAX) // none could follow it
        return WAGE_OK;
    error = store_crc(store, at + HEADER_BYTES, bytes, &crc);
    if (error || crc != load32(h + 20))
        return error;
    found->generation = load32(h + 8);
    found->crc = crc;
    if (!found->generation || load32(h + 16) != w->blob_crc
        || bytes != wage_checkpoint_bytes(w) - HEADER_BYTES)
        return WAGE_OK;
    error = read_half(w, store, half, CHECK, &crc);
    found->ours = !error;
    return error == WAGE_E_NO_CHECKPOINT ? WAGE_OK : error;
}

/* The half to keep when saving: the newest of ours, else the newest whole
 * one, else half 1. Restoring takes it when it is ours. */
static int newest(wage_t *w, const struct wage_store *store,
                  struct found *best)
{
    struct found zero;
    int error = look(w, store, 0, &zero);
    if (error)
        return error;
    error = look(w, store, 1, best);
    if (zero.ours != best->ours ? zero.ours
                                : zero.generation > best->generation)
        *best = zero;
    return error;
}

static int erase_half(const struct wage_store *store, unsigned half,
                      uint32_t bytes)
{
    uint32_t at = half * half_bytes(store), end = at + bytes;
    for (; at < end; at += store->erase_bytes) {
        int error = store->erase(store->context, at);
        if (error)
            return error;
    }
    return WAGE_OK;
}

int wage_save(wage_t *w, const struct wage_store *store)
{
    struct found kept, written;
    uint32_t crc;
    int error = check_store(w, store);
    if (!error)
        error = newest(w, store, &kept);
    if (!error)
        // cppcheck-suppress uninitStructMember; newest() fills it
        error = erase_half(store, !kept.half, wage_checkpoint_bytes(w));
    if (error)
        return error;
    uint32_t at = !kept.half * half_bytes(store);
    struct walk k = { .way = SAVE, .store = store,
                      .at = at + HEADER_BYTES };
    walk_state(&k, w);
    flush(&k);
    if (k.error)
        return k.error;
    error = store_crc(store, at + HEADER_BYTES, k.bytes, &crc);
    if (error)
        return error;
    if (crc != k.crc)
        return WAGE_E_STORE_IO;

    uint8_t h[HEADER_BYTES] = { 'W', 'C', 'K', 'P' };
    store32(h + 4, STATE_FORMAT);
    store32(h + 8, kept.generation + 1);
    store32(h + 12, k.bytes);
    store32(h + 16, w->blob_crc);
    store32(h + 20, k.crc);
    store32(h + 28, wage_crc(0, h, 28));
    error = store->program(store->context, at, h, HEADER_BYTES);
    if (!error)
        error = look(w, store, !kept.half, &written);
    if (!error && (!written.ours || written.crc != k.crc
                   || written.generation != kept.generation + 1))
        error = WAGE_E_STORE_IO;
    if (!error)
        w->generation = kept.generation + 1;
    return error;
}

int wage_restore(wage_t *w, const struct wage_store *store)
{
    struct found best;
    uint32_t crc;
    int error = check_store(w, store);
    if (!error)
        error = newest(w, store, &best);
    if (error)
        return error;
    if (!best.ours)
        return WAGE_E_NO_CHECKPOINT;
    error = read_half(w, store, best.half, LOAD, &crc);
    // it was whole a moment ago: a store that reads now this, now that
    if (error || crc != best.crc)
        return WAGE_E_STORE_IO;
    w->generation = best.generation;
    return WAGE_OK;
}

int wage_forget(wage_t *w, const struct wage_store *store)
{
    struct found last;
    int error = check_store(w, store);
    if (!error)
        error = newest(w, store, &last);
    // the newest last: when power fails between, nothing older comes back
    if (!error)
        // cppcheck-suppress uninitStructMember; newest() fills it
        error = erase_half(store, !last.half, 1);
    if (!error)
        error = erase_half(store, last.half, 1);
    if (!error)
        w->generation = 0;
    return error;
}

/* SPDX-License-Identifier: MIT
 *
 * What an open model keeps in memory, and where. One function lays it out;
 * with no arena it only counts.
 */
#include "blob.h"
#include "num.h"

#include <string.h>

#define ARENA_MAX 0x3fffffffu

typedef char layer_fits[sizeof(struct wage_layer) <= WAGE_LAYER_BYTES ? 1 : -1];

struct arena {
    uint8_t *base;              /* NULL: only count */
    uint32_t used;              /* above ARENA_MAX: too much */
};

/* Room for `count` elements of `size` bytes. */
static void *take(struct arena *arena, uint32_t count, uint32_t size)
{
    void *p = arena->base ? arena->base + arena->used : NULL;
    uint64_t used = ((uint64_t)count * size + 3) / 4 * 4 + arena->used;
    arena->used = used > ARENA_MAX ? ARENA_MAX + 1 : (uint32_t)used;
    return p;
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* What a trainable layer keeps. */
static void take_layer(const wage_t *w, struct arena *arena,
                       struct wage_layer *l)
{
    uint32_t n = wage_batch(w);
    uint32_t codes = (uint32_t)(((uint64_t)l->out_count * n + 3) / 4);
    l->in = take(arena, l->in_count, n);
    l->high = take(arena, wage_learned(l), 1);
    if (l->store_bits > 8)
        l->low = take(arena, l->weight_count, 1);
    if (wage_momentum(w))
        l->velocity = take(arena, wage_learned(l), 2);
    if (WAGE_HAS(WAGE_USE_BIAS) && l->blob_bias)
        l->bias = take(arena, l->out_c, 4);
    if (WAGE_HAS_SLIDING && l->pool == 2)
        l->winner = take(arena, codes, 1);
    if (wage_paper(w) && l->activation != WAGE_NONE)
        l->mask = take(arena, codes, 1);
}

/* An add's skip keeps its tensor while frozen, its error while trainable. */
static void take_skip(const wage_t *w, struct arena *arena, unsigned k,
                      struct wage_layer *add)
{
    unsigned source = k - add->skip;
    if (add->trainable && source > w->frozen_count) {
        add->held = take(arena, add->in_count, wage_batch(w));
        if (arena->base)
            w->layers[source].joined = (uint8_t)k;
    } else if (!add->trainable && source > 0) {
        int8_t *in = take(arena, add->in_count, wage_batch(w));
        if (arena->base)
            w->layers[source].in = in;
    }
}

/* Elements of the largest tensors of each use, for one sample. */
struct widest {
    uint32_t narrow;            /* int8: frozen activations, errors */
    uint32_t error;             /* int32 sums of errors */
    uint32_t wide;              /* int32 gradient, of a row or a layer */
    uint32_t row;               /* weights in use of one output, for errors */
};

static void widen(const wage_t *w, unsigned k, const struct wage_layer *l,
                  struct widest *most)
{
    int whole = wage_paper(w) || wage_batch(w) > 1;
    // outputs of frozen layers and errors of trainable ones take turns
    if (k + 1u != w->frozen_count && !l->last)
        most->narrow = larger(most->narrow, l->out_count);
    // forward has its row there, as int8
    most->wide = larger(most->wide, !l->store_bits ? (l->row_count + 3) / 4
                        : whole ? l->weight_count : l->row_count);
    if (k <= w->frozen_count)
        return;
    most->error = larger(most->error, l->in_count);
    if (!l->halves_up && l->store_bits != l->weight_bits)
        most->row = larger(most->row, l->row_count);
}

static void lay_out(wage_t *w, struct arena *arena)
{
    struct widest most = { .narrow = w->classes };
    struct wage_layer l = { .out_h = wage_fetch16(w->blob + 20),
                            .out_w = wage_fetch16(w->blob + 22),
                            .out_c = wage_fetch16(w->blob + 24) };
    w->layers = (struct wage_layer *)take(
        arena, w->layer_count, WAGE_LAYER_BYTES);
    for (unsigned k = 0; k < w->layer_count; k++) {
        wage_blob_layer(w, k, &l); // was checked before
        if (l.trainable)
            take_layer(w, arena, &l);
        if (wage_is(&l, WAGE_ADD))
            take_skip(w, arena, k, &l);
        widen(w, k, &l, &most);
        if (arena->base)
            w->layers[k] = l;
    }
    uint32_t n = wage_batch(w);
    w->label = take(arena, n, 1);
    w->even = take(arena, most.narrow, n);
    w->odd = take(arena, most.narrow, n);
    w->row = take(arena, most.row, 1);
    if ((uint64_t)most.error * n > most.wide)
        w->wide = take(arena, most.error, 4 * n);
    else
        w->wide = take(arena, most.wide, 4);
    w->logits = take(arena, w->classes, 4 * n);
    w->class_total = take(arena, w->classes, 4);
    w->class_seen = take(arena, w->classes, 4);
    w->class_correct = take(arena, w->classes, 4);
    if (wage_table(w)) {
        w->confusion = take(arena, (uint32_t)w->classes * w->classes, 2);
        w->names = take(arena, w->classes, WAGE_NAME_BYTES);
    }
    w->replay_label = take(arena, w->replay_capacity, 1);
    w->replay_sample = take(arena, w->replay_capacity, wage_replay_bytes(w));
}

/* Checks the blob, fills what of `w` needs no arena, and measures that. */
static int measure(wage_t *w, const uint8_t *blob, uint32_t blob_bytes,
                   uint32_t *arena_bytes)
{
    struct arena arena = { NULL, 0 };
    int error = wage_blob_read(w, blob, blob_bytes);
    if (error)
        return error;
    lay_out(w, &arena);
    *arena_bytes = arena.used;
    return arena.used > ARENA_MAX ? WAGE_E_LIMIT : WAGE_OK;
}

int wage_info(const uint8_t *blob, uint32_t blob_bytes,
              struct wage_info *info)
{
    wage_t w;
    uint32_t arena_bytes;
    int error = measure(&w, blob, blob_bytes, &arena_bytes);
    if (error)
        return error;
    *info = (struct wage_info){
        .input_h = wage_fetch16(blob + 20), .input_w = wage_fetch16(blob + 22),
        .input_c = wage_fetch16(blob + 24), .input_map = wage_fetch8(blob + 26),
        .classes = w.classes, .batch = w.batch, .input_bytes = w.input_bytes,
        .latent_bytes = w.latent_bytes, .replay_bytes = wage_replay_bytes(&w),
        .arena_bytes = arena_bytes,
        .crc = w.blob_crc, .name = (const char *)blob + 44 };
    return WAGE_OK;
}

int32_t wage_arena_bytes(const uint8_t *blob, uint32_t blob_bytes)
{
    struct wage_info info;
    int error = wage_info(blob, blob_bytes, &info);
    return error ? error : (int32_t)info.arena_bytes;
}

void wage_load_outputs(struct wage_layer *l, uint32_t from, uint32_t count)
{
    uint32_t first = from * l->row_count, weights = count * l->row_count;
    if (!wage_learned(l))
        weights = 0;
    for (uint32_t i = first; i < first + weights; i++)
        wage_set_weight(l, i, l->low
                        ? (int16_t)wage_fetch16(l->blob + 2 * i)
                        : (int8_t)wage_fetch8(l->blob + i));
    uint32_t biases = WAGE_HAS(WAGE_USE_BIAS) && l->bias ? count : 0;
    for (uint32_t o = from; o < from + biases; o++)
        l->bias[o] = (int32_t)wage_fetch32(l->blob_bias + 4 * o);
    if (WAGE_HAS(WAGE_USE_MOMENTUM) && l->velocity)
        memset(l->velocity + first, 0, weights * sizeof *l->velocity);
}

void wage_load_factory(wage_t *w)
{
    const uint8_t *factory = w->blob + wage_fetch32(w->blob + 40);
    for (unsigned k = w->frozen_count; k < w->layer_count; k++)
        wage_load_outputs(&w->layers[k], 0, w->layers[k].out_c);
    w->replay_count = wage_fetch16(w->blob + 38);
    wage_fetch(w->replay_label, factory, w->replay_count);
    wage_fetch(w->replay_sample, factory + w->replay_count,
               w->replay_count * wage_replay_bytes(w));
    if (wage_table(w))
        memset(w->names, 0, (uint32_t)w->classes * WAGE_NAME_BYTES);
    memset(w->class_total, 0, w->classes * sizeof *w->class_total);
    for (uint32_t i = 0; i < w->replay_count; i++)
        w->class_total[w->replay_label[i]]++;
}

int wage_open(wage_t *w, const uint8_t *blob, uint32_t blob_bytes,
              uint8_t *arena, uint32_t arena_bytes)
{
    wage_t opened;
    uint32_t needed;
    int error = measure(&opened, blob, blob_bytes, &needed);
    if (error)
        return error;
    if ((uintptr_t)arena & 7)
        return WAGE_E_ALIGN;
    if (arena_bytes < needed)
        return WAGE_E_ARENA;
    struct arena all = { arena, 0 };
    memset(arena, 0, needed);
    *w = opened;
    lay_out(w, &all);
    w->latent = w->layers[w->frozen_count].in;
    w->kernels = &wage_portable;
    wage_load_factory(w);
    return WAGE_OK;
}

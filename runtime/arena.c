/* SPDX-License-Identifier: MIT
 *
 * What an open model keeps in memory, and where. One function lays it out;
 * with no arena it only counts.
 */
#include "blob.h"
#include "num.h"

#include <string.h>

#define ARENA_MAX 0x3fffffffu

/* Room for a layer where pointers have 64 bits, taken everywhere, so that a
 * model needs the same arena on every machine. */
#define LAYER_BYTES 88
typedef char layer_fits[sizeof(struct wage_layer) <= LAYER_BYTES ? 1 : -1];

struct arena {
    uint8_t *base;              /* NULL: only count */
    uint64_t used;
};

static void *take(struct arena *arena, uint64_t bytes)
{
    void *p = arena->base ? arena->base + arena->used : NULL;
    arena->used += (bytes + 3) & ~(uint64_t)3;
    return p;
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static void load_weights(struct wage_layer *l)
{
    for (uint32_t i = 0; i < l->weight_count; i++)
        wage_set_weight(l, i, l->weight_bits == 8
                        ? (int16_t)load16(l->blob + 2 * i)
                        : (int8_t)l->blob[i]);
}

static void take_layer(struct arena *arena, struct wage_layer *l)
{
    l->in = take(arena, l->in_count);
    l->high = take(arena, l->weight_count);
    if (l->weight_bits == 8)
        l->low = take(arena, l->weight_count);
    if (l->pool == 2)
        l->winner = take(arena, (l->out_count + 3) / 4);
    if (arena->base)
        load_weights(l);
}

static void lay_out(wage_t *w, struct arena *arena)
{
    uint32_t narrow = w->classes, wide = 0, row = 0;
    struct wage_layer l = { .out_h = load16(w->blob + 20),
                            .out_w = load16(w->blob + 22),
                            .out_c = load16(w->blob + 24) };
    w->layers = take(arena, w->layer_count * LAYER_BYTES);
    for (unsigned k = 0; k < w->layer_count; k++) {
        wage_blob_layer(w, k, &l); // was checked before
        if (l.trainable)
            take_layer(arena, &l);
        // outputs of frozen layers and errors of trainable ones take turns
        if (k + 1u != w->frozen_count && l.relu)
            narrow = larger(narrow, l.out_count);
        if (l.trainable)
            wide = larger(wide, l.row_count);
        if (k > w->frozen_count)
            wide = larger(wide, l.in_count);
        if (l.weight_bits == 2)
            row = larger(row, l.row_count);
        if (arena->base)
            w->layers[k] = l;
    }
    w->even = take(arena, narrow);
    w->odd = take(arena, narrow);
    w->row = take(arena, row);
    w->wide = take(arena, (uint64_t)wide * 4);
    w->logits = take(arena, w->classes * 4u);
    w->class_total = take(arena, w->classes * 4u);
    w->class_seen = take(arena, w->classes * 4u);
    w->class_correct = take(arena, w->classes * 4u);
    w->replay_label = take(arena, w->replay_capacity);
    w->replay_latent = take(arena,
                            (uint64_t)w->replay_capacity * w->latent_bytes);
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
    *arena_bytes = (uint32_t)arena.used;
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
        .input_h = load16(blob + 20), .input_w = load16(blob + 22),
        .input_c = load16(blob + 24), .input_map = blob[26],
        .classes = w.classes, .input_bytes = w.input_bytes,
        .latent_bytes = w.latent_bytes, .arena_bytes = arena_bytes,
        .crc = w.blob_crc, .name = (const char *)blob + 44 };
    return WAGE_OK;
}

int32_t wage_arena_bytes(const uint8_t *blob, uint32_t blob_bytes)
{
    struct wage_info info;
    int error = wage_info(blob, blob_bytes, &info);
    return error ? error : (int32_t)info.arena_bytes;
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

    const uint8_t *factory = blob + load32(blob + 40);
    memcpy(w->replay_label, factory, w->replay_count);
    memcpy(w->replay_latent, factory + w->replay_count,
           w->replay_count * w->latent_bytes);
    for (uint32_t i = 0; i < w->replay_count; i++)
        w->class_total[w->replay_label[i]]++;
    return WAGE_OK;
}

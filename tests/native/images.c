/* SPDX-License-Identifier: MIT
 *
 * Contents of a store, right and wrong, to wage_restore, under sanitizers.
 * The first case is the blob, the others are whole stores. A line is the
 * error, or "0 GENERATION STATE_CRC" after restoring; then some samples are
 * learned, saved and restored.
 */
#include "cases.h"
#include "layer.h"
#include "store.h"

#define ERASE_BYTES 256u

struct nor {
    uint8_t *bytes;
    uint32_t count;
};

static int nor_read(void *context, uint32_t at, uint8_t *to, uint32_t count)
{
    struct nor *nor = context;
    fail_unless(at <= nor->count && count <= nor->count - at, "read outside");
    memcpy(to, nor->bytes + at, count);
    return WAGE_OK;
}

static int nor_program(void *context, uint32_t at, const uint8_t *from,
                       uint32_t count)
{
    struct nor *nor = context;
    fail_unless(at <= nor->count && count <= nor->count - at
                && at % 4 == 0 && count % 4 == 0, "programmed outside");
    for (uint32_t i = 0; i < count; i++) {
        fail_unless(nor->bytes[at + i] == 0xff, "programmed unerased");
        nor->bytes[at + i] = from[i];
    }
    return WAGE_OK;
}

static int nor_erase(void *context, uint32_t at)
{
    struct nor *nor = context;
    fail_unless(at % ERASE_BYTES == 0 && at < nor->count, "erased outside");
    memset(nor->bytes + at, 0xff, ERASE_BYTES);
    return WAGE_OK;
}

static void check_ranges(const wage_t *w)
{
    const struct wage_config *c = &w->config;
    fail_unless(c->lr_shift >= -24 && c->lr_shift <= 7 && c->gain_shift <= 7
                && c->threshold <= 127 && c->lr_factor >= 1
                && c->lr_factor <= 15, "a setting outside its range");
    fail_unless(w->replay_count <= w->replay_capacity, "too many replays");
    for (uint32_t i = 0; i < w->replay_count; i++)
        fail_unless(w->replay_label[i] < w->classes, "a label too large");
    for (unsigned k = w->frozen_count; k < w->layer_count; k++) {
        const struct wage_layer *l = &w->layers[k];
        int32_t limit = l->weight_count ? wage_weight_max(l) : 0;
        for (uint32_t i = 0; i < l->weight_count; i++) {
            int32_t weight = wage_weight(l, i);
            fail_unless(weight >= -limit && weight <= limit, "a weight");
            fail_unless(!l->velocity || l->velocity[i] >= -32767,
                        "a velocity");
        }
        for (uint32_t o = 0; l->bias && o < l->out_c; o++)
            fail_unless(wage_size(l->bias[o]) <= WAGE_BIAS_MAX, "a bias");
    }
}

/* A model just restored must learn, save and come back. */
static void go_on(wage_t *w, const struct wage_store *store)
{
    struct wage_record record;
    int8_t *x = (int8_t *)exactly(w->input_bytes);
    fail_unless(wage_start(w, w->stream ^ 0x80000001u, NULL) == WAGE_OK,
                "start refused");
    for (uint32_t id = 1; id <= 3; id++) {
        for (uint32_t i = 0; i < w->input_bytes; i++)
            x[i] = (int8_t)(wage_draw(id, i) >> 24);
        fail_unless(wage_learn(w, id, x, (uint8_t)(id % w->classes),
                               &record) == WAGE_OK, "learn refused");
    }
    uint32_t crc = wage_state_crc(w), generation = w->generation;
    if (generation == UINT32_MAX - 1) { // the last one there can be
        fail_unless(wage_save(w, store) == WAGE_E_STORE_IO
                    && wage_restore(w, store) == WAGE_OK
                    && w->generation == generation, "lost by saving");
        free(x);
        return;
    }
    fail_unless(wage_save(w, store) == WAGE_OK
                && w->generation == generation + 1, "save refused");
    fail_unless(wage_restore(w, store) == WAGE_OK
                && wage_state_crc(w) == crc
                && w->generation == generation + 1, "came back otherwise");
    free(x);
}

static void try_image(wage_t *w, uint8_t *arena, uint32_t arena_bytes,
                      struct nor *nor)
{
    struct wage_store store = {
        .read = nor_read, .program = nor_program, .erase = nor_erase,
        .context = nor, .bytes = nor->count, .erase_bytes = ERASE_BYTES,
        .program_bytes = 4, .slots = 2 };
    uint8_t *before = exactly(arena_bytes);
    wage_t old;
    memcpy(&old, w, sizeof old);
    memcpy(before, arena, arena_bytes);
    int error = wage_restore(w, &store);
    old.wear = w->wear;
    if (error) {
        fail_unless(memcmp(before, arena, arena_bytes) == 0
                    && memcmp(&old, w, sizeof old) == 0,
                    "something was written before the refusal");
        printf("%d\n", error);
    } else {
        check_ranges(w);
        printf("0 %u %08x\n", (unsigned)w->generation,
               (unsigned)wage_state_crc(w));
        go_on(w, &store);
    }
    free(before);
}

static struct {
    const uint8_t *blob;
    uint8_t *arena;
    uint32_t blob_bytes, arena_bytes;
} model;

static void begin(uint8_t *blob, uint32_t bytes)
{
    int32_t needed = wage_arena_bytes(blob, bytes);
    fail_unless(needed > 0, "the blob is refused");
    model.blob = blob;
    model.blob_bytes = bytes;
    model.arena = exactly((uint32_t)needed);
    model.arena_bytes = (uint32_t)needed;
    puts("blob");
}

static void one(const uint8_t *input, uint32_t bytes)
{
    struct nor nor = { exactly(bytes), bytes };
    wage_t w;
    memcpy(nor.bytes, input, bytes);
    fail_unless(wage_open(&w, model.blob, model.blob_bytes, model.arena,
                          model.arena_bytes) == WAGE_OK, "open");
    try_image(&w, model.arena, model.arena_bytes, &nor);
    free(nor.bytes);
}

#ifdef FUZZ
/* Both halves of the store: format, model, CRCs. */
static uint8_t *seal(uint8_t *image, uint32_t *bytes)
{
    uint32_t half = *bytes / 2 / ERASE_BYTES * ERASE_BYTES;
    for (uint32_t at = 0; half && at <= half; at += half) {
        uint8_t *h = image + at;
        uint32_t state = load32(h + 12) % (half - 32 + 1);
        memcpy(h, "WCKP\1\0\0", 8);
        store32(h + 12, state);
        store32(h + 16, load32(model.blob + 12));
        store32(h + 20, wage_crc(0, h + 32, state));
        store32(h + 24, 0);
        store32(h + 28, wage_crc(0, h, 28));
    }
    return image;
}
#else
int main(void)
{
    uint32_t bytes;
    uint8_t *blob = next_case(&bytes), *image;
    begin(blob, bytes);
    while ((image = next_case(&bytes)) != NULL) {
        one(image, bytes);
        free(image);
    }
    free(model.arena);
    free(blob);
    return 0;
}
#endif

/* SPDX-License-Identifier: MIT
 *
 * Blobs, right and wrong, to the loader, under sanitizers. Each case is a
 * blob; a line is the error, or "0 ARENA_BYTES STATE_CRC" and the errors of
 * opening it wrongly; the CRC is that after some samples ("-": the model is
 * too large to be worth the time).
 */
#include "cases.h"
#include "layer.h"
#include "prepare.h"
#include "store.h"

#define PATTERN 0xa5
#define ARENA_LIMIT (64u << 20)
#define WORK_LIMIT 2000000u     /* products a step, bytes of state */

static int holds_pattern(const void *from, uint32_t count)
{
    const uint8_t *p = from;
    while (count--)
        if (*p++ != PATTERN)
            return 0;
    return 1;
}

static void check_refusal(const uint8_t *blob, uint32_t bytes, int error)
{
    uint32_t room = 512;
    uint8_t *arena = exactly(room);
    wage_t w;
    struct wage_info info;
    memset(arena, PATTERN, room);
    memset(&w, PATTERN, sizeof w);
    memset(&info, PATTERN, sizeof info);
    fail_unless(wage_info(blob, bytes, &info) == error
                && wage_arena_bytes(blob, bytes) == error
                && wage_open(&w, blob, bytes, arena, room) == error,
                "info, arena_bytes and open disagree");
    fail_unless(holds_pattern(arena, room) && holds_pattern(&w, sizeof w)
                && holds_pattern(&info, sizeof info),
                "something was written before the refusal");
    free(arena);
}

/* One byte too few, then off the boundary: prints the errors. */
static void check_arena(const uint8_t *blob, uint32_t bytes, uint32_t needed)
{
    uint8_t *arena = exactly(needed + 8);
    wage_t w;
    memset(arena, PATTERN, needed + 8);
    memset(&w, PATTERN, sizeof w);
    printf(" %d", wage_open(&w, blob, bytes, arena, needed - 1));
    for (unsigned off = 1; off < 8; off++)
        printf(" %d", wage_open(&w, blob, bytes, arena + off, needed));
    fail_unless(holds_pattern(arena, needed + 8)
                && holds_pattern(&w, sizeof w), "written before refusing");
    free(arena);
}

static uint64_t work(const wage_t *w)
{
    uint64_t products = wage_checkpoint_bytes(w);
    for (unsigned k = 0; k < w->layer_count; k++) {
        const struct wage_layer *l = &w->layers[k];
        uint64_t fan_in = (uint64_t)l->kernel_h * l->kernel_w;
        if (l->row_count > fan_in)
            fan_in = l->row_count;
        products += (uint64_t)l->sum_h * l->sum_w * l->out_c * fan_in;
    }
    return products * (w->config.replays + 4u * w->batch);
}

/* A draw for input element `i` of sample `id`. */
static int8_t element(uint32_t id, uint32_t i)
{
    return (int8_t)((int)(wage_draw(id, i) >> 24) - 128);
}

/* One step on as many samples as there may be. */
static void train(wage_t *w)
{
    uint32_t n = w->batch;
    int8_t *x = (int8_t *)exactly(n * w->input_bytes);
    uint8_t *labels = exactly(n);
    struct wage_record *records = malloc((n + 1) * sizeof *records);
    fail_unless(records != NULL, "out of memory");
    for (uint32_t i = 0; i < n * w->input_bytes; i++)
        x[i] = element(99, i);
    for (uint32_t s = 0; s < n; s++)
        labels[s] = (uint8_t)(s % w->classes);
    fail_unless(wage_train(w, 0, x, labels, records) == WAGE_E_BATCH
                && wage_train(w, n + 1, x, labels, records) == WAGE_E_BATCH
                && wage_predict(w, n + 1, x, labels, records)
                   == WAGE_E_BATCH, "a batch too large");
    fail_unless(wage_train(w, n, x, labels, records) == WAGE_OK, "train");
    labels[n - 1] = w->classes;
    fail_unless(wage_train(w, n, x, labels, records) == WAGE_E_LABEL,
                "trained a label too large");
    free(records);
    free(labels);
    free(x);
}

static void learn(wage_t *w)
{
    struct wage_record record;
    uint32_t before = wage_weight_crc(w);
    int8_t *x = (int8_t *)exactly(w->input_bytes);
    uint8_t none = w->classes;
    fail_unless(wage_learn(w, 1, x, 0, &record) == WAGE_E_STREAM,
                "learned without a stream");
    fail_unless(wage_start(w, 1, NULL) == WAGE_OK, "start refused");
    for (uint32_t id = 1; id <= 4; id++) {
        for (uint32_t i = 0; i < w->input_bytes; i++)
            x[i] = element(id, i);
        uint8_t label = (uint8_t)(wage_draw(id, ~0u) % w->classes);
        fail_unless(wage_predict(w, 1, x, &label, &record) == WAGE_OK
                    && record.prediction < w->classes, "predict");
        uint8_t prediction = record.prediction;
        if (id == 1)
            fail_unless(wage_weight_crc(w) == before,
                        "predicting changed the weights");
        fail_unless(wage_learn(w, id, x, label, &record) == WAGE_OK
                    && record.prediction == prediction, "learn");
    }
    fail_unless(wage_learn(w, 4, x, 0, &record) == WAGE_E_ORDER, "order");
    fail_unless(wage_predict(w, 1, x, &none, &record) == WAGE_E_LABEL
                && wage_learn(w, 5, x, none, &record) == WAGE_E_LABEL,
                "a label too large");
    free(x);
}

static void open_it(const uint8_t *blob, uint32_t bytes, uint32_t needed)
{
    wage_t w;
    uint8_t *arena = exactly(needed);
    fail_unless(wage_open(&w, blob, bytes, arena, needed) == WAGE_OK,
                "open refuses what arena_bytes takes");
    if ((uint64_t)w.replay_capacity * w.latent_bytes > WORK_LIMIT
        || work(&w) > WORK_LIMIT) {
        printf("0 %u -", (unsigned)needed);
    } else {
        learn(&w);
        train(&w);
        printf("0 %u %08x", (unsigned)needed, (unsigned)wage_state_crc(&w));
    }
    free(arena);
    check_arena(blob, bytes, needed);
    struct wage_prepare step;
    for (unsigned k = 0; wage_prepare_step(blob, bytes, k, &step) > 0; k++)
        if (step.count)
            (void)wage_fetch32(step.params + 4 * (step.count - 1u));
    putchar('\n');
}

static void one(const uint8_t *blob, uint32_t bytes)
{
    int32_t needed = wage_arena_bytes(blob, bytes);
    if (needed < 0) {
        check_refusal(blob, bytes, needed);
        printf("%d\n", (int)needed);
    } else if ((uint32_t)needed > ARENA_LIMIT) {
        printf("0 %u -\n", (unsigned)needed);
    } else {
        open_it(blob, bytes, (uint32_t)needed);
    }
}

#ifdef FUZZ
static void begin(uint8_t *blob, uint32_t bytes)
{
    (void)blob;
    (void)bytes;
}

static uint8_t *seal(uint8_t *blob, uint32_t *bytes)
{
    if (*bytes >= 16) {
        store32(blob + 8, *bytes);
        store32(blob + 12, wage_crc(0, blob + 16, *bytes - 16));
    }
    return blob;
}
#else
int main(void)
{
    uint8_t *blob;
    uint32_t bytes;
    while ((blob = next_case(&bytes)) != NULL) {
        one(blob, bytes);
        free(blob);
    }
    return 0;
}
#endif

/* SPDX-License-Identifier: MIT
 *
 * Models and samples to the runtime, however it was compiled. Case "B" and a
 * blob opens it; "L" and samples, label and input, learns them one by one;
 * "T" and samples makes one step on all of them. Each is answered by the
 * CRCs of weights and state. With HOST_LEVEL the host's kernels of that level
 * do the work.
 */
#include "cases.h"
#include "wage.h"

#ifdef HOST_LEVEL
#include "kernels.h"
#endif

struct model {
    wage_t w;
    uint8_t *blob, *arena;
};

static void open_model(struct model *m, const uint8_t *blob, uint32_t bytes)
{
    free(m->arena);
    free(m->blob);
    m->blob = exactly(bytes);
    memcpy(m->blob, blob, bytes);
    int32_t needed = wage_arena_bytes(m->blob, bytes);
    fail_unless(needed > 0, "blob refused");
    m->arena = exactly((uint32_t)needed);
    fail_unless(wage_open(&m->w, m->blob, bytes, m->arena, (uint32_t)needed)
                == WAGE_OK && wage_start(&m->w, 1, NULL) == WAGE_OK,
                "open, start");
#ifdef HOST_LEVEL
    m->w.kernels = wage_host_kernels(HOST_LEVEL);
    fail_unless(m->w.kernels != NULL, "a CPU without this level");
#endif
}

static void learn(wage_t *w, const uint8_t *samples, uint32_t bytes)
{
    struct wage_record record;
    uint32_t size = 1 + w->input_bytes;
    fail_unless(bytes % size == 0, "part of a sample");
    for (uint32_t at = 0; at < bytes; at += size)
        fail_unless(wage_learn(w, w->last_id + 1,
                               (const int8_t *)samples + at + 1, samples[at],
                               &record) == WAGE_OK, "learning refused");
}

static void train(wage_t *w, const uint8_t *samples, uint32_t bytes)
{
    uint32_t size = 1 + w->input_bytes, n = bytes / size;
    uint8_t *x = exactly(n * w->input_bytes), *labels = exactly(n);
    struct wage_record *records = malloc(n * sizeof *records);
    fail_unless(bytes % size == 0 && records, "part of a sample");
    for (uint32_t s = 0; s < n; s++) {
        labels[s] = samples[s * size];
        memcpy(x + s * w->input_bytes, samples + s * size + 1,
               w->input_bytes);
    }
    fail_unless(wage_train(w, n, (int8_t *)x, labels, records) == WAGE_OK,
                "training refused");
    free(records);
    free(labels);
    free(x);
}

int main(void)
{
    struct model m = { .blob = NULL };
    uint32_t bytes;
    uint8_t *input;
    while ((input = next_case(&bytes)) != NULL) {
        fail_unless(bytes > 0 && (m.blob || input[0] == 'B'), "no blob");
        if (input[0] == 'B')
            open_model(&m, input + 1, bytes - 1);
        else if (input[0] == 'L')
            learn(&m.w, input + 1, bytes - 1);
        else
            train(&m.w, input + 1, bytes - 1);
        printf("%08lx %08lx\n", (unsigned long)wage_weight_crc(&m.w),
               (unsigned long)wage_state_crc(&m.w));
        free(input);
    }
    free(m.arena);
    free(m.blob);
    return 0;
}

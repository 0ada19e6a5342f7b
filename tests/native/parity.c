/* SPDX-License-Identifier: MIT
 *
 * Models and samples to the runtime, however it was compiled. Case "B" and a
 * blob opens it; "L" and samples, label and input, learns them one by one;
 * "T" and samples makes one step on all of them. Each is answered by the
 * CRCs of weights and state. With HOST_LEVEL the host's kernels of that level
 * do the work. On AVR program memory cannot be written: the blobs are in the
 * image (avr.h), and a case has the number of one instead.
 */
#include "cases.h"
#include "wage.h"

#ifdef HOST_LEVEL
#include "kernels.h"
#endif

#ifdef __AVR__
#include "avr.h"
#else
static uint8_t *take_arena(uint32_t bytes)
{
    static uint8_t *arena;
    free(arena);
    return arena = exactly(bytes);
}

static const uint8_t *take_blob(const uint8_t *from, uint32_t *bytes)
{
    static uint8_t *blob;
    free(blob);
    blob = exactly(*bytes);
    memcpy(blob, from, *bytes);
    return blob;
}
#endif

static void open_model(wage_t *w, const uint8_t *input, uint32_t bytes)
{
    const uint8_t *blob = take_blob(input, &bytes);
    int32_t needed = wage_arena_bytes(blob, bytes);
    fail_unless(needed > 0, "blob refused");
    uint8_t *arena = take_arena((uint32_t)needed);
    fail_unless(wage_open(w, blob, bytes, arena, (uint32_t)needed) == WAGE_OK
                && wage_start(w, 1, NULL) == WAGE_OK, "open, start");
#ifdef HOST_LEVEL
    w->kernels = wage_host_kernels(HOST_LEVEL);
    fail_unless(w->kernels != NULL, "a CPU without this level");
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
    wage_t w = { .blob = NULL };
    uint32_t bytes;
    uint8_t *input;
    while ((input = next_case(&bytes)) != NULL) {
        fail_unless(bytes > 0 && (w.blob || input[0] == 'B'), "no blob");
        if (input[0] == 'B')
            open_model(&w, input + 1, bytes - 1);
        else if (input[0] == 'L')
            learn(&w, input + 1, bytes - 1);
        else
            train(&w, input + 1, bytes - 1);
        printf("%08lx %08lx\n", (unsigned long)wage_weight_crc(&w),
               (unsigned long)wage_state_crc(&w));
        free(input);
    }
    return 0;
}

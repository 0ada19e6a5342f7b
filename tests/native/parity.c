/* SPDX-License-Identifier: MIT
 *
 * A stream of samples to the runtime, however it was compiled. The first case
 * is the blob, answered by the CRCs of weights and state at the factory; each
 * other one is samples, label and input, answered by the CRCs once they are
 * learned.
 */
#include "cases.h"
#include "wage.h"

static void print_crcs(const wage_t *w)
{
    printf("%08lx %08lx\n", (unsigned long)wage_weight_crc(w),
           (unsigned long)wage_state_crc(w));
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

int main(void)
{
    uint32_t bytes, count;
    uint8_t *blob = next_case(&bytes), *samples;
    fail_unless(blob != NULL, "no blob");
    int32_t needed = wage_arena_bytes(blob, bytes);
    fail_unless(needed > 0, "blob refused");
    uint8_t *arena = exactly((uint32_t)needed);
    wage_t w;
    fail_unless(wage_open(&w, blob, bytes, arena, (uint32_t)needed) == WAGE_OK
                && wage_start(&w, 1, NULL) == WAGE_OK, "open, start");
    print_crcs(&w);
    while ((samples = next_case(&count)) != NULL) {
        learn(&w, samples, count);
        print_crcs(&w);
        free(samples);
    }
    free(arena);
    free(blob);
    return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * A device that samples by itself, as prepare.h shows it: a model whose steps
 * are cut, logmel, normalise. A case: bytes of a blob (u32), the blob, sound
 * (int16 each, as many as cut leaves). Its answer: the prediction, the input.
 */
#include "cases.h"
#include "prepare.h"
#include "wage.h"

static uint8_t *copied(const uint8_t *from, uint32_t bytes)
{
    uint8_t *p = exactly(bytes);
    memcpy(p, from, bytes);
    return p;
}

static void answer(const wage_t *w, const struct wage_record *record,
                   const int8_t *x)
{
    printf("%d", record->prediction);
    for (uint32_t i = 0; i < w->input_bytes; i++)
        printf(" %d", x[i]);
    printf("\n");
}

/* One frame after the other, as they are sampled. */
static void fill(const struct wage_logmel *mel, const struct wage_prepare *last,
                 const int16_t *sound, uint32_t frames, int8_t *x)
{
    void *work = exactly((mel->fft / 2u + 1) * sizeof(union wage_bin));
    void *values = exactly(4u * mel->bands);
    for (uint32_t f = 0; f < frames; f++) {
        wage_logmel(mel, sound + f * mel->hop, work, values);
        fail_unless(wage_normalise(last, values, f * mel->bands, mel->bands,
                                   x + f * mel->bands) == WAGE_OK,
                    "normalise");
    }
    free(work);
    free(values);
}

static void one(const uint8_t *input, uint32_t bytes)
{
    uint32_t blob_bytes = load32(input);
    uint8_t *blob = copied(input + 4, blob_bytes);
    uint8_t *sound = copied(input + 4 + blob_bytes, bytes - 4 - blob_bytes);
    int32_t needed = wage_arena_bytes(blob, blob_bytes);
    fail_unless(needed > 0, "blob refused");
    uint8_t *arena = exactly((uint32_t)needed), label = 0;
    wage_t w;
    struct wage_logmel mel;
    struct wage_prepare step[3];
    struct wage_record record;
    fail_unless(wage_open(&w, blob, blob_bytes, arena, (uint32_t)needed)
                == WAGE_OK, "open");
    for (unsigned k = 0; k < 3; k++)
        fail_unless(wage_prepare_step(blob, blob_bytes, k, &step[k]) == 1,
                    "steps");
    fail_unless(wage_prepare_step(blob, blob_bytes, 3, &step[0]) == 0
                && wage_logmel_open(&mel, &step[1]) == WAGE_OK, "logmel");
    int8_t *x = (int8_t *)exactly(w.input_bytes);
    fill(&mel, &step[2], (const int16_t *)(const void *)sound,
         w.input_bytes / mel.bands, x);
    fail_unless(wage_predict(&w, 1, x, &label, &record) == WAGE_OK, "predict");
    answer(&w, &record, x);
    free(x);
    free(arena);
    free(sound);
    free(blob);
}

int main(void)
{
    uint32_t bytes;
    for (uint8_t *input; (input = next_case(&bytes)) != NULL; free(input))
        one(input, bytes);
    return 0;
}

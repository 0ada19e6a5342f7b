/* SPDX-License-Identifier: MIT
 *
 * Sound to log-mel values, however it was compiled. A case: number of
 * parameters (u32), they (int32 each), a frame of sound (int16 each). Its
 * answer is all values.
 */
#include "cases.h"
#include "prepare.h"
#include "wage.h"

int main(void)
{
    uint32_t bytes;
    for (uint8_t *input; (input = next_case(&bytes)) != NULL; free(input)) {
        struct wage_logmel mel;
        struct wage_prepare step = { .kind = WAGE_LOGMEL,
                                     .count = load16(input),
                                     .params = input + 4 };
        fail_unless(wage_logmel_open(&mel, &step) == WAGE_OK, "refused");
        uint32_t at = 4 + 4 * (uint32_t)step.count;
        fail_unless(bytes == at + 2u * mel.window, "another frame");
        uint8_t *sound = exactly(2u * mel.window);
        uint8_t *work = exactly((mel.fft / 2u + 1) * sizeof(union wage_bin));
        uint8_t *values = exactly(4u * mel.bands);
        memcpy(sound, input + at, 2u * mel.window);
        wage_logmel(&mel, (int16_t *)(void *)sound,
                    (union wage_bin *)(void *)work,
                    (int32_t *)(void *)values);
        for (uint32_t k = 0; k < mel.bands; k++)
            printf("%s%ld", k ? " " : "",
                   (long)((int32_t *)(void *)values)[k]);
        printf("\n");
        free(sound);
        free(work);
        free(values);
    }
    return 0;
}

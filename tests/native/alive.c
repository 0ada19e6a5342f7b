/* SPDX-License-Identifier: MIT
 *
 * Faults on purpose, for the test of the sanitizers: case "a" reads one byte
 * too far, "u" adds past the largest int, any other does nothing.
 */
#include "cases.h"

int main(void)
{
    uint8_t *input;
    uint32_t bytes;
    while ((input = next_case(&bytes)) != NULL) {
        int sum = INT32_MAX - 1;
        if (input[0] == 'a')
            sum = input[bytes];
        if (input[0] == 'u')
            sum += (int)bytes + 1;
        printf("%d\n", sum);
        free(input);
    }
    return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * A CMSDK timer as the clock: it counts down.
 */
#include "cmsdk.h"

#define REG(offset) (*(volatile uint32_t *)(cmsdk.timer + (offset)))
#define CTRL REG(0x0u)
#define VALUE REG(0x4u)
#define RELOAD REG(0x8u)
#define ENABLE 1u

void cmsdk_clock_begin(void)
{
    RELOAD = UINT32_MAX;
    VALUE = UINT32_MAX;
    CTRL = ENABLE;
}

uint32_t cmsdk_ticks(void)
{
    return UINT32_MAX - VALUE;
}

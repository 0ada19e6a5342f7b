/* SPDX-License-Identifier: MIT
 *
 * Arm MPS3 with the AN547 image: Cortex-M55, in the Secure state; nothing
 * uses its Helium. Its clock is system timer 0, which shows the system counter.
 */
#include "cmsdk.h"

#define REG(address) (*(volatile uint32_t *)(address))
#define TIMER_COUNT REG(0x58000000u)    // its lower 32 bits
#define COUNTER_CONTROL REG(0x58100000u)
#define COUNTER_ENABLE 1u

static uint64_t memory[448u * 1024u / sizeof(uint64_t)];

const struct cmsdk cmsdk = {
    .name = "mps3-an547",
    .uart = 0x59303000u,
    .leds = 0x59302000u,
    .clock_hz = 32000000u,
    .uart_hz = 25000000u,
    .memory = memory,
    .memory_bytes = sizeof memory
};

void cmsdk_clock_begin(void)
{
    COUNTER_CONTROL = COUNTER_ENABLE;
}

uint32_t cmsdk_ticks(void)
{
    return TIMER_COUNT;
}

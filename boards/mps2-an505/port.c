/* SPDX-License-Identifier: MIT
 *
 * Arm MPS2 with the AN505 image: Cortex-M33, which starts in the Secure state
 * and stays there; all addresses are the Secure ones.
 */
#include "cmsdk.h"

static uint64_t memory[512u * 1024u / sizeof(uint64_t)];

const struct cmsdk cmsdk = {
    .name = "mps2-an505",
    .uart = 0x50200000u,
    .timer = 0x50000000u,
    .leds = 0x50302000u,
    .clock_hz = 20000000u,
    .uart_hz = 20000000u,
    .memory = memory,
    .memory_bytes = sizeof memory
};

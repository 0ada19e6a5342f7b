/* SPDX-License-Identifier: MIT
 *
 * Arm MPS2 with the AN386 image: Cortex-M4F.
 */
#include "cmsdk.h"

static uint64_t memory[512u * 1024u / sizeof(uint64_t)];

const struct cmsdk cmsdk = {
    .name = "mps2-an386",
    .uart = 0x40004000u,
    .timer = 0x40000000u,
    .leds = 0x40028000u,
    .clock_hz = 25000000u,
    .uart_hz = 25000000u,
    .memory = memory,
    .memory_bytes = sizeof memory
};

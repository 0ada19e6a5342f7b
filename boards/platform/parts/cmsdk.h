/* SPDX-License-Identifier: MIT
 *
 * What Arm's FPGA images for MPS2 and MPS3 do alike: the port of port.h on a
 * CMSDK UART. The board's port.c gives `cmsdk`; its clock is cmsdk_timer.c's
 * or its own.
 */
#ifndef WAGE_CMSDK_H
#define WAGE_CMSDK_H

#include <stdint.h>

struct cmsdk {
    const char *name;
    uint32_t uart;          /* addresses */
    uint32_t timer;         /* 0: none, the board counts otherwise */
    uint32_t leds;
    uint32_t clock_hz;      /* of what cmsdk_ticks() counts: whole MHz */
    uint32_t uart_hz;
    uint64_t *memory;       /* for arena and frames */
    uint32_t memory_bytes;
};

extern const struct cmsdk cmsdk;

/* Starts the clock. */
void cmsdk_clock_begin(void);

/* Ticks since some time or other: all 32 bits count. */
uint32_t cmsdk_ticks(void);

#endif

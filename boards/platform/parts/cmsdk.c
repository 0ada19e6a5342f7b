/* SPDX-License-Identifier: MIT
 *
 * The UART is polled and holds one byte; no store.
 */
#include "cmsdk.h"

#include "board.h"
#include "cortex_m.h"
#include "port.h"
#include "wire.h"

#define BAUD 115200u
#define WRITE_LIMIT_US 1000000u

#define REG(address) (*(volatile uint32_t *)(address))
#define UART_DATA REG(cmsdk.uart)
#define UART_STATE REG(cmsdk.uart + 0x04u)
#define UART_CTRL REG(cmsdk.uart + 0x08u)
#define UART_BAUDDIV REG(cmsdk.uart + 0x10u)
#define UART_TX_FULL 1u
#define UART_RX_FULL 2u
#define UART_ENABLE 3u
#define LEDS REG(cmsdk.leds)    // of the FPGAIO block; two at least

struct port {
    uint32_t ticks;     /* up to which `micros` counts */
    uint32_t micros;
};

struct port *board_open(void)
{
    static struct port port;

    LEDS = WAGE_PHASE_IDLE;
    UART_BAUDDIV = cmsdk.uart_hz / BAUD;
    UART_CTRL = UART_ENABLE;
    /* what came before belongs to nobody; QEMU's socket, stopped by the byte
     * that a reset took away, only goes on when one is read */
    (void)UART_DATA;
    cmsdk_clock_begin();
    port.ticks = cmsdk_ticks();
    return &port;
}

struct port_info port_info(struct port *port)
{
    struct port_info info = {
        .name = cmsdk.name,
        .place = WAGE_PLACE_EMULATOR,
        .blob = board_blob,
        .blob_bytes = board_blob_bytes,
        .memory = (uint8_t *)cmsdk.memory,
        .memory_bytes = cmsdk.memory_bytes,
        .auth = board_auth,
        .field = board_field
    };

    (void)port;
    return info;
}

uint32_t port_read(struct port *port, uint8_t *to, uint32_t count)
{
    uint32_t got = 0;

    (void)port;
    while (got < count && (UART_STATE & UART_RX_FULL))
        to[got++] = (uint8_t)UART_DATA;
    return got;
}

/* Waits for room to send one byte. Returns 0 when there was none for long. */
static int wait_for_room(struct port *port)
{
    uint32_t start;

    if (!(UART_STATE & UART_TX_FULL))
        return 1;
    start = port_micros(port);
    while (UART_STATE & UART_TX_FULL)
        if (port_micros(port) - start > WRITE_LIMIT_US)
            return 0;
    return 1;
}

void port_write(struct port *port, const uint8_t *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!wait_for_room(port))
            return;
        UART_DATA = from[i];
    }
}

/* The ticks wrap after two minutes or three. Whole microseconds move from
 * them to `micros`, so two readings with less between them differ by the time
 * that passed; a longer pause counts short by whole turns. */
uint32_t port_micros(struct port *port)
{
    uint32_t ticks_per_us = cmsdk.clock_hz / 1000000u;
    uint32_t passed = (cmsdk_ticks() - port->ticks) / ticks_per_us;

    port->ticks += passed * ticks_per_us;
    port->micros += passed;
    return port->micros;
}

/* It has no source of noise: when the host asks is all that differs. */
uint32_t port_random(struct port *port)
{
    return port_micros(port) * 2654435761u;
}

/* Where there are two LEDs, the lower bits: update looks as idle then. */
void port_phase(struct port *port, enum wage_phase phase)
{
    (void)port;
    LEDS = phase;
}

void port_restart(struct port *port)
{
    (void)port;
    cortex_m_restart();
}

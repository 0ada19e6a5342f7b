/* SPDX-License-Identifier: MIT
 *
 * Arm MPS2 AN386: CMSDK UART 0 and timer 0, both polled; no store.
 */
#include "port.h"

#include "board.h"
#include "cortex_m.h"
#include "memory.h"
#include "wire.h"

#define CLOCK_HZ 25000000u
#define TICKS_PER_US (CLOCK_HZ / 1000000u)
#define BAUD 115200u
#define MEMORY_BYTES (512u * 1024u)
#define WRITE_LIMIT_US 1000000u

#define REG(address) (*(volatile uint32_t *)(address))
#define UART_DATA REG(0x40004000u)
#define UART_STATE REG(0x40004004u)
#define UART_CTRL REG(0x40004008u)
#define UART_BAUDDIV REG(0x40004010u)
#define UART_TX_FULL 1u
#define UART_RX_FULL 2u
#define UART_ENABLE 3u
#define TIMER_CTRL REG(0x40000000u)
#define TIMER_VALUE REG(0x40000004u)
#define TIMER_RELOAD REG(0x40000008u)
#define TIMER_ENABLE 1u

struct port {
    uint32_t ticks;     /* timer value up to which `micros` counts */
    uint32_t micros;
};

static uint64_t memory[MEMORY_BYTES / sizeof(uint64_t)];

struct port *board_open(void)
{
    static struct port port;

    UART_BAUDDIV = CLOCK_HZ / BAUD;
    UART_CTRL = UART_ENABLE;
    /* what came before belongs to nobody; QEMU's socket, stopped by the byte
     * that a reset took away, only goes on when one is read */
    (void)UART_DATA;
    TIMER_RELOAD = UINT32_MAX;
    TIMER_VALUE = UINT32_MAX;
    TIMER_CTRL = TIMER_ENABLE;
    port.ticks = UINT32_MAX;
    return &port;
}

struct port_info port_info(struct port *port)
{
    struct port_info info = {
        .name = "mps2-an386",
        .place = WAGE_PLACE_EMULATOR,
        .blob = board_blob,
        .blob_bytes = board_blob_bytes,
        .memory = (uint8_t *)memory,
        .memory_bytes = MEMORY_BYTES,
        .auth = board_auth
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

/* The timer counts down and wraps after 171 s. Whole microseconds move from
 * it to `micros`, so two readings less than 171 s apart differ by the time
 * between them; a longer pause counts short by whole turns of the timer. */
uint32_t port_micros(struct port *port)
{
    uint32_t passed = (port->ticks - TIMER_VALUE) / TICKS_PER_US;

    port->ticks -= passed * TICKS_PER_US;
    port->micros += passed;
    return port->micros;
}

/* It has no source of noise: when the host asks is all that differs. */
uint32_t port_random(struct port *port)
{
    return port_micros(port) * 2654435761u;
}

uint32_t port_stack_bytes(struct port *port)
{
    (void)port;
    return memory_stack_bytes();
}

void port_restart(struct port *port)
{
    (void)port;
    cortex_m_restart();
}

/* SPDX-License-Identifier: MIT
 *
 * QEMU's RISC-V virt: 16550 UART and machine timer, both polled; the store is
 * in store.c.
 */
#include "port.h"

#include "board.h"
#include "riscv.h"
#include "wire.h"

#define MEMORY_BYTES (512u * 1024u)
#define RECEIVE_BYTES 16u       // the UART's queue
#define WRITE_LIMIT_US 1000000u

#define REG8(address) (*(volatile uint8_t *)(address))
#define REG32(address) (*(volatile uint32_t *)(address))
#define UART_DATA REG8(0x10000000u)
#define UART_FIFO REG8(0x10000002u)
#define UART_LINE REG8(0x10000003u)
#define UART_STATUS REG8(0x10000005u)
#define UART_FIFO_EMPTIED 7u
#define UART_8_BITS 3u
#define UART_RECEIVED 1u
#define UART_TX_EMPTY 0x20u
#define WALL_CLOCK_NS REG32(0x00101000u) // its lower 32 bits
#define TEST REG32(0x00100000u)
#define TEST_RESET 0x7777u

struct port {
    struct wage_store store;
};

static uint64_t memory[MEMORY_BYTES / sizeof(uint64_t)];

struct port *board_open(void)
{
    static struct port port;

    UART_LINE = UART_8_BITS;
    UART_FIFO = UART_FIFO_EMPTIED;
    port.store = board_store(&port);
    return &port;
}

struct port_info port_info(struct port *port)
{
    struct port_info info = {
        .name = "riscv-virt",
        .place = WAGE_PLACE_EMULATOR,
        .blob = board_blob,
        .blob_bytes = board_blob_bytes,
        .memory = (uint8_t *)memory,
        .memory_bytes = MEMORY_BYTES,
        .store = &port->store,
        .auth = board_auth,
        .field = board_field,
        .receive_bytes = RECEIVE_BYTES
    };

    return info;
}

uint32_t port_read(struct port *port, uint8_t *to, uint32_t count)
{
    uint32_t got = 0;

    (void)port;
    while (got < count && (UART_STATUS & UART_RECEIVED))
        to[got++] = UART_DATA;
    return got;
}

void port_write(struct port *port, const uint8_t *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t start = port_micros(port);
        while (!(UART_STATUS & UART_TX_EMPTY))
            if (port_micros(port) - start > WRITE_LIMIT_US)
                return;
        UART_DATA = from[i];
    }
}

/* It has no source of noise: when the host asks is all that differs. */
uint32_t port_random(struct port *port)
{
    (void)port;
    return WALL_CLOCK_NS * 2654435761u;
}

/* It has no pins. */
void port_phase(struct port *port, enum wage_phase phase)
{
    (void)port;
    (void)phase;
}

void port_restart(struct port *port)
{
    (void)port;
    riscv_restart();
}

void riscv_restart(void)
{
    TEST = TEST_RESET;
    for (;;) {
    }
}

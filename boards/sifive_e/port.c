/* SPDX-License-Identifier: MIT
 *
 * QEMU's sifive_e: the chip FE310 as on a HiFive1. UART 0 and the machine
 * timer, both polled; no store. The timer is the emulator's: that of the chip
 * counts at 32768 Hz.
 */
#include "port.h"

#include "board.h"
#include "riscv.h"
#include "wire.h"

#include <stddef.h>

#define CLOCK_HZ 16000000u
#define BAUD 115200u
#define MEMORY_BYTES (13u * 1024u)
#define RECEIVE_BYTES 8u        // the UART's queue
#define WRITE_LIMIT_US 1000000u
#define CRYSTAL_WAITS 100000u

#define REG(address) (*(volatile uint32_t *)(address))
#define PRCI_CRYSTAL REG(0x10008004u)
#define PRCI_PLL REG(0x10008008u)
#define CRYSTAL_ENABLE (1u << 30)
#define CRYSTAL_READY (1u << 31)
#define PLL_IS_CRYSTAL 0x00070000u // chosen, of the crystal, passed by
#define GPIO_OUTPUT_ENABLE REG(0x10012008u)
#define GPIO_OUTPUT REG(0x1001200Cu)
#define GPIO_FUNCTION_ENABLE REG(0x10012038u)
#define GPIO_FUNCTION_SELECT REG(0x1001203Cu)
#define UART_PINS (3u << 16)    // 16 receives, 17 sends
#define PHASE_PINS 7u           // 0 to 2, on a HiFive1 D8 to D10
#define UART_SEND REG(0x10013000u)
#define UART_RECEIVE REG(0x10013004u)
#define UART_SEND_CTRL REG(0x10013008u)
#define UART_RECEIVE_CTRL REG(0x1001300Cu)
#define UART_DIV REG(0x10013018u)
#define UART_FULL (1u << 31)
#define UART_EMPTY (1u << 31)
#define UART_ENABLE 1u

static uint64_t memory[MEMORY_BYTES / sizeof(uint64_t)];

/* The core starts on an oscillator that no UART can rely on. */
static void clock_begin(void)
{
    PRCI_CRYSTAL = CRYSTAL_ENABLE;
    for (unsigned i = 0; i < CRYSTAL_WAITS; i++)
        if (PRCI_CRYSTAL & CRYSTAL_READY)
            break;
    PRCI_PLL = PLL_IS_CRYSTAL;
}

struct port *board_open(void)
{
    clock_begin();
    GPIO_OUTPUT = WAGE_PHASE_IDLE;
    GPIO_OUTPUT_ENABLE = PHASE_PINS;
    GPIO_FUNCTION_SELECT = 0;
    GPIO_FUNCTION_ENABLE = UART_PINS;
    UART_DIV = (CLOCK_HZ + BAUD / 2) / BAUD - 1;
    UART_SEND_CTRL = UART_ENABLE;
    UART_RECEIVE_CTRL = UART_ENABLE;
    return NULL; // it has no state
}

struct port_info port_info(struct port *port)
{
    struct port_info info = {
        .name = "sifive_e",
        .place = WAGE_PLACE_EMULATOR,
        .blob = board_blob,
        .blob_bytes = board_blob_bytes,
        .memory = (uint8_t *)memory,
        .memory_bytes = MEMORY_BYTES,
        .auth = board_auth,
        .field = board_field,
        .receive_bytes = RECEIVE_BYTES
    };

    (void)port;
    return info;
}

uint32_t port_read(struct port *port, uint8_t *to, uint32_t count)
{
    uint32_t got = 0, word;

    (void)port;
    while (got < count && !((word = UART_RECEIVE) & UART_EMPTY))
        to[got++] = (uint8_t)word;
    return got;
}

void port_write(struct port *port, const uint8_t *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t start = port_micros(port);
        while (UART_SEND & UART_FULL)
            if (port_micros(port) - start > WRITE_LIMIT_US)
                return;
        UART_SEND = from[i];
    }
}

/* It has no source of noise: when the host asks is all that differs. */
uint32_t port_random(struct port *port)
{
    return port_micros(port) * 2654435761u;
}

void port_phase(struct port *port, enum wage_phase phase)
{
    (void)port;
    GPIO_OUTPUT = phase;
}

void port_restart(struct port *port)
{
    (void)port;
    riscv_restart();
}

/* Only a watchdog resets the chip, and QEMU has none: the start-up code does
 * all that a reset does for us. */
__attribute__((naked)) void riscv_restart(void)
{
    __asm__ volatile("j reset_handler");
}

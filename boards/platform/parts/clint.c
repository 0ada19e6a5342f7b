/* SPDX-License-Identifier: MIT
 *
 * The clock of a RISC-V with a core-local interruptor where SiFive's is: its
 * machine timer, at the rate that QEMU gives it.
 */
#include "port.h"

#define TICKS_PER_US 10u

#define REG(address) (*(volatile uint32_t *)(address))
#define TIME_LOW REG(0x0200BFF8u)
#define TIME_HIGH REG(0x0200BFFCu)

uint32_t port_micros(struct port *port)
{
    uint32_t low, high;

    (void)port;
    do {
        high = TIME_HIGH;
        low = TIME_LOW;
    } while (high != TIME_HIGH);
    return (uint32_t)((((uint64_t)high << 32) | low) / TICKS_PER_US);
}

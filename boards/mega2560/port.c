/* SPDX-License-Identifier: MIT
 *
 * Arduino Mega 2560: USART 0, whose other end is the USB chip, polled; timer
 * 1 as the clock, whose overflows an interrupt counts. The store is in
 * store.c.
 */
#include "port.h"

#include "board.h"
#include "flash.h"
#include "wire.h"

#include <avr/boot.h>
#include <avr/interrupt.h>
#include <avr/io.h>

#define RECEIVE_BYTES 2u        // the USART's queue
#define WRITE_LIMIT_US 1000000u
#define UBRR_115200 16u         // at 16 MHz and double speed, 2 % too fast
#define TICKS_SHIFT 1           // the timer has 2 ticks a microsecond
#define PAINT 0xC5u
#define PHASE_PIN PB5           // 11; then 12, and 13, the LED
#define SIGNATURE 0x1Eu

struct port {
    struct wage_store store;
};

extern uint8_t memory_start[], memory_end[]; // link.ld
extern uint8_t stack_bottom[], stack_top[];

static const char name[] WAGE_IN_FLASH = "mega2560";
static volatile uint32_t turns; // of the timer, 65,536 ticks each

ISR(TIMER1_OVF_vect)
{
    turns++;
}

/* Before main() there is nothing on the stack. */
__attribute__((naked, used, section(".init3"))) void paint_stack(void);
void paint_stack(void)
{
    volatile uint8_t *at = stack_bottom;
    while (at != stack_top)
        *at++ = PAINT;
}

struct port *board_open(void)
{
    static struct port port;

    DDRB = 7 << PHASE_PIN;
    UBRR0 = UBRR_115200;
    UCSR0A = 1 << U2X0;
    UCSR0C = (1 << UCSZ01) | (1 << UCSZ00);
    UCSR0B = (1 << RXEN0) | (1 << TXEN0);
    TCCR1A = 0;
    TCCR1B = 1 << CS11; // the CPU's clock / 8
    TIMSK1 = 1 << TOIE1;
    sei();
    port.store = board_store(&port);
    return &port;
}

/* simavr knows no signature row. */
static uint32_t place(void)
{
    return boot_signature_byte_get(0) == SIGNATURE ? WAGE_PLACE_BOARD
                                                   : WAGE_PLACE_EMULATOR;
}

struct port_info port_info(struct port *port)
{
    struct port_info info = {
        .name = name,
        .place = place(),
        .blob = board_blob,
        .blob_bytes = board_blob_bytes,
        .memory = memory_start,
        .memory_bytes = (uint32_t)((uintptr_t)memory_end
                                   - (uintptr_t)memory_start),
        .store = &port->store,
        .auth = board_auth,
        .field = board_field,
        .receive_bytes = RECEIVE_BYTES
    };

    return info;
}

/* A stack that was too deep has written over the end of the memory: as after
 * a power cut, the board starts again from its last checkpoint. */
static void check_stack(struct port *port)
{
    if (*stack_bottom != PAINT)
        port_restart(port);
}

uint32_t port_read(struct port *port, uint8_t *to, uint32_t count)
{
    uint32_t got = 0;

    check_stack(port);
    while (got < count && (UCSR0A & (1 << RXC0)))
        to[got++] = UDR0;
    return got;
}

void port_write(struct port *port, const uint8_t *from, uint32_t count)
{
    check_stack(port);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t start = port_micros(port);
        while (!(UCSR0A & (1 << UDRE0)))
            if (port_micros(port) - start > WRITE_LIMIT_US)
                return;
        UDR0 = from[i];
    }
}

/* Ticks since the start, modulo 2^48: the timer and its overflows are read at
 * once, also one that has not interrupted yet. */
static uint32_t now(uint16_t *ticks)
{
    uint8_t status = SREG;
    uint32_t high;

    cli();
    *ticks = TCNT1;
    high = turns;
    if ((TIFR1 & (1 << TOV1)) && *ticks < 0x8000u)
        high++;
    SREG = status;
    return high;
}

uint32_t port_micros(struct port *port)
{
    uint16_t ticks;
    uint32_t high = now(&ticks);

    (void)port;
    return (high << (16 - TICKS_SHIFT)) + (ticks >> TICKS_SHIFT);
}

/* It has no source of noise: when the host asks is all that differs. */
uint32_t port_random(struct port *port)
{
    uint16_t ticks;
    uint32_t high = now(&ticks);

    (void)port;
    return ((high << 16) + ticks) * 2654435761u;
}

uint32_t port_stack_bytes(struct port *port)
{
    const volatile uint8_t *at = stack_bottom;

    (void)port;
    while (at != stack_top && *at == PAINT)
        at++;
    return (uint32_t)((uintptr_t)stack_top - (uintptr_t)at);
}

/* As after power-on, but without the boot loader, of which the older ones
 * never end a reset by the watchdog. */
void port_restart(struct port *port)
{
    (void)port;
    cli();
    __asm__ volatile("jmp 0");
    for (;;) {
    }
}

void port_phase(struct port *port, enum wage_phase phase)
{
    (void)port;
    PORTB = (uint8_t)(phase << PHASE_PIN);
}

/* SPDX-License-Identifier: MIT
 *
 * A harness on a simulated AVR: standard input and output are its UART; the
 * arena is static, blobs are in flash. The test writes blobs.h: a blob
 * WAGE_IN_FLASH after the other as blob_0, blob_1, …, and of them all
 *
 *     static const struct blob blobs[] = { { blob_0, sizeof blob_0 }, … };
 */
#ifndef WAGE_AVR_H
#define WAGE_AVR_H

#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>

#include "cases.h"

struct blob {
    const uint8_t *at;
    uint16_t bytes;
};

#include "blobs.h"

static uint8_t *take_arena(uint32_t bytes)
{
    static uint8_t arena[ARENA_BYTES] __attribute__((aligned(8)));
    fail_unless(bytes <= sizeof arena, "arena too small");
    memset(arena, 0x5a, sizeof arena);
    return arena;
}

static const uint8_t *take_blob(const uint8_t *number, uint32_t *bytes)
{
    const struct blob *blob = &blobs[*number];
    fail_unless(*bytes == 1 && *number < sizeof blobs / sizeof *blobs,
                "no such blob");
    *bytes = blob->bytes;
    return blob->at;
}

static int put(char byte, FILE *to)
{
    (void)to;
    while (!(UCSR0A & (1 << UDRE0))) {
    }
    UDR0 = (uint8_t)byte;
    return 0;
}

static int get(FILE *from)
{
    (void)from;
    while (!(UCSR0A & (1 << RXC0))) {
    }
    return UDR0;
}

/* Before main(); after it the simulator sees a program that is done. */
__attribute__((constructor)) static void begin(void)
{
    UBRR0 = 0;
    UCSR0B = (1 << RXEN0) | (1 << TXEN0);
    (void)fdevopen(put, get);
}

__attribute__((destructor)) static void end(void)
{
    while (!(UCSR0A & (1 << TXC0))) {
    }
    cli();
    sleep_enable();
    sleep_cpu();
}

#endif

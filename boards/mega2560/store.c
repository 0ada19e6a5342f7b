/* SPDX-License-Identifier: MIT
 *
 * The store in the EEPROM, byte by byte: 1.8 ms to erase one, 1.8 ms to write
 * one. What need not change is left alone, for the time and for the wear.
 *
 * No watchdog is started, so `busy` is NULL.
 */
#include "board.h"
#include "port.h"

#include <avr/interrupt.h>
#include <avr/io.h>

#define STORE_BYTES (E2END + 1u)
#define ERASE_BYTES 32u         // any power of two would do
#define SLOTS 2u                // as few as there may be: room for a state
#define BLANK 0xFFu
#define ERASE_ONLY (1 << EEPM0)
#define WRITE_ONLY (1 << EEPM1)
#define WAIT_LIMIT_US 20000u

static int fits(uint32_t at, uint32_t count)
{
    return at <= STORE_BYTES && count <= STORE_BYTES - at;
}

static int wait_ready(struct port *port)
{
    uint32_t start = port_micros(port);

    while (EECR & (1 << EEPE))
        if (port_micros(port) - start > WAIT_LIMIT_US)
            return WAGE_E_STORE_IO;
    return WAGE_OK;
}

static uint8_t byte_at(uint16_t at)
{
    EEAR = at;
    EECR = 1 << EERE;
    return EEDR;
}

/* Erases or writes a byte, if that changes anything. */
static int change(struct port *port, uint16_t at, uint8_t byte, uint8_t mode)
{
    int error = wait_ready(port);
    uint8_t status;

    if (error || byte_at(at) == byte)
        return error;
    EEDR = byte;
    status = SREG;
    cli(); // the second bit must follow within four cycles
    EECR = (uint8_t)(mode | (1 << EEMPE));
    EECR |= 1 << EEPE;
    SREG = status;
    return wait_ready(port);
}

static int store_read(void *context, uint32_t at, uint8_t *to, uint32_t count)
{
    int error = wait_ready(context);

    for (uint32_t i = 0; !error && i < count; i++)
        to[i] = byte_at((uint16_t)(at + i));
    return error;
}

static int store_program(void *context, uint32_t at, const uint8_t *from,
                         uint32_t count)
{
    int error = fits(at, count) ? WAGE_OK : WAGE_E_STORE_IO;

    for (uint32_t i = 0; !error && i < count; i++)
        error = change(context, (uint16_t)(at + i), from[i], WRITE_ONLY);
    return error;
}

static int store_erase(void *context, uint32_t at)
{
    int error = fits(at, ERASE_BYTES) && at % ERASE_BYTES == 0
                ? WAGE_OK : WAGE_E_STORE_IO;

    for (uint32_t i = 0; !error && i < ERASE_BYTES; i++)
        error = change(context, (uint16_t)(at + i), BLANK, ERASE_ONLY);
    return error;
}

struct wage_store board_store(struct port *port)
{
    return (struct wage_store){
        .read = store_read,
        .program = store_program,
        .erase = store_erase,
        .context = port,
        .bytes = STORE_BYTES,
        .erase_bytes = ERASE_BYTES,
        .program_bytes = 1,
        .slots = SLOTS
    };
}

/* SPDX-License-Identifier: MIT
 *
 * Reading a blob, and tables, where they lie. Flash is memory like any other
 * but on AVR, whose program memory has addresses of its own: there a blob
 * must be WAGE_IN_FLASH, in its first 64 KB, and nothing but these reads it.
 */
#ifndef WAGE_FLASH_H
#define WAGE_FLASH_H

#include <stdint.h>
#include <string.h>

#ifdef __AVR__
#include <avr/pgmspace.h>

#define WAGE_IN_FLASH PROGMEM

static inline uint8_t wage_fetch8(const uint8_t *from)
{
    return pgm_read_byte(from);
}

/* Of a table. */
static inline uint16_t wage_entry16(const uint16_t *from)
{
    return pgm_read_word(from);
}

static inline uint32_t wage_entry32(const uint32_t *from)
{
    return pgm_read_dword(from);
}

/* Copies bytes out of flash. */
static inline void wage_fetch(void *to, const uint8_t *from, uint32_t count)
{
    memcpy_P(to, from, (size_t)count);
}

/* The bytes where they are data: `room` (count) if they must be copied. */
static inline const uint8_t *wage_fetched(const uint8_t *from, void *room,
                                          uint32_t count)
{
    memcpy_P(room, from, (size_t)count);
    return (const uint8_t *)room;
}
#else
#define WAGE_IN_FLASH

static inline uint8_t wage_fetch8(const uint8_t *from)
{
    return *from;
}

static inline uint16_t wage_entry16(const uint16_t *from)
{
    return *from;
}

static inline uint32_t wage_entry32(const uint32_t *from)
{
    return *from;
}

static inline void wage_fetch(void *to, const uint8_t *from, uint32_t count)
{
    memcpy(to, from, count);
}

static inline const uint8_t *wage_fetched(const uint8_t *from, void *room,
                                          uint32_t count)
{
    (void)room;
    (void)count;
    return from;
}
#endif

#endif

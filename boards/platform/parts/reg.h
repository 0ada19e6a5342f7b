/* SPDX-License-Identifier: MIT
 *
 * The chip as a driver sees it that is tested without one: the test has a
 * file of this name, with a model behind it.
 */
#ifndef WAGE_REG_H
#define WAGE_REG_H

#include <stdint.h>

static inline uint32_t reg_read(uint32_t address)
{
    return *(const volatile uint32_t *)address;
}

/* Done before whatever comes next. */
static inline void reg_write(uint32_t address, uint32_t value)
{
    *(volatile uint32_t *)address = value;
    __sync_synchronize();
}

/* Memory that only a driver changes. */
static inline const uint8_t *reg_bytes(uint32_t address)
{
    return (const uint8_t *)address;
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * What every Cortex-M does alike: start, stack watch, restart.
 */
#ifndef WAGE_CORTEX_M_H
#define WAGE_CORTEX_M_H

#include <stdint.h>

/* The deepest stack since reset, in bytes. */
uint32_t cortex_m_stack_bytes(void);

/* Resets the chip. */
void cortex_m_restart(void) __attribute__((noreturn));

#endif

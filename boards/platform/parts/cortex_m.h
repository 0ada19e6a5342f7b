/* SPDX-License-Identifier: MIT
 *
 * What every Cortex-M does alike: start, restart.
 */
#ifndef WAGE_CORTEX_M_H
#define WAGE_CORTEX_M_H

/* Resets the chip. */
void cortex_m_restart(void) __attribute__((noreturn));

#endif

/* SPDX-License-Identifier: MIT
 *
 * What every RISC-V does alike: start. What it wants of the board: restart.
 */
#ifndef WAGE_RISCV_H
#define WAGE_RISCV_H

/* Supplied by the board: resets the chip. Traps come here, too, so it must
 * not need a stack, which may be what has run out. */
void riscv_restart(void) __attribute__((noreturn, aligned(4)));

#endif

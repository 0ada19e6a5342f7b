/* SPDX-License-Identifier: MIT */
#include "riscv.h"

#include "memory.h"

int main(void);
void reset_handler(void);
void riscv_main(void);

/* Nothing here enables an interrupt, so whatever traps is a fault: as after a
 * power cut, the board starts again from its last checkpoint. */
__attribute__((naked, used, section(".start"))) void reset_handler(void)
{
    __asm__ volatile(".option arch, +zicsr\n\t"
                     "la t0, riscv_restart\n\t"
                     "csrw mtvec, t0\n\t"
                     "la sp, stack_top\n\t"
                     "j riscv_main");
}

void riscv_main(void)
{
    memory_begin();
    main();
    riscv_restart();
}

/* SPDX-License-Identifier: MIT
 *
 * The start of a harness on an emulated Cortex-M, whose files and exit code
 * are the computer's (semihosting).
 */
#include <stdint.h>
#include <stdlib.h>

extern uint32_t stack_top[];
void initialise_monitor_handles(void);
int main(void);
void reset(void);
void _init(void);
void _fini(void);

void _init(void)
{
}

void _fini(void)
{
}

static void fault(void)
{
    exit(1);
}

void reset(void)
{
#ifdef __ARM_FP
    *(volatile uint32_t *)0xE000ED88u |= 0x00F00000u; // lets it be used
    __asm__ volatile("dsb\n\tisb");
#endif
    initialise_monitor_handles();
    exit(main());
}

__attribute__((section(".vectors"), used))
static const struct {
    uint32_t *stack;
    void (*entry[15])(void);
} vectors = { stack_top, { reset, fault, fault, fault, fault, fault } };

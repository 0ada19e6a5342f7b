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
    initialise_monitor_handles();
    exit(main());
}

__attribute__((section(".vectors"), used))
static const struct {
    uint32_t *stack;
    void (*entry[15])(void);
} vectors = { stack_top, { reset, fault, fault, fault, fault, fault } };

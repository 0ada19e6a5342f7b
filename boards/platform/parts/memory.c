/* SPDX-License-Identifier: MIT */
#include "memory.h"

#include "port.h"

#define PAINT 0xC5A5C5A5u

#ifdef __riscv
#define GET_STACK_POINTER "mv %0, sp"
#else
#define GET_STACK_POINTER "mov %0, sp"
#endif

/* From image.ld. */
extern uint32_t stack_bottom[], stack_top[];
extern uint32_t data_start[], data_end[], bss_start[], bss_end[];
extern const uint32_t data_image[];

/* volatile keeps the compiler from calling memset, whose own frame would lie
 * in what is being painted. */
static void paint_stack(void)
{
    const uint32_t *here;

    __asm__ volatile(GET_STACK_POINTER : "=r"(here));
    for (volatile uint32_t *word = stack_bottom; word < here; word++)
        *word = PAINT;
}

void memory_begin(void)
{
    const uint32_t *from = data_image;

    paint_stack();
    for (uint32_t *to = data_start; to < data_end; to++)
        *to = *from++;
    for (uint32_t *to = bss_start; to < bss_end; to++)
        *to = 0;
}

uint32_t port_stack_bytes(struct port *port)
{
    const volatile uint32_t *word = stack_bottom;

    (void)port;
    while (word < stack_top && *word == PAINT)
        word++;
    return (uint32_t)((uintptr_t)stack_top - (uintptr_t)word);
}

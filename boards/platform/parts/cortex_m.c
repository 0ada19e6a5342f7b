/* SPDX-License-Identifier: MIT */
#include "cortex_m.h"

#define PAINT 0xC5A5C5A5u
#define CPACR (*(volatile uint32_t *)0xE000ED88u)
#define AIRCR (*(volatile uint32_t *)0xE000ED0Cu)
#define AIRCR_RESET 0x05FA0004u

/* From cortex_m.ld. */
extern uint32_t stack_bottom[], stack_top[];
extern uint32_t data_start[], data_end[], bss_start[], bss_end[];
extern const uint32_t data_image[];

int main(void);
void reset_handler(void);

/* Nothing here enables an interrupt, so whatever comes is a fault: as after a
 * power cut, the board starts again from its last checkpoint. It needs no
 * stack, which may be what has run out. */
#define FAULT cortex_m_restart

struct vectors {
    uint32_t *stack;
    void (*handler[15])(void);
};

__attribute__((used, section(".vectors")))
static const struct vectors vectors = {
    stack_top,
    { reset_handler, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT,
      FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT }
};

/* volatile keeps the compiler from calling memset, whose own frame would lie
 * in what is being painted. */
static void paint_stack(void)
{
    const uint32_t *here;

    __asm__ volatile("mov %0, sp" : "=r"(here));
    for (volatile uint32_t *word = stack_bottom; word < here; word++)
        *word = PAINT;
}

static void enable_coprocessors(void)
{
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    CPACR |= 0x00F00000u;
    __asm__ volatile("dsb\n\tisb");
#endif
}

void reset_handler(void)
{
    const uint32_t *from = data_image;

    enable_coprocessors();
    paint_stack();
    for (uint32_t *to = data_start; to < data_end; to++)
        *to = *from++;
    for (uint32_t *to = bss_start; to < bss_end; to++)
        *to = 0;
    main();
    cortex_m_restart();
}

uint32_t cortex_m_stack_bytes(void)
{
    const volatile uint32_t *word = stack_bottom;

    while (word < stack_top && *word == PAINT)
        word++;
    return (uint32_t)((uintptr_t)stack_top - (uintptr_t)word);
}

void cortex_m_restart(void)
{
    __asm__ volatile("dsb");
    AIRCR = AIRCR_RESET;
    for (;;) {
    }
}

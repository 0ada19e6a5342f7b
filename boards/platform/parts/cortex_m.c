/* SPDX-License-Identifier: MIT */
#include "cortex_m.h"

#include "memory.h"

#include <stdint.h>

#define CPACR (*(volatile uint32_t *)0xE000ED88u)
#define AIRCR (*(volatile uint32_t *)0xE000ED0Cu)
#define AIRCR_RESET 0x05FA0004u

extern uint32_t stack_top[]; // image.ld

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

__attribute__((used, section(".start")))
static const struct vectors vectors = {
    stack_top,
    { reset_handler, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT,
      FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT }
};

static void enable_coprocessors(void)
{
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    CPACR |= 0x00F00000u;
    __asm__ volatile("dsb\n\tisb");
#endif
}

void reset_handler(void)
{
    enable_coprocessors();
    memory_begin();
    main();
    cortex_m_restart();
}

void cortex_m_restart(void)
{
    __asm__ volatile("dsb");
    AIRCR = AIRCR_RESET;
    for (;;) {
    }
}

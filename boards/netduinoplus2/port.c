/* SPDX-License-Identifier: MIT
 *
 * Netduino Plus 2: USART 1 at the header's pins SC (sends) and SD (receives),
 * and timer 2, both polled; the store is in store.c. The clocks are set as
 * the chip wants it; QEMU has no registers for them, nor for the pins.
 */
#include "port.h"

#include "board.h"
#include "cortex_m.h"
#include "reg.h"
#include "wire.h"

#include <stddef.h>

#define RESET_HZ 16000000u      // of core and buses after a reset
#define BUS_HZ 84000000u        // of USART 1 and timer 2, the core at twice
#define QEMU_TIMER_HZ 1000000000u
#define BAUD 115200u
#define MEMORY_BYTES (116u * 1024u)
#define RECEIVE_BYTES 1u
#define WRITE_LIMIT_US 1000000u
#define RANDOM_LIMIT_US 1000u
#define CLOCK_WAITS 100000u     // 30 ms or more; the crystal needs some 2

#define RCC_CR 0x40023800u
#define RCC_PLLCFGR 0x40023804u
#define RCC_CFGR 0x40023808u
#define RCC_AHB1ENR 0x40023830u
#define RCC_AHB2ENR 0x40023834u
#define RCC_APB1ENR 0x40023840u
#define RCC_APB2ENR 0x40023844u
#define CR_HSE_ON (1u << 16)
#define CR_HSE_READY (1u << 17)
#define CR_PLL_ON (1u << 24)
#define CR_PLL_READY (1u << 25)
/* 25 MHz / 25 * 336 = 336 MHz; / 2 for the core, / 7 for the noise */
#define PLL_OF_CRYSTAL (1u << 29 | 7u << 24 | 1u << 22 | 336u << 6 | 25u)
#define CFGR_BUSES (4u << 13 | 5u << 10) // APB2 a half, APB1 a quarter
#define CFGR_USE_PLL 2u
#define CFGR_USES (3u << 2)
#define CFGR_USES_PLL (2u << 2)
#define ENABLE_GPIOB (1u << 1)
#define ENABLE_RNG (1u << 6)
#define ENABLE_TIM2 (1u << 0)
#define ENABLE_USART1 (1u << 4)
#define FLASH_ACR 0x40023C00u
#define ACR_WAITS 7u
#define ACR_5_WAITS 5u
#define ACR_CACHES (3u << 9)    // no prefetch: the first chips cannot
#define GPIOB_MODER 0x40020400u
#define GPIOB_PUPDR 0x4002040Cu
#define GPIOB_BSRR 0x40020418u
#define GPIOB_AFRL 0x40020420u
#define MODE(pin, mode) ((uint32_t)(mode) << 2 * (pin))
#define OUTPUT 1u
#define ALTERNATE 2u
#define PULL_UP 1u
#define FUNCTION(pin, function) ((uint32_t)(function) << 4 * (pin))
#define FUNCTION_USART1 7u
#define TX_PIN 6u
#define RX_PIN 7u
#define PHASE_PIN 13u           // D13 of the header; then D12, D11
#define USART_SR 0x40011000u
#define USART_DR 0x40011004u
#define USART_BRR 0x40011008u
#define USART_CR1 0x4001100Cu
#define SR_RECEIVED (1u << 5)
#define SR_TX_EMPTY (1u << 7)
#define CR1_ENABLE 0x200Cu      // both ways
#define TIM2_CR1 0x40000000u
#define TIM2_EGR 0x40000014u
#define TIM2_CNT 0x40000024u
#define TIM2_PSC 0x40000028u
#define RNG_CR 0x50060800u
#define RNG_SR 0x50060804u
#define RNG_DR 0x50060808u
#define RNG_ENABLE 4u
#define RNG_READY 1u

struct port {
    struct wage_store store;
};

static uint64_t memory[MEMORY_BYTES / sizeof(uint64_t)];

/* On a chip the clock that the core runs on shows here. */
static int is_emulator(void)
{
    return reg_read(RCC_CR) == 0;
}

static void set(uint32_t address, uint32_t bits)
{
    reg_write(address, reg_read(address) | bits);
}

static int comes(uint32_t address, uint32_t mask, uint32_t value)
{
    for (unsigned i = 0; i < CLOCK_WAITS; i++)
        if ((reg_read(address) & mask) == value)
            return 1;
    return 0;
}

/* 168 MHz from the crystal. Returns what USART and timer run at: without the
 * crystal that of a reset. */
static uint32_t clock_begin(void)
{
    if (is_emulator())
        return QEMU_TIMER_HZ;
    set(RCC_CR, CR_HSE_ON);
    if (!comes(RCC_CR, CR_HSE_READY, CR_HSE_READY))
        return RESET_HZ;
    reg_write(RCC_PLLCFGR, PLL_OF_CRYSTAL);
    set(RCC_CR, CR_PLL_ON);
    reg_write(FLASH_ACR, ACR_CACHES | ACR_5_WAITS);
    if (!comes(RCC_CR, CR_PLL_READY, CR_PLL_READY)
        || !comes(FLASH_ACR, ACR_WAITS, ACR_5_WAITS))
        return RESET_HZ;
    reg_write(RCC_CFGR, CFGR_BUSES);
    reg_write(RCC_CFGR, CFGR_BUSES | CFGR_USE_PLL);
    if (comes(RCC_CFGR, CFGR_USES, CFGR_USES_PLL))
        return BUS_HZ;
    reg_write(RCC_CFGR, 0);
    return RESET_HZ;
}

static void pins_begin(struct port *port)
{
    port_phase(port, WAGE_PHASE_IDLE);
    set(GPIOB_AFRL, FUNCTION(TX_PIN, FUNCTION_USART1)
                    | FUNCTION(RX_PIN, FUNCTION_USART1));
    set(GPIOB_PUPDR, MODE(RX_PIN, PULL_UP)); // nobody may be connected
    set(GPIOB_MODER, MODE(TX_PIN, ALTERNATE) | MODE(RX_PIN, ALTERNATE)
                     | MODE(PHASE_PIN, OUTPUT) | MODE(PHASE_PIN + 1, OUTPUT)
                     | MODE(PHASE_PIN + 2, OUTPUT));
}

struct port *board_open(void)
{
    static struct port port;
    uint32_t hz = clock_begin();

    set(RCC_AHB1ENR, ENABLE_GPIOB);
    set(RCC_AHB2ENR, ENABLE_RNG);
    set(RCC_APB1ENR, ENABLE_TIM2);
    set(RCC_APB2ENR, ENABLE_USART1);
    (void)reg_read(RCC_APB2ENR); // they need some cycles
    pins_begin(&port);
    reg_write(USART_BRR, (hz + BAUD / 2) / BAUD);
    reg_write(USART_CR1, CR1_ENABLE);
    reg_write(TIM2_PSC, hz / 1000000u - 1);
    reg_write(TIM2_EGR, 1); // takes it
    reg_write(TIM2_CR1, 1);
    reg_write(RNG_CR, RNG_ENABLE);
    port.store = board_store(&port);
    return &port;
}

struct port_info port_info(struct port *port)
{
    struct port_info info = {
        .name = "netduinoplus2",
        .place = is_emulator() ? WAGE_PLACE_EMULATOR : WAGE_PLACE_BOARD,
        .blob = board_blob,
        .blob_bytes = board_blob_bytes,
        .memory = (uint8_t *)memory,
        .memory_bytes = MEMORY_BYTES,
        .store = port->store.bytes ? &port->store : NULL,
        .auth = board_auth,
        .field = board_field,
        .receive_bytes = RECEIVE_BYTES
    };

    return info;
}

/* Reading status, then data, clears an overrun, too. */
uint32_t port_read(struct port *port, uint8_t *to, uint32_t count)
{
    uint32_t got = 0;

    (void)port;
    while (got < count && (reg_read(USART_SR) & SR_RECEIVED))
        to[got++] = (uint8_t)reg_read(USART_DR);
    return got;
}

void port_write(struct port *port, const uint8_t *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t start = port_micros(port);
        while (!(reg_read(USART_SR) & SR_TX_EMPTY))
            if (port_micros(port) - start > WRITE_LIMIT_US)
                return;
        reg_write(USART_DR, from[i]);
    }
}

uint32_t port_micros(struct port *port)
{
    (void)port;
    return reg_read(TIM2_CNT);
}

/* Noise; where there is none, the clock is what differs. */
uint32_t port_random(struct port *port)
{
    uint32_t start = port_micros(port), random = start * 2654435761u;

    while (!(reg_read(RNG_SR) & RNG_READY))
        if (port_micros(port) - start > RANDOM_LIMIT_US)
            return random;
    return random ^ reg_read(RNG_DR);
}

void port_phase(struct port *port, enum wage_phase phase)
{
    (void)port;
    // where both halves have a bit, the pin is set
    reg_write(GPIOB_BSRR, 7u << (16 + PHASE_PIN)
                          | (uint32_t)phase << PHASE_PIN);
}

void port_restart(struct port *port)
{
    (void)port;
    cortex_m_restart();
}

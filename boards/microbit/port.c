/* SPDX-License-Identifier: MIT
 *
 * BBC micro:bit, first version: UART 0, whose other end is the USB chip, and
 * timer 0, both polled; the store is in store.c.
 */
#include "port.h"

#include "board.h"
#include "cortex_m.h"
#include "wire.h"

#define MEMORY_BYTES (13u * 1024u)
#define RECEIVE_BYTES 6u        // the UART's queue
#define WRITE_LIMIT_US 1000000u
#define RANDOM_LIMIT_US 10000u  // for a byte, which takes 0.7 ms

#define REG(address) (*(volatile uint32_t *)(address))
#define CLOCK_HFCLKSTART REG(0x40000000u)
#define FICR_DEVICE_ID_LOW REG(0x10000060u)
#define FICR_DEVICE_ID_HIGH REG(0x10000064u)
#define TX_PIN 24u
#define RX_PIN 25u
#define PHASE_PIN 1u            // "2" of the edge connector; then "1", "0"
#define GPIO_OUTSET REG(0x50000508u)
#define GPIO_OUTCLR REG(0x5000050Cu)
#define GPIO_CONFIG(pin) REG(0x50000700u + 4u * (pin))
#define GPIO_OUTPUT 3u          // and its input not connected
#define GPIO_INPUT 0u
#define UART_STARTRX REG(0x40002000u)
#define UART_STARTTX REG(0x40002008u)
#define UART_RXDRDY REG(0x40002108u)
#define UART_TXDRDY REG(0x4000211Cu)
#define UART_ENABLE REG(0x40002500u)
#define UART_PSELTXD REG(0x4000250Cu)
#define UART_PSELRXD REG(0x40002514u)
#define UART_RXD REG(0x40002518u)
#define UART_TXD REG(0x4000251Cu)
#define UART_BAUDRATE REG(0x40002524u)
#define UART_ENABLED 4u
#define UART_115200 0x01D7E000u
#define RNG_START REG(0x4000D000u)
#define RNG_STOP REG(0x4000D004u)
#define RNG_VALRDY REG(0x4000D100u)
#define RNG_CONFIG REG(0x4000D504u)
#define RNG_VALUE REG(0x4000D508u)
#define RNG_UNBIASED 1u
#define TIMER_START REG(0x40008000u)
#define TIMER_CAPTURE REG(0x40008040u)
#define TIMER_BITMODE REG(0x40008508u)
#define TIMER_PRESCALER REG(0x40008510u)
#define TIMER_CC REG(0x40008540u)
#define TIMER_32_BITS 3u
#define TIMER_1_MHZ 4u          // 16 MHz / 2^4

struct port {
    struct wage_store store;
};

static uint64_t memory[MEMORY_BYTES / sizeof(uint64_t)];

struct port *board_open(void)
{
    static struct port port;

    CLOCK_HFCLKSTART = 1; // the crystal: the chip's own clock may be 5 % off
    GPIO_OUTSET = 1u << TX_PIN;
    GPIO_CONFIG(TX_PIN) = GPIO_OUTPUT;
    GPIO_CONFIG(RX_PIN) = GPIO_INPUT;
    port_phase(&port, WAGE_PHASE_IDLE);
    for (unsigned i = 0; i < 3; i++)
        GPIO_CONFIG(PHASE_PIN + i) = GPIO_OUTPUT;
    UART_PSELTXD = TX_PIN;
    UART_PSELRXD = RX_PIN;
    UART_BAUDRATE = UART_115200;
    UART_ENABLE = UART_ENABLED;
    UART_STARTTX = 1;
    UART_STARTRX = 1;
    TIMER_BITMODE = TIMER_32_BITS;
    TIMER_PRESCALER = TIMER_1_MHZ;
    TIMER_START = 1;
    port.store = board_store(&port);
    return &port;
}

/* QEMU's chip has this number; that of a real one is 64 random bits. */
static uint32_t place(void)
{
    return FICR_DEVICE_ID_LOW == 3u && FICR_DEVICE_ID_HIGH == 0x12345678u
           ? WAGE_PLACE_EMULATOR : WAGE_PLACE_BOARD;
}

struct port_info port_info(struct port *port)
{
    struct port_info info = {
        .name = "microbit",
        .place = place(),
        .blob = board_blob,
        .blob_bytes = board_blob_bytes,
        .memory = (uint8_t *)memory,
        .memory_bytes = MEMORY_BYTES,
        .store = &port->store,
        .auth = board_auth,
        .field = board_field,
        .receive_bytes = RECEIVE_BYTES
    };

    return info;
}

uint32_t port_read(struct port *port, uint8_t *to, uint32_t count)
{
    uint32_t got = 0;

    (void)port;
    while (got < count && UART_RXDRDY) {
        UART_RXDRDY = 0; // before reading, which sets it for the next byte
        to[got++] = (uint8_t)UART_RXD;
    }
    return got;
}

void port_write(struct port *port, const uint8_t *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t start = port_micros(port);
        UART_TXDRDY = 0;
        UART_TXD = from[i];
        while (!UART_TXDRDY)
            if (port_micros(port) - start > WRITE_LIMIT_US)
                return;
    }
}

uint32_t port_micros(struct port *port)
{
    (void)port;
    TIMER_CAPTURE = 1;
    return TIMER_CC;
}

/* Four bytes of noise; without them the clock is what differs. */
uint32_t port_random(struct port *port)
{
    uint32_t random = port_micros(port) * 2654435761u;

    RNG_CONFIG = RNG_UNBIASED;
    RNG_VALRDY = 0;
    RNG_START = 1;
    for (unsigned i = 0; i < 4; i++) {
        uint32_t start = port_micros(port);
        while (!RNG_VALRDY)
            if (port_micros(port) - start > RANDOM_LIMIT_US)
                break;
        RNG_VALRDY = 0;
        random ^= (RNG_VALUE & 0xFFu) << (8 * i);
    }
    RNG_STOP = 1;
    return random;
}

void port_phase(struct port *port, enum wage_phase phase)
{
    (void)port;
    GPIO_OUTCLR = 7u << PHASE_PIN;
    GPIO_OUTSET = (uint32_t)phase << PHASE_PIN;
}

void port_restart(struct port *port)
{
    (void)port;
    cortex_m_restart();
}

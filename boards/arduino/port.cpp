// SPDX-License-Identifier: MIT
//
// A port over the Arduino API: any board whose core has it; no store.

#include "WageBoard.h"

#include "port.h"
#include "serve.h"

#ifdef __AVR__
#include <avr/boot.h>
#endif

#define RECEIVE_BYTES 64u        // what a core's receive buffer has at least
#define WRITE_LIMIT_US 1000000u

#ifdef LED_BUILTIN
#define PHASE_PIN LED_BUILTIN    // on while it works or saves
#endif

struct port {
    Stream *link;
    bool counts;                 // whether the link tells how much room it has
    const uint8_t *model;
    uint32_t model_bytes;
    uint8_t *memory;
    uint32_t memory_bytes;
    const struct field *field;
};

static const char name[] PROGMEM = "arduino";
static struct port board;
static struct serve serve;
static bool opened;

void wageBegin(Stream &link, const uint8_t *model, uint32_t modelBytes,
               uint8_t *memory, uint32_t memoryBytes)
{
#ifdef PHASE_PIN
    pinMode(PHASE_PIN, OUTPUT);
#endif
    board.link = &link;
    board.counts = link.availableForWrite() > 0;
    board.model = model;
    board.model_bytes = modelBytes;
    board.memory = memory;
    board.memory_bytes = memoryBytes;
    opened = serve_open(&serve, &board) == WAGE_OK;
}

void wageSenses(const struct field &inputs)
{
    board.field = &inputs;
}

void wagePoll()
{
    if (opened)
        opened = serve_poll(&serve) >= 0;
    else if (board.link)
        opened = serve_open(&serve, &board) == WAGE_OK;
}

static uint32_t place()
{
#ifdef __AVR__ // a simulator knows no signature row
    return boot_signature_byte_get(0) == 0x1E ? WAGE_PLACE_BOARD
                                              : WAGE_PLACE_EMULATOR;
#else
    return WAGE_PLACE_BOARD;
#endif
}

struct port_info port_info(struct port *port)
{
    struct port_info info = {};

    info.name = name;
    info.place = place();
    info.blob = port->model;
    info.blob_bytes = port->model_bytes;
    info.memory = port->memory;
    info.memory_bytes = port->memory_bytes;
    info.receive_bytes = RECEIVE_BYTES;
    info.field = port->field;
    return info;
}

uint32_t port_read(struct port *port, uint8_t *to, uint32_t count)
{
    uint32_t got = 0;

    while (got < count && port->link->available() > 0)
        to[got++] = (uint8_t)port->link->read();
    return got;
}

// Waits for room to send a byte. Returns false when there was none for long.
static bool wait_for_room(struct port *port)
{
    uint32_t start = micros();

    while (port->counts && port->link->availableForWrite() <= 0)
        if ((uint32_t)micros() - start > WRITE_LIMIT_US)
            return false;
    return true;
}

void port_write(struct port *port, const uint8_t *from, uint32_t count)
{
    for (uint32_t i = 0; i < count && wait_for_room(port); i++)
        port->link->write(from[i]);
#ifdef ARDUINO_NRF52_ADAFRUIT // it holds a USB packet back until it is full
    port->link->flush();
#endif
}

uint32_t port_micros(struct port *port)
{
    (void)port;
    return (uint32_t)micros();
}

// When the host asks is all that differs from start to start.
uint32_t port_random(struct port *port)
{
    return port_micros(port) * 2654435761u;
}

uint32_t port_stack_bytes(struct port *port)
{
    (void)port;
    return 0;
}

// wagePoll() opens the model again.
void port_restart(struct port *port)
{
    while (port->link->available() > 0)
        (void)port->link->read();
}

void port_phase(struct port *port, enum wage_phase phase)
{
    (void)port;
#ifdef PHASE_PIN
    digitalWrite(PHASE_PIN, phase == WAGE_PHASE_IDLE ? LOW : HIGH);
#endif
}

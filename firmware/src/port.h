/* SPDX-License-Identifier: MIT
 *
 * What a board must supply: everything the serve loop needs of the hardware.
 * One folder in boards/ is one port; `struct port` is its own business.
 */
#ifndef WAGE_PORT_H
#define WAGE_PORT_H

#include <stdint.h>

#include "auth.h"
#include "field.h"
#include "phase.h"
#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

struct port;

struct port_info {
    const char *name;               /* as in boards/; in flash (flash.h) */
    uint32_t place;                 /* enum wage_place */
    const uint8_t *blob;            /* the model */
    uint32_t blob_bytes;
    uint8_t *memory;                /* for arena and frames, 8-byte aligned */
    uint32_t memory_bytes;
    const struct wage_store *store; /* NULL: none */
    const struct auth *auth;        /* NULL: no key, whoever asks is let in */
    uint32_t receive_bytes;         /* kept for us while the runtime works */
    const struct field *field;      /* NULL: no inputs of its own */
    int quiet;                      /* 1: no phases, WAGE_PHASES or not */
};

/* The board, once it is up. Every field stays valid. */
struct port_info port_info(struct port *port);

/* Takes up to `count` received bytes. Returns how many; never waits. */
uint32_t port_read(struct port *port, uint8_t *to, uint32_t count);

/* Sends all bytes, or gives up after a time of its own: never hangs. */
void port_write(struct port *port, const uint8_t *from, uint32_t count);

/* A clock in microseconds that wraps; 0 always when there is none. */
uint32_t port_micros(struct port *port);

/* 32 bits that an onlooker cannot foretell: of the chip's noise where it has
 * a source, else of what differs from start to start, as the clock. */
uint32_t port_random(struct port *port);

/* The deepest stack so far in bytes; 0 when not known. */
uint32_t port_stack_bytes(struct port *port);

/* Shows the phase's number at three pins, the lowest bit at the first, to a
 * logic analyser or an instrument that measures power. Nothing where there are
 * none. Without WAGE_PHASES all of learning is WAGE_PHASE_FORWARD. */
void port_phase(struct port *port, enum wage_phase phase);

/* Starts the board again, as after power-on. A simulated one may return. */
void port_restart(struct port *port);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: MIT
 *
 * The serve loop: bytes in, frame, one runtime call, bytes out. The same on
 * every board and in the simulated one.
 */
#ifndef WAGE_SERVE_H
#define WAGE_SERVE_H

#include "port.h"
#include "wage.h"
#include "wire.h"

/* cffi begin */
struct serve {
    struct port *port;
    const struct wage_store *store; /* NULL: none */
    wage_t model;
    struct wage_info about;     /* the model; zeros when unusable */
    int model_error;            /* why there is no usable model, or 0 */
    int store_error;            /* what restoring gave */
    uint32_t memory_bytes;      /* left for it */
    uint32_t window;            /* frames the port can hold */
    uint32_t body_bytes;        /* of the largest request */
    uint32_t protocol_min, protocol_max;
    uint16_t session;           /* 0: none */
    uint32_t sessions, frame_errors;
    int restart;
    struct wage_reader reader;
    struct wage_message message; /* the request, then the reply */
    uint8_t *frame;             /* (frame_bytes) the reply, encoded */
    uint32_t frame_bytes;
};

/* Divides the port's memory, opens the model, takes the newest checkpoint.
 * Returns 0, or WAGE_E_ARENA when the memory cannot even hold frames. A
 * model that cannot be opened is told to the host, not here. */
int serve_open(struct serve *serve, struct port *port);

/* Takes the bytes that are there and answers the frames they end. Returns
 * how many bytes there were, or -1: open again, a restart was asked for. */
int serve_poll(struct serve *serve);
/* cffi end */

#endif

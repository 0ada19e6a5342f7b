/* SPDX-License-Identifier: MIT
 *
 * The serve loop: bytes in, frame, one runtime call, bytes out. The same on
 * every board and in the simulated one.
 */
#ifndef WAGE_SERVE_H
#define WAGE_SERVE_H

#include "classes.h"
#include "guard.h"
#include "port.h"
#include "push.h"
#include "wire.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cffi begin */
struct serve {
    struct port *port;
    const struct wage_store *store; /* NULL: none */
    int model_error;            /* why there is no usable model, or 0 */
    int store_error;            /* what restoring gave */
    uint32_t memory_bytes;      /* left for it */
    const struct auth *auth;    /* NULL: no key */
    struct auth_state *auth_state; /* then NULL, too */
    const struct auth_session *seal; /* of the reply; NULL: no tag */
    uint32_t window;            /* frames the port can hold */
    uint32_t body_bytes;        /* of the largest request */
    uint32_t protocol_min, protocol_max;
    uint16_t session;           /* number of ours, 0: none */
    uint16_t nonce;             /* number that its HELLO had */
    int started;                /* 1: START came in this session */
    uint32_t sessions, frame_errors;
    int restart;
    int erased;                 /* 1: the slot of the next save, ahead */
    int pushed;                 /* 1: the model is the one in the store */
    struct wage_push push;      /* a model that comes over the link */
    struct wage_policy policy;  /* of the session's last START */
    struct wage_reader reader;
    struct wage_message message; /* the request, then the reply */
    uint8_t *frame;             /* (frame_bytes) the reply, encoded */
    uint32_t frame_bytes;
    struct wage_info about;     /* the model; zeros when unusable */
    wage_t model;
    const struct field *field;  /* NULL: no inputs of its own */
    int8_t *input;              /* then: the newest of them */
    int sensed;                 /* 1: there is one, not learned yet */
    int away;                   /* 1: no host is there */
    uint32_t heard;             /* microseconds, when it spoke last */
    uint32_t byte;              /* the same, when a byte came */
    int tells;                  /* 1: its phases, with WAGE_PHASES */
    struct serve_marks *marks;  /* then */
};

/* Divides the port's memory, opens the model, takes the newest checkpoint.
 * Returns 0, or WAGE_E_ARENA when the memory cannot even hold frames. A
 * model that cannot be opened is told to the host, not here. */
int serve_open(struct serve *serve, struct port *port);

/* Bytes that frames and keys take of the memory for a model `about`. */
uint32_t serve_frame_bytes(const struct serve *serve,
                           const struct wage_info *about);

/* Takes the bytes that are there and answers the frames they end. Returns
 * how many bytes there were, or -1: open again, a restart was asked for. */
int serve_poll(struct serve *serve);
/* cffi end */

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: MIT
 *
 * When each phase of a request began, for a host that asks (internal). An
 * image compiled without WAGE_PHASES has none of this.
 */
#ifndef WAGE_SERVE_MARKS_H
#define WAGE_SERVE_MARKS_H

#include "serve.h"

struct serve_marks {
    uint8_t wanted;             /* 1: HELLO asked for them */
    uint8_t phase;              /* the one now */
    uint8_t count;
    uint32_t lost;              /* that found no room */
    uint8_t list[WAGE_MARKS_MAX * WAGE_MARK_BYTES]; /* as in the tail */
};

/* Notes that a phase begins; RECEIVE begins a new list. */
void serve_mark(struct serve *serve, enum wage_phase phase);

/* Sends the list, when it is wanted. The request's tail is gone then. */
void serve_send_marks(struct serve *serve);

/* Lets the model's steps tell their phases. */
void serve_hear_steps(struct serve *serve);

static inline int serve_tells(const struct serve *serve)
{
    return WAGE_PHASES && serve->tells;
}

static inline void serve_phase(struct serve *serve, enum wage_phase phase)
{
    if (serve_tells(serve))
        serve_mark(serve, phase);
    port_phase(serve->port, phase);
}

#endif

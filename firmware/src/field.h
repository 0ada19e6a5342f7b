/* SPDX-License-Identifier: MIT
 *
 * Learning without a host: a board senses inputs of its own, and a button, or
 * a host that comes by, says what they are. Compiled with WAGE_FIELD 1.
 */
#ifndef WAGE_FIELD_H
#define WAGE_FIELD_H

#include "guard.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Sketches say it at run time (WageBoard.h), others when they are built. */
#ifndef WAGE_FIELD
#ifdef ARDUINO
#define WAGE_FIELD 1
#else
#define WAGE_FIELD 0
#endif
#endif

struct port;

/* cffi begin */
/* How a board meets the world; its port gives one (port.h), and a clock. */
struct field {
    /* Writes a new input, (bytes) activations of unit 2^-7: 1, or 0: there is
     * none yet. Never waits. */
    int (*sense)(struct port *port, int8_t *x, uint32_t bytes);
    /* The class of that input, as a button says it; -1: nothing was said. */
    int (*label)(struct port *port);
    /* Shows what it was taken for: with id 0 when that was all, else before
     * it was learned. Only while no host is there. */
    void (*show)(struct port *port, const struct wage_record *record);
    struct wage_policy policy;  /* when it saves */
};

/* Stream of the samples that a board learned by itself. */
#define WAGE_FIELD_STREAM 0xfffffffe /* wage-host has odd ones */
#define WAGE_FIELD_AWAY_US 60000000 /* a host that says nothing is gone */
#define WAGE_FIELD_FRAME_US 1000000 /* a frame of which nothing comes, too */
/* cffi end */

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: MIT
 *
 * What a board is at, for whoever measures its time and power. The runtime
 * tells wage_t's `tell` of the three in the middle, when it is compiled with
 * WAGE_PHASES 1; without, it costs two pointers. Gradient and update of a
 * layer are one pass over its weights, so both are WAGE_PHASE_UPDATE.
 */
#ifndef WAGE_PHASE_H
#define WAGE_PHASE_H

#include "wage.h"

#ifndef WAGE_PHASES
#define WAGE_PHASES 0
#endif

/* cffi begin */
enum wage_phase {
    WAGE_PHASE_IDLE = 0,        /* answers, waits */
    WAGE_PHASE_RECEIVE = 1,     /* a frame comes in */
    WAGE_PHASE_FORWARD = 2,     /* activations, loss, replay */
    WAGE_PHASE_BACKWARD = 3,    /* error for the layer below */
    WAGE_PHASE_UPDATE = 4,      /* gradient and update of a layer */
    WAGE_PHASE_SAVE = 5         /* asks the guard, erases, programs */
};
/* cffi end */

static inline void wage_tell(const wage_t *w, enum wage_phase phase)
{
#if WAGE_PHASES
    if (w->tell)
        w->tell(w->told, (int)phase);
#else
    (void)w;
    (void)phase;
#endif
}

#endif

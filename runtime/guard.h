/* SPDX-License-Identifier: MIT
 *
 * A guard against harmful learning: a held-out set in the store, of latents
 * and labels, that is predicted before anything is kept. What does worse
 * than the best so far is not kept, but gone back from. SPEC 7.8, 7.9.
 *
 *     wage_guard_put(&w, &store, id, count, set, label, x);  // id 1..count
 *     ...
 *     wage_learn(&w, id, x, label, &record);
 *     if (wage_due(&w, &store, &policy))
 *         kept = wage_keep(&w, &store, &policy);
 */
#ifndef WAGE_GUARD_H
#define WAGE_GUARD_H

#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cffi begin */
/* When to save, and what. */
struct wage_policy {
    uint32_t every;     /* samples of a stream; 0: never by itself */
    uint32_t margin;    /* right answers of the guard that may be lost */
    uint32_t wear_max;  /* erase budget: from this wear on, nothing is saved
                         * but a guard's first score; 0: no limit */
    uint8_t improved;   /* 1: only what answers more of the guard rightly */
};

/* What wage_keep() did. */
enum wage_kept {
    WAGE_NOT_DUE = 0,
    WAGE_SAVED_NOW = 1, /* a new generation */
    WAGE_PASSED = 2,    /* not saved: no better, or the budget is used up */
    WAGE_REFUSED = 3    /* went back to the best generation */
};

/* Puts sample `id` of a guard of `count` samples named `set` (not 0) into
 * the store, in order from 1; the last one makes it whole, and until then
 * there is no guard. x: (input_bytes). A sample put before is not put again.
 * Returns 0 or an error: WAGE_E_STORE_SIZE, no room; WAGE_E_ORDER, begin
 * with 1. */
int wage_guard_put(wage_t *w, const struct wage_store *store, uint32_t id,
                   uint32_t count, uint32_t set, const int8_t *x,
                   uint8_t label);

/* Samples of the guard in the store, and its name; 0: none for this model.
 * Or an error. */
int32_t wage_guard_count(wage_t *w, const struct wage_store *store,
                         uint32_t *set);

/* Samples that a guard can have in the store. */
uint32_t wage_guard_room(const wage_t *w, const struct wage_store *store);

/* Whether the policy wants wage_keep() now, after wage_start() or
 * wage_learn(): 0, 1 or an error. */
int wage_due(wage_t *w, const struct wage_store *store,
             const struct wage_policy *policy);

/* Predicts the guard, if there is one, and saves what passes, or goes back
 * to the best generation that the next save would keep. Stream and last id
 * stay: no sample comes again. Returns enum wage_kept or an error: after
 * WAGE_E_STORE_IO open again. */
int wage_keep(wage_t *w, const struct wage_store *store,
              const struct wage_policy *policy);
/* cffi end */

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: MIT
 *
 * Checkpoints: what was learned outlives power cuts, in flash or a file.
 *
 * A store is two or more slots; each holds one generation of everything
 * learned, whole or not at all. Power may fail in any call: what was whole
 * before stays whole. SPEC section 7.
 *
 *     wage_open(&w, ...);
 *     wage_restore(&w, &store);    // WAGE_E_NO_CHECKPOINT: factory weights
 *     ...
 *     wage_save(&w, &store);
 */
#ifndef WAGE_STORE_H
#define WAGE_STORE_H

#include "wage.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cffi begin */
/* Where checkpoints live. Rules for the callbacks:
 * 1) return 0, or a negative enum wage_err; 2) erase makes the erase_bytes
 * at `at` (a multiple of erase_bytes) ready to program; 3) program is called
 * with `at` and `count` multiples of program_bytes, at most once between
 * erases; 4) when a call returns, its bytes are on the medium; 5) reading
 * what a power cut left gives bytes, right or wrong, and no error; 6) busy,
 * unless NULL, is called before each of them: feed a watchdog there. */
struct wage_store {
    int (*read)(void *context, uint32_t at, uint8_t *to, uint32_t count);
    int (*program)(void *context, uint32_t at, const uint8_t *from,
                   uint32_t count);
    int (*erase)(void *context, uint32_t at);
    void (*busy)(void *context);
    void *context;
    uint32_t bytes, erase_bytes, program_bytes; /* size; the units, powers of
                              * two, that to program 1..32 */
    uint32_t slots;           /* equal parts, one checkpoint each; 2 or more */
    uint32_t guard_bytes;     /* left at the end for a guard (guard.h), in
                               * whole erase units; 0: none */
    uint32_t model_bytes;     /* left before that for a model (push.h), in
                               * whole erase units; 0: none */
    const uint8_t *memory;    /* its bytes, to be read in place: a model in
                               * it can be used; NULL: none can */
};

/* What a slot of the store holds. */
struct wage_checkpoint {
    uint32_t generation;     /* 0: nothing whole; they count up for ever */
    uint32_t wear;           /* slots erased so far in this store, at least */
    uint32_t crc;            /* of the state */
    uint32_t guard, score;   /* that was asked about it; right answers */
    uint8_t ours;            /* 1: of this very model, all within range */
    uint8_t forgotten;       /* 1: not a state, but that it was forgotten */
};

/* Bytes of a checkpoint; a slot holds that, rounded up to 32 and to erase
 * units. */
uint32_t wage_checkpoint_bytes(const wage_t *w);

/* Writes everything learned as a new generation into the slot after the
 * newest; what was whole stays whole. Returns 0 or an error. */
int wage_save(wage_t *w, const struct wage_store *store);

/* Erases, ahead of the next wage_save(), one more unit of its slot: an older
 * generation goes now. Returns the units left, or an error. */
int32_t wage_prepare(wage_t *w, const struct wage_store *store);

/* Takes the newest whole checkpoint of this very blob. Returns 0 or an error:
 * WAGE_E_NO_CHECKPOINT, nothing changed; after WAGE_E_STORE_IO open again. */
int wage_restore(wage_t *w, const struct wage_store *store);

/* Takes weights and replay from that generation in the store, or from the
 * factory (0), and saves them as a new one. Stream, last id, random numbers
 * and metrics stay: no sample comes again. Returns 0 or an error:
 * WAGE_E_NO_CHECKPOINT, nothing changed; WAGE_E_STORE_IO: not saved, and
 * when that was in reading, open again. */
int wage_rollback(wage_t *w, const struct wage_store *store,
                  uint32_t generation);

/* Looks at a slot, below store->slots. Returns 0 or an error. */
int wage_look(wage_t *w, const struct wage_store *store, uint32_t slot,
              struct wage_checkpoint *found);

/* wage_save(), then erases all earlier checkpoints: what is not in this one
 * is gone for good. Returns 0 or an error. */
int wage_purge(wage_t *w, const struct wage_store *store);

/* Erases all checkpoints and notes that; the next wage_open() has the
 * factory's weights. Returns 0 or an error. */
int wage_forget(wage_t *w, const struct wage_store *store);
/* cffi end */

#ifdef __cplusplus
}
#endif

#endif

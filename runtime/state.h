/* SPDX-License-Identifier: MIT
 *
 * The walk over everything learned. Internal.
 */
#ifndef WAGE_STATE_H
#define WAGE_STATE_H

#include "layer.h"
#include "store.h"

#define WAGE_STORE_HEADER_WORDS 8
#define WAGE_STORE_HEADER_BYTES (4 * WAGE_STORE_HEADER_WORDS)
#define WAGE_CHUNK_BYTES 32     /* a multiple of every program unit */

enum way { COUNT, HASH, SAVE, CHECK, LOAD };

struct walk {
    enum way way;
    const struct wage_store *store;
    uint32_t at;                /* in the store */
    uint32_t bytes;             /* of state, so far */
    uint32_t crc;
    int error;                  /* the first one */
    uint8_t used;               /* of chunk: not programmed yet, not taken */
    uint8_t chunk[WAGE_CHUNK_BYTES];
};

/* Where learning is (stream, random numbers, settings, metrics); what was
 * learned (weights, velocities, replay); both, in this order. CHECK changes
 * nothing of `w`. SAVE is done after the flush. */
void wage_walk_place(struct walk *k, wage_t *w);
void wage_walk_learned(struct walk *k, wage_t *w);
void wage_walk_state(struct walk *k, wage_t *w);
void wage_walk_flush(struct walk *k);

/* The next `count` bytes of a walk: HASH and SAVE take them from `bytes`,
 * CHECK and LOAD put them there. */
void wage_walk_pass(struct walk *k, uint8_t *bytes, uint32_t count);

/* Whether the model's checkpoints fit the store: 0 or an error. */
int wage_check_store(const wage_t *w, const struct wage_store *store);

/* Finds the slot to keep when saving: the newest of ours, else the newest
 * whole one, else the last. Returns 0 and the slot and what it holds, or an
 * error. */
int wage_newest(wage_t *w, const struct wage_store *store, uint32_t *slot,
                struct wage_checkpoint *best);

/* Takes what was learned from a generation in the store, or 0, the factory;
 * the place stays, the guard was not asked. Returns 0 or an error. */
int wage_load_learned(wage_t *w, const struct wage_store *store,
                      uint32_t generation);

/* Right or wrong: predicts from the latent in w->latent. */
int wage_knows(wage_t *w, uint8_t label);

/* The store's own functions, with a call to its `busy` before. Erases whole
 * units from `at` on up to `end`. */
int wage_store_erase(const struct wage_store *store, uint32_t at,
                     uint32_t end);
int wage_store_read(const struct wage_store *store, uint32_t at, uint8_t *to,
                    uint32_t count);
int wage_store_program(const struct wage_store *store, uint32_t at,
                       const uint8_t *from, uint32_t count);

/* A header, which says what is behind it and is written last: magic, format,
 * five numbers, CRC; `word`: (WAGE_STORE_HEADER_WORDS). Reading returns 1: a
 * whole one of this magic, 0: there is none, or an error. Writing takes the
 * five numbers, word[2..6], and fills in the others. */
int wage_header_read(const struct wage_store *store, uint32_t at,
                     uint32_t magic, uint32_t *word);
int wage_header_write(const struct wage_store *store, uint32_t at,
                      uint32_t magic, uint32_t *word);

#endif

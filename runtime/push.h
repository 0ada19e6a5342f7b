/* SPDX-License-Identifier: MIT
 *
 * A model that came over the link and lives in the store, instead of the one
 * in the image. What can be read there as memory can be opened in place.
 * SPEC 7.10.
 *
 *     wage_push(&p, &store, at, part, count);     // at 0, then in order
 *     ...
 *     wage_push_seal(&p, &store);                 // was checked: it counts
 *     ...
 *     bytes = wage_pushed(&store);
 *     if (bytes > 0)
 *         wage_open(&w, store.memory + wage_push_place(&store), bytes, ...);
 */
#ifndef WAGE_PUSH_H
#define WAGE_PUSH_H

#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cffi begin */
#define WAGE_PUSH_PART_BYTES 32 /* parts are multiples of it but the last */

/* A model on its way into the store. Begin with zeros. */
struct wage_push {
    uint32_t bytes, crc;        /* of the model, its identity; 0: none */
    uint32_t done;              /* bytes in the store */
    uint32_t erased;            /* bytes, header included */
};

/* Bytes that a model can have in the store, and where they begin; room 0:
 * none can, also without store->memory. */
uint32_t wage_push_room(const struct wage_store *store);
uint32_t wage_push_place(const struct wage_store *store);

/* Puts `count` bytes `at` of `model` (its bytes and CRC count) into the
 * store; at 0 the model that was there goes. A part put last is not put
 * again. Returns 0 or an error: WAGE_E_STORE_SIZE, no room; WAGE_E_ORDER,
 * not at p->done, or of another model; WAGE_E_LENGTH, a part that is no
 * multiple, empty or too long. */
int wage_push(struct wage_push *p, const struct wage_store *store,
              const struct wage_push *model, uint32_t at,
              const uint8_t *from, uint32_t count);

/* Makes the model count that is whole in the store; the caller has checked
 * it there. Returns 0 or an error: WAGE_E_ORDER, not whole. */
int wage_push_seal(struct wage_push *p, const struct wage_store *store);

/* Erases a model in the store, if there is one. Returns 0 or an error. */
int wage_push_remove(const struct wage_store *store);

/* Bytes of the model in the store, 0: none, or an error. Its contents are
 * checked by wage_open(). */
int32_t wage_pushed(const struct wage_store *store);
/* cffi end */

#ifdef __cplusplus
}
#endif

#endif

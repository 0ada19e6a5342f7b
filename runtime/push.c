/* SPDX-License-Identifier: MIT
 *
 * A model in the store: a header of its own, written last. SPEC 7.10.
 */
#include "push.h"

#include <string.h>

#include "num.h"
#include "state.h"

#define MAGIC 0x48535057        /* "WPSH" */

static uint32_t header_at(const struct wage_store *store)
{
    return store->bytes - store->guard_bytes - store->model_bytes;
}

uint32_t wage_push_place(const struct wage_store *store)
{
    return header_at(store) + WAGE_STORE_HEADER_BYTES;
}

uint32_t wage_push_room(const struct wage_store *store)
{
    return store->memory && store->model_bytes > WAGE_STORE_HEADER_BYTES
           ? store->model_bytes - WAGE_STORE_HEADER_BYTES : 0;
}

/* Erases units of the place until `end` bytes of it are. */
static int make_ready(struct wage_push *p, const struct wage_store *store,
                      uint32_t end)
{
    uint32_t from = header_at(store);
    int error = WAGE_OK;
    while (!error && p->erased < end) {
        error = wage_store_erase(store, from + p->erased,
                                 from + p->erased + 1);
        p->erased += error ? 0 : store->erase_bytes;
    }
    return error;
}

/* Programs `count` bytes at `to`, the last unit filled up with 0xff. */
static int program(const struct wage_store *store, uint32_t to,
                   const uint8_t *from, uint32_t count)
{
    struct walk k = { .way = SAVE, .store = store, .at = to };
    while (count && !k.error) {
        uint8_t chunk[WAGE_PUSH_PART_BYTES];
        uint32_t part = count < sizeof chunk ? count : sizeof chunk;
        memcpy(chunk, from, part);
        wage_walk_pass(&k, chunk, part);
        from += part;
        count -= part;
    }
    wage_walk_flush(&k);
    return k.error;
}

int wage_push(struct wage_push *p, const struct wage_store *store,
              const struct wage_push *model, uint32_t at,
              const uint8_t *from, uint32_t count)
{
    uint32_t bytes = model->bytes;
    int same = bytes == p->bytes && model->crc == p->crc;
    if (bytes == 0 || bytes > wage_push_room(store))
        return WAGE_E_STORE_SIZE;
    if (at > bytes || count == 0 || count > bytes - at
        || (count % WAGE_PUSH_PART_BYTES && at + count != bytes))
        return WAGE_E_LENGTH;
    if (same && p->done == at + count) // its answer was lost
        return WAGE_OK;
    if (at == 0)
        *p = (struct wage_push){ .bytes = bytes, .crc = model->crc };
    else if (!same || at != p->done)
        return WAGE_E_ORDER;
    int error = make_ready(p, store, WAGE_STORE_HEADER_BYTES + at + count);
    if (!error)
        error = program(store, wage_push_place(store) + at, from, count);
    if (error)
        p->bytes = 0; // begin anew
    else
        p->done = at + count;
    return error;
}

int wage_push_seal(struct wage_push *p, const struct wage_store *store)
{
    uint32_t bytes = p->bytes;
    if (bytes == 0 || p->done != bytes)
        return WAGE_E_ORDER;
    p->bytes = 0;
    uint32_t h[WAGE_STORE_HEADER_WORDS] = { 0, 0, bytes };
    return wage_header_write(store, header_at(store), MAGIC, h);
}

int wage_push_remove(const struct wage_store *store)
{
    uint32_t at = header_at(store);
    return wage_push_room(store) ? wage_store_erase(store, at, at + 1)
                                 : WAGE_E_STORE_SIZE;
}

int32_t wage_pushed(const struct wage_store *store)
{
    uint32_t h[WAGE_STORE_HEADER_WORDS];
    if (wage_push_room(store) == 0)
        return 0;
    int got = wage_header_read(store, header_at(store), MAGIC, h);
    if (got <= 0)
        return got;
    return h[2] > wage_push_room(store) ? 0 : (int32_t)h[2];
}

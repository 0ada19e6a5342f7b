/* SPDX-License-Identifier: MIT
 *
 * Checkpoints: everything learned, as one generation, in one slot of a
 * store. Data first, header last; the newest whole one wins. SPEC 7.3 to 7.7.
 */
#include "state.h"

#include "num.h"

#define MAGIC 0x504b4357        /* "WCKP" */

static uint32_t slot_bytes(const struct wage_store *store)
{
    uint32_t bytes = store->bytes - store->guard_bytes - store->model_bytes;
    return bytes / store->slots / store->erase_bytes * store->erase_bytes;
}

int wage_check_store(const wage_t *w, const struct wage_store *store)
{
    uint32_t unit = store->program_bytes, chunk = WAGE_CHUNK_BYTES;
    uint32_t padded = (wage_checkpoint_bytes(w) + chunk - 1) & ~(chunk - 1);
    if (unit == 0 || unit > chunk || (unit & (unit - 1)) || store->slots < 2
        || store->erase_bytes < unit
        || (store->erase_bytes & (store->erase_bytes - 1))
        || store->guard_bytes > store->bytes
        || store->model_bytes > store->bytes - store->guard_bytes
        || store->bytes % store->erase_bytes
        || store->guard_bytes % store->erase_bytes
        || store->model_bytes % store->erase_bytes)
        return WAGE_E_STORE_SIZE;
    return slot_bytes(store) < padded ? WAGE_E_STORE_SIZE : WAGE_OK;
}

/* Reads `bytes` of the store at `at`. Returns 0 and their CRC, or an error. */
static int store_crc(const struct wage_store *store, uint32_t at,
                     uint32_t bytes, uint32_t *crc)
{
    *crc = 0;
    while (bytes) {
        uint8_t chunk[WAGE_CHUNK_BYTES];
        uint32_t part = bytes < sizeof chunk ? bytes : sizeof chunk;
        int error = wage_store_read(store, at, chunk, part);
        if (error)
            return error;
        *crc = wage_crc(*crc, chunk, part);
        at += part;
        bytes -= part;
    }
    return WAGE_OK;
}

/* A walk that reads the state in `slot`. */
static struct walk reading(const struct wage_store *store, uint32_t slot,
                           enum way way)
{
    return (struct walk){ .way = way, .store = store,
                          .at = slot * slot_bytes(store)
                                + WAGE_STORE_HEADER_BYTES };
}

/* wage_look() in a store that was checked. */
static int look(wage_t *w, const struct wage_store *store, uint32_t slot,
                struct wage_checkpoint *found)
{
    uint32_t h[WAGE_STORE_HEADER_WORDS], crc;
    uint32_t at = slot * slot_bytes(store);
    uint32_t state = at + WAGE_STORE_HEADER_BYTES;
    *found = (struct wage_checkpoint){ .generation = 0 };
    int got = wage_header_read(store, at, MAGIC, h);
    if (got <= 0)
        return got;
    uint32_t bytes = h[3];
    if (bytes > slot_bytes(store) - WAGE_STORE_HEADER_BYTES
        || h[2] == UINT32_MAX) // none could follow it
        return WAGE_OK;
    int error = store_crc(store, state, bytes, &crc);
    if (error || crc != h[5])
        return error;
    found->generation = h[2];
    found->crc = crc;
    found->wear = h[6];
    found->forgotten = bytes == 0;
    if (!found->generation || h[4] != w->blob_crc)
        return WAGE_OK;
    found->ours = found->forgotten;
    if (bytes != wage_checkpoint_bytes(w) - WAGE_STORE_HEADER_BYTES)
        return WAGE_OK;
    uint8_t asked[8];
    error = wage_store_read(store, state, asked, sizeof asked);
    if (error)
        return error;
    found->guard = load32(asked);
    found->score = load32(asked + 4);
    struct walk k = reading(store, slot, CHECK);
    wage_walk_state(&k, w);
    found->ours = !k.error;
    return k.error == WAGE_E_NO_CHECKPOINT ? WAGE_OK : k.error;
}

int wage_look(wage_t *w, const struct wage_store *store, uint32_t slot,
              struct wage_checkpoint *found)
{
    int error = wage_check_store(w, store);
    if (!error && slot >= store->slots)
        error = WAGE_E_STORE_SIZE;
    return error ? error : look(w, store, slot, found);
}

int wage_newest(wage_t *w, const struct wage_store *store, uint32_t *slot,
                struct wage_checkpoint *best)
{
    uint32_t wear = 0;
    int error = wage_check_store(w, store);
    *best = (struct wage_checkpoint){ .generation = 0 };
    *slot = store->slots - 1;
    for (uint32_t s = 0; !error && s < store->slots; s++) {
        struct wage_checkpoint found;
        error = look(w, store, s, &found);
        if (error)
            break;
        if (found.generation
            && (found.ours != best->ours
                ? found.ours : found.generation >= best->generation)) {
            *best = found;
            *slot = s;
        }
        if (wear < found.wear)
            wear = found.wear;
    }
    best->wear = wear;
    if (!error)
        w->wear = wear;
    return error;
}

/* Erases a slot's units from byte `from` on up to byte `to`. */
static int erase(const struct wage_store *store, uint32_t slot, uint32_t from,
                 uint32_t to)
{
    uint32_t at = slot * slot_bytes(store);
    return wage_store_erase(store, at + from, at + to);
}

/* Programs the state behind a header still to come; reads it back. */
static int write_state(wage_t *w, const struct wage_store *store,
                       uint32_t slot, uint32_t *bytes, uint32_t *crc)
{
    struct walk k = reading(store, slot, SAVE);
    uint32_t at = k.at;
    wage_walk_state(&k, w);
    wage_walk_flush(&k);
    *bytes = k.bytes;
    int error = k.error;
    if (!error)
        error = store_crc(store, at, k.bytes, crc);
    return !error && *crc != k.crc ? WAGE_E_STORE_IO : error;
}

/* Writes `want` into a slot, whose contents go. Returns 0 or an error. */
static int write_slot(wage_t *w, const struct wage_store *store,
                      uint32_t slot, struct wage_checkpoint want)
{
    struct wage_checkpoint got;
    uint32_t at = slot * slot_bytes(store), bytes = 0;
    uint32_t ready = slot == w->next ? w->ready : 0;
    w->ready = 0;
    int error = erase(store, slot, ready, want.forgotten
                      ? slot_bytes(store) : wage_checkpoint_bytes(w));
    if (!error && !want.forgotten)
        error = write_state(w, store, slot, &bytes, &want.crc);
    if (error)
        return error;
    uint32_t h[WAGE_STORE_HEADER_WORDS] = { 0, 0, want.generation, bytes,
                                      w->blob_crc, want.crc, want.wear };
    error = wage_header_write(store, at, MAGIC, h);
    if (!error)
        error = look(w, store, slot, &got);
    if (!error && (!got.ours || got.crc != want.crc || got.wear != want.wear
                   || got.generation != want.generation))
        error = WAGE_E_STORE_IO;
    return error;
}

/* What a new generation does to the earlier ones: nothing, erases them and
 * leaves no state itself, erases them. */
enum what { NEXT = 0, NOTHING = 1, ALONE = 2 };

/* Writes a new generation into the slot after the newest, or, when that one
 * fails, the next that need not be kept. Writes the slot. */
static int write_next(wage_t *w, const struct wage_store *store,
                      enum what what, uint32_t *slot)
{
    struct wage_checkpoint want;
    uint32_t kept;
    int error = wage_newest(w, store, &kept, &want);
    if (error)
        return error;
    want.generation++;
    want.crc = 0;
    want.forgotten = what & NOTHING;
    want.wear += what ? store->slots - 1 : 0;
    *slot = kept;
    do {
        *slot = (*slot + 1) % store->slots;
        want.wear++;
        error = write_slot(w, store, *slot, want);
    } while (error && (*slot + 1) % store->slots != kept);
    w->wear = want.wear;
    if (!error) {
        w->generation = want.generation;
        w->kept = w->last_id;
    }
    return error;
}

int wage_save(wage_t *w, const struct wage_store *store)
{
    uint32_t slot;
    return write_next(w, store, NEXT, &slot);
}

int32_t wage_prepare(wage_t *w, const struct wage_store *store)
{
    uint32_t unit = store->erase_bytes, bytes = wage_checkpoint_bytes(w);
    int error = wage_check_store(w, store);
    if (!error && !w->ready) {
        struct wage_checkpoint kept;
        error = wage_newest(w, store, &w->next, &kept);
        w->next = (w->next + 1) % store->slots;
    }
    if (!error && w->ready < bytes) {
        error = erase(store, w->next, w->ready, w->ready + 1);
        w->ready += error ? 0 : unit;
    }
    if (error)
        return error;
    return w->ready < bytes ? (int32_t)((bytes - w->ready + unit - 1) / unit)
                            : 0;
}

int wage_restore(wage_t *w, const struct wage_store *store)
{
    struct wage_checkpoint best;
    uint32_t slot;
    int error = wage_newest(w, store, &slot, &best);
    if (error)
        return error;
    if (!best.ours || best.forgotten)
        return WAGE_E_NO_CHECKPOINT;
    struct walk k = reading(store, slot, LOAD);
    wage_walk_state(&k, w);
    // it was whole a moment ago: a store that reads now this, now that
    if (k.error || k.crc != best.crc)
        return WAGE_E_STORE_IO;
    w->generation = best.generation;
    w->kept = w->last_id;
    return WAGE_OK;
}

/* wage_load_learned() from a slot that holds `found`. */
static int load_slot(wage_t *w, const struct wage_store *store, uint32_t slot,
                     const struct wage_checkpoint *found)
{
    struct walk k = reading(store, slot, CHECK);
    wage_walk_place(&k, w);
    k.way = LOAD;
    wage_walk_learned(&k, w);
    return k.error || k.crc != found->crc ? WAGE_E_STORE_IO : WAGE_OK;
}

int wage_load_learned(wage_t *w, const struct wage_store *store,
                      uint32_t generation)
{
    int error = wage_check_store(w, store);
    uint32_t slot = 0, slots = store->slots;
    struct wage_checkpoint found = { .generation = 0 };
    for (; !error && generation && slot < slots; slot++) {
        error = look(w, store, slot, &found);
        if (found.generation == generation && found.ours && !found.forgotten)
            break;
    }
    if (error)
        return error;
    if (generation && slot == slots)
        return WAGE_E_NO_CHECKPOINT;
    w->guard = w->score = w->best = 0;
    if (generation)
        return load_slot(w, store, slot, &found);
    wage_load_factory(w);
    return WAGE_OK;
}

int wage_rollback(wage_t *w, const struct wage_store *store,
                  uint32_t generation)
{
    int error = wage_load_learned(w, store, generation);
    return error ? error : wage_save(w, store);
}

/* Writes a new generation, then erases all others. */
static int write_alone(wage_t *w, const struct wage_store *store,
                       enum what what)
{
    uint32_t kept;
    int error = write_next(w, store, what, &kept);
    // that is the newest now: when power fails, nothing older comes back
    for (uint32_t s = 0; !error && s < store->slots; s++)
        if (s != kept)
            error = erase(store, s, 0, slot_bytes(store));
    return error;
}

#if WAGE_CLASS_TABLES
int wage_purge(wage_t *w, const struct wage_store *store)
{
    return write_alone(w, store, ALONE);
}
#endif

int wage_forget(wage_t *w, const struct wage_store *store)
{
    uint32_t generation = w->generation;
    int error = write_alone(w, store, NOTHING);
    w->generation = error ? generation : 0;
    return error;
}

/* SPDX-License-Identifier: MIT
 *
 * Slots of checkpoints. Geometry: any. One look: any slot of up to 160 bytes.
 * Selection, saving, erasing ahead, restoring, forgetting: 2 to 4 slots of up
 * to 96 bytes with any contents, where any erase or program may fail.
 */
#include "runtime/persist.c"

#include "prove.h"

#define SLOTS 4u
#define NOBODY UINT32_MAX

static struct wage_store store;
static uint32_t state_bytes;

/* What the store holds: a header of each slot, and what walks and CRCs say
 * of it, which stays until somebody writes there. */
static struct {
    uint8_t header[WAGE_SLOT_HEADER_BYTES];
    uint32_t header_crc, crc;
    int error;                  /* of a walk that checks */
} slots[SLOTS];
static int fixed;               /* 1: the store is that; 0: anything */
static int read_only;           /* 1: nobody may write */
static uint32_t last;           /* slot that was read last */
static uint32_t kept = NOBODY;  /* slot that nobody may write… */
static int forgets;             /* …or 1: once another one is whole */
static uint32_t sealed = NOBODY; /* slot whose header was written last */

/* In place of wage_crc(): any number, the same for the same slot. */
uint32_t wage_crc(uint32_t crc, const uint8_t *from, uint32_t count)
{
    (void)crc;
    readable(from, count);
    if (!fixed)
        return nondet_u32();
    return count == 28 ? slots[last].header_crc : slots[last].crc;
}

/* In place of the walk's COUNT; state.c has that. */
uint32_t wage_checkpoint_bytes(const wage_t *w)
{
    (void)w;
    return state_bytes;
}

static int ok_or_io(void)
{
    return nondet_u8() & 1 ? WAGE_OK : WAGE_E_STORE_IO;
}

/* Slot of a place in it; no part of any other. */
static uint32_t slot_of(uint32_t at, uint32_t count)
{
    uint32_t size = slot_bytes(&store), slot = at / size;
    must(slot < store.slots);
    must(count <= size && at % size <= size - count);
    return slot;
}

static void written(uint32_t slot)
{
    must(slot != kept || (forgets && sealed != NOBODY));
    must(slot != sealed && !read_only);
    last = slot;
    if (!fixed)
        return;
    for (unsigned i = 0; i < WAGE_SLOT_HEADER_BYTES; i++)
        slots[slot].header[i] = nondet_u8();
    slots[slot].header_crc = nondet_u32();
    slots[slot].crc = nondet_u32();
    slots[slot].error = nondet_u8() & 1 ? WAGE_OK : WAGE_E_NO_CHECKPOINT;
}

/* In place of the store's functions; whatever is written may be misread. */
int wage_store_read(const struct wage_store *s, uint32_t at, uint8_t *to,
                    uint32_t count)
{
    (void)s;
    last = slot_of(at, count);
    writable(to, count);
    if (!fixed) {
        for (uint32_t i = 0; i < count; i++)
            to[i] = nondet_u8();
        return ok_or_io();
    }
    if (at % slot_bytes(&store) == 0)
        memcpy(to, slots[last].header, WAGE_SLOT_HEADER_BYTES);
    return WAGE_OK;
}

int wage_store_program(const struct wage_store *s, uint32_t at,
                       const uint8_t *from, uint32_t count)
{
    (void)s;
    readable(from, count);
    must(at % store.program_bytes == 0 && count % store.program_bytes == 0);
    written(slot_of(at, count));
    if (at % slot_bytes(&store) == 0)
        sealed = last;
    return ok_or_io();
}

int wage_store_erase(const struct wage_store *s, uint32_t at, uint32_t end)
{
    (void)s;
    if (at >= end)
        return WAGE_OK;
    // whole units, so perhaps more than asked for
    uint32_t unit = store.erase_bytes;
    must(at % unit == 0);
    written(slot_of(at, (end - at + unit - 1) / unit * unit));
    return ok_or_io();
}

/* In place of the walks of state.c: what they ask of the store, and any
 * result. */
void wage_walk_state(struct walk *k, wage_t *w)
{
    uint32_t bytes = state_bytes - WAGE_SLOT_HEADER_BYTES;
    uint32_t chunk = WAGE_CHUNK_BYTES;
    uint32_t slot = slot_of(k->at, (bytes + chunk - 1) / chunk * chunk);
    must(k->at % slot_bytes(&store) == WAGE_SLOT_HEADER_BYTES);
    (void)w;
    k->bytes += bytes;
    k->crc = nondet_u32();
    if (k->way == SAVE) {
        written(slot);
        k->error = ok_or_io();
    } else
        k->error = fixed ? slots[slot].error
                   : nondet_u8() & 1 ? ok_or_io() : WAGE_E_NO_CHECKPOINT;
}

void wage_walk_place(struct walk *k, wage_t *w)
{
    must(k->way == CHECK);
    wage_walk_state(k, w);
}

void wage_walk_learned(struct walk *k, wage_t *w)
{
    (void)w;
    must(k->way == LOAD);
    k->crc = nondet_u32();
    k->error = k->error ? k->error : ok_or_io();
}

void wage_walk_flush(struct walk *k)
{
    must(k->way == SAVE);
    k->error = k->error ? k->error : ok_or_io();
}

void wage_load_factory(wage_t *w)
{
    (void)w;
}

/* Any geometry. */
static void any_store(void)
{
    store.bytes = nondet_u32();
    store.erase_bytes = nondet_u32();
    store.program_bytes = nondet_u32();
    store.slots = nondet_u32();
    store.guard_bytes = nondet_u32();
    store.model_bytes = nondet_u32();
    state_bytes = nondet_u32(); // of an arena: less than 2^30 bytes
    assume(state_bytes >= WAGE_SLOT_HEADER_BYTES && state_bytes < 1u << 31);
}

/* Few small slots, with anything in them. */
static void small_store(wage_t *w)
{
    any_store();
    assume(store.slots <= SLOTS && store.bytes <= SLOTS * 96 + 64);
    assume(wage_check_store(w, &store) == WAGE_OK);
    assume(slot_bytes(&store) <= 96 && store.program_bytes >= 16);
    fixed = 1;
    for (unsigned s = 0; s < SLOTS; s++) {
        for (unsigned i = 0; i < WAGE_SLOT_HEADER_BYTES; i++)
            slots[s].header[i] = nondet_u8();
        slots[s].header_crc = nondet_u32();
        slots[s].crc = nondet_u32();
        slots[s].error = nondet_u8() & 1 ? WAGE_OK : WAGE_E_NO_CHECKPOINT;
    }
}

void prove_check_store(void)
{
    wage_t w;
    any_store();
    if (wage_check_store(&w, &store))
        return;
    uint32_t size = slot_bytes(&store), unit = store.erase_bytes;
    uint64_t end = (uint64_t)store.slots * size + store.guard_bytes
                   + store.model_bytes;
    must(size >= state_bytes && end <= store.bytes);
    must(size % unit == 0);
    must((store.bytes - store.guard_bytes) % unit == 0);
}

// --unwind 6 --unwindsetname wage_store_read:0:33
void prove_look(void)
{
    wage_t w;
    struct wage_checkpoint found;
    any_store();
    assume(wage_check_store(&w, &store) || slot_bytes(&store) <= 160);
    int error = wage_look(&w, &store, nondet_u32(), &found);
    must(error <= 0 && error != WAGE_E_NO_CHECKPOINT);
    must(error || !found.ours || found.generation);
    must(error || found.generation != UINT32_MAX);
}

/* The newest of ours, else the newest, else the last. */
// --unwind 6 --unwindsetname small_store:1:33
void prove_newest(void)
{
    wage_t w;
    struct wage_checkpoint best, found;
    uint32_t slot;
    small_store(&w);
    must(wage_newest(&w, &store, &slot, &best) == WAGE_OK);
    must(slot < store.slots);
    must(best.generation || slot == store.slots - 1);
    uint32_t s = up_to(store.slots - 1);
    must(wage_look(&w, &store, s, &found) == WAGE_OK);
    must(s != slot || found.generation == best.generation);
    must(s != slot || found.ours == best.ours);
    must(!found.generation || best.generation);
    must(!found.ours || best.ours);
    must(!found.generation || found.ours != best.ours
         || found.generation <= best.generation);
    must(found.wear <= best.wear && w.wear == best.wear);
}

/* From here on the slot must stay that restoring would take. */
static struct wage_checkpoint keep_newest(wage_t *w)
{
    struct wage_checkpoint best;
    must(wage_newest(w, &store, &kept, &best) == WAGE_OK);
    w->next = nondet_u32();
    w->ready = store.erase_bytes * up_to(96 / 16);
    assume(!w->ready || w->next == (kept + 1) % store.slots);
    return best;
}

// --unwind 6 --unwindsetname small_store:1:33,written:0:33
void prove_save(void)
{
    wage_t w;
    small_store(&w);
    uint32_t newest = keep_newest(&w).generation;
    int error = wage_save(&w, &store);
    must(error == WAGE_OK || error == WAGE_E_STORE_IO);
    must(error || (sealed != NOBODY && w.generation > newest));
    must(w.ready == 0);
}

// --unwind 6 --unwindsetname small_store:1:33,written:0:33
void prove_prepare(void)
{
    wage_t w;
    small_store(&w);
    (void)keep_newest(&w);
    int32_t left = wage_prepare(&w, &store);
    must(left <= 6);
    must(!w.ready || w.next == (kept + 1) % store.slots);
    must(left != 0 || w.ready >= state_bytes);
}

// --unwind 6 --unwindsetname small_store:1:33
void prove_restore(void)
{
    wage_t w;
    small_store(&w);
    struct wage_checkpoint best = keep_newest(&w);
    read_only = 1;
    int error = wage_restore(&w, &store);
    must(error || (best.ours && !best.forgotten));
    must(error || (last == kept && w.generation == best.generation));
    must(error != WAGE_E_NO_CHECKPOINT || !best.ours || best.forgotten);
}

/* Of this model, from that generation, and nothing is written. */
// --unwind 6 --unwindsetname small_store:1:33
void prove_load_learned(void)
{
    wage_t w;
    struct wage_checkpoint found;
    small_store(&w);
    uint32_t generation = nondet_u32();
    read_only = 1;
    if (wage_load_learned(&w, &store, generation) || !generation)
        return;
    must(wage_look(&w, &store, last, &found) == WAGE_OK);
    must(found.ours && !found.forgotten && found.generation == generation);
}

// --unwind 6 --unwindsetname small_store:1:33,written:0:33
void prove_forget(void)
{
    wage_t w;
    small_store(&w);
    (void)keep_newest(&w);
    forgets = 1;
    int error = wage_forget(&w, &store);
    must(error || w.generation == 0);
}

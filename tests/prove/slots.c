/* SPDX-License-Identifier: MIT
 *
 * Slots of checkpoints. Geometry: 2 slots in up to 1 KB, erased in units of
 * 0, 16, 48 or 128 bytes, the rest any. Looking, selection, saving, erasing
 * ahead, restoring, forgetting: 2 to 4 slots of 64 bytes in units of 32 with
 * any contents, where any erase or program may fail.
 */
#include "runtime/persist.c"

#define wage_crc real_crc
#include "runtime/num.c"
#undef wage_crc

#include "prove.h"

#define SLOTS 4u
#define SLOT_BYTES 64u
#define NOBODY UINT32_MAX

static struct wage_store store;
static uint32_t state_bytes;

/* What the store holds: a header of each slot, and what walks and CRCs say
 * of it, which stays until somebody writes there. */
static struct {
    uint32_t word[WAGE_STORE_HEADER_WORDS];
    int whole;                  /* 1: a header */
    uint32_t crc;
    int error;                  /* of a walk that checks */
} slots[SLOTS];
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
    return slots[last].crc;
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

static void any_contents(uint32_t slot)
{
    for (unsigned i = 0; i < WAGE_STORE_HEADER_WORDS; i++)
        slots[slot].word[i] = nondet_u32();
    slots[slot].whole = nondet_u8() & 1;
    slots[slot].crc = nondet_u32();
    slots[slot].error = nondet_u8() & 1 ? WAGE_OK : WAGE_E_NO_CHECKPOINT;
}

static void written(uint32_t slot)
{
    must(slot != kept || (forgets && sealed != NOBODY));
    must(slot != sealed && !read_only);
    last = slot;
    any_contents(slot);
}

/* In place of the store's functions; whatever is written may be misread. */
int wage_store_read(const struct wage_store *s, uint32_t at, uint8_t *to,
                    uint32_t count)
{
    (void)s;
    last = slot_of(at, count);
    writable(to, count);
    return WAGE_OK;
}

int wage_header_read(const struct wage_store *s, uint32_t at,
                     uint32_t magic, uint32_t *word)
{
    (void)s;
    last = slot_of(at, WAGE_STORE_HEADER_BYTES);
    must(at % slot_bytes(&store) == 0 && magic == MAGIC);
    for (unsigned i = 0; i < WAGE_STORE_HEADER_WORDS; i++)
        word[i] = slots[last].word[i];
    return slots[last].whole;
}

int wage_header_write(const struct wage_store *s, uint32_t at,
                      uint32_t magic, uint32_t *word)
{
    (void)s;
    written(slot_of(at, WAGE_STORE_HEADER_BYTES));
    must(at % slot_bytes(&store) == 0 && magic == MAGIC);
    readable(word, 4 * WAGE_STORE_HEADER_WORDS);
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
    uint32_t bytes = state_bytes - WAGE_STORE_HEADER_BYTES;
    uint32_t chunk = WAGE_CHUNK_BYTES;
    uint32_t slot = slot_of(k->at, (bytes + chunk - 1) / chunk * chunk);
    last = slot;
    must(k->at % slot_bytes(&store) == WAGE_STORE_HEADER_BYTES);
    (void)w;
    k->bytes += bytes;
    k->crc = nondet_u32();
    if (k->way == SAVE) {
        written(slot);
        k->error = ok_or_io();
    } else
        k->error = slots[slot].error;
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

/* A few slots with anything in them. */
static void small_store(uint32_t count)
{
    store.slots = count;
    store.bytes = count * SLOT_BYTES;
    store.erase_bytes = 32;
    store.program_bytes = 16;
    state_bytes = WAGE_STORE_HEADER_BYTES
                  + up_to(SLOT_BYTES - WAGE_STORE_HEADER_BYTES);
    for (unsigned s = 0; s < count; s++)
        any_contents(s);
}

static void check_store(uint32_t erase_bytes)
{
    wage_t w;
    store.bytes = up_to(1024);
    store.erase_bytes = erase_bytes;
    store.program_bytes = nondet_u32();
    store.slots = 2;
    store.guard_bytes = nondet_u32();
    store.model_bytes = nondet_u32();
    state_bytes = nondet_u32(); // of an arena: less than 2^30 bytes
    assume(state_bytes >= WAGE_STORE_HEADER_BYTES && state_bytes < 1u << 31);
    if (wage_check_store(&w, &store))
        return;
    uint32_t size = slot_bytes(&store);
    uint64_t end = (uint64_t)store.slots * size + store.guard_bytes
                   + store.model_bytes;
    must(size >= state_bytes && end <= store.bytes);
    must(size % erase_bytes == 0);
    must((store.bytes - store.guard_bytes) % erase_bytes == 0);
}

void prove_check_store(void)
{
    check_store(0);
    check_store(16);
    check_store(48);
    check_store(128);
}

// --unwind 9 --unwindsetname wage_newest:0:3,
//     slots.c@small_store:0:3,
//     persist.c@store_crc:0:3
void prove_look(void)
{
    wage_t w;
    struct wage_checkpoint found;
    small_store(2);
    int error = wage_look(&w, &store, nondet_u32(), &found);
    must(error <= 0 && error != WAGE_E_NO_CHECKPOINT);
    must(error || !found.ours || found.generation);
    must(error || found.generation != UINT32_MAX);
}

/* The newest of ours, else the newest, else the last. */
// --unwind 9 --unwindsetname wage_newest:0:5,
//     slots.c@small_store:0:5,
//     persist.c@store_crc:0:3
void prove_newest(void)
{
    wage_t w;
    struct wage_checkpoint best, found;
    uint32_t slot;
    small_store(SLOTS);
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
static struct wage_checkpoint keep_newest(wage_t *w, uint32_t count)
{
    struct wage_checkpoint best;
    small_store(count);
    must(wage_newest(w, &store, &kept, &best) == WAGE_OK);
    w->next = nondet_u32();
    w->ready = store.erase_bytes * up_to(SLOT_BYTES / 32);
    assume(!w->ready || w->next == (kept + 1) % store.slots);
    return best;
}

static void save(uint32_t count)
{
    wage_t w;
    uint32_t newest = keep_newest(&w, count).generation;
    int error = wage_save(&w, &store);
    must(error == WAGE_OK || error == WAGE_E_STORE_IO);
    must(error || (sealed != NOBODY && w.generation > newest));
    must(w.ready == 0);
}

// --unwind 9 --unwindsetname wage_newest:0:3,
//     slots.c@small_store:0:3,
//     persist.c@store_crc:0:3,
//     persist.c@write_next:0:3
void prove_save_in_two(void) { save(2); }

// --unwind 9 --unwindsetname wage_newest:0:4,
//     slots.c@small_store:0:4,
//     persist.c@store_crc:0:3,
//     persist.c@write_next:0:4
void prove_save_in_three(void) { save(3); }

// --unwind 9 --unwindsetname wage_newest:0:4,
//     slots.c@small_store:0:4,
//     persist.c@store_crc:0:3
void prove_prepare(void)
{
    wage_t w;
    (void)keep_newest(&w, 3);
    int32_t left = wage_prepare(&w, &store);
    must(left <= (int32_t)(SLOT_BYTES / 32));
    must(!w.ready || w.next == (kept + 1) % store.slots);
    must(left != 0 || w.ready >= state_bytes);
}

// --unwind 9 --unwindsetname wage_newest:0:4,
//     slots.c@small_store:0:4,
//     persist.c@store_crc:0:3
void prove_restore(void)
{
    wage_t w;
    struct wage_checkpoint best = keep_newest(&w, 3);
    read_only = 1;
    int error = wage_restore(&w, &store);
    must(error || (best.ours && !best.forgotten));
    must(error || (last == kept && w.generation == best.generation));
    must(error != WAGE_E_NO_CHECKPOINT || !best.ours || best.forgotten);
}

/* Of this model, from that generation, and nothing is written. */
// --unwind 9 --unwindsetname wage_newest:0:4,
//     slots.c@small_store:0:4,
//     persist.c@store_crc:0:3,
//     wage_load_learned:0:4
void prove_load_learned(void)
{
    wage_t w;
    struct wage_checkpoint found;
    small_store(3);
    uint32_t generation = nondet_u32();
    read_only = 1;
    if (wage_load_learned(&w, &store, generation) || !generation)
        return;
    must(wage_look(&w, &store, last, &found) == WAGE_OK);
    must(found.ours && !found.forgotten && found.generation == generation);
}

// --unwind 9 --unwindsetname wage_newest:0:4,
//     slots.c@small_store:0:4,
//     persist.c@store_crc:0:3,
//     persist.c@write_next:0:4,
//     persist.c@write_alone:0:4
void prove_forget(void)
{
    wage_t w;
    (void)keep_newest(&w, 3);
    forgets = 1;
    int error = wage_forget(&w, &store);
    must(error || w.generation == 0);
}

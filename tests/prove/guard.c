/* SPDX-License-Identifier: MIT
 *
 * The guard: a place of up to 160 bytes at the end of any store, latents of
 * up to 40 bytes, at most 3 samples; any contents, any call may fail.
 */
#include "runtime/guard.c"
#include "runtime/state.c"

#include "crc.h"
#include "prove.h"

#define PLACE 160u
#define LATENT 40u

static struct wage_store store;
static int8_t latent[LATENT];
static uint32_t latent_bytes;
static uint8_t erased[PLACE];   /* 1: since then not programmed */

static int ok_or_io(void)
{
    return nondet_u8() & 1 ? WAGE_OK : WAGE_E_STORE_IO;
}

/* Where it is in the guard's place, all of it. */
static uint32_t place_of(uint32_t at, uint32_t count)
{
    uint32_t from = store.bytes - store.guard_bytes;
    must(at >= from && at - from <= store.guard_bytes);
    must(count <= store.guard_bytes - (at - from));
    return at - from;
}

static int read(void *context, uint32_t at, uint8_t *to, uint32_t count)
{
    (void)context;
    (void)place_of(at, count);
    for (uint32_t i = 0; i < count; i++)
        to[i] = nondet_u8();
    return ok_or_io();
}

static int program(void *context, uint32_t at, const uint8_t *from,
                   uint32_t count)
{
    (void)context;
    uint32_t unit = store.program_bytes, first = place_of(at, count);
    readable(from, count);
    must(at % unit == 0 && count % unit == 0);
    for (uint32_t i = 0; i < count; i++) {
        must(erased[first + i]);
        erased[first + i] = 0;
    }
    return ok_or_io();
}

static int erase(void *context, uint32_t at)
{
    (void)context;
    uint32_t first = place_of(at, store.erase_bytes);
    must(at % store.erase_bytes == 0);
    int error = ok_or_io();
    for (uint32_t i = 0; i < store.erase_bytes; i++)
        erased[first + i] = !error;
    return error;
}

/* In place of those of persist.c, step.c and layer.c. */
int wage_check_store(const wage_t *w, const struct wage_store *s)
{
    (void)w;
    (void)s;
    return nondet_u8() & 1 ? WAGE_OK : WAGE_E_STORE_SIZE;
}

int wage_predict(wage_t *w, uint32_t count, const int8_t *x,
                 const uint8_t *labels, struct wage_record *records)
{
    readable(labels, 1);
    readable(x, w->input_bytes);
    writable(w->latent, w->latent_bytes);
    must(count == 1);
    records->p_label = nondet_u16();
    return nondet_u8() & 1 ? WAGE_OK : WAGE_E_LABEL;
}

int wage_knows(wage_t *w, uint8_t label)
{
    (void)w;
    (void)label;
    return nondet_u8() & 1;
}

int wage_newest(wage_t *w, const struct wage_store *s, uint32_t *slot,
                struct wage_checkpoint *best)
{
    struct wage_checkpoint any;
    (void)w;
    *slot = up_to(s->slots - 1);
    *best = any;
    return ok_or_io();
}

int wage_look(wage_t *w, const struct wage_store *s, uint32_t slot,
              struct wage_checkpoint *found)
{
    struct wage_checkpoint any;
    (void)w;
    must(slot < s->slots);
    *found = any;
    return ok_or_io();
}

int wage_load_learned(wage_t *w, const struct wage_store *s,
                      uint32_t generation)
{
    (void)w;
    (void)s;
    (void)generation;
    return nondet_u8() & 1 ? ok_or_io() : WAGE_E_NO_CHECKPOINT;
}

int wage_save(wage_t *w, const struct wage_store *s)
{
    (void)s;
    w->generation = nondet_u32();
    return ok_or_io();
}

/* Any that wage_check_store() accepts; slots.c. */
static void any_guard(wage_t *w)
{
    uint32_t unit = 1u << up_to(5);
    store = (struct wage_store){ .read = read, .program = program,
                                 .erase = erase, .program_bytes = unit,
                                 .bytes = nondet_u32(), .slots = 2 };
    store.erase_bytes = unit << up_to(3);
    store.guard_bytes = up_to(PLACE);
    assume(store.erase_bytes >= 16);
    assume(store.guard_bytes <= store.bytes);
    assume(store.bytes % store.erase_bytes == 0);
    assume(store.guard_bytes % store.erase_bytes == 0);
    latent_bytes = w->latent_bytes = up_to(LATENT);
    assume(latent_bytes > 0);
    w->latent = latent;
    for (unsigned i = 0; i < PLACE; i++)
        erased[i] = nondet_u8() & 1;
}

// --unwind 161 --unwindsetname read:0:33
void prove_guard_count(void)
{
    wage_t w;
    uint32_t set;
    any_guard(&w);
    int32_t count = wage_guard_count(&w, &store, &set);
    must(count <= (int32_t)wage_guard_room(&w, &store));
}

/* Whether a guard on its way still needs that byte of its place erased. */
static int needs(const wage_t *w, uint32_t i)
{
    uint32_t record = record_bytes(w, &store);
    return w->put_set && w->put
           && (i < HEADER_BYTES || i >= HEADER_BYTES + w->put * record)
           && i < HEADER_BYTES + w->put_count * record;
}

/* Any sample, in any state that earlier ones left. */
// --unwind 161 --unwindsetname read:0:33,wage_walk_pass:0:42
// --unwindsetname wage_walk_pass:1:42,read_records:0:4
void prove_guard_put(void)
{
    wage_t w;
    any_guard(&w);
    w.input_bytes = up_to(4);
    int8_t *x = (int8_t *)exactly(w.input_bytes);
    assume(!w.put_set || !w.put
           || (w.put < w.put_count
               && w.put_count <= wage_guard_room(&w, &store)));
    for (uint32_t i = 0; i < PLACE; i++)
        assume(!needs(&w, i) || erased[i]);
    int error = wage_guard_put(&w, &store, nondet_u32(), nondet_u32(),
                               nondet_u32(), x, nondet_u8());
    must(error <= 0);
    must(!w.put_set || !w.put
         || (w.put < w.put_count
             && w.put_count <= wage_guard_room(&w, &store)));
    uint32_t i = up_to(PLACE - 1);
    must(!needs(&w, i) || erased[i]);
}

// --unwind 161 --unwindsetname read:0:33,wage_walk_pass:0:42
// --unwindsetname wage_walk_pass:1:42,read_records:0:4,go_back:0:3
void prove_keep(void)
{
    wage_t w;
    struct wage_policy policy;
    any_guard(&w);
    int kept = wage_keep(&w, &store, &policy);
    must(kept <= WAGE_REFUSED && kept != WAGE_NOT_DUE);
}

// --unwind 161 --unwindsetname read:0:33
void prove_due(void)
{
    wage_t w;
    struct wage_policy policy;
    any_guard(&w);
    must(wage_due(&w, &store, &policy) <= 1);
}

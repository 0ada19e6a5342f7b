/* SPDX-License-Identifier: MIT
 *
 * A pushed model: a place of up to 256 bytes in any store, parts of up to
 * 64; any contents, any call may fail.
 */
#include "runtime/push.c"
#include "runtime/state.c"

#include "crc.h"
#include "prove.h"

#define PLACE 256u

static struct wage_store store;
static uint8_t erased[PLACE];   /* 1: since then not programmed */

static int ok_or_io(void)
{
    return nondet_u8() & 1 ? WAGE_OK : WAGE_E_STORE_IO;
}

/* Where it is in the model's place, all of it. */
static uint32_t place_of(uint32_t at, uint32_t count)
{
    uint32_t from = store.bytes - store.guard_bytes - store.model_bytes;
    must(at >= from && at - from <= store.model_bytes);
    must(count <= store.model_bytes - (at - from));
    return at - from;
}

static int read_any(void *context, uint32_t at, uint8_t *to, uint32_t count)
{
    (void)context;
    (void)place_of(at, count);
    for (uint32_t i = 0; i < count; i++)
        to[i] = nondet_u8();
    return ok_or_io();
}

static int program_once(void *context, uint32_t at, const uint8_t *from,
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

static int erase_unit(void *context, uint32_t at)
{
    (void)context;
    uint32_t first = place_of(at, store.erase_bytes);
    must(at % store.erase_bytes == 0);
    int error = ok_or_io();
    for (uint32_t i = 0; i < store.erase_bytes; i++)
        erased[first + i] = !error;
    return error;
}

/* Any that wage_check_store() accepts; slots.c. */
static void any_place(void)
{
    static const uint8_t memory[1];
    uint32_t unit = 1u << up_to(5);
    store = (struct wage_store){ .read = read_any, .program = program_once,
                                 .erase = erase_unit, .slots = 2,
                                 .program_bytes = unit,
                                 .bytes = nondet_u32(),
                                 .guard_bytes = nondet_u32(),
                                 .model_bytes = up_to(PLACE) };
    store.erase_bytes = unit << up_to(3);
    store.memory = nondet_u8() & 1 ? memory : NULL;
    assume(store.erase_bytes >= 16);
    assume(store.guard_bytes <= store.bytes);
    assume(store.model_bytes <= store.bytes - store.guard_bytes);
    assume(store.bytes % store.erase_bytes == 0);
    assume(store.guard_bytes % store.erase_bytes == 0);
    assume(store.model_bytes % store.erase_bytes == 0);
    for (unsigned i = 0; i < PLACE; i++)
        erased[i] = nondet_u8() & 1;
}

/* What earlier parts can have left, but for what is erased. */
static int is_possible(const struct wage_push *p)
{
    uint32_t header = WAGE_PUSH_HEADER_BYTES;
    return p->bytes == 0
           || (p->bytes <= wage_push_room(&store) && p->done <= p->bytes
               && (p->done == p->bytes
                   || p->done % WAGE_PUSH_PART_BYTES == 0)
               && p->erased >= header + p->done
               && p->erased <= store.model_bytes
               && p->erased % store.erase_bytes == 0);
}

/* Whether a model on its way needs that byte of its place erased. */
static int needs(const struct wage_push *p, uint32_t i)
{
    uint32_t header = WAGE_PUSH_HEADER_BYTES;
    uint32_t unit = store.program_bytes;
    uint32_t next = header + ((p->done + unit - 1) & ~(unit - 1));
    return p->bytes && (i < header || (i >= next && i < p->erased));
}

static struct wage_push any_push(void)
{
    struct wage_push p;
    assume(is_possible(&p));
    for (uint32_t i = 0; i < PLACE; i++)
        assume(!needs(&p, i) || erased[i]);
    return p;
}

// --unwind 257 --unwindsetname wage_walk_pass:1:33,program:0:3
// --unwindsetname make_ready:0:17,wage_store_erase:0:3
void prove_push(void)
{
    struct wage_push model;
    any_place();
    struct wage_push p = any_push();
    uint32_t count = up_to(64), at = nondet_u32();
    uint8_t *from = exactly(count);
    int error = wage_push(&p, &store, &model, at, from, count);
    must(error <= 0);
    must(error || (p.bytes == model.bytes && p.done == at + count));
    must(is_possible(&p));
    uint32_t i = up_to(PLACE - 1);
    must(!needs(&p, i) || erased[i]);
}

// --unwind 257 --unwindsetname wage_walk_pass:1:33,program:0:2
void prove_push_seal(void)
{
    any_place();
    struct wage_push p = any_push();
    uint32_t whole = p.bytes && p.done == p.bytes;
    int error = wage_push_seal(&p, &store);
    must((error != WAGE_E_ORDER) == whole);
    must(error || p.bytes == 0);
}

// --unwind 257 --unwindsetname wage_store_erase:0:3
void prove_push_remove(void)
{
    any_place();
    must(wage_push_remove(&store) <= 0);
}

// --unwind 257 --unwindsetname read_any:0:33
void prove_pushed(void)
{
    any_place();
    int32_t bytes = wage_pushed(&store);
    must(bytes <= (int32_t)wage_push_room(&store));
    must(bytes <= 0 || (wage_push_place(&store) + (uint32_t)bytes
                        <= store.bytes - store.guard_bytes));
}

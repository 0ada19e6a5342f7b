/* SPDX-License-Identifier: MIT
 *
 * The end of a walk over everything learned: what a chunk holds is programmed
 * in whole units of 1 to 4 bytes, at any place. Chunks have 4 bytes here, not
 * 32. That the rest of the walk stays inside was tried, too, and was not
 * decided in 40 seconds: tests do that.
 */
#include "state.h"
#undef WAGE_CHUNK_BYTES
#define WAGE_CHUNK_BYTES 4
#include "runtime/state.c"

#include "crc.h"
#include "prove.h"

static struct wage_store store;
static struct walk k;

/* In place of that of store.c. */
int wage_store_program(const struct wage_store *s, uint32_t at,
                       const uint8_t *from, uint32_t count)
{
    must(s == &store && count > 0 && count <= WAGE_CHUNK_BYTES);
    must((at & (s->program_bytes - 1)) == 0);
    must((count & (s->program_bytes - 1)) == 0);
    readable(from, count);
    return nondet_u8() & 1 ? WAGE_OK : WAGE_E_STORE_IO;
}

// --boolector --unwind 5
void prove_flush(void)
{
    struct walk any;
    k = any;
    k.way = SAVE;
    k.store = &store;
    store.program_bytes = 1u << up_to(2);
    assume(k.used < WAGE_CHUNK_BYTES);
    assume((k.at & (store.program_bytes - 1)) == 0);
    uint32_t from = k.at, used = k.used;
    wage_walk_flush(&k);
    must(k.used == 0 && k.at - from >= used);
    must((k.at & (store.program_bytes - 1)) == 0);
}

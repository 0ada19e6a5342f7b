/* SPDX-License-Identifier: MIT
 *
 * A held-out set at the end of the store, its score, and what it decides.
 * SPEC 7.8, 7.9.
 */
#include "guard.h"

#include "num.h"
#include "state.h"

#define MAGIC 0x44524757        /* "WGRD" */

/* What the header of the guard says; count 0: there is none. */
struct guard {
    uint32_t at;                /* of the header in the store */
    uint32_t set, count, crc;   /* its name, samples, CRC of all records */
};

/* Latent, label, and up to a whole program unit. */
static uint32_t record_bytes(const wage_t *w, const struct wage_store *store)
{
    uint32_t unit = store->program_bytes;
    return (w->latent_bytes + 1 + unit - 1) & ~(unit - 1);
}

uint32_t wage_guard_room(const wage_t *w, const struct wage_store *store)
{
    // reading takes whole chunks
    uint32_t room = store->guard_bytes & ~(uint32_t)(WAGE_CHUNK_BYTES - 1);
    return room < WAGE_STORE_HEADER_BYTES
           ? 0 : (room - WAGE_STORE_HEADER_BYTES) / record_bytes(w, store);
}

static int read_guard(wage_t *w, const struct wage_store *store,
                      struct guard *guard)
{
    uint32_t h[WAGE_STORE_HEADER_WORDS];
    int error = wage_check_store(w, store);
    *guard = (struct guard){ .at = store->bytes - store->guard_bytes };
    if (error || wage_guard_room(w, store) == 0)
        return error;
    int got = wage_header_read(store, guard->at, MAGIC, h);
    if (got <= 0)
        return got;
    if (h[4] != w->blob_crc || h[6] != record_bytes(w, store)
        || h[3] > wage_guard_room(w, store))
        return WAGE_OK;
    guard->set = h[2];
    guard->count = h[3];
    guard->crc = h[5];
    return WAGE_OK;
}

int32_t wage_guard_count(wage_t *w, const struct wage_store *store,
                         uint32_t *set)
{
    struct guard guard;
    int error = read_guard(w, store, &guard);
    *set = guard.set;
    return error ? error : (int32_t)guard.count;
}

/* A record on its way: `latent` is w->latent. */
static void pass_record(struct walk *k, wage_t *w, uint8_t *label)
{
    uint8_t blank[WAGE_CHUNK_BYTES] = { 0 };
    uint32_t used = w->latent_bytes + 1;
    wage_walk_pass(k, (uint8_t *)w->latent, w->latent_bytes);
    wage_walk_pass(k, label, 1);
    wage_walk_pass(k, blank, record_bytes(w, k->store) - used);
}

/* Reads all records: their CRC, and how many the model knows (NULL: does
 * not predict). */
static int read_records(wage_t *w, const struct wage_store *store,
                        const struct guard *guard, uint32_t *crc,
                        uint32_t *known)
{
    struct walk k = { .way = LOAD, .store = store,
                      .at = guard->at + WAGE_STORE_HEADER_BYTES };
    for (uint32_t i = 0; i < guard->count && !k.error; i++) {
        uint8_t label;
        pass_record(&k, w, &label);
        if (known)
            *known += (uint32_t)wage_knows(w, label);
    }
    *crc = k.crc;
    return k.error;
}

/* The header makes it whole, once all records read back as themselves. */
static int seal(wage_t *w, const struct wage_store *store,
                struct guard *guard)
{
    struct guard got = { .count = 0 };
    int error = read_records(w, store, guard, &guard->crc, NULL);
    if (error)
        return error;
    if (guard->crc != w->put_crc)
        return WAGE_E_STORE_IO;
    uint32_t h[WAGE_STORE_HEADER_WORDS] = { 0, 0, guard->set, guard->count,
                                      w->blob_crc, guard->crc,
                                      record_bytes(w, store) };
    error = wage_header_write(store, guard->at, MAGIC, h);
    if (!error)
        error = read_guard(w, store, &got);
    return !error && got.crc != guard->crc ? WAGE_E_STORE_IO : error;
}

/* Erases what was there: from now on there is no guard. */
static int begin(wage_t *w, const struct wage_store *store,
                 const struct guard *guard)
{
    w->put = w->put_crc = 0;
    w->put_set = guard->set;
    w->put_count = guard->count;
    return wage_store_erase(store, guard->at,
                            guard->at + WAGE_STORE_HEADER_BYTES
                            + guard->count * record_bytes(w, store));
}

/* Programs the record of the sample that was predicted last. */
static int append(wage_t *w, const struct wage_store *store,
                  const struct guard *guard, uint8_t label)
{
    struct walk k = { .way = SAVE, .store = store, .crc = w->put_crc,
                      .at = guard->at + WAGE_STORE_HEADER_BYTES
                            + w->put * record_bytes(w, store) };
    pass_record(&k, w, &label);
    wage_walk_flush(&k);
    w->put++;
    w->put_crc = k.crc;
    return k.error;
}

int wage_guard_put(wage_t *w, const struct wage_store *store, uint32_t id,
                   uint32_t count, uint32_t set, const int8_t *x,
                   uint8_t label)
{
    struct wage_record record;
    struct guard guard;
    int error = read_guard(w, store, &guard);
    if (error)
        return error;
    if (set == 0 || id == 0 || id > count)
        return WAGE_E_ORDER;
    if (count > wage_guard_room(w, store))
        return WAGE_E_STORE_SIZE;
    if (guard.set == set && guard.count == count)
        return WAGE_OK;
    error = wage_predict(w, 1, x, &label, &record);
    guard.set = set;
    guard.count = count;
    int same = set == w->put_set && count == w->put_count;
    int again = same && id == w->put; // its answer was lost
    if (!error && id == 1 && !again)
        error = begin(w, store, &guard);
    else if (!error && !again && (!same || id != w->put + 1))
        error = WAGE_E_ORDER;
    if (error || again)
        return error;
    error = append(w, store, &guard, label);
    if (!error && id == count)
        error = seal(w, store, &guard);
    if (error || id == count)
        w->put_set = 0;
    return error;
}

int wage_due(wage_t *w, const struct wage_store *store,
             const struct wage_policy *policy)
{
    uint32_t set;
    if (policy->every == 0 || w->last_id % policy->every)
        return 0;
    int32_t count = wage_guard_count(w, store, &set);
    if (count < 0)
        return (int)count;
    return w->last_id != w->kept || (count > 0 && set != w->guard);
}

/* Goes back to the best generation of those that the next save would keep;
 * among equals the newest. */
static int go_back(wage_t *w, const struct wage_store *store, uint32_t set)
{
    struct wage_checkpoint found, best = { .generation = 0 };
    uint32_t kept;
    int error = wage_newest(w, store, &kept, &found);
    for (uint32_t s = 0; !error && s < store->slots; s++) {
        if (s == (kept + 1) % store->slots) // may be erased ahead
            continue;
        error = wage_look(w, store, s, &found);
        if (!error && found.ours && found.guard == set
            && (found.score > best.score
                || (found.score == best.score
                    && found.generation > best.generation)))
            best = found;
    }
    if (error)
        return error;
    uint32_t right = w->best;
    error = wage_load_learned(w, store, best.generation);
    w->guard = set;
    w->score = best.score;
    w->best = right;
    w->refused++;
    return error;
}

int wage_keep(wage_t *w, const struct wage_store *store,
              const struct wage_policy *policy)
{
    struct guard guard;
    uint32_t crc, score = 0;
    int error = read_guard(w, store, &guard);
    if (!error)
        error = read_records(w, store, &guard, &crc, &score);
    if (error)
        return error;
    if (crc != guard.crc)
        return WAGE_E_GUARD;
    int first = guard.count && guard.set != w->guard;
    int better = first || !guard.count || score > w->best;
    int refused = guard.count && !first && score < w->best
                  && w->best - score > policy->margin;
    int spent = policy->wear_max && w->wear >= policy->wear_max && !first;
    if (refused)
        error = go_back(w, store, guard.set);
    else if (guard.count) {
        w->guard = guard.set;
        w->score = score;
    }
    w->kept = w->last_id;
    if (error)
        return error;
    if (spent || (policy->improved && !better && !refused))
        return refused ? WAGE_REFUSED : WAGE_PASSED;
    uint32_t before = w->best;
    if (first || score > w->best)
        w->best = w->score;
    error = wage_save(w, store);
    if (error) {
        w->best = before; // what was not saved is no measure
        return error;
    }
    return refused ? WAGE_REFUSED : WAGE_SAVED_NOW;
}

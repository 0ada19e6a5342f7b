/* SPDX-License-Identifier: MIT
 *
 * What checkpoints, guard and pushed model do with a store. SPEC 7.3, 7.8,
 * 7.10.
 */
#include "state.h"

#include "num.h"

#define FORMAT 1                /* version of all three */

int wage_store_read(const struct wage_store *store, uint32_t at, uint8_t *to,
                    uint32_t count)
{
    if (store->busy)
        store->busy(store->context);
    return store->read(store->context, at, to, count);
}

int wage_store_program(const struct wage_store *store, uint32_t at,
                       const uint8_t *from, uint32_t count)
{
    if (store->busy)
        store->busy(store->context);
    return store->program(store->context, at, from, count);
}

int wage_store_erase(const struct wage_store *store, uint32_t at,
                     uint32_t end)
{
    int error = WAGE_OK;
    for (; !error && at < end; at += store->erase_bytes) {
        if (store->busy)
            store->busy(store->context);
        error = store->erase(store->context, at);
    }
    return error;
}

int wage_header_read(const struct wage_store *store, uint32_t at,
                     uint32_t magic, uint32_t *word)
{
    uint8_t h[WAGE_STORE_HEADER_BYTES];
    int error = wage_store_read(store, at, h, sizeof h);
    if (error)
        return error;
    for (unsigned i = 0; i < WAGE_STORE_HEADER_WORDS; i++)
        word[i] = load32(h + 4 * i);
    if (word[1] != FORMAT || word[7] != wage_crc(0, h, 28))
        word[0] = 0;
    return word[0] == magic;
}

int wage_header_write(const struct wage_store *store, uint32_t at,
                      uint32_t magic, uint32_t *word)
{
    uint8_t h[WAGE_STORE_HEADER_BYTES];
    word[0] = magic;
    word[1] = FORMAT;
    for (unsigned i = 0; i < WAGE_STORE_HEADER_WORDS; i++) {
        if (i == 7)
            word[7] = wage_crc(0, h, 28);
        store32(h + 4 * i, word[i]);
    }
    return wage_store_program(store, at, h, sizeof h);
}

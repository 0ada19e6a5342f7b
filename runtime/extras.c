/* SPDX-License-Identifier: MIT
 *
 * What a blob may carry beside layers and samples, checked. SPEC 9.7.
 */
#include "blob.h"
#include "num.h"
#include "prepare.h"

/* Steps that fill their place. */
static int check_steps(const uint8_t *at, uint32_t left)
{
    while (left) {
        if (left < 4)
            return WAGE_E_SHAPE;
        uint8_t kind = wage_fetch8(at);
        if (kind < WAGE_RESIZE || kind > WAGE_NORMALISE || wage_fetch8(at + 1))
            return WAGE_E_RESERVED;
        uint32_t bytes = 4 + 4 * (uint32_t)wage_fetch16(at + 2);
        if (bytes > left)
            return WAGE_E_SHAPE;
        at += bytes;
        left -= bytes;
    }
    return WAGE_OK;
}

/* A text for each class, each with a 0 at its end. */
static int check_names(const uint8_t *at, uint32_t left, unsigned classes)
{
    if (!left || wage_fetch8(at + left - 1))
        return WAGE_E_SHAPE;
    uint32_t ends = 0;
    while (left--)
        ends += wage_fetch8(at++) == 0;
    return ends == classes ? WAGE_OK : WAGE_E_SHAPE;
}

int wage_extras_check(const wage_t *w)
{
    const uint8_t *at = w->blob + WAGE_HEADER_BYTES
                        + (uint32_t)w->layer_count * WAGE_RECORD_BYTES;
    uint32_t room = w->blob_bytes - (uint32_t)(at - w->blob);
    if (room < 4 || wage_fetch16(at) > room)
        return WAGE_E_RANGE;
    if (wage_fetch8(at + 2) != WAGE_EXTRAS_FORMAT || wage_fetch8(at + 3))
        return WAGE_E_RESERVED;
    uint32_t left = wage_fetch16(at), bytes = 4;
    int error = left < 4 ? WAGE_E_SHAPE : WAGE_OK;
    for (uint8_t kind, last = 0; !error && left > bytes; last = kind) {
        at += bytes;
        left -= bytes;
        bytes = left < 4 ? 4 : 4 + (uint32_t)wage_fetch16(at + 2);
        if (bytes > left)
            return WAGE_E_SHAPE;
        kind = wage_fetch8(at);
        if (kind <= last || kind > WAGE_EXTRA_NAMES || wage_fetch8(at + 1))
            return WAGE_E_RESERVED;
        error = kind == WAGE_EXTRA_PREPARE
            ? check_steps(at + 4, bytes - 4)
            : check_names(at + 4, bytes - 4, w->classes);
    }
    return error;
}

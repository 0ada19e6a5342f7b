/* SPDX-License-Identifier: MIT
 *
 * What a blob carries beside layers and samples, checked; steps of
 * pre-processing: where they lie, and the last one. SPEC 9.7 and 10.
 */
#include "prepare.h"
#include "num.h"
#include "wage.h"

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

/* Every extra fills its place; `room` bytes are there. */
static int check_extras(const uint8_t *at, uint32_t room, unsigned classes)
{
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
            : check_names(at + 4, bytes - 4, classes);
    }
    return error;
}

int wage_prepare_step(const uint8_t *blob, uint32_t blob_bytes, unsigned k,
                      struct wage_prepare *step)
{
    if (blob_bytes < WAGE_HEADER_BYTES
        || !(wage_fetch8(blob + 31) & WAGE_EXTRAS))
        return 0;
    uint32_t first = WAGE_HEADER_BYTES
                     + (uint32_t)wage_fetch8(blob + 16) * WAGE_RECORD_BYTES;
    const uint8_t *at = blob + first;
    int error = check_extras(at, blob_bytes - first, wage_fetch16(blob + 18));
    // steps, when there are any, are the first of the extras
    if (error || wage_fetch16(at) == 4
        || wage_fetch8(at + 4) != WAGE_EXTRA_PREPARE)
        return error;
    const uint8_t *end = at + 8 + wage_fetch16(at + 6);
    for (at += 8; at < end; k--) {
        uint16_t count = wage_fetch16(at + 2);
        if (k == 0) {
            *step = (struct wage_prepare){ .kind = wage_fetch8(at),
                                           .count = count, .params = at + 4 };
            return 1;
        }
        at += 4 + 4 * (uint32_t)count;
    }
    return 0;
}

int wage_normalise(const struct wage_prepare *step, const int32_t *x,
                   uint32_t first, uint32_t count, int8_t *out)
{
    uint32_t ways = step->count / 3u;
    if (step->kind != WAGE_NORMALISE || step->count % 3 || ways == 0)
        return WAGE_E_CONFIG;
    for (uint32_t k = 0; k < ways; k++) {
        const uint8_t *p = step->params + 12 * k;
        if (wage_fetch32(p + 4) - 1u > 32766 || wage_fetch32(p + 8) > 30)
            return WAGE_E_CONFIG;
    }
    for (uint32_t i = 0, k = first % ways; i < count; i++) {
        const uint8_t *p = step->params + 12 * k;
        int64_t far = (int64_t)x[i] - (int32_t)wage_fetch32(p);
        int32_t near = far > 65535 ? 65535 : far < -65535 ? -65535
                       : (int32_t)far;
        // |near * factor| <= 65535 * 32767 < 2^31
        int32_t product = near * (int32_t)wage_fetch32(p + 4);
        int shift = (int)wage_fetch32(p + 8);
        out[i] = (int8_t)wage_clamp(wage_rne(product, shift), -127, 127);
        k = k + 1 < ways ? k + 1 : 0;
    }
    return WAGE_OK;
}

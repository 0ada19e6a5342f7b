/* SPDX-License-Identifier: MIT
 *
 * Steps of pre-processing: where they lie, and the last one. SPEC section 10.
 */
#include "prepare.h"
#include "num.h"
#include "wage.h"

/* Contents of the extra `kind` and its size, or NULL. */
static const uint8_t *extra(const uint8_t *blob, uint32_t blob_bytes,
                            uint8_t kind, uint32_t *bytes)
{
    if (blob_bytes < WAGE_HEADER_BYTES || !(wage_fetch8(blob + 31) & 4))
        return NULL;
    const uint8_t *at = blob + WAGE_HEADER_BYTES
                        + (uint32_t)wage_fetch8(blob + 16) * WAGE_RECORD_BYTES;
    const uint8_t *end = at + wage_fetch16(at);
    for (at += 4; at < end; at += 4 + *bytes) {
        *bytes = wage_fetch16(at + 2);
        if (wage_fetch8(at) == kind)
            return at + 4;
    }
    return NULL;
}

int wage_prepare_step(const uint8_t *blob, uint32_t blob_bytes, unsigned k,
                      struct wage_prepare *step)
{
    uint32_t bytes = 0;
    const uint8_t *at = extra(blob, blob_bytes, WAGE_EXTRA_PREPARE, &bytes);
    if (!at)
        return 0;
    for (const uint8_t *end = at + bytes; at < end; k--) {
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

/* SPDX-License-Identifier: MIT
 *
 * num.c, with any number in place of its wage_crc(), which has a proof of its
 * own.
 */
#ifndef WAGE_PROVE_CRC_H
#define WAGE_PROVE_CRC_H

#include "num.h"
#include "prove.h"

#define wage_crc real_crc
#include "runtime/num.c"
#undef wage_crc

uint32_t wage_crc(uint32_t crc, const uint8_t *from, uint32_t count)
{
    (void)crc;
    readable(from, count);
    return nondet_u32();
}

#endif

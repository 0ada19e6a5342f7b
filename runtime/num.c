/* SPDX-License-Identifier: MIT */
#include "num.h"

int wage_ilog2_round(uint32_t m)
{
    int k = 0;
    for (uint32_t rest = m; rest >>= 1;)
        k++;
    return k + ((uint64_t)m * m >= (uint64_t)1 << (2 * k + 1));
}

uint32_t wage_mix(uint32_t x)
{
    x ^= x >> 16;
    x *= (uint32_t)0x21f0aaad;
    x ^= x >> 15;
    x *= (uint32_t)0x735a2d97;
    return x ^ (x >> 15);
}

uint32_t wage_key(uint32_t seed, uint32_t step, uint32_t stage)
{
    return wage_mix(wage_mix(seed + step * (uint32_t)0x9e3779b9)
                    ^ (stage * (uint32_t)0x85ebca6b));
}

uint32_t wage_below(uint32_t bits, uint32_t n)
{
    return (uint32_t)(((uint64_t)bits * n) >> 32);
}

uint32_t wage_crc(uint32_t crc, const uint8_t *from, uint32_t count)
{
    // one nibble at a time: 64 bytes of table instead of 1,024
    static const uint32_t table[16] WAGE_IN_FLASH = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
        0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c };
    crc = ~crc;
    while (count--) {
        crc ^= *from++;
        crc = (crc >> 4) ^ wage_entry32(&table[crc & 15]);
        crc = (crc >> 4) ^ wage_entry32(&table[crc & 15]);
    }
    return ~crc;
}

uint16_t wage_load16(const uint8_t *p)
{
    return (uint16_t)(p[0] | ((uint16_t)p[1] << 8));
}

uint32_t wage_load32(const uint8_t *p)
{
    return wage_load16(p) | ((uint32_t)wage_load16(p + 2) << 16);
}

void wage_store16(uint8_t *p, uint16_t x)
{
    p[0] = (uint8_t)x;
    p[1] = (uint8_t)(x >> 8);
}

void wage_store32(uint8_t *p, uint32_t x)
{
    wage_store16(p, (uint16_t)x);
    wage_store16(p + 2, (uint16_t)(x >> 16));
}

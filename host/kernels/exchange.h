/* SPDX-License-Identifier: MIT
 *
 * Taking what is there and leaving another thing, at once for all threads.
 */
#ifndef WAGE_EXCHANGE_H
#define WAGE_EXCHANGE_H

#include <stdint.h>

#ifdef _MSC_VER
#include <intrin.h>

static inline void *exchange_pointer(void **at, void *value)
{
    return _InterlockedExchangePointer(at, value);
}

static inline uint64_t exchange_word(uint64_t *at, uint64_t value)
{
    return (uint64_t)_InterlockedExchange64((int64_t *)at, (int64_t)value);
}
#else
static inline void *exchange_pointer(void **at, void *value)
{
    return __atomic_exchange_n(at, value, __ATOMIC_ACQ_REL);
}

static inline uint64_t exchange_word(uint64_t *at, uint64_t value)
{
    return __atomic_exchange_n(at, value, __ATOMIC_ACQ_REL);
}
#endif
#endif

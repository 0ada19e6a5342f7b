/* SPDX-License-Identifier: MIT */
#include "kernels.h"
#include "levels.h"

#include <stddef.h>

int wage_host_level(void)
{
#if WAGE_HAS_AVX2
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2"))
        return 2;
#endif
    return 1;
}

const struct wage_kernels *wage_host_kernels(int level)
{
    if (level < 0 || level > wage_host_level())
        return NULL;
#if WAGE_HAS_AVX2
    if (level == 2)
        return &wage_level_avx2;
#endif
    return level == 1 ? &wage_level_any : &wage_portable;
}

/* SPDX-License-Identifier: MIT
 *
 * As much of Microsoft's time.h as we use, to check the syntax without its SDK.
 */
#pragma once
#define TIME_UTC 1
struct timespec { long long tv_sec; long tv_nsec; };
int timespec_get(struct timespec *now, int base);

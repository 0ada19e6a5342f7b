/* SPDX-License-Identifier: MIT
 *
 * As much of Microsoft's intrin.h as we use, to check the syntax without its SDK.
 */
#pragma once
void *_InterlockedExchangePointer(void *volatile *at, void *value);
long long _InterlockedExchange64(long long volatile *at, long long value);

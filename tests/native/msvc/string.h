/* SPDX-License-Identifier: MIT
 *
 * As much of Microsoft's string.h as we use, to check the syntax without its SDK.
 */
#pragma once
#include <stddef.h>
void *memcpy(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
int memcmp(const void *a, const void *b, size_t count);

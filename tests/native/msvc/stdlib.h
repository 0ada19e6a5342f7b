/* SPDX-License-Identifier: MIT
 *
 * As much of Microsoft's stdlib.h as we use, to check the syntax without its SDK.
 */
#pragma once
#include <stddef.h>
void *malloc(size_t bytes);
void *calloc(size_t count, size_t bytes);
void *realloc(void *old, size_t bytes);
void free(void *old);

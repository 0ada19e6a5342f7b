/* SPDX-License-Identifier: MIT
 *
 * What every CPU does alike with the memory that image.ld lays out.
 */
#ifndef WAGE_MEMORY_H
#define WAGE_MEMORY_H

#include <stdint.h>

/* Makes memory ready for main(): called once, first of all. */
void memory_begin(void);

/* The deepest stack since then, in bytes. */
uint32_t memory_stack_bytes(void);

#endif

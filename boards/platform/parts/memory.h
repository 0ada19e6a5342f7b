/* SPDX-License-Identifier: MIT
 *
 * What every CPU does alike with the memory that image.ld lays out.
 */
#ifndef WAGE_MEMORY_H
#define WAGE_MEMORY_H

/* Makes memory ready for main(): called once, first of all. port_stack_bytes()
 * tells of the stack since then. */
void memory_begin(void);

#endif

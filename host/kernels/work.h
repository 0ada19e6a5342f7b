/* SPDX-License-Identifier: MIT
 *
 * Memory and threads of the host's kernels (internal to host/kernels).
 */
#ifndef WAGE_WORK_H
#define WAGE_WORK_H

#include "layer.h"

#include <stddef.h>

/* Hands out pieces of one block; without `base` it only counts them. */
struct room {
    char *base;
    size_t used;
};

void *wage_take(struct room *room, size_t bytes);

/* One block of at least `bytes`, or NULL. The last one given back is kept
 * for the next call: fresh pages cost more than some layers. */
void *wage_block_take(size_t bytes);
void wage_block_give(void *block);

/* How many threads `work` multiplications are worth, at most `tasks`. */
uint32_t wage_workers(uint64_t work, uint32_t tasks);

/* One of several independent pieces; `worker` counts the threads. */
typedef void (*wage_task)(void *job, uint32_t task, uint32_t worker);

void wage_work(uint32_t workers, uint32_t tasks, wage_task f, void *job);

/* Multiplications of one sample in one direction. */
uint64_t wage_work_of(const struct wage_layer *layer);

/* Below the first a kernel costs more than it saves. Each thread gets at
 * least the second: about 50 microseconds, since on a busy machine waiting
 * for one that does not run costs far more than it saves. */
#ifndef WAGE_WORK_SMALL
#define WAGE_WORK_SMALL 4000
#endif
#define WAGE_WORK_THREAD 1000000
/* Multiplications that rearranging a weight is worth. */
#define WAGE_WORK_PACK 32

#endif

/* SPDX-License-Identifier: MIT */
#include "work.h"
#include "exchange.h"
#include "kernels.h"

#include <stdlib.h>

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined __unix__ || defined __APPLE__
#include <unistd.h>
#define HAVE_FORK 1
#endif

#define LINE 64 /* bytes of a cache line */

struct block {
    size_t bytes;
    void *whole;                /* as malloc() gave it */
};

/* The block given back last; taken and left by exchange, so that several
 * threads may call kernels at once. */
static void *spare;

void *wage_take(struct room *room, size_t bytes)
{
    void *p = room->base ? room->base + room->used : NULL;
    room->used += (bytes + LINE - 1) & ~(size_t)(LINE - 1);
    return p;
}

static struct block *head_of(void *block)
{
    return (struct block *)(void *)((char *)block - LINE);
}

static void discard(void *block)
{
    if (block)
        free(head_of(block)->whole);
}

void *wage_block_take(size_t bytes)
{
    void *old = exchange_pointer(&spare, NULL);
    if (old && head_of(old)->bytes >= bytes)
        return old;
    discard(old);
    char *whole = bytes < SIZE_MAX - 2 * LINE ? malloc(bytes + 2 * LINE)
                                              : NULL;
    if (!whole)
        return NULL;
    char *block = whole + 2 * LINE - ((uintptr_t)whole & (LINE - 1));
    *head_of(block) = (struct block){ bytes, whole };
    return block;
}

void wage_block_give(void *block)
{
    discard(exchange_pointer(&spare, block));
}

static uint64_t thread_work = WAGE_WORK_THREAD;

uint64_t wage_host_thread_work(uint64_t multiplications)
{
    return exchange_word(&thread_work, multiplications ? multiplications : 1);
}

#if defined _OPENMP && defined HAVE_FORK
/* A fork takes none of the threads of OpenMP along, and waits for them for
 * ever: only the process that had them first uses them. */
static int has_threads(void)
{
    static long first;
    long me = (long)getpid(), none = 0;
    return __atomic_compare_exchange_n(&first, &none, me, 0,
                                       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
        || none == me;
}
#else
static int has_threads(void)
{
    return 1;
}
#endif

uint32_t wage_workers(uint64_t work, uint32_t tasks)
{
#ifdef _OPENMP
    uint64_t worth = work / __atomic_load_n(&thread_work, __ATOMIC_ACQUIRE);
    if (worth < 2 || tasks < 2 || omp_in_parallel())
        return 1;
    uint32_t most = (uint32_t)omp_get_max_threads();
    uint32_t workers = tasks < most ? tasks : most;
    if (worth < workers)
        workers = (uint32_t)worth;
    return workers > 1 && has_threads() ? workers : 1;
#else
    (void)work, (void)tasks, (void)has_threads;
    return 1;
#endif
}

void wage_work(uint32_t workers, uint32_t tasks, wage_task f, void *job)
{
#ifdef _OPENMP
    if (workers > 1) {
        // dynamic: the other cores may have other things to do as well
        #pragma omp parallel for schedule(dynamic) num_threads((int)workers)
        for (uint32_t task = 0; task < tasks; task++)
            f(job, task, (uint32_t)omp_get_thread_num());
        return;
    }
#endif
    (void)workers;
    for (uint32_t task = 0; task < tasks; task++)
        f(job, task, 0);
}

uint64_t wage_work_of(const struct wage_layer *l)
{
    if (l->kind == WAGE_DENSE)
        return l->weight_count;
    return (uint64_t)l->sum_h * l->sum_w * l->weight_count;
}

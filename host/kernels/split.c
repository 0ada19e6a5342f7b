/* SPDX-License-Identifier: MIT
 *
 * Layer kinds that have no kernels of their own here: the runtime's, in
 * pieces, a thread each.
 */
#include "levels.h"
#include "work.h"

#define ELEMENT_WORK 8          /* multiplications one of theirs is worth */

struct split {
    const struct wage_layer *layer;
    uint32_t n, step;
    const int8_t *in, *d;
    const struct wage_output *out;
    int32_t *e, *g;
};

static struct wage_layer part_of(const struct split *s, uint32_t first)
{
    struct wage_layer l = *s->layer;
    size_t in = (size_t)first * l.in_count;
    size_t packed = (size_t)first * l.out_count / 4;
    l.winner = l.winner ? l.winner + packed : NULL;
    l.mask = l.mask ? l.mask + packed : NULL;
    l.in = l.in ? l.in + in : NULL;
    l.side = l.side ? l.side + in : NULL;
    return l;
}

static const struct wage_layer_kernels *portable(const struct wage_layer *l)
{
    return &wage_portable.layer[l->kind - 1];
}

static void split_samples(void *job, uint32_t task, uint32_t worker)
{
    const struct split *s = job;
    uint32_t first = task * s->step;
    uint32_t n = s->n - first < s->step ? s->n - first : s->step;
    struct wage_layer l = part_of(s, first);
    size_t in = (size_t)first * l.in_count;
    size_t out = (size_t)first * l.out_count;
    int8_t row[255 * 255]; // of a depthwise kernel
    (void)worker;
    if (s->out) {
        struct wage_output to = { s->out->a ? s->out->a + out : NULL,
                                  s->out->sum ? s->out->sum + out : NULL };
        portable(&l)->forward(&l, n, s->in + in, &to, row);
    } else {
        portable(&l)->error(&l, n, s->d + out, s->e + in, row);
    }
}

static void split(struct split *s)
{
    const struct wage_layer *l = s->layer;
    uint64_t each = (uint64_t)l->sum_h * l->sum_w * l->out_c * l->kernel_h
        * l->kernel_w;
    uint32_t workers = wage_workers(s->n * each * ELEMENT_WORK, s->n);
    s->step = (s->n / (workers * 4) + 4) & ~3u; // no byte of masks shared
    if (workers < 2)
        s->step = s->n;
    wage_work(workers, (s->n - 1) / s->step + 1, split_samples, s);
}

void wage_split_forward(const struct wage_layer *l, uint32_t n,
                        const int8_t *in, const struct wage_output *out,
                        int8_t *row)
{
    struct split s = { .layer = l, .n = n, .in = in, .out = out };
    (void)row;
    split(&s);
}

void wage_split_error(const struct wage_layer *l, uint32_t n,
                      const int8_t *d, int32_t *e, int8_t *row)
{
    struct split s = { .layer = l, .n = n, .d = d, .e = e };
    (void)row;
    split(&s);
}

static void split_rows(void *job, uint32_t task, uint32_t worker)
{
    const struct split *s = job;
    const struct wage_layer *l = s->layer;
    (void)worker;
    portable(l)->gradient(l, s->n, s->d, s->step + task, 1,
                          s->g + (size_t)task * l->row_count);
}

void wage_split_gradient(const struct wage_layer *l, uint32_t n,
                         const int8_t *d, uint32_t o, uint32_t rows,
                         int32_t *g)
{
    struct split s = { .layer = l, .n = n, .step = o, .d = d, .g = g };
    uint64_t work = (uint64_t)n * l->out_h * l->out_w * rows * l->row_count;
    wage_work(wage_workers(work * ELEMENT_WORK, rows), rows, split_rows, &s);
}

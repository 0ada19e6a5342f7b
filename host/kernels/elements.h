/* SPDX-License-Identifier: MIT
 *
 * The runtime's work on long lists of numbers, in pieces, and the table of a
 * level. RUNTIME(x) is the runtime's wage_x() as this level compiles it.
 */
#define ELEMENTS 16384          /* of a piece; a multiple of 4 */
#define ELEMENT_WORK 8          /* multiplications one is worth */

struct elements {
    const struct wage_layer *below;
    struct wage_layer *layer;
    const struct wage_rate *rate;
    uint32_t from, count;
    int n;
    int32_t *e;
    const int32_t *read;
    const int8_t *a;
    int8_t *d;
    uint32_t max;               /* of all pieces */
};

static void keep_largest(struct elements *s, uint32_t max)
{
    uint32_t old = __atomic_load_n(&s->max, __ATOMIC_RELAXED);
    while (max > old)
        if (__atomic_compare_exchange_n(&s->max, &old, max, 0,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            return;
}

static uint32_t piece(const struct elements *s, uint32_t task)
{
    uint32_t left = s->count - task * ELEMENTS;
    return left < ELEMENTS ? left : ELEMENTS;
}

static void mask_piece(void *job, uint32_t task, uint32_t worker)
{
    struct elements *s = job;
    (void)worker;
    keep_largest(s, RUNTIME(mask_error)(s->below, s->from + task * ELEMENTS,
                                        piece(s, task), s->e, s->a));
}

static void round_piece(void *job, uint32_t task, uint32_t worker)
{
    struct elements *s = job;
    (void)worker;
    RUNTIME(round_error)(s->below, s->from + task * ELEMENTS, piece(s, task),
                         s->n, s->read, s->d);
}

static void largest_piece(void *job, uint32_t task, uint32_t worker)
{
    struct elements *s = job;
    (void)worker;
    keep_largest(s, RUNTIME(largest)(s->read + (size_t)task * ELEMENTS,
                                     piece(s, task)));
}

static void update_piece(void *job, uint32_t task, uint32_t worker)
{
    struct elements *s = job;
    (void)worker;
    RUNTIME(update)(s->layer, s->from + task * ELEMENTS, piece(s, task),
                    s->read + (size_t)task * ELEMENTS, s->rate);
}

static void in_pieces(struct elements *s, wage_task f)
{
    uint32_t tasks = (s->count + ELEMENTS - 1) / ELEMENTS;
    wage_work(wage_workers((uint64_t)s->count * ELEMENT_WORK, tasks), tasks,
              f, s);
}

static uint32_t mask_error(const struct wage_layer *below, uint32_t from,
                           uint32_t count, int32_t *e, const int8_t *a)
{
    struct elements s = { .below = below, .from = from, .count = count,
                          .e = e, .a = a };
    in_pieces(&s, mask_piece);
    return s.max;
}

static void round_error(const struct wage_layer *below, uint32_t from,
                        uint32_t count, int n, const int32_t *e, int8_t *d)
{
    struct elements s = { .below = below, .from = from, .count = count,
                          .n = n, .read = e, .d = d };
    in_pieces(&s, round_piece);
}

static uint32_t largest(const int32_t *x, uint32_t count)
{
    struct elements s = { .count = count, .read = x };
    in_pieces(&s, largest_piece);
    return s.max;
}

static void update(struct wage_layer *layer, uint32_t from, uint32_t count,
                   const int32_t *g, const struct wage_rate *rate)
{
    struct elements s = { .layer = layer, .rate = rate, .from = from,
                          .count = count, .read = g };
    in_pieces(&s, update_piece);
}

const struct wage_kernels LEVEL = {
    { { dense_forward, dense_error, dense_gradient },
      { conv2d_forward, conv2d_error, conv2d_gradient },
      { wage_split_forward, wage_split_error, wage_split_gradient },
      { wage_split_forward, wage_split_error, NULL },
      { wage_split_forward, wage_split_error, NULL },
      { wage_split_forward, wage_split_error, NULL } },
    mask_error, round_error, largest, update, NULL
};

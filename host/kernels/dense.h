/* SPDX-License-Identifier: MIT
 *
 * Dense layers: three products of matrices. In forward both reduced sides
 * lie along rows; in error and gradient rows are added with factors.
 */
#define DENSE_OUTPUTS (4 * DOT_B) /* rows of weights that stay near */
#define DENSE_COLUMNS 64        /* of a task: bytes of a cache line */
#define DENSE_FEW 2             /* samples from which on this is sooner */
#define DENSE_EMIT 4096         /* elements of an emitting task */

struct dense {
    struct weights w;
    uint32_t n, rows;           /* samples; rows of the result */
    uint32_t columns, reduced;  /* padded */
    const int8_t *in, *d;
    const struct wage_output *out;
    int32_t *result;            /* sums, errors or gradient */
    int16_t *a, *b;             /* factors (rows, reduced); vectors */
    int32_t *off;
    size_t stride, step;        /* of a: from row to row, pair to pair */
    size_t each;                /* vectors of one thread */
};

static void dense_rows(void *job, uint32_t task, uint32_t worker)
{
    const struct dense *s = job;
    const struct wage_layer *l = s->w.layer;
    uint32_t o0 = task * DENSE_OUTPUTS, k = l->row_count;
    int16_t *b = s->b + worker * s->each;
    uint32_t live = l->out_c - o0 < DENSE_OUTPUTS ? l->out_c - o0
                                                  : DENSE_OUTPUTS;
    int32_t c[DOT_A][DOT_B], bias[DENSE_OUTPUTS];
    memset(b, 0, s->each * sizeof *b);
    for (uint32_t o = 0; o < live; o++) {
        widen(b + (size_t)o * s->stride, s->w.q + (size_t)(o0 + o) * k, k);
        bias[o] = wage_bias(l, o0 + o);
    }
    for (uint32_t i = 0; i < s->n; i += DOT_A) {
        for (uint32_t o = 0; o < live; o += DOT_B) {
            tile_dot(c, s->a + (size_t)i * s->stride,
                     b + (size_t)o * s->stride, s->stride, s->reduced);
            for (uint32_t m = 0; m < DOT_A && i + m < s->n; m++)
                for (uint32_t j = 0; j < DOT_B && o + j < live; j++)
                    s->result[(size_t)(i + m) * l->out_c + o0 + o + j]
                        = c[m][j] + bias[o + j];
        }
    }
}

static void dense_emit(void *job, uint32_t task, uint32_t worker)
{
    const struct dense *s = job;
    uint32_t first = task * DENSE_EMIT;
    uint32_t all = s->n * s->w.layer->out_c;
    (void)worker;
    emit(s->w.layer, first, all - first < DENSE_EMIT ? all - first
         : DENSE_EMIT, s->result + first, s->out);
}

static void dense_forward_room(struct dense *s, struct room *room,
                               uint32_t workers)
{
    const struct wage_layer *l = s->w.layer;
    uint32_t n4 = (s->n + DOT_A - 1) / DOT_A * DOT_A;
    s->reduced = up16(l->row_count);
    s->stride = s->reduced | 32; // odd in lines: rows spread in the cache
    s->each = (size_t)DENSE_OUTPUTS * s->stride;
    s->w.copy = wage_take(room, l->weight_count);
    s->result = wage_take(room, (size_t)s->n * l->out_c * 4);
    s->a = wage_take(room, (size_t)n4 * s->stride * 2);
    s->b = wage_take(room, workers * s->each * 2);
}

static void dense_forward(const struct wage_layer *l, uint32_t n,
                          const int8_t *in, const struct wage_output *out,
                          int8_t *row)
{
    uint64_t work = n * wage_work_of(l);
    struct dense s = { .w = { .layer = l }, .n = n, .out = out };
    struct room room = { NULL, 0 };
    if (work < WAGE_WORK_SMALL || n < DENSE_FEW) {
        wage_dense_forward(l, n, in, out, row);
        return;
    }
    uint32_t tasks = (l->out_c - 1u) / DENSE_OUTPUTS + 1;
    uint32_t workers = wage_workers(work, tasks);
    dense_forward_room(&s, &room, workers);
    void *block = wage_block_take(room.used);
    if (!block) {
        wage_dense_forward(l, n, in, out, row);
        return;
    }
    room = (struct room){ block, 0 };
    dense_forward_room(&s, &room, workers);
    get_weights(&s.w, workers);
    for (uint32_t i = 0; i < n; i++) {
        int16_t *a = s.a + (size_t)i * s.stride;
        widen(a, in + (size_t)i * l->in_count, l->in_count);
        for (uint32_t j = l->in_count; j < s.reduced; j++)
            a[j] = 0;
    }
    wage_work(workers, tasks, dense_rows, &s);
    wage_work(wage_workers((uint64_t)n * l->out_c * WAGE_WORK_PACK, tasks),
              (n * l->out_c - 1) / DENSE_EMIT + 1, dense_emit, &s);
    wage_block_give(block);
}

/* 16 columns of the vectors, from column `j` on: rows of the weights (error)
 * or samples (gradient). */
static void dense_vectors(const struct dense *s, uint32_t j, int16_t *b)
{
    const int8_t *from = (s->in ? s->in : s->w.q) + j;
    uint32_t count = s->in ? s->n : s->w.layer->out_c;
    uint32_t width = s->columns - j < 16 ? s->columns - j : 16;
    for (uint32_t i = 0; i < s->reduced; i++, b += 16) {
        if (i < count && width == 16) {
            widen(b, from + (size_t)i * s->columns, 16);
            continue;
        }
        for (uint32_t k = 0; k < 16; k++)
            b[k] = i < count && k < width
                ? from[(size_t)i * s->columns + k] : 0;
    }
}

/* result[m][j] for some columns j. */
static void dense_columns(void *job, uint32_t task, uint32_t worker)
{
    const struct dense *s = job;
    uint32_t end = (task + 1) * DENSE_COLUMNS;
    int16_t *b = s->b + worker * s->each;
    int32_t c[TILE * 16], at[TILE];
    for (uint32_t m = 0; m < TILE; m++)
        at[m] = (int32_t)(16 * m);
    for (uint32_t j = task * DENSE_COLUMNS; j < end && j < s->columns;
         j += 16) {
        uint32_t width = s->columns - j < 16 ? s->columns - j : 16;
        dense_vectors(s, j, b);
        for (uint32_t m = 0; m < s->rows; m += TILE) {
            memset(c, 0, sizeof c);
            tile_rows(c, at, TILE, s->a + m * s->stride, s->stride, s->step,
                      b, s->off, s->reduced / 2);
            for (uint32_t k = 0; k < TILE && m + k < s->rows; k++)
                memcpy(s->result + (size_t)(m + k) * s->columns + j,
                       c + 16 * k, width * sizeof *c);
        }
    }
}

static void dense_columns_room(struct dense *s, struct room *room,
                               uint32_t workers)
{
    uint32_t rows = (s->rows + TILE - 1) / TILE * TILE;
    s->stride = s->in ? 2 : s->reduced;
    s->step = s->in ? 2 * rows : 2;
    s->each = (size_t)s->reduced * 16;
    s->w.copy = wage_take(room, s->w.layer->weight_count);
    s->a = wage_take(room, (size_t)rows * s->reduced * 2);
    s->b = wage_take(room, workers * s->each * 2);
    s->off = wage_take(room, (size_t)s->reduced * 4);
}

/* Factors: the d of a sample, or pairs of those of two samples. */
static void dense_factors(const struct dense *s)
{
    uint32_t out_c = s->w.layer->out_c;
    uint32_t rows = (s->rows + TILE - 1) / TILE * TILE;
    memset(s->a, 0, (size_t)rows * s->reduced * sizeof *s->a);
    for (uint32_t i = 0; s->in && i < s->n; i += 2) {
        const int8_t *row = s->d + (size_t)i * out_c;
        interleave(s->a + i / 2 * s->step, row,
                   i + 1 < s->n ? row + out_c : NULL, out_c);
    }
    for (uint32_t i = 0; !s->in && i < s->n; i++)
        widen(s->a + i * s->stride, s->d + (size_t)i * out_c, out_c);
}

/* Error and gradient; 0 when there is no memory. */
static int dense_product(struct dense *s)
{
    const struct wage_layer *l = s->w.layer;
    struct room room = { NULL, 0 };
    uint32_t tasks = (s->columns - 1) / DENSE_COLUMNS + 1;
    uint32_t workers = wage_workers(s->n * wage_work_of(l), tasks);
    dense_columns_room(s, &room, workers);
    void *block = wage_block_take(room.used);
    if (!block)
        return 0;
    room = (struct room){ block, 0 };
    dense_columns_room(s, &room, workers);
    dense_factors(s);
    for (uint32_t i = 0; i < s->reduced; i++)
        s->off[i] = (int32_t)(16 * i);
    if (!s->in)
        get_weights(&s->w, workers);
    wage_work(workers, tasks, dense_columns, s);
    wage_block_give(block);
    return 1;
}

static void dense_error(const struct wage_layer *l, uint32_t n,
                        const int8_t *d, int32_t *e, int8_t *row)
{
    struct dense s = { .w = { .layer = l }, .n = n, .rows = n, .d = d,
                       .columns = l->row_count, .result = e,
                       .reduced = even(l->out_c) };
    if (n * wage_work_of(l) < WAGE_WORK_SMALL || n < DENSE_FEW
        || !dense_product(&s))
        wage_dense_error(l, n, d, e, row);
}

static void dense_gradient(const struct wage_layer *l, uint32_t n,
                           const int8_t *d, uint32_t o, uint32_t rows,
                           int32_t *g)
{
    struct dense s = { .w = { .layer = l }, .n = n, .rows = rows, .d = d,
                       .in = l->in, .columns = l->row_count, .result = g,
                       .reduced = even(n) };
    if (n * wage_work_of(l) < WAGE_WORK_SMALL || n < DENSE_FEW
        || rows < l->out_c || !dense_product(&s))
        wage_dense_gradient(l, n, d, o, rows, g);
}

/* SPDX-License-Identifier: MIT
 *
 * Convolution forward. A sample is copied to a zero-padded image; the sums
 * of a strip of rows, all outputs, are made in tiles and then pooled and
 * rounded while they are still near.
 */
#define FORWARD_POSITIONS 64    /* of a strip, about */

struct forward_worker {
    int16_t *image;
    int32_t *sum;               /* of a strip: (positions, columns) */
    int32_t *z;                 /* of a strip: (outputs) */
    uint8_t *code;              /* winners of an output row */
};

struct forward {
    struct weights w;
    uint32_t n, step, rows;     /* samples of a task, sum rows of a strip */
    uint32_t columns, pairs;
    const int8_t *in;
    const struct wage_output *out;
    int16_t *packed;            /* weights, (columns / 16, pairs, 16, 2) */
    int32_t *base, *off, *init;
    struct forward_worker *worker;
};

/* Weights of 16 outputs. A kernel row of odd length gets a zero. */
static void forward_pack(void *job, uint32_t task, uint32_t worker)
{
    const struct forward *s = job;
    const struct wage_layer *l = s->w.layer;
    uint32_t run = (uint32_t)l->kernel_w * l->in_c;
    int16_t *to = s->packed + (size_t)task * s->pairs * 32;
    (void)worker;
    memset(to, 0, (size_t)s->pairs * 32 * sizeof *to);
    for (uint32_t j = 0; j < 16 && 16 * task + j < l->out_c; j++) {
        const int8_t *q = s->w.q + (size_t)(16 * task + j) * l->row_count;
        int16_t *at = to;
        for (uint32_t ky = 0; ky < l->kernel_h; ky++) {
            for (uint32_t i = 0; i + 1 < run; i += 2, at += 32) {
                at[PLACE(j, 0)] = *q++;
                at[PLACE(j, 1)] = *q++;
            }
            if (run & 1) {
                at[PLACE(j, 0)] = *q++;
                at += 32;
            }
        }
    }
}

static void forward_tables(const struct forward *s)
{
    const struct wage_layer *l = s->w.layer;
    uint32_t positions = (uint32_t)l->sum_h * l->sum_w;
    uint32_t half = even((uint32_t)l->kernel_w * l->in_c) / 2;
    fill_base(l, s->base);
    for (uint32_t m = 0; m < TILE; m++) // tiles read over the end
        s->base[positions + m] = s->base[positions - 1];
    for (uint32_t p = 0; p < s->pairs; p++)
        s->off[p] = (int32_t)(p / half * image_row(l) + p % half * 2);
    for (uint32_t o = 0; o < s->columns; o++)
        s->init[o] = o < l->out_c ? wage_bias(l, o) : 0;
}

/* The largest of up to four sums, and its number: the first among equals.
 * The next samples are the outputs of one window. */
static void pool_window(const int32_t *c[4], uint32_t count, int32_t *z,
                        uint8_t *code)
{
    const int32_t *c0 = c[0], *c1 = c[1], *c2 = c[2], *c3 = c[3];
    for (uint32_t o = 0; o < count; o++) {
        int32_t top = c0[o] >= c1[o] ? c0[o] : c1[o];
        int32_t low = c2[o] >= c3[o] ? c2[o] : c3[o];
        int32_t upper = c1[o] > c0[o] ? 1 : 0;
        int32_t lower = c3[o] > c2[o] ? 3 : 2;
        z[o] = top >= low ? top : low;
        code[o] = (uint8_t)(low > top ? lower : upper);
    }
}

/* Outputs of pool row `y`, whose two rows of sums are at `sum`. */
static void pool_row(const struct forward *s, const int32_t *sum, uint32_t y,
                     int32_t *z, uint8_t *code)
{
    const struct wage_layer *l = s->w.layer;
    size_t below = 2 * y + 1 < l->sum_h ? (size_t)l->sum_w * s->columns : 0;
    for (uint32_t x = 0; x < l->out_w; x++) {
        const int32_t *c = sum + (size_t)2 * x * s->columns;
        size_t right = 2 * x + 1 < l->sum_w ? s->columns : 0;
        // one that is missing is the one before it again: that never wins
        const int32_t *window[4] = { c, c + right, c + below,
                                     c + below + right };
        pool_window(window, l->out_c, z, code);
        z += l->out_c;
        code += l->out_c;
    }
}

static void forward_emit(const struct forward *s, uint32_t sample,
                         uint32_t y, uint32_t rows,
                         const struct forward_worker *mine)
{
    const struct wage_layer *l = s->w.layer;
    uint32_t line = (uint32_t)l->out_w * l->out_c;
    const int32_t *z = mine->z;
    uint32_t first = sample * l->out_count + y / l->pool * line;
    uint32_t out_rows = (rows + l->pool - 1u) / l->pool;
    if (l->pool == 2) {
        for (uint32_t r = 0; r < out_rows; r++) {
            pool_row(s, mine->sum + (size_t)2 * r * l->sum_w * s->columns,
                     y / 2 + r, mine->z + (size_t)r * line, mine->code);
            if (l->winner)
                pack2(l->winner, first + r * line, mine->code, line);
        }
    } else if (s->columns == l->out_c) {
        z = mine->sum;
    } else {
        for (uint32_t m = 0; m < rows * l->sum_w; m++)
            memcpy(mine->z + (size_t)m * l->out_c,
                   mine->sum + (size_t)m * s->columns,
                   l->out_c * sizeof *z);
    }
    emit(l, first, out_rows * line, z, s->out);
}

static void forward_samples(void *job, uint32_t task, uint32_t worker)
{
    const struct forward *s = job;
    const struct wage_layer *l = s->w.layer;
    const struct forward_worker *mine = &s->worker[worker];
    uint32_t first = task * s->step;
    uint32_t end = s->n - first < s->step ? s->n : first + s->step;
    memset(mine->image, 0, image_size(l) * sizeof *mine->image);
    for (uint32_t i = first; i < end; i++) {
        fill_image(l, mine->image, s->in + (size_t)i * l->in_count);
        for (uint32_t y = 0; y < l->sum_h; y += s->rows) {
            uint32_t rows = l->sum_h - y < s->rows ? l->sum_h - y : s->rows;
            uint32_t count = rows * l->sum_w;
            const int32_t *base = s->base + y * l->sum_w;
            for (uint32_t o = 0; o < s->columns; o += 16)
                for (uint32_t m = 0; m < count; m += TILE)
                    tile_packed(mine->sum + (size_t)m * s->columns + o,
                                s->columns, count - m, mine->image,
                                base + m, s->off, s->pairs,
                                s->packed + (size_t)o * s->pairs * 2,
                                s->init + o);
            forward_emit(s, i, y, rows, mine);
        }
    }
}

static void forward_room(struct forward *s, struct room *room,
                         uint32_t workers)
{
    const struct wage_layer *l = s->w.layer;
    size_t positions = (size_t)l->sum_h * l->sum_w;
    size_t strip = (size_t)s->rows * l->sum_w;
    s->w.copy = wage_take(room, l->weight_count);
    s->packed = wage_take(room, (size_t)s->columns * s->pairs * 2 * 2);
    s->base = wage_take(room, (positions + TILE) * 4);
    s->off = wage_take(room, (size_t)s->pairs * 4);
    s->init = wage_take(room, (size_t)s->columns * 4);
    s->worker = wage_take(room, workers * sizeof *s->worker);
    for (uint32_t i = 0; i < workers; i++) {
        struct forward_worker mine = {
            .image = wage_take(room, image_size(l) * 2),
            .sum = wage_take(room, strip * s->columns * 4),
            .z = wage_take(room, strip * l->out_c * 4),
            .code = wage_take(room, (size_t)l->out_w * l->out_c) };
        if (room->base)
            s->worker[i] = mine;
    }
}

static void conv2d_forward(const struct wage_layer *l, uint32_t n,
                           const int8_t *in, const struct wage_output *out,
                           int8_t *row)
{
    uint64_t work = n * wage_work_of(l);
    if (work < WAGE_WORK_SMALL) {
        wage_conv2d_forward(l, n, in, out, row);
        return;
    }
    uint32_t workers = wage_workers(work, n);
    struct forward s = {
        .w = { .layer = l }, .n = n, .in = in, .out = out,
        .step = sample_step(l, n, workers), .columns = up16(l->out_c),
        .rows = strip_rows(l, FORWARD_POSITIONS),
        .pairs = even((uint32_t)l->kernel_w * l->in_c) / 2 * l->kernel_h };
    struct room room = { NULL, 0 };
    forward_room(&s, &room, workers);
    void *block = wage_block_take(room.used);
    if (!block) {
        wage_conv2d_forward(l, n, in, out, row);
        return;
    }
    room = (struct room){ block, 0 };
    forward_room(&s, &room, workers);
    get_weights(&s.w, workers);
    forward_tables(&s);
    work_weights(l, s.columns / 16, workers, forward_pack, &s);
    wage_work(workers, (n - 1) / s.step + 1, forward_samples, &s);
    wage_block_give(block);
}

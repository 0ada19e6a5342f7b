/* SPDX-License-Identifier: MIT
 *
 * Convolution backwards to its input: at each position of the sums, each
 * kernel row times d is added to a zero-framed image of the error. Few d:
 * a list of those that are not 0 at each position (of a pool window only
 * the winner is not); many: tiles.
 */
#define ERROR_POSITIONS 64      /* of a strip, about */

struct error_worker {
    int32_t *image;
    int16_t *factor;            /* of a strip: (positions, outputs) */
    int32_t *off;               /* lists: (positions, outputs) */
    uint32_t *count;            /* lists: (positions) */
    uint8_t *code;              /* winners of a window: (outputs) */
};

struct error {
    struct weights w;
    uint32_t n, step, rows;     /* samples of a task, sum rows of a strip */
    uint32_t columns, outputs;  /* of a kernel row, padded; of a list */
    int lists;
    const int8_t *d;
    int32_t *e;
    int16_t *wide;              /* weights, (kernel_h, outputs, columns) */
    int32_t *base, *off;
    struct error_worker *worker;
};

static void error_widen(void *job, uint32_t task, uint32_t worker)
{
    const struct error *s = job;
    const struct wage_layer *l = s->w.layer;
    uint32_t run = (uint32_t)l->kernel_w * l->in_c;
    int16_t *to = s->wide + (size_t)task * s->outputs * s->columns;
    (void)worker;
    for (uint32_t o = 0; o < s->outputs; o++, to += s->columns) {
        memset(to, 0, s->columns * sizeof *to);
        if (o < l->out_c)
            widen(to, s->w.q + (size_t)o * l->row_count + task * run, run);
    }
}

/* Lists of a strip without pool: the d of a position that are not 0. */
static void error_list(const struct error *s, const int8_t *d,
                       uint32_t count, const struct error_worker *mine)
{
    uint32_t out_c = s->w.layer->out_c;
    for (uint32_t m = 0; m < count; m++, d += out_c) {
        int16_t *factor = mine->factor + (size_t)m * s->outputs;
        int32_t *off = mine->off + (size_t)m * s->outputs;
        uint32_t at = 0;
        for (uint32_t o = 0; o < out_c; o++) {
            factor[at] = d[o];
            off[at] = s->off[o];
            at += d[o] != 0;
        }
        mine->count[m] = at;
    }
}

/* The same with pool, from element `i` on: each d goes to the position in
 * its window that won. */
static void error_list_pooled(const struct error *s, uint32_t i,
                              uint32_t rows, const struct error_worker *mine)
{
    const struct wage_layer *l = s->w.layer;
    memset(mine->count, 0, (size_t)rows * l->sum_w * sizeof *mine->count);
    for (uint32_t m = 0; m < rows * l->sum_w; m += 2 * l->sum_w) {
        for (uint32_t x = 0; x < l->out_w; x++, i += l->out_c) {
            const int8_t *d = s->d + i;
            unpack2(mine->code, l->winner, i, l->out_c);
            for (uint32_t o = 0; o < l->out_c; o++) {
                unsigned k = mine->code[o];
                uint32_t won = m + 2 * x + (k >> 1) * l->sum_w + (k & 1);
                uint32_t at = won * s->outputs + mine->count[won];
                mine->factor[at] = d[o];
                mine->off[at] = s->off[o];
                mine->count[won] += d[o] != 0;
            }
        }
    }
}

static void error_add_lists(const struct error *s, const int32_t *base,
                            uint32_t count, const struct error_worker *mine)
{
    const struct wage_layer *l = s->w.layer;
    uint32_t groups = s->columns / 16, part = even_part(groups);
    for (uint32_t m = 0; m < count; m++) { // lists are of whole pairs
        size_t at = (size_t)m * s->outputs + mine->count[m];
        if (mine->count[m] & 1) {
            mine->factor[at] = 0;
            mine->off[at] = 0;
            mine->count[m]++;
        }
    }
    for (uint32_t ky = 0; ky < l->kernel_h; ky++) {
        const int16_t *wide = s->wide + (size_t)ky * s->outputs * s->columns;
        int32_t *image = mine->image + (size_t)ky * image_row(l);
        for (uint32_t g = 0; g < groups; g += part)
            for (uint32_t m = 0; m < count; m++)
                if (mine->count[m])
                    add_list(image + base[m] + 16 * g, wide + 16 * g,
                             mine->off + (size_t)m * s->outputs,
                             mine->factor + (size_t)m * s->outputs,
                             mine->count[m] / 2,
                             groups - g < part ? groups - g : part);
    }
}

static void error_add_tiles(const struct error *s, const int8_t *d,
                            const int32_t *base, uint32_t count,
                            const struct error_worker *mine)
{
    const struct wage_layer *l = s->w.layer;
    for (uint32_t m = 0; m < count; m++)
        widen(mine->factor + (size_t)m * s->outputs,
              d + (size_t)m * l->out_c, l->out_c);
    for (uint32_t ky = 0; ky < l->kernel_h; ky++) {
        const int16_t *wide = s->wide + (size_t)ky * s->outputs * s->columns;
        int32_t *image = mine->image + (size_t)ky * image_row(l);
        for (uint32_t j = 0; j < s->columns; j += 16)
            for (uint32_t m = 0; m < count; m += TILE)
                tile_rows(image + j, base + m, count - m,
                          mine->factor + (size_t)m * s->outputs, s->outputs, 2,
                          wide + j, s->off, s->outputs / 2);
    }
}

static void error_copy(const struct error *s, const int32_t *image,
                       int32_t *e)
{
    const struct wage_layer *l = s->w.layer;
    size_t run = (size_t)l->in_w * l->in_c;
    image += image_first(l);
    for (uint32_t y = 0; y < l->in_h; y++)
        memcpy(e + y * run, image + (size_t)y * image_row(l),
               run * sizeof *e);
}

static void error_samples(void *job, uint32_t task, uint32_t worker)
{
    const struct error *s = job;
    const struct wage_layer *l = s->w.layer;
    const struct error_worker *mine = &s->worker[worker];
    uint32_t first = task * s->step;
    uint32_t end = s->n - first < s->step ? s->n : first + s->step;
    uint32_t line = (uint32_t)l->out_w * l->out_c;
    memset(mine->factor, 0, (size_t)(s->rows * l->sum_w + TILE) * s->outputs
           * sizeof *mine->factor); // of odd outputs and short tiles
    for (uint32_t i = first; i < end; i++) {
        memset(mine->image, 0, image_size(l) * sizeof *mine->image);
        for (uint32_t y = 0; y < l->sum_h; y += s->rows) {
            uint32_t rows = l->sum_h - y < s->rows ? l->sum_h - y : s->rows;
            const int32_t *base = s->base + y * l->sum_w;
            uint32_t at = i * l->out_count + y / l->pool * line;
            if (l->pool == 2)
                error_list_pooled(s, at, rows, mine);
            else if (s->lists)
                error_list(s, s->d + at, rows * l->sum_w, mine);
            if (s->lists)
                error_add_lists(s, base, rows * l->sum_w, mine);
            else
                error_add_tiles(s, s->d + at, base, rows * l->sum_w, mine);
        }
        error_copy(s, mine->image, s->e + (size_t)i * l->in_count);
    }
}

static void error_room(struct error *s, struct room *room, uint32_t workers)
{
    const struct wage_layer *l = s->w.layer;
    size_t positions = (size_t)l->sum_h * l->sum_w;
    size_t strip = (size_t)s->rows * l->sum_w;
    size_t lists = (strip + TILE) * s->outputs + 1; // written over the end
    s->w.copy = wage_take(room, l->weight_count);
    s->wide = wage_take(room, (size_t)l->kernel_h * s->outputs * s->columns
                              * 2);
    s->base = wage_take(room, (positions + TILE) * 4);
    s->off = wage_take(room, (size_t)s->outputs * 4);
    s->worker = wage_take(room, workers * sizeof *s->worker);
    for (uint32_t i = 0; i < workers; i++) {
        struct error_worker mine = {
            .image = wage_take(room, image_size(l) * 4),
            .factor = wage_take(room, lists * 2),
            .off = wage_take(room, s->lists ? lists * 4 : 0),
            .count = wage_take(room, s->lists ? strip * 4 : 0),
            .code = wage_take(room, l->out_c) };
        if (room->base)
            s->worker[i] = mine;
    }
}

static void conv2d_error(const struct wage_layer *l, uint32_t n,
                         const int8_t *d, int32_t *e, int8_t *row)
{
    uint64_t work = n * wage_work_of(l);
    if (work < WAGE_WORK_SMALL) {
        wage_conv2d_error(l, n, d, e, row);
        return;
    }
    uint32_t workers = wage_workers(work, n);
    struct error s = {
        .w = { .layer = l }, .n = n, .d = d, .e = e,
        .step = sample_step(l, n, workers), .outputs = even(l->out_c),
        .columns = up16((uint32_t)l->kernel_w * l->in_c),
        .rows = strip_rows(l, ERROR_POSITIONS) };
    s.lists = l->pool == 2 || are_few(l, n, d, s.columns * l->kernel_h);
    struct room room = { NULL, 0 };
    error_room(&s, &room, workers);
    void *block = wage_block_take(room.used);
    if (!block) {
        wage_conv2d_error(l, n, d, e, row);
        return;
    }
    room = (struct room){ block, 0 };
    error_room(&s, &room, workers);
    get_weights(&s.w, workers);
    fill_base(l, s.base);
    for (uint32_t o = 0; o < s.outputs; o++)
        s.off[o] = (int32_t)(o * s.columns);
    work_weights(l, l->kernel_h, workers, error_widen, &s);
    wage_work(workers, (n - 1) / s.step + 1, error_samples, &s);
    wage_block_give(block);
}

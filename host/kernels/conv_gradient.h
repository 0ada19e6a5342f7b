/* SPDX-License-Identifier: MIT
 *
 * Gradient of a convolution: for each output, the patches of the input at
 * all positions, times d. Lists or tiles as in conv_error.h. A patch is
 * read from the padded image, kernel row by kernel row; short kernel rows
 * (few channels) are first gathered. Each thread sums its samples.
 */
#define GRADIENT_NEAR 65536     /* bytes of the images of one round */
#define GRADIENT_STRIP 64       /* positions looked through at once */
#define GRADIENT_ROUND 8        /* samples of one at most */

struct gradient_worker {
    int16_t *image;             /* padded, of a round */
    int16_t *patch;             /* gathered, of a round */
    int16_t *factor;            /* (outputs, list); else (list, outputs) */
    int32_t *off;               /* lists: (outputs, list); else (list) */
    int32_t *place;             /* of the winners of a strip */
    uint8_t *code;              /* winners of a strip */
    uint32_t *count;            /* lists: (outputs) */
    int32_t *g;                 /* (outputs, kernel rows, columns) */
    uint32_t used;
};

struct gradient {
    const struct wage_layer *layer;
    uint32_t n, round;          /* samples */
    uint32_t kernel_rows, columns; /* of a patch as it is read */
    uint32_t outputs, list;     /* padded; places for factors */
    int gathered, lists;
    const int8_t *d;
    int32_t *g;
    int32_t *base;              /* of a patch, by output position */
    int32_t right, down;        /* from there to the others of a window */
    size_t next;                /* sample; (image or patches) */
    struct gradient_worker *worker;
    uint32_t workers;
};

/* Copies `run` elements, up to 7 more: what follows is written later. */
static void copy_run(int16_t *to, const int16_t *from, uint32_t run)
{
    for (uint32_t i = 0; i < run; i += 8)
        memcpy(to + i, from + i, 8 * sizeof *to);
}

static void gather_patches(const struct gradient *s, const int16_t *image,
                   int16_t *patch)
{
    const struct wage_layer *l = s->layer;
    uint32_t run = (uint32_t)l->kernel_w * l->in_c;
    for (uint32_t y = 0; y < l->sum_h; y++) {
        for (uint32_t x = 0; x < l->sum_w; x++, patch += s->columns) {
            const int16_t *from = image + y * l->stride_h * image_row(l)
                + x * l->stride_w * l->in_c;
            for (uint32_t ky = 0; ky < l->kernel_h; ky++)
                copy_run(patch + ky * run, from + ky * image_row(l), run);
        }
    }
}

static void gradient_image(const struct gradient *s, uint32_t sample,
                           uint32_t k, const struct gradient_worker *mine)
{
    const struct wage_layer *l = s->layer;
    const int8_t *in = l->in + (size_t)sample * l->in_count;
    if (!s->gathered) {
        fill_image(l, mine->image + k * s->next, in);
    } else {
        fill_image(l, mine->image, in);
        gather_patches(s, mine->image, mine->patch + k * s->next);
    }
}

/* Where the patches of winners lie, `count` positions from `m` on. */
static void winner_places(const struct gradient *s, uint32_t sample,
                          uint32_t m, uint32_t count,
                          const struct gradient_worker *mine)
{
    const struct wage_layer *l = s->layer;
    uint32_t first = sample * l->out_count + m * l->out_c;
    int32_t *to = mine->place;
    const uint8_t *code = mine->code;
    int32_t right = s->right, down = s->down;
    unpack2(mine->code, l->winner, first, count * l->out_c);
    for (uint32_t k = 0; k < count; k++, to += l->out_c, code += l->out_c) {
        int32_t base = s->base[m + k];
        for (uint32_t o = 0; o < l->out_c; o++)
            to[o] = base + (right & -(code[o] & 1)) // no branch: random
                + (down & -(code[o] >> 1));
    }
}

/* Adds a sample, the k-th of the round, to the lists of all outputs. */
static void gradient_list(const struct gradient *s, uint32_t sample,
                          uint32_t k, const struct gradient_worker *mine)
{
    const struct wage_layer *l = s->layer;
    uint32_t positions = (uint32_t)l->out_h * l->out_w;
    int32_t from = (int32_t)(k * s->next);
    for (uint32_t m = 0; m < positions; m += GRADIENT_STRIP) {
        uint32_t count = positions - m < GRADIENT_STRIP ? positions - m
                                                        : GRADIENT_STRIP;
        const int8_t *d = s->d + (size_t)sample * l->out_count
            + (size_t)m * l->out_c;
        // the places of one output lie `next` elements apart
        const int32_t *place = l->pool == 2 ? mine->place : s->base + m;
        uint32_t next = l->pool == 2 ? l->out_c : 1;
        if (l->pool == 2)
            winner_places(s, sample, m, count, mine);
        for (uint32_t o = 0; o < l->out_c; o++, d++) {
            uint32_t at = o * s->list + mine->count[o];
            const int32_t *p = l->pool == 2 ? place + o : place;
            for (uint32_t i = 0; i < count; i++) {
                mine->factor[at] = d[i * l->out_c];
                mine->off[at] = from + p[i * next];
                at += d[i * l->out_c] != 0;
            }
            mine->count[o] = at - o * s->list;
        }
    }
}

static void gradient_add_lists(const struct gradient *s,
                               const struct gradient_worker *mine)
{
    uint32_t groups = s->columns / 16, part = even_part(groups);
    const int16_t *image = s->gathered ? mine->patch : mine->image;
    for (uint32_t o = 0; o < s->layer->out_c; o++) {
        int16_t *factor = mine->factor + (size_t)o * s->list;
        int32_t *off = mine->off + (size_t)o * s->list;
        uint32_t pairs = (mine->count[o] + 1) / 2;
        int32_t *g = mine->g + (size_t)o * s->kernel_rows * s->columns;
        if (mine->count[o] & 1) {
            factor[mine->count[o]] = 0;
            off[mine->count[o]] = 0;
        }
        if (pairs == 0)
            continue;
        for (uint32_t ky = 0; ky < s->kernel_rows; ky++)
            for (uint32_t k = 0; k < groups; k += part)
                add_list(g + ky * s->columns + 16 * k,
                         image + ky * image_row(s->layer) + 16 * k, off,
                         factor, pairs, groups - k < part ? groups - k
                                                          : part);
    }
}

/* Without lists all d of a round are factors, in pairs of positions. */
static void gradient_factors(const struct gradient *s, uint32_t first,
                             uint32_t samples,
                             const struct gradient_worker *mine)
{
    const struct wage_layer *l = s->layer;
    uint32_t positions = (uint32_t)l->out_h * l->out_w;
    uint32_t count = samples * positions;
    const int8_t *d = s->d + (size_t)first * l->out_count;
    int16_t *to = mine->factor;
    for (uint32_t i = 0; i < count; i += 2, to += 2 * s->outputs) {
        const int8_t *row = d + (size_t)i * l->out_c;
        interleave(to, row, i + 1 < count ? row + l->out_c : NULL,
                   l->out_c);
    }
    for (uint32_t k = 0; k < samples; k++)
        for (uint32_t m = 0; m < positions; m++)
            mine->off[k * positions + m] = (int32_t)(k * s->next)
                + s->base[m];
    mine->off[count] = 0; // of an odd one
}

static void gradient_add_tiles(const struct gradient *s, uint32_t samples,
                               const struct gradient_worker *mine)
{
    const struct wage_layer *l = s->layer;
    uint32_t count = samples * l->sum_h * l->sum_w;
    uint32_t row = s->kernel_rows * s->columns;
    const int16_t *image = s->gathered ? mine->patch : mine->image;
    int32_t at[TILE];
    for (uint32_t m = 0; m < TILE; m++)
        at[m] = (int32_t)(m * row);
    for (uint32_t j = 0; j < row; j += 16) {
        uint32_t ky = j / s->columns;
        const int16_t *from = image + ky * image_row(l) + j % s->columns;
        for (uint32_t o = 0; o < l->out_c; o += TILE)
            tile_rows(mine->g + (size_t)o * row + j, at, l->out_c - o,
                      mine->factor + 2 * o, 2, 2 * s->outputs, from,
                      mine->off, (count + 1) / 2);
    }
}

static void gradient_begin(const struct gradient *s,
                           struct gradient_worker *mine)
{
    size_t images = s->gathered ? 1 : s->round;
    memset(mine->image, 0, images * image_size(s->layer)
           * sizeof *mine->image);
    memset(mine->g, 0, (size_t)s->outputs * s->kernel_rows * s->columns
           * sizeof *mine->g);
    memset(mine->factor, 0, (size_t)s->outputs * s->list
           * sizeof *mine->factor);
    mine->used = 1;
}

static void gradient_samples(void *job, uint32_t task, uint32_t worker)
{
    const struct gradient *s = job;
    struct gradient_worker *mine = &s->worker[worker];
    uint32_t first = task * s->round;
    uint32_t samples = s->n - first < s->round ? s->n - first : s->round;
    if (!mine->used)
        gradient_begin(s, mine);
    if (s->lists)
        memset(mine->count, 0, s->outputs * sizeof *mine->count);
    for (uint32_t k = 0; k < samples; k++) {
        gradient_image(s, first + k, k, mine);
        if (s->lists)
            gradient_list(s, first + k, k, mine);
    }
    if (s->lists) {
        gradient_add_lists(s, mine);
    } else {
        gradient_factors(s, first, samples, mine);
        gradient_add_tiles(s, samples, mine);
    }
}

static void gradient_total(void *job, uint32_t task, uint32_t worker)
{
    const struct gradient *s = job;
    const struct wage_layer *l = s->layer;
    uint32_t run = l->row_count / s->kernel_rows;
    (void)worker;
    for (uint32_t ky = 0; ky < s->kernel_rows; ky++) {
        int32_t *to = s->g + (size_t)task * l->row_count + ky * run;
        size_t at = ((size_t)task * s->kernel_rows + ky) * s->columns;
        memset(to, 0, run * sizeof *to);
        for (uint32_t w = 0; w < s->workers; w++)
            if (s->worker[w].used)
                for (uint32_t j = 0; j < run; j++)
                    to[j] += s->worker[w].g[at + j];
    }
}

static void gradient_room(struct gradient *s, struct room *room)
{
    const struct wage_layer *l = s->layer;
    size_t positions = (size_t)l->out_h * l->out_w;
    size_t images = s->gathered ? 1 : s->round;
    size_t row = (size_t)s->kernel_rows * s->columns;
    s->base = wage_take(room, positions * 4);
    s->worker = wage_take(room, s->workers * sizeof *s->worker);
    for (uint32_t i = 0; i < s->workers; i++) {
        size_t places = (size_t)s->outputs * s->list;
        struct gradient_worker mine = {
            .image = wage_take(room, images * image_size(l) * 2),
            .patch = wage_take(room, s->gathered
                               ? s->round * s->next * 2 + 64 : 0),
            .factor = wage_take(room, places * 2),
            .off = wage_take(room, (s->lists ? places : s->list) * 4),
            .place = wage_take(room, GRADIENT_STRIP * l->out_c * 4u),
            .code = wage_take(room, GRADIENT_STRIP * l->out_c),
            .count = wage_take(room, (size_t)s->outputs * 4),
            .g = wage_take(room, s->outputs * row * 4) };
        if (room->base)
            s->worker[i] = mine;
    }
}

/* How patches are read, and how many samples at once. */
static void gradient_plan(struct gradient *s)
{
    const struct wage_layer *l = s->layer;
    uint32_t positions = (uint32_t)l->sum_h * l->sum_w;
    uint32_t run = up16((uint32_t)l->kernel_w * l->in_c);
    uint32_t all = up16(l->row_count);
    s->gathered = l->kernel_h * run > all + all / 4;
    s->kernel_rows = s->gathered ? 1 : l->kernel_h;
    s->columns = s->gathered ? all : run;
    s->next = s->gathered ? (size_t)positions * all : image_size(l);
    size_t near = GRADIENT_NEAR / (s->next * 2) + 1;
    s->round = near < GRADIENT_ROUND ? (uint32_t)near : GRADIENT_ROUND;
    if (s->round > s->n)
        s->round = s->n;
    uint32_t outputs = (uint32_t)l->out_h * l->out_w;
    s->list = even(s->round * outputs + 1);
    s->outputs = (l->out_c + TILE - 1u) / TILE * TILE;
    s->lists = l->pool == 2
        || are_few(l, s->n, s->d, s->columns * s->kernel_rows);
}

static void gradient_places(struct gradient *s)
{
    const struct wage_layer *l = s->layer;
    int32_t *base = s->base;
    uint32_t right = (uint32_t)l->stride_w * l->in_c;
    uint32_t down = l->stride_h * image_row(l);
    if (s->gathered) {
        right = s->columns;
        down = s->columns * l->sum_w;
    }
    for (uint32_t y = 0; y < l->out_h; y++)
        for (uint32_t x = 0; x < l->out_w; x++)
            *base++ = (int32_t)(l->pool * (y * down + x * right));
    s->right = (int32_t)right;
    s->down = (int32_t)down;
}

static void conv2d_gradient(const struct wage_layer *l, uint32_t n,
                            const int8_t *d, uint32_t o, uint32_t rows,
                            int32_t *g)
{
    uint64_t work = n * wage_work_of(l);
    struct gradient s = { .layer = l, .n = n, .d = d, .g = g };
    struct room room = { NULL, 0 };
    if (work < WAGE_WORK_SMALL || rows < l->out_c) {
        wage_conv2d_gradient(l, n, d, o, rows, g);
        return;
    }
    gradient_plan(&s);
    uint32_t tasks = (n - 1) / s.round + 1;
    s.workers = wage_workers(work, tasks);
    gradient_room(&s, &room);
    void *block = wage_block_take(room.used);
    if (!block) {
        wage_conv2d_gradient(l, n, d, o, rows, g);
        return;
    }
    room = (struct room){ block, 0 };
    gradient_room(&s, &room);
    gradient_places(&s);
    for (uint32_t i = 0; i < s.workers; i++)
        s.worker[i].used = 0;
    wage_work(s.workers, tasks, gradient_samples, &s);
    work_weights(l, l->out_c, s.workers, gradient_total, &s);
    wage_block_give(block);
}

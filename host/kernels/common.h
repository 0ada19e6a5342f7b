/* SPDX-License-Identifier: MIT
 *
 * What the kernels of both levels share: weights in use, padded images, and
 * the way from sums to activations (SPEC 3.4, 3.5).
 */
#define PART 1024               /* elements between sums and packed masks */
#define LIST_SHARE 125          /* 256ths: lists are as fast as tiles */
#define LIST_COST 6000          /* but for this, shared by the columns */
#define UNPACK_ROWS 16          /* rows of weights a thread unpacks at once */

static uint32_t up16(uint32_t x)
{
    return (x + 15) & ~15u;
}

static uint32_t even(uint32_t x)
{
    return (x + 1) & ~1u;
}

/* Weights in use, (out_c, row_count). */
struct weights {
    const struct wage_layer *layer;
    const int8_t *q;
    int8_t *copy;               /* room for those that need unpacking */
};

static void unpack_rows(void *job, uint32_t task, uint32_t worker)
{
    struct weights *w = job;
    const struct wage_layer *l = w->layer;
    uint32_t end = (task + 1) * UNPACK_ROWS < l->out_c
        ? (task + 1) * UNPACK_ROWS : l->out_c;
    int spare = l->store_bits - l->weight_bits;
    (void)worker;
    for (uint32_t o = task * UNPACK_ROWS; o < end; o++) {
        size_t first = (size_t)o * l->row_count;
        int8_t *to = w->copy + first;
        if (!l->store_bits) {
            wage_row(l, o, to);
            continue;
        }
        const int8_t *high = l->high + first;
        const int8_t *low = l->low ? l->low + first : high;
        // wage_row() again, in loops of which a compiler makes vectors
        uint32_t wide = l->low ? l->row_count : 0;
        uint32_t narrow = l->row_count - wide;
        for (uint32_t i = 0; i < narrow; i++)
            to[i] = (int8_t)wage_rne(high[i], spare);
        for (uint32_t i = 0; i < wide; i++)
            to[i] = (int8_t)wage_rne(high[i] * 256 + low[i], spare);
    }
}

/* Shares work that is done once for each weight. */
static void work_weights(const struct wage_layer *l, uint32_t tasks,
                         uint32_t workers, wage_task f, void *job)
{
    uint64_t work = (uint64_t)l->weight_count * WAGE_WORK_PACK;
    uint32_t worth = wage_workers(work, tasks);
    wage_work(worth < workers ? worth : workers, tasks, f, job);
}

static void get_weights(struct weights *w, uint32_t workers)
{
    w->q = wage_row(w->layer, 0, w->copy);
    if (w->q == w->copy) // else they lie there as they are
        work_weights(w->layer, (w->layer->out_c - 1u) / UNPACK_ROWS + 1,
                     workers, unpack_rows, w);
}

static void widen(int16_t *to, const int8_t *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] = from[i];
}

/* Elements of a row of the zero-padded input, and of all of it. What reads
 * pairs or groups may read over the end, hence the slack. */
static uint32_t image_row(const struct wage_layer *l)
{
    return (uint32_t)(l->pad_left + l->in_w + l->pad_right) * l->in_c;
}

static size_t image_size(const struct wage_layer *l)
{
    return (size_t)(l->pad_top + l->in_h + l->pad_bottom) * image_row(l)
        + 32;
}

/* First element of the input in it. */
static size_t image_first(const struct wage_layer *l)
{
    return (size_t)l->pad_top * image_row(l)
        + (size_t)l->pad_left * l->in_c;
}

/* The frame of zeros stays when the next sample is put into `image`. */
static void fill_image(const struct wage_layer *l, int16_t *image,
                       const int8_t *in)
{
    size_t run = (size_t)l->in_w * l->in_c;
    int16_t *to = image + image_first(l);
    for (uint32_t y = 0; y < l->in_h; y++)
        widen(to + (size_t)y * image_row(l), in + y * run, run);
}

/* Where the kernel begins in the image, at each position of the sums. */
static void fill_base(const struct wage_layer *l, int32_t *base)
{
    for (uint32_t y = 0; y < l->sum_h; y++)
        for (uint32_t x = 0; x < l->sum_w; x++)
            *base++ = (int32_t)(y * l->stride_h * image_row(l)
                                + x * l->stride_w * l->in_c);
}

/* Rows of sums to do at once: about `positions`, whole pool windows. */
static uint32_t strip_rows(const struct wage_layer *l, uint32_t positions)
{
    uint32_t rows = (positions + l->sum_w - 1) / l->sum_w;
    rows = (rows + l->pool - 1u) / l->pool * l->pool;
    return rows < l->sum_h ? rows : l->sum_h;
}

/* Samples a task may take so that no two tasks share a byte of 2 bits. */
static uint32_t sample_step(const struct wage_layer *l, uint32_t n,
                            uint32_t workers)
{
    uint32_t step = n / (workers * 4) + 1;
    if (workers < 2)
        return n;
    return l->out_count % 4 ? (step + 3) & ~3u : step;
}

/* Elements first..first + count - 1 of the 2-bit numbers at `to`. */
static void pack2(uint8_t *to, uint32_t first, const uint8_t *code,
                  uint32_t count)
{
    uint32_t end = first + count;
    for (; first < end && first % 4; first++)
        set_code2(to, first, *code++);
    uint8_t *byte = to + first / 4;
    for (; first + 4 <= end; first += 4, code += 4)
        *byte++ = (uint8_t)(code[0] | code[1] << 2 | code[2] << 4
                            | code[3] << 6);
    for (; first < end; first++)
        set_code2(to, first, *code++);
}

/* The other way. */
static void unpack2(uint8_t *code, const uint8_t *from, uint32_t first,
                    uint32_t count)
{
    uint32_t end = first + count;
    for (; first < end && first % 4; first++)
        *code++ = (uint8_t)code2(from, first);
    const uint8_t *byte = from + first / 4;
    for (; first + 4 <= end; first += 4, code += 4, byte++) {
        code[0] = *byte & 3;
        code[1] = *byte >> 2 & 3;
        code[2] = *byte >> 4 & 3;
        code[3] = *byte >> 6;
    }
    for (; first < end; first++)
        *code++ = (uint8_t)code2(from, first);
}

/* to: pairs of the elements of two rows, of which `odd` may be NULL. */
static void interleave(int16_t *to, const int8_t *row, const int8_t *odd,
                       uint32_t count)
{
    for (uint32_t i = 0; odd && i < count; i++) {
        to[2 * i] = row[i];
        to[2 * i + 1] = odd[i];
    }
    for (uint32_t i = 0; !odd && i < count; i++) {
        to[2 * i] = row[i];
        to[2 * i + 1] = 0;
    }
}

/* |z| / 2^H rounded, halves to even: the same for z and -z. */
static uint32_t round_shift(uint32_t size, int shift, uint32_t below_half,
                            uint32_t odd)
{
    return (size + below_half + ((size >> shift) & odd)) >> shift;
}

static void activate(const struct wage_layer *l, const int32_t *z,
                     uint32_t count, int8_t *a)
{
    int shift = l->shift;
    uint32_t odd = shift > 0;
    uint32_t below_half = odd ? (1u << (shift - 1)) - 1 : 0;
    if (l->activation == WAGE_RELU) {
        for (uint32_t i = 0; i < count; i++) {
            uint32_t r = round_shift((uint32_t)(z[i] > 0 ? z[i] : 0), shift,
                                     below_half, odd);
            a[i] = (int8_t)(r < 127 ? r : 127);
        }
    } else {
        for (uint32_t i = 0; i < count; i++) {
            uint32_t r = round_shift(wage_size(z[i]), shift, below_half, odd);
            int32_t size = (int32_t)(r < 127 ? r : 127);
            a[i] = (int8_t)(z[i] < 0 ? -size : size);
        }
    }
}

static void mask_codes(const struct wage_layer *l, const int32_t *z,
                       uint32_t count, uint8_t *code)
{
    uint32_t limit = l->shift < 25 ? (uint32_t)127 << l->shift : UINT32_MAX;
    if (l->activation == WAGE_RELU) {
        for (uint32_t i = 0; i < count; i++) {
            uint32_t size = (uint32_t)(z[i] > 0 ? z[i] : 0);
            code[i] = (uint8_t)((size > 0 ? WAGE_OPEN : 0)
                                | (size > limit ? WAGE_SATURATED : 0));
        }
    } else {
        for (uint32_t i = 0; i < count; i++)
            code[i] = (uint8_t)(WAGE_OPEN | (wage_size(z[i]) > limit
                                             ? WAGE_SATURATED : 0));
    }
}

/* Sums of the elements from `first` of the batch on become output. */
static void emit(const struct wage_layer *l, uint32_t first, uint32_t count,
                 const int32_t *z, const struct wage_output *out)
{
    uint8_t code[PART];
    if (l->last) {
        memcpy(out->sum + first, z, count * sizeof *z);
        return;
    }
    for (uint32_t i = 0; i < count; i += PART) {
        uint32_t part = count - i < PART ? count - i : PART;
        activate(l, z + i, part, out->a + first + i);
        if (!l->mask)
            continue;
        mask_codes(l, z + i, part, code);
        pack2(l->mask, first + i, code, part);
    }
}

/* Whether so few d are not 0 that lists of those beat tiles of all, by a look
 * at a few samples. (It decides how to add, never what comes out.) Lists
 * pay for each d, however short the `columns` that it is multiplied with. */
static int are_few(const struct wage_layer *l, uint32_t n, const int8_t *d,
                   uint32_t columns)
{
    uint32_t some = n < 4 ? n : 4;
    uint64_t full = 0;
    for (uint32_t i = 0; i < some; i++) {
        const int8_t *from = d + (size_t)(i * (n / some)) * l->out_count;
        uint32_t count = 0, all = l->out_count;
        for (uint32_t k = 0; k < all; k++)
            count += from[k] != 0;
        full += count;
    }
    uint64_t share = full * 256 / ((uint64_t)some * l->out_count);
    return share * columns + LIST_COST < (uint64_t)LIST_SHARE * columns;
}

/* Splits `groups` evenly into parts of at most WIDE; the width of a part. */
static uint32_t even_part(uint32_t groups)
{
    uint32_t parts = (groups + WIDE - 1) / WIDE;
    return (groups + parts - 1) / parts;
}

/* SPDX-License-Identifier: MIT
 *
 * Log-mel energies of sound: a Hann window, a Fourier transform of real
 * numbers as one of half as many complex ones, triangles over the powers,
 * logarithms from a table. SPEC 10.5.
 */
#include "prepare.h"
#include "logmel_tables.h"
#include "num.h"
#include "wage.h"

/* 2^15 sin of an angle in 2^-16 of a turn. */
static int32_t sine(uint32_t angle)
{
    uint32_t p = angle & 16383;
    if (angle & 16384)
        p = 16384 - p;
    uint32_t i = p >> 6, f = p & 63, y = wage_entry16(&wage_sine[i]);
    if (f) {
        uint32_t rise = (wage_entry16(&wage_sine[i + 1]) - y) * f;
        y += rise >> 6;
    }
    return angle & 32768 ? -(int32_t)y : (int32_t)y;
}

static int32_t cosine(uint32_t angle)
{
    return sine(angle + 16384);
}

/* floor(x * factor / 2^15), nearly: |x| < 2^27, |factor| <= 2^15. */
static int32_t scaled(int32_t x, int32_t factor)
{
    int32_t high = wage_floor_shift(x, 12), low = x - high * 4096;
    // |high * factor| <= 2^30, |low * factor| < 2^27
    return wage_floor_shift(high * factor + wage_floor_shift(low * factor, 12),
                            3);
}

static int log2_of(uint32_t power_of_two)
{
    int n = 0;
    for (; power_of_two > 1; power_of_two >>= 1)
        n++;
    return n;
}

int wage_logmel_open(struct wage_logmel *m, const struct wage_prepare *step)
{
    const uint8_t *p = step->params;
    if (step->kind != WAGE_LOGMEL || step->count < 7)
        return WAGE_E_CONFIG;
    uint32_t rate = wage_fetch32(p), window = wage_fetch32(p + 4);
    uint32_t hop = wage_fetch32(p + 8), fft = wage_fetch32(p + 12);
    if (fft < WAGE_LOGMEL_LEAST || fft > WAGE_LOGMEL_MOST || (fft & (fft - 1))
        || window < 2 || window > fft || hop < 1 || hop > 65535 || rate < 1)
        return WAGE_E_CONFIG;
    uint32_t below = 0, top = fft / 2 << WAGE_EDGE_BITS;
    for (uint32_t k = 4; k < step->count; k++) {
        uint32_t edge = wage_fetch32(p + 4 * k);
        if (edge > top || (k > 4 && edge <= below))
            return WAGE_E_CONFIG;
        below = edge;
    }
    *m = (struct wage_logmel){ .edges = p + 16, .rate = rate,
                               .window = (uint16_t)window,
                               .hop = (uint16_t)hop, .fft = (uint16_t)fft,
                               .bands = (uint16_t)(step->count - 6) };
    return WAGE_OK;
}

/* Windowed samples, two in each bin, in bit-reversed order. */
static void load(const struct wage_logmel *m, const int16_t *sound, int shift,
                 union wage_bin *work)
{
    uint32_t half = m->fft / 2u, step = UINT32_MAX / m->window, back = 0;
    for (uint32_t i = 0; i < half; i++) {
        for (uint32_t k = 0; k < 2; k++) {
            uint32_t at = 2 * i + k, angle = at * step;
            int32_t x = 0;
            if (at < m->window) {
                uint32_t hann = (uint32_t)(32768 - cosine(angle >> 16));
                x = wage_rne(sound[at] * (int32_t)(hann >> 1), shift);
            }
            work[back].z[k] = x;
        }
        uint32_t bit = half >> 1;
        for (; back & bit; bit >>= 1)
            back ^= bit;
        back |= bit;
    }
}

/* The factor cos - i sin times z. */
static void turn(const int32_t z[2], int32_t c, int32_t s, int32_t out[2])
{
    int32_t re = scaled(z[0], c) + scaled(z[1], s);
    out[1] = scaled(z[1], c) - scaled(z[0], s);
    out[0] = re;
}

/* In place, `count` of them; nothing is scaled down: load() left room. */
static void transform(union wage_bin *work, uint32_t count)
{
    for (uint32_t half = 1; half < count; half *= 2)
        for (uint32_t j = 0; j < half; j++) {
            uint32_t angle = j * (32768 / half);
            int32_t c = cosine(angle), s = sine(angle), t[2];
            for (uint32_t k = j; k < count; k += 2 * half) {
                int32_t *a = work[k].z, *b = work[k + half].z;
                turn(b, c, s, t);
                b[0] = a[0] - t[0];
                b[1] = a[1] - t[1];
                a[0] += t[0];
                a[1] += t[1];
            }
        }
}

static uint64_t power(int32_t re, int32_t im)
{
    return (uint64_t)wage_size(re) * wage_size(re)
         + (uint64_t)wage_size(im) * wage_size(im);
}

/* Spectrum of the complex samples to powers of the real ones, in place. */
static void powers(union wage_bin *work, uint32_t count)
{
    int32_t re = work[0].z[0], im = work[0].z[1];
    work[0].power = power(re + im, 0);
    work[count].power = power(re - im, 0);
    for (uint32_t k = 1; k <= count / 2; k++) {
        const int32_t *a = work[k].z, *b = work[count - k].z;
        uint32_t angle = k * (32768 / count);
        const int32_t even[2] = { a[0] + b[0], a[1] - b[1] };
        int32_t odd[2] = { a[1] + b[1], b[0] - a[0] };
        turn(odd, cosine(angle), sine(angle), odd);
        uint64_t low = power(wage_floor_shift(even[0] + odd[0], 1),
                             wage_floor_shift(even[1] + odd[1], 1));
        work[count - k].power = power(wage_floor_shift(even[0] - odd[0], 1),
                                      wage_floor_shift(even[1] - odd[1], 1));
        work[k].power = low;
    }
}

/* Sum over a triangle between three edges. At most 2^52 * 2^10. */
static uint64_t energy(const union wage_bin *work, const uint32_t edge[3])
{
    uint32_t rise = ((uint32_t)1 << 24) / (edge[1] - edge[0]);
    uint32_t fall = ((uint32_t)1 << 24) / (edge[2] - edge[1]);
    uint32_t unit = (uint32_t)1 << WAGE_EDGE_BITS;
    uint64_t sum = 0;
    for (uint32_t k = edge[0] / unit; k * unit < edge[2]; k++) {
        uint32_t at = k * unit, weight = 0;
        if (at >= edge[1])
            weight = (edge[2] - at) * fall;
        else if (at > edge[0])
            weight = (at - edge[0]) * rise;
        sum += work[k].power * (weight >> 14);
    }
    return sum;
}

/* 256 log2(sum / 2^down), 0 when that is negative. */
static int32_t log2_below(uint64_t sum, int down)
{
    int exponent = 7 - down;
    if (!sum)
        return 0;
    for (int n = 32; n; n /= 2)
        if (sum >> (n + 7)) {
            sum >>= n;
            exponent += n;
        }
    for (; sum < 128; sum *= 2)
        exponent--;
    int32_t y = exponent * 256 + wage_fetch8(&wage_log2[sum - 128]);
    return y > 0 ? y : 0;
}

void wage_logmel(const struct wage_logmel *m, const int16_t *sound,
                 union wage_bin *work, int32_t *values)
{
    // room: 2^15 * 2^gain * fft = 2^26, so that scaled() has what it needs
    int gain = 11 - log2_of(m->fft);
    load(m, sound, 15 - gain, work);
    transform(work, m->fft / 2u);
    powers(work, m->fft / 2u);
    for (uint32_t b = 0; b < m->bands; b++) {
        uint32_t edge[3];
        for (uint32_t k = 0; k < 3; k++)
            edge[k] = wage_fetch32(m->edges + 4 * (b + k));
        values[b] = log2_below(energy(work, edge), 2 * gain + 10);
    }
}

/* SPDX-License-Identifier: MIT
 *
 * Pre-processing: how samples become a model's input. A blob may carry its
 * description, an ordered list of steps with integer parameters (SPEC 10).
 * A host applies all of them; a device that samples by itself finds here
 * what it needs for sound and for sensors. Nothing of this is linked into a
 * program that does not call it. From sound to a prediction:
 *
 *     struct wage_prepare step[3];    // as wage-host info lists them
 *     for (unsigned k = 0; k < 3; k++)
 *         wage_prepare_step(blob, blob_bytes, k, &step[k]);
 *     wage_logmel_open(&mel, &step[1]);           // after "cut"
 *     for (each frame f, hop samples after the one before)
 *         wage_logmel(&mel, sound, work, values),
 *         wage_normalise(&step[2], values, 0, bands, x + f * bands);
 *     wage_predict(&w, 1, x, &label, &record); */
#ifndef WAGE_PREPARE_H
#define WAGE_PREPARE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* cffi begin */
#define WAGE_EXTRAS 4          /* flag of a blob's header: it has extras */
#define WAGE_EXTRAS_FORMAT 1   /* their version */
#define WAGE_EXTRA_PREPARE 1   /* kinds of extras: steps, */
#define WAGE_EXTRA_NAMES 2     /* names of the classes */
#define WAGE_LOGMEL_LEAST 32   /* samples of a transform, a power of two */
#define WAGE_LOGMEL_MOST 1024
#define WAGE_EDGE_BITS 6       /* edges of bands are in 1/64 of a bin */

/* SPEC 10.2 says what each does and what its parameters are. */
enum wage_step {
    WAGE_RESIZE = 1, WAGE_CROP, WAGE_GREY, WAGE_DECIMALS, WAGE_CUT,
    WAGE_WINDOW, WAGE_LOGMEL, WAGE_NORMALISE
};

/* One step of a description, where it lies in the blob. */
struct wage_prepare {
    uint8_t kind;          /* enum wage_step */
    uint16_t count;        /* of its parameters */
    const uint8_t *params; /* (count) int32, in the blob (flash.h) */
};

/* Step `k`, from 0, of a blob that wage_info() or wage_open() has accepted:
 * they do not look at steps, this checks them all. Returns 1, 0 when there
 * are not so many, or RANGE, RESERVED, SHAPE (SPEC 9.7). */
int wage_prepare_step(const uint8_t *blob, uint32_t blob_bytes, unsigned k,
                      struct wage_prepare *step);

/* Values to activations: `count` of them, of which the first is number
 * `first` of the sample. Returns 0, or CONFIG and nothing is written. */
int wage_normalise(const struct wage_prepare *step, const int32_t *x,
                   uint32_t first, uint32_t count, int8_t *out);

/* A log-mel front end. Do not rely on the contents; but `window` is the
 * samples of a frame, `hop` those from one frame to the next, `bands` the
 * values of a frame, `fft` the samples of its transform, `rate` is in Hz. */
struct wage_logmel {
    const uint8_t *edges;  /* in the blob, (bands + 2) int32 */
    uint32_t rate;
    uint16_t window, hop, bands, fft;
};

/* Scratch: one bin of a spectrum, fft / 2 + 1 of them. */
union wage_bin {
    int32_t z[2];          /* real, imaginary */
    uint64_t power;
};

/* Checks a step and takes it. Returns 0, or CONFIG. */
int wage_logmel_open(struct wage_logmel *m, const struct wage_prepare *step);

/* One frame: sound (window) to values (bands), log2 of the energies in
 * units of 1/256, 0 or more; work (fft / 2 + 1). */
void wage_logmel(const struct wage_logmel *m, const int16_t *sound,
                 union wage_bin *work, int32_t *values);
/* cffi end */

#ifdef __cplusplus
}
#endif

#endif

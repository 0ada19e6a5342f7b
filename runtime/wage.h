/* SPDX-License-Identifier: MIT
 *
 * WAGE: trains a small neural network on the device, in integers only.
 *
 * It opens a model (a blob, which may stay in flash), predicts and learns with
 * replay of earlier samples; store.h saves. It never allocates memory, uses
 * floating point, keeps globals, prints, or calls a library beyond
 * memcpy and memset. The same blob, samples and seed give the same bits on
 * every CPU. The caller owns all memory. A minimal program:
 *     int32_t bytes = wage_arena_bytes(blob, blob_bytes);
 *     wage_open(&w, blob, blob_bytes, arena, arena_bytes);
 *     wage_start(&w, 1, NULL);
 *     for (id = 1; next_sample(x, &label); id++)
 *         wage_learn(&w, id, x, label, &record);
 *     wage_save(&w, &store);
 *
 * SPEC.md numbers the arithmetic and every byte. */
#ifndef WAGE_H
#define WAGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* cffi begin */
#define WAGE_FORMAT 1          /* version of the blob */
#define WAGE_HEADER_BYTES 64   /* of a blob */
#define WAGE_RECORD_BYTES 48   /* of one layer in a blob */
#define WAGE_LAYERS_MAX 32
#define WAGE_CLASSES_MAX 255

/* What can fail returns one of these, or an answer that is 0 or more. */
enum wage_err {
    WAGE_OK = 0,
    WAGE_E_SHORT = -1,       /* fewer bytes than a header, or than it says */
    WAGE_E_MAGIC = -2,       /* does not begin with "WAGE" */
    WAGE_E_VERSION = -3,     /* a format this runtime does not know */
    WAGE_E_LENGTH = -4,      /* more bytes than the header says */
    WAGE_E_CRC = -5,         /* contents damaged */
    WAGE_E_RESERVED = -6,    /* a reserved field or unknown flag is set */
    WAGE_E_LAYERS = -7,      /* no layer, too many, or frozen after trainable */
    WAGE_E_KIND = -8,        /* a layer kind this runtime does not have */
    WAGE_E_BITS = -9,        /* a width of weights that does not exist */
    WAGE_E_SHAPE = -10,      /* sizes that do not fit together */
    WAGE_E_LIMIT = -11,      /* sums could overflow 32 bits, or too large */
    WAGE_E_RANGE = -12,      /* a section lies outside the blob */
    WAGE_E_WEIGHT = -13,     /* a weight outside its range */
    WAGE_E_REPLAY = -14,     /* factory samples that do not fit the replay */
    WAGE_E_CONFIG = -15,     /* a training setting outside its range */
    WAGE_E_ARENA = -16,      /* arena smaller than wage_arena_bytes() */
    WAGE_E_ALIGN = -17,      /* arena not on an 8-byte boundary */
    WAGE_E_COBS = -18,       /* byte stuffing broken */
    WAGE_E_FRAME_SHORT = -19, /* fewer bytes than header and CRC */
    WAGE_E_FRAME_LONG = -20, /* more bytes than the receiver can hold */
    WAGE_E_FRAME_CRC = -21,  /* damaged on the way */
    WAGE_E_TYPE = -22,       /* a frame type this side does not know */
    WAGE_E_PAYLOAD = -23,    /* payload shorter than its type needs */
    WAGE_E_SESSION = -24,    /* no session, or somebody else's: say HELLO */
    WAGE_E_PROTOCOL = -25,   /* no protocol version in common */
    WAGE_E_MODEL = -26,      /* the board holds no usable model */
    WAGE_E_STREAM = -27,     /* no stream begun: say START */
    WAGE_E_ORDER = -28,      /* sample id is not the last one plus 1 */
    WAGE_E_LABEL = -29,      /* label not below the number of classes */
    WAGE_E_INPUT = -30,      /* input of another size than the model's */
    WAGE_E_STORE = -31,      /* the board has no store */
    WAGE_E_STORE_SIZE = -32, /* the store is too small for two checkpoints */
    WAGE_E_STORE_IO = -33,   /* read, program, erase or read-back failed */
    WAGE_E_NO_CHECKPOINT = -34, /* no whole checkpoint of this model */
    WAGE_E_BATCH = -35,      /* no sample, or more than the batch */
    WAGE_E_POLICY = -36,     /* what the model's policy does not have */
    WAGE_E_GUARD = -37,      /* the guard in the store is damaged */
    WAGE_E_AUTH = -38,       /* not from who has the board's key */
    WAGE_E_NAME = -39        /* no names of classes, or not such a one */
};

/* Settings of learning; the blob carries the defaults. */
struct wage_config {
    uint32_t seed;       /* of every random draw */
    int8_t lr_shift;     /* learning rate 2^lr_shift, -24..7 */
    uint8_t replays;     /* replayed samples after each new one, 0..255 */
    uint8_t gain_shift;  /* softmax sharpness 2^gain_shift, 0..7 */
    uint8_t threshold;   /* no update if max |output error| is below, 0..127 */
    uint8_t lr_factor;   /* times this, 1..15 */
};

/* What one prediction or one learned sample gave. */
struct wage_record {
    uint32_t id;         /* of the sample */
    uint8_t label;       /* given */
    uint8_t prediction;  /* before learning; lowest index among equals */
    uint16_t p_label;    /* probability of the label before learning, 2^-14 */
    uint8_t skipped;     /* 1: its step was below the threshold: no update */
};

/* Since the last wage_start() of a new stream (test-then-train). */
struct wage_metrics {
    uint32_t samples, correct; /* learned, of them right beforehand */
    uint32_t skipped;    /* of them below the threshold */
    uint32_t steps;      /* replayed and skipped ones included */
};

/* One open model. Do not rely on the contents. */
typedef struct wage {
    const uint8_t *blob;
    uint32_t blob_bytes, blob_crc; /* the CRC is the model's identity */
    struct wage_config config;
    struct wage_metrics metrics;
    struct wage_layer *layers; const struct wage_kernels *kernels;
    uint8_t layer_count, frozen_count, classes;
    uint8_t paper, sse, momentum, inputs, means, table; /* SPEC 9.1 */
    uint32_t input_bytes, latent_bytes; /* of a sample, at the cut */
    uint32_t stream, last_id, generation; /* 0: none yet */
    uint32_t wear;              /* of the store, at least */
    uint32_t next, ready;       /* slot to save into, its erased bytes */
    uint32_t guard, score, best; /* asked last; right answers then, and of
                                 * the best generation */
    uint32_t refused;           /* times it went back in this stream */
    uint32_t kept;              /* last id that was saved or asked about */
    uint32_t put, put_set, put_count, put_crc; /* of a guard being put */
    uint32_t step, sample;      /* learned since the factory */
    uint16_t batch, replay_capacity, replay_count;
    uint8_t *label, *replay_label; /* (batch), (replay_capacity) */
    int8_t *latent, *replay_sample; /* the same x latent_bytes; or inputs */
    uint32_t *class_total, *class_seen, *class_correct; /* (classes) */
    uint16_t *confusion; char *names; /* of classes, with a table */
    int8_t *even, *odd, *row;   /* scratch */
    int32_t *wide, *logits;     /* sums; (batch, classes), then errors */
    void (*tell)(void *told, int phase); void *told; /* phase.h; or NULL */
} wage_t;

/* What a blob says of itself. */
struct wage_info {
    uint16_t input_h, input_w, input_c, batch; /* batch: samples a step */
    uint8_t input_map, classes; /* how bytes become activations, SPEC 3.2 */
    uint32_t input_bytes, latent_bytes, replay_bytes; /* of a sample: as it
                              * comes, at the cut, in the replay */
    uint32_t arena_bytes;    /* that wage_open() needs */
    uint32_t crc;            /* the model's identity */
    const char *name;        /* inside the blob (flash.h), at most 15 bytes
                              * and a 0 */
};

/* Checks the whole blob and writes `info`. Returns 0 or an error. */
int wage_info(const uint8_t *blob, uint32_t blob_bytes,
              struct wage_info *info);

/* Bytes of arena that wage_open() will need, or the same error. */
int32_t wage_arena_bytes(const uint8_t *blob, uint32_t blob_bytes);

/* Checks everything, then opens. `blob` must stay; `arena` (on an 8-byte
 * boundary) is `w`'s from then on. Returns 0 or an error: nothing written. */
int wage_open(wage_t *w, const uint8_t *blob, uint32_t blob_bytes,
              uint8_t *arena, uint32_t arena_bytes);

/* Begins a stream of samples named `stream` (not 0), clears the metrics and
 * takes `config` (NULL: as it is); when it is the one already begun, nothing
 * changes. Returns 0 or an error. */
int wage_start(wage_t *w, uint32_t stream, const struct wage_config *config);

/* Predicts `count` samples, 1..batch; x: (count, input_bytes) activations,
 * unit 2^-7. Changes nothing that is saved. Returns 0 or an error. */
int wage_predict(wage_t *w, uint32_t count, const int8_t *x,
                 const uint8_t *labels, struct wage_record *records);

/* One step on `count` samples, 1..batch, at once, without stream and replay.
 * Returns 0 or an error; then nothing has changed. */
int wage_train(wage_t *w, uint32_t count, const int8_t *x,
               const uint8_t *labels, struct wage_record *records);

/* Learns a sample and config.replays replayed ones, `batch` a step. `id` is
 * the stream's last one plus 1. Returns 0 or an error; nothing changed. */
int wage_learn(wage_t *w, uint32_t id, const int8_t *x, uint8_t label,
               struct wage_record *record);

/* Samples of a class since wage_start, and how many were right. */
int wage_class_metrics(const wage_t *w, uint8_t label,
                       uint32_t *seen, uint32_t *correct);

/* CRC-32 over all trainable weights (SPEC 7.1), over everything learned. */
uint32_t wage_weight_crc(const wage_t *w);

/* Copies up to `count` of these bytes, from `at` on. Returns how many there
 * are in all. */
uint32_t wage_read_weights(const wage_t *w, uint32_t at, uint8_t *bytes,
                           uint32_t count);
uint32_t wage_state_crc(const wage_t *w);

/* Runs one input up to `layer`, one that there is, from 0. Returns the CRC-32
 * of what that gives, activations or int32 logits. */
uint32_t wage_probe(wage_t *w, const int8_t *x, uint32_t layer);
/* cffi end */

#ifdef __cplusplus
}
#endif

#endif

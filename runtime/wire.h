/* SPDX-License-Identifier: MIT
 *
 * Frames: how host and board talk. One codec, compiled into both ends.
 *
 * frame   = COBS(body, CRC-32 of body) 0x00
 * body    = type:u8 fields:u8 session:u16 seq:u16, fields x u32, tail bytes
 *
 * All numbers are little-endian. A payload is `fields` 32-bit words in the
 * order of the enums below, then bytes. Fields are only ever appended: a
 * reader takes those it knows, reads 0 for those that are missing, and finds
 * the tail after all of them. SPEC.md section 8 has the conversation.
 */
#ifndef WAGE_WIRE_H
#define WAGE_WIRE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* cffi begin */
#define WAGE_PROTOCOL_MIN 1
#define WAGE_PROTOCOL_MAX 1
#define WAGE_BODY_HEADER_BYTES 6
#define WAGE_FIELDS_MAX 48

/* Requests are below 64, replies above; WAGE_NAK answers any request. */
enum wage_type {
    WAGE_HELLO = 1,     /* fields: hello; begins a session */
    WAGE_START = 2,     /* fields: start; begins or resumes a stream */
    WAGE_SAMPLE = 3,    /* fields: sample; tail: the input. Learn it */
    WAGE_EVAL = 4,      /* fields: sample; tail: the input. Predict only */
    WAGE_STATS = 5,     /* no fields */
    WAGE_SAVE = 6,      /* no fields */
    WAGE_RESET = 7,     /* fields: reset */
    WAGE_LOOK = 8,      /* fields: look; what a slot of the store holds */
    WAGE_ROLLBACK = 9,  /* fields: rollback; old weights as a new checkpoint */
    WAGE_GUARD = 10,    /* fields: guard; tail: the input. For the guard */
    WAGE_PUSH = 11,     /* fields: push; tail: a part of a model. Keep it */
    WAGE_PULL = 12,     /* fields: pull; a part of what was learned */
    WAGE_PROBE = 13,    /* fields: probe; tail: the input. What a layer gives */
    WAGE_CLASS = 14,    /* fields: class; tail: a name. About a class */
    WAGE_FORGET = 15,   /* fields: forget; a class, its checkpoints too */
    WAGE_TEACH = 16,    /* fields: sample. Learn what is sensed now */
    WAGE_SENSE = 17,    /* no fields; what is sensed now, to be kept */
    WAGE_WELCOME = 65,  /* answers HELLO; fields: welcome; tail: names */
    WAGE_STARTED = 66,  /* fields: started */
    WAGE_RECORD = 67,   /* answers SAMPLE and EVAL; fields: record */
    WAGE_REPORT = 68,   /* answers STATS; fields: report;
                         * tail: (classes, 2) u32, seen and correct */
    WAGE_SAVED = 69,    /* answers SAVE, ROLLBACK, FORGET; fields: saved */
    WAGE_DONE = 70,     /* answers RESET; no fields */
    WAGE_SLOT = 71,     /* answers LOOK; fields: slot */
    WAGE_GUARDED = 72,  /* answers GUARD; fields: guarded */
    WAGE_PUSHED = 73,   /* answers PUSH; fields: pushed */
    WAGE_PULLED = 74,   /* answers PULL; fields: pulled; tail: the part */
    WAGE_PROBED = 75,   /* answers PROBE; fields: probed */
    WAGE_CLASSED = 76,  /* answers CLASS; fields: classed; tail: name (16),
                         * (classes) u16, how often taken for each */
    WAGE_MARKS = 77,    /* before RECORD when HELLO asked; fields: marks;
                         * tail: n x (phase u8, us u32), as they began */
    WAGE_SENSED = 78,   /* answers SENSE; fields: sensed; tail: the input */
    WAGE_NAK = 127      /* fields: nak; nothing has changed */
};

enum wage_hello_field {
    WAGE_HELLO_PROTOCOL_MIN, WAGE_HELLO_PROTOCOL_MAX,
    WAGE_HELLO_NONCE_A, WAGE_HELLO_NONCE_B, /* for a board with a key */
    WAGE_HELLO_MARKS,           /* 1: with MARKS before each RECORD */
    WAGE_HELLO_FIELDS
};

/* Protocol range and chosen version first, in every version for ever. */
enum wage_welcome_field {
    WAGE_WELCOME_PROTOCOL_MIN, WAGE_WELCOME_PROTOCOL_MAX,
    WAGE_WELCOME_PROTOCOL,      /* the one in use from here on */
    WAGE_WELCOME_PLACE,         /* enum wage_place */
    WAGE_WELCOME_SESSION,       /* number of all further requests */
    WAGE_WELCOME_SESSIONS,      /* since the board started; 1: fresh boot */
    WAGE_WELCOME_WINDOW,        /* frames the board can hold unanswered */
    WAGE_WELCOME_BODY_BYTES,    /* of the largest request it takes */
    WAGE_WELCOME_MODEL_ERROR,   /* 0, or minus an enum wage_err: no model */
    WAGE_WELCOME_ARENA_BYTES,   /* that the model needs */
    WAGE_WELCOME_MEMORY_BYTES,  /* that the board has for it */
    WAGE_WELCOME_MODEL,         /* CRC of the blob, its identity */
    WAGE_WELCOME_INPUT_H, WAGE_WELCOME_INPUT_W, WAGE_WELCOME_INPUT_C,
    WAGE_WELCOME_INPUT_MAP,     /* how bytes become activations, SPEC 3.2 */
    WAGE_WELCOME_LATENT_BYTES,  /* of one activation at the cut */
    WAGE_WELCOME_CLASSES,
    WAGE_WELCOME_STORE_BYTES,   /* 0: no store */
    WAGE_WELCOME_STORE_ERROR,   /* minus what restoring at the start gave */
    WAGE_WELCOME_GENERATION,    /* of the newest checkpoint, 0: none */
    WAGE_WELCOME_STREAM,        /* begun last, 0: none */
    WAGE_WELCOME_LAST_ID,       /* sample learned last in it */
    WAGE_WELCOME_SEED, WAGE_WELCOME_LR_SHIFT, WAGE_WELCOME_REPLAYS,
    WAGE_WELCOME_GAIN_SHIFT, WAGE_WELCOME_THRESHOLD,
    WAGE_WELCOME_WEIGHT_CRC, WAGE_WELCOME_STATE_CRC, WAGE_WELCOME_LR_FACTOR,
    WAGE_WELCOME_SLOTS,         /* of the store */
    WAGE_WELCOME_WEAR,          /* slots erased so far in the store */
    WAGE_WELCOME_GUARD_SET,     /* name of the guard in the store, 0: none */
    WAGE_WELCOME_GUARD_COUNT,   /* its samples */
    WAGE_WELCOME_GUARD_ROOM,    /* samples that a guard can have */
    WAGE_WELCOME_KEYED,         /* 1: only for who has the board's key */
    WAGE_WELCOME_NONCE_A, WAGE_WELCOME_NONCE_B, /* then */
    WAGE_WELCOME_PUSH_ROOM,     /* bytes that a pushed model can have */
    WAGE_WELCOME_PUSHED,        /* 1: the model is a pushed one */
    WAGE_WELCOME_CLASS_TABLE,   /* 1: the model keeps names of classes */
    WAGE_WELCOME_REPLAY_BYTES,  /* of a sample in the replay */
    WAGE_WELCOME_MARKS,         /* 1: the board can send MARKS */
    WAGE_WELCOME_SENSES,        /* 1: it has inputs of its own, SPEC 8.11 */
    WAGE_WELCOME_FIELDS         /* tail: board name, 0, model name */
};

enum wage_start_field {
    WAGE_START_STREAM, WAGE_START_SEED, WAGE_START_LR_SHIFT,
    WAGE_START_REPLAYS, WAGE_START_GAIN_SHIFT, WAGE_START_THRESHOLD,
    WAGE_START_LR_FACTOR,
    WAGE_START_EVERY, WAGE_START_MARGIN, WAGE_START_WEAR_MAX,
    WAGE_START_IMPROVED,        /* these four: struct wage_policy */
    WAGE_START_FIELDS
};

enum wage_started_field {
    WAGE_STARTED_LAST_ID,       /* go on with the next one */
    WAGE_STARTED_FIELDS
};

enum wage_sample_field {
    WAGE_SAMPLE_ID, WAGE_SAMPLE_LABEL, WAGE_SAMPLE_FIELDS
};

enum wage_record_field {
    WAGE_RECORD_ID, WAGE_RECORD_LABEL, WAGE_RECORD_PREDICTION,
    WAGE_RECORD_P_LABEL,        /* probability of the label, unit 2^-14 */
    WAGE_RECORD_SKIPPED,        /* 1: below the threshold */
    WAGE_RECORD_KNOWN,          /* 1: learned before, nothing done now */
    WAGE_RECORD_US,             /* microseconds the runtime took */
    WAGE_RECORD_KEPT,           /* enum wage_kept */
    WAGE_RECORD_SCORE,          /* right answers of the guard, last time */
    WAGE_RECORD_GENERATION,     /* of the newest checkpoint */
    WAGE_RECORD_FIELDS
};

enum wage_report_field {
    WAGE_REPORT_SAMPLES, WAGE_REPORT_CORRECT, WAGE_REPORT_SKIPPED,
    WAGE_REPORT_STEPS,          /* these four since START */
    WAGE_REPORT_STEP,           /* since the factory */
    WAGE_REPORT_LAST_ID, WAGE_REPORT_GENERATION,
    WAGE_REPORT_REPLAY_COUNT, WAGE_REPORT_REPLAY_CAPACITY,
    WAGE_REPORT_FRAME_ERRORS,   /* since the board started */
    WAGE_REPORT_STACK_BYTES,    /* deepest so far, 0: not known */
    WAGE_REPORT_WEIGHT_CRC, WAGE_REPORT_STATE_CRC,
    WAGE_REPORT_SCORE, WAGE_REPORT_BEST, /* right answers of the guard */
    WAGE_REPORT_REFUSED,        /* times it went back in this stream */
    WAGE_REPORT_FIELDS
};

enum wage_saved_field {
    WAGE_SAVED_GENERATION,
    WAGE_SAVED_KEPT,            /* enum wage_kept */
    WAGE_SAVED_SCORE,           /* right answers of the guard */
    WAGE_SAVED_FIELDS
};

enum wage_reset_field { WAGE_RESET_WHAT, WAGE_RESET_FIELDS };

enum wage_reset {
    WAGE_RESTART = 0,   /* as after power-on: back to the last checkpoint */
    WAGE_FACTORY = 1    /* forget all: erase the checkpoints, then restart */
};

enum wage_look_field { WAGE_LOOK_SLOT, WAGE_LOOK_FIELDS };

/* As struct wage_checkpoint. */
enum wage_slot_field {
    WAGE_SLOT_GENERATION, WAGE_SLOT_WEAR, WAGE_SLOT_STATE_CRC,
    WAGE_SLOT_OURS, WAGE_SLOT_FORGOTTEN,
    WAGE_SLOT_GUARD, WAGE_SLOT_SCORE,
    WAGE_SLOT_FIELDS
};

enum wage_rollback_field {
    WAGE_ROLLBACK_GENERATION,   /* in the store; 0: the factory's weights */
    WAGE_ROLLBACK_FIELDS
};

enum wage_guard_field {
    WAGE_GUARD_ID, WAGE_GUARD_COUNT, /* 1 to count, in order */
    WAGE_GUARD_SET,             /* its name, not 0 */
    WAGE_GUARD_LABEL,
    WAGE_GUARD_FIELDS
};

enum wage_guarded_field { WAGE_GUARDED_ID, WAGE_GUARDED_FIELDS };

enum wage_push_field {
    WAGE_PUSH_AT,               /* of the part in the model */
    WAGE_PUSH_BYTES,            /* of the model; 0: back to the image's */
    WAGE_PUSH_CRC,              /* of the model, its identity */
    WAGE_PUSH_FIELDS
};

/* When all of it is done, the board starts again. */
enum wage_pushed_field { WAGE_PUSHED_DONE, WAGE_PUSHED_FIELDS };

enum wage_pull_field {
    WAGE_PULL_AT,               /* of the part in the weights, SPEC 7.1 */
    WAGE_PULL_FIELDS
};

enum wage_pulled_field {
    WAGE_PULLED_AT,
    WAGE_PULLED_BYTES,          /* of all weights */
    WAGE_PULLED_FIELDS
};

#define WAGE_PULL_PART_BYTES 64 /* of a part, but for the last one */

enum wage_probe_field { WAGE_PROBE_LAYER, WAGE_PROBE_FIELDS };

enum wage_probed_field {
    WAGE_PROBED_LAYER,
    WAGE_PROBED_CRC,            /* of its output, SPEC 8.8 */
    WAGE_PROBED_FIELDS
};

enum wage_class_field {
    WAGE_CLASS_LABEL,
    WAGE_CLASS_NAMED,           /* 1: the tail is its name from now on */
    WAGE_CLASS_FIELDS
};

enum wage_classed_field {
    WAGE_CLASSED_LABEL,
    WAGE_CLASSED_SEEN, WAGE_CLASSED_CORRECT, /* since START */
    WAGE_CLASSED_TOTAL,         /* learned since the factory */
    WAGE_CLASSED_STORED,        /* of them in the replay */
    WAGE_CLASSED_FIELDS
};

enum wage_forget_field { WAGE_FORGET_LABEL, WAGE_FORGET_FIELDS };

enum wage_marks_field {
    WAGE_MARKS_US,              /* the board's clock when it sends this */
    WAGE_MARKS_LOST,            /* phases that there was no room for */
    WAGE_MARKS_FIELDS
};

#define WAGE_MARKS_MAX 64       /* of one request */
#define WAGE_MARK_BYTES 5

enum wage_sensed_field {
    WAGE_SENSED_LABEL,          /* as a button says it, or 2^32 - 1 */
    WAGE_SENSED_FIELDS
};

enum wage_nak_field {
    WAGE_NAK_ERROR,             /* minus an enum wage_err */
    WAGE_NAK_A, WAGE_NAK_B,     /* what it is about, SPEC 8.4 */
    WAGE_NAK_FIELDS
};

enum wage_place { WAGE_PLACE_HOST, WAGE_PLACE_EMULATOR, WAGE_PLACE_BOARD };

/* A body taken apart. `tail` points into the body. */
struct wage_message {
    uint8_t type;
    uint8_t fields;             /* that were there, at most FIELDS_MAX kept */
    uint16_t session, seq;
    uint32_t field[WAGE_FIELDS_MAX];
    const uint8_t *tail;
    uint32_t tail_bytes;
};

/* Bytes that a frame with a body of `body_bytes` takes at most. */
uint32_t wage_frame_bytes(uint32_t body_bytes);

/* Writes the frame of `message` to `frame`. Returns its bytes, or
 * WAGE_E_FRAME_LONG when frame_bytes are not enough. */
int32_t wage_frame_encode(const struct wage_message *message, uint8_t *frame,
                          uint32_t frame_bytes);

/* Decodes a frame in place (`count` bytes, without the 0x00). Returns 0 and
 * `message`, or WAGE_E_COBS, _FRAME_SHORT, _FRAME_CRC or _PAYLOAD. */
int wage_frame_decode(uint8_t *frame, uint32_t count,
                      struct wage_message *message);

/* Collects the bytes of one frame. The caller sets buffer and bytes. */
struct wage_reader {
    uint8_t *buffer;
    uint32_t bytes;             /* size of the buffer */
    uint32_t used;              /* more than `bytes`: too long, skipping */
};

/* Takes one byte. Returns 1 when it ended a frame and `message` holds it
 * (its tail stays in the buffer until the next byte), 0 when there is no
 * frame yet, or an error of the frame that just ended. */
int wage_reader_push(struct wage_reader *reader, uint8_t byte,
                     struct wage_message *message);
/* cffi end */

#ifdef __cplusplus
}
#endif

#endif

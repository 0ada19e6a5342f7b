/* SPDX-License-Identifier: MIT
 *
 * What the board does on each request of a session (internal). Each function
 * answers serve->message, or returns an error to be answered.
 */
#ifndef WAGE_REQUESTS_H
#define WAGE_REQUESTS_H

#include "marks.h"

int serve_start(struct serve *serve);
int serve_sample(struct serve *serve);  /* SAMPLE and EVAL */
int serve_stats(struct serve *serve);
int serve_save(struct serve *serve);    /* SAVE and ROLLBACK */
int serve_look(struct serve *serve);
int serve_guard(struct serve *serve);
int serve_push(struct serve *serve);
int serve_pull(struct serve *serve);
int serve_probe(struct serve *serve);
int serve_class(struct serve *serve);
int serve_forget(struct serve *serve);
int serve_reset(struct serve *serve);
int serve_teach(struct serve *serve);   /* the input that the board senses */
int serve_sense(struct serve *serve);   /* tells it */

/* Learns the message's sample, or predicts. Returns enum wage_kept or an
 * error. */
int serve_take(struct serve *serve, int learn, struct wage_record *record);

/* Senses, and predicts or learns when no host is there and no frame on its
 * way. `count`: bytes that just came. */
void serve_field(struct serve *serve, uint32_t count);

/* A host has spoken; one may be about to, after a start in its stream. */
void serve_hear_host(struct serve *serve);
void serve_await_host(struct serve *serve);

static inline int serve_senses(const struct serve *serve)
{
    return WAGE_FIELD && serve->field;
}

/* Sends serve->message with this type, so many fields and its tail; without
 * one; NAK: minus `error`, and what it is about. All return 0. */
int serve_reply(struct serve *serve, uint8_t type, uint8_t fields);
int serve_answer(struct serve *serve, uint8_t type, uint8_t fields);
int serve_refuse(struct serve *serve, int error, uint32_t a, uint32_t b);

/* Writes x to four bytes, the lowest first. */
void serve_put32(uint8_t *to, uint32_t x);

/* A number that the last session did not have, and that is hard to repeat: a
 * late copy of an old HELLO does not bring the old session back. */
uint16_t serve_draw_session(struct serve *serve);

/* From now on requests are of session `number`, whose HELLO had `hello`. */
void serve_begin_session(struct serve *serve, uint16_t number,
                         uint16_t hello);

#endif

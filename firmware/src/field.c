/* SPDX-License-Identifier: MIT */
#include "field.h"

#include "requests.h"

#include <string.h>

/* The board's own stream goes on, or begins. */
static void begin(struct serve *s)
{
    s->policy = s->field->policy;
    (void)wage_start(&s->model, WAGE_FIELD_STREAM, NULL); // cannot fail
}

/* 1: there is a new input. */
static int sense(struct serve *s)
{
    if (!s->field->sense(s->port, s->input, s->model.input_bytes))
        return 0;
    s->sensed = 1;
    return 1;
}

void serve_hear_host(struct serve *s)
{
    s->away = 0;
    s->heard = port_micros(s->port);
}

void serve_await_host(struct serve *s)
{
    serve_hear_host(s);
    s->away = s->model.stream == 0 || s->model.stream == WAGE_FIELD_STREAM;
}

/* Whether a host has the word: then nothing is computed, as many ports lose
 * bytes that come meanwhile. A byte that none follows is no frame. */
static int busy(struct serve *s, uint32_t count)
{
    uint32_t now = port_micros(s->port);
    if (count)
        s->byte = now;
    if (!s->away && now - s->heard > WAGE_FIELD_AWAY_US) {
        s->away = 1;
        s->started = 0;
    }
    return !s->away || (s->reader.used && now - s->byte < WAGE_FIELD_FRAME_US);
}

void serve_field(struct serve *s, uint32_t count)
{
    uint32_t *f = s->message.field;
    struct wage_record record = { .label = 0 };
    int wait = busy(s, count);
    if (count || !sense(s) || wait)
        return;
    int label = s->field->label(s->port);
    int learn = label >= 0 && label < s->model.classes;
    if (learn)
        begin(s);
    s->message.tail = (const uint8_t *)s->input;
    f[WAGE_SAMPLE_ID] = s->model.last_id + 1;
    f[WAGE_SAMPLE_LABEL] = learn ? (uint32_t)label : 0;
    (void)serve_take(s, learn, &record); // a save that fails is due again
    serve_phase(s, WAGE_PHASE_IDLE);
    s->sensed = !learn;
    s->field->show(s->port, &record);
}

int serve_teach(struct serve *s)
{
    const uint32_t *f = s->message.field;
    const wage_t *w = &s->model;
    uint32_t id = f[WAGE_SAMPLE_ID];
    uint32_t last = w->stream == WAGE_FIELD_STREAM ? w->last_id : 0;
    if (f[WAGE_SAMPLE_LABEL] >= w->classes)
        return serve_refuse(s, WAGE_E_LABEL, w->classes, f[WAGE_SAMPLE_LABEL]);
    if (id == 0 || id > last + 1)
        return serve_refuse(s, WAGE_E_ORDER, last, id);
    int started = s->started;
    if (id > last) {
        if (!s->sensed && !sense(s))
            return serve_refuse(s, WAGE_E_INPUT, w->input_bytes, 0);
        begin(s);
        started = s->sensed = 0;
    }
    s->message.type = WAGE_SAMPLE;
    s->message.tail = (const uint8_t *)s->input;
    s->message.tail_bytes = w->input_bytes;
    s->started = 1;
    int error = serve_sample(s);
    s->started = started;
    return error;
}

/* Once only: what came since is another input. */
int serve_sense(struct serve *s)
{
    uint32_t bytes = s->model.input_bytes;
    if (!s->sensed && !sense(s))
        return serve_refuse(s, WAGE_E_INPUT, bytes, 0);
    s->sensed = 0;
    int label = s->field->label(s->port);
    int said = label >= 0 && label < s->model.classes;
    s->message.field[WAGE_SENSED_LABEL] = said ? (uint32_t)label : UINT32_MAX;
    memcpy(s->reader.buffer, s->input, bytes);
    s->message.tail = s->reader.buffer;
    s->message.tail_bytes = bytes;
    return serve_reply(s, WAGE_SENSED, WAGE_SENSED_FIELDS);
}

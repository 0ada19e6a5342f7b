/* SPDX-License-Identifier: MIT */
#include "field.h"

#include "requests.h"

/* The board's own stream goes on, or begins; a host that had begun one must
 * begin again. */
static void begin(struct serve *s)
{
    s->started = 0;
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

void serve_field(struct serve *s, uint32_t heard)
{
    uint32_t *f = s->message.field;
    struct wage_record record = { .label = 0 };
    if (heard) {
        s->away = 0;
        s->heard = port_micros(s->port);
        return;
    }
    if (!s->away && port_micros(s->port) - s->heard > WAGE_FIELD_AWAY_US)
        s->away = 1;
    if (!sense(s))
        return;
    int label = s->field->label(s->port);
    // while a host is there, it has the word
    int learn = label >= 0 && label < s->model.classes && s->away;
    if (learn)
        begin(s);
    s->message.tail = (const uint8_t *)s->input;
    f[WAGE_SAMPLE_ID] = s->model.last_id + 1;
    f[WAGE_SAMPLE_LABEL] = learn ? (uint32_t)label : 0;
    (void)serve_take(s, learn, &record); // a store that fails is asked again
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
    if (id > last + 1)
        return serve_refuse(s, WAGE_E_ORDER, last, id);
    if (id > last && !s->sensed && !sense(s))
        return serve_refuse(s, WAGE_E_INPUT, w->input_bytes, 0);
    begin(s);
    s->message.type = WAGE_SAMPLE;
    s->message.tail = (const uint8_t *)s->input;
    s->message.tail_bytes = w->input_bytes;
    s->started = 1;
    if (id > last)
        s->sensed = 0;
    int error = serve_sample(s);
    s->started = 0;
    return error;
}

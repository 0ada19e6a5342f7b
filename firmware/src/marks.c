/* SPDX-License-Identifier: MIT */
#include "marks.h"

#include "requests.h"

#include <string.h>

void serve_mark(struct serve *s, enum wage_phase phase)
{
    struct serve_marks *m = s->marks;
    if (phase == m->phase)
        return;
    m->phase = (uint8_t)phase;
    if (phase == WAGE_PHASE_RECEIVE)
        m->lost = m->count = 0;
    if (!m->wanted)
        return;
    if (m->count == WAGE_MARKS_MAX) {
        m->lost++;
        return;
    }
    uint8_t *at = m->list + WAGE_MARK_BYTES * m->count++;
    at[0] = (uint8_t)phase;
    serve_put32(at + 1, port_micros(s->port));
}

/* Asking the guard is a part of saving. */
static void hear(void *told, int phase)
{
    struct serve *s = told;
    if (s->marks->phase != WAGE_PHASE_SAVE)
        serve_phase(s, (enum wage_phase)phase);
}

void serve_hear_steps(struct serve *s)
{
    s->model.tell = hear;
    s->model.told = s;
}

void serve_send_marks(struct serve *s)
{
    const struct serve_marks *m = s->marks;
    serve_phase(s, WAGE_PHASE_IDLE);
    if (!m->wanted)
        return;
    uint32_t bytes = WAGE_MARK_BYTES * (uint32_t)m->count;
    memcpy(s->reader.buffer, m->list, bytes);
    s->message.field[WAGE_MARKS_US] = port_micros(s->port);
    s->message.field[WAGE_MARKS_LOST] = m->lost;
    s->message.tail = s->reader.buffer;
    s->message.tail_bytes = bytes;
    serve_reply(s, WAGE_MARKS, WAGE_MARKS_FIELDS);
}

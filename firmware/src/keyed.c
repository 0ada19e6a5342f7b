/* SPDX-License-Identifier: MIT
 *
 * Sessions of a board with a key. Nothing calls them by name, so that an
 * image without a key does not hold them.
 */
#include "requests.h"

#include <string.h>

void keyed_ask(struct serve *s, uint32_t host_a, uint32_t host_b)
{
    struct auth_session *a = &s->auth_state->asked;
    if (a->hello != s->message.session || a->host[0] != host_a
        || a->host[1] != host_b) { // else asked again
        a->number = serve_draw_session(s);
        a->hello = s->message.session;
        a->seq = s->message.seq;
        a->host[0] = host_a;
        a->host[1] = host_b;
        a->board[0] = port_random(s->port);
        a->board[1] = port_random(s->port);
        a->marks = s->message.field[WAGE_HELLO_MARKS] == 1;
        auth_begin(s->auth->key, a);
    }
    s->seal = a;
}

int keyed_let_in(struct serve *s)
{
    struct auth_state *state = s->auth_state;
    struct wage_message *m = &s->message;
    struct auth_session *a = m->session == state->now.number ? &state->now
                                                             : &state->asked;
    uint8_t tag[AUTH_TAG_BYTES], differ = 0;
    if (m->session == 0 || m->session != a->number)
        return WAGE_E_SESSION;
    if (m->tail_bytes < AUTH_TAG_BYTES || m->seq <= a->seq)
        return WAGE_E_AUTH;
    m->tail_bytes -= AUTH_TAG_BYTES;
    const uint8_t *body = s->reader.buffer, *end = m->tail + m->tail_bytes;
    auth_tag_body(a, AUTH_HOST, body, (uint32_t)(end - body), tag);
    for (unsigned i = 0; i < AUTH_TAG_BYTES; i++) // all, however they differ
        differ |= (uint8_t)(tag[i] ^ end[i]);
    if (differ)
        return WAGE_E_AUTH;
    a->seq = m->seq;
    if (a == &state->asked) {
        state->now = *a;
        memset(a, 0, sizeof *a);
        if (serve_tells(s))
            s->marks->wanted = state->now.marks;
        serve_begin_session(s, state->now.number, state->now.hello);
    }
    s->seal = &state->now;
    return WAGE_OK;
}

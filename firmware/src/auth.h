/* SPDX-License-Identifier: MIT
 *
 * Authentication of a link by a key that board and host share: keyed
 * BLAKE2b over a nonce of each makes the key of a session, and every frame
 * of the session ends with a tag. SPEC 8.5; what it does not do: SECURITY.md.
 */
#ifndef WAGE_AUTH_H
#define WAGE_AUTH_H

#include "wire.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cffi begin */
#define AUTH_KEY_BYTES 32
#define AUTH_TAG_BYTES 8

/* Who sent a frame: nobody can send it back to him as the other's. */
enum auth_side { AUTH_HOST = 1, AUTH_BOARD = 2 };

struct auth_session {
    uint8_t key[AUTH_KEY_BYTES];
    uint32_t host[2], board[2]; /* the nonces */
    uint16_t number, hello;     /* of the session; its HELLO's. 0: none */
    uint16_t seq;               /* of the last good request */
    uint8_t marks;              /* 1: HELLO asked for them */
};

/* The session that runs, and one that was asked for: it takes the place of
 * the first with its first good request, so that a stranger ends nothing. */
struct auth_state {
    struct auth_session now, asked;
};

struct serve;

/* Functions, so that an image without a key does not hold their code. */
struct auth {
    const uint8_t *key;         /* (AUTH_KEY_BYTES) */
    /* HELLO, with the host's nonce: whoever it is may ask for a session. */
    void (*ask)(struct serve *serve, uint32_t host_a, uint32_t host_b);
    /* Whether the request is of this session or of the one asked for, from
     * who has the key, and no copy of an earlier one: 0 or an error. Takes
     * its tag off. */
    int (*let_in)(struct serve *serve);
    /* Tag (AUTH_TAG_BYTES) of a message that goes out. */
    void (*tag_message)(const struct auth_session *session,
                        enum auth_side side,
                        const struct wage_message *message, uint8_t *tag);
};

void keyed_ask(struct serve *serve, uint32_t host_a, uint32_t host_b);
int keyed_let_in(struct serve *serve);

/* session->key from `key` and the nonces. */
void auth_begin(const uint8_t *key, struct auth_session *session);
/* Tag of a body that came in. */
void auth_tag_body(const struct auth_session *session, enum auth_side side,
                   const uint8_t *body, uint32_t bytes, uint8_t *tag);
void auth_tag_message(const struct auth_session *session,
                      enum auth_side side,
                      const struct wage_message *message, uint8_t *tag);
/* cffi end */

#ifdef __cplusplus
}
#endif

#define AUTH_WITH(key) { key, keyed_ask, keyed_let_in, auth_tag_message }

#endif

/* SPDX-License-Identifier: MIT */
#include "auth.h"

#include "blake2b/blake2b.h"

static void put(crypto_blake2b_ctx *hash, uint32_t value, unsigned bytes)
{
    uint8_t out[4];
    for (unsigned i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> (8 * i));
    crypto_blake2b_update(hash, out, bytes);
}

void auth_begin(const uint8_t *key, struct auth_session *session)
{
    static const uint8_t word[8] = { 'W', 'A', 'G', 'E', ' ', 'k', 'e', 'y' };
    crypto_blake2b_ctx hash;
    crypto_blake2b_keyed_init(&hash, AUTH_KEY_BYTES, key, AUTH_KEY_BYTES);
    crypto_blake2b_update(&hash, word, sizeof word);
    for (unsigned i = 0; i < 2; i++)
        put(&hash, session->host[i], 4);
    for (unsigned i = 0; i < 2; i++)
        put(&hash, session->board[i], 4);
    crypto_blake2b_final(&hash, session->key);
}

static void begin_tag(crypto_blake2b_ctx *hash,
                      const struct auth_session *session,
                      enum auth_side side)
{
    crypto_blake2b_keyed_init(hash, AUTH_TAG_BYTES, session->key,
                              AUTH_KEY_BYTES);
    put(hash, side, 1);
}

void auth_tag_body(const struct auth_session *session, enum auth_side side,
                   const uint8_t *body, uint32_t bytes, uint8_t *tag)
{
    crypto_blake2b_ctx hash;
    begin_tag(&hash, session, side);
    crypto_blake2b_update(&hash, body, bytes);
    crypto_blake2b_final(&hash, tag);
}

void auth_tag_message(const struct auth_session *session,
                      enum auth_side side,
                      const struct wage_message *message, uint8_t *tag)
{
    crypto_blake2b_ctx hash;
    begin_tag(&hash, session, side);
    put(&hash, message->type, 1);
    put(&hash, message->fields, 1);
    put(&hash, message->session, 2);
    put(&hash, message->seq, 2);
    for (unsigned i = 0; i < message->fields; i++)
        put(&hash, message->field[i], 4);
    crypto_blake2b_update(&hash, message->tail, message->tail_bytes);
    crypto_blake2b_final(&hash, tag);
}

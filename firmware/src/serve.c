/* SPDX-License-Identifier: MIT */
#include "requests.h"

#include "flash.h"

#include <string.h>

#define SPARE_FIELDS 8          /* that a newer host may append */
#define FIELDS_BYTES (WAGE_BODY_HEADER_BYTES + 4u * WAGE_FIELDS_MAX)

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static uint32_t round_up(uint32_t x)
{
    return (x + 7) & ~(uint32_t)7;
}

static int open_model(struct serve *s, const struct port_info *info)
{
    int error = wage_open(&s->model, info->blob, info->blob_bytes,
                          info->memory, s->memory_bytes);
    if (error || !info->store)
        return error;
    s->store_error = wage_restore(&s->model, info->store);
    if (s->store_error == WAGE_E_STORE_IO) // perhaps half loaded: begin anew
        error = wage_open(&s->model, info->blob, info->blob_bytes,
                          info->memory, s->memory_bytes);
    return error;
}

/* Zeros at the next multiple of 8 from *at on, which then is behind them. */
static void *put_zeros(uint8_t **at, uint32_t bytes)
{
    void *zeros = *at + ((0u - (uintptr_t)*at) & 7u);
    *at = (uint8_t *)zeros + bytes;
    return memset(zeros, 0, bytes);
}

static uint32_t tag_bytes(const struct serve *s)
{
    return s->auth ? AUTH_TAG_BYTES : 0;
}

/* Tail of the largest reply, which lies in the reader's buffer. */
static uint32_t reply_tail(const struct serve *s,
                           const struct wage_info *about)
{
    return larger(serve_tells(s) ? WAGE_MARKS_MAX * WAGE_MARK_BYTES : 64,
                  8 * (uint32_t)about->classes);
}

/* Body of the largest request, and tail of the largest reply. */
static uint32_t request_bytes(const struct serve *s,
                              const struct wage_info *about)
{
    uint32_t sample = about->input_bytes
                      + 4 * (WAGE_SAMPLE_FIELDS + SPARE_FIELDS);
    return larger(larger(FIELDS_BYTES, reply_tail(s, about)),
                  WAGE_BODY_HEADER_BYTES + sample);
}

static uint32_t reader_bytes(const struct serve *s,
                             const struct wage_info *about)
{
    return wage_frame_bytes(request_bytes(s, about) + tag_bytes(s));
}

static uint32_t reply_bytes(const struct serve *s,
                            const struct wage_info *about)
{
    uint32_t body = FIELDS_BYTES + reply_tail(s, about);
    if (serve_senses(s)) // SENSED has few fields, and an input
        body = larger(body, WAGE_BODY_HEADER_BYTES + 4 * WAGE_SENSED_FIELDS
                            + about->input_bytes);
    return 1 + wage_frame_bytes(body + tag_bytes(s));
}

uint32_t serve_frame_bytes(const struct serve *s,
                           const struct wage_info *about)
{
    return round_up(reader_bytes(s, about)) + round_up(reply_bytes(s, about))
           + (s->auth ? round_up(sizeof *s->auth_state) + 8 : 0)
           + (serve_tells(s) ? round_up(sizeof *s->marks) + 8 : 0)
           + (serve_senses(s) ? round_up(about->input_bytes) + 8 : 0);
}

/* The model in the store, when there is a good one, else the image's. */
static void choose_model(struct serve *s, struct port_info *info)
{
    int32_t bytes = info->store ? wage_pushed(info->store) : 0;
    if (bytes > 0) {
        const uint8_t *blob = info->store->memory
                              + wage_push_place(info->store);
        s->pushed = !wage_info(blob, (uint32_t)bytes, &s->about);
        if (s->pushed) {
            info->blob = blob;
            info->blob_bytes = (uint32_t)bytes;
            return;
        }
    }
    // without a usable model the board still talks, and says so
    s->model_error = wage_info(info->blob, info->blob_bytes, &s->about);
}

int serve_open(struct serve *s, struct port *port)
{
    struct port_info info = port_info(port);
    *s = (struct serve){ .port = port, .store = info.store, .auth = info.auth,
                         .tells = !info.quiet,
                         .protocol_min = WAGE_PROTOCOL_MIN,
                         .protocol_max = WAGE_PROTOCOL_MAX };
    if (WAGE_FIELD)
        s->field = info.field;
    choose_model(s, &info);
    uint32_t frames = serve_frame_bytes(s, &s->about);
    s->body_bytes = request_bytes(s, &s->about);
    s->reader.bytes = reader_bytes(s, &s->about);
    s->frame_bytes = reply_bytes(s, &s->about);
    if (info.memory_bytes < frames)
        return WAGE_E_ARENA;
    s->memory_bytes = info.memory_bytes - frames;
    s->reader.buffer = info.memory + s->memory_bytes;
    s->frame = s->reader.buffer + round_up(s->reader.bytes);
    uint8_t *rest = s->frame + round_up(s->frame_bytes);
    if (s->auth)
        s->auth_state = put_zeros(&rest, sizeof *s->auth_state);
    if (serve_tells(s))
        s->marks = put_zeros(&rest, sizeof *s->marks);
    if (serve_senses(s))
        s->input = put_zeros(&rest, s->about.input_bytes);
    s->window = larger(info.receive_bytes / s->reader.bytes, 1);
    if (!s->model_error)
        s->model_error = open_model(s, &info);
    if (serve_tells(s))
        serve_hear_steps(s);
    if (serve_senses(s))
        serve_await_host(s);
    return WAGE_OK;
}

int serve_reply(struct serve *s, uint8_t type, uint8_t fields)
{
    serve_phase(s, WAGE_PHASE_IDLE); // every request ends here
    if (serve_senses(s) && type != WAGE_NAK
        && (!s->auth || type != WAGE_WELCOME)) // which strangers get, too
        serve_hear_host(s);
    s->message.type = type;
    s->message.fields = fields;
    if (s->auth && s->seal) { // every tail is at the start of this buffer
        s->message.tail = s->reader.buffer;
        s->auth->tag_message(s->seal, AUTH_BOARD, &s->message,
                             s->reader.buffer + s->message.tail_bytes);
        s->message.tail_bytes += AUTH_TAG_BYTES;
    }
    s->frame[0] = 0; // ends a frame that was cut off on its way
    int32_t count = wage_frame_encode(&s->message, s->frame + 1,
                                      s->frame_bytes - 1);
    if (count > 0)
        port_write(s->port, s->frame, (uint32_t)count + 1);
    return WAGE_OK;
}

int serve_answer(struct serve *s, uint8_t type, uint8_t fields)
{
    s->message.tail_bytes = 0;
    return serve_reply(s, type, fields);
}

int serve_refuse(struct serve *s, int error, uint32_t a, uint32_t b)
{
    s->message.field[WAGE_NAK_ERROR] = (uint32_t)-error;
    s->message.field[WAGE_NAK_A] = a;
    s->message.field[WAGE_NAK_B] = b;
    return serve_answer(s, WAGE_NAK, WAGE_NAK_FIELDS);
}

/* Copies a text that is in flash. */
static uint32_t put_text(uint8_t *to, uint32_t room, const char *text)
{
    const uint8_t *from = (const uint8_t *)text;
    uint32_t count = 0;
    while (count < room && wage_fetch8(from + count)) {
        to[count] = wage_fetch8(from + count);
        count++;
    }
    return count;
}

/* Board name, 0, model name, into the reader's buffer: at most 64 bytes. */
static void put_names(struct serve *s, const struct port_info *info)
{
    uint8_t *to = s->reader.buffer;
    uint32_t count = put_text(to, 40, info->name);
    to[count++] = 0;
    if (s->about.name)
        count += put_text(to + count, 15, s->about.name);
    s->message.tail = to;
    s->message.tail_bytes = count;
}

static void welcome_model(struct serve *s, uint32_t *f)
{
    wage_t *w = &s->model;
    f[WAGE_WELCOME_MODEL] = s->about.crc;
    f[WAGE_WELCOME_INPUT_H] = s->about.input_h;
    f[WAGE_WELCOME_INPUT_W] = s->about.input_w;
    f[WAGE_WELCOME_INPUT_C] = s->about.input_c;
    f[WAGE_WELCOME_INPUT_MAP] = s->about.input_map;
    f[WAGE_WELCOME_LATENT_BYTES] = s->about.latent_bytes;
    f[WAGE_WELCOME_CLASSES] = s->about.classes;
    f[WAGE_WELCOME_GENERATION] = w->generation;
    f[WAGE_WELCOME_STREAM] = w->stream;
    f[WAGE_WELCOME_LAST_ID] = w->last_id;
    f[WAGE_WELCOME_SEED] = w->config.seed;
    f[WAGE_WELCOME_LR_SHIFT] = (uint32_t)(int32_t)w->config.lr_shift;
    f[WAGE_WELCOME_REPLAYS] = w->config.replays;
    f[WAGE_WELCOME_GAIN_SHIFT] = w->config.gain_shift;
    f[WAGE_WELCOME_THRESHOLD] = w->config.threshold;
    f[WAGE_WELCOME_LR_FACTOR] = w->config.lr_factor;
    f[WAGE_WELCOME_WEIGHT_CRC] = wage_weight_crc(w);
    f[WAGE_WELCOME_STATE_CRC] = wage_state_crc(w);
    f[WAGE_WELCOME_WEAR] = w->wear;
    f[WAGE_WELCOME_CLASS_TABLE] = w->table;
    f[WAGE_WELCOME_REPLAY_BYTES] = s->about.replay_bytes;
    int32_t count = 0;
    if (s->store) {
        count = wage_guard_count(w, s->store, &f[WAGE_WELCOME_GUARD_SET]);
        f[WAGE_WELCOME_GUARD_ROOM] = wage_guard_room(w, s->store);
    }
    f[WAGE_WELCOME_GUARD_COUNT] = count > 0 ? (uint32_t)count : 0;
}

uint16_t serve_draw_session(struct serve *s)
{
    uint16_t number = (uint16_t)(port_random(s->port) >> 16);
    while (number == 0 || number == s->session)
        number++;
    return number;
}

void serve_begin_session(struct serve *s, uint16_t number, uint16_t hello)
{
    s->session = number;
    s->nonce = hello;
    s->started = 0;
}

static int hello(struct serve *s)
{
    uint32_t *f = s->message.field;
    uint32_t low = f[WAGE_HELLO_PROTOCOL_MIN];
    uint32_t high = f[WAGE_HELLO_PROTOCOL_MAX];
    uint32_t version = high < s->protocol_max ? high : s->protocol_max;
    if (s->message.session == 0)
        return serve_refuse(s, WAGE_E_SESSION, 0, 0);
    if (version < low || version < s->protocol_min)
        return serve_refuse(s, WAGE_E_PROTOCOL, s->protocol_min,
                            s->protocol_max);
    struct port_info info = port_info(s->port);
    if (s->auth)
        s->auth->ask(s, f[WAGE_HELLO_NONCE_A], f[WAGE_HELLO_NONCE_B]);
    else if (s->message.session != s->nonce) // else asked again
        serve_begin_session(s, serve_draw_session(s), s->message.session);
    s->sessions++;
    if (serve_tells(s) && !s->auth)
        s->marks->wanted = f[WAGE_HELLO_MARKS] == 1;
    memset(f, 0, sizeof s->message.field);
    f[WAGE_WELCOME_PROTOCOL_MIN] = s->protocol_min;
    f[WAGE_WELCOME_PROTOCOL_MAX] = s->protocol_max;
    f[WAGE_WELCOME_PROTOCOL] = version;
    f[WAGE_WELCOME_PLACE] = info.place;
    f[WAGE_WELCOME_SESSION] = s->session;
    if (s->auth) {
        f[WAGE_WELCOME_SESSION] = s->seal->number;
        f[WAGE_WELCOME_KEYED] = 1;
        f[WAGE_WELCOME_NONCE_A] = s->seal->board[0];
        f[WAGE_WELCOME_NONCE_B] = s->seal->board[1];
    }
    f[WAGE_WELCOME_SESSIONS] = s->sessions;
    f[WAGE_WELCOME_WINDOW] = s->window;
    f[WAGE_WELCOME_BODY_BYTES] = s->body_bytes;
    f[WAGE_WELCOME_MODEL_ERROR] = (uint32_t)-s->model_error;
    f[WAGE_WELCOME_ARENA_BYTES] = s->about.arena_bytes;
    f[WAGE_WELCOME_MEMORY_BYTES] = s->memory_bytes;
    f[WAGE_WELCOME_STORE_BYTES] = s->store ? s->store->bytes : 0;
    f[WAGE_WELCOME_STORE_ERROR] = (uint32_t)-s->store_error;
    f[WAGE_WELCOME_SLOTS] = s->store ? s->store->slots : 0;
    f[WAGE_WELCOME_PUSHED] = (uint32_t)s->pushed;
    if (serve_tells(s))
        f[WAGE_WELCOME_MARKS] = 1;
    if (serve_senses(s))
        f[WAGE_WELCOME_SENSES] = 1;
    if (s->store)
        f[WAGE_WELCOME_PUSH_ROOM] = wage_push_room(s->store);
    if (!s->model_error)
        welcome_model(s, f);
    put_names(s, &info);
    return serve_reply(s, WAGE_WELCOME, WAGE_WELCOME_FIELDS);
}

static uint8_t fields_needed(uint8_t type)
{
    switch (type) {
    case WAGE_HELLO: return WAGE_HELLO_PROTOCOL_MAX + 1;
    case WAGE_START: return WAGE_START_FIELDS;
    case WAGE_SAMPLE:
    case WAGE_EVAL: return WAGE_SAMPLE_FIELDS;
    case WAGE_RESET: return WAGE_RESET_FIELDS;
    case WAGE_LOOK: return WAGE_LOOK_FIELDS;
    case WAGE_ROLLBACK: return WAGE_ROLLBACK_FIELDS;
    case WAGE_GUARD: return WAGE_GUARD_FIELDS;
    case WAGE_PUSH: return WAGE_PUSH_FIELDS;
    case WAGE_PULL: return WAGE_PULL_FIELDS;
    case WAGE_PROBE: return WAGE_PROBE_FIELDS;
    case WAGE_CLASS: return WAGE_CLASS_FIELDS;
    case WAGE_FORGET: return WAGE_FORGET_FIELDS;
    case WAGE_TEACH: return WAGE_SAMPLE_FIELDS;
    default: return 0;
    }
}

static int answer(struct serve *s)
{
    uint8_t type = s->message.type;
    s->seal = NULL;
    if (type < WAGE_HELLO
        || type > (serve_senses(s) ? WAGE_SENSE : WAGE_FORGET))
        return serve_refuse(s, WAGE_E_TYPE, type, 0);
    if (s->message.fields < fields_needed(type))
        return serve_refuse(s, WAGE_E_PAYLOAD, fields_needed(type),
                            s->message.fields);
    if (type == WAGE_HELLO)
        return hello(s);
    int error = s->auth ? s->auth->let_in(s) : s->session == 0
                || s->message.session != s->session ? WAGE_E_SESSION : WAGE_OK;
    if (error)
        return serve_refuse(s, error, s->nonce, 0);
    if (s->model_error && type != WAGE_RESET && type != WAGE_PUSH)
        return serve_refuse(s, WAGE_E_MODEL, (uint32_t)-s->model_error, 0);
    switch (type) {
    case WAGE_START: return serve_start(s);
    case WAGE_SAMPLE:
    case WAGE_EVAL: return serve_sample(s);
    case WAGE_STATS: return serve_stats(s);
    case WAGE_SAVE:
    case WAGE_ROLLBACK: return serve_save(s);
    case WAGE_LOOK: return serve_look(s);
    case WAGE_GUARD: return serve_guard(s);
    case WAGE_PUSH: return serve_push(s);
    case WAGE_PULL: return serve_pull(s);
    case WAGE_PROBE: return serve_probe(s);
    case WAGE_CLASS: return WAGE_CLASS_TABLES ? serve_class(s) : WAGE_E_NAME;
    case WAGE_FORGET: return WAGE_CLASS_TABLES ? serve_forget(s) : WAGE_E_NAME;
    case WAGE_TEACH: return WAGE_FIELD ? serve_teach(s) : WAGE_E_TYPE;
    case WAGE_SENSE: return WAGE_FIELD ? serve_sense(s) : WAGE_E_TYPE;
    default: return serve_reset(s);
    }
}

int serve_poll(struct serve *s)
{
    uint8_t chunk[32];
    uint32_t count = port_read(s->port, chunk, sizeof chunk);
    for (uint32_t i = 0; i < count && !s->restart; i++) {
        if (serve_tells(s) && s->marks->phase != WAGE_PHASE_RECEIVE)
            serve_phase(s, WAGE_PHASE_RECEIVE);
        int got = wage_reader_push(&s->reader, chunk[i], &s->message);
        if (got < 0) {
            s->frame_errors++;
            s->seal = NULL;
            s->message.session = s->message.seq = 0;
            serve_refuse(s, got, 0, 0);
        } else if (got == 0 && s->reader.used == 0) {
            if (serve_tells(s)) // an empty frame
                serve_phase(s, WAGE_PHASE_IDLE);
        } else if (got > 0) {
            int error = answer(s);
            if (error)
                serve_refuse(s, error, 0, 0);
        }
    }
    if (serve_senses(s) && !s->model_error)
        serve_field(s, count);
    if (s->restart) {
        port_restart(s->port);
        return -1;
    }
    return (int)count;
}

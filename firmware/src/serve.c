/* SPDX-License-Identifier: MIT */
#include "serve.h"

#include <string.h>

#define SPARE_FIELDS 8          /* that a newer host may append */

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

int serve_open(struct serve *s, struct port *port)
{
    struct port_info info = port_info(port);
    *s = (struct serve){ .port = port, .store = info.store,
                         .protocol_min = WAGE_PROTOCOL_MIN,
                         .protocol_max = WAGE_PROTOCOL_MAX };
    // without a usable model the board still talks, and says so
    s->model_error = wage_info(info.blob, info.blob_bytes, &s->about);
    uint32_t classes = s->about.classes;
    uint32_t fields = WAGE_BODY_HEADER_BYTES + 4 * WAGE_FIELDS_MAX;
    uint32_t body = larger(larger(fields, 8 * classes),
                           WAGE_BODY_HEADER_BYTES + s->about.input_bytes
                           + 4 * (WAGE_SAMPLE_FIELDS + SPARE_FIELDS));
    s->body_bytes = body;
    s->reader.bytes = wage_frame_bytes(body);
    s->frame_bytes = 1 + wage_frame_bytes(fields + larger(64, 8 * classes));
    uint32_t frames = round_up(s->reader.bytes) + round_up(s->frame_bytes);
    if (info.memory_bytes < frames)
        return WAGE_E_ARENA;
    s->memory_bytes = info.memory_bytes - frames;
    s->reader.buffer = info.memory + s->memory_bytes;
    s->frame = s->reader.buffer + round_up(s->reader.bytes);
    s->window = larger(info.receive_bytes / s->reader.bytes, 1);
    if (!s->model_error)
        s->model_error = open_model(s, &info);
    return WAGE_OK;
}

static void reply(struct serve *s, uint8_t type, uint8_t fields)
{
    s->message.type = type;
    s->message.fields = fields;
    s->frame[0] = 0; // ends a frame that was cut off on its way
    int32_t count = wage_frame_encode(&s->message, s->frame + 1,
                                      s->frame_bytes - 1);
    if (count > 0)
        port_write(s->port, s->frame, (uint32_t)count + 1);
}

static void refuse(struct serve *s, int error, uint32_t a, uint32_t b)
{
    s->message.field[WAGE_NAK_ERROR] = (uint32_t)-error;
    s->message.field[WAGE_NAK_A] = a;
    s->message.field[WAGE_NAK_B] = b;
    s->message.tail_bytes = 0;
    reply(s, WAGE_NAK, WAGE_NAK_FIELDS);
}

static uint32_t put_text(uint8_t *to, uint32_t room, const char *text)
{
    uint32_t count = 0;
    while (count < room && text[count]) {
        to[count] = (uint8_t)text[count];
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

static void welcome_model(const struct serve *s, uint32_t *f)
{
    const wage_t *w = &s->model;
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
}

static void hello(struct serve *s)
{
    uint32_t *f = s->message.field;
    uint32_t low = f[WAGE_HELLO_PROTOCOL_MIN];
    uint32_t high = f[WAGE_HELLO_PROTOCOL_MAX];
    uint32_t version = high < s->protocol_max ? high : s->protocol_max;
    if (s->message.session == 0) {
        refuse(s, WAGE_E_SESSION, 0, 0);
        return;
    }
    if (version < low || version < s->protocol_min) {
        refuse(s, WAGE_E_PROTOCOL, s->protocol_min, s->protocol_max);
        return;
    }
    struct port_info info = port_info(s->port);
    s->session = s->message.session;
    s->sessions++;
    memset(f, 0, sizeof s->message.field);
    f[WAGE_WELCOME_PROTOCOL_MIN] = s->protocol_min;
    f[WAGE_WELCOME_PROTOCOL_MAX] = s->protocol_max;
    f[WAGE_WELCOME_PROTOCOL] = version;
    f[WAGE_WELCOME_PLACE] = info.place;
    f[WAGE_WELCOME_SESSIONS] = s->sessions;
    f[WAGE_WELCOME_WINDOW] = s->window;
    f[WAGE_WELCOME_BODY_BYTES] = s->body_bytes;
    f[WAGE_WELCOME_MODEL_ERROR] = (uint32_t)-s->model_error;
    f[WAGE_WELCOME_ARENA_BYTES] = s->about.arena_bytes;
    f[WAGE_WELCOME_MEMORY_BYTES] = s->memory_bytes;
    f[WAGE_WELCOME_STORE_BYTES] = s->store ? s->store->bytes : 0;
    f[WAGE_WELCOME_STORE_ERROR] = (uint32_t)-s->store_error;
    if (!s->model_error)
        welcome_model(s, f);
    put_names(s, &info);
    reply(s, WAGE_WELCOME, WAGE_WELCOME_FIELDS);
}

static int start(struct serve *s)
{
    uint32_t *f = s->message.field;
    int32_t lr_shift = (int32_t)f[WAGE_START_LR_SHIFT];
    struct wage_config config = {
        f[WAGE_START_SEED], (int8_t)lr_shift,
        (uint8_t)f[WAGE_START_REPLAYS], (uint8_t)f[WAGE_START_GAIN_SHIFT],
        (uint8_t)f[WAGE_START_THRESHOLD], (uint8_t)f[WAGE_START_LR_FACTOR] };
    if (config.lr_shift != lr_shift || f[WAGE_START_REPLAYS] > 255
        || f[WAGE_START_GAIN_SHIFT] > 255 || f[WAGE_START_THRESHOLD] > 255
        || f[WAGE_START_LR_FACTOR] > 255)
        return WAGE_E_CONFIG;
    int error = wage_start(&s->model, f[WAGE_START_STREAM], &config);
    if (error)
        return error;
    f[WAGE_STARTED_LAST_ID] = s->model.last_id;
    s->message.tail_bytes = 0;
    reply(s, WAGE_STARTED, WAGE_STARTED_FIELDS);
    return WAGE_OK;
}

/* SAMPLE and EVAL. */
static int sample(struct serve *s, int learn)
{
    uint32_t *f = s->message.field;
    uint32_t id = f[WAGE_SAMPLE_ID], label = f[WAGE_SAMPLE_LABEL];
    wage_t *w = &s->model;
    if (s->message.tail_bytes != w->input_bytes) {
        refuse(s, WAGE_E_INPUT, w->input_bytes, s->message.tail_bytes);
        return WAGE_OK;
    }
    if (label >= w->classes) {
        refuse(s, WAGE_E_LABEL, w->classes, label);
        return WAGE_OK;
    }
    if (learn && w->stream && id > w->last_id + 1) {
        refuse(s, WAGE_E_ORDER, w->last_id, id);
        return WAGE_OK;
    }
    const int8_t *x = (const int8_t *)s->message.tail;
    int known = learn && w->stream && id <= w->last_id;
    struct wage_record record = { .prediction = 0 };
    uint32_t before = port_micros(s->port);
    uint8_t class = (uint8_t)label;
    int error = WAGE_OK;
    if (learn && !known)
        error = wage_learn(w, id, x, class, &record);
    else if (!learn)
        error = wage_predict(w, 1, x, &class, &record);
    if (error)
        return error;
    f[WAGE_RECORD_US] = port_micros(s->port) - before;
    f[WAGE_RECORD_ID] = id;
    f[WAGE_RECORD_LABEL] = label;
    f[WAGE_RECORD_PREDICTION] = record.prediction;
    f[WAGE_RECORD_P_LABEL] = record.p_label;
    f[WAGE_RECORD_SKIPPED] = record.skipped;
    f[WAGE_RECORD_KNOWN] = (uint32_t)known;
    s->message.tail_bytes = 0;
    reply(s, WAGE_RECORD, WAGE_RECORD_FIELDS);
    return WAGE_OK;
}

static void put32(uint8_t *to, uint32_t x)
{
    for (unsigned i = 0; i < 4; i++)
        to[i] = (uint8_t)(x >> (8 * i));
}

static int stats(struct serve *s)
{
    uint32_t *f = s->message.field;
    const wage_t *w = &s->model;
    f[WAGE_REPORT_SAMPLES] = w->metrics.samples;
    f[WAGE_REPORT_CORRECT] = w->metrics.correct;
    f[WAGE_REPORT_SKIPPED] = w->metrics.skipped;
    f[WAGE_REPORT_STEPS] = w->metrics.steps;
    f[WAGE_REPORT_STEP] = w->step;
    f[WAGE_REPORT_LAST_ID] = w->last_id;
    f[WAGE_REPORT_GENERATION] = w->generation;
    f[WAGE_REPORT_REPLAY_COUNT] = w->replay_count;
    f[WAGE_REPORT_REPLAY_CAPACITY] = w->replay_capacity;
    f[WAGE_REPORT_FRAME_ERRORS] = s->frame_errors;
    f[WAGE_REPORT_STACK_BYTES] = port_stack_bytes(s->port);
    f[WAGE_REPORT_WEIGHT_CRC] = wage_weight_crc(w);
    f[WAGE_REPORT_STATE_CRC] = wage_state_crc(w);
    for (uint8_t c = 0; c < w->classes; c++) {
        uint32_t seen = 0, correct = 0;
        wage_class_metrics(w, c, &seen, &correct);
        put32(s->reader.buffer + 8 * c, seen);
        put32(s->reader.buffer + 8 * c + 4, correct);
    }
    s->message.tail = s->reader.buffer;
    s->message.tail_bytes = 8u * w->classes;
    reply(s, WAGE_REPORT, WAGE_REPORT_FIELDS);
    return WAGE_OK;
}

static int save(struct serve *s)
{
    if (!s->store)
        return WAGE_E_STORE;
    int error = wage_save(&s->model, s->store);
    if (error)
        return error;
    s->message.field[WAGE_SAVED_GENERATION] = s->model.generation;
    s->message.tail_bytes = 0;
    reply(s, WAGE_SAVED, WAGE_SAVED_FIELDS);
    return WAGE_OK;
}

static int reset(struct serve *s)
{
    uint32_t what = s->message.field[WAGE_RESET_WHAT];
    if (what > WAGE_FACTORY)
        return WAGE_E_CONFIG;
    if (what == WAGE_FACTORY && s->store && s->model_error) {
        refuse(s, WAGE_E_MODEL, (uint32_t)-s->model_error, 0);
        return WAGE_OK;
    }
    if (what == WAGE_FACTORY && s->store) {
        int error = wage_forget(&s->model, s->store);
        if (error)
            return error;
    }
    s->message.tail_bytes = 0;
    reply(s, WAGE_DONE, 0);
    s->restart = 1;
    return WAGE_OK;
}

static uint8_t fields_needed(uint8_t type)
{
    switch (type) {
    case WAGE_HELLO: return WAGE_HELLO_FIELDS;
    case WAGE_START: return WAGE_START_FIELDS;
    case WAGE_SAMPLE:
    case WAGE_EVAL: return WAGE_SAMPLE_FIELDS;
    case WAGE_RESET: return WAGE_RESET_FIELDS;
    default: return 0;
    }
}

static int answer(struct serve *s)
{
    uint8_t type = s->message.type;
    if (type < WAGE_HELLO || type > WAGE_RESET) {
        refuse(s, WAGE_E_TYPE, type, 0);
        return WAGE_OK;
    }
    if (s->message.fields < fields_needed(type)) {
        refuse(s, WAGE_E_PAYLOAD, fields_needed(type), s->message.fields);
        return WAGE_OK;
    }
    if (type == WAGE_HELLO) {
        hello(s);
        return WAGE_OK;
    }
    if (s->session == 0 || s->message.session != s->session)
        return WAGE_E_SESSION;
    if (s->model_error && type != WAGE_RESET) {
        refuse(s, WAGE_E_MODEL, (uint32_t)-s->model_error, 0);
        return WAGE_OK;
    }
    switch (type) {
    case WAGE_START: return start(s);
    case WAGE_SAMPLE: return sample(s, 1);
    case WAGE_EVAL: return sample(s, 0);
    case WAGE_STATS: return stats(s);
    case WAGE_SAVE: return save(s);
    default: return reset(s);
    }
}

int serve_poll(struct serve *s)
{
    uint8_t chunk[32];
    uint32_t count = port_read(s->port, chunk, sizeof chunk);
    for (uint32_t i = 0; i < count && !s->restart; i++) {
        int got = wage_reader_push(&s->reader, chunk[i], &s->message);
        if (got < 0) {
            s->frame_errors++;
            s->message.session = s->message.seq = 0;
            refuse(s, got, 0, 0);
        } else if (got > 0) {
            int error = answer(s);
            if (error)
                refuse(s, error, 0, 0);
        }
    }
    if (s->restart) {
        port_restart(s->port);
        return -1;
    }
    return (int)count;
}

/* SPDX-License-Identifier: MIT */
#include "requests.h"

#include <string.h>

/* What the policy asks for now: saves, or goes back. Returns enum wage_kept
 * or an error. */
static int keep(struct serve *s)
{
    uint32_t refused = s->model.refused;
    int kept = s->store ? wage_due(&s->model, s->store, &s->policy) : 0;
    if (kept > 0) {
        serve_phase(s, WAGE_PHASE_SAVE);
        kept = wage_keep(&s->model, s->store, &s->policy);
    }
    if (kept == WAGE_E_STORE_IO && s->model.refused != refused)
        s->restart = 1; // perhaps half loaded
    if (kept)
        s->erased = 0;
    return kept;
}

/* Between a sample and its answer nothing is on its way to a board that
 * holds one frame: the time to erase. With two slots the other one is the
 * generation before, and stays until it must go. */
static void erase_ahead(struct serve *s)
{
    if (s->policy.every == 0 || s->store->slots < 3 || s->erased)
        return;
    serve_phase(s, WAGE_PHASE_SAVE);
    s->erased = wage_prepare(&s->model, s->store) <= 0;
}

int serve_start(struct serve *s)
{
    uint32_t *f = s->message.field;
    int32_t lr_shift = (int32_t)f[WAGE_START_LR_SHIFT];
    struct wage_config config = {
        f[WAGE_START_SEED], (int8_t)lr_shift,
        (uint8_t)f[WAGE_START_REPLAYS], (uint8_t)f[WAGE_START_GAIN_SHIFT],
        (uint8_t)f[WAGE_START_THRESHOLD], (uint8_t)f[WAGE_START_LR_FACTOR] };
    struct wage_policy policy = {
        f[WAGE_START_EVERY], f[WAGE_START_MARGIN], f[WAGE_START_WEAR_MAX],
        f[WAGE_START_IMPROVED] != 0 };
    if (config.lr_shift != lr_shift || f[WAGE_START_REPLAYS] > 255
        || f[WAGE_START_GAIN_SHIFT] > 255 || f[WAGE_START_THRESHOLD] > 255
        || f[WAGE_START_LR_FACTOR] > 255)
        return WAGE_E_CONFIG;
    if (policy.every && !s->store)
        return WAGE_E_STORE;
    int error = wage_start(&s->model, f[WAGE_START_STREAM], &config);
    if (error)
        return error;
    s->policy = policy;
    s->started = 1;
    error = keep(s);
    if (error < 0)
        return error;
    f[WAGE_STARTED_LAST_ID] = s->model.last_id;
    return serve_answer(s, WAGE_STARTED, WAGE_STARTED_FIELDS);
}

/* Learns the message's sample, or predicts. Returns enum wage_kept or an
 * error. */
static int take(struct serve *s, int learn, struct wage_record *record)
{
    const uint32_t *f = s->message.field;
    const int8_t *x = (const int8_t *)s->message.tail;
    uint8_t label = (uint8_t)f[WAGE_SAMPLE_LABEL];
    serve_phase(s, WAGE_PHASE_FORWARD);
    if (!learn)
        return wage_predict(&s->model, 1, x, &label, record);
    int error = wage_learn(&s->model, f[WAGE_SAMPLE_ID], x, label, record);
    if (error || !s->store)
        return error;
    erase_ahead(s);
    return keep(s);
}

#if WAGE_FIELD // else take() stays inside its one caller, which is smaller
int serve_take(struct serve *s, int learn, struct wage_record *record)
{
    return take(s, learn, record);
}
#endif

/* 1: the tail is no input or the label no class, and that was answered. */
static int unfit(struct serve *s, uint32_t label)
{
    const wage_t *w = &s->model;
    uint32_t bytes = s->message.tail_bytes;
    if (bytes != w->input_bytes)
        serve_refuse(s, WAGE_E_INPUT, w->input_bytes, bytes);
    else if (label >= w->classes)
        serve_refuse(s, WAGE_E_LABEL, w->classes, label);
    else
        return 0;
    return 1;
}

int serve_sample(struct serve *s)
{
    uint32_t *f = s->message.field;
    uint32_t id = f[WAGE_SAMPLE_ID], label = f[WAGE_SAMPLE_LABEL];
    const wage_t *w = &s->model;
    int learn = s->message.type == WAGE_SAMPLE;
    if (unfit(s, label))
        return WAGE_OK;
    if (learn && !s->started)
        return WAGE_E_STREAM;
    if (learn && id > w->last_id + 1)
        return serve_refuse(s, WAGE_E_ORDER, w->last_id, id);
    int known = learn && id <= w->last_id;
    struct wage_record record = { .prediction = 0 };
    uint32_t before = port_micros(s->port);
    int kept = known ? WAGE_NOT_DUE : take(s, learn, &record);
    if (kept < 0)
        return kept;
    uint32_t us = port_micros(s->port) - before;
    if (serve_tells(s))
        serve_send_marks(s);
    f[WAGE_RECORD_US] = us;
    f[WAGE_RECORD_ID] = id;
    f[WAGE_RECORD_LABEL] = label;
    f[WAGE_RECORD_PREDICTION] = record.prediction;
    f[WAGE_RECORD_P_LABEL] = record.p_label;
    f[WAGE_RECORD_SKIPPED] = record.skipped;
    f[WAGE_RECORD_KNOWN] = (uint32_t)known;
    f[WAGE_RECORD_KEPT] = (uint32_t)kept;
    f[WAGE_RECORD_SCORE] = w->score;
    f[WAGE_RECORD_GENERATION] = w->generation;
    return serve_answer(s, WAGE_RECORD, WAGE_RECORD_FIELDS);
}

void serve_put32(uint8_t *to, uint32_t x)
{
    for (unsigned i = 0; i < 4; i++)
        to[i] = (uint8_t)(x >> (8 * i));
}

int serve_stats(struct serve *s)
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
    f[WAGE_REPORT_SCORE] = w->score;
    f[WAGE_REPORT_BEST] = w->best;
    f[WAGE_REPORT_REFUSED] = w->refused;
    for (uint8_t c = 0; c < w->classes; c++) {
        uint32_t seen = 0, correct = 0;
        wage_class_metrics(w, c, &seen, &correct);
        serve_put32(s->reader.buffer + 8 * c, seen);
        serve_put32(s->reader.buffer + 8 * c + 4, correct);
    }
    s->message.tail = s->reader.buffer;
    s->message.tail_bytes = 8u * w->classes;
    return serve_reply(s, WAGE_REPORT, WAGE_REPORT_FIELDS);
}

int serve_look(struct serve *s)
{
    uint32_t *f = s->message.field;
    struct wage_checkpoint found;
    if (!s->store)
        return WAGE_E_STORE;
    int error = wage_look(&s->model, s->store, f[WAGE_LOOK_SLOT], &found);
    if (error)
        return error;
    f[WAGE_SLOT_GENERATION] = found.generation;
    f[WAGE_SLOT_WEAR] = found.wear;
    f[WAGE_SLOT_STATE_CRC] = found.crc;
    f[WAGE_SLOT_OURS] = found.ours;
    f[WAGE_SLOT_FORGOTTEN] = found.forgotten;
    f[WAGE_SLOT_GUARD] = found.guard;
    f[WAGE_SLOT_SCORE] = found.score;
    return serve_answer(s, WAGE_SLOT, WAGE_SLOT_FIELDS);
}

int serve_save(struct serve *s)
{
    uint32_t *f = s->message.field;
    int back = s->message.type == WAGE_ROLLBACK, kept = WAGE_SAVED_NOW;
    if (!s->store)
        return WAGE_E_STORE;
    uint32_t refused = s->model.refused;
    struct wage_policy now = { .margin = s->policy.margin };
    int error = WAGE_OK;
    serve_phase(s, WAGE_PHASE_SAVE);
    if (back)
        error = wage_rollback(&s->model, s->store, f[WAGE_ROLLBACK_GENERATION]);
    else if (s->policy.every) // what was asked for is saved, if it passes
        error = kept = wage_keep(&s->model, s->store, &now);
    else
        error = wage_save(&s->model, s->store);
    s->erased = 0;
    if (error == WAGE_E_STORE_IO && (back || s->model.refused != refused))
        s->restart = 1; // perhaps half loaded
    if (error < 0)
        return error;
    f[WAGE_SAVED_GENERATION] = s->model.generation;
    f[WAGE_SAVED_KEPT] = (uint32_t)kept;
    f[WAGE_SAVED_SCORE] = s->model.score;
    return serve_answer(s, WAGE_SAVED, WAGE_SAVED_FIELDS);
}

int serve_guard(struct serve *s)
{
    const uint32_t *f = s->message.field;
    uint32_t label = f[WAGE_GUARD_LABEL];
    if (!s->store)
        return WAGE_E_STORE;
    if (unfit(s, label))
        return WAGE_OK;
    serve_phase(s, WAGE_PHASE_SAVE);
    int error = wage_guard_put(&s->model, s->store, f[WAGE_GUARD_ID],
                               f[WAGE_GUARD_COUNT], f[WAGE_GUARD_SET],
                               (const int8_t *)s->message.tail,
                               (uint8_t)label);
    if (error)
        return error;
    return serve_answer(s, WAGE_GUARDED, WAGE_GUARDED_FIELDS);
}

/* Whether the model that is whole in the store can be used here: 0 or an
 * error. */
static int check_pushed(struct serve *s, const struct port_info *info)
{
    struct wage_info about;
    int error = wage_info(s->store->memory + wage_push_place(s->store),
                          s->push.bytes, &about);
    if (error)
        return error;
    uint32_t frames = serve_frame_bytes(s, &about);
    return info->memory_bytes < frames
           || about.arena_bytes > info->memory_bytes - frames
           ? WAGE_E_ARENA : WAGE_OK;
}

/* The model is gone as soon as another comes, so until that one is whole and
 * the board starts again there is none. */
int serve_push(struct serve *s)
{
    uint32_t *f = s->message.field;
    struct wage_push model = { .bytes = f[WAGE_PUSH_BYTES],
                               .crc = f[WAGE_PUSH_CRC] };
    struct port_info info = port_info(s->port);
    if (!s->store)
        return WAGE_E_STORE;
    serve_phase(s, WAGE_PHASE_SAVE);
    int error = model.bytes == 0 ? wage_push_remove(s->store)
        : wage_push(&s->push, s->store, &model, f[WAGE_PUSH_AT],
                    s->message.tail, s->message.tail_bytes);
    if (error == WAGE_E_ORDER) {
        int same = s->push.bytes == model.bytes && s->push.crc == model.crc;
        return serve_refuse(s, error, same ? s->push.done : 0,
                            f[WAGE_PUSH_AT]);
    }
    if (!error || error == WAGE_E_STORE_IO)
        s->model_error = WAGE_E_MODEL;
    uint32_t done = !error && model.bytes ? s->push.done : 0;
    if (done && done == model.bytes) {
        error = check_pushed(s, &info);
        if (error)
            return serve_refuse(s, WAGE_E_MODEL, (uint32_t)-error, 0);
        error = wage_push_seal(&s->push, s->store);
    }
    if (error)
        return error;
    s->restart = done == model.bytes;
    f[WAGE_PUSHED_DONE] = done;
    return serve_answer(s, WAGE_PUSHED, WAGE_PUSHED_FIELDS);
}

int serve_pull(struct serve *s)
{
    uint32_t *f = s->message.field, at = f[WAGE_PULL_AT];
    uint8_t *to = s->reader.buffer;
    uint32_t all = wage_read_weights(&s->model, at, to, WAGE_PULL_PART_BYTES);
    if (at > all)
        return WAGE_E_RANGE;
    f[WAGE_PULLED_BYTES] = all;
    s->message.tail = to;
    s->message.tail_bytes = all - at < WAGE_PULL_PART_BYTES
                            ? all - at : WAGE_PULL_PART_BYTES;
    return serve_reply(s, WAGE_PULLED, WAGE_PULLED_FIELDS);
}

int serve_probe(struct serve *s)
{
    uint32_t *f = s->message.field;
    const int8_t *x = (const int8_t *)s->message.tail;
    if (unfit(s, 0))
        return WAGE_OK;
    if (f[WAGE_PROBE_LAYER] >= s->model.layer_count)
        return WAGE_E_RANGE;
    serve_phase(s, WAGE_PHASE_FORWARD);
    f[WAGE_PROBED_CRC] = wage_probe(&s->model, x, f[WAGE_PROBE_LAYER]);
    return serve_answer(s, WAGE_PROBED, WAGE_PROBED_FIELDS);
}

#if WAGE_CLASS_TABLES
int serve_class(struct serve *s)
{
    uint32_t *f = s->message.field, label = f[WAGE_CLASS_LABEL];
    wage_t *w = &s->model;
    if (label >= w->classes)
        return serve_refuse(s, WAGE_E_LABEL, w->classes, label);
    uint8_t *to = s->reader.buffer, c = (uint8_t)label;
    int error = f[WAGE_CLASS_NAMED] == 0 ? WAGE_OK
        : wage_name_class(w, c, (const char *)s->message.tail,
                          s->message.tail_bytes);
    if (error)
        return error;
    const char *name = wage_class_name(w, c);
    const uint16_t *times = wage_confusion(w, c);
    if (!name)
        return WAGE_E_NAME;
    wage_class_metrics(w, c, &f[WAGE_CLASSED_SEEN], &f[WAGE_CLASSED_CORRECT]);
    f[WAGE_CLASSED_TOTAL] = w->class_total[c];
    f[WAGE_CLASSED_STORED] = 0;
    for (uint32_t i = 0; i < w->replay_count; i++)
        f[WAGE_CLASSED_STORED] += w->replay_label[i] == c;
    memcpy(to, name, WAGE_NAME_BYTES);
    for (uint32_t i = 0; i < w->classes; i++) {
        to[WAGE_NAME_BYTES + 2 * i] = (uint8_t)times[i];
        to[WAGE_NAME_BYTES + 2 * i + 1] = (uint8_t)(times[i] >> 8);
    }
    s->message.tail = to;
    s->message.tail_bytes = WAGE_NAME_BYTES + 2u * w->classes;
    return serve_reply(s, WAGE_CLASSED, WAGE_CLASSED_FIELDS);
}

int serve_forget(struct serve *s)
{
    uint32_t *f = s->message.field, label = f[WAGE_FORGET_LABEL];
    wage_t *w = &s->model;
    if (label >= w->classes)
        return serve_refuse(s, WAGE_E_LABEL, w->classes, label);
    serve_phase(s, WAGE_PHASE_SAVE);
    int error = wage_forget_class(w, (uint8_t)label);
    if (!error && s->store)
        error = wage_purge(w, s->store);
    s->erased = 0;
    if (error)
        return error;
    f[WAGE_SAVED_GENERATION] = w->generation;
    f[WAGE_SAVED_KEPT] = s->store ? WAGE_SAVED_NOW : WAGE_NOT_DUE;
    f[WAGE_SAVED_SCORE] = 0;
    return serve_answer(s, WAGE_SAVED, WAGE_SAVED_FIELDS);
}
#endif

int serve_reset(struct serve *s)
{
    uint32_t what = s->message.field[WAGE_RESET_WHAT];
    if (what > WAGE_FACTORY)
        return WAGE_E_CONFIG;
    if (what == WAGE_FACTORY && s->store && s->model_error)
        return serve_refuse(s, WAGE_E_MODEL, (uint32_t)-s->model_error, 0);
    if (what == WAGE_FACTORY && s->store) {
        serve_phase(s, WAGE_PHASE_SAVE);
        int error = wage_forget(&s->model, s->store);
        if (error)
            return error;
    }
    s->restart = 1;
    return serve_answer(s, WAGE_DONE, 0);
}


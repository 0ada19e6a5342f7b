/* SPDX-License-Identifier: MIT
 *
 * Every request, with and without a key, in any state of the board: models of
 * up to 255 classes (STATS: 4; CLASS: 16, 8 samples in the replay) and inputs
 * of up to 300 bytes, names of up to 47. Each is answered once, the answer fits its frame, and nothing is done
 * for who was not let in. serve_open(): memory of up to 4,096 bytes.
 */
#define WAGE_FIELD 1
#define WAGE_PHASES 1
#include "wire.h"

#define wage_frame_encode real_frame_encode
#define wage_frame_decode real_frame_decode
#define wage_reader_push real_reader_push
#include "runtime/wire.c"
#undef wage_frame_encode
#undef wage_frame_decode
#undef wage_reader_push

/* What it copies has no say here, that there is room for it has. */
#include <string.h>
static void copied(void *to, const void *from, uint32_t count);
#define memcpy copied
#include "firmware/src/field.c"
#undef memcpy
#include "firmware/src/keyed.c"
#include "firmware/src/marks.c"
#include "firmware/src/requests.c"
#include "firmware/src/serve.c"

#include "crc.h"
#include "prove.h"

struct port { int nothing; };

static struct port port;
static struct port_info about_port;
static struct serve s;
static uint8_t asked;           /* type of the request; 0: no frame */
static int let;                 /* 1: who asked may */
static int answers;
static char *names;             /* of classes; NULL: no table */
static uint32_t input_most = 300;
static int senses, tells;       /* 1: a board with inputs, with phases */

static void copied(void *to, const void *from, uint32_t count)
{
    readable(from, count);
    writable(to, count);
}

static int any_error(void)
{
    int error = nondet_i32();
    assume(error <= 0 && error >= WAGE_E_NAME);
    return error;
}

/* The decoder's promise, frames.c: a message inside the buffer, or an
 * error. */
int wage_reader_push(struct wage_reader *r, uint8_t byte,
                     struct wage_message *m)
{
    struct wage_message any;
    (void)byte;
    if (!asked) {
        int error = nondet_i32();
        assume(error >= WAGE_E_FRAME_CRC && error <= WAGE_E_COBS);
        return error;
    }
    uint32_t sent = nondet_u8(), tail = WAGE_BODY_HEADER_BYTES + 4 * sent;
    any.type = asked;
    any.fields = (uint8_t)(sent < WAGE_FIELDS_MAX ? sent : WAGE_FIELDS_MAX);
    assume(any.tail_bytes < r->bytes);
    assume(tail + any.tail_bytes + CRC_BYTES < r->bytes);
    any.tail = r->buffer + tail;
    *m = any;
    let = !s.auth && m->session && m->session == s.session;
    return 1;
}

int32_t wage_frame_encode(const struct wage_message *m, uint8_t *frame,
                          uint32_t frame_bytes)
{
    uint32_t body = WAGE_BODY_HEADER_BYTES + 4u * m->fields + m->tail_bytes;
    must(m->fields <= WAGE_FIELDS_MAX && m->type >= WAGE_WELCOME);
    must(wage_frame_bytes(body) <= frame_bytes);
    must((asked >= WAGE_HELLO && asked <= WAGE_SENSE) || m->type == WAGE_NAK);
    readable(m->tail, m->tail_bytes);
    writable(frame, frame_bytes);
    answers++;
    return (int32_t)up_to(frame_bytes - 1) + 1;
}

/* Something is done for who asked. */
static void act(void)
{
    must(let);
}

/* In place of the runtime: what it needs is there, any answer. */
static void need_store(const struct wage_store *store)
{
    must(store != NULL && store == s.store);
}

int wage_start(wage_t *w, uint32_t stream, const struct wage_config *config)
{
    act();
    (void)stream;
    if (config)
        readable(config, sizeof *config);
    w->last_id = nondet_u32();
    return any_error();
}

static int use_sample(wage_t *w, const int8_t *x, uint8_t label,
                      struct wage_record *record)
{
    struct wage_record any;
    act();
    must(label < w->classes);
    readable(x, w->input_bytes);
    *record = any;
    return any_error();
}

int wage_predict(wage_t *w, uint32_t count, const int8_t *x,
                 const uint8_t *labels, struct wage_record *records)
{
    must(count == 1);
    return use_sample(w, x, labels[0], records);
}

int wage_learn(wage_t *w, uint32_t id, const int8_t *x, uint8_t label,
               struct wage_record *record)
{
    must(id == w->last_id + 1);
    w->last_id = nondet_u32();
    return use_sample(w, x, label, record);
}

uint32_t wage_read_weights(const wage_t *w, uint32_t at, uint8_t *bytes,
                           uint32_t count)
{
    uint32_t all = nondet_u32();
    act();
    (void)w;
    assume(all < 1u << 31); // of an arena
    if (at < all)
        writable(bytes, all - at < count ? all - at : count);
    return all;
}

uint32_t wage_probe(wage_t *w, const int8_t *x, uint32_t layer)
{
    act();
    must(layer < w->layer_count);
    readable(x, w->input_bytes);
    return nondet_u32();
}

int wage_class_metrics(const wage_t *w, uint8_t label, uint32_t *seen,
                       uint32_t *correct)
{
    act();
    must(label < w->classes);
    *seen = nondet_u32();
    *correct = nondet_u32();
    return any_error();
}

const char *wage_class_name(const wage_t *w, uint8_t label)
{
    must(label < w->classes);
    return names;
}

const uint16_t *wage_confusion(const wage_t *w, uint8_t label)
{
    must(label < w->classes);
    return w->confusion;
}

int wage_name_class(wage_t *w, uint8_t label, const char *name,
                    uint32_t bytes)
{
    act();
    must(label < w->classes);
    readable(name, bytes);
    return any_error();
}

int wage_forget_class(wage_t *w, uint8_t label)
{
    act();
    must(label < w->classes);
    return any_error();
}

uint32_t wage_weight_crc(const wage_t *w)
{
    (void)w;
    return nondet_u32();
}

uint32_t wage_state_crc(const wage_t *w)
{
    (void)w;
    return nondet_u32();
}

int wage_due(wage_t *w, const struct wage_store *store,
             const struct wage_policy *policy)
{
    act();
    (void)w;
    (void)policy;
    need_store(store);
    return nondet_u8() & 1 ? 1 : any_error();
}

int wage_keep(wage_t *w, const struct wage_store *store,
              const struct wage_policy *policy)
{
    act();
    (void)policy;
    need_store(store);
    w->refused = nondet_u32();
    return nondet_u8() & 1 ? (int)up_to(WAGE_REFUSED) : any_error();
}

int32_t wage_prepare(wage_t *w, const struct wage_store *store)
{
    act();
    (void)w;
    need_store(store);
    return nondet_i32();
}

int wage_save(wage_t *w, const struct wage_store *store)
{
    act();
    need_store(store);
    w->generation = nondet_u32();
    return any_error();
}

int wage_rollback(wage_t *w, const struct wage_store *store,
                  uint32_t generation)
{
    (void)generation;
    return wage_save(w, store);
}

int wage_purge(wage_t *w, const struct wage_store *store)
{
    return wage_save(w, store);
}

int wage_forget(wage_t *w, const struct wage_store *store)
{
    return wage_save(w, store);
}

int wage_look(wage_t *w, const struct wage_store *store, uint32_t slot,
              struct wage_checkpoint *found)
{
    struct wage_checkpoint any;
    act();
    (void)w;
    (void)slot;
    need_store(store);
    *found = any;
    return any_error();
}

int wage_guard_put(wage_t *w, const struct wage_store *store, uint32_t id,
                   uint32_t count, uint32_t set, const int8_t *x,
                   uint8_t label)
{
    struct wage_record record;
    (void)(id + count + set);
    need_store(store);
    return use_sample(w, x, label, &record);
}

int32_t wage_guard_count(wage_t *w, const struct wage_store *store,
                         uint32_t *set)
{
    (void)w;
    need_store(store);
    *set = nondet_u32();
    return nondet_i32();
}

uint32_t wage_guard_room(const wage_t *w, const struct wage_store *store)
{
    (void)w;
    need_store(store);
    return nondet_u32();
}

/* Half of the store, push.c. */
uint32_t wage_push_room(const struct wage_store *store)
{
    need_store(store);
    return store->memory ? store->bytes - store->bytes / 2 : 0;
}

uint32_t wage_push_place(const struct wage_store *store)
{
    need_store(store);
    return store->bytes / 2;
}

int wage_push(struct wage_push *p, const struct wage_store *store,
              const struct wage_push *model, uint32_t at,
              const uint8_t *from, uint32_t count)
{
    struct wage_push any;
    act();
    must(model->bytes);
    readable(from, count);
    *p = any;
    assume(p->bytes <= wage_push_room(store) && p->done <= p->bytes);
    int error = any_error();
    assume(error || (p->bytes == model->bytes && p->done == at + count
                     && p->crc == model->crc && p->done));
    return error;
}

int wage_push_seal(struct wage_push *p, const struct wage_store *store)
{
    act();
    need_store(store);
    must(p->bytes && p->done == p->bytes);
    p->bytes = 0;
    return any_error();
}

int wage_push_remove(const struct wage_store *store)
{
    act();
    need_store(store);
    return any_error();
}

int32_t wage_pushed(const struct wage_store *store)
{
    return nondet_u8() & 1 ? any_error()
                           : (int32_t)up_to(wage_push_room(store));
}

static struct wage_info any_model(void)
{
    struct wage_info about;
    assume(about.classes >= 2 && about.input_bytes >= 1);
    assume(about.input_bytes <= input_most && about.arena_bytes < 1u << 30);
    char *name = (char *)exactly(16);
    name[15] = 0;
    about.name = name;
    return about;
}

int wage_info(const uint8_t *blob, uint32_t blob_bytes,
              struct wage_info *info)
{
    readable(blob, blob_bytes);
    int error = any_error();
    if (!error)
        *info = any_model();
    return error;
}

int wage_open(wage_t *w, const uint8_t *blob, uint32_t blob_bytes,
              uint8_t *arena, uint32_t arena_bytes)
{
    readable(blob, blob_bytes);
    writable(arena, arena_bytes);
    w->generation = nondet_u32();
    return any_error();
}

int wage_restore(wage_t *w, const struct wage_store *store)
{
    (void)w;
    need_store(store);
    return any_error();
}

/* In place of a board. */
struct port_info port_info(struct port *of)
{
    must(of == &port);
    return about_port;
}

uint32_t port_read(struct port *of, uint8_t *to, uint32_t count)
{
    must(of == &port && count >= 1);
    to[0] = nondet_u8();
    return 1;
}

void port_write(struct port *of, const uint8_t *from, uint32_t count)
{
    must(of == &port);
    readable(from, count);
}

uint32_t port_micros(struct port *of)
{
    (void)of;
    return nondet_u32();
}

uint32_t port_random(struct port *of)
{
    (void)of;
    return nondet_u32();
}

uint32_t port_stack_bytes(struct port *of)
{
    (void)of;
    return nondet_u32();
}

void port_phase(struct port *of, enum wage_phase phase)
{
    (void)of;
    (void)phase;
}

void port_restart(struct port *of)
{
    must(s.restart);
    (void)of;
}

/* In place of auth.c. */
void auth_begin(const uint8_t *key, struct auth_session *session)
{
    readable(key, AUTH_KEY_BYTES);
    writable(session->key, AUTH_KEY_BYTES);
}

void auth_tag_body(const struct auth_session *session, enum auth_side side,
                   const uint8_t *body, uint32_t count, uint8_t *tag)
{
    must(side == AUTH_HOST && body == s.reader.buffer);
    readable(body, count);
    let = session->number && session->number == s.message.session
          && s.message.seq > session->seq;
    for (unsigned i = 0; i < AUTH_TAG_BYTES; i++) {
        tag[i] = nondet_u8();
        if (tag[i] != body[count + i])
            let = 0;
    }
}

void auth_tag_message(const struct auth_session *session,
                      enum auth_side side, const struct wage_message *m,
                      uint8_t *tag)
{
    must(side == AUTH_BOARD);
    readable(session, sizeof *session);
    readable(m->tail, m->tail_bytes);
    must(tag == m->tail + m->tail_bytes);
    writable(tag, AUTH_TAG_BYTES);
}

static int any_sense(struct port *of, int8_t *x, uint32_t bytes)
{
    must(of == &port);
    writable(x, bytes);
    return nondet_i32();
}

static int any_label(struct port *of)
{
    must(of == &port);
    return nondet_i32();
}

static void any_show(struct port *of, const struct wage_record *record)
{
    must(of == &port);
    readable(record, sizeof *record);
}

static const struct field field = { any_sense, any_label, any_show,
                                    { .every = 1 } };

/* A port with or without a store and a key. */
static void any_port(void)
{
    static uint8_t key[AUTH_KEY_BYTES];
    static const struct auth auth = AUTH_WITH(key);
    static struct wage_store store;
    static char name[48];
    struct port_info info;
    for (unsigned i = 0; i < sizeof name - 1; i++)
        name[i] = (char)nondet_u8();
    info.name = name;
    info.auth = nondet_u8() & 1 ? &auth : NULL;
    store.bytes = up_to(4096);
    store.slots = nondet_u32();
    store.memory = nondet_u8() & 1 ? exactly(store.bytes) : NULL;
    info.store = nondet_u8() & 1 ? &store : NULL;
    info.field = senses ? &field : NULL;
    info.quiet = !tells;
    info.blob_bytes = up_to(64);
    info.blob = exactly(info.blob_bytes);
    about_port = info;
}

/* What serve_open() leaves, and any session since. */
static void any_serve(uint32_t classes)
{
    struct serve any;
    any_port();
    s = any;
    s.port = &port;
    s.store = about_port.store;
    s.auth = about_port.auth;
    s.auth_state = s.auth ? (void *)exactly(sizeof *s.auth_state) : NULL;
    s.restart = 0;
    s.model_error = any_error();
    s.store_error = any_error();
    s.about = any_model();
    assume(s.about.classes <= classes);
    s.model.classes = s.about.classes;
    s.model.input_bytes = s.about.input_bytes;
    s.model.replay_count = 0; // only CLASS looks at them
    s.field = about_port.field;
    s.input = senses ? (int8_t *)exactly(s.about.input_bytes) : NULL;
    s.tells = tells;
    s.marks = tells ? (void *)exactly(sizeof *s.marks) : NULL;
    assume(!tells || s.marks->count <= WAGE_MARKS_MAX);
    s.reader.bytes = reader_bytes(&s, &s.about);
    s.reader.buffer = exactly(s.reader.bytes);
    s.frame_bytes = reply_bytes(&s, &s.about);
    s.frame = exactly(s.frame_bytes);
    if (s.store)
        assume(s.push.bytes <= s.store->bytes - s.store->bytes / 2);
}

/* What of a model a request about a class needs: samples in the replay, and
 * perhaps a table. */
static void any_classes(void)
{
    wage_t *w = &s.model;
    w->replay_count = (uint16_t)up_to(8);
    w->replay_label = exactly(w->replay_count);
    w->class_total = (uint32_t *)exactly(4u * w->classes);
    w->confusion = (uint16_t *)exactly(2u * w->classes);
    names = nondet_u8() & 1 ? (char *)exactly(WAGE_NAME_BYTES) : NULL;
}

static void request(uint8_t type, uint32_t classes)
{
    any_serve(classes);
    if (type == WAGE_CLASS)
        any_classes();
    asked = type;
    int got = serve_poll(&s);
    must(answers == 1 || (tells && type == WAGE_EVAL && answers == 2));
    must(got == 1 || (got == -1 && s.restart));
    must(got == 1 || let);
}

// --unwind 65
void prove_hello(void) { request(WAGE_HELLO, 255); }

// --unwind 65
void prove_start(void) { request(WAGE_START, 255); }

// --unwind 65 --boolector
void prove_sample(void) { request(WAGE_SAMPLE, 255); }

// --unwind 65 --boolector
void prove_eval(void) { request(WAGE_EVAL, 255); }

// --unwind 65
void prove_stats(void) { request(WAGE_STATS, 4); }

// --unwind 65
void prove_save(void) { request(WAGE_SAVE, 255); }

// --unwind 65 --boolector
void prove_reset(void) { request(WAGE_RESET, 255); }

// --unwind 65
void prove_look(void) { request(WAGE_LOOK, 255); }

// --unwind 65
void prove_rollback(void) { request(WAGE_ROLLBACK, 255); }

// --unwind 65 --boolector
void prove_guard(void) { request(WAGE_GUARD, 255); }

// --unwind 65 --boolector
void prove_push(void) { request(WAGE_PUSH, 255); }

// --unwind 65
void prove_pull(void) { request(WAGE_PULL, 255); }

// --unwind 65 --boolector
void prove_probe(void) { request(WAGE_PROBE, 255); }

// --unwind 65
void prove_class(void) { request(WAGE_CLASS, 16); }

// --unwind 65 --boolector
void prove_forget(void) { request(WAGE_FORGET, 255); }

// --unwind 65 --boolector
void prove_teach(void)
{
    senses = 1;
    request(WAGE_TEACH, 255);
}

// --unwind 65 --boolector
void prove_sense(void)
{
    senses = 1;
    request(WAGE_SENSE, 255);
}

/* What it senses when no host speaks. */
// --unwind 65 --boolector
void prove_field(void)
{
    senses = let = 1;
    any_serve(255);
    serve_field(&s, up_to(32));
    must(answers == 0);
}

// --unwind 330 --boolector
void prove_marks(void)
{
    tells = 1;
    request(WAGE_EVAL, 255);
}

/* Any other type, the replies among them. */
// --unwind 65
void prove_unknown(void)
{
    uint8_t type = nondet_u8();
    senses = nondet_u8() & 1;
    assume(type != 0 && (type < WAGE_HELLO || type > (senses ? WAGE_SENSE : WAGE_FORGET)));
    request(type, 255);
}

/* A frame that did not come whole. */
// --unwind 65
void prove_damaged(void)
{
    request(0, 255);
}

static void open_any(void)
{
    any_port();
    if (senses) { // the rest is as without
        about_port.auth = NULL;
        about_port.store = NULL;
    }
    about_port.memory_bytes = up_to(4096);
    about_port.memory = exactly(about_port.memory_bytes);
    if (serve_open(&s, &port))
        return;
    const uint8_t *end = about_port.memory + about_port.memory_bytes;
    must(s.reader.buffer == about_port.memory + s.memory_bytes);
    must(s.reader.bytes <= (uint32_t)(s.frame - s.reader.buffer));
    must(s.frame_bytes <= (uint32_t)(end - s.frame));
    must(!s.auth || (s.frame + s.frame_bytes <= (uint8_t *)s.auth_state
                     && (uint8_t *)(s.auth_state + 1) <= end));
    must(!senses || (s.frame + s.frame_bytes <= (uint8_t *)s.input
                     && (uint8_t *)s.input + s.about.input_bytes <= end));
    must(s.window >= 1);
}

// --unwind 113 --boolector
void prove_serve_open(void)
{
    open_any();
}

/* With inputs of its own, of up to 32 bytes, without key and store. */
// --unwind 65 --boolector
void prove_serve_open_senses(void)
{
    senses = 1;
    input_most = 32;
    open_any();
}

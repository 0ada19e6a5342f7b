/* SPDX-License-Identifier: MIT
 *
 * Frames. Decoding: any bytes, 16 at most, and one block of up to 230, which
 * has room for all fields. The reader: any byte in any state, with a buffer
 * of up to 12. Encoding: up to 2 fields and 3 bytes of tail, and a
 * tail of 256 bytes, which ends a block of 254.
 */
#include "runtime/wire.c"

#include "prove.h"

#define MOST 16u

/* In place of wage_crc(): any number, and at both ends of a link the same
 * for the same bytes; num.c and the tests see to that. */
static int linked;
static uint32_t crc_of_all;

uint32_t wage_crc(uint32_t crc, const uint8_t *from, uint32_t count)
{
    (void)crc;
    readable(from, count);
    return linked ? crc_of_all : nondet_u32();
}

// --unwind 17
void prove_unstuff(void)
{
    uint32_t count = up_to(MOST);
    uint8_t *frame = exactly(count);
    int32_t got = unstuff(frame, count);
    must(got == WAGE_E_COBS || (got >= 0 && (uint32_t)got <= count));
    must(count == 0 || got < (int32_t)count);
}

/* What decoding promises of a message in `count` bytes. */
static void check_message(const struct wage_message *m, const uint8_t *frame,
                          uint32_t count)
{
    must(m->fields <= WAGE_FIELDS_MAX);
    must(m->tail >= frame + WAGE_BODY_HEADER_BYTES + 4 * m->fields);
    must(m->tail + m->tail_bytes + CRC_BYTES < frame + count);
    uint32_t i = up_to(WAGE_FIELDS_MAX - 1);
    must(i < m->fields || m->field[i] == 0);
}

static int is_frame_error(int error)
{
    return error == WAGE_E_COBS || error == WAGE_E_FRAME_SHORT
           || error == WAGE_E_FRAME_CRC || error == WAGE_E_PAYLOAD;
}

// --unwind 49 --unwindsetname unstuff:0:15,unstuff:1:15
void prove_frame_decode(void)
{
    struct wage_message m;
    uint32_t count = up_to(14);
    uint8_t *frame = exactly(count);
    int got = wage_frame_decode(frame, count, &m);
    must(got == WAGE_OK || is_frame_error(got));
    if (got == WAGE_OK)
        check_message(&m, frame, count);
}

// --unwind 49 --unwindsetname unstuff:0:3,unstuff:1:230
void prove_frame_decode_fields(void)
{
    struct wage_message m;
    uint32_t count = up_to(230);
    assume(count > 0);
    uint8_t *frame = exactly(count);
    frame[0] = (uint8_t)count;
    int got = wage_frame_decode(frame, count, &m);
    if (got == WAGE_OK)
        check_message(&m, frame, count);
}

/* Any state that it can be in; so any row of bytes. */
// --unwind 49 --unwindsetname unstuff:0:13,unstuff:1:13
void prove_reader(void)
{
    struct wage_message m;
    struct wage_reader r;
    r.bytes = up_to(12);
    r.used = up_to(r.bytes + 1);
    r.buffer = exactly(r.bytes);
    uint32_t used = r.used;
    uint8_t byte = nondet_u8();
    int got = wage_reader_push(&r, byte, &m);
    must(r.used <= r.bytes + 1);
    must(byte || r.used == 0);
    must(got == 0 || got == 1 || got == WAGE_E_FRAME_LONG
         || is_frame_error(got));
    must(byte == 0 || got == 0);
    if (got == 1)
        check_message(&m, r.buffer, used);
}

static uint8_t any_tail[3];

static struct wage_message any_message(void)
{
    struct wage_message m;
    m.fields = (uint8_t)up_to(2);
    m.tail_bytes = up_to(sizeof any_tail);
    for (unsigned i = 0; i < sizeof any_tail; i++)
        any_tail[i] = nondet_u8();
    m.tail = any_tail;
    return m;
}

// --unwind 11
void prove_frame_encode(void)
{
    struct wage_message m = any_message();
    uint32_t room = up_to(26), body = WAGE_BODY_HEADER_BYTES
                                      + 4u * m.fields + m.tail_bytes;
    uint8_t *frame = exactly(room);
    int32_t got = wage_frame_encode(&m, frame, room);
    must(got == WAGE_E_FRAME_LONG || (got > 0 && (uint32_t)got <= room));
    must(got > 0 || room < wage_frame_bytes(body));
    if (got > 0) {
        uint32_t i = up_to((uint32_t)got - 1);
        must((frame[i] == 0) == (i + 1 == (uint32_t)got));
    }
}

static void check_same(const struct wage_message *a,
                       const struct wage_message *b)
{
    must(a->type == b->type && a->fields == b->fields);
    must(a->session == b->session && a->seq == b->seq);
    must(a->tail_bytes == b->tail_bytes);
    for (unsigned i = 0; i < a->fields; i++)
        must(a->field[i] == b->field[i]);
    if (a->tail_bytes) {
        uint32_t i = up_to(a->tail_bytes - 1);
        must(a->tail[i] == b->tail[i]);
    }
}

// --unwind 49 --unwindsetname unstuff:0:23,unstuff:1:23
void prove_round_trip(void)
{
    struct wage_message m = any_message(), back;
    uint8_t frame[26];
    linked = 1;
    crc_of_all = nondet_u32();
    int32_t got = wage_frame_encode(&m, frame, sizeof frame);
    must(got > 0);
    must(wage_frame_decode(frame, (uint32_t)got - 1, &back) == WAGE_OK);
    check_same(&m, &back);
}

/* A block of 254 bytes in it, with nothing or something behind. */
// --unwind 257 --unwindsetname unstuff:0:5
void prove_round_trip_long(void)
{
    static uint8_t tail[256];
    struct wage_message m = { .type = 1, .session = 0x101, .seq = 0x101,
                              .tail = tail }, back;
    uint8_t frame[272];
    memset(tail, 1, sizeof tail);
    tail[250] = nondet_u8();
    m.tail_bytes = 240 + up_to(16);
    linked = 1;
    crc_of_all = nondet_u32();
    int32_t got = wage_frame_encode(&m, frame, sizeof frame);
    must(got > 0 && (uint32_t)got <= wage_frame_bytes(6 + m.tail_bytes));
    must(wage_frame_decode(frame, (uint32_t)got - 1, &back) == WAGE_OK);
    check_same(&m, &back);
}

/* SPDX-License-Identifier: MIT
 *
 * Frames. Undoing the stuffing: any up to 10 bytes. Decoding: any up to 12,
 * which are a header and one byte, and one block of up to 24, which has up to
 * 3 fields; 2 are kept here, not 48. The reader: any byte in any state, with a
 * buffer of up to 11. Encoding: one field and one byte of tail into any room
 * up to 20; the stuffing byte by byte in a frame of any length, of which up
 * to 300 bytes are there, as an invariant.
 */
#include "wire.h"
#undef WAGE_FIELDS_MAX
#define WAGE_FIELDS_MAX 2       /* kept of a message; the room is for 48 */
#include "runtime/wire.c"

#include "crc.h"
#include "prove.h"

#define MOST 10u

// --boolector --unwind 11
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
    must(m->fields <= WAGE_FIELDS_MAX && m->tail_bytes < count);
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

// --boolector --unwind 49 --unwindsetname wire.c@unstuff:0:13,
//     wire.c@unstuff:1:13
void prove_frame_decode(void)
{
    struct wage_message m;
    uint32_t count = up_to(12);
    uint8_t *frame = exactly(count);
    int got = wage_frame_decode(frame, count, &m);
    must(got == WAGE_OK || is_frame_error(got));
    if (got == WAGE_OK)
        check_message(&m, frame, count);
}

// --boolector --unwind 49 --unwindsetname wire.c@unstuff:0:24,
//     wire.c@unstuff:1:3
void prove_frame_decode_fields(void)
{
    struct wage_message m;
    uint32_t count = up_to(24);
    assume(count > 0);
    uint8_t *frame = exactly(count);
    frame[0] = (uint8_t)count;
    int got = wage_frame_decode(frame, count, &m);
    if (got == WAGE_OK)
        check_message(&m, frame, count);
}

/* Any state that it can be in; so any row of bytes. */
// --boolector --unwind 49 --unwindsetname wire.c@unstuff:0:12,
//     wire.c@unstuff:1:12
void prove_reader(void)
{
    struct wage_message m;
    struct wage_reader r;
    r.bytes = up_to(11);
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

static uint8_t any_tail[MOST];

static struct wage_message any_message(uint8_t fields, uint32_t tail_bytes)
{
    struct wage_message m;
    any_bytes(any_tail);
    m.fields = fields;
    m.tail_bytes = tail_bytes;
    m.tail = any_tail;
    return m;
}

/* Whatever the room. */
static int32_t encode(uint8_t fields, uint32_t tail_bytes, uint8_t *to,
                      uint32_t room)
{
    struct wage_message m = any_message(fields, tail_bytes);
    uint32_t most = wage_frame_bytes(WAGE_BODY_HEADER_BYTES + 4u * fields
                                     + tail_bytes);
    int32_t got = wage_frame_encode(&m, to, room);
    must(got == WAGE_E_FRAME_LONG || (got > 0 && (uint32_t)got <= room));
    must(got > 0 || room < most);
    must(got < 0 || got >= 12 + 4 * fields + (int32_t)tail_bytes);
    return got;
}

void prove_frame_encode(void)
{
    uint8_t frame[20];
    uint32_t room = up_to(sizeof frame);
    (void)encode(1, 1, last_of(frame, room), room);
}

/* A 0 ends it, and there is no other. */
void prove_frame_ends(void)
{
    uint8_t frame[12];
    int32_t got = encode(0, 0, frame, sizeof frame);
    must(got > 0);
    uint32_t i = up_to((uint32_t)got - 1);
    must((frame[i] == 0) == (i + 1 == (uint32_t)got));
}

/* One more byte, at any place of a frame of any length. */
void prove_stuff(void)
{
    struct cobs c;
    uint8_t byte = nondet_u8();
    c.bytes = up_to(300);
    c.to = exactly(c.bytes);
    assume(c.code < c.used && c.used - c.code <= 255 && c.used < 1u << 31);
    uint32_t code = c.code, used = c.used;
    stuff(&c, &byte, 1);
    must(c.code < c.used && c.used - c.code <= 255);
    must(c.used == used + 1 || (c.used == used + 2 && used - code == 255));
    must(c.code == code || code >= c.bytes || c.to[code] != 0);
    must(!byte || c.used > c.bytes || c.to[c.used - 1] == byte);
}

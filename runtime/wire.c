/* SPDX-License-Identifier: MIT */
#include "wire.h"
#include "num.h"

#include "wage.h"

#define CRC_BYTES 4

/* Consistent overhead byte stuffing as bytes come. */
struct cobs {
    uint8_t *to;
    uint32_t bytes;             /* room */
    uint32_t used;              /* may run past `bytes`: too long */
    uint32_t code;              /* where the current block's length goes */
};

static void put(struct cobs *c, uint8_t byte)
{
    if (c->used < c->bytes)
        c->to[c->used] = byte;
    c->used++;
}

static void close_block(struct cobs *c)
{
    if (c->code < c->bytes)
        c->to[c->code] = (uint8_t)(c->used - c->code);
    c->code = c->used;
    put(c, 0);
}

static void stuff(struct cobs *c, const uint8_t *from, uint32_t count)
{
    while (count--) {
        // a full block is closed by what follows it, not by its end
        if (c->used - c->code == 255)
            close_block(c);
        if (*from)
            put(c, *from);
        else
            close_block(c);
        from++;
    }
}

/* Undoes it in place. Returns the bytes, or WAGE_E_COBS. */
static int32_t unstuff(uint8_t *frame, uint32_t count)
{
    uint32_t from = 0, to = 0;
    while (from < count) {
        uint8_t code = frame[from++];
        if (code == 0 || code - 1u > count - from)
            return WAGE_E_COBS;
        for (uint8_t i = 1; i < code; i++) {
            if (frame[from] == 0)
                return WAGE_E_COBS;
            frame[to++] = frame[from++];
        }
        if (code < 255 && from < count)
            frame[to++] = 0;
    }
    return (int32_t)to;
}

uint32_t wage_frame_bytes(uint32_t body_bytes)
{
    uint32_t bytes = body_bytes + CRC_BYTES;
    return bytes + bytes / 254 + 2;
}

int32_t wage_frame_encode(const struct wage_message *message, uint8_t *frame,
                          uint32_t frame_bytes)
{
    struct cobs c = { frame, frame_bytes, 0, 0 };
    uint8_t part[WAGE_BODY_HEADER_BYTES] = { message->type,
                                             message->fields };
    store16(part + 2, message->session);
    store16(part + 4, message->seq);
    put(&c, 0);
    stuff(&c, part, sizeof part);
    uint32_t crc = wage_crc(0, part, sizeof part);
    for (unsigned i = 0; i < message->fields; i++) {
        store32(part, message->field[i]);
        stuff(&c, part, 4);
        crc = wage_crc(crc, part, 4);
    }
    stuff(&c, message->tail, message->tail_bytes);
    store32(part, wage_crc(crc, message->tail, message->tail_bytes));
    stuff(&c, part, CRC_BYTES);
    if (c.code < c.bytes)
        frame[c.code] = (uint8_t)(c.used - c.code);
    put(&c, 0);
    return c.used > c.bytes ? WAGE_E_FRAME_LONG : (int32_t)c.used;
}

int wage_frame_decode(uint8_t *frame, uint32_t count,
                      struct wage_message *message)
{
    int32_t bytes = unstuff(frame, count);
    if (bytes < 0)
        return (int)bytes;
    if (bytes < WAGE_BODY_HEADER_BYTES + CRC_BYTES)
        return WAGE_E_FRAME_SHORT;
    uint32_t body = (uint32_t)bytes - CRC_BYTES;
    if (load32(frame + body) != wage_crc(0, frame, body))
        return WAGE_E_FRAME_CRC;
    uint32_t tail = WAGE_BODY_HEADER_BYTES + 4u * frame[1];
    if (tail > body)
        return WAGE_E_PAYLOAD;
    message->type = frame[0];
    message->fields = frame[1] < WAGE_FIELDS_MAX ? frame[1]
                                                 : WAGE_FIELDS_MAX;
    message->session = load16(frame + 2);
    message->seq = load16(frame + 4);
    for (unsigned i = 0; i < WAGE_FIELDS_MAX; i++)
        message->field[i] = i < message->fields
            ? load32(frame + WAGE_BODY_HEADER_BYTES + 4 * i) : 0;
    message->tail = frame + tail;
    message->tail_bytes = body - tail;
    return WAGE_OK;
}

int wage_reader_push(struct wage_reader *reader, uint8_t byte,
                     struct wage_message *message)
{
    if (byte != 0) {
        if (reader->used < reader->bytes)
            reader->buffer[reader->used] = byte;
        if (reader->used <= reader->bytes)
            reader->used++;
        return 0;
    }
    uint32_t count = reader->used;
    reader->used = 0;
    if (count == 0) // an empty frame: the line was being flushed
        return 0;
    if (count > reader->bytes)
        return WAGE_E_FRAME_LONG;
    int error = wage_frame_decode(reader->buffer, count, message);
    return error ? error : 1;
}

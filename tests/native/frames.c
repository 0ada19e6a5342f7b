/* SPDX-License-Identifier: MIT
 *
 * Bytes to the serve loop of a simulated board, under sanitizers.
 *
 *     frames STORE [MEMORY_BYTES]
 *
 * The first case is the blob. Case "R": a new board with an erased store,
 * "N": one without a store. Any other case is bytes for the board, then a
 * probe (HELLO, STATS). A line: answers in hex, answers to the probe in hex,
 * CRC of the store; "-" for nothing.
 */
#include "cases.h"
#include "serve.h"
#include "sim.h"

#include <sanitizer/asan_interface.h>
#include <stdio.h>

#define SESSION 0x5157
#define STORE_BYTES 40960u

struct board {
    struct port *port;
    struct serve serve;
    const char *store;
    const uint8_t *blob;
    uint32_t blob_bytes, memory_bytes;
};

static void fence(struct board *b, int up)
{
    struct port_info info = port_info(b->port);
    uint32_t used = (b->serve.about.arena_bytes + 7) & ~(uint32_t)7;
    if (b->serve.model_error || used > b->serve.memory_bytes)
        return;
    if (up)
        __asan_poison_memory_region(info.memory + used,
                                    b->serve.memory_bytes - used);
    else
        __asan_unpoison_memory_region(info.memory, info.memory_bytes);
}

static void serve_again(struct board *b)
{
    fail_unless(serve_open(&b->serve, b->port) == WAGE_OK, "no frames fit");
    fence(b, 1);
}

static void new_board(struct board *b, const char *store)
{
    if (b->port)
        fence(b, 0);
    sim_close(b->port);
    if (store)
        remove(store);
    b->port = sim_open(b->blob, b->blob_bytes, b->memory_bytes, store,
                       STORE_BYTES);
    fail_unless(b->port != NULL, "no simulated board");
    sim_random(b->port, (uint32_t)SESSION << 16, 0); // numbers of sessions
#ifdef FUZZ
    sim_tell(b->port);
#endif
    serve_again(b);
}

/* Gives bytes to the board and prints what it answers. */
static void exchange(struct board *b, const uint8_t *from, uint32_t count)
{
    uint8_t answer[4096];
    uint32_t got, all = 0;
    int now;
    sim_send(b->port, from, count);
    while ((now = serve_poll(&b->serve)) != 0) {
        if (now > 0)
            continue;
        fence(b, 0);
        serve_again(b);
    }
    while ((got = sim_receive(b->port, answer, sizeof answer)) != 0) {
        for (uint32_t i = 0; i < got; i++)
            printf("%02x", (unsigned)answer[i]);
        all += got;
    }
    if (all == 0)
        putchar('-');
}

static void probe(struct board *b)
{
    struct wage_message m = { .type = WAGE_HELLO, .session = SESSION,
        .fields = WAGE_HELLO_FIELDS };
    uint8_t frames[64] = { 0 };
    m.field[WAGE_HELLO_PROTOCOL_MIN] = WAGE_PROTOCOL_MIN;
    m.field[WAGE_HELLO_PROTOCOL_MAX] = WAGE_PROTOCOL_MAX;
    int32_t hello = wage_frame_encode(&m, frames, sizeof frames);
    fail_unless(hello > 0, "the probe could not be encoded");
    exchange(b, frames, (uint32_t)hello);
    m = (struct wage_message){ .type = WAGE_STATS,
                               .session = b->serve.session };
    int32_t stats = wage_frame_encode(&m, frames, sizeof frames);
    fail_unless(stats > 0, "the probe could not be encoded");
    exchange(b, frames, (uint32_t)stats);
}

static uint32_t store_crc(struct board *b)
{
    static uint8_t all[STORE_BYTES];
    const struct wage_store *store = port_info(b->port).store;
    if (!store)
        return 0;
    fail_unless(!store->read(store->context, 0, all, STORE_BYTES), "read");
    return wage_crc(0, all, STORE_BYTES);
}

/* The same bytes through a reader with no byte to spare around it. */
static void read_alone(const uint8_t *from, uint32_t count, uint32_t room)
{
    struct wage_reader reader = { exactly(room), room, 0 };
    struct wage_message message;
    for (uint32_t i = 0; i < count; i++) {
        int got = wage_reader_push(&reader, from[i], &message);
        fail_unless(got <= 1, "more than one frame at once");
        if (got == 1)
            fail_unless(message.tail >= reader.buffer
                        && message.tail_bytes <= room
                        && message.tail + message.tail_bytes
                           <= reader.buffer + room, "a tail outside");
    }
    free(reader.buffer);
}

static struct board b = { .memory_bytes = 4096 };

static void begin(uint8_t *blob, uint32_t bytes)
{
    b.blob = blob;
    b.blob_bytes = bytes;
    if (!b.store)
        b.store = getenv("WAGE_FUZZ_STORE");
    new_board(&b, b.store);
    puts("blob");
}

static void one(const uint8_t *input, uint32_t bytes)
{
    if (bytes == 1 && (input[0] == 'R' || input[0] == 'N')) {
        new_board(&b, input[0] == 'R' ? b.store : NULL);
        putchar('-');
    } else {
        read_alone(input, bytes, b.serve.reader.bytes);
        read_alone(input, bytes, 24);
        exchange(&b, input, bytes);
    }
    putchar(' ');
    probe(&b);
    printf(" %08x\n", (unsigned)store_crc(&b));
}

#ifdef FUZZ
/* Pieces (type, fields, tail bytes, the fields, the tail) as frames of the
 * session, to a new board with the probe's HELLO. */
static uint8_t *seal(uint8_t *input, uint32_t *bytes)
{
    uint8_t *frames = exactly(8 * *bytes + 64);
    uint32_t used = 0, at = 0;
    one((const uint8_t *)"R", 1);
    while (at + 3 <= *bytes) {
        struct wage_message m = { .type = input[at], .session = SESSION,
            .fields = input[at + 1] % (WAGE_FIELDS_MAX + 1) };
        uint32_t tail = input[at + 2];
        for (at += 3; m.seq < m.fields && at + 4 <= *bytes; at += 4)
            m.field[m.seq++] = load32(input + at);
        m.fields = (uint8_t)m.seq;
        m.tail = input + at;
        m.tail_bytes = tail < *bytes - at ? tail : *bytes - at;
        at += m.tail_bytes;
        int32_t got = wage_frame_encode(&m, frames + used,
                                        8 * *bytes + 64 - used);
        used += got > 0 ? (uint32_t)got : 0;
    }
    free(input);
    *bytes = used;
    return frames;
}
#else
int main(int count, char **arguments)
{
    uint32_t bytes;
    uint8_t *input, *blob;
    fail_unless(count > 1, "usage: frames STORE [MEMORY_BYTES]");
    b.store = arguments[1];
    if (count > 2)
        b.memory_bytes = (uint32_t)atol(arguments[2]);
    blob = next_case(&bytes);
    begin(blob, bytes);
    while ((input = next_case(&bytes)) != NULL) {
        one(input, bytes);
        free(input);
    }
    fence(&b, 0);
    sim_close(b.port);
    remove(b.store);
    free(blob);
    return 0;
}
#endif

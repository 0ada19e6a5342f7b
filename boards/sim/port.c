/* SPDX-License-Identifier: MIT */
// NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
#define _POSIX_C_SOURCE 200809L

#include "sim.h"

#include "file.h"

#include <stdlib.h>
#include <string.h>

#define RECEIVE_BYTES 4096      /* what a driver with a buffer would hold */

struct queue {
    uint8_t *bytes;
    uint32_t first, end, room;
};

struct port {
    struct queue in, out;
    uint8_t *blob, *memory;
    uint32_t blob_bytes, memory_bytes;
    uint32_t random, step;      /* sim_random() */
    uint64_t phases;            /* sim_phases() */
    int tells;                  /* sim_tell() */
    const struct field *field;  /* sim_field() */
    struct auth auth;           /* key NULL: none */
    int file;                   /* -1: no store */
    uint8_t *image;             /* what is in the file */
    struct wage_store store;
};

static int push(struct queue *q, const uint8_t *from, uint32_t count)
{
    if (q->first == q->end)
        q->first = q->end = 0;
    if (q->room - q->end < count) {
        uint32_t room = 2 * (q->end + count);
        uint8_t *bytes = realloc(q->bytes, room);
        if (!bytes)
            return -1;
        q->bytes = bytes;
        q->room = room;
    }
    if (count)
        memcpy(q->bytes + q->end, from, count);
    q->end += count;
    return 0;
}

static uint32_t pop(struct queue *q, uint8_t *to, uint32_t count)
{
    if (count > q->end - q->first)
        count = q->end - q->first;
    if (count)
        memcpy(to, q->bytes + q->first, count);
    q->first += count;
    return count;
}

static int flash_read(void *context, uint32_t at, uint8_t *to,
                      uint32_t count)
{
    struct port *p = context;
    return file_read(p->file, at, to, count) ? WAGE_E_STORE_IO : WAGE_OK;
}

static int flash_write(struct port *p, uint32_t at, const uint8_t *from,
                       uint32_t count)
{
    if (at > p->store.bytes || count > p->store.bytes - at)
        return WAGE_E_STORE_IO;
    memcpy(p->image + at, from, count);
    return file_write(p->file, at, from, count) ? WAGE_E_STORE_IO : WAGE_OK;
}

static int flash_program(void *context, uint32_t at, const uint8_t *from,
                         uint32_t count)
{
    struct port *p = context;
    if (at % SIM_PROGRAM_BYTES || count % SIM_PROGRAM_BYTES)
        return WAGE_E_STORE_IO;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t was;
        // a cleared bit comes back by erasing only
        if (flash_read(p, at + i, &was, 1) || (was & from[i]) != from[i])
            return WAGE_E_STORE_IO;
    }
    return flash_write(p, at, from, count);
}

static int flash_erase(void *context, uint32_t at)
{
    uint8_t blank[SIM_ERASE_BYTES];
    if (at % SIM_ERASE_BYTES)
        return WAGE_E_STORE_IO;
    memset(blank, 0xff, sizeof blank);
    return flash_write(context, at, blank, sizeof blank);
}

static int open_store(struct port *p, const char *name, uint32_t bytes)
{
    p->file = file_open(name);
    p->image = malloc(bytes);
    if (p->file < 0 || !p->image)
        return -1;
    p->store = (struct wage_store){
        .read = flash_read, .program = flash_program, .erase = flash_erase,
        .context = p, .bytes = bytes, .erase_bytes = SIM_ERASE_BYTES,
        .program_bytes = SIM_PROGRAM_BYTES, .slots = SIM_SLOTS,
        .guard_bytes = bytes / 8 / SIM_ERASE_BYTES * SIM_ERASE_BYTES,
        .memory = p->image };
    int64_t size = file_bytes(p->file);
    if (size == 0) // a new chip comes erased
        for (uint32_t at = 0; at < bytes; at += SIM_ERASE_BYTES)
            if (flash_erase(p, at))
                return -1;
    return (size == 0 || size == (int64_t)bytes)
           && !flash_read(p, 0, p->image, bytes) ? 0 : -1;
}

struct port *sim_open(const uint8_t *blob, uint32_t blob_bytes,
                      uint32_t memory_bytes, const char *store,
                      uint32_t store_bytes)
{
    struct port *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->file = -1;
    p->blob = malloc(blob_bytes + 1);
    p->memory = malloc(memory_bytes + 1);
    p->blob_bytes = blob_bytes;
    p->memory_bytes = memory_bytes;
    if (!p->blob || !p->memory
        || (store && open_store(p, store, store_bytes))) {
        sim_close(p);
        return NULL;
    }
    memcpy(p->blob, blob, blob_bytes);
    return p;
}

void sim_close(struct port *p)
{
    if (!p)
        return;
    if (p->file >= 0)
        file_close(p->file);
    free(p->in.bytes);
    free(p->out.bytes);
    free(p->blob);
    free(p->memory);
    free(p->image);
    free(p);
}

void sim_random(struct port *p, uint32_t first, uint32_t step)
{
    p->random = first;
    p->step = step;
}

void sim_key(struct port *p, const uint8_t *key)
{
    p->auth = (struct auth)AUTH_WITH(key);
}

void sim_tell(struct port *p)
{
    p->tells = 1;
}

void sim_field(struct port *p, const struct field *field)
{
    p->field = field;
}

uint64_t sim_phases(const struct port *p)
{
    return p->phases;
}

struct wage_store *sim_store(struct port *p)
{
    return &p->store;
}

int sim_send(struct port *p, const uint8_t *from, uint32_t count)
{
    return push(&p->in, from, count);
}

uint32_t sim_receive(struct port *p, uint8_t *to, uint32_t count)
{
    return pop(&p->out, to, count);
}

struct port_info port_info(struct port *p)
{
    return (struct port_info){
        "sim", WAGE_PLACE_HOST, p->blob, p->blob_bytes, p->memory,
        p->memory_bytes, p->file >= 0 ? &p->store : NULL,
        p->auth.key ? &p->auth : NULL, RECEIVE_BYTES,
        p->field, !p->tells };
}

uint32_t port_read(struct port *p, uint8_t *to, uint32_t count)
{
    return pop(&p->in, to, count);
}

void port_write(struct port *p, const uint8_t *from, uint32_t count)
{
    push(&p->out, from, count);
}

uint32_t port_micros(struct port *p)
{
    struct timespec now = file_now();
    (void)p;
    return (uint32_t)((uint64_t)now.tv_sec * 1000000u
                      + (uint64_t)now.tv_nsec / 1000u);
}

uint32_t port_random(struct port *p)
{
    uint32_t random = p->random;
    p->random += p->step;
    return random;
}

uint32_t port_stack_bytes(struct port *p)
{
    (void)p;
    return 0;
}

void port_phase(struct port *p, enum wage_phase phase)
{
    if ((p->phases & 15) != phase)
        p->phases = p->phases << 4 | phase;
}

void port_restart(struct port *p)
{
    // what was on its way in is lost, as in a real reset
    p->in.first = p->in.end = 0;
}

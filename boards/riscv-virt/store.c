/* SPDX-License-Identifier: MIT
 *
 * Two chips of 16 bits with Intel's commands (CFI command set 1) side by side
 * on a bus of 32: each gets each command and gives its status in its half.
 *
 * No watchdog is started, so `busy` is NULL. It would be called before each
 * command sequence only: a real chip erases a sector in up to 4 s, so a
 * watchdog that is shorter would have to be fed in wait_ready(), too.
 */
#include "board.h"
#include "port.h"

#include <string.h>

#define SECTOR_BYTES (256u * 1024u) // 128 KiB of each chip
/* Of 512 KiB, as much as all memory: every model can be saved. Six give four
 * older generations to go back to while the next slot is erased ahead; each
 * costs time in a save, which reads all of them. */
#define SLOTS 6u
#define GUARD_BYTES SECTOR_BYTES
#define MODEL_BYTES SECTOR_BYTES
#define STORE_BYTES (SLOTS * 2u * SECTOR_BYTES + MODEL_BYTES + GUARD_BYTES)
#define WORD_BYTES 4u           // one command: the least that both program
#define WAIT_LIMIT_US 5000000u

#define FLASH 0x22000000u
#define BUS(at) (*(volatile uint32_t *)(FLASH + (at)))
#define BOTH(command) ((command) * 0x00010001u)
#define READ_ARRAY BOTH(0xFFu)
#define CLEAR_STATUS BOTH(0x50u)
#define PROGRAM BOTH(0x40u)
#define ERASE BOTH(0x20u)
#define ERASE_CONFIRM BOTH(0xD0u)
#define STATUS_READY BOTH(0x80u)
#define STATUS_ERRORS BOTH(0x3Au) // erase, program, voltage, locked

static int fits(uint32_t at, uint32_t count, uint32_t unit)
{
    return at % unit == 0 && count % unit == 0 && at <= STORE_BYTES
           && count <= STORE_BYTES - at;
}

/* The end of a command at `at`. Returns 0 or an error. */
static int wait_ready(struct port *port, uint32_t at)
{
    uint32_t start = port_micros(port), status;

    while (((status = BUS(at)) & STATUS_READY) != STATUS_READY)
        if (port_micros(port) - start > WAIT_LIMIT_US)
            return WAGE_E_STORE_IO;
    return (status & STATUS_ERRORS) ? WAGE_E_STORE_IO : WAGE_OK;
}

static int store_read(void *context, uint32_t at, uint8_t *to, uint32_t count)
{
    (void)context;
    memcpy(to, (const uint8_t *)FLASH + at, count);
    return WAGE_OK;
}

static uint32_t word_of(const uint8_t *from)
{
    uint32_t word;

    memcpy(&word, from, WORD_BYTES); // `from` may lie anywhere
    return word;
}

static int store_program(void *context, uint32_t at, const uint8_t *from,
                         uint32_t count)
{
    int error = WAGE_OK;

    if (!fits(at, count, WORD_BYTES))
        return WAGE_E_STORE_IO;
    // a cleared bit comes back by erasing only; QEMU would set it
    for (uint32_t i = 0; i < count; i += WORD_BYTES)
        if (word_of(from + i) & ~BUS(at + i))
            return WAGE_E_STORE_IO;
    BUS(at) = CLEAR_STATUS;
    for (uint32_t i = 0; i < count && !error; i += WORD_BYTES) {
        BUS(at + i) = PROGRAM;
        BUS(at + i) = word_of(from + i);
        error = wait_ready(context, at + i);
    }
    BUS(at) = READ_ARRAY;
    return error;
}

static int store_erase(void *context, uint32_t at)
{
    int error;

    if (!fits(at, SECTOR_BYTES, SECTOR_BYTES))
        return WAGE_E_STORE_IO;
    BUS(at) = CLEAR_STATUS;
    BUS(at) = ERASE;
    BUS(at) = ERASE_CONFIRM;
    error = wait_ready(context, at);
    BUS(at) = READ_ARRAY;
    return error;
}

struct wage_store board_store(struct port *port)
{
    BUS(0) = READ_ARRAY;
    return (struct wage_store){
        .read = store_read,
        .program = store_program,
        .erase = store_erase,
        .context = port,
        .bytes = STORE_BYTES,
        .erase_bytes = SECTOR_BYTES,
        .program_bytes = WORD_BYTES,
        .slots = SLOTS,
        .guard_bytes = GUARD_BYTES,
        .model_bytes = MODEL_BYTES,
        .memory = (const uint8_t *)FLASH
    };
}

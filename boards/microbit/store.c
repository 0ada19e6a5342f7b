/* SPDX-License-Identifier: MIT
 *
 * The store in the pages behind the image, through the NVMC, which halts the
 * CPU while it works: 22 ms to erase a page, and nothing is received then.
 *
 * No watchdog is started, so `busy` is NULL. One of 0.2 s would do: between
 * two calls of `busy` lies at most a page's erasure, or the runtime's own
 * work, 250,000 instructions in a save and 610,000 on the way back to the
 * factory's weights (emulator, a checkpoint of 9.6 KB).
 */
#include "board.h"
#include "port.h"

#include <string.h>

#define PAGE_BYTES 1024u
#define WORD_BYTES 4u
/* Of 13 KB, as much as all memory: every model that fits the board can be
 * saved. Four, since a page bears 20,000 erasures. */
#define SLOTS 4u
#define GUARD_BYTES (12u * PAGE_BYTES)
#define MODEL_BYTES (16u * PAGE_BYTES) // what both leave of 80 KB
#define WAIT_LIMIT_US 1000000u

#define REG(address) (*(volatile uint32_t *)(address))
#define NVMC_READY REG(0x4001E400u)
#define NVMC_CONFIG REG(0x4001E504u)
#define NVMC_ERASEPAGE REG(0x4001E508u)
#define READ_ONLY 0u
#define WRITE_ENABLE 1u
#define ERASE_ENABLE 2u

extern uint8_t store_start[], store_end[]; // link.ld

static uint32_t store_bytes(void)
{
    return (uint32_t)((uintptr_t)store_end - (uintptr_t)store_start);
}

/* Whole units inside the store: a mistake here would erase the program. */
static int fits(uint32_t at, uint32_t count, uint32_t unit)
{
    return at % unit == 0 && count % unit == 0 && at <= store_bytes()
           && count <= store_bytes() - at;
}

static int wait_ready(struct port *port)
{
    uint32_t start = port_micros(port);

    while (!(NVMC_READY & 1u))
        if (port_micros(port) - start > WAIT_LIMIT_US)
            return WAGE_E_STORE_IO;
    return WAGE_OK;
}

static int store_read(void *context, uint32_t at, uint8_t *to, uint32_t count)
{
    (void)context;
    memcpy(to, store_start + at, count);
    return WAGE_OK;
}

static int store_program(void *context, uint32_t at, const uint8_t *from,
                         uint32_t count)
{
    int error;

    if (!fits(at, count, WORD_BYTES))
        return WAGE_E_STORE_IO;
    error = wait_ready(context);
    if (error)
        return error;
    NVMC_CONFIG = WRITE_ENABLE;
    for (uint32_t i = 0; i < count && !error; i += WORD_BYTES) {
        uint32_t word;
        memcpy(&word, from + i, WORD_BYTES); // `from` may lie anywhere
        REG((uintptr_t)store_start + at + i) = word;
        error = wait_ready(context);
    }
    NVMC_CONFIG = READ_ONLY;
    return error;
}

static int store_erase(void *context, uint32_t at)
{
    int error;

    if (!fits(at, PAGE_BYTES, PAGE_BYTES))
        return WAGE_E_STORE_IO;
    error = wait_ready(context);
    if (error)
        return error;
    NVMC_CONFIG = ERASE_ENABLE;
    NVMC_ERASEPAGE = (uint32_t)(uintptr_t)store_start + at;
    error = wait_ready(context);
    NVMC_CONFIG = READ_ONLY;
    return error;
}

struct wage_store board_store(struct port *port)
{
    return (struct wage_store){
        .read = store_read,
        .program = store_program,
        .erase = store_erase,
        .context = port,
        .bytes = store_bytes(),
        .erase_bytes = PAGE_BYTES,
        .program_bytes = WORD_BYTES,
        .slots = SLOTS,
        .guard_bytes = GUARD_BYTES,
        .model_bytes = MODEL_BYTES,
        .memory = store_start
    };
}

/* SPDX-License-Identifier: MIT
 *
 * The store in the last sectors of the chip's own flash. The core halts while
 * they are erased or programmed, since its program lies in the same flash: up
 * to 2 s for a sector, and nothing is received then.
 *
 * No watchdog is started, so `busy` is NULL. One would have to be longer than
 * a sector's erasure: nobody can feed it while the core halts.
 */
#include "board.h"
#include "port.h"
#include "reg.h"

#include <string.h>

#define STORE 0x08080000u
#define FIRST_SECTOR 8u
#define SECTOR_BYTES (128u * 1024u) // more than all memory: holds any model's
#define SLOTS 3u                    // the next is erased ahead, two are kept
#define GUARD_BYTES SECTOR_BYTES
#define STORE_BYTES (SLOTS * SECTOR_BYTES + GUARD_BYTES)
#define WORD_BYTES 4u
#define WAIT_LIMIT_US 5000000u

#define ACR 0x40023C00u             // access control
#define ACR_DATA_CACHE (1u << 10)
#define ACR_DATA_CACHE_RESET (1u << 12)
#define KEYR 0x40023C04u
#define KEY_1 0x45670123u
#define KEY_2 0xCDEF89ABu
#define SR 0x40023C0Cu
#define SR_ERRORS 0xF2u             // PGSERR PGPERR PGAERR WRPERR OPERR
#define SR_BUSY (1u << 16)
#define CR 0x40023C10u
#define CR_PROGRAM (1u << 0)
#define CR_ERASE (1u << 1)          // of the sector
#define CR_SECTOR(n) ((n) << 3)
#define CR_BY_WORDS (2u << 8)       // 32 bits at once: 2.7 V or more
#define CR_START (1u << 16)
#define CR_LOCK (1u << 31)

/* Whole units inside the store: a mistake here would erase the program. */
static int fits(uint32_t at, uint32_t count, uint32_t unit)
{
    return at % unit == 0 && count % unit == 0 && at <= STORE_BYTES
           && count <= STORE_BYTES - at;
}

static int wait_ready(struct port *port)
{
    uint32_t start = port_micros(port), status;

    while ((status = reg_read(SR)) & SR_BUSY)
        if (port_micros(port) - start > WAIT_LIMIT_US)
            return WAGE_E_STORE_IO;
    return (status & SR_ERRORS) ? WAGE_E_STORE_IO : WAGE_OK;
}

/* Unlocks the controller for a command, without the errors of the last. */
static int begin(struct port *port, uint32_t command)
{
    int error;

    reg_write(SR, SR_ERRORS); // ones clear them
    error = wait_ready(port);
    if (error)
        return error;
    if (reg_read(CR) & CR_LOCK) { // keys that it does not want lock it for good
        reg_write(KEYR, KEY_1);
        reg_write(KEYR, KEY_2);
    }
    reg_write(CR, command);
    return (reg_read(CR) & CR_LOCK) ? WAGE_E_STORE_IO : WAGE_OK;
}

/* Locks it, and forgets what the cache holds of the flash before. */
static void end(void)
{
    uint32_t access = reg_read(ACR) & ~ACR_DATA_CACHE;

    reg_write(CR, CR_LOCK);
    reg_write(ACR, access);
    reg_write(ACR, access | ACR_DATA_CACHE_RESET);
    reg_write(ACR, access);
    reg_write(ACR, access | ACR_DATA_CACHE);
}

static int store_read(void *context, uint32_t at, uint8_t *to, uint32_t count)
{
    (void)context;
    memcpy(to, reg_bytes(STORE + at), count);
    return WAGE_OK;
}

static int store_program(void *context, uint32_t at, const uint8_t *from,
                         uint32_t count)
{
    int error;

    if (!fits(at, count, WORD_BYTES))
        return WAGE_E_STORE_IO;
    error = begin(context, CR_BY_WORDS | CR_PROGRAM);
    for (uint32_t i = 0; i < count && !error; i += WORD_BYTES) {
        uint32_t word;
        memcpy(&word, from + i, WORD_BYTES); // `from` may lie anywhere
        reg_write(STORE + at + i, word);
        error = wait_ready(context);
    }
    end();
    return error;
}

static int store_erase(void *context, uint32_t at)
{
    uint32_t command = CR_BY_WORDS | CR_ERASE
                       | CR_SECTOR(FIRST_SECTOR + at / SECTOR_BYTES);
    int error;

    if (!fits(at, SECTOR_BYTES, SECTOR_BYTES))
        return WAGE_E_STORE_IO;
    error = begin(context, command);
    if (!error) {
        reg_write(CR, command | CR_START);
        error = wait_ready(context);
    }
    end();
    return error;
}

/* Whether the controller locks and unlocks; in an emulator it does neither. */
static int answers(struct port *port)
{
    int error;

    reg_write(CR, CR_LOCK);
    if (!(reg_read(CR) & CR_LOCK))
        return 0;
    error = begin(port, 0);
    end();
    return !error;
}

struct wage_store board_store(struct port *port)
{
    return (struct wage_store){
        .read = store_read,
        .program = store_program,
        .erase = store_erase,
        .context = port,
        .bytes = answers(port) ? STORE_BYTES : 0, // 0: there is none
        .erase_bytes = SECTOR_BYTES,
        .program_bytes = WORD_BYTES,
        .slots = SLOTS,
        .guard_bytes = GUARD_BYTES
    };
}

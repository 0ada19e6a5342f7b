/* SPDX-License-Identifier: MIT
 *
 * Around the files of boards/netduinoplus2: what else an image has.
 */
#include "board.h"
#include "cortex_m.h"
#include "memory.h"
#include "port.h"
#include "reg.h"

uint32_t (*model_read)(uint32_t address);
void (*model_write)(uint32_t address, uint32_t value);
const uint8_t *(*model_bytes)(uint32_t address);
int model_start(void);
const struct wage_store *model_store(void);

const uint8_t board_blob[4];
const uint32_t board_blob_bytes;
const struct auth *const board_auth;
const struct field *const board_field;

static struct port *port;

/* As main() does. Returns the place that the board tells. */
int model_start(void)
{
    port = board_open();
    return (int)port_info(port).place;
}

const struct wage_store *model_store(void)
{
    return port_info(port).store;
}

void cortex_m_restart(void)
{
    for (;;) {
    }
}

uint32_t port_stack_bytes(struct port *port)
{
    (void)port;
    return 0;
}

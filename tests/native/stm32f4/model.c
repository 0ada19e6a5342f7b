/* SPDX-License-Identifier: MIT
 *
 * Around boards/netduinoplus2/store.c: the rest of the chip.
 */
#include "board.h"
#include "port.h"
#include "reg.h"

uint32_t (*model_read)(uint32_t address);
void (*model_write)(uint32_t address, uint32_t value);
const uint8_t *(*model_bytes)(uint32_t address);
uint32_t (*model_micros)(void);
void *model_store(void);

uint32_t port_micros(struct port *port)
{
    (void)port;
    return model_micros();
}

void *model_store(void)
{
    static struct wage_store store;
    store = board_store(NULL);
    return &store;
}

/* SPDX-License-Identifier: MIT
 *
 * The simulated board: a port whose link is two queues in memory and whose
 * store is a file that behaves as NOR flash (programming only clears bits,
 * in whole units). It runs in the host's process, or in one of its own.
 */
#ifndef WAGE_SIM_H
#define WAGE_SIM_H

#include "port.h"

/* cffi begin */
#define SIM_ERASE_BYTES 4096
#define SIM_PROGRAM_BYTES 4
#define SIM_SLOTS 3

/* A board with this model and memory. `store` names its file, made when it
 * is not there; NULL: no store. Returns NULL when out of memory or the file
 * cannot be used. */
struct port *sim_open(const uint8_t *blob, uint32_t blob_bytes,
                      uint32_t memory_bytes, const char *store,
                      uint32_t store_bytes);
void sim_close(struct port *port);

/* From now on port_random() gives `first`, then `step` more each time. */
void sim_random(struct port *port, uint32_t first, uint32_t step);

/* Its last 16 phases, the newest in the lowest 4 bits. */
uint64_t sim_phases(const struct port *port);

/* From the next serve_open() on it has this key, which must stay. */
void sim_key(struct port *port, const uint8_t *key);

/* From the next serve_open() on it tells its phases. */
void sim_tell(struct port *port);

/* From the next serve_open() on it has these inputs of its own, which must
 * stay. */
void sim_field(struct port *port, const struct field *field);

/* Its store, whose geometry may be changed before it is used: at first there
 * is no room for a model in it. */
struct wage_store *sim_store(struct port *port);

/* Bytes from the host to the board: 0, or -1 when out of memory. */
int sim_send(struct port *port, const uint8_t *from, uint32_t count);

/* Bytes from the board to the host: up to `count`, returns how many. */
uint32_t sim_receive(struct port *port, uint8_t *to, uint32_t count);
/* cffi end */

#endif

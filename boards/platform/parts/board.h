/* SPDX-License-Identifier: MIT
 *
 * What the build and the firmware want of every board beyond port.h.
 */
#ifndef WAGE_BOARD_H
#define WAGE_BOARD_H

#include <stdint.h>

struct auth;
struct field;
struct port;
struct wage_store;

/* The model in the image, on a 4-byte boundary; made from WAGE_MODEL. */
extern const uint8_t board_blob[];
extern const uint32_t board_blob_bytes;

/* The key in the image, made from WAGE_KEY; NULL: none was given. */
extern const struct auth *const board_auth;

/* Its own inputs, named by WAGE_FIELD; NULL: none. */
extern const struct field *const board_field;

/* Brings the board up: called once, by main(). */
struct port *board_open(void);

/* Of boards that have a store: it measures its waits with the port's clock. */
struct wage_store board_store(struct port *port);

#endif

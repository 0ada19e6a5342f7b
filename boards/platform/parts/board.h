/* SPDX-License-Identifier: MIT
 *
 * What the build and the firmware want of every board beyond port.h.
 */
#ifndef WAGE_BOARD_H
#define WAGE_BOARD_H

#include <stdint.h>

struct port;

/* The model in the image, on a 4-byte boundary; made from WAGE_MODEL. */
extern const uint8_t board_blob[];
extern const uint32_t board_blob_bytes;

/* Brings the board up: called once, by main(). */
struct port *board_open(void);

#endif

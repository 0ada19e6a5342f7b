/* SPDX-License-Identifier: MIT
 *
 * A board's whole program.
 */
#include "serve.h"

extern struct port *board_open(void); // boards/NAME/port.c

int main(void)
{
    static struct serve serve;
    struct port *port = board_open();
    for (;;) {
        // without memory for a frame nobody could be told: wait for a mend
        while (serve_open(&serve, port) != WAGE_OK) {}
        while (serve_poll(&serve) >= 0) {}
    }
}

/* SPDX-License-Identifier: MIT
 *
 * A demo input for boards without a sensor (field.h): four kinds of waves, 1
 * to 4 of them in an input, with noise, and somebody who says of three in
 * four which kind they are. Of a chip's own sensor it is the pattern.
 */
#include "board.h"
#include "port.h"

#define EVERY_US 20000u
#define KINDS 4u
#define SAVE_EVERY 16u

static struct {
    uint32_t random, at, count;
    uint32_t kind;
} waves;

static uint32_t draw(void)
{
    waves.random = waves.random * 1664525u + 1013904223u;
    return waves.random >> 16;
}

static int sense(struct port *port, int8_t *x, uint32_t bytes)
{
    uint32_t now = port_micros(port);
    if (waves.count && now - waves.at < EVERY_US)
        return 0;
    if (!waves.count)
        waves.random = port_random(port);
    waves.at = now;
    waves.count++;
    waves.kind = draw() % KINDS;
    uint32_t phase = draw(), step = 65536u * (waves.kind + 1) / bytes;
    for (uint32_t i = 0; i < bytes; i++, phase += step) {
        int32_t up = (int32_t)(phase & 0xffff) - 32768;
        int32_t triangle = (up < 0 ? -up : up) / 192 - 85;
        x[i] = (int8_t)(triangle + (int32_t)(draw() % 33) - 16);
    }
    return 1;
}

static int label(struct port *port)
{
    (void)port;
    return waves.count % 4 ? (int)waves.kind : -1;
}

/* There is no display. */
static void show(struct port *port, const struct wage_record *record)
{
    (void)port;
    (void)record;
}

const struct field demo_waves = { sense, label, show,
                                  { .every = SAVE_EVERY } };

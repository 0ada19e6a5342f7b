/* SPDX-License-Identifier: MIT
 *
 * WAGE on whatever runs Arduino sketches: `wage-host learn` on the other end
 * of the link teaches the board. Nothing is kept over a reset.
 *
 *     void setup() { Serial.begin(115200); wageBegin(Serial, ...); }
 *     void loop() { wagePoll(); }
 */
#ifndef WAGE_ARDUINO_H
#define WAGE_ARDUINO_H

#include <Arduino.h>

#include "field.h"

/* Once, when `link` has begun. The model is PROGMEM; `memory`, on an 8-byte
 * boundary, holds arena and frames. All must stay. */
void wageBegin(Stream &link, const uint8_t *model, uint32_t modelBytes,
               uint8_t *memory, uint32_t memoryBytes);

/* Before wageBegin(): inputs of the board's own, which must stay. Then the
 * memory needs MODEL_SENSE_BYTES more. */
void wageSenses(const struct field &inputs);

/* Answers what has come, and returns: learning a sample takes its time, but
 * nothing is waited for. Without a host it senses, when it has inputs. */
void wagePoll();

#endif

// SPDX-License-Identifier: MIT
//
// A board that learns without a computer: a sensor at A0, a button for each
// of the first two classes (pins 2 and 3, to ground), a light that shows the
// second one (pin 4). model.h holds the model; its input is as many readings in a
// row, taken as you took those that it was trained on.

#include <WageBoard.h>

#include "model.h"

#define EVERY_MS 10
#define BUTTON 2
#define LIGHT 4

static uint8_t memory[MODEL_MEMORY_BYTES + MODEL_SENSE_BYTES]
    __attribute__((aligned(8)));
static int8_t readings[MODEL_INPUT_BYTES];
static uint32_t count, last;

// The readings since the last full input: a new one when there are enough.
static int sense(struct port *, int8_t *x, uint32_t bytes)
{
    if (millis() - last < EVERY_MS)
        return 0;
    last = millis();
    readings[count++] = (int8_t)((analogRead(A0) >> 2) - 128);
    if (count < bytes)
        return 0;
    memcpy(x, readings, bytes);
    count = 0;
    return 1;
}

static int label(struct port *)
{
    for (int k = 0; k < 2; k++)
        if (digitalRead(BUTTON + k) == LOW)
            return k;
    return -1;
}

static void show(struct port *, const struct wage_record *record)
{
    digitalWrite(LIGHT, record->prediction == 1 ? HIGH : LOW);
}

static const struct field inputs = { sense, label, show, { 0, 0, 0, 0 } };

void setup()
{
    Serial.begin(115200);
    pinMode(BUTTON, INPUT_PULLUP);
    pinMode(BUTTON + 1, INPUT_PULLUP);
    pinMode(LIGHT, OUTPUT);
    wageSenses(inputs);
    wageBegin(Serial, model, sizeof model, memory, sizeof memory);
}

void loop()
{
    wagePoll();
}

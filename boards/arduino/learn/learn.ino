// SPDX-License-Identifier: MIT
//
// A board that goes on learning. model.h holds the model and says how much
// memory it needs; another one is made by `wage-host`. Then, on the computer:
//
//     wage-host learn --port /dev/ttyACM0 --model my.wage --data my.npz

#include <WageBoard.h>

#include "model.h"

// Beside it the library takes 770 bytes, and the stack 700.
#if defined(RAMSTART) && MODEL_MEMORY_BYTES + 1500 > RAMEND - RAMSTART
#error "The model needs more RAM than this board has: take a smaller one, or less replay."
#endif

static uint8_t memory[MODEL_MEMORY_BYTES] __attribute__((aligned(8)));

void setup()
{
    Serial.begin(115200);
    wageBegin(Serial, model, sizeof model, memory, sizeof memory);
}

void loop()
{
    wagePoll();
}

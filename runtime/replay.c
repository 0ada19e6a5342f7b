/* SPDX-License-Identifier: MIT
 *
 * Class-balanced reservoir of activations at the cut, or of inputs. SPEC 6.2.
 */
#include "layer.h"
#include "num.h"

#include <string.h>

static void put(wage_t *w, uint32_t slot, const int8_t *sample, uint8_t label)
{
    uint32_t bytes = wage_replay_bytes(w);
    w->replay_label[slot] = label;
    memcpy(w->replay_sample + slot * bytes, sample, bytes);
}

/* Slot of the `number`-th stored sample of class `label`; it exists. */
static uint32_t find(const wage_t *w, uint8_t label, uint32_t number)
{
    uint32_t slot = 0;
    while (w->replay_label[slot] != label || number-- > 0)
        slot++;
    return slot;
}

void wage_replay_offer(wage_t *w, const int8_t *sample, uint8_t label)
{
    w->class_total[label]++;
    if (w->replay_count < w->replay_capacity) {
        put(w, w->replay_count++, sample, label);
        return;
    }
    if (w->replay_capacity == 0)
        return;
    // the logits are not needed between steps: count there
    int32_t *stored = w->logits;
    memset(stored, 0, w->classes * sizeof *stored);
    for (uint32_t i = 0; i < w->replay_count; i++)
        stored[w->replay_label[i]]++;
    uint8_t victim = wage_argmax(stored, w->classes);
    uint32_t largest = (uint32_t)stored[victim];

    uint32_t key = wage_key(w->config.seed, w->sample, WAGE_STAGE_RESERVOIR);
    if ((uint32_t)stored[label] == largest) {
        // as in plain reservoir sampling within the class
        uint32_t place = wage_below(wage_draw(key, 0), w->class_total[label]);
        if (place >= largest)
            return;
        victim = label;
    }
    put(w, find(w, victim, wage_below(wage_draw(key, 1), largest)), sample,
        label);
}

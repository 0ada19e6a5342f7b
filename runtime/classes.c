/* SPDX-License-Identifier: MIT
 *
 * What is kept of each class: its name, what it was taken for; and forgetting
 * one. SPEC 6.6 and 6.7.
 */
#include "layer.h"

#include <string.h>

void wage_confuse(wage_t *w, uint8_t label, uint8_t prediction)
{
    uint32_t row = (uint32_t)label * w->classes;
    uint16_t *times = &w->confusion[row + prediction];
    *times = (uint16_t)(*times + (*times < UINT16_MAX));
}

const uint16_t *wage_confusion(const wage_t *w, uint8_t label)
{
    uint32_t row = (uint32_t)label * w->classes;
    return wage_table(w) ? w->confusion + row : NULL;
}

const char *wage_class_name(const wage_t *w, uint8_t label)
{
    return wage_table(w) ? w->names + label * WAGE_NAME_BYTES : NULL;
}

int wage_name_class(wage_t *w, uint8_t label, const char *name,
                    uint32_t bytes)
{
    if (label >= w->classes)
        return WAGE_E_LABEL;
    if (!wage_table(w) || bytes >= WAGE_NAME_BYTES)
        return WAGE_E_NAME;
    char *to = w->names + label * WAGE_NAME_BYTES;
    memset(to, 0, WAGE_NAME_BYTES);
    memcpy(to, name, bytes);
    return WAGE_OK;
}

int wage_forget_class(wage_t *w, uint8_t label)
{
    struct wage_layer *last = &w->layers[w->layer_count - 1];
    uint32_t bytes = wage_replay_bytes(w), kept = 0;
    if (label >= w->classes)
        return WAGE_E_LABEL;
    if (!wage_table(w))
        return WAGE_E_NAME;
    for (uint32_t i = 0; i < w->replay_count; i++) {
        if (w->replay_label[i] == label)
            continue;
        w->replay_label[kept] = w->replay_label[i];
        if (kept < i)
            memcpy(w->replay_sample + kept * bytes,
                   w->replay_sample + i * bytes, bytes);
        kept++;
    }
    uint32_t gone = w->replay_count - kept;
    memset(w->replay_sample + kept * bytes, 0, gone * bytes);
    w->replay_count = (uint16_t)kept;
    w->class_total[label] = 0;
    memset(w->names + label * WAGE_NAME_BYTES, 0, WAGE_NAME_BYTES);
    if (last->out_c == w->classes) // one output a class
        wage_load_outputs(last, label, 1);
    w->guard = w->score = w->best = 0; // of a state that is no more
    return WAGE_OK;
}

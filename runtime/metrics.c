/* SPDX-License-Identifier: MIT
 *
 * Beginning a stream, and its counts. SPEC 6.4 to 6.6.
 */
#include "blob.h"

#include <string.h>

int wage_start(wage_t *w, uint32_t stream, const struct wage_config *config)
{
    if (stream == 0)
        return WAGE_E_STREAM;
    if (config && wage_check_config(config))
        return WAGE_E_CONFIG;
    if (stream == w->stream)
        return WAGE_OK;
    if (config)
        w->config = *config;
    w->stream = stream;
    w->last_id = w->kept = w->refused = 0;
    w->metrics = (struct wage_metrics){ 0 };
    memset(w->class_seen, 0, w->classes * sizeof *w->class_seen);
    memset(w->class_correct, 0, w->classes * sizeof *w->class_correct);
    uint32_t cells = (uint32_t)w->classes * w->classes;
    if (wage_table(w))
        memset(w->confusion, 0, cells * sizeof *w->confusion);
    return WAGE_OK;
}

int wage_class_metrics(const wage_t *w, uint8_t label, uint32_t *seen,
                       uint32_t *correct)
{
    if (label >= w->classes)
        return WAGE_E_LABEL;
    *seen = w->class_seen[label];
    *correct = w->class_correct[label];
    return WAGE_OK;
}

/* SPDX-License-Identifier: MIT
 *
 * What a model keeps of each class beside its weights: a name given on the
 * device, and for what its samples were taken. SPEC 6.6 and 6.7.
 */
#ifndef WAGE_CLASSES_H
#define WAGE_CLASSES_H

#include "wage.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 0 in a build for one model that keeps none of this (layer.h). */
#if defined(WAGE_LAYERS)
#define WAGE_CLASS_TABLES ((WAGE_LAYERS & 1ul << 16) != 0)
#else
#define WAGE_CLASS_TABLES 1
#endif

/* cffi begin */
#define WAGE_NAME_BYTES 16      /* of a class, the last one 0 */

/* How often since wage_start a sample of class `label` was taken for each
 * class, at most 65,535; (classes). NULL: the model keeps no table. */
const uint16_t *wage_confusion(const wage_t *w, uint8_t label);

/* Names a class that the model had room for, in at most 15 bytes; none: as
 * the blob has it. Returns 0 or an error. */
int wage_name_class(wage_t *w, uint8_t label, const char *name,
                    uint32_t bytes);

/* That name, "" without; NULL: the model keeps no table. */
const char *wage_class_name(const wage_t *w, uint8_t label);

/* Forgets a class: its samples in the replay, its name, and what its output
 * learned. Checkpoints keep it until wage_purge(). Returns 0 or an error, as
 * for a model without a table. */
int wage_forget_class(wage_t *w, uint8_t label);
/* cffi end */

#ifdef __cplusplus
}
#endif

#endif

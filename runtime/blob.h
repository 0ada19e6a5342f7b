/* SPDX-License-Identifier: MIT
 *
 * Reading a blob (internal).
 */
#ifndef WAGE_BLOB_H
#define WAGE_BLOB_H

#include "layer.h"

/* Checks all of the blob and fills everything in `w` that does not lie in an
 * arena. Returns 0 or an error; `w` is then not usable. */
int wage_blob_read(wage_t *w, const uint8_t *blob, uint32_t blob_bytes);

/* Reads layer record `k`. `layer` holds the layer below, or before the first
 * one its out_h, out_w, out_c are the input's. Returns 0 or an error. */
int wage_blob_layer(const wage_t *w, unsigned k, struct wage_layer *layer);

/* 0, or WAGE_E_CONFIG for a setting outside its range. */
int wage_check_config(const struct wage_config *config);

#endif

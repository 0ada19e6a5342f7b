/* SPDX-License-Identifier: MIT
 *
 * As much of Microsoft's io.h as we use, to check the syntax without its SDK.
 */
#pragma once
int _open(const char *name, int flags, ...);
int _close(int file);
int _read(int file, void *to, unsigned count);
int _write(int file, const void *from, unsigned count);
long long _lseeki64(int file, long long at, int origin);

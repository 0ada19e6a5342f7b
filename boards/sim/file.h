/* SPDX-License-Identifier: MIT
 *
 * What the simulated board needs of the computer it runs on: a file read and
 * written at any place, and a clock. POSIX, or Windows, where it is untried.
 */
#ifndef WAGE_SIM_FILE_H
#define WAGE_SIM_FILE_H

#include <stdint.h>
#include <fcntl.h>
#include <time.h>

#ifdef _WIN32
#include <io.h>
#include <sys/stat.h>

static inline int file_open(const char *name)
{
    return _open(name, _O_RDWR | _O_CREAT | _O_BINARY | _O_NOINHERIT,
                 _S_IREAD | _S_IWRITE);
}

static inline void file_close(int file)
{
    (void)_close(file);
}

static inline int64_t file_bytes(int file)
{
    return _lseeki64(file, 0, 2 /* from its end */);
}

/* Reads all of `count` bytes: 0, or -1. */
static inline int file_read(int file, uint32_t at, uint8_t *to,
                            uint32_t count)
{
    return _lseeki64(file, at, 0) == (int64_t)at
           && _read(file, to, count) == (int)count ? 0 : -1;
}

/* Writes all of them: 0, or -1. */
static inline int file_write(int file, uint32_t at, const uint8_t *from,
                             uint32_t count)
{
    return _lseeki64(file, at, 0) == (int64_t)at
           && _write(file, from, count) == (int)count ? 0 : -1;
}

static inline struct timespec file_now(void)
{
    struct timespec now = { 0, 0 };
    (void)timespec_get(&now, TIME_UTC);
    return now;
}
#else
#include <unistd.h>

static inline int file_open(const char *name)
{
    return open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
}

static inline void file_close(int file)
{
    (void)close(file);
}

static inline int64_t file_bytes(int file)
{
    return lseek(file, 0, SEEK_END);
}

/* Reads all of `count` bytes: 0, or -1. */
static inline int file_read(int file, uint32_t at, uint8_t *to,
                            uint32_t count)
{
    return pread(file, to, count, (off_t)at) == (ssize_t)count ? 0 : -1;
}

/* Writes all of them: 0, or -1. */
static inline int file_write(int file, uint32_t at, const uint8_t *from,
                             uint32_t count)
{
    return pwrite(file, from, count, (off_t)at) == (ssize_t)count ? 0 : -1;
}

static inline struct timespec file_now(void)
{
    struct timespec now = { 0, 0 };
    (void)clock_gettime(CLOCK_MONOTONIC, &now); // which cannot fail
    return now;
}
#endif
#endif

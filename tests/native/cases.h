/* SPDX-License-Identifier: MIT
 *
 * What the harnesses share: cases come on stdin, each with its length (u32)
 * before it; each is answered by one line on stdout. Where there is no stdin
 * CASES_FILE names a file instead.
 */
#ifndef WAGE_CASES_H
#define WAGE_CASES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num.h"

/* Ends the program with a message: the test shows it with the case. */
static void fail_unless(int good, const char *what)
{
    if (good)
        return;
    fflush(stdout);
    fprintf(stderr, "broken: %s\n", what);
    exit(1);
}

/* Memory of exactly that size, so that every step outside is seen. */
static uint8_t *exactly(uint32_t bytes)
{
    uint8_t *p = malloc(bytes ? bytes : 1);
    fail_unless(p != NULL, "out of memory");
    return p;
}

static FILE *cases(void)
{
#ifdef CASES_FILE
    static FILE *file;
    if (!file)
        file = fopen(CASES_FILE, "rb");
    fail_unless(file != NULL, "no " CASES_FILE);
    return file;
#else
    return stdin;
#endif
}

/* The next case in memory of its own, or NULL at the end. Free it. */
static uint8_t *next_case(uint32_t *bytes)
{
    uint8_t length[4];
    fflush(stdout); // so that a crash is that of the first unanswered case
    if (fread(length, 1, 4, cases()) != 4)
        return NULL;
    *bytes = load32(length);
    uint8_t *p = exactly(*bytes);
    fail_unless(fread(p, 1, *bytes, cases()) == *bytes, "a case cut short");
    return p;
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * What the harnesses share: cases come on stdin, each with its length (u32)
 * before it; each is answered by one line on stdout. Where there is no stdin
 * CASES_FILE names a file instead. With FUZZ libFuzzer gives the cases, and
 * nobody reads the answers: see the end.
 */
#ifndef WAGE_CASES_H
#define WAGE_CASES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num.h"

#ifdef FUZZ
#define END abort() /* libFuzzer keeps the input that did it */
#else
#define END exit(1)
#endif

/* Ends the program with a message: the test shows it with the case. */
static void fail_unless(int good, const char *what)
{
    if (good)
        return;
    fflush(stdout);
    fprintf(stderr, "broken: %s\n", what);
    END;
}

/* Memory of exactly that size, so that every step outside is seen. */
static uint8_t *exactly(uint32_t bytes)
{
    uint8_t *p = malloc(bytes ? bytes : 1);
    fail_unless(p != NULL, "out of memory");
    return p;
}

#ifndef FUZZ
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

#else
/* What a harness supplies. */
static void begin(uint8_t *blob, uint32_t bytes);
static void one(const uint8_t *input, uint32_t bytes);
/* Makes lengths and checksums right, so that what lies behind is reached.
 * Returns the new input; frees the old one. */
static uint8_t *seal(uint8_t *input, uint32_t *bytes);

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *from, size_t count);

/* WAGE_FUZZ_BLOB names the model of a harness that needs one. */
int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    static uint8_t blob[1u << 16];
    FILE *file = fopen(getenv("WAGE_FUZZ_BLOB"), "rb");
    (void)count;
    (void)arguments;
    fail_unless(file && freopen("/dev/null", "w", stdout), "cannot begin");
    begin(blob, (uint32_t)fread(blob, 1, sizeof blob, file));
    fclose(file);
    return 0;
}

/* The last byte of the input says whether the others are sealed. */
int LLVMFuzzerTestOneInput(const uint8_t *from, size_t count)
{
    uint32_t bytes = count ? (uint32_t)count - 1 : 0;
    uint8_t *input = exactly(bytes);
    memcpy(input, from, bytes);
    if (count && (from[bytes] & 1))
        input = seal(input, &bytes);
    one(input, bytes);
    free(input);
    return 0;
}
#endif

#endif

/* SPDX-License-Identifier: MIT
 *
 * As much of Microsoft's fcntl.h as we use, to check the syntax without its SDK.
 */
#pragma once
#define _O_RDWR 0x0002
#define _O_NOINHERIT 0x0080
#define _O_CREAT 0x0100
#define _O_BINARY 0x8000

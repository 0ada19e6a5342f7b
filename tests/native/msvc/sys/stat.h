/* SPDX-License-Identifier: MIT
 *
 * As much of Microsoft's sys/stat.h as we use, to check the syntax without its SDK.
 */
#pragma once
#define _S_IREAD 0x0100
#define _S_IWRITE 0x0080

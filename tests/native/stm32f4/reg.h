/* SPDX-License-Identifier: MIT
 *
 * In place of boards/platform/parts/reg.h: what a driver does at registers
 * goes to tests/stm32f4.py.
 */
#ifndef WAGE_REG_H
#define WAGE_REG_H

#include <stdint.h>

extern uint32_t (*model_read)(uint32_t address);
extern void (*model_write)(uint32_t address, uint32_t value);
extern const uint8_t *(*model_bytes)(uint32_t address);

#define reg_read(address) model_read(address)
#define reg_write(address, value) model_write(address, value)
#define reg_bytes(address) model_bytes(address)

#endif

"""The flash controller of an STM32F405, with the board's own driver on it (boards/netduinoplus2).

    flash = Stm32f4(compiled(folder))
    lib.wage_save(core.wage, flash.store)

By ST's reference manual RM0090, section 3, and none of our code. The driver is compiled for this
computer; its reg.h is tests/native/stm32f4/reg.h, which leads here.
"""

# SPDX-License-Identifier: MIT

import random
import subprocess
from pathlib import Path

import native
from cffi import FFI
from wage_host._core import ffi

DRIVER = native.ROOT / "boards/netduinoplus2/store.c"
DECLARATIONS = """
typedef uint32_t read_t(uint32_t);
typedef void write_t(uint32_t, uint32_t);
typedef const uint8_t *bytes_t(uint32_t);
typedef uint32_t micros_t(void);
extern read_t *model_read;
extern write_t *model_write;
extern bytes_t *model_bytes;
extern micros_t *model_micros;
void *model_store(void);
"""
SECTORS = [16 << 10] * 4 + [64 << 10] + [128 << 10] * 7
FLASH, STORE, STORE_BYTES = 0x08000000, 0x08080000, 512 << 10
ACR, KEYR, SR, CR = 0x40023C00, 0x40023C04, 0x40023C0C, 0x40023C10
KEYS = [0x45670123, 0xCDEF89AB]
DATA_CACHE, DATA_CACHE_RESET, OTHER_ACCESS = 1 << 10, 1 << 12, 0x205  # instruction cache, waits
PGPERR, PGSERR, BUSY = 1 << 6, 1 << 7, 1 << 16
ERRORS = 0xF2  # both, PGAERR, WRPERR, OPERR
PROGRAM, ERASE, START, LOCK = 1, 2, 1 << 16, 1 << 31
MASS_ERASE, INTERRUPTS, WORDS = 4, 3 << 24, 2
BUSY_READS = 3  # of the status, until an operation is over
STEP_US = 1000  # that each look at the clock takes


def compiled(folder: Path, source: str | None = None) -> Path:
    """The driver, or what stands in its place, as a library."""
    text, out = folder / "store.c", folder / "store.so"
    text.write_text(source or DRIVER.read_text(encoding="utf-8"), encoding="utf-8")
    here = native.ROOT / "tests/native/stm32f4"
    folders = (here, *(native.ROOT / f for f in ("runtime", "firmware/src")),
               native.ROOT / "boards/platform/parts")  # fmt: skip
    command = [native.need("gcc"), *native.WARNINGS, "-O1", "-shared", "-fPIC"]
    command += [*(f"-I{name}" for name in folders), text, here / "model.c", "-o", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


class Stm32f4:
    """The chip's flash, whose power can fail in any operation: a word programmed, a sector erased.

    cut = (n, manner): power fails in operation n, as in nor.py; nothing happens after it, and the
    controller stays busy. fail = (n, bits): operation n does nothing and gives these errors.
    kind: "silent": all registers are 0; "closed": takes no keys; "busy": never ready.
    `broken` lists what a driver must not do.
    """

    def __init__(self, library: Path, fill: int = 0xFF, kind: str = ""):
        self.kind, self.broken = kind, []
        self.bytes, self.used = bytearray([fill]) * STORE_BYTES, bytearray()  # used: as nor.py's
        self._shown = ffi.new("uint8_t[]", STORE_BYTES)  # what the core sees, through its cache
        self.power_on()
        own = self._own = FFI()
        own.cdef(DECLARATIONS)
        driver = own.dlopen(str(library))
        self._keep = {
            name: own.callback(f"{name}_t *", hook)
            for name, hook in (("read", self._read), ("write", self._write),
                               ("bytes", self._at), ("micros", self._look_at_the_clock))
        }  # fmt: skip
        for name, hook in self._keep.items():
            setattr(driver, f"model_{name}", hook)
        address = own.cast("uintptr_t", driver.model_store())
        self.store = ffi.cast("struct wage_store *", int(address))

    def power_on(self, cut: tuple[int, str] | None = None, fail: tuple[int, int] | None = None):
        """As after a reset and the port's start; operations count from 0."""
        self.cut, self.fail, self.off = cut, fail, False
        self.acr, self.sr, self.cr, self.keys = OTHER_ACCESS | DATA_CACHE, 0, LOCK, []
        self.operations = self.micros = self.busy = 0
        self.places: list[tuple[str, int, int]] = []  # kind, at, bytes of each operation
        self._rng = random.Random(repr(cut))
        self._cached = bytes(self.bytes)
        ffi.buffer(self._shown)[:] = self._cached

    def _rule(self, good: bool, text: str) -> None:
        if not good:
            self.broken.append(text)

    def _look_at_the_clock(self) -> int:
        self.micros += STEP_US
        return self.micros & 0xFFFFFFFF

    def _at(self, address: int):
        self._rule(0 <= address - STORE < STORE_BYTES, f"looked at {address:#x}")
        place = int(ffi.cast("uintptr_t", self._shown)) + address - STORE
        return self._own.cast("uint8_t *", place)

    def _read(self, address: int) -> int:
        if self.kind == "silent":
            return 0
        if address == SR:
            if self.off or self.kind == "busy":
                return self.sr | BUSY
            self.busy -= self.busy > 0
            return self.sr | (BUSY if self.busy else 0)
        self._rule(address in (ACR, CR), f"read {address:#x}")
        return {ACR: self.acr, CR: self.cr}.get(address, 0)

    def _write(self, address: int, value: int) -> None:
        if self.kind == "silent" or self.off:
            return
        self._rule(not self.busy, f"wrote {address:#x} to a busy controller")
        if address == KEYR:
            self._key(value)
        elif address == SR:
            self.sr &= ~(value & ERRORS)
        elif address == CR:
            self._control(value)
        elif address == ACR:
            self._access(value)
        else:
            self._program(address, value)

    def _key(self, value: int) -> None:
        """One that is wrong locks it until the next reset, and the core takes a fault."""
        expected = KEYS[len(self.keys)] if len(self.keys) < len(KEYS) else None
        self._rule(value == expected and self.cr & LOCK != 0, f"key {value:#x}")
        self.keys.append(value)
        if self.keys == KEYS and self.kind != "closed":
            self.cr &= ~LOCK

    def _control(self, value: int) -> None:
        if self.cr & LOCK:
            self._rule(value == LOCK or self.kind == "closed", "controlled while it was locked")
            return
        self.cr = value & ~START
        if value & LOCK:
            self.cr, self.keys = LOCK, []
        elif value & START:
            self._rule(value & (PROGRAM | MASS_ERASE | INTERRUPTS) == 0, f"started {value:#x}")
            self._rule(value & ERASE != 0, "started nothing")
            self._erase(value >> 3 & 15)

    def _access(self, value: int) -> None:
        self._rule(value & ~(DATA_CACHE | DATA_CACHE_RESET) == OTHER_ACCESS, f"access {value:#x}")
        self._rule(not (value & DATA_CACHE_RESET and (self.acr | value) & DATA_CACHE),
                   "emptied a cache in use")  # fmt: skip
        self.acr = value
        if value & DATA_CACHE_RESET:
            self._cached = bytes(self.bytes)
        if value & DATA_CACHE:
            ffi.buffer(self._shown)[:] = self._cached

    def _begins(self, kind: str, at: int, count: int) -> str:
        """How much of this operation happens: a manner of nor.py, "all", or "none"."""
        number = self.operations
        self.operations += 1
        self.places.append((kind, at, count))
        self.busy = BUSY_READS
        if self.fail and self.fail[0] == number:
            self.sr |= self.fail[1]
            return "none"
        manner = self.cut[1] if self.cut and self.cut[0] == number else "all"
        self.off = manner != "all"
        return manner

    def _program(self, address: int, value: int) -> None:
        at = address - STORE
        if not 0 <= at < STORE_BYTES:
            self.broken.append(f"programmed {address:#x}")
            return
        self._rule(address % 4 == 0, "programmed off the word")
        if self.cr & (LOCK | PROGRAM | ERASE) != PROGRAM:
            self.sr |= PGSERR
            return
        if self.cr >> 8 & 3 != WORDS:
            self.sr |= PGPERR
            return
        manner = self._begins("program", at, 4)
        if manner in ("before", "none"):
            return
        left = {"half": 0xFFFF0000, "torn": self._rng.getrandbits(32)}.get(manner, 0)
        old = int.from_bytes(self.bytes[at : at + 4], "little")
        self.bytes[at : at + 4] = (old & (value | left)).to_bytes(4, "little")

    def _erase(self, sector: int) -> None:
        at = sum(SECTORS[:sector]) - (STORE - FLASH)
        if at < 0 or sector >= len(SECTORS):
            self.broken.append(f"erased sector {sector}")
            return
        self._rule(self.cr >> 8 & 3 == WORDS, "erased for another voltage")
        manner = self._begins("erase", at, SECTORS[sector])
        if manner in ("before", "none"):
            return
        size = SECTORS[sector] // (2 if manner == "half" else 1)
        torn = manner == "torn"  # neither what was there nor erased
        self.bytes[at : at + size] = self._rng.randbytes(size) if torn else b"\xff" * size

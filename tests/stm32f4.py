"""An STM32F405, clocks and flash, with the files of boards/netduinoplus2 started on it.

    flash = Stm32f4(compiled(folder))   # board_open() was called
    lib.wage_save(core.wage, flash.store)

By ST's reference manual RM0090, sections 3 and 7, and none of our code. The files are compiled for
this computer; their reg.h is tests/native/stm32f4/reg.h, which leads here.
"""

# SPDX-License-Identifier: MIT

import random
import subprocess
from pathlib import Path

import native
from cffi import FFI
from wage_host._core import ffi

BOARD = native.ROOT / "boards/netduinoplus2"
DECLARATIONS = """
typedef uint32_t read_t(uint32_t);
typedef void write_t(uint32_t, uint32_t);
typedef const uint8_t *bytes_t(uint32_t);
extern read_t *model_read;
extern write_t *model_write;
extern bytes_t *model_bytes;
int model_start(void);
void *model_store(void);
"""
SECTORS = [16 << 10] * 4 + [64 << 10] + [128 << 10] * 7
FLASH, STORE, STORE_BYTES = 0x08000000, 0x08080000, 512 << 10
ACR, KEYR, SR, CR = 0x40023C00, 0x40023C04, 0x40023C0C, 0x40023C10
KEYS = [0x45670123, 0xCDEF89AB]
DATA_CACHE, DATA_CACHE_RESET, WAITS = 1 << 10, 1 << 12, 7
PGPERR, PGSERR, BUSY = 1 << 6, 1 << 7, 1 << 16
ERRORS = 0xF2  # both, PGAERR, WRPERR, OPERR
PROGRAM, ERASE, START, LOCK = 1, 2, 1 << 16, 1 << 31
MASS_ERASE, INTERRUPTS, WORDS = 4, 3 << 24, 2
BUSY_READS = 3  # of the status, until an operation is over
STEP_US = 1000  # that each look at the clock takes
RCC, PLLCFGR, CFGR = 0x40023800, 0x40023804, 0x40023808
ENABLES = {  # register of the clocks and bit, by the first of a block of 1 KB
    0x40020400: (0x40023830, 1), 0x50060800: (0x40023834, 6), 0x40000000: (0x40023840, 0),
    0x40011000: (0x40023844, 4),
}  # fmt: skip
HSI_HZ, CRYSTAL_HZ = 16_000_000, 25_000_000
TIMER, NOISE_STATUS = 0x40000024, 0x50060804


def compiled(folder: Path, old: str = "", new: str = "") -> Path:
    """The board's files as a library, `new` in place of `old`."""
    out, files = folder / "board.so", []
    for path in sorted(BOARD.glob("*.c")):
        files.append(folder / path.name)
        text = path.read_text(encoding="utf-8")
        files[-1].write_text(text.replace(old, new) if old else text, encoding="utf-8")
    here = native.ROOT / "tests/native/stm32f4"
    folders = (here, *(native.ROOT / f for f in ("runtime", "firmware/src")),
               native.ROOT / "boards/platform/parts")  # fmt: skip
    command = [native.need("gcc"), *native.WARNINGS, "-O1", "-shared", "-fPIC"]
    command += [*(f"-I{name}" for name in folders), *files, here / "model.c", "-o", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


class Stm32f4:
    """The chip's flash, whose power can fail in any operation: a word programmed, a sector erased.

    cut = (n, manner): power fails in operation n, as in nor.py; nothing happens after it, and the
    controller stays busy. fail = (n, bits): operation n does nothing and gives these errors.
    kind: "emulator": clocks and flash read 0; "closed": takes no keys; "busy": never ready;
    "no crystal": none starts.
    `broken` lists what a driver must not do.
    """

    def __init__(self, library: Path, fill: int = 0xFF, kind: str = ""):
        self.kind, self.broken, self.acr = kind, [], 0
        self.registers = {RCC: 0x83, PLLCFGR: 0x24003010, CFGR: 0, NOISE_STATUS: 0}
        self.bytes, self.used = bytearray([fill]) * STORE_BYTES, bytearray()  # used: as nor.py's
        self._shown = ffi.new("uint8_t[]", STORE_BYTES)  # what the core sees, through its cache
        self.power_on()
        own = self._own = FFI()
        own.cdef(DECLARATIONS)
        driver = own.dlopen(str(library))
        self._keep = {
            name: own.callback(f"{name}_t *", hook)
            for name, hook in (("read", self._read), ("write", self._write), ("bytes", self._at))
        }
        for name, hook in self._keep.items():
            setattr(driver, f"model_{name}", hook)
        self.place = driver.model_start()
        address = own.cast("uintptr_t", driver.model_store())
        self.store = ffi.cast("struct wage_store *", int(address))

    def power_on(self, cut: tuple[int, str] | None = None, fail: tuple[int, int] | None = None):
        """As after a reset and the port's start; operations count from 0."""
        self.cut, self.fail, self.off = cut, fail, False
        self.sr, self.cr, self.keys = 0, LOCK, []
        self.operations = self.micros = self.busy = 0
        self.places: list[tuple[str, int, int]] = []  # kind, at, bytes of each operation
        self._rng = random.Random(repr(cut))
        self._cached = bytes(self.bytes)
        ffi.buffer(self._shown)[:] = self._cached

    def _rule(self, good: bool, text: str) -> None:
        if not good:
            self.broken.append(text)

    def _at(self, address: int):
        self._rule(0 <= address - STORE < STORE_BYTES, f"looked at {address:#x}")
        place = int(ffi.cast("uintptr_t", self._shown)) + address - STORE
        return self._own.cast("uint8_t *", place)

    def _read(self, address: int) -> int:
        if address == TIMER:
            self.micros += STEP_US
            return self.micros & 0xFFFFFFFF
        if self.kind == "emulator":
            return 0
        if address == SR:
            if self.off or self.kind == "busy":
                return self.sr | BUSY
            self.busy -= self.busy > 0
            return self.sr | (BUSY if self.busy else 0)
        if address == CR:
            return self.cr
        return self.acr if address == ACR else self.registers.get(address, 0)

    def _write(self, address: int, value: int) -> None:
        if self.kind == "emulator" or self.off:
            return
        if address & ~0x3FF == RCC:
            self._clock(address, value)
            return
        if address & ~0x3FF in ENABLES:
            enable, bit = ENABLES[address & ~0x3FF]
            self._rule(self.registers.get(enable, 0) >> bit & 1 != 0, f"{address:#x} has no clock")
            self.registers[address] = value
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
        self._rule(self.core_hz <= HSI_HZ or value & WAITS == 5, f"access {value:#x}")
        self._rule(not (value & DATA_CACHE_RESET and (self.acr | value) & DATA_CACHE),
                   "emptied a cache in use")  # fmt: skip
        self.acr = value
        if value & DATA_CACHE_RESET:
            self._cached = bytes(self.bytes)
        if value & DATA_CACHE:
            ffi.buffer(self._shown)[:] = self._cached

    def _clock(self, address: int, value: int) -> None:
        on, ready = 1 << 16 | 1 << 24, 1 << 17 | 1 << 25  # crystal, PLL
        if address == RCC:
            value &= ~ready
            value |= value << 1 & (ready if self.kind != "no crystal" else 0)
        if address == PLLCFGR:
            self._rule(not self.registers[RCC] & 1 << 24, "PLL changed in use")
            self._rule(value >> 22 & 1 == 1, "PLL not of the crystal")
            self._rule(1 <= CRYSTAL_HZ / 1e6 / (value & 63) <= 2, "PLL not of 1 to 2 MHz")
        if address == CFGR and value & 3 == 2:
            self._rule(self.registers[RCC] & (on | ready) == on | ready, "PLL not ready")
            self._rule(self.acr & WAITS == 5, "flash too slow")
            value |= 2 << 2
        self.registers[address] = value
        self._rule(max(self.buses_hz) <= 84_000_000 and self.buses_hz[0] <= 42_000_000, "too fast")

    @property
    def vco_hz(self) -> int:
        """What the PLL divides for core and noise."""
        pll = self.registers[PLLCFGR]
        return CRYSTAL_HZ // (pll & 63) * (pll >> 6 & 511)

    @property
    def core_hz(self) -> int:
        """The core's clock."""
        if self.registers[CFGR] & 3 != 2:
            return HSI_HZ
        return self.vco_hz // (2 * (self.registers[PLLCFGR] >> 16 & 3) + 2)

    @property
    def buses_hz(self) -> list[int]:
        """The clocks of APB1 and APB2."""
        fields = (self.registers[CFGR] >> 10 & 7, self.registers[CFGR] >> 13 & 7)
        return [self.core_hz >> max(0, field - 3) for field in fields]

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

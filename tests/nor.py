"""A store with the rules of NOR flash, whose power can fail in any operation."""

# SPDX-License-Identifier: MIT

import random

from wage_host._core import ffi, lib

MANNERS = ("before", "half", "torn", "after")  # how much an operation does when power fails in it


class Nor:
    """Programming only clears bits, once between erases; erasing sets a whole unit.

    cut = (n, manner): power fails in operation n (programs and erases count, from 0).
    fail = (kind, n): call n of "read", "program" or "erase" does nothing but fail.
    `broken` lists every rule of store.h that the runtime broke: it must stay empty.
    """

    def __init__(
        self, size: int, erase_bytes: int = 256, unit: int = 4, fill: int = 0xFF, slots: int = 2
    ):
        self.bytes, self.erase_bytes, self.unit = bytearray([fill]) * size, erase_bytes, unit
        self.used = bytearray(size) if fill == 0xFF else bytearray(b"\1") * size  # not erased
        self.broken: list[str] = []
        self.flip_read: int | None = None
        self._keep = [
            ffi.callback("int(void *, uint32_t, uint8_t *, uint32_t)", self._read),
            ffi.callback("int(void *, uint32_t, const uint8_t *, uint32_t)", self.program),
            ffi.callback("int(void *, uint32_t)", self._erase),
        ]
        geometry = (ffi.NULL, ffi.NULL, size, erase_bytes, unit, slots)
        self.store = ffi.new("struct wage_store *", [*self._keep, *geometry])
        self.power_on()

    def power_on(self, cut: tuple[int, str] | None = None, fail: tuple[str, int] | None = None):
        """Power is there again; operations and calls count from 0."""
        self.cut, self.fail, self.off = cut, fail, False
        self.operations = 0
        self.places: list[tuple[str, int, int]] = []  # kind, at, bytes of each operation
        self.calls = {"read": 0, "program": 0, "erase": 0}
        self._rng = random.Random(repr((cut, len(self.bytes))))

    def program_with(self, function) -> None:
        """Programs with another function (context, at, source, count) from here on."""
        type_of_it = "int(void *, uint32_t, const uint8_t *, uint32_t)"
        self._keep.append(ffi.callback(type_of_it, function, error=lib.WAGE_E_STORE_IO))
        self.store.program = self._keep[-1]

    def _fails(self, kind: str) -> bool:
        number = self.calls[kind]
        self.calls[kind] += 1
        return self.off or self.fail == (kind, number)

    def _manner(self) -> str:
        """How much of this operation happens; "all" unless power fails in it."""
        manner = self.cut[1] if self.cut and self.cut[0] == self.operations else "all"
        self.operations += 1
        self.off = manner != "all"
        return manner

    def _rule(self, good: bool, text: str) -> None:
        if not good:
            self.broken.append(text)

    def _read(self, _context, at, to, count):
        number = self.calls["read"]
        if self._fails("read"):
            return lib.WAGE_E_STORE_IO
        self._rule(at + count <= len(self.bytes), f"read outside, {at} + {count}")
        ffi.memmove(to, self.bytes[at : at + count], count)
        if number == self.flip_read:
            to[count // 2] ^= 4
        return 0

    def program(self, _context, at, source, count):
        if self._fails("program"):
            return lib.WAGE_E_STORE_IO
        data = bytes(ffi.buffer(source, count))
        place = range(at, at + count)
        self._rule(at + count <= len(self.bytes), f"programmed outside, {at} + {count}")
        self._rule(at % self.unit == 0 == count % self.unit, f"off the unit, {at} + {count}")
        self._rule(not any(self.used[at : at + count]), f"programmed twice, {at} + {count}")
        self.places.append(("program", at, count))
        manner = self._manner()
        for i, new in zip(place, data, strict=True):
            if manner == "before" or (manner == "half" and i >= at + count // 2):
                continue
            left = self._rng.getrandbits(8) if manner == "torn" else 0
            self.bytes[i] &= new | left
            self.used[i] = 1
        return lib.WAGE_E_STORE_IO if self.off else 0

    def _erase(self, _context, at):
        if self._fails("erase"):
            return lib.WAGE_E_STORE_IO
        end = at + self.erase_bytes
        self._rule(at % self.erase_bytes == 0 and end <= len(self.bytes), f"erased outside, {at}")
        self.places.append(("erase", at, self.erase_bytes))
        manner = self._manner()
        if manner == "half":
            end = at + self.erase_bytes // 2
        if manner == "torn":  # neither what was there nor erased
            self.bytes[at:end] = self._rng.randbytes(end - at)
            self.used[at:end] = b"\1" * (end - at)
        elif manner != "before":
            self.bytes[at:end] = b"\xff" * (end - at)
            self.used[at:end] = bytes(end - at)
        return lib.WAGE_E_STORE_IO if self.off else 0

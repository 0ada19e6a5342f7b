"""Nordic's Power Profiler Kit II: 100,000 samples a second with eight logic pins in each.

Its answer to 0x19 is text up to END, with how to read its five ranges. A sample is 32 bits,
little-endian: 14 of the converter, 3 of the range, one unused, 6 of a counter, 8 of the pins. The
counter shows what the link lost, up to a multiple of 64 samples, and what it gave twice.
"""

import contextlib
import math
import re
import time

import numpy as np

from wage_host.errors import InstrumentError
from wage_host.link import LinkLost, ports_of
from wage_host.power.counted import Counted
from wage_host.power.instrument import WIDE, Block, Gap, open_port

TITLE = "PPK2"
USB = (0x1915, 0xC00A)
START, STOP, POWER, VOLTAGE, METADATA = 0x06, 0x07, 0x0C, 0x0D, 0x19
RATE_HZ = 100_000
RANGES = 5
FAMILIES = ("R", "GS", "GI", "O", "S", "I", "UG")  # of what is told of each range
VOLTS_PER_COUNT = 1.8 / 163840
AMPERE_METER = 1  # its mode: the board has a supply of its own
VOLTS_MIN, VOLTS_MAX = 0.8, 5.0
ANSWER_S, QUIET_S, SILENT_S = 3.0, 0.1, 5.0


class Ppk2:
    """A PPK2 at its measuring port."""

    rate_hz = float(RATE_HZ)
    pins = 8
    live = True

    def __init__(self, where: str, volts: float | None):
        self._link = open_port("ppk2", TITLE, where, self.find(), 115200)
        self.name = f"PPK2 at {where or self.find()[0]}"
        try:
            told = self._ask()
            self._tables = _tables(self.name, told)
            self._volts = self._supply(told, volts)
        except BaseException:
            self._link.close()
            raise

    @staticmethod
    def find() -> list[str]:
        """The measuring port of each one; the other port of a kit is its shell."""
        kits: dict[str, list[str]] = {}
        for name, kit in ports_of({USB}):
            kits.setdefault(kit, []).append(name)
        return [min(found) for found in kits.values()]

    def _ask(self) -> dict[str, float]:
        """What it tells of itself."""
        self._link.write(bytes([STOP]))
        until = time.monotonic() + ANSWER_S
        while self._link.read(QUIET_S) and time.monotonic() < until:
            pass  # samples of an earlier measurement
        self._link.write(bytes([METADATA]))
        answer = b""
        until = time.monotonic() + ANSWER_S
        while b"END" not in answer and time.monotonic() < until:
            answer += self._link.read(QUIET_S)
        if b"END" not in answer:
            found = f"answers {answer[:20]!r}" if answer else "says nothing"
            raise InstrumentError(
                f"{self.name} is no PPK2, for it {found}: name the port at which it measures, the "
                "first of its two"
            )
        pairs = re.findall(r"^\s*(\w+)\s*:\s*(\S+)\s*$", answer.decode("ascii", "replace"), re.M)
        return {key: _number(value) for key, value in pairs}

    def _supply(self, told: dict[str, float], volts: float | None) -> float:
        """The board's voltage: as a source it sets it, as an ampere meter it must be told."""
        if told.get("mode") == AMPERE_METER:
            if volts is None:
                raise InstrumentError(
                    f"{self.name} is used as an ampere meter and does not see the voltage: say "
                    "with --volts what your supply gives"
                )
        elif volts is not None:
            if not VOLTS_MIN <= volts <= VOLTS_MAX:
                raise InstrumentError(f"a PPK2 gives {VOLTS_MIN} to {VOLTS_MAX} V, not {volts:g} V")
            self._link.write(bytes([VOLTAGE, *round(volts * 1000).to_bytes(2, "big")]))
        self._link.write(bytes([POWER, 1]))
        return told["VDD"] / 1000 if volts is None else volts

    def start(self) -> None:
        """Begins to measure."""
        self._words = Counted(RATE_HZ)
        self._begin = self._heard = time.monotonic()
        self._link.write(bytes([START]))

    def read(self, timeout_s: float) -> Block:
        """What has come."""
        data = self._link.read(timeout_s)
        now = time.monotonic()
        if data:
            self._heard = now
        elif now - self._heard > SILENT_S:
            raise LinkLost(f"{self.name} gives no samples any more")
        words, numbers = self._words.feed(data)
        if data:
            self._words.compare(now - self._begin)
        return self._block(words, numbers)

    def gaps(self) -> list[Gap]:
        """What the counter showed since this was asked last."""
        found, self._words.gaps = self._words.gaps, []
        return found

    def stop(self) -> None:
        """Ends the measurement; the board keeps its supply."""
        with contextlib.suppress(LinkLost):
            self._link.write(bytes([STOP]))
        self._link.close()

    def _block(self, words: np.ndarray, numbers: np.ndarray) -> Block:
        """Words as volts, amperes and pins."""
        ranges = words >> 14 & 7
        if (wrong := ranges >= RANGES).any():
            count, at_s = int(wrong.sum()), float(numbers[wrong][0]) / RATE_HZ
            text = f"{count} samples of a range that a PPK2 does not have"
            self._words.gaps.append(Gap(at_s, count / RATE_HZ, count, "lost", text))
            words, numbers, ranges = (a[~wrong] for a in (words, numbers, ranges))
        R, GS, GI, O, S, I, UG = self._tables[:, ranges]  # noqa: E741
        x = ((words & 0x3FFF) * 4.0 - O) * (VOLTS_PER_COUNT / R)
        amperes = UG * (x * (GS * x + GI) + S * self._volts + I)
        volts = np.full(len(words), self._volts, WIDE)
        marks = (words >> 24).astype(np.uint8)
        return Block(numbers / RATE_HZ, volts, amperes.astype(WIDE), marks)


def _number(text: str) -> float:
    """A number as it tells them; NaN for what is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _tables(name: str, told: dict[str, float]) -> np.ndarray:
    """(families, ranges): how to read a sample; InstrumentError where something is missing."""
    keys = [[f"{family}{k}" for k in range(RANGES)] for family in FAMILIES]
    tables = np.array([[told.get(key, math.nan) for key in row] for row in keys])
    missing = [key for row in keys for key in row if not math.isfinite(told.get(key, math.nan))]
    missing += [key for key in keys[0] if told.get(key) == 0]
    if missing:
        raise InstrumentError(
            f"{name} has no calibration for {' '.join(missing)}: restore it with Nordic's Power "
            "Profiler"
        )
    return tables

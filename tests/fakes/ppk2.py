"""A PPK2. More options: speed (1: as a real one, 0: as fast as it goes), volts, count (samples,
then silence), mode, lacking (keys that it does not tell), shell (it is
the other port), losses, repeats and cuts ([at sample, samples or bytes]), unplug (at sample).
"""

# SPDX-License-Identifier: MIT

import json
import sys

import numpy as np

from fakes.lines import Line, Measuring, Pace

RATE_HZ = 100_000
SPAN = 0x3FFF
TOP = (50e-6, 500e-6, 5e-3, 60e-3, 1.0)  # amperes of each range
TABLES = {  # as odd as a real one's
    "R": (1003.35, 101.62, 10.21, 0.9471, 0.04371),
    "GS": (0.9, 1.1, 1.03, 0.0013, 2e-06),
    "GI": (0.9991, 1.0004, 0.9987, 0.9712, 0.9548),
    "O": (112.5, 98.25, 64.0, 71.5, 59.875),
    "S": (1.1e-08, 3.2e-08, 2.4e-07, 3.3e-06, 2.6e-05),
    "I": (-7.3e-09, -2.1e-07, -1.9e-06, -1.4e-05, -2.6e-04),
    "UG": (1.0, 1.01, 0.995, 1.002, 1.0),
}
LENGTHS = {0x06: 1, 0x07: 1, 0x0C: 2, 0x0D: 3, 0x11: 2, 0x19: 1}
BURST = 1000  # samples at once


def raw(amperes: float, volts: float) -> tuple[int, float]:
    """Range and converter's count of a current, unrounded: what the host undoes."""
    k = next((k for k, top in enumerate(TOP) if amperes <= top), len(TOP) - 1)
    r, gs, gi, o, s, i, ug = (TABLES[family][k] for family in TABLES)
    want = amperes / ug - s * volts - i
    x = want / gi
    for _ in range(20):  # Newton's steps to x (gs x + gi) = want
        x -= (x * (gs * x + gi) - want) / (2 * gs * x + gi)
    return k, float(np.clip((x * r / (1.8 / 163840) + o) / 4, 0, SPAN - 1))


class Fake(Measuring):
    """What it does, step by step."""

    def __init__(self, options: dict):
        self.options, self.line = options, Line()
        self.volts = options.get("volts", 3.0)
        self.sent = self.counter = 0
        self.powered, self.pace, self.pending = False, None, b""
        self.random = np.random.default_rng(1)
        self.events = sorted(
            (at, kind, count)
            for kind in ("losses", "repeats", "cuts")
            for at, count in options.get(kind, [])
        )
        if "unplug" in options:
            self.events = sorted([*self.events, (options["unplug"], "unplug", 0)])

    def metadata(self) -> str:
        """The answer to 0x19."""
        told = {f"{family}{k}": v for family, row in TABLES.items() for k, v in enumerate(row)}
        told = {"Calibrated": 0} | told
        told |= {"VDD": round(self.volts * 1000), "HW": 9173, "mode": self.options.get("mode", 2)}
        lacking = self.options.get("lacking", [])
        lines = [f"{key}: {value}" for key, value in told.items() if key not in lacking]
        return "\n".join([*lines, "IA: 57", "END", ""])

    def words(self) -> None:
        """One cycle of the steps, without counters."""
        fixed, counts = [], []
        for count, amperes, pins in self.options["steps"]:
            k, adc = raw(amperes if self.powered else 0.0, self.volts)
            fixed.append(np.full(count, k << 14 | pins << 24, np.uint32))
            counts.append(np.full(count, adc))
        self.fixed, self.counts = np.concatenate(fixed), np.concatenate(counts)

    def hear(self, data: bytes) -> None:
        """Commands of the host."""
        self.pending += data
        while self.pending and len(self.pending) >= LENGTHS.get(self.pending[0], 1):
            count = LENGTHS.get(self.pending[0], 1)
            command, self.pending = self.pending[:count], self.pending[count:]
            if self.options.get("shell"):
                self.line.write(b"ppk2:~$ ")
            elif command[0] == 0x19:
                self.line.write(self.metadata().encode())
            elif command[0] == 0x0C:
                self.powered = command[1] == 1
            elif command[0] == 0x0D:
                self.volts = int.from_bytes(command[1:], "big") / 1000
            elif command[0] == 0x06:
                self.words()
                self.sent, self.pace = 0, Pace(RATE_HZ, self.options.get("speed", 1))
            elif command[0] == 0x07:
                self.pace = None

    def sample(self, count: int) -> np.ndarray:
        """The next words: counters, and noise that makes the mean of many true."""
        at = np.arange(self.sent, self.sent + count)
        here = at % len(self.fixed)
        counts = (self.counts[here] + self.random.random(count)).astype(np.uint32)
        return self.fixed[here] | counts | (at % 64).astype(np.uint32) << 18

    def burst(self) -> None:
        """What is due, up to the next event."""
        most = self.options.get("count", sys.maxsize) - self.sent
        if self.events:
            most = min(most, self.events[0][0] - self.sent)
        count = self.pace.due(self.sent, min(BURST, most))
        words = self.sample(count)
        self.sent += count
        self.line.write(words.astype("<u4").tobytes())
        if self.events and self.sent == self.events[0][0]:
            _, kind, extra = self.events.pop(0)
            if kind == "unplug":
                self.line.unplug()
            elif kind == "losses":
                self.sent += extra
            elif kind == "repeats":
                self.line.write(words[-extra:].astype("<u4").tobytes())
            else:
                words = self.sample(extra // 4 + 1)
                self.sent += len(words)
                self.line.write(words.astype("<u4").tobytes()[extra:])


if __name__ == "__main__":
    Fake(json.loads(sys.argv[1])).run()

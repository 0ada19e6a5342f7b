"""The end of a pseudo-terminal that a fake holds, and its sense of time."""

# SPDX-License-Identifier: MIT

import os
import select
import time
import tty


class Line:
    """A pseudo-terminal, whose other end opens as a serial port."""

    def __init__(self) -> None:
        self.ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        print(os.ttyname(self._theirs), flush=True)

    def read(self, timeout_s: float) -> bytes:
        """What the host says, if anything in that time."""
        ready, _, _ = select.select([self.ours], [], [], timeout_s)
        return os.read(self.ours, 4096) if ready else b""

    def write(self, data: bytes) -> None:
        """All of it, as fast as the host takes it."""
        while data:
            data = data[os.write(self.ours, data) :]

    def unplug(self) -> None:
        """Both ends are gone: what the host does fails from now on."""
        os.close(self._theirs)
        os.close(self.ours)
        time.sleep(3600)


class Pace:
    """So many samples a second by the clock, `speed` times as fast; 0: as fast as they go."""

    def __init__(self, rate_hz: float, speed: float):
        self._rate_hz, self._begin = rate_hz * speed, time.monotonic()

    def due(self, sent: int, most: int) -> int:
        """How many may be sent now."""
        if not self._rate_hz:
            return most
        passed = int((time.monotonic() - self._begin) * self._rate_hz)
        return max(0, min(most, passed - sent))


class Measuring:
    """An instrument that hears commands and, while it has a pace, sends samples in bursts."""

    options: dict
    line: Line
    pace: Pace | None

    def hear(self, data: bytes) -> None:
        """Commands of the host."""
        raise NotImplementedError

    def burst(self) -> None:
        """The samples that are due."""
        raise NotImplementedError

    def run(self) -> None:
        """For ever."""
        while True:
            wait = 0.002 if self.pace and self.options.get("speed", 1) else 0 if self.pace else 1
            self.hear(self.line.read(wait))
            if self.pace:
                self.burst()

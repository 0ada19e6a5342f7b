"""A recorded trace as an instrument, to measure once more what was measured."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from wage_host.errors import InstrumentError
from wage_host.power import trace
from wage_host.power.instrument import Block, Gap

BLOCK = 10_000  # samples at once


class Replay:
    """The samples of a .npz file, as fast as they are asked for."""

    live = False

    def __init__(self, where: str, volts: float | None):
        if volts is not None:
            raise InstrumentError("a trace knows its voltage: leave out --volts")
        self._trace = trace.load(Path(where))
        self.rate_hz = 1 / self._trace.step_s if self._trace.step_s else 0.0
        self.pins = self._trace.about.get("pins", 0)
        self.name = f"{self._trace.about.get('instrument', 'a trace')}, from {where}"

    @staticmethod
    def find() -> list[str]:
        """A file is named, not found."""
        return []

    def start(self) -> None:
        """Begins at its beginning."""
        self._blocks = self._cut()
        self._gaps = list(self._trace.gaps)

    def _cut(self) -> Iterator[Block]:
        whole, n = self._trace, len(self._trace)
        volts = np.broadcast_to(whole.volts, n)
        for k in range(0, n, BLOCK):
            part = slice(k, k + BLOCK)
            t = whole.times(np.arange(n)[part])
            yield Block(t, volts[part], whole.amperes[part], whole.marks[part])

    def read(self, timeout_s: float) -> Block | None:
        """The next samples."""
        return next(self._blocks, None)

    def gaps(self) -> list[Gap]:
        """Those of the recording."""
        found, self._gaps = self._gaps, []
        return found

    def stop(self) -> None:
        """Nothing is held open."""

"""An instrument in a thread beside whatever else happens."""

import contextlib
import dataclasses
import struct
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from types import TracebackType
from typing import Any

import numpy as np

from wage_host.errors import InstrumentError
from wage_host.link import LinkLost
from wage_host.power.instrument import Gap, Instrument
from wage_host.power.trace import Trace, Writer

WAIT_S = 0.1  # for samples, at most
LONG, SUMMED_HZ = 10_000_000, 4_000_000  # samples that take seconds to sum up; a second
LATE_S = 0.5  # that samples may be after the end
TOLD_MAX = 10  # gaps that on_gap hears of; the trace has all


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a run: `count` of `what` between two times of time.monotonic()."""

    what: str  # 'inference' or 'sample'
    begin_s: float
    end_s: float
    count: int


class Recorder:
    """A measurement, from the beginning to the end of a with block.

    That an instrument goes away ends nothing else.
    on_gap(text) hears of what is missing, in the recorder's thread; say(text) of what takes long.
    joules and seconds: so far.
    """

    def __init__(
        self, instrument: Instrument, say: Callable[[str], None] = lambda text: None
    ) -> None:
        self.instrument, self.say = instrument, say
        self.on_gap = say
        self.joules = self.seconds = 0.0
        self.gone = False  # it was unplugged
        self.ended = threading.Event()
        self.parts: list[Part] = []
        self.steps_per_sample = 0.0  # 0: not known
        self._frames: list[tuple[float, int, int, bytes]] = []
        self._heard: list[tuple[float, float]] = []
        self._gaps: list[Gap] = []
        self._writer, self._last_s = Writer(), 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> "Recorder":
        self.started = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        self.instrument.start()
        self.begin_s = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.close()

    def on_marks(self, marks: list[tuple[int, int]], lost: int, us: int, heard_s: float) -> None:
        """Takes phases that the board tells, as Session.on_marks has them."""
        packed = b"".join(struct.pack("<BI", *mark) for mark in marks)
        self._frames.append((heard_s, us, lost, packed))

    @contextlib.contextmanager
    def part(self, what: str) -> Iterator[Callable[[int], None]]:
        """A part of the run; gives the function that is to be told how many there were."""
        begin, done = time.monotonic(), [0]
        try:
            yield lambda count: done.__setitem__(0, count)
        finally:
            self.parts.append(Part(what, begin, time.monotonic(), done[0]))

    @property
    def samples(self) -> int:
        """So far."""
        return self._writer.count

    def close(self) -> None:
        """Ends the measurement, if there was one, and lets go of the instrument; once."""
        if not self._stop.is_set():
            self._end_s = time.monotonic()
            self._stop.set()
            if self._thread.is_alive():
                self._thread.join()
            try:
                self.instrument.stop()
            except Exception:
                if not self.gone:  # else no wonder
                    raise

    def trace(self, **about: Any) -> Trace:
        """All of it, after close()."""
        if self.samples > LONG:
            seconds = self.samples / SUMMED_HZ
            self.say(f"summing up {self.samples:,} samples of power, about {seconds:.0f} s")
        which = {"instrument": self.instrument.name, "pins": self.instrument.pins}
        return self._writer.trace(
            heard=np.array(self._heard).reshape(-1, 2),
            gaps=tuple(self._gaps),
            frames=tuple(self._frames),
            about=which | {"started": self.started} | about,
        )

    # -- in the thread -----------------------------------------------------

    def _work(self) -> None:
        try:
            while not self._complete() and self._take():
                pass
        except Exception as error:  # drivers of others may raise anything
            known = isinstance(error, LinkLost | InstrumentError)
            lost = str(error) if known else f"the driver failed: {error!r}"
            self.gone = True
            self.on_gap(f"unplugged: {lost}; nothing is measured from here on")
            self._stop.wait()
            silent_s = max(time.monotonic() - self.begin_s - self._last_s, 0.0)
            self._gaps.append(Gap(self._last_s, silent_s, 0, "unplugged", lost))
        finally:
            self.ended.set()

    def _complete(self) -> bool:
        """Whether it is to end, and what was drawn until then is here, or late."""
        if not self._stop.is_set():
            return False
        late = time.monotonic() > self._end_s + LATE_S
        return late or self._last_s > self._end_s - self.begin_s

    def _take(self) -> bool:
        """One block; False: there is no more."""
        block = self.instrument.read(WAIT_S)
        heard_s = time.monotonic()
        for gap in self.instrument.gaps():
            self._gaps.append(gap)
            if len(self._gaps) <= TOLD_MAX:
                self.on_gap(f"{gap.kind}: {gap.text}")
        if block is None:
            return False
        if len(block):
            self._writer.add(block)
            begin_s, self._last_s = self._last_s, float(block.t[-1])
            watts = float((block.volts * block.amperes).mean())
            self.joules += watts * (self._last_s - begin_s)
            self.seconds = self._last_s
            self._heard.append((self._last_s, heard_s))
        return True


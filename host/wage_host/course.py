"""How a run goes, worked out of what came so far: what the terminal and the live page show."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wage_host.core import Record
from wage_host.draw import class_names
from wage_host.figures import loss

RECENT = 100  # samples that "lately" means
RATE_S = 5.0  # over which samples a second are counted
TICK_S = 0.25  # between two marks of that


def _short(ms: float) -> str:
    """A time of a board in words."""
    return f"{ms:.3g} ms" if ms >= 1 else f"{1000 * ms:.3g} µs"


class Course:
    """Takes records and events in the run's thread; other threads look while they hold `lock`.

    what, total: the part that is under way, `total` 0 when nobody knows; done of it; replay:
    samples in it and its capacity; joules(): so far, where power is measured.
    """

    def __init__(
        self,
        classes: int = 0,
        names: Sequence[str] = (),
        replay: tuple[int, int] = (0, 0),
        steps: int = 1,  # of a sample that is learned with its replays
        clock: Callable[[], float] = time.monotonic,
    ):
        self.lock = threading.Lock()
        self.classes, self.names = classes, class_names(classes, names) if classes else []
        self.stored, self.capacity = replay
        self.steps, self._clock = steps, clock
        self.joules: Callable[[], float] | None = None
        self.faults, self.fault, self.saved = 0, "", ("", "")
        self.ended = ""
        self.begin("", 0)

    # -- what comes ----------------------------------------------------------

    def begin(self, what: str, total: int) -> None:
        """Another part of the run; counts begin anew, faults and saves stay."""
        with self.lock:
            self._begin(what, total)

    def _begin(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, total, 0
        self.labels, self.predictions = bytearray(), bytearray()
        self.right, self._seen, self._right = 0, [0] * self.classes, [0] * self.classes
        self._lately: deque[tuple[bool, int, int]] = deque(maxlen=RECENT)
        self.begun = self._clock()
        self._marks = deque([(self.begun, 0)], maxlen=round(RATE_S / TICK_S))
        self._joules = self.joules() if self.joules else 0.0

    def take(self, record: Any) -> None:
        """One more; of a Record also what it says."""
        with self.lock:
            self._take(record)

    def _take(self, record: Any) -> None:
        self.done += 1
        now = self._clock()
        if now - self._marks[-1][0] >= TICK_S:
            self._marks.append((now, self.done))
        if not isinstance(record, Record) or record.known:
            return
        right = record.prediction == record.label
        self.labels.append(record.label)
        self.predictions.append(record.prediction)
        self.right += right
        self._lately.append((right, record.p_label, record.us))
        if record.label < self.classes:
            self._seen[record.label] += 1
            self._right[record.label] += right
        if self.learning and self.stored < self.capacity:
            self.stored += 1

    def hear(self, what: str, text: str, at_sample: int = 0, **_: int) -> None:
        """Faults of the link, and checkpoints, as Session.on_event; and after which sample."""
        if what == "fault":
            self.faults, self.fault = self.faults + 1, text
        elif what in ("save", "refused"):
            name, _, why = text.partition(": ")
            self.saved = name, f"{f'{why}; ' if why else ''}at sample {at_sample}"

    # -- what it comes to ------------------------------------------------------

    @property
    def learning(self) -> bool:
        """Whether the board learns what is sent now."""
        return self.what == "learning"

    @property
    def judged(self) -> int:
        """Samples with an answer that counts."""
        return len(self.labels)

    def accuracy(self) -> float | None:
        """Share that was right so far; when learning, each before it was learned."""
        return self.right / self.judged if self.judged else None

    def lately(self) -> tuple[float, float, float] | None:
        """Of the last RECENT samples: share that was right, loss in nats, milliseconds of one."""
        if not self._lately:
            return None
        right, p_label, us = np.array(self._lately, dtype=np.int64).T
        return float(right.mean()), float(loss(p_label).mean()), float(us.mean()) / 1e3

    def by_class(self) -> list[tuple[str, int, float]]:
        """Of each class that came: name, samples, share that was right."""
        return [(name, seen, right / seen) for name, seen, right
                in zip(self.names, self._seen, self._right, strict=True) if seen]  # fmt: skip

    def rate(self) -> float:
        """Samples a second, lately."""
        begin, before = self._marks[0]
        span = self._clock() - begin
        return (self.done - before) / span if span > 0 else 0.0

    def left_s(self) -> float | None:
        """Seconds until this part ends at the pace so far; None when nobody knows."""
        if not self.total or not self.done:
            return None
        return (self._clock() - self.begun) / self.done * (self.total - self.done)

    def steps_each(self) -> int:
        """Steps of a sample: with its replays, when learning."""
        return self.steps if self.learning and self.stored else 1

    def uj_step(self) -> float | None:
        """Microjoules a step (or an inference) in this part, idling in between included."""
        if not self.joules or not self.done:
            return None
        return (self.joules() - self._joules) * 1e6 / (self.done * self.steps_each())

    # -- in words ------------------------------------------------------------

    def figures(self) -> list[tuple[str, str, str]]:
        """All of it as title, value and what to know of that, for terminal and page."""
        out, share, late = [], self.accuracy(), self.lately()
        last = f"of the last {min(RECENT, self.judged)}"
        if share is not None and late:
            of_last = f"{100 * late[0]:.1f} % {last}" if self.judged > RECENT else "of all so far"
            out.append(("accuracy", f"{100 * share:.1f} %", of_last))
            out.append(("loss", f"{late[1]:.3f}", last))
        rate = self.rate()
        out.append(("speed", f"{rate:.{0 if rate >= 100 else 1}f}", "samples a second"))
        if late and late[2]:
            each = self.steps_each()
            steps = f", {_short(late[2] / each)} a step" if each > 1 else ""
            out.append(("on the board", _short(late[2]), f"a sample{steps}"))
        if (uj := self.uj_step()) is not None:
            out.append(("energy", f"{uj:.4g} µJ", "a step" if self.learning else "an inference"))
        if self.faults:
            plural = "s" * (self.faults > 1)
            out.append(("link", f"{self.faults} fault{plural}", f"the last: {self.fault}"))
        else:
            out.append(("link", "no faults", ""))
        if self.capacity and self.learning:
            out.append(("replay", f"{self.stored} of {self.capacity}", "samples"))
        if self.saved[0]:
            out.append(("saved", *self.saved))
        return out

    def line(self) -> str:
        """The most of it in a few words, for a line."""
        share, late = self.accuracy(), self.lately()
        if share is None or not late:
            return "sent"
        words = [f"{100 * share:.1f} % right", f"loss {late[1]:.2f}", f"{self.rate():.0f}/s"]
        words += [f"{late[2]:.3g} ms a sample"] * bool(late[2])
        if (uj := self.uj_step()) is not None:
            words.append(f"{uj:.3g} µJ a step" if self.learning else f"{uj:.3g} µJ an inference")
        words += [f"{self.faults} link fault{'s' * (self.faults > 1)}"] * bool(self.faults)
        return ", ".join(words)

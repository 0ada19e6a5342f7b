"""Energy of phases, of inferences and of samples learned, out of a trace.

Windows are MLPerf Tiny's: five of at least ten seconds each, from mark to mark; the energy of one
inference is that of its window over how many it holds, and the median of the five is the result.
A mark that was lost makes a window worthless. What idling would have drawn meanwhile is subtracted
in a second figure, never instead.
"""

import dataclasses
import itertools
import statistics
from collections.abc import Sequence

import numpy as np

from wage_host.errors import InstrumentError
from wage_host.power.phases import IDLE, PHASES, WORK, Spans
from wage_host.power.trace import Trace

WINDOWS, WINDOW_S = 5, 10.0
MISSING_MAX = 0.001  # of a window, without samples
TINY_S = 1e-9  # what sums of times are off by


@dataclasses.dataclass(frozen=True)
class Phase:
    """All of one phase: how often, seconds, joules; above idle None when it never idled."""

    phase: str
    times: int
    seconds: float
    joules: float
    above_idle: float | None


@dataclasses.dataclass(frozen=True)
class Window:
    """So many of something, between two marks."""

    times: int
    begin_s: float
    seconds: float
    joules: float


@dataclasses.dataclass(frozen=True)
class Result:
    """Joules of one inference, or of one sample learned; above idle, or None; and how."""

    joules: float
    above_idle: float | None
    how: str
    windows: tuple[Window, ...] = ()


def idle_watts(trace: Trace, spans: Spans) -> float | None:
    """Mean power while the board idled; None when it never did."""
    idle = spans.phase == IDLE
    begin, end = spans.begin_s[idle], spans.end_s[idle]
    joules, missing = trace.between(begin, end)
    measured = float((end - begin - missing).sum())
    return float(joules.sum()) / measured if measured > 0 else None


def by_phase(trace: Trace, spans: Spans) -> list[Phase]:
    """Energy and time of each phase that came, as far as it was measured whole.

    Of work that pins show in the trace's first or last sample nobody knows how long it took; of
    idling any part will do.
    """
    if not len(spans.phase):
        return []
    idle, found = idle_watts(trace, spans), []
    lengths = spans.end_s - spans.begin_s
    joules, missing = trace.between(spans.begin_s, spans.end_s)
    whole = missing <= MISSING_MAX * lengths + TINY_S
    if spans.aligned == "pin":
        whole[[0, -1]] &= spans.phase[[0, -1]] == IDLE
    for code, name in enumerate(PHASES):
        mine = (spans.phase == code) & whole
        if mine.any():
            seconds = float(lengths[mine].sum())
            energy = float(joules[mine].sum())
            above = None if idle is None else energy - idle * seconds
            found.append(Phase(name, int(mine.sum()), seconds, energy, above))
    return found


def works(spans: Spans) -> tuple[np.ndarray, np.ndarray]:
    """(n) when the board began to work on something new, and when it ended that."""
    working = np.isin(spans.phase, WORK)
    first = np.flatnonzero(working & ~np.append(False, working[:-1]))
    last = np.flatnonzero(working & ~np.append(working[1:], False))
    return spans.begin_s[first], spans.end_s[last]


def edges(trace: Trace) -> np.ndarray:
    """When the first pin rose."""
    pin = trace.marks & 1
    return trace.times(np.flatnonzero((pin[1:] == 1) & (pin[:-1] == 0)) + 1)


def between(trace: Trace, times: int, begin_s: float, end_s: float) -> Window:
    """A window; InstrumentError when samples are missing in it."""
    missing = trace.missing_s(begin_s, end_s)
    if missing > MISSING_MAX * (end_s - begin_s):
        raise InstrumentError(
            f"{missing:.3g} s of the {end_s - begin_s:.3g} s from {begin_s:.3g} s on were not "
            "measured: measure again"
        )
    joules = trace.joules(begin_s, end_s)
    return Window(times, begin_s, end_s - begin_s, joules)


def paired(trace: Trace, times: int) -> Result:
    """MLPerf Tiny's way: the first pin rises before and after `times` inferences, five times."""
    marks = edges(trace)
    check_marks(sum(gap.kind == "marks" for gap in trace.gaps))
    if not len(marks):
        raise InstrumentError("no marks: the first pin never rose; wire it, or leave out --per")
    if len(marks) != 2 * WINDOWS:
        raise InstrumentError(
            f"the first pin rose {len(marks)} times; {WINDOWS} windows take {2 * WINDOWS}: once "
            "before and once after each"
        )
    windows = [
        between(trace, times, float(a), float(b))
        for a, b in zip(marks[::2], marks[1::2], strict=True)
    ]
    outside = [between(trace, 0, float(a), float(b))
               for a, b in zip(marks[1:-1:2], marks[2::2], strict=True)]  # fmt: skip
    idle = sum(w.joules for w in outside) / sum(w.seconds for w in outside)
    return median(windows, idle)


def check_marks(lost: int) -> None:
    """InstrumentError when marks were lost."""
    if lost:
        raise InstrumentError(f"marks are missing {lost} times: measure again")


def median(windows: Sequence[Window], idle: float | None) -> Result:
    """The result of five windows; InstrumentError when one is too short."""
    shortest = min(window.seconds for window in windows)
    if shortest < WINDOW_S:
        raise InstrumentError(
            f"a window is {shortest:.3g} s long, and has to be {WINDOW_S:g} s: have the board do "
            f"{WINDOW_S / shortest:.1f} times as much"
        )
    each = [window.joules / window.times for window in windows]
    above = [(w.joules - idle * w.seconds) / w.times for w in windows] if idle is not None else None
    how = (
        f"median of {len(windows)} windows of {shortest:.3g} s or more, from mark to mark, "
        f"{min(w.times for w in windows)} or more in each; as MLPerf Tiny measures"
    )
    middle = statistics.median
    return Result(middle(each), middle(above) if above else None, how, tuple(windows))


def continuous(
    trace: Trace, spans: Spans, begin_s: float, end_s: float, next_s: float, count: int
) -> Result | None:
    """Of what the board did without a break between two times, `count` of something.

    next_s: when something else began. The time is cut into five windows at marks. Where that
    cannot be, all of it is one, and `how` says why. None when a part of it was not measured.
    """
    idle = idle_watts(trace, spans)
    begins, ends = works(spans)
    mine = (begins >= begin_s) & (begins < next_s)
    try:
        if not mine.any():
            raise InstrumentError("no marks")
        check_marks(spans.lost)
        if mine.sum() != count:
            raise InstrumentError(f"{mine.sum()} marks for {count}")
        marks = np.append(begins[mine], ends[mine][-1])
        cuts = np.linspace(0, count, WINDOWS + 1).astype(int)
        if (np.diff(cuts) == 0).any():
            raise InstrumentError(f"{count} are too few for {WINDOWS} windows")
        windows = [
            between(trace, int(b - a), float(marks[a]), float(marks[b]))
            for a, b in itertools.pairwise(cuts)
        ]
        return median(windows, idle)
    except InstrumentError as error:
        seconds = end_s - begin_s
        joules = trace.joules(begin_s, end_s)
        if trace.missing_s(begin_s, end_s) > MISSING_MAX * seconds:
            return None
        above = None if idle is None else (joules - idle * seconds) / count
        how = f"mean over all {seconds:.3g} s, by the computer's clock; no windows: {error}"
        return Result(joules / count, above, how)

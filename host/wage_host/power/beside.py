"""An instrument beside a run: started with it, its measurement kept in the log at its end."""

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from wage_host.device import Device
from wage_host.errors import WageError
from wage_host.log import Log
from wage_host.power import clocks, energy, phases, tables
from wage_host.power.energy import Result
from wage_host.power.phases import Spans
from wage_host.power.recorder import Part, Recorder
from wage_host.power.trace import Trace

CURVE = 1000  # parts of the curve in the log
CLOSEUP, CLOSEUP_POINTS = 3, 2000  # works in the close-up, points of it at most
WHATS = {"learning": "sample", "accuracy": "inference"}  # by how a progress display begins

Watch = Callable[[str, int, Iterable[Any]], Iterable[Any]]


@contextlib.contextmanager
def measured(
    recorder: Recorder | None, log: Log, run: int, device: Device, watch: Watch
) -> Iterator[Watch]:
    """Measures for the length of a with block, in which `watch` is replaced by what it gives.

    An instrument that goes away stops nothing: the gap is in the log.
    """
    if recorder is None:
        yield watch
        return

    def note(text: str) -> None:
        with contextlib.suppress(WageError):
            log.event(run, "power", text, device.last_id)

    recorder.on_gap = note
    with recorder:
        if device.welcome.marks:
            device.on_marks = recorder.on_marks
            device.hello()  # asks for them
        try:
            yield _watching(recorder, watch)
        finally:
            device.on_marks = None
            recorder.close()
            keep(log, run, recorder)


def _watching(recorder: Recorder, watch: Watch) -> Watch:
    """The same progress display; the recorder hears what is done when, and how much of it."""

    def run(what: str, count: int, records: Iterable[Any]) -> Iterator[Any]:
        kind = WHATS.get(what.partition(" ")[0])
        if not kind:
            yield from watch(what, count, records)
            return
        with recorder.part(kind) as told:
            for done, record in enumerate(watch(what, count, records), 1):
                told(done)
                yield record

    return run


@dataclasses.dataclass(frozen=True)
class Found:
    """What a measurement gave: results by what they are of."""

    what: str  # 'step', 'sample' or 'inference'
    result: Result


def keep(log: Log, run: int, recorder: Recorder) -> None:
    """Writes the trace beside the log, and all that is found in it into the log."""
    trace = recorder.trace(run=run)
    path = log.path.with_name(f"{log.path.stem}-run{run}.npz")
    name, note = path.name, []
    try:
        trace.save(path)
    except WageError as error:
        name, note = None, [str(error)]
    spans = phases.of(trace) if len(trace) else phases.NOTHING
    note += [spans.how] if len(trace) else ["the instrument gave no sample"]
    log.write(run, tables.ADD_POWER, [_power(run, recorder, trace, spans, name, note)])
    gaps = [(run, *dataclasses.astuple(gap)) for gap in trace.gaps]
    log.write(run, tables.ADD_GAP, gaps)
    log.write(run, tables.ADD_FRAME, [(run, *frame) for frame in trace.frames])
    if not len(trace):
        return
    found = [(run, *dataclasses.astuple(one)) for one in energy.by_phase(trace, spans)]
    log.write(run, tables.ADD_PHASE, found)
    log.write(run, tables.ADD_CLOSEUP, _closeup(run, trace, spans))
    over = clocks.fit(trace.heard[:, 0], trace.heard[:, 1])
    over = over or clocks.Fit(0.0, recorder.begin_s, 1.0, math.nan, "start")
    results = results_of(trace, spans, over, recorder.parts, recorder.steps_per_sample)
    windows = [(one.what, w) for one in results if one.what != "step" for w in one.result.windows]
    log.write(run, tables.ADD_WINDOW, [
        (run, what, *dataclasses.astuple(window)) for what, window in windows
    ])  # fmt: skip
    log.write(run, tables.ADD_ENERGY, [
        (run, one.what, one.result.joules, one.result.above_idle, "measured", one.result.how)
        for one in results
    ])  # fmt: skip


def _power(
    run: int, recorder: Recorder, trace: Trace, spans: Spans, name: str | None, note: list[str]
) -> tuple[Any, ...]:
    """The row of table power."""
    counts = {kind: sum(gap.samples for gap in trace.gaps if gap.kind == kind)
              for kind in ("lost", "repeated")}  # fmt: skip
    whole = trace.joules(trace.begin_s, trace.end_s) if len(trace) else 0.0
    rate = recorder.instrument.rate_hz or (1 / trace.step_s if trace.step_s else 0.0)
    return (
        run, recorder.instrument.name, recorder.started, trace.seconds, len(trace), rate,
        counts["lost"], counts["repeated"], whole, name, spans.aligned,
        None if spans.aligned == "none" else spans.uncertainty_s, "; ".join(note),
        trace.curve(CURVE).tobytes(),
    )  # fmt: skip


def _closeup(run: int, trace: Trace, spans: Spans) -> list[tuple[int, bytes, str]]:
    """Some works from the middle of the run, as they were measured; nothing without phases."""
    begins, ends = energy.works(spans)
    if not len(begins):
        return []
    middle = max(0, min(len(begins) // 2, len(begins) - CLOSEUP))
    begin, end = begins[middle], ends[min(middle + CLOSEUP, len(ends)) - 1]
    margin = (end - begin) / 20
    first, last = trace.number(np.array([begin - margin, end + margin]))
    stride = max(1, math.ceil((last - first) / CLOSEUP_POINTS))
    cuts = np.arange(first, last, stride)
    if not len(cuts):
        return []
    watts = trace.watts(first, last)
    means = np.add.reduceat(watts, cuts - first) / np.diff(np.append(cuts, last))
    points = np.stack([trace.times(cuts), means], 1).astype(np.float32)
    inside = (spans.end_s > begin - margin) & (spans.begin_s < end + margin)
    told = [[round(float(a), 7), round(float(b), 7), phases.PHASES[code]]
            for a, b, code in zip(spans.begin_s[inside], spans.end_s[inside],
                                  spans.phase[inside], strict=True)]  # fmt: skip
    return [(run, points.tobytes(), json.dumps(told))]


def results_of(
    trace: Trace, spans: Spans, over: clocks.Fit, parts: list[Part], steps_per_sample: float
) -> list[Found]:
    """Energy of an inference (of the longest evaluation), of a sample learned, and of a step.

    over: the computer's clock over the instrument's.
    """
    found = []
    for what in ("inference", "sample"):
        mine = [(part.end_s - part.begin_s, k) for k, part in enumerate(parts)
                if part.what == what and part.count]  # fmt: skip
        if not mine:
            continue
        results = (_result_of(trace, spans, over, parts, k) for _, k in sorted(mine, reverse=True))
        result = next(filter(None, results), None)
        if result is None:  # no part of the run was measured wholly
            continue
        found.append(Found(what, result))
        if what == "sample" and steps_per_sample:
            above = result.above_idle and result.above_idle / steps_per_sample
            how = f"{steps_per_sample:.3g} steps a sample; {result.how}"
            each = dataclasses.replace(result, joules=result.joules / steps_per_sample,
                                       above_idle=above, how=how)  # fmt: skip
            found.append(Found("step", each))
    return found


def _result_of(
    trace: Trace, spans: Spans, over: clocks.Fit, parts: list[Part], k: int
) -> Result | None:
    """Energy of each of what part k holds; None when it was not measured wholly."""
    following = parts[k + 1].begin_s if k + 1 < len(parts) else math.inf
    ends = (float(over.back(t)) for t in (parts[k].begin_s, parts[k].end_s, following))
    return energy.continuous(trace, spans, *ends, parts[k].count)


def summary(log: Log, run: int) -> dict[str, Any]:
    """What the log knows of the energy of a run, for people and --json; empty without."""
    rows = [dict(row) for row in log.read(tables.ENERGY, run)]
    return {"energy": rows} if rows else {}


def lines(log: Log, run: int) -> list[str]:
    """The same, in words."""
    told = []
    for row in log.read("SELECT * FROM power WHERE run = ?", run):
        told.append(
            f"power: {row['samples']} samples by {row['instrument']}, {row['lost']} lost, "
            f"{row['repeated']} repeated; {row['note']}"
        )
    for row in log.read(tables.ENERGY, run):
        label = "" if row["kind"] == "measured" else "estimate: "
        above = row["joules_above_idle"]
        idle = "" if above is None else f" ({joules_text(above)} above idle)"
        each = f"an {row['what']}" if row["what"] == "inference" else f"a {row['what']}"
        told.append(f"{label}{joules_text(row['joules'])}{idle} {each}: {row['how']}")
    return told


def joules_text(value: float) -> str:
    """Energy as people read it."""
    for name, unit in (("J", 1.0), ("mJ", 1e-3), ("µJ", 1e-6)):
        if abs(value) >= unit or name == "µJ":
            return f"{value / unit:.4g} {name}"
    raise AssertionError("µJ is the last")

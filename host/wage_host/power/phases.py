"""Which phase the board was in when, by the clock of the instrument that measured it.

By pin where the board shows its phase at three pins that the instrument has in its samples: exact
to a sample. Else by the MARKS that the board sends, through three clocks: the board's is laid over
the computer's, and the computer's over the instrument's.
"""

import dataclasses
import struct

import numpy as np

from wage_host._core import lib
from wage_host.power import clocks
from wage_host.power.trace import Trace

NAMES = ("idle", "receive", "forward", "backward", "update", "save")
PHASES = [""] * len(NAMES) + ["not told"]  # by enum wage_phase; the last: there was no room
for _name in NAMES:
    PHASES[getattr(lib, f"WAGE_PHASE_{_name.upper()}")] = _name
IDLE, FORWARD, BACKWARD = lib.WAGE_PHASE_IDLE, lib.WAGE_PHASE_FORWARD, lib.WAGE_PHASE_BACKWARD
UPDATE, NOT_TOLD = lib.WAGE_PHASE_UPDATE, len(NAMES)
WORK = (FORWARD, BACKWARD, UPDATE, NOT_TOLD)
WIRES, PINS = 3, 7  # pins that show the phase
STRANGE_MAX = 0.001  # share of samples with what is no phase
CLOCK = 1_000_000  # of the board
NO_PHASES = (
    "no phases: the instrument sees no phase at its pins, and the board sends none (flash it with "
    "--phases)"
)

TOO_FEW = (
    "no phases: the board tells them, but too few times were heard to lay its clock and the "
    f"instrument's over the computer's; that takes {clocks.LEAST} of each"
)


@dataclasses.dataclass(frozen=True)
class Spans:
    """Phases one after the other: begin_s and end_s (n) of the instrument's clock, phase (n).

    aligned: 'pin', 'clock', or 'none' with nothing in it. uncertainty_s: of each of these times.
    how: that, in words. lost: phases that were not told.
    """

    begin_s: np.ndarray
    end_s: np.ndarray
    phase: np.ndarray
    aligned: str
    uncertainty_s: float
    how: str
    lost: int = 0


NOTHING = Spans(*(np.empty(0),) * 2, np.empty(0, np.uint8), "none", 0.0, NO_PHASES)


def of(trace: Trace) -> Spans:
    """The phases of a trace, the surest way there is."""
    why = TOO_FEW if trace.frames else NO_PHASES
    return by_pin(trace) or by_clock(trace) or dataclasses.replace(NOTHING, how=why)


def by_pin(trace: Trace) -> Spans | None:
    """Phases that the samples themselves show; None where the pins are not wired for it."""
    codes = trace.marks & PINS
    counts = np.bincount(codes, minlength=PINS + 1)
    wired = counts[FORWARD] and (counts[UPDATE] or not counts[BACKWARD])  # the third pin, too
    if trace.about.get("pins", 0) < WIRES or not wired:
        return None
    first, code = _runs(codes)
    lengths = np.diff(np.append(first, len(codes)))
    if lengths[code >= NOT_TOLD].sum() > STRANGE_MAX * len(codes):
        return None
    begin = trace.times(first)
    end = np.append(begin[1:], trace.end_s)
    how = f"phases by pin, each edge within a sample ({1e6 * trace.step_s:.0f} µs)"
    lost = sum(gap.kind == "marks" for gap in trace.gaps)
    return Spans(begin, end, code, "pin", trace.step_s, how, lost)


def _runs(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each run of equal codes begins, and its code.

    Pins do not change all at once: a sample on the way from one code to the next, which has bits
    of both or none, belongs to the next.
    """
    first = np.append(0, np.flatnonzero(np.diff(codes)) + 1)
    code = codes[first]
    before, here, after = code[:-2], code[1:-1], code[2:]
    between = (here == IDLE) | ((here ^ before) & ~(before ^ after) & PINS == 0)
    way = np.flatnonzero((np.diff(first)[1:] == 1) & between) + 1
    code[way] = code[way + 1]
    keep = np.append(True, code[1:] != code[:-1])
    return first[keep], code[keep]


def by_clock(trace: Trace) -> Spans | None:
    """Phases out of what the board told; None where it told nothing, or clocks cannot be laid."""
    over = clocks.fit(trace.heard[:, 0], trace.heard[:, 1])
    parts = [part for run in _lives(trace.frames) if (part := _told(run, over))] if over else []
    if not parts:
        return None
    begin, end, phase = (np.concatenate([part[k] for part in parts]) for k in range(3))
    fits = [part[3] for part in parts]
    worst = max(fit.uncertainty_s for fit in fits) + over.uncertainty_s
    ppm = 1e6 * (fits[-1].slope / over.slope - 1)
    how = (
        f"phases by clocks, each within {1e3 * worst:.2f} ms and delays that are always there: "
        f"the board's over the computer's by the {fits[-1].how} of {len(trace.frames)} times "
        f"({1e3 * fits[-1].uncertainty_s:.2f} ms), the computer's over the instrument's by the "
        f"{over.how} of {len(trace.heard)} ({1e3 * over.uncertainty_s:.2f} ms); board {ppm:+.1f} "
        "ppm"
    )
    lost = sum(frame[2] for frame in trace.frames)
    return Spans(begin, end, phase, "clock", worst, how, lost)


def _lives(frames: tuple[tuple[float, int, int, bytes], ...]) -> list[list]:
    """Frames between two starts of the board, whose clock begins anew with it."""
    runs: list[list] = []
    for frame in frames:
        passed_s = clocks.signed(np.array(frame[1] - runs[-1][-1][1])) / CLOCK if runs else 0
        waited_s = frame[0] - runs[-1][-1][0] if runs else 0
        if not runs or passed_s < 0 or passed_s > 10 * waited_s + 1:
            runs.append([])
        runs[-1].append(frame)
    return runs


def _told(
    frames: list[tuple[float, int, int, bytes]], over: clocks.Fit
) -> tuple[np.ndarray, np.ndarray, np.ndarray, clocks.Fit] | None:
    """(begin, end, phase, fit of the board's clock) of one life of the board."""
    heard = np.array([frame[0] for frame in frames])
    sent = np.array([frame[1] for frame in frames], np.int64)
    whole = clocks.unwrap(sent)
    board = clocks.fit(whole / CLOCK, heard)
    if board is None:
        return None
    begins, phases = [], []
    for (_, us, lost, marks), at in zip(frames, whole, strict=True):
        told = list(struct.iter_unpack("<BI", marks))
        if not told:
            continue
        times = at + clocks.signed(np.array([t for _, t in told], np.int64) - us)
        codes = [min(code, NOT_TOLD) for code, _ in told]
        if lost:  # what came behind the last one is not known, until it was sent
            codes[-1] = NOT_TOLD
            times, codes = np.append(times, at), [*codes, IDLE]
        begins.append(times)
        phases.append(np.array(codes, np.uint8))
    if not begins:
        return None
    at = over.back(board(np.concatenate(begins) / CLOCK))
    phase = np.concatenate(phases)
    end = np.append(at[1:], over.back(board(whole[-1] / CLOCK)))
    return at, np.maximum(end, at), phase, board

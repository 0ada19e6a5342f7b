"""What was measured, in one .npz file: samples, gaps, and what helps to lay clocks together."""

import dataclasses
import functools
import itertools
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from wage_host import files
from wage_host.errors import FileError, InstrumentError
from wage_host.power.instrument import NOTHING, WIDE, Block, Gap

FORMAT = "wage power trace 1"
CHUNK = 1 << 18  # samples that are summed at a time
HELD_S = 1e-3  # a sample stands for so long at most when the next is missing…
HELD_STEPS = 2.5  # …or for so many of the usual steps


@dataclasses.dataclass(frozen=True)
class Trace:
    """Samples of one measurement; times in s of the instrument's clock, which began at 0.

    knots (k, 2): number of a sample and its time; between two of them time passes evenly. volts
    has n values, or one for all. heard (m, 2): a time of the instrument, and time.monotonic() when
    it was heard of. frames: marks that the board sent (phases.Frame). about: instrument, started
    (UTC), and whatever else is to be kept.
    """

    knots: np.ndarray  # (k, 2) float64
    volts: np.ndarray  # (n) or (1) float32
    amperes: np.ndarray  # (n) float32
    marks: np.ndarray  # (n) uint8
    heard: np.ndarray  # (m, 2) float64
    gaps: tuple[Gap, ...] = ()
    frames: tuple[tuple[float, int, int, bytes], ...] = ()
    about: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.amperes)

    @property
    def t(self) -> np.ndarray:
        """(n) when each sample began; made anew each time."""
        return self.times(np.arange(len(self)))

    def times(self, numbers: np.ndarray) -> np.ndarray:
        """When samples began, by their numbers."""
        return np.interp(numbers, self.knots[:, 0], self.knots[:, 1]) if len(self) else np.empty(0)

    def number(self, at_s: np.ndarray) -> np.ndarray:
        """The number of the first sample that began at a time, or after it."""
        found = np.ceil(np.interp(at_s, self.knots[:, 1], self.knots[:, 0]) - 1e-6).astype(int)
        return np.where(np.asarray(at_s) > self.knots[-1, 1], len(self), found)

    @functools.cached_property
    def step_s(self) -> float:
        """The usual time between two samples."""
        first = self.times(np.arange(min(len(self), CHUNK)))
        return float(np.median(np.diff(first))) if len(first) > 1 else 0.0

    @property
    def begin_s(self) -> float:
        """When the first sample began."""
        return float(self.knots[0, 1])

    @property
    def end_s(self) -> float:
        """When the last one ended."""
        return float(self.knots[-1, 1]) + self.step_s

    @property
    def seconds(self) -> float:
        """From the first sample to the end of the last."""
        return self.end_s - self.begin_s if len(self) else 0.0

    def watts(self, first: int, last: int) -> np.ndarray:
        """(last - first) of samples by number."""
        volts = self.volts if len(self.volts) == 1 else self.volts[first:last]
        return volts.astype(np.float64) * self.amperes[first:last]

    # Sums are made chunk by chunk: those of an hour would not fit into memory.

    def _chunk(self, c: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """When each sample of a chunk began, its watts, and how long it stands."""
        first, last = c * CHUNK, min((c + 1) * CHUNK, len(self))
        t = self.times(np.arange(first, min(last + 1, len(self))))
        held = np.minimum(np.diff(t), max(HELD_S, HELD_STEPS * self.step_s))
        if last == len(self):
            held = np.append(held, self.step_s)
        return t[: last - first], self.watts(first, last), held

    @functools.cached_property
    def _before(self) -> np.ndarray:
        """(chunks, 3): when each begins, joules and measured seconds before it."""
        rows, joules, seconds = [], 0.0, 0.0
        for c in range(-(-len(self) // CHUNK)):
            t, watts, held = self._chunk(c)
            rows.append((t[0], joules, seconds))
            joules, seconds = joules + float(watts @ held), seconds + float(held.sum())
        return np.array(rows).reshape(-1, 3)

    def _upto(self, at_s: np.ndarray) -> np.ndarray:
        """(n, 2): joules and measured seconds before times (n)."""
        out = np.empty((len(at_s), 2))
        chunk = np.clip(np.searchsorted(self._before[:, 0], at_s, side="right") - 1, 0, None)
        order = np.argsort(chunk, kind="stable")
        found, first = np.unique(chunk[order], return_index=True)
        for c, mine in zip(found, np.split(order, first[1:]), strict=True):
            t, watts, held = self._chunk(int(c))
            k = np.clip(np.searchsorted(t, at_s[mine], side="right") - 1, 0, None)
            into = np.clip(at_s[mine] - t[k], 0.0, held[k])
            joules = np.append(0.0, np.cumsum(watts * held))[k] + into * watts[k]
            seconds = np.append(0.0, np.cumsum(held))[k] + into
            out[mine] = np.stack([joules, seconds], 1) + self._before[c, 1:]
        return out

    def between(self, begin_s: np.ndarray, end_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Joules between times (n), and seconds there for which no sample stands."""
        begin_s, end_s = (np.atleast_1d(np.asarray(t, float)) for t in (begin_s, end_s))
        if not len(begin_s):
            return np.empty(0), np.empty(0)
        upto = self._upto(np.concatenate([begin_s, end_s]))
        joules, measured = (upto[len(begin_s) :] - upto[: len(begin_s)]).T
        return joules, end_s - begin_s - measured

    def joules(self, begin_s: float, end_s: float) -> float:
        """Energy between two times. A hole in the samples counts nothing."""
        return float(self.between(np.array(begin_s), np.array(end_s))[0][0])

    def missing_s(self, begin_s: float, end_s: float) -> float:
        """Seconds between two times for which no sample stands."""
        return float(self.between(np.array(begin_s), np.array(end_s))[1][0])

    def curve(self, parts: int) -> np.ndarray:
        """(parts or fewer, 3) float32: least, mean, most watts of equal parts of the time.

        NaN where nothing was measured.
        """
        parts = min(parts, len(self))
        out = np.full((parts, 3), np.nan, WIDE)
        if parts:
            cuts = self.number(self.begin_s + np.arange(parts) * self.seconds / parts)
            for k, (first, last) in enumerate(itertools.pairwise([*cuts, len(self)])):
                if last > first:
                    watts = self.watts(first, last)
                    out[k] = watts.min(), watts.mean(), watts.max()
        return out

    def save(self, path: Path) -> None:
        """Writes it whole, or not at all."""
        told = {
            "format": FORMAT,
            "about": self.about,
            "gaps": [dataclasses.astuple(gap) for gap in self.gaps],
            "frames": [(*frame[:3], frame[3].hex()) for frame in self.frames],
        }
        arrays = {name: getattr(self, name) for name in ARRAYS}
        arrays["told"] = np.frombuffer(json.dumps(told).encode(), np.uint8)
        files.check_output(path)
        part = path.with_name(path.name + ".part")
        try:
            with part.open("wb") as file:
                np.savez(file, **arrays)
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise FileError(f"cannot write {path}: {error.strerror}") from None


ARRAYS = {"knots": 2, "volts": 1, "amperes": 1, "marks": 1, "heard": 2}  # dimensions


def load(path: Path) -> Trace:
    """Reads what save() wrote; InstrumentError for anything else."""
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in ARRAYS}
            told = json.loads(found["told"].tobytes())
        if told["format"] != FORMAT:
            raise ValueError(f"its format is {told['format']}")
        gaps = tuple(Gap(*gap) for gap in told["gaps"])
        frames = tuple((*frame[:3], bytes.fromhex(frame[3])) for frame in told["frames"])
        trace = Trace(**arrays, gaps=gaps, frames=frames, about=told["about"])
        _check(trace)
        return trace
    except (*files.UNREADABLE, zipfile.BadZipFile) as error:
        text = getattr(error, "strerror", None) or error
        raise InstrumentError(f"{path} is no power trace of wage-host: {text}") from None


def _check(trace: Trace) -> None:
    """ValueError for arrays that do not belong together."""
    n = len(trace)
    shapes = all(getattr(trace, name).ndim == count for name, count in ARRAYS.items())
    if not shapes or len(trace.marks) != n or len(trace.volts) not in (1, n):
        raise ValueError("its arrays do not fit together")
    if n and not (np.diff(trace.knots, axis=0) > 0).all():
        raise ValueError("its times do not rise")


def knots(t: np.ndarray, first: int) -> np.ndarray:
    """(k, 2) of samples numbered from `first` on: where time stops to pass evenly, and the ends."""
    bends = np.abs(np.diff(t, 2)) > 1e-8
    keep = np.ones(len(t), bool)
    keep[1:-1] = bends
    if len(t) > 2:  # both ends of a jump
        keep[1:-2] |= bends[1:]
        keep[2:-1] |= bends[:-1]
    at = np.flatnonzero(keep)
    return np.stack([at + first, t[at]], 1).astype(float)


class Writer:
    """Puts a trace together, block by block."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.knots: list[np.ndarray] = []
        self.count = 0

    def add(self, block: Block) -> None:
        """Takes the next samples."""
        if not len(block):
            return
        self.knots.append(knots(block.t, self.count))
        self.count += len(block)
        # the times are in the knots, and a voltage that stands still is one number
        volts = block.volts
        still = np.broadcast_to(volts[:1].copy(), len(volts))
        volts = still if (volts == volts[0]).all() else volts
        self.blocks.append(dataclasses.replace(block, t=NOTHING.t, volts=volts))

    def trace(self, **more: Any) -> Trace:
        """All of it."""
        parts = self.blocks or [NOTHING]
        amperes, marks = (
            np.concatenate([getattr(block, name) for block in parts])
            for name in ("amperes", "marks")
        )
        levels = {float(b.volts[0]) if not any(b.volts.strides) else None for b in self.blocks}
        if len(levels) == 1 and None not in levels:
            volts = np.array([*levels], WIDE)
        else:
            volts = np.concatenate([block.volts for block in parts])
        lines = np.concatenate(self.knots) if self.knots else np.empty((0, 2))
        return Trace(lines, volts, amperes, marks, **more)

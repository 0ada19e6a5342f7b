"""What was measured, in one .npz file: samples, gaps, and what helps to lay clocks together."""

import dataclasses
import functools
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from wage_host import files
from wage_host.errors import InstrumentError
from wage_host.power.instrument import NOTHING, WIDE, Block, Gap

FORMAT = "wage power trace 1"
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

    @functools.cached_property
    def t(self) -> np.ndarray:
        """(n) when each sample began."""
        if not len(self):
            return np.empty(0)
        return np.interp(np.arange(len(self)), self.knots[:, 0], self.knots[:, 1])

    @functools.cached_property
    def step_s(self) -> float:
        """The usual time between two samples."""
        return float(np.median(np.diff(self.t))) if len(self) > 1 else 0.0

    @property
    def seconds(self) -> float:
        """From the first sample to the end of the last."""
        return float(self.t[-1] - self.t[0]) + self.step_s if len(self) else 0.0

    @functools.cached_property
    def _held_s(self) -> np.ndarray:
        """(n) how long each sample stands."""
        most = max(HELD_S, HELD_STEPS * self.step_s)
        return np.append(np.minimum(np.diff(self.t), most), self.step_s)

    @functools.cached_property
    def _watts(self) -> np.ndarray:
        return self.volts.astype(np.float64) * self.amperes

    @functools.cached_property
    def _energy(self) -> np.ndarray:
        """(n + 1) joules before each sample, and at the end."""
        return np.append(0.0, np.cumsum(self._watts * self._held_s))

    @functools.cached_property
    def _measured(self) -> np.ndarray:
        """(n + 1) seconds that samples stand for, before each, and at the end."""
        return np.append(0.0, np.cumsum(self._held_s))

    def _upto(self, at_s: np.ndarray, sums: np.ndarray, each: np.ndarray) -> np.ndarray:
        at_s = np.asarray(at_s, float)
        k = np.clip(np.searchsorted(self.t, at_s, side="right") - 1, 0, len(self) - 1)
        into = np.clip(at_s - self.t[k], 0.0, self._held_s[k])
        return sums[k] + into * each[k]

    def joules(self, begin_s: np.ndarray, end_s: np.ndarray) -> np.ndarray:
        """Energy between times. A hole in the samples counts nothing: see missing_s()."""
        upto = (self._upto(t, self._energy, self._watts) for t in (end_s, begin_s))
        return np.subtract(*upto)

    def missing_s(self, begin_s: np.ndarray, end_s: np.ndarray) -> np.ndarray:
        """Seconds between times for which no sample stands."""
        one = np.ones(len(self))
        upto = (self._upto(t, self._measured, one) for t in (end_s, begin_s))
        return np.subtract(end_s, begin_s) - np.subtract(*upto)

    def curve(self, parts: int) -> np.ndarray:
        """(parts or fewer, 3) float32: least, mean, most watts of equal parts of the time.

        NaN where nothing was measured.
        """
        parts = min(parts, len(self))
        out = np.full((parts, 3), np.nan, WIDE)
        if parts:
            cuts = np.searchsorted(self.t, self.t[0] + np.arange(parts) * self.seconds / parts)
            counts = np.diff(np.append(cuts, len(self)))
            full = counts > 0
            of = (self._watts, cuts[full])
            mean = np.add.reduceat(*of) / counts[full]
            out[full] = np.stack([np.minimum.reduceat(*of), mean, np.maximum.reduceat(*of)], 1)
        return out

    def watts(self, first: int, last: int) -> np.ndarray:
        """(last - first) of samples by number."""
        return self._watts[first:last]

    def save(self, path: Path) -> None:
        """Writes it whole, or not at all."""
        out = io.BytesIO()
        told = {
            "format": FORMAT,
            "about": self.about,
            "gaps": [dataclasses.astuple(gap) for gap in self.gaps],
            "frames": [(*frame[:3], frame[3].hex()) for frame in self.frames],
        }
        arrays = {name: getattr(self, name) for name in ARRAYS}
        np.savez(out, told=np.frombuffer(json.dumps(told).encode(), np.uint8), **arrays)
        files.write_whole(path, out.getvalue())


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
        if len(block):
            self.knots.append(knots(block.t, self.count))
            # the times are in the knots: to keep them would be half of the memory
            self.blocks.append(dataclasses.replace(block, t=NOTHING.t))
            self.count += len(block)

    def trace(self, **more: Any) -> Trace:
        """All of it."""
        parts = self.blocks or [NOTHING]
        volts, amperes, marks = (
            np.concatenate([getattr(block, name) for block in parts])
            for name in ("volts", "amperes", "marks")
        )
        if len(volts) and (volts == volts[0]).all():
            volts = volts[:1]
        lines = np.concatenate(self.knots) if self.knots else np.empty((0, 2))
        return Trace(lines, volts, amperes, marks, **more)

"""What tests of instruments share: a measurement with a fake, and what it should have been."""

# SPDX-License-Identifier: MIT

import time

import numpy as np
from wage_host.power.instrument import Gap, open_instrument
from wage_host.power.phases import PHASES
from wage_host.power.recorder import Recorder
from wage_host.power.trace import Trace

LIMIT_S = 120.0
# Amperes and pins of a step of the board; as many samples as `scale` times the first number.
STEP = ((5, 0.0042, 1), (20, 0.0215, 2), (8, 0.0263, 3), (4, 0.0301, 4), (13, 0.0011, 0))


def steps(scale: int) -> list[tuple[int, float, int]]:
    """The steps of a fake."""
    return [(scale * count, amperes, pins) for count, amperes, pins in STEP]


def record(where: str, samples: int, volts: float | None = None) -> tuple[Trace, list[str]]:
    """At least so many samples, or until the instrument goes away; and what was heard of gaps."""
    heard: list[str] = []
    until = time.monotonic() + LIMIT_S
    with Recorder(open_instrument(where, volts), heard.append) as recorder:
        while not recorder.gone and not recorder.ended.is_set():
            assert time.monotonic() < until, "too few samples in the time"
            if recorder.samples >= samples:
                break
            time.sleep(0.005)
    return recorder.trace(), heard


def cut(trace: Trace, cycle_s: float, begin_s: float = 0.0) -> tuple[float, float]:
    """The longest time from `begin_s` on that is whole cycles."""
    whole = int((trace.seconds - begin_s) / cycle_s)
    assert whole > 0
    return begin_s, begin_s + whole * cycle_s


def mean_watts(scale_steps: list[tuple[int, float, int]], volts: float) -> float:
    """What the fake was told to draw."""
    counts = sum(count for count, _, _ in scale_steps)
    return volts * sum(count * amperes for count, amperes, _ in scale_steps) / counts


def by_phase(scale_steps: list[tuple[int, float, int]], volts: float) -> dict[str, float]:
    """Watts of each phase."""
    return {PHASES[pins]: volts * amperes for _, amperes, pins in scale_steps}


def of(gaps: tuple[Gap, ...], kind: str) -> list[Gap]:
    """Gaps of a kind."""
    return [gap for gap in gaps if gap.kind == kind]


def errors(found: np.ndarray, grid_s: float) -> np.ndarray:
    """How far times are from multiples of a step."""
    return np.abs(found - np.round(found / grid_s) * grid_s)

"""The board's clock over the computer's and the instrument's: errors are within what is stated."""

# SPDX-License-Identifier: MIT

import struct
from collections.abc import Callable

import numpy as np
import pytest
from wage_host.power import clocks, energy, phases
from wage_host.power.instrument import Block
from wage_host.power.trace import Trace, Writer

SEEDS = range(70_000, 70_200)
SECONDS, DRIFT, JITTER_S = 60.0, 50e-6, 5e-3
STATED_MAX_S = 2e-3
FRAMES_HZ, BLOCKS_HZ = 20, 50
RATE_HZ = 1000  # of the instrument
WRAP = 1 << 32

Delays = Callable[[np.random.Generator, int], np.ndarray]
JITTER: dict[str, Delays] = {
    "one-sided, even": lambda random, n: random.uniform(0, JITTER_S, n),
    "one-sided, with a long tail": lambda random, n: random.exponential(JITTER_S, n),
    "half of a bell": lambda random, n: np.abs(random.normal(0, JITTER_S, n)),
    "to both sides": lambda random, n: random.normal(0, JITTER_S, n),
    "mostly none": lambda random, n: random.uniform(0, 1e-4, n)
    + (random.random(n) < 0.1) * random.exponential(2 * JITTER_S, n),
}


@pytest.mark.parametrize("jitter", JITTER)
def test_a_clock_is_within_the_stated_uncertainty(jitter):
    ends = np.array([0.0, SECONDS])
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        x = np.sort(random.uniform(*ends, int(SECONDS * FRAMES_HZ)))
        fit = clocks.fit(x, 17.3 + (1 + DRIFT) * x + JITTER[jitter](random, len(x)))
        error = np.abs(fit(ends) - (17.3 + (1 + DRIFT) * ends)).max()
        assert error <= fit.uncertainty_s <= STATED_MAX_S, (seed, fit)
        assert np.abs(fit.back(fit(ends)) - ends).max() < 1e-9


@pytest.mark.parametrize("jitter", ["one-sided, even", "to both sides"])
@pytest.mark.parametrize("count", [20, 60, 200])
def test_few_times_are_less_certain_and_still_within(jitter, count):
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        x = np.sort(random.uniform(0, SECONDS, count))
        fit = clocks.fit(x, 17.3 + (1 + DRIFT) * x + JITTER[jitter](random, len(x)))
        ends = np.array([x[0], x[-1]])
        error = np.abs(fit(ends) - (17.3 + (1 + DRIFT) * ends)).max()
        assert error <= fit.uncertainty_s, (seed, fit)


def test_a_delay_that_nobody_sees_is_taken_for_none():
    """The one thing that a fit cannot know; what says how it was made says so."""
    random = np.random.default_rng(1)
    x = np.arange(0, SECONDS, 0.05)
    fit = clocks.fit(x, x + 0.004 + JITTER["one-sided, even"](random, len(x)))
    assert fit(30.0) == pytest.approx(30.004, abs=fit.uncertainty_s)


def test_clocks_that_wrap():
    us = np.array([WRAP - 5, 3, 10, WRAP - 1, 0], np.int64)
    assert clocks.unwrap(us).tolist() == [WRAP - 5, WRAP + 3, WRAP + 10, WRAP - 1, WRAP]


def test_too_little_for_a_line():
    x = np.arange(19.0)
    assert clocks.fit(x, x) is None
    assert clocks.fit(np.ones(20), np.arange(20.0)) is None


# -- a board, an instrument and a computer, each with a clock of its own --------

FIRST_US = WRAP - 20_000_000  # the board's wraps after 20 s
TOLD = ((1, 0.004), (2, 0.012), (3, 0.006), (4, 0.003), (0, 0.025))  # phase, seconds of a step
WATTS = {0: 0.003, 1: 0.015, 2: 0.060, 3: 0.075, 4: 0.090}
STEP_S = sum(seconds for _, seconds in TOLD)


def laid_out(seed: int, jitter: str, seconds: float = SECONDS) -> tuple[Trace, np.ndarray]:
    """A trace without pins, with what the board told; and when its steps began, truly.

    True time is the instrument's; the board's clock gains 50 ppm, the computer's loses 20.
    """
    random = np.random.default_rng(seed)
    starts = np.arange(0.1, seconds, STEP_S)
    edges = np.cumsum([0.0] + [length for _, length in TOLD])
    t = np.arange(int((seconds + 1) * RATE_HZ)) / RATE_HZ
    inside = (t - 0.1) % STEP_S
    phase = np.array([phase for phase, _ in TOLD])[np.searchsorted(edges, inside, "right") - 1]
    amperes = np.vectorize(WATTS.get)(phase).astype(np.float32) / 3

    def board_us(at: np.ndarray) -> np.ndarray:
        return np.round(FIRST_US + at * (1 + DRIFT) * 1e6).astype(np.int64) % WRAP

    def computer_s(at: np.ndarray) -> np.ndarray:
        return 1000 + at * (1 - 20e-6)

    delay = JITTER[jitter](random, len(starts))
    frames = []
    for start, late in zip(starts, delay, strict=True):
        begins = board_us(start + edges[:-1])
        marks = b"".join(
            struct.pack("<BI", code, int(us)) for (code, _), us in zip(TOLD, begins, strict=True)
        )
        sent = start + edges[-2] + 0.0001
        frames.append((float(computer_s(sent) + late), int(board_us(sent)), 0, marks))
    heard = np.arange(0.02, seconds + 1, 1 / BLOCKS_HZ)
    late = random.exponential(0.001, len(heard))
    writer = Writer()
    ones = np.ones(len(t), np.float32)
    writer.add(Block(t, 3 * ones, amperes, np.zeros(len(t), np.uint8)))
    trace = writer.trace(
        heard=np.stack([heard, computer_s(heard) + late], 1), frames=tuple(frames)
    )
    return trace, starts


@pytest.mark.parametrize("jitter", ["one-sided, even", "to both sides"])
def test_phases_by_clock_are_within_the_stated_uncertainty(jitter):
    for seed in range(70_000, 70_010):
        trace, starts = laid_out(seed, jitter)
        spans = phases.of(trace)
        assert spans.aligned == "clock"
        assert spans.uncertainty_s <= STATED_MAX_S
        begins = spans.begin_s[spans.phase == phases.FORWARD]
        error = np.abs(begins - (starts + 0.004)).max()
        assert error <= spans.uncertainty_s, seed
        assert len(begins) == len(starts)
        assert f"each within {1e3 * spans.uncertainty_s:.2f} ms" in spans.how


def test_energy_by_clock():
    trace, starts = laid_out(7, "one-sided, even", 20.0)
    spans = phases.of(trace)
    found = {phase.phase: phase for phase in energy.by_phase(trace, spans)}
    # an edge that is off by no more than stated moves that time from one phase to its neighbour
    most = spans.uncertainty_s * max(WATTS.values())
    for code, seconds in TOLD[:-1]:
        one = found[phases.PHASES[code]]
        assert one.times == len(starts)
        assert one.seconds / one.times == pytest.approx(seconds, rel=1e-3)
        assert one.joules / one.times == pytest.approx(WATTS[code] * seconds, abs=2 * most)


def test_a_board_that_starts_again_has_a_new_clock():
    trace, starts = laid_out(3, "one-sided, even", 40.0)
    frames = []
    for heard_s, us, lost, marks in trace.frames:
        back = 5_000_000_000 if heard_s > 1020 else 0  # from then on its clock began anew
        shifted = [(c, (u - back) % WRAP) for c, u in struct.iter_unpack("<BI", marks)]
        packed = b"".join(struct.pack("<BI", *mark) for mark in shifted)
        frames.append((heard_s, (us - back) % WRAP, lost, packed))
    again = Trace(trace.knots, trace.volts, trace.amperes, trace.marks, trace.heard,
                  frames=tuple(frames))  # fmt: skip
    spans = phases.of(again)
    begins = spans.begin_s[spans.phase == phases.FORWARD]
    assert np.abs(begins - (starts + 0.004)).max() <= spans.uncertainty_s


def test_phases_that_were_not_told():
    trace, _ = laid_out(3, "one-sided, even", 10.0)
    frames = [(h, us, 2 if k == 5 else 0, marks[:15] if k == 5 else marks)
              for k, (h, us, _, marks) in enumerate(trace.frames)]  # fmt: skip
    again = Trace(trace.knots, trace.volts, trace.amperes, trace.marks, trace.heard,
                  frames=tuple(frames))  # fmt: skip
    spans = phases.of(again)
    assert spans.lost == 2
    assert np.count_nonzero(spans.phase == phases.NOT_TOLD) == 1
    result = energy.continuous(again, spans, 0.0, 10.0, 11.0, len(frames))
    assert "no windows: marks are missing 2 times" in result.how

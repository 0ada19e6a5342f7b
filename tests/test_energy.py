"""Traces, and energy out of them, against sums that can be done by hand."""

# SPDX-License-Identifier: MIT

import dataclasses
import random

import numpy as np
import pytest
from wage_host.errors import InstrumentError
from wage_host.power import energy, phases, trace
from wage_host.power.instrument import Block, Gap
from wage_host.power.trace import Trace, Writer

RATE = 1000
# Phase, samples, milliwatts: a step of 100 ms.
CYCLE = ((1, 10, 12), (2, 40, 60), (3, 20, 75), (4, 10, 90), (0, 20, 3))
WORK_MJ = 0.040 * 60 + 0.020 * 75 + 0.010 * 90
STEP_MJ = WORK_MJ + 0.010 * 12 + 0.020 * 3


def made(seconds: int, keep: slice | None = None, pins: int = 8) -> Trace:
    """A trace of so many seconds; without the samples `keep`."""
    codes = np.repeat([c for c, _, _ in CYCLE], [n for _, n, _ in CYCLE])
    watts = np.repeat([w / 1000 for _, _, w in CYCLE], [n for _, n, _ in CYCLE])
    n = seconds * RATE
    codes, watts = np.resize(codes, n).astype(np.uint8), np.resize(watts, n)
    t, there = np.arange(n) / RATE, np.ones(n, bool)
    if keep:
        there[keep] = False
    volts, amperes = np.full(n, 3, np.float32), (watts / 3).astype(np.float32)
    writer = Writer()
    for part in np.array_split(np.flatnonzero(there), 7):
        writer.add(Block(t[part], volts[part], amperes[part], codes[part]))
    return writer.trace(heard=np.stack([t[:1], t[:1]], 1), about={"pins": pins})


def test_joules_between_times():
    one = made(1)
    assert one.seconds == pytest.approx(1.0)
    assert one.joules(0.0, 1.0) == pytest.approx(10 * STEP_MJ / 1000)
    assert one.joules(0.01, 0.05) == pytest.approx(0.040 * 0.060)
    assert one.joules(0.0105, 0.0117) == pytest.approx(0.0012 * 0.060)  # within samples
    joules, missing = one.between(np.array([0.01, 0.0, 0.5]), np.array([0.05, 0.01, 0.5]))
    assert joules == pytest.approx([0.040 * 0.060, 0.010 * 0.012, 0.0])
    assert missing == pytest.approx([0.0] * 3, abs=1e-9)


def test_sums_do_not_depend_on_how_they_are_cut(monkeypatch):
    one, two = made(20, slice(5000, 5300)), made(20, slice(5000, 5300))
    random = np.random.default_rng(1)
    begin = random.uniform(-0.5, 20, 1000)
    end = begin + random.uniform(0, 2, 1000)
    whole = one.between(begin, end)
    monkeypatch.setattr(trace, "CHUNK", 333)
    for a, b in zip(whole, two.between(begin, end), strict=True):
        assert a == pytest.approx(b, abs=1e-9)
    assert (one.curve(17) == two.curve(17)).all()


def test_a_hole_counts_nothing_and_is_told():
    one = made(1, slice(200, 300))
    assert one.missing_s(0.0, 1.0) == pytest.approx(0.1, abs=0.002)
    assert one.joules(0.0, 1.0) == pytest.approx(9 * STEP_MJ / 1000, rel=1e-3)
    assert one.missing_s(0.3, 1.0) == pytest.approx(0.0, abs=1e-9)


def test_phases_and_what_is_above_idle():
    one = made(10)
    spans = phases.of(one)
    assert spans.aligned == "pin"
    assert energy.idle_watts(one, spans) == pytest.approx(0.003)
    for (code, n, mw), phase in zip(
        sorted(CYCLE), energy.by_phase(one, spans), strict=True
    ):  # fmt: skip
        assert phase.phase == phases.PHASES[code]
        times = 99 if code == 1 else 100  # of the one in which the trace begins, nobody knows
        assert phase.times == times
        assert phase.seconds == pytest.approx(times * n / RATE)
        assert phase.joules == pytest.approx(phase.seconds * mw / 1000)
        assert phase.above_idle == pytest.approx(phase.seconds * (mw - 3) / 1000, abs=1e-7)


def test_a_sample_while_the_pins_change_is_no_phase():
    clean, one = made(10), made(10)
    edges = np.flatnonzero(np.diff(one.marks)) + 1
    one.marks[edges[::3]] = 0  # as where pins are cleared before they are set
    one.marks[edges[1::3]] |= one.marks[edges[1::3] - 1]  # as where one is late
    assert len(energy.works(phases.of(one))[0]) == len(energy.works(phases.of(clean))[0]) == 100
    spans, true = phases.of(one), phases.of(clean)
    assert spans.phase.tolist() == true.phase.tolist()
    assert np.abs(spans.begin_s - true.begin_s).max() < 1.001 / RATE


def test_work_in_which_a_trace_begins_or_ends_does_not_count():
    begun = made(10, slice(7))  # without 7 of the 10 samples of the first receive
    ended = made(10, slice(9960, 10_000))  # in the middle of a backward
    for one, cut in ((begun, "receive"), (ended, "backward")):
        by_name = {phase.phase: phase for phase in energy.by_phase(one, phases.of(one))}
        for code, n, _ in CYCLE[:3]:
            phase = by_name[phases.PHASES[code]]
            first = code == 1  # in which both begin
            assert phase.times == 100 - (first or phase.phase == cut)
            assert phase.seconds == pytest.approx(phase.times * n / RATE)


def test_phases_that_were_not_measured_do_not_count():
    one = made(10, slice(2015, 2045))  # a third of a forward, of 100
    by_name = {phase.phase: phase for phase in energy.by_phase(one, phases.of(one))}
    assert by_name["forward"].times == 99
    assert by_name["forward"].seconds == pytest.approx(99 * 0.040)
    assert by_name["forward"].joules == pytest.approx(99 * 0.040 * 0.060)
    assert by_name["update"].times == 100


def test_windows_as_mlperf_tiny_has_them():
    one = made(56)
    result = energy.continuous(one, phases.of(one), 0.0, 56.0, 57.0, 560)
    assert len(result.windows) == energy.WINDOWS
    assert all(window.seconds >= energy.WINDOW_S for window in result.windows)
    assert sum(window.times for window in result.windows) == 560
    assert result.joules == pytest.approx(STEP_MJ / 1000, rel=1e-4)
    assert result.above_idle == pytest.approx((STEP_MJ - 0.1 * 3) / 1000, rel=1e-3)
    assert result.how.startswith("median of 5 windows of 11.2 s or more, from mark to mark, 112 or")


def test_the_median_of_windows_not_their_mean():
    windows = [energy.Window(10, 0.0, 10.0, joules) for joules in (1.0, 1.0, 1.1, 9.0, 9.0)]
    result = energy.median(windows, 0.01)
    assert result.joules == pytest.approx(0.11)
    assert result.above_idle == pytest.approx(0.10)


@pytest.mark.parametrize(
    ("count", "seconds", "hole", "lost", "says"),
    [
        (200, 20, None, 0, "a window is 3.97 s long, and has to be 10 s"),
        (559, 56, None, 0, "560 marks for 559"),
        (4, 56, None, 0, "560 marks for 4"),
        (560, 56, slice(5050, 5080), 0, "of the 11.2 s from 0.01 s on were not measured"),
        (560, 56, None, 3, "marks are missing 3 times"),
    ],
)
def test_what_makes_windows_worthless(count, seconds, hole, lost, says):
    one = made(seconds, hole)
    spans = dataclasses.replace(phases.of(one), lost=lost)
    result = energy.continuous(one, spans, 0.0, seconds, seconds + 1, count)
    assert not result.windows
    assert says in result.how
    assert result.joules == pytest.approx(one.joules(0.0, seconds) / count)


def test_no_marks():
    one = made(2, pins=2)
    result = energy.continuous(one, phases.of(one), 0.0, 2.0, 3.0, 20)
    assert result.joules == pytest.approx(STEP_MJ / 1000)
    assert result.how.endswith("no windows: no marks")
    assert result.above_idle is None


def test_a_third_pin_that_is_not_wired_is_seen():
    one = made(2)
    one.marks[:] &= 3
    assert phases.of(one).aligned == "none"


def test_a_trace_comes_back_as_it_was(tmp_path):
    one = made(3, slice(500, 600))
    gaps = (Gap(0.5, 0.1, 100, "lost", "so"), Gap(1.0, 0.0, 0, "marks", "ä"))
    frames = ((1.5, 123, 0, b"\1\2\3\4\5"),)
    one = dataclasses.replace(one, gaps=gaps, frames=frames)
    one.save(tmp_path / "t.npz")
    back = trace.load(tmp_path / "t.npz")
    for name in trace.ARRAYS:
        assert np.array_equal(getattr(back, name), getattr(one, name))
    assert (back.gaps, back.frames, back.about) == (gaps, frames, one.about)
    assert len(back.volts) == 1  # as one for all
    kept = np.delete(np.arange(3 * RATE), slice(500, 600)) / RATE
    assert back.t == pytest.approx(kept, abs=1e-9)


def test_knots_are_few_and_give_the_times_back():
    jumps = np.cumsum(np.where(np.arange(5000) % 777 == 5, 0.3, 1e-5))
    assert len(trace.knots(jumps, 0)) < 40
    uneven = np.cumsum(np.random.default_rng(1).uniform(1e-3, 2e-3, 500))
    for t in (jumps, uneven, jumps[:1], jumps[:2], jumps[:3]):
        lines = trace.knots(t, 10)
        assert np.interp(np.arange(len(t)) + 10, *lines.T) == pytest.approx(t, abs=1e-6)


@pytest.mark.parametrize("what", ["cut", "flip", "other"])
def test_a_damaged_trace_is_refused_or_read(what, tmp_path):
    made(1).save(tmp_path / "t.npz")
    good, path = (tmp_path / "t.npz").read_bytes(), tmp_path / "x.npz"
    for k in range(0, len(good), 97):
        if what == "cut":
            path.write_bytes(good[:k])
        elif what == "flip":
            path.write_bytes(good[:k] + bytes([good[k] ^ 0x55]) + good[k + 1 :])
        else:
            path.write_bytes(random.Random(k).randbytes(200))
        try:
            assert len(trace.load(path)) == RATE
        except InstrumentError as error:
            assert str(error).startswith(f"{path} is no power trace of wage-host: ")

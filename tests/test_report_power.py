"""Energy, power and time in a report: what was measured, what was not, and what is an estimate."""

# SPDX-License-Identifier: MIT

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import power_rows
import pytest
from test_report import NBSP, check_page, check_svg, learn
from wage_host.log import Log
from wage_host.power import energy, phases
from wage_host.power.trace import Trace
from wage_host.report import power, report, words

LEFT, RIGHT, BOTTOM = power.LEFT, power.BROAD - 12, power.TOP + power.HEIGHT


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """An empty log."""
    with Log(tmp_path / "a.sqlite") as log:
        yield log


def shown(log: Log, run: int) -> str:
    """The text of a report."""
    return check_page(report(log, [run])).text.replace(NBSP, " ")


def test_measured_energy_is_told_with_its_method(log: Log) -> None:
    run = learn(log, state="live")
    power_rows.measured(log, run)
    text = shown(log, run)
    assert ("Energy of a step127 µJmeasured by PPK2 on /dev/ttyACM1; 98.8 µJ above idle"
            ) in text
    assert ("2.03 mJ for a sample learned, with all its steps, 1.58 mJ above idle: measured. "
            "265 samples") in text
    assert "141 µJ for an inference, 101 µJ above idle: measured. median of 5 windows" in text
    assert "backward5 ms73.1 µJ4,24021.2 s310 mJ240 mJ" in text
    assert "told by the board's pins, in the samples themselves; a mark's time is uncertain" in text
    assert "samples a second100,000" in text
    assert "an inference70410.2 s10.2 s99.2 mJ141 µJ" not in text  # the fifth begins at 41.8 s
    assert "an inference70441.8 s10.2 s99.2 mJ141 µJ" in text
    assert "Hatched" not in text
    assert "not measured" not in text
    assert "estimate" not in text


def test_it_says_how_phases_were_laid_over_the_samples(log: Log) -> None:
    run = learn(log, state="live")
    power_rows.measured(log, run)
    log.write(run, "UPDATE power SET aligned = ?, uncertainty_s = ? WHERE run = ?",
              [("clock", 1.5e-3, run)])  # fmt: skip
    assert ("told by the board's clock, fitted to the instrument's; a mark's time is uncertain by "
            "1.5 ms.") in shown(log, run)
    log.write(run, "UPDATE power SET aligned = ?, uncertainty_s = ? WHERE run = ?",
              [("none", None, run)])  # fmt: skip
    assert "Nothing told which phase the board was in." in shown(log, run)


def test_estimate_is_called_so_and_shows_its_formula(log: Log) -> None:
    run = learn(log, state="live")
    power_rows.energies(log, run, power_rows.ESTIMATE)
    page = report(log, [run])
    text = check_page(page).text.replace(NBSP, " ")
    assert "Energy of an inference9.1 µJestimate, not measured" in text
    assert ("9.1 µJ for an inference: estimate, not measured. "
            "673,000 instructions / 64 MHz × 4.6 mA × 3.0 V") in text
    assert "<em>estimate</em>" in page


def test_measurement_comes_before_an_estimate(log: Log) -> None:
    run = learn(log, state="live")
    power_rows.energies(log, run, [*power_rows.ESTIMATE, *power_rows.RESULTS])
    text = shown(log, run)
    assert "Energy of an inference141 µJmeasured" in text
    assert "9.1 µJ for an inference: estimate, not measured." in text


def test_without_any_it_says_so(log: Log) -> None:
    assert "No instrument measured this run, and it holds no estimate" in shown(log, learn(log))


def test_gaps_are_told_and_visible(log: Log) -> None:
    run = learn(log, state="live")
    power_rows.measured(log, run, (power_rows.LOST, power_rows.UNPLUGGED))
    text = shown(log, run)
    assert ("The instrument was gone 44 s after it began (no data on /dev/ttyACM1): what came then "
            "was learned, but not measured.") in text
    assert "80,000 samples of power were lost: energies leave them out." in text
    assert "Hatched is what was not measured." in text
    assert "12 slost800 ms80,00080,000 samples lost" in text


def test_nothing_is_drawn_inside_a_gap() -> None:
    curve = np.full((1000, 3), (1e-3, 2e-3, 4e-3), "f4")
    gaps = [(10.0, 20.0, "not measured"), (80.0, 100.0, "unplugged")]
    root = check_svg(power.run_chart(curve, 100.0, gaps, power.BROAD))
    lines = [path for path in root.iter("path") if path.attrib.get("stroke-width") == "1.6"]
    spans = [(xs[0], xs[-1]) for xs in ([x for x, _ in points(line)] for line in lines)]
    at = [LEFT + (RIGHT - LEFT) * s / 100 for s in (0, 10, 20, 80)]
    assert np.allclose(np.ravel(spans), at, atol=2)
    assert {y for line in lines for _, y in points(line)} == {BOTTOM - power.HEIGHT * 2 / 4}
    assert root.find("desc").text == f"2{NBSP}mW on average over 1.67{NBSP}min; 2{NBSP}gaps."
    words_shown = [e.text for e in root.iter("text")]
    assert "unplugged" in words_shown


def test_many_gaps_are_few_marks() -> None:
    curve = np.full((1000, 3), 1e-3, "f4")
    gaps = [(at / 500, at / 500 + 1e-3, "not measured") for at in range(50_000)]
    gaps.append((200.0, 300.0, "unplugged"))
    chart = power.run_chart(curve, 200.0, gaps, power.BROAD)
    assert len(chart) < 60_000
    assert chart.count("unplugged</text>") == 1
    apart = [(1.0, 2.0, "a"), (1.5, 3.0, "b"), (9.0, 9.1, "c"), (9.15, 9.2, "d")]
    assert power._joined(apart, 0.1) == [(1.0, 3.0, "b"), (9.0, 9.2, "c")]


def test_gap_at_the_end_makes_the_chart_longer() -> None:
    curve = np.full((100, 3), 1e-3, "f4")
    root = check_svg(power.run_chart(curve, 50.0, [(50.0, 100.0, "unplugged")], power.BROAD))
    line = next(path for path in root.iter("path") if path.attrib.get("stroke-width") == "1.6")
    assert points(line)[-1][0] == pytest.approx((LEFT + RIGHT) / 2, abs=4)


def test_downsampled_curve_keeps_extremes_and_mean() -> None:
    rng = np.random.default_rng(1)
    curve = np.sort(rng.random((5000, 3)), axis=1)
    low, mean, high = power._fewer(curve, 400)
    assert (low.min(), high.max()) == (curve[:, 0].min(), curve[:, 2].max())
    assert mean.mean() == pytest.approx(curve[:, 1].mean(), rel=1e-3)
    assert (low <= mean).all()
    assert (mean <= high).all()
    size = len(power.run_chart(np.tile(curve, (100, 1)), 60.0, [], power.BROAD))
    assert size < 40_000


def test_curve_of_a_trace_is_even_in_time() -> None:
    """1 s of 1 W, a hole of 2 s, 1 s of 3 W with a peak and a dip."""
    t = np.append(np.arange(1000), np.arange(3000, 4000)) * 1e-3
    watts = np.repeat([1.0, 3.0], 1000).astype("f4")
    watts[1600:1602] = 7.0, 0.5
    knots = np.array([[0, 0.0], [999, 0.999], [1000, 3.0], [1999, 3.999]])
    trace = Trace(knots, np.ones(1, "f4"), watts, np.zeros(2000, "u1"), np.empty((0, 2)))
    assert np.allclose(trace.t, t, rtol=0, atol=1e-12)
    curve = trace.curve(8)
    assert curve[[0, 1, 6]].tolist() == [[1, 1, 1]] * 2 + [[3, 3, 3]]
    assert np.isnan(curve[2:6]).all()
    assert curve[7] == pytest.approx([0.5, (498 * 3 + 7.5) / 500, 7.0], rel=1e-4)
    assert trace.curve(9999).shape == (2000, 3)
    empty = Trace(np.empty((0, 2)), *(np.empty(0, "f4"),) * 2, np.empty(0, "u1"), np.empty((0, 2)))
    assert empty.curve(9).shape == (0, 3)


def test_what_was_not_wholly_measured_has_no_energy() -> None:
    """1 s of 2 W is there; a part that reaches beyond it was not measured."""
    knots = np.array([[0, 0.0], [999, 0.999]])
    trace = Trace(knots, np.ones(1, "f4"), np.full(1000, 2, "f4"), np.zeros(1000, "u1"),
                  np.empty((0, 2)))  # fmt: skip
    whole = energy.continuous(trace, phases.NOTHING, 0.2, 0.7, 5.0, 10)
    assert whole.joules == pytest.approx(0.1)
    assert energy.continuous(trace, phases.NOTHING, 0.5, 2.0, 5.0, 10) is None
    assert energy.continuous(trace, phases.NOTHING, 3.0, 4.0, 5.0, 10) is None


def test_phases_stand_where_they_were() -> None:
    t = np.arange(0, 10e-3, 1e-5)
    samples = np.stack([t, np.where(t < 4e-3, 1e-3, 2e-3)], 1)
    spans = [(0.0, 4e-3, "forward"), (4e-3, 10e-3, "backward")]
    root = check_svg(power.steps_chart(samples, spans, power.BROAD))
    strips = [(e.attrib["stroke"], *map(float, re.match(r"M(.*) .*h(.*)", e.attrib["d"]).groups()))
              for e in root.iter("path") if e.attrib.get("stroke-width") == "7"]
    bands = [e.attrib["d"] for e in root.iter("path") if e.attrib.get("fill-opacity") == "0.16"]
    assert bands == [f"M{x:g} 30h{w:g}v150h-{w:g}z" for _, x, w in strips]
    edge = LEFT + (RIGHT - LEFT) * 4e-3 / samples[-1, 0]
    assert [fill for fill, _, _ in strips] == ["var(--old)", "var(--new)"]
    assert np.allclose([strips[0][1], strips[1][1]], [LEFT, edge], atol=0.1)
    assert strips[0][2] == pytest.approx(edge - LEFT, abs=0.1)
    line = next(path for path in root.iter("path") if path.attrib.get("stroke-width") == "1.2")
    low = [x for x, y in points(line) if y > BOTTOM - power.HEIGHT * 0.6]
    assert max(low) == pytest.approx(edge, abs=1.5)


def test_thousands_of_phases_are_a_small_chart() -> None:
    t = np.linspace(0, 1, 2000)
    samples = np.stack([t, np.full(2000, 1e-3)], 1)
    spans = [(k / 5000, (k + 1) / 5000, ("forward", "backward", "update")[k % 3])
             for k in range(5000)]  # fmt: skip
    assert len(power.steps_chart(samples, spans, power.BROAD)) < 400_000


def test_shares_are_those_of_the_phases() -> None:
    root = check_svg(power.shares_chart([("time", [("forward", 1.0), ("update", 3.0)])]))
    widths = [float(e.attrib["width"]) for e in root.iter("rect")]
    assert widths[1] == pytest.approx(3 * widths[0], abs=0.2)
    assert root.find("desc").text == "time: forward 25%, update 75%."


def test_strange_phases_and_windows_do_no_harm(log: Log) -> None:
    run = learn(log, state="live")
    power_rows.measured(log, run)
    rows = [("<b>", 0, 0.0, 0.0, None), ("not told", 1, 1.0, 0.0, None)]
    power_rows.insert(log, run, "power_phase", "phase, times, seconds, joules, joules_above_idle",
                      rows)
    power_rows.insert(log, run, "power_window", "what, times, begin_s, seconds, joules",
                      [("sample", 0, 0.0, 0.0, 0.0)])
    text = shown(log, run)
    assert "not told1 s0 J11 s0 J–" in text


def test_energies_and_powers_have_their_unit() -> None:
    said = [words.energy(value) for value in (0.0, 2e-9, 141.2e-6, 0.98, 12.0, -3e-6)]
    assert [text.replace(NBSP, " ") for text in said] == ["0 J", "2 nJ", "141 µJ", "980 mJ",
                                                          "12 J", "−3 µJ"]
    assert words.power_unit(14e-3) == ("mW", 1e3)
    assert (words.time_unit(0.03), words.time_unit(61), words.time_unit(6000)) == (
        ("ms", 1e3), ("s", 1.0), ("min", 1 / 60))


def points(path: ET.Element) -> list[tuple[float, float]]:
    """Where a path goes."""
    numbers = [float(text) for text in re.findall(r"[\d.]+", path.attrib["d"])]
    return list(zip(numbers[::2], numbers[1::2], strict=True))

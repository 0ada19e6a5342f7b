"""Each driver against a fake in a process of its own, which speaks the real bytes on a pty."""

# SPDX-License-Identifier: MIT

import numpy as np
import pytest
from fakes import running
from measure import by_phase, cut, mean_watts, of, record, steps
from wage_host.power import energy, phases

SAMPLES = 100_000
# kind, driver, options of the fake, samples a second, scale of the steps, volts told, volts real
KINDS = {
    "ppk2": ("ppk2", {"speed": 0, "volts": 3.3}, 100_000, 40, None, 3.3),
    "ppk2 as ampere meter": ("ppk2", {"speed": 0, "mode": 1, "volts": 3.0}, 100_000, 40, 1.8, 1.8),
    "ppk2 that is set": ("ppk2", {"speed": 0}, 100_000, 40, 2.5, 2.5),
    "lpm01a": ("lpm", {"speed": 0}, 5000, 10, 1.8, 1.8),
    "stlink-v3pwr": ("lpm", {"speed": 0, "stlink": True}, 5000, 10, 3.3, 3.3),
    "csv": ("csvlines", {"speed": 0, "volts": 2.9}, 1000, 10, None, 2.9),
    "csv whose clock wraps": (
        "csvlines", {"speed": 0, "first_us": (1 << 32) - 1_234_567}, 1000, 10, None, 3.0
    ),
    "otii": ("otii", {}, 4000, 8, 2.7, 2.7),
}  # fmt: skip
DRIVER = {"csvlines": "csv"}
COUNTS = {"ppk2": 100_000, "lpm": 20_000, "csvlines": 10_000, "otii": 4_000}


@pytest.mark.parametrize("name", KINDS)
def test_energy_is_what_was_drawn(name):
    kind, options, rate_hz, scale, told, volts = KINDS[name]
    drawn = steps(scale)
    with running(kind, steps=drawn, **options) as port:
        trace, heard = record(f"{DRIVER.get(kind, kind)}:{port}", COUNTS[kind], told)
    assert not trace.gaps, heard
    assert abs(trace.step_s * rate_hz - 1) < 1e-6
    cycle_s = 50 * scale / rate_hz
    begin, end = cut(trace, cycle_s)
    true = mean_watts(drawn, volts) * (end - begin)
    assert abs(trace.joules(begin, end) / true - 1) < 1e-3


def test_a_ppk2_reads_all_its_ranges():
    drawn = [(5000, amperes, k + 1) for k, amperes in enumerate((22e-6, 3e-4, 4e-3, 0.04, 0.35))]
    with running("ppk2", steps=drawn, speed=0, volts=3.3) as port:
        trace, _ = record(f"ppk2:{port}", SAMPLES)
    for _, amperes, pins in drawn:
        assert trace.amperes[trace.marks == pins].mean() == pytest.approx(amperes, rel=1e-3)


@pytest.mark.parametrize("name", ["ppk2", "csv"])
def test_phases_by_pin_are_exact_to_a_sample(name):
    kind, options, rate_hz, scale, told, volts = KINDS[name]
    drawn = steps(scale)
    with running(kind, steps=drawn, **options) as port:
        trace, _ = record(f"{DRIVER.get(kind, kind)}:{port}", COUNTS[kind], told)
    spans = phases.of(trace)
    assert spans.aligned == "pin"
    assert spans.uncertainty_s == pytest.approx(1 / rate_hz)
    lengths = {phase: count for count, _, phase in drawn}
    found = (spans.end_s - spans.begin_s)[1:-1] * rate_hz  # the first and the last are cut off
    assert found == pytest.approx([lengths[phase] for phase in spans.phase[1:-1]], abs=0.01)
    order = [phase for _, _, phase in drawn]
    first = order.index(spans.phase[0])
    assert spans.phase.tolist() == [
        order[(first + k) % len(order)] for k in range(len(spans.phase))
    ]
    if kind == "ppk2":  # its clock begins with the first sample
        assert np.abs(np.cumsum([0, *found[:9]]) + drawn[0][0] - spans.begin_s[1:11] * rate_hz
                      ).max() < 0.01  # fmt: skip
    for phase in energy.by_phase(trace, spans):
        true_watts = by_phase(drawn, volts)[phase.phase]
        assert phase.joules / phase.seconds == pytest.approx(true_watts, rel=1e-3)


def test_an_lpm_shows_edges():
    with running("lpm", steps=[(400, 0.01, 1), (600, 0.002, 0)], speed=0) as port:
        trace, _ = record(f"lpm:{port}", 10_000, 3.0)
    found = energy.edges(trace)[:9]
    assert np.allclose(found, 0.08 + 0.2 * np.arange(9), atol=2 / 5000)


def test_two_pins_are_no_phases():
    with running("otii", steps=steps(8)) as port:
        trace, _ = record(f"otii:{port}", 2000)
    assert set(np.unique(trace.marks)) == {0, 1, 2, 3}
    assert phases.of(trace).aligned == "none"


LOSSES = [[5000, 1], [7000, 7], [20_000, 31], [30_000, 40], [40_000, 63]]


def test_a_ppk2_tells_what_it_lost():
    drawn = steps(40)
    with running("ppk2", steps=drawn, speed=0, losses=LOSSES) as port:
        trace, heard = record(f"ppk2:{port}", SAMPLES)
    assert [(round(gap.at_s * 1e5), gap.samples) for gap in trace.gaps] == [
        (at, count) for at, count in LOSSES
    ]
    assert {gap.kind for gap in trace.gaps} == {"lost"}
    assert heard[0] == "lost: 1 samples, or 64 more, or …"
    # what follows is in its place, and energy has no hole
    assert phases.of(trace).begin_s[-5:] * 1e5 == pytest.approx(
        np.round(phases.of(trace).begin_s[-5:] * 1e5), abs=1e-3
    )
    edges = np.round(phases.of(trace).begin_s * 1e5).astype(int)
    clean = [edge for edge in edges if all(edge - 64 > a + n or edge < a for a, n in LOSSES)]
    assert {edge % 2000 for edge in clean} == {0, 200, 1000, 1320, 1480}
    begin, end = cut(trace, 0.02)
    true = mean_watts(drawn, 3.0) * (end - begin)
    assert abs(trace.joules(begin, end) / true - 1) < 1e-3


def test_a_ppk2_tells_what_came_twice():
    repeats = [[5000, 1], [7000, 16], [9000, 32]]
    with running("ppk2", steps=steps(40), speed=0, repeats=repeats) as port:
        trace, _ = record(f"ppk2:{port}", SAMPLES)
    assert [(round(gap.at_s * 1e5), gap.samples, gap.kind) for gap in trace.gaps] == [
        (at, count, "repeated") for at, count in repeats
    ]
    assert np.allclose(trace.t, np.arange(len(trace)) / 1e5, rtol=0, atol=1e-9)
    edges = np.round(phases.of(trace).begin_s * 1e5).astype(int)
    assert {edge % 2000 for edge in edges} == {0, 200, 1000, 1320, 1480}


@pytest.mark.parametrize("count", [1, 2, 3, 5, 4095])
def test_a_ppk2_finds_its_step_again(count):
    with running("ppk2", steps=steps(40), speed=0, cuts=[[5000, count]]) as port:
        trace, _ = record(f"ppk2:{port}", 20_000)
    lost = of(trace.gaps, "lost")
    words = count // 4 + 1
    assert sum(gap.samples for gap in lost) % 64 in (words % 64, (words + 1) % 64)
    assert lost
    drawn = np.array([amperes for _, amperes, _ in steps(1)])
    assert np.abs(trace.amperes[:, None] - drawn).min(1).max() < 1e-4


def test_an_lpm_tells_what_is_missing():
    options = {"losses": [[7000, 300]], "garbles": [2000], "skips": [3]}
    drawn = [(400, 0.01, 1), (600, 0.002, 0)]
    with running("lpm", steps=drawn, speed=0, **options) as port:
        trace, _ = record(f"lpm:{port}", 15_000, 3.0)
    assert [gap.samples for gap in of(trace.gaps, "lost")] == [1, 300]
    assert [gap.text for gap in of(trace.gaps, "marks")] == ["1 edges are missing before number 4"]
    assert trace.t[-1] == pytest.approx((len(trace) + 300) / 5000, abs=1e-3)


def test_lines_that_are_missing_or_come_twice():
    options = {"losses": [[3000, 5]], "repeats": [4000], "garbles": [5000]}
    with running("csvlines", steps=steps(10), speed=0, **options) as port:
        trace, _ = record(f"csv:{port}", 9000)
    assert [(gap.kind, gap.samples) for gap in trace.gaps] == [
        ("lost", 5), ("repeated", 1), ("lost", 1)
    ]  # fmt: skip
    assert (np.diff(trace.t) > 0).all()


@pytest.mark.parametrize(("kind", "at"), [("ppk2", 30_000), ("csvlines", 500)])
def test_an_instrument_that_is_pulled_out(kind, at):
    with running(kind, steps=steps(10), unplug=at) as port:
        trace, heard = record(f"{DRIVER.get(kind, kind)}:{port}", 10**9)
    assert heard[-1].startswith("unplugged: ")
    (gap,) = of(trace.gaps, "unplugged")
    assert at - 2000 <= len(trace) <= at
    assert gap.at_s == pytest.approx(trace.t[-1])


@pytest.mark.soak
def test_a_minute_at_full_speed_without_loss():
    with running("ppk2", steps=steps(40)) as port:
        trace, heard = record(f"ppk2:{port}", 6_000_000)
    assert not trace.gaps, heard
    assert len(trace) >= 6_000_000
    begin, end = cut(trace, 0.02)
    true = mean_watts(steps(40), 3.0) * (end - begin)
    assert abs(trace.joules(begin, end) / true - 1) < 1e-3

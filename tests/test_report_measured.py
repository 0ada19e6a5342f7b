"""A run with an instrument beside it: what the report tells is what the instrument was given."""

# SPDX-License-Identifier: MIT

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import emulated
import fakes
import pytest
from test_report import NBSP, check_page
from wage_host import demo, emulate
from wage_host.log import Log
from wage_host.report import report

VOLTS, SAMPLE_S = 3.0, 1e-5
# Samples, amperes and pins: one sample is received, and 16 steps are learned.
STEPS = [[20, 0.0011, 0], [80, 0.0021, 1], [20, 0.0011, 0],
         *[[15, 0.0132, 2], [35, 0.0147, 3], [12, 0.0127, 4]] * 16]  # fmt: skip
PHASES = {"receive": STEPS[1], "forward": STEPS[3], "backward": STEPS[4], "update": STEPS[5]}
UNPLUGGED = 5_000  # samples until the instrument is gone
UNITS = {"": 1.0, "m": 1e-3, "µ": 1e-6, "n": 1e-9}


@contextlib.contextmanager
def board(name: str, model: Path) -> Iterator[str]:
    """The port of a board with a model."""
    if name == "sim":
        yield "sim"
        return
    with emulate.running(name, emulated.image(name, model)) as port:
        yield port


def learn(name: str, files: demo.Files, folder: Path, **options: int) -> str:
    """The report of a run of the demo beside a fake PPK2, as text."""
    data = ["--data", files.stream, "--eval-data", files.test, "--log", folder / "log"]
    with board(name, files.model) as port, fakes.running("ppk2", steps=STEPS, **options) as ppk:
        power = ["--power", f"ppk2:{ppk}", "--volts", f"{VOLTS:g}"]
        command = [sys.executable, "-m", "wage_host", "learn", "--port", port, "--model",
                   files.model, *data, *power]  # fmt: skip
        subprocess.run(list(map(str, command)), check=True, timeout=200)
    with Log(folder / "log") as log:
        return check_page(report(log, [1])).text.replace(NBSP, " ")


def told(text: str, pattern: str, unit: str) -> float:
    """A number in a text, with its unit."""
    found = re.search(pattern + rf"([\d.]+) ([mµn]?){unit}", text)
    assert found, text[-3000:]
    return float(found[1]) * UNITS[found[2]]


@pytest.mark.parametrize("name", ["sim", pytest.param("netduinoplus2", marks=pytest.mark.soak)])
def test_energies_are_those_of_the_instrument(
    name: str, demo_files: demo.Files, tmp_path: Path
) -> None:
    text = learn(name, demo_files, tmp_path)
    assert "Accuracy on all 10 classes went from 74.4 % to 97.5 %" in text
    for phase, (samples, amperes, _) in PHASES.items():
        each = re.search(phase + r"[\d.]+ µs[\d.]+ µJ", text)[0]
        assert told(each, phase, "s") == pytest.approx(samples * SAMPLE_S, rel=0.01)
        joules = samples * SAMPLE_S * amperes * VOLTS
        assert told(each, r"µs", "J") == pytest.approx(joules, rel=0.01)
    cycle_s = sum(samples for samples, _, _ in STEPS) * SAMPLE_S
    cycle = sum(samples * amperes for samples, amperes, _ in STEPS) * SAMPLE_S * VOLTS
    seconds = float(re.search(r"seconds([\d.]+)", text)[1])
    assert told(text, "energy of all", "J") == pytest.approx(seconds / cycle_s * cycle, rel=0.02)
    assert "phases bypin" in text
    assert "lost0repeated0" in text
    assert "unplugged" not in text


def test_instrument_that_is_unplugged_stops_nothing(
    demo_files: demo.Files, tmp_path: Path
) -> None:
    text = learn("sim", demo_files, tmp_path, unplug=UNPLUGGED)
    assert "to 97.5 %" in text
    assert "The instrument was gone " in text
    assert "Hatched is what was not measured." in text
    assert "came to the same weights" in text

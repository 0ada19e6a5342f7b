"""How a run goes: the figures, on a terminal, and in plain lines elsewhere."""

# SPDX-License-Identifier: MIT

import dataclasses
import io
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from blobs import random_stream, small_blob
from rich.console import Console
from wage_host import demo, link, sim
from wage_host.commands import course_of
from wage_host.core import Record
from wage_host.course import RECENT, Course
from wage_host.device import Device
from wage_host.screen import CLASSES, Screen, picture

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Clock:
    """A time that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def record(number: int, label: int, right: bool = True, p: int = 8192, **more: object) -> Record:
    """An answer."""
    given = {"skipped": False, "known": False, "us": 2000} | more
    return Record(number, label, label if right else label + 1, p, **given)


def going(count: int = 250) -> Course:
    """In the middle of learning 400 samples, ten a second, of which each fifth is wrong."""
    clock = Clock()
    course = Course(3, ["a", "b", "c"], (478, 480), 16, clock)
    course.begin("learning", 400)
    for k in range(count):
        clock.now += 0.1
        course.take(record(k + 1, k % 2, k % 5 > 0))
    return course


def test_figures_of_a_course() -> None:
    course = going()
    figures = {title: (value, note) for title, value, note in course.figures()}
    assert course.accuracy() == 0.8
    assert figures["accuracy"] == ("80.0 %", "80.0 % of the last 100")
    assert figures["loss"] == (f"{math.log(2):.3f}", "of the last 100")
    assert figures["speed"] == ("10.0", "samples a second")
    assert figures["on the board"] == ("2 ms", "a sample, 125 µs a step")
    assert figures["replay"] == ("480 of 480", "samples")
    assert figures["link"] == ("no faults", "")
    assert "saved" not in figures and "energy" not in figures
    assert course.left_s() == pytest.approx(15)
    assert course.by_class() == [("a", 125, 0.8), ("b", 125, 0.8)]


def test_lately_forgets_what_is_older() -> None:
    course = going(40)
    assert course.lately()[0] == 0.8
    for k in range(RECENT):
        course.take(record(k, 2, False, 16384))
    assert course.lately() == (0.0, 0.0, 2.0)
    assert 0 < course.accuracy() < 0.3


def test_known_samples_count_as_done_only() -> None:
    course = going(10)
    course.take(record(11, 1, False, known=True))
    assert (course.done, course.judged, course.accuracy()) == (11, 10, 0.8)


def test_faults_and_saves_stay_and_counts_begin_anew() -> None:
    course = going()
    course.hear("fault", "no answer within 5 s", at_sample=99)
    course.hear("resume", "session 2")
    course.hear("save", "checkpoint 7", at_sample=200, generation=7)
    course.begin("accuracy after", 10)
    figures = {title: (value, note) for title, value, note in course.figures()}
    assert figures["link"] == ("1 fault", "the last: no answer within 5 s")
    assert figures["saved"] == ("checkpoint 7", "at sample 200")
    assert (course.done, course.accuracy(), course.left_s()) == (0, None, None)
    course.hear("refused", "the guard refused: back to a score of 9", at_sample=250)
    assert course.saved == ("the guard refused", "back to a score of 9; at sample 250")


def test_energy_is_of_this_part_and_by_step() -> None:
    course, spent = Course(3, (), (5, 5), 4), [1.0]
    course.joules = lambda: spent[0]
    course.begin("learning", 10)
    course.take(record(1, 1))
    spent[0] += 8e-6
    assert course.uj_step() == pytest.approx(2)
    course.begin("accuracy after", 10)
    course.take(record(1, 1))
    spent[0] += 8e-6
    assert course.uj_step() == pytest.approx(8)
    assert ("energy", "8 µJ", "an inference") in course.figures()


def shown(course: Course, **console: object) -> str:
    """What a terminal gets."""
    out = io.StringIO()
    Console(file=out, force_terminal=True, width=80, **console).print(picture(course))
    return out.getvalue()


def test_picture_has_all_of_it_and_fits() -> None:
    text = ESCAPE.sub("", shown(going()))
    for words in ("250/400", "15 s left", "80.0 % of the last 100", "480 of 480", "no faults",
                  "80.0 % of 125"):  # fmt: skip
        assert words in text
    assert max(map(len, text.splitlines())) <= 80


def test_picture_of_many_classes_shows_those_that_go_worst() -> None:
    course = Course(100)
    course.begin("learning", 0)
    for k in range(1000):
        course.take(record(k, k % 100, k % 100 < 90 or k % 3 == 0))
    lines = [line for line in ESCAPE.sub("", shown(course)).splitlines() if "% of 10" in line]
    assert len(lines) == CLASSES
    assert [line.split()[0] for line in lines][-10:] == [str(c) for c in range(90, 100)]


def test_plain_lines_have_the_figures_and_no_escapes(capsys: pytest.CaptureFixture) -> None:
    course = Course(3)
    course.hear("fault", "x")
    records = [record(k + 1, 1, k % 2 == 0) for k in range(4)]
    assert list(Screen(False).watch("learning", 4, records, course)) == records
    line = capsys.readouterr().out
    assert re.fullmatch(
        r"learning: 4 of 4, 50\.0 % right, loss 0\.69, \d+/s, 2 ms a sample, 1 link fault\n", line
    )
    assert list(Screen(False).watch("guard", 2, [1, 2])) == [1, 2]
    assert capsys.readouterr().out == "guard: 2 of 2, sent\n"


@pytest.mark.parametrize("no_color", [False, True])
def test_terminal_shows_it_and_honours_no_color(
    demo_files: demo.Files, tmp_path: Path, no_color: bool
) -> None:
    ours, theirs = os.openpty()
    words = ["learn", "--port", "sim", "--model", demo_files.model, "--data", demo_files.stream]
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    env |= {"TERM": "xterm-256color", "COLUMNS": "80", "WAGE_LOG": str(tmp_path / "log")}
    env |= {"NO_COLOR": "1"} if no_color else {}
    process = subprocess.Popen(
        [sys.executable, "-m", "wage_host", *map(str, words)],
        stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, env=env,
    )  # fmt: skip
    os.close(theirs)
    out = b""
    while True:
        try:
            out += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert process.wait(60) == 0
    text = out.decode()
    assert "265/265" in text and "right" not in text
    assert "accuracy" in text and "replay" in text
    colours = re.findall(r"\x1b\[[0-9;]*(?:3[0-7]|9[0-7]|38;5;\d+)m", text)
    assert bool(colours) is not no_color


def test_replay_and_steps_are_the_boards(tmp_path: Path) -> None:
    """What the host reckons while it goes, the board says at the end."""
    blob = small_blob(replay_capacity=30, replays=5)
    with Device(lambda: link.SimLink(sim.SimBoard(blob))) as device:
        course = course_of(device, (), 5, blob)
        assert (course.stored, course.capacity) == (0, 30)
        device.start(1, dataclasses.replace(device.config(), replays=5))
        for count in (20, 45):  # before it is full, and after
            stream = list(random_stream(blob, 1, count))
            list(Screen(False).watch("learning", count, device.learn(stream), course))
            stats = device.stats()
            assert course.stored == stats.replay_count
            assert course.steps_each() * stats.samples == stats.steps

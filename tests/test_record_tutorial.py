"""docs/field.md collects data with a sensor: its commands run as printed, on an emulated board."""

# SPDX-License-Identifier: MIT

import contextlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import test_cli
from wage_host import emulate, firmware

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/field.md").read_text(encoding="utf-8")
HEAD = "## Collect data with your own sensor\n"
PART = PAGE[PAGE.index(HEAD) : PAGE.index("## Your own sensor\n")]


def commands() -> list[list[str]]:
    """Those of the page for the emulated board, in order."""
    blocks = re.findall(r"^```\n(.*?)^```", PART, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines() if "ttyACM0" not in line]
    assert len(lines) == 10 and all(line.startswith("wage-host ") for line in lines)
    return [shlex.split(line)[1:] for line in lines]


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_commands_and_figures_of_the_page(tmp_path: Path, need_emulator: None) -> None:
    said: list[str] = []
    with contextlib.ExitStack() as running:
        for words in commands():
            if words[0] == "emulate":
                told = dict(zip(words[1::2], words[2::2], strict=True))
                board = told["--board"]
                wanted = firmware.Contents(tmp_path / told["--model"], field=told["--field"])
                image = firmware.build(board, wanted)
                running.close()
                url = running.enter_context(emulate.running(board, image))
                continue
            words = [url if word.startswith("socket:") else word for word in words]
            done = test_cli.run(*words, cwd=tmp_path)
            assert done.returncode == 0, (words, done.stdout, done.stderr)
            said.append(done.stdout)
    assert "waves.npz has 30 inputs more, 30 in all" in said[1]
    assert "30 samples of 1x1x32, int8" in said[3] and "4 classes" in said[3]
    found = re.search(r"accuracy: ([\d.]+)% before, ([\d.]+)% after", said[-1])
    before, after = map(float, found.groups())
    printed = re.search(r"all four kinds \| ([\d.]+) % \| ([\d.]+) %", PART)
    for now, page in ((before, printed[1]), (after, printed[2])):
        assert abs(now - float(page)) <= 25  # other waves at each start
    assert after >= max(before - 2, 85)
    assert len(np.load(tmp_path / "later.npz")["y"]) == 100


def test_commands_for_a_sensor_are_spelled_as_the_program_has_them() -> None:
    lines = [line for line in PART.splitlines() if "--port /dev/ttyACM0" in line]
    assert len(lines) == 2
    for line in lines:
        words = shlex.split(line)[1:]
        words[words.index("/dev/ttyACM0")] = "/dev/there-is-none"
        code, text = test_cli.refused(*words, cwd=Path.cwd())
        assert (code, text.startswith("there is no port")) == (3, True)

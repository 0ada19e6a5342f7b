"""docs/tutorial-csv.md is true: its commands run as printed, its figures are what they print."""

# SPDX-License-Identifier: MIT

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/tutorial-csv.md").read_text(encoding="utf-8")
COMMAND = ".venv/bin/wage-host"


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each command of the page printed, in order, in a folder of its own."""
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "docs").mkdir()
    shutil.copy(ROOT / "docs/iris.csv", folder / "docs")
    (folder / ".venv/bin").mkdir(parents=True)
    own = folder / COMMAND
    own.write_text(f'#!/bin/sh\nexec {sys.executable} -m wage_host "$@"\n')
    own.chmod(0o755)
    blocks = re.findall(r"^```\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) == 10
    return {
        line: subprocess.run(
            line, shell=True, cwd=folder, check=True, capture_output=True, text=True, timeout=100,
            env={k: v for k, v in os.environ.items() if k != "WAGE_PORT"},
        ).stdout
        for line in lines
    }  # fmt: skip


def of(said: dict[str, str], word: str) -> str:
    """What the one command with this word said."""
    (text,) = (text for line, text in said.items() if word in line)
    return text


def test_figures_of_the_page_are_printed(said: dict[str, str]) -> None:
    before, after = re.search(r"all three kinds \| ([\d.]+) % \| \*\*([\d.]+) %", PAGE).groups()
    learned = of(said, "--data new.csv")
    assert f"accuracy: {before}% before, {after}% after" in learned
    assert "proved: this computer learned the same weights" in learned


def test_data_and_model_are_shown(said: dict[str, str]) -> None:
    assert "150 samples of 4" in of(said, "data show")
    assert re.search(r"setosa +50 +#{24}", of(said, "data show"))
    info = of(said, "info")
    assert re.search(r"names +setosa, versicolor, virginica", info)
    assert re.search(r"prepare +decimals 1\n +prepare +normalise", info)


def test_live_source_teaches_as_the_file_does(said: dict[str, str]) -> None:
    crc = re.compile(r"same samples \((\w+)\)")
    assert "learned 36 samples" in of(said, "--data -")
    assert crc.search(of(said, "--data -"))[1] == crc.search(of(said, "--data new.csv"))[1]


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target

"""docs/tutorial-pytorch.md and tutorial-keras.md are true: their commands run, as they say."""

# SPDX-License-Identifier: MIT

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = {name: (ROOT / f"docs/tutorial-{name}.md").read_text() for name in ("pytorch", "keras")}
NEAR = {"pytorch": 2.0, "keras": 1.0}  # points: floats are not the same on every computer


def blocks(page: str, language: str = "") -> list[str]:
    """Contents of the fenced blocks of a language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return [text for of, text in found if of == language]


def said(name: str, folder: Path) -> dict[str, str]:
    """What each command of a page printed, in order, in a folder of its own."""
    page = PAGES[name]
    (folder / "docs").mkdir()
    shutil.copy(ROOT / "docs/digits.tflite", folder / "docs")
    (folder / ".venv/bin").mkdir(parents=True)
    for command, start in (("wage-host", "-m wage_host"), ("python", "-W ignore")):
        own = folder / ".venv/bin" / command
        own.write_text(f'#!/bin/sh\nexec {sys.executable} {start} "$@"\n')
        own.chmod(0o755)
    for text in blocks(page, "python"):  # the one that says so is called net.py, …
        called = re.search(rf"`(\w+\.py)`[^`]*\n\n```python\n{re.escape(text)}", page)
        if called:
            (folder / called[1]).write_text(text)
    lines = [line for block in blocks(page) for line in block.splitlines() if "pip" not in line]
    told = {}
    for line in lines:
        done = subprocess.run(
            line, shell=True, cwd=folder, capture_output=True, text=True, timeout=200,
            env={k: v for k, v in os.environ.items() if k != "WAGE_PORT"},
        )  # fmt: skip
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        told[line] = done.stdout
    return told


def of(told: dict[str, str], word: str) -> str:
    """What the one command with this word said."""
    (text,) = (text for line, text in told.items() if word in line)
    return text


def accuracies(told: dict[str, str]) -> tuple[float, float]:
    """Before and after learning."""
    found = re.search(r"accuracy: ([\d.]+)% before, ([\d.]+)% after", of(told, "host learn"))
    return float(found[1]), float(found[2])


@pytest.mark.parametrize("name", ["keras", pytest.param("pytorch", marks=pytest.mark.soak)])
def test_commands_and_figures_of_the_page(name: str, tmp_path: Path) -> None:
    if name == "pytorch":
        pytest.importorskip("torch")
        pytest.importorskip("onnxscript")
    told = said(name, tmp_path)
    page = re.search(r"all ten digits \| ([\d.]+) % \| \*\*([\d.]+) %", PAGES[name]).groups()
    found = accuracies(told)
    for printed, here in zip(map(float, page), found, strict=True):
        assert abs(printed - here) <= NEAR[name], (page, found)
    assert "the same weights from the same samples" in of(told, "host learn")
    assert of(told, "verify").count("the same integers in the oracle, on this computer and") == 2
    if name == "pytorch":  # another program gives what the board gave
        assert f"{found[1]}% of 359 digits" in of(told, "check.py")


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", PAGES[name]):
        assert (ROOT / "docs" / target).exists(), target

"""libFuzzer, by atheris, looks for files that break what reads them on the host.

The targets are those of file_targets.py. Each mutant, a reader with one check left out, must be
found: by an exception that is none of the package's, by time or by memory.
"""

# SPDX-License-Identifier: MIT

import contextlib
import importlib.util
import shutil
import sys
from pathlib import Path

import file_targets
import native
import pytest
from test_fuzzers import CORPUS, fill, hunt, run

HOST = native.ROOT / "host"
RUNS, SEEDS = 40_000, 12  # that find a mutant; mostly with one of four seeds, some 25 s on one core
OPTIONS = {"models": ("-max_len=40000",)}  # TFLite files begin at some 27 KB
MUTANTS = {
    "weights of another shape": (
        "networks", "network.py", " and weights.shape == (layer.out, at.fan_in)", "",
    ),
    "weights as large as their type": (
        "networks", "network.py", "-most <= weights.min() and weights.max() <= most", "True",
    ),
    "more bits than are stored": ("texts", "network.py", "if stored > 16:", "if stored > 99:"),
    "an add of the input's input": ("texts", "network.py", "if source < 0:", "if source < -1:"),
    "more samples than labels": (
        "samples", "data/__init__.py", "if len(raw.x) != len(raw.labels):", "if False:",
    ),
    "an element without an end": ("samples", "matlab.py", "at = start + (", "at = at + ("),
    "a damaged archive": ("checkpoints", "files.py", "    zipfile.BadZipFile,\n", ""),
    "any step": ("checkpoints", "core.py", "return 0, (1 << 32) - 1",
        "return -(1 << 63), 1 << 63",),
    "any place in an epoch": (
        "checkpoints", "checkpoint.py", "and 0 <= self.right <= self.done <= samples", "",
    ),
    "an array as large as it says": (
        "models", "convert/read_arrays.py", "if not 0 <= size <= most:", "if False:",
    ),
}  # fmt: skip


def command(target: str, package: Path = HOST) -> list[str]:
    """The fuzzer of a target; package: where wage_host is taken from."""
    if not importlib.util.find_spec("atheris"):
        native.miss("needs atheris: make test installs it on Linux x86-64, Python 3.11 to 3.13")
    program = [sys.executable, str(native.ROOT / "tests/fuzz_host.py"), target]
    return ["env", f"PYTHONPATH={package}", *program, f"-dict={CORPUS / 'files.dict'}"]


def prepare(target: str, folder: Path) -> Path:
    """The inputs of a run."""
    return fill(target, file_targets.SEEDS[target](), folder)


@pytest.mark.parametrize("target", file_targets.TARGETS)
def test_fuzzer_finds_nothing(target: str, tmp_path: Path) -> None:
    hunt(command(target), prepare(target, tmp_path), 10, *OPTIONS.get(target, ()))


@pytest.mark.soak
@pytest.mark.parametrize("target", file_targets.TARGETS)
def test_fuzzer_finds_nothing_in_a_minute(target: str, tmp_path: Path) -> None:
    hunt(command(target), prepare(target, tmp_path), 60, *OPTIONS.get(target, ()))


@pytest.mark.soak
@pytest.mark.parametrize("name", MUTANTS)
def test_fuzzer_finds_a_mutant(name: str, tmp_path: Path) -> None:
    target, file, old, new = MUTANTS[name]
    shutil.copytree(HOST / "wage_host", tmp_path / "host/wage_host")
    path = tmp_path / "host/wage_host" / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file} has {text.count(old)} times: {old}"
    path.write_text(text.replace(old, new), encoding="utf-8")
    for seed in range(1, SEEDS + 1):
        (folder := tmp_path / str(seed)).mkdir()
        options = "-timeout=5", f"-seed={seed}", f"-runs={RUNS}"
        done = run(
            command(target, tmp_path / "host"), prepare(target, folder), 60, *options,
            *OPTIONS.get(target, ()),
        )  # fmt: skip
        if done.returncode != 0:
            break
    else:
        pytest.fail(f"not found: {done.stderr[-2000:]}")
    told = done.stdout + done.stderr
    assert "Uncaught Python exception" in told or "ERROR: libFuzzer: timeout" in told


@pytest.mark.parametrize("target", file_targets.TARGETS)
def test_seeds_are_right_files(target: str) -> None:
    for seed in file_targets.SEEDS[target]():
        with contextlib.suppress(file_targets.TooLarge):
            file_targets.TARGETS[target](seed[:-1], seed[-1])

"""The README is true: its commands run, its program compiles, its figures are measured."""

# SPDX-License-Identifier: MIT

import gzip
import json
import re
import shlex
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
HOST = ".venv/bin/wage-host "


def blocks(language: str) -> list[str]:
    """Contents of the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the demo was shown."""
    path = tmp_path_factory.mktemp("readme")
    command = [sys.executable, "-m", "wage_host", "demo"]
    (path / "shown").write_text(subprocess.check_output(command, cwd=path, text=True))
    small_mnist(path / "mnist")
    return path


def small_mnist(folder: Path) -> None:
    """A few noisy pictures where MNIST would be."""
    folder.mkdir()
    x = np.random.default_rng(1).integers(0, 256, (40, 28, 28)).astype(np.uint8)
    for name, array in (("images-idx3", x), ("labels-idx1", np.arange(40, dtype=np.uint8) % 10)):
        head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (folder / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))


def test_commands_run_as_printed(folder: Path) -> None:
    lines = [line for block in blocks("") for line in block.splitlines()]
    commands = [line.removeprefix(HOST) for line in lines if line.startswith(HOST)]
    # test_hardware.py runs flash, and what it prints, for every board
    ran = [c for c in commands if not re.search("emulate|flash|PORT", c)]
    assert len(ran) >= 6
    for command in ran:
        subprocess.run(
            [sys.executable, "-m", "wage_host", *shlex.split(command)],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=200,
        )


def test_figures_are_those_of_the_demo(folder: Path) -> None:
    shown = (folder / "shown").read_text()
    rows = re.findall(
        r"^\| (all|old|new)[^|]*\| ([\d.]+) % \| \**([\d.]+) %\** \|$", README, re.MULTILINE
    )
    assert len(rows) == 3
    for name, before, after in rows:
        assert re.search(rf"{name}.* {before}% +{after}%", shown), (name, before, after)
    samples = re.search(r"learns 8 and 9 from (\d+) samples", README)[1]
    assert f"learned {samples} samples" in shown


def test_program_compiles_and_learns(tmp_path: Path, demo_blob: Path) -> None:
    (program,) = blocks("c")
    main = """
#include <stdio.h>
int main(int argc, char **argv)
{
    static uint8_t blob[1 << 20];
    static int8_t x[64];
    FILE *file = fopen(argv[argc - 1], "rb");
    size_t count = fread(blob, 1, sizeof blob, file);
    fclose(file);
    for (int i = 0; i < 64; i++)
        x[i] = (int8_t)i;
    if (begin(blob, (uint32_t)count))
        return 1;
    for (int i = 0; i < 60; i++)
        printf("%d ", learn(x, 8));
    return 0;
}
"""
    source, binary = tmp_path / "program.c", tmp_path / "program"
    source.write_text("#define ARENA_BYTES 80000\n" + program + main)
    runtime = ROOT / "runtime"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{runtime}"]
    files = [str(source), *map(str, sorted(runtime.glob("*.c")))]
    subprocess.run(["gcc", *flags, *files, "-o", str(binary)], check=True)
    out = subprocess.check_output([str(binary), str(demo_blob)], text=True)
    predictions = [int(word) for word in out.split()]
    assert len(predictions) == 60
    assert predictions[0] != 8 == predictions[-1]  # it learned


def test_sizes_are_those_of_the_table() -> None:
    table = json.dumps(json.loads((ROOT / "tests" / "size.json").read_text()))
    figures = re.search(
        r"library takes\n?\s*([\d,]+) bytes of flash.*?needs ([\d,]+) bytes of arena.*?"
        r"and ([\d,]+) bytes of stack,\s+([\d,]+),000 instructions",
        README,
        re.DOTALL,
    )
    for figure in figures.groups():
        assert re.search(rf"\b{figure.replace(',', '')}\b", table), figure


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target

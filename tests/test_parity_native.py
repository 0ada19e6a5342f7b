"""The same sources by other compilers and with other options: the same bits."""

# SPDX-License-Identifier: MIT

import functools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import blobs
import native
import numpy as np
import pytest
from wage_host import data
from wage_host.core import Core, Sample, info

FLAGS = {
    "O0": ("-O0",),
    "O2": ("-O2",),
    "O3": ("-O3",),
    "Os": ("-Os",),
    "unsigned-char": ("-O2", "-funsigned-char"),
    "native": ("-O3", "-march=native"),
    "small-enums-lto": ("-O2", "-fshort-enums", "-flto"),
    "m32": ("-O2", "-m32"),
    "m32-O0": ("-O0", "-m32"),
}
CHUNK = 10
MODELS = range(100, 112)


@functools.cache
def can_run(compiler: str, flags: tuple[str, ...]) -> bool:
    """Whether this compiler makes programs that run here with these options."""
    if shutil.which(compiler) is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/a"
        text = "#include <stdio.h>\nint main(void) { return puts(\"\") < 0; }\n"
        command = [compiler, *flags, "-x", "c", "-", "-o", program]
        done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
        return done.returncode == 0 and subprocess.run([program], check=False).returncode == 0


def build_with_clang(folder: Path) -> Path:
    """The harness, compiled by clang."""
    program = folder / "parity"
    include = [f"-I{native.ROOT / name}" for name in native.FOLDERS]
    files = map(str, native.sources(native.ROOT, "parity"))
    subprocess.run(["clang", "-std=c99", "-O2", *include, *files, "-o", program], check=True)
    return program


def chunks(samples: Iterator[Sample]) -> Iterator[list[Sample]]:
    """The samples, CHUNK at a time."""
    samples = iter(samples)
    while chunk := list(islice(samples, CHUNK)):
        yield chunk


def case_of(chunk: list[Sample]) -> bytes:
    """Samples as the harness reads them."""
    return b"".join(bytes([label]) + np.asarray(x, np.int8).tobytes() for x, label in chunk)


def crcs(core: Core) -> str:
    """A line as the harness prints it."""
    return f"{core.weight_crc():08x} {core.state_crc():08x}"


@pytest.fixture(scope="module")
def learned(demo_blob: Path) -> list[tuple[list[bytes], list[str]]]:
    """For each model the cases for the harness, and what the C in this process says of them."""
    runs = [(blobs.random_model(n), blobs.random_stream(blobs.random_model(n), n, 60))
            for n in MODELS]  # fmt: skip
    blob = demo_blob.read_bytes()
    stream = data.samples(data.load(demo_blob.with_name("stream.npz")), info(blob))
    runs.append((blob, islice(stream, 60)))
    found = []
    for blob, samples in runs:
        core = Core(blob)
        core.start(1, core.config())
        cases, lines = [blob], [crcs(core)]
        for chunk in chunks(samples):
            assert len(list(core.learn(chunk))) == len(chunk)
            cases.append(case_of(chunk))
            lines.append(crcs(core))
        found.append((cases, lines))
    return found


@pytest.mark.parametrize("name", [*FLAGS, "clang"])
def test_every_compiler_gives_the_same_bits(
    name: str, learned: list[tuple[list[bytes], list[str]]], tmp_path: Path
) -> None:
    compiler, flags = ("clang", ()) if name == "clang" else ("gcc", FLAGS[name])
    if compiler == "gcc":
        native.need("gcc")
    if not can_run(compiler, flags):
        pytest.skip(f"{compiler} {' '.join(flags)} makes no programs that run here")
    program = build_with_clang(tmp_path) if name == "clang" else native.build("parity", flags)
    for cases, lines in learned:
        assert native.run(program, cases) == lines

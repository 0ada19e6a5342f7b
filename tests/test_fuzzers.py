"""libFuzzer looks for inputs that break the decoder, the dispatcher, the loader, a checkpoint.

The harnesses are those of tests/native, under AddressSanitizer and UBSan. A run begins with
seeds, right inputs, and the corpus kept in tests/fuzz, which reached most (keep_corpus.py). Each
mutant, a runtime with one check left out, must be found: a fuzzer that finds nothing there would
find nothing here.
"""

# SPDX-License-Identifier: MIT

import os
import re
import shutil
import struct
import subprocess
import zipfile
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import native
import pytest
import random_models
import reliability
from test_fuzz import checkpoints, frames_model, images_model
from wage_host._core import lib

CORPUS = native.ROOT / "tests/fuzz"
FLAGS = ("-O1", "-g", "-DFUZZ", "-fsanitize=fuzzer,address,undefined",
         "-fno-sanitize-recover=all")  # fmt: skip
INPUT = 36  # bytes of an input of frames_model()
SEALED, RAW = b"\1", b"\0"  # last byte of an input, native/cases.h


def piece(kind: int, *fields: int, tail: bytes = b"") -> bytes:
    """A frame as native/frames.c seals it."""
    return bytes([kind, len(fields), len(tail)]) + struct.pack(f"<{len(fields)}I", *fields) + tail


def frame_seeds() -> list[bytes]:
    """A session: begin, learn, ask, save, restart; the parts of one alone."""
    hello = piece(lib.WAGE_HELLO, lib.WAGE_PROTOCOL_MIN, lib.WAGE_PROTOCOL_MAX)
    start = piece(lib.WAGE_START, 7, 1, -4 & 0xFFFFFFFF, 1, 2, 3, 1)
    samples = [piece(lib.WAGE_SAMPLE, n, n % 5, tail=bytes(range(INPUT))) for n in (1, 2, 3)]
    ask = piece(lib.WAGE_STATS) + piece(lib.WAGE_EVAL, 1, 2, tail=bytes(INPUT))
    save = piece(lib.WAGE_SAVE) + piece(lib.WAGE_RESET, lib.WAGE_RESTART)
    whole = hello + start + b"".join(samples) + ask + save + hello + samples[0] + samples[2]
    forget = hello + start + samples[0] + piece(lib.WAGE_RESET, lib.WAGE_FACTORY) + hello
    return [whole + SEALED, forget + SEALED, hello + SEALED, b"\x02\x01\x00" + RAW]


def blob_seeds() -> list[bytes]:
    """Models of all kinds."""
    return [random_models.random_model(seed) + SEALED for seed in range(40)]


def image_seeds() -> list[bytes]:
    """Stores with two checkpoints, with one, with none."""
    halves = checkpoints(images_model())
    size = -(-len(halves[0]) // 256) * 256
    halves = [half.ljust(size, b"\xff") for half in (*halves, b"")]
    return [a + b + SEALED for a, b in pairwise(halves)]


SEEDS: dict[str, tuple[Callable[[], list[bytes]], Callable[[], bytes]]] = {
    "frames": (frame_seeds, frames_model),
    "blobs": (blob_seeds, lambda: b""),
    "images": (image_seeds, images_model),
}
MUTANTS = {
    "frame longer than the buffer": (
        "frames", "runtime/wire.c", "if (reader->used < reader->bytes)",
        "if (reader->used <= reader->bytes)",
    ),
    "block of a frame behind its end": (
        "frames", "runtime/wire.c", "code - 1u > count - from", "code - 1u > count",
    ),
    "weights behind the end": (
        "blobs", "runtime/blob.c", "bytes > w->blob_bytes - at", "bytes > w->blob_bytes",
    ),
    "label of a factory sample": (
        "blobs", "runtime/blob.c", "wage_fetch8(w->blob + at + i) >= w->classes",
        "wage_fetch8(w->blob + at + i) == 255",
    ),
    "fewer weights than the shape needs": (
        "blobs", "runtime/blob.c",
        "load32(r + 20) != weight_bytes(l)", "load32(r + 20) > weight_bytes(l)",
    ),
    "replay fuller than it can be": (
        "images", "runtime/state.c", "refuse_if(k, count > w->replay_capacity);", "",
    ),
    "weight out of range": (
        "images", "runtime/state.c", "weight < -limit || weight > limit", "weight < -limit",
    ),
}  # fmt: skip


def build(target: str, root: Path = native.ROOT) -> Path:
    """A fuzzer."""
    return native.build(target, FLAGS, root, compiler=native.clang())


def fill(target: str, seeds: Iterable[bytes], folder: Path) -> Path:
    """The folder of inputs that a run begins with: seeds and the corpus; new ones come in."""
    inputs = folder / "inputs"
    inputs.mkdir()
    for number, seed in enumerate(seeds):
        (inputs / f"seed-{number}").write_bytes(seed)
    if (kept := CORPUS / f"{target}.zip").exists():
        zipfile.ZipFile(kept).extractall(inputs)
    return inputs


def prepare(target: str, folder: Path) -> Path:
    """The inputs of a fuzzer, and its model."""
    seeds, model = SEEDS[target]
    (folder / "model").write_bytes(model())
    return fill(target, seeds(), folder)


def run(
    command: Sequence[str | Path], inputs: Path, seconds: int, *more: str
) -> subprocess.CompletedProcess[str]:
    """Fuzzes so long, 0: until it ends by itself."""
    folder = inputs.parent
    own = {"WAGE_FUZZ_BLOB": str(folder / "model"), "WAGE_FUZZ_STORE": str(folder / "store")}
    return subprocess.run(
        [*command, f"-max_total_time={seconds}", "-max_len=6000", "-timeout=20",
         f"-artifact_prefix={folder}/", "-print_final_stats=1", *more, inputs],
        capture_output=True, text=True, env=os.environ | own, cwd=folder, check=False,
    )  # fmt: skip


def hunt(command: Sequence[str | Path], inputs: Path, seconds: int, *more: str) -> None:
    """Fuzzes what must not break."""
    done = run(command, inputs, seconds, *more)
    reliability.record(fuzz_findings=int(done.returncode != 0), fuzz_seconds=seconds)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    runs = int(re.search(r"number_of_executed_units: (\d+)", done.stderr)[1])
    assert runs > 100 * seconds / 10, f"only {runs} inputs in {seconds} s"


@pytest.mark.parametrize("target", SEEDS)
def test_fuzzer_finds_nothing(target: str, tmp_path: Path) -> None:
    hunt([build(target)], prepare(target, tmp_path), 10)


@pytest.mark.soak
@pytest.mark.parametrize("target", SEEDS)
def test_fuzzer_finds_nothing_in_a_minute(target: str, tmp_path: Path) -> None:
    hunt([build(target)], prepare(target, tmp_path), 60)


@pytest.mark.parametrize("name", MUTANTS)
def test_fuzzer_finds_a_mutant(name: str, tmp_path: Path) -> None:
    target, file, old, new = MUTANTS[name]
    root = tmp_path / "root"
    for folder in native.FOLDERS:
        shutil.copytree(native.ROOT / folder, root / folder)
    text = (root / file).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file} has {text.count(old)} times: {old}"
    (root / file).write_text(text.replace(old, new), encoding="utf-8")
    done = run([build(target, root)], prepare(target, tmp_path), 60)
    assert done.returncode != 0, f"not found: {done.stderr[-2000:]}"
    assert "ERROR: " in done.stderr or "runtime error" in done.stderr or "broken:" in done.stderr

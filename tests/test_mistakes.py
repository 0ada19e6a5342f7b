"""Planted mistakes: every one that we could think of is seen by the comparisons that we make.

The C runtime is built with one deliberate mistake and runs a fixed set of cases: the golden
vectors, which know the weights after a step, and networks of all kinds, which the oracle knows.
"""

# SPDX-License-Identifier: MIT

import subprocess
import zlib
from itertools import product
from pathlib import Path

import native
import nets
import numpy as np
import pytest
import reference as ref
from golden import CASES, RATES, Golden
from mistakes import MISTAKES

RUNTIME = native.ROOT / "runtime"
Known = tuple[list[bytes], list[str]]  # cases for the harness, beginnings of its answers
LIMIT_S = 60


def case_of(what: bytes, samples: nets.Samples) -> bytes:
    """Samples as the harness reads them."""
    parts = [bytes([label]) + np.asarray(x, np.int8).tobytes() for x, label in samples]
    return what + b"".join(parts)


def golden_cases() -> Known:
    """A step of every vector; the weights after it are the vector's, not the oracle's."""
    cases, lines = [], []
    for path, lr_shift in product(CASES, RATES):
        golden = Golden(path)
        cases += [b"B" + golden.blob(lr_shift), case_of(b"T", golden.samples())]
        after = [golden.stored(i, lr_shift) for i in range(len(golden.layers))]
        before = [t["w_store"] for t in golden.layers]
        for weights in (before, after):
            stored = b"".join(w.astype(np.int8).tobytes() for w in weights)
            lines.append(f"{zlib.crc32(stored):08x}")
    return cases, lines


def networks() -> list[bytes]:
    """Networks of all kinds, widths and settings, and skips that join far apart."""
    found = []
    for number, (name, policy, bits) in enumerate(product(nets.NETS, nets.POLICIES, (2, 5, 8))):
        settings = {"momentum": number % 3, "lr_factor": 1 + 2 * (number % 2), "batch": 3,
                    "replay_capacity": 4, "replays": 3}  # fmt: skip
        found.append(nets.net(name, bits, policy, seed=number, **settings))
    for policy, scales in product(nets.POLICIES, ((1, 1, 7), (20, 1, 0))):
        found.append(nets.joined(scales, policy, seed=3))
    for threshold in (20, 60, 80, 90):
        found.append(nets.net("lines", 4, "continual", threshold=threshold))
    return found


def network_cases() -> Known:
    """Steps and samples of the networks; weights and state are the oracle's."""
    cases, lines = [], []
    for blob in networks():
        model = ref.open_model(blob)
        ref.start(model, 1)
        cases.append(b"B" + blob)
        lines.append(f"{ref.weight_crc(model):08x} {ref.state_crc(model):08x}")
        samples = nets.samples_of(blob, 7, 12)
        for some in nets.batches(samples[:8], model.batch):
            ref.train(model, some)
            cases.append(case_of(b"T", some))
            lines.append(f"{ref.weight_crc(model):08x} {ref.state_crc(model):08x}")
        for one in samples[8:]:
            ref.learn(model, model.last_id + 1, *one)
            cases.append(case_of(b"L", [one]))
            lines.append(f"{ref.weight_crc(model):08x} {ref.state_crc(model):08x}")
    return cases, lines


@pytest.fixture(scope="module")
def known() -> Known:
    """All cases and what is known of their answers."""
    golden, network = golden_cases(), network_cases()
    return golden[0] + network[0], golden[1] + network[1]


def compile_one(source: Path, folder: Path) -> Path:
    """The object of a C file; quoted headers next to it win."""
    out = folder / f"{source.stem}.o"
    command = [native.need("gcc"), "-std=c99", "-O1", f"-I{RUNTIME}", f"-I{source.parent}"]
    done = subprocess.run(
        [*command, "-c", source, "-o", out], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The right objects of the runtime and the harness, by the name of their source."""
    folder = tmp_path_factory.mktemp("objects")
    files = [*sorted(RUNTIME.glob("*.c")), native.ROOT / "tests/native/parity.c"]
    return {path.name: compile_one(path, folder) for path in files}


def with_mistake(objects: dict[str, Path], name: str, folder: Path) -> dict[str, Path]:
    """The objects with one mistake: of one file, or of all when it is in a header."""
    file, replacements = MISTAKES[name]
    text = (RUNTIME / file).read_text(encoding="utf-8")
    for old, new in replacements:
        assert text.count(old) == 1, f"{file} has {text.count(old)} times: {old}"
        text = text.replace(old, new)
    if file.endswith(".c"):
        (folder / file).write_text(text, encoding="utf-8")
        return objects | {file: compile_one(folder / file, folder)}
    for path in RUNTIME.glob("*.[ch]"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / file).write_text(text, encoding="utf-8")
    return objects | {path.name: compile_one(path, folder) for path in folder.glob("*.c")}


def answers(objects: dict[str, Path], cases: list[bytes], folder: Path) -> list[str]:
    """What the harness says; fewer answers when it died."""
    program = folder / "parity"
    subprocess.run([native.need("gcc"), *objects.values(), "-o", program], check=True)
    done = subprocess.run(
        [program], input=native.framed(cases), capture_output=True, timeout=LIMIT_S, check=False
    )
    return done.stdout.decode(errors="replace").splitlines()


def differences(found: list[str], lines: list[str]) -> int:
    """How many answers are not the known ones."""
    pairs = zip(found, lines, strict=False)
    return len(lines) - sum(one.startswith(other) for one, other in pairs)


def test_right_runtime_gives_every_known_answer(
    known: Known, objects: dict[str, Path], tmp_path: Path
) -> None:
    cases, lines = known
    found = answers(objects, cases, tmp_path)
    assert len(found) == len(lines) > 300
    assert differences(found, lines) == 0


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_seen(name: str, known: Known, objects: dict[str, Path], tmp_path: Path) -> None:
    cases, lines = known
    found = answers(with_mistake(objects, name, tmp_path), cases, tmp_path)
    assert len(found) == len(lines), "it died: a mistake should give wrong numbers"
    assert differences(found, lines) > 0


def test_there_are_enough_mistakes() -> None:
    assert len(MISTAKES) >= 40
    assert {file for file, _ in MISTAKES.values()} >= {
        "loss.c", "layer.c", "num.c", "num.h", "step.c", "update.c", "window.c", "conv2d.c",
        "max_pool.c", "average_pool.c", "add.c", "blob.c",
    }  # fmt: skip

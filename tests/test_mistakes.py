"""Planted mistakes: every one that we could think of is seen by the comparisons that we make.

The C runtime is built with one deliberate mistake and runs a fixed set of cases: the golden
vectors, which know the weights after a step, and networks of all kinds, which the oracle knows.
"""

# SPDX-License-Identifier: MIT

import subprocess
from pathlib import Path

import native
import pytest
from known import differences, known
from mistakes import MISTAKES

RUNTIME = native.ROOT / "runtime"
LIMIT_S = 60


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


def test_right_runtime_gives_every_known_answer(objects: dict[str, Path], tmp_path: Path) -> None:
    cases, lines = known()
    found = answers(objects, cases, tmp_path)
    assert len(found) == len(lines) > 300
    assert differences(found, lines) == 0


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_seen(name: str, objects: dict[str, Path], tmp_path: Path) -> None:
    cases, lines = known()
    found = answers(with_mistake(objects, name, tmp_path), cases, tmp_path)
    assert len(found) == len(lines), "it died: a mistake should give wrong numbers"
    assert differences(found, lines) > 0


def test_there_are_enough_mistakes() -> None:
    assert len(MISTAKES) >= 40
    assert {file for file, _ in MISTAKES.values()} >= {
        "loss.c", "layer.c", "num.c", "num.h", "step.c", "update.c", "window.c", "conv2d.c",
        "max_pool.c", "average_pool.c", "add.c", "blob.c",
    }  # fmt: skip

"""Compilers' warnings and static analysis of all C: no open finding."""

# SPDX-License-Identifier: MIT

import subprocess
from pathlib import Path

import native
import pytest

FOLDERS = ("runtime", "firmware/src", "boards/sim", "host/kernels")
FILES = sorted(p for folder in FOLDERS for p in (native.ROOT / folder).glob("*.c"))
PORTABLE = [p for p in FILES if p.parent.name != "kernels"]
INCLUDE = [f"-I{native.ROOT / folder}" for folder in FOLDERS]
CPPCHECK = (
    "cppcheck", "--enable=warning,style,performance,portability", "--std=c99", "--quiet",
    "--inline-suppr", "--error-exitcode=1", "--suppress=missingIncludeSystem",
    # cppcheck 2.10 takes `n < 4 ? n : 4` for less than 1
    "--suppress=knownConditionTrueFalse",
    # of the vector table, which hardware reads
    "--suppress=unusedStructMember:*/cortex_m.c",
    # symbols of the linker script lie in one section
    "--suppress=comparePointers:*/memory.c",
)  # fmt: skip


def says(command: list[str | Path]) -> str:
    """What a program prints; nothing when it is content."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_no_warning(name: str, tmp_path: Path) -> None:
    # gcc warns while it optimises, clang before it makes any code
    command = (
        [native.need("gcc"), "-O2", "-o", tmp_path / "object"]
        if name == "gcc"
        else [native.clang(), "-fsyntax-only"]
    )
    command += [*native.WARNINGS, *INCLUDE, "-c"]
    assert [found for file in FILES if (found := says([*command, file]))] == []


def test_clang_tidy() -> None:
    found = says([native.clang("clang-tidy"), "--quiet", *PORTABLE, "--", "-std=c99", *INCLUDE])
    assert not found, found


def test_cppcheck() -> None:
    native.need("cppcheck")
    folders = [native.ROOT / folder for folder in ("boards", *FOLDERS)]
    found = says([*CPPCHECK, *INCLUDE, *folders])
    assert not found, found

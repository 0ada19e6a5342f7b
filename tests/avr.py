"""Harnesses of the bare runtime on a simulated AVR (simavr): see native/avr.h."""

# SPDX-License-Identifier: MIT

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import native
from wage_host import emulate
from wage_host.errors import ToolMissing

BOARD = "mega2560"
ARENA_BYTES = 4608  # of 8 KB, beside cases, records and the stack
BLOB_BYTES = 24000  # of all together, in flash


def simulator() -> Path:
    """The simulator; a missing tool skips, unless the tools are promised."""
    try:
        return emulate.simulator(BOARD)
    except ToolMissing as error:
        native.miss(f"needs a tool: {error}")


def c_array(blob: bytes) -> str:
    """Bytes as a C initialiser."""
    rows = (",".join(map(str, blob[at : at + 20])) for at in range(0, len(blob), 20))
    return "{\n" + ",\n".join(rows) + "\n}"


def write_blobs(blobs: Sequence[bytes], path: Path) -> None:
    """The header that native/avr.h includes."""
    text = "".join(
        f"static const uint8_t blob_{number}[] WAGE_IN_FLASH = {c_array(blob)};\n"
        for number, blob in enumerate(blobs)
    )
    rows = ", ".join(f"{{ blob_{n}, sizeof blob_{n} }}" for n in range(len(blobs)))
    path.write_text(f"{text}static const struct blob blobs[] = {{ {rows} }};\n")


def run(harness: str, blobs: Sequence[bytes], cases: Iterable[bytes], folder: Path) -> list[str]:
    """Compiles a harness with blobs for the ATmega2560 and gives it the cases."""
    program, cases = simulator(), list(cases)
    write_blobs(blobs, folder / "blobs.h")
    files = sorted((native.ROOT / "runtime").glob("*.c"))
    files += [native.ROOT / f"tests/native/{harness}.c"]
    command = [native.need("avr-gcc"), *native.WARNINGS, "-Wno-conversion", "-mmcu=atmega2560"]
    command += ["-O2", f"-DARENA_BYTES={ARENA_BYTES}", f"-I{folder}", *map(str, files)]
    command += [f"-I{native.ROOT / name}" for name in ("runtime", "tests/native")]
    done = subprocess.run(
        [*command, "-o", "image"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [program, "image"], cwd=folder, input=native.framed(cases), capture_output=True,
        timeout=native.LIMIT_S, check=False,
    )  # fmt: skip
    lines = done.stdout.decode(errors="replace").splitlines()
    end = f"{lines[-1:]} {done.stderr.decode(errors='replace')}"
    assert len(lines) == len(cases), f"{len(lines)} of {len(cases)} cases: {end}"
    return lines

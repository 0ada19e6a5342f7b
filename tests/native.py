"""Compiles the C harnesses of tests/native and runs them.

    program = native.build("frames", native.SANITIZE)
    output = native.run(program, b"input")

A harness reads cases on stdin and writes one line a case. Objects and programs are kept in the
user's temporary folder, by what the preprocessor makes of each file: harnesses share the runtime's,
and a mistake in one file compiles that file only. CPUS are emulated ones: there harnesses of the
bare runtime take their cases from a file (semihosting).
"""

# SPDX-License-Identifier: MIT

import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from wage_host import build_core

ROOT = Path(__file__).resolve().parents[1]
SERVE = ("serve", "requests", "marks", "field", "keyed", "auth", "blake2b/blake2b")
FOLDERS = ("runtime", "host/kernels", "firmware/src", "boards/sim", "tests/native")
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic")
SANITIZE = (
    "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
)  # fmt: skip
LIMIT_S = 240
START = str(ROOT / "tests/native/cortex_m")
ARM = ("-mthumb", "--specs=rdimon.specs", "-nostartfiles", "-T", START + ".ld")
RISCV = ("--specs=picolibc.specs", "--oslib=semihost", "--crt0=hosted",
         "-Wl,--defsym=__flash=0x80000000,--defsym=__flash_size=4M,--defsym=__ram=0x80400000,"
         "--defsym=__ram_size=8M,--defsym=__stack_size=64K")  # fmt: skip
QEMU = ("-semihosting-config", "enable=on,target=native,chardev=out", "-chardev", "stdio,id=out",
        "-display", "none", "-monitor", "none", "-serial", "none", "-kernel")  # fmt: skip
CPUS = {  # compiler and its flags, emulator
    "cortex-m0": (("arm-none-eabi-gcc", "-Os", "-mcpu=cortex-m0", *ARM),
                  ("qemu-system-arm", "-M", "mps2-an385")),
    "cortex-m3": (("arm-none-eabi-gcc", "-O2", "-mcpu=cortex-m3", *ARM),
                  ("qemu-system-arm", "-M", "mps2-an385")),
    "cortex-m4": (("arm-none-eabi-gcc", "-O3", "-mcpu=cortex-m4", *ARM),
                  ("qemu-system-arm", "-M", "mps2-an386")),
    "cortex-m7": (("arm-none-eabi-gcc", "-O3", "-mcpu=cortex-m7", *ARM),
                  ("qemu-system-arm", "-M", "mps2-an500")),
    "cortex-m33": (("arm-none-eabi-gcc", "-O2", "-mcpu=cortex-m33", *ARM,
                    "-Wl,--defsym=code=0x10000000,--defsym=ram=0x38000000"),
                   ("qemu-system-arm", "-M", "mps2-an505")),
    # with Helium, as the compiler uses it
    "cortex-m55": (("arm-none-eabi-gcc", "-O3", "-mcpu=cortex-m55", "-mfloat-abi=hard", *ARM,
                    "-Wl,--defsym=ram=0x60000000"),
                   ("qemu-system-arm", "-M", "mps3-an547")),
    "riscv32": (("riscv64-unknown-elf-gcc", "-O2", "-march=rv32imac", "-mabi=ilp32", *RISCV),
                ("qemu-system-riscv32", "-M", "virt", "-bios", "none")),
}  # fmt: skip


def sources(root: Path, harness: str, kernels: bool = False) -> list[Path]:
    """C files of a harness: itself, the runtime, the serve loop, the simulated board."""
    files = sorted((root / "runtime").glob("*.c"))
    files += sorted((root / "host/kernels").glob("*.c")) if kernels else []
    files += [root / f"firmware/src/{name}.c" for name in SERVE]
    files += [root / "boards/sim/port.c"]
    return [*files, root / "tests/native" / f"{harness}.c"]


def miss(text: str) -> NoReturn:
    """Skips the test for want of a tool, or fails it where tools are promised."""
    if os.environ.get("WAGE_NEED_EMULATORS") == "1":
        pytest.fail(f"tools are promised (WAGE_NEED_EMULATORS=1), but: {text}")
    pytest.skip(text)


def need(program: str) -> str:
    """Path of a program; the test is skipped without it, unless tools are promised."""
    return shutil.which(program) or miss(f"needs {program}: make test installs it, or says how")


def clang(tool: str = "clang") -> str:
    """Path of clang or one of its tools, with its version behind its name or without."""
    return shutil.which(f"{tool}-19") or need(tool)


def build(
    harness: str,
    flags: Sequence[str],
    root: Path = ROOT,
    kernels: bool = False,
    compiler: str = "gcc",
) -> Path:
    """The program of tests/native/`harness`.c, compiled unless it is there already.

    kernels: with the host's; the harness says how it takes them.
    """
    files, folders = sources(root, harness, kernels), [root / folder for folder in FOLDERS]
    if counting := os.environ.get("WAGE_COVERAGE_FLAGS"):  # c_coverage.py asks
        flags = [flag.replace("address,undefined", "address") for flag in flags]  # half the code
        compiler, flags = clang(), (*flags, *counting.split())
    command = [need(compiler), *WARNINGS, *flags, *(f"-I{folder}" for folder in folders)]
    command += [f"-D{name}={value}" for name, value in build_core.DEFINES]
    return built(harness, files, command, root)


def built(name: str, files: Iterable[Path], command: Sequence[str], root: Path = ROOT) -> Path:
    """The program of these files, compiled and linked unless it is there already."""
    kept = Path(tempfile.gettempdir()) / f"wage-native-{os.getuid()}"
    kept.mkdir(mode=0o700, exist_ok=True)
    objects = [compiled(path, command, root, kept) for path in files]
    scripts = [Path(part).read_bytes() for part in command if part.endswith(".ld")]
    digest = hashlib.sha256(repr((options(command), objects, scripts)).encode()).hexdigest()[:16]
    return made(kept / f"{name}-{digest}", [*command, *objects])


def options(command: Sequence[str]) -> list[str]:
    """Those whose effect is not in the preprocessed text."""
    return [part for part in command if not part.startswith(("-D", "-I"))]


def compiled(path: Path, command: Sequence[str], root: Path, kept: Path) -> Path:
    """The object of a C file; a copy of the tree makes the same ones, with the tree's paths."""
    done = subprocess.run([*command, "-E", path], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    text = done.stdout.replace(bytes(root), bytes(ROOT))
    digest = hashlib.sha256(repr(options(command)).encode() + text).hexdigest()[:16]
    paths = f"-ffile-prefix-map={root}={ROOT}"
    return made(kept / f"{path.stem}-{digest}.o", [*command, paths, "-c", path])


def made(file: Path, command: Sequence[str | Path]) -> Path:
    """The file that a compiler writes, unless it is there already."""
    if not file.exists():
        with tempfile.TemporaryDirectory(dir=file.parent) as scratch:
            out = Path(scratch) / file.name
            done = subprocess.run(
                [*command, "-o", out], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            out.replace(file)  # whole or not at all
    return file


def emulate(harness: str, cpu: str, cases: Iterable[bytes], folder: Path) -> list[str]:
    """Compiles a harness of the bare runtime for an emulated CPU and gives it the cases."""
    (compiler, *flags), (emulator, *machine) = CPUS[cpu]
    files = [*sorted((ROOT / "runtime").glob("*.c")), ROOT / "tests/native" / f"{harness}.c"]
    files += [Path(START + ".c")] if compiler.startswith("arm") else []
    command = [need(compiler), *WARNINGS, '-DCASES_FILE="cases"', *flags]
    command += [f"-I{ROOT / 'runtime'}", f"-I{ROOT / 'tests/native'}"]
    need(emulator)
    image = built(f"{harness}-{cpu}", files, command)
    cases = list(cases)
    (folder / "cases").write_bytes(framed(cases))
    done = subprocess.run(
        [emulator, *machine, *QEMU, image], cwd=folder, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"died after {len(lines)} of {len(cases)} cases: {done.stderr}"
    return lines


def framed(cases: Iterable[bytes]) -> bytes:
    """Cases as a harness reads them."""
    return b"".join(struct.pack("<I", len(case)) + case for case in cases)


def case_of(what: bytes, samples: Iterable[tuple[np.ndarray, int]]) -> bytes:
    """Samples (x, label) as the harness of parity reads them."""
    parts = [bytes([label]) + np.asarray(x, np.int8).tobytes() for x, label in samples]
    return what + b"".join(parts)


def run(program: Path, cases: Iterable[bytes], *arguments: str) -> list[str]:
    """Gives each case, its length before it, to the program; returns a line for each."""
    cases = list(cases)
    own = os.environ | {"ASAN_OPTIONS": "exitcode=99:allocator_may_return_null=0"}
    done = subprocess.run(
        [program, *arguments],
        input=framed(cases),
        capture_output=True,
        timeout=LIMIT_S,
        env=own,
        check=False,
    )
    lines = done.stdout.decode().splitlines()
    if done.returncode:
        case = cases[len(lines)][:200].hex() if len(lines) < len(cases) else "the end"
        text = done.stderr.decode(errors="replace")[:6000]
        raise AssertionError(f"{program.name} died in case {len(lines)} ({case}):\n{text}")
    assert len(lines) == len(cases), f"{len(lines)} answers to {len(cases)} cases"
    return lines

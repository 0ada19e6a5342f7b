"""Windows and macOS, as far as Linux can tell: nothing there was tried on a computer with them."""

# SPDX-License-Identifier: MIT

import subprocess
import sys
from pathlib import Path

import native
import pytest

POSIX_ONLY = ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty")
ABSENT = """\
import os, signal, subprocess, sys
import serial, serial.tools.list_ports, rich.progress, rich.console, click, numpy  # have their own
for name in {modules!r}:
    sys.modules[name] = None        # so that an import of it fails
for name in ("fork", "openpty", "getuid", "geteuid", "register_at_fork"):
    vars(os).pop(name, None)
vars(signal).pop("SIGKILL", None)
"""
IMPORT_ALL = """\
import importlib, pkgutil, wage_host
for module in pkgutil.iter_modules(wage_host.__path__):
    if module.name not in ("__main__", "build_core"):
        importlib.import_module("wage_host." + module.name)
"""
RUN = "from wage_host import cli\nsys.argv = ['wage-host', *{arguments!r}]\ncli.main()\n"
FOLDERS = ("runtime", "firmware/src", "firmware/src/blake2b", "host/kernels", "boards/sim")


def without_posix(script: str, folder: Path) -> subprocess.CompletedProcess:
    """Runs a script where modules and functions of POSIX are not there."""
    text = ABSENT.format(modules=POSIX_ONLY) + script
    return subprocess.run(
        [sys.executable, "-c", text], cwd=folder, capture_output=True, text=True, check=False
    )


def test_every_module_imports_without_posix(tmp_path):
    done = without_posix(IMPORT_ALL, tmp_path)
    assert done.returncode == 0, done.stderr
    assert without_posix("import fcntl", tmp_path).returncode == 1  # and it is really not there


def test_train_convert_learn_eval_work_without_posix(tmp_path, demo_files):
    for command in (
        ["train", "--data", str(demo_files.train), "--network", "8x8x1 10FC", "--epochs", "1",
         "--free-classes", "2", "-o", "n.npz"],
        ["convert", "n.npz", "-o", "m.wage", "--replay", "9"],
        ["learn", "--port", "sim", "--model", "m.wage", "--store", "s", "--save-every", "99",
         "--data", str(demo_files.stream)],
        ["eval", "--port", "sim", "--model", "m.wage", "--data", str(demo_files.test)],
        ["plan", "--model", "m.wage"],
        ["boards"],
    ):  # fmt: skip
        done = without_posix(RUN.format(arguments=command), tmp_path)
        assert done.returncode == 0, done.stderr
    done = without_posix(RUN.format(arguments=["emulate", "--model", "m.wage", "--pty"]), tmp_path)
    assert done.returncode == 2 and "leave out --pty" in done.stderr


def sources() -> list[Path]:
    """All C of the host, and what it shares with boards."""
    return [path for name in FOLDERS for path in sorted((native.ROOT / name).glob("*.c"))]


@pytest.mark.parametrize("source", sources(), ids=lambda path: path.stem)
def test_c_is_free_of_posix_where_windows_compiles_it(source):
    """The syntax by Microsoft's rules; its headers are ours, with just what we use."""
    include = [f"-I{native.ROOT / name}" for name in FOLDERS if not name.endswith("blake2b")]
    command = [
        native.clang(), "--target=x86_64-pc-windows-msvc", "-fsyntax-only", "-fms-compatibility",
        "-ffreestanding", "-std=c11", "-Wall", "-Wextra", "-Wvla", "-Werror",
        "-isystem", native.ROOT / "tests/native/msvc", *include, source,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_check_of_windows_sees_posix(tmp_path):
    bad = tmp_path / "bad.c"
    bad.write_text("#include <unistd.h>\nint f(void);\nint f(void) { return getpid(); }\n")
    with pytest.raises(AssertionError, match=r"unistd\.h"):
        test_c_is_free_of_posix_where_windows_compiles_it(bad)

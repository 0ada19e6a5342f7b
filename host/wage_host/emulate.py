"""Boards without hardware: builds their images and runs them in an emulator.

image = build("mps2-an386", model)
with running("mps2-an386", image) as url:
    ...                             # url is "socket://127.0.0.1:PORT"
"""

# SPDX-License-Identifier: MIT

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from wage_host.boards import get, read, tree
from wage_host.errors import (
    BuildFailed,
    FileError,
    PortBusy,
    ToolMissing,
    UploadFailed,
    WageError,
    WrongUsage,
)

BUILD_LIMIT_S = 600.0
STOP_LIMIT_S = 2.0
START_GRACE_S = 0.2
SIMULATOR = "simulator"  # as an emulator's command: the board's own, simulator/simulator.c
LOG_LINES_SHOWN = 12

HOW_TO_GET = {
    "arm-none-eabi-gcc": "apt install gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "riscv64-unknown-elf-gcc": "apt install gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
    "avr-gcc": "apt install gcc-avr avr-libc",
    "simavr": "apt install gcc libsimavr-dev libelf-dev",
    "qemu-system-arm": "apt install qemu-system-arm",
    "qemu-system-riscv32": "apt install qemu-system-misc",
    "platformio": "pip install 'wage-host[boards]'",
    "SCons": "pip install 'wage-host[boards]'",
}


def boards() -> dict[str, list[str]]:
    """The boards that we build, each with its emulator's command (empty: it has none)."""
    return {name: list(board.emulator) for name, board in read().items() if board.ours}


def setting(board: str, name: str, default: str = "") -> str:
    """What board.ini says of a board under custom_`name`."""
    return get(board).custom.get(name, default)


def make_store(board: str, path: Path) -> None:
    """Makes the file in which an emulated board keeps its flash, unless it is there."""
    _emulator(board)
    size = _store_bytes(board)
    if not size:
        raise WrongUsage(f"{board} keeps nothing in a file: leave out --store")
    try:
        with path.open("ab") as file:
            if file.tell() == 0:
                file.truncate(size)
            found = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise FileError(f"{path} cannot be the store ({error.strerror}): name another") from None
    if found != size:
        raise FileError(f"{path} has {found} bytes, a store {size}: name another or a new file")


def _store_bytes(board: str) -> int:
    """Bytes of the file that is the board's flash; 0: it has none."""
    return get(board).store_file


def build(
    board: str, model: Path, key: Path | None = None, phases: bool = False, field: str = ""
) -> Path:
    """Builds the image of `board` with `model`, and `key`, in it; returns the image.

    phases: it tells the phases of a step (runtime/phase.h). field: C name of its own inputs
    (firmware/src/field.h).
    """
    _emulator(board)
    _need_builder(board)
    if not Path(model).is_file():
        raise WageError(f"no model at {model}")
    folder = _folder()
    parts = Path(model).read_bytes() + (Path(key).read_bytes() if key else b"")
    parts += f"{phases} {field}".encode() if phases or field else b""
    digest = hashlib.sha256(parts).hexdigest()[:12]
    image = folder / "images" / f"{board}-{digest}.elf"
    with _locked(folder):
        _run_pio(board, _inputs(model, key, phases, field), folder)
        image.parent.mkdir(exist_ok=True)
        for kind in (".map", ".elf"):  # the linker's account of the image lies beside it
            built = folder / "work" / "build" / board / f"firmware{kind}"
            shutil.copyfile(built, image.with_suffix(kind))
    return image


def upload(
    board: str,
    model: Path,
    key: Path | None = None,
    port: str | None = None,
    phases: bool = False,
    field: str = "",
) -> None:
    """Builds the image and puts it onto the board in the hand, as its platform does.

    port: a serial port, or the folder where its drive is mounted; None: the platform looks.
    """
    build(board, model, key, phases, field)
    more = ["-t", "upload", *(["--upload-port", port] if port else [])]
    folder = _folder()
    try:
        with _locked(folder):
            _run_pio(board, _inputs(model, key, phases, field), folder, more)
    except BuildFailed as error:
        lines = str(error).splitlines()
        why = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        text = why[-1] if why else str(error).replace("building", "uploading")
        raise UploadFailed(text) from None


def start(
    board: str,
    image: Path,
    port: int | None = None,
    arguments: Sequence[str] = (),
    store: Path | None = None,
) -> tuple[subprocess.Popen, str]:
    """Starts the emulator with `image`; returns its process and the URL of its link.

    `port` None takes a free one; `arguments` go to the emulator as they are; `store` is a
    file of make_store(), None: one that ends with the emulator. End it with stop(). On
    Linux it also dies with the thread that called this.
    """
    if os.name == "nt":
        raise WrongUsage("emulators are started on Linux and macOS only: try --board sim")
    command = need_emulator(board)
    if not Path(image).is_file():
        raise WageError(f"no image at {image}: build it first")
    # The emulator inherits a socket that listens already, so nothing has to be waited
    # for, and nobody can take the port in between.
    with (
        listen(port) as listener,
        tempfile.TemporaryFile() as errors,
        _store_file(board, store) as flash,
    ):
        qemu = "{link}" not in command
        command = [_fill(part, image, flash.fileno(), listener.fileno()) for part in command]
        if qemu:
            link = f"socket,id=link,fd={listener.fileno()},server=on,wait=off,nodelay=on"
            command += ["-nographic", "-monitor", "none", "-chardev", link]
            command += ["-serial", "chardev:link"]
        command += arguments
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            pass_fds=[listener.fileno(), flash.fileno()],
            preexec_fn=die_with_parent(),
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(START_GRACE_S)
            errors.seek(0)
            text = " ".join(errors.read().decode(errors="replace").split())
            raise WageError(f"{command[0]} ended at once: {text or process.returncode}")
        return process, f"socket://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def _store_file(board: str, store: Path | None) -> Iterator[BinaryIO]:
    """The file that is the board's flash, locked for as long as anybody has it open."""
    with store.open("r+b") if store else tempfile.TemporaryFile() as file:
        if store is None:
            file.truncate(_store_bytes(board))
        try:
            with contextlib.suppress(ImportError):
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            text = f"{store} is in use by another emulator: end it, or name another file"
            raise FileError(text) from None
        yield file


def _fill(part: str, image: Path, store: int, link: int) -> str:
    """A part of an emulator's command with its files; in a list of options commas double."""
    name = str(image) if part == "{image}" else str(image).replace(",", ",,")
    part = part.replace("{image}", name).replace("{link}", str(link))
    return part.replace("{store}", f"/dev/fd/{store}")


def stop(process: subprocess.Popen) -> None:
    """Ends the emulator for sure; one that has ended already is fine."""
    process.terminate()
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def running(
    board: str,
    image: Path,
    port: int | None = None,
    arguments: Sequence[str] = (),
    store: Path | None = None,
) -> Iterator[str]:
    """The emulator for the length of a with block; gives the URL of its link."""
    process, url = start(board, image, port, arguments, store)
    try:
        yield url
    finally:
        stop(process)


def _emulator(board: str) -> list[str]:
    """The command of the board's emulator; WrongUsage when there is no such board."""
    return list(get(board).emulator)


def need_emulator(board: str) -> list[str]:
    """The command of the board's emulator, which is there; else ToolMissing."""
    command = _emulator(board)
    if not command:
        raise WageError(f"{board} has no emulator: it is a board to hold in the hand")
    if command[0] == SIMULATOR:
        return [str(simulator(board)), *command[1:]]
    _need_program(command[0])
    return command


def simulator(board: str) -> Path:
    """The board's simulator (simavr's library and our main()), compiled if it is not there."""
    source = tree() / "boards" / board / SIMULATOR / f"{SIMULATOR}.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    program = _folder() / f"{SIMULATOR}-{board}-{digest}"
    _need_program("gcc")
    with _locked(_folder()):
        if not program.exists():
            new = program.with_suffix(".new")
            command = ["gcc", "-std=c99", "-O2", "-o", new, source, "-lsimavr", "-lelf"]
            done = subprocess.run(command, capture_output=True, check=False)
            if done.returncode:
                raise ToolMissing("simavr", HOW_TO_GET["simavr"])
            new.replace(program)  # whole or not at all
    return program


def _need_program(name: str) -> None:
    if shutil.which(name) is None:
        raise ToolMissing(name, HOW_TO_GET.get(name, f"install {name}"))


def _need_builder(board: str) -> None:
    """ToolMissing unless PlatformIO, SCons and the board's compiler are there."""
    for module in ("platformio", "SCons"):
        if importlib.util.find_spec(module) is None:
            raise ToolMissing(module, HOW_TO_GET[module])
    if compiler := get(board).compiler:
        _need_program(compiler)


def _folder() -> Path:
    """Where images are built: in the user's cache, one folder a source tree."""
    cache = os.environ.get("WAGE_CACHE")
    if not cache:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wage"
    name = hashlib.sha256(str(tree()).encode()).hexdigest()[:12]
    folder = Path(cache).resolve() / "boards" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps a second build out of the same folder."""
    with (folder / "lock").open("w") as file:
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _inputs(model: Path, key: Path | None, phases: bool, field: str) -> dict[str, str]:
    """What goes into an image, as boards/platform/builder/main.py reads it."""
    return {
        "WAGE_MODEL": str(Path(model).resolve()),
        "WAGE_KEY": str(Path(key).resolve()) if key else "",
        "WAGE_PHASES": str(int(phases)),
        "WAGE_FIELD": field,
    }


def _run_pio(board: str, inputs: dict[str, str], folder: Path, more: Sequence[str] = ()) -> None:
    """Runs PlatformIO in a world of its own; BuildFailed with its last lines."""
    log = folder / f"{board}.log"
    own = {k: v for k, v in os.environ.items() if not k.startswith("PLATFORMIO_")}
    own |= {
        "PLATFORMIO_CORE_DIR": str(folder / "core"),
        "PLATFORMIO_WORKSPACE_DIR": str(folder / "work"),
        "PLATFORMIO_BUILD_CACHE_DIR": str(folder / "objects"),  # models in turn share them
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
        **inputs,
    }
    with log.open("wb") as out:
        try:
            code = subprocess.run(
                [sys.executable, "-m", "platformio", "run", "-e", board, *more],
                cwd=tree() / "firmware",
                env=own,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=BUILD_LIMIT_S,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise BuildFailed(f"{board} was not built in {BUILD_LIMIT_S:.0f} s", log) from None
    if code != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        last = "\n".join(lines[-LOG_LINES_SHOWN:])
        raise BuildFailed(f"building {board} failed:\n{last}\n", log)


def listen(port: int | None) -> socket.socket:
    """A socket that waits for one host at a port of this computer; None or 0: a free one."""
    try:
        return socket.create_server(("127.0.0.1", port or 0))
    except OSError as error:
        raise PortBusy(f"TCP port {port} is not free ({error.strerror}): choose another") from None


def die_with_parent() -> Callable[[], object] | None:
    """What the child does first, so that no emulator outlives its parent (Linux only)."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    set_death_signal = 1
    return lambda: prctl(set_death_signal, signal.SIGKILL)

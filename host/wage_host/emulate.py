"""Boards without hardware: runs their images (firmware.py) in an emulator.

with running("mps2-an386", image) as url:
    ...                             # url is "socket://127.0.0.1:PORT"
"""

# SPDX-License-Identifier: MIT

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from wage_host.boards import get, read, tree
from wage_host.errors import FileError, PortBusy, ToolMissing, WageError, WrongUsage
from wage_host.firmware import HOW_TO_GET, folder, locked, need_program

STOP_LIMIT_S = 2.0
START_GRACE_S = 0.2
SIMULATOR = "simulator"  # as an emulator's command: the board's own, simulator/simulator.c

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
    need_program(command[0])
    return command


def simulator(board: str) -> Path:
    """The board's simulator (simavr's library and our main()), compiled if it is not there."""
    source = tree() / "boards" / board / SIMULATOR / f"{SIMULATOR}.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    program = folder() / f"{SIMULATOR}-{board}-{digest}"
    need_program("gcc")
    with locked(folder()):
        if not program.exists():
            new = program.with_suffix(".new")
            command = ["gcc", "-std=c99", "-O2", "-o", new, source, "-lsimavr", "-lelf"]
            done = subprocess.run(command, capture_output=True, check=False)
            if done.returncode:
                raise ToolMissing("simavr", HOW_TO_GET["simavr"])
            new.replace(program)  # whole or not at all
    return program


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

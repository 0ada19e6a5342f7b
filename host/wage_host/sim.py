"""The simulated board: in this process, or served to others over a socket or a pty."""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from wage_host._core import ffi, lib
from wage_host.emulate import die_with_parent, listen, stop
from wage_host.errors import ArenaError, FileError, WageError, WrongUsage

MEMORY_BYTES = 1 << 20
STORE_BYTES = 1 << 19
MODEL_BYTES = 1 << 17


class SimBoard:
    """A board that runs the firmware's own serve loop."""

    def __init__(
        self,
        blob: bytes,
        store: Path | None = None,
        memory_bytes: int = MEMORY_BYTES,
        store_bytes: int = STORE_BYTES,
        key: bytes | None = None,
        model_bytes: int = 0,  # of the store, for a model that is pushed
        phases: bool = False,  # it can tell those of a step
        field: Any = None,  # struct field *: its inputs
    ):
        name = os.fsencode(store) if store else ffi.NULL
        port = lib.sim_open(blob, len(blob), memory_bytes, name, store_bytes)
        if port == ffi.NULL:
            raise FileError(
                f"the simulated board cannot use {store} as its store: name a new file, in a "
                "folder that you may write to"
            )
        self._port = ffi.gc(port, lib.sim_close)
        lib.sim_store(port).model_bytes = model_bytes
        lib.sim_random(self._port, secrets.randbits(32), secrets.randbits(32) | 1)
        if phases:
            lib.sim_tell(self._port)
        self._field = field
        if field:
            lib.sim_field(self._port, field)
        self._key = ffi.new("uint8_t[]", key or bytes(lib.AUTH_KEY_BYTES))
        if key:
            lib.sim_key(self._port, self._key)
        self.serve = ffi.new("struct serve *")
        self._buffer = ffi.new("uint8_t[]", 1 << 16)
        self._open()

    def _open(self) -> None:
        if lib.serve_open(self.serve, self._port):
            raise ArenaError("the simulated board has too little memory for a single frame")

    def exchange(self, data: bytes) -> bytes:
        """Gives the board bytes, lets it work, and returns what it answers."""
        lib.sim_send(self._port, data, len(data))
        while (count := lib.serve_poll(self.serve)) != 0:
            if count < 0:
                self._open()
        out = []
        while count := lib.sim_receive(self._port, self._buffer, len(self._buffer)):
            out.append(bytes(ffi.buffer(self._buffer, count)))
        return b"".join(out)


def serve_socket(board: SimBoard, port: int, ready: Callable[[str], None]) -> None:
    """Serves one host after the other at 127.0.0.1:`port` (0: any), until killed."""
    with listen(port) as server:
        ready(f"socket://127.0.0.1:{server.getsockname()[1]}")
        while True:
            client, _ = server.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with client:
                _serve_client(board, client)


def _serve_client(board: SimBoard, client: socket.socket) -> None:
    try:
        while data := client.recv(4096):
            client.sendall(board.exchange(data))
    except ConnectionError:
        return  # the cable was pulled; the board goes on


def serve_pty(board: SimBoard, ready: Callable[[str], None]) -> None:
    """Serves a pseudo-terminal, which opens as a serial device, until killed."""
    try:
        import select
        import tty
    except ImportError:
        raise WrongUsage("this system has no pseudo-terminals: leave out --pty") from None
    ours, theirs = os.openpty()
    tty.setraw(theirs)  # and kept open here, so that a host may come and go
    ready(os.ttyname(theirs))
    while True:
        select.select([ours], [], [])
        answer = board.exchange(os.read(ours, 4096))
        while answer:
            answer = answer[os.write(ours, answer) :]


def start(model: Path, store: Path | None = None, port: int = 0) -> tuple[subprocess.Popen, str]:
    """Starts the simulated board as a process of its own; returns it and the URL of its link."""
    command = [sys.executable, "-m", "wage_host", "emulate", "--board", "sim", "--json"]
    command += ["--model", str(model), "--tcp", str(port)]
    command += ["--store", str(store)] if store else []
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # Ctrl-C is for us, not for the board
        preexec_fn=die_with_parent(),
    )
    answer = json.loads(process.stdout.readline() or "{}")
    if not answer.get("ok"):
        stop(process)
        raise WageError(answer.get("error", "the simulated board did not start"))
    return process, answer["port"]


@contextlib.contextmanager
def running(model: Path, store: Path | None = None) -> Iterator[str]:
    """The simulated board for the length of a with block; gives the URL of its link."""
    process, url = start(model, store)
    try:
        yield url
    finally:
        stop(process)

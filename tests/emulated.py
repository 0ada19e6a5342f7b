"""Emulated boards with a store, whose power or reset line the test has in hand.

with Powered("microbit", image(...), folder) as board:
    device = board.device()
    board.fail()                # and it starts again
"""

# SPDX-License-Identifier: MIT

import json
import random
import socket
import time
from pathlib import Path
from types import TracebackType

import native
import numpy as np
from blobs import alpha_shift, dense, make_blob, random_weights
from wage_host import emulate, firmware
from wage_host.device import Device
from wage_host.errors import ToolMissing
from wage_host.link import connector

LIMIT_S = 120.0  # for a computer that is busy with other things
STORES = {"microbit": 0x2C000, "riscv-virt": 0}  # where the store begins in the flash
INPUTS, CLASSES = 16, 4  # of the small model
FLASH_BYTES = {"microbit": 1 << 18, "riscv-virt": 1 << 25}


def small_model(replay: int) -> bytes:
    """A blob: dense layer and a replay full from the factory, so that no page of it is zeros."""
    rng = random.Random(replay)
    layer = dense(CLASSES, flags=1, alpha_shift=alpha_shift(INPUTS))
    layer["weights"] = random_weights(layer, (1, 1, INPUTS), rng)
    labels = [rng.randrange(CLASSES) for _ in range(replay)]
    latents = np.array([rng.randint(1, 127) for _ in range(replay * INPUTS)])
    header = {"replay_capacity": replay, "replays": 2}
    return make_blob([layer], (1, 1, INPUTS), factory=(labels, latents), header=header)


def image(board: str, model: Path) -> Path:
    """The built image; a missing tool skips, unless the tools are promised."""
    try:
        emulate.need_emulator(board)
        return firmware.build(board, firmware.Contents(model))
    except ToolMissing as error:
        native.miss(f"needs a tool: {error}")


class Qmp:
    """QEMU's control of a running machine."""

    def __init__(self, path: Path):
        self._socket, end = socket.socket(socket.AF_UNIX), time.monotonic() + LIMIT_S
        self._socket.settimeout(LIMIT_S)
        while True:
            try:
                self._socket.connect(str(path))
                break
            except OSError:
                assert time.monotonic() < end, "no QMP"
                time.sleep(0.05)
        self._file = self._socket.makefile("rw", encoding="utf-8")
        assert "QMP" in json.loads(self._file.readline())
        self("qmp_capabilities")

    def __call__(self, command: str, **arguments: object) -> None:
        self._file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._file.flush()
        while "return" not in (answer := json.loads(self._file.readline())):
            assert "error" not in answer, answer

    def close(self) -> None:
        """Lets go of it; the machine goes on."""
        self._file.close()
        self._socket.close()


class Powered:
    """A running board. What fails is what its emulated flash survives.

    The micro:bit's lives in the emulator, so its reset line is pulled; RISC-V virt's is a file,
    so its emulator is killed and started again at the same port.
    """

    def __init__(self, name: str, image: Path, folder: Path):
        self.name, self._image, self._folder = name, image, folder
        self._store: Path | None = None
        self._port: int | None = None

    def __enter__(self) -> "Powered":
        if self.name == "riscv-virt":
            self._store = self._folder / "store, of a board"  # QEMU has its own view of commas
            emulate.make_store(self.name, self._store)
        self._start()
        return self

    def __exit__(self, *_exception: type | BaseException | TracebackType | None) -> None:
        self._qmp.close()
        emulate.stop(self._process)

    def _start(self) -> None:
        control = self._folder / "qmp"
        control.unlink(missing_ok=True)
        more = ["-qmp", f"unix:{control},server=on,wait=off"]
        self._process, self._url = emulate.start(
            self.name, self._image, self._port, more, self._store
        )
        self._port = int(self._url.rpartition(":")[2])
        self._qmp = Qmp(control)

    def fail(self) -> None:
        """The board stops wherever it is, and starts again."""
        if self._store is None:
            self._qmp("system_reset")
            return
        self._process.kill()
        self._process.wait()
        self._qmp.close()
        self._start()

    def device(self, kind: type[Device] = Device, answer_s: float = LIMIT_S) -> Device:
        """The board as the host knows it."""
        return kind(connector(self._url, 115200, None), deadline_s=LIMIT_S, answer_s=answer_s)

    def flash(self) -> bytes:
        """All of the flash that the store lies in."""
        if self._store:
            return self._store.read_bytes()
        copy = self._folder / "flash"
        self._qmp("memsave", val=0, size=FLASH_BYTES[self.name], filename=str(copy))
        return copy.read_bytes()

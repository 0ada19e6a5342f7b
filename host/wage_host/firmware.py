"""Firmware with a model in it: what goes into an image, how PlatformIO builds and uploads it.

image = build("mps2-an386", Contents(model))
"""

# SPDX-License-Identifier: MIT

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from wage_host.boards import get, tree
from wage_host.errors import BuildFailed, ToolMissing, UploadFailed, WageError

BUILD_LIMIT_S = 600.0
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


@dataclasses.dataclass(frozen=True)
class Contents:
    """What goes into an image.

    key: that it demands of hosts. phases: it tells the phases of a step (runtime/phase.h). field:
    C name of its own inputs (firmware/src/field.h).
    """

    model: Path
    key: Path | None = None
    phases: bool = False
    field: str = ""

    def digest(self) -> str:
        """What no image with other contents has."""
        parts = Path(self.model).read_bytes()
        parts += Path(self.key).read_bytes() if self.key else b""
        parts += f"{self.phases} {self.field}".encode()
        return hashlib.sha256(parts).hexdigest()[:12]

    def inputs(self) -> dict[str, str]:
        """As boards/platform/builder/main.py reads them."""
        return {
            "WAGE_MODEL": str(Path(self.model).resolve()),
            "WAGE_KEY": str(Path(self.key).resolve()) if self.key else "",
            "WAGE_PHASES": str(int(self.phases)),
            "WAGE_FIELD": self.field,
        }


def build(board: str, contents: Contents) -> Path:
    """Builds the image of `board`; returns it."""
    _need_builder(board)
    if not Path(contents.model).is_file():
        raise WageError(f"no model at {contents.model}")
    place = folder()
    image = place / "images" / f"{board}-{contents.digest()}.elf"
    with locked(place):
        _run_pio(board, contents, place)
        image.parent.mkdir(exist_ok=True)
        for kind in (".map", ".elf"):  # the linker's account of the image lies beside it
            built = place / "work" / "build" / board / f"firmware{kind}"
            shutil.copyfile(built, image.with_suffix(kind))
    return image


def upload(board: str, contents: Contents, port: str | None = None) -> None:
    """Builds the image and puts it onto the board in the hand, as its platform does.

    port: a serial port, or the folder where its drive is mounted; None: the platform looks.
    """
    build(board, contents)
    more = ["-t", "upload", *(["--upload-port", port] if port else [])]
    place = folder()
    try:
        with locked(place):
            _run_pio(board, contents, place, more)
    except BuildFailed as error:
        lines = str(error).splitlines()
        why = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        text = why[-1] if why else str(error).replace("building", "uploading")
        raise UploadFailed(text) from None


def need_program(name: str) -> None:
    if shutil.which(name) is None:
        raise ToolMissing(name, HOW_TO_GET.get(name, f"install {name}"))


def _need_builder(board: str) -> None:
    """ToolMissing unless PlatformIO, SCons and the board's compiler are there."""
    compiler = get(board).compiler
    for module in ("platformio", "SCons"):
        if importlib.util.find_spec(module) is None:
            raise ToolMissing(module, HOW_TO_GET[module])
    if compiler:
        need_program(compiler)


def folder() -> Path:
    """Where images are built: in the user's cache, one folder a source tree."""
    cache = os.environ.get("WAGE_CACHE")
    if not cache:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wage"
    name = hashlib.sha256(str(tree()).encode()).hexdigest()[:12]
    place = Path(cache).resolve() / "boards" / name
    place.mkdir(parents=True, exist_ok=True)
    return place


@contextlib.contextmanager
def locked(place: Path) -> Iterator[None]:
    """Keeps a second build out of the same folder."""
    with (place / "lock").open("w") as file:
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run_pio(board: str, contents: Contents, place: Path, more: Sequence[str] = ()) -> None:
    """Runs PlatformIO in a world of its own; BuildFailed with its last lines."""
    log = place / f"{board}.log"
    own = {k: v for k, v in os.environ.items() if not k.startswith("PLATFORMIO_")}
    own |= {
        "PLATFORMIO_CORE_DIR": str(place / "core"),
        "PLATFORMIO_WORKSPACE_DIR": str(place / "work"),
        "PLATFORMIO_BUILD_CACHE_DIR": str(place / "objects"),  # models in turn share them
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
        **contents.inputs(),
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

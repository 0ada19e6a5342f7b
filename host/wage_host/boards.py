"""Which boards there are: what boards/*/board.ini and the local platform's JSON files say.

A section [env:NAME] may have, beside what PlatformIO reads: custom_status (`not tried`),
custom_emulator, custom_store_bytes (of the file that its flash is), custom_slots and
custom_endurance; where there is no JSON file, or to say otherwise, custom_title, custom_core,
custom_f_cpu, custom_ram, custom_flash; and custom_memory, bytes for arena and frames, where no
emulator tells. JSON: upload.protocol is one of builder/upload.py's, upload.drive the label of a
drive.
"""

from __future__ import annotations

import configparser
import dataclasses
import difflib
import functools
import json
import re
import shlex
from pathlib import Path
from typing import Any

from wage_host.errors import NoStore, WageError, WrongUsage

EMULATED, BUILT, NOT_TRIED = "emulated in tests", "built in tests", "not tried"
SIM = "sim"
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20}


@dataclasses.dataclass(frozen=True)
class Board:
    """One board; sizes in bytes, 0 where unknown.

    memory: that its port gives to arena and frames, when board.ini says so. emulator: its
    command, empty without. store_file: bytes of the file that an emulated flash is. slots and
    endurance (erasures of each): of its store; 0 without. protocol: how our platform gets an image
    onto it, drive: label of the drive that it is over USB; empty without. custom: all that its
    section says under custom_….
    """

    name: str
    title: str
    core: str
    clock_hz: int
    ram: int
    flash: int
    status: str
    memory: int = 0
    emulator: tuple[str, ...] = ()
    store_file: int = 0
    slots: int = 0
    endurance: int = 0
    compiler: str = ""
    ours: bool = False  # built by the local platform, not by a vendor's
    protocol: str = ""
    drive: str = ""
    custom: dict[str, str] = dataclasses.field(default_factory=dict, compare=False)

    @property
    def store(self) -> str:
        """Where checkpoints are kept, in a word or two."""
        if self.name == SIM:
            return "file"
        if not self.slots:
            return "none"
        return f"{self.slots} slots" + (", in a file" if self.store_file else "")


SIMULATED = Board(SIM, "the firmware on this computer", "this computer", 0, 0, 0, EMULATED)


def tree() -> Path:
    """The folder that holds runtime/, firmware/ and boards/."""
    here = Path(__file__).resolve().parent
    for folder in (here / "tree", here.parents[1]):
        if (folder / "firmware" / "platformio.ini").is_file():
            return folder
    raise WageError(f"the C sources are neither in {here / 'tree'} nor in {here.parents[1]}")


def number(text: str) -> int:
    """A whole number as these files write it: 16000000L, 16384, 16 KB, 4M."""
    match = re.fullmatch(r"(\d+)\s*(?:([KM])B?|[UL]*)", text.strip(), re.IGNORECASE)
    if not match:
        raise WageError(f"'{text}' is no number of a board: write 16384, 16 KB or 16000000L")
    return int(match[1]) * UNITS[(match[2] or "").upper()]


@functools.cache
def read(root: Path | None = None) -> dict[str, Board]:
    """All boards with hardware behind them, real or emulated, by name. `root`: of the tree."""
    folder, found = (root or tree()) / "boards", {}
    for path in sorted(folder.glob("*/board.ini")):
        ini = configparser.ConfigParser(interpolation=None)
        ini.read(path, encoding="utf-8")
        for section in ini.sections():
            if section.startswith("env:"):
                name = section.removeprefix("env:")
                found[name] = _board(name, dict(ini[section]), _manifest(folder, name))
    return dict(sorted(found.items()))


def _manifest(folder: Path, name: str) -> dict[str, Any]:
    """The local platform's description of a board; empty for a vendor's."""
    path = folder / "platform" / "boards" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _board(name: str, ini: dict[str, str], manifest: dict[str, Any]) -> Board:
    """A board out of its section and its description; the section wins."""
    build, upload = manifest.get("build", {}), manifest.get("upload", {})

    def size(key: str, other: Any = 0) -> int:
        return number(str(ini.get(f"custom_{key}", other)))

    emulator = tuple(shlex.split(ini.get("custom_emulator", "")))
    return Board(
        name=name,
        title=ini.get("custom_title") or manifest.get("name", name),
        core=ini.get("custom_core") or build.get("mcu", "?"),
        clock_hz=size("f_cpu", build.get("f_cpu", 0)),
        ram=size("ram", upload.get("maximum_ram_size", 0)),
        flash=size("flash", upload.get("maximum_size", 0)),
        status=ini.get("custom_status") or (EMULATED if emulator else BUILT),
        memory=size("memory"),
        emulator=emulator,
        store_file=size("store_bytes"),
        slots=size("slots"),
        endurance=size("endurance"),
        compiler=f"{build['toolchain']}gcc" if "toolchain" in build else "",
        ours=bool(manifest),
        protocol=upload.get("protocol", ""),
        drive=upload.get("drive", ""),
        custom={k.removeprefix("custom_"): v for k, v in ini.items() if k.startswith("custom_")},
    )


def every() -> list[Board]:
    """The simulated board and all others."""
    return [SIMULATED, *read().values()]


def get(name: str, sim: bool = False) -> Board:
    """The board of this name (`sim`: the simulated one may be meant); WrongUsage without."""
    found = read() | ({SIM: SIMULATED} if sim else {})
    if name in found:
        return found[name]
    near = difflib.get_close_matches(name.lower(), found, 1)
    meant = f": did you mean {near[0]}?" if near else ""
    names = ", ".join([SIM, *read()])
    raise WrongUsage(f"no board named {name}{meant}; there are: {names}")


def geometry(name: str) -> tuple[int, int]:
    """(slots, erasures that each bears) of a board's store; NoStore without one."""
    board = get(name)
    if not board.slots:
        raise NoStore(f"{name} has no store")
    return board.slots, board.endurance

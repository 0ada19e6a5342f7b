"""wage-host init: a PlatformIO project of one's own, which builds as it stands."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from wage_host.boards import Board, tree
from wage_host.demo import Files
from wage_host.errors import FileError

README = """\
# WAGE on {board}

{title}. Made by `wage-host init`; all of it is yours to change.

    {build}
    {learn}

| | |
|---|---|
| `platformio.ini` | the board, and where the model is |
| `{model}` | the model, as `wage-host convert` makes it |
| `src/` | the firmware: the serve loop, `port.h` |
| `boards/` | the board's port, and the platform that builds it |
| `runtime/` | the trainer, a library of its own: `wage.h` is its manual |
"""

URL = "socket://127.0.0.1:4000"
LINK = "-nographic -monitor none -serial tcp:127.0.0.1:4000,server=on,wait=off,nodelay=on"


def check_empty(folder: Path) -> None:
    """FileError unless the folder is empty or can be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        used = next(folder.iterdir(), None)
    except OSError as error:
        raise FileError(f"cannot make the folder {folder}: {error.strerror}") from None
    if used:
        raise FileError(f"{folder} is not empty: name a new folder")


def write(
    folder: Path, board: Board, model: Path | None, starter: Callable[[Path], Files]
) -> list[str]:
    """Writes the project; returns the names in `folder`. Without a model: `starter`'s."""
    root, section = tree(), _section(board)
    shutil.copytree(root / "runtime", folder / "runtime", ignore=_not_c)
    shutil.copytree(root / "firmware" / "src", folder / "src", ignore=_not_c)
    for name in _folders(section, board):
        if (root / "boards" / name).is_dir():
            shutil.copytree(root / "boards" / name, folder / "boards" / name, ignore=_not_c)
    for path in (folder / "boards").rglob("board.ini"):
        path.unlink()  # platformio.ini says it
    for path in (folder / "boards" / "platform" / "boards").glob("*.json"):
        if path.stem != board.name:
            path.unlink()
    data = "FILE"
    if model is None:
        made = starter(folder / "starter")
        name, data = f"starter/{made.model.name}", f"starter/{made.stream.name}"
    else:
        name = shutil.copyfile(model, folder / "model.wage").name
    general = (root / "firmware" / "platformio.ini").read_text(encoding="utf-8")
    general = re.sub(r"^(extra_configs|default_envs|;).*\n", "", general, flags=re.MULTILINE)
    text = f"{general}\n{section.rstrip()}\ncustom_model = {name}\n".replace("../", "")
    (folder / "platformio.ini").write_text(text, encoding="utf-8")
    (folder / ".gitignore").write_text(".pio/\n", encoding="utf-8")
    readme = _readme(board, name, data)
    (folder / "README.md").write_text(readme, encoding="utf-8")
    return sorted(path.name for path in folder.iterdir())


def _readme(board: Board, model: str, data: str) -> str:
    """What to do next: two commands."""
    build, port = "pio run -t upload", "auto"
    if board.emulator and not board.protocol:
        build, port = f"wage-host emulate --board {board.name} --model {model}", "PORT"
        if board.emulator[0].startswith("qemu") and not board.store_file:
            run = " ".join(board.emulator).replace(
                "{image}", f".pio/build/{board.name}/firmware.elf"
            )
            build, port = f"pio run && {run} {LINK}", URL
    learn = f"wage-host learn --port {port} --model {model} --data {data}"
    parts = {"board": board.name, "title": board.title, "model": model}
    return README.format(build=build, learn=learn, **parts)


def _section(board: Board) -> str:
    """The board's section of its board.ini, as it stands."""
    for path in sorted((tree() / "boards").glob("*/board.ini")):
        text = path.read_text(encoding="utf-8")
        match = re.search(
            rf"^\[env:{re.escape(board.name)}\]\n.*?(?=^\[|\Z)", text, re.DOTALL | re.MULTILINE
        )
        if match:
            return match[0]
    raise FileError(f"there is no board.ini of {board.name}")


def _folders(section: str, board: Board) -> set[str]:
    """Folders of boards/ that it needs: its own, the platform, and those that it names."""
    return {board.name, "platform", *re.findall(r"boards/([\w-]+)", section)}


def _not_c(_folder: str, names: list[str]) -> list[str]:
    """What Python and PlatformIO leave in folders, and what is for other build systems."""
    return [name for name in names if name in ("__pycache__", ".pio", "packages")]

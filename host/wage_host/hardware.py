"""Commands about boards: which there are, and how a model gets there; cli.py is the manual."""

import functools
import json
import shlex
from pathlib import Path
from typing import Any

import click

from wage_host import auth, boards, budget, demo, emulate, files, firmware, fit, project, sim
from wage_host.boards import SIM, Board
from wage_host.core import info
from wage_host.errors import ArenaError, NoStore, ToolMissing, WageError, WrongUsage
from wage_host.models import watch_training
from wage_host.options import FILE, command
from wage_host.screen import Screen, size_text, table

BOARD = click.option("--board", required=True, help="Which board: wage-host boards lists them.")
KEY = click.option("--key", type=FILE, help="Key that it demands of hosts; default: none.")
PHASES = click.option(
    "--phases", is_flag=True, help="It tells the phases of a step, for learn --power."
)
FIELD = click.option(
    "--field", default="", metavar="NAME",
    help="It learns by itself from these inputs: demo_waves, or a struct field in its C files.",
)  # fmt: skip
STORE = click.option("--store", type=FILE, help="File that keeps checkpoints, where they are one.")
TCP = click.option("--tcp", type=click.IntRange(0, 65535), default=0, help="Port; default: free.")
STARTER = click.option(
    "--dir", "folder", type=FILE, default="starter", show_default=True,
    help="For the starter's files, without --model.",
)  # fmt: skip


@command
def do_boards(screen: Screen) -> dict[str, Any]:
    """The boards there are, and which of them were tried."""
    rows = [["board", "core", "MHz", "RAM", "flash", "store", "status", ""]]
    for board in boards.every():
        clock = f"{board.clock_hz / 1e6:g}" if board.clock_hz else "-"
        sizes = [size_text(n) if n else "-" for n in (board.ram, board.flash)]
        rows.append([board.name, board.core, clock, *sizes, board.store, board.status, board.title])
    for line in table(rows, right=(2, 3, 4)):
        screen.say(line)
    fields = ("name", "title", "core", "clock_hz", "ram", "flash", "store", "status")
    listed = [{name: getattr(board, name) for name in fields} for board in boards.every()]
    return {"boards": listed}


@command
@BOARD
@click.option("--model", type=FILE, help="The .wage model; default: a small one, made now.")
@KEY
@PHASES
@FIELD
@STORE
@click.option("--upload-port", "--port", help="Its serial port, or the folder of its USB drive.")
@TCP
@STARTER
def do_flash(
    screen: Screen,
    board: str,
    model: Path | None,
    key: Path | None,
    phases: bool,
    field: str,
    store: Path | None,
    upload_port: str | None,
    tcp: int,
    folder: Path,
) -> dict[str, Any]:
    """Build the firmware with a model in it and put it onto a board.

    A board that is not plugged in but can be emulated is emulated.
    """
    found, more = boards.get(board, sim=True), []
    if store and not found.slots and board != SIM:
        raise NoStore(f"{board} has no store: leave out --store")
    if upload_port and (board == SIM or (found.ours and not found.protocol)):
        raise WrongUsage(f"{board} is emulated only: leave out --upload-port")
    if model is None:
        made = _starter(screen, folder)
        model, more = made.model, ["--data", made.stream, "--eval-data", made.test]
    blob = files.read_blob(model)
    info(blob)
    secret = auth.load(key) if key else None
    check_fit(screen, found, blob, secret, phases=phases, senses=bool(field))
    contents = firmware.Contents(model, key, phases, field)
    target = upload_port or (_drive(found) if found.drive else None)
    if not target and (found.emulator or board == SIM):
        if found.protocol:
            screen.say(f"no {board} is plugged in: here is an emulated one (else: --upload-port)")
        ram = sim.MEMORY_BYTES
        return _emulated(screen, board, contents, store, ram, tcp, False, more)
    if store:
        raise WrongUsage(f"{board} keeps nothing in a file: leave out --store")
    screen.say(f"building the firmware of {board} with {model}, and uploading it")
    firmware.upload(board, contents, target)
    line = _next(model, "auto", more, key)
    screen.say(f"{board} holds {model}; use it with:\n{line}")
    return {"board": board, "place": "board", "model": str(model), "next": line}


def _starter(screen: Screen, folder: Path) -> demo.Files:
    """A small model that knows the digits 0 to 7, and samples of 8 and 9."""
    made = demo.make(folder, functools.partial(watch_training, screen), demo.STARTER)
    screen.say(f"no --model: {made.model} knows the digits 0 to 7; 8 and 9 are in {made.stream}")
    return made


def check_fit(
    screen: Screen, board: Board, blob: bytes, key: bytes | None, **more: bool
) -> None:
    """ArenaError when the model cannot work there; a warning when that is a guess."""
    model = budget.read(blob)
    one = fit.of(model, blob, board, 115200, key, **more)
    for text in fit.troubles(model, one):
        if one.measured:
            raise ArenaError(text)
        screen.say(f"warning: {text} (nobody has measured this board)")


def _drive(board: Board) -> str | None:
    """Where the drive that the board is over USB is mounted."""
    try:
        from platformio.device.list.util import list_logical_devices
    except ImportError:
        raise ToolMissing("platformio", firmware.HOW_TO_GET["platformio"]) from None
    label = board.drive.lower()
    try:
        devices = list_logical_devices()
    except OSError:  # the program that it asks is not there
        return None
    return next((d["path"] for d in devices if label in (d["name"] or "").lower()), None)


@command
@click.option("--board", default=SIM, show_default=True, help="Which board.")
@click.option("--model", type=FILE, required=True, help="The .wage model it holds.")
@STORE
@KEY
@PHASES
@FIELD
@click.option("--ram", default=sim.MEMORY_BYTES, show_default=True, help="For sim: bytes.")
@TCP
@click.option("--pty", is_flag=True, help="For sim: serve a pseudo-terminal instead.")
def do_emulate(
    screen: Screen,
    model: Path,
    key: Path | None,
    phases: bool,
    field: str,
    **options: Any,
) -> dict[str, Any]:
    """Run a board without hardware, until Ctrl-C. Prints the port to use."""
    contents = firmware.Contents(model, key, phases, field)
    return _emulated(screen, contents=contents, more=["--data", "FILE"], **options)


def _next(model: Path, port: str, more: list[object], key: Path | None) -> str:
    """The command that learns."""
    command = ["wage-host", "learn", "--port", port, "--model", model]
    return shlex.join(map(str, [*command, *(["--key", key] if key else []), *more]))


def _emulated(
    screen: Screen,
    board: str,
    contents: firmware.Contents,
    store: Path | None,
    ram: int,
    tcp: int,
    pty: bool,
    more: list[object],
) -> dict[str, Any]:
    """A board without hardware, until Ctrl-C; `more`: of the command that learns there."""
    as_json, model, key = screen.console.stderr, contents.model, contents.key

    def ready(url: str) -> None:
        line = _next(model, url, more or ["--data", "FILE"], key)
        told = {"ok": True, "board": board, "port": url, "model": str(model), "next": line}
        click.echo(json.dumps(told) if as_json else url)
        screen.say(f"{board} holds {model}; use it, in a second terminal, with:\n{line}")
        screen.say("Ctrl-C ends it")

    blob = files.read_blob(model)
    info(blob)
    secret = auth.load(key) if key else None
    if board == SIM and contents.field:
        raise WrongUsage("the simulated board has no inputs of its own: name an emulated one")
    if board != SIM and pty:
        raise WrongUsage("--pty is for the simulated board only")
    if board != SIM and store:
        emulate.make_store(board, store)
    try:
        if board != SIM:
            screen.say(f"building the firmware of {board} with {model}")
            image = firmware.build(board, contents)
            process, url = emulate.start(board, image, tcp or None, store=store)
            try:
                ready(url)
                raise WageError(f"the emulator ended by itself ({process.wait()})")
            finally:
                emulate.stop(process)
        else:
            own = {"key": secret, "model_bytes": sim.MODEL_BYTES, "phases": contents.phases}
            simulated = sim.SimBoard(blob, store, ram, **own)
            if pty:
                sim.serve_pty(simulated, ready)
            else:
                sim.serve_socket(simulated, tcp, ready)
    except KeyboardInterrupt:
        screen.say("ended")
    return {"board": board}


@command
@click.argument("folder", metavar="DIR", type=FILE)
@BOARD
@click.option("--model", type=FILE, help="The .wage model; default: a small one, made now.")
def do_init(screen: Screen, folder: Path, board: str, model: Path | None) -> dict[str, Any]:
    """Begin a PlatformIO project of your own: firmware, runtime, one board, a model."""
    if board == SIM:
        raise WrongUsage("the simulated board needs no project: name another")
    found = boards.get(board)
    project.check_empty(folder)
    if model is not None:
        info(files.read_blob(model))
    made = project.write(folder, found, model, functools.partial(_starter, screen))
    screen.say(f"{folder} is a project for {board}; build it with:")
    screen.say(shlex.join(["pio", "run", "-d", str(folder)]))
    return {"project": str(folder), "board": board, "files": made}

"""wage-host: a board that learns, from the command line.

    wage-host demo                                  see it learn, without a board
    wage-host train --data D.npz --network '…' -o N.npz
    wage-host convert N.npz -o M.wage               a model for a board
    wage-host info M.wage | --port P                what a model or a board is
    wage-host ports                                 which boards are plugged in
    wage-host emulate --board B --model M.wage      a board without hardware
    wage-host learn --port P --data S.npz           stream new samples, watch it learn
    wage-host eval --port P --data T.npz            how good it is
    wage-host save --port P                         keep what it learned
    wage-host reset --port P [--factory]            restart it, or make it forget
    wage-host report [RUN] -o R.html                show a run to people

A port is a device (/dev/ttyACM0, COM3), any pyserial URL (socket://127.0.0.1:4000),
`sim` (a simulated board in this process, with --model), or `auto` (the one board that
answers). Every command takes --json: then one object is the last line of standard output,
with "ok": true, or "ok": false with "error" and "code".

Exit codes: 0 done, 1 internal error, 2 wrong usage, 3 no such port, 4 port busy, 5 no answer,
6 no common protocol version, 7 the board has another model, 8 data file unreadable, 9 label out
of range, 10 samples of the wrong shape, 11 too little memory for the model, 12 refused by the
board, 13 a tool is missing, 14 the firmware did not build, 15 model file unusable, 16 the board
has no store, 17 log unusable, 18 board and host differ, 130 interrupted (Ctrl-C).
"""

import functools
import importlib
import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from wage_host import link, network, sim
from wage_host.core import info
from wage_host.device import Device
from wage_host.errors import OtherModel, PortNotFound, WageError
from wage_host.screen import Screen

FILE = click.Path(path_type=Path)
INTERRUPTED = 130
NO_BOARD = (
    "no board answers on any serial port: plug one in, name it with --port, or try "
    "--port sim --model FILE.wage"
)


@click.group(help=__doc__.split("\n\n")[0], context_settings={"max_content_width": 100})
@click.version_option(version("wage-host"))
def wage_host() -> None:
    """The command by itself does nothing."""


def main() -> None:
    """Entry point."""
    importlib.import_module("wage_host.commands")  # each registers itself
    try:
        wage_host.main(standalone_mode=False)
    except click.ClickException as error:
        if "--json" in sys.argv:
            answer = {"ok": False, "error": error.format_message(), "code": error.exit_code}
            click.echo(json.dumps(answer))
        else:
            error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(INTERRUPTED)


def command(function: Callable[..., dict[str, Any]]) -> click.Command:
    """A subcommand: gets a Screen, returns what --json shows; errors become one line."""

    @click.option("--json", "as_json", is_flag=True, help="One JSON object on the last line.")
    @functools.wraps(function)
    def run(as_json: bool, **options: Any) -> None:
        screen = Screen(as_json)
        try:
            answer, code = {"ok": True, **function(screen, **options)}, 0
        except WageError as error:
            answer, code = {"ok": False, "error": str(error)}, error.exit_code
        except KeyboardInterrupt:
            answer, code = {"ok": False, "error": "interrupted"}, INTERRUPTED
        if as_json:
            click.echo(json.dumps(answer if code == 0 else {**answer, "code": code}))
        elif code:
            click.echo(f"wage-host: {answer['error']}", err=True)
        sys.exit(code)

    return wage_host.command(function.__name__.removeprefix("do_"))(run)


def port_options(function: Callable) -> Callable:
    """Options of every command that talks to a board."""
    for option in (
        click.option("--port", envvar="WAGE_PORT", default="auto", help="Device, URL, sim, auto."),
        click.option("--baud", default=115200, show_default=True, help="Of a serial device."),
        click.option("--model", type=FILE, help="The .wage model that the board must hold."),
        click.option("--store", type=FILE, help="With --port sim: file that keeps checkpoints."),
        click.option("--timeout", default=30.0, show_default=True, help="Patience, in seconds."),
    ):
        function = option(function)
    return function


def open_device(
    port: str, baud: int, model: Path | None, store: Path | None, timeout: float
) -> Device:
    """The board at `port`, with a usable model, which is `model` when that is given."""
    blob = network.read_blob(model) if model else None
    expected = info(blob) if blob else None
    if port == "auto":
        port = only_board(baud)
    simulated = (lambda: sim.SimBoard(blob, store)) if blob else None
    device = Device(link.connector(port, baud, simulated), timeout)
    try:
        device.check_model()
        if expected and expected.crc != device.info.crc:
            raise OtherModel(
                f"the board holds the model {device.info.name} ({device.info.crc:08x}), not "
                f"{model} ({expected.crc:08x}): flash that one, or name the other"
            )
    except WageError:
        device.close()
        raise
    return device


def only_board(baud: int) -> str:
    """The one serial port behind which a board answers."""
    found = []
    for port in link.ports():
        try:
            Device(link.connector(port, baud, None), deadline_s=2.0).close()
            found.append(port)
        except WageError:
            continue  # something else is plugged in there
    if len(found) > 1:
        raise PortNotFound(f"several boards answer: choose one, --port {' or '.join(found)}")
    if not found:
        raise PortNotFound(NO_BOARD)
    return found[0]

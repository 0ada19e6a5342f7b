"""What the commands share: how they begin and end, and how they come by a board."""

import functools
import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from wage_host import auth, files, link, rates, sim
from wage_host.core import info
from wage_host.device import Device
from wage_host.errors import Interrupted, NoAnswer, OtherModel, PortNotFound, WageError
from wage_host.screen import Screen

FILE = click.Path(path_type=Path)
WHERE = {"host": "simulated on this computer", "emulator": "emulated", "board": "a real board"}
NO_BOARD = (
    "no board answers on any serial port: plug one in, name it with --port, or try "
    "--port sim --model FILE.wage"
)


class RateType(click.ParamType):
    """A learning rate, as rates.rate() reads it."""

    name = "rate"

    def convert(self, value: Any, _param: Any, _context: Any) -> rates.Rate:
        """(lr_factor, lr_shift)."""
        try:
            return value if isinstance(value, tuple) else rates.rate(value)
        except WageError as error:
            raise click.BadParameter(str(error)) from None


RATE = RateType()
LOG = click.option(
    "--log", "log_path", type=FILE, help="SQLite file of runs; default $WAGE_LOG, wage.sqlite."
)
LABEL = click.option(
    "--label", help="Column of the labels in a CSV file; default: label, or the first."
)
PREPARE = click.option("--prepare", help="Steps from data to input, as 'resize 16x16, grey'.")


def command(function: Callable[..., dict[str, Any]]) -> click.Command:
    """A subcommand: gets a Screen, returns what --json shows; errors become one line."""

    @click.option("--json", "as_json", is_flag=True, help="One JSON object on the last line.")
    @functools.wraps(function)
    def run(as_json: bool, **options: Any) -> int:
        screen = Screen(as_json)
        try:
            answer, code = {"ok": True, **function(screen, **options)}, 0
        except WageError as error:
            answer, code = {"ok": False, "error": str(error)}, error.exit_code
        except KeyboardInterrupt:
            answer, code = {"ok": False, "error": "interrupted"}, Interrupted.exit_code
        except Exception as error:
            traceback.print_exc()
            answer = {"ok": False, "error": f"internal error, please report it: {error!r}"}
            code = WageError.exit_code
        if as_json:
            click.echo(json.dumps(answer if code == 0 else {**answer, "code": code}))
        elif code:
            click.echo(f"wage-host: {answer['error']}", err=True)
        return code

    return click.command(function.__name__.removeprefix("do_"))(run)


def port_options(function: Callable, model: bool = True) -> Callable:
    """Options of every command that talks to a board; `model`: with --model, else an argument."""
    for option in (
        click.option("--port", envvar="WAGE_PORT", default="auto", help="Device, URL, sim, auto."),
        click.option("--baud", default=115200, show_default=True, help="Of a serial device."),
        click.option("--model", type=FILE, help="The .wage model that the board must hold.")
        if model else click.argument("model", type=FILE, required=False),
        click.option("--store", type=FILE, help="With --port sim: file that keeps checkpoints."),
        click.option("--key", type=FILE, help="The key of the board, when it was built with one."),
        click.option("--timeout", default=30.0, show_default=True, help="Patience, in seconds."),
    ):
        function = option(function)
    return function


def open_device(
    port: str,
    baud: int,
    model: Path | None,
    store: Path | None,
    key: Path | None,
    timeout: float,
    any_model: bool = False,
) -> Device:
    """The board at `port`, with a usable model, which is `model` when that is given.

    any_model: whatever it has, if it has any.
    """
    blob = files.read_blob(model) if model else None
    expected = info(blob) if blob else None
    secret = auth.load(key) if key else None
    if port == "auto":
        port = only_board(baud, secret)
    room = sim.MODEL_BYTES  # for one that is pushed
    simulated = (lambda: sim.SimBoard(blob, store, key=secret, model_bytes=room)) if blob else None
    connect = link.connector(port, baud, simulated)
    device = Device(connect, timeout, answer_s=max(5.0, timeout / 3), key=secret)
    if any_model:
        return device
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


def only_board(baud: int, key: bytes | None) -> str:
    """The one serial port behind which a board answers."""
    found, troubles = [], []
    for port in link.ports():
        try:
            Device(link.connector(port, baud, None), deadline_s=5.0, key=key).close()
            found.append(port)
        except (NoAnswer, PortNotFound):
            continue  # something else is plugged in there
        except WageError as error:
            troubles.append(str(error))
    if len(found) > 1:
        raise PortNotFound(f"several boards answer: choose one, --port {' or '.join(found)}")
    if not found:
        raise PortNotFound("; ".join([NO_BOARD, *troubles]))
    return found[0]


def board_line(device: Device) -> str:
    """Which board, where, and what it holds."""
    keyed = ", authenticated" if device.welcome.keyed else ""
    return f"{device.board} ({WHERE[device.place]}{keyed}), model {device.info.name}"

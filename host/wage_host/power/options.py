"""The options of commands beside which an instrument can measure."""

import contextlib
from collections.abc import Callable

import click

from wage_host.errors import WrongUsage
from wage_host.power.instrument import open_instrument
from wage_host.power.recorder import Recorder

VOLTS = click.option("--volts", type=float, help="The board's supply: set, or told.")


def power_options(function: Callable) -> Callable:
    """--power and --volts."""
    option = click.option("--power", metavar="NAME[:PORT]", help="Measure beside it, as with ppk2.")
    return option(VOLTS(function))


def beside_run(
    power: str | None, volts: float | None, say: Callable[[str], None]
) -> contextlib.AbstractContextManager:
    """A recorder, not yet started, out of the options; of None without --power."""
    if power is None:
        if volts is not None:
            raise WrongUsage("--volts is for --power: name the instrument, too")
        return contextlib.nullcontext()
    instrument = open_instrument(power, volts)
    if not instrument.live:
        raise WrongUsage(f"{power} is a file, and measures nothing now: name an instrument")
    return contextlib.closing(Recorder(instrument, say))

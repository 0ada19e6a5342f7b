"""wage-host: a board that learns, from the command line.

    wage-host demo [fashion|speak|motion] [--board B]        see it learn, without a board
    wage-host data show D.csv | fetch mnist         what samples are like; public sets
    wage-host data record --port P CLASS --samples N -o D.npz    what a board senses, as data
    wage-host train --data D.npz --network '…' -o N.npz      (--network list: those with a name)
    wage-host convert N.npz -o M.wage               a model for a board
    wage-host convert '8x8x1 32FC 10FC' -o M.wage   one that has learned nothing
    wage-host convert N.onnx --samples S.npz -o M.wage       the same, of another program's
    wage-host info M.wage | --port P                what a model or a board is
    wage-host ports                                 which boards are plugged in
    wage-host boards                                those that there are, what was tried
    wage-host plan --model M.wage [--board B]       whether it fits, how fast it learns
    wage-host flash --board B [--model M.wage]      onto a board, or into its emulator
    wage-host init DIR --board B [--model M.wage]   a PlatformIO project of your own
    wage-host emulate --board B --model M.wage      a board without hardware
    wage-host learn --port P --data S.npz [--serve]  stream new samples, watch it learn
    wage-host teach --port P CLASS --samples N      what it senses now is CLASS
    wage-host eval --port P --data T.npz            how good it is
    wage-host save --port P                         keep what it learned
    wage-host push --port P M.wage | --remove       another model, without flashing
    wage-host pull --port P --model M.wage -o N.wage         what it learned, as a model
    wage-host verify M.wage --port P                the same integers on it, layer by layer
    wage-host verify --run RUN [--pulled N.wage]    prove a run: learn it again here
    wage-host runs [RUN…] [--tag T | --delete]      what was learned; runs side by side
    wage-host export RUN --csv F | --jsonl F | --tensorboard DIR     a run for other programs
    wage-host export N.wage -o N.onnx               for other programs (.safetensors, .npz, .h)
    wage-host reset --port P [--factory]            restart it, or make it forget
    wage-host classes --port P                      its classes, what it took each for
    wage-host forget --port P --class NAME | --all  a class, or everything
    wage-host persist show|rollback --port P        its checkpoints, and back to one
    wage-host persist plan --board B …              years that its store lasts
    wage-host power list|test|record                instruments that measure what a board draws
    wage-host key K.key                             a key, for boards on open links
    wage-host report [RUN]… -o R.html               show a run to people

A port is a device (/dev/ttyACM0, COM3), any pyserial URL (socket://127.0.0.1:4000),
`sim` (a simulated board in this process, with --model), or `auto` (the one board that
answers). Every command takes --json: then one object is the last line of standard output,
with "ok": true, or "ok": false with "error" and "code".

Exit codes: 0 done, 1 internal error, 2 wrong usage, 3 no such port, 4 port busy, 5 no answer,
6 no common protocol version, 7 the board has another model, 8 data file unreadable, 9 labels
that are not the model's classes, 10 samples of the wrong shape, 11 too little memory for the
model, 12 refused by the board, 13 a tool is missing, 14 the firmware did not build, 15 model
file unusable, 16 the board has no store, 17 log unusable, 18 board and host differ, 19 a file
cannot be written, 20 a training checkpoint cannot be used, 21 key file unusable, 22 the board has
another key or only one side has one, 23 the image did not get onto the board, 24 a layer does
not give the same integers everywhere, 25 a power instrument or what it measured cannot be used,
130 interrupted (Ctrl-C).
"""

import json
import sys
from importlib.metadata import version

import click

from wage_host import (
    classes,
    commands,
    conversion,
    demonstrate,
    hardware,
    models,
    persist,
    plan,
    run_export,
    runs,
    teach,
    verify,
)
from wage_host.data.commands import data_group
from wage_host.errors import Interrupted
from wage_host.power import commands as power_commands

_first, *_middle, _codes = __doc__.split("\n\n")
_help = "\n\n".join([_first, *("\b\n" + part for part in _middle[1:])])


@click.group(help=_help, epilog=_codes, context_settings={"max_content_width": 100})
@click.version_option(version("wage-host"))
def wage_host() -> None:
    """The command by itself does nothing."""


_modules = (
    models, conversion, run_export, verify, hardware, plan, commands, runs, classes, demonstrate,
    teach,
)  # fmt: skip
for _command in {name: c for module in _modules for name, c in vars(module).items()}.values():
    if isinstance(_command, click.Command):
        wage_host.add_command(_command)


wage_host.add_command(persist.persist)
wage_host.add_command(data_group)
wage_host.add_command(power_commands.power)


def main() -> None:
    """Entry point."""
    try:
        sys.exit(wage_host.main(standalone_mode=False))
    except click.ClickException as error:
        if "--json" in sys.argv:
            answer = {"ok": False, "error": error.format_message(), "code": error.exit_code}
            click.echo(json.dumps(answer))
        else:
            error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(Interrupted.exit_code)

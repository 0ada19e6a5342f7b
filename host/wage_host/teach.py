"""A board with inputs of its own: what it learned by itself, and telling it what it senses."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from wage_host import classes
from wage_host._core import lib
from wage_host.commands import this_command
from wage_host.device import Device
from wage_host.errors import Interrupted, WageError, WrongUsage
from wage_host.log import Log, default_path
from wage_host.options import LOG, board_line, command, open_device, port_options
from wage_host.screen import Screen

NO_INPUTS = (
    "the board has no inputs of its own: build its image with --field (docs/field.md says how "
    "your sensor gets there), or send it samples with wage-host learn"
)


def by_itself(device: Device) -> dict[str, Any]:
    """What a board says of its own inputs: how many it learned, and was right about beforehand.

    Since it learned a stream of a host; what it was taught counts, too.
    """
    w = device.welcome
    if not w.senses:
        return {}
    stats = device.stats() if w.stream == lib.WAGE_FIELD_STREAM else None
    return {"own_inputs": stats.samples if stats else 0, "right": stats.correct if stats else 0}


@command
@port_options
@click.argument("wanted", metavar="CLASS")
@click.option("--samples", type=click.IntRange(1), default=1, show_default=True, help="How many.")
@LOG
def do_teach(
    screen: Screen, wanted: str, samples: int, log_path: Path | None, **port: Any
) -> dict[str, Any]:
    """Have a board learn what it senses now, as CLASS (its name or number).

    For boards with inputs of their own. Each is predicted, then learned, and all is saved in the
    end.
    """
    known = classes.known_names(port)
    with Log(log_path or default_path()) as log, open_device(**port) as device:
        if not device.welcome.senses:
            raise WrongUsage(NO_INPUTS)
        states = device.class_states() if device.welcome.class_table else []
        names = classes.names_of(states, known) if states else known
        label = classes.number_of(wanted, names, device.info.classes)
        screen.say(f"board: {board_line(device)}")
        run = log.begin(this_command(), _conditions(device, wanted, samples, names))
        records = []
        try:
            for record in screen.watch("learning", samples, device.teach(label, samples)):
                log.record(run, record)
                records.append(record)
            generation = device.save() if device.can_save else 0
        except KeyboardInterrupt:
            log.end(run, "interrupted", {"samples": len(records)})
            text = f"interrupted; it has learned {len(records)} of them: wage-host save keeps them"
            raise Interrupted(text) from None
        except WageError as error:
            log.end(run, "failed", {"samples": len(records), "error": str(error)})
            raise
        stats, right = device.stats(), sum(r.prediction == r.label for r in records)
        told = {"samples": len(records), "right": right, "generation": generation}
        told |= {"own_inputs": stats.samples, "weight_crc": f"{stats.weight_crc:08x}"}
        log.end(run, "done", told)
    kept = f"; checkpoint {generation}" if generation else "; it has no store and knows them until "
    kept += "" if generation else "power-off"
    screen.say(f"{wanted}: {right} of {len(records)} were right before they were learned{kept}")
    return {"run": run, "label": label, **told}


def _conditions(device: Device, wanted: str, samples: int, names: classes.Names) -> dict[str, Any]:
    """Of a run whose inputs the host never sees, so that nobody can learn it again."""
    about = {"board": device.board, "place": device.place, "model": device.info.name}
    about |= {"model_crc": f"{device.info.crc:08x}", "classes": device.info.classes}
    about |= {"inputs": "its own", "class": wanted, "samples": samples}
    about |= {"names": [name or str(c) for c, name in enumerate(names)]} if any(names) else {}
    return about | {"version": version("wage-host")}

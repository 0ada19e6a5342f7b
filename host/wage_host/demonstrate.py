"""wage-host demo: what a board knows before, after, and when it was switched off and on."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from wage_host import (
    boards,
    budget,
    data,
    demo,
    demos,
    emulate,
    files,
    firmware,
    hardware,
    sim,
    stream,
)
from wage_host import report as reports
from wage_host.boards import SIM
from wage_host.commands import course_of, tell, this_command
from wage_host.core import Policy, Record, info
from wage_host.device import Device
from wage_host.errors import WageError
from wage_host.log import Log
from wage_host.models import watch_training
from wage_host.options import FILE, WHERE, command, open_device
from wage_host.screen import Screen, table

SAVE_EVERY = 100


@dataclasses.dataclass(frozen=True)
class Powered:
    """A board without hardware, which can be switched off and on."""

    name: str
    model: Path
    image: Path | None  # None: the simulated one
    store: Path | None  # the file that it keeps checkpoints in; None: nothing outlives it

    @contextlib.contextmanager
    def on(self) -> Iterator[tuple[Device, str]]:
        """It starts, and loses its power in the end; gives it and its port."""
        if self.image:
            running = emulate.running(self.name, self.image, store=self.store)
        else:
            running = sim.running(self.model, self.store)
        with running as port, open_device(port, 115200, self.model, None, None, 30.0) as device:
            yield device, port


def _switched_off(screen: Screen, name: str, made: demo.Files) -> Powered:
    """The board with the demo's model, its store empty."""
    made.store.unlink(missing_ok=True)
    if name == SIM:
        return Powered(name, made.model, None, made.store)
    board, blob = boards.get(name), files.read_blob(made.model)
    hardware.check_fit(screen, board, blob, None)
    screen.say(f"   building the firmware of {name} with {made.model}")
    image = firmware.build(name, firmware.Contents(made.model))
    if board.store_file:
        emulate.make_store(name, made.store)
    return Powered(name, made.model, image, made.store if board.store_file else None)


@command
@click.argument("name", default="digits", metavar=f"[{'|'.join(demos.DEMOS)}]")
@click.option("--board", default=SIM, show_default=True, help="sim, or one that is emulated.")
@click.option("--dir", "folder", type=FILE, help="For files; default: demo, or demo/NAME.")
def do_demo(screen: Screen, name: str, board: str, folder: Path | None) -> dict[str, Any]:
    """A board that knows something learns what is new, without hardware.

    \b
    digits   the digits 8 and 9 come to 0 to 7 (data: in this package)
    fashion  bags and ankle boots come to eight other garments (fashion-mnist)
    speak    a fifth speaker comes to four (fsdd)
    motion   badminton comes to standing, running and walking (motions)
    """
    recipe = demos.get(name)
    if boards.get(board, sim=True).name != SIM:
        emulate.need_emulator(board)
    parts = recipe.parts()
    folder = folder or (Path("demo") if recipe is demo.DIGITS else Path("demo") / name)
    screen.say(f"1. This computer trains a small network on {recipe.old}.")
    made = demo.make(folder, functools.partial(watch_training, screen), recipe, parts)
    screen.say(f"2. The board {board} starts with it ({made.model}).")
    powered = _switched_off(screen, board, made)
    with Log(folder / "wage.sqlite") as log:
        return _show(screen, log, recipe, parts, made, powered)


def _show(
    screen: Screen,
    log: Log,
    recipe: demo.Recipe,
    parts: demo.Parts,
    made: demo.Files,
    powered: Powered,
) -> dict[str, Any]:
    """Has the board learn what is new, switches it off and on, and says what it knows."""
    blob = files.read_blob(made.model)
    about, facts = info(blob), budget.read(blob)
    new, test = (data.load(path, about.extras) for path in (made.stream, made.test))
    told = {"new_classes": list(recipe.new_classes), "groups": parts.groups, "names": recipe.names}
    told = {name: value for name, value in told.items() if value}
    with powered.on() as (device, port):
        screen.say(f"3. {len(new)} samples of {recipe.new}, never seen before, arrive.")
        policy = Policy(SAVE_EVERY) if device.can_save else stream.NO_POLICY
        plan = stream.Plan(new, test, device.config(), 1, policy, blob)
        course = course_of(device, plan.names, device.config().replays, blob)
        watch = functools.partial(screen.watch, course=course)
        done = stream.conduct(
            device, log, plan, this_command(), watch, course.hear, port=port, **told
        )
        place, tests = device.place, data.samples(test, device.info)
    with powered.on() as (device, _):
        again = list(screen.watch("after power-off", len(tests), device.evaluate(tests)))
        kept = f"{device.welcome.weight_crc:08x}" == done.summary["weight_crc"]
    if powered.store and not kept:
        raise WageError(f"{powered.name} lost what it had saved: please report this")
    files.write_whole(made.report, reports.report(log, [done.run]).encode())
    files.write_whole(made.picture, reports.picture(log, done.run).encode())

    when = {"before": done.before, "after": done.after, "powered": again}
    shares = _shares(demo.is_new(recipe, parts, test), when)
    _tell_shares(screen, recipe, shares, f"of {len(test)} samples that it never learned from")
    screen.say(f"   (computed {WHERE[place]}: {powered.name})")
    if not powered.store:
        screen.say(f"   {powered.name} has nothing here that keeps a checkpoint without power:")
        screen.say("   it is back at what it was built with. sim and riscv-virt keep theirs.")
    screen.say(
        f"   arena {about.arena_bytes:,} bytes; in it a replay of {facts.capacity} samples of "
        f"{facts.replay_bytes} bytes"
    )
    tell(screen, log, done)
    screen.say(f"picture: {made.report} (open it in a browser)")
    return {
        **shares, "kept": kept, "samples": len(new), "board": powered.name, "place": place,
        "arena_bytes": about.arena_bytes, "replay_samples": facts.capacity, "log": str(log.path),
        "report": str(made.report), "run": done.run, "weight_crc": done.summary["weight_crc"],
    }  # fmt: skip


def _tell_shares(
    screen: Screen, recipe: demo.Recipe, shares: dict[str, float], samples: str
) -> None:
    """What _shares() gave, as a table."""
    screen.say(f"4. What it knows {samples}:")
    rows = [["", "before", "after", "after power-off"]]
    titles = {"accuracy": "all", "old": f"old: {recipe.old}", "new": f"new: {recipe.new}"}
    for which, title in titles.items():
        cells = [f"{shares[f'{which}_{time}']:.1%}" for time in ("before", "after", "powered")]
        rows.append([f"  {title}", *cells])
    for line in table(rows, right=(1, 2, 3)):
        screen.say(line)


def _shares(new: np.ndarray, when: dict[str, list[Record]]) -> dict[str, float]:
    """Right answers of all, old and new samples at each time, as accuracy_before, …: 0 to 1."""
    out = {}
    for time, records in when.items():
        right = np.array([record.prediction == record.label for record in records])
        for which, mask in (("accuracy", new | True), ("old", ~new), ("new", new)):
            out[f"{which}_{time}"] = float(right[mask].mean())
    return out

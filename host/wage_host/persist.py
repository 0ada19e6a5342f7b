"""Checkpoints of a board from the command line: which there are, back to one, how long it lasts."""

import math
from types import SimpleNamespace
from typing import Any

import click

from wage_host.boards import geometry
from wage_host.errors import NoStore, WrongUsage
from wage_host.options import command, open_device, port_options
from wage_host.screen import Screen

DAYS = 365.25  # of a year
YEARS = 10  # that a board should last


def state_of(slot: SimpleNamespace) -> str:
    """What a slot holds, in a few words."""
    if not slot.generation:
        return "empty"
    if slot.forgotten:
        return f"{slot.generation}: everything was forgotten"
    if not slot.ours:
        return f"{slot.generation}: of another model"
    score = f", score {slot.score} of the guard" if slot.guard else ""
    return f"{slot.generation}: state {slot.state_crc:08x}{score}"


@command
@port_options
def do_show(screen: Screen, **port: Any) -> dict[str, Any]:
    """The checkpoints in a board's store."""
    with open_device(**port) as device:
        device.check_store()
        slots, wear = device.checkpoints(), device.welcome.wear
        current = device.welcome.generation
    if not slots:
        raise NoStore(f"{device.board} has no store")
    for number, slot in enumerate(slots):
        newest = "  <- newest" if slot.generation == current and current else ""
        screen.say(f"slot {number}  {state_of(slot)}{newest}")
    screen.say(f"slots erased so far: {wear}")
    return {"slots": [vars(slot) for slot in slots], "generation": current, "wear": wear}


@command
@port_options
@click.option("--to", "generation", type=click.IntRange(0), help="Checkpoint; 0: the factory's.")
def do_rollback(screen: Screen, generation: int | None, **port: Any) -> dict[str, Any]:
    """Back to the weights of an earlier checkpoint; what was learned since is not asked for again.

    Without --to: to the one before the newest.
    """
    with open_device(**port) as device:
        device.check_store()
        if not device.welcome.slots:
            raise NoStore(f"{device.board} has no store")
        there = sorted(s.generation for s in device.checkpoints() if s.ours and not s.forgotten)
        if generation is None:
            earlier = [g for g in there if g < device.welcome.generation]
            generation = earlier[-1] if earlier else 0
        if generation and generation not in there:
            raise WrongUsage(f"there is no checkpoint {generation}: it has {there}, and 0")
        made = device.rollback(generation)
    what = f"those of checkpoint {generation}" if generation else "the factory's"
    screen.say(f"the weights are {what} again, saved as checkpoint {made}")
    return {"from": generation, "generation": made}


def life(
    slots: int, endurance: int, wear: int, samples_per_day: float, save_every: int
) -> dict[str, float]:
    """How long a store lasts: every save erases one slot once, all in turn."""
    left = max(0, slots * endurance - wear)
    per_day = samples_per_day / save_every
    enough = samples_per_day * YEARS * DAYS / left if left else math.inf
    return {
        "saves_per_day": per_day,
        "saves_left": left,
        "years": left / per_day / DAYS,
        "lost_hours": 24 * save_every / samples_per_day,
        "save_every_for_10_years": math.ceil(enough) if left else 0,
    }


@command
@click.option("--board", help="Board whose store it is, as in boards/.")
@click.option("--slots", type=click.IntRange(2), help="Slots of the store; default: the board's.")
@click.option("--endurance", type=click.IntRange(1), help="Erasures that each bears.")
@click.option("--wear", type=click.IntRange(0), default=0, help="Slots erased so far.")
@click.option("--samples-per-day", type=click.FloatRange(0, min_open=True), required=True)
@click.option("--save-every", type=click.IntRange(1), required=True, help="Save every N samples.")
def do_plan(
    screen: Screen,
    board: str | None,
    slots: int | None,
    endurance: int | None,
    wear: int,
    samples_per_day: float,
    save_every: int,
) -> dict[str, Any]:
    """Years that a board's store lasts with a policy of saving."""
    if board:
        of_board = geometry(board)
        slots, endurance = slots or of_board[0], endurance or of_board[1]
    if not slots or not endurance:
        raise WrongUsage("give --board, or --slots and --endurance")
    made = life(slots, endurance, wear, samples_per_day, save_every)
    screen.say(
        f"{made['saves_per_day']:.4g} saves a day; {slots} slots bear {endurance} erasures each, "
        f"so {made['saves_left']} saves are left"
    )
    screen.say(f"the store lasts {made['years']:.1f} years (calculated from the rated erasures)")
    screen.say(f"a power cut costs up to {made['lost_hours']:.3g} hours of learning, sent again")
    if made["years"] < YEARS and made["saves_left"]:
        screen.say(f"for {YEARS} years: --save-every {made['save_every_for_10_years']}")
    return {"slots": slots, "endurance": endurance, **made}


persist = click.Group(
    "persist",
    help="Checkpoints of a board: show, rollback, plan.",
    commands={"show": do_show, "rollback": do_rollback, "plan": do_plan},
)

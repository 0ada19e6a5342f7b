"""wage-host plan: what a model needs, tensor by tensor, and how it would do on each board."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import click

from wage_host import auth, boards, budget, files, fit
from wage_host.models import KINDS
from wage_host.options import FILE, command
from wage_host.screen import Screen, table

ESTIMATE = "estimate from emulators"


@command
@click.option("--model", type=FILE, required=True, help="The .wage model.")
@click.option("--board", help="One board, in detail; default: all of them.")
@click.option("--key", type=FILE, help="Key that it would have; default: none.")
@click.option(
    "--baud", type=click.IntRange(1), default=115200, show_default=True, help="Of the link."
)
@click.option(
    "--samples-per-day",
    type=click.FloatRange(0, min_open=True),
    default=5000.0,
    show_default=True,
    help="For the store's life.",
)
@click.option(
    "--save-every",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="The same: a save every N samples.",
)
def do_plan(
    screen: Screen,
    model: Path,
    board: str | None,
    key: Path | None,
    baud: int,
    samples_per_day: float,
    save_every: int,
) -> dict[str, Any]:
    """What a model needs, by layer, and what it would be like on a board; nothing is flashed."""
    blob, secret = files.read_blob(model), auth.load(key) if key else None
    facts = budget.read(blob)
    chosen = [boards.get(board, sim=True)] if board else boards.every()
    fits = [fit.of(facts, blob, one, baud, secret) for one in chosen]
    _show_model(screen, facts, len(blob))
    if board:
        _show_board(screen, facts, fits[0], samples_per_day, save_every)
    else:
        _show_boards(screen, fits)
    answer = {
        "flash_bytes": len(blob),
        "arena_bytes": budget.arena_bytes(facts),
        "layers": [_layer(facts, k) for k in range(len(facts.layers))],
        "arena": [dataclasses.asdict(part) for part in budget.parts(facts)],
    }
    life = functools.partial(fit.store_life, samples_per_day=samples_per_day, save_every=save_every)
    rows = [_board_answer(facts, one) | {"store": life(one.board)} for one in fits]
    return answer | ({"board": rows[0]} if board else {"boards": rows})


def _layer(model: budget.Model, k: int) -> dict[str, Any]:
    """A layer of the model, in numbers."""
    layer = model.layers[k]
    return {
        "kind": KINDS[layer.kind],
        "shape": "x".join(map(str, layer.shape)),
        "trainable": layer.trainable,
        "weight_bits": layer.weight_bits,
        "store_bits": layer.store_bits,
        "macs": layer.macs,
        "flash_bytes": layer.flash_bytes,
        "arena_bytes": sum(part.bytes for part in budget.parts(model) if part.layer == k),
    }


def _board_answer(model: budget.Model, one: fit.Fit) -> dict[str, Any]:
    """A model on a board, in numbers."""
    fields = dataclasses.asdict(one)
    fields["board"] = one.board.name
    return fields | {
        "fits": one.fits,
        "predict_s": one.seconds(one.predict_instructions),
        "learn_s": one.seconds(one.learn_instructions),
        "troubles": fit.troubles(model, one),
    }


def _show_model(screen: Screen, model: budget.Model, blob_bytes: int) -> None:
    rows = [["", "layer", "output", "bits", "", "macs", "flash", "arena"]]
    for k in range(len(model.layers)):
        row = _layer(model, k)
        bits = f"{row['weight_bits']}" if row["weight_bits"] else "-"
        bits += f"/{row['store_bits']}" if row["store_bits"] else ""
        state = "learns" if row["trainable"] else "frozen"
        counts = [f"{row[name]:,}" for name in ("macs", "flash_bytes", "arena_bytes")]
        rows.append([str(k), row["kind"], row["shape"], bits, state, *counts])
    found = budget.parts(model)
    replay = sum(part.bytes for part in found if part.name.startswith(budget.REPLAY))
    shared = sum(part.bytes for part in found if part.layer is None) - replay
    named = sum(layer.flash_bytes for layer in model.layers)
    in_flash = model.stored * (1 + model.replay_bytes)
    text = f"{model.capacity} samples of {model.replay_bytes}"
    rows.append(["", "replay", text, "", "", "", f"{in_flash:,}", f"{replay:,}"])
    rest = blob_bytes - named - in_flash
    rows.append(["", "shared", "", "", "", "", f"{rest:,}", f"{shared:,}"])
    total = sum(layer.macs for layer in model.layers)
    sums = [f"{n:,}" for n in (total, blob_bytes, budget.arena_bytes(model))]
    rows.append(["", "all", "", "", "", *sums])
    for line in table(rows, right=(5, 6, 7)):
        screen.say(line)
    screen.say(f"a sample learned: {1 + model.replays} steps, {model.replays} of them replayed")


def _show_boards(screen: Screen, fits: list[fit.Fit]) -> None:
    rows = [["board", "fits", "RAM left", "flash left", "learns in", "link", ""]]
    for one in fits:
        about = "" if one.measured else "~"
        learn = one.seconds(one.learn_instructions)
        flash = f"{about}{-one.flash_over:,}" if one.flash else "-"
        rows.append([
            one.board.name,
            "yes" if one.fits else "no",
            f"{about}{-one.memory_over:,}",
            flash,
            f"~{_time(learn)}" if learn is not None else "?",
            _time(one.link_s),
            one.board.status,
        ])  # fmt: skip
    screen.say()
    for line in table(rows, right=(2, 3, 4, 5)):
        screen.say(line)
    screen.say("~: an estimate; times from emulators, at one instruction a clock")
    screen.say("more of one of them: --board NAME")


def _show_board(
    screen: Screen, model: budget.Model, one: fit.Fit, per_day: float, every: int
) -> None:
    board, about = one.board, "" if one.measured else "about "
    screen.say(f"\n{board.name}: {board.title} ({board.status})")
    if one.flash:
        screen.say(
            f"flash: {about}{one.code + one.blob:,} of {one.flash:,} bytes, {one.blob:,} of them "
            "the model"
        )
    screen.say(
        f"RAM: {one.arena + one.frames:,} of the {about}{one.memory:,} bytes for arena "
        f"({one.arena:,}) and frames ({one.frames:,})"
    )
    if one.stack:
        screen.say(f"stack: {one.stack:,} bytes at most (call graph)")
    replay = budget.most_replay(model, one.memory - one.frames)
    if replay is not None:
        screen.say(f"replay: {model.capacity} samples; {replay:,} would fit")
    for what, count in (
        ("a prediction", one.predict_instructions),
        ("a sample learned", one.learn_instructions),
    ):
        seconds = one.seconds(count)
        if seconds is None:
            screen.say(f"{what}: not known: no {board.core} was measured")
        else:
            screen.say(f"{what}: {_time(seconds)}, {count:,.0f} instructions ({ESTIMATE})")
    screen.say(f"link: {_time(one.link_s)} for a sample and its answer")
    life = fit.store_life(board, per_day, every)
    if life:
        screen.say(
            f"store: {board.store}, {life['saves_left']:,} saves; {life['years']:.1f} years with "
            f"{per_day:g} samples a day and a save every {every}"
        )
    for line in fit.troubles(model, one) or ["it fits"]:
        screen.say(line)


def _time(seconds: float) -> str:
    """A short time for people."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.2g} us"

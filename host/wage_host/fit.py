"""Whether a model fits a board, and how fast it will learn there.

costs.json has what was measured in emulators: of each board what its image takes beside the
model, of each core the instructions of a unit of work. tests/costs.py writes it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from importlib.resources import files
from typing import Any

from wage_host import budget, persist
from wage_host._core import ffi, lib
from wage_host.boards import SIM, Board
from wage_host.budget import Model, Part
from wage_host.sim import MEMORY_BYTES, SimBoard

BITS_A_BYTE = 10  # on a serial line
SHARE = 3 / 4  # of RAM is taken to be the model's where nobody has measured


@functools.cache
def costs() -> dict[str, Any]:
    """What was measured, by board and by core."""
    return json.loads(files("wage_host").joinpath("costs.json").read_text(encoding="utf-8"))


def frames_bytes(
    blob: bytes, key: bytes | None = None, phases: bool = False, senses: bool = False
) -> int:
    """What the serve loop takes for frames of this model, of the memory of a port."""
    field = ffi.new("struct field *") if senses else None
    board = SimBoard(blob, memory_bytes=MEMORY_BYTES, key=key, phases=phases, field=field)
    return MEMORY_BYTES - board.serve.memory_bytes


def figures(core: str) -> dict[str, float] | None:
    """Instructions of a unit of work on this core, or on one like it; None: not measured."""
    cores = costs()["cores"]
    plain = re.sub(r"(plus|\+|f)$", "", core.lower())
    like = "cortex-m0" if re.match(r"cortex-m[01]", plain) else "cortex-m4"
    if plain in cores:
        return cores[plain]
    return cores.get(like) if plain.startswith("cortex-m") else None


@dataclasses.dataclass(frozen=True)
class Fit:
    """A model on a board; bytes, seconds. `measured`: flash and memory are, else estimates.

    arena and frames lie in the port's memory; code and blob in flash; 0 where nobody knows, None
    for times of cores that nobody has measured.
    """

    board: Board
    measured: bool
    memory: int
    arena: int
    frames: int
    flash: int
    code: int
    blob: int
    stack: int
    predict_instructions: float | None
    learn_instructions: float | None
    link_s: float

    @property
    def memory_over(self) -> int:
        """Bytes of RAM that are missing; below 0: that are left."""
        return self.arena + self.frames - self.memory

    @property
    def flash_over(self) -> int:
        """Bytes of flash that are missing; below 0: that are left."""
        return self.code + self.blob - self.flash

    @property
    def fits(self) -> bool:
        """The model fits, as far as anybody knows."""
        return self.memory_over <= 0 and (self.flash_over <= 0 or not self.flash)

    def seconds(self, instructions: float | None) -> float | None:
        """At one instruction a clock, which is the least that it can take."""
        known = instructions is not None and self.board.clock_hz
        return instructions / self.board.clock_hz if known else None


def of(
    model: Model,
    blob: bytes,
    board: Board,
    baud: int,
    key: bytes | None,
    phases: bool = False,
    senses: bool = False,
) -> Fit:
    """How the model fits a board, that may tell its phases or have inputs of its own."""
    known = costs()["boards"].get(board.name, {})
    usual = max(row["flash"] for row in costs()["boards"].values())
    memory = known.get("memory") or board.memory or int(board.ram * SHARE)
    work = figures(board.core)
    count = budget.forward_work(model.layers), budget.learn_work(model)
    predict, learn = (budget.cost(c, work) if work else None for c in count)
    sample = frame(4 * lib.WAGE_SAMPLE_FIELDS + model.layers[0].in_count)
    wire = sample + frame(4 * lib.WAGE_RECORD_FIELDS)
    sim = board.name == SIM
    return Fit(
        board=board,
        measured=sim or bool(known),
        memory=MEMORY_BYTES if sim else memory,
        arena=budget.arena_bytes(model),
        frames=frames_bytes(blob, key, phases, senses),
        flash=board.flash,
        code=0 if sim else known.get("flash", usual),
        blob=len(blob),
        stack=known.get("stack", 0),
        predict_instructions=predict,
        learn_instructions=learn,
        link_s=wire * BITS_A_BYTE / baud,
    )


def frame(body: int) -> int:
    """Bytes on the wire of a frame whose fields and tail take `body`."""
    return lib.wage_frame_bytes(lib.WAGE_BODY_HEADER_BYTES + body) + 1


def largest(model: Model) -> Part:
    """The largest block of the arena."""
    return max(budget.parts(model), key=lambda part: part.bytes)


def part_text(model: Model, part: Part) -> str:
    """The name of a block, as a sentence has it."""
    if part.name == budget.REPLAY:
        return f"replay of {model.capacity} samples"
    return part.name if part.layer is None else f"{part.name} of layer {part.layer}"


def troubles(model: Model, fit: Fit) -> list[str]:
    """Why the model does not fit, each with its remedy; empty when it does."""
    found, name = [], fit.board.name
    about = "" if fit.measured else "about "
    if fit.memory_over > 0:
        part = largest(model)
        ways = ", or ".join(budget.remedies(model, fit.memory - fit.frames))
        found.append(
            f"{name} has {about}{fit.memory:,} bytes for arena and frames, the model needs "
            f"{fit.arena + fit.frames:,}; the largest part is the {part_text(model, part)} "
            f"({part.bytes:,} bytes): {ways or 'make the network smaller'}"
        )
    if fit.flash and fit.flash_over > 0:
        number = max(range(len(model.layers)), key=lambda k: model.layers[k].flash_bytes)
        weights = model.layers[number].flash_bytes
        replay = model.stored * (1 + model.replay_bytes)
        part = f"weights of layer {number} ({weights:,} bytes): make it smaller, or train --bits 2"
        if replay > weights:
            part = f"{model.stored} samples for the replay ({replay:,} bytes): convert with fewer"
        found.append(
            f"{name} has {fit.flash:,} bytes of flash, the image needs {about}"
            f"{fit.code + fit.blob:,}; the largest part is the {part}"
        )
    return found


def store_life(board: Board, samples_per_day: float, save_every: int) -> dict[str, float] | None:
    """persist.life() of a fresh board; None when it has no store that wears."""
    if not board.slots:
        return None
    return persist.life(board.slots, board.endurance, 0, samples_per_day, save_every)

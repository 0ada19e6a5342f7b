"""What the workloads cost on every emulated board: instructions, memory, code, energy.

make bench      (or: python tests/bench.py)

writes build/bench.json and build/bench.md. All figures of a cell are of one build, the real image
of the board. Instructions (of AVR: cycles) are a mean over real samples, told by the board's own
timer, which counts emulated instructions; a replayed sample is a step of its own.
"""

# SPDX-License-Identifier: MIT

import functools
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import linked
import workloads
from wage_host import emulate, firmware
from wage_host.core import info
from wage_host.device import Device
from wage_host.errors import ToolMissing, WageError
from wage_host.link import connector

FOLDER = Path(__file__).resolve().parents[1] / "build"
SAMPLES = 500
PARITY_SAMPLES = 150  # 300 steps
COUNTED = ("infer_instructions", "train_instructions")
GATED = (*COUNTED, "arena_bytes", "text_bytes", "stack_bytes")
ANSWER_S = 120.0

Cell = dict[str, str | int | float]


def image(board: str, name: str) -> Path:
    """The image of a board with a workload; ToolMissing without what it needs."""
    emulate.need_emulator(board)
    blob = workloads.blob(name)
    model = Path(tempfile.gettempdir()) / f"wage-{hashlib.sha256(blob).hexdigest()[:16]}.wage"
    model.write_bytes(blob)
    return firmware.build(board, firmware.Contents(model))


def counting(board: str) -> tuple[float, list[str]]:
    """Counts in a microsecond of the board's clock, and the emulator's arguments for that."""
    per_us = float(emulate.setting(board, "counts_per_us", "125"))  # with icount, 8 ns each
    return per_us, emulate.setting(board, "count_arguments", "-icount shift=3").split()


@functools.cache
def measured(board: str, name: str, count: int = SAMPLES) -> Cell:
    """The figures of a cell, or {"reason": why there are none}.

    The board predicts `count` samples, then learns them. "crc": of the weights after the first
    PARITY_SAMPLES.
    """
    try:
        built = image(board, name)
    except ToolMissing:
        raise
    except WageError as error:
        if "overflowed by" not in str(error):  # of a memory, says the linker
            raise
        over = str(error).partition("overflowed by ")[2].split()[0]
        return {"reason": f"does not fit: the image is {over} bytes too large"}
    per_us, more = counting(board)
    samples, crcs = workloads.samples(count), []
    with (
        emulate.running(board, built, arguments=more) as url,
        Device(connector(url, 115200, None), answer_s=ANSWER_S) as device,
    ):
        needs, has = device.welcome.arena_bytes, device.welcome.memory_bytes
        if needs > has:
            return {"reason": f"does not fit: needs {needs} of {has} bytes"}
        infer = [record.us for record in device.evaluate(samples)]
        train: list[int] = []
        for part in (PARITY_SAMPLES, count):  # the second goes on with the same stream
            device.start(1, device.config())
            train += [record.us for record in device.learn(samples[:part])]
            crcs.append(device.stats().weight_crc)
        stats = device.stats()
    assert (len(infer), len(train), stats.steps) == (count, count, count * workloads.STEPS)
    found = {
        "infer_instructions": round(sum(infer) * per_us / count),
        "train_instructions": round(sum(train) * per_us / stats.steps),
        "arena_bytes": info(workloads.blob(name)).arena_bytes,
        "text_bytes": linked.runtime_bytes(linked.flash(built.with_suffix(".map"))),
        "stack_bytes": stats.stack_bytes,
        "counter": emulate.setting(board, "counter", "instructions"),
        "crc": crcs[0],
    }
    return found | energy(board, found["train_instructions"])


def energy(board: str, count: int) -> Cell:
    """Of a training step, from the chip's current as board.ini has it; a cycle an instruction."""
    current = float(emulate.setting(board, "microamps_per_mhz", "0"))
    volts = float(emulate.setting(board, "volts", "0"))
    return {"train_uj_estimate": round(count * current * volts * 1e-6, 2)} if current else {}


def table(boards: dict[str, dict[str, Cell]]) -> str:
    """All cells in rows, in Markdown."""
    heads = ("board", "workload", "predict", "train a step", "arena", "code", "stack", "energy")
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for board, cells in boards.items():
        for name, cell in cells.items():
            if "reason" in cell:
                rows.append(f"| {board} | {name} | {cell['reason']} |" + " |" * (len(heads) - 3))
                continue
            counts = [f"{cell[key]:,}" for key in GATED]
            if cell["counter"] != "instructions":
                counts[:2] = [f"{text} {cell['counter']}" for text in counts[:2]]
            uj = cell.get("train_uj_estimate")
            rows.append(f"| {board} | {name} | {' | '.join(counts)} | {uj or '–'} |")
    notes = (
        "Instructions, a mean over {} digits (emulator; not cycles: memory waits are not seen). "
        "Arena, code of the trainer with its checkpoints, and stack in bytes, of the same build. "
        "Energy of a training step in µJ: an estimate from a typical current, one cycle an "
        "instruction."
    )
    return "\n".join([*rows, "", notes.format(SAMPLES), ""])


def grown(old: Cell, new: Cell) -> list[str]:
    """Figures that are more than 2 % above those noted."""
    if "reason" in new or "reason" in old:
        return [] if old == new or "reason" in old else [f"was {old}, is {new}"]
    return [f"{key}: {old[key]} -> {new[key]}" for key in GATED if new[key] > old[key] * 1.02]


def main() -> int:
    """Measures all; 1 when tools were missing for some."""
    boards: dict[str, dict[str, Cell]] = {}
    missing = 0
    for board, command in emulate.boards().items():
        if not command:
            continue
        try:
            cells = {}
            for name in workloads.NAMES:
                cells[name] = {k: v for k, v in measured(board, name).items() if k != "crc"}
                print(f"{board}, {name}: {cells[name]}", flush=True)
            boards[board] = cells
        except ToolMissing as error:
            print(f"{board}: left out: {error}", flush=True)
            missing = 1
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps({"boards": boards}, indent=2) + "\n"
    (FOLDER / "bench.json").write_text(text, encoding="utf-8")
    (FOLDER / "bench.md").write_text(table(boards), encoding="utf-8")
    print(f"\n{table(boards)}\nwritten: {FOLDER / 'bench.json'}, {FOLDER / 'bench.md'}")
    return missing


if __name__ == "__main__":
    sys.exit(main())

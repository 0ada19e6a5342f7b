"""Sizes on a Cortex-M4, compared for equality with a checked-in table.

They are deterministic, so any change is somebody's doing: pytest tests/test_size.py
--accept-sizes takes the new ones, and the difference shows in the commit.
"""

# SPDX-License-Identifier: MIT

import json
import re
import subprocess
from pathlib import Path

import native
import pytest
import stack
from test_objects import compile_all, sections
from wage_host import data, emulate
from wage_host._core import ffi
from wage_host.core import info
from wage_host.device import Device
from wage_host.errors import ToolMissing
from wage_host.link import connector

TABLE = Path(__file__).with_name("size.json")
TARGET, BOARD = "cortex-m4", "mps2-an386"
SAMPLES = 20
HOW = "to accept: pytest tests/test_size.py --accept-sizes"


def compiler() -> str:
    """The version of the cross compiler: other versions give other sizes."""
    gcc = native.need("arm-none-eabi-gcc")
    text = subprocess.run([gcc, "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"\) ([\d.]+)", text)[1]


def library_sizes(folder: Path) -> dict[str, int]:
    """Bytes of the runtime's objects at -Os, together and one by one; stack of public calls."""
    files = sorted((native.ROOT / "runtime").glob("*.c"))
    found = {o.stem: sections(o, TARGET) for o in compile_all(files, TARGET, folder)}
    sums = {part: sum(size[part] for size in found.values()) for part in ("text", "data", "bss")}
    graph = stack.graph(p.read_text(encoding="utf-8") for p in sorted(folder.glob("*.ci")))
    return (
        {f"runtime .{part}": n for part, n in sums.items()}
        | {f"{name}.c .text": size["text"] for name, size in found.items()}
        | {f"stack of {name}": stack.worst(name, *graph) for name in stack.public()}
    )


def board_figures(model: Path, samples: list) -> dict[str, int]:
    """Stack and instructions of the emulated board; it has no store to save to.

    With icount an instruction takes 8 ns of its clock, so a microsecond is 125 of them.
    """
    image = emulate.build(BOARD, model)
    with (
        emulate.running(BOARD, image, arguments=["-icount", "shift=3"]) as url,
        Device(connector(url, 115200, None), answer_s=60) as board,
    ):
        predicted = [record.us for record in board.evaluate(samples)]
        board.start(1, board.config())
        learned = [record.us for record in board.learn(samples)]
        assert len(predicted) == len(learned) == len(samples)
        return {
            f"stack on {BOARD}": board.stats().stack_bytes,
            "thousand instructions, a prediction": round(sum(predicted) / 8 / len(samples)),
            "thousand instructions, a sample learned": round(sum(learned) / 8 / len(samples)),
        }


def differences(old: dict[str, int], new: dict[str, int]) -> list[str]:
    """A row for each number that changed."""
    return [
        f"{name}: {old.get(name, 'new')} -> {new.get(name, 'gone')}"
        for name in {**old, **new}
        if not same(name, old.get(name), new.get(name))
    ]


def same(name: str, old: int | None, new: int | None) -> bool:
    """Equal; a count of thousands of instructions may differ by the timer's last tick."""
    timed = name.startswith("thousand instructions") and None not in (old, new)
    return abs(old - new) <= 1 if timed else old == new


def table(old: dict[str, int], new: dict[str, int]) -> str:
    """All numbers in rows, with what changed."""
    rows = [f"{'bytes':<40}{'now':>8}{'change':>8}"]
    for name, number in new.items():
        change = number - old.get(name, 0)
        rows.append(f"{name:<40}{number:>8}" + (f"{change:>+8}" if change else ""))
    return "\n".join(rows)


def settle(measured: dict[str, int], kind: str, pytestconfig: pytest.Config, capsys) -> None:
    """Prints the table, then compares it, or accepts it."""
    known = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    version = compiler()
    accept = pytestconfig.getoption("--accept-sizes")
    with capsys.disabled():
        print(f"\n{table(known.get(kind, {}), measured)}\n{kind}, arm-none-eabi-gcc {version}, -Os")
    if accept:
        known = {"compiler": version, **known, kind: measured}
        known["compiler"] = version
        TABLE.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        return
    if version != known["compiler"]:
        text = f"size.json is of arm-none-eabi-gcc {known['compiler']}, this is {version}; {HOW}"
        native.miss(text)
    changed = differences(known[kind], measured)
    assert not changed, "\n".join([*changed, HOW])


def test_size_of_the_library(tmp_path, pytestconfig, capsys):
    measured = library_sizes(tmp_path)
    assert (measured["runtime .data"], measured["runtime .bss"]) == (0, 0)
    settle(measured, "library", pytestconfig, capsys)


def test_cost_of_the_demo(demo_blob, demo_files, pytestconfig, capsys):
    about = info(demo_blob.read_bytes())
    samples = data.samples(data.load(demo_files.stream), about)[:SAMPLES]
    try:
        figures = board_figures(demo_blob, samples)
    except ToolMissing as error:
        native.miss(f"needs a tool: {error}")
    measured = {
        "demo blob": demo_blob.stat().st_size,
        "demo arena": about.arena_bytes,
        **figures,
        "wage_t on 64 bits": ffi.sizeof("wage_t"),
    }
    settle(measured, "demo", pytestconfig, capsys)


def test_stack_follows_pointers_and_refuses_recursion():
    node = 'node: {{ title: "{0}" label: "{0}\\n{1}:1:1\\n{2} bytes (static)" }}'
    edge = 'edge: {{ sourcename: "{0}" targetname: "{1}" label: "{2}:3:4" }}'
    text = "\n".join([
        node.format("wage_learn", "step.c", 8), node.format("step.c:one", "step.c", 16),
        node.format("wage_add_forward", "add.c", 100), node.format("wage_other", "add.c", 500),
        edge.format("wage_learn", "step.c:one", "step.c"),
        edge.format("step.c:one", "__indirect_call", "step.c"),
        edge.format("wage_other", "wage_other", "add.c"),
    ])  # fmt: skip
    graph = stack.graph([text])
    assert stack.worst("wage_learn", *graph) == 124
    with pytest.raises(AssertionError, match="recursion"):
        stack.worst("wage_other", *graph)


def test_a_changed_size_is_told():
    old = {"runtime .text": 100, "a": 1}
    assert differences(old, dict(old)) == []
    assert differences(old, {"runtime .text": 101, "b": 2}) == [
        "runtime .text: 100 -> 101", "a: 1 -> gone", "b: new -> 2",
    ]  # fmt: skip
    assert "+1" in table(old, {"runtime .text": 101})

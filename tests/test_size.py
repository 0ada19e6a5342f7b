"""Sizes on a Cortex-M4 and of each board, compared for equality with a checked-in table.

They are deterministic, so any change is somebody's doing: pytest tests/test_size.py
--accept-sizes takes the new ones, and the difference shows in the commit.
"""

# SPDX-License-Identifier: MIT

import json
import re
import subprocess
from pathlib import Path

import costs
import emulated
import native
import pytest
import stack
from blobs import random_stream
from test_objects import TARGETS, compile_all, sections
from wage_host import auth, data, emulate, firmware, fit
from wage_host._core import ffi, lib
from wage_host.core import info
from wage_host.device import Device
from wage_host.errors import ToolMissing
from wage_host.link import connector

TABLE = Path(__file__).with_name("size.json")
TARGET, BOARD = "cortex-m4", "mps2-an386"
SAMPLES = 20
LIBC_STACK_BYTES = 64  # of memcpy and the compiler's helpers, which the call graph lacks
HOW = "to accept: pytest tests/test_size.py --accept-sizes"


def compiler(target: str) -> str:
    """The cross compiler and its version: other versions give other sizes."""
    gcc = native.need(f"{TARGETS[target][0]}gcc")
    text = subprocess.run([gcc, "--version"], capture_output=True, text=True, check=True).stdout
    return f"{Path(gcc).name} {re.search(r'[)] ([0-9.]+)', text)[1]}"


def manifest(board: str) -> dict:
    """What a board's json says of its build."""
    path = native.ROOT / f"boards/platform/boards/{board}.json"
    return json.loads(path.read_text(encoding="utf-8"))["build"]


def compiler_of(board: str) -> str:
    """compiler() of a board's own target."""
    return compiler(manifest(board)["mcu"])


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
    image = firmware.build(BOARD, firmware.Contents(model))
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


def settle(
    measured: dict[str, int], kind: str, target: str, pytestconfig: pytest.Config, capsys
) -> None:
    """Prints the table, then compares it, or accepts it."""
    tables = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    known, now = tables.get(kind, {}), {"compiler": compiler(target), **measured}
    with capsys.disabled():
        print(f"\n{table(known, measured)}\n{kind}, {now['compiler']}, -Os")
    if pytestconfig.getoption("--accept-sizes"):
        text = json.dumps(tables | {kind: now}, indent=2) + "\n"
        TABLE.write_text(text, encoding="utf-8")
        return
    assert known, f"size.json has no {kind}; {HOW}"
    if now["compiler"] != known["compiler"]:
        native.miss(f"size.json is of {known['compiler']}, this is {now['compiler']}; {HOW}")
    changed = differences(known, now)
    assert not changed, "\n".join([*changed, HOW])


def test_size_of_the_library(tmp_path, pytestconfig, capsys):
    measured = library_sizes(tmp_path)
    assert (measured["runtime .data"], measured["runtime .bss"]) == (0, 0)
    settle(measured, "library", TARGET, pytestconfig, capsys)


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
    settle(measured, "demo", TARGET, pytestconfig, capsys)


def deepest(board: str, build: dict, folder: Path, keyed: bool = False) -> int:
    """Bytes of stack that anything on a board needs at most; those of libc are not counted."""
    parts = "boards/platform/parts"
    include = ("runtime", "firmware/src", parts)
    folders = ("runtime", "firmware/src", f"boards/{board}")
    files = [path for name in folders for path in sorted((native.ROOT / name).glob("*.c"))]
    files += [native.ROOT / parts / name for name in build["parts"]]
    if keyed:
        files.append(native.ROOT / "firmware/src/blake2b/blake2b.c")
    else:
        files.remove(native.ROOT / "firmware/src/auth.c")
    folder.mkdir(exist_ok=True)
    compile_all(files, build["mcu"], folder, include)
    graph = stack.graph(p.read_text(encoding="utf-8") for p in sorted(folder.glob("*.ci")))
    return max(stack.worst(name, *graph) for name in graph[0])


def used(board: str, image: Path, blob: bytes) -> tuple[int, int]:
    """Bytes of stack that the emulated board used: learning, saving, going back; of its port's
    memory, for arena and frames.
    """
    with (
        emulate.running(board, image) as url,
        Device(connector(url, 115200, None), answer_s=60) as device,
    ):
        device.start(1, device.config())
        assert len(list(device.learn(list(random_stream(blob, 1, SAMPLES))))) == SAMPLES
        if device.can_save:
            for generation in (1, 2):
                assert device.save() == generation
            device.request(lib.WAGE_ROLLBACK, lib.WAGE_SAVED, generation=1)
        memory = device.welcome.memory_bytes + fit.frames_bytes(blob)
        return device.stats().stack_bytes, memory


@pytest.mark.parametrize("board", emulate.boards())
def test_size_of_a_board(board, tmp_path, pytestconfig, capsys):
    blob = emulated.small_model(20)
    model = tmp_path / "small.wage"
    model.write_bytes(blob)
    image = emulated.image(board, model)
    build = manifest(board)
    size = sections(image, build["mcu"])
    nm = subprocess.check_output([f"{build['toolchain']}nm", image], text=True)
    ends = [int(re.search(rf"^(\w+) . stack_{end}$", nm, re.M)[1], 16) for end in ("bottom", "top")]
    stack_used, memory = used(board, image, blob)
    measured = {
        "flash beside the model": size["text"] + size["data"] - len(blob),
        "RAM": size["data"] + size["bss"],
        "of it stack": ends[1] - ends[0],
        "memory for arena and frames": memory,
    }
    if build["toolchain"] == "avr-":  # its gcc 5 draws no call graph; the stack is no section
        measured["RAM"] += measured["of it stack"]
        at_most = measured["of it stack"] - LIBC_STACK_BYTES
    else:
        at_most = measured["stack, at most"] = deepest(board, build, tmp_path)
    measured["stack, used"] = stack_used
    if board == "microbit":  # what a key costs, on one
        key = tmp_path / "key"
        auth.make(key)
        keyed = sections(firmware.build(board, firmware.Contents(model, key)), build["mcu"])
        measured["flash with a key"] = keyed["text"] + keyed["data"] - len(blob)
        measured["stack with a key, at most"] = deepest(board, build, tmp_path / "keyed", True)
        assert measured["stack with a key, at most"] + LIBC_STACK_BYTES <= measured["of it stack"]
    assert measured["stack, used"] <= at_most + LIBC_STACK_BYTES
    assert at_most + LIBC_STACK_BYTES <= measured["of it stack"]
    settle(measured, board, build["mcu"], pytestconfig, capsys)
    if pytestconfig.getoption("--accept-sizes"):
        costs.accept("boards", board, costs.of_board(measured))


def test_stack_follows_pointers_and_refuses_recursion():
    node = 'node: {{ title: "{0}" label: "{0}\\n{1}:1:1\\n{2} bytes (static)" }}'
    edge = 'edge: {{ sourcename: "{0}" targetname: "{1}" label: "{2}:3:4" }}'
    text = "\n".join([
        node.format("wage_learn", "step.c", 8), node.format("step.c:one", "step.c", 16),
        node.format("wage_add_forward", "add.c", 100), node.format("wage_other", "add.c", 500),
        edge.format("wage_learn", "step.c:one", "step.c"),
        edge.format("step.c:one", "__indirect_call", "step.c"),
        edge.format("wage_other", "wage_other", "add.c"),
        node.format("wage_save", "store.c", 8), node.format("store.c:store_erase", "store.c", 32),
        edge.format("wage_save", "__indirect_call", "store.c"),
    ])  # fmt: skip
    graph = stack.graph([text])
    assert stack.worst("wage_learn", *graph) == 124
    assert stack.worst("wage_save", *graph) == 40
    with pytest.raises(AssertionError, match="recursion"):
        stack.worst("wage_other", *graph)


def test_a_changed_size_is_told():
    old = {"runtime .text": 100, "a": 1}
    assert differences(old, dict(old)) == []
    assert differences(old, {"runtime .text": 101, "b": 2}) == [
        "runtime .text: 100 -> 101", "a: 1 -> gone", "b: new -> 2",
    ]  # fmt: skip
    assert "+1" in table(old, {"runtime .text": 101})

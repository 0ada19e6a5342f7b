"""The workloads on emulated boards: the same bits as on the host, and what they cost.

Costs are compared with a checked-in table; one that grew by more than 2 % fails. To accept:
pytest tests/test_bench.py --accept-sizes (with -m soak for all boards).
"""

# SPDX-License-Identifier: MIT

import json
from pathlib import Path

import bench
import linked
import native
import pytest
import workloads
from test_size import compiler_of
from wage_host import emulate
from wage_host.core import Core, info
from wage_host.errors import ToolMissing

TABLE = Path(__file__).with_name("bench.json")
PAGE = native.ROOT / "docs/bench.md"
INTRODUCTION = """# What learning costs, board by board

W1 is a net of two dense layers (8x8 inputs, 32 and 10 outputs), W2 one of two convolutions and a
dense layer; each stores its weights in 16 bits, or ternary ones in 8 as in the paper. After a new
digit each learns one it has kept: two steps of training. `make bench` measures the table anew.

"""
ONE_OF_EACH = ("microbit", "mps2-an386", "riscv-virt")  # Armv6-M, Armv7-M, RISC-V
QUICK = (*ONE_OF_EACH, "mega2560", "mps3-an547")  # and 8 bits, and vectors
TERNARY = "microbit"
EMULATED = [board for board, command in emulate.boards().items() if command]
SMALL = [name for name in workloads.NAMES if name.startswith("W1")]
W1_TRAIN_MOST = {"mps2-an386": 51_000, "microbit": 68_000}
RUNTIME_MOST = 10_240  # of W1 on Cortex-M0: learning, replay and checkpoints
OTHERS = ("guard", "inspect", "push")  # the guard; models that leave and come over the link
WITH_ALL_MOST = 12_288  # with these
SERVING_MOST = 4_096


def cell(board: str, name: str, count: int = bench.SAMPLES) -> bench.Cell:
    """The figures; a missing tool skips, unless the tools are promised."""
    try:
        return bench.measured(board, name, count)
    except ToolMissing as error:
        native.miss(f"needs a tool: {error}")


def crc_on_host(name: str) -> int:
    """Of the weights, after as many samples, learned in this process."""
    core = Core(workloads.blob(name))
    core.start(1, core.config())
    list(core.learn(workloads.samples(bench.PARITY_SAMPLES)))
    return core.weight_crc()


def agrees(board: str, name: str, count: int = bench.SAMPLES) -> None:
    """The board has the host's weights after 300 steps, unless the model does not fit it."""
    found = cell(board, name, count)
    if "reason" not in found:
        assert found["crc"] == crc_on_host(name)
    else:
        assert name not in SMALL, found


def settle(board: str, names: list[str], accept: bool) -> None:
    """Compares with the table, or writes it."""
    compiler = compiler_of(board)
    new = {name: cell(board, name) for name in names}
    known = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    old = known.get(board, {})
    if accept:
        known[board] = {"compiler": compiler} | {k: v for k, v in old.items() if k != "compiler"}
        for name, found in new.items():
            known[board][name] = {k: v for k, v in found.items() if k != "crc"}
        known = {name: known[name] for name in sorted(known)}
        TABLE.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        PAGE.write_text(page(known), encoding="utf-8")
        return
    if not old or compiler != old["compiler"]:
        native.miss(f"bench.json has no {board} by {compiler}; to accept: --accept-sizes")
    worse = [f"{name}, {row}" for name in names for row in bench.grown(old[name], new[name])]
    assert not worse, "\n".join([*worse, "to accept: pytest tests/test_bench.py --accept-sizes"])


def page(known: dict[str, dict]) -> str:
    """The table for readers."""
    boards = {
        board: {name: cells[name] for name in workloads.NAMES if name in cells}
        for board, cells in known.items()
    }
    return INTRODUCTION + bench.table(boards)


# all others run a small model in test_boards.py, and this one in the soak
@pytest.mark.parametrize(
    "board",
    [pytest.param(b, marks=() if b in QUICK else pytest.mark.soak) for b in EMULATED],
)
def test_board_learns_the_same(board: str) -> None:
    agrees(board, "W1", bench.SAMPLES if board in ONE_OF_EACH else bench.PARITY_SAMPLES)


@pytest.mark.soak
def test_board_learns_the_same_in_ternary_weights() -> None:
    """The other boards, which take as long: test_all_workloads."""
    agrees(TERNARY, "W1 ternary")


@pytest.mark.parametrize("board", ONE_OF_EACH)
def test_costs_no_more(board: str, pytestconfig: pytest.Config) -> None:
    names = SMALL if board == TERNARY else ["W1"]
    settle(board, names, pytestconfig.getoption("--accept-sizes"))


@pytest.mark.parametrize("board", W1_TRAIN_MOST)
def test_w1_trains_within_its_instructions(board: str) -> None:
    assert cell(board, "W1")["train_instructions"] <= W1_TRAIN_MOST[board]


def test_w1_arena() -> None:
    assert info(workloads.blob("W1")).arena_bytes < 8192
    assert info(workloads.blob("W1 ternary")).arena_bytes < 4096


def test_w1_is_small_code() -> None:
    cell("microbit", "W1")
    sizes = linked.flash(bench.image("microbit", "W1").with_suffix(".map"))
    runtime = linked.runtime_bytes(sizes)
    assert runtime < WITH_ALL_MOST
    assert all(sizes[f"runtime/{name}.o"] for name in OTHERS)
    assert runtime - sum(sizes[f"runtime/{name}.o"] for name in OTHERS) < RUNTIME_MOST
    assert linked.serving_bytes(sizes) < SERVING_MOST
    assert not any(sizes[f"runtime/{name}.o"] for name in ("conv2d", "window", "add", "depthwise"))


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("board", EMULATED)
def test_all_workloads(board: str, pytestconfig: pytest.Config) -> None:
    for name in workloads.NAMES:
        agrees(board, name)
    settle(board, workloads.NAMES, pytestconfig.getoption("--accept-sizes"))


def test_page_shows_the_table_and_all_boards() -> None:
    known = json.loads(TABLE.read_text(encoding="utf-8"))
    assert set(known) == set(EMULATED)
    assert all(set(workloads.NAMES) < set(cells) for cells in known.values())
    assert PAGE.read_text(encoding="utf-8") == page(known)


def test_growth_is_told() -> None:
    old = dict.fromkeys(bench.GATED, 1000)
    assert bench.grown(old, old | {"arena_bytes": 1020, "text_bytes": 900}) == []
    assert bench.grown(old, old | {"stack_bytes": 1021}) == ["stack_bytes: 1000 -> 1021"]
    assert bench.grown({"reason": "a"}, old) == []
    assert bench.grown(old, {"reason": "a"})

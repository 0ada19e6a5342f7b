"""Mistakes planted in the boards' stores and ports: each is found in the emulator.

QEMU does not show all of them: its CFI flash erases without ERASE_CONFIRM, its NVMC is always
ready.
"""

# SPDX-License-Identifier: MIT

import shutil
from pathlib import Path

import emulated
import native
import pytest
import test_boards
import test_boards_store
from wage_host import firmware
from wage_host.errors import BuildFailed, Refused

MISTAKES = {  # board, in its store.c, what stands there instead, what tells
    "page not erased": (
        "microbit", "NVMC_ERASEPAGE = (uint32_t)(uintptr_t)store_start + at;", ";",
        (Refused, "store_io"),
    ),
    "next page erased, too": (
        "microbit", "NVMC_CONFIG = ERASE_ENABLE;",
        "NVMC_CONFIG = ERASE_ENABLE;\n"
        "    NVMC_ERASEPAGE = (uint32_t)(uintptr_t)store_start + at + PAGE_BYTES;",
        (AssertionError, "erased more"),
    ),
    "last word not programmed": (
        "microbit", "for (uint32_t i = 0; i < count", "for (uint32_t i = 0; i < count - WORD_BYTES",
        (Refused, "store_io"),
    ),
    "sector not erased": (
        "riscv-virt", "BUS(at) = ERASE;\n    BUS(at) = ERASE_CONFIRM;",
        "BUS(at) = BOTH(0x70u); // only asks for the status", (Refused, "store_io"),
    ),
    "status read instead of the array": (
        "riscv-virt", "    BUS(at) = READ_ARRAY;\n", "", (Refused, "store_io"),
    ),
}  # fmt: skip


IN_PORTS = {  # board, file, in it, what stands there instead, what tells
    "another board's name": (
        "mps2-an500", "boards/mps2-an500/port.c", '"mps2-an500"', '"mps2-an386"', "mps2-an386",
    ),
    "pins of another address": (
        "mps2-an505", "boards/mps2-an505/port.c", "0x50302000u", "0x50302004u", "phases",
    ),
    "clock that is not started": (
        "mps3-an547", "boards/mps3-an547/port.c", "COUNTER_CONTROL = COUNTER_ENABLE;", ";",
        "clock stands still",
    ),
    "clock of another rate": (
        "netduinoplus2", "boards/netduinoplus2/port.c", "hz / 1000000u - 1", "hz / 500000u - 1",
        "clock is wrong",
    ),
    "pins swapped": (
        "sifive_e", "boards/sifive_e/port.c", "GPIO_OUTPUT = phase;",
        "GPIO_OUTPUT = (uint32_t)phase << 1;", "phases",
    ),
    "store that is not there": (
        "netduinoplus2", "boards/netduinoplus2/store.c", "        return 0;\n    error = begin",
        "        return 1;\n    error = begin", "which store",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, which has one mistake at a time."""
    folder, hidden = tmp_path_factory.mktemp("tree"), shutil.ignore_patterns(".*")
    for name in ("runtime", "firmware", "boards"):
        shutil.copytree(native.ROOT / name, folder / name, ignore=hidden)
    return folder


def planted(board: str, file: str, old: str, new: str, model: Path, tree: Path) -> Path:
    """The image of a board with a mistake in a file of `tree`."""
    good = (tree / file).read_text(encoding="utf-8")
    assert old in good
    (tree / file).write_text(good.replace(old, new), encoding="utf-8")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(firmware, "tree", lambda: tree)
            patch.setenv("WAGE_CACHE", str(tree / "cache"))
            return emulated.image(board, model)
    finally:
        (tree / file).write_text(good, encoding="utf-8")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_found(mistake, tree, tmp_path, tmp_path_factory):
    board, old, new, (error, text) = MISTAKES[mistake]
    model = tmp_path / "small.wage"
    model.write_bytes(emulated.small_model(130))
    image = planted(board, f"boards/{board}/store.c", old, new, model, tree)
    short = Path(tmp_path_factory.mktemp("s"))
    with (
        emulated.Powered(board, image, short) as powered,
        pytest.raises(error, match=text),
    ):
        test_boards_store.test_generations_come_back(powered, model)


@pytest.mark.parametrize("mistake", IN_PORTS)
def test_mistake_in_a_port_is_found(mistake, tree, tmp_path):
    board, file, old, new, text = IN_PORTS[mistake]
    blob, model = emulated.small_model(20), tmp_path / "small.wage"
    model.write_bytes(blob)
    image = planted(board, file, old, new, model, tree)
    said = test_boards.conversation(board, image, blob, tmp_path / "log")
    with pytest.raises(AssertionError, match=text):
        test_boards.check(said, test_boards.learned(blob))


@pytest.mark.parametrize(("board", "kilobytes"), [("sifive_e", 13), ("netduinoplus2", 116)])
def test_more_memory_than_there_is_does_not_link(board, kilobytes, tree, tmp_path):
    model = tmp_path / "small.wage"
    model.write_bytes(emulated.small_model(20))
    old, new = f"({kilobytes}u * 1024u)", f"({kilobytes + 4}u * 1024u)"
    with pytest.raises(BuildFailed, match=r"RAM.* overflowed"):
        planted(board, f"boards/{board}/port.c", old, new, model, tree)

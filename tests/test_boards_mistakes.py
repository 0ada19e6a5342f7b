"""Mistakes planted in the boards' stores: each is found in the emulator.

QEMU does not show all of them: its CFI flash erases without ERASE_CONFIRM, its NVMC is always
ready.
"""

# SPDX-License-Identifier: MIT

import shutil
from pathlib import Path

import emulated
import native
import pytest
import test_boards_store
from wage_host import emulate
from wage_host.errors import Refused

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


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_found(mistake, tmp_path, tmp_path_factory, monkeypatch):
    board, old, new, (error, text) = MISTAKES[mistake]
    hidden = shutil.ignore_patterns(".*")
    for folder in ("runtime", "firmware", "boards"):
        shutil.copytree(native.ROOT / folder, tmp_path / folder, ignore=hidden)
    source = tmp_path / "boards" / board / "store.c"
    good = source.read_text(encoding="utf-8")
    assert old in good
    source.write_text(good.replace(old, new), encoding="utf-8")
    model = tmp_path / "small.wage"
    model.write_bytes(emulated.small_model(130))
    monkeypatch.setattr(emulate, "tree", lambda: tmp_path)
    monkeypatch.setenv("WAGE_CACHE", str(tmp_path / "cache"))
    image, short = emulated.image(board, model), Path(tmp_path_factory.mktemp("s"))
    with (
        emulated.Powered(board, image, short) as powered,
        pytest.raises(error, match=text),
    ):
        test_boards_store.test_generations_come_back(powered, model)

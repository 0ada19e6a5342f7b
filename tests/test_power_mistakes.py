"""Planted mistakes in saving and in the guard: each is seen by the tests of them."""

# SPDX-License-Identifier: MIT

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import life
import native
import pytest
import test_guard
import test_persist
import test_power
import test_slots
from cffi import FFI
from wage_host import build_core
from wage_host._core import ffi, lib

RUNTIME = native.ROOT / "runtime"
CALLS = ("save", "prepare", "restore", "rollback", "forget", "look", "due", "keep")
CALLS += ("guard_put", "guard_count", "guard_room")


def saving() -> None:
    """Cuts in saves into two slots."""
    test_power.test_power_cut_in_every_operation(test_power.save, 256, 4, 2)


def preparing() -> None:
    """Cuts in saves into slots erased ahead."""
    test_power.test_power_cut_in_every_operation(test_power.prepared_save, 128, 16, 3)


def using_up() -> None:
    """Slots erased ahead, once."""
    test_slots.test_a_slot_erased_ahead_is_not_erased_again()


def flipping() -> None:
    """Bits that flip later."""
    test_slots.test_a_bit_that_flips_in_a_slot_costs_that_slot()


def forgetting() -> None:
    """Cuts in forgetting."""
    test_power.test_power_cut_in_every_operation(test_power.forget, 256, 4, 3)


def rolling_back() -> None:
    """What goes back and what stays."""
    test_slots.test_rolling_back_takes_what_was_learned_and_keeps_the_place(2)


def counting() -> None:
    """Slots and wear."""
    test_slots.test_slots_are_taken_in_turn_and_wear_is_counted(3)


def keeping(policy: int = 0, slots: int = 3) -> None:
    """What is saved, and what is gone back from."""
    kept = test_guard.POLICIES[policy]
    test_guard.test_what_is_kept_is_what_the_specification_says(slots, kept, True)


def keeping_improved() -> None:
    """Only what is better."""
    keeping(2)


def keeping_within_a_budget() -> None:
    """No more than so many erasures."""
    keeping(3)


def keeping_with_a_margin() -> None:
    """Some right answers may be lost."""
    keeping(1, 2)


def cutting_the_guard() -> None:
    """Cuts in putting a guard."""
    test_guard.test_power_cut_leaves_a_guard_whole_or_not_at_all()


def damaging_the_guard() -> None:
    """Bits that flip in the guard."""
    test_guard.test_damaged_guard_is_told_and_nothing_is_kept()


def putting_the_guard() -> None:
    """What is no guard."""
    test_guard.test_what_is_no_guard_is_refused()


def resuming() -> None:
    """Cuts in a guarded stream."""
    test_guard.test_after_a_cut_in_keeping_the_same_is_learned("half")


def failing_saves() -> None:
    """A save that fails."""
    test_guard.test_save_that_fails_does_not_raise_the_best()


def weak_bits() -> None:
    """Bits that cannot be programmed."""
    test_persist.test_a_bit_that_cannot_be_programmed_is_noticed()


MISTAKES = {  # file, what is there, what is put there, the test that sees it
    "saves over the newest": (
        "persist.c", "*slot = s;", "*slot = (s + 1) % store->slots;", saving,
    ),
    "the oldest wins": (
        "persist.c", "found.generation >= best->generation",
        "found.generation <= best->generation", saving,
    ),
    "a damaged state is taken": ("persist.c", "error || crc != h[5]", "error", flipping),
    "generations do not count": ("persist.c", "want.generation++;", "", saving),
    "one unit of a slot is erased": (
        "store.c", "!error && at < end; at +=", "!error && at < end; at += 1024 *", saving,
    ),
    "looking loads": ("persist.c", "reading(store, slot, CHECK);\n    wage_walk_state",
                      "reading(store, slot, LOAD);\n    wage_walk_state", counting),
    "what was erased ahead is not used up": (
        "persist.c", "    w->ready = 0;\n", "", using_up,
    ),
    "erases the newest ahead": (
        "persist.c", "w->next = (w->next + 1) % store->slots;", "", preparing,
    ),
    "forgets without a note": (
        "persist.c", "int error = write_next(w, store, what, &kept);",
        "int error = WAGE_OK;\n    kept = store->slots;", forgetting,
    ),
    "erases others before the note": (
        "persist.c", "    int error = write_next(w, store, what, &kept);\n",
        "    int error = WAGE_OK;\n"
        "    for (uint32_t s = 0; s < store->slots; s++)\n"
        "        erase(store, s, 0, slot_bytes(store));\n"
        "    error = write_next(w, store, what, &kept);\n", forgetting,
    ),
    "the place goes back, too": (
        "persist.c", "reading(store, slot, CHECK);\n    wage_walk_place",
        "reading(store, slot, LOAD);\n    wage_walk_place", rolling_back,
    ),
    "the factory keeps velocities": (
        "arena.c", "memset(l->velocity + first, 0, weights", "memset(l->velocity + first, 0, 0u",
        rolling_back,
    ),
    "the factory keeps totals": (
        "arena.c", "    memset(w->class_total, 0, w->classes * sizeof *w->class_total);\n", "",
        rolling_back,
    ),
    "wear is not counted": ("persist.c", "want.wear++;", "", counting),
    "the margin is not minded": (
        "guard.c", "w->best - score > policy->margin", "1", keeping_with_a_margin,
    ),
    "nothing is refused": (
        "guard.c", "int refused = guard.count &&", "int refused = 0 &&", keeping,
    ),
    "goes back to the worst": (
        "guard.c", "found.score > best.score", "found.score < best.score", keeping,
    ),
    "goes back to the slot that is next": (
        "guard.c", "if (s == (kept + 1) % store->slots)", "if (0)", keeping_with_a_margin,
    ),
    "the best does not rise": (
        "guard.c", "if (first || score > w->best)", "if (first)", keeping,
    ),
    "the first score is no measure": (
        "guard.c", "if (first || score > w->best)", "if (score > w->best + 100)", keeping,
    ),
    "saves what is no better": (
        "guard.c", "policy->improved && !better && !refused", "0", keeping_improved,
    ),
    "the budget is not minded": ("guard.c", "if (spent ||", "if (", keeping_within_a_budget),
    "the guard's CRC is not checked": (
        "guard.c", "if (crc != guard.crc)", "if (0)", damaging_the_guard,
    ),
    "the guard's header comes first": (
        "guard.c", "if (!error && id == count)", "if (!error && id == 1)", cutting_the_guard,
    ),
    "half a guard goes on": (
        "guard.c", "(!same || id != w->put + 1)", "!same", putting_the_guard,
    ),
    "refused learning comes back": (
        "guard.c", "error = wage_load_learned(w, store, best.generation);", "error = 0;", keeping,
    ),
    "what is gone back to is not saved": (
        "guard.c", "if (spent || (", "if (refused || spent || (", keeping,
    ),
    "a refusal is not counted": ("guard.c", "w->refused++;", "", keeping),
    "a restored board asks again": (
        "persist.c", "    w->kept = w->last_id;\n    return WAGE_OK;", "    return WAGE_OK;",
        resuming,
    ),
    "a failed save is the best": ("guard.c", "w->best = before;", ";", failing_saves),
    "the state is not read back": ("persist.c", "!error && *crc != k.crc ?", "0 ?", weak_bits),
}  # fmt: skip


def library(folder: Path, file: str, old: str, new: str) -> SimpleNamespace:
    """The runtime with a mistake, in place of lib; its structs are those of lib."""
    text = (RUNTIME / file).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file} has {text.count(old)} times: {old}"
    (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    others = [path for path in RUNTIME.glob("*.c") if path.name != file]
    command = [native.need("gcc"), "-std=c99", "-O1", "-w", "-shared", "-fPIC", f"-I{RUNTIME}"]
    out = folder / "mistaken.so"
    subprocess.run([*command, folder / file, *others, "-o", out], check=True)
    mistaken_ffi = FFI()
    mistaken_ffi.cdef(build_core.declarations())
    mistaken = mistaken_ffi.dlopen(str(out))

    def forward(name: str) -> Callable[..., int]:
        def call(*arguments: object) -> int:
            return getattr(mistaken, name)(*(pointer(a) for a in arguments))

        def pointer(a: object) -> object:
            if isinstance(a, int):
                return a
            return mistaken_ffi.cast("void *", int(ffi.cast("uintptr_t", a)))

        return call

    calls = {f"wage_{name}": forward(f"wage_{name}") for name in CALLS}
    same = {name: getattr(lib, name) for name in dir(lib) if name not in calls}
    return SimpleNamespace(_ffi=mistaken_ffi, **same, **calls)


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_seen(name, tmp_path, monkeypatch):
    *change, seen_by = MISTAKES[name]
    mistaken = library(tmp_path, *change)
    for module in (life, test_guard, test_persist, test_power, test_slots):
        monkeypatch.setattr(module, "lib", mistaken)
    monkeypatch.setattr(test_power, "record", lambda **_counts: None)
    with pytest.raises(AssertionError):
        seen_by()


def test_without_a_mistake_nothing_is_seen(tmp_path, monkeypatch):
    right = library(tmp_path, "persist.c", "want.generation++;", "want.generation += 1;")
    for module in (life, test_guard, test_persist, test_power, test_slots):
        monkeypatch.setattr(module, "lib", right)
    for check in (saving, preparing, forgetting, rolling_back, counting, weak_bits, using_up,
                  flipping, keeping, keeping_improved, keeping_within_a_budget, resuming,
                  keeping_with_a_margin, cutting_the_guard, damaging_the_guard, failing_saves,
                  putting_the_guard):  # fmt: skip
        check()

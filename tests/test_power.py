"""Power fails in every operation: what was acknowledged comes back, whole, and goes on."""

# SPDX-License-Identifier: MIT

import itertools
from collections.abc import Callable, Iterator

import pytest
from life import Life, model, store_for
from nor import MANNERS
from reliability import record
from wage_host._core import lib
from wage_host.core import Core

NO = lib.WAGE_E_NO_CHECKPOINT
IO = lib.WAGE_E_STORE_IO
REST = 4  # samples learned after a cut
GEOMETRIES = [  # erase unit, program unit, slots
    (256, 4, 2),
    (512, 1, 2),
    (32, 32, 3),
    (128, 16, 5),
    (1024, 4, 3),
    (4096, 8, 3),
    (262144, 32, 2),
]

State = tuple[int, int, int]  # what booting gives, generation, state CRC


def cuts(operations: int) -> Iterator[tuple[int, str]]:
    """Every way in which power can fail in so many operations."""
    return itertools.product(range(operations), MANNERS)


def save(life: Life) -> int:
    """A save."""
    return lib.wage_save(life.core.wage, life.nor.store)


def prepared_save(life: Life) -> int:
    """A save into a slot erased before, unit by unit."""
    while (left := lib.wage_prepare(life.core.wage, life.nor.store)) > 0:
        pass
    return left or save(life)


def roll_back(life: Life) -> int:
    """Back to the generation before the last."""
    w = life.core.wage
    return lib.wage_rollback(w, life.nor.store, max(w.generation - 1, 0))


def to_factory(life: Life) -> int:
    """Back to the factory's weights."""
    return lib.wage_rollback(life.core.wage, life.nor.store, 0)


def forget(life: Life) -> int:
    """Everything goes."""
    return lib.wage_forget(life.core.wage, life.nor.store)


def aged(blob: bytes, saves: int, **store: int) -> Life:
    """A model with so many saves behind it."""
    life = Life(blob, store_for(blob, **store))
    for _ in range(saves):
        life.saved()
    return life


class Trial:
    """An action on a store as `life` left it, tried again and again from that start."""

    def __init__(self, action: Callable[[Life], int], life: Life):
        self.action, self.life = action, life
        self.bytes, self.used = bytes(life.nor.bytes), bytes(life.nor.used)
        self.old = self.boot()
        self.until = life.core.wage.last_id + 2 + REST
        assert self.run() == 0
        self.operations = life.nor.operations
        self.new = self.boot()
        self.ends = {self.old: self.end(self.begin), self.new: self.end(self.run)}

    def begin(self) -> None:
        """The store as it was; two samples learned since."""
        self.life.nor.bytes[:], self.life.nor.used[:] = self.bytes, self.used
        self.boot()
        self.life.learn(2)

    def run(self, cut: tuple[int, str] | None = None) -> int:
        """The action, and whether power fails in it."""
        self.begin()
        self.life.nor.power_on(cut)
        result = self.action(self.life)
        assert self.life.nor.broken == []
        return result

    def boot(self) -> State:
        """What is there after power-on."""
        return (self.life.boot(), *self.life.state())

    def end(self, first: Callable[[], object]) -> int:
        """State CRC after booting and learning on to the end of the stream."""
        first()
        self.boot()
        return self.go_on()

    def go_on(self) -> int:
        """The rest of the stream, from wherever the model is; the state CRC then."""
        self.life.learn(self.until - self.life.core.wage.last_id)
        return self.life.core.state_crc()

    def lost(self, cut: tuple[int, str]) -> bool:
        """Whether power that fails there loses or mixes anything."""
        failed = self.run(cut) == IO
        found = self.boot()
        whole = found in (self.old, self.new)
        goes_on = self.go_on() == self.ends.get(found)
        kept = self.life.save() == 0 and self.life.state()
        return not (failed and whole and goes_on and self.boot() == (0, *kept))


def every_cut(trial: Trial) -> int:
    """How many cuts were tried; none loses anything."""
    tried = 0
    for cut in cuts(trial.operations):
        tried += 1
        assert not trial.lost(cut), f"power cut {cut} of {trial.operations} operations"
    assert tried == trial.operations * len(MANNERS)
    print(f"{trial.operations} operations, {tried} cuts")
    return tried


@pytest.mark.parametrize("erase_bytes, unit, slots", GEOMETRIES)
@pytest.mark.parametrize("action", [save, prepared_save, roll_back, to_factory, forget])
def test_power_cut_in_every_operation(action, erase_bytes, unit, slots):
    """From an empty store to one that is full and goes round."""
    for saves in range(slots + 2):
        life = aged(model(60), saves, erase_bytes=erase_bytes, unit=unit, slots=slots)
        record(power_cut_permutations=every_cut(Trial(action, life)), lost_generations=0)


@pytest.mark.parametrize("fill", [0x00, 0xA5])
def test_power_cut_in_the_first_save_into_a_chip_not_erased(fill):
    life = aged(model(), 0, fill=fill)
    record(power_cut_permutations=every_cut(Trial(save, life)), lost_generations=0)


@pytest.mark.parametrize("slots", [2, 3])
def test_every_pair_of_power_cuts(slots):
    """In a save, and in the save after it, with a state of at most 256 bytes."""
    blob = model(0)
    assert lib.wage_checkpoint_bytes(Core(blob).wage) <= 32 + 256
    first = Trial(save, aged(blob, 3, slots=slots))
    for cut in cuts(first.operations):
        first.run(cut)
        second = Trial(save, first.life)
        record(power_cut_permutations=every_cut(second), lost_generations=0)

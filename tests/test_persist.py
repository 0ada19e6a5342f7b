"""Nothing acknowledged is lost: power fails in every operation, every call fails once."""

# SPDX-License-Identifier: MIT

import itertools
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
import reference
from blobs import small_blob
from life import Life, begin, model, store_for
from nor import MANNERS, Nor
from random_models import random_model
from wage_host._core import lib
from wage_host.core import ERROR_NAMES, Core

ERRORS = {"WAGE_E_STORE_SIZE", "WAGE_E_STORE_IO", "WAGE_E_NO_CHECKPOINT"}
UNITS = (1, 2, 4, 8, 16, 32)
ERASES = (32, 256, 512, 1024, 4096)
NO = lib.WAGE_E_NO_CHECKPOINT


def cuts(operations: int) -> Iterator[tuple[int, str]]:
    """Every way in which power can fail in so many operations."""
    return itertools.product(range(operations), MANNERS)


def save_and_cut(life: Life, cut: tuple[int, str]) -> tuple[int, int]:
    """Learns and saves; power fails in it. Returns what would have come back."""
    life.learn(2)
    life.nor.power_on(cut)
    would = (life.core.wage.generation + 1, life.core.state_crc())
    generation = life.core.wage.generation
    assert life.save() == lib.WAGE_E_STORE_IO
    assert life.core.wage.generation == generation
    return would


def test_a_save_erases_then_programs_data_then_the_header():
    life, _ = begin(model(), 1)
    half = len(life.nor.bytes) // 2
    life.nor.power_on()
    life.saved()
    kinds = [kind for kind, _, _ in life.nor.places]
    programmed = [(at, count) for kind, at, count in life.nor.places if kind == "program"]
    assert kinds == sorted(kinds), "erased after something was programmed"
    assert programmed[-1] == (half, 32), "the header was not the last"
    assert min(at for at, _ in programmed[:-1]) == half + 32


def test_generations_count_and_alternate_in_two_slots():
    life, _ = begin(model(), 0)
    half = len(life.nor.bytes) // 2
    for generation in range(1, 21):
        state = life.saved()
        assert state[0] == generation
        both = [struct.unpack_from("<I", life.nor.bytes, at + 8)[0] for at in (0, half)]
        assert both[(generation - 1) % 2] == generation
        if generation % 3 == 0:
            assert life.boot() == 0
            assert life.state() == state


def relabel(nor: Nor, half: int, generation: int) -> None:
    """Gives a half of the store another generation, its header being right again."""
    at = half * len(nor.bytes) // 2
    head = nor.bytes[at : at + 8] + struct.pack("<I", generation) + nor.bytes[at + 12 : at + 28]
    nor.bytes[at : at + 32] = head + struct.pack("<I", zlib.crc32(head))


def test_generations_end_without_losing_one():
    life, state = begin(model(), 2)
    relabel(life.nor, 1, 0xFFFFFFFE)
    assert life.boot() == 0
    assert life.state() == (0xFFFFFFFE, state[1])
    for _ in range(3):
        assert life.save() == lib.WAGE_E_STORE_IO
        assert life.boot() == 0
        assert life.state() == (0xFFFFFFFE, state[1])


def test_another_model_is_refused_and_costs_nothing():
    """Model a is saved, the board flashed with b, b saved, a flashed again."""
    a, b = model(), small_blob(replay_capacity=20, seed=99)
    operations = begin(a, 3)[0].operations()
    for cut in cuts(operations):
        life, old = begin(a, 1)
        other = Life(b, life.nor)
        factory = other.state()
        assert other.boot() == NO and other.state() == factory
        assert other.saved()[0] == 2
        assert life.boot() == 0 and life.state() == old
        new = save_and_cut(life, cut)
        assert life.boot() == 0
        assert life.state() in (old, new), cut


def test_a_model_keeps_what_is_newest_of_another():
    a, b = model(), small_blob(replay_capacity=20, seed=99)
    life, last = begin(a, 3)
    Life(b, life.nor).saved()
    assert life.boot() == 0 and life.state() == last


@pytest.mark.parametrize("kind", ["read", "program", "erase"])
def test_every_call_that_fails_while_saving(kind):
    for number in itertools.count():
        life, old = begin(model(), 2)
        life.learn(2)
        new = (3, life.core.state_crc())
        life.nor.power_on(fail=(kind, number))
        result = life.save()
        if life.nor.calls[kind] <= number:
            break
        assert result == lib.WAGE_E_STORE_IO
        assert (life.core.wage.generation, life.core.state_crc()) == (2, new[1])
        assert life.save() == 0  # it may be tried again
        saved = life.state()
        assert life.boot() == 0 and life.state() == saved and saved[1] == new[1]

        life, old = begin(model(), 2)
        life.learn(2)
        life.nor.power_on(fail=(kind, number))
        life.save()
        assert life.boot() == 0
        assert life.state() in (old, new)
    assert result == 0 and number >= {"read": 10, "program": 8, "erase": 2}[kind]


def test_every_read_that_fails_while_restoring():
    loading = set()
    for number in itertools.count():
        life, last = begin(model(), 2)
        factory = Core(model())
        life.nor.power_on(fail=("read", number))
        life.core = Core(model())
        result = lib.wage_restore(life.core.wage, life.nor.store)
        if life.nor.calls["read"] <= number:
            break
        assert result == lib.WAGE_E_STORE_IO
        assert life.core.wage.generation == 0
        loading.add(life.core.state_crc() != factory.state_crc())
        assert life.boot() == 0 and life.state() == last
    assert result == 0 and loading == {False, True}


@pytest.mark.parametrize("kind, calls", [("read", 10), ("erase", 2)])
def test_every_call_that_fails_while_forgetting(kind, calls):
    for number in range(calls):
        life, last = begin(model(), 2)
        life.nor.power_on(fail=(kind, number))
        assert lib.wage_forget(life.core.wage, life.nor.store) == lib.WAGE_E_STORE_IO
        assert life.core.wage.generation == 2
        assert life.boot() in (0, NO)
        assert life.state() in (last, (0, Core(model()).state_crc()))


def test_a_read_that_lies_once_gives_no_wrong_state():
    results = set()
    for number in itertools.count():
        life, first = begin(model(), 1)
        second = life.saved()
        life.nor.power_on()
        life.nor.flip_read = number
        life.core = Core(model())
        result = lib.wage_restore(life.core.wage, life.nor.store)
        if life.nor.calls["read"] <= number:
            break
        results.add(result)
        assert result == lib.WAGE_E_STORE_IO or life.state() in (first, second)
    assert results == {0, lib.WAGE_E_STORE_IO}


def test_a_bit_that_cannot_be_programmed_is_noticed():
    life, _ = begin(model(), 2)
    for at in range(0, len(life.nor.bytes) // 2):
        life, old = begin(model(), 2)
        program, nor = life.nor.program, life.nor
        stuck = {"any": False}

        def weak(context, start, source, count, at=at, nor=nor, program=program, stuck=stuck):
            result = program(context, start, source, count)
            if start <= at < start + count and nor.bytes[at] != 0xFF:
                nor.bytes[at], stuck["any"] = 0xFF, True
            return result

        nor.program_with(weak)
        life.learn(2)
        nor.power_on()
        result = life.save()
        assert result == (lib.WAGE_E_STORE_IO if stuck["any"] else 0)
        if result and at >= 32:  # among the data: no header is put on top of them
            assert ("program", 0, 32) not in nor.places
        if result:
            assert life.boot() == 0 and life.state() == old


@pytest.mark.parametrize("seed", range(12))
def test_bytes_in_the_store_are_those_of_the_oracle(seed):
    blob = random_model(seed)
    oracle = reference.open_model(blob)
    reference.start(oracle, 1)
    for number, (unit, erase_bytes) in enumerate(itertools.product(UNITS, ERASES), 1):
        life = Life(blob, store_for(blob, erase_bytes, unit))
        if number == 1:
            life.learn(4)
            for n, (x, label) in enumerate(life.samples[:4], 1):
                x = x.astype(np.int64).reshape(oracle.input_shape)
                reference.learn(oracle, n, x, label)
            first = life.core
        life.core = first
        first.wage.generation = 0
        assert life.save() == 0 and life.save() == 0
        half = len(life.nor.bytes) // 2
        for at, generation in ((0, 1), (half, 2)):
            expected = reference.checkpoint(oracle, generation, unit)
            assert life.nor.bytes[at : at + half] == expected.ljust(half, b"\xff")
        assert life.boot() == 0 and life.state() == (2, reference.state_crc(oracle))


@pytest.mark.parametrize("seed", range(20, 28))
def test_restored_model_goes_on_bit_for_bit(seed):
    blob = random_model(seed)
    life = Life(blob, store_for(blob))
    life.learn(10)
    assert life.save() == 0
    life.learn(50)
    uninterrupted, last = life.core.state_crc(), life.core.wage.last_id
    assert life.boot() == 0 and life.core.wage.last_id == 10
    life.learn(50)
    assert (life.core.state_crc(), life.core.wage.last_id) == (uninterrupted, last)


def results(life: Life) -> set[int]:
    """What saving, restoring and forgetting give."""
    functions = (lib.wage_save, lib.wage_restore, lib.wage_forget)
    return {function(life.core.wage, life.nor.store) for function in functions}


def test_a_store_too_small_is_never_touched():
    life, _ = begin(model(), 0)
    half = len(life.nor.bytes) // 2
    assert half - lib.wage_checkpoint_bytes(life.core.wage) < 128
    bad = [(2 * half - 1, 128, 4), (0, 128, 4), (127, 128, 4), (2 * half, 128, 0),
           (2 * half, 128, 3), (2 * half, 128, 64), (2 * half, 0, 4), (2 * half, 96, 4),
           (2 * half, 16, 32)]  # fmt: skip
    for size, erase_bytes, unit in bad:
        store = life.nor.store
        store.bytes, store.erase_bytes, store.program_bytes = size, erase_bytes, unit
        before = life.state()
        assert results(life) == {lib.WAGE_E_STORE_SIZE}, (size, erase_bytes, unit)
        assert life.nor.calls == {"read": 0, "program": 0, "erase": 0}
        assert life.state() == before
    assert life.nor.bytes.count(0xFF) == 2 * half


def test_every_error_of_a_store():
    life, _ = begin(model(), 0)
    reached = {life.boot()}
    life.nor.power_on(fail=("read", 0))
    reached.add(life.save())
    life.nor.store.bytes = 100
    reached |= results(life)
    assert {ERROR_NAMES[error] for error in reached} == ERRORS

"""Slots of a store: in turn, looked at, erased ahead, rolled back to, forgotten, fed."""

# SPDX-License-Identifier: MIT

import struct

import pytest
from blobs import small_blob
from life import Life, begin, model
from wage_host._core import ffi, lib
from wage_host.core import Core

NO = lib.WAGE_E_NO_CHECKPOINT


@pytest.mark.parametrize("slots", [2, 3, 7])
def test_slots_are_taken_in_turn_and_wear_is_counted(slots):
    life, _ = begin(model(), 0, slots=slots)
    size = len(life.nor.bytes) // slots
    states = {}
    for generation in range(1, 3 * slots):
        states[generation] = life.saved()[1]
        assert life.core.wage.wear == generation
        for found in range(max(1, generation - slots + 1), generation + 1):
            slot = (found - 1) % slots
            assert look(life, slot) == (0, found, found, states[found], 1, 0)
            header = life.nor.bytes[slot * size :][:32]
            assert struct.unpack_from("<I", header, 24)[0] == found
            assert life.state() == (generation, states[generation])  # looking changes nothing
    assert len(set(states.values())) == len(states)
    assert look(life, slots)[0] == lib.WAGE_E_STORE_SIZE


def look(life: Life, slot: int) -> tuple[int, ...]:
    """What wage_look returns and tells of a slot."""
    c = ffi.new("struct wage_checkpoint *")
    result = lib.wage_look(life.core.wage, life.nor.store, slot, c)
    return result, c.generation, c.wear, c.crc, c.ours, c.forgotten


def test_a_bit_that_flips_in_a_slot_costs_that_slot():
    life, older = begin(model(), 1, slots=3)
    life.saved()
    size, good = len(life.nor.bytes) // 3, bytes(life.nor.bytes)
    for at in range(size, size + lib.wage_checkpoint_bytes(life.core.wage)):
        life.nor.bytes[:] = good
        life.nor.bytes[at] ^= 1 << at % 8
        assert life.boot() == 0 and life.state() == older


@pytest.mark.parametrize("slots", [2, 3])
def test_forgetting_leaves_one_note_and_nothing_else(slots):
    life, _ = begin(model(), 4, slots=slots)
    assert lib.wage_forget(life.core.wage, life.nor.store) == 0
    assert life.core.wage.generation == 0
    slot, size = 4 % slots, len(life.nor.bytes) // slots
    assert look(life, slot) == (0, 5, 4 + slots, 0, 1, 1)
    blank = bytearray(life.nor.bytes)
    blank[slot * size :][:32] = b""
    assert blank[: slot * size] + blank[slot * size + 32 :] == b"\xff" * (len(blank) - 32)
    assert life.boot() == NO and life.core.wage.generation == 0
    assert life.core.wage.wear == 4 + slots
    assert life.saved()[0] == 6 and life.core.wage.wear == 5 + slots
    assert life.boot() == 0 and life.state()[0] == 6


def place(life: Life) -> tuple:
    """Where learning is: what rolling back must leave alone."""
    w, m = life.core.wage, life.core.wage.metrics
    by_class = [(w.class_seen[c], w.class_correct[c]) for c in range(w.classes)]
    metrics = (m.samples, m.correct, m.skipped, m.steps)
    return (w.stream, w.last_id, w.step, w.sample, w.config.seed, metrics, by_class)


def learned(core: Core) -> tuple:
    """What was learned: what rolling back takes from before."""
    w = core.wage
    replay = bytes(ffi.buffer(w.replay_sample, w.replay_count * w.latent_bytes))
    labels = bytes(ffi.buffer(w.replay_label, w.replay_count))
    state = {name: a.tobytes() for name, a in core.state().items() if name != "step"}
    return state, labels, replay, [w.class_total[c] for c in range(w.classes)]


@pytest.mark.parametrize("momentum", [0, 2])
def test_rolling_back_takes_what_was_learned_and_keeps_the_place(momentum):
    blob = small_blob(replay_capacity=20, replays=2, momentum=momentum)
    life, _ = begin(blob, 0, slots=4)
    then = {0: learned(life.core)}
    for generation in range(1, 4):
        life.saved()
        then[generation] = learned(life.core)
    for generation in (2, 3, 0):  # 4 slots: 1 is gone with the third rolling back
        life.learn(3)
        before, now = place(life), life.core.wage.generation
        assert lib.wage_rollback(life.core.wage, life.nor.store, generation) == 0
        assert learned(life.core) == then[generation] and place(life) == before
        state = life.state()
        assert state[0] == now + 1
        assert life.boot() == 0 and life.state() == state
        assert learned(life.core) == then[generation] and place(life) == before
    for gone in (1, 2, 99):
        state = life.state()
        assert lib.wage_rollback(life.core.wage, life.nor.store, gone) == NO
        assert life.state() == state


def test_rolling_back_to_another_models_or_a_forgotten_one_is_refused():
    blob = model()
    life, _ = begin(blob, 1, slots=4)
    Life(small_blob(replay_capacity=20, seed=99), life.nor).saved()
    assert life.boot() == 0
    assert lib.wage_rollback(life.core.wage, life.nor.store, 2) == NO
    assert lib.wage_forget(life.core.wage, life.nor.store) == 0
    assert lib.wage_rollback(life.core.wage, life.nor.store, 2) == NO


def test_a_slot_erased_ahead_is_not_erased_again():
    life, _ = begin(model(), 2, erase_bytes=32)
    w, store = life.core.wage, life.nor.store
    units = -(-lib.wage_checkpoint_bytes(w) // 32)
    life.nor.power_on()
    assert [lib.wage_prepare(w, store) for _ in range(units + 2)] == [
        *range(units - 1, -1, -1), 0, 0
    ]  # fmt: skip
    assert [kind for kind, _, _ in life.nor.places] == ["erase"] * units
    life.nor.power_on()
    life.saved()
    assert "erase" not in [kind for kind, _, _ in life.nor.places]
    for _ in range(2):  # the other slot, and this one again
        life.nor.power_on()
        life.saved()
        assert [kind for kind, _, _ in life.nor.places].count("erase") == units


def test_half_a_slot_erased_ahead_is_erased_to_its_end():
    life, _ = begin(model(), 2, erase_bytes=32)
    w, store = life.core.wage, life.nor.store
    units = lib.wage_prepare(w, store) + 1
    life.nor.power_on()
    life.saved()
    assert [kind for kind, _, _ in life.nor.places].count("erase") == units - 1
    lib.wage_prepare(life.core.wage, store)
    life.boot()  # nobody knows any more
    life.nor.power_on()
    life.saved()
    assert [kind for kind, _, _ in life.nor.places].count("erase") == units


def test_a_bad_slot_of_three_is_left_out():
    life, _ = begin(model(), 2, slots=3)
    size, program = len(life.nor.bytes) // 3, life.nor.program

    def bad_third(context, at, source, count):
        if at >= 2 * size:
            return lib.WAGE_E_STORE_IO
        return program(context, at, source, count)

    life.nor.program_with(bad_third)
    for generation in range(3, 9):
        life.learn(1)
        assert life.save() == 0 and life.state()[0] == generation
        state = life.state()
        assert life.boot() == 0 and life.state() == state
    life.nor.power_on(fail=("erase", 0))
    assert life.save() == 0  # into the other one


def test_the_watchdog_is_fed_before_each_call():
    life, _ = begin(model(), 2)
    calls = []
    fed = ffi.callback("void(void *)", lambda _context: calls.append(1))
    life.nor.store.busy = fed
    life.nor.power_on()
    life.saved()
    assert len(calls) == sum(life.nor.calls.values())

"""What hardly ever happens: arenas that do not fit, stores that fail or lie while they are read."""

# SPDX-License-Identifier: MIT

import itertools
import struct
import zlib

import blobs
import pytest
import test_guard
from life import Life, model, store_for
from nor import Nor
from wage_host._core import ffi, lib
from wage_host.core import Core

IO = lib.WAGE_E_STORE_IO
PATTERN = 0xA5


# -- arena and blob ----------------------------------------------------------------


def test_an_arena_that_does_not_fit_is_refused_and_stays_as_it_was():
    blob = model()
    needed = lib.wage_arena_bytes(blob, len(blob))
    assert needed == Core(blob).info.arena_bytes
    block = ffi.new("uint64_t[]", [PATTERN] * (needed // 8 + 2))
    arena, before = ffi.cast("uint8_t *", block), bytes(ffi.buffer(block))
    w = ffi.new("wage_t *")
    empty = bytes(ffi.buffer(w))
    for off in range(1, 8):
        assert lib.wage_open(w, blob, len(blob), arena + off, needed) == lib.WAGE_E_ALIGN
    assert lib.wage_open(w, blob, len(blob), arena, needed - 1) == lib.WAGE_E_ARENA
    assert lib.wage_open(w, blob[:-1], len(blob) - 1, arena, needed) == lib.WAGE_E_SHORT
    assert lib.wage_arena_bytes(blob[:-1], len(blob) - 1) == lib.WAGE_E_SHORT
    assert bytes(ffi.buffer(block)) == before and bytes(ffi.buffer(w)) == empty
    assert lib.wage_open(w, blob, len(blob), arena, needed) == 0
    assert block[needed // 8 + 1] == PATTERN


def error_of(blob: bytes) -> int:
    """What the loader says; a copy of just that size, so that nothing lies behind it."""
    return lib.wage_info(ffi.from_buffer(blob), len(blob), ffi.new("struct wage_info *"))


def test_blobs_at_the_edges_are_refused():
    blob = model()
    for count in range(64):
        assert error_of(blob[:count]) == lib.WAGE_E_SHORT
    many = blobs.small_blob(replay_capacity=65535, factory_samples=65535, factory_offset=96 + 24)
    assert error_of(many) == lib.WAGE_E_RANGE  # more samples than the blob has bytes
    wide = [blobs.add(1, 0), blobs.dense(2, flags=1)]
    assert error_of(blobs.make_blob(wide, (512, 512, 1))) == lib.WAGE_E_LIMIT
    assert error_of(blobs.make_blob(wide, (256, 512, 1))) == lib.WAGE_E_SHAPE  # its skip


def test_a_zero_within_a_frame_is_refused():
    message, whole = ffi.new("struct wage_message *"), ffi.new("uint8_t[]", 64)
    sent = ffi.new("struct wage_message *", {"type": 1, "session": 7})
    count = lib.wage_frame_encode(sent, whole, 64) - 1
    for at in range(count):
        frame = ffi.new("uint8_t[]", bytes(ffi.buffer(whole, count)))
        frame[at] = 0
        assert lib.wage_frame_decode(frame, count, message) == lib.WAGE_E_COBS
    assert lib.wage_frame_decode(whole, count, message) == 0 and message.session == 7


# -- checkpoints -------------------------------------------------------------------


def saved(count: int = 3, slots: int = 3) -> Life:
    """A model that has learned and saved some generations."""
    blob = model()
    life = Life(blob, store_for(blob, slots=slots))
    for _ in range(count):
        life.learn(2)
        assert life.save() == 0
    return life


def head(generation: int, state: bytes, crc: int, **other: int) -> bytes:
    """The header of a slot, its CRC being right."""
    words = {"format": 1, "generation": generation, "bytes": len(state), "crc": crc,
             "state": zlib.crc32(state), "wear": 9} | other  # fmt: skip
    packed = b"WCKP" + struct.pack("<6I", *words.values())
    return packed + struct.pack("<I", zlib.crc32(packed))


def test_a_header_that_cannot_be_is_no_checkpoint():
    life = saved()
    best, crc = life.core.wage.generation, life.core.info.crc
    slot_bytes = len(life.nor.bytes) // 3
    for slot in range(3):
        at = slot * slot_bytes
        state = bytes(life.nor.bytes[at + 32 : at + lib.wage_checkpoint_bytes(life.core.wage)])
        kept = bytes(life.nor.bytes)
        for wrong in (
            head(best + 1, state, crc, bytes=slot_bytes - 31),  # goes past its slot
            head(best + 1, state, crc, bytes=0xFFFFFFFF),
            head(0, state, crc),  # no generation
            head(0xFFFFFFFF, state, crc),  # none could follow it
        ):
            life.nor.bytes[at : at + 32] = wrong
            found = ffi.new("struct wage_checkpoint *")
            assert lib.wage_look(life.core.wage, life.nor.store, slot, found) == 0
            assert (found.generation, found.ours) == (0, 0)
            life.nor.bytes[:] = kept


def calls_of(nor: Nor) -> tuple:
    """How often the store was called."""
    return tuple(nor.calls.values())


def test_a_store_that_cannot_be_is_refused_by_all():
    life = saved()
    w, store = life.core.wage, life.nor.store
    found, before = ffi.new("struct wage_checkpoint *"), life.core.state_crc()
    size, set_name = len(life.nor.bytes), ffi.new("uint32_t *")
    for slots, guard_bytes, model_bytes in (
        (0, 0, 0), (1, 0, 0), (3, 2 * size, 0), (3, 1, 0), (3, size, 0), (3, 0, 1),
        (3, 0, size), (3, size, size), (3, 128, size), (3, 0, 2 * size),
    ):  # fmt: skip
        store.slots, store.guard_bytes, store.model_bytes = slots, guard_bytes, model_bytes
        life.nor.power_on()
        x = ffi.new("int8_t[]", life.core.info.input_bytes)
        for result in (
            lib.wage_look(w, store, 0, found), lib.wage_prepare(w, store),
            lib.wage_save(w, store), lib.wage_restore(w, store), lib.wage_forget(w, store),
            lib.wage_rollback(w, store, 1), lib.wage_rollback(w, store, 0),
            lib.wage_guard_count(w, store, set_name),
            lib.wage_guard_put(w, store, 1, 1, 5, x, 0),
            lib.wage_keep(w, store, ffi.new("struct wage_policy *")),
        ):  # fmt: skip
            assert result == lib.WAGE_E_STORE_SIZE, (slots, guard_bytes, model_bytes)
        assert calls_of(life.nor) == (0, 0, 0) and life.core.state_crc() == before


@pytest.mark.parametrize("lies", [False, True])
def test_every_read_that_fails_or_lies_while_rolling_back(lies):
    told = set()
    for number in itertools.count():
        life = saved()
        old = lib.wage_state_crc(life.core.wage)
        life.nor.power_on(fail=None if lies else ("read", number))
        life.nor.flip_read = number if lies else None
        result = lib.wage_rollback(life.core.wage, life.nor.store, 1)
        reads = life.nor.calls["read"]
        life.nor.power_on()
        life.nor.flip_read = None
        if number >= reads:
            break
        told.add(result)
        now = life.state()
        assert life.boot() == 0
        if result == 0:  # another slot was taken, or the newest did not look like one
            assert life.state() == now and now[0] in (3, 4)
        else:
            assert life.core.wage.generation == 3 and life.core.state_crc() == old
    assert number > 50 and told <= {0, IO, lib.WAGE_E_NO_CHECKPOINT} and IO in told


def test_every_call_that_fails_while_erasing_ahead():
    for kind in ("read", "erase"):
        for number in itertools.count():
            life = saved()
            life.nor.power_on(fail=(kind, number))
            results = [lib.wage_prepare(life.core.wage, life.nor.store)]
            while results[-1] > 0:
                results.append(lib.wage_prepare(life.core.wage, life.nor.store))
            if number >= life.nor.calls[kind]:
                break
            assert results[-1] == IO
            life.nor.power_on()
            assert life.boot() == 0 and life.core.wage.generation == 3
            assert life.save() == 0
        assert number > 1 and results[-1] == 0


@pytest.mark.parametrize("word", [2, 6])  # the generation, the wear
def test_a_header_that_reads_back_as_another_is_noticed(word):
    life = saved(1)

    def program(context, at, source, count):
        data = bytes(ffi.buffer(source, count))
        if data[:4] == b"WCKP":
            words = list(struct.unpack("<7I", data[:28]))
            words[word] += 1
            data = struct.pack("<7I", *words)
            data += struct.pack("<I", zlib.crc32(data))
        return life.nor.program(context, at, ffi.from_buffer("uint8_t[]", data), count)

    life.nor.program_with(program)
    assert lib.wage_save(life.core.wage, life.nor.store) == IO


def test_a_slot_that_reads_back_as_a_generation_of_others_is_noticed():
    """Header and state fit each other, and generation and wear are right."""
    life, other = saved(), saved()
    other.learn(1)
    for each in (life, other):
        each.core.wage.ready = 0
    assert lib.wage_save(other.core.wage, other.nor.store) == 0
    programmed = life.nor.program

    def program(context, at, source, count):
        result = programmed(context, at, source, count)
        if bytes(ffi.buffer(source, 4)) == b"WCKP":
            life.nor.bytes[:] = other.nor.bytes
        return result

    life.nor.program_with(program)
    assert lib.wage_save(life.core.wage, life.nor.store) == IO


def test_a_state_of_whole_chunks_comes_back():
    whole = []
    for capacity in range(1, 40):
        life = Life(blob := model(capacity), store_for(blob))
        if lib.wage_checkpoint_bytes(life.core.wage) % 32 == 0:
            whole.append(capacity)
            life.learn(5)
            assert life.save() == 0
            crc = life.core.state_crc()
            assert life.boot() == 0 and life.core.state_crc() == crc
    assert whole


# -- the guard ---------------------------------------------------------------------


def guarded() -> tuple[Core, Nor]:
    """A model that has kept what it learned, and then learned what is wrong."""
    core, nor = Core(test_guard.BLOB), test_guard.store()
    assert test_guard.put_all(core, nor) == 0
    core.start(1, test_guard.CONFIG)
    for samples in (test_guard.easy(5, 40), test_guard.easy(7, 10)):
        list(core.learn(samples))
        assert keep(core, nor, margin=12) == lib.WAGE_SAVED_NOW
    list(core.learn(test_guard.wrong(test_guard.easy(6, 40))))
    return core, nor


def keep(core: Core, nor: Nor, **policy: int) -> int:
    """wage_keep() by a policy that allows no loss."""
    return lib.wage_keep(core.wage, nor.store, ffi.new("struct wage_policy *", policy))


def test_every_call_that_fails_while_going_back_leaves_what_was_kept():
    core, nor = guarded()
    kept, full = lib.wage_checkpoint_bytes(core.wage), bytes(nor.bytes)
    assert kept and keep(core, nor) == lib.WAGE_REFUSED
    results = set()
    for kind in ("read", "program", "erase"):
        for number in itertools.count():
            core, nor = guarded()
            assert bytes(nor.bytes) == full
            nor.power_on(fail=(kind, number))
            result = keep(core, nor)
            if number >= nor.calls[kind]:
                break
            results.add(result)
            nor.power_on()
            again = Core(test_guard.BLOB)
            assert lib.wage_restore(again.wage, nor.store) == 0
            assert again.wage.generation >= 2
            assert test_guard.there(again, nor) == (len(test_guard.GUARD), test_guard.SET)
        assert result == lib.WAGE_REFUSED and number
    assert results == {IO, lib.WAGE_REFUSED}  # a slot that fails is left out for the next one


def test_a_guard_that_is_damaged_is_told():
    core, nor = guarded()
    nor.bytes[len(nor.bytes) - test_guard.GUARD_BYTES + 33] ^= 1
    assert keep(core, nor) == lib.WAGE_E_GUARD


def test_a_header_that_cannot_be_is_no_guard():
    core, nor = guarded()
    at = len(nor.bytes) - test_guard.GUARD_BYTES
    right = list(struct.unpack("<7I", nor.bytes[at : at + 28]))
    room = lib.wage_guard_room(core.wage, nor.store)
    for word, value in ((0, 0), (1, 2), (3, room + 1), (4, 1), (6, right[6] + 4)):
        words = struct.pack("<7I", *right[:word], value, *right[word + 1 :])
        nor.bytes[at : at + 32] = words + struct.pack("<I", zlib.crc32(words))
        assert test_guard.there(core, nor) == (0, 0), word
    words = struct.pack("<7I", *right)
    nor.bytes[at : at + 32] = words + struct.pack("<I", zlib.crc32(words) ^ 1)
    assert test_guard.there(core, nor) == (0, 0)
    nor.bytes[at : at + 32] = words + struct.pack("<I", zlib.crc32(words))
    assert test_guard.there(core, nor) == (len(test_guard.GUARD), test_guard.SET)


@pytest.mark.parametrize("part", ["a record", "the header"])
def test_a_guard_that_does_not_read_back_is_none(part):
    core, nor = Core(test_guard.BLOB), test_guard.store()
    at = len(nor.bytes) - test_guard.GUARD_BYTES

    def program(context, where, source, count):
        data = bytearray(ffi.buffer(source, count))
        if part == "a record" and where == at + 32:
            data[0] ^= 1
        if part == "the header" and where == at:
            data[20] ^= 1  # of the CRC of the records; its own is right
            data[28:] = struct.pack("<I", zlib.crc32(data[:28]))
        return nor.program(context, where, ffi.from_buffer("uint8_t[]", bytes(data)), count)

    nor.program_with(program)
    assert test_guard.put_all(core, nor) == IO


def test_sample_0_of_a_guard_is_refused():
    core, nor = Core(test_guard.BLOB), test_guard.store()
    x = ffi.new("int8_t[]", core.info.input_bytes)
    assert lib.wage_guard_put(core.wage, nor.store, 0, 3, 5, x, 0) == lib.WAGE_E_ORDER
    assert set(nor.bytes) == {0xFF}


def test_a_store_that_fails_is_due_to_be_told():
    core, nor = guarded()
    nor.power_on(fail=("read", 0))
    policy = ffi.new("struct wage_policy *", {"every": core.wage.last_id})
    assert lib.wage_due(core.wage, nor.store, policy) == IO


def test_the_first_score_of_a_guard_is_saved_though_the_budget_is_spent():
    core, nor = Core(test_guard.BLOB), test_guard.store()
    core.start(1, test_guard.CONFIG)
    list(core.learn(test_guard.easy(5, 10)))
    assert keep(core, nor) == lib.WAGE_SAVED_NOW
    assert keep(core, nor, wear_max=1) == lib.WAGE_PASSED
    assert test_guard.put_all(core, nor) == 0
    assert keep(core, nor, wear_max=1) == lib.WAGE_SAVED_NOW
    assert keep(core, nor, wear_max=1) == lib.WAGE_PASSED

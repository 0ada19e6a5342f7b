"""A model sent over the link: it lives in the store, whole or not at all."""

# SPDX-License-Identifier: MIT

import json
import random
import struct
import zlib
from pathlib import Path

import emulated
import pytest
from blobs import dense, make_blob, random_stream, small_blob
from nor import MANNERS, Nor
from test_auth import KEY
from test_cli import refused, run
from test_recover import Meddled
from wage_host import device as device_module
from wage_host import link, sim, wire
from wage_host._core import ffi, lib
from wage_host.core import Core, info
from wage_host.device import Device
from wage_host.errors import ModelError, NoAnswer, Refused

IMAGE = small_blob(replay_capacity=3)
OTHER = emulated.small_model(30)
PART = lib.WAGE_PUSH_PART_BYTES
GUARD, ROOM = 256, 2048  # bytes of the small store below
IO = lib.WAGE_E_STORE_IO


def board_of(folder: Path, **more: object) -> sim.SimBoard:
    """A board that can keep a model."""
    return sim.SimBoard(IMAGE, folder / "store", model_bytes=sim.MODEL_BYTES, **more)


def device_of(board: sim.SimBoard, **more: object) -> Device:
    """The host's end of it."""
    return Device(lambda: link.SimLink(board), **more)


def pushed(device: Device, blob: bytes) -> list[int]:
    """Sends a model; the counts of bytes."""
    counts = list(device.push(blob))
    assert (device.info.crc, device.welcome.pushed) == (info(blob).crc, 1)
    return counts


def learned(device: Device, blob: bytes, count: int) -> int:
    """Learns some samples and saves; the state's CRC, which is the twin's."""
    core, samples = Core(blob), list(random_stream(blob, 3, count))
    core.start(1, core.config())
    list(core.learn(samples))
    device.start(1, core.config())
    assert len(list(device.learn(samples, True))) == count
    assert device.stats().state_crc == core.state_crc()
    return core.state_crc()


def test_pushed_model_learns_saves_and_outlives_a_restart(tmp_path):
    board = board_of(tmp_path)
    with device_of(board) as device:
        assert device.welcome.push_room == sim.MODEL_BYTES - 32 and not device.welcome.pushed
        counts = pushed(device, OTHER)
        assert counts == sorted(counts) and counts[-1] == len(OTHER)
        state = learned(device, OTHER, 20)
    with device_of(board_of(tmp_path)) as device:  # power off and on
        assert (device.info.crc, device.welcome.state_crc) == (info(OTHER).crc, state)
        device.reset(lib.WAGE_FACTORY)
        assert (device.welcome.pushed, device.welcome.last_id) == (1, 0)
        device.drop_pushed()
        assert (device.info.crc, device.welcome.pushed) == (info(IMAGE).crc, 0)
        learned(device, IMAGE, 5)
        device.drop_pushed()  # once more does no harm


def test_checkpoints_of_a_model_count_again_when_it_comes_back(tmp_path):
    with device_of(board_of(tmp_path)) as device:
        state = learned(device, IMAGE, 7)
        pushed(device, OTHER)
        assert device.welcome.generation == 0
        device.drop_pushed()
        assert device.welcome.state_crc == state


def test_a_model_is_replaced_by_a_longer_and_a_shorter_one(tmp_path):
    with device_of(board_of(tmp_path)) as device:
        for blob in (OTHER, emulated.small_model(90), IMAGE, OTHER):
            pushed(device, blob)
        learned(device, OTHER, 5)


def test_with_a_key(tmp_path):
    with device_of(board_of(tmp_path, key=KEY), key=KEY) as device:
        pushed(device, OTHER)
        learned(device, OTHER, 5)


# -- what is refused ----------------------------------------------------------


def ask(device: Device, at: int, size: int, crc: int, tail: bytes) -> object:
    """One PUSH, as it is; the fields of its answer, or the refusal raised."""
    seq = device._send(lib.WAGE_PUSH, tail, at=at, bytes=size, crc=crc)
    m = device._receive(seq, 5)
    assert m.type in (lib.WAGE_NAK, lib.WAGE_PUSHED)
    return m.named()


def test_store_without_room_and_board_without_store(tmp_path):
    small = sim.SimBoard(IMAGE, tmp_path / "store")
    for board, error in ((small, "STORE_SIZE"), (sim.SimBoard(IMAGE), "STORE")):
        with device_of(board) as device:
            assert device.welcome.push_room == 0
            for size in (0, len(OTHER)):
                answer = ask(device, 0, size, 1, OTHER[:PART])
                assert answer.error == -getattr(lib, f"WAGE_E_{error}")
            learned(device, IMAGE, 2) if board is small else None  # nothing happened


def test_parts_that_are_none(tmp_path):
    with device_of(board_of(tmp_path)) as device:
        crc, size = info(OTHER).crc, len(OTHER)
        for at, of, tail in (
            (0, size, b""), (0, size, OTHER[: PART + 1]), (size + 1, size, OTHER[:PART]),
            (size, size, OTHER[:PART]), (0, PART, OTHER[: 2 * PART]),
        ):  # fmt: skip
            assert ask(device, at, of, crc, tail).error == -lib.WAGE_E_LENGTH, (at, of)
        too_large = device.welcome.push_room + 1
        assert ask(device, 0, too_large, crc, OTHER[:PART]).error == -lib.WAGE_E_STORE_SIZE
        learned(device, IMAGE, 2)


def test_parts_out_of_order(tmp_path):
    with device_of(board_of(tmp_path)) as device:
        crc, size = info(OTHER).crc, len(OTHER)
        nak = ask(device, PART, size, crc, OTHER[PART : 2 * PART])
        assert (nak.error, nak.a, nak.b) == (-lib.WAGE_E_ORDER, 0, PART)
        assert ask(device, 0, size, crc, OTHER[:PART]).done == PART
        assert ask(device, 0, size, crc, OTHER[:PART]).done == PART  # again
        for other in ((size, crc + 1), (size + 1, crc)):  # another model
            nak = ask(device, PART, *other, OTHER[PART : 2 * PART])
            assert (nak.error, nak.a) == (-lib.WAGE_E_ORDER, 0)
        nak = ask(device, 2 * PART, size, crc, OTHER[2 * PART : 3 * PART])
        assert (nak.error, nak.a) == (-lib.WAGE_E_ORDER, PART)
        with pytest.raises(Refused, match="the board has no usable model"):
            device.start(1, device.config())
        device.hello()
        with pytest.raises(ModelError, match="give up a push with 'wage-host reset'"):
            device.check_model()
        device.reset(lib.WAGE_RESTART)
        learned(device, IMAGE, 2)


def test_unusable_model_is_refused_and_the_image_s_stays(tmp_path):
    with device_of(board_of(tmp_path, memory_bytes=8192)) as device:
        damaged, large = bytearray(OTHER), emulated.small_model(1000)
        damaged[-1] ^= 1
        wide = make_blob([dense(4, weights=[0] * 36000, flags=1)], (1, 1, 9000))
        for blob, error in (
            (damaged, lib.WAGE_E_CRC), (large, lib.WAGE_E_ARENA), (wide, lib.WAGE_E_ARENA),
        ):  # fmt: skip
            for at in range(0, len(blob), PART):
                answer = ask(device, at, len(blob), 5, bytes(blob[at : at + PART]))
            assert (answer.error, answer.a) == (-lib.WAGE_E_MODEL, -error)
            device.reset(lib.WAGE_RESTART)
            assert (device.info.crc, device.welcome.pushed) == (info(IMAGE).crc, 0)


def test_model_that_rots_in_the_store(tmp_path):
    board = board_of(tmp_path)
    with device_of(board) as device:
        pushed(device, OTHER)
    raw = bytearray((tmp_path / "store").read_bytes())
    at = raw.index(b"WPSH")
    for where, bit in ((at + 32 + 70, 1), (at, 1), (at + 4, 1), (at + 8, 1), (at + 28, 1)):
        damaged = bytearray(raw)
        damaged[where] ^= bit
        (tmp_path / "store").write_bytes(damaged)
        with device_of(board_of(tmp_path)) as device:
            assert (device.info.crc, device.welcome.pushed) == (info(IMAGE).crc, 0)


# -- faults of the link -------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_bad_link(tmp_path, seed, monkeypatch):
    """Requests and answers are lost, damaged and doubled; the board is reset in between."""
    monkeypatch.setattr(device_module, "SAVE_S", 0.01)
    rng, board = random.Random(seed), board_of(tmp_path)

    def meddle(m: wire.Message, frame: bytes) -> bytes:
        what = rng.randrange(12)
        if m.type != lib.WAGE_PUSH or what > 3:
            return frame
        if what == 0:
            return b""
        if what == 1:
            return frame * 2
        if what == 2:
            board.exchange(frame)  # the answer is lost
            return b""
        if rng.randrange(4) == 0:
            board._open()  # power was off
        return frame[:9] + bytes([frame[9] ^ 4 or 1]) + frame[10:]

    with Device(lambda: Meddled(board, meddle), answer_s=0.001, hello_s=0.001) as device:
        pushed(device, OTHER)
        learned(device, OTHER, 5)


def test_a_link_on_which_no_part_arrives_is_given_up(tmp_path):
    board = board_of(tmp_path)

    def lose(m: wire.Message, frame: bytes) -> bytes:
        return b"" if m.type == lib.WAGE_PUSH else frame

    with (
        Device(lambda: Meddled(board, lose), answer_s=0.001, hello_s=0.001) as device,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(device_module, "SAVE_S", 0.001)
        with pytest.raises(NoAnswer, match="faults in a row"):
            list(device.push(OTHER))
        with pytest.raises(NoAnswer, match="faults in a row"):
            device.drop_pushed()
    with device_of(board) as device:
        learned(device, IMAGE, 2)


# -- power cuts ---------------------------------------------------------------


def store_of(erase_bytes: int, unit: int) -> Nor:
    """A store: two slots, room for a model, a guard."""
    nor = Nor(2 * 4096 + ROOM + GUARD, erase_bytes, unit)
    nor.store.guard_bytes, nor.store.model_bytes = GUARD, ROOM
    nor.store.memory = ffi.from_buffer("uint8_t[]", nor.bytes)
    return nor


def put(nor: Nor, blob: bytes, part: int = 4 * PART) -> int:
    """Sends a whole model into a store; the first error."""
    push = ffi.new("struct wage_push *")
    model = ffi.new("struct wage_push *", {"bytes": len(blob), "crc": info(blob).crc})
    for at in range(0, len(blob), part):
        some = blob[at : at + part]
        error = lib.wage_push(push, nor.store, model, at, some, len(some))
        if error:
            return error
    return lib.wage_push_seal(push, nor.store)


def held(nor: Nor) -> bytes:
    """The model that counts."""
    size = lib.wage_pushed(nor.store)
    assert size >= 0
    at = lib.wage_push_place(nor.store)
    return bytes(nor.bytes[at : at + size])


@pytest.mark.parametrize("erase_bytes, unit", [(256, 4), (128, 32), (32, 1), (256, 16)])
def test_power_cut_in_every_operation(erase_bytes, unit):
    """From an empty place, and over another model: the new one whole, or none."""
    nor = store_of(erase_bytes, unit)
    for before, blob in ((b"", OTHER), (OTHER, IMAGE)):
        start, used = bytes(nor.bytes), bytes(nor.used)
        nor.power_on()
        assert put(nor, blob) == 0 and held(nor) == blob
        for number in range(nor.operations):
            for manner in MANNERS:
                nor.bytes[:], nor.used[:] = start, used
                nor.power_on((number, manner))
                assert put(nor, blob) == IO
                nor.power_on()
                assert held(nor) in (before if number == 0 else b"", b"", blob)
                assert put(nor, blob) == 0 and held(nor) == blob  # and again, from the start
        assert set(nor.bytes[: 2 * 4096]) == set(nor.bytes[-GUARD:]) == {0xFF}
    assert nor.broken == []


def test_a_header_that_says_too_much():
    nor = store_of(256, 4)
    at = lib.wage_push_place(nor.store) - 32
    for size, held_bytes in ((ROOM - 31, 0), (ROOM - 32, ROOM - 32)):
        head = struct.pack("<4s2I16x", b"WPSH", 1, size)
        nor.bytes[at : at + 32] = head + struct.pack("<I", zlib.crc32(head))
        assert lib.wage_pushed(nor.store) == held_bytes


def test_a_store_that_is_no_memory():
    nor = store_of(256, 4)
    assert put(nor, OTHER) == 0 and lib.wage_push_room(nor.store) == ROOM - 32
    nor.store.memory = ffi.NULL
    assert lib.wage_push_room(nor.store) == lib.wage_pushed(nor.store) == 0
    assert put(nor, OTHER) == lib.WAGE_E_STORE_SIZE == lib.wage_push_remove(nor.store)


def test_a_failure_begins_anew():
    nor = store_of(256, 4)
    for kind in ("program", "erase"):
        nor.power_on(fail=(kind, 1))
        assert put(nor, OTHER) == IO
    push = ffi.new("struct wage_push *")
    assert lib.wage_push(push, nor.store, push, 0, OTHER, PART) == lib.WAGE_E_STORE_SIZE  # of 0
    assert lib.wage_push_seal(push, nor.store) == lib.WAGE_E_ORDER
    push.bytes, push.done = 64, 32
    assert lib.wage_push_seal(push, nor.store) == lib.WAGE_E_ORDER
    nor.power_on(fail=("read", 0))
    assert lib.wage_pushed(nor.store) == IO
    nor.power_on(fail=("erase", 0))
    assert lib.wage_push_remove(nor.store) == IO


def test_store_that_fails_on_a_board(tmp_path):
    board = board_of(tmp_path)
    with device_of(board) as device:
        failing = ffi.callback("int(void *, uint32_t)", lambda context, at: IO)
        store = lib.sim_store(board._port)
        honest, store.erase = store.erase, failing
        with pytest.raises(Refused, match="store_io"):
            list(device.push(OTHER))
        device.hello()
        assert device.welcome.model_error == -lib.WAGE_E_MODEL
        with pytest.raises(Refused, match="store_io"):
            device.drop_pushed()
        store.erase = honest
        pushed(device, OTHER)
        learned(device, OTHER, 3)


# -- the command --------------------------------------------------------------


def test_command(tmp_path):
    image, other, large = (tmp_path / f"{name}.wage" for name in ("image", "other", "large"))
    image.write_bytes(IMAGE)
    other.write_bytes(OTHER)
    large.write_bytes(emulated.small_model(9000))
    on = ("push", "--port", "sim", "--model", image)
    stored = (*on, "--store", "s")
    done = run(*stored, other, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    crc = f"({info(OTHER).crc:08x})"
    assert done.stdout.strip().splitlines()[-1].endswith(crc)
    for wrong, code, text in (
        ((*stored,), 2, "give the .wage model to push, or --remove"),
        ((*stored, other, "--remove"), 2, "give the .wage model to push, or --remove"),
        ((*stored, large), 11, f"has {large.stat().st_size} bytes and sim room for 131040: "),
        ((*on, other), 16, "sim keeps no models in its store: build its image with the model"),
        ((*stored, tmp_path / "none"), 15, "none"),
    ):
        found = refused(*wrong, cwd=tmp_path)
        assert found[0] == code and text in found[1], found
    done = run(*stored, "--remove", "--json", cwd=tmp_path)
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert answer["ok"] and answer["model_crc"] == f"{info(IMAGE).crc:08x}"

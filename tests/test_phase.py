"""The phases of a board: at its pins, of which the simulated one remembers 16, and in MARKS."""

# SPDX-License-Identifier: MIT

import random
import time
from pathlib import Path

import emulated
import pytest
import test_guard
from blobs import dense, make_blob, random_stream, random_weights, small_blob
from test_auth import KEY
from test_board_faults import Faulty
from wage_host import emulate, firmware, sim, wire
from wage_host._core import ffi, lib
from wage_host.core import Config, Core
from wage_host.device import Device
from wage_host.link import SimLink, connector

IDLE, RECEIVE, FORWARD, BACKWARD, UPDATE, SAVE = range(6)
STEP = [FORWARD, UPDATE]  # of a model with one layer
LEARN = [RECEIVE, *STEP * 3, IDLE]  # a sample and two replayed ones
CONFIG = Config(seed=5, lr_shift=0, replays=2, gain_shift=2, threshold=0)


def phases(board: Faulty, count: int) -> list[int]:
    """The last so many, in order."""
    found = lib.sim_phases(board.board._port)
    return [found >> 4 * n & 15 for n in reversed(range(count))]


def two_layers() -> bytes:
    """Two dense layers that learn."""
    first = dense(4, flags=1, alpha_shift=1)
    last = dense(3, flags=1, alpha_shift=1)
    for layer, shape, seed in ((first, (1, 1, 4), 3), (last, (1, 1, 4), 4)):
        layer["weights"] = random_weights(layer, shape, random.Random(seed))
    return make_blob([first, last], (1, 1, 4))


def test_learning_and_predicting(tmp_path):
    board = Faulty(tmp_path, store=None, phases=True)
    assert board.start() == "ok"
    assert phases(board, 4) == [RECEIVE, IDLE] * 2
    samples = test_guard.easy(5, 3)
    assert set(board.learn(samples[:2])) == {"ok"}
    assert phases(board, 8) == LEARN
    x, label = samples[2]
    assert board.do(lib.WAGE_EVAL, x.tobytes(), id=1, label=label) == "ok"
    assert phases(board, 4) == [IDLE, RECEIVE, FORWARD, IDLE]


def test_what_is_refused_or_known_is_no_work(tmp_path):
    board = Faulty(tmp_path, store=None, phases=True)
    assert board.start() == "ok"
    ((x, label),) = test_guard.easy(5, 1)
    assert board.do(lib.WAGE_SAMPLE, x.tobytes(), id=2, label=label) == "ORDER"
    assert board.do(lib.WAGE_SAVE) == "STORE"
    assert phases(board, 6) == [RECEIVE, IDLE] * 3
    for _ in range(2):
        assert board.do(lib.WAGE_SAMPLE, x.tobytes(), id=1, label=label) == "ok"
    assert phases(board, 4) == [UPDATE, IDLE, RECEIVE, IDLE]


def test_saving_by_itself_and_when_asked(tmp_path):
    board = Faulty(tmp_path, phases=True)
    board.put()
    assert phases(board, 6) == [RECEIVE, SAVE, IDLE] * 2
    assert board.start(every=4) == "ok"
    assert set(board.learn(test_guard.easy(5, 1))) == {"ok"}
    assert phases(board, 3) == [UPDATE, SAVE, IDLE]  # erases ahead
    for request, fields in ((lib.WAGE_SAVE, {}), (lib.WAGE_ROLLBACK, {"generation": 0})):
        assert board.do(request, **fields) == "ok"
        assert phases(board, 3) == [RECEIVE, SAVE, IDLE]
    assert board.do(lib.WAGE_RESET, what=lib.WAGE_FACTORY) == "ok"
    assert phases(board, 3) == [RECEIVE, SAVE, IDLE]


def test_save_that_fails_ends_in_idle(tmp_path):
    board = Faulty(tmp_path, phases=True)
    assert board.start() == "ok"
    fails = ffi.callback(ffi.typeof(board.store.erase), lambda *_: lib.WAGE_E_STORE_IO)
    board.store.erase = fails
    assert board.do(lib.WAGE_SAVE) == "STORE_IO"
    assert phases(board, 3) == [RECEIVE, SAVE, IDLE]


class Heard:
    """What on_marks() was told."""

    def __init__(self) -> None:
        self.all: list[tuple[list[tuple[int, int]], int, int, float]] = []

    def __call__(self, *told: object) -> None:
        self.all.append(told)

    def phases(self) -> list[list[int]]:
        """Of each record."""
        return [[phase for phase, _ in marks] for marks, *_ in self.all]


def listening(board: sim.SimBoard, heard: Heard, **how: object) -> Device:
    """A device that asks for marks from its first HELLO on."""
    return Device(lambda: SimLink(board), on_marks=heard, **how)


@pytest.mark.parametrize("key", [None, KEY], ids=["open", "with a key"])
def test_marks_come_before_each_record(key):
    heard, blob = Heard(), small_blob(replay_capacity=6, replays=2)
    samples = list(random_stream(blob, 1, 5))
    with listening(sim.SimBoard(blob, key=key, phases=True), heard, key=key) as device:
        assert device.welcome.marks == 1
        device.start(1, CONFIG)
        begun = time.monotonic()
        records = list(device.learn(samples))
        list(device.evaluate(samples[:1]))
        ended = time.monotonic()
        twin = Core(blob)
        twin.start(1, CONFIG)
        list(twin.learn(samples))
        assert device.stats().state_crc == twin.state_crc()
    assert len(records) == 5
    assert heard.phases() == [*[LEARN] * 5, [RECEIVE, FORWARD, IDLE]]
    for marks, lost, us, heard_s in heard.all:
        times = [at for _, at in marks]
        assert lost == 0
        assert times == sorted(times) and us - times[-1] < 1_000_000
        assert begun <= heard_s <= ended


def test_errors_below_are_backward():
    heard, blob = Heard(), two_layers()
    with listening(sim.SimBoard(blob, phases=True), heard) as device:
        device.start(1, CONFIG)
        list(device.learn(list(random_stream(blob, 1, 3))))
    assert heard.phases() == [[RECEIVE, FORWARD, BACKWARD, UPDATE, IDLE]] * 3


def test_phases_without_room_are_counted():
    heard, blob = Heard(), small_blob(replay_capacity=6, replays=40)
    config = Config(seed=5, lr_shift=0, replays=40, gain_shift=2, threshold=0)
    with listening(sim.SimBoard(blob, phases=True), heard) as device:
        device.start(1, config)
        list(device.learn(list(random_stream(blob, 1, 8))))
    marks, lost, *_ = heard.all[-1]
    assert len(marks) == lib.WAGE_MARKS_MAX
    assert len(marks) + lost == 2 + 2 * 41


def test_quiet_board_shows_work_as_forward_and_has_no_marks(tmp_path):
    board, heard = Faulty(tmp_path, store=None), Heard()
    assert board.start() == "ok"
    assert set(board.learn(test_guard.easy(5, 1))) == {"ok"}
    assert phases(board, 3) == [IDLE, FORWARD, IDLE]
    with Device(lambda: SimLink(board.board), on_marks=heard) as device:
        assert device.welcome.marks == 0
        assert len(list(device.evaluate(test_guard.easy(5, 1)))) == 1
    assert heard.all == []


def test_stranger_takes_no_marks_away():
    heard, blob = Heard(), small_blob(replay_capacity=6, replays=2)
    board = sim.SimBoard(blob, key=KEY, phases=True)
    with listening(board, heard, key=KEY) as device:
        device.start(1, CONFIG)
        hello = wire.message(lib.WAGE_HELLO, 500, 1, protocol_min=1, protocol_max=1,
                             nonce_a=1, nonce_b=2, marks=0)  # fmt: skip
        board.exchange(wire.encode(hello))
        list(device.learn(list(random_stream(blob, 1, 3))))
    assert len(heard.all) == 3


def test_empty_frame_is_received_and_that_is_all(tmp_path):
    board = Faulty(tmp_path, store=None, phases=True)
    board.board.exchange(b"\0")
    assert phases(board, 2) == [RECEIVE, IDLE]


def test_nobody_who_did_not_ask_gets_marks(tmp_path):
    board = Faulty(tmp_path, store=None, phases=True)
    assert board.start() == "ok"
    assert set(board.learn(test_guard.easy(5, 2))) == {"ok"}  # one answer each, or it would fail


def test_image_that_tells_its_phases(tmp_path: Path, need_emulator: None):
    """On an emulated Cortex-M4, with --phases; the image without has none of it."""
    blob, heard = emulated.small_model(20), Heard()
    model = tmp_path / "small.wage"
    model.write_bytes(blob)
    samples = list(random_stream(blob, 1, 4))
    plain = firmware.build("mps2-an386", firmware.Contents(model))
    image = firmware.build("mps2-an386", firmware.Contents(model, phases=True))
    with (
        emulate.running("mps2-an386", plain) as url,
        Device(connector(url, 115200, None), answer_s=60, on_marks=heard) as device,
    ):
        assert device.welcome.marks == 0
        list(device.evaluate(samples))
        assert heard.all == []
    with emulate.running("mps2-an386", image) as url:
        connect = connector(url, 115200, None)
        with Device(connect, answer_s=60, on_marks=heard) as device:
            assert device.welcome.marks == 1
            device.start(1, device.config())
            list(device.learn(samples))
            twin = Core(blob)
            twin.start(1, device.config())
            list(twin.learn(samples))
            assert device.stats().state_crc == twin.state_crc()
    assert len(heard.all) == 4
    for one in heard.phases():
        assert one == [RECEIVE, *STEP * 3, IDLE]

"""Learning without a host: a board that senses, with a person at its buttons, then a host."""

# SPDX-License-Identifier: MIT

import random
from pathlib import Path

import numpy as np
import pytest
import test_guard
from blobs import dense, make_blob, random_weights
from test_auth import KEY
from test_board_faults import Faulty
from wage_host import fit, sim, wire
from wage_host._core import ffi, lib
from wage_host.core import Core, info
from wage_host.device import Device
from wage_host.errors import NoAnswer, Refused
from wage_host.link import SimLink

BLOB = test_guard.BLOB
SAMPLES = test_guard.easy(5, 40)
OWN = lib.WAGE_FIELD_STREAM


class World:
    """What a simulated board senses, who presses its buttons, what it shows."""

    def __init__(self, every: int = 0):
        self.waiting, self.shown, self.asked = [], [], 0
        self.now, self.pressed = None, True
        kinds = ffi.typeof("struct field")
        self._calls = {
            name: ffi.callback(dict(kinds.fields)[name].type, getattr(self, name))
            for name in ("sense", "label", "show")
        }
        self.field = ffi.new("struct field *", self._calls | {"policy": {"every": every}})

    def sense(self, _port: object, x: object, count: int) -> int:
        self.asked += 1
        if not self.waiting:
            return 0
        self.now = self.waiting.pop(0)
        ffi.memmove(x, np.ascontiguousarray(self.now[0], np.int8), count)
        return 1

    def label(self, _port: object) -> int:
        return self.now[1] if self.pressed else -1

    def show(self, _port: object, record: object) -> None:
        self.shown.append((record.id, record.label, record.prediction))


class Sensing(Faulty):
    """A simulated board with inputs of its own."""

    def __init__(self, folder: Path, world: World, store: str | None = "store", blob=BLOB):
        self.world = world
        super().__init__(folder, blob, store)

    def made(self, *arguments: object) -> sim.SimBoard:
        """With its inputs from the start."""
        board = super().made(*arguments)
        lib.sim_field(board._port, self.world.field)
        board._open()
        return board

    def alone(self, samples: list) -> None:
        """Time passes, and it senses these."""
        self.world.waiting += samples
        while self.world.waiting:
            self.board.exchange(b"")
        self.board.exchange(b"")


def go_away(board: Faulty) -> None:
    """As after a minute without a word."""
    go_away_board(board.board)


def go_away_board(board: sim.SimBoard) -> None:
    """The same, of a board as it is."""
    board.serve.heard = (board.serve.heard - lib.WAGE_FIELD_AWAY_US - 1) & 0xFFFFFFFF


def twin_of(samples: list, stream: int = OWN) -> Core:
    """A core that learned these with the model's own settings."""
    core = Core(BLOB)
    core.start(stream, core.config())
    list(core.learn(samples))
    return core


def test_it_learns_what_buttons_say_and_shows_what_it_took_it_for(tmp_path):
    world = World()
    board = Sensing(tmp_path, world)
    go_away(board)
    board.alone(SAMPLES)
    twin = Core(BLOB)
    twin.start(OWN, twin.config())
    records = list(twin.learn(SAMPLES))
    assert board.board.serve.model.last_id == len(SAMPLES)
    assert lib.wage_state_crc(ffi.addressof(board.board.serve, "model")) == twin.state_crc()
    assert world.shown == [(r.id, r.label, r.prediction) for r in records]


def test_without_a_button_it_only_predicts(tmp_path):
    world = World()
    world.pressed = False
    board = Sensing(tmp_path, world)
    go_away(board)
    board.alone(SAMPLES[:5])
    assert board.board.serve.model.stream == 0
    xs, labels = (np.array(part) for part in zip(*SAMPLES[:5], strict=True))
    known = [int(p) for p in Core(BLOB).predict(xs, labels)["prediction"]]
    assert [prediction for _, _, prediction in world.shown] == known


def test_a_class_that_there_is_not_is_not_learned(tmp_path):
    board = Sensing(tmp_path, World())
    go_away(board)
    board.alone([(SAMPLES[0][0], 3), (SAMPLES[0][0], 255)])
    assert board.board.serve.model.stream == 0


def test_while_a_host_is_there_it_has_the_word(tmp_path):
    world = World()
    board = Sensing(tmp_path, world)
    board.alone(SAMPLES[:3])
    assert (board.board.serve.model.stream, world.shown) == (0, [])
    assert board.start() == "ok"
    assert set(board.learn(SAMPLES[:4])) == {"ok"}
    board.alone(SAMPLES[:3])
    assert board.board.serve.model.last_id == 4
    go_away(board)
    board.alone(SAMPLES[:3])
    assert (board.board.serve.model.stream, board.board.serve.model.last_id) == (OWN, 3)
    x, label = SAMPLES[4]
    assert board.do(lib.WAGE_SAMPLE, x.tobytes(), id=5, label=label) == "STREAM"


def test_a_host_whose_stream_was_left_does_not_begin_it_anew(tmp_path):
    board = Sensing(tmp_path, World())
    go_away(board)
    board.alone(SAMPLES[:2])
    with Device(lambda: SimLink(board.board)) as device:
        device.start(7, device.config())
        assert len(list(device.learn(SAMPLES[:4]))) == 4
        go_away(board)
        board.alone(SAMPLES[:3])
        with pytest.raises(Refused, match="or by itself"):
            list(device.learn(SAMPLES))
    assert (board.board.serve.model.stream, board.board.serve.model.last_id) == (OWN, 3)


def test_it_saves_by_its_policy_and_goes_on_after_power_off(tmp_path):
    board = Sensing(tmp_path, World(every=8))
    go_away(board)
    board.alone(SAMPLES[:20])
    again = Sensing(tmp_path, World(every=8))
    model = again.board.serve.model
    assert (model.stream, model.last_id, model.generation) == (OWN, 16, 2)
    go_away(again)
    again.alone(SAMPLES[16:])
    expected = twin_of(SAMPLES).state_crc()
    assert lib.wage_state_crc(ffi.addressof(again.board.serve, "model")) == expected


def test_save_that_fails_is_made_up_for_by_the_next(tmp_path):
    board = Sensing(tmp_path, World(every=1))
    fails = ffi.callback(ffi.typeof(board.store.program), lambda *_: lib.WAGE_E_STORE_IO)
    board.store.program = fails
    go_away(board)
    board.alone(SAMPLES[:1])
    board.mend()
    model = board.board.serve.model
    assert (model.last_id, model.generation) == (1, 0)
    board.alone(SAMPLES[1:2])
    assert (model.last_id, model.generation) == (2, 1)


def test_teaching_what_it_senses(tmp_path):
    world = World()
    world.pressed = False
    board = Sensing(tmp_path, world)
    world.waiting += SAMPLES[:1]
    with Device(lambda: SimLink(board.board)) as device:
        assert device.welcome.senses == 1
        records = []
        for record in device.teach(2, 4):
            records.append(record)
            world.waiting.append(SAMPLES[record.id])
        assert [(r.id, r.label) for r in records] == [(1, 2), (2, 2), (3, 2), (4, 2)]
        twin = twin_of([(x, 2) for x, _ in SAMPLES[:4]])
        assert device.stats().state_crc == twin.state_crc()
        assert [r.id for r in device.teach(1, 1)] == [5]


def test_teaching_takes_what_was_sensed_last(tmp_path):
    world = World()
    world.pressed = False
    board = Sensing(tmp_path, world)
    board.alone(SAMPLES[:3])
    with Device(lambda: SimLink(board.board)) as device:
        list(device.teach(1, 1))
        assert device.stats().state_crc == twin_of([(SAMPLES[2][0], 1)]).state_crc()


def test_teach_is_refused_with_the_reason(tmp_path):
    world = World()
    board = Sensing(tmp_path, world)
    assert board.do(lib.WAGE_TEACH, id=1, label=3) == "LABEL"
    assert board.do(lib.WAGE_TEACH, id=2, label=0) == "ORDER"
    assert board.do(lib.WAGE_TEACH, id=0, label=0) == "ORDER"
    assert board.do(lib.WAGE_TEACH, id=1, label=0) == "INPUT"
    assert board.board.serve.model.stream == 0
    world.waiting += SAMPLES[:2]
    assert board.do(lib.WAGE_TEACH, id=1, label=0) == "ok"
    answer = board.ask(lib.WAGE_TEACH, board.session, id=1, label=0).named()
    assert (answer.known, board.board.serve.model.last_id) == (1, 1)
    bad = Faulty(tmp_path, store=None)
    assert bad.do(lib.WAGE_TEACH, id=1, label=0) == "TYPE"


def test_board_that_senses_nothing_is_told(tmp_path):
    board = Sensing(tmp_path, World())
    with (
        Device(lambda: SimLink(board.board), answer_s=0.05) as device,
        pytest.raises(NoAnswer, match=r"sensed nothing for 0\.05 s: check its sensor"),
    ):
        list(device.teach(0, 1))


def test_board_without_a_model_senses_nothing(tmp_path):
    world = World()
    board = Sensing(tmp_path, world, blob=BLOB[:-1])
    go_away(board)
    asked = world.asked
    board.board.exchange(b"")
    assert board.board.serve.model_error < 0
    assert world.asked == asked


def test_nothing_is_computed_while_a_frame_is_on_its_way(tmp_path):
    world = World()
    board = Sensing(tmp_path, world)
    go_away(board)
    stats = wire.encode(wire.message(lib.WAGE_STATS, board.session, 5))
    board.board.exchange(stats[:4])
    board.alone(SAMPLES[:2])
    assert world.shown == []
    assert len(wire.Reader().feed(board.board.exchange(stats[4:]))) == 1
    go_away(board)
    board.board.exchange(stats[:4])  # nothing follows: it was noise
    serve = board.board.serve
    serve.byte = (serve.byte - lib.WAGE_FIELD_FRAME_US) & 0xFFFFFFFF
    board.alone(SAMPLES[:2])
    assert len(world.shown) == 2


def test_noise_is_no_host(tmp_path):
    world = World()
    board = Sensing(tmp_path, world)
    go_away(board)
    board.alone(SAMPLES[:1])
    board.board.exchange(b"\x55\0\0")
    board.alone(SAMPLES[1:2])
    assert board.board.serve.model.last_id == 2


def test_after_a_start_in_a_hosts_stream_it_is_waited_for(tmp_path):
    world = World()
    board = Sensing(tmp_path, world)
    assert board.start() == "ok"
    assert set(board.learn(SAMPLES[:3])) == {"ok"}
    assert board.do(lib.WAGE_SAVE) == "ok"
    again = Sensing.__new__(Sensing)
    again.world = world
    again.board = again.made(BLOB, tmp_path / "store", 1 << 14, 1 << 15)
    again.alone(SAMPLES[:2])
    assert (again.board.serve.model.stream, again.board.serve.model.last_id) == (1, 3)
    go_away(again)
    again.alone(SAMPLES[:2])
    assert again.board.serve.model.stream == OWN


def test_own_samples_are_not_learned_over(tmp_path):
    """Nor is it taken for an older state, when it went back and then on by itself."""
    world = World(every=8)
    board = Sensing(tmp_path, world)
    go_away(board)
    board.alone(SAMPLES[:11])
    with Device(lambda: SimLink(board.board)) as device:
        device.start(7, device.config())
        list(device.learn(SAMPLES[:2]))
        board.board._open()  # power fails: it knows 8 of its own
        go_away(board)
        board.alone(SAMPLES[8:10])
        with pytest.raises(Refused, match="or by itself"):
            list(device.learn(SAMPLES))
    assert board.board.serve.model.last_id == 10


def test_teaching_survives_a_restart(tmp_path):
    world = World()
    board = Sensing(tmp_path, world, store=None)
    go_away(board)
    board.alone(SAMPLES[:30])
    world.pressed, taught = False, []
    with Device(lambda: SimLink(board.board)) as device:
        world.waiting.append(SAMPLES[30])
        for record in device.teach(2, 3):
            taught.append(record.id)
            world.waiting.append(SAMPLES[30 + len(taught)])
            if len(taught) == 1:
                board.board._open()
    assert taught == [31, 1, 2]
    assert board.board.serve.model.last_id == 2


@pytest.mark.parametrize("phases", [False, True], ids=["quiet", "tells"])
def test_with_a_key_and_phases(tmp_path, phases):
    world, told = World(), []
    world.pressed = False
    board = sim.SimBoard(BLOB, key=KEY, phases=phases)
    lib.sim_field(board._port, world.field)
    board._open()
    world.waiting.append(SAMPLES[0])
    with Device(
        lambda: SimLink(board), key=KEY, on_marks=lambda marks, *_: told.append(marks)
    ) as device:
        assert (device.welcome.senses, device.welcome.marks) == (1, int(phases))
        assert [r.label for r in device.teach(1, 1)] == [1]
        assert device.stats().state_crc == twin_of([(SAMPLES[0][0], 1)]).state_crc()
    assert len(told) == phases
    hello = wire.message(lib.WAGE_HELLO, 500, 1, protocol_min=1, protocol_max=1,
                         nonce_a=1, nonce_b=2, marks=0)  # fmt: skip
    go_away_board(board)
    board.exchange(b"")
    assert board.serve.away == 1
    board.exchange(wire.encode(hello))  # a stranger's: it is no host
    assert board.serve.away == 1


@pytest.mark.parametrize("phases", [False, True], ids=["quiet", "tells"])
@pytest.mark.parametrize("inputs", [4, 13, 16])
def test_the_plan_knows_the_room_that_it_takes(inputs, phases):
    layer = dense(3, flags=1, alpha_shift=1)
    layer["weights"] = random_weights(layer, (1, 1, inputs), random.Random(3))
    blob, world = make_blob([layer], (1, 1, inputs)), World()
    room = fit.frames_bytes(blob, None, phases, senses=True)
    for missing in (0, 8):
        memory = info(blob).arena_bytes + room - missing
        board = sim.SimBoard(blob, memory_bytes=memory, phases=phases)
        lib.sim_field(board._port, world.field)
        board._open()
        assert board.serve.model_error == (lib.WAGE_E_ARENA if missing else 0)

"""A board whose store fails, whose model is none, whose memory is short: it says so and lives."""

# SPDX-License-Identifier: MIT

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import test_guard
from blobs import patch
from wage_host import sim, wire
from wage_host._core import ffi, lib
from wage_host.core import ERROR_NAMES

CLASSES = 3


class Faulty:
    """A simulated board with a store of which one call fails, and one host's session with it."""

    def __init__(
        self,
        folder: Path,
        blob: bytes = test_guard.BLOB,
        store: str | None = "store",
        phases: bool = False,
    ):
        path = folder / store if store else None
        self.board = self.made(blob, path, 1 << 14, 1 << 15, None, 0, phases)
        self.store = lib.sim_store(self.board._port)
        self.honest = {kind: getattr(self.store, kind) for kind in ("read", "program", "erase")}
        self.hooks: list = []
        self.hello()

    def made(self, *arguments: object) -> sim.SimBoard:
        """The board itself."""
        return sim.SimBoard(*arguments)

    def fail(self, kind: str, number: int) -> dict[str, int]:
        """Call `number` of read, program or erase fails from now on; counts the calls."""
        self.mend()
        calls = {"count": 0}

        def call(*arguments: object) -> int:
            calls["count"] += 1
            failing = calls["count"] == number + 1
            return lib.WAGE_E_STORE_IO if failing else self.honest[kind](*arguments)

        self.hooks.append(ffi.callback(ffi.typeof(self.honest[kind]), call))
        setattr(self.store, kind, self.hooks[-1])
        return calls

    def mend(self) -> None:
        """Nothing fails any more."""
        for kind, function in self.honest.items():
            setattr(self.store, kind, function)

    def ask(self, kind: int, session: int, tail: bytes = b"", **fields: int) -> wire.Message:
        """A request and its answer."""
        names = wire.FIELDS[kind]
        whole = dict.fromkeys(names, 0) | fields
        frame = wire.encode(wire.message(kind, session, 1, tail, **whole))
        (answer,) = wire.Reader().feed(self.board.exchange(frame))
        return answer

    def hello(self, nonce: int = 99) -> wire.Message:
        """Begins a session."""
        low, high = lib.WAGE_PROTOCOL_MIN, lib.WAGE_PROTOCOL_MAX
        fields = {"protocol_min": low, "protocol_max": high}
        answer = self.ask(lib.WAGE_HELLO, nonce, **fields)
        self.session = answer.named().session
        return answer

    def do(self, kind: int, tail: bytes = b"", **fields: int) -> str:
        """A request in the session: the name of what is answered, or of the error."""
        answer = self.ask(kind, self.session, tail, **fields)
        if answer.type != lib.WAGE_NAK:
            return "ok"
        return ERROR_NAMES[-answer.named().error].removeprefix("WAGE_E_")

    def start(self, every: int = 0, stream: int = 1) -> str:
        """Begins a stream that is learned fast."""
        about = {"stream": stream, "seed": 5, "replays": 2, "gain_shift": 2, "lr_factor": 1}
        return self.do(lib.WAGE_START, **about, lr_shift=0, every=every)

    def put(self) -> None:
        """The guard."""
        for number, (x, label) in enumerate(test_guard.GUARD, 1):
            about = {"id": number, "label": label, "set": 7, "count": len(test_guard.GUARD)}
            assert self.do(lib.WAGE_GUARD, x.tobytes(), **about) == "ok"

    def learn(self, samples: list) -> list[str]:
        """The next samples: what is answered to each."""
        answers = []
        for x, label in samples:
            number = self.board.serve.model.last_id + 1
            answers.append(self.do(lib.WAGE_SAMPLE, x.tobytes(), id=number, label=label))
        return answers

    def saved(self) -> tuple[int, int]:
        """Generation and state that the board has after power-on."""
        self.mend()
        self.board._open()
        self.hello()
        model = self.board.serve.model
        return model.generation, lib.wage_state_crc(ffi.addressof(model))


@pytest.fixture
def new(tmp_path: Path) -> Callable[..., Faulty]:
    """A new board each time."""
    numbers = itertools.count()

    def make(blob: bytes = test_guard.BLOB, store: bool = True) -> Faulty:
        return Faulty(tmp_path, blob, f"store-{next(numbers)}" if store else None)

    return make


# -- stores ------------------------------------------------------------------------


def kept(new: Callable[..., Faulty]) -> Faulty:
    """A board with a guard and two generations: learned well, and learned better."""
    board = new()
    board.put()
    assert board.start() == "ok"
    for seed in (5, 7):
        assert set(board.learn(test_guard.easy(seed, 40))) == {"ok"}
        assert board.do(lib.WAGE_SAVE) == "ok"
    return board


@pytest.mark.parametrize("kind", ["read", "program", "erase"])
@pytest.mark.parametrize("request_", [lib.WAGE_SAVE, lib.WAGE_ROLLBACK, lib.WAGE_RESET])
def test_every_call_of_the_store_that_fails_in_a_request(new, kind, request_):
    told, number = set(), -1
    while True:
        number += 1 + max(0, number - 40) // 8  # reading goes chunk by chunk
        board = kept(new)
        assert board.learn(test_guard.wrong(test_guard.easy(9, 5)))[-1] == "ok"
        calls = board.fail(kind, number)
        fields = {lib.WAGE_ROLLBACK: {"generation": 1}, lib.WAGE_RESET: {"what": lib.WAGE_FACTORY}}
        answer = board.do(request_, **fields.get(request_, {}))
        told.add(answer)
        if calls["count"] <= number:
            break
        generation, _ = board.saved()
        if request_ == lib.WAGE_RESET:  # all of it, or what was
            assert generation in ((0,) if answer == "ok" else (0, 2))
        else:
            assert generation in ((3,) if answer == "ok" else (2, 3))
    assert told <= {"ok", "STORE_IO"} and "ok" in told
    assert "STORE_IO" in told or kind != "read"


def test_a_board_that_half_went_back_begins_anew(new):
    board = kept(new)
    generation, state = board.saved()
    reads = board.fail("read", 1 << 30)
    assert board.do(lib.WAGE_ROLLBACK, generation=1) == "ok"
    restarts = 0
    for number in range(reads["count"]):
        board = kept(new)
        assert board.saved() == (generation, state)
        board.fail("read", number)
        if board.do(lib.WAGE_ROLLBACK, generation=1) == "STORE_IO":
            now = board.board.serve
            restarts += now.session == 0  # as after power-on
            crc = lib.wage_state_crc(ffi.addressof(now.model))
            assert now.session or crc == state
    assert restarts


@pytest.mark.parametrize(("every", "wrong"), [(1, 20), (50, 45)])
def test_a_guard_that_goes_back_into_a_store_that_fails(new, every, wrong):
    """While the board goes back by itself, and when it is asked to save."""
    told, restarts, number = set(), 0, -1
    while True:
        number += 1 + max(0, number) // 8  # reading goes chunk by chunk
        board = kept(new)
        assert board.start(every) == "ok"
        assert set(board.learn(test_guard.easy(7, every))) == {"ok"}  # to compare with
        calls = board.fail("read", number)
        answers = board.learn(test_guard.wrong(test_guard.easy(6, wrong)))
        answers.append(board.do(lib.WAGE_SAVE))
        told |= set(answers)
        restarts += board.board.serve.session == 0  # as after power-on
        assert board.board.serve.model.refused or calls["count"] > number
        if calls["count"] <= number:
            break
        assert board.saved()[0] >= 2
    assert told <= {"ok", "STORE_IO", "SESSION"} and "STORE_IO" in told
    assert restarts


def test_a_start_whose_policy_cannot_ask_the_store(new):
    board = kept(new)
    assert board.saved()[0] == 2
    board.put()
    board.fail("read", 0)
    assert board.start(every=1, stream=2) == "STORE_IO"


def test_two_slots_are_not_erased_ahead(new):
    board = new()
    board.store.slots = 2
    assert board.start(every=8) == "ok"
    erased = board.fail("erase", 1 << 30)
    for number, x in enumerate(test_guard.easy(5, 32), 1):
        before = erased["count"]
        assert board.learn([x]) == ["ok"]
        assert (erased["count"] > before) == (number % 8 == 0), number
    assert board.board.serve.model.generation == 4


def test_a_store_that_cannot_be_read_at_power_on_leaves_the_factory(new):
    factory = new().saved()
    board = kept(new)
    reads = board.fail("read", 1 << 30)
    board.board._open()
    for number in range(reads["count"]):
        board.fail("read", number)
        board.board._open()
        serve = board.board.serve
        assert (serve.store_error, serve.model_error) == (lib.WAGE_E_STORE_IO, 0)
        crc = lib.wage_state_crc(ffi.addressof(serve.model))
        assert (serve.model.generation, crc) == factory
    assert reads["count"] > 20 and board.saved()[0] == 2


# -- models, memory, sessions ------------------------------------------------------


def test_a_board_without_a_model_is_reset_but_forgets_nothing(new):
    board = new(test_guard.BLOB[:-1])
    assert board.do(lib.WAGE_STATS) == "MODEL"
    assert board.do(lib.WAGE_RESET, what=lib.WAGE_FACTORY) == "MODEL"
    assert board.do(lib.WAGE_RESET, what=lib.WAGE_RESTART) == "ok"
    bare = new(test_guard.BLOB[:-1], store=False)
    assert bare.do(lib.WAGE_RESET, what=lib.WAGE_FACTORY) == "ok"


def test_a_board_without_memory_for_a_frame_does_not_open():
    blob = test_guard.BLOB
    needed = next(n for n in itertools.count() if opens(blob, n))
    assert not opens(blob, needed - 1)
    assert sim.SimBoard(blob, None, needed).serve.model_error == lib.WAGE_E_ARENA


def opens(blob: bytes, memory_bytes: int) -> bool:
    """Whether a board with so much memory can talk."""
    port = ffi.gc(lib.sim_open(blob, len(blob), memory_bytes, ffi.NULL, 0), lib.sim_close)
    result = lib.serve_open(ffi.new("struct serve *"), port)
    assert result in (0, lib.WAGE_E_ARENA)
    return result == 0


def test_a_session_is_never_0_nor_the_last_one(new):
    board = new()
    numbers = ((1, 0, 2), (65535, 0, 1), (65535, 65535, 1), (7, 7, 8), (7, 9, 9), (8, 65535, 65535))
    for nonce, (last, drawn, expected) in enumerate(numbers, 1000):
        board.board.serve.session = last
        lib.sim_random(board.board._port, drawn << 16, 0)
        board.hello(nonce)
        assert board.session == expected, (last, drawn)


def test_the_longest_name_of_a_model_is_told_whole(new):
    name = b"fifteen letters"
    board = new(patch(test_guard.BLOB, 44, name))
    assert board.hello(nonce=3).tail == b"sim\0" + name

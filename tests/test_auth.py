"""Boards with a key: nothing that is forged, changed, copied or turned round does anything."""

# SPDX-License-Identifier: MIT

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_link import BLOB, CONFIG, STREAMS, Clock
from test_link_faults import with_mistake
from wage_host import auth, sim, wire
from wage_host._core import ffi, lib
from wage_host.core import Core
from wage_host.device import Device
from wage_host.errors import KeyWanted, WageError

KEY = bytes(range(7, 39))
SAMPLES = STREAMS[11]
RUNS, ENOUGH = 150, 60  # attacked streams; those in which a planted mistake must be seen


# -- the arithmetic --------------------------------------------------------------


def session_of(key: bytes, host: tuple[int, int], board: tuple[int, int]):
    """The struct auth_session that C makes of a key and nonces."""
    session = ffi.new("struct auth_session *", {"host": host, "board": board})
    lib.auth_begin(key, session)
    return session


def test_c_computes_the_blake2b_of_another_author(seed):
    rng, out = random.Random(seed), ffi.new("uint8_t[8]")
    for count in [*range(300), 1000, 4096]:
        key, body = rng.randbytes(32), rng.randbytes(count)
        words = [rng.getrandbits(32) for _ in range(4)]
        session = session_of(key, tuple(words[:2]), tuple(words[2:]))
        expected = auth.session_key(key, tuple(words[:2]), tuple(words[2:]))
        assert bytes(ffi.buffer(session.key)) == expected
        lib.auth_tag_body(session, lib.AUTH_HOST, body, count, out)
        data = bytes([lib.AUTH_HOST]) + body
        assert bytes(out) == hashlib.blake2b(data, key=expected, digest_size=8).digest()
        fields, tail = words[: count % 5], rng.randbytes(count % 200)
        m = wire.Message(count % 128, words[0] & 0xFFFF, words[1] & 0xFFFF, tuple(fields), tail)
        message, held = ffi.new("struct wage_message *"), ffi.from_buffer("uint8_t[]", tail)
        message.type, message.session, message.seq = m.type, m.session, m.seq
        message.fields, message.field = len(fields), fields
        message.tail, message.tail_bytes = held, len(tail)
        lib.auth_tag_message(session, lib.AUTH_BOARD, message, out)
        assert bytes(out) == auth.tag(expected, lib.AUTH_BOARD, m)


def test_each_part_of_a_tag_counts():
    session, m = bytes(range(32)), wire.Message(3, 5, 6, (1, 2), b"tail")
    tags = {auth.tag(session, lib.AUTH_HOST, m), auth.tag(session, lib.AUTH_BOARD, m)}
    tags.add(auth.tag(bytes(32), lib.AUTH_HOST, m))
    for change in ({"type": 4}, {"session": 6}, {"seq": 7}, {"fields": (1, 3)}, {"tail": b"tale"}):
        tags.add(auth.tag(session, lib.AUTH_HOST, wire.Message(**{**vars(m), **change})))
    assert len(tags) == 8
    nonces = ((1, 2), (3, 4)), ((3, 4), (1, 2)), ((1, 2), (3, 5))
    keys = {auth.session_key(KEY, *each) for each in nonces}
    assert len(keys) == 3


# -- a man in the middle -----------------------------------------------------------


def states() -> dict[int, int]:
    """State CRC by samples learned of the stream; 0 also before it began."""
    core = Core(BLOB)
    found = {core.state_crc(): 0}
    core.start(11, CONFIG)
    found[core.state_crc()] = 0
    for k, sample in enumerate(SAMPLES, 1):
        list(core.learn([sample]))
        found[core.state_crc()] = k
    return found


STATES = states()


class Harm(AssertionError):
    """Somebody without the key got something done."""


class Middle:
    """A link with somebody on it who sees, keeps, changes and sends what he likes, but no key.

    Frames that he made have right CRCs. `sent`: samples that the host has sent so far.
    """

    def __init__(self, board: sim.SimBoard, rng: random.Random, rate: float):
        self.board, self.rng, self.rate = board, rng, rate
        self.clock, self.waiting = Clock(), b""
        self.kept: list[wire.Message] = []
        self.sent, self.calls = 0, 0

    # what Device wants of a link

    def write(self, data: bytes) -> None:
        self.calls += 1
        if self.calls > 20_000:
            raise Harm("the host goes on for ever")
        frames = list(wire.Reader(4096).feed(data))
        for m in frames:
            if m.type == lib.WAGE_SAMPLE:
                self.sent = max(self.sent, m.named().id)
            self.kept.append(m)
            for each in self.meddle(m):
                self.to_board(each)
        if not frames:
            self.pass_on(self.board.exchange(data))

    def read(self, timeout_s: float) -> bytes:
        if not self.waiting:
            self.clock.sleep(timeout_s)
        data, self.waiting = self.waiting, b""
        return data

    def close(self) -> None:
        self.waiting = b""

    # what he does

    def to_board(self, m: wire.Message) -> None:
        answer = self.board.exchange(wire.encode(m))
        self.check()
        self.pass_on(answer)

    def pass_on(self, answer: bytes) -> None:
        for m in wire.Reader(4096).feed(answer):
            self.kept.append(m)
            for each in self.meddle(m):
                self.waiting += b"\0" + wire.encode(each)

    def check(self) -> None:
        """The board has learned the host's samples, in order, and no others."""
        w = self.board.serve.model
        known = STATES.get(sim.lib.wage_state_crc(sim.ffi.addressof(w)))
        if known is None or known > self.sent:
            raise Harm(f"not a state of the host's stream ({known} of {self.sent})")
        if self.board.serve.model.generation:
            raise Harm("nobody has asked for a save")

    def meddle(self, m: wire.Message) -> Iterator[wire.Message]:
        """What goes on of a frame."""
        rng = self.rng
        if rng.random() > self.rate:
            yield m
            return
        what = rng.randrange(8)
        if what == 0:
            yield self.changed(m)
        elif what == 1:
            yield m
            yield rng.choice(self.kept)  # a copy, or the other side's
        elif what == 2:
            yield rng.choice(self.kept)
        elif what == 3:
            yield self.forged(m)
            yield m
        elif what == 4:
            yield m
            yield self.forged(m)
        elif what == 5:  # a stranger
            yield wire.Message(lib.WAGE_HELLO, rng.randrange(1, 1 << 16), 1, (1, 1, 5, 6))
            yield m
        elif what == 6:
            yield wire.Message(m.type, m.session, m.seq, m.fields, m.tail[:-8])
        # else it is gone

    def changed(self, m: wire.Message) -> wire.Message:
        """One bit of it."""
        body = bytearray(wire.body(m))
        body[self.rng.randrange(2, len(body))] ^= 1 << self.rng.randrange(8)
        fields = m.fields and tuple(
            int.from_bytes(body[6 + 4 * k : 10 + 4 * k], "little") for k in range(len(m.fields))
        )
        session, seq = (int.from_bytes(body[k : k + 2], "little") for k in (2, 4))
        return wire.Message(m.type, session, seq, fields, bytes(body[6 + 4 * len(m.fields) :]))

    def forged(self, m: wire.Message) -> wire.Message:
        """What he would like to have done."""
        rng, seq = self.rng, (m.seq + self.rng.randrange(3)) & 0xFFFF
        last_id = self.board.serve.model.last_id
        x = rng.randbytes(len(SAMPLES[0][0]))
        kind, fields, tail = rng.choice((
            (lib.WAGE_SAMPLE, (last_id + 1, 0), x), (lib.WAGE_SAVE, (), b""),
            (lib.WAGE_RESET, (lib.WAGE_FACTORY,), b""), (lib.WAGE_ROLLBACK, (0,), b""),
            (lib.WAGE_START, (99, 1, 0, 1, 2, 0, 1, 0, 0, 0, 0), b""),
            (lib.WAGE_RECORD, (last_id + 1, 0, 0, 0, 0, 0, 0, 0, 0, 0), b""),
            (lib.WAGE_STARTED, (last_id,), b""),
        ))  # fmt: skip
        return wire.Message(kind, m.session, seq, fields, tail + rng.randbytes(8))


def attacked(number: int, folder: Path) -> int:
    """One stream with somebody on the line; returns how many samples were learned."""
    rng = random.Random(number)
    (folder / "store").unlink(missing_ok=True)
    board = sim.SimBoard(BLOB, folder / "store", key=KEY)
    middle = Middle(board, rng, rng.choice((0.02, 0.1, 0.4)))
    try:
        with Device(lambda: middle, clock=middle.clock, key=KEY) as device:
            device.start(11, CONFIG)
            ids = [record.id for record in device.learn(SAMPLES)]
            if device.stats().last_id != len(SAMPLES) or ids != sorted(ids):
                raise Harm("the host believes what is not so")
    except WageError:
        pass  # whoever has the line can cut it, and say that he is a board of another kind
    middle.check()
    return board.serve.model.last_id


def test_man_in_the_middle_gets_nothing_done(tmp_path, seed):
    learned = [attacked(seed * 1000 + number, tmp_path) for number in range(RUNS)]
    assert max(learned) == len(SAMPLES) and min(learned) < len(SAMPLES)
    assert sum(learned) > RUNS * len(SAMPLES) // 4


def test_stranger_ends_nobodys_session():
    board = sim.SimBoard(BLOB, key=KEY)
    middle = Middle(board, random.Random(1), 0)
    with Device(lambda: middle, clock=middle.clock, key=KEY) as device:
        device.start(11, CONFIG)
        device.welcome.window, faults = 1, []
        device.on_event = lambda what, text, **_: faults.append(text)
        for record in device.learn(SAMPLES):
            board.exchange(wire.encode(wire.Message(lib.WAGE_HELLO, 500 + record.id, 1, (1, 1))))
        assert faults == [] and device.stats().last_id == len(SAMPLES)


def test_hello_with_another_nonce_is_another_session():
    board, seen = sim.SimBoard(BLOB, key=KEY), set()
    for host in ((1, 2), (1, 2), (3, 2), (3, 4)):
        fields = {"nonce_a": host[0], "nonce_b": host[1], "marks": 0}
        limits = {"protocol_min": lib.WAGE_PROTOCOL_MIN, "protocol_max": lib.WAGE_PROTOCOL_MAX}
        hello = wire.message(lib.WAGE_HELLO, 500, 1, b"", **limits, **fields)
        (answer,) = wire.Reader().feed(board.exchange(wire.encode(hello)))
        seen.add(answer.named().session)
    assert len(seen) == 3


def test_no_session_is_none():
    board = sim.SimBoard(BLOB, key=KEY)
    sealed = wire.Message(lib.WAGE_STATS, 0, 1, (), bytes(8))
    (answer,) = wire.Reader().feed(board.exchange(wire.encode(sealed)))
    assert answer.type == lib.WAGE_NAK and -answer.named().error == lib.WAGE_E_SESSION


def test_numbers_of_a_session_are_not_used_twice():
    board = sim.SimBoard(BLOB, key=KEY)
    middle = Middle(board, random.Random(1), 0)
    with Device(lambda: middle, clock=middle.clock, key=KEY) as device:
        before = device.welcome.session
        device._seq = 0xFFFF
        assert device.stats().last_id == 0  # in a new session
        assert device.welcome.session != before


# -- planted mistakes ----------------------------------------------------------------

MISTAKES = {
    "the tag is not checked": ("firmware/src/keyed.c", (("    if (differ)\n", "    if (0)\n"),)),
    "frames without a tag are taken": (
        "firmware/src/keyed.c",
        (("    if (m->tail_bytes < AUTH_TAG_BYTES || m->seq <= a->seq)\n"
          "        return WAGE_E_AUTH;\n",
          "    if (m->tail_bytes < AUTH_TAG_BYTES) {\n"
          "        s->seal = a;\n        return WAGE_OK;\n    }\n"),),
    ),
    "copies are taken": ("firmware/src/keyed.c", (("|| m->seq <= a->seq", ""),)),
    "a stranger ends the session": (
        "firmware/src/keyed.c",
        (("    s->seal = a;\n}",
          "    memset(&s->auth_state->now, 0, sizeof *a);\n    s->seal = a;\n}"),),
    ),
    "one byte of the tag is enough": (
        "firmware/src/keyed.c", (("i < AUTH_TAG_BYTES; i++) // all", "i < 0; i++) // all"),),
    ),
    "both sides have the same tags": (
        "firmware/src/auth.c", (("put(hash, side, 1);", "put(hash, side * 0, 1);"),),
    ),
    "sessions have the same key": (
        "firmware/src/auth.c", (("put(&hash, session->board[i], 4);", "(void)i;"),),
    ),
}  # fmt: skip
SEEN_BY_THE_OTHER_SIDE = ("both sides have the same tags", "sessions have the same key")


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_seen(name, tmp_path, monkeypatch):
    mistaken_ffi, mistaken = with_mistake(*MISTAKES[name], tmp_path)
    monkeypatch.setattr(sim, "ffi", mistaken_ffi)
    monkeypatch.setattr(sim, "lib", mistaken)
    if name in SEEN_BY_THE_OTHER_SIDE:  # Python's tags are another author's
        with pytest.raises(KeyWanted):
            Device(lambda: Middle(sim.SimBoard(BLOB, key=KEY), random.Random(1), 0), key=KEY)
        return
    with pytest.raises(AssertionError):
        for number in range(ENOUGH):
            attacked(number, tmp_path)
        test_stranger_ends_nobodys_session()
        copies_are_answered()


def copies_are_answered() -> None:
    """A request that is sent again, as it was, is refused."""
    board = sim.SimBoard(BLOB, key=KEY)
    middle = Middle(board, random.Random(1), 0)
    with Device(lambda: middle, clock=middle.clock, key=KEY) as device:
        device.stats()
        request = next(m for m in middle.kept if m.type == lib.WAGE_STATS)
        (answer,) = wire.Reader(4096).feed(board.exchange(wire.encode(request)))
        assert answer.type == lib.WAGE_NAK
        assert answer.named().error == -lib.WAGE_E_AUTH


def test_copies_are_refused():
    copies_are_answered()

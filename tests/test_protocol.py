"""How the wire grows: older and newer peers, fields that one side does not know."""

# SPDX-License-Identifier: MIT

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cobs import cobs
from wage_host import link, sim, wire
from wage_host._core import lib
from wage_host.core import Config, Core
from wage_host.device import Device
from wage_host.errors import ProtocolMismatch

CONFIG = Config(seed=1, lr_shift=-4, replays=1, gain_shift=2, threshold=0, lr_factor=3)
Change = Callable[[wire.Message], wire.Message]


def same(m: wire.Message) -> wire.Message:
    """No change."""
    return m


class ChangedLink(link.SimLink):
    """A link on which every message is changed: a peer of another version."""

    def __init__(self, board: sim.SimBoard, host: Change = same, peer: Change = same):
        super().__init__(board)
        self._host, self._peer = host, peer
        self._from_host, self._from_peer = wire.Reader(), wire.Reader()

    def write(self, data: bytes) -> None:
        for m in self._from_host.feed(data):
            super().write(wire.encode(self._host(m)))

    def read(self, timeout_s: float) -> bytes:
        messages = self._from_peer.feed(super().read(timeout_s))
        return b"".join(wire.encode(self._peer(m)) for m in messages)


def appended(m: wire.Message) -> wire.Message:
    """What a newer version would send: more fields behind the known ones."""
    return wire.Message(m.type, m.session, m.seq, (*m.fields, 0xDEAD, 0xBEEF), m.tail)


def cut(kept: int) -> Change:
    """What an older version would send: a WELCOME of `kept` fields."""

    def change(m: wire.Message) -> wire.Message:
        fields = m.fields[:kept] if m.type == lib.WAGE_WELCOME else m.fields
        return wire.Message(m.type, m.session, m.seq, fields, m.tail)

    return change


@pytest.fixture
def board(demo_blob: Path) -> sim.SimBoard:
    """A board with the demo's model."""
    return sim.SimBoard(demo_blob.read_bytes())


def learn_one(device: Device) -> int:
    """The board's state CRC after one sample."""
    device.start(9, CONFIG)
    assert [r.id for r in device.learn([(np.ones(64, np.int8), 3)])] == [1]
    return device.stats().state_crc


@pytest.fixture
def expected(demo_blob: Path) -> int:
    """What it must be."""
    core = Core(demo_blob.read_bytes())
    core.start(9, CONFIG)
    list(core.learn([(np.ones(64, np.int8), 3)]))
    return core.state_crc()


@pytest.mark.parametrize("host", [(1, 1), (0, 1), (1, 7), (0, 99)])
@pytest.mark.parametrize("peer", [(1, 1), (1, 9), (0, 3)])
def test_ranges_that_meet_agree(
    host: tuple, peer: tuple, board: sim.SimBoard, expected: int
) -> None:
    board.serve.protocol_min, board.serve.protocol_max = peer
    with Device(lambda: link.SimLink(board), protocol=host) as device:
        assert device.welcome.protocol == min(host[1], peer[1])
        assert (device.welcome.protocol_min, device.welcome.protocol_max) == peer
        assert learn_one(device) == expected


@pytest.mark.parametrize(
    "host, peer, older",
    [
        ((2, 3), (1, 1), "the board's firmware"),
        ((1, 1), (2, 9), "wage-host"),
        ((0, 0), (1, 1), "wage-host"),
    ],
)
def test_ranges_that_do_not_meet_say_who_is_older(
    host: tuple, peer: tuple, older: str, board: sim.SimBoard
) -> None:
    board.serve.protocol_min, board.serve.protocol_max = peer
    with pytest.raises(ProtocolMismatch) as caught:
        Device(lambda: link.SimLink(board), protocol=host)
    assert str(caught.value) == (
        f"the board speaks protocol {peer[0]} to {peer[1]}, this host {host[0]} to {host[1]}: "
        f"update {older}"
    )
    assert caught.value.exit_code == 6


def test_newer_peer_appends_fields(board: sim.SimBoard, expected: int) -> None:
    with Device(lambda: ChangedLink(board, peer=appended)) as device:
        assert (device.board, device.info.name) == ("sim", "digits")
        assert learn_one(device) == expected


def test_newer_host_appends_fields(board: sim.SimBoard, expected: int) -> None:
    with Device(lambda: ChangedLink(board, host=appended)) as device:
        assert learn_one(device) == expected


def test_older_peer_lacks_fields(board: sim.SimBoard, expected: int) -> None:
    kept = wire.FIELDS[lib.WAGE_WELCOME].index("state_crc")
    with Device(lambda: ChangedLink(board, peer=cut(kept))) as device:
        assert device.welcome.state_crc == 0
        assert device.info.name == "digits"  # the tail is found all the same
        assert learn_one(device) == expected


def test_unknown_request_is_refused_by_name(board: sim.SimBoard) -> None:
    def ask(m: wire.Message) -> wire.Message:
        return next(a for a in wire.Reader().feed(board.exchange(wire.encode(m))))

    hello = wire.Message(lib.WAGE_HELLO, 5, 1, (1, 1))
    assert ask(hello).type == lib.WAGE_WELCOME
    answer = ask(wire.Message(60, 5, 2))
    assert answer.type == lib.WAGE_NAK
    assert (-answer.named().error, answer.named().a) == (lib.WAGE_E_TYPE, 60)


def test_first_fields_of_hello_never_move() -> None:
    """Every later version must be able to find the ranges of every earlier one."""
    assert wire.FIELDS[lib.WAGE_HELLO][:2] == ["protocol_min", "protocol_max"]
    assert wire.FIELDS[lib.WAGE_WELCOME][:3] == ["protocol_min", "protocol_max", "protocol"]
    assert (lib.WAGE_HELLO, lib.WAGE_WELCOME, lib.WAGE_NAK) == (1, 65, 127)
    frame = wire.encode(wire.Message(lib.WAGE_HELLO, 0x1234, 7, (1, 2)))
    body = struct.pack("<BBHHII", 1, 2, 0x1234, 7, 1, 2)
    assert frame == cobs.encode(body + struct.pack("<I", zlib.crc32(body))) + b"\0"

"""What the host does after a fault, one fault at a time; link_faults.py mixes them."""

# SPDX-License-Identifier: MIT

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_link import BLOB, CONFIG, STREAMS, Clock
from link_faults import DEADLINE_S
from wage_host import data, demo, link, sim, stream, wire
from wage_host import device as device_module
from wage_host._core import lib
from wage_host.core import Core, Policy
from wage_host.device import FAULTS_MAX, Device
from wage_host.errors import NoAnswer, PortBusy, Refused
from wage_host.log import Log

SAMPLES = STREAMS[11]
COUNT = len(SAMPLES)
Meddle = Callable[[wire.Message, bytes], bytes]


class Meddled(link.SimLink):
    """A link on which `meddle(request, frame)` says what arrives of each request."""

    def __init__(self, board: sim.SimBoard, meddle: Meddle):
        super().__init__(board)
        self._meddle, self._reader = meddle, wire.Reader()

    def write(self, data: bytes) -> None:
        for m in self._reader.feed(data):
            data = self._meddle(m, data)
        super().write(data)


def twin_crc(count: int = COUNT) -> int:
    """The state after so many samples."""
    core = Core(BLOB)
    core.start(11, CONFIG)
    list(core.learn(SAMPLES[:count]))
    return core.state_crc()


def board_of(folder: Path) -> sim.SimBoard:
    """A board with a store."""
    return sim.SimBoard(BLOB, folder / "store")


def learned(board: sim.SimBoard, count: int) -> None:
    """Teaches it the first samples; nothing is saved."""
    with Device(lambda: link.SimLink(board)) as device:
        device.start(11, CONFIG)
        assert len(list(device.learn(SAMPLES[:count]))) == count


@pytest.mark.parametrize("heard", [b"", b"noise\0"])
def test_deadline_is_kept_to_the_second(heard: bytes) -> None:
    clock, opened = Clock(), []

    class Deaf:
        def write(self, data: bytes) -> None:
            pass

        def read(self, timeout_s: float) -> bytes:
            clock.sleep(timeout_s)
            return heard

        def close(self) -> None:
            pass

    def connect() -> Deaf:
        opened.append(clock.now)
        return Deaf()

    with pytest.raises(NoAnswer, match="no board answers there"):
        Device(connect, clock=clock)
    assert clock.now == pytest.approx(DEADLINE_S)
    # noise is no reason to open again, which may reset the board and make more noise
    assert opened == pytest.approx([0.0] if heard else [0.0, 15.0])


def test_save_whose_answer_is_lost_is_asked_for_again(tmp_path: Path) -> None:
    board, events, dropped = board_of(tmp_path), [], []

    class Deaf(link.SimLink):
        def read(self, timeout_s: float) -> bytes:
            out = super().read(timeout_s)
            if not dropped and any(m.type == lib.WAGE_SAVED for m in wire.Reader().feed(out)):
                dropped.append(out)
                raise link.LinkLost("the cable was pulled")
            return out

    with Device(lambda: Deaf(board)) as device:
        device.on_event = lambda what, text, **_: events.append((what, text))
        device.start(11, CONFIG)
        assert len(list(device.learn(SAMPLES, True))) == COUNT
    assert dropped and [text for what, text in events if what == "save"] == ["checkpoint 2"]


def test_save_that_nobody_confirms_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_module, "SAVE_S", 0.01)

    board = board_of(tmp_path)

    def lose(m: wire.Message, frame: bytes) -> bytes:
        return b"" if m.type == lib.WAGE_SAVE else frame

    with Device(lambda: Meddled(board, lose), answer_s=0.01) as device:
        device.start(11, CONFIG)
        with pytest.raises(NoAnswer, match=f"{FAULTS_MAX} faults in a row"):
            list(device.learn(SAMPLES, True))
        with pytest.raises(NoAnswer, match=f"{FAULTS_MAX} faults in a row"):
            device.save()


def test_late_copy_of_a_save_is_not_taken_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy comes in the middle of an interval, and the next SAVE is lost."""
    monkeypatch.setattr(device_module, "SAVE_S", 0.01)
    board, saves = board_of(tmp_path), []

    def meddle(m: wire.Message, frame: bytes) -> bytes:
        if m.type == lib.WAGE_SAMPLE and m.named().id == 12:
            return saves[0] + frame
        if m.type == lib.WAGE_SAVE:
            saves.append(frame)
            return b"" if len(saves) == 2 else frame
        return frame

    with Device(lambda: Meddled(board, meddle), answer_s=0.01) as device:
        device.start(11, CONFIG)
        list(device.learn(SAMPLES[:8], True))
        list(device.learn(SAMPLES, True))
        device.reset(lib.WAGE_RESTART)
        assert device.welcome.last_id == COUNT
        assert device.stats().state_crc == twin_crc()


def test_what_an_earlier_host_learned_is_saved_too(tmp_path: Path) -> None:
    board = board_of(tmp_path)
    learned(board, 7)
    with Device(lambda: link.SimLink(board)) as device:
        device.start(11, CONFIG)
        assert list(device.learn(SAMPLES[:7], True)) == []
        device.reset(lib.WAGE_RESTART)
        assert device.welcome.last_id == 7


def test_stream_shorter_than_what_the_board_knows(tmp_path: Path) -> None:
    board = board_of(tmp_path)
    learned(board, 7)
    with Device(lambda: link.SimLink(board)) as device:
        assert device.start(11, CONFIG) == 7
        assert list(device.learn(SAMPLES[:3], True)) == []
        assert device.stats().generation == 1


def test_stream_of_another_host_is_not_begun_upon() -> None:
    """Both have a stream; the first one meets a broken cable and not the other's session."""
    board, pulled = sim.SimBoard(BLOB), []

    class Cable(link.SimLink):
        def read(self, timeout_s: float) -> bytes:
            if pulled and pulled.pop():
                raise link.LinkLost("the cable was pulled")
            return super().read(timeout_s)

    with Device(lambda: Cable(board)) as first:
        first.start(11, CONFIG)
        list(first.learn(SAMPLES))
        with Device(lambda: link.SimLink(board)) as second:
            second.start(12, CONFIG)
            list(second.learn(STREAMS[12]))
            after = second.stats().state_crc
        pulled.append(True)
        with pytest.raises(Refused, match="the board has learned something else meanwhile"):
            first.stats()
    with Device(lambda: link.SimLink(board)) as third:
        assert third.welcome.state_crc == after


def test_host_that_lost_the_session_says_so() -> None:
    board = sim.SimBoard(BLOB)
    with Device(lambda: link.SimLink(board)) as first:
        Device(lambda: link.SimLink(board)).close()
        with pytest.raises(PortBusy, match="another host has taken over the board"):
            first.stats()


def test_late_copy_of_a_hello_does_not_bring_its_session_back() -> None:
    """Nor what was sent in it: a late SAMPLE with the very id that comes next."""
    board = sim.SimBoard(BLOB)

    def ask(kind: int, session: int, tail: bytes = b"", **fields: int) -> wire.Message:
        frame = wire.encode(wire.message(kind, session, 1, tail, **fields))
        return list(wire.Reader(4096).feed(board.exchange(frame)))[-1]

    def hello(nonce: int) -> int:
        words = {"protocol_min": 1, "protocol_max": 1, "nonce_a": 0, "nonce_b": 0, "marks": 0}
        return ask(lib.WAGE_HELLO, nonce, **words).named().session

    def sample(session: int) -> int:
        x, label = SAMPLES[0]
        m = ask(lib.WAGE_SAMPLE, session, x.tobytes(), id=1, label=label)
        return m.named().error if m.type == lib.WAGE_NAK else 0

    settings = {**dataclasses.asdict(CONFIG), **dataclasses.asdict(Policy())}
    first, second = hello(5), hello(6)
    assert ask(lib.WAGE_START, second, stream=12, **settings).type == lib.WAGE_STARTED
    late = hello(5)
    assert len({first, second, late}) == 3
    assert hello(5) == late  # asked twice: nobody's session ends
    assert sample(first) == sample(second) == -lib.WAGE_E_SESSION
    assert sample(late) == -lib.WAGE_E_STREAM  # nothing was begun in this one
    assert ask(lib.WAGE_START, late, stream=12, **settings).type == lib.WAGE_STARTED
    assert sample(late) == 0


def test_board_that_restarts_for_ever_is_given_up() -> None:
    board = sim.SimBoard(BLOB)

    def meddle(m: wire.Message, frame: bytes) -> bytes:
        if m.type == lib.WAGE_SAMPLE and m.named().id == 8:
            board._open()
        return frame

    with Device(lambda: Meddled(board, meddle)) as device:
        device.start(11, CONFIG)
        with pytest.raises(NoAnswer, match="has not come past sample 7: check its power supply"):
            list(device.learn(SAMPLES))


def test_reset_before_the_last_save_loses_nothing(
    demo_files: demo.Files, demo_blob: Path, tmp_path: Path
) -> None:
    """All was answered, nothing saved: the host learns it with the board once more."""
    blob, resets = demo_blob.read_bytes(), []
    board = sim.SimBoard(blob, tmp_path / "store")

    def meddle(m: wire.Message, frame: bytes) -> bytes:
        if m.type == lib.WAGE_SAVE and not resets:
            resets.append(board._open())
        return frame

    file = data.load(demo_files.stream)
    with Device(lambda: Meddled(board, meddle)) as device, Log(tmp_path / "log") as log:
        plan = stream.Plan(file, None, device.config(), 1, blob=blob)
        done = stream.conduct(device, log, plan, "test", lambda what, count, records: records)
    assert resets and done.summary["samples"] == len(file)
    assert done.summary["proved"] and done.summary["generation"] == 1


def test_reset_of_a_board_without_store_is_told(
    demo_files: demo.Files, demo_blob: Path, tmp_path: Path
) -> None:
    board, resets = sim.SimBoard(demo_blob.read_bytes()), []

    def meddle(m: wire.Message, frame: bytes) -> bytes:
        if m.type == lib.WAGE_STATS and not resets:
            resets.append(board._open())
        return frame

    file = data.load(demo_files.stream)
    with Device(lambda: Meddled(board, meddle)) as device, Log(tmp_path / "log") as log:
        plan = stream.Plan(file, None, device.config(), 1)
        with pytest.raises(NoAnswer, match="lost what it had not saved; then go on with --resume"):
            stream.conduct(device, log, plan, "test", lambda what, count, records: records)

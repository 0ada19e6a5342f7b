"""The host's end of the link: what it waits for, what it never does twice."""

# SPDX-License-Identifier: MIT

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from wage_host import data, demo, link, network, options, sim, stream, train, wire
from wage_host._core import lib
from wage_host.core import Config, Core, Record, Sample
from wage_host.device import Device
from wage_host.errors import Interrupted, NoAnswer, OtherModel, PortNotFound
from wage_host.log import Log

CONFIG = Config(seed=3, lr_shift=-4, replays=1, gain_shift=2, threshold=0)


class SlowLink(link.SimLink):
    """A link whose answers to one type of request come late, or never."""

    def __init__(self, board: sim.SimBoard, kind: int, late_s: float):
        super().__init__(board)
        self._kind, self._late_s = kind, late_s
        self._reader, self._held = wire.Reader(), []
        self.opened = 0

    def write(self, frame: bytes) -> None:
        asked = [m.type for m in self._reader.feed(frame)]
        answer = self._board.exchange(frame)
        if self._kind in asked:
            self._held.append((time.monotonic() + self._late_s, answer))
        else:
            self._waiting += answer

    def read(self, timeout_s: float) -> bytes:
        now = time.monotonic()
        self._waiting += b"".join(answer for due, answer in self._held if due <= now)
        self._held = [(due, answer) for due, answer in self._held if due > now]
        return super().read(timeout_s)


def slow(board: sim.SimBoard, kind: int, late_s: float) -> Callable[[], link.Link]:
    """Opens one link, which counts how often it was opened."""
    one = SlowLink(board, kind, late_s)

    def connect() -> link.Link:
        one.opened += 1
        return one

    connect.link = one
    return connect


@pytest.fixture
def samples(demo_files: demo.Files, demo_blob: Path) -> list[Sample]:
    """Twenty new digits."""
    return data.samples(data.load(demo_files.stream), Core(demo_blob.read_bytes()).info)[:20]


def test_slow_hello_is_waited_for_without_opening_again(demo_blob: Path) -> None:
    """Opening resets some boards: a bootloader must get its time."""
    connect = slow(sim.SimBoard(demo_blob.read_bytes()), lib.WAGE_HELLO, 0.12)
    with Device(connect, deadline_s=5.0, hello_s=0.02) as device:
        assert device.info.name == "digits"
    assert connect.link.opened == 1


def test_only_board_that_answers_is_found(
    demo_blob: Path, monkeypatch: pytest.MonkeyPatch, served: Callable[..., str]
) -> None:
    """--port auto: of the serial ports, the one with a board behind it."""
    name = served(sim.serve_pty, sim.SimBoard(demo_blob.read_bytes()))
    ours, theirs = os.openpty()
    monkeypatch.setattr(link, "ports", lambda: [os.ttyname(theirs), name, "/dev/none"])
    assert options.only_board(115200, None) == name
    monkeypatch.setattr(link, "ports", lambda: [name, name])
    with pytest.raises(PortNotFound, match="several boards answer: choose one"):
        options.only_board(115200, None)
    os.close(ours)


def test_another_board_behind_the_cable_is_not_taught(
    demo_blob: Path, samples: list[Sample]
) -> None:
    net = network.parse("8x8x1 10FC", 3)
    other = sim.SimBoard(train.convert(net, "other", CONFIG, 1, 0, []))
    boards = [sim.SimBoard(demo_blob.read_bytes()), other]
    with Device(lambda: link.SimLink(boards.pop(0))) as device:
        device.start(1, CONFIG)
        learning = device.learn(samples * 5)  # more than the window
        next(learning)

        def broken(data: bytes) -> None:
            raise link.LinkLost("the cable was pulled")

        device._link.write = broken
        with pytest.raises(OtherModel, match="another board or model answers now"):
            list(learning)
    assert other.serve.model.last_id == 0


def test_silent_board_is_given_up(demo_blob: Path) -> None:
    connect = slow(sim.SimBoard(demo_blob.read_bytes()), lib.WAGE_HELLO, 99.0)
    begun = time.monotonic()
    with pytest.raises(NoAnswer, match="no board answers there"):
        Device(connect, deadline_s=0.5, hello_s=0.02)
    assert time.monotonic() - begun < 5


def test_board_slower_than_the_patience_still_learns(
    demo_blob: Path, samples: list[Sample]
) -> None:
    connect = slow(sim.SimBoard(demo_blob.read_bytes()), lib.WAGE_SAMPLE, 99.0)
    twin = Core(demo_blob.read_bytes())
    twin.start(1, CONFIG)
    list(twin.learn(samples * 2))
    with Device(connect, answer_s=0.02, hello_s=0.02) as device:
        device.start(1, CONFIG)
        assert list(device.learn(samples * 2)) == []  # not one answer came
        assert device.stats().state_crc == twin.state_crc()


def test_lost_answers_are_told_not_counted_away(
    demo_files: demo.Files, demo_blob: Path, tmp_path: Path
) -> None:
    connect = slow(sim.SimBoard(demo_blob.read_bytes()), lib.WAGE_SAMPLE, 99.0)
    file = data.load(demo_files.stream)
    with Device(connect, answer_s=0.02, hello_s=0.02) as device, Log(tmp_path / "log") as log:
        plan = stream.Plan(file, None, CONFIG, 1)
        done = stream.conduct(device, log, plan, "test", lambda what, count, records: records)
        assert done.summary["samples"] == len(file)
        events = [event["text"] for event in log.events(done.run) if event["what"] == "lost"]
    assert events == [f"{len(file)} samples were learned whose answers the link lost"]


def test_interrupt_before_learning_saves_nothing(
    demo_files: demo.Files, demo_blob: Path, tmp_path: Path
) -> None:
    board = sim.SimBoard(demo_blob.read_bytes(), tmp_path / "store")
    file = data.load(demo_files.stream)

    def interrupt(what: str, count: int, records: object) -> None:
        raise KeyboardInterrupt

    with Device(lambda: link.SimLink(board)) as device, Log(tmp_path / "log") as log:
        plan = stream.Plan(file, file, CONFIG, 1)
        with pytest.raises(Interrupted, match="nothing was learned yet"):
            stream.conduct(device, log, plan, "test", interrupt)
        assert log.run(1)["state"] == "interrupted"
        assert device.welcome.generation == 0


def test_interrupt_after_the_save_does_not_save_again(
    demo_files: demo.Files, demo_blob: Path, tmp_path: Path
) -> None:
    board = sim.SimBoard(demo_blob.read_bytes(), tmp_path / "store")
    file = data.load(demo_files.stream)

    def interrupt(what: str, count: int, records: Iterable[Record]) -> Iterable[Record]:
        if what == "accuracy after":
            raise KeyboardInterrupt
        return records

    with Device(lambda: link.SimLink(board)) as device, Log(tmp_path / "log") as log:
        plan = stream.Plan(file, file, CONFIG, 1)
        with pytest.raises(Interrupted, match=f"{len(file)} samples are saved"):
            stream.conduct(device, log, plan, "test", interrupt)
        assert device.welcome.generation == 1


def test_store_that_cannot_hold_the_model_is_not_used(
    demo_blob: Path, samples: list[Sample], tmp_path: Path
) -> None:
    board = sim.SimBoard(demo_blob.read_bytes(), tmp_path / "store", store_bytes=8192)
    with Device(lambda: link.SimLink(board)) as device:
        assert device.welcome.store_bytes == 8192
        assert not device.can_save


def test_ctrl_c_in_the_demo_leaves_nothing_running(tmp_path: Path) -> None:
    """A terminal sends it to the whole group; the demo ends soon, with its own exit code."""
    process = subprocess.Popen(
        [sys.executable, "-m", "wage_host", "demo"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    for line in process.stdout:
        if line.startswith("3."):
            break
    os.killpg(process.pid, signal.SIGINT)
    begun = time.monotonic()
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert time.monotonic() - begun < 15
    assert "Traceback" not in rest


def test_settings_that_fit_no_board_are_refused_before_the_link() -> None:
    from wage_host.errors import Refused

    good = {"seed": 1, "lr_shift": -4, "replays": 1, "gain_shift": 2, "threshold": 0}
    for name, value in (("seed", -1), ("seed", 1 << 32), ("replays", 256), ("lr_shift", -200),
                        ("lr_factor", 256)):  # fmt: skip
        with pytest.raises(Refused, match=r"lr 2\^-24 to 15\*2\^7"):
            Config(**{**good, name: value})
    assert Config(**good).seed == 1

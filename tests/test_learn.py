"""One stream, one seed: the same bits wherever the runtime runs, whatever happens on the way."""

# SPDX-License-Identifier: MIT

import dataclasses
import os
import signal
from collections.abc import Callable
from pathlib import Path

import nets
import numpy as np
import pytest
import reference as ref
from wage_host import data, demo, emulate, firmware, link, sim
from wage_host.core import Config, Core, Policy, Record, Sample
from wage_host.device import Device
from wage_host.errors import PortBusy
from wage_host.link import LinkLost

CONFIG = Config(seed=7, lr_shift=-5, replays=9, gain_shift=2, threshold=0, lr_factor=3)
STREAM = 4711
COUNT = 40  # samples; with 9 replays 400 steps


@pytest.fixture(scope="module")
def samples(demo_files: demo.Files, demo_blob: Path) -> list[Sample]:
    """New digits for the demo's model."""
    info = Core(demo_blob.read_bytes()).info
    return data.samples(data.load(demo_files.stream), info)[:COUNT]


@pytest.fixture(scope="module")
def twin(demo_blob: Path, samples: list[Sample]) -> Core:
    """The in-process library after the whole stream."""
    core = Core(demo_blob.read_bytes())
    core.start(STREAM, CONFIG)
    assert sum(1 for _ in core.learn(samples)) == COUNT
    return core


def learn(device: Device, samples: list[Sample], save_every: int = 0) -> list[Record]:
    """Streams all samples."""
    device.start(STREAM, CONFIG, Policy(every=save_every))
    return list(device.learn(samples, save_every > 0))


def device_of(url: str) -> Device:
    """The board behind a URL."""
    return Device(link.connector(url, 115200, None), deadline_s=60.0, answer_s=20.0)


def test_oracle_has_the_same_weights(demo_blob: Path, samples: list[Sample], twin: Core) -> None:
    model = ref.open_model(demo_blob.read_bytes())
    ref.start(model, STREAM, ref.Config(**dataclasses.asdict(CONFIG)))
    for number, (x, label) in enumerate(samples, 1):
        ref.learn(model, number, x, label)
    assert model.step >= 300
    assert ref.weight_crc(model) == twin.weight_crc()
    assert ref.state_crc(model) == twin.state_crc()


def test_board_in_process_has_the_same_weights(
    demo_blob: Path, samples: list[Sample], twin: Core
) -> None:
    board = sim.SimBoard(demo_blob.read_bytes())
    with Device(lambda: link.SimLink(board)) as device:
        records = learn(device, samples)
        stats = device.stats()
    assert [r.id for r in records] == list(range(1, COUNT + 1))
    assert stats.steps >= 300
    assert (stats.weight_crc, stats.state_crc) == (twin.weight_crc(), twin.state_crc())


@pytest.mark.parametrize("policy", nets.POLICIES)
def test_board_learns_every_kind_in_batches(policy: str, tmp_path: Path) -> None:
    """New sample and replays in one step, velocities and biases in its store."""
    settings = {"batch": 4, "momentum": 2, "replay_capacity": 6}
    blob = nets.net("planes", 5, policy, **settings)
    model, samples = ref.open_model(blob), nets.samples_of(blob, 1, 12)
    ref.start(model, STREAM, ref.Config(**dataclasses.asdict(CONFIG)))
    for number, (x, label) in enumerate(samples, 1):
        ref.learn(model, number, x, label)
        assert model.metrics.steps == 3 * number  # 10 samples, 4 a step
    for count in (7, 12):  # the second time from what was saved
        board = sim.SimBoard(blob, tmp_path / "store")
        with Device(lambda board=board: link.SimLink(board)) as device:
            learn(device, samples[:count], save_every=7)
            stats = device.stats()
    assert (stats.weight_crc, stats.state_crc) == (ref.weight_crc(model), ref.state_crc(model))


def test_board_behind_a_socket_has_the_same_weights(
    demo_blob: Path, samples: list[Sample], twin: Core
) -> None:
    with sim.running(demo_blob) as url, device_of(url) as device:
        learn(device, samples)
        assert device.place == "host"
        assert device.stats().state_crc == twin.state_crc()


def test_board_behind_a_pty_has_the_same_weights(
    demo_blob: Path, samples: list[Sample], twin: Core, served: Callable[..., str]
) -> None:
    with device_of(served(sim.serve_pty, sim.SimBoard(demo_blob.read_bytes()))) as device:
        learn(device, samples)
        assert device.stats().state_crc == twin.state_crc()


def test_emulated_cortex_m4_has_the_same_weights(
    demo_blob: Path, samples: list[Sample], twin: Core, need_emulator: None
) -> None:
    image = firmware.build("mps2-an386", firmware.Contents(demo_blob))
    with emulate.running("mps2-an386", image) as url, device_of(url) as device:
        assert (device.board, device.place) == ("mps2-an386", "emulator")
        records = learn(device, samples)
        stats = device.stats()
    assert len(records) == COUNT
    assert stats.steps >= 300
    assert (stats.weight_crc, stats.state_crc) == (twin.weight_crc(), twin.state_crc())


def test_killed_board_goes_on_from_its_last_save(
    demo_blob: Path, samples: list[Sample], twin: Core, tmp_path: Path
) -> None:
    """SIGKILL in the middle, a new start: the host goes on by itself, no bit is different."""
    store = tmp_path / "store"
    process, url = sim.start(demo_blob, store)
    port = int(url.rsplit(":", 1)[1])
    killed_at, events = 0, []
    try:
        with device_of(url) as device:
            device.on_event = lambda what, text, **_: events.append((what, text))
            device.start(STREAM, CONFIG, Policy(every=8))
            device.welcome.window = 2  # as of a board with a small buffer
            ids = []
            for record in device.learn(samples, True):
                ids.append(record.id)
                if record.id == 21 and not killed_at:  # five samples after the last save
                    killed_at = record.id
                    os.kill(process.pid, signal.SIGKILL)
                    process.wait()
                    process, _ = sim.start(demo_blob, store, port)
            stats = device.stats()
    finally:
        emulate.stop(process)
    assert killed_at == 21
    last = next(n for n in range(1, len(ids)) if ids[n] <= ids[n - 1])
    assert last >= 21  # answers that were on their way when it died still came in
    assert ids[:last] == list(range(1, last + 1))
    assert ids[last] in range(17, last + 1, 8)  # back to a save, after 16 or later
    assert ids[last:] == list(range(ids[last], COUNT + 1))
    assert any(what == "fault" for what, _ in events)
    assert stats.weight_crc == twin.weight_crc()
    assert stats.state_crc == twin.state_crc()
    assert stats.generation == COUNT // 8


def test_started_again_board_still_knows(
    demo_blob: Path, samples: list[Sample], twin: Core, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    for _ in range(2):
        board = sim.SimBoard(demo_blob.read_bytes(), store)
        with Device(lambda board=board: link.SimLink(board)) as device:
            known = learn(device, samples, save_every=COUNT)
            assert device.stats().state_crc == twin.state_crc()
    assert known == []  # the second time nothing was left to learn


@dataclasses.dataclass
class BadLink:
    """A link to a board that damages, drops and doubles what it carries."""

    board: sim.SimBoard
    rng: np.random.Generator
    rate: float
    waiting: bytes = b""

    def write(self, frame: bytes) -> None:
        self.waiting += self._carry(self.board.exchange(self._carry(frame)))

    def _carry(self, frame: bytes) -> bytes:
        if not frame or self.rng.random() >= self.rate:
            return frame
        kind, at = self.rng.integers(4), int(self.rng.integers(len(frame)))
        if kind == 0:
            return b""
        if kind == 1:
            return frame + frame
        if kind == 2:
            return frame[:at]
        return frame[:at] + bytes([frame[at] ^ 1 << int(self.rng.integers(8))]) + frame[at + 1 :]

    def read(self, timeout_s: float) -> bytes:
        out, self.waiting = self.waiting, b""
        if not out and self.rng.random() < 0.05:
            raise LinkLost("the cable was pulled")
        return out

    def close(self) -> None:
        self.waiting = b""


def _bad_links(board: sim.SimBoard, seed: int, rate: float) -> Callable[[], BadLink]:
    rng = np.random.default_rng(seed)
    return lambda: BadLink(board, rng, rate)


@pytest.mark.parametrize("case", range(6))
def test_bad_link_loses_and_repeats_nothing(
    case: int, seed: int, demo_blob: Path, samples: list[Sample], twin: Core
) -> None:
    board = sim.SimBoard(demo_blob.read_bytes())
    with Device(lambda: link.SimLink(board)) as device:
        device.hello()
    connect = _bad_links(board, seed + case, 0.05)
    with Device(connect, deadline_s=60.0, answer_s=0.02, hello_s=0.02) as device:
        learn(device, samples)
        stats = device.stats()
    assert stats.samples == COUNT
    assert stats.state_crc == twin.state_crc()


def test_second_host_takes_over_and_the_first_stops(
    demo_blob: Path, samples: list[Sample], twin: Core
) -> None:
    board = sim.SimBoard(demo_blob.read_bytes())
    with Device(lambda: link.SimLink(board)) as first:
        first.start(STREAM, CONFIG)
        learning = iter(first.learn(samples))
        for _ in range(5):
            next(learning)
        with Device(lambda: link.SimLink(board)) as second:
            assert second.welcome.last_id >= 5
            with pytest.raises(PortBusy, match="another host has taken over the board"):
                list(learning)
            assert learn(second, samples)[-1].id == COUNT
            assert second.stats().state_crc == twin.state_crc()


def test_factory_reset_forgets(demo_blob: Path, samples: list[Sample], tmp_path: Path) -> None:
    from wage_host._core import lib

    board = sim.SimBoard(demo_blob.read_bytes(), tmp_path / "store")
    with Device(lambda: link.SimLink(board)) as device:
        factory = device.stats().state_crc
        learn(device, samples, save_every=10)
        device.reset(lib.WAGE_RESTART)
        assert device.welcome.last_id == COUNT
        device.reset(lib.WAGE_FACTORY)
        assert device.welcome.generation == 0
        assert device.stats().state_crc == factory


def test_evaluating_learns_nothing(demo_blob: Path, samples: list[Sample]) -> None:
    board = sim.SimBoard(demo_blob.read_bytes())
    core = Core(demo_blob.read_bytes())
    with Device(lambda: link.SimLink(board)) as device:
        before = device.stats()
        there = [(r.id, r.prediction, r.p_label) for r in device.evaluate(samples)]
        assert device.stats() == before
    assert there == [(r.id, r.prediction, r.p_label) for r in core.evaluate(samples)]

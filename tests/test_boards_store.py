"""Boards with a store, emulated: what they saved is there after resets and power cuts."""

# SPDX-License-Identifier: MIT

import json
import random
import struct
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import emulated
import numpy as np
import pytest
import reliability
from blobs import random_stream
from wage_host import device as device_module
from wage_host import emulate, firmware, stream
from wage_host._core import lib
from wage_host.core import Core, Policy, Record
from wage_host.data import Data, samples
from wage_host.device import Device
from wage_host.errors import BuildFailed, FileError, WrongUsage
from wage_host.log import Log
from wage_host.persist import geometry

pytestmark = pytest.mark.timeout(1800)
BOARDS = tuple(emulated.STORES)
# behind the slots: for a model, then for a guard
REST_BYTES = {"microbit": (16 + 12) << 10, "riscv-virt": 2 << 18}
SAVE_EVERY = 7
SAVE_S = {"microbit": 0.002, "riscv-virt": 0.05}  # about what a save takes


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model for a board of 16 KB, whose checkpoint takes three pages of the micro:bit."""
    path = tmp_path_factory.mktemp("small") / "small.wage"
    path.write_bytes(emulated.small_model(130))
    return path


@pytest.fixture(scope="session", params=BOARDS)
def board_image(request: pytest.FixtureRequest, model: Path) -> tuple[str, Path]:
    """A board with a store and its image."""
    return request.param, emulated.image(request.param, model)


@pytest.fixture
def board(board_image: tuple[str, Path]) -> Iterator[emulated.Powered]:
    """The board with a fresh flash, running."""
    with (
        tempfile.TemporaryDirectory() as folder,  # a short name: it holds a UNIX socket
        emulated.Powered(*board_image, Path(folder)) as powered,
    ):
        yield powered


def test_build_is_free_of_warnings(board_image):
    log = firmware.folder() / f"{board_image[0]}.log"
    assert "warning" not in log.read_text(encoding="utf-8").lower()


def test_hello(board, model):
    with board.device() as device:
        assert (device.board, device.place) == (board.name, "emulator")
        assert device.welcome.store_error == -lib.WAGE_E_NO_CHECKPOINT
        device.check_model()
        assert device.can_save
        assert device.welcome.slots == geometry(board.name)[0]
        assert device.welcome.model == struct.unpack_from("<I", model.read_bytes(), 12)[0]


def test_learns_the_same_bits(board, model):
    stream_of_it, core = list(random_stream(model.read_bytes(), 1, 60)), Core(model.read_bytes())
    core.start(1, core.config())
    expected = list(core.learn(stream_of_it))
    with board.device() as device:
        device.start(1, device.config())
        records = list(device.learn(stream_of_it))
        stats = device.stats()
    assert [r.p_label for r in records] == [r.p_label for r in expected]
    assert sum(r.us for r in records) > 0
    assert (stats.weight_crc, stats.state_crc) == (core.weight_crc(), core.state_crc())
    assert 0 < stats.stack_bytes < 2048


def restart(board: emulated.Powered, device: Device) -> None:
    """As a user would: by a frame, and where the flash outlives it, by the plug."""
    if board.name == "riscv-virt":
        board.fail()
        device.hello()
    else:
        device.reset(lib.WAGE_RESTART)


def test_generations_come_back(board, model):
    blob, before = model.read_bytes(), board.flash()
    core = Core(blob)
    core.start(1, core.config())
    with board.device() as device:
        generations = device.welcome.slots + 1  # the first one's slot is taken again
        stream_of_it = list(random_stream(blob, 2, 8 * generations + 1))
        for generation in range(1, generations + 1):
            some = stream_of_it[: 8 * generation]
            list(core.learn(some[8 * generation - 8 :]))
            device.start(1, core.config())
            list(device.learn(some))
            assert device.save() == generation
            list(device.learn(stream_of_it[: 8 * generation + 1]))  # one more, not saved
            restart(board, device)
            found = device.welcome
            assert found.store_error == 0
            assert (found.generation, found.last_id) == (generation, 8 * generation)
            assert found.state_crc == core.state_crc()
            assert found.wear == generation
        check_flash(board, before, device.welcome, lib.wage_checkpoint_bytes(core.wage))
        device.reset(lib.WAGE_FACTORY)
        assert device.welcome.generation == 0
        assert device.welcome.store_error == -lib.WAGE_E_NO_CHECKPOINT
        assert device.welcome.state_crc == Core(blob).state_crc()
    check_rest(board, before, board.flash(), device.welcome.store_bytes)


def check_flash(
    board: emulated.Powered, before: bytes, now: SimpleNamespace, checkpoint_bytes: int
) -> None:
    """Each slot holds one of the last generations, the rest is as it was."""
    after = board.flash()
    check_rest(board, before, after, now.store_bytes)
    erase_bytes = {"microbit": 1 << 10, "riscv-virt": 1 << 18}[board.name]
    slot_bytes = (now.store_bytes - REST_BYTES[board.name]) // now.slots
    begin, found = emulated.STORES[board.name], []
    for at in range(begin, begin + now.slots * slot_bytes, slot_bytes):
        slot = after[at : at + slot_bytes]
        magic, _, number = struct.unpack_from("<4s2I", slot)
        assert magic == b"WCKP"
        found.append(number)
        erased = -(-checkpoint_bytes // erase_bytes) * erase_bytes
        assert set(slot[checkpoint_bytes:erased]) == {0xFF}, "not erased before it was programmed"
        assert set(slot[erased:]) == {0}, "erased more than the checkpoint needs"
    assert found == [now.generation, *range(2, now.generation)]
    rest = after[begin + now.slots * slot_bytes : begin + now.store_bytes]
    assert len(rest) == REST_BYTES[board.name] and set(rest) == {0}, "nobody put anything there"


def check_rest(board: emulated.Powered, before: bytes, after: bytes, store_bytes: int) -> None:
    """Nothing outside the store has changed."""
    begin = emulated.STORES[board.name]
    assert len(before) == len(after) == emulated.FLASH_BYTES[board.name]
    assert after[:begin] == before[:begin]
    assert after[begin + store_bytes :] == before[begin + store_bytes :]


def test_checkpoint_of_two_sectors(tmp_path):
    blob = emulated.small_model(16_000)
    assert 1 << 18 < lib.wage_checkpoint_bytes(Core(blob).wage) < 1 << 19
    path = tmp_path / "large.wage"
    path.write_bytes(blob)
    stream_of_it, core = list(random_stream(blob, 3, 30)), Core(blob)
    core.start(1, core.config())
    with (
        emulated.Powered("riscv-virt", emulated.image("riscv-virt", path), tmp_path) as board,
        board.device() as device,
    ):
        for generation in (1, 2):
            some = stream_of_it[: 10 * generation]
            list(core.learn(some[10 * generation - 10 :]))
            device.start(1, core.config())
            list(device.learn(some))
            assert device.save() == generation
            board.fail()
            device.hello()
            assert device.welcome.generation == generation
            assert device.welcome.state_crc == core.state_crc()


@pytest.mark.parametrize(("board", "kilobytes"), [("microbit", 190), ("netduinoplus2", 510)])
def test_image_that_reaches_the_store_is_not_built(board, kilobytes, model, tmp_path):
    emulated.image(board, model)
    large = tmp_path / "large.wage"
    large.write_bytes(bytes(kilobytes << 10))
    with pytest.raises(BuildFailed, match=r"FLASH.* overflowed"):
        firmware.build(board, firmware.Contents(large))


# -- failures while it learns ----------------------------------------------------


class Watched(Device):
    """A device that checks after every fault that nothing acknowledged was lost."""

    reached = records = 0  # id of the last record, and how many there were
    acknowledged = (0, 0)  # generation and last id of the last save that was answered
    saves = recoveries = 0

    @property
    def saving(self) -> bool:
        """Whether the answer that is waited for comes after a save."""
        return (self.reached + 1) % SAVE_EVERY == 0

    def watch(self, what: str, count: int, records: Iterable[Record]) -> Iterator[Record]:
        """Notes how far the stream came."""
        for record in records:
            self.reached = record.id
            self.records += 1
            if record.kept == lib.WAGE_SAVED_NOW:
                self._acknowledge(record.generation)
            yield record

    def _acknowledge(self, generation: int) -> None:
        self.acknowledged = generation, self.reached
        self.saves += 1

    def _save_once(self) -> int:
        generation = super()._save_once()
        self._acknowledge(generation)
        return generation

    def _recover(self, lost: Exception) -> None:
        super()._recover(lost)
        self.recoveries += 1
        generation, last_id = self.acknowledged
        found = self.welcome
        self.reached = found.last_id
        assert found.generation >= generation, "an acknowledged generation is lost"
        assert found.last_id >= last_id, "samples of an acknowledged generation are lost"


def random_data(blob: bytes, seed: int, count: int) -> Data:
    """Samples as a file of a user's would give them."""
    x, labels = zip(*random_stream(blob, seed, count), strict=True)
    x = np.stack(x).reshape(-1, 1, 1, emulated.INPUTS)
    return Data("random", x, np.array(labels, np.int64))


def emulated_resets(board: emulated.Powered, model: Path, failures: int, seed: int) -> dict:
    """Lets the board fail at random moments of a stream; returns what was done.

    The host learns the stream as 'wage-host learn --save-every' does. Each failure comes when
    some more samples were learned after the last one; every other waits for a save.
    """
    rng, blob, begin = random.Random(seed), model.read_bytes(), time.monotonic()
    count, in_a_save = 100 * failures + 500, 0
    data = random_data(blob, seed, count)
    with (
        board.device(Watched, answer_s=2.0) as device,  # one lost in a reset never comes
        Log(model.with_name(f"{board.name}-{failures}.sqlite")) as log,
        ThreadPoolExecutor(1) as other,
    ):
        assert device.welcome.generation == 0
        plan = stream.Plan(data, None, device.config(), 7, Policy(every=SAVE_EVERY), blob)
        run = other.submit(stream.conduct, device, log, plan, "test", device.watch)
        for number in range(failures):
            enough, in_time = device.records + rng.randint(1, 40), False
            while not in_time:
                while not run.done() and (
                    device.records < enough or (number % 2 and not device.saving)
                ):
                    time.sleep(0.0002)
                time.sleep(rng.random() * SAVE_S[board.name])
                in_time = run.done() or device.saving or not number % 2
            in_a_save += device.saving
            assert not run.done(), run.result()
            board.fail()
        summary = run.result().summary
    core = Core(blob)
    core.start(plan.stream, plan.config)
    assert len(list(core.learn(samples(data, device.info)))) == count
    assert summary["proved"]
    assert summary["state_crc"] == f"{core.state_crc():08x}"
    assert device.acknowledged == (summary["generation"], count)
    return {
        "board": board.name, "failures": failures, "in a save": in_a_save, "samples": count,
        "saves acknowledged": device.saves, "recoveries": device.recoveries,
        "seconds": round(time.monotonic() - begin),
    }  # fmt: skip


@pytest.mark.parametrize("failures", [3, pytest.param(50, marks=pytest.mark.soak)])
def test_failures_lose_nothing_that_was_acknowledged(
    board, model, failures, seed, capsys, monkeypatch
):
    monkeypatch.setattr(device_module, "SAVE_S", 3.0)  # these save in a tenth of a second
    done = emulated_resets(board, model, failures, seed)
    with capsys.disabled():
        print(f"\nemulated_resets {json.dumps(done)}")
    reliability.record(emulated_resets=failures, lost_generations=0)
    assert done["recoveries"] >= failures
    assert done["in a save"] >= failures // 2


def test_guard_in_the_flash(board, model):
    """The board asks a guard in its store as this computer does; the guard outlives a restart."""
    blob = model.read_bytes()
    policy, guard = Policy(every=5, margin=1), random_data(blob, 4, 30)
    log = Log(model.with_name(f"{board.name}-guard.sqlite"))
    with board.device() as device, log:
        plan = stream.Plan(random_data(blob, 5, 60), None, device.config(), 7, policy, blob, guard)
        summary = stream.conduct(device, log, plan, "test", unwatched).summary
        assert summary["proved"] and summary["guard_count"] == 30
        assert summary["refused"] > 0, "nothing was harmful"
        restart(board, device)
        w = device.welcome
        assert (w.guard_set, w.guard_count) == (guard.crc(), 30)
        assert f"{w.state_crc:08x}" == summary["state_crc"]


def unwatched(_what: str, _count: int, records: Iterable) -> Iterable:
    """Nobody looks on."""
    return records


# -- the file that is the flash --------------------------------------------------


def test_store_file_is_made_once(tmp_path):
    path = tmp_path / "store"
    emulate.make_store("riscv-virt", path)
    assert path.stat().st_size == emulated.FLASH_BYTES["riscv-virt"]
    with path.open("r+b") as file:
        file.write(b"kept")
    emulate.make_store("riscv-virt", path)
    assert path.read_bytes()[:5] == b"kept\0"


def test_store_file_that_cannot_be_one(tmp_path):
    path = tmp_path / "store"
    path.write_bytes(b"a letter")
    with pytest.raises(FileError, match=r"has 8 bytes, a store 33554432: name another"):
        emulate.make_store("riscv-virt", path)
    assert path.read_bytes() == b"a letter"
    with pytest.raises(FileError, match=r"cannot be the store \(No such file"):
        emulate.make_store("riscv-virt", tmp_path / "no" / "store")
    with pytest.raises(FileError, match=r"cannot be the store \(Is a directory"):
        emulate.make_store("riscv-virt", tmp_path)
    for board in ("microbit", "mps2-an386"):
        with pytest.raises(WrongUsage, match=f"{board} keeps nothing in a file: leave out --store"):
            emulate.make_store(board, path)


def test_store_file_in_use(model, tmp_path):
    image, store = emulated.image("riscv-virt", model), tmp_path / "store"
    emulate.make_store("riscv-virt", store)
    with (
        emulate.running("riscv-virt", image, store=store),
        pytest.raises(FileError, match=r"store is in use by another emulator: end it"),
    ):
        emulate.start("riscv-virt", image, store=store)
    with emulate.running("riscv-virt", image, store=store):
        pass


def test_pushed_model(board, model, tmp_path):
    """Another model goes into the flash, learns there and is there after a restart."""
    other = emulated.small_model(33)
    samples_of_it, core = list(random_stream(other, 8, 12)), Core(other)
    core.start(1, core.config())
    list(core.learn(samples_of_it))
    with board.device() as device:
        list(device.push(other))
        assert (device.info.crc, device.welcome.pushed) == (Core(other).info.crc, 1)
        device.start(1, core.config())
        list(device.learn(samples_of_it, True))
        restart(board, device)
        assert (device.welcome.pushed, device.welcome.state_crc) == (1, core.state_crc())
        device.drop_pushed()
        assert device.info.crc == Core(model.read_bytes()).info.crc

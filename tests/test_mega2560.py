"""The Arduino Mega 2560's image under simavr: learning digits in 8 KB, checkpoints in EEPROM."""

# SPDX-License-Identifier: MIT

import dataclasses
import time
from pathlib import Path

import emulated
import native
import numpy as np
import pytest
from wage_host import data, demo, emulate, firmware, network, train
from wage_host._core import lib
from wage_host.core import Core, Sample
from wage_host.device import Device
from wage_host.errors import BuildFailed, FileError, ToolMissing, WageError
from wage_host.link import connector

BOARD = "mega2560"
W1 = "8x8x1 32FC 10FC"
LEARNING = dataclasses.replace(demo.LEARNING, replays=1, lr_shift=-5)
SAMPLES = 300
STACK_BYTES = 832  # link.ld


def device_of(url: str) -> Device:
    """The board behind a URL."""
    return Device(connector(url, 115200, None), deadline_s=60.0, answer_s=60.0)


def taught(files: demo.Files, bits: tuple[int, int]) -> network.Network:
    """W1 that knows the digits 0 to 7; weights of these bits, in use and stored."""
    how = dataclasses.replace(demo.TRAINING, rates=demo.rates.halving((1, -3), 4))
    net, _ = train.run(network.parse(W1, demo.SEED, bits=bits), data.load(files.train), how)
    return net


def model_of(net: network.Network, files: demo.Files, last: int, replay: int) -> bytes:
    """The blob: `last` layers learn, `replay` old digits are there."""
    known = data.samples(data.load(files.train), net.info())
    return train.convert(net, "w1", LEARNING, last, replay, known)


def stream_of(blob: bytes, files: demo.Files) -> list[Sample]:
    """All new digits, and old ones between them, in a fixed order."""
    about = Core(blob).info
    new = list(data.samples(data.load(files.stream), about))
    old = list(data.samples(data.load(files.train), about))[: SAMPLES - len(new)]
    every = [*new, *old]
    return [every[i] for i in np.random.default_rng(1).permutation(len(every))]


def right(core: Core, files: demo.Files) -> float:
    """Of all digits that were never learned from, the share that it knows, in per cent."""
    about = core.info
    records = core.evaluate(list(data.samples(data.load(files.test), about)))
    return 100 * float(np.mean([r.prediction == r.label for r in records]))


@pytest.fixture(scope="module")
def fine(demo_files: demo.Files) -> network.Network:
    """Weights of 8 bits, stored with 16."""
    return taught(demo_files, (8, 16))


def image_of(blob: bytes, folder: Path) -> Path:
    """The image with this blob."""
    model = folder / "w1.wage"
    model.write_bytes(blob)
    return emulated.image(BOARD, model)


@pytest.mark.parametrize(("bits", "replay"), [((8, 16), 8), ((2, 8), 8)])
def test_w1_learns_digits_in_8_kb(bits, replay, demo_files, tmp_path, capsys):
    blob = model_of(taught(demo_files, bits), demo_files, 2, replay)
    samples, core = stream_of(blob, demo_files), Core(blob)
    samples = samples if bits == (8, 16) else samples[:20]
    before = right(core, demo_files)
    core.start(1, core.config())
    expected = list(core.learn(samples))
    with emulate.running(BOARD, image_of(blob, tmp_path)) as url, device_of(url) as board:
        memory = board.welcome.memory_bytes
        assert board.welcome.arena_bytes == core.info.arena_bytes  # pointers of 16 bits
        board.start(1, board.config())
        begun = time.monotonic()
        records = list(board.learn(samples))
        taken_s, stats = time.monotonic() - begun, board.stats()
        assert not board.can_save  # 4 KB of EEPROM are not enough for two
        with pytest.raises(WageError, match="too small for two checkpoints"):
            board.save()
        assert board.welcome.place == lib.WAGE_PLACE_EMULATOR
    assert [r.p_label for r in records] == [r.p_label for r in expected]
    assert (stats.weight_crc, stats.state_crc) == (core.weight_crc(), core.state_crc())
    assert stats.replay_count == replay
    assert 0 < stats.stack_bytes < STACK_BYTES
    after, cycles = right(core, demo_files), 16 * np.mean([r.us for r in records])
    with capsys.disabled():
        print(f"\n{BOARD}, simulator, W1 {bits}: {cycles:,.0f} cycles a sample, a replayed one")
        print(f"included; arena {core.info.arena_bytes} of {memory}, stack {stats.stack_bytes};")
        print(f"{len(samples)} samples in {taken_s:.0f} s, {before:.1f} -> {after:.1f} %")
    assert len(samples) < SAMPLES or after > before


def test_checkpoint_survives_the_end_of_the_simulator(fine, demo_files, tmp_path):
    blob = model_of(fine, demo_files, 1, 24)
    samples, core = stream_of(blob, demo_files)[:40], Core(blob)
    image, store = image_of(blob, tmp_path), tmp_path / "eeprom"
    core.start(1, core.config())
    list(core.learn(samples[:25]))
    emulate.make_store(BOARD, store)
    process, url = emulate.start(BOARD, image, store=store)
    try:
        with device_of(url) as board:
            board.start(1, board.config())
            list(board.learn(samples[:25]))
            assert [board.save(), board.save()] == [1, 2]
            list(board.learn(samples[25:30]))  # not saved: lost
    finally:
        process.kill()
        process.wait()
    with emulate.running(BOARD, image, store=store) as url, device_of(url) as board:
        assert (board.welcome.generation, board.welcome.last_id) == (2, 25)
        assert board.welcome.state_crc == core.state_crc()
        board.start(1, board.config())
        list(board.learn(samples))
        list(core.learn(samples[25:]))
        assert board.stats().state_crc == core.state_crc()
        board.request(lib.WAGE_ROLLBACK, lib.WAGE_SAVED, generation=2)
        assert board.stats().weight_crc != core.weight_crc()
        board.reset(lib.WAGE_FACTORY)
        assert (board.welcome.generation, board.welcome.sessions) == (0, 1)
        assert board.welcome.weight_crc == Core(blob).weight_crc()
        assert board.stats().stack_bytes < STACK_BYTES
    assert store.read_bytes().count(0xFF) > 3900  # forgotten


def test_a_model_that_does_not_fit_says_how_much_is_missing(fine, demo_files, tmp_path):
    blob = model_of(fine, demo_files, 2, 12)
    with emulate.running(BOARD, image_of(blob, tmp_path)) as url, device_of(url) as board:
        needed = Core(blob).info.arena_bytes
        with pytest.raises(WageError, match=f"an arena of {needed} bytes and the board has"):
            board.check_model()


def test_a_model_beyond_what_an_object_can_be_is_named(tmp_path):
    native.need("avr-gcc")
    large = tmp_path / "large.wage"
    large.write_bytes(bytes(32768))
    with pytest.raises(BuildFailed, match="a model of 32768 bytes: this board takes 32767"):
        firmware.build(BOARD, firmware.Contents(large))


def test_a_simulator_that_cannot_be_compiled_names_its_packages(monkeypatch, tmp_path):
    gcc = tmp_path / "gcc"
    gcc.write_text("#!/bin/sh\nexit 1\n")
    gcc.chmod(0o755)
    monkeypatch.setenv("WAGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match="apt install gcc libsimavr-dev libelf-dev"):
        emulate.need_emulator(BOARD)


def test_store_of_another_size_is_refused(tmp_path):
    (tmp_path / "store").write_bytes(bytes(100))
    with pytest.raises(FileError, match="100 bytes, a store 4096"):
        emulate.make_store(BOARD, tmp_path / "store")

"""Every board, emulated: it tells its name, learns the host's bits, saves or refuses to, restarts.

One conversation a board; the emulator notes what is written to the registers of the pins.
"""

# SPDX-License-Identifier: MIT

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import emulated
import pytest
from blobs import random_stream
from test_size import SAMPLES
from wage_host import emulate
from wage_host._core import lib
from wage_host.core import Core
from wage_host.device import Device
from wage_host.errors import NoStore, Refused
from wage_host.link import connector

LIMIT_S = 60
US = 1700, 3900  # for SAMPLES: 267,000 instructions of 8 ns on a Cortex-M4, 393,000 on an M0
SMALL = ("microbit", "sifive_e")  # of 16 KB


def written(log: str, pattern: str) -> Iterator[list[int]]:
    """The numbers in each line of a log that fits."""
    for found in re.finditer(pattern, log):
        yield [int(number, 16) for number in found.groups()]


def of_leds(log: str) -> list[int]:
    """Phases by the LED register of an FPGAIO block."""
    return [value for (value,) in written(log, r"FPGAIO write: offset 0x0 data (\w+)")]


def of_nrf51(log: str) -> list[int]:
    """Phases by bits 1 to 3 of the micro:bit's port: cleared first, then set."""
    level, phases = 0, []
    for offset, value in written(log, r"nrf51_gpio_write offset (\w+) value (\w+)"):
        if offset == 0x50C:
            level &= ~value
        elif offset == 0x508:
            level |= value
            phases.append(level >> 1 & 7)
    return phases


def of_fe310(log: str) -> list[int]:
    """Phases by bits 0 to 2 of an FE310's port."""
    return [value & 7 for (value,) in written(log, r"sifive_gpio_write offset 0xc value (\w+)")]


def of_stm32f4(log: str) -> list[int]:
    """Phases by bits 13 to 15 of port B: all reset, those of the phase set."""
    phases = []
    for (value,) in written(log, r"GPIOB: .* write \(size 4, offset 0x018, value (\w+)\)"):
        assert value >> 29 == 7, f"{value:#x} leaves a pin as it was"
        phases.append(value >> 13 & 7)
    return phases


PINS: dict[str, tuple[str, Callable[[str], list[int]]]] = {  # what QEMU notes, how to read it
    "microbit": ("trace:nrf51_gpio_write", of_nrf51),
    "netduinoplus2": ("unimp", of_stm32f4),
    "sifive_e": ("trace:sifive_gpio_write", of_fe310),
} | {
    name: ("trace:mps2_fpgaio_write", of_leds) for name in emulate.boards() if name[:3] == "mps"
}  # fmt: skip


def conversation(name: str, image: Path, blob: bytes, log: Path) -> SimpleNamespace:
    """Learns, saves, restarts; what the board said, and the emulator's notes."""
    notes = ["-d", PINS[name][0], "-D", str(log)] if name in PINS else []
    counted = emulate.boards()[name][0] in ("qemu-system-arm", "qemu-system-riscv32")
    notes += ["-icount", "shift=3"] if counted else []
    with (
        emulate.running(name, image, arguments=notes) as url,
        Device(connector(url, 115200, None), answer_s=LIMIT_S) as device,
    ):
        hello, board, place = device.welcome, device.board, device.place
        device.start(1, device.config())
        records = list(device.learn(list(random_stream(blob, 1, SAMPLES))))
        stats = device.stats()
        try:
            saved = device.request(lib.WAGE_SAVE, lib.WAGE_SAVED).named().generation
        except (NoStore, Refused):
            saved = 0
        for _ in range(3):
            device.hello()
        sessions = device.welcome.sessions
        device.reset(lib.WAGE_RESTART)
        after = device.welcome
    return SimpleNamespace(
        name=name, counted=counted, hello=hello, board=board, place=place, records=records,
        stats=stats, saved=saved, sessions=sessions, after=after,
        log=log.read_text(encoding="utf-8") if name in PINS else "",
    )  # fmt: skip


def learned(blob: bytes) -> SimpleNamespace:
    """What this computer learns from the same samples."""
    core = Core(blob)
    core.start(1, core.config())
    records = list(core.learn(list(random_stream(blob, 1, SAMPLES))))
    return SimpleNamespace(records=records, core=core)


@pytest.fixture(scope="module")
def blob() -> bytes:
    """A model that fits 16 KB; test_size.py builds the same images."""
    return emulated.small_model(20)


@pytest.fixture(scope="module", params=emulate.boards())
def said(
    request: pytest.FixtureRequest, blob: bytes, tmp_path_factory: pytest.TempPathFactory
) -> SimpleNamespace:
    """What a board said in its conversation."""
    folder, name = tmp_path_factory.mktemp("board"), request.param
    model = folder / "small.wage"
    model.write_bytes(blob)
    return conversation(name, emulated.image(name, model), blob, folder / "log")


def check(said: SimpleNamespace, expected: SimpleNamespace) -> None:
    """All that every board must do."""
    core, stats = expected.core, said.stats
    assert (said.board, said.place) == (said.name, "emulator")
    assert said.hello.model_error == 0
    assert [r.p_label for r in said.records] == [r.p_label for r in expected.records]
    assert (stats.weight_crc, stats.state_crc) == (core.weight_crc(), core.state_crc())
    assert 0 < stats.stack_bytes < (2048 if said.name in SMALL else 8192)
    us = sum(r.us for r in said.records)
    assert us > 0, "its clock stands still"
    assert US[0] < us < US[1] or not said.counted, f"its clock is wrong: {us} us"
    stores = said.name in (*emulated.STORES, "mega2560")
    told = said.hello.store_bytes > 0, said.hello.slots > 0
    assert told == (stores, stores), "which store it says it has"
    assert said.saved == stores
    assert said.after.sessions < said.sessions - 1, "it did not start again"  # may be asked twice
    assert said.after.state_crc == (core.state_crc() if stores else said.hello.state_crc)
    if said.name in PINS:
        phases = [phase for phase, _ in itertools.groupby(PINS[said.name][1](said.log))]
        learning, saving = [lib.WAGE_PHASE_FORWARD, 0], [lib.WAGE_PHASE_SAVE, 0]
        assert phases == [lib.WAGE_PHASE_IDLE, *learning * SAMPLES, *saving * stores], "phases"


def test_board_does_what_every_board_must(said, blob):
    check(said, learned(blob))


@pytest.mark.parametrize("said", ["netduinoplus2"], indirect=True)
def test_stm32f4_is_set_up_before_it_is_used(said):
    """QEMU does not need it, a chip does."""
    found = written(said.log, r"(?:RCC|GPIOB): .* write \(size 4, offset (\w+), value (\w+)\)")
    enabled = {0x30: 1 << 1, 0x34: 1 << 6, 0x40: 1 << 0, 0x44: 1 << 4}  # port B, noise, timer, UART
    pins = [(0x20, 0x77000000), (0x0C, 0x4000), (0x00, 0x5400A000)]  # functions, pull-up, modes
    start = [tuple(pair) for pair in itertools.islice(found, 8)]
    assert start[:4] == list(enabled.items())
    assert start[5:] == pins

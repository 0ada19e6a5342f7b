"""The Joulescope driver with its maker's own buffer; only the device itself is made up."""

# SPDX-License-Identifier: MIT

import importlib.metadata
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from wage_host import cli
from wage_host.errors import InstrumentError, PortNotFound, ToolMissing
from wage_host.power import instrument, joulescope

RATE, NATIVE = 100_000, 1_000_000
STEP = NATIVE // RATE


class Device:
    """What the library calls a device, as far as the driver asks."""

    def __init__(self) -> None:
        buffers = pytest.importorskip("joulescope.v1.stream_buffer")
        self.buffer = buffers.StreamBuffer(2.0, NATIVE, self, output_frequency=RATE)
        self.fields = {name: buffers.FIELDS[name][0] for name in joulescope.FIELDS}
        self.set: dict[str, object] = {}
        self.calls: list[str] = []
        for buffer in self.buffer.buffers.values():
            buffer.active = False
        for key in self.fields.values():
            self.buffer.buffers[key].active = True

    def __str__(self) -> str:
        return "JS220-000123"

    def parameter_set(self, name: str, value: object) -> None:
        self.set[name] = value

    def stream_process_register(self, driver: object) -> None:
        self.driver = driver

    def open(self) -> None:
        self.calls.append("open")

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")

    def close(self) -> None:
        self.calls.append("close")

    def send(self, first: int, amperes: np.ndarray, pins: np.ndarray) -> None:
        """Samples as the library gets them from the device."""
        signals = {
            "current": amperes.astype(np.float32),
            "voltage": np.full(len(amperes), 1.8, np.float32),
            "current_lsb": np.packbits(pins & 1, bitorder="little"),
            "voltage_lsb": np.packbits(pins >> 1, bitorder="little"),
        }
        for name, values in signals.items():
            field, index = self.fields[name]
            self.buffer.insert("", {
                "field_id": field, "index": index, "sample_id": first * STEP, "data": values,
                "sample_rate": NATIVE, "decimate_factor": STEP,
            })  # fmt: skip
        self.driver.stream_notify(self.buffer)


@pytest.fixture
def device(monkeypatch) -> Device:
    """A made-up device that the library finds."""
    found, library = Device(), pytest.importorskip("joulescope")
    monkeypatch.setattr(library, "scan_require_one", lambda **_: found)
    return found


def test_samples_pins_and_what_is_missing(device):
    driver = instrument.open_instrument("joulescope")
    driver.start()
    assert device.set == {"sampling_frequency": RATE, "current_lsb": "gpi0", "voltage_lsb": "gpi1"}
    pins = np.resize(np.array([0, 1, 2, 3], np.uint8), 800)
    amperes = np.linspace(0.001, 0.01, 800)
    device.send(4000, amperes, pins)
    device.send(4880, amperes, pins)  # 80 are missing
    blocks = [driver.read(0.1) for _ in range(2)]
    t = np.concatenate([block.t for block in blocks])
    assert t == pytest.approx(np.append(np.arange(800), np.arange(880, 1680)) / RATE)
    assert np.concatenate([block.amperes for block in blocks]) == pytest.approx([*amperes] * 2)
    assert (blocks[0].marks == pins).all()
    assert (blocks[0].volts == np.float32(1.8)).all()
    assert [(gap.kind, gap.samples, gap.at_s) for gap in driver.gaps()] == [("lost", 80, 0.008)]
    driver.stop()
    assert device.calls == ["open", "start", "stop", "close"]


def test_none_is_there(monkeypatch):
    library = pytest.importorskip("joulescope")

    def none(**_: object) -> None:
        raise RuntimeError("no devices found")

    monkeypatch.setattr(library, "scan_require_one", none)
    with pytest.raises(PortNotFound, match="no Joulescope is plugged in, or several are"):
        instrument.open_instrument("joulescope")


def test_what_it_cannot_be_told():
    with pytest.raises(InstrumentError, match="measures the voltage itself: leave out --volts"):
        instrument.open_instrument("joulescope", 3.0)
    with pytest.raises(InstrumentError, match="write joulescope alone"):
        instrument.open_instrument("joulescope:/dev/ttyACM0")


@pytest.mark.parametrize("name", ["joulescope", "otii"])
def test_a_library_that_is_not_installed(name, monkeypatch):
    module = {"joulescope": "joulescope", "otii": "otii_tcp_client"}[name]
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ToolMissing, match=rf"pip install 'wage-host\[{name}\]'"):
        instrument.open_instrument(name)


def test_a_driver_of_somebody_else(monkeypatch):
    class Theirs(SimpleNamespace):
        @staticmethod
        def find() -> list[str]:
            return ["here"]

    mine = importlib.metadata.entry_points(group=instrument.GROUP)
    point = SimpleNamespace(name="theirs", load=lambda: Theirs)
    monkeypatch.setattr(instrument, "drivers", lambda: {p.name: p for p in [*mine, point]})
    monkeypatch.setattr("wage_host.power.commands.drivers", instrument.drivers)
    assert instrument.driver("theirs") is Theirs
    told = CliRunner().invoke(cli.wage_host, ["power", "list"], standalone_mode=False).output
    assert [line.split()[0] for line in told.splitlines()[1:-1]] == [
        "csv", "joulescope", "lpm", "otii", "ppk2", "replay", "theirs"
    ]  # fmt: skip
    assert "here" in told

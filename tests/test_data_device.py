"""A device that samples by itself gives the model the host's bits, and so the same prediction."""

# SPDX-License-Identifier: MIT

import dataclasses
import io
import struct
from pathlib import Path

import native
import numpy as np
import pytest
from test_data_readers import put, wav
from wage_host import data, link, network, sim, stream, train
from wage_host.core import Config, Core
from wage_host.data.live import Live
from wage_host.device import Device
from wage_host.extras import NOTHING, Extras

RNG = np.random.default_rng(4)
SAMPLES = 896
HOW = f"cut {SAMPLES}, logmel 8000 256/128 10, normalise"
CONFIG = Config(1, -3, 0, 2, 0)


def sounds() -> list[tuple[str, np.ndarray]]:
    """Noise, tones, silence, the loudest: class and samples."""
    t = np.arange(1000) / 8000
    out = []
    for k in range(4):
        out.append(("low", np.rint(9000 * np.sin(2 * np.pi * (200 + 90 * k) * t))))
        out.append(("high", np.rint(3000 * np.sin(2 * np.pi * (2000 + 300 * k) * t))))
        out.append(("noise", RNG.integers(-32768 >> 4 * k, 32768 >> 4 * k, 1000)))
    out += [("noise", np.zeros(1000)), ("noise", np.full(1000, -32768))]
    return [(name, x.astype(int)) for name, x in out]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[np.ndarray], data.Data]:
    """A model, recordings, and what the host makes of them with the model's own steps."""
    folder, found = tmp_path_factory.mktemp("device"), sounds()
    for k, (name, x) in enumerate(found):
        put(folder / f"s/{name}/{k:02}.wav", wav(x))
    known, extras = data.learn_from(folder / "s", HOW)
    net = network.parse("6x10x1 8FC 3FC", 1)
    how = train.How(CONFIG, ((1, -3),) * 3)
    net, _ = train.run(net, known, how)
    blob = train.convert(dataclasses.replace(net, extras=extras), "ears", CONFIG, 1, 0, [])
    (folder / "m.wage").write_bytes(blob)
    loaded = data.load(folder / "s", Extras(Core(blob).info.extras.steps, extras.names))
    order = [x for name, x in sorted(found, key=lambda pair: pair[0])]
    raw = data.read(folder / "s")
    assert all(np.array_equal(a, b.reshape(-1)) for a, b in zip(order, raw.x, strict=True))
    return blob, order, loaded


def wanted(blob: bytes, loaded: data.Data) -> list[str]:
    """Prediction and input, by the host."""
    core = Core(blob)
    answers = core.predict(loaded.x, np.zeros(len(loaded), int))["prediction"]
    rows = zip(answers.tolist(), loaded.x.reshape(len(loaded), -1).tolist(), strict=True)
    return [" ".join(map(str, [answer, *x])) for answer, x in rows]


def cases(blob: bytes, order: list[np.ndarray]) -> list[bytes]:
    """Cases of tests/native/prepare.c."""
    head = struct.pack("<I", len(blob)) + blob
    return [head + x[:SAMPLES].astype("<i2").tobytes() for x in order]


def test_device_and_host_agree(made: tuple) -> None:
    blob, order, loaded = made
    answers = wanted(blob, loaded)
    assert len({line.split()[0] for line in answers}) > 1
    program = native.build("prepare", native.SANITIZE)
    assert native.run(program, cases(blob, order)) == answers


@pytest.mark.parametrize("cpu", ["cortex-m0", "cortex-m55"])
def test_emulated_devices_agree(cpu: str, made: tuple, tmp_path: Path) -> None:
    blob, order, loaded = made
    found = native.emulate("prepare", cpu, cases(blob, order), tmp_path)
    assert found == wanted(blob, loaded)


# -- a live source over a bad link ---------------------------------------------------------


class Flaky(link.SimLink):
    """A link that is lost at every seventh write."""

    writes = 0

    def write(self, frame: bytes) -> None:
        """A frame, or nothing for good."""
        Flaky.writes += 1
        if Flaky.writes % 7 == 0:
            raise link.LinkLost("the cable was pulled")
        super().write(frame)


@pytest.mark.parametrize("resets", [False, True])
def test_live_source_survives_faults_of_link_and_board(resets: bool) -> None:
    """What a reset board forgot is learned again from what came in; nothing twice."""
    net = network.parse("1x1x2 3FC", 1)
    blob, lines = train.convert(net, "live", CONFIG, 1, 4, []), "".join(
        f"{k % 3},{k * 3},{200 - k}\n" for k in range(40)
    )  # fmt: skip
    boards = [sim.SimBoard(blob)]

    def connect() -> link.Link:
        if resets:
            boards.append(sim.SimBoard(blob))
        return Flaky(boards[-1])

    learned: list = []
    with Device(connect, answer_s=1.0, hello_s=0.02) as device:
        device.start(1, CONFIG)
        list(stream._follow(device, Live(io.StringIO(lines), NOTHING), learned))
        stats = device.stats()
    twin = Core(blob)
    twin.start(1, CONFIG)
    list(twin.learn(learned))
    assert len(learned) == stats.last_id == 40
    assert stats.state_crc == twin.state_crc()
    assert Flaky.writes > 45

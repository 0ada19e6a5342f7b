"""What a board learned comes home: by PULL, part by part, as the model it now is."""

# SPDX-License-Identifier: MIT

import zlib
from pathlib import Path

import nets
import numpy as np
import pytest
import random_models
import reference as ref
from blobs import dense, make_blob, random_stream
from test_cli import refused, run
from wage_host import link, pack, unpack
from wage_host._core import ffi, lib
from wage_host.core import Config, Core
from wage_host.device import Device
from wage_host.errors import ModelError, Refused
from wage_host.sim import SimBoard, running

NETS = [nets.net(name, bits, "continual", seed=3) for name in nets.NETS for bits in (2, 5, 8)]


def read(core: Core, at: int, count: int) -> tuple[int, bytes]:
    """How many there are, and those that were written; nothing else was."""
    room = ffi.new("uint8_t[]", b"\xa5" * (count + 8))
    total = lib.wage_read_weights(core.wage, at, room, count)
    there = max(0, min(count, total - at))
    assert bytes(room[there : count + 8]) == b"\xa5" * (count + 8 - there)
    return total, bytes(room[0:there])


@pytest.mark.parametrize("blob", NETS)
def test_weights_are_read_in_canonical_order_in_any_parts(blob: bytes) -> None:
    core, model = Core(blob), ref.open_model(blob)
    core.start(1, core.config())
    ref.start(model, 1)
    for id, (x, label) in enumerate(random_stream(blob, 1, 3), 1):
        list(core.learn([(x, label)]))
        ref.learn(model, id, x, label)
    whole = ref.weight_bytes(model)
    assert zlib.crc32(whole) == core.weight_crc()
    assert read(core, 0, len(whole)) == (len(whole), whole)
    for at in (0, 1, 2, 63, 64, len(whole) // 2, len(whole) - 1, len(whole), 1 << 31, 2**32 - 1):
        for count in (0, 1, 3, 64):
            assert read(core, at, count) == (len(whole), whole[at : at + count])


def repacked(up: unpack.Unpacked) -> bytes:
    """The blob again."""
    return pack.blob(
        up.network, up.name, up.config, up.train_last, up.replay_capacity, up.replay, up.rules
    )


def test_blob_is_unpacked_and_packed_again() -> None:
    same = 0
    for number in range(150):
        blob = random_models.random_model(number)
        up = unpack.unpacked(blob)
        assert unpack.with_weights(blob, ref.weight_bytes(ref.open_model(blob))) == blob
        bias = up.rules.paper and any(layer.bias is not None for layer in up.network.layers)
        if not bias and up.first == up.network.weighted[-up.train_last]:  # as pack.blob() begins
            again = unpack.unpacked(repacked(up))
            assert repacked(again) == repacked(up)
            assert (again.config, again.rules, again.first) == (up.config, up.rules, up.first)
            one, other = Core(repacked(up)), Core(blob)
            assert one.state_crc() == other.state_crc()
            x = np.zeros((1, *up.network.shape), np.int8)
            assert one.predict(x, [0]) == other.predict(x, [0])
            same += 1
    assert same > 50


def board(blob: bytes, path: Path) -> tuple[Device, list[np.ndarray]]:
    """A simulated board that has learned a little, and samples."""
    device = Device(lambda: link.SimLink(SimBoard(blob, path)), 30.0)
    device.start(1, Config(7, -3, 0, 2, 0))
    samples = list(random_stream(blob, 5, 6))
    list(device.learn(samples))
    return device, [x for x, _ in samples]


def test_pulled_model_predicts_as_the_board(tmp_path: Path) -> None:
    blob = NETS[2]
    device, xs = board(blob, tmp_path / "store")
    learned = b"".join(device.pull())
    made = Core(unpack.with_weights(blob, learned))
    assert made.weight_crc() == device.stats().weight_crc != Core(blob).weight_crc()
    mine = [r.prediction for r in made.evaluate([(x, 0) for x in xs])]
    assert mine == [r.prediction for r in device.evaluate([(x, 0) for x in xs])]
    for wrong in (learned[:-1], learned + b"\0", b""):
        with pytest.raises(ModelError, match="of another model"):
            unpack.with_weights(blob, wrong)
    with pytest.raises(Refused) as refused:
        device.request(lib.WAGE_PULL, lib.WAGE_PULLED, at=len(learned) + 1)
    assert refused.value.name == "WAGE_E_RANGE"
    empty = device.request(lib.WAGE_PULL, lib.WAGE_PULLED, at=len(learned))
    assert empty.tail == b"" and empty.named().bytes == len(learned)


def test_weights_that_changed_while_they_were_read_are_refused(tmp_path: Path) -> None:
    blob = make_blob([dense(5, flags=1)], (6, 6, 2))
    device, _ = board(blob, tmp_path / "store")
    parts = device.pull()
    next(parts)
    list(device.learn(list(random_stream(blob, 5, 30))))
    with pytest.raises(Refused, match="pull again"):
        list(parts)


def test_command_writes_the_model_as_it_is_now(tmp_path: Path) -> None:
    blob = make_blob([dense(5, flags=1)], (4, 4, 1))
    model, made = tmp_path / "m.wage", tmp_path / "n.wage"
    model.write_bytes(blob)
    with running(model, tmp_path / "store") as port:
        run("pull", "--port", port, "--model", model, "-o", made, cwd=tmp_path)
        assert made.read_bytes() == blob  # nothing was learned
        code, text = refused("pull", "--port", port, "-o", made, cwd=tmp_path)
        assert code == 2 and "--model" in text

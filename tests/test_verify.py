"""wage-host verify: the same integers in oracle, host and board, or the name of the layer."""

# SPDX-License-Identifier: MIT

import dataclasses
import json
import random
from pathlib import Path

import blobs
import nets
import numpy as np
import pytest
import random_models
import reference as ref
from blobs import dense, make_blob, random_stream
from test_cli import refused, run
from wage_host import data, link, sim, unpack, verify
from wage_host.core import Core
from wage_host.device import Device
from wage_host.errors import LayerDiffers, Refused
from wage_host.sim import SimBoard

NETS = [nets.net(name, bits, "continual", seed=3) for name in nets.NETS for bits in (2, 8)]
PATIENCE_S = 120.0


def crcs_of_oracle(blob: bytes, x: np.ndarray) -> list[int]:
    """CRC of each layer's output."""
    return verify.of_oracle(blob, Core(blob).config()).outputs(x)


def test_oracle_of_the_package_is_that_of_the_tests() -> None:
    assert Path(verify.oracle().__file__) == Path(ref.__file__)


def test_probe_is_the_oracle_s_output_of_every_layer_and_changes_nothing() -> None:
    kinds = set()
    for blob in [*NETS, *(random_models.random_model(n) for n in range(60))]:
        core = Core(blob)
        before = core.state_crc()
        for x, _ in random_stream(blob, 2, 2):
            mine = [core.probe(x, k) for k in range(core.wage.layer_count)]
            assert mine == crcs_of_oracle(blob, x)
        assert core.state_crc() == before
        kinds |= {core.wage.layers[k].kind for k in range(core.wage.layer_count)}
        with pytest.raises(Refused) as why:
            core.probe(x, core.wage.layer_count)
        assert why.value.name == "WAGE_E_RANGE"
    assert len(kinds) == 6


def board(blob: bytes) -> Device:
    """A simulated board."""
    return Device(lambda: link.SimLink(SimBoard(blob)), PATIENCE_S)


@pytest.mark.parametrize("blob", NETS)
def test_board_is_verified_and_left_as_it_was(blob: bytes) -> None:
    device = board(blob)
    before, xs = device.stats(), verify.golden(device.info.input_bytes, 5)
    assert len({x.tobytes() for x in xs}) == 5
    assert verify.verify(blob, device, xs)
    assert device.stats().state_crc == before.state_crc
    device.start(3, device.config())
    list(device.learn(list(random_stream(blob, 5, 6))))
    learned = device.stats()
    assert not verify.verify(blob, device, xs)  # forward only, with what it learned
    assert device.stats().state_crc == learned.state_crc != before.state_crc
    for x, layer, name in ((xs[0], 99, "RANGE"), (xs[0][:-1], 0, "INPUT")):
        with pytest.raises(Refused) as why:
            device.probe(x, layer)
        assert why.value.name == f"WAGE_E_{name}"


# -- mistakes, planted -----------------------------------------------------


def with_one_weight_off(blob: bytes, layer: int) -> bytes:
    """The same model but for a weight of that layer."""
    place = next(at for k, at, _ in unpack.learned_parts(blob) if k == layer)
    return blobs.seal(blob[:place] + bytes([blob[place], blob[place + 1] ^ 4]) + blob[place + 2 :])


def three_layers() -> bytes:
    """Dense ones that all learn."""
    layers = [dense(out, flags=1, activation=1 + (out > 4)) for out in (6, 5, 4)]
    layers[-1]["activation"] = 0
    draws = random.Random(1)
    for layer, fan_in in zip(layers, (8, 6, 5), strict=True):
        layer["weights"] = [draws.randint(-20000, 20000) for _ in range(layer["out"] * fan_in)]
    return make_blob(layers, (1, 1, 8))


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_first_layer_that_differs_is_named(layer: int) -> None:
    blob = three_layers()
    config = Core(blob).config()
    wrong = dataclasses.replace(
        verify.of_computer(with_one_weight_off(blob, layer), config), name="the board"
    )
    machines = [verify.of_oracle(blob, config), verify.of_computer(blob, config), wrong]
    with pytest.raises(LayerDiffers) as why:
        verify.compare(machines, verify.names(blob), verify.golden(8, 4), None)
    assert f"forward, layer {layer} (dense {layer}), input 2: the oracle has" in str(why.value)


def test_step_that_differs_is_named_from_the_top() -> None:
    blob = three_layers()
    config = Core(blob).config()
    finer = verify.of_computer(blob, dataclasses.replace(config, seed=config.seed + 1))
    machines = [verify.of_oracle(blob, config), verify.of_computer(blob, config)]
    x = verify.golden(8, 4)
    verify.compare(machines, verify.names(blob), x, 0)
    machines = [verify.of_oracle(blob, config), dataclasses.replace(finer, name="the board")]
    with pytest.raises(LayerDiffers, match=r"one training step, weights of layer 2 \(dense 2\)"):
        verify.compare(machines, verify.names(blob), x, 0)


def test_command(tmp_path: Path, demo_blob: Path) -> None:
    store = tmp_path / "store"
    with sim.running(demo_blob, store) as port:
        done = run("verify", demo_blob, "--port", port, "--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert told == {"ok": True, "layers": 4, "inputs": 4, "step": True}
    code, text = refused("verify", demo_blob, "--port", "sim", "--inputs", 0, cwd=tmp_path)
    assert code == 2 and "1 to 1000" in text
    data.save(tmp_path / "none.npz", np.zeros((0, 8, 8, 1), np.uint8), np.zeros(0, np.int64))
    none = ("--port", "sim", "--data", tmp_path / "none.npz")
    code, text = refused("verify", demo_blob, *none, cwd=tmp_path)
    assert code == 8 and "no samples" in text

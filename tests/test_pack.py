"""Networks as bytes: the blob as the oracle and the runtime read it, and the .npz file."""

# SPDX-License-Identifier: MIT

import dataclasses
import random
from math import prod
from pathlib import Path

import numpy as np
import pytest
import reference as ref
from test_network import BITS, CONFIG
from wage_host import network, pack, zoo
from wage_host._core import ffi, lib
from wage_host.core import Core
from wage_host.errors import ModelError
from wage_host.layers import Layer
from wage_host.pack import Rules


def random_text(draw: random.Random) -> str:
    """A network with something of everything."""
    tokens, c = [f"{draw.choice((6, 9))}x{draw.choice((8, 11))}x3"], 3
    for _ in range(draw.randint(1, 6)):
        bits = draw.choice(("", ":2", ":8", ":4/8", ":3/12", ":8/8", ":2/16"))
        s = draw.choice(("", "s"))
        kind = draw.choice(("C", "DW", "pool", "add"))
        if kind == "C":
            c = draw.randint(1, 5)
            tokens.append(f"{c}C{draw.choice((1, 3))}{s}{bits}")
        elif kind == "DW":
            tokens.append(f"DW3{s}{draw.choice(('', '-MP2'))}{bits}")
        elif kind == "pool":
            tokens.append(draw.choice(("MP2/1", "AP2/1")))
        else:
            tokens += [f"{c}C3{bits}", f"{c}C1s{bits}", f"+2{s}"]
    return " ".join([*tokens, draw.choice(("GAP", "")), "5FC:" + draw.choice(("2", "8", "5/11"))])


@pytest.mark.parametrize("number", range(40))
def test_blob_is_what_the_oracle_reads(number: int, seed: int) -> None:
    draw = random.Random(seed * 1000 + number)
    bias, paper = draw.random() < 0.5, draw.random() < 0.3
    net = network.parse(random_text(draw), number, draw.randrange(2), bias=bias, paper=paper)
    if bias:
        layers = [
            dataclasses.replace(n, bias=_integers(draw, n.out, 1 << 23)) if n.weight_bits else n
            for n in net.layers
        ]
        net = dataclasses.replace(net, layers=tuple(layers))
    rules = Rules(paper and not bias, draw.random() < 0.5, draw.randint(1, 5), draw.randint(0, 7))
    try:
        last = draw.randint(1, len(net.weighted))
        first = pack.cut(net, last)
    except ModelError as error:
        assert "begins between '+2" in str(error)
        return
    blob = pack.blob(net, "name", CONFIG, last, 7, [], rules)
    model, core = ref.open_model(blob), Core(blob)
    assert (model.paper, model.sse) == (rules.paper, rules.sse)
    assert (model.batch, model.momentum) == (rules.batch, rules.momentum)
    assert (model.input_shape, model.input_map) == (net.shape, net.input_map)
    assert dataclasses.asdict(model.config) == dataclasses.asdict(CONFIG)
    assert core.config() == CONFIG
    assert (model.name, model.replay_capacity, core.info.batch) == ("name", 7, rules.batch)
    for k, (read, at) in enumerate(zip(model.layers, net.places(), strict=True)):
        _same_layer(read, at.layer, k >= first, net.paper)
        assert (read.in_shape, read.out_shape, read.trainable) == (at.input, at.output, k >= first)
    for mine, theirs in zip(core.weights(), net.layers[first:], strict=True):
        assert np.array_equal(mine, theirs.weights)


def _integers(draw: random.Random, count: int, most: int) -> np.ndarray:
    return np.array([draw.randint(-most, most) for _ in range(count)], np.int32)


def _same_layer(read: ref.Layer, layer: Layer, trainable: bool, paper: bool) -> None:
    names = ("kind", "out", "kernel", "stride", "pool", "activation", "alpha_shift", "skip")
    for name in (*names, "factor"):
        assert getattr(read, name) == getattr(layer, name), name
    assert read.pad == layer.padding * 2
    assert read.bits == layer.weight_bits
    assert read.store_bits == (layer.store_bits if trainable else 0)
    if layer.weight_bits:
        expected = layer.weights if trainable else layer.used(paper)
        assert np.array_equal(read.w, expected)
    assert (read.bias is None) == (layer.bias is None)
    assert layer.bias is None or np.array_equal(read.bias, layer.bias)


def test_weights_in_use_are_those_of_the_runtime() -> None:
    for bits in BITS:
        _check_used(bits)


def _check_used(bits: tuple[int, int]) -> None:
    kw, kg = bits
    most = (1 << (kg - 1)) - (1 << (kg - kw))
    half = (1 << (kg - kw)) // 2  # where halves are rounded
    values = np.unique(np.clip(np.r_[-most : most + 1 : 37, -3 * half, -half, half, 3 * half],
                               -most, most)).astype(np.int16)  # fmt: skip
    weights = np.resize(values, (2, len(values)))
    net = network.parse(f"1x1x{len(values)} 2FC", 1, bits=bits)
    net = dataclasses.replace(net, layers=(dataclasses.replace(net.layers[0], weights=weights),))
    for paper in (False, True):
        blob = pack.blob(net, "n", CONFIG, 1, 0, [], Rules(paper=paper))
        core = Core(blob, level=0)
        row = ffi.new("int8_t[]", len(values))
        found = lib.wage_row(ffi.addressof(core.wage.layers[0]), 1, row)
        used = np.frombuffer(ffi.buffer(found, len(values)), np.int8)
        assert np.array_equal(net.layers[0].used(paper)[1], used)


def test_train_last_counts_layers_with_weights() -> None:
    net = network.parse("8x8x2 MP2 4C3 AP2 4C3s 4C3s +1 GAP 5FC", 1)
    assert [pack.cut(net, n) for n in (1, 2, 3, 4)] == [7, 4, 3, 1]
    two = network.parse("8x8x2 4C3 4C3 4C3s +2 5FC", 1)
    assert [pack.cut(two, n) for n in (1, 3, 4)] == [4, 1, 0]
    with pytest.raises(ModelError) as caught:
        pack.cut(two, 2)
    assert str(caught.value) == (
        "--train-last 2 begins between '+2' and what it adds, the input of '4C3': train more "
        "layers, or fewer"
    )
    for wrong in (0, 5):
        with pytest.raises(ModelError, match="--train-last is 1 to 4 for this network"):
            pack.cut(two, wrong)


def test_network_comes_back_whole(tmp_path: Path) -> None:
    text = "9x7x2 5C3/2 DW3:3/9 MP2/1 5C1x3s +1 AP2/1 6FC:2 3FC"
    net = network.parse(text, 4, 1, bias=True, paper=True)
    network.save(net, tmp_path / "n.npz")
    read = network.load(tmp_path / "n.npz")
    assert (read.shape, read.input_map, read.paper) == (net.shape, 1, True)
    assert pack.blob(read, "n", CONFIG, 3, 0, []) == pack.blob(net, "n", CONFIG, 3, 0, [])
    assert [layer.text for layer in read.layers] == text.split()[1:]


def test_file_that_is_no_network(tmp_path: Path) -> None:
    path = tmp_path / "n.npz"
    network.save(network.parse("2x2x1 3FC", 1), path)
    whole = path.read_bytes()
    for size in (0, 30, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelError, match="is no network of 'wage-host train', or is damaged"):
            network.load(path)
    np.savez(path, about='{"wage": 1}')
    with pytest.raises(ModelError, match="was made by another version of wage-host: train it"):
        network.load(path)
    with pytest.raises(ModelError, match="there is no model file"):
        network.load(tmp_path / "none.npz")


@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_named_networks_open_and_are_counted(name: str) -> None:
    net = network.parse(zoo.text_of(name), 1)
    core = Core(pack.blob(net, name, CONFIG, len(net.weighted), 0, []))
    (row,) = (row for row in zoo.table() if row["name"] == name)
    layers = [core.wage.layers[k] for k in range(core.wage.layer_count)]
    assert row["weights"] == sum(layer.weight_count for layer in layers)
    assert row["macs"] == sum(layer.weight_count * layer.sum_h * layer.sum_w for layer in layers)
    assert prod(net.shape) == core.info.input_bytes

"""Builds that leave out what a model does not need: the same bits, other models refused."""

# SPDX-License-Identifier: MIT

import importlib.util
import itertools
from types import ModuleType

import native
import nets
import numpy as np
import pytest
import workloads
from wage_host import network, pack
from wage_host._core import lib
from wage_host.core import Config, Core

SAMPLES = 40


def load() -> ModuleType:
    """The part of the builder that reads models."""
    path = native.ROOT / "boards/platform/builder/layers.py"
    spec = importlib.util.spec_from_file_location("layers", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


layers = load()


def build(harness: str, blob: bytes) -> object:
    """A harness with a runtime for this model only."""
    flags = ("-O1", f"-DWAGE_LAYERS={layers.layers_of(blob):#x}ul", *native.SANITIZE[2:])
    return native.build(harness, flags)


def test_bits_are_those_of_the_header() -> None:
    names = ("PAPER", "SSE", "MOMENTUM", "BATCH", "BIAS", "FROZEN", "ROUND_ROW")
    names += ("INPUTS", "MEANS", "CLASSES")
    for name in names:
        assert getattr(layers, name) == 1 << getattr(lib, f"WAGE_USE_{name}")
    assert layers.layers_of(workloads.blob("W1")) == 1 << lib.WAGE_DENSE
    ternary = layers.layers_of(workloads.blob("W1 ternary"))
    assert ternary == 1 << lib.WAGE_DENSE | layers.ROUND_ROW
    w2 = layers.layers_of(workloads.blob("W2"))
    assert w2 == 1 << lib.WAGE_DENSE | 1 << lib.WAGE_CONV2D


@pytest.mark.parametrize("name", workloads.NAMES)
def test_own_model_learns_the_same(name: str) -> None:
    blob, samples = workloads.blob(name), workloads.samples(SAMPLES)
    cases = [b"B" + blob, native.case_of(b"L", samples)]
    core = Core(blob)
    core.start(1, core.config())
    list(core.learn(samples))
    assert native.run(build("parity", blob), cases)[-1] == nets.crcs(core)


def test_other_models_are_refused_by_name() -> None:
    net = network.parse("8x8x1 32FC 10FC", 1)
    config = Config(1, -3, 1, 2, 0)

    def variant(train_last: int = 2, bias: bool = False, **rules: object) -> bytes:
        made = network.parse("8x8x1 32FC 10FC", 1, bias=bias)
        return pack.blob(made, "other", config, train_last, 0, [], pack.Rules(**rules))

    mine = [workloads.blob("W1"), pack.blob(net, "mine", config, 2, 0, [])]
    others = [workloads.blob(name) for name in workloads.NAMES[1:]]
    others += [variant(train_last=1), variant(bias=True), variant(batch=2), variant(momentum=3)]
    others += [variant(paper=True), variant(sse=True), variant(inputs=True), variant(table=True)]
    others += [variant(train_last=1, bias=True, means=True)]
    others += [pack.blob(pack.only_biases(net, 2), "other", config, 2, 0, [])]
    lines = native.run(build("blobs", mine[0]), [*mine, *others])
    assert [line.split()[0] for line in lines[:2]] == ["0", "0"]
    assert lines[2:] == [str(lib.WAGE_E_KIND)] * len(others)
    assert native.run(build("blobs", b""), others[:1])[0].startswith("0 ")


def both_ways(text: str, bits: tuple[int, int], config: Config, x: np.ndarray) -> set[str]:
    """What levels 0 (row by row) and 1 (by gradients) learn from x: (n, inputs)."""
    net = network.parse(text, 3, bits=bits)
    blob = pack.blob(net, "rows", config, len(net.weighted), 4, [])
    said = set()
    for level in (0, 1):
        core = Core(blob, level=level)
        core.start(1, core.config())
        list(core.learn([(row, k % 2) for k, row in enumerate(x)]))
        said.add(nets.crcs(core))
    return said


RATES = list(itertools.product((-24, -9, -3, 0, 2, 7), (1, 2, 15)))


@pytest.mark.parametrize("bits", [(8, 16), (2, 8), (4, 12)])
@pytest.mark.parametrize("inputs", [7, 8])
def test_row_by_row_is_as_by_gradients(bits: tuple[int, int], inputs: int) -> None:
    """Level 0 learns dense layers row by row; the others keep gradients."""
    rng = np.random.default_rng(inputs)
    for shift, factor in RATES:
        config = Config(5, shift, 2, 2, 0, factor)
        x = rng.integers(-128, 128, (30, inputs)).astype(np.int8)
        x[rng.random(x.shape) < 0.4] = 0
        text = f"1x1x{inputs} 9FC 5FCs 4FC"
        assert len(both_ways(text, bits, config, x)) == 1, (shift, factor)


def test_rows_too_long_for_pairs() -> None:
    x = np.random.default_rng(1).integers(-128, 128, (3, 1 << 16)).astype(np.int8)
    assert len(both_ways("256x256x1 2FC", (8, 16), Config(5, -3, 1, 2, 0), x)) == 1

"""C layers against the oracle, bit by bit: forward with winners, error, gradient."""

# SPDX-License-Identifier: MIT

import random
from dataclasses import replace

import numpy as np
import pytest
import reference as ref
from cside import CLayer
from wage_host._core import ffi, lib

PLAIN = ((1, 1), (1, 1), (0, 0, 0, 0), 1)  # kernel, stride, padding, pool of a dense layer


@pytest.fixture
def rng(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """The run's seed, and another sequence for each test."""
    return random.Random(f"{seed} {request.node.name}")


def filled(rng: random.Random, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """A tensor in low..high: random, sparse, alike, or only ends."""
    count, style = int(np.prod(shape)), rng.randrange(6)
    some = [rng.randint(low, high), rng.randint(low, high)]
    flat = {
        0: lambda: rng.randint(low, high),
        1: lambda: rng.randint(low, high),
        2: lambda: rng.choice((0, 0, 0, rng.randint(low, high))),
        3: lambda: rng.choice((low, high)),
        4: lambda: rng.choice(some),
        5: lambda: some[0] if some[1] > 0 else 0,
    }
    return np.array([flat[style]() for _ in range(count)]).reshape(shape)


def with_weights(rng: random.Random, layer: ref.Layer) -> ref.Layer:
    """The layer with weights; trainable ones often next to where rounding turns."""
    layer.w = filled(rng, (layer.out, layer.fan_in), -layer.limit, layer.limit)
    if layer.trainable and rng.randrange(2):
        turns = (-33, -32, 32, 33) if layer.bits == 2 else (-129, -128, 127, 128, 32511)
        chosen = np.array([rng.randrange(3) == 0 for _ in range(layer.w.size)])
        near = np.array([rng.choice(turns) for _ in range(layer.w.size)])
        layer.w = np.where(chosen, near, layer.w.reshape(-1)).reshape(layer.w.shape)
    return layer


def random_layer(rng: random.Random, kind: int, trainable: bool, bits: int) -> ref.Layer:
    """A layer of any shape that its input allows."""
    shape = (rng.randint(1, 9), rng.randint(1, 9), rng.randint(1, 5))
    kernel, stride, pad, pool = PLAIN
    if kind == ref.CONV2D:
        kernel = (rng.randint(1, 5), rng.randint(1, 5))
        stride = (rng.choice((1, 1, 2, 3, 7)), rng.choice((1, 1, 2, 3, 7)))
        pad = tuple(rng.choice((0, k // 2, k - 1, rng.randrange(k))) for k in (*kernel, *kernel))
        pool = rng.choice((1, 2))
        h = max(shape[0], kernel[0] - pad[0] - pad[2])
        w = max(shape[1], kernel[1] - pad[1] - pad[3])
        shape = (h, w, shape[2])
    scale = rng.choice((0, 1, 2, 3, 4, rng.randint(0, 20)))
    layer = ref.Layer(
        kind, 0, bits, trainable, scale, shape, rng.randint(1, 9), kernel, stride, pad, pool
    )
    return with_weights(rng, layer)


def check(rng: random.Random, layer: ref.Layer, last: bool) -> None:
    """All three kernels of one layer on one input and one error."""
    low = rng.choice((0, -128, -127))
    a = filled(rng, layer.in_shape, low, 127)
    z, winner = ref.layers.forward(layer, a)
    c = CLayer(layer, last)
    want = z if last else ref.activate(layer, z)
    np.testing.assert_array_equal(c.forward(a), want)
    if not layer.trainable:
        return
    if winner is not None:
        np.testing.assert_array_equal(c.winners(), winner)
    d = filled(rng, layer.out_shape, -127, 127)
    np.testing.assert_array_equal(c.error(d), ref.layers.ERROR[layer.kind](layer, d, winner))
    g = ref.layers.GRADIENT[layer.kind](layer, a, d, winner)
    np.testing.assert_array_equal(c.gradient(a, d), g)
    np.testing.assert_array_equal(c.weights(), layer.w)


@pytest.mark.parametrize("bits", [2, 8])
@pytest.mark.parametrize("trainable", [False, True], ids=["frozen", "trainable"])
@pytest.mark.parametrize("kind", [ref.DENSE, ref.CONV2D], ids=["dense", "conv2d"])
def test_random_layers(rng: random.Random, kind: int, trainable: bool, bits: int) -> None:
    for number in range(500):
        layer = random_layer(rng, kind, trainable, bits)
        check(rng, layer, last=number % 4 == 0)


@pytest.mark.parametrize("bits", [2, 8])
def test_every_small_convolution(rng: random.Random, bits: int) -> None:
    base = random_layer(rng, ref.CONV2D, True, bits)
    for side in (1, 2, 3, 4, 5):
        for kernel in (1, 2, 3):
            for stride in (1, 2, 3):
                for before in range(kernel):
                    for after in range(kernel):
                        if side + before + after < kernel:
                            continue
                        for pool in (1, 2):
                            layer = replace(
                                base, in_shape=(side, 6 - side, 2), kernel=(kernel, 1), out=2,
                                stride=(stride, 1), pad=(before, 0, after, 0), pool=pool,
                            )  # fmt: skip
                            check(rng, with_weights(rng, layer), last=False)
                            layer = replace(
                                layer, in_shape=(6 - side, side, 2), kernel=(1, kernel),
                                stride=(1, stride), pad=(0, before, 0, after),
                            )  # fmt: skip
                            check(rng, with_weights(rng, layer), last=True)


def test_activations_of_all_sums_near_a_rounding(rng: random.Random) -> None:
    for bits, scale in ((2, 0), (2, 5), (2, 20), (8, 0), (8, 3), (8, 20)):
        layer = ref.Layer(ref.DENSE, 0, bits, True, scale, (1, 1, 1), 1, *PLAIN)
        half = 1 << (layer.h - 1)
        sums = [k * half + near for k in range(0, 262) for near in (-1, 0, 1)]
        sums += [-(1 << 31), -1, (1 << 31) - 1]
        sums = np.array([v for v in sums if v < 1 << 31])
        want = ref.activate(layer, sums)
        got = emitted(layer, sums)
        np.testing.assert_array_equal(got, want)


def emitted(layer: ref.Layer, sums: np.ndarray) -> np.ndarray:
    """wage_emit of each sum."""
    layer.w = np.zeros((1, 1), np.int64)
    c, a = CLayer(layer), ffi.new("int8_t[]", len(sums))
    out = ffi.new("struct wage_output *", {"a": a})
    for i, z in enumerate(sums.tolist()):
        lib.wage_emit(c.c, i, z, out)
    return np.array(list(a))


def test_largest_sums_that_a_model_may_have() -> None:
    fan_in = ref.Layer(ref.DENSE, 0, 8, True, 20, (1, 3, 43690), 2, *PLAIN)
    fan_in.w = np.full((2, 131070), 32512)
    fan_in.w[1] *= -1
    fan_out = ref.Layer(
        ref.CONV2D, 0, 8, True, 20, (1, 1, 1), 43690, (3, 1), (1, 1), (2, 0, 2, 0), 1
    )
    fan_out.w = np.full((43690, 3), -32512)
    positions = ref.Layer(
        ref.CONV2D, 0, 2, True, 20, (362, 362, 1), 1, (1, 1), (1, 1), (0, 0, 0, 0), 1
    )
    positions.w = np.full((1, 1), 64)
    for layer in (fan_in, fan_out, positions):
        ref.blob.check_shape(layer)
        c = CLayer(layer, last=True)
        for value in (-128, 127):
            a, d = np.full(layer.in_shape, value), np.full(layer.out_shape, 127)
            z, winner = ref.layers.forward(layer, a)
            np.testing.assert_array_equal(c.forward(a), z)
            e = ref.layers.ERROR[layer.kind](layer, d, winner)
            np.testing.assert_array_equal(c.error(d), e)
            if layer is not fan_out:  # its rows are many and short
                g = ref.layers.GRADIENT[layer.kind](layer, a, d, winner)
                np.testing.assert_array_equal(c.gradient(a, d), g)

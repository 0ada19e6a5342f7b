"""C layers against the oracle, bit by bit, at every level of kernels: forward, error, gradient."""

# SPDX-License-Identifier: MIT

import random
from dataclasses import replace
from itertools import product

import blobs
import numpy as np
import pytest
import reference as ref
from cside import LEVELS, CLayer
from wage_host._core import lib

PLAIN = ((1, 1), (1, 1), (0, 0, 0, 0), 1)  # kernel, stride, padding, pool of a dense layer
KINDS = {
    "dense": ref.DENSE, "conv2d": ref.CONV2D, "depthwise": ref.DEPTHWISE,
    "average_pool": ref.AVERAGE_POOL, "max_pool": ref.MAX_POOL, "add": ref.ADD,
}  # fmt: skip
WEIGHTED = (ref.DENSE, ref.CONV2D, ref.DEPTHWISE)
BIAS_MAX = (1 << 24) - 1


@pytest.fixture
def rng(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """The run's seed, and another sequence for each test."""
    return random.Random(f"{seed} {request.node.name}")


def filled(rng: random.Random, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """A tensor in low..high: random, sparse, alike, or only ends."""
    count, style = int(np.prod(shape)), rng.randrange(6)
    draw = np.random.default_rng(rng.getrandbits(32))
    some = [rng.randint(low, high), rng.randint(low, high)]
    if style < 2:
        flat = draw.integers(low, high + 1, count)
    elif style == 2:
        flat = draw.integers(low, high + 1, count) * (draw.integers(4, size=count) == 0)
    elif style == 3:
        flat = draw.choice([low, high], count)
    elif style == 4:
        flat = draw.choice(some, count)
    else:
        flat = np.full(count, some[0] if some[1] > 0 else 0)
    return flat.astype(np.int64).reshape(shape)


def with_weights(rng: random.Random, layer: ref.Layer) -> ref.Layer:
    """The layer with weights; trainable ones often next to where rounding turns."""
    if layer.kind not in WEIGHTED:
        return layer
    layer.w = filled(rng, (layer.out, layer.fan_in), -layer.limit, layer.limit)
    if layer.trainable and rng.randrange(2):
        half = (1 << (layer.store_bits - layer.bits)) >> 1
        steps = 2 * rng.randint(0, (1 << (layer.bits - 1)) - 2) + 1
        turns = [sign * (steps * half + by) for sign in (-1, 1) for by in (-1, 0, 1)]
        turns = [t for t in turns if abs(t) <= layer.limit]
        chosen = filled(rng, layer.w.shape, 0, 2) == 0
        near = np.array([rng.choice(turns) for _ in range(layer.w.size)]).reshape(layer.w.shape)
        layer.w = np.where(chosen, near, layer.w)
    if rng.randrange(3) == 0:
        layer.bias = filled(rng, (layer.out,), -BIAS_MAX, BIAS_MAX)
    return layer


def random_layer(rng: random.Random, kind: int, trainable: bool) -> ref.Layer:
    """A layer of any shape and width that its input allows, for either policy."""
    flat = rng.randrange(5) == 0
    shape = (1 if flat else rng.randint(1, 9), rng.randint(1, 20 if flat else 9))
    shape = (*shape, rng.choice((rng.randint(1, 5), rng.randint(1, 5), 8, 17, 33)))
    kernel, stride, pad, pool = PLAIN
    if kind not in (ref.DENSE, ref.ADD):
        kernel = (1 if flat else rng.randint(1, 5), rng.randint(1, 5))
        stride = (rng.choice((1, 1, 2, 3, 7)), rng.choice((1, 1, 2, 3, 7)))
        pad = tuple(rng.choice((0, k // 2, k - 1, rng.randrange(k))) for k in (*kernel, *kernel))
        pool = rng.choice((1, 2)) if kind in WEIGHTED else 1
        h = max(shape[0], kernel[0] - pad[0] - pad[2])
        shape = (h, max(shape[1], kernel[1] - pad[1] - pad[3]), shape[2])
    bits = rng.choice((2, 8, rng.randint(2, 8))) if kind in WEIGHTED else 0
    kept = rng.choice((16 if bits == 8 else 8, rng.randint(bits, 16)))
    scale = rng.choice((0, 1, 2, 3, 4, rng.randint(0, 20)))
    factor = 0
    if kind == ref.AVERAGE_POOL:
        factor = rng.choice((1, 37, rng.randint(1, 65535)))
    elif kind == ref.MAX_POOL:
        scale = 0
    elif kind == ref.ADD:
        scale = rng.randrange(8)
    layer = ref.Layer(
        kind, 0, bits, trainable, scale, shape,
        rng.choice((rng.randint(1, 9), 16, 25)) if kind < ref.DEPTHWISE else shape[2],
        kernel, stride, pad, pool, None, kept if trainable and bits else 0,
        rng.choice((ref.RELU, ref.SIGNED)), bool(rng.randrange(2)), int(kind == ref.ADD), factor,
    )  # fmt: skip
    if kind in (ref.AVERAGE_POOL, ref.MAX_POOL):
        layer.activation = ref.NONE
    return with_weights(rng, layer)


def check(rng: random.Random, layer: ref.Layer, last: bool, n: int = 1, level: int = 0) -> None:
    """All kernels of one layer on one batch of inputs and of errors."""
    low = -127 if layer.kind == ref.MAX_POOL else rng.choice((0, -128, -127))
    a = filled(rng, (n, *layer.in_shape), low, 127)
    side = filled(rng, a.shape, low, 127) if layer.kind == ref.ADD else None
    pairs = [ref.forward(layer, x, side[s] if side is not None else None) for s, x in enumerate(a)]
    z, winner = np.stack([z for z, _ in pairs]), [w for _, w in pairs]
    c = CLayer(layer, last, n=n, level=level)
    np.testing.assert_array_equal(c.forward(a, side), z if last else ref.activate(layer, z))
    if not layer.trainable:
        return
    if layer.pool == 2:
        np.testing.assert_array_equal(c.winners(), np.stack(winner) if n > 1 else winner[0])
    if layer.paper and not last and layer.activation != ref.NONE:
        masks = ref.opened(layer, z) * 1 + ref.saturated(layer, z) * 2
        np.testing.assert_array_equal(c.masks().reshape(z.shape), masks)
    d = filled(rng, (n, *layer.out_shape), -127, 127)
    both = list(zip(d, winner, strict=True))
    e = np.stack([ref.layers.ERROR[layer.kind](layer, one, w) for one, w in both])
    np.testing.assert_array_equal(c.error(d, a if layer.kind == ref.MAX_POOL else None), e)
    if layer.kind not in WEIGHTED:
        return
    triples = zip(a, both, strict=True)
    g = sum(ref.layers.GRADIENT[layer.kind](layer, x, one, w) for x, (one, w) in triples)
    rows = rng.choice((None, 1, rng.randint(1, layer.out)))
    np.testing.assert_array_equal(c.gradient(a, d, rows), g)
    np.testing.assert_array_equal(c.weights(), layer.w)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("trainable", [False, True], ids=["frozen", "trainable"])
@pytest.mark.parametrize("kind", KINDS)
def test_random_layers(rng: random.Random, kind: str, trainable: bool, level: int) -> None:
    for number in range(150):
        layer = random_layer(rng, KINDS[kind], trainable)
        last = number % 4 == 0 and KINDS[kind] not in (ref.MAX_POOL, ref.ADD)
        check(rng, layer, last, n=rng.choice((1, 1, 2, 3, 8)), level=level)


@pytest.mark.parametrize("kind", ["conv2d", "depthwise", "average_pool", "max_pool"])
def test_every_small_window(rng: random.Random, kind: str) -> None:
    base = random_layer(rng, KINDS[kind], True)
    pools = (1, 2) if base.kind in WEIGHTED else (1,)
    sizes = product((1, 2, 3, 4, 5), (1, 2, 3), (1, 2, 3), range(3), range(3), pools)
    for side, kernel, stride, before, after, pool in sizes:
        if max(before, after) >= kernel or side + before + after < kernel:
            continue
        layer = replace(
            base, in_shape=(side, 6 - side, 2), kernel=(kernel, 1), out=2,
            stride=(stride, 1), pad=(before, 0, after, 0), pool=pool, bias=None,
        )  # fmt: skip
        check(rng, with_weights(rng, layer), last=False, n=2)
        layer = replace(
            layer, in_shape=(6 - side, side, 2), kernel=(1, kernel),
            stride=(1, stride), pad=(0, before, 0, after), bias=None,
        )  # fmt: skip
        check(rng, with_weights(rng, layer), last=layer.kind != ref.MAX_POOL)


def largest_layers() -> list[ref.Layer]:
    """Layers with as many products in a sum as a model may have."""
    wide = ref.Layer(ref.DENSE, 0, 8, True, 20, (1, 32768, 4), 2, *PLAIN)
    deep = replace(wide, kind=ref.CONV2D, in_shape=(4, 4, 8192), kernel=(4, 4))
    out = replace(wide, kind=ref.CONV2D, in_shape=(2, 2, 1), out=32768, kernel=(2, 2))
    positions = replace(wide, kind=ref.CONV2D, in_shape=(256, 512, 1), out=1)
    channel = replace(wide, kind=ref.DEPTHWISE, in_shape=(256, 512, 1), out=1)
    for layer in (wide, deep, out, positions, channel):
        ends = np.where(np.arange(layer.out) % 2 == 0, layer.limit, -layer.limit)
        layer.w = np.repeat(ends, layer.fan_in).reshape(layer.out, -1)
        layer.bias = np.where(np.arange(layer.out) % 2 == 0, -BIAS_MAX, BIAS_MAX)
    pool = replace(wide, kind=ref.AVERAGE_POOL, bits=0, store_bits=0, in_shape=(255, 255, 1),
                   out=1, kernel=(255, 255), factor=258, activation=ref.NONE, w=None,
                   bias=None)  # fmt: skip
    return [wide, deep, out, positions, channel, pool]


@pytest.mark.parametrize("level", LEVELS)
def test_largest_sums_that_a_model_may_have(level: int) -> None:
    seen = 0
    for layer in largest_layers():
        ref.blob.check_shape(layer)
        ref.blob.check_limits(layer)
        c = CLayer(layer, last=True, level=level)
        for value in (-128, 127):
            a, d = np.full(layer.in_shape, value), np.full(layer.out_shape, 127)
            z, winner = ref.forward(layer, a)
            np.testing.assert_array_equal(c.forward(a), z)
            e = ref.layers.ERROR[layer.kind](layer, d, winner)
            np.testing.assert_array_equal(c.error(d), e)
            seen = max(seen, int(np.abs(z).max()), int(np.abs(e).max()))
            if layer.kind in WEIGHTED:
                g = ref.layers.GRADIENT[layer.kind](layer, a, d, winner)
                np.testing.assert_array_equal(c.gradient(a, d), g)
                seen = max(seen, int(np.abs(g).max()))
    assert seen == 131072 * 128 * 127 + BIAS_MAX == (1 << 31) - 1


def test_gradient_of_the_largest_batch() -> None:
    layer = ref.Layer(ref.DENSE, 0, 8, True, 0, (1, 1, 3), 2, *PLAIN)
    layer.w = np.zeros((2, 3), np.int64)
    a, d = np.full((4096, *layer.in_shape), -128), np.full((4096, *layer.out_shape), 127)
    for level in LEVELS:
        c = CLayer(layer, last=True, n=4096, level=level)
        np.testing.assert_array_equal(c.gradient(a, d), np.full((2, 3), -128 * 127 * 4096))


def test_activations_of_all_sums_near_a_rounding() -> None:
    for bits, scale in ((2, 0), (2, 5), (3, 1), (2, 20), (8, 0), (8, 3), (8, 20)):
        for activation in (ref.RELU, ref.SIGNED):
            layer = ref.Layer(ref.DENSE, 0, bits, True, scale, (1, 1, 1), 1, *PLAIN,
                              activation=activation)  # fmt: skip
            half = 1 << (layer.h - 1)
            some = [k * half + near for k in range(-262, 262) for near in (-1, 0, 1)]
            some += [1 - (1 << 31), -1, (1 << 31) - 1]
            z = np.array([v for v in some if abs(v) < 1 << 31])
            layer.out, layer.w, layer.bias = z.size, np.zeros((z.size, 1), np.int64), z
            for level in LEVELS:
                got = CLayer(layer, level=level).forward(np.zeros(layer.in_shape, np.int64))
                np.testing.assert_array_equal(got.reshape(-1), ref.activate(layer, z))


def test_averages_are_the_nearest(rng: random.Random) -> None:
    """The factor of the host's average: off by at most one from the exact average, halves even."""
    for size in (*range(1, 17), 49, 64, 255):
        factor, shift = blobs.average_factor(size)
        layer = ref.Layer(ref.AVERAGE_POOL, 0, 0, True, shift, (1, size, 1), 1, (1, size),
                          *PLAIN[1:], activation=ref.NONE, factor=factor)  # fmt: skip
        for _ in range(30):
            a = filled(rng, layer.in_shape, -127, 127)
            got = int(CLayer(layer).forward(a)[0, 0, 0])
            assert abs(got - a.mean()) <= 0.51 + abs(a.mean()) / 128


def test_level_beyond_this_computer_is_refused() -> None:
    for level in (-1, 3, 99):
        assert not lib.wage_host_kernels(level)

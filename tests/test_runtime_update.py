"""C weights, biases and velocities against the oracle, bit by bit (SPEC 2.4, 5.3, 5.4)."""

# SPDX-License-Identifier: MIT

import random
from dataclasses import replace

import cside
import numpy as np
import pytest
import reference as ref
from cside import LEVELS, CLayer, given
from wage_host._core import lib

ONE = ref.Layer(ref.DENSE, 0, 8, True, 0, (1, 1, 1), 1, (1, 1), (1, 1), (0,) * 4, 1)
GRADIENT_MAX = 128 * 127 * 131072
BIAS_MAX = (1 << 24) - 1
WIDTHS = [(bits, kept) for bits in range(2, 9) for kept in range(bits, 17)]


@pytest.fixture
def rng(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """The run's seed, and another sequence for each test."""
    return random.Random(f"{seed} {request.node.name}")


def row_of(bits: int, kept: int, paper: bool, weights: np.ndarray) -> ref.Layer:
    """A dense layer of one output with these weights, stored with `kept` bits."""
    layer = replace(ONE, bits=bits, store_bits=kept, paper=paper, in_shape=(1, 1, weights.size))
    layer.w = weights.reshape(1, -1)
    return layer


@pytest.mark.parametrize("paper", [False, True], ids=["continual", "paper"])
def test_every_stored_weight_is_kept_and_used_as_documented(paper: bool) -> None:
    for bits, kept in WIDTHS:
        layer = row_of(bits, kept, paper, np.zeros(1, np.int64))
        weights = np.arange(-layer.limit, layer.limit + 1)
        if weights.size > 1 << 13:  # enough of them: the ends, and every seventh
            weights = np.unique(np.concatenate([weights[:300], weights[::7], weights[-300:]]))
        layer = row_of(bits, kept, paper, weights)
        c = CLayer(layer)
        assert lib.wage_weight_max(c.c) == layer.limit == ((1 << (bits - 1)) - 1) << (kept - bits)
        np.testing.assert_array_equal(c.weights(), layer.w)
        np.testing.assert_array_equal(c.used(), layer.q)
        assert np.abs(layer.q).max() == (1 << (bits - 1)) - 1


def test_every_frozen_weight_is_used_as_documented() -> None:
    for bits in range(2, 9):
        largest = (1 << (bits - 1)) - 1
        weights = np.tile(np.arange(-largest, largest + 1), 5)
        layer = replace(row_of(bits, 0, False, weights), trainable=False, store_bits=0)
        np.testing.assert_array_equal(CLayer(layer).used(), layer.w)
        rows = replace(layer, in_shape=(1, 1, 3), out=weights.size // 3)  # inside a byte, too
        rows.w = weights[: rows.out * 3].reshape(-1, 3)
        np.testing.assert_array_equal(CLayer(rows).used(), rows.w)


def random_gradient(rng: random.Random, shape: tuple[int, int]) -> np.ndarray:
    """A gradient of one size or of all, with zeros and the largest that a model can have."""
    largest = rng.choice((3, 200, 127 * 127, 1 << 24, GRADIENT_MAX))
    flat = [rng.randint(-largest, largest) for _ in range(shape[0] * shape[1])]
    flat = [rng.choice((v, v, v, 0, largest, -largest, v >> 9)) for v in flat]
    return np.array(flat).reshape(shape)


def random_rate(rng: random.Random, size: int, kept: int) -> ref.Rate:
    """A shift that moves weights, mostly, with any factor and momentum."""
    near = size.bit_length() - rng.randint(-3, max(kept, 9))
    n = rng.choice((near, near, near, rng.randint(-60, 80), rng.randint(-1200, 1200)))
    factor, momentum = rng.choice((1, 1, 2, 3, 15)), rng.choice((0, 0, 1, 2, 3, 7))
    return ref.Rate(n, factor, momentum, rng.getrandbits(32), rng.getrandbits(32))


def random_velocity(rng: random.Random, shape: tuple[int, int]) -> np.ndarray:
    """Velocities of any size, the ends, too."""
    some = [rng.choice((0, 1, -1, rng.randint(-99, 99), rng.randint(-32767, 32767), 32767, -32767))
            for _ in range(shape[0] * shape[1])]  # fmt: skip
    return np.array(some).reshape(shape)


@pytest.mark.parametrize("level", LEVELS)
def test_update(rng: random.Random, level: int) -> None:
    moved, leaked = 0, 0
    for _ in range(1200):
        shape = (rng.randint(1, 5), rng.randint(1, 23))
        bits, kept = rng.choice(((8, 16), rng.choice(WIDTHS)))
        layer = replace(ONE, bits=bits, store_bits=kept, out=shape[0], in_shape=(1, 1, shape[1]),
                        paper=bool(rng.randrange(2)))  # fmt: skip
        g, most = random_gradient(rng, shape), layer.limit
        weights = [rng.choice((rng.randint(-most, most), most, -most)) for _ in range(g.size)]
        layer.w = np.array(weights).reshape(shape)
        rate = random_rate(rng, int(np.abs(g).max()), kept)
        layer.v = random_velocity(rng, shape) if rate.momentum else None
        c, before = CLayer(layer, level=level), (layer.w, layer.v)
        ref.update(layer, g, rate)
        parts = rng.choice(([], list(range(shape[1], g.size, shape[1])), [g.size // 2]))
        c.update(g, rate, parts)
        np.testing.assert_array_equal(c.weights(), layer.w)
        moved += int((before[0] != layer.w).sum())
        if rate.momentum:
            np.testing.assert_array_equal(c.velocity.array().reshape(shape), layer.v)
            leaked += int((before[1] != layer.v)[g == 0].sum())
    assert moved > 10000 and leaked > 300


def test_update_of_a_bias(rng: random.Random) -> None:
    moved = 0
    for _ in range(800):
        out, n = rng.randint(1, 6), rng.randint(1, 5)
        layer = replace(ONE, kind=ref.CONV2D, bits=rng.randint(2, 8), out=out,
                        in_shape=(rng.randint(1, 5), rng.randint(1, 5), 1))  # fmt: skip
        layer.w = np.zeros((out, layer.fan_in), np.int64)
        ends = (0, BIAS_MAX, -BIAS_MAX, rng.randint(-BIAS_MAX, BIAS_MAX), rng.randint(-99, 99))
        layer.bias = np.array([rng.choice(ends) for _ in range(out)])
        largest = rng.choice((0, 1, 5, 127))
        d = np.array([rng.choice((rng.randint(-largest, largest), largest, 0))
                      for _ in range(n * out * layer.in_shape[0] * layer.in_shape[1])])  # fmt: skip
        d = d.reshape(n, *layer.out_shape)
        shift = rng.choice((rng.randint(-20, 12), rng.randint(-99, 99)))
        rate = replace(random_rate(rng, 9, 8), n=shift, momentum=0)
        c, before = CLayer(layer, n=n), layer.bias
        ref.update_bias(layer, d.sum(axis=(0, 1, 2)), shift, rate)
        lib.wage_update_bias(c.c, n, given(d, "int8"), cside.c_rate_of(rate))
        np.testing.assert_array_equal(c.bias.array(), layer.bias)
        moved += int((before != layer.bias).sum())
    assert moved > 300

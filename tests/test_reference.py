"""The oracle against plain loops and against what SPEC.md promises (1 to 3)."""

# SPDX-License-Identifier: MIT

import ast
import random
from dataclasses import replace
from fractions import Fraction
from math import isqrt
from pathlib import Path

import numpy as np
import pytest
import reference as ref
from blobs import dense, make_blob

# Primitives (SPEC 1)


TABLES = {"SIN15", "LOG8"}  # of log-mel: SPEC 10.4 says of which floats these integers are made


def test_oracle_has_no_float() -> None:
    for path in (Path(__file__).parent / "reference").glob("*.py"):
        tree = ast.parse(path.read_text())
        tables = [
            node for node in tree.body
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in TABLES
        ]  # fmt: skip
        assert len(tables) in (0, len(TABLES))
        tree.body = [node for node in tree.body if node not in tables]
        for node in ast.walk(tree):
            assert not isinstance(node, ast.Constant) or not isinstance(node.value, float), path
            assert not isinstance(node, ast.Div), path
            assert "float" not in getattr(node, "attr", ""), path


def test_rne_rounds_halves_to_even() -> None:
    for n in range(-3, 10):
        x = np.arange(-1100, 1101)
        want = [round(Fraction(v) / (Fraction(2) ** n)) for v in x.tolist()]
        assert [ref.rne(v, n) for v in x.tolist()] == want
        assert ref.rne(x, n).tolist() == want


def test_floor_shift_goes_down() -> None:
    assert [ref.floor_shift(x, 2) for x in (-5, -4, -1, 0, 3, 4)] == [-2, -1, -1, 0, 0, 1]


def test_ilog2_round_is_the_nearest_power() -> None:
    near = [m for k in range(31) for m in range((1 << k) - 2, (1 << k) + 3)]
    for k in range(31):  # sqrt(2) * 2^k lies between root and root + 1
        root = isqrt(2 << (2 * k))
        near += range(root - 2, root + 3)
    for m in [m for m in near if m > 0] + list(range(1, 5000)):
        n = ref.ilog2_round(m)
        # n - 1/2 <= log2(m) <= n + 1/2, squared and doubled
        assert Fraction(4) ** n / 2 < m * m < Fraction(4) ** n * 2, m


def test_random_words_are_those_of_the_document() -> None:
    k = ref.key(1, 2, 3)
    assert (k, ref.draw(k, 0), ref.draw(k, 1)) == (0x9834EEDC, 0xA3297841, 0xD9132248)
    assert ref.draw(k, np.arange(2, dtype=np.uint32)).tolist() == [0xA3297841, 0xD9132248]
    assert ref.key(0xFFFFFFFF, 0xFFFFFFFF, 65) < 1 << 32
    halves = [ref.fraction(k, i) for i in range(4)]
    assert halves[:4] == [0x7841, 0xA329, 0x2248, 0xD913]
    assert ref.fraction(k, np.arange(4, dtype=np.uint32)).tolist() == halves


def test_mix_and_draw_give_no_word_twice() -> None:
    for first in (0, 1 << 20, (1 << 32) - (1 << 20)):
        x = np.arange(1 << 20, dtype=np.uint32) + np.uint32(first)
        for words in (ref.mix(x), ref.draw(0, x)):
            assert words.dtype == np.uint32 and (np.diff(np.sort(words)) > 0).all()


def test_below_is_even_and_in_range() -> None:
    assert ref.below(0, 7) == 0 and ref.below(0xFFFFFFFF, 7) == 6
    assert [ref.below(i << 24, 4) for i in (63, 64, 127, 128, 192)] == [0, 1, 1, 2, 3]
    assert ref.below(0xFFFFFFFF, 0xFFFFFFFF) == 0xFFFFFFFE


@pytest.mark.parametrize("n", [1, 2, 7, 15, 16, 17, 20, 31])
def test_stochastic_shift_is_unbiased_over_all_fractions(n: int) -> None:
    r = np.arange(65536)
    for m in (0, 1, 2, 3, 127, 32767, 32768, 65535, 65536, 1234567, (1 << 31) - 1):
        step = ref.stochastic_shift(np.full(65536, m), n, r)
        if n <= 16:  # exact
            assert step.sum() * (1 << n) == m * 65536
        else:  # the bits below 2^(n-16) are dropped: never more than m
            assert step.sum() == m >> (n - 16)
        assert step.max() - step.min() <= 1
        assert step.tolist()[::9999] == [
            ref.stochastic_shift(m, n, int(x)) for x in r.tolist()[::9999]
        ]


def test_stochastic_shift_at_the_ends() -> None:
    assert [ref.stochastic_shift(1, 4, r) for r in (0xEFFF, 0xF000)] == [0, 1]  # r's top bits
    assert ref.stochastic_shift(3, 0, 65535) == 3
    assert ref.stochastic_shift(3, -2, 65535) == 12
    assert ref.stochastic_shift(65536, 0, 0) == 65535
    assert ref.stochastic_shift(1, -500, 0) == 65535 and ref.stochastic_shift(0, -500, 0) == 0
    assert ref.stochastic_shift((1 << 31) - 1, 47, 65535) == 0
    assert ref.stochastic_shift((1 << 31) - 1, 46, 65535) == 1
    assert ref.stochastic_shift((1 << 31) - 1, 500, 65535) == 0


def test_crc32_check_value() -> None:
    assert ref.crc32(b"123456789") == 0xCBF43926


# Kernels (SPEC 2, 3, 5.1, 5.2)


def random_conv(rng: random.Random, pool: int) -> ref.Layer:
    """A convolution of random shape, padding, stride and weights."""
    shape = (rng.randint(3, 8), rng.randint(3, 8), rng.randint(1, 3))
    kernel = (rng.randint(1, 3), rng.randint(1, 3))
    pad = tuple(rng.randrange(k) for k in (*kernel, *kernel))
    stride = (rng.randint(1, 3), rng.randint(1, 3))
    layer = ref.Layer(ref.CONV2D, 0, 8, False, 2, shape, 4, kernel, stride, pad, pool)
    layer.w = np.array([rng.randint(-127, 127) for _ in range(4 * layer.fan_in)])
    layer.w = layer.w.reshape(4, layer.fan_in)
    return layer


def random_tensor(rng: random.Random, shape: tuple[int, ...]) -> np.ndarray:
    """int64 tensor of small values with many zeros and equals."""
    return np.array([rng.randint(-3, 3) for _ in range(int(np.prod(shape)))]).reshape(shape)


def slow_conv2d(layer: ref.Layer, a: np.ndarray) -> np.ndarray:
    """SPEC 3.3 in loops: sums before pooling."""
    kh, kw = layer.kernel
    h, w, channels = layer.in_shape
    q = layer.w.reshape(layer.out, kh, kw, channels).tolist()
    sums, a = np.zeros(layer.sum_shape, np.int64), a.tolist()
    for y, x, o in np.ndindex(*layer.sum_shape):
        for ky, kx, c in np.ndindex(kh, kw, channels):
            row = y * layer.stride[0] - layer.pad[0] + ky
            column = x * layer.stride[1] - layer.pad[1] + kx
            if 0 <= row < h and 0 <= column < w:
                sums[y, x, o] += a[row][column][c] * q[o][ky][kx][c]
    return sums


@pytest.mark.parametrize("seed", range(25))
def test_conv2d_is_the_sum_and_its_adjoints(seed: int) -> None:
    rng = random.Random(seed)
    layer = random_conv(rng, pool=rng.choice((1, 2)))
    a = random_tensor(rng, layer.in_shape)
    z, winner = ref.forward(layer, a)
    assert z.shape == layer.out_shape
    sums = slow_conv2d(layer, a)
    for y, x, o in np.ndindex(*layer.out_shape):
        window = sums[y * layer.pool :, x * layer.pool :, o][: layer.pool, : layer.pool]
        assert z[y, x, o] == window.max()
        if winner is not None:
            row, column = divmod(int(winner[y, x, o]), 2)
            assert (row * window.shape[1] + column) == window.argmax()
    # the sum is linear in a and in q: <z, d> = <a, error(d)> = <q, gradient(a, d)>
    d = random_tensor(rng, layer.out_shape)
    dot = (z * d).sum()
    assert (a * ref.layers.conv2d_error(layer, d, winner)).sum() == dot
    assert (layer.q * ref.layers.conv2d_gradient(layer, a, d, winner)).sum() == dot


def test_max_pool_takes_the_first_of_equals_and_odd_sizes() -> None:
    sums = np.array([[5, 5, -9], [5, 7, -9], [-1, -1, -2]])[:, :, None]
    z, winner = ref.max_pool(sums)
    assert z[:, :, 0].tolist() == [[7, -9], [-1, -2]]
    assert winner[:, :, 0].tolist() == [[3, 0], [0, 0]]


def test_weights_in_use_at_their_thresholds() -> None:
    shape = (1, 1, 1)
    eight = ref.Layer(ref.DENSE, 0, 8, True, 0, shape, 1, (1, 1), (1, 1), (0,) * 4, 1)
    two = replace(eight, bits=2, store_bits=8)
    for w, q in ((32512, 127), (-32512, -127), (127, 0), (128, 1), (-128, 0), (-129, -1)):
        eight.w = np.array([[w]])
        assert eight.q.tolist() == [[q]]
    for w, q in ((64, 1), (33, 1), (32, 0), (-32, 0), (-33, -1), (-64, -1)):
        two.w = np.array([[w]])
        assert two.q.tolist() == [[q]]
    assert (eight.h, two.h) == (7, 1)


def test_activate_rounds_halves_to_even_and_saturates() -> None:
    layer = ref.Layer(ref.DENSE, 0, 2, True, 2, (1, 1, 1), 1, (1, 1), (1, 1), (0,) * 4, 1)
    z = np.array([-100, -1, 0, 4, 12, 20, 1015, 1016, 1020, 5000])
    assert ref.activate(layer, z).tolist() == [0, 0, 0, 0, 2, 2, 127, 127, 127, 127]


def test_input_activations_of_both_maps() -> None:
    model = ref.open_model(make_blob([dense(2, flags=1)], (1, 1, 256)))
    p = np.arange(256)
    assert ref.input_activations(model, p).reshape(-1).tolist() == [v // 2 for v in range(256)]
    model.input_map = 1
    want = [round(Fraction(v * 128 * 2, 255) - 128) for v in range(256)]
    want = [max(-127, min(127, v)) for v in want]
    assert ref.input_activations(model, p).reshape(-1).tolist() == want

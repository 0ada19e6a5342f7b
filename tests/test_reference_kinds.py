"""The oracle's layer kinds (SPEC 2 to 3.7, 5.1, 5.2) against plain loops, and by hand."""

# SPDX-License-Identifier: MIT

import random
from dataclasses import replace
from fractions import Fraction

import blobs
import numpy as np
import pytest
import reference as ref

PLAIN = ref.Layer(ref.DENSE, 0, 8, True, 0, (1, 1, 1), 1, (1, 1), (1, 1), (0,) * 4, 1)
WINDOWED = [ref.CONV2D, ref.DEPTHWISE, ref.AVERAGE_POOL, ref.MAX_POOL]


def random_layer(rng: random.Random, kind: int) -> ref.Layer:
    """A layer of random shape, padding, stride, weights and bias."""
    shape = (rng.randint(1, 7), rng.randint(3, 8), rng.randint(1, 3))
    kernel = (rng.randint(1, min(3, shape[0])), rng.randint(1, 3))
    pad = tuple(rng.randrange(k) for k in (*kernel, *kernel))
    weighted = kind in ref.layers.WEIGHTED
    layer = ref.Layer(
        kind, 0, 8 if weighted else 0, False, 2, shape, 4 if kind == ref.CONV2D else shape[2],
        kernel, (rng.randint(1, 3), rng.randint(1, 3)), pad,
        rng.choice((1, 2)) if weighted else 1, factor=rng.randint(1, 9),
    )  # fmt: skip
    if weighted:
        layer.w = random_tensor(rng, (layer.out, layer.fan_in), 127)
        layer.bias = random_tensor(rng, (layer.out,), 9) if rng.randrange(2) else None
    return layer


def random_tensor(rng: random.Random, shape: tuple[int, ...], most: int = 3) -> np.ndarray:
    """int64 tensor, by default with many zeros and equals."""
    count = int(np.prod(shape))
    return np.array([rng.randint(-most, most) for _ in range(count)]).reshape(shape)


def window(layer: ref.Layer, a: np.ndarray, y: int, x: int) -> list[tuple[int, int, int, int]]:
    """What position (y, x) sees of each channel: (ky, kx, channel, activation)."""
    h, w, channels = layer.in_shape
    found = []
    for ky, kx, c in np.ndindex(*layer.kernel, channels):
        row = y * layer.stride[0] - layer.pad[0] + ky
        column = x * layer.stride[1] - layer.pad[1] + kx
        if 0 <= row < h and 0 <= column < w:
            found.append((ky, kx, c, int(a[row, column, c])))
    return found


def slow_sum(layer: ref.Layer, seen: list[tuple[int, int, int, int]], o: int) -> int:
    """SPEC 3.3 and 3.7 for one output."""
    kh, kw = layer.kernel
    if layer.kind == ref.CONV2D:
        q = layer.w.reshape(layer.out, kh, kw, -1).tolist()
        total = sum(v * q[o][ky][kx][c] for ky, kx, c, v in seen)
    elif layer.kind == ref.DEPTHWISE:
        q = layer.w.reshape(layer.out, kh, kw).tolist()
        total = sum(v * q[o][ky][kx] for ky, kx, c, v in seen if c == o)
    elif layer.kind == ref.AVERAGE_POOL:
        total = sum(v * layer.factor for _, _, c, v in seen if c == o)
    else:
        total = max(v for _, _, c, v in seen if c == o)
    return total + (0 if layer.bias is None else int(layer.bias[o]))


@pytest.mark.parametrize("kind", WINDOWED)
@pytest.mark.parametrize("seed", range(20))
def test_windows_are_those_of_the_document_and_their_adjoints(seed: int, kind: int) -> None:
    rng = random.Random(f"{seed} {kind}")
    layer = random_layer(rng, kind)
    a = random_tensor(rng, layer.in_shape)
    z, winner = ref.forward(layer, a)
    assert z.shape == layer.out_shape
    sums = np.zeros(layer.sum_shape, np.int64)
    for y, x, o in np.ndindex(*layer.sum_shape):
        seen = window(layer, a, y, x)
        sums[y, x, o] = slow_sum(layer, seen, o)
        if kind == ref.MAX_POOL:  # the first of equals in row-major order
            largest = [(ky, kx) for ky, kx, c, v in seen if c == o and v == sums[y, x, o]]
            assert divmod(int(winner[y, x, o]), layer.kernel[1]) == min(largest)
    for y, x, o in np.ndindex(*layer.out_shape):
        part = sums[y * layer.pool :, x * layer.pool :, o][: layer.pool, : layer.pool]
        assert z[y, x, o] == part.max()
        if layer.pool == 2:
            row, column = divmod(int(winner[y, x, o]), 2)
            assert row * part.shape[1] + column == part.argmax()
    # what a layer sums is linear in a and in q: <z - b, d> = <a, error(d)> = <q, gradient(a, d)>
    d = random_tensor(rng, layer.out_shape)
    dot = ((z if layer.bias is None else z - layer.bias) * d).sum()
    assert (a * ref.layers.ERROR[kind](layer, d, winner)).sum() == dot
    if layer.w is not None:
        g = ref.layers.GRADIENT[kind](layer, a, d, winner)
        assert g.shape == layer.w.shape and (layer.q * g).sum() == dot


@pytest.mark.parametrize("kind", [ref.CONV2D, ref.DEPTHWISE])
def test_gradient_of_each_weight_is_the_change_of_the_sums(kind: int) -> None:
    rng = random.Random(kind)
    layer = replace(random_layer(rng, kind), pool=1, bias=None)
    a, d = random_tensor(rng, layer.in_shape), random_tensor(rng, layer.out_shape)
    g = ref.layers.GRADIENT[kind](layer, a, d, None)
    z, _ = ref.forward(layer, a)
    for o, i in np.ndindex(*layer.w.shape):
        more = layer.w.copy()
        more[o, i] += 1
        assert g[o, i] == ((ref.forward(replace(layer, w=more), a)[0] - z) * d).sum()


def test_depthwise_by_hand() -> None:
    shape = {"in_shape": (1, 3, 2), "out": 2, "kernel": (1, 2), "pad": (0, 0, 0, 1)}
    layer = replace(PLAIN, kind=ref.DEPTHWISE, trainable=False, **shape)
    layer.w, layer.bias = np.array([[1, 2], [3, 4]]), np.array([100, 0])
    a = np.array([[[1, 10], [2, 20], [3, 30]]])
    assert ref.forward(layer, a)[0].tolist() == [[[105, 110], [108, 180], [103, 90]]]
    d = np.array([[[1, 0], [0, 1], [0, 0]]])
    assert ref.layers.depthwise_error(layer, d, None).tolist() == [[[1, 0], [2, 3], [0, 4]]]
    assert ref.layers.depthwise_gradient(layer, a, d, None).tolist() == [[1, 2], [20, 30]]


def test_average_pool_by_hand() -> None:
    shape = {"in_shape": (1, 3, 1), "kernel": (1, 2), "pad": (0, 1, 0, 0), "activation": ref.NONE}
    layer = replace(PLAIN, kind=ref.AVERAGE_POOL, bits=0, store_bits=0, alpha_shift=1, factor=1)
    layer = replace(layer, **shape)
    a = np.array([[[-127], [-128], [6]]])
    z, winner = ref.forward(layer, a)
    assert winner is None and layer.h == 1
    assert z.reshape(-1).tolist() == [-127, -255, -122]  # outside counts as 0
    assert ref.activate(layer, z).reshape(-1).tolist() == [-64, -127, -61]
    d = np.array([[[5], [7], [1]]])
    e = ref.layers.average_pool_error(replace(layer, factor=3), d)
    assert e.reshape(-1).tolist() == [36, 24, 3]


def test_average_factor_is_rounded_and_of_fifteen_bits() -> None:
    for size in range(1, 512):
        factor, shift = blobs.average_factor(size)
        assert factor == round(Fraction(2**shift, size))
        assert 1 << 14 <= factor <= 1 << 15 and size * factor < 1 << 24
    for size in (520, 1000, 30000, 65025):
        factor, shift = blobs.average_factor(size)
        assert size * factor < 1 << 24 and factor == (2 ** (shift + 1) // size + 1) // 2


def test_max_pool_by_hand() -> None:
    layer = replace(PLAIN, kind=ref.MAX_POOL, bits=0, store_bits=0, activation=ref.NONE)
    layer = replace(layer, in_shape=(2, 3, 1), kernel=(2, 2), pad=(0, 1, 0, 1))
    a = np.array([[[-5], [-5], [-7]], [[-9], [-5], [-128]]])
    z, winner = ref.forward(layer, a)
    assert z.reshape(-1).tolist() == [-5, -5, -5, -7]  # never what is outside
    assert winner.reshape(-1).tolist() == [1, 0, 0, 0]
    assert ref.activate(layer, z).tolist() == z.tolist()
    assert ref.activate(layer, np.array([-128])).tolist() == [-127]
    d = np.array([[[1], [10], [100], [1000]]])
    e = ref.layers.max_pool_error(layer, d, winner)
    assert e.reshape(-1).tolist() == [11, 100, 1000, 0, 0, 0]


def test_add_by_hand() -> None:
    layer = replace(PLAIN, kind=ref.ADD, bits=0, store_bits=0, alpha_shift=1, in_shape=(1, 1, 4))
    a, side = np.array([[[3, 127, -9, 0]]]), np.array([[[0, 127, 4, 5]]])
    z, winner = ref.forward(layer, a, side)
    assert winner is None and z.reshape(-1).tolist() == [3, 254, -5, 5]
    assert ref.activate(layer, z).reshape(-1).tolist() == [2, 127, 0, 2]
    signed = replace(layer, activation=ref.SIGNED)
    assert ref.activate(signed, z).reshape(-1).tolist() == [2, 127, -2, 2]


def test_add_takes_the_input_of_the_layer_that_far_below() -> None:
    eye = {"bits": 8, "weights": [64, 0, 0, 64], "alpha_shift": 0}
    for skip, want in ((1, 4 + 8), (2, 4 + 16), (3, 4 + 32)):
        layers = [blobs.dense(2, **eye) for _ in range(3)]
        layers += [blobs.add(2, skip), blobs.dense(2, flags=1, weights=[256, 0, 0, 256])]
        model = ref.open_model(blobs.make_blob(layers, (1, 1, 2)))
        passes = ref.run(model.layers, np.full((2, 1, 1, 2), 32), model.layers[-1])
        assert passes[3].out.reshape(-1).tolist() == [want] * 4
        assert passes[4].out.shape == (2, 1, 1, 2)


@pytest.mark.parametrize("bits", range(2, 9))
def test_weights_in_use_of_all_widths(bits: int) -> None:
    for kept in range(bits, 17):
        layer = replace(PLAIN, bits=bits, store_bits=kept)
        assert layer.limit == 2 ** (kept - 1) - 2 ** (kept - bits)
        w = np.arange(-layer.limit, layer.limit + 1)
        upper_byte = (bits, kept) == (8, 16)
        for paper in (False, True):
            layer.paper, layer.w = paper, w
            unit = 2 ** (kept - bits)
            if upper_byte and not paper:
                want = [(2 * v + unit) // (2 * unit) for v in w.tolist()]
            else:
                want = [round(Fraction(v, unit)) for v in w.tolist()]
            assert layer.q.tolist() == want
            assert max(want) == -min(want) == 2 ** (bits - 1) - 1
        assert layer.h == bits - 1 and replace(layer, alpha_shift=3).h == bits + 2


def test_only_layers_with_weights_count_their_width_in_h() -> None:
    for kind in (ref.AVERAGE_POOL, ref.MAX_POOL, ref.ADD):
        assert replace(PLAIN, kind=kind, bits=0, store_bits=0, alpha_shift=5).h == 5


def test_signed_activations_round_halves_to_even_and_saturate() -> None:
    layer = replace(PLAIN, bits=2, store_bits=8, alpha_shift=2, activation=ref.SIGNED)
    z = np.array([-5000, -1020, -1012, -20, -12, -4, 0, 4, 12, 20, 1016, 5000])
    want = [-127, -127, -126, -2, -2, 0, 0, 0, 2, 2, 127, 127]
    assert ref.activate(layer, z).tolist() == want


def test_winners_of_a_batch_are_each_samples_own() -> None:
    layers = [blobs.conv2d(1, **blobs.POINT, flags=1, pool=2, weights=[16384])]
    layers += [blobs.dense(2, flags=1, weights=[16384, -16384])]
    blob = blobs.make_blob(layers, (2, 2, 1), header={"batch": 2, "lr_shift": 0})
    model = ref.open_model(blob)
    x = [np.array([9, 1, 1, 1]), np.array([1, 1, 7, 1])]
    passes = ref.train(model, [(x[0], 0), (x[1], 1)]).passes
    assert [w.reshape(-1).tolist() for w in passes[0].winner] == [[0], [2]]
    d = passes[0].d.reshape(-1)
    assert passes[0].g.reshape(-1).tolist() == [9 * d[0] + 7 * d[1]]

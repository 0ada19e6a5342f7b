"""The oracle's and the C kernels against the golden vectors: another implementation's numbers."""

# SPDX-License-Identifier: MIT

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cside
import numpy as np
import pytest
import reference as ref
from cside import CLayer
from wage_host._core import lib

VECTORS = sorted((Path(__file__).parent / "vectors").glob("*.npz"))
TYPE = "_(u?int|float)[0-9]+$"


def vector_layers(z: dict) -> list[tuple[ref.Layer, dict]]:
    """Layers of a vector file as ours, each with its tensors by name."""
    found, shape = [], z["a0_int8"].shape[1:]
    shape = shape if len(shape) == 3 else (1, 1, *shape)
    bits = json.loads(str(z["meta_json"]))["kW"]
    for i, arch in enumerate(json.loads(str(z["arch_json"])), 1):
        t = {re.sub(TYPE, "", k[len(f"L{i}_") :]): z[k] for k in z if k.startswith(f"L{i}_")}
        conv, q = arch["type"] == "conv", z[f"L{i}_q_int8"].astype(np.int64)
        k = arch.get("k", 1)
        layer = ref.Layer(
            kind=ref.CONV2D if conv else ref.DENSE,
            index=i - 1,
            bits=bits,
            trainable=False,
            alpha_shift=int(t["alpha_shift"]),
            in_shape=shape,
            out=q.shape[-1],
            kernel=(k, k),
            stride=(1, 1),
            pad=((k - 1) // 2 if arch.get("pad") == "SAME" else 0,) * 4,
            pool=arch.get("pool") or 1,
        )
        layer.w = ours(layer, q)
        found.append((layer, t))
        shape = layer.out_shape
    return found


def ours(layer: ref.Layer, w: np.ndarray) -> np.ndarray:
    """Weights or gradients (height, width, in, out) or (in, out) in canonical order."""
    return np.moveaxis(w.astype(np.int64), -1, 0).reshape(layer.out, layer.fan_in)


def wide(tensor: np.ndarray, shape: ref.layers.Shape) -> np.ndarray:
    """One image's tensor as int64 in our shape."""
    return tensor.astype(np.int64).reshape(shape)


@pytest.fixture(params=VECTORS, ids=lambda path: path.stem)
def vector(request: pytest.FixtureRequest) -> dict:
    """All arrays of one vector file."""
    with np.load(request.param, allow_pickle=False) as z:
        return dict(z)


def test_vectors_are_there() -> None:
    assert len(VECTORS) == 23


def test_vector_weights_in_use(vector: dict) -> None:
    for layer, t in vector_layers(vector):
        stored = replace(layer, trainable=True)
        stored.w = ours(layer, t["w_store"]) * (256 if layer.bits == 8 else 1)
        np.testing.assert_array_equal(stored.q, layer.w)


def test_vector_forward(vector: dict) -> None:
    below = vector["a0_int8"]
    for layer, t in vector_layers(vector):
        for n in range(len(below)):
            a = wide(below[n], layer.in_shape)
            sums, _ = ref.layers.forward(replace(layer, pool=1), a)
            np.testing.assert_array_equal(sums, wide(t["acc"][n], layer.sum_shape))
            z, winner = ref.layers.forward(layer, a)
            if layer.pool == 2:
                np.testing.assert_array_equal(winner, t["pool_arg"][n])
            if "a" in t:
                want = wide(t["a"][n], layer.out_shape)
                np.testing.assert_array_equal(ref.activate(layer, z), want)
        below = t.get("a")


def test_vector_error(vector: dict) -> None:
    layers = vector_layers(vector)
    for (_, low), (layer, t) in pairwise(layers):
        if "d" not in t or "ein" not in low:
            continue
        for n, d in enumerate(t["d"]):
            d, winner = wide(d, layer.out_shape), t["pool_arg"][n] if layer.pool == 2 else None
            e = ref.layers.ERROR[layer.kind](layer, d, winner)
            np.testing.assert_array_equal(e, wide(low["ein"][n], layer.in_shape))


def test_vector_gradient(vector: dict) -> None:
    below = vector["a0_int8"]
    for layer, t in vector_layers(vector):
        if "d" in t:
            g = 0
            for n, d in enumerate(t["d"]):
                d, winner = wide(d, layer.out_shape), t["pool_arg"][n] if layer.pool == 2 else None
                if winner is not None:
                    np.testing.assert_array_equal(ref.unpool(layer, d, winner), t["ds"][n])
                a = wide(below[n], layer.in_shape)
                g = g + ref.layers.GRADIENT[layer.kind](layer, a, d, winner)
            np.testing.assert_array_equal(g, ours(layer, t["g"]))
        below = t.get("a")


def test_vector_quantised_error_and_shifts(vector: dict) -> None:
    for _, t in vector_layers(vector):
        if "dq" in t:
            d, n = ref.quantise_error(t["e"].astype(np.int64))
            assert n == t["e_shift"]
            np.testing.assert_array_equal(d, t["dq"])
        if "g_shift" in t:
            assert ref.ilog2_round(int(np.abs(t["g"].astype(np.int64)).max())) == t["g_shift"]


def test_vector_steps_are_those_random_rounding_may_take(vector: dict) -> None:
    for _, t in vector_layers(vector):
        for lr_shift, name in ((0, "lr1"), (3, "lr8")):
            if "g_shift" not in t:
                continue
            g, n = t["g"].astype(np.int64), int(t["g_shift"]) - lr_shift
            lo, hi = t[f"dw_lo_{name}"], t[f"dw_hi_{name}"]
            small, large = np.where(g > 0, lo, hi), np.where(g > 0, hi, lo)
            for r, want in ((0, small), (65535, large)):
                if r == 0 or n <= 16:
                    step = np.sign(g) * ref.stochastic_shift(np.abs(g), n, r)
                    np.testing.assert_array_equal(step, want)


# The C kernels


def test_c_weights_in_use(vector: dict) -> None:
    for layer, t in vector_layers(vector):
        stored = replace(layer, trainable=True)
        stored.w = ours(layer, t["w_store"]) * (256 if layer.bits == 8 else 1)
        c = CLayer(stored, last=True)
        np.testing.assert_array_equal(c.weights(), stored.w)
        np.testing.assert_array_equal(c.used(), layer.w)


def test_c_forward(vector: dict) -> None:
    below = vector["a0_int8"]
    for layer, t in vector_layers(vector):
        sums, pooled = CLayer(replace(layer, pool=1), last=True), CLayer(layer, winners=True)
        for n in range(len(below)):
            a = wide(below[n], layer.in_shape)
            np.testing.assert_array_equal(sums.forward(a), wide(t["acc"][n], layer.sum_shape))
            if "a" in t:
                want = wide(t["a"][n], layer.out_shape)
                np.testing.assert_array_equal(pooled.forward(a), want)
            if layer.pool == 2:
                np.testing.assert_array_equal(pooled.winners(), t["pool_arg"][n])
        below = t.get("a")


def test_c_error_and_gradient(vector: dict) -> None:
    below, low = vector["a0_int8"], {}
    for layer, t in vector_layers(vector):
        if "d" in t:
            g, c = 0, CLayer(layer, winners=True)
            for n, d in enumerate(t["d"]):
                a, d = wide(below[n], layer.in_shape), wide(d, layer.out_shape)
                c.forward(a)  # sets the winners
                g = g + c.gradient(a, d)
                if "ein" in low:
                    want = wide(low["ein"][n], layer.in_shape)
                    np.testing.assert_array_equal(c.error(d), want)
            np.testing.assert_array_equal(g, ours(layer, t["g"]))
        below, low = t.get("a"), t


def test_c_quantised_error_shifts_and_steps(vector: dict) -> None:
    for _, t in vector_layers(vector):
        if "dq" in t:
            e = t["e"].astype(np.int64)
            d, n = cside.quantise_error(e, np.ones(e.shape, np.int64))
            assert n == t["e_shift"]
            np.testing.assert_array_equal(d, t["dq"])
        if "g_shift" not in t:
            continue
        g = t["g"].astype(np.int64)
        assert lib.wage_ilog2_round(int(np.abs(g).max())) == t["g_shift"]
        for lr_shift, name in ((0, "lr1"), (3, "lr8")):
            n, lo, hi = int(t["g_shift"]) - lr_shift, t[f"dw_lo_{name}"], t[f"dw_hi_{name}"]
            small, large = np.where(g > 0, lo, hi), np.where(g > 0, hi, lo)
            for r, want in ((0, small), (65535, large)):
                if r == 0 or n <= 16:
                    steps = [lib.wage_stochastic_shift(abs(v), n, r) for v in g.flat]
                    step = np.sign(g) * np.array(steps).reshape(g.shape)
                    np.testing.assert_array_equal(step, want)

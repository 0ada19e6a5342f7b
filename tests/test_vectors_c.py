"""The C step and the C kernels against the golden vectors (see golden.py)."""

# SPDX-License-Identifier: MIT

from dataclasses import replace

import cside
import numpy as np
import pytest
import reference as ref
from cside import CLayer
from golden import CASES, RATES, Golden, Tensors
from wage_host._core import lib
from wage_host.core import Core


@pytest.fixture(scope="module", params=CASES, ids=lambda path: path.stem)
def golden(request: pytest.FixtureRequest) -> Golden:
    """One vector file."""
    return Golden(request.param)


def c_step(blob: bytes, samples: list[tuple[np.ndarray, int]]) -> list[Tensors]:
    """What can be seen of a step of the C runtime from outside: the weights."""
    core = Core(blob)
    core.train(np.stack([x for x, _ in samples]).astype(np.int8), [label for _, label in samples])
    return [{"w": np.asarray(w).reshape(len(w), -1)} for w in core.weights()]


@pytest.mark.parametrize("lr_shift", RATES)
def test_c_makes_the_published_step(golden: Golden, lr_shift: int) -> None:
    found = c_step(golden.blob(lr_shift), golden.samples())
    assert golden.compare(found, lr_shift) == [{"w"}] * len(golden.layers)


def layers_of(golden: Golden) -> list[tuple[ref.Layer, Tensors, np.ndarray]]:
    """The oracle's layers, the tensors of each and its input."""
    layers = ref.open_model(golden.blob(0)).layers
    inputs = [golden.arrays["a0_int8"], *(t["a"] for t in golden.layers[:-1])]
    inputs = [a.astype(np.int64) for a in inputs]
    return list(zip(layers, golden.layers, inputs, strict=True))


def test_c_weights_in_use(golden: Golden) -> None:
    for layer, t, _ in layers_of(golden):
        c = CLayer(layer, last=True)
        np.testing.assert_array_equal(c.weights(), t["w_store"])
        np.testing.assert_array_equal(c.used(), t["q"])


def test_c_forward(golden: Golden) -> None:
    for layer, t, inputs in layers_of(golden):
        sums, pooled = CLayer(replace(layer, pool=1), last=True), CLayer(layer, winners=True)
        for n, a in enumerate(inputs):
            a = a.reshape(layer.in_shape)
            np.testing.assert_array_equal(sums.forward(a), t["acc"][n])
            if "a" in t:
                np.testing.assert_array_equal(pooled.forward(a), t["a"][n])
            if layer.pool == 2:
                np.testing.assert_array_equal(pooled.winners(), t["pool_arg"][n])


def test_c_error_and_gradient(golden: Golden) -> None:
    low: Tensors = {}
    for layer, t, inputs in layers_of(golden):
        if "d" in t:
            g, c = 0, CLayer(layer, winners=True)
            for n, (a, d) in enumerate(zip(inputs, t["d"], strict=True)):
                a = a.reshape(layer.in_shape)
                c.forward(a)  # sets the winners
                g = g + c.gradient(a, d)
                if "ein" in low:
                    want = low["ein"][n].reshape(layer.in_shape)
                    np.testing.assert_array_equal(c.error(d), want)
            np.testing.assert_array_equal(g, t["g"])
        low = t


def test_c_quantised_error_shifts_and_steps(golden: Golden) -> None:
    for t in golden.layers:
        if "dq" in t:
            d, n = cside.quantise_error(t["e"], np.ones(t["e"].shape, np.int64))
            assert n == t["e_shift"]
            np.testing.assert_array_equal(d, t["dq"])
        if "g_shift" not in t:
            continue
        g = t["g"]
        assert lib.wage_ilog2_round(int(np.abs(g).max())) == t["g_shift"]
        for lr_shift, name in RATES.items():
            n, lo, hi = int(t["g_shift"]) - lr_shift, t[f"dw_lo_{name}"], t[f"dw_hi_{name}"]
            small, large = np.where(g > 0, lo, hi), np.where(g > 0, hi, lo)
            for r, want in ((0, small), (65535, large)):
                if r == 0 or n <= 16:
                    steps = [lib.wage_stochastic_shift(abs(v), n, r) for v in g.flat]
                    step = np.sign(g) * np.array(steps).reshape(g.shape)
                    np.testing.assert_array_equal(step, want)

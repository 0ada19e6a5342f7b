"""The oracle against the golden vectors: another implementation's whole step (see golden.py)."""

# SPDX-License-Identifier: MIT

from pathlib import Path

import numpy as np
import pytest
import reference as ref
from golden import CASES, RATES, Golden, Tensors

DEFINED = {"e_defined", "g_defined"}  # where the published program divides by zero


def oracle_step(blob: bytes, samples: list[tuple[np.ndarray, int]]) -> list[Tensors]:
    """Every tensor of the oracle's step by its name in the vectors."""
    model = ref.open_model(blob)
    before = [(layer.w, layer.q) for layer in model.layers]
    step = ref.train(model, samples)
    pairs = zip(step.passes, before, strict=True)
    return [tensors_of(model, p, *weights) for p, weights in pairs]


def tensors_of(model: ref.Model, p: ref.Pass, w: np.ndarray, q: np.ndarray) -> Tensors:
    """What one layer did, by name; what was not reached or has no largest is left out."""
    layer, hidden = p.layer, p.layer is not model.layers[-1]
    twin = ref.Layer(**(vars(layer) | {"w": w}))  # with the weights that it had
    t = {"w_store": w, "q": q, "w": layer.w, "alpha_shift": layer.alpha_shift}
    t["acc"] = np.stack([ref.sums(twin, a) for a in p.a])
    if hidden:
        t |= {"a": p.out, "sat": ref.saturated(layer, p.z), "ein": p.ein}
    if layer.pool == 2:
        t["pool_arg"] = np.stack(p.winner)
    t |= {"e": p.e, "e_defined": p.n is not None}
    if p.n is not None:
        t |= {"e_shift": p.n, "dq": p.dq, "d": p.d}
        t["g"] = np.zeros_like(q) if p.g is None else p.g  # None: d is 0, the step ended (5.5)
        assert p.g is not None or not p.d.any()
        if layer.pool == 2:
            pairs = zip(p.d, p.winner, strict=True)
            t["ds"] = np.stack([ref.unpool(layer, d, winner) for d, winner in pairs])
    if p.g is not None and p.g.any():
        t |= steps_of(p.g)
    t["g_defined"] = "g_shift" in t
    return {name: value for name, value in t.items() if value is not None}


def steps_of(g: np.ndarray) -> Tensors:
    """The update before random rounding, and the two values that this may give."""
    n = ref.ilog2_round(int(np.abs(g).max()))
    t = {"g_shift": n}
    for lr_shift, rate in RATES.items():
        zero, most = (
            np.sign(g) * ref.stochastic_shift(np.abs(g), n - lr_shift, r) for r in (0, 65535)
        )
        exact = n - lr_shift <= 16  # else the lowest bits of |g| do not count
        assert exact or (np.abs(most - zero) <= 1).all()
        t[f"v_{rate}"] = np.ldexp(g.astype(np.float64), lr_shift - n)
        t[f"dw_lo_{rate}"] = np.where(g > 0, zero, most)
        t[f"dw_hi_{rate}"] = np.where(g > 0, most, zero)
    return t


@pytest.fixture(scope="module", params=CASES, ids=lambda path: path.stem)
def golden(request: pytest.FixtureRequest) -> Golden:
    """One vector file."""
    return Golden(request.param)


def test_vectors_are_there() -> None:
    assert len(CASES) == 33
    assert {Golden(case).bits for case in CASES} == {2, 4, 8}


@pytest.mark.parametrize("lr_shift", RATES)
def test_oracle_makes_the_published_step(golden: Golden, lr_shift: int) -> None:
    found = oracle_step(golden.blob(lr_shift), golden.samples())
    compared = golden.compare(found, lr_shift)
    for index, (names, t) in enumerate(zip(compared, golden.layers, strict=True)):
        assert names == set(t) | {"w"}, f"layer {index + 1}: {set(t) - names} not compared"


def test_bytes_become_the_published_input(golden: Golden) -> None:
    model = ref.open_model(golden.blob(0))
    for p, (a, _) in zip(golden.arrays["x_uint8"], golden.samples(), strict=True):
        found = ref.input_activations(model, p)
        np.testing.assert_array_equal(found, a.reshape(model.input_shape))


def test_comparison_notices_one_wrong_bit_in_any_tensor() -> None:
    golden = Golden(Path(CASES[0]))
    found = oracle_step(golden.blob(0), golden.samples())
    for tensors in found:
        for name in set(tensors) - {"w_store"}:
            right = np.asarray(tensors[name])
            wrong = right.astype(np.float64 if "v_" in name else np.int64)
            wrong.reshape(-1)[-1] += 1
            tensors[name] = wrong
            if name in {*DEFINED, "w"} or any(name in t for t in golden.layers):
                with pytest.raises(AssertionError, match=name):
                    golden.compare(found, 0)
            tensors[name] = right

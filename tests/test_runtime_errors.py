"""C errors against the oracle, bit by bit: at the output, masked, rounded, joined (SPEC 4, 5.1)."""

# SPDX-License-Identifier: MIT

import random
from dataclasses import replace
from types import SimpleNamespace

import cside
import numpy as np
import pytest
import reference as ref
from cside import LEVELS, CLayer, given
from wage_host._core import ffi, lib

INT32 = (-(1 << 31), (1 << 31) - 1)
ERROR_MAX = 131072 * 127 * 127  # of a sum of errors (SPEC 2.6)
ONE = ref.Layer(ref.DENSE, 0, 8, True, 0, (1, 1, 1), 1, (1, 1), (1, 1), (0,) * 4, 1)
ADD = replace(ONE, kind=ref.ADD, bits=0, store_bits=0)


@pytest.fixture
def rng(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """The run's seed, and another sequence for each test."""
    return random.Random(f"{seed} {request.node.name}")


def scaled(bits: int, alpha_shift: int) -> ref.Layer:
    """A layer with these that gives the logits."""
    layer = replace(ONE, bits=bits, store_bits=16, alpha_shift=alpha_shift)
    layer.w = np.zeros((1, 1), np.int64)
    return layer


# The output (SPEC 4)


def logits(rng: random.Random, classes: int, h: int, largest: int = INT32[1]) -> np.ndarray:
    """Logits: alike, far apart, at the ends, some equal."""
    low = -largest - (largest == INT32[1])
    spread = rng.choice((0, 1, 1 << rng.randint(1, 31), 1 << min(31, h + rng.randint(0, 9))))
    o = [max(low, min(largest, rng.randint(-spread, spread))) for _ in range(classes)]
    for _ in range(rng.choice((0, 0, 1, 3))):
        o[rng.randrange(classes)] = rng.choice((low, largest, 0, o[0], low + 1))
    return np.array(o)


def test_output_error_and_prediction(rng: random.Random) -> None:
    for _ in range(2500):
        classes = rng.choice((2, 2, 3, 10, rng.randint(2, 255), 255))
        layer = scaled(rng.randint(2, 8), rng.randint(0, 20))
        gain, label = rng.randrange(8), rng.randrange(classes)
        sse = layer.h < 24 and rng.randrange(2) == 0
        o = logits(rng, classes, layer.h, INT32[1] - (1 << (7 + layer.h) if sse else 0))
        e, p = ref.output_error(o, label, layer.h, gain, sse)
        got, p_label = cside.output_error(o, label, CLayer(layer, last=True), gain, sse)
        assert p_label == p[label], (o, label, layer.h, gain)
        np.testing.assert_array_equal(got, e)
        assert lib.wage_argmax(given(o, "int32"), classes) == o.argmax()


def test_output_error_at_every_distance(rng: random.Random) -> None:
    for h in (1, 3, 5, 6, 7, 8, 14, 27):
        c = CLayer(scaled(min(8, h + 1), h - min(7, h)), last=True)
        assert c.layer.h == h
        for gain in (0, 3, 7):
            unit = max(0, 7 + h - 4 - gain)  # u is the distance shifted by this
            for u in range(min(520, (1 << 32) >> unit)):
                below = (u << unit) + rng.randrange(1 << unit)
                o = np.array([INT32[1], INT32[1] - below])
                for label in (0, 1):
                    e, p = ref.output_error(o, label, h, gain)
                    got, p_label = cside.output_error(o, label, c, gain)
                    assert (got.tolist(), p_label) == (e.tolist(), p[label]), (h, gain, u)


def test_output_error_tells_each_power_from_its_neighbours(rng: random.Random) -> None:
    layer = scaled(2, 3)  # with gain 7 a unit of the logits is one of u
    c, told = CLayer(layer, last=True), set()
    for _ in range(1500):
        u = np.array([0, *(rng.randrange(48) for _ in range(rng.randint(1, 6)))])
        want = [ref.output_error(-u, label, layer.h, 7)[1][label] for label in range(len(u))]
        for label, p in enumerate(want):
            assert cside.output_error(-u, label, c, 7)[1] == p, u
        if len(told) < 32:
            told |= {(k, by) for k in range(16) for by in (-1, 1) if p_with(u, k, by) != want}
    assert len(told) == 32  # a table with any number off by one would have been seen


def p_with(u: np.ndarray, k: int, by: int) -> list[int]:
    """SPEC 4.3 with the number k of the table off by `by`."""
    table = ref.steps.POWERS.copy()
    table[k] += by
    powers = table[u % 16] >> (u // 16)
    return (((powers << 14) + powers.sum() // 2) // powers.sum()).tolist()


@pytest.mark.parametrize("sse", [False, True], ids=["ce", "sse"])
@pytest.mark.parametrize("paper", [False, True], ids=["continual", "paper"])
def test_quantise_output(rng: random.Random, paper: bool, sse: bool) -> None:
    for _ in range(2000):
        layer = scaled(rng.randint(2, 8), rng.randint(0, 16))
        n, classes = rng.randint(1, 8), rng.randint(2, 20)
        bound = rng.randint(1, 31) if sse else 14
        e = np.array([rng.randint(-(1 << bound) + 1, (1 << bound) - 1) for _ in range(n * classes)])
        e = (e * rng.choice((0, 1, 1, 1, 1))).reshape(n, classes)
        of = ref.Pass(layer, e, e, [], e)
        x = ref.steps.last_error(SimpleNamespace(paper=paper, sse=sse), of, e)
        d, got_x, largest = cside.quantise_output(e, CLayer(layer, last=True), paper, sse)
        np.testing.assert_array_equal(d, of.d)
        assert largest == np.abs(of.d).max()
        assert got_x == x or not of.d.any()


# Masks and rounding (SPEC 3.5, 5.1.3 to 5.1.5)


def sums_near_the_ends(rng: random.Random, h: int, count: int) -> np.ndarray:
    """Sums of a hidden layer: small, negative, about the saturation and the ends of int32."""
    full, half = 127 << h, (1 << h) >> 1
    near = (0, full, full + half, full - half, -full, -full - half, -full + half)
    some = [rng.choice(near) + rng.randint(-2, 2) for _ in range(count)]
    wild = [rng.randint(-full, full) * rng.choice((1, 2)) for _ in range(count)]
    ends = (INT32[1], INT32[0] + 1)
    mixed = [rng.choice((s, s, w, w, rng.choice(ends))) for s, w in zip(some, wild, strict=True)]
    return np.clip(np.array(mixed), INT32[0] + 1, INT32[1])


def emitted(c: CLayer, z: np.ndarray) -> np.ndarray:
    """wage_emit of each sum; the masks are kept in c."""
    a = cside.Written(z.size, "int8")
    out = ffi.new("struct wage_output *", {"a": a.c})
    for i, one in enumerate(z.reshape(-1).tolist()):
        lib.wage_emit(c.c, i, one, out)
    return a.array().reshape(z.shape)


def hidden(rng: random.Random, paper: bool, activation: int, count: int) -> ref.Layer:
    """A layer with an activation and `count` outputs."""
    bits, scale = rng.randint(2, 8), rng.choice((0, 0, 1, 3, rng.randint(0, 20)))
    return replace(ONE, bits=bits, store_bits=16, alpha_shift=scale, out=count, paper=paper,
                   activation=activation)  # fmt: skip


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("activation", [ref.RELU, ref.SIGNED], ids=["relu", "signed"])
@pytest.mark.parametrize("paper", [False, True], ids=["continual", "paper"])
def test_masks(rng: random.Random, paper: bool, activation: int, level: int) -> None:
    for _ in range(500):
        n, count = rng.randint(1, 4), rng.randint(1, 70)
        layer = hidden(rng, paper, activation, count)
        c = CLayer(layer, n=n, level=level)
        z = sums_near_the_ends(rng, layer.h, n * count)
        a = ref.activate(layer, z)
        np.testing.assert_array_equal(emitted(c, z), a)
        if paper:
            want = ref.opened(layer, z) * 1 + ref.saturated(layer, z) * 2
            np.testing.assert_array_equal(c.masks().reshape(-1), want)
        bound = rng.choice((1, 200, 1 << rng.randint(1, 30), ERROR_MAX))
        e = np.array([rng.choice((rng.randint(-bound, bound), bound, -bound)) for _ in z])
        parts = tuple(sorted(rng.randrange(n * count + 1) for _ in range(rng.randrange(3))))
        got, largest = cside.mask_error(c, e, a, parts)
        wide = np.where(ref.blocked(layer, z, a), 0, e)
        np.testing.assert_array_equal(got, wide)
        assert largest == np.abs(wide).max()
        dq, shift = ref.quantise_error(wide)
        shift = 7 if shift is None else shift
        d = np.where(ref.opened(layer, z) | (not paper), dq, 0)
        np.testing.assert_array_equal(cside.round_error(c, wide, shift, parts), d)


@pytest.mark.parametrize("level", LEVELS)
def test_pool_has_no_masks(rng: random.Random, level: int) -> None:
    for kind in (ref.AVERAGE_POOL, ref.MAX_POOL):
        for paper in (False, True):
            layer = replace(ADD, kind=kind, activation=ref.NONE, out=40, paper=paper)
            layer.in_shape = (1, 1, 40)
            e = np.array([rng.randint(-99999, 99999) for _ in range(40)])
            a = np.array([rng.choice((-127, -1, 0, 1, 127)) for _ in range(40)])
            c = CLayer(layer, level=level)
            got, largest = cside.mask_error(c, e, a)
            np.testing.assert_array_equal(got, e)
            assert largest == np.abs(e).max() == lib.wage_largest(given(e, "int32"), 40)
            d, n = ref.quantise_error(e)
            np.testing.assert_array_equal(cside.round_error(c, e, n), d)


@pytest.mark.parametrize("level", LEVELS)
def test_largest(rng: random.Random, level: int) -> None:
    largest = lib.wage_host_kernels(level).largest
    for _ in range(1000):
        count, bound = rng.randint(1, 99), (1 << rng.randint(0, 31)) - 1
        x = [rng.randint(-bound, bound) for _ in range(count)]
        x[rng.randrange(count)] = rng.choice((bound, -bound, 0))
        assert largest(given(x, "int32"), count) == max(map(abs, x))
    assert largest(given([5, INT32[0], INT32[1]], "int32"), 3) == 1 << 31


# Where a skip joins (SPEC 5.1.2)


def test_join(rng: random.Random) -> None:
    branches = set()
    for _ in range(6000):
        count, y = rng.randint(1, 30), rng.randint(-200, 200)
        layer = replace(ADD, alpha_shift=rng.randrange(8), out=count, in_shape=(1, 1, count))
        t = rng.choice((0, 1, 15, 16, 17, 18, 46, 47, 48, -1, -7, -31, -32, rng.randint(-99, 99)))
        bound = rng.choice((0, 1, 3, 40, 1 << rng.randint(1, 30), ERROR_MAX))
        e = np.array([rng.choice((rng.randint(-bound, bound), bound)) for _ in range(count)])
        d_s = np.array([rng.choice((rng.randint(-127, 127), 127, -127, 0)) for _ in range(count)])
        y_s = y + t
        want = ref.steps.join(e, y, (d_s, y_s))
        got = cside.join(CLayer(layer), e, y, d_s, y_s + layer.alpha_shift)
        np.testing.assert_array_equal(got[0], want[0])
        assert got[1] == want[1], (t, bound)
        branches.add("zero" if not e.any() else "far" if t > 16 else "gone" if t < -31 else "near")
    assert branches == {"zero", "far", "gone", "near"}

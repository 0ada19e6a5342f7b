"""C functions against the oracle, bit by bit: primitives, errors, updates, the replay."""

# SPDX-License-Identifier: MIT

import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import isqrt

import blobs
import cside
import numpy as np
import pytest
import reference as ref
from blobs import dense, make_blob
from cside import CLayer, given
from wage_host._core import ffi, lib
from wage_host.core import ERROR_NAMES, Core

INT32 = (-(1 << 31), (1 << 31) - 1)
WORD = 0xFFFFFFFF
ONE = ref.Layer(ref.DENSE, 0, 8, True, 0, (1, 1, 1), 1, (1, 1), (1, 1), (0,) * 4, 1)


@pytest.fixture
def rng(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """The run's seed, and another sequence for each test."""
    return random.Random(f"{seed} {request.node.name}")


def numbers(rng: random.Random, low: int, high: int, count: int = 3000) -> Iterator[int]:
    """Numbers of all sizes in low..high, around every power of two, and the ends."""
    for k in range(33):
        for near in range(-3, 4):
            yield from (v for v in ((1 << k) + near, -(1 << k) + near) if low <= v <= high)
    yield from (low, low + 1, high - 1, high)
    for _ in range(count):
        yield min(high, max(low, rng.randint(low, high) >> rng.randrange(32)))


# Primitives (SPEC 1)


def test_floor_shift_and_clamp(rng: random.Random) -> None:
    for x in numbers(rng, *INT32):
        for n in (0, 1, 2, 7, 8, 15, 30, 31, rng.randrange(32)):
            assert lib.wage_floor_shift(x, n) == ref.floor_shift(x, n), (x, n)
        lo, hi = sorted((rng.randint(*INT32), rng.randint(*INT32)))
        assert lib.wage_clamp(x, lo, hi) == ref.clamp(x, lo, hi)
        assert lib.wage_clamp(x, -127, 127) == ref.clamp(x, -127, 127)


def test_rne(rng: random.Random) -> None:
    for n in range(-24, 32):
        low, high = (INT32[0] >> -n, INT32[1] >> -n) if n < 0 else INT32
        middle = 1 << max(n - 1, 0)  # halves of odd and even numbers, and next to them
        halves = [k * middle + near for k in range(-9, 10) for near in (-1, 0, 1)]
        for x in [*numbers(rng, low, high, 300), *(v for v in halves if low <= v <= high)]:
            assert lib.wage_rne(x, n) == ref.rne(x, n), (x, n)


def test_ilog2_round(rng: random.Random) -> None:
    middles = [isqrt(2 << (2 * k)) for k in range(31)]
    near = [m + i for m in middles for i in range(-3, 4)]
    for m in [*numbers(rng, 1, WORD), *(m for m in near if m > 0)]:
        assert lib.wage_ilog2_round(m) == ref.ilog2_round(m), m


def test_random_words(rng: random.Random) -> None:
    for x in numbers(rng, 0, WORD):
        y, z = rng.getrandbits(32), rng.choice((0, 1, 2, 33, 64, 65, WORD, rng.getrandbits(32)))
        assert lib.wage_mix(x) == ref.mix(x)
        assert lib.wage_key(x, y, z) == ref.key(x, y, z)
        assert lib.wage_key(y, x, z) == ref.key(y, x, z)
        assert lib.wage_draw(x, y) == ref.draw(x, y)
        assert lib.wage_draw(y, x) == ref.draw(y, x)
        assert lib.wage_below(x, y) == ref.below(x, y)
        assert lib.wage_below(y, z) == ref.below(y, z)


def test_stochastic_shift(rng: random.Random) -> None:
    for m in numbers(rng, 0, (1 << 31) - 1, 2000):
        near = m.bit_length()
        wild = (rng.randint(-20, 60), rng.randint(-999, 999))
        for n in (near - 16, near - 1, near, near + 1, *wild):
            for r in (0, 1, 32767, 32768, 65535, rng.getrandbits(16)):
                got = lib.wage_stochastic_shift(m, n, r)
                assert got == ref.stochastic_shift(m, n, r), (m, n, r)


def test_crc(rng: random.Random) -> None:
    for count in [*range(70), 255, 256, 1000, 65537]:
        data = rng.randbytes(count)
        cut = rng.randint(0, count)
        assert lib.wage_crc(0, data, count) == ref.crc32(data)
        first = lib.wage_crc(0, data[:cut], cut)
        assert lib.wage_crc(first, data[cut:], count - cut) == zlib.crc32(data)


# Errors (SPEC 3.6, 4, 5.1)


def logits(rng: random.Random, classes: int, h: int) -> list[int]:
    """Logits: alike, far apart, at the ends of int32, some equal."""
    spread = rng.choice((0, 1, 1 << rng.randint(1, 31), 1 << min(31, h + rng.randint(0, 9))))
    o = [max(INT32[0], min(INT32[1], rng.randint(-spread, spread))) for _ in range(classes)]
    for _ in range(rng.choice((0, 0, 1, 3))):
        o[rng.randrange(classes)] = rng.choice((*INT32, 0, o[0], INT32[0] + 1))
    return o


def test_output_error_and_prediction(rng: random.Random) -> None:
    for _ in range(4000):
        classes = rng.choice((2, 2, 3, 10, rng.randint(2, 255), 255))
        layer = replace(ONE, bits=rng.choice((2, 8)), alpha_shift=rng.randint(0, 20))
        layer.w = np.zeros((1, 1), np.int64)
        gain, label = rng.randrange(8), rng.randrange(classes)
        o = np.array(logits(rng, classes, layer.h))
        d, p = ref.output_error(o, label, layer.h, gain)
        got, p_label = cside.output_error(o, label, CLayer(layer, last=True), gain)
        assert p_label == p[label], (o, label, layer.h, gain)
        np.testing.assert_array_equal(got, d)
        assert lib.wage_argmax(given(o, "int32"), classes) == o.argmax()


def test_output_error_at_every_distance(rng: random.Random) -> None:
    for h in (1, 5, 6, 7, 8, 14, 27):
        layer = replace(ONE, bits=2 if h < 7 else 8, alpha_shift=h - (1 if h < 7 else 7))
        layer.w = np.zeros((1, 1), np.int64)
        c = CLayer(layer, last=True)
        for gain in (0, 3, 7):
            unit = max(0, 7 + h - 4 - gain)  # u is the distance shifted by this
            for u in range(min(520, (1 << 32) >> unit)):
                below = (u << unit) + rng.randrange(1 << unit)
                o = np.array([INT32[1], INT32[1] - below])
                for label in (0, 1):
                    d, p = ref.output_error(o, label, h, gain)
                    got, p_label = cside.output_error(o, label, c, gain)
                    assert (got.tolist(), p_label) == (d.tolist(), p[label]), (h, gain, u)


def test_output_error_tells_each_power_from_its_neighbours(rng: random.Random) -> None:
    layer = replace(ONE, bits=2, alpha_shift=3)  # with gain 7 a unit of the logits is one of u
    layer.w = np.zeros((1, 1), np.int64)
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
    table = ref.train.POWERS.copy()
    table[k] += by
    powers = table[u % 16] >> (u // 16)
    return (((powers << 14) + powers.sum() // 2) // powers.sum()).tolist()


def masked(e: np.ndarray, a: np.ndarray) -> np.ndarray:
    """SPEC 5.1: no error where the ReLU is closed or the activation saturated."""
    return np.where((a == 0) | (a == 127), 0, e)


def test_quantise_error(rng: random.Random) -> None:
    for _ in range(3000):
        count, bound = rng.randint(1, 60), rng.randint(1, 31)
        largest = (1 << bound) - 1
        e = np.array([rng.randint(-largest, largest) for _ in range(count)])
        e[rng.randrange(count)] = rng.choice((largest, -largest, 0, 1, -1))
        a = np.array([rng.choice((0, 1, 2, 64, 126, 127)) for _ in range(count)])
        got, n = cside.quantise_error(e, a)
        wide = masked(e, a)
        if not wide.any():
            assert n == -1
        else:
            d, want = ref.quantise_error(wide)
            assert n == want
            np.testing.assert_array_equal(got, d)


# The update (SPEC 5.3)


def random_gradient(rng: random.Random, shape: tuple[int, int]) -> np.ndarray:
    """A gradient of one size or of all, with zeros and the largest that a model can have."""
    largest = rng.choice((3, 200, 127 * 127, 1 << 24, 128 * 127 * 131071))
    flat = [rng.randint(-largest, largest) for _ in range(shape[0] * shape[1])]
    flat = [rng.choice((v, v, v, 0, largest, -largest, v >> 9)) for v in flat]
    return np.array(flat).reshape(shape)


def test_update(rng: random.Random) -> None:
    moved = 0
    for _ in range(1500):
        fan_in, out = rng.randint(1, 13), rng.randint(1, 5)
        layer = replace(ONE, index=rng.randrange(32), bits=rng.choice((2, 8)), out=out,
                        in_shape=(1, 1, fan_in))  # fmt: skip
        weights = [rng.choice((rng.randint(-layer.limit, layer.limit), layer.limit, -layer.limit))
                   for _ in range(out * fan_in)]  # fmt: skip
        layer.w = np.array(weights).reshape(out, fan_in)
        config = ref.Config(rng.getrandbits(32), rng.randint(-24, 7), 0, 0, 0)
        step, g = rng.getrandbits(32), random_gradient(rng, (out, fan_in))
        near = int(np.abs(g).max()).bit_length() - rng.randint(-3, 17)  # n that moves weights
        n = rng.choice((near, near, near, rng.randint(-60, 80), rng.randint(-1200, 1200)))
        x = 7 - config.lr_shift - (8 if layer.bits == 8 else 0) - n
        c = CLayer(layer)
        key = lib.wage_key(config.seed, step, 1 + layer.index)
        before = layer.w.copy()
        ref.update(layer, g, x, config, step)
        for o in range(out):
            lib.wage_update(c.c, o, given(g[o], "int32"), n, key)
        np.testing.assert_array_equal(c.weights(), layer.w)
        moved += int((before != layer.w).sum())
    assert moved > 10000


def test_every_stored_weight_is_kept_and_used_as_documented() -> None:
    for bits, limit in ((8, 32512), (2, 64)):
        layer = replace(ONE, bits=bits, out=2 * limit + 1)
        layer.w = np.arange(-limit, limit + 1).reshape(-1, 1)
        c = CLayer(layer)
        np.testing.assert_array_equal(c.weights(), layer.w)
        np.testing.assert_array_equal(c.used(), layer.q)


# The replay (SPEC 6.2), and what is refused (6.1, 6.4)


def reservoir(rng: random.Random, classes: int, capacity: int) -> tuple[Core, ref.Model]:
    """A model that keeps its inputs, in both implementations."""
    header = {"replay_capacity": capacity, "replays": 0, "seed": rng.getrandbits(32)}
    blob = make_blob([dense(classes, flags=1)], (1, 1, 2), header=header)
    core, model = Core(blob), ref.open_model(blob)
    return core, model


@pytest.mark.parametrize(
    ("classes", "capacity", "skew"),
    [(2, 1, 1), (3, 2, 1), (3, 7, 4), (5, 12, 1), (5, 12, 6), (10, 40, 3), (255, 30, 1), (4, 0, 1)],
)
def test_replay_offer(rng: random.Random, classes: int, capacity: int, skew: int) -> None:
    core, model = reservoir(rng, classes, capacity)
    core.start(1, core.config())
    w, taken = core.wage, 0
    for id in range(1, 1501):
        if id in (500, 1000):  # much later, with counters about to wrap
            w.sample = model.sample = (1 << 32) - 200 if id == 1000 else rng.getrandbits(32)
            for c in range(min(classes, 3)):
                w.class_total[c] = model.class_total[c] = (1 << 32) - rng.randint(1, 99)
        label = min(rng.randrange(classes) for _ in range(skew))
        x = np.array([rng.randint(-128, 127), id % 128])
        before = cside.replay(core)
        ref.replay_offer(model, x.reshape(1, 1, 2), label)
        model.sample = (model.sample + 1) & WORD
        assert cside.learn(core, id, x, label).id == id
        want = [(c, latent.astype(np.int8).tobytes()) for c, latent in model.replay]
        assert cside.replay(core) == want
        assert [w.class_total[c] for c in range(classes)] == model.class_total
        taken += len(before) == capacity and before != want
    assert len(model.replay) == capacity and (taken > 3 or not capacity)


def refusal(call: Callable[[], object]) -> str:
    """The name of what the oracle raises, or WAGE_OK."""
    try:
        call()
    except ref.RefusedError as error:
        return error.name
    return "WAGE_OK"


def test_start_and_learn_refuse_the_same_in_the_same_order(rng: random.Random) -> None:
    core, model = reservoir(rng, 3, 2)
    x, seen = np.array([5, -6]), set()
    for _ in range(3000):
        if rng.randrange(3) == 0:
            low, high = rng.choice((-25, -24, -9)), rng.choice((0, 7, 8))
            values = (rng.getrandbits(32), rng.choice((low, high)), rng.choice((0, 3)),
                      rng.choice((0, 7, 8)), rng.choice((0, 127, 128)))  # fmt: skip
            stream, config = rng.choice((0, 1, 1, 2)), ref.Config(*values)
            c_config = ffi.new("struct wage_config *", values)
            got = ERROR_NAMES[lib.wage_start(core.wage, stream, c_config)]
            want = refusal(lambda s=stream, c=config: ref.start(model, s, c))
        elif rng.randrange(5) == 0:
            label, record = rng.choice((0, 2, 3, 255)), ffi.new("struct wage_record *")
            got = ERROR_NAMES[lib.wage_predict(core.wage, given(x, "int8"), label, record)]
            want = refusal(lambda y=label: ref.predict(model, x, y))
        else:
            if rng.randrange(100) == 0:
                core.wage.last_id = model.last_id = WORD
            id = (model.last_id + rng.choice((0, 1, 1, 1, 2))) & WORD
            label = rng.choice((0, 1, 2, 3, 255))
            record = cside.learn(core, id, x, label)
            got = record if isinstance(record, str) else "WAGE_OK"
            want = refusal(lambda i=id, y=label: ref.learn(model, i, x, y))
        assert got == want
        assert core.state_crc() == ref.state_crc(model)
        seen.add(got)
    assert seen >= {f"WAGE_{n}" for n in ("OK", "E_STREAM", "E_ORDER", "E_LABEL", "E_CONFIG")}


def test_counters_wrap(rng: random.Random) -> None:
    for seed in range(4):
        blob = blobs.random_model(seed, replays=2, replay_capacity=5)
        core, model = Core(blob), ref.open_model(blob)
        core.start(1, core.config())
        ref.start(model, 1)
        w = core.wage
        w.last_id = w.step = w.sample = w.metrics.samples = w.metrics.steps = WORD - 3
        model.last_id = model.step = model.sample = WORD - 3
        model.metrics.samples = model.metrics.steps = WORD - 3
        for x, label in blobs.random_stream(blob, seed, 12):
            id = (model.last_id + 1) & WORD
            ref.learn(model, id, x, label)
            assert cside.learn(core, id, x, label).id == id
            assert core.state_crc() == ref.state_crc(model)
        assert model.last_id < 10

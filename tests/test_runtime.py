"""C functions against the oracle, bit by bit: primitives, the replay, what is refused."""

# SPDX-License-Identifier: MIT

import random
import zlib
from collections.abc import Callable, Iterator
from math import isqrt

import blobs
import cside
import numpy as np
import pytest
import random_models
import reference as ref
from blobs import dense, make_blob
from wage_host._core import ffi, lib
from wage_host.core import ERROR_NAMES, Core

INT32 = (-(1 << 31), (1 << 31) - 1)
WORD = 0xFFFFFFFF


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
        assert lib.wage_fraction(x, y) == ref.fraction(x, y)
        assert lib.wage_fraction(y, z) == ref.fraction(y, z)


def test_words_of_the_document() -> None:
    key = lib.wage_key(1, 2, 3)
    assert key == 0x9834EEDC
    assert [lib.wage_draw(key, i) for i in (0, 1)] == [0xA3297841, 0xD9132248]
    assert [lib.wage_fraction(key, i) for i in range(4)] == [0x7841, 0xA329, 0x2248, 0xD913]


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


# The replay (SPEC 6.2), and what is refused (6.1, 6.4)


def reservoir(
    rng: random.Random, classes: int, capacity: int, batch: int = 1
) -> tuple[Core, ref.Model]:
    """A model that keeps its inputs, in both implementations."""
    header = {"replay_capacity": capacity, "replays": 0, "seed": rng.getrandbits(32)}
    header["batch"] = batch
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


def named(result: object) -> str:
    """The name of what C answers."""
    return result if isinstance(result, str) else "WAGE_OK"


def test_start_and_learn_refuse_the_same_in_the_same_order(rng: random.Random) -> None:
    core, model = reservoir(rng, 3, 2, batch=3)
    x, seen = np.array([5, -6]), set()
    for _ in range(3000):
        if rng.randrange(3) == 0:
            low, high = rng.choice((-25, -24, -9)), rng.choice((0, 7, 8))
            values = (rng.getrandbits(32), rng.choice((low, high)), rng.choice((0, 3)),
                      rng.choice((0, 7, 8)), rng.choice((0, 127, 128)),
                      rng.choice((0, 1, 1, 15, 15, 16)))  # fmt: skip
            stream, config = rng.choice((0, 1, 1, 2)), ref.Config(*values)
            c_config = ffi.new("struct wage_config *", values)
            got = ERROR_NAMES[lib.wage_start(core.wage, stream, c_config)]
            want = refusal(lambda s=stream, c=config: ref.start(model, s, c))
        elif rng.randrange(5) == 0:
            label = rng.choice((0, 2, 3, 255))
            got = named(cside.together(core, lib.wage_predict, [x], [label]))
            want = refusal(lambda y=label: ref.predict(model, x, y))
        elif rng.randrange(5) == 0:
            labels = [rng.choice((0, 1, 2, 2, 3)) for _ in range(rng.randrange(5))]
            got = named(cside.together(core, lib.wage_train, [x] * len(labels), labels))
            want = refusal(lambda them=labels: ref.train(model, [(x, y) for y in them]))
        else:
            if rng.randrange(100) == 0:
                core.wage.last_id = model.last_id = WORD
            id = (model.last_id + rng.choice((0, 1, 1, 1, 2))) & WORD
            label = rng.choice((0, 1, 2, 3, 255))
            got = named(cside.learn(core, id, x, label))
            want = refusal(lambda i=id, y=label: ref.learn(model, i, x, y))
        assert got == want
        assert core.state_crc() == ref.state_crc(model)
        seen.add(got)
    names = ("OK", "E_STREAM", "E_ORDER", "E_LABEL", "E_CONFIG", "E_BATCH")
    assert seen == {f"WAGE_{n}" for n in names}


def test_counters_wrap(rng: random.Random) -> None:
    for seed in range(4):
        blob = random_models.random_model(seed, replays=2, replay_capacity=5)
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

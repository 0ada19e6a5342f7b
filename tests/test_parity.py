"""Whole learning: the oracle and the C runtime learn the same, bit by bit."""

# SPDX-License-Identifier: MIT

import random
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import blobs
import cside
import nets
import numpy as np
import pytest
import random_models
import reference as ref
from blobs import conv2d, dense
from cside import LEVELS
from parity import Twins
from wage_host import data, demo
from wage_host._core import ffi, lib
from wage_host.core import ERROR_NAMES, Core

MODELS = range(48)
SAMPLES = 60
STATE_EVERY = 5
DEMO_SAMPLES = 160  # each with 15 replays
ERASE_BYTES = 64
MOST = (1 << 24) - 1  # of a bias


class RamStore:
    """A store in memory that holds its user to the rules of struct wage_store."""

    def __init__(self, half: int, program_bytes: int) -> None:
        self.bytes = bytearray(2 * half)
        self.unit, self.half = program_bytes, half
        self.erased = bytearray(2 * half)  # 1: may be programmed
        self.calls = (
            ffi.callback("int(void *, uint32_t, uint8_t *, uint32_t)", self.read),
            ffi.callback("int(void *, uint32_t, const uint8_t *, uint32_t)", self.program),
            ffi.callback("int(void *, uint32_t)", self.erase),
        )
        read, program, erase = self.calls
        geometry = (2 * half, ERASE_BYTES, program_bytes, 2)
        none = ffi.NULL
        self.c = ffi.new("struct wage_store *", (read, program, erase, none, none, *geometry))

    def read(self, _context: Any, at: int, to: Any, count: int) -> int:
        """Bytes of the store."""
        ffi.buffer(to, count)[:] = self.bytes[at : at + count]
        return 0

    def program(self, _context: Any, at: int, source: Any, count: int) -> int:
        """Whole units, once after each erase; else an error."""
        if at % self.unit or count % self.unit or not all(self.erased[at : at + count]):
            return lib.WAGE_E_STORE_IO
        self.bytes[at : at + count] = ffi.buffer(source, count)[:]
        self.erased[at : at + count] = bytes(count)
        return 0

    def erase(self, _context: Any, at: int) -> int:
        """One unit."""
        if at % ERASE_BYTES:
            return lib.WAGE_E_STORE_IO
        self.bytes[at : at + ERASE_BYTES] = b"\xff" * ERASE_BYTES
        self.erased[at : at + ERASE_BYTES] = b"\1" * ERASE_BYTES
        return 0

    def newest(self, generation: int) -> bytes:
        """The half with this generation."""
        halves = (bytes(self.bytes[: self.half]), bytes(self.bytes[self.half :]))
        found = [half for half in halves if half[8:12] == generation.to_bytes(4, "little")]
        assert len(found) == 1
        return found[0]


@pytest.mark.parametrize("number", MODELS)
def test_random_model_learns_the_same(number: int) -> None:
    blob = random_models.random_model(number)
    twins, draw = Twins(blob, LEVELS[number % len(LEVELS)]), random.Random(number)
    twins.start(1)
    samples = list(blobs.random_stream(blob, number, SAMPLES))
    for n, (x, label) in enumerate(samples, 1):
        if n == SAMPLES // 2:  # another stream with other settings
            config = twins.model.config
            other = ref.Config(
                config.seed ^ number, -6, 2, number % 8, number % 3 * 16, 1 + number % 15
            )
            twins.start(2, other)
        twins.learn(x, label)
        if n % 3 == 0:
            twins.train(draw.choices(samples, k=draw.randint(1, twins.model.batch)))
        if n % STATE_EVERY == 0:
            twins.same_state()
    twins.same_state()
    assert cside.replay(twins.core) == [
        (label, latent.astype(np.int8).tobytes()) for label, latent in twins.model.replay
    ]


def features(model: ref.Model) -> set[tuple]:
    """What this model has, in words."""
    config, policy = model.config, "paper" if model.paper else "continual"
    seen = {("cut", bool(model.frozen)), ("map", model.input_map), ("policy", policy, model.sse)}
    seen |= {("threshold", config.threshold > 0), ("gain", config.gain_shift > 0)}
    seen |= {("lr", config.lr_shift), ("replays", config.replays), ("batch", model.batch > 1)}
    seen |= {("replay", model.replay_capacity > 0, bool(model.replay), config.replays > 0)}
    seen |= {("momentum", policy, model.momentum > 0), ("factor", policy, config.lr_factor > 1)}
    for layer in model.layers:
        shape = (layer.stride != (1, 1), layer.pool, any(layer.pad))
        seen |= {(layer.kind, layer.trainable, *shape), ("kind", layer.kind, layer.trainable)}
        seen |= {("activation", policy, layer.activation)}
        seen |= {("bias", layer.trainable, layer.kind, layer.bias is not None)}
        if layer.w is not None:
            seen |= {("bits", layer.bits, layer.trainable)}
            seen |= {("spare", layer.store_bits - layer.bits)}
            seen |= {("weights above 1", layer.alpha_shift < 0, layer.trainable)}
    return seen


def test_random_models_cover_what_there_is() -> None:
    seen, changed, deep = set(), 0, 0
    for number in MODELS:
        blob = random_models.random_model(number)
        model = ref.open_model(blob)
        seen |= features(model)
        before = [layer.w.copy() for layer in model.learning]
        ref.start(model, 1)
        for id, (x, label) in enumerate(blobs.random_stream(blob, number, 20), 1):
            ref.learn(model, id, x, label)
        moved = [bool((a != b.w).any()) for a, b in zip(before, model.learning, strict=True)]
        changed += moved[-1]
        deep += moved[0] and len(moved) > 1
    both = (False, True)
    wanted = {("cut", cut) for cut in both} | {("map", 1), ("threshold", True), ("gain", True)}
    wanted |= {("lr", -24), ("lr", 7), ("replays", 0), ("replays", 3), ("batch", True)}
    wanted |= {("replay", True, True, True), ("replay", False, False, True)}
    wanted |= {(what, policy, True) for what in ("policy", "momentum", "factor")
               for policy in ("continual", "paper")}  # fmt: skip
    wanted |= {("activation", policy, which) for policy in ("continual", "paper")
               for which in (ref.NONE, ref.RELU, ref.SIGNED)}  # fmt: skip
    wanted |= {("kind", kind, trainable) for kind in range(1, 7) for trainable in both}
    wanted |= {("bits", bits, True) for bits in range(2, 9)} | {("bits", 2, False)}
    wanted |= {("bias", trainable, ref.DENSE, True) for trainable in both}
    wanted |= {(2, trainable, True, 2, True) for trainable in both}
    wanted |= {("spare", spare) for spare in (0, 1, 6, 8)}
    wanted |= {("weights above 1", True, trainable) for trainable in both}
    assert wanted <= seen, wanted - seen
    assert changed > 20 and deep > 5, (changed, deep)


@pytest.mark.parametrize("bits", nets.WIDTHS)
@pytest.mark.parametrize("policy", nets.POLICIES)
@pytest.mark.parametrize("name", nets.NETS)
def test_every_kind_learns_the_same(name: str, policy: str, bits: int) -> None:
    for batch in (1, 2, 8):
        settings = {"batch": batch, "momentum": batch // 2, "lr_factor": (1, 3, 15)[batch % 3],
                    "replay_capacity": 5, "replays": 5}  # fmt: skip
        frozen = {"planes": 4, "lines": 3}[name] * (batch == 2)
        blob = nets.net(name, bits, policy, seed=bits, frozen=frozen, **settings)
        assert nets.is_complete(blob)
        for level in LEVELS[1:] if batch == 8 else LEVELS[:1]:
            twins = Twins(blob, level)
            twins.start(1)
            before = [layer.w.copy() for layer in twins.model.learning]
            samples = nets.samples_of(blob, bits, 12)
            twins.train(samples[:batch])
            for x, label in samples[8:11]:
                twins.learn(x, label)
                twins.same_state()
            twins.train(samples[: max(1, batch - 1)])
            twins.same_state()
            moved = [(a != b.w).any() for a, b in zip(before, twins.model.learning, strict=True)]
            assert all(moved), moved


def test_steps_of_a_batch_are_the_new_sample_and_replayed_ones() -> None:
    blob = nets.net("lines", 8, "continual", batch=4, replay_capacity=9, replays=9)
    twins = Twins(blob)
    twins.start(1)
    for n, (x, label) in enumerate(nets.samples_of(blob, 3, 6), 1):
        twins.learn(x, label)
        assert twins.core.wage.metrics.steps == twins.model.metrics.steps == 3 * n  # 4, 4 and 2
    twins.same_state()


# Where skips join (SPEC 5.1.2)


@pytest.mark.parametrize("policy", nets.POLICIES)
def test_skips_join_the_same_however_far_apart(
    policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    branches, join = set(), ref.steps.join

    def watched(e: np.ndarray, y: int, held: tuple) -> tuple:
        near = "none" if held[1] is None or y is None else held[1] - y
        if near != "none":
            near = "far" if near > 16 else "gone" if near < -31 else "near"
        branches.add(near if e.any() else "zero")
        return join(e, y, held)

    monkeypatch.setattr(ref.steps, "join", watched)
    for number, scales in enumerate(product((1, 20), (1, 20), (0, 7))):
        for dead in (False, True):
            twins = Twins(nets.joined(scales, policy, number, dead), LEVELS[number % len(LEVELS)])
            samples = nets.samples_of(bytes(twins.core._blob)[:-1], number, 9)
            for some in nets.batches(samples, 3):
                twins.train(some)
                twins.same_state()
    assert branches >= {"zero", "near", "far"}, branches


@pytest.mark.parametrize("number", range(8))
def test_checkpoints_are_the_same_bytes(number: int) -> None:
    blob = random_models.random_model(number, lr_shift=-5, replay_capacity=6, replays=2,
                              momentum=number % 3, batch=1 + number % 4)  # fmt: skip
    twins = Twins(blob)
    unit = (1, 4, 16, 32)[number % 4]
    half = -(-ref.checkpoint_bytes(twins.model) // ERASE_BYTES) * ERASE_BYTES
    store, fresh = RamStore(half, unit), Core(blob)
    assert ERROR_NAMES[lib.wage_restore(fresh.wage, store.c)] == "WAGE_E_NO_CHECKPOINT"
    twins.start(7)
    for n, (x, label) in enumerate(blobs.random_stream(blob, number, 30), 1):
        twins.learn(x, label)
        if n % 6 == 0:
            assert lib.wage_save(twins.core.wage, store.c) == 0
            want = ref.checkpoint(twins.model, n // 6, unit)
            found = store.newest(n // 6)
            assert found[: len(want)] == want and not found[len(want) :].strip(b"\xff")
            fresh = Core(blob)
            assert lib.wage_restore(fresh.wage, store.c) == 0
            assert fresh.wage.generation == n // 6
            again = ref.open_model(blob)
            ref.load_state(again, found[32 : ref.checkpoint_bytes(again)])
            assert fresh.state_crc() == ref.state_crc(again) == twins.core.state_crc()
            twins.core, twins.model = fresh, again  # go on with what was restored
    twins.same_state()


def put(what: str, model: ref.Model, value: int) -> None:
    """One number of the state."""
    layer = next(layer for layer in model.learning if layer.bias is not None)
    if what == "weight":
        layer.w[0, 0] = value
    elif what == "bias":
        layer.bias[0] = value
    elif what == "velocity":
        layer.v[0, 0] = value
    elif what == "label":
        model.replay[0] = (value, model.replay[0][1])
    else:
        model.config = replace(model.config, **{what: value})


@pytest.mark.parametrize(
    ("what", "good", "bad"),
    [("weight", (112, -112), (113, -113)), ("bias", (MOST, -MOST), (MOST + 1, -MOST - 1)),
     ("velocity", (32767, -32767), (-32768,)), ("label", (0, 3), (4, 255)),
     ("lr_factor", (1, 15), (0, 16, 255)), ("lr_shift", (-24, 7), (-25, 8)),
     ("gain_shift", (0, 7), (8,)), ("threshold", (0, 127), (128,))],
)  # fmt: skip
def test_checkpoints_outside_their_ranges_are_refused(
    what: str, good: tuple[int, ...], bad: tuple[int, ...]
) -> None:
    layers = [dense(4, flags=3, bits=4, store_bits=8, weights=[1] * 12, bias=[0] * 4)]
    settings = {"momentum": 1, "replay_capacity": 3}
    blob = blobs.make_blob(layers, (1, 1, 3), header=settings)
    for value in (*good, *bad):
        twins = Twins(blob)
        twins.start(1)
        twins.learn(np.array([1, 2, 3]), 1)
        put(what, twins.model, value)
        data = ref.checkpoint(twins.model, 1, 1)
        half = -(-len(data) // ERASE_BYTES) * ERASE_BYTES
        store, core = RamStore(half, 1), Core(blob)
        store.bytes[half : half + len(data)] = data
        found = ERROR_NAMES[lib.wage_restore(core.wage, store.c)]
        fresh = ref.open_model(blob)
        if value in good:
            assert found == "WAGE_OK"
            ref.load_state(fresh, data[32:])
            assert core.state_crc() == ref.state_crc(fresh) == ref.state_crc(twins.model)
        else:
            assert found == "WAGE_E_NO_CHECKPOINT"
            with pytest.raises(ref.RefusedError, match="NO_CHECKPOINT"):
                ref.load_state(fresh, data[32:])
            assert core.state_crc() == Core(blob).state_crc()


def digits_network(seed: int, bits: tuple[int, ...], **header: int) -> bytes:
    """Two convolutions with pools and two dense layers, all of which learn."""
    rng, at = random.Random(seed), (8, 8, 1)
    layers = [conv2d(8, pool=2), conv2d(12, pool=2), dense(24), dense(10)]
    for layer, width in zip(layers, bits, strict=True):
        scale = blobs.alpha_shift(blobs.fan_in(layer, at))
        layer |= {"flags": 1, "bits": width, "alpha_shift": scale}
        layer["weights"] = blobs.random_weights(layer, at, rng)
        at = blobs.out_shape(layer, at)
    own = {"replay_capacity": 25, "replays": 3, "lr_shift": -5, "seed": seed, "input_map": 1}
    return blobs.make_blob(layers, (8, 8, 1), header=own | header)


@pytest.mark.parametrize("paper", [False, True], ids=["continual", "paper"])
@pytest.mark.parametrize("bits", [(8, 8, 8, 8), (2, 2, 2, 2), (8, 2, 3, 5)])
def test_whole_network_learns_digits_the_same(
    seed: int, bits: tuple[int, ...], paper: bool
) -> None:
    own = {"flags": blobs.PAPER | blobs.SSE, "lr_shift": 1, "batch": 4} if paper else {}
    twins = Twins(digits_network(seed, bits, **own))
    inputs, labels = demo.digits()
    twins.start(1)
    before = [layer.w.copy() for layer in twins.model.layers]
    for n, (p, label) in enumerate(zip(inputs[:90], labels.tolist(), strict=False), 1):
        twins.learn(ref.input_activations(twins.model, p), label)
        if n % 10 == 0:
            twins.same_state()
    for layer, old in zip(twins.model.layers, before, strict=True):
        assert (layer.w != old).mean() > 0.2  # all of them have learned


def test_demo_model_learns_the_same(demo_blob: Path) -> None:
    blob = demo_blob.read_bytes()
    twins = Twins(blob)
    stream = data.samples(data.load(demo_blob.with_name("stream.npz")), twins.core.info)
    twins.start(1)
    before = twins.core.weight_crc()
    for n, (x, label) in enumerate(islice(stream, DEMO_SAMPLES), 1):
        twins.learn(x, label)
        if n % 10 == 0:
            twins.same_state()
    twins.same_state()
    assert twins.core.wage.metrics.steps == 16 * DEMO_SAMPLES >= 300
    assert twins.core.weight_crc() != before

"""Whole learning: the oracle and the C runtime learn the same, bit by bit."""

# SPDX-License-Identifier: MIT

import random
from itertools import islice
from pathlib import Path
from typing import Any

import blobs
import cside
import numpy as np
import pytest
import reference as ref
from blobs import conv2d, dense
from wage_host import data, demo
from wage_host._core import ffi, lib
from wage_host.core import ERROR_NAMES, Core

MODELS = range(48)
SAMPLES = 60
STATE_EVERY = 5
DEMO_SAMPLES = 160  # each with 15 replays
ERASE_BYTES = 64


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
        self.c = ffi.new("struct wage_store *", (read, program, erase, ffi.NULL, 2 * half,
                                                 ERASE_BYTES, program_bytes))  # fmt: skip

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


class Twins:
    """One model in both implementations."""

    def __init__(self, blob: bytes) -> None:
        self.core, self.model = Core(blob), ref.open_model(blob)
        self.same_state()

    def start(self, stream: int, config: ref.Config | None = None) -> None:
        """Begins or resumes a stream."""
        given = ffi.NULL
        if config is not None:
            given = ffi.new("struct wage_config *", tuple(vars(config).values()))
        assert lib.wage_start(self.core.wage, stream, given) == 0
        ref.start(self.model, stream, config)

    def learn(self, x: np.ndarray, label: int) -> ref.Record:
        """Learns one sample; the records are equal, and what a prediction said before."""
        guess = ffi.new("struct wage_record *")
        assert lib.wage_predict(self.core.wage, cside.given(x, "int8"), label, guess) == 0
        assert as_record(guess) == ref.predict(self.model, x, label)
        id = self.model.last_id + 1
        record = ref.learn(self.model, id, x, label)
        assert as_record(cside.learn(self.core, id, x, label)) == record
        assert (guess.prediction, guess.p_label) == (record.prediction, record.p_label)
        return record

    def same_state(self) -> None:
        """The CRCs are equal, and the counts by class as C tells them."""
        assert self.core.weight_crc() == ref.weight_crc(self.model)
        assert self.core.state_crc() == ref.state_crc(self.model)
        model, seen, right = self.model, ffi.new("uint32_t *"), ffi.new("uint32_t *")
        for c in range(model.classes):
            assert lib.wage_class_metrics(self.core.wage, c, seen, right) == 0
            assert (seen[0], right[0]) == (model.class_seen[c], model.class_correct[c])
        over = lib.wage_class_metrics(self.core.wage, model.classes, seen, right)
        assert ERROR_NAMES[over] == "WAGE_E_LABEL"


def as_record(record: Any) -> ref.Record:
    """struct wage_record as the oracle's."""
    return ref.Record(
        record.id, record.label, record.prediction, record.p_label, int(record.skipped)
    )


@pytest.mark.parametrize("number", MODELS)
def test_random_model_learns_the_same(number: int) -> None:
    blob = blobs.random_model(number)
    twins = Twins(blob)
    twins.start(1)
    for n, (x, label) in enumerate(blobs.random_stream(blob, number, SAMPLES), 1):
        if n == SAMPLES // 2:  # another stream with other settings
            config = twins.model.config
            twins.start(2, ref.Config(config.seed ^ number, -6, 2, number % 8, number % 3 * 16))
        twins.learn(x, label)
        if n % STATE_EVERY == 0:
            twins.same_state()
    twins.same_state()
    assert cside.replay(twins.core) == [
        (label, latent.astype(np.int8).tobytes()) for label, latent in twins.model.replay
    ]


def test_random_models_cover_what_there_is() -> None:
    seen, changed, deep = set(), 0, 0
    for number in MODELS:
        blob = blobs.random_model(number)
        model = ref.open_model(blob)
        layers, config = model.layers, model.config
        seen |= {("cut", bool(model.frozen)), ("map", model.input_map)}
        seen |= {("threshold", config.threshold > 0), ("gain", config.gain_shift > 0)}
        seen |= {("lr", config.lr_shift), ("replays", config.replays)}
        seen |= {("replay", model.replay_capacity > 0, bool(model.replay), config.replays > 0)}
        for layer in layers:
            shape = (layer.stride != (1, 1), layer.pool, any(layer.pad))
            seen.add((layer.kind, layer.bits, layer.trainable))
            seen.add((layer.kind, layer.trainable, *shape))
        before = [layer.w.copy() for layer in model.trained]
        ref.start(model, 1)
        for id, (x, label) in enumerate(blobs.random_stream(blob, number, 20), 1):
            ref.learn(model, id, x, label)
        moved = [bool((a != b.w).any()) for a, b in zip(before, model.trained, strict=True)]
        changed += moved[-1]
        deep += moved[0] and len(moved) > 1
    wanted = {("cut", True), ("cut", False), ("threshold", True), ("gain", True), ("map", 1)}
    wanted |= {("lr", -24), ("lr", 7), ("lr", -5), ("replays", 0), ("replays", 3)}
    wanted |= {("replay", True, True, True), ("replay", True, False, True)}
    wanted |= {("replay", False, False, True)}
    wanted |= {(kind, bits, trainable) for kind in (1, 2) for bits in (2, 8)
               for trainable in (False, True)}  # fmt: skip
    wanted |= {(2, trainable, True, 2, True) for trainable in (False, True)}
    assert wanted <= seen, wanted - seen
    assert changed > 20 and deep > 5, (changed, deep)


@pytest.mark.parametrize("number", [2, 5, 11, 17])
def test_checkpoints_are_the_same_bytes(number: int) -> None:
    blob = blobs.random_model(number, lr_shift=-5, replay_capacity=6, replays=2)
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


def digits_network(seed: int, bits: tuple[int, ...]) -> bytes:
    """Two convolutions with pools and two dense layers, all of which learn."""
    rng, at = random.Random(seed), (8, 8, 1)
    layers = [conv2d(8, pool=2), conv2d(12, pool=2), dense(24), dense(10)]
    for layer, width in zip(layers, bits, strict=True):
        scale = blobs.alpha_shift(blobs.fan_in(layer, at))
        layer |= {"flags": 1, "bits": width, "alpha_shift": scale}
        layer["weights"] = blobs.random_weights(layer, at, rng)
        at = blobs.out_shape(layer, at)
    header = {"replay_capacity": 25, "replays": 3, "lr_shift": -5, "seed": seed, "input_map": 1}
    return blobs.make_blob(layers, (8, 8, 1), header=header)


@pytest.mark.parametrize("bits", [(8, 8, 8, 8), (2, 2, 2, 2), (8, 2, 2, 8)])
def test_whole_network_learns_digits_the_same(seed: int, bits: tuple[int, ...]) -> None:
    twins = Twins(digits_network(seed, bits))
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

"""What else a model can learn by: replayed inputs, biases only, class means; and its classes."""

# SPDX-License-Identifier: MIT

import random

import blobs
import cside
import numpy as np
import parity
import pytest
import reference as ref
from blobs import BIAS, FIXED, INPUTS, MEANS, TABLE, TRAINABLE, Fields, conv2d, dense
from wage_host._core import ffi, lib
from wage_host.core import ERROR_NAMES

SHAPE, CLASSES = (5, 4, 1), 4


def model(flags: int, head: Fields | None = None, **header: int) -> bytes:
    """A frozen convolution and a head that learns."""
    rng = random.Random(5)
    layers = [conv2d(3, alpha_shift=1, pool=2), head or dense(CLASSES, flags=TRAINABLE)]
    for layer, at in zip(layers, blobs.shapes(layers, SHAPE), strict=False):
        layer.setdefault("weights", blobs.random_weights(layer, at, rng))
    header = {"replay_capacity": 6, "replays": 2, "lr_shift": -4} | header
    return blobs.make_blob(layers, SHAPE, header={"flags": flags} | header)


def means(unseen: tuple[int, ...] = (), **header: int) -> bytes:
    """A model of class means; of some classes none yet."""
    bias = [-lib.WAGE_BIAS_MAX if c in unseen else -100 * c for c in range(CLASSES)]
    head = dense(CLASSES, flags=TRAINABLE | BIAS, bias=bias)
    if unseen:
        head["weights"] = [0] * (CLASSES * 18)
    return model(header.pop("flags", MEANS), head, replay_capacity=0, **header)


def learned(blob: bytes, count: int = 30, level: int = 0) -> parity.Twins:
    """Both implementations after a stream."""
    twins = parity.Twins(blob, level)
    twins.start(7)
    for x, label in blobs.random_stream(blob, 3, count):
        twins.learn(x, label)
    twins.same_state()
    return twins


@pytest.mark.parametrize("level", cside.LEVELS)
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_inputs_are_replayed_through_the_front(batch: int, level: int) -> None:
    twins = learned(model(INPUTS, batch=batch), level=level)
    found = [(c, x.astype(np.int8).tobytes()) for c, x in twins.model.replay]
    assert cside.replay(twins.core) == found and len(found[0][1]) == 20
    assert twins.core.info.latent_bytes == 18


def test_replayed_inputs_learn_as_their_latents() -> None:
    inputs, latents = (learned(model(flags)) for flags in (INPUTS, 0))
    assert inputs.core.weight_crc() == latents.core.weight_crc()


@pytest.mark.parametrize("level", cside.LEVELS)
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_biases_alone_learn(bits: int, level: int) -> None:
    fixed = {"flags": TRAINABLE | BIAS | FIXED, "bits": bits}
    blob = blobs.make_blob(
        [
            layer | {"weights": blobs.random_weights(layer, at, random.Random(2))}
            for layer, at in [
                (conv2d(3, pool=2, alpha_shift=1, **fixed), SHAPE),
                (dense(6, alpha_shift=1, **fixed), (3, 2, 3)),
                (dense(CLASSES, alpha_shift=1, **fixed), (1, 1, 6)),
            ]
        ],
        SHAPE,
        header={"lr_shift": -1, "replay_capacity": 4},
    )
    before = parity.Twins(blob).core.biases()
    twins = learned(blob, level=level)
    assert all((a != b).any() for a, b in zip(before, twins.core.biases(), strict=True))
    assert len(twins.core.weight_bytes()) == 4 * (3 + 6 + CLASSES)


def test_the_nearest_mean_is_the_mean_of_what_was_seen() -> None:
    blob = means(unseen=(0, 1, 2, 3))
    twins, by_class = learned(blob, 0), {}
    samples = list(blobs.random_stream(blob, 4, 100))
    for x, label in samples[:60]:
        twins.learn(x, label)
        by_class.setdefault(label, []).append(np.frombuffer(twins.core.latent(x), np.int8))
    twins.same_state()
    (w,), (bias,) = twins.core.weights(), twins.core.biases()
    for label, latents in by_class.items():
        exact = np.mean(latents, axis=0)
        assert np.abs(w[label] / 256 - exact).max() < 0.25
        assert bias[label] == -((((w[label].astype(int) + 128) >> 8) ** 2).sum() // 2)
    right = 0
    for x, label in samples[60:]:
        (record,) = twins.predict([(x, label)])
        a = np.frombuffer(twins.core.latent(x), np.int8).astype(float)
        away = [((a - w[c] / 256) ** 2).sum() for c in range(CLASSES)]
        assert away[record.prediction] <= min(away) * 1.05 + 20
        right += record.prediction == label
    assert right > 30


def test_a_mean_is_of_the_last_samples() -> None:
    twins = learned(means(unseen=(0, 1, 2, 3)), 0)
    (x, _), (other, _) = blobs.random_stream(means(), 6, 2)
    for _ in range(256):
        twins.learn(x, 1)
    (before,) = twins.core.weights()
    twins.learn(other, 1)
    twins.same_state()
    (after,) = twins.core.weights()
    a = np.frombuffer(twins.core.latent(other), np.int8).astype(int)
    away = a * 256 - before[1]
    assert np.abs(after[1] - before[1] - away / 256).max() <= 0.5


def test_a_mean_that_was_never_seen_is_never_predicted() -> None:
    twins = learned(means(unseen=(2,)), 0)
    stream = list(blobs.random_stream(means(), 6, 40))
    assert all(r.prediction != 2 for s in stream for r in twins.predict([s]))
    for x, label in stream:
        if label == 2:
            twins.learn(x, label)
    assert any(r.prediction == 2 for s in stream for r in twins.predict([s]))


def test_old_means_move_slowly() -> None:
    twins = learned(means(), 50)
    (before,), (after,) = parity.Twins(means()).core.weights(), twins.core.weights()
    away = np.abs(after.astype(int) - before)
    assert 0 < away.max() <= 50 * 2 * 32512 / 256


WRONG = {
    "paper": {"flags": MEANS | 1},
    "sse": {"flags": MEANS | 2},
    "momentum": {"flags": MEANS, "momentum": 2},
    "no bias": {"head": dense(CLASSES, flags=TRAINABLE)},
    "2 bits": {"head": dense(CLASSES, flags=TRAINABLE | BIAS, bits=2)},
    "no dense layer": {
        "head": conv2d(CLASSES, kernel=(3, 2), pad=(0,) * 4, flags=TRAINABLE | BIAS)
    },
}


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_no_means_without_a_place_for_them(wrong: str) -> None:
    head = dense(CLASSES, flags=TRAINABLE | BIAS)
    blob = model(**{"flags": MEANS, "head": head} | WRONG[wrong])
    info = ffi.new("struct wage_info *")
    name = ERROR_NAMES[lib.wage_info(ffi.from_buffer("uint8_t[]", blob), len(blob), info)]
    assert name == "WAGE_E_POLICY"
    with pytest.raises(ref.RefusedError, match="POLICY"):
        ref.open_model(blob)


def test_only_the_last_layer_has_means() -> None:
    rng, inputs = random.Random(1), lib.WAGE_MEAN_MAX
    for shape, hidden, good in (
        ((1, 1, 4), True, False), ((1, 1, inputs), False, True), ((1, 1, inputs + 1), False, False),
    ):  # fmt: skip
        layers = [dense(4, flags=TRAINABLE)] * hidden + [dense(3, flags=TRAINABLE | BIAS)]
        for layer, at in zip(layers, blobs.shapes(layers, shape), strict=False):
            layer["weights"] = blobs.random_weights(layer, at, rng)
        blob = blobs.make_blob(layers, shape, header={"flags": MEANS})
        info = ffi.new("struct wage_info *")
        error = lib.wage_info(ffi.from_buffer("uint8_t[]", blob), len(blob), info)
        assert (error == 0) == good


def test_names_and_confusion_are_kept() -> None:
    twins = learned(model(TABLE), 40)
    w, oracle = twins.core.wage, twins.model
    for c, name in ((1, b"cat"), (3, b"fifteen letters"), (1, b"tiger"), (2, b"x"), (2, b"")):
        assert lib.wage_name_class(w, c, name, len(name)) == 0
        ref.name_class(oracle, c, name)
    twins.same_state()
    assert [ffi.string(lib.wage_class_name(w, c)) for c in range(CLASSES)] == oracle.names
    assert oracle.names == [b"", b"tiger", b"", b"fifteen letters"]
    found = np.array([list(lib.wage_confusion(w, c)[0:CLASSES]) for c in range(CLASSES)])
    np.testing.assert_array_equal(found, oracle.confusion)
    assert found.sum() == 40 and found.trace() == w.metrics.correct
    twins.start(8)
    twins.same_state()
    assert not oracle.confusion.any() and oracle.names[1] == b"tiger"


def test_counts_of_the_confusion_end() -> None:
    twins = learned(model(TABLE), 0)
    ((x, label),) = blobs.random_stream(model(TABLE), 3, 1)
    for count in (65534, 65535):
        twins.model.confusion[label] = count
        for c in range(CLASSES):
            twins.core.wage.confusion[label * CLASSES + c] = count
        record = twins.learn(x, label)
        twins.same_state()
        assert lib.wage_confusion(twins.core.wage, label)[record.prediction] == 65535


@pytest.mark.parametrize(
    "flags, label, name, error",
    [
        (TABLE, CLASSES, b"cat", "LABEL"),
        (0, 1, b"cat", "NAME"),
        (TABLE, 1, b"sixteen letters.", "NAME"),
    ],
)
def test_names_that_are_refused(flags: int, label: int, name: bytes, error: str) -> None:
    twins = learned(model(flags), 0)
    found = lib.wage_name_class(twins.core.wage, label, name, len(name))
    assert ERROR_NAMES[found] == f"WAGE_E_{error}"
    with pytest.raises(ref.RefusedError, match=error):
        ref.name_class(twins.model, label, name)
    twins.same_state()


def test_without_a_table_there_is_none() -> None:
    w = learned(model(0)).core.wage
    assert lib.wage_confusion(w, 0) == ffi.NULL == lib.wage_class_name(w, 0)


FORGETFUL = {
    "table": model(TABLE), "inputs": model(INPUTS | TABLE), "momentum": model(TABLE, momentum=2),
    "means": means(flags=MEANS | TABLE), "means, inputs": means(flags=MEANS | TABLE | INPUTS),
    "biases": model(TABLE, dense(CLASSES, flags=TRAINABLE | BIAS | FIXED)),
    "positions": model(TABLE, conv2d(1, kernel=(2, 1), pad=(0,) * 4, flags=TRAINABLE)),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGETFUL)
def test_a_class_is_forgotten(what: str) -> None:
    twins = learned(FORGETFUL[what], 60)
    w, factory = twins.core.wage, parity.Twins(FORGETFUL[what]).core
    assert lib.wage_name_class(w, 1, b"secret", 6) == 0
    assert lib.wage_forget_class(w, 1) == 0
    ref.forget_class(twins.model, 1)
    twins.same_state()
    assert w.class_total[1] == 0 and not any(c == 1 for c, _ in cside.replay(twins.core))
    size = twins.core.info.input_bytes if w.inputs else twins.core.info.latent_bytes
    free = (w.replay_capacity - w.replay_count) * size
    assert not any(bytes(ffi.buffer(w.replay_sample + w.replay_count * size, free)))
    mine, first = twins.core.weights()[-1], factory.weights()[-1]
    if len(mine) == CLASSES:
        np.testing.assert_array_equal(mine[1], first[1])
        assert (mine[0] != first[0]).any()
    for x, label in blobs.random_stream(FORGETFUL[what], 9, 20):
        twins.learn(x, label)
    twins.same_state()


@pytest.mark.parametrize("flags, label, error", [(TABLE, CLASSES, "LABEL"), (0, 1, "NAME")])
def test_a_class_that_cannot_be_forgotten(flags: int, label: int, error: str) -> None:
    twins = learned(model(flags))
    found = ERROR_NAMES[lib.wage_forget_class(twins.core.wage, label)]
    assert found == f"WAGE_E_{error}"
    with pytest.raises(ref.RefusedError, match=error):
        ref.forget_class(twins.model, label)
    twins.same_state()


@pytest.mark.parametrize("what", [*FORGETFUL, "latents"])
def test_a_checkpoint_brings_all_of_it_back(what: str) -> None:
    blob = FORGETFUL.get(what) or model(0)
    twins = learned(blob)
    if twins.core.wage.table:
        assert lib.wage_name_class(twins.core.wage, 2, b"kept", 4) == 0
        ref.name_class(twins.model, 2, b"kept")
    again = ref.open_model(blob)
    ref.load_state(again, ref.state_bytes(twins.model))
    assert ref.state_crc(again) == twins.core.state_crc()
    for sample in blobs.random_stream(blob, 12, 8):
        assert ref.predict(again, *sample) == ref.predict(twins.model, *sample)


def test_flags_that_do_not_go_together() -> None:
    for flags, error in (
        (FIXED, "RESERVED"), (FIXED | TRAINABLE, "RESERVED"), (FIXED | BIAS, "RESERVED"),
        (8, "RESERVED"), (TRAINABLE | BIAS | FIXED, ""),
    ):  # fmt: skip
        head = dense(CLASSES, flags=TRAINABLE | BIAS | FIXED)
        blob = model(0, head)
        at = blobs.HEADER.size + blobs.RECORD.size + 2
        blob = blobs.patch(blob, at, bytes([flags]))
        info = ffi.new("struct wage_info *")
        found = lib.wage_info(ffi.from_buffer("uint8_t[]", blob), len(blob), info)
        assert (ERROR_NAMES[found] if found else "WAGE_E_") == f"WAGE_E_{error}"



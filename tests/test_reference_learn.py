"""The oracle's output error, step, replay and samples (SPEC 4 to 6), once more in loops."""

# SPDX-License-Identifier: MIT

import random
from dataclasses import replace
from fractions import Fraction

import blobs
import numpy as np
import pytest
import reference as ref
from blobs import dense, make_blob, small_blob

# Output error (SPEC 4)


def test_table_of_powers_is_rounded_right() -> None:
    for k, power in enumerate(ref.train.POWERS.tolist()):
        # 2 * power - 1 < 2^17 * 2^(-k/16) < 2 * power + 1, to the 16th power
        assert (2 * power - 1) ** 16 < 1 << (17 * 16 - k) < (2 * power + 1) ** 16


def test_output_error_of_certain_and_of_equal_logits() -> None:
    d, p = ref.output_error(np.array([5, 5, 5, 5]), 2, 7, 3)
    assert p.tolist() == [4096] * 4 and d.tolist() == [32, 32, -96, 32]
    d, p = ref.output_error(np.array([1 << 30, -(1 << 30)]), 1, 7, 7)
    assert p.tolist() == [16384, 0] and d.tolist() == [127, -127]
    d, p = ref.output_error(np.array([1 << 30, -(1 << 30)]), 0, 7, 7)
    assert d.tolist() == [0, 0]
    _, p = ref.output_error(np.array([0, -(1 << 14)]), 0, 7, 0)  # one unit: half as likely
    assert p.tolist() == [10923, 5461]


def slow_output_error(o: list[int], label: int, h: int, gain: int) -> tuple[list[int], list[int]]:
    """SPEC 4.1 to 4.4 in loops: d and p."""
    table = ref.train.POWERS.tolist()
    u = [min((max(o) - v) * 16 * 2**gain // 2 ** (7 + h), 511) for v in o]
    powers = [table[v % 16] // 2 ** (v // 16) for v in u]
    p = [(v * 2**14 + sum(powers) // 2) // sum(powers) for v in powers]
    e = [v - 2**14 * (i == label) for i, v in enumerate(p)]
    return [max(-127, min(127, round(Fraction(v, 128)))) for v in e], p


def test_output_error_is_that_of_the_document() -> None:
    rng = random.Random(2)
    for _ in range(300):
        classes, h, gain = rng.choice((2, 3, 10, 255)), rng.randint(1, 27), rng.randrange(8)
        spread = 1 << rng.randint(1, min(30, h + 14))
        o = [rng.randint(-spread, spread) for _ in range(classes)]
        label = rng.randrange(classes)
        d, p = ref.output_error(np.array(o), label, h, gain)
        assert (d.tolist(), p.tolist()) == slow_output_error(o, label, h, gain)
    far = np.array([0] + [-(1 << 30)] * 254)
    assert ref.output_error(far, 0, 7, 0)[1].tolist() == [16384] + [0] * 254


def test_prediction_is_the_lowest_of_equals() -> None:
    model = ref.open_model(make_blob([dense(3, flags=1)], (1, 1, 2)))
    assert ref.predict(model, np.array([1, 1]), 2).prediction == 0


# A step (SPEC 5), once more in loops, for dense layers


def slow_q(w: int, bits: int) -> int:
    """SPEC 2.4 for one weight."""
    return (w + 128) // 256 if bits == 8 else int(w > 32) - int(w < -32)


def slow_step(model: ref.Model, x: list[int], label: int) -> list[list[list[int]]]:
    """SPEC 3 to 5 in loops: the stored weights after one step of trainable dense layers."""
    config, layers, inputs, a = model.config, model.layers, [], x
    stores = [layer.w.tolist() for layer in layers]
    for i, layer in enumerate(layers):
        inputs.append(a)
        rows = [[slow_q(w, layer.bits) for w in row] for row in stores[i]]
        z = [sum(q * v for q, v in zip(row, a, strict=True)) for row in rows]
        a = [min(127, round(Fraction(max(v, 0), 2**layer.h))) for v in z]
    d = [int(v) for v in ref.output_error(np.array(z), label, layer.h, config.gain_shift)[0]]
    exponent = 0
    for i, layer in reversed(list(enumerate(layers))):
        old = [[slow_q(w, layer.bits) for w in row] for row in stores[i]]
        n = 7 - exponent - config.lr_shift - (8 if layer.bits == 8 else 0)
        key = ref.key(config.seed, model.step, i + 1)
        for o, j in np.ndindex(len(d), len(inputs[i])):
            g = d[o] * inputs[i][j]
            delta = ref.stochastic_shift(abs(g), n, ref.fraction(key, o * len(inputs[i]) + j))
            moved = stores[i][o][j] - (delta if g > 0 else -delta if g < 0 else 0)
            stores[i][o][j] = max(-layer.limit, min(layer.limit, moved))
        e = [sum(old[o][j] * d[o] for o in range(len(d))) for j in range(len(inputs[i]))]
        e = [v if 0 < a < 127 else 0 for v, a in zip(e, inputs[i], strict=True)]
        if not any(e):
            break
        n = ref.ilog2_round(max(abs(v) for v in e))
        d = [max(-127, min(127, round(v * Fraction(2) ** (7 - n)))) for v in e]
        exponent += n - 7 - layer.h
    return stores


def random_mlp(seed: int) -> bytes:
    """Three trainable dense layers of mixed widths."""
    rng, at, layers = random.Random(seed), (1, 2, 6), [dense(9), dense(7), dense(4)]
    for layer in layers:
        scale = max(0, blobs.alpha_shift(blobs.fan_in(layer, at)) - rng.randrange(3))
        layer |= {"flags": 1, "bits": rng.choice((2, 8)), "alpha_shift": scale}
        layer["weights"] = blobs.random_weights(layer, at, rng)
        at = blobs.out_shape(layer, at)
    return make_blob(layers, (1, 2, 6), header={"lr_shift": rng.randint(-8, 0), "seed": seed})


@pytest.mark.parametrize("seed", range(12))
def test_step_is_that_of_the_document(seed: int) -> None:
    blob = random_mlp(seed)
    model = ref.open_model(blob)
    for x, label in blobs.random_stream(blob, seed, 12):
        want = slow_step(model, x.tolist(), label % 4)
        ref.step(model, x.astype(np.int64).reshape(1, 2, 6), label % 4)
        assert [layer.w.tolist() for layer in model.layers] == want
    assert model.step == 12


def test_step_below_the_threshold_changes_only_the_counters() -> None:
    model = ref.open_model(make_blob([dense(4, flags=1)], (1, 1, 3), header={"threshold": 97}))
    before = ref.weight_bytes(model)
    x = np.full((1, 1, 3), 100)
    assert ref.step(model, x, 1) == (0, 4096, 1)  # errors are 32 and -96
    assert (ref.weight_bytes(model), model.step) == (before, 1)
    model.config = replace(model.config, threshold=96)
    assert ref.step(model, x, 1) == (0, 4096, 0)
    assert ref.weight_bytes(model) != before
    assert model.step == model.metrics.steps == 2


@pytest.mark.parametrize("threshold", [0, 1, 2])
def test_step_without_any_error_is_skipped(threshold: int) -> None:
    layer = dense(2, flags=1, weights=[32512, -32512])
    settings = {"threshold": threshold, "gain_shift": 7}
    model = ref.open_model(make_blob([layer], (1, 1, 1), header=settings))
    before = ref.weight_bytes(model)
    assert ref.step(model, np.full((1, 1, 1), 127), 0) == (0, 16384, 1)
    assert (ref.weight_bytes(model), model.step) == (before, 1)


# Samples and replay (SPEC 6)


def labels_of(model: ref.Model) -> list[int]:
    """How many samples of each class the replay holds."""
    return [sum(label == c for label, _ in model.replay) for c in range(model.classes)]


def test_reservoir_stays_balanced_under_a_skewed_stream() -> None:
    model = ref.open_model(small_blob(replay_capacity=10))
    rng = random.Random(1)
    for model.sample in range(600):
        label = rng.choice((0, 0, 0, 0, 0, 0, 0, 1, 1, 2))
        ref.replay_offer(model, np.full((1, 1, 4), model.sample % 100), label)
        assert len(model.replay) == min(model.sample + 1, 10)
    assert sorted(labels_of(model)) == [3, 3, 4]
    assert sum(model.class_total) == 600


def test_reservoir_gives_a_new_class_room_at_once() -> None:
    model = ref.open_model(small_blob(replay_capacity=6))
    for model.sample in range(50):
        ref.replay_offer(model, np.zeros((1, 1, 4), np.int64), 0)
    for model.sample in range(50, 53):
        ref.replay_offer(model, np.zeros((1, 1, 4), np.int64), 1)
    assert labels_of(model) == [3, 3, 0]
    for model.sample, want in ((53, [2, 3, 1]), (54, [2, 2, 2])):  # the lowest class gives first
        ref.replay_offer(model, np.zeros((1, 1, 4), np.int64), 2)
        assert labels_of(model) == want


def test_reservoir_keeps_old_and_new_alike() -> None:
    kept = [0] * 32  # by age; 4 of 16 of each of two classes
    for seed in range(400):
        model = ref.open_model(small_blob(replay_capacity=8, seed=seed))
        for model.sample in range(32):
            ref.replay_offer(model, np.full((1, 1, 4), model.sample), model.sample % 2)
        for label, latent in model.replay:
            assert latent[0, 0, 0] % 2 == label
            kept[int(latent[0, 0, 0])] += 1
    assert sum(kept) == 3200 and all(65 <= count <= 135 for count in kept), kept  # each 100


def test_reservoir_of_no_capacity_counts_the_totals() -> None:
    model = ref.open_model(small_blob())
    ref.replay_offer(model, np.zeros((1, 1, 4), np.int64), 2)
    assert (model.replay, model.class_total) == ([], [0, 0, 1])


def test_learn_counts_and_replays() -> None:
    model = ref.open_model(small_blob(replay_capacity=3, replays=2))
    ref.start(model, 7)
    for id, label in ((1, 0), (2, 2), (3, 2)):
        record = ref.learn(model, id, np.array([9, 80, 3, 127]), label)
        assert (record.id, record.label) == (id, label)
    assert (model.step, model.sample, model.last_id) == (9, 3, 3)
    assert (model.metrics.samples, model.metrics.steps) == (3, 9)
    assert model.class_seen == [1, 0, 2] == model.class_total
    assert sum(model.class_correct) == model.metrics.correct
    state = ref.state_bytes(model)
    ref.start(model, 7, ref.Config(9, 0, 0, 0, 0))  # the current stream: nothing changes
    assert ref.state_bytes(model) == state
    with pytest.raises(ref.RefusedError, match="WAGE_E_CONFIG"):
        ref.start(model, 7, ref.Config(9, 8, 0, 0, 0))
    ref.start(model, 8, ref.Config(9, 0, 0, 0, 0))
    assert (model.last_id, model.metrics, model.step) == (0, ref.Metrics(), 9)
    assert model.class_seen == [0, 0, 0] and model.class_total == [1, 0, 2]
    assert model.config.seed == 9


def test_learn_is_a_step_an_offer_and_steps_on_drawn_slots() -> None:
    for seed in range(12):
        blob = blobs.random_model(seed, replays=3, replay_capacity=7, lr_shift=-5)
        model, twin = ref.open_model(blob), ref.open_model(blob)
        samples = list(blobs.random_stream(blob, seed, 10))
        for n, (x, label) in enumerate(samples):
            ref.start(model, 1 + n // 5)  # ids begin anew, samples go on
            ref.learn(model, 1 + n % 5, x, label)
            latent = x.astype(np.int64).reshape(twin.input_shape)
            for layer in twin.frozen:
                z, _ = ref.layers.forward(layer, latent)
                latent = np.array([min(127, max(0, ref.rne(int(v), layer.h))) for v in z.flat])
                latent = latent.reshape(z.shape)
            ref.step(twin, latent, label)
            twin.sample = n
            ref.replay_offer(twin, latent, label)
            for k in range(3):
                bits = ref.draw(ref.key(twin.config.seed, n, 65), k)
                old_label, old = twin.replay[bits * len(twin.replay) // 2**32]
                ref.step(twin, old, old_label)
            assert ref.weight_bytes(model) == ref.weight_bytes(twin)
            assert (model.step, model.sample) == (twin.step, n + 1)


def test_learn_and_start_refuse() -> None:
    model = ref.open_model(small_blob())
    x = np.zeros(4, np.int64)
    factory = ref.state_bytes(model)
    for call, name in (
        (lambda: ref.learn(model, 1, x, 0), "STREAM"),
        (lambda: ref.start(model, 0), "STREAM"),
        (lambda: ref.start(model, 1, ref.Config(0, 8, 0, 0, 0)), "CONFIG"),
    ):
        with pytest.raises(ref.RefusedError, match=f"^WAGE_E_{name}$"):
            call()
    assert ref.state_bytes(model) == factory
    ref.start(model, 1)
    for args, name in (((2, x, 0), "ORDER"), ((1, x, 3), "LABEL"), ((1, x[:3], 0), "INPUT")):
        with pytest.raises(ref.RefusedError, match=f"^WAGE_E_{name}$"):
            ref.learn(model, *args)
    assert model.last_id == 0


def test_predict_changes_nothing_and_says_what_learn_will() -> None:
    for seed in range(10):
        blob = blobs.random_model(seed)
        model = ref.open_model(blob)
        ref.start(model, 1)
        for id, (x, label) in enumerate(blobs.random_stream(blob, seed, 5), 1):
            before = ref.state_bytes(model)
            guess = ref.predict(model, x, label)
            assert ref.state_bytes(model) == before
            record = ref.learn(model, id, x, label)
            assert (guess.prediction, guess.p_label) == (record.prediction, record.p_label)

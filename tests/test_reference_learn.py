"""The oracle's output error, step, replay and samples (SPEC 4 to 6), once more in loops."""

# SPDX-License-Identifier: MIT

import random
from dataclasses import replace

import blobs
import numpy as np
import pytest
import random_models
import reference as ref
from blobs import PAPER, dense, make_blob, small_blob

# Output error (SPEC 4)


def test_table_of_powers_is_rounded_right() -> None:
    for k, power in enumerate(ref.steps.POWERS.tolist()):
        # 2 * power - 1 < 2^17 * 2^(-k/16) < 2 * power + 1, to the 16th power
        assert (2 * power - 1) ** 16 < 1 << (17 * 16 - k) < (2 * power + 1) ** 16


def test_output_error_of_certain_and_of_equal_logits() -> None:
    e, p = ref.output_error(np.array([5, 5, 5, 5]), 2, 7, 3)
    assert p.tolist() == [4096] * 4 and e.tolist() == [4096, 4096, -12288, 4096]
    e, p = ref.output_error(np.array([1 << 30, -(1 << 30)]), 1, 7, 7)
    assert p.tolist() == [16384, 0] and e.tolist() == [16384, -16384]
    e, p = ref.output_error(np.array([1 << 30, -(1 << 30)]), 0, 7, 7)
    assert e.tolist() == [0, 0]
    _, p = ref.output_error(np.array([0, -(1 << 14)]), 0, 7, 0)  # one unit: half as likely
    assert p.tolist() == [10923, 5461]


def test_output_error_of_squares_leaves_the_probabilities() -> None:
    o = np.array([0, -(1 << 14)])
    e, p = ref.output_error(o, 1, 7, 0, sse=True)
    assert e.tolist() == [0, -(2 << 14)] and p.tolist() == [10923, 5461]
    assert o.tolist() == [0, -(1 << 14)]


def slow_output_error(o: list[int], label: int, h: int, gain: int) -> tuple[list[int], list[int]]:
    """SPEC 4.1 to 4.4 in loops: e and p."""
    table = ref.steps.POWERS.tolist()
    u = [min((max(o) - v) * 16 * 2**gain // 2 ** (7 + h), 511) for v in o]
    powers = [table[v % 16] // 2 ** (v // 16) for v in u]
    p = [(v * 2**14 + sum(powers) // 2) // sum(powers) for v in powers]
    return [v - 2**14 * (i == label) for i, v in enumerate(p)], p


def test_output_error_is_that_of_the_document() -> None:
    rng = random.Random(2)
    for _ in range(300):
        classes, h, gain = rng.choice((2, 3, 10, 255)), rng.randint(1, 27), rng.randrange(8)
        spread = 1 << rng.randint(1, min(30, h + 14))
        o = [rng.randint(-spread, spread) for _ in range(classes)]
        label = rng.randrange(classes)
        e, p = ref.output_error(np.array(o), label, h, gain)
        assert (e.tolist(), p.tolist()) == slow_output_error(o, label, h, gain)
        e, again = ref.output_error(np.array(o), label, h, gain, sse=True)
        assert e.tolist() == [v - 2 ** (7 + h) * (i == label) for i, v in enumerate(o)]
        assert again.tolist() == p.tolist()
    far = np.array([0] + [-(1 << 30)] * 254)
    assert ref.output_error(far, 0, 7, 0)[1].tolist() == [16384] + [0] * 254


def test_prediction_is_the_lowest_of_equals() -> None:
    model = ref.open_model(make_blob([dense(3, flags=1)], (1, 1, 2)))
    assert ref.predict(model, np.array([1, 1]), 2).prediction == 0


# When a step is skipped (SPEC 4.6)


def test_step_below_the_threshold_changes_only_the_counters() -> None:
    settings = {"threshold": 97, "batch": 2}
    model = ref.open_model(make_blob([dense(4, flags=1)], (1, 1, 3), header=settings))
    before = ref.weight_bytes(model)
    x = np.full((2, 1, 1, 3), 100)
    step = ref.step(model, x, [1, 3])  # errors are 32 and -96
    assert (step.predictions, step.p_labels, step.skipped) == ([0, 0], [4096, 4096], 1)
    assert (ref.weight_bytes(model), model.step) == (before, 1)
    model.config = replace(model.config, threshold=96)
    assert not ref.step(model, x, [1, 3]).skipped
    assert ref.weight_bytes(model) != before
    assert model.step == model.metrics.steps == 2


def test_batch_is_learned_when_one_of_its_errors_is_large_enough() -> None:
    layer = dense(2, flags=1, bits=2, weights=[64, -64])
    settings = {"threshold": 100, "batch": 2, "gain_shift": 7}
    model = ref.open_model(make_blob([layer], (1, 1, 1), header=settings))
    good = np.full((1, 1, 1, 1), 127)
    assert ref.step(model, good, [0]).skipped
    assert not ref.step(model, np.concatenate([good, good]), [0, 1]).skipped


@pytest.mark.parametrize("threshold", [0, 1, 2])
def test_step_without_any_error_is_skipped(threshold: int) -> None:
    layer = dense(2, flags=1, weights=[32512, -32512])
    settings = {"threshold": threshold, "gain_shift": 7}
    for flags in (0, PAPER):
        header = settings | {"flags": flags}
        model = ref.open_model(make_blob([layer], (1, 1, 1), header=header))
        before = ref.weight_bytes(model)
        assert ref.step(model, np.full((1, 1, 1, 1), 127), [0]).skipped
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


def slow_latent(model: ref.Model, x: np.ndarray) -> np.ndarray:
    """What the frozen layers make of one sample, layer by layer."""
    tensors = [x.astype(np.int64).reshape(model.input_shape)]
    for at, layer in enumerate(model.frozen):
        side = tensors[at - layer.skip] if layer.kind == ref.ADD else None
        tensors.append(ref.activate(layer, ref.forward(layer, tensors[-1], side)[0]))
    return tensors[-1]


@pytest.mark.parametrize("seed", range(24))
def test_learn_is_an_offer_and_steps_on_the_new_and_drawn_slots(seed: int) -> None:
    blob = random_models.random_model(seed, replays=seed % 5, replay_capacity=7, batch=1 + seed % 4)
    model, twin = ref.open_model(blob), ref.open_model(blob)
    for n, (x, label) in enumerate(blobs.random_stream(blob, seed, 10)):
        ref.start(model, 1 + n // 5)  # ids begin anew, samples go on
        record = ref.learn(model, 1 + n % 5, x, label)
        latent = slow_latent(twin, x)
        twin.sample = n
        ref.replay_offer(twin, x.reshape(twin.input_shape) if twin.inputs else latent, label)
        todo = [(label, latent)]
        for k in range(seed % 5):
            bits = ref.draw(ref.key(twin.config.seed, n, 65), k)
            c, sample = twin.replay[bits * len(twin.replay) // 2**32]
            todo.append((c, slow_latent(twin, sample) if twin.inputs else sample))
        first = None
        while todo:
            some, todo = todo[: twin.batch], todo[twin.batch :]
            step = ref.step(twin, np.stack([a for _, a in some]), [c for c, _ in some])
            first = first or step
        assert record == ref.Record(
            1 + n % 5, label, first.predictions[0], first.p_labels[0], first.skipped
        )
        assert ref.weight_bytes(model) == ref.weight_bytes(twin)
        assert (model.step, model.sample) == (twin.step, n + 1)


def test_learn_fills_batches_with_the_new_sample_first() -> None:
    model = ref.open_model(small_blob(replay_capacity=3, replays=6, batch=4))
    ref.start(model, 7)
    seen, step = [], ref.sample.step

    def spy(model: ref.Model, latents: np.ndarray, labels: list[int]) -> ref.Step:
        seen.append((latents[:, 0, 0, 0].tolist(), labels))
        return step(model, latents, labels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ref.sample, "step", spy)
        ref.learn(model, 1, np.array([5, 0, 0, 0]), 2)
        assert seen == [([5] * 4, [2] * 4), ([5] * 3, [2] * 3)]  # it is in the replay already
        seen.clear()
        ref.learn(model, 2, np.array([6, 0, 0, 0]), 1)
    assert [len(labels) for _, labels in seen] == [4, 3] and seen[0][0][0] == 6
    assert {6, 5} == {v for values, _ in seen for v in values}
    assert (model.step, model.metrics.steps, model.metrics.samples) == (4, 4, 2)


def test_learn_without_room_for_a_replay_is_one_step() -> None:
    model = ref.open_model(small_blob(replays=9, batch=4))
    ref.start(model, 7)
    ref.learn(model, 1, np.array([5, 0, 0, 0]), 2)
    assert (model.step, model.sample, model.class_total) == (1, 1, [0, 0, 1])


def test_train_is_one_step_that_only_the_steps_count() -> None:
    for seed in range(12):
        blob = random_models.random_model(seed, batch=3)
        model, twin = ref.open_model(blob), ref.open_model(blob)
        samples = list(blobs.random_stream(blob, seed, 3))
        step = ref.train(model, samples)  # no stream is needed
        ref.step(
            twin, np.stack([slow_latent(twin, x) for x, _ in samples]), [c for _, c in samples]
        )
        assert ref.state_bytes(model) == ref.state_bytes(twin)
        assert (model.step, model.metrics, model.sample) == (1, ref.Metrics(steps=1), 0)
        assert (model.last_id, model.stream, len(step.predictions)) == (0, 0, 3)
        guesses = [ref.predict(ref.open_model(blob), x, c) for x, c in samples]
        assert step.predictions == [g.prediction for g in guesses]
        assert step.p_labels == [g.p_label for g in guesses]


def test_train_refuses_too_many_none_and_no_class() -> None:
    model = ref.open_model(small_blob(batch=2))
    before, x = ref.state_bytes(model), np.zeros(4, np.int64)
    for samples, name in (
        ([], "BATCH"),
        ([(x, 9)] * 3, "BATCH"),
        ([(x, 0), (x, 3)], "LABEL"),
    ):
        with pytest.raises(ref.RefusedError, match=f"^WAGE_E_{name}$"):
            ref.train(model, samples)
    assert ref.state_bytes(model) == before
    ref.train(model, [(x, 0), (x, 2)])


def test_learn_and_start_refuse() -> None:
    model = ref.open_model(small_blob())
    x = np.zeros(4, np.int64)
    factory = ref.state_bytes(model)
    for call, name in (
        (lambda: ref.learn(model, 1, x, 0), "STREAM"),
        (lambda: ref.start(model, 0), "STREAM"),
        (lambda: ref.start(model, 1, ref.Config(0, 8, 0, 0, 0)), "CONFIG"),
        (lambda: ref.start(model, 1, ref.Config(0, 0, 0, 0, 0, 0)), "CONFIG"),
        (lambda: ref.start(model, 1, ref.Config(0, 0, 0, 0, 0, 16)), "CONFIG"),
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
        blob = random_models.random_model(seed)
        model = ref.open_model(blob)
        ref.start(model, 1)
        for id, (x, label) in enumerate(blobs.random_stream(blob, seed, 5), 1):
            before = ref.state_bytes(model)
            guess = ref.predict(model, x, label)
            assert ref.state_bytes(model) == before
            record = ref.learn(model, id, x, label)
            assert (guess.prediction, guess.p_label) == (record.prediction, record.p_label)

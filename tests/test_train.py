"""Training on the host: rates, augmentation, the oracle's bits, checkpoints, what is refused."""

# SPDX-License-Identifier: MIT

import dataclasses
import itertools
from fractions import Fraction

import numpy as np
import pytest
import reference as ref
from wage_host import augment, data, network, pack, rates, rng, train
from wage_host._core import ffi, lib
from wage_host.augment import Augment
from wage_host.core import Config, Core
from wage_host.data import Data
from wage_host.errors import (
    Refused,
    WrongUsage,
)
from wage_host.pack import Rules
from wage_host.train import How

CONFIG = Config(seed=6, lr_shift=0, replays=0, gain_shift=2, threshold=0)
NETWORK = "6x6x2 4C3-MP2:2 DW3s:3/9 4C1s:8 +2 GAP 3FC"


def some(count: int, shape: tuple[int, ...] = (6, 6, 2), classes: int = 3, seed: int = 1) -> Data:
    """Random pictures of bytes, each class there."""
    draw = np.random.default_rng(seed)
    x = draw.integers(0, 256, (count, *shape), np.uint8)
    return Data(f"some {seed}", x, np.arange(count) % classes)


def crcs(net: network.Network) -> list[bytes]:
    """All that was learned."""
    return [layer.weights.tobytes() for layer in net.layers]


# -- rates -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "factor", "shift"),
    [("8", 1, 3), ("1", 1, 0), ("2^-3", 1, -3), ("3*2^-4", 3, -4), ("1/8", 1, -3), ("6", 3, 1),
     ("0.125", 1, -3), ("0.75", 3, -2), ("15*2^7", 15, 7), ("2^-24", 1, -24), ("4*2^-5", 1, -3),
     ("128", 1, 7), ("5/16", 5, -4)],
)  # fmt: skip
def test_rate_from_text(text: str, factor: int, shift: int) -> None:
    assert rates.rate(text) == (factor, shift)
    assert rates.rate(rates.shown((factor, shift))) == (factor, shift)


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "1/3", "0.1", "2^", "2^x", "1/0", "8@0"])
def test_text_that_is_no_rate(text: str) -> None:
    with pytest.raises(WrongUsage, match="is no learning rate: write 8, 1/8, 2"):
        rates.rate(text)


@pytest.mark.parametrize("text", ["17", "2^8", "2^-25", "17*2^-9", "1/33554432"])
def test_rate_that_does_not_exist(text: str) -> None:
    with pytest.raises(WrongUsage, match="does not exist: it is 1 to 15 times a power of two"):
        rates.rate(text)


def test_schedule_changes_at_its_epochs() -> None:
    got = rates.schedule("8@0,1@3,1/8@5", 7)
    assert [rates.shown(rate) for rate in got] == ["8", "8", "8", "1", "1", "2^-3", "2^-3"]
    assert rates.schedule("3@0", 2) == ((3, 0), (3, 0))


def test_rate_that_falls_evenly_is_the_nearest_there_is() -> None:
    assert rates.schedule("2..0", 4) == ((1, 1), (3, -1), (1, 0), (1, -1))
    fell = rates.schedule("3*2^-9..0", 23)
    assert all(factor % 2 == 1 and factor <= 15 for factor, _ in fell)
    for epoch, (factor, shift) in enumerate(fell):
        exact = Fraction(3, 512) * Fraction(23 - epoch, 23)
        assert abs(factor * Fraction(2) ** shift / exact - 1) <= Fraction(1, 16)
    assert rates.linear((1, -24), 3) == ((1, -24),) * 3  # not below the smallest there is
    assert rates.linear((15, 7), 2) == ((15, 7), (15, 6))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("8", "'8' is no part of a schedule"),
        ("8@1", "a schedule begins at epoch 0, and its epochs rise"),
        ("8@0,1@0", "a schedule begins at epoch 0, and its epochs rise"),
        ("8@0,1@4,2@3", "a schedule begins at epoch 0, and its epochs rise"),
        ("8@0,1@5", "'1@5': there are only 5 epochs, 0 to 4"),
        ("8@0,x@3", "'x' is no learning rate"),
    ],
)
def test_schedule_that_cannot_be(text: str, said: str) -> None:
    with pytest.raises(WrongUsage) as caught:
        rates.schedule(text, 5)
    assert said in str(caught.value)


def test_rate_halves_after_each_half_of_what_is_left() -> None:
    shifts = [shift for _, shift in rates.halving((3, -3), 16)]
    assert shifts == [-3] * 8 + [-4] * 4 + [-5] * 2 + [-6] + [-7]
    assert rates.halving((1, -23), 8)[-1] == (1, -24)  # not below the smallest there is


# -- augmentation ----------------------------------------------------------


def moved(x: np.ndarray, number: int, how: Augment, seed: int, epoch: int) -> np.ndarray:
    """One picture (h, w, c), element by element."""
    key = lib.wage_key(seed, epoch, rng.STAGE_AUGMENT)
    bits = [lib.wage_draw(key, 3 * number + k) for k in range(3)]
    down, right = (lib.wage_below(b, 2 * how.crop + 1) - how.crop for b in bits[:2])
    out, (h, w, _) = np.zeros_like(x), x.shape
    for y, column in itertools.product(range(h), range(w)):
        from_x = w - 1 - column if how.flip and bits[2] >> 31 else column
        if 0 <= y + down < h and 0 <= from_x + right < w:
            out[y, column] = x[y + down, from_x + right]
    return out


@pytest.mark.parametrize("how", [Augment(4, True), Augment(2, False), Augment(0, True)])
def test_augmentation_moves_and_mirrors(how: Augment) -> None:
    x, index = some(50, (7, 5, 3)).x, np.arange(50) + 1000
    got = augment.augmented(x, index, how, 3, 2)
    expected = [moved(one, int(k), how, 3, 2) for one, k in zip(x, index, strict=True)]
    assert np.array_equal(got, expected)
    again = augment.augmented(x[20:30], index[20:30], how, 3, 2)
    assert np.array_equal(again, got[20:30])  # a picture's own number decides, not its place
    for other in (augment.augmented(x, index, how, 3, 3), augment.augmented(x, index, how, 4, 2)):
        assert not np.array_equal(other, got)


def test_augmentation_takes_every_place_alike() -> None:
    x = np.zeros((8100, 9, 9, 1), np.uint8)
    x[:, 4, 3] = 1  # not in the middle: a mirrored one is told from a moved one
    got = augment.augmented(x, np.arange(8100), Augment(3, True), 1, 1)
    _, y, column, _ = np.nonzero(got)
    assert len(y) == 8100
    assert set(y) == set(range(1, 8))
    assert np.all(np.abs(np.bincount(y)[1:8] / 8100 - 1 / 7) < 0.02)
    # columns 0..6 when it was not mirrored, 2..8 when it was
    assert np.all(np.abs(np.bincount(column)[[0, 8]] / 8100 - 1 / 14) < 0.02)
    assert np.all(np.abs(np.bincount(column)[2:7] / 8100 - 1 / 7) < 0.02)


@pytest.mark.parametrize(
    ("text", "how"),
    [("", Augment()), ("crop4,flip", Augment(4, True)), ("flip", Augment(0, True)),
     ("crop12", Augment(12, False))],
)  # fmt: skip
def test_augmentation_from_text(text: str, how: Augment) -> None:
    assert augment.parse(text) == how
    assert bool(how) == bool(text)


@pytest.mark.parametrize("text", ["crop", "crop0", "crop65", "mirror", "crop4;flip"])
def test_text_that_is_no_augmentation(text: str) -> None:
    with pytest.raises(WrongUsage, match="is no augmentation: write crop4, flip or crop4,flip"):
        augment.parse(text)


# -- the same bits as the oracle -------------------------------------------

CASES = [
    How(CONFIG, rates.schedule("8@0,3@1,1/4@2", 3), Rules(True, True, 4, 0)),
    How(CONFIG, rates.schedule("2@0,1@1", 2), Rules(True, False, 5, 3), Augment(2, True)),
    How(CONFIG, rates.halving((1, -3), 3), Rules(False, False, 1, 0)),
    How(CONFIG, rates.halving((3, -5), 2), Rules(False, True, 4, 2), Augment(1, False)),
    How(dataclasses.replace(CONFIG, threshold=90, gain_shift=4), ((1, -3),), Rules(batch=2)),
]


@pytest.mark.parametrize("number", range(len(CASES)))
@pytest.mark.parametrize("input_map", [0, 1])
def test_run_is_what_the_oracle_computes(number: int, input_map: int) -> None:
    how, known = CASES[number], some(22)
    net = network.parse(NETWORK, 4, input_map, bias=not how.rules.paper, paper=how.rules.paper)
    blob = pack.blob(net, "n", how.config, len(net.weighted), 0, [], how.rules)
    model = ref.open_model(blob)
    draws, right = np.random.default_rng(how.config.seed), []
    for epoch, (factor, shift) in enumerate(how.rates):
        config = dataclasses.replace(how.config, lr_factor=factor, lr_shift=shift)
        ref.start(model, epoch + 1, ref.Config(**dataclasses.asdict(config)))
        order = draws.permutation(22).tolist()
        right.append(0)
        for at in range(0, 22, how.rules.batch):
            batch = []
            for k in order[at : at + how.rules.batch]:
                x = known.x[k]
                if how.augment:
                    x = moved(x, k, how.augment, how.config.seed, epoch)
                batch.append((ref.input_activations(model, x), int(known.labels[k])))
            before = [ref.predict(model, *sample).prediction for sample in batch]
            right[-1] += sum(p == y for p, (_, y) in zip(before, batch, strict=True))
            ref.train(model, batch)
    got, rows = train.run(net, known, how)
    for layer, theirs in zip(got.layers, model.layers, strict=True):
        assert not layer.weight_bits or np.array_equal(layer.weights, theirs.w)
        assert layer.bias is None or np.array_equal(layer.bias, theirs.bias)
    assert [row["train"] for row in rows] == [n / 22 for n in right]
    assert [row["rate"] for row in rows] == [rates.shown(rate) for rate in how.rates]
    assert got.paper == how.rules.paper
    assert crcs(got) != crcs(net)


def test_levels_of_kernels_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    how, found = CASES[1], []
    for level in range(lib.wage_host_level() + 1):
        monkeypatch.setenv("WAGE_KERNELS", str(level))
        net = network.parse(NETWORK, 4, paper=True)
        core = Core(pack.blob(net, "n", CONFIG, len(net.weighted), 0, [], how.rules))
        assert core.wage.kernels == lib.wage_host_kernels(level)
        found.append(crcs(train.run(net, some(22), how)[0]))
    assert all(one == found[0] for one in found)
    best = lib.wage_host_kernels(lib.wage_host_level())
    blob = pack.blob(net, "n", CONFIG, 1, 0, [])
    assert Core(blob, level=0).wage.kernels == lib.wage_host_kernels(0)
    monkeypatch.delenv("WAGE_KERNELS")
    assert Core(blob).wage.kernels == best
    for wrong in ("", "3", "-1", "best"):
        monkeypatch.setenv("WAGE_KERNELS", wrong)
        with pytest.raises(WrongUsage, match="WAGE_KERNELS is 0, 1 or 2"):
            Core(blob)


# -- what a model in this process gives ------------------------------------


def opened(rules: Rules, bias: bool = False) -> Core:
    """A model of the test's network, all of it trainable."""
    net = network.parse(NETWORK, 4, bias=bias, paper=rules.paper)
    config = dataclasses.replace(CONFIG, lr_shift=-2)
    return Core(pack.blob(net, "n", config, len(net.weighted), 0, [], rules))


def test_predictions_do_not_depend_on_the_batch() -> None:
    x = data.activations(some(23).x, 0)
    labels = some(23).labels
    found = [opened(Rules(batch=n)).predict(x, labels) for n in (1, 4, 23, 100)]
    for one in found:
        assert one["prediction"].tolist() == found[0]["prediction"].tolist()
        assert one["p_label"].tolist() == found[0]["p_label"].tolist()
        assert one["label"].tolist() == labels.tolist()
    records = list(opened(Rules(batch=4)).evaluate(zip(x, labels.tolist(), strict=True)))
    assert [r.prediction for r in records] == found[0]["prediction"].tolist()
    assert [r.id for r in records] == list(range(1, 24))
    assert len(found[0]) == 23
    assert len(opened(Rules()).predict(x[:0], labels[:0])) == 0


def test_train_tells_what_was_skipped() -> None:
    core = opened(Rules(batch=2))
    core.start(1, dataclasses.replace(CONFIG, threshold=127))
    before = core.weight_crc()
    answers = core.train(data.activations(some(5).x, 0), some(5).labels)
    assert answers["skipped"].tolist() == [1] * 5
    assert (core.wage.step, core.weight_crc()) == (3, before)


def test_wrong_samples_are_refused_and_nothing_is_learned() -> None:
    core, x = opened(Rules(batch=4)), data.activations(some(8).x, 0)
    before = core.state_crc()
    for labels in ([0, 1, 2, 0, 0, 0, 0, 3], [-1] * 8, [256] * 8):
        with pytest.raises(Refused, match="label"):
            core.train(x, np.array(labels))
    for wrong in (x[:7], x[:, :5], np.zeros((8, 71), np.int8)):
        with pytest.raises(Refused, match="input"):
            core.train(wrong, np.zeros(8, int))
    assert core.state_crc() == before


@pytest.mark.parametrize("bias", [False, True])
def test_weights_are_those_of_the_runtime(bias: bool) -> None:
    core = opened(Rules(batch=3, momentum=2), bias)
    core.train(data.activations(some(30).x, 0), some(30).labels)
    for k, w in enumerate(core.weights()):
        layer = core.wage.layers[k]
        found = [lib.wage_weight(ffi.addressof(layer), i) for i in range(layer.weight_count)]
        assert w.ravel().tolist() == found
        assert w.dtype == np.int16


@pytest.mark.parametrize("rules", [Rules(True, True, 4, 2), Rules(False, False, 2, 0)])
def test_state_is_all_that_training_changes(rules: Rules) -> None:
    first, second = opened(rules, not rules.paper), opened(rules, not rules.paper)
    x, labels = data.activations(some(30).x, 0), some(30).labels
    first.train(x, labels)
    state, crc = first.state(), first.weight_crc()
    first.train(x[::-1], labels[::-1])
    second.set_state(state)  # which did not change with `first`
    assert second.weight_crc() == crc != first.weight_crc()
    second.train(x[::-1], labels[::-1])
    a, b = first.state(), second.state()
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[name], b[name]) for name in a)
    with pytest.raises(ValueError, match="another model"):
        opened(Rules(momentum=1 - min(rules.momentum, 1))).set_state(a)

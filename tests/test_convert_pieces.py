"""Pieces of a conversion for themselves: orders of tensors, weights as stored, what layers hold."""

# SPDX-License-Identifier: MIT

from pathlib import Path

import numpy as np
import pytest
from onnx_models import Maker, ours, save, theirs
from test_convert_residual import CUT, check_bounds, made, small
from wage_host.convert import floats, integers, model, report, seen, steps
from wage_host.convert.graph import AVERAGE
from wage_host.convert.order import AXES_MAX, Unsupported, canonical
from wage_host.convert.weights import Weights


def test_orders_tell_where_elements_lie_or_are_refused() -> None:
    dice, told, refused = np.random.default_rng(1), 0, 0
    for _ in range(500):
        memory = tuple(dice.choice([1, 2, 3, 4, 6], 3).tolist())
        first, size = bool(dice.integers(2)), int(np.prod(memory))
        order, places = canonical(memory, 3, first), np.arange(size).reshape(memory)
        places = np.moveaxis(places, -1, 0) if first else places
        try:
            for _ in range(dice.integers(1, 6)):
                if dice.integers(2):
                    axes = dice.permutation(order.ndim).tolist()
                    order, places = order.transpose(axes), places.transpose(axes)
                else:
                    one = int(dice.choice([n for n in range(1, size + 1) if size % n == 0]))
                    order = order.reshape((one, size // one))
                    places = places.reshape(one, size // one)
            np.testing.assert_array_equal(order.in_memory(places).ravel(), np.arange(size))
            told += 1
        except Unsupported:
            refused += 1
    assert min(told, refused) > 20, (told, refused)
    with pytest.raises(Unsupported, match="a tensor of 9 axes"):
        canonical((1, 1, 1), 3, True).reshape((1,) * (AXES_MAX + 1))


def test_weights_are_what_is_stored_less_zero_times_factors() -> None:
    draws = np.random.default_rng(1)
    stored, zero = draws.integers(0, 256, (6, 2, 3, 4), np.uint8), np.arange(6).reshape(6, 1, 1, 1)
    one, two = draws.normal(1, 0.1, (6, 1, 1, 1)), draws.normal(1, 0.1, 6)
    wanted = (stored.astype(float) - zero) * one * two.reshape(6, 1, 1, 1)
    found = Weights.of(stored, zero, one).times(two)
    np.testing.assert_allclose(found.exact(), wanted, rtol=1e-12)
    moved = found.moved(lambda w: w.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(moved.exact(), wanted.transpose(0, 3, 1, 2), rtol=1e-12)
    pairs = Weights((6, 2, 3, 8), found.stored, found.zero, found.factors, groups=2).exact()
    np.testing.assert_allclose(pairs[:3, :, :, :4], wanted[:3], rtol=1e-12)
    np.testing.assert_allclose(pairs[3:, :, :, 4:], wanted[3:], rtol=1e-12)
    assert not pairs[:3, :, :, 4:].any() and not pairs[3:, :, :, :4].any()
    assert found.finite() and not Weights.of(stored[:0]).finite()
    assert not found.times(np.full(6, np.nan)).finite()


def test_what_layers_hold_is_counted_by_channel_over_all_samples(tmp_path: Path) -> None:
    imp, given = made(small(("conv", 1.0), ("clip", (0, 9))), model.Wish(), tmp_path, 0)
    x = (given.x[np.arange(80) % 24].astype(np.int16) - 128).astype(np.int8)
    x[floats.SAMPLES :] //= 4  # the largest come first
    for k, out in enumerate(floats.run(imp.made.blocks, x.astype(np.float32))):
        held, rows = seen.seen_in(imp.made.blocks, x)[k], out.reshape(-1, out.shape[3])
        width = 0.51 * np.abs(rows).max(0) / seen.HALF + 1e-6
        for mine, wanted in zip(held.ends(), (rows.min(0), rows.max(0)), strict=True):
            assert (np.abs(mine - wanted) <= width).all()
        assert (np.abs((held.values * held.shares).sum(0) - rows.mean(0)) <= width).all()
        np.testing.assert_allclose(held.shares.sum(0), 1)
        np.testing.assert_allclose(held.together().shares.sum(), 1)


def test_offsets_follow_steps_that_become_coarser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = steps.best

    def finer(*given: object) -> steps.Scale:
        scale = best(*given)
        return steps.Scale(scale.step / 300, scale.offset / 300)

    monkeypatch.setattr(steps, "best", finer)
    parts = (("conv", 1.0), ("clip", (0, 9)), ("conv", 1.0))
    imp = check_bounds(small(*parts), model.Wish(), tmp_path)
    np.testing.assert_allclose(imp.made.scales[0].offset, 127 * imp.made.scales[0].step)


def test_layers_between_are_frozen_with_what_is_below(tmp_path: Path) -> None:
    imp, _ = made(small(*CUT[2]), model.Wish(2), tmp_path, 0)
    assert [b.name[:4] for b in imp.made.blocks[:3]] == ["Conv", "othe", "Conv"]
    assert imp.made.trainable == 2 and imp.train_last == 2


def test_bound_of_an_average_is_half_a_step(tmp_path: Path) -> None:
    imp, _ = made(small(("conv", 1.0)), model.Wish(), tmp_path, 0)
    (k,) = (k for k, block in enumerate(imp.made.blocks) if block.op == AVERAGE)
    np.testing.assert_array_equal(report.bound(imp, k), imp.made.scales[k].step / 2)


def test_bound_is_met_by_the_worst_input(tmp_path: Path) -> None:
    """For each output the input that its weights are wrong about most, and its bias alike."""
    imp, _ = made(small(("conv", 1.0), ("clip", (0, 9)), ("conv", 1.0)), model.Wish(), tmp_path, 0)
    block, layer, scale = imp.made.blocks[0], imp.made.layers[0], imp.made.scales[0]
    unit = scale.step * 2.0 ** -integers.shift_of(layer)
    assert scale.offset.all()
    for out in range(4):
        wrong = block.weights[out].ravel() - layer.used(False)[out] * unit[out]
        side = np.sign(block.bias[out] - scale.offset[out] - layer.bias[out] * unit[out])
        a = np.where(wrong * side > 0, 127, -128).astype(np.int8).reshape(1, 1, 1, 4)
        a = np.tile(a, (1, *block.input[:2], 1))
        exact = floats.before(block, a.astype(np.float64))[0, 0, 0, out] - scale.offset[out]
        found = integers.sums(block, layer, a)[0, 0, 0, out] * unit[out]
        most = report.bound(imp, 0)[out] - scale.step[out] / 2
        assert 0.98 * most < abs(exact - found) <= most * 1.000001


def test_clip_behind_a_max_pool_is_not_one_of_the_tensor_below_it(tmp_path: Path) -> None:
    """Which a sum takes as it is."""
    make = small(("conv", 1.0), ("max", 0), ("clip", (0, 9)), ("conv", 1.0), ("add", 0))
    x = make.draws.normal(0, 1, (3, 4, 6, 6)).astype(np.float32)
    found = ours(save(make.model(), tmp_path), x).reshape(3, 3)
    np.testing.assert_allclose(found, theirs(make.model(), x), rtol=1e-4, atol=1e-5)


def test_half_windows_of_a_pool_are_left_out_or_kept_as_the_model_does(tmp_path: Path) -> None:
    for pads, size in (([0, 0, 0, 0], 2), ([0, 0, 1, 1], 3)):
        make = Maker((2, 5, 5))
        make.conv(3, 2, 1, 1)
        make.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2], pads=pads)
        make.node("Flatten")
        make.dense(3, 3 * size * size)
        x = make.draws.normal(0, 1, (3, 2, 5, 5)).astype(np.float32)
        found = ours(save(make.model(), tmp_path), x).reshape(3, 3)
        np.testing.assert_allclose(found, theirs(make.model(), x), rtol=1e-4, atol=1e-5)

"""Steps of pre-processing: the oracle's integers, words in and out, what the data give."""

# SPDX-License-Identifier: MIT

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from reference import prepare as oracle
from wage_host._core import lib
from wage_host.data import prepare, steps
from wage_host.data.prepare import Item
from wage_host.errors import DataError, WrongUsage
from wage_host.extras import Step

RNG = np.random.default_rng(11)


def done(text: str, *arrays: Any, labels: Iterable[int] = (), rate: int = 0) -> list[np.ndarray]:
    """What steps in words make of samples."""
    labels = list(labels) or [0] * len(arrays)
    items = [
        Item(np.asarray(x), y, f"sample {k + 1}", rate)
        for k, (x, y) in enumerate(zip(arrays, labels, strict=True))
    ]
    return [item.x for item in prepare.apply(steps.parse(text), items)]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    "before, after",
    [
        ((4, 4), (2, 2)), ((7, 5), (3, 4)), ((2, 3), (5, 7)), ((1, 1), (3, 3)), ((9, 9), (9, 9)),
        ((28, 28), (13, 10)), ((5, 1), (1, 5)), ((31, 17), (1, 1)),
    ],
)  # fmt: skip
def test_resize_is_the_oracle_s(before: tuple, after: tuple, channels: int) -> None:
    for x in (
        RNG.integers(0, 256, (*before, channels)).astype(np.uint8),
        np.full((*before, channels), 255, np.uint8),
    ):
        (found,) = done(f"resize {after[0]}x{after[1]}", x)
        assert np.array_equal(found, oracle.resize(x, *after))
        assert found.dtype == np.uint8


def test_resize_keeps_the_mean_and_never_mixes_channels() -> None:
    x = np.zeros((6, 6, 3), np.uint8)
    x[..., 2] = 200
    (found,) = done("resize 3x2", x)
    assert found.reshape(-1, 3).tolist() == [[0, 0, 200]] * 6
    (half,) = done("resize 1x1", np.uint8([[[0], [255]]]))
    assert half.item() == 128  # halves up


@pytest.mark.parametrize("size, after", [((5, 5), (2, 2)), ((6, 5), (3, 5)), ((4, 7), (4, 2))])
def test_crop_is_the_oracle_s(size: tuple, after: tuple) -> None:
    x = RNG.integers(0, 256, (*size, 2)).astype(np.uint8)
    (found,) = done(f"crop {after[0]}x{after[1]}", x)
    assert np.array_equal(found, oracle.crop(x, *after))


def test_grey_is_the_oracle_s() -> None:
    x = RNG.integers(0, 256, (40, 40, 3)).astype(np.uint8)
    x[0, :3] = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    (found,) = done("grey", x)
    assert np.array_equal(found, oracle.grey(x))
    assert found[0, :3, 0].tolist() == [77, 149, 29]  # red is not blue
    assert done("grey", x[..., :1])[0].shape == (40, 40, 1)
    assert done("grey", np.full((1, 1, 3), 255, np.uint8))[0].item() == 255


@pytest.mark.parametrize("d", [0, 1, 2, 5])
def test_decimals_are_the_oracle_s(d: int) -> None:
    x = np.round(RNG.normal(0, 300, (1, 50, 2)), 2)
    (found,) = done(f"decimals {d}", x)
    assert np.array_equal(found, oracle.decimals(x, d))
    assert done("decimals 0", [[[0.5, 1.5, 2.5, -0.5]]])[0].tolist() == [[[0, 2, 2, 0]]]
    assert done("decimals 2", [[[1.005, 0.29]]])[0].tolist() == [[[100, 29]]]


@pytest.mark.parametrize("length, n", [(5, 3), (3, 5), (4, 4), (1, 9)])
def test_cut_is_the_oracle_s(length: int, n: int) -> None:
    x = RNG.integers(-9, 9, (1, length, 2))
    assert np.array_equal(done(f"cut {n}", x)[0], oracle.cut(x, n))


@pytest.mark.parametrize("n, hop", [(3, 1), (3, 2), (3, 3), (3, 5), (1, 1), (8, 1), (9, 1), (2, 7)])
def test_windows_of_recordings_and_of_rows_are_the_oracle_s(n: int, hop: int) -> None:
    x = RNG.integers(-9, 9, (1, 8, 2))
    wanted = oracle.window(x, n, hop)
    found = done(f"window {n}/{hop}", x)
    by_row = done(f"window {n}/{hop}", *(x[:, k : k + 1] for k in range(8)))
    for some in (found, by_row):
        assert len(some) == len(wanted)
        assert all(np.array_equal(a, b) for a, b in zip(some, wanted, strict=True))


def test_windows_of_rows_end_where_the_label_changes() -> None:
    rows = [np.full((1, 1, 1), k) for k in range(9)]
    found = done("window 3/1", *rows, labels=[0, 0, 0, 0, 1, 1, 0, 0, 0])
    assert [x.reshape(-1).tolist() for x in found] == [[0, 1, 2], [1, 2, 3], [6, 7, 8]]


def test_windows_come_as_soon_as_their_last_row() -> None:
    taken = []

    def rows() -> Iterable[Item]:
        for k in range(5):
            taken.append(k)
            yield Item(np.full((1, 1, 1), k), 0, "")

    windows = prepare.apply(steps.parse("window 3/2"), rows())
    assert taken == []
    next(windows)
    assert taken == [0, 1, 2]
    next(windows)
    assert taken == [0, 1, 2, 3, 4]


def test_logmel_takes_all_frames_of_a_recording() -> None:
    x = RNG.integers(-9000, 9000, (1, 900, 1)).astype(np.int16)
    (found,) = done("logmel 8000 256/100 12 100-3800", x, rate=8000)
    (step,) = steps.parse("logmel 8000 256/100 12 100-3800")
    assert found.shape == (7, 12, 1)
    assert np.array_equal(found, oracle.logmel(x, *step.params))


# -- what cannot be ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, x, said",
    [
        ("crop 3x3", np.zeros((2, 5, 1)), "2x5x1 is too small for 'crop 3x3': resize it before"),
        ("grey", np.zeros((2, 2, 4)), "grey takes 3 channels or 1, not 4"),
        ("cut 4", np.zeros((2, 2, 1)), "cut is for sound and sensors, not for pictures (2x2x1)"),
        ("window 4/1", np.zeros((2, 2, 1)), "window is for sound and sensors"),
        (
            "logmel 8000 64/32 8",
            np.zeros((1, 63, 1), int),
            "63 samples are less than a frame of 64",
        ),
        ("logmel 8000 64/32 8", np.zeros((1, 64, 2), int), "logmel takes sound: one channel"),
        ("logmel 8000 64/32 8", np.zeros((1, 64, 1)), "logmel takes sound: one channel"),
        ("logmel 8000 64/32 8", np.full((1, 64, 1), 40000), "logmel takes sound: one channel"),
        ("decimals 9", [[[3e9]]], "a value is too large for 32 bits: give fewer decimals"),
    ],
)
def test_samples_that_do_not_fit_are_named(text: str, x: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        done(text, x)
    assert str(caught.value).startswith("sample 1: ")
    assert said in str(caught.value)


def test_another_rate_is_refused() -> None:
    with pytest.raises(DataError, match="recorded with 44100 samples a second, and logmel takes 8"):
        done("logmel 8000 64/32 8", np.zeros((1, 64, 1), int), rate=44100)


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "--prepare has no step"),
        (" , ", "--prepare has no step"),
        ("resise 3x3", "knows no step 'resise': they are resize, crop, grey"),
        ("resize", "'resize' is not as in 'resize 16x16'"),
        ("resize 0x3", "'resize 0x3' is not as in 'resize 16x16'"),
        ("resize 3x3 3", "is not as in 'resize 16x16'"),
        ("resize 99999x3", "is not as in 'resize 16x16'"),
        ("grey 3", "'grey 3' is not as in 'grey'"),
        ("window 50", "is not as in 'window 50/25'"),
        ("decimals 2 x", "is not as in 'decimals 2'"),
        ("decimals 10", "is not as in 'decimals 2'"),
        ("normalise 3", "is not as in 'normalise'"),
        ("logmel 8000 256/128", "is not as in 'logmel 8000 256/128 24 60-3800'"),
        ("logmel 8000 256/128 24 60-4001", "is not as in 'logmel"),
        ("logmel 8000 256/128 24 900-900", "bands of logmel lie in 0 to 4000 Hz"),
        ("logmel 8000 1025/128 24", "a frame of logmel has 2 to 1024 samples, not 1025"),
        ("logmel 8000 64/32 60", "60 bands are too many for frames of 64 samples at 8000 Hz"),
    ],
)
def test_words_that_are_no_steps_are_named(text: str, said: str) -> None:
    with pytest.raises(WrongUsage) as caught:
        steps.parse(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["resize 3x4", "crop 1x1", "grey", "decimals 3", "decimals 1 4 0", "cut 100", "window 9/4",
     "logmel 8000 256/128 24 60-3800"],
)  # fmt: skip
def test_what_is_said_can_be_written_again(text: str) -> None:
    assert ", ".join(map(steps.say, steps.parse(text))) == text
    assert all(map(steps.allowed, steps.parse(text)))


@pytest.mark.parametrize(
    "step",
    [
        Step(lib.WAGE_RESIZE, (3,)), Step(lib.WAGE_RESIZE, (0, 3)), Step(lib.WAGE_CROP, (5000, 1)),
        Step(lib.WAGE_GREY, (1,)), Step(lib.WAGE_DECIMALS, ()), Step(lib.WAGE_DECIMALS, (10,)),
        Step(lib.WAGE_DECIMALS, (1, -1)),
        Step(lib.WAGE_CUT, (0,)), Step(lib.WAGE_CUT, (1, 1)), Step(lib.WAGE_WINDOW, (5, 0)),
        Step(lib.WAGE_WINDOW, (1 << 25, 1)), Step(lib.WAGE_LOGMEL, (8000, 64, 32, 64)),
        Step(lib.WAGE_NORMALISE, ()), Step(lib.WAGE_NORMALISE, (0, 0, 0)), Step(0), Step(9),
    ],
)  # fmt: skip
def test_steps_of_a_blob_that_do_not_exist_are_refused(step: Step) -> None:
    assert not steps.allowed(step)
    if step.kind in steps.NAMES:
        assert "parameters that do not exist" in steps.say(step)
        with pytest.raises(DataError, match="has parameters that do not exist: convert the model"):
            steps.check([step])


# -- what the data give ----------------------------------------------------------------------


def fitted(text: str, *arrays: Any) -> tuple[tuple[Step, ...], list[np.ndarray]]:
    """Steps with the parameters that samples give, and what they make of them."""
    items = [Item(np.asarray(x), 0, "d") for x in arrays]
    found, ready = prepare.fit(steps.parse(text), iter(items))
    assert all(map(steps.allowed, found))
    again = [item.x for item in prepare.apply(found, items)]
    assert all(np.array_equal(a.x, b) for a, b in zip(ready, again, strict=True))
    return found, again


@pytest.mark.parametrize("scale", [1e-3, 0.5, 1.0, 40.0, 9000.0])
def test_normalise_centres_each_column_and_uses_its_range(scale: float) -> None:
    rows = RNG.normal(0, 1, (400, 1, 1, 3)) * [scale, 2 * scale, 30] + [5 * scale, 0, -100]
    rows = np.round(rows, 5)
    found, x = fitted("normalise", *rows)
    assert [steps.NAMES[step.kind] for step in found] == ["decimals", "normalise"]
    x = np.stack(x).reshape(-1, 3).astype(float)
    assert np.abs(x.mean(0)).max() < 3
    assert np.abs(x.std(0) - 127 / prepare.SPREAD).max() < 3


def test_decimals_are_as_many_as_there_are_but_no_more_than_are_of_use() -> None:
    found, _ = fitted("decimals", [[[5.1, 3.5]]], [[[4.9, 3.0]]])
    assert found[0].params == (1,)
    found, _ = fitted("decimals", [[[3, 4]]], [[[5, 9]]])
    assert found[0].params == (0,)
    many = RNG.normal(0, 1, (50, 1, 1, 1))
    assert fitted("decimals", *many)[0][0].params == (3,)  # a deviation is about 1000 then
    large = RNG.normal(0, 20000, (50, 1, 1, 1))
    assert fitted("decimals", *large)[0][0].params == (0,)


def test_a_column_that_never_changes_is_zero() -> None:
    _, x = fitted("normalise", [[[7, 1]]], [[[7, 2]]], [[[7, 3]]])
    assert [row.reshape(-1)[0] for row in x] == [0, 0, 0]


def test_a_small_spread_far_from_zero_loses_no_digits() -> None:
    near, far = ([[[[k + at]]] for k in range(10)] for at in (0, 2_000_000_000))
    assert fitted("normalise", *near)[0][0].params[1:] == fitted("normalise", *far)[0][0].params[1:]


def test_bands_of_sound_have_factors_of_their_own() -> None:
    sounds = [RNG.integers(-9000, 9000, (1, 700, 1)) for _ in range(4)]
    found, x = fitted("cut 640, logmel 8000 256/128 12, normalise", *sounds)
    assert len(found[-1].params) == 3 * 12
    assert x[0].shape == (4, 12, 1) and x[0].dtype == np.int8


def test_pictures_have_one_factor_a_channel() -> None:
    found, _ = fitted("normalise", *RNG.integers(0, 256, (5, 6, 6, 3)).astype(np.uint8))
    assert len(found[-1].params) == 9


def test_values_beyond_16_bits_are_refused() -> None:
    with pytest.raises(DataError, match="values spread over more than 16 bits"):
        fitted("normalise", [[[0]]], [[[10**6]]])
    with pytest.raises(DataError, match="leaves no sample: make its windows shorter"):
        fitted("window 9/1, normalise", [[[0]]], [[[1]]])


def test_a_fitted_step_gives_the_same_on_other_data_again() -> None:
    """Once fitted it is only integers: C, and the oracle's."""
    found, _ = fitted("normalise", *RNG.normal(0, 3, (50, 1, 1, 2)).round(2))
    other = RNG.normal(0, 9, (1, 200, 2)).round(2)
    (x,) = (item.x for item in prepare.apply(found, [Item(other, 0, "d")]))
    whole = oracle.decimals(other, *found[0].params)
    assert np.array_equal(x, oracle.normalise(whole, *found[1].params))


def test_columns_have_decimals_of_their_own() -> None:
    x = RNG.normal(0, 1, (3, 1, 4, 3)).round(3)
    for one in x:
        assert np.array_equal(done("decimals 0 1 3", one)[0], oracle.decimals(one, 0, 1, 3))
    with pytest.raises(DataError, match="sample 1: decimals are for 2 columns, which do not fit"):
        done("decimals 1 2", x[0, :, :1])
    rows = RNG.normal(0, 1, (60, 1, 1, 2)) * [0.001, 1000]
    assert fitted("decimals", *rows)[0][0].params == (6, 0)


@pytest.mark.parametrize("step", ["resize 2x2", "grey"])
def test_fractions_are_not_cut_off_on_the_way(step: str) -> None:
    x = RNG.integers(0, 10, (4, 4, 4, 3)) / 10
    with pytest.raises(DataError, match=rf"put 'decimals' before '{step.split()[0]}'"):
        fitted(f"{step}, normalise", *x)
    whole = fitted(f"decimals, {step}", *x)[1]
    for one, other in zip(whole, np.rint(x * 10).astype(int), strict=True):
        assert np.array_equal(one, done(step, other)[0])


def test_pictures_with_and_without_colour_are_named() -> None:
    x = [RNG.integers(0, 256, (6, 6, c)).astype(np.uint8) for c in (3, 3, 1)]
    with pytest.raises(DataError, match=r"6x6x1 has other channels than 6x6x3 before: put 'grey'"):
        fitted("normalise", *x)
    assert {one.shape for one in fitted("grey, normalise", *x)[1]} == {(6, 6, 1)}

"""Random models with sums, clips and odd windows, as integers: within their bounds, the same in the
oracle and in C, and back again from each export; or refused in one line.
"""

# SPDX-License-Identifier: MIT

import json
from pathlib import Path

import numpy as np
import pytest
import reference as ref
from onnx_models import Maker, save
from test_convert import blob_of, inputs, oracle, over_bound
from test_export import FORMATS, and_back, do
from wage_host.convert import fold, integers, model, report, steps
from wage_host.convert.fold import WEIGHTED
from wage_host.core import Core
from wage_host.data import Data
from wage_host.errors import ModelError, WageError, WrongUsage

LEAST_DB = 15.0  # of models whose sums nobody trained to be of one size
FEWEST = 1 / 2  # of the models are converted
CLIPS = ((0.0, None), (0.0, None), (0.0, 6.0), (0.0, 0.5), (-0.5, 0.5))


class Random(Maker):
    """A model that grows by random layers; `now`: channels, height, width of its last tensor."""

    def __init__(self, seed: int):
        self.dice = np.random.default_rng(seed)
        self.now = self.dice.integers(1, (4, 9, 9)).tolist()
        super().__init__(self.now, seed=seed)

    def chance(self, share: float) -> bool:
        """True in this share of cases."""
        return bool(self.dice.random() < share)

    def window(self, largest: int, keep: bool) -> dict:
        """Kernel, stride and padding; keep: the size stays."""
        kernel = [int(self.dice.integers(1, min(largest, n) + 1)) for n in self.now[1:]]
        pads = [int(self.dice.integers(0, n)) * (keep or self.chance(0.4)) for n in kernel * 2]
        strides = [1 if keep or self.chance(0.6) else 2 for _ in kernel]
        if keep:
            pads[2:] = [n - 1 - before for n, before in zip(kernel, pads[:2], strict=True)]
        edges = zip(self.now[1:], kernel, strides, pads[:2], pads[2:], strict=True)
        self.now[1:] = [(n + a + b - k) // s + 1 for n, k, s, a, b in edges]
        return {"kernel_shape": kernel, "strides": strides, "pads": pads}

    def layer(self, out: int | None = None, keep: bool = False) -> None:
        """A convolution, of some kind, with a channel that gives nothing now and then."""
        inside, about = self.now[0], self.window(4, keep)
        groups = inside if out in (None, inside) and self.chance(0.35) else 1
        out = inside if groups > 1 else out or int(self.dice.integers(1, 8))
        kernel = about["kernel_shape"]
        size = (inside // groups * np.prod(kernel)) ** -0.5
        weights = self.dice.normal(0, size, (out, inside // groups, *kernel))
        bias = self.dice.normal(0, 0.3, out)
        if self.chance(0.15):
            weights[0], bias[0] = 0, -1
        self.node("Conv", self.array(weights), self.array(bias), group=groups, **about)
        self.now[0] = out

    def clip(self) -> None:
        """One of CLIPS, or none."""
        if self.chance(0.7):
            ends = CLIPS[self.dice.integers(len(CLIPS))]
            self.node("Clip", *("" if end is None else self.array(end) for end in ends))

    def pool(self) -> None:
        """A pool; one with padding counts it."""
        if self.chance(0.6):
            self.node("MaxPool", **self.window(3, False))
        else:
            self.node("AveragePool", count_include_pad=1, **self.window(3, False))

    def block(self, nested: bool = False) -> None:
        """Layers with a sum around them, with another inside of it now and then."""
        start, channels = self.x, self.now[0]
        for _ in range(self.dice.integers(1, 3)):
            self.layer(keep=True)
            self.clip()
            if not nested and self.chance(0.2):
                self.block(True)
        if self.now[0] != channels or self.chance(0.5):
            self.layer(channels, True)
        if self.chance(0.4):
            self.clip()
        if self.chance(0.15):
            self.node("MaxPool", kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4)
        self.node("Add", start)
        self.clip()

    def grow(self) -> None:
        """All of it, with classes at the end."""
        for _ in range(self.dice.integers(1, 5)):
            self.dice.choice([self.layer, self.pool, self.block, self.block])()
            self.clip()
        self.node("Flatten")
        self.dense(int(self.dice.integers(2, 6)), int(np.prod(self.now)))

    def wish(self) -> model.Wish:
        """What learns, and by which bits."""
        train, until = self.dice.choice([0, 1, 2, 4]), None
        if self.chance(0.2):
            train, until = None, self.nodes[self.dice.integers(len(self.nodes))].name
        bits = 2 if self.chance(0.1) else 8
        return model.Wish(None if train is None else int(train), until, bits=bits)


def made(make: Maker, wish: model.Wish, folder: Path, seed: int) -> tuple[model.Imported, Data]:
    """The model for a board, and the noise that it was calibrated with."""
    channels, *size = make.shape
    x = np.random.default_rng(seed).integers(0, 256, (24, *size, channels), np.uint8)
    given = Data("noise", x, np.zeros(len(x), np.int64))
    wanted = model.Input(None, (0.5,), (0.25,)) if seed % 2 else model.Input()
    path = save(make.model(), folder)
    return model.imported(path, model.read(path, None, None), given, wanted, wish), given


@pytest.mark.parametrize("count", [8, pytest.param(300, marks=pytest.mark.soak)])
def test_random_sums_and_clips_keep_their_promises(count: int, tmp_path: Path, seed: int) -> None:
    done = low = 0
    for number in range(seed, seed + count):
        make = Random(number)
        make.grow()
        wish = make.wish()
        try:
            imp, given = made(make, wish, tmp_path, number)
            blob = blob_of(imp)
        except WageError as error:
            assert "\n" not in str(error), number
            continue
        done += 1
        a = inputs(imp, given.x)
        for k, over in over_bound(imp, a):
            assert over <= 1e-5, (number, k, imp.made.blocks[k].name, over)
        for k in range(imp.made.trainable, len(imp.made.blocks)):
            scale, weighted = imp.made.scales[k], imp.made.blocks[k].op in WEIGHTED
            assert not weighted or (np.ptp(scale.step) == 0 and not scale.offset.any()), (number, k)
        mine = list(integers.run(imp.made.blocks, imp.made.layers, a[:2]))
        for n in range(2):
            for one, other in zip(mine, oracle(blob, a[n]), strict=True):
                np.testing.assert_array_equal(one[n].ravel(), other.ravel(), str(number))
        told = ref.predict(ref.open_model(blob), a[0].ravel(), 0)
        (record,) = Core(blob).predict(a[:1], [0])
        assert (record["prediction"], record["p_label"]) == (told.prediction, told.p_label)
        low += wish.bits == 8 and min(one.sqnr_db for one in report.losses(imp, given)) < LEAST_DB
        (tmp_path / "first.wage").write_bytes(blob)
        ending = FORMATS[number % 3]
        told = do(tmp_path, "export", "first.wage", "-o", f"out{ending}")
        if told["ok"]:
            assert and_back(tmp_path, ending, "--replays", 2) == blob, number
        else:  # a sum of a sum or of an average, shifted
            assert "ONNX has no word for it" in told["error"], number
    assert done >= FEWEST * count and low <= 1 + count / 20, (done, low)


def small(*parts: tuple[str, object]) -> Maker:
    """A net of 4 x 6 x 6 with three classes on top.

    parts: a convolution of one place, its weights of this size ("conv", 2.0), all below 0 for a
    size below 0; the ends of a clip ("clip", (0, 6)); a max-pool; or a sum with what a part gave
    ("add", its number).
    """
    make, found = Maker((4, 6, 6)), []
    for op, value in parts:
        if op == "conv":
            weights = make.draws.normal(0, abs(value) / 2, (4, 4, 1, 1))
            weights = -np.abs(weights) if value < 0 else weights
            make.node("Conv", make.array(weights))
        elif op == "clip":
            make.node("Clip", *(make.array(float(end)) for end in value))
        elif op == "max":
            make.node("MaxPool", kernel_shape=[3, 3], pads=[1] * 4)
        else:
            make.node("Add", found[value])
        found.append(make.x)
    make.node("GlobalAveragePool")
    make.node("Flatten")
    make.dense(3, 4)
    return make


def check_bounds(make: Maker, wish: model.Wish, folder: Path) -> model.Imported:
    """The model for a board, whose layers keep their bounds."""
    imp, given = made(make, wish, folder, 0)
    for k, over in over_bound(imp, inputs(imp, given.x)):
        assert over <= 1e-5, (k, imp.made.blocks[k].name, over)
    return imp


CUT = (  # parts of a sum that is larger than they may be
    (("conv", 4.0), ("clip", (0, 99)), ("conv", -1.0), ("clip", (-0.2, 0.2)), ("add", 1)),
    (("conv", 4.0), ("conv", 1.0), ("clip", (0, 0.2)), ("max", 0), ("add", 0)),
    (("conv", 1.0), ("clip", (0, 0.2)), ("conv", 9.0), ("add", 1)),
)


@pytest.mark.parametrize("parts", CUT)
def test_parts_of_a_sum_are_cut_where_the_model_cuts_them(parts: tuple, tmp_path: Path) -> None:
    imp = check_bounds(small(*parts), model.Wish(), tmp_path)
    assert any("other steps" in block.name for block in imp.made.blocks)


def test_sum_of_a_sum_and_of_a_part_of_that(tmp_path: Path) -> None:
    """The inner sum may not have twice the steps of its parts, as the outer has one of them."""
    parts = (("conv", 1.0), ("max", 0), ("conv", 1.0), ("add", 1), ("add", 0))
    blocks = check_bounds(small(*parts), model.Wish(), tmp_path).made.blocks
    assert [block.sources for block in blocks[3:5]] == [(2, 1), (3, 0)]
    with pytest.raises(fold.Unfit, match="two sums of different depth"):
        steps.grouped(blocks, frozenset({3}))
    assert [one.exponent for one in steps.grouped(blocks, frozenset({4}))[:5]] == [0, 0, 0, 0, 1]


def test_sum_has_the_offsets_of_its_parts(tmp_path: Path) -> None:
    parts = (("conv", 1.0), ("conv", 1.0), ("add", 0), ("conv", 1.0))
    imp = check_bounds(small(*parts), model.Wish(), tmp_path)
    one, other, both = (imp.made.scales[k].offset for k in range(3))
    assert one.all() and other.all()
    np.testing.assert_array_equal(both, one + other)


@pytest.mark.parametrize("train", [1, 2])
def test_channel_that_holds_nothing_costs_the_others_nothing(train: int, tmp_path: Path) -> None:
    make = Maker((4, 6, 6))
    weights = make.draws.normal(0, 0.5, (4, 4, 1, 1))
    weights[1] = 0
    make.node("Conv", make.array(weights))
    make.node("Relu")
    make.node("Flatten")
    make.dense(3, 144)
    imp, given = made(make, model.Wish(train), tmp_path, 0)
    step = imp.made.scales[0].step
    assert step.max() / 10 < step[1] < 10 * step.min()
    assert min(one.sqnr_db for one in report.losses(imp, given)) > 30


def test_clip_that_cuts_nearly_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"Clip 'Clip1' .*: what it cuts off is too large"):
        made(small(("conv", 900.0), ("clip", (0, 0.1))), model.Wish(), tmp_path, 0)


def test_two_bits_are_cut_where_the_model_cuts_them(tmp_path: Path) -> None:
    for end in (0.3, 0.35, 0.4, 0.45, 0.5):
        make = small(("conv", 1.0), ("clip", (0, 2)), ("conv", 0.3), ("clip", (0, end)))
        imp, _ = made(make, model.Wish(2, bits=2), tmp_path, 0)
        assert end / 2 < 127 * imp.made.scales[1].step.max() < end * 1.001
    parts = (("conv", 1.0), ("clip", (0, 2)), ("conv", 1.0), ("clip", (0, 0.05)))
    with pytest.raises(ModelError, match="use --weights 8"):
        made(small(*parts), model.Wish(2, bits=2), tmp_path, 0)


@pytest.mark.parametrize("sizes", [(0.5, -0.25, 64.0), (4.0, 1.0, -0.5)])
def test_sums_keep_one_step_where_they_learn(sizes: tuple, tmp_path: Path) -> None:
    """Of a sum with what a frozen layer gives; the first weights need coarser steps than wanted."""
    one, two, three = (("conv", size) for size in sizes)
    parts = (one, ("clip", (0, 9)), two, ("clip", (0, 9)), three, ("add", 1))
    imp = check_bounds(small(*parts), model.Wish(3), tmp_path)
    assert imp.made.trainable == 1
    assert all(np.ptp(scale.step) == 0 for scale in imp.made.scales)


def test_what_learns_begins_inside_no_sum(tmp_path: Path) -> None:
    make = small(("conv", 1.0), ("conv", 1.0), ("clip", (0, 6)), ("conv", 1.0), ("add", 0))
    for wish in (model.Wish(2), model.Wish(until="Clip2")):
        with pytest.raises(WrongUsage, match=r"Conv 'Conv3' .* inside the sum Add 'Add4'"):
            made(make, wish, tmp_path, 0)
    for wish in (model.Wish(1), model.Wish(3), model.Wish(until="Conv0"), model.Wish(0)):
        blob_of(made(make, wish, tmp_path, 0)[0])


def test_sum_of_a_max_pool_comes_back_from_onnx(tmp_path: Path) -> None:
    parts = (("conv", 1.0), ("conv", 0.3), ("add", 0), ("conv", 1.0), ("max", 0), ("add", 2))
    imp, _ = made(small(*parts), model.Wish(), tmp_path, 0)
    first = next(k for k, layer in enumerate(imp.network.layers) if layer.skip)
    assert imp.network.layers[first].alpha_shift == 1  # so that steps differ
    blob = blob_of(imp)
    (tmp_path / "first.wage").write_bytes(blob)
    assert and_back(tmp_path, ".onnx", "--replays", 2) == blob


def test_layer_that_gives_nothing_is_reported_in_json(tmp_path: Path) -> None:
    imp, given = made(small(("conv", -1.0), ("clip", (0, 6))), model.Wish(), tmp_path, 0)
    rows = report.table(imp, blob_of(imp), report.losses(imp, given))
    assert [row["sqnr_db"] for row in rows[:2]] == [None, None]
    json.dumps(rows, allow_nan=False)

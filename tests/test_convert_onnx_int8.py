"""ONNX models in whole numbers, and what they and others leave out: no activation gets lost."""

# SPDX-License-Identifier: MIT

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_models import Maker, ours, save, theirs
from onnxruntime import quantization
from wage_host.convert import fold, model, read_onnx, report
from wage_host.data import Data
from wage_host.errors import ModelError

LEAST_DB = 30.0


class Samples(quantization.CalibrationDataReader):
    """Inputs one by one."""

    def __init__(self, x: np.ndarray):
        self.left = iter(x)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next one."""
        x = next(self.left, None)
        return None if x is None else {"input": x[None]}


def net(top: float | None) -> Maker:
    """A residual sum between convolutions; ReLU behind each, or a clip to `top`."""
    make = Maker((3, 8, 8))

    def activation() -> str:
        if top is None:
            return make.node("Relu")
        return make.node("Clip", make.array(0.0), make.array(top))

    make.conv(4, 3, 3, 3, pads=[1] * 4)
    start = activation()
    make.conv(4, 4, 3, 3, pads=[1] * 4)
    activation()
    make.node("Add", start)
    activation()
    make.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    make.conv(6, 4, 3, 3)
    activation()
    make.node("GlobalAveragePool")
    make.node("Flatten")
    make.dense(3, 6)
    return make


@pytest.mark.parametrize("by_channel", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kind", ["QInt8", "QUInt8"])
@pytest.mark.parametrize("top", [None, 1.0])
def test_activations_that_the_range_of_whole_numbers_makes_are_kept(
    top: float | None, kind: str, symmetric: bool, by_channel: bool, tmp_path: Path
) -> None:
    """onnxruntime takes a Relu out where the numbers behind it begin at 0."""
    draws, path = np.random.default_rng(0), tmp_path / "whole.onnx"
    data = draws.integers(0, 256, (64, 8, 8, 3)).astype(np.uint8)
    x = (data.transpose(0, 3, 1, 2) / 255 * 4 - 2).astype(np.float32)
    quantization.quantize_static(
        save(net(top).model(), tmp_path), path, Samples(x), per_channel=by_channel,
        quant_format=quantization.QuantFormat.QDQ, weight_type=quantization.QuantType.QInt8,
        activation_type=quantization.QuantType[kind],
        extra_options={"ActivationSymmetric": symmetric},
    )  # fmt: skip
    there = {node.op_type for node in onnx.load(path).graph.node}
    assert bool(there & {"Relu", "Clip"}) == symmetric
    wanted = theirs(onnx.load(path), x)
    found = ours(path, x).reshape(wanted.shape)
    lost = np.square(wanted - found).sum() / np.square(wanted).sum()
    assert -10 * np.log10(lost) > LEAST_DB
    known = Data("d", data, wanted.argmax(1))
    imp = model.imported(
        path, model.read(path, None, None), known, model.Input(), model.Wish()
    )
    assert min(one.sqnr_db for one in report.losses(imp, known)) > LEAST_DB - 5


def reason(make: Maker, folder: Path) -> str:
    """Why a model is refused."""
    make.node("Flatten")
    make.dense(2, 12)
    with pytest.raises(ModelError) as refused:
        read_onnx.read(save(make.model(), folder))
    return str(refused.value)


def test_what_would_change_numbers_is_refused(tmp_path: Path) -> None:
    make = Maker((3, 2, 2))
    make.node("Cast", to=onnx.TensorProto.INT32)
    make.node("Cast", to=onnx.TensorProto.FLOAT)
    assert "Cast 'Cast0' (node 0): to whole numbers: leave it out" in reason(make, tmp_path)
    make = Maker((3, 2, 2))
    make.node("Clip", "", make.array(1.0))
    assert "a clip to -inf … 1: from 0, or as far below" in reason(make, tmp_path)
    make, zero = Maker((3, 2, 2)), np.int8(0)
    make.node("QuantizeLinear", make.array(0.1), make.array(zero))
    make.node("DequantizeLinear", make.array(0.2), make.array(zero))
    assert "(node 1): a QuantizeLinear of the same step and zero mu" in reason(make, tmp_path)
    make = Maker((3, 2, 2))
    make.node("QuantizeLinear", make.array(0.1), make.array(np.int8(-128)))
    make.node("Relu")
    make.node("DequantizeLinear", make.array(0.1), make.array(np.int8(-128)))
    assert "Relu 'Relu1' (node 1): of whole numbers: put Deq" in reason(make, tmp_path)


def sum_of_itself(make: Maker) -> None:
    make.node("Add", make.conv(4, 3, 3, 3, pads=[1] * 4))


def pool_beside_a_sum(make: Maker) -> None:
    """A Relu behind a max-pool, in front of which the sum takes its other part."""
    start = make.conv(4, 3, 3, 3, pads=[1] * 4)
    make.node("MaxPool", kernel_shape=[3, 3], pads=[1] * 4)
    make.node("Relu")
    make.node("Add", start)


def flat_by_a_negative_axis(make: Maker) -> None:
    make.node("Flatten", axis=-3)


def cast_of_floats(make: Maker) -> None:
    make.node("Cast", to=onnx.TensorProto.DOUBLE)
    make.node("Cast", to=onnx.TensorProto.FLOAT)


@pytest.mark.parametrize(
    "case", [sum_of_itself, pool_beside_a_sum, flat_by_a_negative_axis, cast_of_floats]
)
def test_layers_give_what_onnxruntime_gives(case: object, tmp_path: Path) -> None:
    make = Maker((3, 4, 4))
    case(make)
    make.node("Flatten", axis=1)
    make.dense(3, 48 if case in (flat_by_a_negative_axis, cast_of_floats) else 64)
    x = np.random.default_rng(2).normal(0, 1, (3, 3, 4, 4)).astype(np.float32)
    path, wanted = save(make.model(), tmp_path), theirs(make.model(), x)
    np.testing.assert_allclose(ours(path, x).reshape(3, 3), wanted, rtol=1e-4, atol=1e-5)
    for block in fold.blocks(read_onnx.read(path)):
        assert len(set(block.sources)) == len(block.sources)  # a board adds two tensors


@pytest.mark.parametrize("low", [0.0, -0.7])
@pytest.mark.parametrize("train", [1, 2])
def test_a_clip_behind_a_sum_is_kept(low: float, train: int, tmp_path: Path) -> None:
    make = Maker((3, 8, 8))
    make.conv(4, 3, 3, 3, pads=[1] * 4)
    start = make.node("Relu")
    make.conv(4, 4, 3, 3, pads=[1] * 4)
    make.node("Add", start)
    make.node("Clip", make.array(low), make.array(0.7))
    make.conv(6, 4, 3, 3)
    make.node("Relu")
    make.node("GlobalAveragePool")
    make.node("Flatten")
    make.dense(3, 6)
    x = np.random.default_rng(0).integers(0, 256, (99, 8, 8, 3)).astype(np.uint8)
    known, path = Data("d", x, np.zeros(99, np.int64)), save(make.model(), tmp_path)
    given, wish = model.Input(8 / 255, (4.0,)), model.Wish(train)
    imp = model.imported(path, model.read(path, None, None), known, given, wish)
    assert len(imp.network.layers) == len(imp.blocks) + imp.extra + 1  # what clips
    lost = report.losses(imp, known)
    assert min(one.sqnr_db for one in lost) > LEAST_DB - 5, [one.sqnr_db for one in lost]

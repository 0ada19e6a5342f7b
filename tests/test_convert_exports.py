"""What exporters write around and between layers: graphs as they wrote them, made anew by hand."""

# SPDX-License-Identifier: MIT

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_models import Maker, blocks, ours, save, theirs
from test_convert_onnx import NEAR, same
from wage_host.convert import floats, fold, model, read_onnx
from wage_host.data import Data
from wage_host.errors import ModelError

WHOLE = np.int64


def ints(make: Maker, *values: int) -> str:
    """A constant of whole numbers."""
    return make.array(np.array(values, WHOLE))


def literal(make: Maker, value: np.ndarray) -> str:
    """A node Constant."""
    return make.node("Constant", x="", value=numpy_helper.from_array(value))


def fix(make: Maker) -> None:
    """Constant takes nothing."""
    for node in make.nodes:
        if node.op_type == "Constant":
            del node.input[:]


# -- PyTorch -------------------------------------------------------------------


def clamp(make: Maker) -> None:
    """x.clamp(min=0), then x.clamp(max=…), as torch.export writes them."""
    make.conv(6, 3, 3, 3)
    make.node("Max", make.array(0.0))
    make.node("Min", make.array(0.4))
    make.conv(5, 6, 3, 3)
    make.node("Max", make.x, x=make.array(0.0))


def largest_of_all(make: Maker) -> None:
    """AdaptiveMaxPool2d(1)."""
    make.conv(6, 3, 3, 3)
    make.node("GlobalMaxPool")
    make.node("Flatten")
    make.dense(4, 6)


def largest_by_axes(make: Maker) -> None:
    """torch.amax(x, (2, 3))."""
    make.conv(6, 3, 3, 3)
    make.node("ReduceMax", ints(make, 2, 3), keepdims=0)
    make.dense(4, 6)


def half_windows(make: Maker) -> None:
    """MaxPool2d(2, ceil_mode=True)."""
    make.conv(6, 3, 2, 3)  # 7 x 5
    make.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    make.conv(6, 6, 2, 2)


def overlapping_half_windows(make: Maker) -> None:
    """MaxPool2d(3, 2, 1, ceil_mode=True): no window begins behind the picture."""
    make.conv(6, 3, 1, 2)  # 8 x 6
    make.node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)
    make.node("MaxPool", kernel_shape=[2, 1], strides=[3, 2], ceil_mode=1)


def zeros_computed(make: Maker) -> None:
    """ZeroPad2d, as TorchScript writes what to pad."""
    known = [literal(make, np.array(v, WHOLE)) for v in ([1, 0, 2, 1], [4], [-1, 2], [-1])]
    zeros = numpy_helper.from_array(np.array([0], WHOLE))
    make.node("ConstantOfShape", x=known[1], value=zeros)
    make.node("Concat", make.x, x=known[0], axis=0)
    make.node("Reshape", known[2])
    part = [ints(make, n) for n in (-1, -9, 0, -1)]
    make.node("Slice", *part)
    make.node("Transpose", perm=[1, 0])
    make.node("Reshape", known[3])
    pads = make.node("Cast", to=7)
    make.node("Pad", pads, x="input")
    make.conv(6, 3, 3, 3, strides=[2, 2])
    fix(make)


def strided(make: Maker) -> None:
    """AdaptiveAvgPool2d(1) and Flatten, exported with an example whose axes were moved."""
    make.conv(6, 3, 3, 3)
    make.node("ReduceMean", ints(make, 2, 3), keepdims=1)
    make.node("Reshape", ints(make, -1))
    make.node("Gather", make.array(np.arange(6).reshape(1, 6, 1, 1)), axis=0)
    make.node("Reshape", ints(make, 1, 6), allowzero=1)
    make.dense(4, 6)


def bias_computed(make: Maker) -> None:
    """A convolution without a bias, exported with optimize=False."""
    weights = make.random(6, 3, 3, 3, size=0.2)
    size = make.node("Shape", x=weights, start=0, end=1)
    zero = make.node("CastLike", "input", x=make.array(0.0))
    bias = make.node("Expand", size, x=zero)
    make.node("Conv", weights, bias, x="input")


# -- others --------------------------------------------------------------------


def pool_padded_before(make: Maker) -> None:
    """ZeroPadding2D and MaxPool2D behind a ReLU (Keras); what is below all values (LiteRT)."""
    make.conv(6, 3, 3, 3)
    make.node("Relu")
    pads = ints(make, 0, 0, 1, 1, 0, 0, 1, 0)
    make.node("Pad", pads)
    make.node("MaxPool", kernel_shape=[3, 3], strides=[2, 2])
    make.conv(6, 6, 1, 1)
    make.node("Pad", pads, make.array(np.float32(-3.4028235e38)))
    make.node("MaxPool", kernel_shape=[2, 2])
    make.conv(6, 6, 1, 1)
    make.node("Pad", pads)
    make.node("AveragePool", kernel_shape=[2, 2])


def norm_behind_relu(make: Maker) -> None:
    """Keras: a normalisation behind the activation, in front of a layer."""
    make.conv(6, 3, 3, 3)
    make.node("Relu")
    make.norm(6)
    make.conv(4, 3, 2, 3, group=2)
    make.node("Relu")
    make.norm(4)
    make.node("Flatten")
    make.dense(5, 4 * 5 * 3)
    make.node("Relu")
    make.node("Mul", make.random(5))
    make.dense(3, 5)


# -- tf2onnx -------------------------------------------------------------------


def causal(make: Maker) -> None:
    """Conv1D(padding="causal"), whose padding comes before the axes are moved."""
    make.node("Pad", ints(make, 0, 2, 0, 0, 0, 0))
    make.node("Unsqueeze", ints(make, 1))
    make.node("Transpose", perm=[0, 3, 1, 2])
    make.conv(4, 3, 1, 3)
    make.node("Squeeze", ints(make, 2))
    make.node("Relu")
    make.node("Transpose", perm=[0, 2, 1])


FIRST = [
    clamp, largest_of_all, largest_by_axes, half_windows, overlapping_half_windows, zeros_computed,
    bias_computed, pool_padded_before, norm_behind_relu,
]  # fmt: skip


@pytest.mark.parametrize("case", FIRST, ids=lambda case: case.__name__)
def test_layers_give_what_onnxruntime_gives(case: Callable, tmp_path: Path) -> None:
    make = Maker((3, 8, 7), opset=18)
    case(make)
    same(make, tmp_path)


def test_a_normalisation_in_front_is_no_layer(tmp_path: Path) -> None:
    make = Maker((3, 8, 7), opset=18)
    norm_behind_relu(make)
    made = fold.blocks(read_onnx.read(save(make.model(), tmp_path)))
    assert [block.op for block in made] == ["conv", "conv", "dense", "dense"]
    for offset, ops in ((0.5, ["conv", "depthwise", "conv"]), (0.0, ["conv", "conv"])):
        make = Maker((3, 8, 7), opset=18)
        make.conv(3, 3, 1, 1)
        make.node("Relu")
        make.node("Mul", make.array(2.0))
        make.node("Add", make.array(offset))  # around the picture is 0, which is no offset
        make.conv(3, 3, 3, 3, pads=[1, 1, 1, 1])
        assert [b.op for b in blocks(read_onnx.read(save(make.model(), tmp_path)))] == ops


def test_rows_of_a_picture_may_be_channels_over_time(tmp_path: Path) -> None:
    make = Maker((1, 5, 12))  # bands by time, as spectrograms are in PyTorch
    make.node("Squeeze", ints(make, 1))
    make.conv(4, 5, 3)
    make.node("Relu")
    made = make.model()
    x = np.random.default_rng(2).normal(0, 1, (3, 1, 5, 12)).astype(np.float32)
    graph = read_onnx.read(save(made, tmp_path))
    assert graph.shape == (1, 12, 5)  # what samples have to be
    (block,) = blocks(graph)
    found = floats.before(block, np.ascontiguousarray(x.transpose(0, 1, 3, 2)))
    wanted = theirs(made, x).transpose(0, 2, 1)[:, None]
    np.testing.assert_allclose(np.maximum(found, 0), wanted, **NEAR)


def test_square_samples_over_time_are_told_of(tmp_path: Path) -> None:
    said = []
    for first in (True, False):
        make = Maker((6, 6))
        if not first:
            make.node("Transpose", perm=[0, 2, 1])
        make.conv(4, 6, 3)
        make.node("ReduceMean", axes=[2], keepdims=0)
        path = save(make.model(), tmp_path)
        some = Data("d", np.arange(144, dtype=np.uint8).reshape(4, 6, 6), np.zeros(4, np.int64))
        graph, given = read_onnx.read(path), model.Input()
        said += model.imported(path, graph, some, given, model.Wish()).notes
    assert said == ["samples are 6 steps of 6 channels, the steps first"]


@pytest.mark.parametrize(("scale", "told"), [(None, True), (1.0, False)])
def test_a_model_that_divides_bytes_itself_is_told_of(
    scale: float | None, told: bool, tmp_path: Path
) -> None:
    make = Maker((3, 8, 8))
    make.node("Mul", make.array(1 / 127.5))  # Keras: Rescaling(1 / 127.5, -1)
    make.node("Add", make.array(-1.0))
    make.conv(4, 3, 8, 8)
    make.node("Flatten")
    some = Data("d", np.arange(384, dtype=np.uint8).reshape(2, 8, 8, 3), np.zeros(2, np.int64))
    graph = read_onnx.read(save(make.model(), tmp_path))
    notes = model.imported(tmp_path, graph, some, model.Input(scale), model.Wish()).notes
    assert ["Mul 'Mul0' (node 0) divides" in note for note in notes] == [True] * told


def test_a_batch_of_one_may_be_flattened_and_given_back(tmp_path: Path) -> None:
    make = Maker((3, 8, 7), opset=18)
    strided(make)
    one = make.model(batch=1)
    x = np.random.default_rng(2).normal(0, 1, (1, 3, 8, 7)).astype(np.float32)
    found = ours(save(one, tmp_path), x).reshape(1, 4)
    np.testing.assert_allclose(found, theirs(one, x), **NEAR)
    with pytest.raises(ModelError, match=r"Reshape2' .*: .* export with example.contiguous\(\)"):
        read_onnx.read(save(make.model(), tmp_path))  # of a batch of any size
    other = numpy_helper.from_array(np.arange(6)[::-1].reshape(1, 6, 1, 1), "c4")
    assert one.graph.initializer[4].name == "c4"
    one.graph.initializer[4].CopyFrom(other)  # in another order
    with pytest.raises(ModelError, match=r"Gather3' .*: use one path"):
        read_onnx.read(save(one, tmp_path))


def test_padding_outlives_moved_axes(tmp_path: Path) -> None:
    make = Maker((12, 3), opset=17)
    causal(make)
    same(make, tmp_path, first=False)
    make = Maker((3, 12), opset=17)
    make.node("Pad", ints(make, 0, 1, 2, 0, 0, 0))  # of channels, too
    make.conv(4, 4, 3)
    with pytest.raises(ModelError, match=r"Conv1' \(node 1\): padding of channels: only height"):
        read_onnx.read(save(make.model(), tmp_path))
    make = Maker((3, 12), opset=17)
    make.node("Pad", ints(make, 0, 0, 2, 0, 0, 0))
    make.node("Reshape", ints(make, 1, 14, 3))  # which is more than a move
    make.conv(4, 14, 3)
    with pytest.raises(ModelError, match=r"Reshape1' \(node 1\): padding in front of it: only a"):
        read_onnx.read(save(make.model(), tmp_path))


@pytest.mark.parametrize("behind", ["Identity", "Cast", "quantised", "Reshape"])
def test_what_is_behind_the_softmax_at_the_end_is_left_out(behind: str, tmp_path: Path) -> None:
    make = Maker((3, 8, 7))
    make.node("Flatten")
    before = make.dense(4, 168)
    make.node("Softmax", axis=1)
    if behind == "quantised":  # as onnxruntime's static quantisation does
        step = [make.array(0.1), make.array(np.uint8(3))]
        make.node("QuantizeLinear", *step)
        make.node("DequantizeLinear", *step)
    elif behind == "Reshape":
        make.node("Reshape", ints(make, -1, 2, 2))
    else:
        make.node(behind, **({"to": 1} if behind == "Cast" else {}))
    graph = read_onnx.read(save(make.model(), tmp_path))
    assert [block.name for block in fold.blocks(graph)] == [f"Gemm '{before}' (node 1)"]
    assert graph.nodes[-1].out_scale is None  # a step of probabilities is none of the classes'


def with_outputs(make: Maker, *kinds: int) -> onnx.ModelProto:
    """Labels beside probabilities, as skl2onnx has them."""
    made = make.model()
    probabilities = made.graph.output[0].name
    made.graph.node.append(helper.make_node("ArgMax", [probabilities], ["label"], axis=1))
    del made.graph.output[:]
    for name, kind in zip(("label", probabilities), kinds, strict=True):
        made.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    return made


def test_labels_beside_the_classes_are_left_out(tmp_path: Path) -> None:
    make = Maker((6,))
    make.dense(4, 6)
    made = with_outputs(make, onnx.TensorProto.INT64, onnx.TensorProto.FLOAT)
    made.opset_import.append(helper.make_opsetid("", 17))  # skl2onnx says it twice
    assert len(fold.blocks(read_onnx.read(save(made, tmp_path)))) == 1
    made = with_outputs(make, onnx.TensorProto.INT64, onnx.TensorProto.UNDEFINED)
    with pytest.raises(ModelError, match=r"the outputs label, Gemm0: .*skl2onnx: options={'zipm"):
        read_onnx.read(save(made, tmp_path))
    made = make.model()
    made.graph.input.append(helper.make_tensor_value_info("mean", onnx.TensorProto.FLOAT, [1]))
    with pytest.raises(ModelError, match=r"the inputs input, mean: a board's model has one: expo"):
        read_onnx.read(save(made, tmp_path))


def test_relu_behind_a_quantised_tensor_is_no_layer(tmp_path: Path) -> None:
    make = Maker((3, 8, 7))
    steps = [make.array(0.05), make.array(np.int8(0))]  # onnxruntime, ActivationSymmetric
    for _ in range(2):
        make.conv(3, 3, 1, 1)
        make.node("QuantizeLinear", *steps)
        make.node("DequantizeLinear", *steps)
        make.node("Relu")
        make.node("QuantizeLinear", *steps)
        make.node("DequantizeLinear", *steps)
    make.node("GlobalAveragePool")
    made = fold.blocks(read_onnx.read(save(make.model(), tmp_path)))
    assert [(block.op, block.low) for block in made[:2]] == [("conv", 0), ("conv", 0)]
    assert len(made) == 3

"""What exporters write around and between layers: graphs as they wrote them, made anew by hand."""

# SPDX-License-Identifier: MIT

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_models import Maker, ours, save, theirs
from test_convert_onnx import NEAR, same
from wage_host import conversion
from wage_host.convert import fold, model, read_onnx
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
    bias_computed,
]  # fmt: skip


@pytest.mark.parametrize("case", FIRST, ids=lambda case: case.__name__)
def test_layers_give_what_onnxruntime_gives(case: Callable, tmp_path: Path) -> None:
    make = Maker((3, 8, 7), opset=18)
    case(make)
    same(make, tmp_path)


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


# -- refusals ------------------------------------------------------------------


def refusal(make: Maker, folder: Path) -> str:
    """What is said of a model that cannot be."""
    with pytest.raises(ModelError) as refused:
        read_onnx.read(save(make.model(), folder))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_nodes_behind_one_that_cannot_be_are_named_too(tmp_path: Path) -> None:
    make = Maker((3, 8, 7), opset=20)
    make.conv(4, 3, 3, 3)
    make.node("Gelu")
    make.conv(4, 4, 3, 3, dilations=[2, 2])
    make.node("Relu")
    make.conv(4, 4, 1, 1)
    made = make.x
    curve = make.node("Sigmoid")
    make.node("Mul", curve, x=made)
    make.conv(4, 4, 2, 2, dilations=[1, 2])
    shape = make.node("Shape")  # of what nobody knows: neither it nor what is made of it is named
    make.node("Gather", ints(make, 0), x=shape)
    make.node("Reshape", x=make.nodes[-3].output[0])
    make.nodes[-1].input.append(make.nodes[-2].output[0])
    make.node("Softmax")  # which is not at the end
    make.node("LayerNormalization", make.random(4))
    make.dense(5, 4)
    said = refusal(make, tmp_path)
    for wanted in (
        "Gelu 'Gelu1' (node 1), Sigmoid 'Sigmoid5' (node 5): train it with Relu or Relu6",
        "Conv 'Conv2' (node 2), Conv 'Conv7' (node 7): dilation: use a larger kernel",
        "Softmax 'Softmax11' (node 11): leave it out",
        "LayerNormalization 'LayerNormalization12' (node 12): use BatchNormalization",
    ):
        assert wanted in said, said
    assert not any(op in said for op in ("Relu3", "Shape8", "Gather9", "Reshape10", "Gemm"))


def test_the_pass_that_came_further_says_why(tmp_path: Path) -> None:
    make = Maker((8, 8, 3))  # channels last, so that the first pass knows nothing of it
    make.node("Transpose", perm=[0, 3, 1, 2])
    make.conv(4, 3, 3, 3)
    make.node("Elu")
    assert refusal(make, tmp_path).endswith("Elu 'Elu2' (node 2): train it with Relu or Relu6")


def sigmoid_at_the_end(make: Maker) -> str:
    make.node("Flatten")
    make.dense(1, 168)
    make.node("Sigmoid")
    return "Sigmoid2' (node 2): end with an output for each class, and with Softmax or nothing"


def as_strided(make: Maker) -> str:
    make.conv(4, 3, 8, 7)
    make.node("Reshape", ints(make, -1))
    make.node("Gather", make.array(np.arange(4).reshape(1, 4)), axis=0)
    return "Reshape1' (node 1): a reshape that moves the batch: .*example.contiguous"


def operators_in_whole_numbers(make: Maker) -> str:
    make.node("DynamicQuantizeLinear")
    make.node("ConvInteger", make.array(np.ones((4, 3, 3, 3), np.int8)))
    return "node 0.*node 1.: give the model in floats, or quantised as QDQ"


def of_scikit_learn(make: Maker) -> str:
    make.node("Scaler")
    make.nodes[-1].domain = "ai.onnx.ml"
    return "of the domain ai.onnx.ml: of scikit-learn an MLPClassifier runs on a board"


def of_onnxruntime(make: Maker) -> str:
    make.node("FusedConv", make.random(4, 3, 3, 3))
    make.nodes[-1].domain = "com.microsoft"
    return "com.microsoft: give the model as it was before onnxruntime optimised or quantised it"


def largest_of_rows(make: Maker) -> str:
    make.node("ReduceMax", ints(make, 3), keepdims=0)
    return "ReduceMax0' (node 0): of these axes: the max of all places of each channel at once"


def two_limits(make: Maker) -> str:
    made = make.conv(3, 3, 1, 1)
    make.node("Max", made, x="input")
    return "Max1' (node 1): of two tensors: that of a tensor and a number can be"


def far_too_many_zeros(make: Maker) -> str:
    make.node("ConstantOfShape", x=ints(make, 1 << 20, 1 << 20))
    make.node("Add", make.x, x="input")
    return "ConstantOfShape0' (node 0): a large constant is computed"


@pytest.mark.parametrize("case", [
    sigmoid_at_the_end, as_strided, operators_in_whole_numbers, of_scikit_learn, of_onnxruntime,
    largest_of_rows, two_limits, far_too_many_zeros,
], ids=lambda case: case.__name__)  # fmt: skip
def test_refusals_say_what_to_do(case: Callable, tmp_path: Path) -> None:
    make = Maker((3, 8, 7), opset=18)
    wanted = case(make).replace("(", r"\(").replace(")", r"\)")
    if "ai.onnx" in wanted or "microsoft" in wanted or "QDQ" in wanted:
        wanted = wanted.replace(r"\(", "(").replace(r"\)", ")")
    with pytest.raises(ModelError, match=wanted):
        read_onnx.read(save(make.model(), tmp_path))


def test_all_projections_are_named(tmp_path: Path) -> None:
    make = Maker((4, 8, 8))
    start, projections = make.conv(4, 4, 3, 3, pads=[1, 1, 1, 1]), []
    for _ in range(2):
        branch = make.conv(4, 4, 3, 3, pads=[1, 1, 1, 1])
        projections.append(make.node("Conv", make.random(4, 4, 1, 1), x=start))
        start = make.node("Add", branch, x=projections[-1])
    make.node("GlobalAveragePool")
    make.node("Flatten")
    make.dense(3, 4)
    names = [f"Conv '{name}' (node {n})" for name, n in zip(projections, (2, 5), strict=True)]
    with pytest.raises(fold.Unfit) as refused:
        fold.blocks(read_onnx.read(save(make.model(), tmp_path)))
    assert str(refused.value).startswith(f"{', '.join(names)}: beside the path: a board runs layer")


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("net.pt", "write it with torch.onnx.export"),
        ("saved/", r"write it with model.export\('net.onnx', format='onnx'\) or TensorFlow's TFLi"),
        ("net.PKL", "write it with skl2onnx"),
        ("net", "export it as one of them"),
    ],
)
def test_files_of_other_programs_say_how_to_export(name: str, how: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.mkdir() if name.endswith("/") else path.write_bytes(b"")
    with pytest.raises(ModelError, match=rf"models are .onnx, .tflite, .+ or .npz files: {how}"):
        conversion.own(path, {"description": None})
    with pytest.raises(ModelError, match=how):
        model.read(path, None, None)


def test_more_layers_than_a_board_takes_are_refused_before_long_work(tmp_path: Path) -> None:
    make = Maker((4, 8, 8))
    for _ in range(32):
        make.conv(4, 4, 1, 1)
        make.node("Relu")
    make.node("GlobalAveragePool")
    path = save(make.model(), tmp_path)
    with pytest.raises(fold.Unfit, match=r"it has 33 layers, .*: a board takes 32: use few"):
        fold.blocks(read_onnx.read(path))


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
    blocks = fold.blocks(read_onnx.read(save(make.model(), tmp_path)))
    assert [(block.op, block.low) for block in blocks[:2]] == [("conv", 0), ("conv", 0)]
    assert len(blocks) == 3

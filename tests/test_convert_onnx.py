"""ONNX models mean the same to us as to others, or are refused by the names of their nodes."""

# SPDX-License-Identifier: MIT

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_models import Maker, in_memory, ours, save, theirs
from wage_host.convert import fold, read_onnx
from wage_host.errors import ModelError

NEAR = {"rtol": 1e-4, "atol": 1e-5}


def same(make: Maker, folder: Path, first: bool = True) -> None:
    """Our layers give what onnxruntime gives."""
    model = make.model()
    x = np.random.default_rng(2).normal(0, 1, (3, *make.shape)).astype(np.float32)
    wanted, found = theirs(model, x), ours(save(model, folder), x, first)
    shape = found.shape[1:]
    np.testing.assert_allclose(found, in_memory(wanted, shape, first), **NEAR)


def conv(make: Maker) -> None:
    make.conv(6, 3, 3, 3, pads=[1, 0, 2, 1], strides=[2, 1])


def conv_same_upper(make: Maker) -> None:
    make.conv(6, 3, 3, 4, auto_pad="SAME_UPPER", strides=[2, 2])


def conv_same_lower(make: Maker) -> None:
    make.conv(6, 3, 4, 2, auto_pad="SAME_LOWER")


def conv_valid(make: Maker) -> None:
    make.conv(6, 3, 2, 3, auto_pad="VALID", bias=False)


def conv_groups(make: Maker) -> None:
    make.conv(6, 3, 1, 1)
    make.conv(4, 3, 3, 3, group=2)


def conv_depthwise(make: Maker) -> None:
    make.conv(3, 1, 3, 3, group=3, pads=[1, 1, 1, 1])


def conv_depthwise_multiplied(make: Maker) -> None:
    make.conv(6, 1, 3, 3, group=3)


def conv_padded_before(make: Maker) -> None:
    pads = make.array(np.array([0, 0, 0, 1, 0, 0, 1, 1], np.int64))
    make.node("Pad", pads)
    make.conv(6, 3, 3, 3, strides=[2, 2])


def norm_behind(make: Maker) -> None:
    make.conv(6, 3, 3, 3)
    make.norm(6)
    make.node("Relu")


def norm_in_front(make: Maker) -> None:
    make.norm(3)
    make.conv(6, 3, 3, 3, pads=[1, 1, 1, 1])


def norm_behind_pool(make: Maker) -> None:
    make.conv(6, 3, 3, 3, pads=[1, 1, 1, 2])
    make.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    make.norm(6)


def relu6(make: Maker) -> None:
    make.conv(6, 3, 3, 3)
    make.node("Clip", make.array(0.0), make.array(0.5))


def relu_behind_pool(make: Maker) -> None:
    make.conv(6, 3, 3, 3, pads=[1, 1, 1, 1])
    make.node("MaxPool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])
    make.node("Relu")


def relu_first(make: Maker) -> None:
    make.node("Relu")
    make.conv(6, 3, 1, 1)


def relu_behind_average(make: Maker) -> None:
    make.conv(6, 3, 3, 3)
    make.node("AveragePool", kernel_shape=[2, 3], strides=[1, 2])
    make.node("Relu")


def average_counting_padding(make: Maker) -> None:
    make.conv(6, 3, 3, 3)
    make.node("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)


def average_of_all(make: Maker) -> None:
    make.conv(6, 3, 3, 3)
    make.node("GlobalAveragePool")


def mean_of_all(make: Maker) -> None:
    make.conv(6, 3, 3, 3)
    make.node("ReduceMean", axes=[2, -1], keepdims=0)
    make.dense(4, 6)


def residual(make: Maker) -> None:
    start = make.conv(4, 3, 3, 3, pads=[1, 1, 1, 1])
    make.node("Relu")
    start = make.x
    make.conv(4, 4, 3, 3, pads=[1, 1, 1, 1])
    make.node("Relu")
    make.conv(4, 4, 1, 1)
    make.node("Add", start)
    make.node("Relu")
    make.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])


def residual_the_other_way(make: Maker) -> None:
    start = make.conv(4, 3, 3, 3, pads=[1, 1, 1, 1])
    branch = make.conv(4, 4, 3, 3, pads=[1, 1, 1, 1])
    make.node("Add", branch, x=start)
    make.conv(2, 4, 3, 3)


def flat(make: Maker) -> None:
    make.conv(4, 3, 3, 3)
    make.node("Flatten")
    make.dense(5, 4 * 6 * 5)
    make.node("Relu")
    make.dense(3, 5, alpha=0.5, beta=2.0)


def reshaped(make: Maker) -> None:
    make.conv(4, 3, 3, 3)
    make.node("Reshape", make.array(np.array([0, -1], np.int64)))
    weights = make.random(4 * 6 * 5, 5, size=0.1)
    make.node("MatMul", weights)
    make.node("Add", make.random(5))


def shape_computed(make: Maker) -> None:
    """As x.view(x.size(0), -1) is exported."""
    x = make.conv(4, 3, 3, 3)
    make.node("Shape")
    size = make.node("Gather", make.array(np.array(0, np.int64)), axis=0)
    size = make.node("Unsqueeze", make.array(np.array([0], np.int64)), x=size)
    shape = make.node("Concat", make.array(np.array([-1], np.int64)), axis=0)
    make.node("Reshape", shape, x=x)
    make.dense(5, 4 * 6 * 5)


def channels_last_inside(make: Maker) -> None:
    make.conv(4, 3, 3, 3)
    make.node("Transpose", perm=[0, 2, 3, 1])
    make.node("Mul", make.array(np.array([1.0, 2.0, -1.0, 0.5])))
    make.node("Transpose", perm=[0, 3, 1, 2])
    make.conv(4, 4, 3, 3)
    make.node("Transpose", perm=[0, 2, 3, 1])
    make.node("Flatten")
    make.dense(5, 4 * 4 * 3)


def arithmetic(make: Maker) -> None:
    make.node("Sub", make.random(3, 1, 1))
    make.node("Div", make.array(np.array([[[[2.0]], [[0.5]], [[4.0]]]])))
    make.node("Mul", make.array(-1.5))
    make.conv(4, 3, 3, 3)


def alike(make: Maker) -> None:
    make.conv(4, 3, 3, 3)
    make.node("Dropout")
    make.node("Identity")


CASES: list[Callable[[Maker], None]] = [
    conv, conv_same_upper, conv_same_lower, conv_valid, conv_groups, conv_depthwise,
    conv_depthwise_multiplied, conv_padded_before, norm_behind, norm_in_front, norm_behind_pool,
    relu6, relu_behind_pool, relu_first, relu_behind_average, average_counting_padding,
    average_of_all, mean_of_all, residual, residual_the_other_way, flat, reshaped, shape_computed,
    channels_last_inside, arithmetic, alike,
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_layers_give_what_onnxruntime_gives(case: Callable, tmp_path: Path) -> None:
    make = Maker((3, 8, 7), opset=13 if case is not mean_of_all else 17)
    case(make)
    same(make, tmp_path)


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_one_dimension(opset: int, tmp_path: Path) -> None:
    make = Maker((5, 20), opset=opset)
    make.conv(6, 5, 5, pads=[2, 1], strides=[2])
    make.norm(6)
    make.node("Relu")
    make.node("MaxPool", kernel_shape=[2], strides=[2])
    make.conv(6, 1, 3, group=6)
    make.node("AveragePool", kernel_shape=[2])
    make.node("Flatten")
    make.dense(4, 6 * 2)
    same(make, tmp_path)


def test_channels_last_inputs_as_tf2onnx_has_them(tmp_path: Path) -> None:
    make = Maker((8, 7, 3))
    make.node("Transpose", perm=[0, 3, 1, 2])
    make.conv(4, 3, 3, 3)
    make.node("Transpose", perm=[0, 2, 3, 1])
    make.node("Reshape", make.array(np.array([-1, 6 * 5 * 4], np.int64)))
    make.dense(3, 6 * 5 * 4)
    same(make, tmp_path, first=False)


def test_softmax_at_the_end_is_left_out(tmp_path: Path) -> None:
    make = Maker((3, 8, 7))
    make.node("Flatten")
    before = make.dense(4, 168)
    make.node("Softmax", axis=1)
    blocks = fold.blocks(read_onnx.read(save(make.model(), tmp_path)))
    assert [block.name for block in blocks] == [f"Gemm '{before}' (node 1)"]


def test_all_nodes_that_cannot_be_are_named_at_once(tmp_path: Path) -> None:
    make = Maker((3, 8, 7))
    make.conv(4, 3, 3, 3, dilations=[2, 2])
    make.node("Sigmoid")
    other = make.node("LeakyRelu", x="input")
    make.node("Concat", other, x="Sigmoid1", axis=1)
    with pytest.raises(ModelError) as refused:
        read_onnx.read(save(make.model(), tmp_path))
    text = str(refused.value)
    assert "Conv 'Conv0' (node 0): dilation: use a larger kernel" in text
    assert "LeakyRelu 'LeakyRelu2' (node 2): train it with Relu" in text
    assert "\n" not in text


def test_what_is_beside_the_path_is_refused_by_name(tmp_path: Path) -> None:
    make = Maker((4, 8, 7))
    start = make.conv(4, 4, 3, 3, pads=[1, 1, 1, 1])
    branch = make.conv(4, 4, 3, 3, pads=[1, 1, 1, 1])
    projection = make.node("Conv", make.random(4, 4, 1, 1), x=start)
    make.node("Add", branch, x=projection)
    make.node("GlobalAveragePool")
    make.node("Flatten")
    make.dense(3, 4)
    with pytest.raises(fold.Unfit, match=projection):
        fold.blocks(read_onnx.read(save(make.model(), tmp_path)))


def test_opsets_and_sizes(tmp_path: Path) -> None:
    for opset, text in ((12, "has opset 12"), (22, "has opset 22")):
        make = Maker((3, 8, 7), opset=opset)
        make.conv(4, 3, 3, 3)
        with pytest.raises(ModelError, match=text):
            read_onnx.read(save(make.model(), tmp_path))
    make = Maker((3, 8, 7))
    make.conv(4, 3, 3, 3)
    with pytest.raises(ModelError, match="a batch of 2"):
        read_onnx.read(save(make.model(batch=2), tmp_path))
    make = Maker((3, "height", 7))
    make.conv(4, 3, 3, 3)
    with pytest.raises(ModelError, match="no fixed size"):
        read_onnx.read(save(make.model(), tmp_path))
    make = Maker((3, 4000, 7000))
    make.conv(4, 3, 3, 3)
    with pytest.raises(ModelError, match="too large"):
        read_onnx.read(save(make.model(), tmp_path))


def test_weights_in_a_file_beside_the_model(tmp_path: Path) -> None:
    make = Maker((3, 8, 7))
    make.conv(64, 3, 3, 3)
    model = make.model()
    x = np.ones((1, 3, 8, 7), np.float32)
    wanted = in_memory(theirs(model, x), (6, 5, 64))
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="model.data", size_threshold=0)
    np.testing.assert_allclose(ours(path, x), wanted, **NEAR)
    for location, text in (("../model.data", "beside the model"), ("none", "beside the model")):
        moved = onnx.load(path, load_external_data=False)
        moved.graph.initializer[0].external_data[0].value = location
        path.write_bytes(moved.SerializeToString())
        with pytest.raises(ModelError, match=text):
            read_onnx.read(path)
    onnx.save(model, path, save_as_external_data=True, location="model.data", size_threshold=0)
    (tmp_path / "model.data").write_bytes(b"\0" * 8)
    with pytest.raises(ModelError, match="too short"):
        read_onnx.read(path)


# -- the ONNX package's own tests ------------------------------------------

WANTED = {
    "Conv", "Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "BatchNormalization", "Relu", "Clip",
    "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean", "Flatten", "Reshape", "Transpose",
    "Squeeze", "Unsqueeze", "QuantizeLinear", "DequantizeLinear", "Softmax", "LogSoftmax",
    "Identity", "Dropout", "Pad", "Constant", "Cast", "Shape", "Concat", "Gather", "Slice", "Max",
    "Min", "GlobalMaxPool", "ReduceMax", "CastLike", "ConstantOfShape", "Expand",
}  # fmt: skip
MOVES = {"Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Dropout",
         "Softmax", "LogSoftmax", "Pad", "Cast"}  # fmt: skip
CONVERTED = {
    "test_basic_conv_with_padding", "test_basic_conv_without_padding",
    "test_conv_with_strides_padding", "test_conv_with_strides_no_padding",
    "test_conv_with_strides_and_asymmetric_padding", "test_conv_with_autopad_same",
    "test_maxpool_2d_default", "test_maxpool_2d_pads", "test_maxpool_2d_same_upper",
    "test_maxpool_2d_same_lower", "test_maxpool_2d_strides", "test_maxpool_1d_default",
    "test_averagepool_2d_default", "test_averagepool_2d_pads_count_include_pad",
    "test_averagepool_2d_strides", "test_globalaveragepool", "test_globalmaxpool",
    "test_maxpool_2d_ceil", "test_maxpool_2d_ceil_output_size_reduce_by_one", "test_relu",
    "test_batchnorm_example",
    "test_batchnorm_epsilon", "test_gemm_transposeB", "test_gemm_default_zero_bias",
}  # fmt: skip


def node_tests() -> list:
    """Those of one supported operator."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    return [c for c in cases if {n.op_type for n in c.model.graph.node} <= WANTED]


def alone(model: onnx.ModelProto, inputs: list) -> onnx.ModelProto | None:
    """The model with all inputs but the first as constants, a batch of any size, opset 21."""
    one = onnx.ModelProto()
    one.CopyFrom(model)
    names = [i.name for i in one.graph.input]
    if not names or not all(isinstance(v, np.ndarray) for v in inputs[: len(names)]):
        return None
    for name, value in list(zip(names, inputs, strict=False))[1:]:
        one.graph.initializer.append(numpy_helper.from_array(value, name))
    del one.graph.input[1:]
    dims = one.graph.input[0].type.tensor_type.shape.dim
    if dims:
        dims[0].ClearField("dim_value")
        dims[0].dim_param = "n"
    del one.opset_import[:]
    one.opset_import.append(helper.make_opsetid("", 21))
    return one


def test_backend_node_tests_convert_or_are_refused_by_name(tmp_path: Path) -> None:
    right, refused = set(), 0
    for case in node_tests():
        inputs, outputs = case.data_sets[0]
        model = alone(case.model, inputs)
        if model is None or len(inputs[0].shape if hasattr(inputs[0], "shape") else ()) < 2:
            continue
        ops = {n.op_type for n in model.graph.node}
        path = save(model, tmp_path)
        try:
            found = [ours(path, np.asarray(inputs[0]), first) for first in (True, False)]
        except (ModelError, fold.Unfit) as error:
            text = str(error)
            assert any(op in text for op in ops) or "input" in text or "output" in text, text
            refused += 1
            continue
        if not ops & {"QuantizeLinear", "DequantizeLinear"}:  # those only say how fine it is
            wanted = [
                in_memory(np.asarray(outputs[0]), found[0].shape[1:], first)
                for first in (True, False)  # where the channels are, no single node says
            ]
            pairs = zip(found, wanted, strict=True)
            assert any(np.allclose(a, b, 1e-3, 1e-4) for a, b in pairs), case.name
        right.add(case.name)
    assert right >= CONVERTED, CONVERTED - right
    assert refused > 100, refused

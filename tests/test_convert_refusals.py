"""What is said of models that cannot be: all nodes, the reason of each, and what to do instead."""

# SPDX-License-Identifier: MIT

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx_models import Maker, save
from test_convert_exports import ints
from wage_host import conversion
from wage_host.convert import fold, model, read_onnx
from wage_host.errors import ModelError


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
    assert refusal(make, tmp_path).endswith(
        "cannot be converted: Elu 'Elu2' (node 2): train it with Relu or Relu6"
    )


def test_what_is_behind_an_activation_is_looked_at_too(tmp_path: Path) -> None:
    make = Maker((3, 8, 8))
    make.node("Tanh")
    make.node("Clip", make.array(1.0), make.array(3.0))
    said = refusal(make, tmp_path)
    assert "Tanh 'Tanh0' (node 0): train it with Relu" in said
    assert "Clip 'Clip1' (node 1): a clip to 1 … 3: from 0, or as far below it" in said


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


def zeros_around_values_below(make: Maker) -> str:
    make.conv(4, 3, 3, 3)
    make.node("Pad", ints(make, 0, 0, 1, 1, 0, 0, 1, 1))
    make.node("MaxPool", kernel_shape=[2, 2])
    return "MaxPool2' (node 2): padding in front of it, not of its own kind: let the pool pad"


def padded_with_ones(make: Maker) -> str:
    make.node("Pad", ints(make, 0, 0, 1, 1, 0, 0, 1, 1), make.array(1.0))
    make.conv(4, 3, 3, 3)
    return "Pad0' (node 0): padding with other than zeros: use zeros"


def least_around_a_convolution(make: Maker) -> str:
    make.node("Pad", ints(make, 0, 0, 1, 1, 0, 0, 1, 1), make.array(-np.inf))
    make.conv(4, 3, 3, 3)
    return "Conv1' (node 1): padding with other than zeros in front of it: use zeros"


def far_too_many_zeros(make: Maker) -> str:
    make.node("ConstantOfShape", x=ints(make, 1 << 20, 1 << 20))
    make.node("Add", make.x, x="input")
    return "ConstantOfShape0' (node 0): a large constant is computed"


@pytest.mark.parametrize("case", [
    sigmoid_at_the_end, as_strided, operators_in_whole_numbers, of_scikit_learn, of_onnxruntime,
    largest_of_rows, two_limits, far_too_many_zeros, zeros_around_values_below, padded_with_ones,
    least_around_a_convolution,
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


def test_arrays_are_named_that_could_be_meant(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    np.savez(path, **{"fc1.weight": np.ones((4, 3)), "fc2.weight": np.ones((2, 4)), "norm.eps": 0})
    with pytest.raises(ModelError, match=r"no array fc3.weight: .* --tensors, of fc1, fc2$"):
        model.read(path, "1x1x3 4FC 2FC", "fc1,fc3")


def test_half_precision_that_numpy_does_not_know_is_refused(tmp_path: Path) -> None:
    path, data = tmp_path / "m.safetensors", b"\0" * 4
    head = b'{"a.weight":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    path.write_bytes(len(head).to_bytes(8, "little") + head + data)
    with pytest.raises(ModelError, match=r"save it again, as with .float\(\)"):
        model.read(path, "1x1x3 4FC 2FC", "a,b")

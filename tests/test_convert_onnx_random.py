"""Random ONNX models mean the same to us as to onnxruntime, or are refused: none is mistaken."""

# SPDX-License-Identifier: MIT

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_models import Maker, in_memory, save, theirs
from wage_host.convert import floats, fold, read_onnx
from wage_host.errors import ModelError

FEWEST = 5  # of a hundred models that are converted, and that are refused
STEP = 0.05  # of whole numbers between QuantizeLinear and DequantizeLinear


class Random(Maker):
    """A model that grows by random nodes; `now`: the shape of its last tensor, by its axes."""

    def __init__(self, seed: int):
        self.dice = np.random.default_rng(seed)
        size = self.dice.integers(3, 8, 2 if self.chance(0.8) else 1).tolist()
        super().__init__((int(self.dice.integers(1, 5)), *size), seed=seed)
        self.now = list(self.shape)
        self.seen: list[tuple[str, list[int]]] = []

    def chance(self, share: float) -> bool:
        """True in this share of cases."""
        return bool(self.dice.random() < share)

    def one(self, *values: object) -> object:
        """One of the values."""
        return values[self.dice.integers(len(values))]

    def grow(self) -> None:
        """One node more; none when onnxruntime does not run it."""
        kept, before = len(self.nodes), (self.x, self.now)
        self.seen.append(before)
        step = self.one(*STEPS)
        if step in (conv, pool) and len(self.now) not in (2, 3):
            return
        step(self)
        try:
            out = theirs(self.model(), np.zeros((2, *self.shape), np.float32))
        except Exception:  # whatever onnxruntime raises for sizes that do not fit
            out = None
        shape = out.shape if out is not None and out.dtype == np.float32 else ()
        if len(shape) < 2 or shape[0] != 2 or not 0 < out.size < 4000:
            del self.nodes[kept:]
            self.x, self.now = before
        else:
            self.now = list(shape[1:])

    def finish(self) -> None:
        """Classes at the end."""
        if len(self.now) != 1:
            self.node("Flatten")
        self.dense(4, int(np.prod(self.now)))


def windows(make: Random) -> dict[str, object]:
    """Kernel, stride and padding."""
    rank = len(make.now) - 1
    if make.chance(0.4):  # which keep the size
        return {"kernel_shape": [3] * rank, "strides": [1] * rank, "pads": [1] * 2 * rank}
    kernel, stride = (make.dice.integers(1, 4, rank).tolist() for _ in range(2))
    if make.chance(0.2):
        return {"kernel_shape": kernel, "strides": stride,
                "auto_pad": make.one("SAME_UPPER", "SAME_LOWER", "VALID")}  # fmt: skip
    pads = make.dice.integers(0, 2, 2 * rank).tolist()
    return {"kernel_shape": kernel, "strides": stride, "pads": pads}


def conv(make: Random) -> None:
    about, inside = windows(make), make.now[0]
    groups = make.one(1, 1, inside)
    out = groups * int(make.dice.integers(1, 4)) if make.chance(0.5) else inside
    bias = make.chance(0.6)
    make.conv(out, inside // groups, *about["kernel_shape"], bias=bias, group=groups, **about)


def norm(make: Random) -> None:
    make.norm(make.now[0])


def relu(make: Random) -> None:
    make.node("Relu")


def clip(make: Random) -> None:
    low, high = make.one((0, 1), (0, 6), (-1, 1), (None, 1), (-1, None), (0, None), (0.2, 3))
    ends = ["" if end is None else make.array(float(end)) for end in (low, high)]
    make.node("Clip", *ends)


def pool(make: Random) -> None:
    op, about = make.one("MaxPool", "AveragePool"), windows(make)
    about |= {"count_include_pad": 1} if op == "AveragePool" and make.chance(0.7) else {}
    make.node(op, **about)


def average(make: Random) -> None:
    if make.chance(0.5):
        make.node("GlobalAveragePool")
    else:
        make.node("ReduceMean", axes=make.one([2, 3], [-1, -2], [1], [-1]), keepdims=make.one(0, 1))


def add(make: Random) -> None:
    alike = [name for name, shape in make.seen if shape == make.now]
    make.node("Add", make.one(*alike))


def constant(make: Random) -> None:
    channels, rank = make.now[0], len(make.now) - 1
    shape = make.one((1,), (channels, *[1] * rank), (1, channels, *[1] * rank), make.now[-1:])
    values = make.dice.normal(0, 1, shape)
    make.node(make.one("Add", "Sub", "Mul", "Div"), make.array(values + 2.0))


def moved(make: Random) -> None:
    rank, size = len(make.now), int(np.prod(make.now))
    axes = [int(a) for a in make.dice.permutation(rank)]
    shape = make.one([0, -1], [-1, size], [0, *make.now[::-1]], [0, make.now[0], -1])
    what = make.one("Transpose", "Reshape", "Flatten", "Unsqueeze", "Squeeze")
    if what == "Transpose":
        make.node(what, perm=[0, *(a + 1 for a in axes)])
    elif what == "Flatten":
        make.node(what, axis=make.one(1, -rank, 2))
    else:
        make.node(what, make.array(np.array(shape if what == "Reshape" else [-1], np.int64)))


def product(make: Random) -> None:
    make.node("MatMul", make.random(make.now[-1], 5))


def cast(make: Random) -> None:
    make.node("Cast", to=make.one(onnx.TensorProto.FLOAT, onnx.TensorProto.INT32))
    make.node("Cast", to=onnx.TensorProto.FLOAT)


def whole(make: Random) -> None:
    """Whole numbers for a while; they reach far enough for all that is met here."""
    zero = make.array(np.int8(0))
    make.node("QuantizeLinear", make.array(STEP), zero)
    if make.chance(0.3):
        make.node("MaxPool", kernel_shape=[2, 2])
    make.node("DequantizeLinear", make.array(make.one(STEP, STEP, 2 * STEP)), zero)


STEPS: list[Callable[[Random], None]] = [
    conv, conv, conv, norm, relu, relu, clip, pool, pool, average, add, add, constant, moved, moved,
    product, cast, whole,
]  # fmt: skip


@pytest.mark.parametrize("count", [400, pytest.param(5_000, marks=pytest.mark.soak)])
def test_random_models_are_converted_right_or_refused(
    count: int, tmp_path: Path, seed: int
) -> None:
    right = refused = 0
    for number in range(seed, seed + count):
        make = Random(number)
        for _ in range(int(make.dice.integers(2, 9))):
            make.grow()
        make.finish()
        model = make.model()
        x = make.dice.normal(0, 1, (3, *make.shape)).astype(np.float32)
        wanted = theirs(model, x)
        try:
            graph = read_onnx.read(save(model, tmp_path))
            blocks = fold.blocks(graph)
        except (ModelError, fold.Unfit):
            refused += 1
            continue
        views = [(x, True), (x, False)]  # where the channels of the input are, no model need say
        views += [(x[:, 0], True)] if x.shape[1] == 1 else []  # or they are rows of a picture
        found = [
            list(floats.run(blocks, in_memory(one, graph.shape, first))) for one, first in views
        ]
        nodes, near = [node.op_type for node in make.nodes], 1e-3
        if "QuantizeLinear" in nodes:
            if max(np.abs(out).max() for run in found for out in run) > 127 * STEP:
                continue  # too large for whole numbers
            near = 0.2
        most = near * max(1.0, float(np.abs(wanted).max()))
        ends = [run[-1].reshape(len(x), -1) for run in found]
        assert any(np.allclose(end, wanted, 1e-3, most) for end in ends), (number, nodes)
        right += 1
    assert min(right, refused) > count * FEWEST // 100, (right, refused)

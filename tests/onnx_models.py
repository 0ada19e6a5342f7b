"""Small ONNX models for tests, made node by node, run by onnxruntime and by our layers."""

# SPDX-License-Identifier: MIT

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from wage_host.convert import floats, fold, read_onnx
from wage_host.convert.graph import Graph

CALM = onnxruntime.SessionOptions()
CALM.intra_op_num_threads = CALM.inter_op_num_threads = 1
CALM.log_severity_level = 3


class Maker:
    """Nodes one behind the other; `x` is the output of the last one."""

    def __init__(self, shape: Sequence[int], opset: int = 17, seed: int = 1):
        self.shape, self.opset, self.draws = tuple(shape), opset, np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.arrays: list[Any] = []
        self.x = "input"

    def array(self, values: Any, name: str | None = None) -> str:
        """A constant; floats become float32."""
        values = np.asarray(values)
        values = values.astype(np.float32) if values.dtype == np.float64 else values
        name = name or f"c{len(self.arrays)}"
        self.arrays.append(numpy_helper.from_array(values, name))
        return name

    def random(self, *shape: int, size: float = 1.0) -> str:
        """A constant of random floats."""
        return self.array(self.draws.normal(0, size, shape))

    def node(self, op: str, *more: str, x: str | None = None, **settings: Any) -> str:
        """A node on `x`; `more`: its other inputs."""
        out = f"{op}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [x or self.x, *more], [out], name=out, **settings))
        self.x = out
        return out

    def conv(self, out: int, inside: int, *kernel: int, bias: bool = True, **settings: Any) -> str:
        """A convolution with random weights."""
        size = (inside * int(np.prod(kernel))) ** -0.5
        more = [self.random(out, inside, *kernel, size=size)]
        more += [self.random(out, size=0.1)] if bias else []
        return self.node("Conv", *more, **settings)

    def dense(self, out: int, inside: int, **settings: Any) -> str:
        """A Gemm with random weights (out, in)."""
        weights = self.random(out, inside, size=inside**-0.5)
        return self.node("Gemm", weights, self.random(out, size=0.1), transB=1, **settings)

    def norm(self, channels: int) -> str:
        """A BatchNormalization that has learned something."""
        spread = self.array(np.abs(self.draws.normal(1, 0.5, channels)) + 0.1)
        factors = self.draws.normal(1, 0.3, channels)
        factors[0] *= -1  # which turns the largest into the least
        parts = [self.array(factors), self.random(channels, size=0.2)]
        return self.node("BatchNormalization", *parts, self.random(channels, size=0.2), spread)

    def model(self, batch: int | str = "n") -> onnx.ModelProto:
        """The model."""
        kind = onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes, "test",
            [helper.make_tensor_value_info("input", kind, [batch, *self.shape])],
            [helper.make_tensor_value_info(self.x, kind, None)], self.arrays,
        )  # fmt: skip
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def save(model: onnx.ModelProto, folder: Path) -> Path:
    """The model as a file."""
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def theirs(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """What onnxruntime gives."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), CALM)
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def blocks(graph: Graph) -> list[fold.Block]:
    """The layers, whether or not they end in classes."""
    return fold._Folded(graph).run()


def in_memory(x: np.ndarray, shape: Sequence[int], first: bool = True) -> np.ndarray:
    """Samples (n, …) as they lie in memory, (n, h, w, c)."""
    if first and x.ndim > 2:
        x = np.moveaxis(x, 1, -1)
    return np.ascontiguousarray(x).reshape(len(x), *shape)


def ours(path: Path, x: np.ndarray, first: bool = True) -> np.ndarray:
    """What our layers give, (n, h, w, c)."""
    graph = read_onnx.read(path)
    given = in_memory(x.astype(np.float32), graph.shape, first)
    for out in floats.run(blocks(graph), given):
        last = out
    return last

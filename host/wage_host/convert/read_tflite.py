"""TFLite files, in floats or quantised to int8."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from wage_host.convert import graph
from wage_host.convert.graph import Builder, Graph, Tensor, Unsupported
from wage_host.convert.source import Troubles, read_whole, refusal, shown, wanted
from wage_host.convert.weights import Weights
from wage_host.errors import ModelError

OPERATORS_MAX = 500
SETTINGS_MAX = 64
DAMAGED = (
    struct.error, IndexError, ValueError, TypeError, KeyError, AttributeError, OverflowError,
    AssertionError, MemoryError,
)  # fmt: skip
DTYPES = {  # TensorType
    0: "<f4", 1: "<f2", 2: "<i4", 3: "u1", 4: "<i8", 7: "<i2", 9: "i1", 10: "<f8",
}  # fmt: skip
CURVES = ("LOGISTIC", "HARD_SWISH", "GELU", "LEAKY_RELU", "PRELU", "ELU", "TANH")
KEEP = (*CURVES, "RELU", "RELU6", "MAXIMUM", "MINIMUM", "ADD", "SUB", "MUL", "DIV", "SOFTMAX")
INSTEAD = {
    **dict.fromkeys(CURVES, "train it with ReLU or ReLU6"),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "use convolutions over time",
    "CONCATENATION": "use one path, with residual sums where it needs",
}
USUAL = "leave it out of the model, or replace it"
ACTIVATIONS = {1: (0.0, math.inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}  # ActivationFunctionType
AT_END = ("SOFTMAX", "LOG_SOFTMAX")
ALIKE = ("QUANTIZE", "DEQUANTIZE")
SHAPED = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")


def read(path: Path) -> Graph:
    """The graph of a TFLite file; ModelError names all nodes that a board cannot run."""
    tflite = wanted("tflite", "tflite")
    data = read_whole(path)
    damaged = ModelError(f"{path} is no TFLite model, or is damaged: convert it again")
    if data[4:8] != b"TFL3":
        raise damaged
    try:
        model = tflite.Model.GetRootAsModel(data, 0)
        if model.SubgraphsLength() != 1:
            raise ModelError(f"{path} has {model.SubgraphsLength()} graphs: one can be")
        troubles = []
        for first in (False, True):  # some have the channels first
            reader = Reader(tflite, path, model, len(data), first)
            made = reader.read()
            if made is not None:
                return made
            troubles.append(reader.troubles)
            del reader
    except DAMAGED:
        raise damaged from None
    raise refusal(path, troubles)


class Reader:
    """One pass over a model whose input has its channels last, or first."""

    def __init__(self, tflite: Any, path: Path, model: Any, size: int, first: bool):
        self.size, self.first = size, first
        self.tflite, self.path, self.model, self.g = tflite, path, model, model.Subgraphs(0)
        self.names = {v: k for k, v in vars(tflite.BuiltinOperator).items() if k.isupper()}
        self.tensors: dict[int, Tensor] = {}
        self.constants: dict[int, Weights] = {}  # that are made from others
        self.troubles = Troubles()
        self.ends: set[int] = set()  # what the output is, but for operators that change no class

    def read(self) -> Graph | None:
        """The graph, or None: `troubles` has why."""
        inputs, outputs = self._list(self.g.Inputs, self.g.InputsLength()), self._list(
            self.g.Outputs, self.g.OutputsLength()
        )
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelError(
                f"{self.path} has {len(inputs)} inputs and {len(outputs)} outputs: a board's model "
                "has one of each"
            )
        shape = self._shape(inputs[0])
        try:
            if shape[0] not in (1, -1):
                raise Unsupported(f"a batch of {shape[0]}: convert it with a batch of 1")
            self.builder = Builder(shape[1:], self.first, self.size)
        except Unsupported as why:
            raise ModelError(f"{self.path}: its input: {why}") from None
        self.tensors[inputs[0]] = self.builder.input
        for number, node in self._needed(outputs[0]):
            self._node(number, node)
        if self.troubles:
            return None
        if outputs[0] not in self.tensors:
            raise ModelError(f"{self.path}: its output does not come from its input")
        about = self._input_step(inputs[0])
        return self.builder.finish(self.tensors[outputs[0]], first=self.first, **about)

    @staticmethod
    def _list(get: Callable[[int], int], count: int) -> list[int]:
        if count > OPERATORS_MAX:
            raise ValueError(count)
        return [get(k) for k in range(count)]

    def _input_step(self, at: int) -> dict[str, Any]:
        t = self.g.Tensors(at)
        q = t.Quantization()
        if t.Type() not in (3, 9) or q is None or q.ScaleLength() != 1:
            return {}
        zero = q.ZeroPoint(0) if q.ZeroPointLength() else 0
        return {"input_scale": q.Scale(0), "input_zero": zero - (128 if t.Type() == 3 else 0)}

    def _needed(self, output: int) -> Iterator[tuple[int, Any]]:
        """Operators that the output needs, in order, with their numbers."""
        count = self.g.OperatorsLength()
        if count > OPERATORS_MAX:
            raise ModelError(f"{self.path} has {count} operators: no board takes so many")
        needed, found, self.ends = {output}, [], {output}
        for number in reversed(range(count)):
            node = self.g.Operators(number)
            outputs = self._list(node.Outputs, node.OutputsLength())
            if needed.intersection(outputs):
                inputs = self._list(node.Inputs, node.InputsLength())
                shaped = self._name(node) in SHAPED  # by the output's shape, known already
                needed.update(inputs[:1] if shaped else inputs)
                if self._name(node) in ALIKE and node.Outputs(0) in self.ends:
                    self.ends.add(node.Inputs(0))
                found.append((number, node))
        return reversed(found)

    def _name(self, node: Any) -> str:
        code = self.model.OperatorCodes(node.OpcodeIndex())
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        return self.names.get(number, f"operator {number}")

    def _node(self, number: int, node: Any) -> None:
        """Takes one operator; what it cannot be goes to the troubles."""
        op, out = self._name(node), node.Outputs(0)
        where = f"{op} '{shown(self.g.Tensors(out).Name() or b'')}' (node {number})"
        inputs = self._list(node.Inputs, node.InputsLength())
        live = [n for n in inputs if n in self.tensors]
        try:
            if not live and op in ALIKE and self._constant(inputs[0]):
                self.constants[out] = self.weights(inputs[0])  # weights in 16-bit floats
            elif not live:
                self._behind_trouble(node, inputs)
            elif (op in AT_END and out in self.ends) or op in ALIKE:
                self.tensors[out] = self.tensors[live[0]]
            elif op in TAKES:
                TAKES[op](self, node, where)
            else:
                raise Unsupported(self._instead(node))
        except Unsupported as why:
            self.troubles.add(number, where, str(why))
            if live and op in KEEP and not self.builder.full:  # what is behind is looked at
                self.tensors[out] = self.tensors[live[0]]

    def _behind_trouble(self, node: Any, inputs: list[int]) -> None:
        """An operator whose input one in trouble would have given: is it one, too?"""
        if not self.troubles or all(map(self._constant, inputs)):
            raise Unsupported(f"computes a constant: {USUAL}")
        if self._name(node) not in (*TAKES, *ALIKE, *AT_END):
            raise Unsupported(self._instead(node))

    def _instead(self, node: Any) -> str:
        """What to do about an operator that a board does not run."""
        if self._name(node) == "LOGISTIC" and node.Outputs(0) in self.ends:
            return "end with an output for each class, and with a softmax or nothing behind them"
        return INSTEAD.get(self._name(node), USUAL)

    def _constant(self, at: int) -> bool:
        return at < 0 or at in self.constants or self._raw(at) is not None

    # -- values ------------------------------------------------------------

    def _shape(self, at: int) -> tuple[int, ...]:
        t = self.g.Tensors(at)
        if t.ShapeLength() > 8:
            raise ValueError("rank")
        return tuple(t.Shape(k) for k in range(t.ShapeLength()))

    def _raw(self, at: int) -> np.ndarray | None:
        """The bytes of a constant tensor."""
        data = self.model.Buffers(self.g.Tensors(at).Buffer()).DataAsNumpy()
        return None if isinstance(data, int) or not len(data) else data

    def value(self, at: int) -> np.ndarray:
        """A small constant, whole numbers."""
        found = self.weights(at)
        if found.factors or found.size > SETTINGS_MAX:
            raise Unsupported("its settings are no whole numbers, or too many")
        return found.stored

    def weights(self, at: int) -> Weights:
        """A constant, in floats or whole numbers with a scale."""
        if at in self.constants:
            return self.constants[at]
        t, raw = self.g.Tensors(at), self._raw(at)
        if raw is None:
            raise Unsupported("its weights or settings are computed, not constant")
        if t.Type() not in DTYPES:
            raise Unsupported("its weights have a type that is not read: use floats or int8")
        values = raw.view(DTYPES[t.Type()]).reshape(self._shape(at))
        q = t.Quantization()
        if values.dtype.kind == "f" or q is None or not q.ScaleLength():
            return Weights.of(values)
        scale = np.asarray(q.ScaleAsNumpy(), np.float64)
        zero = np.asarray(q.ZeroPointAsNumpy() if q.ZeroPointLength() else 0, np.float64)
        self.builder.take(scale.nbytes + zero.nbytes)
        if scale.size > 1:
            by = [1] * values.ndim
            by[q.QuantizedDimension()] = -1
            scale, zero = scale.reshape(by), zero.reshape(by) if zero.size > 1 else zero
        return Weights.of(values, zero, scale)

    def options(self, node: Any, kind: str) -> Any:
        """The options of an operator."""
        table = node.BuiltinOptions()
        made = getattr(self.tflite, kind)()
        if table is None:
            raise Unsupported("it has no options")
        made.Init(table.Bytes, table.Pos)
        return made

    def tensor(self, node: Any, at: int = 0) -> Tensor:
        """Input number `at`, which is no constant."""
        if node.Inputs(at) not in self.tensors:
            raise Unsupported("its data are constant and its weights are not")
        return self.tensors[node.Inputs(at)]

    def behind(self, node: Any, where: str, t: Tensor, activation: int = 0) -> None:
        """The output of an operator, through the activation that is part of it."""
        if activation:
            if activation not in ACTIVATIONS:
                raise Unsupported("its activation: ReLU and ReLU6 can be")
            t = self.builder.clip(where, t, *ACTIVATIONS[activation])
        self.tensors[node.Outputs(0)] = t

    def bias(self, node: Any) -> Weights | None:
        """Input number 2, if there is one."""
        none = node.InputsLength() < 3 or node.Inputs(2) < 0
        return None if none else self.weights(node.Inputs(2))

    # -- what a board runs -------------------------------------------------

    def conv(self, node: Any, where: str) -> None:
        """CONV_2D, DEPTHWISE_CONV_2D."""
        deep = self._name(node) == "DEPTHWISE_CONV_2D"
        options = self.options(node, "DepthwiseConv2DOptions" if deep else "Conv2DOptions")
        if (options.DilationHFactor(), options.DilationWFactor()) != (1, 1):
            raise Unsupported("dilation: use a larger kernel, or a stride")
        w, t = self.weights(node.Inputs(1)), self.tensor(node)
        if w.ndim != 4:
            raise Unsupported("its weights are no picture of four axes")
        channels = t.order.shape[-1]
        if deep:
            w, groups = w.moved(lambda a: a.transpose(3, 1, 2, 0)), channels
        else:
            groups = channels // w.shape[3] if w.shape[3] and channels % w.shape[3] == 0 else 0
        stride = options.StrideH(), options.StrideW()
        made = self.builder.conv(
            where, t, w, self.bias(node), stride, self._padding(options), groups, False
        )
        self.behind(node, where, made, options.FusedActivationFunction())

    @staticmethod
    def _padding(options: Any) -> str | tuple[int, int, int, int]:
        return (0, 0, 0, 0) if options.Padding() else "same"

    def dense(self, node: Any, where: str) -> None:
        """FULLY_CONNECTED."""
        options, t = self.options(node, "FullyConnectedOptions"), self.tensor(node)
        w = self.weights(node.Inputs(1))
        if options.WeightsFormat() or w.ndim != 2:
            raise Unsupported("its weights are shuffled: convert the model without")
        if not options.KeepNumDims():
            t = self.builder.reshape(t, (-1,))
        made = self.builder.dense(where, t, w, self.bias(node))
        self.behind(node, where, made, options.FusedActivationFunction())

    def pool(self, node: Any, where: str) -> None:
        """MAX_POOL_2D, AVERAGE_POOL_2D."""
        options = self.options(node, "Pool2DOptions")
        op = graph.MAX if self._name(node) == "MAX_POOL_2D" else graph.AVERAGE
        kernel = options.FilterHeight(), options.FilterWidth()
        stride = options.StrideH(), options.StrideW()
        made = self.builder.pool(
            where, op, self.tensor(node), kernel, stride, self._padding(options), False
        )
        self.behind(node, where, made, options.FusedActivationFunction())

    def reduce(self, node: Any, where: str) -> None:
        """MEAN, REDUCE_MAX over all places."""
        op = graph.MAX if self._name(node) == "REDUCE_MAX" else graph.AVERAGE
        t, keep = self.tensor(node), self.options(node, "ReducerOptions").KeepDims()
        rank = t.order.ndim + 1
        axes = [int(a) % rank - 1 for a in self.value(node.Inputs(1)).reshape(-1)]
        self.behind(node, where, self.builder.reduce(where, op, t, axes, keep))

    def arithmetic(self, node: Any, where: str) -> None:
        """ADD, SUB, MUL: of a constant, or the sum of two tensors."""
        op = self._name(node)
        options = self.options(node, f"{op.title()}Options")
        a, b = node.Inputs(0), node.Inputs(1)
        if a in self.tensors and b in self.tensors:
            if op != "ADD":
                raise Unsupported("of two tensors: their sum can be")
            made = self.builder.add(where, self.tensors[a], self.tensors[b])
        else:
            if a not in self.tensors and op == "SUB":
                raise Unsupported("with a constant in front: write it the other way")
            t, c = (self.tensors[a], b) if a in self.tensors else (self.tensors[b], a)
            c = self.builder.vector(t, self.weights(c))
            c = c.reshape(c.shape[1:]) if c.ndim == t.order.ndim + 1 and c.shape[0] == 1 else c
            one, none = np.ones(1), np.zeros(1)
            by = {"ADD": (one, c), "SUB": (one, -c), "MUL": (c, none)}[op]
            made = self.builder.affine(where, t, *by)
        self.behind(node, where, made, options.FusedActivationFunction())

    def relu(self, node: Any, where: str) -> None:
        """RELU, RELU6."""
        high = 6.0 if self._name(node) == "RELU6" else math.inf
        self.behind(node, where, self.builder.clip(where, self.tensor(node), 0.0, high))

    def limit(self, node: Any, where: str) -> None:
        """MAXIMUM, MINIMUM of a tensor and a number."""
        t, number = self.tensor(node), self.weights(node.Inputs(1))
        if number.size != 1:
            raise Unsupported("of two tensors: that of a tensor and a number can be")
        number = float(number.exact().reshape(()))
        low, high = (number, math.inf) if self._name(node) == "MAXIMUM" else (-math.inf, number)
        self.behind(node, where, self.builder.clip(where, t, low, high))

    def reshape(self, node: Any, where: str) -> None:
        """RESHAPE, SQUEEZE, EXPAND_DIMS: the file says what comes out."""
        shape = self._shape(node.Outputs(0))
        if not shape or shape[0] not in (1, -1):
            raise Unsupported("a reshape that moves the batch: keep it as the first axis")
        self.behind(node, where, self.builder.reshape(self.tensor(node), shape[1:]))

    def transpose(self, node: Any, where: str) -> None:
        """TRANSPOSE of all axes but the batch."""
        axes = self.value(node.Inputs(1)).reshape(-1).tolist()
        if not axes or axes[0] != 0:
            raise Unsupported("a transpose that moves the batch")
        made = self.builder.transpose(self.tensor(node), [a - 1 for a in axes[1:]])
        self.behind(node, where, made)

    def pad(self, node: Any, where: str) -> None:
        """PAD with zeros, PADV2 with a number, in front of a window."""
        pads = self.value(node.Inputs(1))
        if pads.ndim != 2 or pads.shape[0] < 2 or pads[0].any():
            raise Unsupported("padding of the batch")
        value = 0.0
        if node.InputsLength() > 2:
            number = self.weights(node.Inputs(2))
            if number.size != 1:
                raise Unsupported("padding with other than zeros: use zeros")
            value = float(number.exact().reshape(()))
        self.behind(node, where, self.builder.pad(self.tensor(node), pads[1:].tolist(), value))


TAKES: dict[str, Callable[[Reader, Any, str], None]] = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), Reader.conv),
    "FULLY_CONNECTED": Reader.dense,
    **dict.fromkeys(("MAX_POOL_2D", "AVERAGE_POOL_2D"), Reader.pool),
    **dict.fromkeys(("MEAN", "REDUCE_MAX"), Reader.reduce),
    **dict.fromkeys(("ADD", "SUB", "MUL"), Reader.arithmetic),
    **dict.fromkeys(("RELU", "RELU6"), Reader.relu),
    **dict.fromkeys(("MAXIMUM", "MINIMUM"), Reader.limit),
    **dict.fromkeys(SHAPED, Reader.reshape),
    "TRANSPOSE": Reader.transpose,
    **dict.fromkeys(("PAD", "PADV2"), Reader.pad),
}

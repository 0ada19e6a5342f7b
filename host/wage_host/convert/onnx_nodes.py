"""ONNX's operators that a board runs, or that only move data, as graph.Builder takes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from wage_host.convert import graph
from wage_host.convert import onnx_values as values
from wage_host.convert.graph import Builder, Tensor, Unsupported
from wage_host.convert.weights import Weights

# behind which there may have been an activation
SUMS = (graph.CONV, graph.DEPTHWISE, graph.DENSE, graph.AFFINE, graph.ADD)


class Operators:
    """What read_onnx.Reader does with nodes; each takes a node and what messages call it."""

    builder: Builder
    tensors: dict[str, Tensor]
    scales: dict[str, np.ndarray]
    input_step: tuple[float, int] | None
    whole: dict[str, tuple[float, int]]  # tensors in whole numbers: their step and zero
    input: str
    alone: bool  # whether the batch is 1, and no other
    flat: set[str]  # tensors without the batch's axis
    ended: set[str]

    def _at_end(self, node: Any, name: str) -> None:
        t = self.tensors[name]
        axis = self.settings(node).get("axis", -1) % (t.order.ndim + 1)
        if axis < 1 or t.order.size != t.order.shape[axis - 1]:
            raise Unsupported("it takes not all classes together")
        self._ended(node, t)  # the largest stays the largest

    def _ended(self, node: Any, t: Tensor) -> None:
        """What is behind the classes changes nothing that counts."""
        self.tensors[node.output[0]] = t
        self.ended.add(node.output[0])

    def _bias(self, node: Any, at: int, out: int) -> Weights | None:
        """A bias, one for each output or one for all."""
        if not self._input(node, at):
            return None
        b = self.weights(node.input[at])
        return b.moved(lambda a: np.broadcast_to(a.reshape(()), out)) if b.size == 1 else b

    def conv(self, node: Any, where: str) -> None:
        """Conv, of one or two dimensions."""
        settings, w = self.settings(node), self.weights(self._input(node, 1))
        if w.ndim not in (3, 4):
            raise Unsupported(f"a convolution of {w.ndim - 2} dimensions: of one or two can be")
        scale = self.scales.get(node.input[1])
        w = w.moved(lambda a: a[:, :, None]) if w.ndim == 3 else w
        w = w.moved(lambda a: a.transpose(0, 2, 3, 1))
        kernel = settings.get("kernel_shape", [])
        if kernel and kernel != list(w.shape[1:3])[-len(kernel) :]:
            raise Unsupported("its kernel_shape is not that of its weights")
        stride, padding = self._windows(settings)
        bias, groups = self._bias(node, 2, w.shape[0]), settings.get("group", 1)
        t = self.tensor(node)
        made = self.builder.conv(where, t, w, bias, stride, padding, groups, True, scale)
        self.behind(node, made)

    @staticmethod
    def _windows(settings: dict[str, Any]) -> tuple[Any, Any]:
        """Stride, and padding as Builder takes it."""
        if any(n != 1 for n in settings.get("dilations", [])):
            raise Unsupported("dilation: use a larger kernel, or a stride")
        stride = settings.get("strides", [1, 1])
        stride = (1, stride[0]) if len(stride) == 1 else tuple(stride)
        auto = settings.get("auto_pad", b"NOTSET").decode()
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            return stride, "same" if auto == "SAME_UPPER" else "same_lower"
        pads = settings.get("pads", [0] * 4) if auto == "NOTSET" else [0] * 4
        return stride, (0, pads[0], 0, pads[1]) if len(pads) == 2 else tuple(pads)

    def gemm(self, node: Any, where: str) -> None:
        """Gemm."""
        settings, w = self.settings(node), self.weights(self._input(node, 1))
        if settings.get("transA") or w.ndim != 2 or self.tensor(node).order.ndim != 1:
            raise Unsupported("a product of other than rows of values with a matrix")
        w = w if settings.get("transB") else w.moved(np.transpose)
        scale = self.scales.get(node.input[1]) if settings.get("alpha", 1.0) == 1 else None
        bias = self._bias(node, 2, w.shape[0])
        bias = None if bias is None else bias.times(np.float64(settings.get("beta", 1.0)))
        w = w.times(np.float64(settings.get("alpha", 1.0)))
        self.behind(node, self.builder.dense(where, self.tensor(node), w, bias, scale))

    def matmul(self, node: Any, where: str) -> None:
        """MatMul with constant weights behind."""
        w, t = self.weights(self._input(node, 1)).moved(np.transpose), self.tensor(node)
        if w.ndim != 2:
            raise Unsupported("a product with other than a matrix")
        scale = self.scales.get(node.input[1])
        self.behind(node, self.builder.dense(where, t, w, None, scale))

    def normalise(self, node: Any, where: str) -> None:
        """BatchNormalization, of a model that has learned."""
        settings, t = self.settings(node), self.tensor(node)
        if settings.get("training_mode"):
            raise Unsupported("it still learns: export the model in eval mode")
        parts = [self.weights(self._input(node, k)) for k in range(1, 5)]
        if any(part.size != t.order.shape[0] for part in parts):
            raise Unsupported(f"it is not for {t.order.shape[0]} channels")
        gamma, beta, mean, variance = (part.exact().reshape(-1) for part in parts)
        factor = gamma / np.sqrt(variance + settings.get("epsilon", 1e-5))
        shape = (-1,) + (1,) * (t.order.ndim - 1)
        offset = (beta - mean * factor).reshape(shape)
        self.behind(node, self.builder.affine(where, t, factor.reshape(shape), offset))

    def clip(self, node: Any, where: str) -> None:
        """Clip, Relu6."""
        low, high = self.number(node, 1, -math.inf), self.number(node, 2, math.inf)
        self.behind(node, self.builder.clip(where, self.tensor(node), low, high))

    def relu(self, node: Any, where: str) -> None:
        """Relu."""
        self.behind(node, self.builder.clip(where, self.tensor(node), 0.0, math.inf))

    def limit(self, node: Any, where: str) -> None:
        """Max, Min of a tensor and one constant: half a Clip."""
        names = list(node.input)
        live = [name for name in names if name in self.tensors]
        if len(names) != 2 or len(live) != 1:
            raise Unsupported("of two tensors: that of a tensor and a number can be")
        number = self.number(node, 1 - names.index(live[0]), 0.0)
        low, high = (number, math.inf) if node.op_type == "Max" else (-math.inf, number)
        self.behind(node, self.builder.clip(where, self.tensors[live[0]], low, high))

    def pool(self, node: Any, where: str) -> None:
        """MaxPool, AveragePool."""
        settings = self.settings(node)
        if len(node.output) > 1 and any(node.output[1:]):
            raise Unsupported("it tells the places of the largest")
        stride, padding = self._windows(settings)
        kernel = settings["kernel_shape"]
        kernel = (1, kernel[0]) if len(kernel) == 1 else tuple(kernel)
        op = graph.MAX if node.op_type == "MaxPool" else graph.AVERAGE
        made = self.builder.pool(
            where, op, self.tensor(node), kernel, stride, padding, True,
            round_up=bool(settings.get("ceil_mode")),
            counts_padding=bool(settings.get("count_include_pad")),
        )  # fmt: skip
        self.behind(node, made)

    def pool_all(self, node: Any, where: str) -> None:
        """GlobalAveragePool, GlobalMaxPool."""
        op = graph.MAX if node.op_type == "GlobalMaxPool" else graph.AVERAGE
        made = self.builder.pool(where, op, self.tensor(node), None, (1, 1), (0,) * 4, True)
        self.behind(node, made)

    def reduce(self, node: Any, where: str) -> None:
        """ReduceMean, ReduceMax."""
        t, axes = self.tensor(node), self.axes(node)
        op = graph.MAX if node.op_type == "ReduceMax" else graph.AVERAGE
        rank = t.order.ndim + 1
        axes = list(range(rank)) if axes is None else [a % rank for a in axes]
        keep = bool(self.settings(node).get("keepdims", 1))
        self.behind(node, self.builder.reduce(where, op, t, [a - 1 for a in axes], keep))

    def arithmetic(self, node: Any, where: str) -> None:
        """Add, Sub, Mul, Div: of a constant, or the sum of two tensors."""
        op, names = node.op_type, list(node.input)
        live = [name in self.tensors for name in names]
        if len(names) != 2:
            raise Unsupported("it has not two inputs")
        if all(live):
            if op != "Add":
                raise Unsupported("of two tensors: their sum can be")
            made = self.builder.add(where, *(self.tensors[name] for name in names))
        else:
            t = self.tensors[names[live.index(True)]]
            c = self.builder.vector(t, self.weights(names[live.index(False)]))
            c = c.reshape(c.shape[1:]) if c.ndim == t.order.ndim + 1 and c.shape[0] == 1 else c
            one, none = np.ones(1), np.zeros(1)
            if not live[0] and op in ("Sub", "Div"):
                raise Unsupported("with a constant in front: write it the other way")
            c = 1 / c if op == "Div" else -c if op == "Sub" else c
            factor, offset = (c, none) if op in ("Mul", "Div") else (one, c)
            made = self.builder.affine(where, t, factor, offset)
        self.behind(node, made)

    def reshape(self, node: Any, where: str) -> None:
        """Reshape, Flatten, Squeeze, Unsqueeze."""
        t, op = self.tensor(node), node.op_type
        old = (1, *t.shape)
        if op == "Flatten":
            axis = self.settings(node).get("axis", 1)
            if axis + len(old) * (axis < 0) != 1:
                raise Unsupported("it flattens the batch, too: use axis 1")
            new = [1, -1]
        elif op == "Reshape":
            new = self.value(self._input(node, 1)).tolist()
            if not self.settings(node).get("allowzero"):
                new = [old[k] if n == 0 else n for k, n in enumerate(new)]
        else:
            axes = self.axes(node)
            new = (values.squeezed if op == "Squeeze" else values.unsqueezed)(old, axes)
        if new == [-1] and self.alone:
            self.flat.add(node.output[0])
            new = [1, -1]
        if new == [-1]:
            raise Unsupported(
                "a reshape that moves the batch: keep it as the first axis (PyTorch writes this "
                "for an example whose axes were moved: export with example.contiguous())"
            )
        if not new or new[0] not in (1, -1) or (new[0] == -1 and -1 in new[1:]):
            raise Unsupported("a reshape that moves the batch: keep it as the first axis")
        self.behind(node, self.builder.reshape(t, new[1:]))

    def shaped(self, node: Any) -> None:
        """Gather that puts each value of a flat tensor where it was: PyTorch's as_strided."""
        t, places = self.tensor(node), self.value(self._input(node, 1))
        if places.ndim < 2 or len(places) != 1 or places.size != t.order.size or (
            (places.reshape(-1) != np.arange(places.size)).any()
        ):
            raise Unsupported(values.INSTEAD["Gather"])
        self.behind(node, self.builder.reshape(t, places.shape[1:]))

    def transpose(self, node: Any, where: str) -> None:
        """Transpose of all axes but the batch."""
        t = self.tensor(node)
        rank = t.order.ndim + 1
        axes = [a % rank for a in self.settings(node).get("perm", range(rank)[::-1])]
        if not axes or axes[0] != 0:
            raise Unsupported("a transpose that moves the batch")
        self.behind(node, self.builder.transpose(t, [a - 1 for a in axes[1:]]))

    def pad(self, node: Any, where: str) -> None:
        """Pad with zeros, in front of a convolution."""
        settings, t = self.settings(node), self.tensor(node)
        if settings.get("mode", b"constant") != b"constant":
            raise Unsupported("padding with other than zeros: use zeros")
        pads = self.value(self._input(node, 1)).reshape(-1).tolist()
        rank = t.order.ndim + 1
        if self._input(node, 3):
            axes = [int(a) % rank for a in self.value(node.input[3]).reshape(-1)]
            whole = [0] * (2 * rank)
            for k, a in enumerate(axes):
                whole[a], whole[a + rank] = pads[k], pads[k + len(axes)]
            pads = whole
        if len(pads) != 2 * rank or pads[0] or pads[rank]:
            raise Unsupported("padding of the batch")
        by_axis = list(zip(pads[1:rank], pads[rank + 1 :], strict=True))
        self.behind(node, self.builder.pad(t, by_axis, self.number(node, 2, 0.0)))

    def cast(self, node: Any, where: str) -> None:
        """Cast from floats to floats."""
        if self.settings(node).get("to") not in values.FLOATS:
            raise Unsupported(f"to whole numbers: {values.USUAL}")
        self.behind(node, self.tensor(node))

    def quantise(self, node: Any, where: str) -> None:
        """QuantizeLinear, DequantizeLinear of a tensor: only how fine it is.

        But those who write them leave out a Relu or Clip that the range of the numbers makes.
        """
        t, name = self.tensor(node), node.input[0]
        scale, zero = self.value(self._input(node, 1)), np.zeros((), np.uint8)
        zero = self.value(node.input[2]) if self._input(node, 2) else zero
        if scale.size != 1 or not scale > 0:
            raise Unsupported("a tensor with one scale a channel: one for all can be")
        step, z = float(scale.reshape(())), int(zero.reshape(()))
        if node.op_type == "DequantizeLinear":
            if self.whole.get(name) != (step, z):
                raise Unsupported("a QuantizeLinear of the same step and zero must be in front")
            return self.behind(node, t)
        if zero.dtype not in (np.int8, np.uint8):
            raise Unsupported(f"a tensor in {zero.dtype}: int8 and uint8 can be")
        low, high = np.iinfo(zero.dtype).min, np.iinfo(zero.dtype).max
        if name == self.input:
            self.input_step = (step, z - low - 128)
        elif z == low and t.source != graph.INPUT and self.builder.nodes[t.source].op in SUMS:
            t = self.builder.clip(where, t, 0.0, step * (high - low))  # for a Relu or Clip
        most = max(127 if zero.dtype == np.int8 else 255, 0) - z
        self.builder.quantised(t, step * max(most, min(z - low, 127 if z == 0 else 256)) / 127)
        self.behind(node, t)
        self.whole[node.output[0]] = (step, z)
        return None

    def _whole(self, node: Any, live: list[str]) -> None:
        """Between QuantizeLinear and DequantizeLinear values are only moved."""
        if not any(name in self.whole for name in live) or node.op_type == "DequantizeLinear":
            return
        if node.op_type not in MOVES:
            raise Unsupported("of whole numbers: put DequantizeLinear in front")
        self.whole[node.output[0]] = self.whole[node.input[0]]


MOVES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "MaxPool")
TAKES: dict[str, Callable[[Operators, Any, str], None]] = {
    "Conv": Operators.conv,
    "Gemm": Operators.gemm,
    "MatMul": Operators.matmul,
    "BatchNormalization": Operators.normalise,
    "Relu": Operators.relu,
    "Clip": Operators.clip,
    **dict.fromkeys(("Max", "Min"), Operators.limit),
    "MaxPool": Operators.pool,
    "AveragePool": Operators.pool,
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), Operators.pool_all),
    **dict.fromkeys(("ReduceMean", "ReduceMax"), Operators.reduce),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), Operators.arithmetic),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), Operators.reshape),
    "Cast": Operators.cast,
    "Transpose": Operators.transpose,
    "Pad": Operators.pad,
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), Operators.quantise),
}

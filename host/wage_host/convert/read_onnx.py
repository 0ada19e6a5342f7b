"""ONNX files, opsets 13 to 21, as PyTorch and tf2onnx export them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from wage_host.convert import graph
from wage_host.convert import onnx_values as values
from wage_host.convert.graph import Builder, Graph, Tensor, Unsupported
from wage_host.convert.source import read_whole, wanted
from wage_host.errors import ModelError

OPSETS = range(13, 22)
INSTEAD = {
    **dict.fromkeys(
        ("Sigmoid", "HardSwish", "HardSigmoid", "Gelu", "LeakyRelu", "PRelu", "Elu", "Tanh", "Mish",
         "Selu", "Celu", "Softplus", "Erf"),
        "train it with Relu or Relu6",
    ),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "use convolutions over time"),
    **dict.fromkeys(
        ("Concat", "Split", "Slice", "Gather"), "use one path, with residual sums where it needs"
    ),
    **dict.fromkeys(
        ("LayerNormalization", "InstanceNormalization", "GroupNormalization"),
        "use BatchNormalization",
    ),
}  # fmt: skip
USUAL = "leave it out of the model, or replace it"
ALIKE = ("Identity", "Dropout", "Cast")
AT_END = ("Softmax", "LogSoftmax")


def read(path: Path) -> Graph:
    """The graph of an ONNX file; ModelError names all nodes that a board cannot run."""
    onnx = wanted("onnx", "onnx")
    data = read_whole(path)
    try:
        model = onnx.load_model_from_string(data)
        del data
    except Exception:  # whatever protobuf raises for bytes that are none
        raise ModelError(f"{path} is no ONNX model, or is damaged: export it again") from None
    versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    if not model.graph.node or len(versions) != 1:
        raise ModelError(f"{path} is no ONNX model, or is damaged: export it again")
    if versions[0] not in OPSETS:
        raise ModelError(
            f"{path} has opset {versions[0]}; those from {OPSETS[0]} to {OPSETS[-1]} are read: "
            "export it with opset_version=17"
        )
    first = Reader(onnx, path, model, True)
    made = first.read()
    if made is None:  # some have the channels last
        second = Reader(onnx, path, model, False)
        made = second.read()
        if made is None:
            raise graph.refusal(path, min(first.troubles, second.troubles, key=len))
    return made


class Reader:
    """One pass over a model whose input has its channels first, or last."""

    def __init__(self, onnx: ModuleType, path: Path, model: Any, first: bool):
        self.onnx, self.path, self.g, self.first = onnx, path, model.graph, first
        self.version = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        self.troubles: list[str] = []
        self.tensors: dict[str, Tensor] = {}
        self.raw = {t.name: t for t in self.g.initializer}
        self.constants: dict[str, np.ndarray] = {}
        self.scales: dict[str, np.ndarray] = {}  # of constants that came as integers
        self.input_step: tuple[float, int] | None = None
        self.input = ""
        self.told = values.told({p.key: p.value for p in model.metadata_props}.get("wage", ""))

    def read(self) -> Graph | None:
        """The graph, or None: `troubles` has why."""
        inputs = [i for i in self.g.input if i.name not in self.raw]
        if len(inputs) != 1 or len(self.g.output) != 1:
            raise ModelError(
                f"{self.path} has {len(inputs)} inputs and {len(self.g.output)} outputs: a board's "
                "model has one of each"
            )
        self.input, output = inputs[0].name, self.g.output[0].name
        try:
            self.builder = Builder(self._shape(inputs[0]), self.first)
        except Unsupported as why:
            raise ModelError(f"{self.path}: its input: {why}") from None
        self.tensors[self.input] = self.builder.input
        for number, node in self._needed(output):
            self._node(number, node, output)
        if self.troubles:
            return None
        if output not in self.tensors:
            raise ModelError(f"{self.path}: its output does not come from its input")
        about: dict[str, Any] = {"told": self.told}
        if self.input_step:
            about |= {"input_scale": self.input_step[0], "input_zero": self.input_step[1]}
        return self.builder.finish(self.tensors[output], **about)

    def _shape(self, value: Any) -> tuple[int, ...]:
        dims = value.type.tensor_type.shape.dim
        shape = tuple(d.dim_value for d in dims[1:])
        if len(dims) < 2 or min(shape, default=0) < 1:
            raise Unsupported(
                f"'{value.name}' has no fixed size behind the batch: export it with one"
            )
        if dims[0].dim_value > 1:
            raise Unsupported(f"a batch of {dims[0].dim_value}: export it with a batch of 1")
        return shape

    def _needed(self, output: str) -> list[tuple[int, Any]]:
        """Nodes that the output needs, in the file's order, with their numbers."""
        needed, found = {output}, []
        for number, node in reversed(list(enumerate(self.g.node))):
            if needed.intersection(node.output):
                needed.update(name for name in node.input if name)
                found.append((number, node))
        return found[::-1]

    def _node(self, number: int, node: Any, output: str) -> None:
        """Takes one node; what it cannot be goes to the troubles."""
        where = f"{node.op_type} '{node.name or node.output[0]}' (node {number})"
        inputs = [name for name in node.input if name]
        live = [name for name in inputs if name in self.tensors]
        lost = [
            n for n in inputs if n not in self.tensors and n not in self.raw and
            n not in self.constants
        ]  # fmt: skip
        try:
            if node.domain not in ("", "ai.onnx"):
                raise Unsupported(f"of the domain {node.domain}: {USUAL}")
            if node.op_type in AT_END and node.output[0] == output and live:
                self._at_end(node, live[0])
            elif lost:
                if not self.troubles:
                    raise Unsupported(f"its input '{lost[0]}' comes from nowhere")
            elif not live or node.op_type == "Shape":
                self._constant(node)
            elif node.op_type in ALIKE:
                self.tensors[node.output[0]] = self.tensors[inputs[0]]
            elif node.op_type in TAKES:
                TAKES[node.op_type](self, node, where)
            else:
                raise Unsupported(INSTEAD.get(node.op_type, USUAL))
        except Unsupported as why:
            self.troubles.append(f"{where}: {why}")
        except (ValueError, TypeError, IndexError, KeyError, OverflowError, MemoryError) as error:
            self.troubles.append(f"{where}: damaged ({type(error).__name__})")

    # -- values and attributes ---------------------------------------------

    def value(self, name: str) -> np.ndarray:
        """A constant by name."""
        if name in self.constants:
            return self.constants[name]
        if name not in self.raw:
            raise Unsupported("its weights or settings are computed, not constant")
        self.constants[name] = self._array(self.raw[name])
        return self.constants[name]

    def _array(self, tensor: Any) -> np.ndarray:
        """The numbers of a tensor in the file, or in one beside it."""
        if tensor.data_location == self.onnx.TensorProto.EXTERNAL:
            about = {e.key: e.value for e in tensor.external_data}
            name = about.get("location", "")
            beside = self.path.parent / name
            if Path(name).name != name or beside.is_symlink() or not beside.is_file():
                raise Unsupported(f"its weights are to be in the file {name!r} beside the model")
            at, size = int(about.get("offset", 0)), int(about.get("length", -1))
            whole = beside.stat().st_size
            size = whole - at if size == -1 else size
            if at < 0 or size < 0 or at + size > whole:
                raise Unsupported(f"its weights are to be in {name}, which is too short")
            with beside.open("rb") as file:
                file.seek(at)
                raw = file.read(size)
            copy = self.onnx.TensorProto()
            copy.data_type, copy.raw_data = tensor.data_type, raw
            copy.dims.extend(tensor.dims)
            tensor = copy
        return np.asarray(self.onnx.numpy_helper.to_array(tensor))

    def number(self, node: Any, at: int, default: float) -> float:
        """Input number `at` as one constant."""
        name = self._input(node, at)
        return float(self.value(name).reshape(())) if name else default

    @staticmethod
    def _input(node: Any, at: int) -> str:
        return node.input[at] if at < len(node.input) else ""

    def settings(self, node: Any) -> dict[str, Any]:
        """The attributes of a node."""
        get = self.onnx.helper.get_attribute_value
        return {a.name: get(a) for a in node.attribute}

    def axes(self, node: Any, at: int = 1) -> list[int] | None:
        """Axes, an attribute or an input, as opsets have it."""
        given = self.settings(node).get("axes")
        if given is None and self._input(node, at):
            given = self.value(node.input[at]).reshape(-1).tolist()
        return None if given is None else [int(n) for n in given]

    def tensor(self, node: Any, at: int = 0) -> Tensor:
        """Input number `at`, which is no constant."""
        name = self._input(node, at)
        if name not in self.tensors:
            raise Unsupported("its data are constant and its weights are not")
        return self.tensors[name]

    def behind(self, node: Any, t: Tensor) -> None:
        """The output of a node."""
        self.tensors[node.output[0]] = t

    # -- constants ---------------------------------------------------------

    def _constant(self, node: Any) -> None:
        """A node whose inputs are all constant, or of which only the shape counts."""
        op, out, settings = node.op_type, node.output[0], self.settings(node)
        if op == "Shape":
            name = node.input[0]
            live = name in self.tensors
            shape = (1, *self.tensors[name].order.shape) if live else self.value(name).shape
            made = np.array(shape, np.int64)[settings.get("start", 0) : settings.get("end")]
        elif op == "Constant":
            made = self._literal(settings)
        elif op == "DequantizeLinear":
            self._dequantised(node, settings.get("axis", 1))
            return
        else:
            made = values.computed(op, [self.value(n) for n in node.input if n], settings)
            name = node.input[0]
            if name in self.scales and op in ("Identity", "Transpose"):
                self.scales[out] = self.scales[name]
        self.constants[out] = made

    def _literal(self, settings: dict[str, Any]) -> np.ndarray:
        if "value" in settings:
            return self._array(settings["value"])
        for name in ("value_int", "value_float", "value_ints", "value_floats"):
            if name in settings:
                return np.array(settings[name])
        raise Unsupported("a constant that is no number")

    def _dequantised(self, node: Any, axis: int) -> None:
        q, scale = self.value(node.input[0]), self.value(node.input[1])
        zero = self.value(node.input[2]) if self._input(node, 2) else np.zeros(1)
        if scale.size > 1:
            shape = [1] * q.ndim
            shape[axis] = -1
            scale, zero = scale.reshape(shape), zero.reshape(shape if zero.size > 1 else ())
        name = f"{node.input[0]}.stored"  # of our own export: finer than those in use
        if self.told and name in self.raw:
            stored = self.value(name)
            if stored.shape == q.shape and (((stored.astype(np.int64) + 128) >> 8) == q).all():
                q, scale = stored, scale.astype(np.float64) / 256
                self.scales[node.output[0]] = scale.reshape(-1) * 256
                self.constants[node.output[0]] = q * scale
                return
        zero = zero.astype(np.float64)
        self.constants[node.output[0]] = (q.astype(np.float64) - zero) * scale.astype(np.float64)
        if not zero.any() and q.dtype == np.int8:
            self.scales[node.output[0]] = scale.reshape(-1)

    # -- what a board runs -------------------------------------------------

    def _at_end(self, node: Any, name: str) -> None:
        t = self.tensors[name]
        axis = self.settings(node).get("axis", -1) % (t.order.ndim + 1)
        if axis < 1 or t.order.size != t.order.shape[axis - 1]:
            raise Unsupported("it takes not all classes together")
        self.tensors[node.output[0]] = t  # the largest stays the largest

    def _bias(self, node: Any, at: int, out: int) -> np.ndarray | None:
        name = self._input(node, at)
        if not name:
            return None
        b = self.value(name).astype(np.float64)
        return np.full(out, b.reshape(())) if b.size == 1 else b.reshape(-1)

    def conv(self, node: Any, where: str) -> None:
        """Conv, of one or two dimensions."""
        settings, w = self.settings(node), self.value(self._input(node, 1))
        if w.ndim not in (3, 4):
            raise Unsupported(f"a convolution of {w.ndim - 2} dimensions: of one or two can be")
        scale = self.scales.get(node.input[1])
        w = w[:, :, None] if w.ndim == 3 else w
        w = w.transpose(0, 2, 3, 1).astype(np.float64)
        if settings.get("kernel_shape", list(w.shape[1:3]))[-1] != w.shape[2]:
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
        settings, w = self.settings(node), self.value(self._input(node, 1)).astype(np.float64)
        if settings.get("transA") or w.ndim != 2 or self.tensor(node).order.ndim != 1:
            raise Unsupported("a product of other than rows of values with a matrix")
        w = w if settings.get("transB") else w.T
        scale = self.scales.get(node.input[1]) if settings.get("alpha", 1.0) == 1 else None
        bias = self._bias(node, 2, w.shape[0])
        bias = None if bias is None else bias * settings.get("beta", 1.0)
        w = w * settings.get("alpha", 1.0)
        self.behind(node, self.builder.dense(where, self.tensor(node), w, bias, scale))

    def matmul(self, node: Any, where: str) -> None:
        """MatMul with constant weights behind."""
        w = self.value(self._input(node, 1)).astype(np.float64)
        if w.ndim != 2:
            raise Unsupported("a product with other than a matrix")
        scale = self.scales.get(node.input[1])
        self.behind(node, self.builder.dense(where, self.tensor(node), w.T, None, scale))

    def normalise(self, node: Any, where: str) -> None:
        """BatchNormalization, of a model that has learned."""
        settings, t = self.settings(node), self.tensor(node)
        if settings.get("training_mode"):
            raise Unsupported("it still learns: export the model in eval mode")
        gamma, beta, mean, variance = (
            self.value(self._input(node, k)).astype(np.float64).reshape(-1) for k in range(1, 5)
        )
        factor = gamma / np.sqrt(variance + settings.get("epsilon", 1e-5))
        if factor.shape != (t.order.shape[0],):
            raise Unsupported(f"it is not for {t.order.shape[0]} channels")
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
        """GlobalAveragePool."""
        none = (0, 0, 0, 0)
        made = self.builder.pool(
            where, graph.AVERAGE, self.tensor(node), None, (1, 1), none, True
        )
        self.behind(node, made)

    def mean(self, node: Any, where: str) -> None:
        """ReduceMean over all places."""
        t, axes = self.tensor(node), self.axes(node)
        rank = t.order.ndim + 1
        axes = list(range(rank)) if axes is None else [a % rank for a in axes]
        keep = bool(self.settings(node).get("keepdims", 1))
        self.behind(node, self.builder.mean(where, t, [a - 1 for a in axes], keep))

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
            c = self.value(names[live.index(False)]).astype(np.float64)
            c = c.reshape(c.shape[1:]) if c.ndim == t.order.ndim + 1 and c.shape[0] == 1 else c
            one, none = np.ones(1), np.zeros(1)
            if not live[0] and op in ("Sub", "Div"):
                raise Unsupported("with a constant in front: write it the other way")
            factor = {"Mul": c, "Div": 1 / c if op == "Div" else c}.get(op, one)
            offset = {"Add": c, "Sub": -c}.get(op, none)
            made = self.builder.affine(where, t, factor, offset)
        self.behind(node, made)

    def reshape(self, node: Any, where: str) -> None:
        """Reshape, Flatten, Squeeze, Unsqueeze."""
        t, op = self.tensor(node), node.op_type
        old = (1, *t.order.shape)
        if op == "Flatten":
            if self.settings(node).get("axis", 1) % (len(old) + 1) != 1:
                raise Unsupported("it flattens the batch, too: use axis 1")
            new = [1, -1]
        elif op == "Reshape":
            new = self.value(self._input(node, 1)).tolist()
            if not self.settings(node).get("allowzero"):
                new = [old[k] if n == 0 else n for k, n in enumerate(new)]
        else:
            axes = self.axes(node)
            new = (values.squeezed if op == "Squeeze" else values.unsqueezed)(old, axes)
        if not new or new[0] not in (1, -1) or (new[0] == -1 and -1 in new[1:]):
            raise Unsupported("a reshape that moves the batch: keep it as the first axis")
        self.behind(node, self.builder.reshape(t, new[1:]))

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
        if settings.get("mode", b"constant") != b"constant" or self.number(node, 2, 0.0):
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
        self.behind(node, self.builder.pad(t, by_axis, True))

    def quantise(self, node: Any, where: str) -> None:
        """QuantizeLinear, DequantizeLinear of a tensor: only how fine it is."""
        t = self.tensor(node)
        if node.op_type == "QuantizeLinear":
            scale, zero = self.value(self._input(node, 1)), np.zeros((), np.uint8)
            zero = self.value(node.input[2]) if self._input(node, 2) else zero
            if scale.size != 1 or not scale > 0:
                raise Unsupported("a tensor with one scale a channel: one for all can be")
            step, z = float(scale.reshape(())), int(zero.reshape(()))
            if zero.dtype not in (np.int8, np.uint8):
                raise Unsupported(f"a tensor in {zero.dtype}: int8 and uint8 can be")
            low = np.iinfo(zero.dtype).min
            if self.node_is_input(node):
                self.input_step = (step, z - low - 128)
            most = max(127 if zero.dtype == np.int8 else 255, 0) - z
            self.builder.quantised(t, step * max(most, min(z - low, 127 if z == 0 else 256)) / 127)
        self.behind(node, t)

    def node_is_input(self, node: Any) -> bool:
        """It takes the model's input."""
        return node.input[0] == self.input


TAKES: dict[str, Callable[[Reader, Any, str], None]] = {
    "Conv": Reader.conv,
    "Gemm": Reader.gemm,
    "MatMul": Reader.matmul,
    "BatchNormalization": Reader.normalise,
    "Relu": Reader.relu,
    "Clip": Reader.clip,
    "MaxPool": Reader.pool,
    "AveragePool": Reader.pool,
    "GlobalAveragePool": Reader.pool_all,
    "ReduceMean": Reader.mean,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), Reader.arithmetic),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), Reader.reshape),
    "Transpose": Reader.transpose,
    "Pad": Reader.pad,
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), Reader.quantise),
}

"""ONNX files, opsets 13 to 21, as PyTorch and tf2onnx export them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from wage_host.convert import onnx_values as values
from wage_host.convert.graph import AXES, Builder, Graph, Tensor, Unsupported
from wage_host.convert.onnx_nodes import TAKES, Operators
from wage_host.convert.source import Troubles, read_whole, refusal, shown, wanted
from wage_host.convert.weights import Weights
from wage_host.errors import ModelError

OPSETS = range(13, 22)
ALIKE = ("Identity", "Dropout")
AT_END = ("Softmax", "LogSoftmax")
PARTS_MAX = 1000  # nodes, constants, inputs
NAMES_MAX = 4000  # of what nodes take and give
LIST_MAX = 1024  # numbers in an attribute
# where the numbers of a type are when they are not raw, and how they are there
FIELDS = {
    "float32": ("float_data", np.float32), "float64": ("double_data", np.float64),
    "float16": ("int32_data", np.uint16), "bfloat16": ("int32_data", np.uint16),
    "bool": ("int32_data", np.bool_), "int8": ("int32_data", np.int8),
    "uint8": ("int32_data", np.uint8), "int16": ("int32_data", np.int16),
    "uint16": ("int32_data", np.uint16), "int32": ("int32_data", np.int32),
    "int64": ("int64_data", np.int64),
}  # fmt: skip
BEHIND_END = (*ALIKE, "Cast", "QuantizeLinear", "DequantizeLinear", "Reshape", "Flatten", "Squeeze")
WINDOWS = ("Conv", "MaxPool", "AveragePool")


def read(path: Path) -> Graph:
    """The graph of an ONNX file; ModelError names all nodes that a board cannot run."""
    onnx = wanted("onnx", "onnx")
    data = read_whole(path)
    try:
        model, size = onnx.load_model_from_string(data), len(data)
        del data
    except Exception:  # whatever protobuf raises for bytes that are none
        raise ModelError(f"{path} is no ONNX model, or is damaged: export it again") from None
    versions = {o.version for o in model.opset_import if o.domain in ("", "ai.onnx")}
    g = model.graph
    parts = max(map(len, (g.node, g.initializer, g.input, g.output, model.metadata_props)))
    names = sum(len(node.input) + len(node.output) for node in g.node)
    if parts > PARTS_MAX or names > NAMES_MAX:
        raise ModelError(f"{path} has more than {PARTS_MAX} nodes or constants: no board takes it")
    if not g.node or len(versions) > 1:
        raise ModelError(f"{path} is no ONNX model, or is damaged: export it again")
    if not versions.issubset(OPSETS):
        raise ModelError(
            f"{path} has opset {versions.pop()}; those from {OPSETS[0]} to {OPSETS[-1]} are read: "
            "export it with opset_version=17"
        )
    troubles = []
    for first, rows in ((True, False), (False, False), (True, True)):
        reader = Reader(onnx, path, model, first, size)
        made = reader.read(rows)
        if made is not None:
            return made
        troubles.append(reader.troubles)
        del reader
    raise refusal(path, troubles)


def _listed(some: Sequence[Any]) -> str:
    return ", ".join(shown(v.name) for v in some[:8])


class Reader(Operators):
    """One pass over a model whose input has its channels first, or last."""

    def __init__(self, onnx: ModuleType, path: Path, model: Any, first: bool, size: int):
        self.onnx, self.path, self.g, self.first = onnx, path, model.graph, first
        self.size = size
        self.troubles = Troubles()
        self.unknown: set[str] = set()  # constants that nodes in trouble would have given
        self.ends: set[str] = set()  # what the output is, but for nodes that change no class
        self.tensors: dict[str, Tensor] = {}
        self.raw = {t.name: t for t in self.g.initializer}
        self.constants: dict[str, Weights] = {}
        self.files: dict[str, bytes] = {}  # beside the model
        self.scales: dict[str, np.ndarray] = {}  # of constants that came as integers
        self.input_step: tuple[float, int] | None = None
        self.whole: dict[str, tuple[float, int]] = {}
        self.alone, self.flat = False, set()
        self.ended: set[str] = set()  # behind the softmax at the end
        self.input = ""
        metadata = {p.key: p.value for p in model.metadata_props}
        self.told = values.told(path, metadata.get("wage", ""))

    def read(self, rows: bool) -> Graph | None:
        """The graph, or None: `troubles` has why.

        rows: of a picture of one channel are the channels of a convolution over time.
        """
        inputs = [i for i in self.g.input if i.name not in self.raw]
        outputs = list(self.g.output)
        if len(outputs) > 1:  # labels beside what they are the largest of
            outputs = [o for o in outputs if o.type.tensor_type.elem_type in values.FLOATS]
        if len(inputs) != 1:
            raise ModelError(
                f"{self.path} has the inputs {_listed(inputs)}: a board's model has one: export it "
                "with the others as constants"
            )
        if len(outputs) != 1:
            raise ModelError(
                f"{self.path} has the outputs {_listed(self.g.output)}: a board's model has one: "
                "export that of the classes only (skl2onnx: options={'zipmap': False})"
            )
        self.input, output = inputs[0].name, outputs[0].name
        try:
            shape = self._shape(inputs[0])
            rows = rows and len(shape) == 3 and shape[0] == 1
            self.builder = Builder(shape[1:] if rows else shape, self.first, self.size)
            self.tensors[self.input] = self.builder.reshape(self.builder.input, shape)
        except Unsupported as why:
            raise ModelError(f"{self.path}: its input: {why}") from None
        for number, node in self._needed(output):
            self._node(number, node)
        if self.troubles:
            return None
        if output not in self.tensors:
            raise ModelError(f"{self.path}: its output does not come from its input")
        about: dict[str, Any] = {"told": self.told, "first": self.first}
        if self.input_step:
            about |= {"input_scale": self.input_step[0], "input_zero": self.input_step[1]}
        return self.builder.finish(self.tensors[output], **about)

    def _shape(self, value: Any) -> tuple[int, ...]:
        dims = value.type.tensor_type.shape.dim
        if len(dims) > 4:
            raise Unsupported(AXES)
        shape = tuple(d.dim_value for d in dims[1:])
        if len(dims) < 2 or min(shape, default=0) < 1:
            raise Unsupported(
                f"'{shown(value.name)}' has no fixed size behind the batch: export it with one"
            )
        if dims[0].dim_value > 1:
            raise Unsupported(f"a batch of {dims[0].dim_value}: export it with a batch of 1")
        self.alone = dims[0].dim_value == 1
        return shape

    def _needed(self, output: str) -> list[tuple[int, Any]]:
        """Nodes that the output needs, in the file's order, with their numbers."""
        needed, found, self.ends = {output}, [], {output}
        for number, node in reversed(list(enumerate(self.g.node))):
            if needed.intersection(node.output):
                needed.update(name for name in node.input if name)
                if node.op_type in BEHIND_END and node.output[0] in self.ends and node.input:
                    self.ends.add(node.input[0])
                found.append((number, node))
        return found[::-1]

    def _node(self, number: int, node: Any) -> None:
        """Takes one node; what it cannot be goes to the troubles."""
        name, op = shown(node.name or node.output[0]), node.op_type
        where = f"{shown(op)} '{name}' (node {number})"
        inputs = [name for name in node.input if name]
        live = [name for name in inputs if name in self.tensors]
        lost = [
            n for n in inputs if n not in self.tensors and n not in self.raw and
            n not in self.constants
        ]  # fmt: skip
        try:
            if node.domain not in ("", "ai.onnx"):
                instead = values.DOMAINS.get(node.domain, values.USUAL)
                instead = values.INSTEAD.get(op, f"of the domain {shown(node.domain)}: {instead}")
                raise Unsupported(instead)
            if lost:
                self._behind_trouble(node, live, lost)
            elif live and live[0] in self.ended:
                self._ended(node, self.tensors[live[0]])
            elif live and op in AT_END and node.output[0] in self.ends:
                self._at_end(node, live[0])
            elif not live or op == "Shape" or (op == "CastLike" and inputs[0] not in live):
                self._constant(node)
            elif op == "Gather" and inputs[0] in self.flat:
                self.shaped(node)
            elif op in ALIKE:
                self.tensors[node.output[0]] = self.tensors[inputs[0]]
            elif op in TAKES:
                self._whole(node, live)
                TAKES[op](self, node, where)
            else:
                raise Unsupported(self._instead(node))
            return
        except Unsupported as why:
            self.troubles.add(number, where, str(why))
        except (ValueError, TypeError, IndexError, KeyError, OverflowError, MemoryError) as error:
            self.troubles.add(number, where, f"damaged ({type(error).__name__})")
        if live and op in values.KEEP and not self.builder.full:  # what is behind is looked at
            self.tensors[node.output[0]] = self.tensors[live[0]]
        elif not live and not lost:
            self.unknown.update(node.output)

    def _behind_trouble(self, node: Any, live: list[str], lost: list[str]) -> None:
        """A node some of whose inputs nodes in trouble would have given: is it one, too?"""
        if not self.troubles:
            raise Unsupported(f"its input '{shown(lost[0])}' comes from nowhere")
        if node.op_type == "Shape" or (not live and self.unknown.issuperset(lost)):
            self.unknown.update(node.output)
        elif node.op_type not in (*TAKES, *ALIKE) and not (
            node.op_type in AT_END and node.output[0] in self.ends
        ):
            raise Unsupported(self._instead(node))
        elif node.op_type in WINDOWS:
            self._windows(self.settings(node))

    def _instead(self, node: Any) -> str:
        """What to do about an operator that a board does not run."""
        if node.op_type == "Sigmoid" and node.output[0] in self.ends:
            return "end with an output for each class, and with Softmax or nothing behind them"
        return values.INSTEAD.get(node.op_type, values.USUAL)

    # -- values and attributes ---------------------------------------------

    def value(self, name: str) -> np.ndarray:
        """A small constant by name."""
        found = self.weights(name)
        if found.factors:
            self.builder.take(8 * found.size)
            return found.exact()
        return found.stored

    def weights(self, name: str) -> Weights:
        """A constant by name."""
        if name not in self.constants:
            if name not in self.raw:
                raise Unsupported("its weights or settings are computed, not constant")
            self.constants[name] = Weights.of(self._array(self.raw[name]))
        return self.constants[name]

    def _array(self, tensor: Any) -> np.ndarray:
        """The numbers of a tensor in the file, or in one beside it."""
        kind = self.onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        if kind.name not in FIELDS:
            raise Unsupported("its weights have a type that is not read: use floats or int8")
        if tensor.data_location == self.onnx.TensorProto.EXTERNAL:
            about = {e.key: e.value for e in tensor.external_data}
            name = about.get("location", "")
            whole = self._beside(name)
            at, size = int(about.get("offset", 0)), int(about.get("length", -1))
            size = len(whole) - at if size == -1 else size
            if at < 0 or size < 0 or at + size > len(whole):
                raise Unsupported(f"its weights are to be in {shown(name)}, which is too short")
            return np.frombuffer(whole, kind, size // kind.itemsize, at).reshape(tensor.dims)
        if tensor.HasField("raw_data"):
            return np.asarray(self.onnx.numpy_helper.to_array(tensor))
        field, dtype = FIELDS[kind.name]
        given = getattr(tensor, field)
        if np.dtype(dtype).kind in "iu" and kind.itemsize > 2 and len(given) > values.SMALL:
            raise Unsupported("its many whole numbers take a byte each: save them as raw data")
        return np.fromiter(given, dtype, len(given)).view(kind).reshape(tensor.dims)

    def _beside(self, name: str) -> bytes:
        """A file of weights in the model's folder."""
        path = self.path.parent / name
        if Path(name).name != name or path.is_symlink() or not path.is_file():
            raise Unsupported(f"its weights are to be in '{shown(name)}' beside the model")
        if name not in self.files:
            self.files[name] = read_whole(path)
            self.builder.room += len(self.files[name])
        return self.files[name]

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
        if any(max(map(len, (a.ints, a.floats, a.strings))) > LIST_MAX for a in node.attribute):
            raise Unsupported("it has an attribute of too many values: use a constant")
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
        names = [n for n in node.input if n and (op == "Shape" or n not in self.tensors)]
        if op == "Shape":
            live = names[0] in self.tensors
            shape = (1, *self.tensors[names[0]].shape) if live else (
                self.weights(names[0]).shape
            )
            made = np.array(shape, np.int64)[settings.get("start", 0) : settings.get("end")]
        elif op == "Constant":
            made = self._literal(settings)
        elif op == "DequantizeLinear":
            self._dequantised(node, settings.get("axis", 1))
            return
        else:
            self._computed(op, out, names, settings)
            return
        self.constants[out] = Weights.of(made)

    def _computed(self, op: str, out: str, names: list[str], settings: dict[str, Any]) -> None:
        """What exporters compute from constants; weights that are only moved are a view."""
        if op == "ConstantOfShape" and "value" in settings:
            settings["value"] = self._array(settings["value"]).reshape(-1)[0]
        if op in values.MOVES and names:
            rest = [self.value(name) for name in names[1:]]
            given = self.weights(names[0])
            kind = "f" if given.factors else given.stored.dtype.kind
            if op == "Cast" and kind == "f" and settings.get("to") not in values.FLOATS:
                raise Unsupported("weights that are cast to whole numbers")
            if op == "Reshape" and any(any(f.strides) for f in given.factors):
                if given.size > values.SMALL:
                    raise Unsupported(values.LARGE)
                given = Weights.of(self.value(names[0]))
            made = given.moved(lambda a: values.moved(op, a, rest, settings))
            if not np.may_share_memory(made.stored, given.stored):
                self.builder.take(made.stored.nbytes)
            self.constants[out] = made
            if names[0] in self.scales and op in ("Identity", "Transpose"):
                self.scales[out] = self.scales[names[0]]
            return
        made = values.computed(op, [self.value(name) for name in names], settings)
        self.builder.take(made.nbytes)
        self.constants[out] = Weights.of(made)

    def _literal(self, settings: dict[str, Any]) -> np.ndarray:
        if "value" in settings:
            return self._array(settings["value"])
        for name in ("value_int", "value_float", "value_ints", "value_floats"):
            if name in settings:
                made = np.array(settings[name])
                self.builder.take(made.nbytes)
                return made
        raise Unsupported("a constant that is no number")

    def _dequantised(self, node: Any, axis: int) -> None:
        name, out = node.input[0], node.output[0]
        q, scale = self.value(name), self.value(node.input[1])
        zero = self.value(node.input[2]) if self._input(node, 2) else np.zeros(1)
        if scale.size > 1:
            shape = [1] * q.ndim
            shape[axis] = -1
            scale, zero = scale.reshape(shape), zero.reshape(shape if zero.size > 1 else ())
        exact, stored = scale.astype(np.float64), values.stored(self.told, name, q)
        if stored is not None:
            self.scales[out] = exact.reshape(-1)
            self.constants[out] = Weights.of(stored[0], None, stored[1], exact)
            return
        self.builder.take(exact.nbytes + 8 * zero.size)
        self.constants[out] = Weights.of(q, zero.astype(np.float64), exact)
        if not zero.any() and q.dtype == np.int8:
            self.scales[out] = scale.reshape(-1)

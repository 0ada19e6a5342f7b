"""What ONNX files compute from constants and shapes, none of which a board needs to know."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from wage_host.convert import settings
from wage_host.convert.graph import Unsupported
from wage_host.convert.source import parsed
from wage_host.layers import Layer

FLOATS = (1, 10, 11, 16)  # TensorProto.DataType
SMALL = 4096  # elements of a constant that is computed from others
ACTIVATIONS = (
    "Sigmoid", "HardSwish", "HardSigmoid", "Gelu", "LeakyRelu", "PRelu", "Elu", "Tanh", "Mish",
    "Selu", "Celu", "Softplus", "Erf", "Swish",
)  # fmt: skip
NORMS = ("LayerNormalization", "InstanceNormalization", "GroupNormalization")
KEEP = (  # their output has the shape of their input
    *ACTIVATIONS, *NORMS, "Relu", "Clip", "BatchNormalization", "Add", "Sub", "Mul", "Div", "Max",
    "Min", "Pow", "Sqrt", "Cast", "Softmax", "LogSoftmax",
)  # fmt: skip
INSTEAD = {
    **dict.fromkeys(ACTIVATIONS, "train it with Relu or Relu6"),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "use convolutions over time"),
    **dict.fromkeys(
        ("Concat", "Split", "Slice", "Gather"), "use one path, with residual sums where it needs"
    ),
    **dict.fromkeys(NORMS, "use BatchNormalization"),
    **dict.fromkeys(
        ("QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearAveragePool", "QGemm",
         "QLinearGlobalAveragePool", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"),
        "give the model in floats, or quantised as QDQ (quant_format=QuantFormat.QDQ)",
    ),
}  # fmt: skip
LARGE = "a large constant is computed: export the model with it folded"
MOVES = ("Identity", "Cast", "CastLike", "Transpose", "Reshape", "Squeeze", "Unsqueeze")
DOMAINS = {
    "ai.onnx.ml": "of scikit-learn an MLPClassifier runs on a board; scale data with --prepare",
    "com.microsoft": "give the model as it was before onnxruntime optimised or quantised it",
}
USUAL = "leave it out of the model, or replace it"
COMPUTED: dict[str, Callable[..., np.ndarray]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": lambda a, b: (
        a // b if a.dtype.kind in "iu" else a / b
    ),
}  # fmt: skip


def moved(
    op: str, a: np.ndarray, rest: list[np.ndarray], settings: dict[str, Any]
) -> np.ndarray:
    """One of MOVES of a constant; rest: its other inputs."""
    if op == "Transpose":
        return a.transpose(settings.get("perm", range(a.ndim)[::-1]))
    if op == "Reshape":
        return a.reshape([a.shape[k] if n == 0 else n for k, n in enumerate(rest[0].tolist())])
    if op in ("Squeeze", "Unsqueeze"):
        axes = settings.get("axes", rest[0].tolist() if rest else None)
        if op == "Squeeze":
            return a.squeeze(None if axes is None else tuple(axes))
        return np.expand_dims(a, tuple(axes))
    return a


def computed(op: str, given: list[np.ndarray], settings: dict[str, Any]) -> np.ndarray:
    """What exporters compute from small constants and shapes."""
    a = given[0] if given else np.zeros(0)
    if sum(g.size for g in given) > SMALL:
        raise Unsupported(LARGE)
    if op == "Concat":
        return np.concatenate(given, settings["axis"])
    if op == "Gather":
        axis = settings.get("axis", 0)
        if a.size // max(1, a.shape[axis]) * given[1].size > SMALL:
            raise Unsupported(LARGE)
        return np.take(a, given[1], axis)
    if op == "Slice":
        parts = [slice(None)] * a.ndim
        starts, ends = given[1].tolist(), given[2].tolist()
        axes = given[3].tolist() if len(given) > 3 else range(len(starts))
        steps = given[4].tolist() if len(given) > 4 else [1] * len(starts)
        for axis, *part in zip(axes, starts, ends, steps, strict=True):
            parts[axis] = slice(*part)
        return a[tuple(parts)]
    if op in ("ConstantOfShape", "Expand"):
        shape = given[-1].tolist()
        if min(shape, default=1) < 0 or prod(shape) > SMALL:
            raise Unsupported(LARGE)
        if op == "ConstantOfShape":
            return np.full(shape, settings["value"] if "value" in settings else np.float32(0))
        return np.broadcast_to(a, np.broadcast_shapes(a.shape, tuple(shape)))
    if op in COMPUTED and len(given) == 2 and 1 in (a.size, given[1].size):
        return COMPUTED[op](*given)
    raise Unsupported("computes a constant: leave it out of the model, or replace it")


def told(path: Path, text: str) -> dict[str, Any] | None:
    """What our own export says of itself; None when it does not."""
    try:
        told = parsed(text)
        settings.check_version(path, told)
        good = all(isinstance(text, str) for text in told["stored"].values())
        numbers = [n for _, bits, store in told["layers"] for n in (bits, store)]
        good = good and all(type(n) is int and 0 <= n <= 16 for n in numbers)
        settings.of(told)
        if not good or type(told["input_map"]) is not int:
            return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    for name, packed in told["stored"].items():
        with contextlib.suppress(ValueError):
            told["stored"][name] = np.frombuffer(base64.b64decode(packed, validate=True), "<i2")
    return told


def stored(
    told: dict[str, Any] | None, name: str, used: np.ndarray
) -> tuple[np.ndarray, np.float64] | None:
    """Of our own export: the weights that `used` are rounded from, and their unit in its.

    None: there are none, or they are of others.
    """
    try:
        whole = told["stored"][name].reshape(used.shape)
        _, *bits = told["layers"][int(name.partition(".")[0])]
    except (TypeError, KeyError, ValueError, IndexError, AttributeError):
        return None
    if not 0 < bits[0] < bits[1]:
        return None
    for at in range(0, whole.size, SMALL):
        some = slice(at, at + SMALL)
        of = Layer("", 0, 0, weight_bits=bits[0], store_bits=bits[1], weights=whole.flat[some])
        if not np.array_equal(of.used(told["paper"]), used.flat[some]):
            return None
    return whole, np.float64(2.0 ** (bits[0] - bits[1]))


def squeezed(shape: Sequence[int], axes: list[int] | None) -> list[int]:
    if axes is None:
        return [shape[0], *(n for n in shape[1:] if n != 1)]
    gone = {a % len(shape) for a in axes}
    if any(shape[a] != 1 for a in gone) or 0 in gone:
        raise Unsupported("it drops an axis above 1, or the batch")
    return [n for a, n in enumerate(shape) if a not in gone]


def unsqueezed(shape: Sequence[int], axes: list[int] | None) -> list[int]:
    new, rank = list(shape), len(shape) + len(axes or [])
    for a in sorted(a % rank for a in axes or []):
        new.insert(a, 1)
    return new

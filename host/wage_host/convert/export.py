"""A board's model for other programs: ONNX, safetensors, npz, C. Integers stay integers."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from wage_host._core import lib
from wage_host.convert import settings
from wage_host.convert.settings import Settings
from wage_host.convert.source import wanted
from wage_host.core import info
from wage_host.errors import ModelError, WrongUsage
from wage_host.layers import Layer, Network, Place
from wage_host.network import extras_fields, extras_of
from wage_host.unpack import Unpacked, unpacked

OPSET = 17
IR_VERSION = 8
UNIT = 2.0**-7  # of an activation (SPEC 2.1)
FORMATS = (".onnx", ".safetensors", ".npz", ".h")
LINE = 12  # bytes in a line of a header


def exported(blob: bytes, path: Path) -> bytes:
    """The bytes of a file of the format that its name says."""
    made = {".onnx": onnx, ".safetensors": safetensors, ".npz": npz, ".h": header}
    if path.suffix.lower() not in made:
        raise WrongUsage(f"{path}: a model is exported to {', '.join(FORMATS)}")
    return made[path.suffix.lower()](blob, path)


# -- arrays ----------------------------------------------------------------


def about(up: Unpacked) -> dict[str, Any]:
    """Everything but the weights and biases; layers as SPEC 9.2 has them."""
    return {
        **settings.fields(up),
        "shape": list(up.network.shape),
        "input_map": up.network.input_map,
        "unit_of_activations": "2^-7",
        "unit_of_weights": "2^-(store_bits - 1 + alpha_shift)",
        "unit_of_biases": "2^-(6 + weight_bits + alpha_shift)",
        "layers": [
            {
                "kind": layer.kind, "out": layer.out, "kernel": list(layer.kernel),
                "stride": list(layer.stride), "padding": list(layer.around), "pool": layer.pool,
                "activation": layer.activation, "weight_bits": layer.weight_bits,
                "store_bits": layer.store_bits, "alpha_shift": layer.alpha_shift,
                "skip": layer.skip, "factor": layer.factor,
            }
            for layer in up.network.layers
        ],
        **extras_fields(up.network.extras),
    }  # fmt: skip


def arrays(network: Network) -> dict[str, np.ndarray]:
    """Stored weights, (out, kernel height, kernel width, in) or (out, in), and biases, by layer."""
    found = {}
    for k, at in enumerate(network.places()):
        layer = at.layer
        if layer.weight_bits:
            inside = () if layer.kind == lib.WAGE_DENSE else layer.kernel
            found[f"{k}.weight"] = layer.weights.reshape(layer.out, *inside, -1)
        if layer.bias is not None:
            found[f"{k}.bias"] = layer.bias
    return found


def npz(blob: bytes, _path: Path) -> bytes:
    """Arrays and an `about` in JSON."""
    up, file = unpacked(blob), io.BytesIO()
    np.savez(file, about=json.dumps(about(up)), **arrays(up.network))
    return file.getvalue()


def safetensors(blob: bytes, _path: Path) -> bytes:
    """The same; `about` is in the file's metadata."""
    up = unpacked(blob)
    save = wanted("safetensors.numpy", "safetensors").save
    whole = {name: np.ascontiguousarray(a) for name, a in arrays(up.network).items()}
    return save(whole, {"about": json.dumps(about(up))})


def rebuilt(path: Path, told: Any, found: dict[str, np.ndarray]) -> tuple[Network, Settings]:
    """The network of such a file, and the rest of the model; none of it is believed."""
    try:
        settings.check_version(path, told)
        known = settings.of(told)
        layers = tuple(_layer(k, fields, found) for k, fields in enumerate(told["layers"]))
        h, w, c = (int(n) for n in told["shape"])
        extras = extras_of(told, layers[-1].out)
        input_map, paper = int(told["input_map"]), known.rules.paper
        return Network((h, w, c), input_map, layers, paper, extras), known
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise ModelError(f"{path} is no export, or is damaged: export the model again") from None


def _layer(k: int, fields: dict[str, Any], found: dict[str, np.ndarray]) -> Layer:
    numbers = {name: int(fields[name]) for name in (
        "kind", "out", "pool", "activation", "weight_bits", "store_bits", "alpha_shift", "skip",
        "factor",
    )}  # fmt: skip
    (kh, kw), (down, across) = fields["kernel"], fields["stride"]
    top, left, bottom, right = fields["padding"]
    small = [numbers[name] for name in ("kind", "pool", "activation", "skip")]
    small += [kh, kw, down, across, top, left, bottom, right]
    if not all(isinstance(n, int) and 0 <= n <= 255 for n in small):
        raise ValueError("no such layer")
    if not (0 <= numbers["out"] <= 65535 and 0 <= numbers["factor"] <= 65535):
        raise ValueError("no such layer")
    if not -8 <= numbers["alpha_shift"] <= 24:
        raise ValueError("no such scale")
    arrays = {}
    if numbers["weight_bits"]:
        bits, stored = numbers["weight_bits"], numbers["store_bits"]
        most = (1 << stored - 1) - (1 << stored - bits) if 2 <= bits <= stored <= 16 else 0
        weights = _within(found[f"{k}.weight"], np.int16, most)
        arrays["weights"] = weights.reshape(numbers["out"], -1)
    if f"{k}.bias" in found:
        arrays["bias"] = _within(found[f"{k}.bias"], np.int32, lib.WAGE_BIAS_MAX)
        if arrays["bias"].shape != (numbers["out"],):
            raise ValueError("no such bias")
    return Layer(
        f"layer {k}", kernel=(kh, kw), stride=(down, across), padding=(top, left),
        padding_end=(bottom, right), **numbers, **arrays,
    )  # fmt: skip


def _within(values: np.ndarray, dtype: type, most: int) -> np.ndarray:
    """Whole numbers as arrays() has them, none further from 0 than `most`."""
    good = values.dtype == dtype and values.flags.c_contiguous
    if not (good and -most <= values.min(initial=0) and values.max(initial=0) <= most):
        raise ValueError("no such numbers")
    return values


# -- C ---------------------------------------------------------------------


def header(blob: bytes, path: Path) -> bytes:
    """A C header with the whole model; aligned to nothing, read-only."""
    seen = info(blob)
    name = re.sub(r"\W", "_", path.stem)
    name = f"model_{name}" if name[:1].isdigit() else name
    rows = [
        "    " + " ".join(f"0x{b:02x}," for b in blob[at : at + LINE])
        for at in range(0, len(blob), LINE)
    ]
    size = "x".join(map(str, seen.shape))
    return "\n".join([
        f"/* Model {seen.name} ({seen.crc:08x}): {size} to {seen.classes} classes.",
        f" * wage_open(&w, {name}, sizeof {name}, arena, {name.upper()}_ARENA_BYTES) */",
        "#include <stdint.h>",
        "",
        f"#define {name.upper()}_ARENA_BYTES {seen.arena_bytes}u",
        f"#define {name.upper()}_INPUT_BYTES {seen.input_bytes}u",
        f"#define {name.upper()}_CLASSES {seen.classes}",
        "",
        f"static const uint8_t {name}[{len(blob)}] = {{",
        *rows,
        "};",
        "",
    ]).encode()  # fmt: skip


# -- ONNX ------------------------------------------------------------------


def onnx(blob: bytes, _path: Path) -> bytes:
    """Layers in floats between QuantizeLinear and DequantizeLinear, which round as a board does.

    The input is a board's, times 2^-7: a byte p is (p >> 1) / 128 with input map 0.
    """
    package = wanted("onnx", "onnx")
    up = unpacked(blob)
    return _Onnx(package, up).model().SerializeToString()


def steps(network: Network) -> list[float]:
    """What a whole number of each layer's output stands for, where the input's are 2^-7."""
    below, found = UNIT, []
    places = list(network.places())
    for k, at in enumerate(places):
        layer = at.layer
        step = UNIT
        if layer.kind == lib.WAGE_MAX_POOL:
            step = below
        elif layer.kind == lib.WAGE_AVERAGE_POOL:
            step = below * (1 << layer.alpha_shift) / (layer.factor * math.prod(layer.kernel))
        elif layer.kind == lib.WAGE_ADD:
            under = k - 1 - layer.skip
            _share(network, found, k - 1, found[under] if under >= 0 else UNIT)
            step = found[k - 1] * 2**layer.alpha_shift
        found.append(step)
        below = step
    return found


def _share(network: Network, found: list[float], k: int, step: float) -> None:
    """Layer k gives what is added to something of these steps; a max-pool hands on its input's."""
    if found[k] == step:
        return
    if k and network.layers[k].kind == lib.WAGE_MAX_POOL:
        _share(network, found, k - 1, step)
    elif not network.layers[k].weight_bits:
        raise ModelError(
            f"layer {k} is added to a tensor of other steps: ONNX has no word for it; export to "
            ".npz or .safetensors"
        )
    found[k] = step


class _Onnx:
    """Nodes and arrays of one model."""

    def __init__(self, package: Any, up: Unpacked):
        self.onnx, self.up, self.nodes, self.arrays = package, up, [], []
        self.steps = steps(up.network)
        self.stored: dict[str, str] = {}  # weights finer than those in use, in base 64

    def put(self, op: str, *inputs: str, out: str, **settings: Any) -> str:
        """One node; its name and its output's are `out`."""
        self.nodes.append(self.onnx.helper.make_node(op, inputs, [out], name=out, **settings))
        return out

    def array(self, name: str, values: np.ndarray) -> str:
        """One constant."""
        self.arrays.append(self.onnx.numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def rounded(self, name: str, x: str, step: float) -> str:
        """x in steps, to 8 bits."""
        scale = self.array(f"{name}.step", np.float32(step))
        zero = self.array(f"{name}.zero", np.int8(0))
        q = self.put("QuantizeLinear", x, scale, zero, out=f"{name}.q")
        return self.put("DequantizeLinear", q, scale, zero, out=f"{name}.a")

    def model(self) -> Any:
        """All of it."""
        network, make = self.up.network, self.onnx.helper
        h, w, c = network.shape
        tensors = {-1: self.rounded("input", "input", UNIT)}
        flat = False
        for k, at in enumerate(network.places()):
            x, wants = tensors[k - 1], at.layer.kind == lib.WAGE_DENSE
            if wants and not flat:
                x = self.put("Flatten", x, out=f"{k}.flat", axis=1)
            if flat and not wants:
                axes = self.array(f"{k}.axes", np.array([2, 3], np.int64))
                x = self.put("Unsqueeze", x, axes, out=f"{k}.whole")
            flat = wants
            tensors[k] = self.layer(k, at, x, tensors)
        x = tensors[len(network.layers) - 1]
        x = x if flat else self.put("Flatten", x, out="classes", axis=1)
        kind = self.onnx.TensorProto.FLOAT
        graph = make.make_graph(
            self.nodes,
            self.up.name or "wage",
            [make.make_tensor_value_info("input", kind, ["n", c, h, w])],
            [make.make_tensor_value_info(x, kind, ["n", network.classes])],
            self.arrays,
        )
        model = make.make_model(
            graph, opset_imports=[make.make_opsetid("", OPSET)], ir_version=IR_VERSION,
            producer_name="wage-host",
        )  # fmt: skip
        make.set_model_props(model, {"wage": json.dumps(self.told())})
        self.onnx.checker.check_model(model)
        return model

    def told(self) -> dict[str, Any]:
        """What ONNX has no place for."""
        network = self.up.network
        return {
            **settings.fields(self.up),
            "input_map": network.input_map,
            "layers": [[at.kind, at.weight_bits, at.store_bits] for at in network.layers],
            "stored": self.stored,
            **extras_fields(network.extras),
        }

    def layer(self, k: int, at: Place, x: str, tensors: dict[int, str]) -> str:
        """One layer, from x to its output."""
        layer, last = at.layer, k + 1 == len(self.up.network.layers)
        (top, left, bottom, right), name = layer.around, str(k)
        window = {"kernel_shape": layer.kernel, "strides": layer.stride}
        window["pads"] = [top, left, bottom, right]
        if layer.weight_bits:
            x = self.weighted(k, at, x, window)
        elif layer.kind == lib.WAGE_MAX_POOL:
            return self.put("MaxPool", x, out=name, **window)
        elif layer.kind == lib.WAGE_AVERAGE_POOL:
            x = self.put("AveragePool", x, out=name, count_include_pad=1, **window)
        else:
            x = self.put("Add", x, tensors[k - 1 - layer.skip], out=name)
        if layer.pool == 2:
            over = [0, 0, at.sums[0] % 2, at.sums[1] % 2]
            two = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": over}
            x = self.put("MaxPool", x, out=f"{k}.pool", **two)
        if layer.activation == lib.WAGE_RELU:
            x = self.put("Relu", x, out=f"{k}.relu")
        if layer.activation == lib.WAGE_SIGNED:
            most = np.float32(127 * self.steps[k])
            ends = [self.array(f"{k}.{n}", v) for n, v in (("low", -most), ("high", most))]
            x = self.put("Clip", x, *ends, out=f"{k}.clip")
        return x if last else self.rounded(name, x, self.steps[k])

    def weighted(self, k: int, at: Place, x: str, window: dict[str, Any]) -> str:
        """Gemm or Conv with whole weights and biases."""
        layer, network = at.layer, self.up.network
        below = self.steps[k - 1] if k else UNIT
        high = layer.alpha_shift + layer.weight_bits - 1
        unit = np.float32(self.steps[k] * 2.0**-high / below)
        scale = self.array(f"{k}.weight.step", unit)
        used = layer.used(network.paper)
        if k >= self.up.first and not layer.fixed and layer.store_bits > layer.weight_bits:
            whole = _moved(at, layer.weights).astype("<i2").tobytes()
            self.stored[f"{k}.weight"] = base64.b64encode(whole).decode()
        self.array(f"{k}.weight", _moved(at, used.astype(np.int8)))
        inputs = [x, self.put("DequantizeLinear", f"{k}.weight", scale, out=f"{k}.w")]
        if layer.bias is not None:
            bias = self.array(f"{k}.bias", layer.bias)
            of_sums = self.array(f"{k}.bias.step", np.float32(below * unit))
            inputs.append(self.put("DequantizeLinear", bias, of_sums, out=f"{k}.b"))
        if layer.kind == lib.WAGE_DENSE:
            return self.put("Gemm", *inputs, out=str(k), transB=1)
        groups = at.input[2] if layer.kind == lib.WAGE_DEPTHWISE else 1
        return self.put("Conv", *inputs, out=str(k), group=groups, **window)


def _moved(at: Place, weights: np.ndarray) -> np.ndarray:
    """Weights as ONNX has them: channels in front."""
    layer = at.layer
    if layer.kind == lib.WAGE_DENSE:
        by_place = weights.reshape(layer.out, *at.input)
        return by_place.transpose(0, 3, 1, 2).reshape(layer.out, -1)
    return weights.reshape(layer.out, *layer.kernel, -1).transpose(0, 3, 1, 2)

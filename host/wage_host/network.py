"""A network on the host: its description in text, its weights, its .npz file."""

import dataclasses
import io
import json
import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from wage_host import initial
from wage_host._core import lib
from wage_host.core import NO_WEIGHTS, Core
from wage_host.data import steps
from wage_host.errors import ModelError
from wage_host.extras import NOTHING, Extras, Step
from wage_host.files import UNREADABLE, write_whole
from wage_host.layers import Layer, Network, Pair, Place, Shape, check, place

FILE_FORMAT = 2  # of save()
ALPHA_MAX = 20  # largest alpha_shift of a layer with weights (SPEC 9.2)
STORE_BITS = {2: 8, 8: 16}  # kG where only kW is given
KINDS = {
    "C": lib.WAGE_CONV2D,
    "DW": lib.WAGE_DEPTHWISE,
    "FC": lib.WAGE_DENSE,
    "AP": lib.WAGE_AVERAGE_POOL,
    "GAP": lib.WAGE_AVERAGE_POOL,
    "MP": lib.WAGE_MAX_POOL,
    "+": lib.WAGE_ADD,
}
# What a token must have, and may have (groups of TOKEN).
GRAMMAR = {
    "C": ("out size", "valid stride signed pool bits"),
    "DW": ("size", "valid stride signed pool bits"),
    "FC": ("out", "signed bits"),
    "AP": ("size", "stride"),
    "MP": ("size", "stride"),
    "GAP": ("", ""),
    "+": ("size", "signed"),
}
NUMBER = r"[1-9]\d{0,8}"
TOKEN = re.compile(
    rf"(?P<out>{NUMBER})?(?P<name>C|FC|DW|AP|MP|GAP|\+)(?P<size>{NUMBER}(?:x{NUMBER})?)?"
    rf"(?P<valid>v)?(?P<stride>/{NUMBER})?(?P<signed>s)?(?P<pool>-MP2)?(?P<bits>:[\d/]+)?"
)


def parse(
    text: str,
    seed: int,
    input_map: int = 0,
    *,
    bits: Pair = (8, 16),
    init: str | None = None,
    bias: bool = False,
    paper: bool = False,
) -> Network:
    """A fresh network from the paper's notation, for example `8x8x1 8C3-MP2 32FC 10FC`.

    First the input, height x width x channels. Then layers, each with what may stand behind it:

        8C3   convolution, 8 channels, kernel 3 (8C1x9: 1 high, 9 wide), zeros around to keep
              the size; v: none; /2: stride 2; s: output signed, no ReLU; -MP2: max-pool
        DW3   depthwise convolution; the same behind it
        10FC  dense, 10 outputs; s
        MP2   max-pool, AP2 average pool, stride as the kernel; /1: another stride
        GAP   average over all positions
        +2    adds the input of the layer two below; ReLU, or s

    `:2/8` behind a layer with weights: 2 bits in use (2 to 8), 8 stored (to 16); `:2` and `:8`
    stand for `:2/8` and `:8/16`; else `bits`. `init`: initial.FILLED or initial.PUBLISHED;
    None: published for 2-bit weights under the paper's policy, else filled.
    """
    given, tokens = _split(text)
    layers = []
    for number, at in enumerate(_placed(given, tokens, [bits] * len(tokens))):
        layer = at.layer
        if layer.weight_bits:
            chosen = init or (
                initial.PUBLISHED if paper and layer.weight_bits == 2 else initial.FILLED
            )
            layer = _begin(layer, at.fan_in, chosen, seed, number)
            if bias:
                layer = dataclasses.replace(layer, bias=np.zeros(layer.out, np.int32))
        layers.append(layer)
    return Network(given, input_map, tuple(layers), paper)


def _split(text: str) -> tuple[Shape, list[str]]:
    """The input and the layers' texts."""
    first, *rest = text.split() or [""]
    match = re.fullmatch(rf"({NUMBER})x({NUMBER})x({NUMBER})", first)
    if not match or not rest:
        raise ModelError(f"'{text}': begin with the input and name layers, as 8x8x1 8C3-MP2 10FC")
    h, w, c = match.groups()
    return (int(h), int(w), int(c)), rest


def _placed(given: Shape, tokens: list[str], bits: list[Pair]) -> list[Place]:
    """The layers, without weights yet, where they stand; bits: where the text has none."""
    if len(tokens) > lib.WAGE_LAYERS_MAX:
        raise ModelError(f"{len(tokens)} layers are too many: at most {lib.WAGE_LAYERS_MAX}")
    shape, places = given, []
    for token, default_bits in zip(tokens, bits, strict=True):
        layer = _read(token, shape, default_bits, len(places) + 1 == len(tokens))
        at = place(layer, shape)
        check(at, 1)
        if layer.kind == lib.WAGE_ADD:
            _check_skip(at, places)
        places.append(at)
        shape = at.output
    ends = (lib.WAGE_DENSE, lib.WAGE_CONV2D, lib.WAGE_DEPTHWISE, lib.WAGE_AVERAGE_POOL)
    if prod(shape[:2]) != 1 or not 2 <= shape[2] <= lib.WAGE_CLASSES_MAX or layer.kind not in ends:
        raise ModelError(f"'{token}' gives no classes: end with a layer of 2FC to 255FC")
    if not any(at.layer.weight_bits for at in places):
        text = " ".join(["x".join(map(str, given)), *tokens])
        raise ModelError(f"'{text}' has no weights: give it a layer that learns, as 10FC")
    return places


def _pieces(token: str) -> re.Match:
    """The parts of a layer's text, each one that its kind needs and may have."""
    match = TOKEN.fullmatch(token)
    if match:
        found = {name for name, part in match.groupdict().items() if part} - {"name"}
        needs, may = (set(part.split()) for part in GRAMMAR[match["name"]])
        if needs <= found <= needs | may and not (match["name"] == "+" and "x" in match["size"]):
            return match
    raise ModelError(
        f"'{token}' is no layer: write 8C3, 8C3v, 8C3/2, 8C3-MP2, 8C1x9, DW3, MP2, AP2, GAP, +2 "
        "or 10FC"
    )


def _read(token: str, shape: Shape, default_bits: Pair, last: bool) -> Layer:
    """One layer, without weights yet, behind a tensor of this shape."""
    match = _pieces(token)
    name, kind = match["name"], KINDS[match["name"]]
    out, weighted = int(match["out"] or shape[2]), name in ("C", "DW", "FC")
    size = [int(n) for n in (match["size"] or "1").split("x")]
    kernel = shape[:2] if name == "GAP" else (size[0], size[-1])
    stride = (int(match["stride"][1:]),) * 2 if match["stride"] else (1, 1)
    if name in ("AP", "MP") and not match["stride"]:
        stride = kernel
    if max(*kernel, *stride) > 255 or max(out, *shape) > 65535:
        raise ModelError(f"'{token}' is too large: kernels to 255, sizes to 65535")
    if last and match["signed"]:
        raise ModelError(f"'{token}': the last layer has no activation: leave out the s")
    fields = {"activation": lib.WAGE_NONE, "pool": 2 if match["pool"] else 1}
    if (weighted or name == "+") and not last:
        fields["activation"] = lib.WAGE_SIGNED if match["signed"] else lib.WAGE_RELU
    if weighted:
        text = match["bits"]
        bits = parse_bits(token, text[1:]) if text else default_bits
        fields |= {"weight_bits": bits[0], "store_bits": bits[1]}
    if kind == lib.WAGE_ADD:
        return Layer(token, kind, out, skip=size[0], **fields)
    if name in ("C", "DW") and not match["valid"]:
        if not all(k % 2 for k in kernel):
            wider = f"{token[: match.end('size')]}v{token[match.end('size') :]}"
            raise ModelError(f"'{token}': an even kernel cannot keep the size: write {wider}")
        fields["padding"] = tuple((k - 1) // 2 for k in kernel)
    if kind == lib.WAGE_AVERAGE_POOL:
        fields["alpha_shift"], fields["factor"] = _reciprocal(prod(kernel))
    return Layer(token, kind, out, kernel, stride, **fields)


def parse_bits(where: str, text: str) -> Pair:
    """(kW, kG) from `8/16`; `2` and `8` alone stand for 2/8 and 8/16."""
    match = re.fullmatch(r"(\d{1,2})(?:/(\d{1,2}))?", text)
    if not match:
        raise ModelError(f"'{where}': write bits in use / bits stored, as 2/8 or 8/16")
    used = int(match[1])
    stored = int(match[2] or STORE_BITS.get(used, 0))
    if not 2 <= used <= 8:
        raise ModelError(f"'{where}': weights in use have 2 to 8 bits, not {used}")
    if not stored:
        raise ModelError(f"'{where}' does not say how many bits are stored: write {used}/16")
    if stored < used:
        raise ModelError(
            f"'{where}': weights of {used} bits in use cannot be stored in {stored}: store more"
        )
    if stored > 16:
        raise ModelError(f"'{where}': weights are stored in 16 bits at most, not {stored}")
    return used, stored


def _reciprocal(size: int) -> Pair:
    """alpha_shift and factor of an average over `size` elements: factor / 2^shift is 1 / size."""
    for shift in range(24, 0, -1):
        factor = ((2 << shift) + size) // (2 * size)  # to the nearest
        if factor < 1 << 15 and size * factor < 1 << 24:
            break
    return shift, factor


def _begin(layer: Layer, fan_in: int, init: str, seed: int, number: int) -> Layer:
    """The layer with its constant scale and its first weights."""
    bits = (layer.weight_bits, layer.store_bits)
    if init == initial.PUBLISHED:
        shift = initial.published_alpha_shift(fan_in, layer.weight_bits)
        weights = initial.published(seed, number, layer.out, fan_in, bits)
    else:
        shift = initial.alpha_shift(fan_in)
        weights = initial.filled(seed, number, layer.out, fan_in, bits)
    return dataclasses.replace(layer, alpha_shift=shift, weights=weights)


def _check_skip(at: Place, below: list[Place]) -> None:
    """An add takes a tensor that exists, has its shape, and is no other add's."""
    layer, source = at.layer, len(below) - at.layer.skip
    if source < 0:
        raise ModelError(f"'{layer.text}' goes below the input: there are {len(below)} layers")
    skip = [*below, at][source].input
    if skip != at.input:
        sizes = ("x".join(map(str, s)) for s in (skip, at.input))
        raise ModelError("'{}' adds {} to {}: both must be alike".format(layer.text, *sizes))
    for number, other in enumerate(below):
        if other.layer.kind == lib.WAGE_ADD and number - other.layer.skip == source:
            raise ModelError(
                f"'{layer.text}' adds what '{other.layer.text}' adds already: a tensor can be "
                "added once"
            )


def warnings(network: Network) -> list[str]:
    """What is allowed but rarely meant."""
    tight = [layer.text for layer in network.layers if 0 < layer.weight_bits == layer.store_bits]
    if not tight:
        return []
    return [
        f"no bits between weights in use and stored ones in {', '.join(tight)}: small updates "
        "are lost in rounding; store more bits unless you repeat a published run"
    ]


# -- weights and files -----------------------------------------------------


def with_weights(network: Network, core: Core) -> Network:
    """The network with what an open model of it has learned."""
    learned = list(zip(core.weights(), core.biases(), strict=True))
    kept = len(network.layers) - len(learned)
    layers = network.layers[:kept] + tuple(
        dataclasses.replace(layer, weights=weights, bias=bias) if layer.weight_bits else layer
        for layer, (weights, bias) in zip(network.layers[kept:], learned, strict=True)
    )
    return dataclasses.replace(network, layers=layers)


def save(network: Network, path: Path) -> None:
    """Writes the network as .npz: a JSON description and the arrays of each layer."""
    arrays, layers = {}, []
    for k, layer in enumerate(network.layers):
        arrays[f"w{k}"] = layer.weights
        if layer.bias is not None:
            arrays[f"b{k}"] = layer.bias
        layers.append(_fields(layer))
    about = {"wage": FILE_FORMAT, "shape": network.shape, "input_map": network.input_map}
    about |= {"paper": network.paper, "layers": layers}
    about |= extras_fields(network.extras)
    file = io.BytesIO()
    np.savez_compressed(file, about=json.dumps(about), **arrays)
    write_whole(path, file.getvalue())


def load(path: Path) -> Network:
    """Reads what save() wrote; nothing of it is believed."""
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            if about["wage"] != FILE_FORMAT:
                raise ModelError(f"{path} was made by another version of wage-host: train it again")
            return _rebuilt(about, file)
    except FileNotFoundError:
        raise ModelError(f"there is no model file {path}") from None
    except UNREADABLE:
        raise ModelError(f"{path} is no network of 'wage-host train', or is damaged") from None


def _rebuilt(about: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Network:
    """The network that save() described; ValueError when its parts do not belong together."""
    given, tokens = _split(
        " ".join(["x".join(map(str, about["shape"])), *(f["text"] for f in about["layers"])])
    )
    bits = [(f["weight_bits"], f["store_bits"]) for f in about["layers"]]
    for token, (used, stored) in zip(tokens, bits, strict=True):
        if (used, stored) != (0, 0):
            parse_bits(token, f"{used}/{stored}")
    layers = []
    for k, at in enumerate(_placed(given, tokens, bits)):
        told = dict(about["layers"][k])
        shift = told["alpha_shift"] if at.layer.weight_bits else at.layer.alpha_shift
        layer = dataclasses.replace(
            at.layer, alpha_shift=shift, weights=arrays[f"w{k}"], bias=arrays.get(f"b{k}")
        )
        if json.dumps(_fields(layer)) != json.dumps(told) or shift not in range(ALPHA_MAX + 1):
            raise ValueError(f"{layer.text} is not as its text says")
        _check_arrays(at, layer)
        layers.append(layer)
    if about["input_map"] not in (0, 1) or about["paper"] not in (False, True):
        raise ValueError("no such input or policy")
    extras = extras_of(about, layers[-1].out)
    return Network(given, int(about["input_map"]), tuple(layers), bool(about["paper"]), extras)


def extras_fields(extras: Extras) -> dict[str, Any]:
    """Pre-processing and names of classes, in JSON's types; nothing where there are none."""
    if extras == NOTHING:
        return {}
    return {
        "steps": [[step.kind, *step.params] for step in extras.steps],
        "names": list(extras.names),
    }


def extras_of(about: dict[str, Any], classes: int) -> Extras:
    """What extras_fields() wrote; ValueError for what a blob could not carry."""
    found = tuple(
        Step(int(kind), tuple(map(int, params))) for kind, *params in about.get("steps", [])
    )
    names = tuple(map(str, about.get("names", [])))
    if not all(map(steps.allowed, found)) or len(names) not in (0, classes):
        raise ValueError("no such pre-processing or names")
    return Extras(found, names)


def _fields(layer: Layer) -> dict[str, Any]:
    """The layer without its arrays."""
    return {
        f.name: getattr(layer, f.name)
        for f in dataclasses.fields(layer)
        if f.name not in ("weights", "bias", "padding_end", "fixed")
    }


def _check_arrays(at: Place, layer: Layer) -> None:
    """ValueError when weights or biases are not those of such a layer (SPEC 2.4)."""
    weights, bias, bits = layer.weights, layer.bias, layer.weight_bits
    if not bits:
        right = weights.shape == NO_WEIGHTS.shape and bias is None
    else:
        most = (1 << layer.store_bits - 1) - (1 << layer.store_bits - bits)
        right = weights.dtype == np.int16 and weights.shape == (layer.out, at.fan_in)
        right = right and -most <= weights.min() and weights.max() <= most
        if bias is not None:
            most = lib.WAGE_BIAS_MAX
            right = right and bias.dtype == np.int32 and bias.shape == (layer.out,)
            right = right and -most <= bias.min() and bias.max() <= most
    if not right:
        raise ValueError(f"the arrays of {layer.text} are another layer's")

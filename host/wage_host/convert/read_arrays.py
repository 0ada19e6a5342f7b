"""Files of named arrays, .safetensors and .npz, with the layers described in our notation."""

from __future__ import annotations

import io
import json
import zipfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from wage_host import network
from wage_host._core import lib
from wage_host.convert.graph import AVERAGE, MAX, Builder, Graph, Tensor, Unsupported
from wage_host.convert.source import FILE_BYTES_MAX, read_whole, shown, wanted
from wage_host.convert.weights import Weights
from wage_host.errors import ModelError, WrongUsage
from wage_host.files import UNREADABLE
from wage_host.layers import Place

SHOWN = 12  # names in a message
UNPACKED, UNPACKED_BYTES = 3, 1 << 22  # times the file's size that its arrays have, or so many
HEADER_BYTES_MAX = 1 << 20
EPSILON = 1e-5  # of a normalisation, PyTorch's default
Arrays = dict[str, np.ndarray]


def read(path: Path, description: str | None, tensors: str | None) -> Graph:
    """The graph of layers that `description` names, with weights from `tensors`, in turn.

    A name stands for NAME.weight and NAME.bias as PyTorch has them: (out, in, kernel height,
    kernel width), (out, in); NAME+NORM: with a normalisation behind, NORM.running_mean, ….
    """
    arrays, size = load(path), path.stat().st_size
    if not description or not tensors:
        names = ", ".join(map(shown, list(arrays)[:SHOWN])) + (", …" if len(arrays) > SHOWN else "")
        raise WrongUsage(
            f"{path} holds arrays only ({names}): describe the layers with --network, as "
            "'28x28x1 16C3-MP2 10FC', and name theirs with --tensors, as conv1,fc"
        )
    net = network.parse(description, 1)
    names = tensors.split(",")
    if len(names) != len(net.weighted):
        raise WrongUsage(f"--tensors has {len(names)} names for {len(net.weighted)} layers")
    left = iter(names)
    height, width, channels = net.shape
    builder = Builder((channels, height, width), True, size)
    t, inputs = builder.input, [builder.input]
    for at in net.places():
        text = at.layer.text
        try:
            t = _layer(builder, at, t, inputs, arrays, next(left) if at.layer.weight_bits else "")
        except Unsupported as why:
            raise ModelError(f"{path}: '{text}': {why}") from None
        inputs.append(t)
    return builder.finish(t)


def _layer(
    builder: Builder, at: Place, t: Tensor, inputs: list[Tensor], arrays: Arrays, name: str
) -> Tensor:
    """One layer of the description; inputs: of this one and those below."""
    layer, where = at.layer, f"{at.layer.text} '{name or len(inputs) - 1}'"
    if layer.kind == lib.WAGE_ADD:
        t = builder.add(where, t, inputs[-1 - layer.skip])
    elif layer.kind in (lib.WAGE_AVERAGE_POOL, lib.WAGE_MAX_POOL):
        op = AVERAGE if layer.kind == lib.WAGE_AVERAGE_POOL else MAX
        return builder.pool(where, op, t, layer.kernel, layer.stride, layer.around, True)
    else:
        own, *norms = name.split("+")
        w, bias = _taken(arrays, own, "weight"), arrays.get(f"{own}.bias")
        bias = None if bias is None else Weights.of(bias)
        if layer.kind == lib.WAGE_DENSE:
            t = builder.reshape(t, (-1,)) if t.order.ndim > 1 else t
            _check(own, w, (layer.out, at.fan_in))
            t = builder.dense(where, t, Weights.of(w), bias)
        else:
            deep = layer.kind == lib.WAGE_DEPTHWISE
            w = w[:, :, None] if w.ndim == 3 else w
            _check(own, w, (layer.out, 1 if deep else at.input[2], *layer.kernel))
            groups = at.input[2] if deep else 1
            w = Weights.of(w.transpose(0, 2, 3, 1))
            t = builder.conv(where, t, w, bias, layer.stride, layer.around, groups, True)
        for norm in norms:
            t = builder.affine(where, t, *_norm(arrays, norm, t))
    if layer.activation == lib.WAGE_RELU:
        t = builder.clip(where, t, 0.0, float("inf"))
    if layer.pool == 2:  # a last row or column that is half is kept
        over = (0, 0, at.sums[0] % 2, at.sums[1] % 2)
        t = builder.pool(where, MAX, t, (2, 2), (2, 2), over, True)
    return t


def _norm(arrays: Arrays, name: str, t: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Factor and offset of a normalisation that has learned."""
    parts = ("weight", "bias", "running_mean", "running_var")
    given = [_taken(arrays, name, part) for part in parts]
    for part in given:
        _check(name, part, (t.order.shape[0],))
    gamma, beta, mean, variance = (part.astype(np.float64) for part in given)
    factor = gamma / np.sqrt(variance + EPSILON)
    shape = (-1,) + (1,) * (t.order.ndim - 1)
    return factor.reshape(shape), (beta - mean * factor).reshape(shape)


def _taken(arrays: Arrays, name: str, part: str) -> np.ndarray:
    if f"{name}.{part}" not in arrays:
        raise Unsupported(f"there is no array {name}.{part}: name another with --tensors")
    return arrays[f"{name}.{part}"]


def _check(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        sizes = ("x".join(map(str, s)) for s in (array.shape, shape))
        raise Unsupported("{} has {}, the layer takes {}".format(name, *sizes))


def load(path: Path) -> Arrays:
    """All arrays of a file of floats or whole numbers."""
    if path.suffix.lower() == ".npz":
        return _npz(path)
    numpy = wanted("safetensors.numpy", "safetensors")
    data = read_whole(path)
    try:
        return numpy.load(data)
    except Exception:  # whatever the library raises for bytes that are none
        raise ModelError(
            f"{path} is no safetensors file of floats, or is damaged: save it again"
        ) from None


def metadata(path: Path) -> Any:
    """What our own export says of itself, or None; bad files are left to load()."""
    try:
        if path.suffix.lower() == ".npz":
            about = _npz(path, texts=True).get("about")
            return None if about is None else _json(str(about))
        with path.open("rb") as file:
            most = min(HEADER_BYTES_MAX, path.stat().st_size)
            size = min(int.from_bytes(file.read(8), "little"), most)
            return _json(json.loads(file.read(size))["__metadata__"]["about"])
    except (ModelError, *UNREADABLE, RecursionError):
        return None


def _json(text: str) -> Any:
    told = json.loads(text)
    return told if "wage_export" in told else None


def _npz(path: Path, texts: bool = False) -> Arrays:
    """The arrays of an .npz file; no header of it is believed before its bytes were counted."""
    data, found = read_whole(path), {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            members = file.infolist()
            most = max(UNPACKED * len(data), UNPACKED_BYTES)
            if sum(m.file_size for m in members) > min(most, FILE_BYTES_MAX):
                raise ModelError(f"{path} unpacks to far more than its size: save it unpacked")
            for member in members:
                name = member.filename.removesuffix(".npy")
                array = _array(file.read(member))
                if texts or array.dtype.kind != "U":
                    found[name] = array
    except UNREADABLE:
        raise ModelError(f"{path} is no .npz file, or is damaged: save it again") from None
    return found


def _array(data: bytes) -> np.ndarray:
    """The array in the bytes of an .npy file; ValueError when they are not as many as it says."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else (
        np.lib.format.read_array_header_2_0
    )
    shape, by_column, dtype = read(file)
    if dtype.hasobject or dtype.kind not in "fiubU":
        raise ValueError("no numbers")
    rest = data[file.tell() :]
    if len(rest) != prod(shape) * dtype.itemsize:
        raise ValueError("another size")
    return np.frombuffer(rest, dtype).reshape(shape, order="F" if by_column else "C")

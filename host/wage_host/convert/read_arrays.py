"""Files of named arrays, .safetensors and .npz, with the layers described in our notation."""

from __future__ import annotations

import io
import zipfile
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from wage_host import network
from wage_host._core import lib
from wage_host.convert.graph import AVERAGE, MAX, Builder, Graph, Tensor, Unsupported
from wage_host.convert.source import parsed, read_whole, shown, wanted
from wage_host.convert.weights import Weights
from wage_host.errors import ModelError, WrongUsage
from wage_host.files import UNREADABLE
from wage_host.layers import Place

SHOWN = 12  # names in a message
ARRAYS_MAX = 400  # in a file
UNPACKED, UNPACKED_BYTES = 3, 1 << 16  # times the file's size that its arrays have, or so many
NAME_LENGTH = 26  # where a member's header in a .zip file has it
NAME_BYTES_MAX = 1024
NPY_HEADER_MAX = 512
PART_BYTES = 1 << 14  # unpacked at once
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
        some = [shown(n[: -len(part) - 1]) for n in arrays if n.endswith(f".{part}")]
        raise Unsupported(
            f"there is no array {shown(name)}.{part}: name another with --tensors, of "
            f"{', '.join(some[:SHOWN]) or 'none'}"
        )
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
    if data.count(b"data_offsets") > ARRAYS_MAX:
        raise _too_many(path)
    try:
        return numpy.load(data)
    except Exception:  # whatever the library raises for bytes that are none
        raise ModelError(
            f"{path} is no safetensors file of 32- or 16-bit floats (float16), or is damaged: save "
            "it again, as with .float()"
        ) from None


def metadata(path: Path) -> Any:
    """What our own export says of itself, or None; bad files are left to load()."""
    try:
        if path.suffix.lower() == ".npz":
            about = _npz(path, "U").get("about")
            return None if about is None else _own(str(about))
        with path.open("rb") as file:
            most = min(HEADER_BYTES_MAX, path.stat().st_size)
            size = min(int.from_bytes(file.read(8), "little"), most)
            return _own(parsed(file.read(size).decode())["__metadata__"]["about"])
    except (ModelError, *UNREADABLE, RecursionError):
        return None


def _own(text: str) -> Any:
    told = parsed(text)
    return told if "wage_export" in told else None


def _too_many(path: Path) -> ModelError:
    return ModelError(f"{path} has more than {ARRAYS_MAX} arrays: save those of this network only")


def _npz(path: Path, kinds: str = "fiub") -> Arrays:
    """The arrays of an .npz file, of these kinds; what it says is counted before it is unpacked."""
    data, found = read_whole(path), {}
    if data.count(b"PK\1\2") > ARRAYS_MAX:
        raise _too_many(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            members = file.infolist()
            if sum(m.file_size for m in members) > max(UNPACKED * len(data), UNPACKED_BYTES):
                raise ModelError(f"{path} unpacks to far more than its size: save it unpacked")
            for member in members:
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError("another compression")
                at = member.header_offset + NAME_LENGTH
                if int.from_bytes(data[at : at + 2], "little") > NAME_BYTES_MAX:
                    raise ValueError("a long name, which zipfile would repeat")
                with file.open(member) as part:
                    array = _array(part, member.file_size, kinds)
                if array is not None:
                    found[member.filename.removesuffix(".npy")] = array
    except UNREADABLE:
        raise ModelError(f"{path} is no .npz file, or is damaged: save it again") from None
    return found


def _array(file: IO[bytes], most: int, kinds: str) -> np.ndarray | None:
    """The array of an .npy file of `most` bytes; None: it is of another kind.

    ValueError when there are not as many numbers as it says.
    """
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("another version")
    shape, by_column, dtype = np.lib.format.read_array_header_1_0(file, NPY_HEADER_MAX)
    if dtype.hasobject or dtype.kind not in "fiubU":
        raise ValueError("no numbers")
    if dtype.kind not in kinds:
        return None
    size = prod(shape) * dtype.itemsize
    if not 0 <= size <= most:
        raise ValueError("another size")
    numbers, at = np.empty(size, np.uint8), 0
    while part := file.read(PART_BYTES):
        numbers[at : at + len(part)] = np.frombuffer(part, np.uint8)
        at += len(part)
    if at != size:
        raise ValueError("another size")
    return numbers.view(dtype).reshape(shape, order="F" if by_column else "C")

"""Samples ready for a model: int8 activations, or bytes that become them."""

import dataclasses
import zlib
from collections.abc import Sequence
from math import prod

import numpy as np

from wage_host._core import lib
from wage_host.core import Info, Sample
from wage_host.data.prepare import shape_text
from wage_host.errors import DataError, LabelError, ShapeError
from wage_host.extras import Step
from wage_host.layers import Shape


@dataclasses.dataclass(frozen=True)
class Data:
    """Samples of a file: x (n, …) int8 or uint8, labels (n,) int64; names of classes, or none."""

    name: str
    x: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def crc(self) -> int:
        """CRC-32 of inputs and labels: which data a run saw."""
        return zlib.crc32(self.labels.astype("<i8").tobytes(), zlib.crc32(self.x.tobytes()))


def activations(x: np.ndarray, input_map: int) -> np.ndarray:
    """int8 activations of raw samples: int8 as they are, uint8 by the blob's map (SPEC 3.2)."""
    if x.dtype == np.int8:
        return x
    p = x.astype(np.int16)
    mapped = p >> 1 if input_map == 0 else np.clip(p - 128 + (p >= 128), -127, 127)
    return mapped.astype(np.int8)


def check(data: Data, info: Info, labels: bool = True) -> None:
    """Raises when a shape or, with `labels`, a label is not one of the model's."""
    check_shape(data, info.shape)
    if not labels:
        return
    bad = np.flatnonzero((data.labels < 0) | (data.labels >= info.classes))
    if len(bad):
        raise LabelError(
            f"{data.name}, sample {bad[0] + 1}: label {data.labels[bad[0]]} is out of range; "
            f"the model's classes are 0 to {info.classes - 1}"
        )


def check_shape(data: Data, shape: Shape) -> None:
    """Raises when samples have not the model's values, or have them by other axes."""
    if not len(data):
        return
    has, size = data.x.shape[1:], data.x[0].size
    told = f"{data.name} has samples of {shape_text(has)}"
    if size != prod(shape):
        raise ShapeError(
            f"{told} ({size} values), the model takes {shape_text(shape)} ({prod(shape)}): use the "
            "data of this model"
        )
    axes, wanted = ([n for n in s if n > 1] for s in (has, shape))
    if len(axes) == len(wanted) and axes != wanted:
        order = "0, 2, 3, 1" if len(has) == 3 else "0, 2, 1"
        raise ShapeError(
            f"{told}, the model takes {shape_text(shape)}, height, width and channels: save them "
            f"with the channels last, as x.transpose({order})"
        )


def samples(data: Data, info: Info) -> Sequence[Sample]:
    """The samples as the model takes them, after a look at every shape and label."""
    check(data, info)
    x = activations(data.x, info.input_map).reshape(len(data), -1)
    return list(zip(x, data.labels.tolist(), strict=True))


def finished(arrays: Sequence[np.ndarray], steps: Sequence[Step], where: str) -> np.ndarray:
    """Arrays (h, w, c) after all steps as one (n, h, w, c): activations, or bytes (SPEC 10.1)."""
    shapes = {x.shape for x in arrays}
    if len(shapes) > 1:
        some = " and ".join(map(shape_text, sorted(shapes)[:2]))
        raise DataError(
            f"{where}: samples have several shapes, {some}: give "
            "--prepare with 'resize' or 'grey' for pictures, 'cut' or 'window' for sound"
        )
    x = np.stack(arrays)
    if x.dtype in (np.int8, np.uint8) or (steps and steps[-1].kind == lib.WAGE_NORMALISE):
        return x
    return as_bytes(x, where)


def as_bytes(x: np.ndarray, where: str) -> np.ndarray:
    """Integers as uint8, or when one is negative as int8; DataError when they do not fit."""
    if x.dtype.kind == "f" and not np.array_equal(x, np.rint(x)):
        value = x[x != np.rint(x)][0]
        raise DataError(
            f"{where}: {value:g} is no whole number: give --prepare normalise, or write whole "
            "numbers of 0 to 255"
        )
    low, high = (x.min(), x.max()) if x.size else (0, 0)
    if low < -128 or high > (127 if low < 0 else 255):
        raise DataError(
            f"{where}: values from {low:g} to {high:g} must lie in 0 to 255, or in -128 to 127: "
            "give --prepare normalise, or scale them"
        )
    return x.astype(np.int8 if low < 0 else np.uint8)

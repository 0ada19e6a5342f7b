"""Host file to samples: .npz, .csv and published formats, as int8 activations and labels."""

import csv
import dataclasses
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wage_host import datasets, images
from wage_host.core import Info, Sample
from wage_host.errors import DataError, LabelError, ShapeError
from wage_host.files import UNREADABLE

NUMERIC = tuple("0123456789+-.")  # what a cell with a number begins with


@dataclasses.dataclass(frozen=True)
class Data:
    """Samples as they were in a file: x (n, …) int8 or uint8, labels (n,) int64."""

    name: str
    x: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def crc(self) -> int:
        """CRC-32 of inputs and labels: which data a run saw."""
        return zlib.crc32(self.labels.astype("<i8").tobytes(), zlib.crc32(self.x.tobytes()))


def load(path: Path) -> Data:
    """The samples of a file or folder; its name says the format.

    A part of a zip file of pictures is SET.zip/train. What is not there under this name may be
    in the folder of data sets, which WAGE_DATA names.
    """
    places = (path, datasets.root() / path)
    path = next((p for p in places if p.exists() or images.in_zip(p)), path)
    if not path.exists() and not images.in_zip(path):
        raise DataError(f"there is no data file {path}")
    try:
        x, labels = _read(path)
    except UNREADABLE:
        raise DataError(f"{path} is truncated or not what its name says: copy it again") from None
    if x.ndim < 1 or labels.ndim != 1:
        raise DataError(f"{path}: give one label a sample, not labels of {_shape(labels.shape)}")
    if len(x) == 0:
        raise DataError(f"{path} holds no samples: give at least one")
    if len(x) != len(labels):
        raise DataError(f"{path}: {len(x)} samples but {len(labels)} labels: one is cut off")
    if x.dtype not in (np.int8, np.uint8):
        raise DataError(
            f"{path}: x has type {x.dtype}; give uint8 (0 to 255) or int8 (-128 to 127)"
        )
    if labels.dtype.kind not in "iu":
        raise DataError(f"{path}: labels have type {labels.dtype}; give whole numbers from 0")
    return Data(path.name, x, labels.astype(np.int64))


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Samples and labels in the format that the name says."""
    name = path.name.removesuffix(".gz")
    if images.in_zip(path):
        return images.load(path)
    if path.is_dir():
        binary = any(path.glob("data_batch_*.bin"))
        return datasets.cifar_folder(path, "train") if binary else images.load(path)
    if name.endswith(".npz"):
        return _npz(path)
    if name.endswith(".csv"):
        return _csv(path)
    if name.endswith(".bin"):
        return datasets.cifar(path)
    if name.endswith(".mat"):
        return datasets.svhn(path)
    if "idx3-ubyte" in name:
        return datasets.idx_pair(path)
    raise DataError(
        f"{path}: data are .npz, .csv, IDX (…-images-idx3-ubyte[.gz]), CIFAR-10's .bin, SVHN's "
        ".mat, or a folder or zip file of <class>/NAME.jpg"
    )


def _npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        if "x" not in file or "y" not in file:
            raise DataError(f"{path} must have the arrays x (samples) and y (labels)")
        return np.asarray(file["x"]), np.asarray(file["y"])


def _csv(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Rows of label, value, value, …; a first row without numbers is a header.

    Values are bytes, 0 to 255, or when one is negative activations, -128 to 127.
    """
    rows: list[list[int]] = []
    with path.open(newline="", encoding="utf-8-sig") as file:
        for number, cells in enumerate(csv.reader(file), 1):
            if not cells or (number == 1 and not any(c.strip()[:1] in NUMERIC for c in cells)):
                continue
            try:
                row = [int(cell) for cell in cells]
            except ValueError:
                raise DataError(
                    f"{path}, line {number}: write whole numbers with commas between them, the "
                    "label first"
                ) from None
            if rows and len(row) != len(rows[0]):
                raise DataError(f"{path}, line {number}: not as many values as in the first row")
            rows.append(row)
    table = np.array(rows, np.int64).reshape(len(rows), -1 if rows else 1)
    values = table[:, 1:]
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    if low < -128 or high > (127 if low < 0 else 255):
        raise DataError(f"{path}: values must lie in 0 to 255, or in -128 to 127")
    return values.astype(np.int8 if low < 0 else np.uint8), table[:, 0]


def activations(x: np.ndarray, input_map: int) -> np.ndarray:
    """int8 activations of raw samples: int8 as they are, uint8 by the blob's map (SPEC 3.2)."""
    if x.dtype == np.int8:
        return x
    p = x.astype(np.int16)
    mapped = p >> 1 if input_map == 0 else np.clip(p - 128 + (p >= 128), -127, 127)
    return mapped.astype(np.int8)


def check(data: Data, info: Info, labels: bool = True) -> None:
    """Raises when a shape or, with `labels`, a label is not one of the model's."""
    size = data.x[0].size if len(data) else info.input_bytes
    if size != info.input_bytes:
        raise ShapeError(
            f"{data.name} has samples of {_shape(data.x.shape[1:])} ({size} values), the model "
            f"takes {_shape(info.shape)} ({info.input_bytes}): use the data of this model"
        )
    if not labels:
        return
    bad = np.flatnonzero((data.labels < 0) | (data.labels >= info.classes))
    if len(bad):
        raise LabelError(
            f"{data.name}, sample {bad[0] + 1}: label {data.labels[bad[0]]} is out of range; "
            f"the model's classes are 0 to {info.classes - 1}"
        )


def samples(data: Data, info: Info) -> Sequence[Sample]:
    """The samples as the model takes them, after a look at every shape and label."""
    check(data, info)
    x = activations(data.x, info.input_map).reshape(len(data), -1)
    return list(zip(x, data.labels.tolist(), strict=True))


def _shape(shape: Sequence[int]) -> str:
    return "x".join(str(n) for n in shape)


def save(path: Path, x: np.ndarray, labels: np.ndarray) -> None:
    """Writes samples as .npz, to be read by load()."""
    np.savez_compressed(path, x=x, y=labels.astype(np.int64))

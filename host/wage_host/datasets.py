"""Data sets in their publishers' formats: x (n, h, w, c) uint8, and labels (n,).

Of motions x is (n, 1, 100, 6) float64: 10 s of a watch's accelerometer (3) and gyroscope (3).

`named` finds a known set in the folder of data sets, which WAGE_DATA names:

    mnist            mnist/train-images-idx3-ubyte.gz …                 60,000 + 10,000
    fashion-mnist    fashion-mnist/…, or Debian's dataset-fashion-mnist 60,000 + 10,000
    cifar10          cifar-10-batches-bin/data_batch_1.bin …            50,000 + 10,000
    cifar10-jpeg     cifar10/cifar10-jpeg.zip, <part>/<class>/NAME.jpg  50,000 + 10,000
    svhn             svhn/train_32x32.mat, svhn/test_32x32.mat          73,257 + 26,032
    fsdd             fsdd/fsdd.zip or fsdd/recordings/0_george_0.wav …   2,700 +    300
                     (release 1.0.9, which is fetched:               2,250 +    250)
    motions          motions/BasicMotions_TRAIN.ts, …_TEST.ts               40 +     40
    imagenet         imagenet/train/<synset>/NAME.JPEG, imagenet/val/…  1,281,167 + 50,000
"""

import dataclasses
import gzip
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from wage_host import images, matlab
from wage_host.errors import DataError
from wage_host.files import UNREADABLE

IDX_UINT8 = 8
CIFAR_RECORD = 1 + 3 * 32 * 32  # a label; red, green and blue planes
SVHN_ZERO = 10  # SVHN's label of the digit 0
PARTS = ("train", "test")

Arrays = tuple[np.ndarray, np.ndarray]


def idx(path: Path) -> np.ndarray:
    """The array of an IDX file of unsigned bytes, gzipped or not."""
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    zeros, kind, dimensions = struct.unpack_from(">HBB", raw)
    shape = struct.unpack_from(f">{dimensions}I", raw, 4)
    if zeros != 0 or kind != IDX_UINT8:
        raise ValueError("not an IDX file of bytes")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def idx_labels_of(path: Path) -> Path:
    """The IDX file of labels that belongs to a file of images."""
    labels = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    if not labels.exists():
        raise DataError(f"the labels of {path} are missing: put {labels.name} beside it")
    return labels


def idx_pair(path: Path) -> Arrays:
    """Images and labels of an IDX file and of the one that belongs to it."""
    return idx(path), idx(idx_labels_of(path))


def cifar(*paths: Path) -> Arrays:
    """CIFAR-10's binary version: (n, 32, 32, 3) red, green, blue; labels 0 to 9."""
    raw = []
    for path in paths:
        size = path.stat().st_size
        if size == 0 or size % CIFAR_RECORD:
            raise DataError(
                f"{path}: {size} bytes are no whole records of CIFAR-10's binary version "
                f"({CIFAR_RECORD} bytes each): copy it again"
            )
        raw.append(np.fromfile(path, np.uint8).reshape(-1, CIFAR_RECORD))
        if raw[-1][:, 0].max() > 9:
            raise DataError(f"{path} is not of CIFAR-10: it has a label above 9")
    count = sum(len(part) for part in raw)
    x, labels = np.empty((count, 32, 32, 3), np.uint8), np.empty(count, np.uint8)
    at = 0
    for part in raw:
        labels[at : at + len(part)] = part[:, 0]
        x[at : at + len(part)] = part[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        at += len(part)
    return x, labels


def cifar_folder(folder: Path, part: str) -> Arrays:
    """One part of the folder cifar-10-batches-bin."""
    files = sorted(folder.glob("data_batch_*.bin" if part == "train" else "test_batch.bin"))
    if not files:
        raise DataError(f"{folder} has no {part} batches of CIFAR-10's binary version")
    return cifar(*files)


def svhn(path: Path) -> Arrays:
    """SVHN's cropped digits (format 2): (n, 32, 32, 3); the label 10 is the digit 0."""
    arrays = matlab.load(path)
    if "X" not in arrays or "y" not in arrays:
        raise DataError(f"{path} must have the arrays X and y, as SVHN's format 2")
    x, y = arrays["X"], arrays["y"].reshape(-1)
    if x.ndim != 4 or x.shape[2] != 3 or x.dtype != np.uint8:
        raise DataError(f"{path}: X must be height x width x 3 x n bytes, as SVHN's format 2")
    if y.size and (y.min() < 1 or y.max() > SVHN_ZERO):
        raise DataError(f"{path}: labels of SVHN are 1 to 10, and 10 is the digit 0")
    labels = y.astype(np.uint8)
    labels[labels == SVHN_ZERO] = 0
    return np.ascontiguousarray(x.transpose(3, 0, 1, 2)), labels


def series(path: Path) -> Arrays:
    """Time series of a .ts file, all of one length: x (n, 1, length, channels) float64.

    Labels are numbers in the order in which its head names the classes.
    """
    classes: list[str] = []
    x, labels = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *words = line.split()
        if word.lower() == "@classlabel":
            classes = words[1:]
        elif not word.startswith(("#", "@")):
            *channels, label = line.strip().split(":")
            x.append([[float(value) for value in channel.split(",")] for channel in channels])
            labels.append(classes.index(label))
    return np.array(x).transpose(0, 2, 1)[:, None], np.array(labels, np.uint8)


# -- sets by name ----------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Known:
    """A published data set: where its files may lie, who publishes it, how a part is read.

    names: of its classes, where they go into the model.
    """

    places: tuple[str, ...]  # the first that exists counts; relative to the folder of data sets
    published: str
    read: Callable[[Path, str], Arrays]
    names: tuple[str, ...] = ()


def _idx_part(folder: Path, part: str) -> Arrays:
    stem = {"train": "train", "test": "t10k"}[part] + "-images-idx3-ubyte"
    path = next((p for p in (folder / f"{stem}.gz", folder / stem) if p.exists()), None)
    if path is None:
        raise DataError(f"{folder} has no {stem}.gz: copy all four files of the set there")
    x, labels = idx_pair(path)
    return x.reshape(*x.shape, 1), labels


def _imagenet_part(folder: Path, part: str) -> Arrays:
    return images.load(folder / {"train": "train", "test": "val"}[part], images.Size(256, 224))


def fsdd_is_test(name: str) -> bool:
    """Whether a recording DIGIT_SPEAKER_NUMBER.wav is of the usual test part: numbers 0 to 4."""
    return re.fullmatch(r".*_[0-4]\.wav", name) is not None


def _only_sound(folder: Path, part: str) -> Arrays:
    raise DataError(f"{folder} is sound, which has no one shape: read it as fsdd:{part}")


KNOWN = {
    "mnist": Known(("mnist",), "yann.lecun.com/exdb/mnist, four gzipped IDX files", _idx_part),
    "fashion-mnist": Known(
        ("fashion-mnist", "/usr/share/datasets/fashion-mnist"),
        "github.com/zalandoresearch/fashion-mnist, or as Debian's package dataset-fashion-mnist "
        "(sudo apt install dataset-fashion-mnist)",
        _idx_part,
    ),
    "cifar10": Known(
        ("cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"),
        "www.cs.toronto.edu/~kriz/cifar.html, the binary version",
        cifar_folder,
    ),
    "cifar10-jpeg": Known(
        ("cifar10/cifar10-jpeg.zip", "cifar10-jpeg.zip"),
        "www.cs.toronto.edu/~kriz/cifar.html; here as JPEG, <part>/<class>/NAME.jpg in one zip "
        "file, and figures are comparable only with the same files",
        lambda path, part: images.load(path / part),
    ),
    "svhn": Known(
        ("svhn",),
        "ufldl.stanford.edu/housenumbers, format 2: train_32x32.mat and test_32x32.mat",
        lambda folder, part: svhn(folder / f"{part}_32x32.mat"),
    ),
    "fsdd": Known(
        ("fsdd/fsdd.zip", "fsdd"),
        "github.com/Jakobovski/free-spoken-digit-dataset, the folder recordings",
        _only_sound,
    ),
    "motions": Known(
        ("motions",),
        "timeseriesclassification.com as BasicMotions; its two .ts files are in the wheel "
        "aeon-1.6.0-py3-none-any.whl at pypi.org/project/aeon",
        lambda folder, part: series(folder / f"BasicMotions_{part.upper()}.ts"),
        ("Standing", "Running", "Walking", "Badminton"),
    ),
    "imagenet": Known(
        ("imagenet",),
        "image-net.org, ILSVRC 2012: a folder a synset under train and val",
        _imagenet_part,
    ),
}


def root(folder: Path | None = None) -> Path:
    """The folder of data sets: `folder`, else the one that WAGE_DATA names, else this one."""
    return folder or Path(os.environ.get("WAGE_DATA") or ".")


def find(name: str, folder: Path | None = None) -> Path:
    """Where a known set lies."""
    if name not in KNOWN:
        raise DataError(f"'{name}' is no known data set: they are {', '.join(KNOWN)}")
    known = KNOWN[name]
    places = [root(folder) / place for place in known.places]
    for place in places:
        if place.exists():
            return place
    raise DataError(
        f"the data set {name} is not there: put it into {places[0]} (WAGE_DATA names the folder "
        f"of data sets); published at {known.published}"
    )


def check_part(part: str) -> str:
    """The part, when it is one."""
    if part not in PARTS:
        raise DataError(f"'{part}' is no part of a data set: they are {' and '.join(PARTS)}")
    return part


def named(name: str, part: str, folder: Path | None = None) -> Arrays:
    """One part, train or test, of a known set."""
    check_part(part)
    path = find(name, folder)
    try:
        return KNOWN[name].read(path, part)
    except FileNotFoundError as error:
        raise DataError(
            f"{error.filename} is missing: the set {name} is published at {KNOWN[name].published}"
        ) from None
    except UNREADABLE:
        raise DataError(f"{path} is truncated or not the set {name}: copy it again") from None

"""Host file to samples, in any format, through the pre-processing that a model carries.

    load(path, extras)              as the model with these extras takes them
    learn_from(path, text, …)       for a model to be trained; gives its extras, too

The registry of formats is READERS: one function each from a path to raw.Raw.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from wage_host import datasets, images
from wage_host.data import prepare, sound, steps, table
from wage_host.data.raw import Labels, Raw
from wage_host.data.ready import Data, activations, as_bytes, check, finished, samples
from wage_host.errors import DataError, LabelError, WrongUsage
from wage_host.extras import NOTHING, Extras, Step
from wage_host.files import UNREADABLE
from wage_host.progress import Tell, silent

__all__ = [
    "Data", "activations", "as_bytes", "check", "datasets", "finished", "learn_from", "load",
    "prepared", "prepared_from", "read", "samples", "save", "sound", "steps",
]  # fmt: skip
STANDARD_INPUT = Path("-")


@dataclasses.dataclass(frozen=True)
class Reader:
    """A format: whether a path is of it, and how to read it (a label's column: of CSV)."""

    name: str
    matches: Callable[[Path], bool]
    read: Callable[[Path, str | None], Raw]


def _ends(*endings: str) -> Callable[[Path], bool]:
    return lambda path: path.name.lower().endswith(endings)


def _arrays(read: Callable[[Path], tuple[np.ndarray, Labels]]) -> Callable[[Path, str | None], Raw]:
    """A reader of arrays x and labels."""
    return lambda path, _: Raw(path.name, *read(path))


def _npz(path: Path, _: str | None) -> Raw:
    """Arrays x and y; names of the classes, and the boards that sensed it, when there are some."""
    with np.load(path, allow_pickle=False) as file:
        if "x" not in file or "y" not in file:
            raise DataError(
                f"{path} has the arrays {', '.join(file)[:200] or '(none)'}: save those of each "
                "part in a file of its own, as x (samples) and y (labels)"
            )
        try:
            x, y = file["x"], file["y"]
            names = tuple(map(str, file["names"])) if "names" in file else ()
        except ValueError:
            raise DataError(
                f"{path}: an array is damaged, or holds Python objects: save texts with "
                ".astype(str), and samples of one shape"
            ) from None
        inputs = "boards" in file
    if names and y.size and not (y.dtype.kind in "iu" and 0 <= y.min() <= y.max() < len(names)):
        raise DataError(f"{path}: y are numbers from 0 to {len(names) - 1}, the places in names")
    if inputs and x.dtype != np.int8:
        raise DataError(f"{path}: x has type {x.dtype}; what a board sensed is int8")
    x = x.view(np.uint8) if x.dtype == bool else x
    return Raw(path.name, x, _labels(y), names, inputs=inputs)


def _labels(y: np.ndarray) -> np.ndarray | list[str]:
    """One label a sample, of what programs save: also a column, rows of one 1, floats, texts."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2 and y.shape[1] > 1 and ((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all():
        return y.argmax(1)
    if y.ndim == 1 and y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8")
    if y.ndim == 1 and y.dtype.kind == "U":
        return y.tolist()
    whole = y.dtype == bool or (y.dtype.kind == "f" and np.array_equal(y, np.rint(y)))
    return y.astype(np.int64) if whole else y


def _pictures(path: Path, _: str | None) -> Raw:
    found = images.find(path)
    names = tuple(found.classes)
    place = lambda k: f"{found.where}: {found.names[k]}"  # noqa: E731
    return Raw(path.name, images.Each(found), found.labels, names, place=place)


def _is_folder(path: Path) -> bool:
    return path.is_dir() or images.in_zip(path)


CSV = Reader("CSV", _ends(".csv", ".tsv"), table.load)
READERS = (
    Reader(
        "recordings, WAV",
        lambda path: _is_folder(path) and sound.is_sound(path),
        lambda path, _: sound.load(path),
    ),
    Reader(
        "CIFAR-10's binary version",
        lambda path: path.is_dir() and any(path.glob("data_batch_*.bin")),
        _arrays(lambda path: datasets.cifar_folder(path, "train")),
    ),
    Reader("pictures", _is_folder, _pictures),
    Reader("NumPy", _ends(".npz"), _npz),
    CSV,
    Reader("CIFAR-10's binary version", _ends(".bin"), _arrays(datasets.cifar)),
    Reader("SVHN", _ends(".mat"), _arrays(datasets.svhn)),
    Reader("IDX", lambda path: "idx3-ubyte" in path.name, _arrays(datasets.idx_pair)),
)


def read(path: Path, label: str | None = None, tell: Tell = silent) -> Raw:
    """The samples of a file or folder as they are; its name says the format.

    A part of a zip file of pictures is SET.zip/train, one of a known set NAME:train. What is not
    there under this name may be in the folder of data sets, which WAGE_DATA names. `-` is CSV on
    standard input. `label`: the column of the labels in CSV; WrongUsage for anything else.
    tell: how far it is with pictures, which are read when they are asked for.
    """
    if path == STANDARD_INPUT:
        rows = table.rows(table.standard_input(), "standard input", label)
        return _checked(table.collect(rows, "-"), path)
    name, _, part = str(path).partition(":")
    if name in datasets.KNOWN and part:
        _no_column(path, label)
        return _checked(_known(name, part), path)
    places = (path, datasets.root() / path)
    path = next((p for p in places if p.exists() or images.in_zip(p)), path)
    if not path.exists() and not images.in_zip(path):
        raise DataError(f"there is no data file {path}")
    try:
        reader = next((r for r in READERS if r.matches(path)), None)
        if reader is None:
            raise DataError(
                f"{path}: data are .npz, .csv, IDX (…-images-idx3-ubyte[.gz]), CIFAR-10's .bin, "
                "SVHN's .mat, or a folder or zip file of <class>/NAME.jpg or <class>/NAME.wav"
            )
        if reader is not CSV:
            _no_column(path, label)
        raw = _checked(reader.read(path, label), path)
        if isinstance(raw.x, images.Each):
            told = images.Each(dataclasses.replace(raw.x.of, tell=tell))
            raw = dataclasses.replace(raw, x=told)
        return raw
    except UNREADABLE:
        raise DataError(f"{path} is truncated or not what its name says: copy it again") from None


def _no_column(path: Path, label: str | None) -> None:
    if label is not None:
        raise WrongUsage(
            f"--label {label}: {path} is no CSV and has no columns: leave out --label (a column "
            "that is called label is found without it)"
        )


def _known(name: str, part: str) -> Raw:
    """One part, train or test, of a published set."""
    if name == "fsdd":
        wanted = datasets.check_part(part) == "test"
        folder = datasets.find(name) / "recordings"
        try:
            found = sound.load(folder, lambda file: datasets.fsdd_is_test(file) == wanted)
        except UNREADABLE:
            raise DataError(f"{folder} is truncated or not the set {name}: copy it again") from None
        return dataclasses.replace(found, name=f"{name}:{part}")
    return Raw(f"{name}:{part}", *datasets.named(name, part), datasets.KNOWN[name].names)


def _checked(raw: Raw, path: Path) -> Raw:
    """What holds for every format."""
    if isinstance(raw.labels, np.ndarray):
        if raw.labels.ndim != 1:
            shape = "x".join(map(str, raw.labels.shape))
            raise DataError(f"{path}: give one label a sample, not labels of {shape or 'no axis'}")
        if raw.labels.dtype.kind not in "iu":
            raise DataError(
                f"{path}: labels have type {raw.labels.dtype}; give whole numbers from 0, or texts"
            )
        for k in np.flatnonzero(raw.labels < 0)[:1]:
            text = f"{path.name}, sample {k + 1}: label {raw.labels[k]} is out of range; "
            raise LabelError(text + "give whole numbers from 0, or texts")
    if isinstance(raw.x, np.ndarray) and (raw.x.ndim < 1 or raw.x.dtype.kind not in "iuf"):
        kind = f"{raw.x.dtype}{'' if raw.x.ndim else ' and no axes'}"
        raise DataError(f"{path}: x has type {kind}; give numbers, best uint8 or int8")
    if len(raw.x) == 0:
        raise DataError(f"{path} holds no samples: give at least one")
    if isinstance(raw.x, np.ndarray) and raw.x.size == 0:
        raise DataError(f"{path}: samples without any value: give one a sample at least")
    if len(raw.x) != len(raw.labels):
        text = f"{len(raw.x)} samples but {len(raw.labels)} labels: one is cut off"
        raise DataError(f"{path}: {text}")
    if isinstance(raw.x, np.ndarray) and raw.x.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(raw.x).reshape(len(raw.x), -1).all(1))
        if len(bad):
            raise DataError(f"{raw.where(bad[0])}: a value is missing (NaN) or infinite: remove it")
    return raw


def load(
    path: Path, extras: Extras | None = NOTHING, label: str | None = None, tell: Tell = silent
) -> Data:
    """The samples as a model with these extras takes them; None: a model is yet to be made."""
    return prepared(read(path, label, tell), extras)


def prepared(raw: Raw, extras: Extras | None = NOTHING) -> Data:
    """A file's samples as load() gives them."""
    labels, names = raw.numbered(extras.names if extras else None)
    return _prepared(raw, labels, names, extras.steps if extras else ())


def learn_from(
    path: Path,
    text: str | None,
    label: str | None = None,
    classes: Sequence[str] = (),
    tell: Tell = silent,
) -> tuple[Data, Extras]:
    """Samples to train a model with, and the extras that it needs for more of the same.

    `text`: pre-processing in words (steps.py), what is left open fitted to these samples;
    `classes`: their names in order, also of those without a sample yet.
    """
    if text:
        steps.parse(text)  # before long work
    return prepared_from(read(path, label, tell), text, classes)


def prepared_from(raw: Raw, text: str | None, classes: Sequence[str] = ()) -> tuple[Data, Extras]:
    """A file's samples as learn_from() gives them."""
    wanted = steps.parse(text) if text else ()
    if len(set(classes)) != len(classes):
        raise WrongUsage("--classes names a class twice")
    labels, names = raw.numbered(tuple(classes) or None)
    if wanted and raw.inputs:
        raise WrongUsage(
            f"{raw.name} holds inputs as a board's model takes them: leave out --prepare"
        )
    if not wanted:
        return _prepared(raw, labels, names, ()), Extras((), names)
    found, done = prepare.fit(wanted, raw.items(labels))
    return _finished(raw, done, names, found), Extras(found, names)


def _prepared(raw: Raw, labels: np.ndarray, names: tuple[str, ...], how: Sequence[Step]) -> Data:
    """A file's samples after all steps; a model's inputs have them behind them."""
    if not how or raw.inputs:
        x = raw.x if isinstance(raw.x, np.ndarray) else _stacked(raw)
        if x.dtype not in (np.int8, np.uint8):
            if x.dtype.kind == "f" and isinstance(raw.labels, np.ndarray):
                pale = x.size and x.min() >= 0 and x.max() <= 1
                how = " as (x * 255).astype('uint8')" if pale else ""
                raise DataError(
                    f"{raw.name}: x has type {x.dtype}; give uint8 (0 to 255){how} or int8 (-128 "
                    "to 127), or --prepare normalise"
                )
            x = _table(raw, x)
        return Data(raw.name, x, labels, names)
    steps.check(how)
    return _finished(raw, list(prepare.apply(how, raw.items(labels))), names, how)


def _finished(
    raw: Raw, done: Sequence[prepare.Item], names: tuple[str, ...], how: Sequence[Step]
) -> Data:
    """Items after all steps as one."""
    if not done:
        raise DataError(f"{raw.name}: no recording is as long as a window: make it shorter")
    x = finished([item.x for item in done], how, raw.name)
    return Data(raw.name, x, np.array([item.label for item in done], np.int64), names)


def _table(raw: Raw, x: np.ndarray) -> np.ndarray:
    """A table as bytes or activations; DataError with the first row that is neither."""
    low, high = (-128, 127) if x.min(initial=0) < 0 else (0, 255)
    bad = ((x != np.rint(x)) | (x < low) | (x > high)).reshape(len(x), -1)
    bad = np.flatnonzero(bad.any(1))
    if len(bad):
        row = x[bad[0]].reshape(-1)
        value = row[(row != np.rint(row)) | (row < low) | (row > high)][0]
        kind = f"outside {low} to {high}" if value == np.rint(value) else "no whole number"
        raise DataError(
            f"{raw.where(bad[0])}: {value:g} is {kind}: give --prepare normalise, or write bytes, "
            "0 to 255, or activations, -128 to 127"
        )
    return x.astype(np.int8 if low < 0 else np.uint8)


def _stacked(raw: Raw) -> np.ndarray:
    """Arrays of one shape as one; DataError for sound, which needs pre-processing."""
    if isinstance(raw.x, images.Each):
        return raw.x.all()
    raise DataError(
        f"{raw.name} is sound: say how it becomes a model's input, as --prepare 'cut 8000, "
        "logmel 8000 256/128 24, normalise', or give the model that knows it with --model"
    )


def save(path: Path, x: np.ndarray, labels: np.ndarray) -> None:
    """Writes samples as .npz, to be read by load()."""
    np.savez_compressed(path, x=x, y=labels.astype(np.int64))

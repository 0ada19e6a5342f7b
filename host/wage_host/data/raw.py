"""Samples as a file has them, before any pre-processing."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from wage_host.data.prepare import Item
from wage_host.errors import DataError, LabelError

Labels = np.ndarray | Sequence[str]


@dataclasses.dataclass(frozen=True)
class Raw:
    """A file's samples: arrays, of one shape or not, and a number or a text for each.

    `names`: of the classes that numbers stand for; `rates`: Hz of each recording; `place`: where
    a sample stands, for people; `inputs`: they are a model's already, as a board sensed them.
    """

    name: str
    x: Sequence[np.ndarray]
    labels: Labels
    names: tuple[str, ...] = ()
    rates: Sequence[int] = ()
    place: Callable[[int], str] | None = None
    inputs: bool = False

    def where(self, index: int) -> str:
        """Where a sample stands."""
        return self.place(index) if self.place else f"{self.name}, sample {index + 1}"

    def numbered(self, names: tuple[str, ...] | None) -> tuple[np.ndarray, tuple[str, ...]]:
        """Labels as numbers (n,) int64, and what they are called.

        `names`: of the model's classes, () when it has none; None: names are made of the labels.
        """
        if isinstance(self.labels, np.ndarray) and (not self.names or names == ()):
            return self.labels.astype(np.int64), names or ()
        texts = self.labels
        if isinstance(texts, np.ndarray):
            if names is None:
                return texts.astype(np.int64), self.names
            texts = [self.names[k] for k in texts]
        if not names and all(whole(text) for text in set(texts)):
            return np.array([int(text) for text in texts], np.int64), ()
        if names is None:
            names = tuple(sorted(set(texts)))
        number = {name: k for k, name in enumerate(names)}
        out = np.empty(len(texts), np.int64)
        for k, text in enumerate(texts):
            out[k] = class_of(text, number, lambda k=k: self.where(k))
        return out, names

    def items(self, labels: np.ndarray) -> Iterator[Item]:
        """For pre-processing, each (height, width, channels)."""
        for k, label in enumerate(labels.tolist()):
            x = np.asarray(self.x[k])
            rate = self.rates[k] if self.rates else 0
            yield Item(hwc(x), label, self.where(k), rate)


def whole(text: str) -> bool:
    """Whether a label is a number."""
    return text.isascii() and text.isdigit() and len(text) < 10


def class_of(text: str, number: dict[str, int], where: Callable[[], str]) -> int:
    """The number of a class by its name, or as it is; LabelError when it is no class."""
    if text in number:
        return number[text]
    if not number:
        if whole(text):
            return int(text)
        raise LabelError(
            f"{where()}: the label '{text}' is a name: give the model that knows it with --model, "
            "or number the classes from 0"
        )
    some = ", ".join([*number][:8]) + (", …" if len(number) > 8 else "")
    raise LabelError(f"{where()}: '{text}' is no class of the model: they are {some}")


def hwc(x: np.ndarray) -> np.ndarray:
    """A sample as (height, width, channels)."""
    if x.ndim > 3:
        raise DataError(f"samples have {x.ndim} dimensions: give height, width, channels")
    if x.ndim < 2:
        return x.reshape(1, 1, -1)
    return x[..., None] if x.ndim == 2 else x

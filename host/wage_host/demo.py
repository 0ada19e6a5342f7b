"""What a demo is made of: a model that knows something, and samples of what is new to it.

A Recipe says what; make() splits, trains and converts, always to the same bits. Here is that of the
digits 0 to 7, to which 8 and 9 come; demos.py has the others.

How the settings were chosen: by cross-validation in the training part (every sample but each
fifth) alone; the test part was looked at once they were fixed. The figures: docs/demo-settings.md.
The starter is smaller, for boards of 8 KB; its settings were chosen likewise, in three folds.
"""

import dataclasses
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np

from wage_host import data, network, rates, train
from wage_host.core import Config, info
from wage_host.datasets import Arrays
from wage_host.errors import FileError
from wage_host.files import write_whole

NEW = (8, 9)
NETWORK = "8x8x1 16C3-MP2 32C3-MP2 32FC 10FC"
SEED = 1


def training(epochs: int, free_classes: int = 0) -> train.How:
    """A rate that halves, as wage-host train has it."""
    return train.How(learning(-3, 0), rates.halving((1, -3), epochs), free_classes=free_classes)


def learning(lr_shift: int, replays: int) -> Config:
    """How a board learns a demo, at the rate 2^lr_shift."""
    return Config(seed=SEED, lr_shift=lr_shift, replays=replays, gain_shift=2, threshold=0)


TRAINING, LEARNING = training(16, len(NEW)), learning(-4, 15)
TRAIN_LAST = 2
REPLAY_BYTES = 61_920  # 480 samples


@dataclasses.dataclass(frozen=True)
class Parts:
    """The samples of a demo before any pre-processing, x (n, …) and labels (n,) of each part.

    known: what the network is trained on, and its replay filled with; stream: what comes to the
    board, in this order; test: of old and new, in neither. groups: where what is new is no class,
    names and sizes of the groups that follow each other in test, what is new last.
    """

    known: Arrays
    stream: Arrays
    test: Arrays
    groups: tuple[tuple[str, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is trained on this computer, and what of it goes on learning on a board.

    old, new: what the network knows and what comes, in words; new_classes: those that are new;
    prepare: steps from the data to the network, as --prepare; names: of all classes.
    """

    name: str
    old: str
    new: str
    parts: Callable[[], Parts]
    network: str
    training: train.How
    train_last: int
    replay_bytes: int
    learning: Config
    new_classes: tuple[int, ...] = ()
    prepare: str = ""
    names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Files:
    """What the demo writes for its user to go on with."""

    train: Path
    stream: Path
    test: Path
    network: Path
    model: Path
    store: Path
    report: Path
    picture: Path


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 digits of the package: x (n, 8, 8, 1) uint8, labels (n,)."""
    with files("wage_host").joinpath("digits/digits.npz").open("rb") as file:
        arrays = np.load(file, allow_pickle=False)
        return arrays["x"], arrays["y"].astype(np.int64)


def _digit_parts() -> Parts:
    x, labels = digits()
    test = np.arange(len(labels)) % 5 == 4
    new = np.isin(labels, NEW)
    masks = (~test & ~new, ~test & new, test)
    return Parts(*((x[mask], labels[mask]) for mask in masks))


DIGITS = Recipe(
    "digits", "the handwritten digits 0 to 7", "the digits 8 and 9", _digit_parts,
    NETWORK, TRAINING, TRAIN_LAST, REPLAY_BYTES, LEARNING, NEW,
)  # fmt: skip
STARTER = dataclasses.replace(
    DIGITS,
    name="starter",
    network="8x8x1 32FC 10FC",
    train_last=1,
    replay_bytes=80 * 33,
    learning=dataclasses.replace(LEARNING, lr_shift=-5, replays=7),
)


def make(
    folder: Path,
    teach: Callable[..., tuple[network.Network, list]] = train.run,
    recipe: Recipe = DIGITS,
    parts: Parts | None = None,
) -> Files:
    """Trains on what is known, converts, and writes all of it. Always the same bits.

    `teach` is train.run, or a wrapper of it that shows progress; `parts`: those of the recipe,
    read already.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make the folder {folder}: {error.strerror}") from None
    names = ("train.npz", "stream.npz", "test.npz", f"{recipe.name}.npz", f"{recipe.name}.wage")
    names += ("board.store", "report.html", "picture.svg")
    out = Files(*(folder / name for name in names))
    parts = parts or recipe.parts()
    for path, arrays in ((out.train, parts.known), (out.stream, parts.stream)):
        data.save(path, *arrays)
    data.save(out.test, *parts.test)

    net, known = taught(recipe, out.train, teach)
    network.save(net, out.network)
    write_whole(out.model, model(net, known, recipe))
    return out


def taught(
    recipe: Recipe, path: Path, teach: Callable[..., tuple[network.Network, list]]
) -> tuple[network.Network, data.Data]:
    """The network that learned the samples of a file, and these as it takes them."""
    known, extras = data.learn_from(path, recipe.prepare, classes=recipe.names)
    if np.isin(known.labels, recipe.new_classes).any():
        raise AssertionError("the training set holds a class that it must not know")
    fresh = dataclasses.replace(network.parse(recipe.network, SEED), extras=extras)
    return teach(fresh, known, recipe.training)[0], known


def model(net: network.Network, known: data.Data, recipe: Recipe) -> bytes:
    """The blob of a trained network with the recipe's replay, filled from `known`."""

    def converted(replay: int, filling: list) -> bytes:
        how = (recipe.learning, recipe.train_last, replay, filling)
        return train.convert(net, recipe.name, *how)

    capacity = train.fitting(recipe.replay_bytes, info(converted(0, [])).replay_bytes)
    return converted(capacity, data.samples(known, net.info()))


def is_new(recipe: Recipe, parts: Parts, test: data.Data) -> np.ndarray:
    """Which of the test samples, as the model takes them, are of what is new: (n,) bool."""
    if parts.groups:
        return np.arange(len(test)) >= len(test) - parts.groups[-1][1]
    return np.isin(test.labels, recipe.new_classes)

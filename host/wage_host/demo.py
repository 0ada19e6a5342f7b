"""The demo's parts: real digits, a model that knows 0 to 7, a stream of 8 and 9.

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
from wage_host.core import Config
from wage_host.errors import FileError
from wage_host.files import write_whole

NEW = (8, 9)
NETWORK = "8x8x1 16C3-MP2 32C3-MP2 32FC 10FC"
SEED = 1
EPOCHS = 16
TRAINING = train.How(
    Config(seed=SEED, lr_shift=-3, replays=0, gain_shift=2, threshold=0),
    rates.halving((1, -3), EPOCHS),
    free_classes=len(NEW),
)
LEARNING = Config(seed=SEED, lr_shift=-4, replays=15, gain_shift=2, threshold=0)
TRAIN_LAST = 2
REPLAY = 480


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is trained on this computer, and what of it goes on learning on a board."""

    name: str
    network: str
    train_last: int
    replay: int
    learning: Config


DEMO = Recipe("digits", NETWORK, TRAIN_LAST, REPLAY, LEARNING)
STARTER = Recipe(
    "starter", "8x8x1 32FC 10FC", 1, 80, dataclasses.replace(LEARNING, lr_shift=-5, replays=7)
)


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


def make(
    folder: Path,
    teach: Callable[..., tuple[network.Network, list]] = train.run,
    recipe: Recipe = DEMO,
) -> Files:
    """Splits the digits, trains on 0 to 7, converts. Always the same bits.

    `teach` is train.run, or a wrapper of it that shows progress.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make the folder {folder}: {error.strerror}") from None
    names = ("train.npz", "stream.npz", "test.npz", f"{recipe.name}.npz", f"{recipe.name}.wage")
    names += ("board.store", "report.html", "picture.svg")
    out = Files(*(folder / name for name in names))
    x, labels = digits()
    test = np.arange(len(labels)) % 5 == 4
    new = np.isin(labels, NEW)
    data.save(out.train, x[~test & ~new], labels[~test & ~new])
    data.save(out.stream, x[~test & new], labels[~test & new])
    data.save(out.test, x[test], labels[test])

    fresh = network.parse(recipe.network, SEED)
    known = data.load(out.train)
    if np.isin(known.labels, NEW).any():
        raise AssertionError("the training set holds a digit that it must not know")
    net, _ = teach(fresh, known, TRAINING)
    network.save(net, out.network)
    filling = data.samples(known, net.info())
    blob = train.convert(
        net, recipe.name, recipe.learning, recipe.train_last, recipe.replay, filling
    )
    write_whole(out.model, blob)
    return out

"""The demos there are, each a Recipe: new digits, new garments, a new speaker, a new activity.

How the settings of each were chosen is on its page, docs/demo-NAME.md: on samples held out of the
training part; the test part was looked at once they were fixed.
"""

import re

import numpy as np

from wage_host.data import datasets, sound
from wage_host.datasets import Arrays
from wage_host.demo import DIGITS, Parts, Recipe, learning, training
from wage_host.errors import DataError, WrongUsage

SPEAKERS = ("jackson", "nicolas", "theo", "yweweler", "george", "lucas")  # as releases added them
SOUND = 8000  # samples of a recording that are kept, one second
GARMENTS = (
    "T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
)  # fmt: skip
KNOWN_GARMENTS, NEW_GARMENTS, TESTED_GARMENTS = 12_000, 50, 500


def found(name: str) -> None:
    """DataError unless the set is there, with the command that gets it."""
    try:
        datasets.find(name)
    except DataError as error:
        raise DataError(f"get it with 'wage-host data fetch {name}': {error}") from None


# -- fashion -------------------------------------------------------------------


def garments() -> Parts:
    """Eight garments of Fashion-MNIST's first samples; 50 bags and 50 ankle boots, as they come."""
    found("fashion-mnist")
    x, labels = datasets.named("fashion-mnist", "train")
    new = np.isin(labels, FASHION.new_classes)
    known = np.flatnonzero(~new[:KNOWN_GARMENTS])
    after = np.arange(KNOWN_GARMENTS, len(labels))
    each = [after[labels[after] == c][:NEW_GARMENTS] for c in FASHION.new_classes]
    stream = np.sort(np.concatenate(each))
    test = [array[:TESTED_GARMENTS] for array in datasets.named("fashion-mnist", "test")]
    parts = ((x[some], labels[some]) for some in (known, stream))
    return Parts(*parts, tuple(test))


FASHION = Recipe(
    "fashion", "eight garments of Fashion-MNIST", "bags and ankle boots", garments,
    network="28x28x1 8C3-MP2 16C3-MP2 128FC 10FC",
    training=training(4, 2),
    train_last=1,
    replay_bytes=32 << 10,
    learning=learning(-3, 7),
    new_classes=(8, 9),
    names=GARMENTS,
)  # fmt: skip


# -- speak ---------------------------------------------------------------------


def _spoken(speakers: tuple[str, ...], numbers: str) -> Arrays:
    """Recordings as x (n, 1, 8000, 1) int16, zeros behind: each number's digits 0 to 9 by turns.

    Within a digit speakers take turns, too, so that a replay filled in this order has all of them.
    """
    rows = []
    for turn, speaker in enumerate(speakers):
        place, wanted = datasets.find("fsdd") / "recordings", rf"\d_{speaker}_{numbers}\.wav"
        try:
            raw = sound.load(place, lambda name, wanted=wanted: bool(re.fullmatch(wanted, name)))
        except DataError:
            raise DataError(f"{place} has no recordings of {speaker}: copy the set again") from None
        for k, (one, label) in enumerate(zip(raw.x, raw.labels.tolist(), strict=True)):
            number = int(raw.where(k).rsplit("_", 1)[1].removesuffix(".wav"))
            rows.append(((number, label, turn), one))
    rows.sort(key=lambda row: row[0])
    x = np.zeros((len(rows), 1, SOUND, 1), np.int16)
    for k, (_, one) in enumerate(rows):
        x[k, :, : one.shape[1]] = one[:, :SOUND]
    return x, np.array([label for (_, label, _), _ in rows])


def voices(
    new: str = "george", known: str = "([5-9]|[1-4].)", tested: str = "[0-4]", new_tested: str = ""
) -> Parts:
    """Four speakers are known; the recordings 5 to 9 of each digit of the new one come.

    known, tested, new_tested: which numbers of recordings (new_tested: as tested, if empty).
    """
    found("fsdd")
    four = tuple(name for name in SPEAKERS if name != new)[:4]
    tests = [_spoken((name,), tested) for name in four] + [_spoken((new,), new_tested or tested)]
    test = tuple(np.concatenate(arrays) for arrays in zip(*tests, strict=True))
    groups = tuple(zip((*four, new), (len(labels) for _, labels in tests), strict=True))
    return Parts(_spoken(four, known), _spoken((new,), "[5-9]"), test, groups)


SPEAK = Recipe(
    "speak", "the digits as four speakers say them", "a fifth speaker", voices,
    network="39x20x1 8C3-MP2 16C3-MP2 32C3-MP2 32C3-MP2 64FC 10FC",
    training=training(8),
    train_last=2,
    replay_bytes=24 << 10,
    learning=learning(-3, 15),
    prepare=f"cut {SOUND}, logmel 8000 256/200 20, normalise",
)  # fmt: skip


# -- motion --------------------------------------------------------------------


def activities() -> Parts:
    """Standing, running and walking are known; badminton comes. Each recording is ten seconds."""
    found("motions")
    x, labels = datasets.named("motions", "train")
    new = np.isin(labels, MOTION.new_classes)
    test = datasets.named("motions", "test")
    return Parts((x[~new], labels[~new]), (x[new], labels[new]), test)


MOTION = Recipe(
    "motion", "standing, running and walking", "badminton", activities,
    network="1x50x6 16C1x5-MP2 32C1x5-MP2 32C1x5-MP2 32FC 4FC",
    training=training(16, 1),
    train_last=2,
    replay_bytes=4 << 10,
    learning=learning(-5, 7),
    new_classes=(3,),
    prepare="window 50/12, normalise",
    names=datasets.KNOWN["motions"].names,
)  # fmt: skip

DEMOS = {recipe.name: recipe for recipe in (DIGITS, FASHION, SPEAK, MOTION)}


def get(name: str) -> Recipe:
    """The demo of this name; WrongUsage without."""
    if name not in DEMOS:
        raise WrongUsage(f"there is no demo '{name}': they are {', '.join(DEMOS)}")
    return DEMOS[name]

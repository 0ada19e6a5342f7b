"""The data of the table, cut into train, validation and test: always the same cut."""

# SPDX-License-Identifier: MIT

import dataclasses
import functools
from pathlib import Path

import numpy as np
from wage_host import data, datasets, demo, train

SPLIT_SEED = 20261123
HELD_OUT = 0.1  # of train, for validation


@dataclasses.dataclass(frozen=True)
class Split:
    """What learns, what chooses, and what is only ever measured."""

    train: data.Data
    validation: data.Data
    test: data.Data


def split(name: str, learn: datasets.Arrays, test: datasets.Arrays) -> Split:
    """Cuts validation out of what may be learned; test stays apart."""
    kept, held = train.split(_data(f"{name}, train", learn), HELD_OUT, SPLIT_SEED)
    return Split(kept, held, _data(f"{name}, test", test))


def _data(name: str, arrays: datasets.Arrays) -> data.Data:
    return data.Data(name, arrays[0], arrays[1].astype(np.int64))


@functools.lru_cache(maxsize=1)
def load(name: str, folder: Path | None = None) -> Split:
    """A known set, or `digits`: those of the package, each fifth one for the test."""
    if name == "digits":
        x, labels = demo.digits()
        test = np.arange(len(labels)) % 5 == 4
        return split(name, (x[~test], labels[~test]), (x[test], labels[test]))
    return split(name, *(datasets.named(name, part, folder) for part in datasets.PARTS))

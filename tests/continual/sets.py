"""Recordings, motions and one-dimensional digits, which accuracy.sets does not have."""

# SPDX-License-Identifier: MIT

import functools
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from wage_host import data, datasets
from wage_host.data import sound
from wage_host.data.raw import Raw
from wage_host.errors import DataError

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
HOST_SPEAKERS = 4  # the first ones
SOUND = "cut 8000, logmel 8000 256/128 24, normalise"
ACTIVITIES = datasets.KNOWN["motions"].names
AEON = "BasicMotions comes with the package aeon: pip install --no-deps aeon==1.6.0"
MNIST1D = "mnist1d is a package: pip install mnist1d==0.0.2.post1"
# How a sensor ages or is moved, over the generator's own settings.
DRIFTS = (
    {},
    {"iid_noise_scale": 0.1},
    {"shear_scale": 2.0},
    {"padding": [16, 32]},
    {"shear_scale": 2.0, "padding": [16, 32], "iid_noise_scale": 0.1},
)
DRIFT_SAMPLES, DRIFT_TESTS = 4000, 1000  # to learn; to measure
MOTION_STEPS, DRIFT_STEPS = "decimals 2, window 50/10, normalise", "decimals 3, normalise"


@functools.cache
def speakers() -> tuple[tuple[data.Data, data.Data], ...]:
    """(train, test) of each speaker, log-mel as a board makes it; normalised by the host's four."""
    folder = datasets.find("fsdd") / "recordings"

    def part(names: tuple[str, ...], test: bool) -> Raw:
        return sound.load(
            folder,
            lambda name: name.split("_")[1] in names and datasets.fsdd_is_test(name) == test,
        )

    _, extras = data.prepared_from(part(SPEAKERS[:HOST_SPEAKERS], False), SOUND)
    return tuple(
        tuple(data.prepared(part((name,), test), extras) for test in (False, True))
        for name in SPEAKERS
    )


def package_folder(name: str, how: str) -> Path:
    """Where an installed package lies, without importing it."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise DataError(how)
    return Path(found.submodule_search_locations[0])


@functools.cache
def motions() -> Raw:
    """All 80 recordings of BasicMotions: ten seconds of six axes at 10 Hz."""
    folder = package_folder("aeon", AEON) / "datasets/data/BasicMotions"
    parts = [datasets.series(folder / f"BasicMotions_{part}.ts") for part in ("TRAIN", "TEST")]
    x, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Raw("BasicMotions", x, labels)


@functools.lru_cache(maxsize=len(DRIFTS))
def drifted(domain: int, seed: int) -> Raw:
    """Samples of mnist1d's own generator in one of DRIFTS: DRIFT_SAMPLES to learn, then tests.

    It makes a set of mean 0 and deviation 1 of each domain.
    """
    package_folder("mnist1d", MNIST1D)
    from mnist1d.data import get_dataset_args, make_dataset

    args = get_dataset_args(as_dict=True) | DRIFTS[domain]
    args |= {"num_samples": DRIFT_SAMPLES + DRIFT_TESTS, "seed": 100 * seed + domain}
    found = make_dataset(SimpleNamespace(**args))
    x = np.concatenate([found["x"], found["x_test"]])
    labels = np.concatenate([found["y"], found["y_test"]])
    return Raw("mnist1d", x.reshape(len(x), 1, -1, 1), labels)

"""From data to a stream: what each experience teaches, and on what it is measured."""

# SPDX-License-Identifier: MIT

import dataclasses
from collections.abc import Sequence

import numpy as np
from accuracy import sets as known
from wage_host import data
from wage_host.data import Data
from wage_host.data.raw import Raw

from continual import sets
from continual.table import Benchmark

HELD_OUT, VALIDATED = 10, 3  # recordings of an activity: for the test; of the rest


@dataclasses.dataclass(frozen=True)
class Experience:
    """Samples in the order in which they come, and those that measure them."""

    learn: Data
    test: Data


Stream = list[Experience]
PAIRS = tuple((c, c + 1) for c in range(0, 10, 2))
FIVE_THEN_ONE = (tuple(range(5)), *((c,) for c in range(5, 10)))


def chosen(part: Data, index: np.ndarray) -> Data:
    """Some samples of a part."""
    return Data(part.name, part.x[index], part.labels[index])


def by_classes(
    name: str,
    groups: Sequence[Sequence[int]],
    benchmark: Benchmark,
    draws: np.random.Generator,
    measured: str,
) -> Stream:
    """An experience a group of classes."""
    split, out = known.load(name), []
    test = getattr(split, measured)
    for group in groups:
        found = draws.permutation(np.flatnonzero(np.isin(split.train.labels, group)))
        most = benchmark.known if benchmark.epochs and not out else benchmark.samples
        tests = np.flatnonzero(np.isin(test.labels, group))
        out.append(Experience(chosen(split.train, found[:most]), chosen(test, tests)))
    return out


def permuted(benchmark: Benchmark, draws: np.random.Generator, measured: str) -> Stream:
    """The same digits; from the second experience on, their pixels in another order."""
    split, out = known.load("mnist"), []
    test = getattr(split, measured)
    for number in range(5):
        found = draws.permutation(len(split.train))[: benchmark.samples]
        pixels = np.arange(split.train.x[0].size)
        pixels = draws.permutation(pixels) if number else pixels
        parts = [chosen(split.train, found), test]
        out.append(Experience(*(_reordered(part, pixels) for part in parts)))
    return out


def _reordered(part: Data, pixels: np.ndarray) -> Data:
    x = part.x.reshape(len(part), -1)[:, pixels]
    return dataclasses.replace(part, x=x.reshape(part.x.shape))


def speakers(draws: np.random.Generator) -> Stream:
    """Four speakers as one experience, then the others one by one."""
    found = sets.speakers()
    first = sets.HOST_SPEAKERS
    groups = [found[:first], *([one] for one in found[first:])]
    return [_by_speaker(group, draws) for group in groups]


def _by_speaker(group: Sequence[tuple[Data, Data]], draws: np.random.Generator) -> Experience:
    learn, test = (
        Data("spoken digits", *(np.concatenate(arrays) for arrays in zip(*pairs, strict=True)))
        for pairs in zip(*([(part.x, part.labels) for part in one] for one in group), strict=True)
    )
    return Experience(chosen(learn, draws.permutation(len(learn))), test)


def motions(draws: np.random.Generator, measured: str) -> Stream:
    """Two activities, then two others; with each seed another half of the recordings tests.

    For validation, some recordings of the other half do.
    """
    raw = sets.motions()
    of = [draws.permutation(np.flatnonzero(raw.labels == k)) for k in range(len(sets.ACTIVITIES))]
    held = HELD_OUT
    if measured == "validation":
        of, held = [index[HELD_OUT:] for index in of], VALIDATED
    groups = [np.concatenate(of[:2]), of[2], of[3]]
    tests = np.concatenate([index[:held] for index in of])
    parts = []
    for group in groups:
        learn = draws.permutation(np.setdiff1d(group, tests))
        parts += [part_of(raw, learn), part_of(raw, np.intersect1d(group, tests))]
    return prepared(parts, sets.MOTION_STEPS)


def drift(benchmark: Benchmark, draws: np.random.Generator, seed: int) -> Stream:
    """The usual sensor as one experience, then each drift."""
    parts = []
    for domain in range(len(sets.DRIFTS)):
        raw = sets.drifted(domain, seed)
        most = benchmark.samples if domain else benchmark.known
        learn = draws.permutation(sets.DRIFT_SAMPLES)[:most]
        parts += [part_of(raw, learn), part_of(raw, np.arange(sets.DRIFT_SAMPLES, len(raw.labels)))]
    return prepared(parts, sets.DRIFT_STEPS)


def part_of(raw: Raw, index: np.ndarray) -> Raw:
    """Some samples of a set."""
    return Raw(raw.name, raw.x[index], raw.labels[index])


def prepared(parts: Sequence[Raw], steps: str) -> Stream:
    """Parts to learn and to test by turns, normalised by the first one alone."""
    _, extras = data.prepared_from(parts[0], steps)
    ready = [data.prepared(part, extras) for part in parts]
    return [Experience(*pair) for pair in zip(ready[::2], ready[1::2], strict=True)]


def stream(benchmark: Benchmark, seed: int, measured: str = "test") -> Stream:
    """All experiences; a seed gives the same ones to integers and twin.

    measured: `test`, or `validation` where accuracy.sets holds it out.
    """
    draws = np.random.default_rng([seed, 7])
    made = {
        "split-digits": lambda: by_classes("digits", PAIRS, benchmark, draws, measured),
        "split-mnist": lambda: by_classes("mnist", PAIRS, benchmark, draws, measured),
        "split-fashion": lambda: by_classes("fashion-mnist", PAIRS, benchmark, draws, measured),
        "split-fashion-front": lambda: by_classes(
            "fashion-mnist", FIVE_THEN_ONE, benchmark, draws, measured
        ),
        "split-cifar10": lambda: by_classes(
            "cifar10-jpeg", FIVE_THEN_ONE, benchmark, draws, measured
        ),
        "permuted-mnist": lambda: permuted(benchmark, draws, measured),
        "speakers": lambda: speakers(draws),
        "motions": lambda: motions(draws, measured),
        "mnist1d-drift": lambda: drift(benchmark, draws, seed),
    }
    return made[benchmark.name]()

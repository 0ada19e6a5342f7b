"""How settings of the demos fashion, speak and motion were chosen, and what they give elsewhere.

python tests/choose_demos.py NAME      prints the grid for docs/demo-NAME.md, minutes
python tests/choose_demos.py NAME test         its repetitions with the test part

The grid repeats a demo within its training part, which holds samples out in place of the test
part, which is not read: other streams of garments; each of the six speakers as the new one; five
folds of recordings. With the settings fixed, the test part tells what other streams of garments,
other speakers, and other halves of the recordings give.
"""

# SPDX-License-Identifier: MIT

import dataclasses
import itertools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from wage_host import budget, data, demo, demos, train
from wage_host.core import Core
from wage_host.datasets import Arrays
from wage_host.demo import Parts, Recipe

STREAMS, HELD_OUT = 3, slice(50_000, 52_000)
FOLDS = HALVES = 5


def garments() -> Iterator[Parts]:
    """Other bags and boots come; tested with samples from the end of the training part."""
    x, labels = data.datasets.named("fashion-mnist", "train")
    for known, stream in streams(x, labels):
        yield Parts(known, stream, (x[HELD_OUT], labels[HELD_OUT]))


def streams(x: np.ndarray, labels: np.ndarray) -> Iterator[tuple[Arrays, Arrays]]:
    """What is known, and bags and boots that the demo does not take."""
    known = demos.garments().known
    places = [np.flatnonzero(labels == c) for c in demos.FASHION.new_classes]
    for k in range(STREAMS):
        some = slice(2000 + k * demos.NEW_GARMENTS, 2000 + (k + 1) * demos.NEW_GARMENTS)
        stream = np.sort(np.concatenate([place[some] for place in places]))
        assert stream.min() >= demos.KNOWN_GARMENTS and stream.max() < HELD_OUT.start
        yield known, (x[stream], labels[stream])


def voices() -> Iterator[Parts]:
    """Of known speakers 5 to 14 are held out, of the new one all that does not come."""
    for speaker in demos.SPEAKERS:
        yield demos.voices(speaker, "(1[5-9]|[2-4].)", "([5-9]|1[0-4])", "([1-4].)")


def activities() -> Iterator[Parts]:
    """Of each class a fifth of the recordings is held out."""
    usual = demos.activities()
    for fold in range(FOLDS):
        held = [np.arange(len(y)) % FOLDS == fold for _, y in (usual.known, usual.stream)]
        parts = list(zip((usual.known, usual.stream), held, strict=True))
        known, stream = ((x[~out], y[~out]) for (x, y), out in parts)
        yield Parts(known, stream, tuple(np.concatenate([a[i][out] for a, out in parts])
                                         for i in (0, 1)))  # fmt: skip


def garments_tested() -> Iterator[Parts]:
    """The demo's own stream and the same others; tested with the whole test part."""
    test = data.datasets.named("fashion-mnist", "test")
    yield dataclasses.replace(demos.garments(), test=test)
    for known, stream in streams(*data.datasets.named("fashion-mnist", "train")):
        yield Parts(known, stream, test)


def activities_tested() -> Iterator[Parts]:
    """Of the recordings of both parts a random half of each class is learned, the other tests."""
    both = [data.datasets.named("motions", part) for part in ("train", "test")]
    x, labels = (np.concatenate(arrays) for arrays in zip(*both, strict=True))
    new = np.isin(labels, demos.MOTION.new_classes)
    for seed in range(HALVES):
        order = np.random.default_rng(seed).permutation(len(labels))
        order = order[np.argsort(labels[order], kind="stable")]
        test = np.zeros(len(labels), bool)
        test[order[::2]] = True
        masks = (~test & ~new, ~test & new, test)
        yield Parts(*((x[mask], labels[mask]) for mask in masks))


TESTED = {
    "fashion": garments_tested,
    "speak": lambda: map(demos.voices, demos.SPEAKERS),
    "motion": activities_tested,
}
PARTS = {"fashion": garments, "speak": voices, "motion": activities}
NETWORKS = {  # and --prepare, where it is another
    "fashion": (
        ("28x28x1 8C3-MP2 16C3-MP2 64FC 10FC", ""),
        ("28x28x1 8C3-MP2 16C3-MP2 128FC 10FC", ""),
        ("28x28x1 16C3-MP2 16C3-MP2 128FC 10FC", ""),
    ),
    "speak": (
        ("61x24x1 8C3-MP2 16C3-MP2 32C3-MP2 32C3-MP2 64FC 10FC", "256/128 24"),
        ("39x20x1 8C3-MP2 16C3-MP2 32C3-MP2 32C3-MP2 64FC 10FC", "256/200 20"),
        ("39x20x1 16C3-MP2 16C3-MP2 32C3-MP2 32C3-MP2 64FC 10FC", "256/200 20"),
        ("31x20x1 8C3-MP2 16C3-MP2 32C3-MP2 32C3-MP2 64FC 10FC", "256/256 20"),
    ),
    "motion": (
        ("1x50x6 16C1x5-MP2 16C1x5-MP2 32FC 4FC", ""),
        ("1x50x6 16C1x5-MP2 16C1x5-MP2 16C1x5-MP2 32FC 4FC", ""),
        ("1x50x6 16C1x5-MP2 32C1x5-MP2 32C1x5-MP2 32FC 4FC", ""),
    ),
}
GRID = {  # layers that learn, bytes of replay, replays, lr shift
    "fashion": ((1,), (32 << 10,), (7, 15), (-3, -4, -5)),
    "speak": ((2,), (16 << 10, 24 << 10), (15, 31), (-3, -4, -5)),
    "motion": ((1, 2), (4 << 10,), (3, 7, 15), (-3, -4, -5)),
}


def taught(recipe: Recipe, parts: Parts) -> tuple:
    """The trained network, and known, stream and test as it takes them."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.npz" for name in ("known", "stream", "test")]
        for path, arrays in zip(paths, (parts.known, parts.stream, parts.test), strict=True):
            data.save(path, *arrays)
        net, known = demo.taught(recipe, paths[0], train.run)
        return net, known, *(data.load(path, net.extras) for path in paths[1:])


def measure(recipe: Recipe, parts: Parts, net, known, stream, test) -> tuple[list[float], int, int]:
    """Old before, old after, new before, new after (0 to 1); samples of replay, arena bytes."""
    blob = demo.model(net, known, recipe)
    core, new, shares = Core(blob), demo.is_new(recipe, parts, test), []
    x = data.activations(test.x, net.input_map)

    def ask() -> None:
        right = core.predict(x, test.labels)["prediction"] == test.labels
        shares.extend([right[~new].mean(), right[new].mean()])

    ask()
    core.start(1, recipe.learning)
    for _ in core.learn(data.samples(stream, net.info())):
        pass
    ask()
    return [shares[k] for k in (0, 2, 1, 3)], budget.read(blob).capacity, core.info.arena_bytes


def main(name: str) -> None:
    """Measures the whole grid of a demo."""
    usual = demos.get(name)
    print("| network | layers that learn | replay | replays | lr shift | old | lost | most | new | "
          "rise | least | arena |\n" + "|---" * 12 + "|", flush=True)  # fmt: skip
    for text, how in NETWORKS[name]:
        prepare = usual.prepare
        if how:
            prepare = f"cut {demos.SOUND}, logmel 8000 {how}, normalise"
        recipe = dataclasses.replace(usual, network=text, prepare=prepare)
        made = [(parts, *taught(recipe, parts)) for parts in PARTS[name]()]
        for last_layers, size, replays, lr in itertools.product(*GRID[name]):
            learning = dataclasses.replace(usual.learning, replays=replays, lr_shift=lr)
            some = dataclasses.replace(
                recipe, train_last=last_layers, replay_bytes=size, learning=learning
            )
            rows, capacity, arena = [], 0, 0
            for parts, *one in made:
                row, capacity, arena = measure(some, parts, *one)
                rows.append(row)
            r = 100 * np.array(rows)
            lost, rise = r[:, 0] - r[:, 1], r[:, 3] - r[:, 2]
            means = (r[:, 1].mean(), lost.mean(), lost.max(), r[:, 3].mean(), rise.mean(),
                     rise.min())  # fmt: skip
            cells = [text, last_layers, capacity, replays, lr, *(f"{m:.1f}" for m in means)]
            print(f"| {' | '.join(map(str, [*cells, f'{arena:,}']))} |", flush=True)


def tested(name: str) -> None:
    """Measures a demo, as it is, in other circumstances."""
    recipe = demos.get(name)
    print("| | old before | after | new before | after |\n" + "|---" * 5 + "|", flush=True)
    for number, parts in enumerate(TESTED[name]()):
        shares, _, _ = measure(recipe, parts, *taught(recipe, parts))
        title = parts.groups[-1][0] if parts.groups else number
        print(f"| {title} |", " | ".join(f"{100 * share:.1f}" for share in shares), "|", flush=True)


if __name__ == "__main__":
    tested(sys.argv[1]) if sys.argv[2:] == ["test"] else main(sys.argv[1])

"""How settings of the demos fashion, speak and motion were chosen: the test parts were not read.

python tests/choose_demos.py NAME      prints the table of docs/demo-NAME.md, minutes

Each demo is repeated within its training part, which holds samples out in place of the test part:
other streams of garments; each of the six speakers as the new one; five folds of recordings.
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
from wage_host.demo import Parts, Recipe

STREAMS, HELD_OUT = 3, slice(50_000, 52_000)
FOLDS = 5


def garments() -> Iterator[Parts]:
    """Other bags and boots come; tested with samples from the end of the training part."""
    x, labels = data.datasets.named("fashion-mnist", "train")
    usual = demos.garments()
    places = [np.flatnonzero(labels == c) for c in demos.FASHION.new_classes]
    for k in range(STREAMS):
        some = slice(2000 + k * demos.NEW_GARMENTS, 2000 + (k + 1) * demos.NEW_GARMENTS)
        stream = np.sort(np.concatenate([place[some] for place in places]))
        assert stream.min() >= demos.KNOWN_GARMENTS and stream.max() < HELD_OUT.start
        yield Parts(usual.known, (x[stream], labels[stream]), (x[HELD_OUT], labels[HELD_OUT]))


def voices() -> Iterator[Parts]:
    """Of known speakers 5 to 9 are held out, of the new one all that does not come."""
    for speaker in demos.SPEAKERS:
        yield demos.voices(speaker, known="([1-4].)", tested="[5-9]", new_tested="([1-4].)")


def activities() -> Iterator[Parts]:
    """Of each class a fifth of the recordings is held out."""
    usual = demos.activities()
    for fold in range(FOLDS):
        held = [np.arange(len(y)) % FOLDS == fold for _, y in (usual.known, usual.stream)]
        parts = list(zip((usual.known, usual.stream), held, strict=True))
        known, stream = ((x[~out], y[~out]) for (x, y), out in parts)
        yield Parts(known, stream, tuple(np.concatenate([a[i][out] for a, out in parts])
                                         for i in (0, 1)))  # fmt: skip


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
    "speak": ((2,), (12 << 10, 16 << 10, 24 << 10), (7, 15), (-3, -4, -5)),
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


if __name__ == "__main__":
    main(sys.argv[1])

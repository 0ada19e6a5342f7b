"""How the demo's settings were chosen: cross-validation that never sees the test digits.

python tests/choose_demo_settings.py      writes docs/demo-settings.md, a few minutes

Eight folds of the training part (all digits but each fifth): a network learns 0 to 7 from
seven of them, then 8 and 9 arrive; what it knows is measured on the eighth.
"""

# SPDX-License-Identifier: MIT

import dataclasses
import itertools
from pathlib import Path

import numpy as np
from wage_host import data, demo, network, train
from wage_host.core import Config, Core, Sample
from wage_host.stream import accuracy

OUT = Path(__file__).parents[1] / "docs" / "demo-settings.md"
FOLDS = (0, 1, 2, 3, 5, 6, 7, 8)  # of index modulo 10; 4 and 9 are the test part
NETWORKS = ("8x8x1 16C3-MP2 16C3-MP2 32FC 10FC", demo.NETWORK)
LATENT_BYTES = 128 + 1  # and its label, of the demo's network
TRAIN_LAST, REPLAY, REPLAYS, LR_SHIFT = (2, 4), (160, 320, 480), (3, 15), (-3, -4, -5)

Fold = tuple[network.Network, list[Sample], list[Sample], list[Sample]]


def folds(text: str) -> list[Fold]:
    """For each fold: network trained on old digits, those digits, the new ones, validation."""
    pictures, labels = demo.digits()
    x = (pictures >> 1).astype(np.int8).reshape(len(labels), -1)
    index, new = np.arange(len(x)), np.isin(labels, demo.NEW)

    def samples(mask: np.ndarray) -> list[Sample]:
        return [(x[i], int(labels[i])) for i in np.flatnonzero(mask)]

    out = []
    for seed, fold in enumerate(FOLDS):
        learned = (index % 5 != 4) & (index % 10 != fold)
        known = samples(learned & ~new)
        config = dataclasses.replace(demo.TRAINING.config, seed=seed)
        how = dataclasses.replace(demo.TRAINING, config=config)
        old = data.Data("digits", pictures[learned & ~new], labels[learned & ~new])
        net, _ = train.run(network.parse(text, seed), old, how)
        out.append((net, known, samples(learned & new), samples(index % 10 == fold)))
    return out


def measure(all_folds: list[Fold], last: int, capacity: int, replays: int, lr: int) -> list[float]:
    """Accuracy after on all, old before, old after, new after; arena bytes."""
    before, after, arena = [], [], 0
    for seed, (net, known, stream, validation) in enumerate(all_folds):
        config = Config(seed, lr, replays, demo.LEARNING.gain_shift, 0)
        core = Core(train.convert(net, "fold", config, last, capacity, known))
        before += core.evaluate(validation)
        core.start(1, config)
        for _ in core.learn(stream):
            pass
        after += core.evaluate(validation)
        arena = core.info.arena_bytes
    old = range(8)
    return [
        accuracy(after),
        accuracy(before, old),
        accuracy(after, old),
        accuracy(after, demo.NEW),
        arena,
    ]


def main() -> None:
    """Measures the whole grid."""
    lines = [
        "# How the demo's settings were chosen",
        "",
        "Cross-validation within the training part; the test digits were in no fold (host,",
        "`python tests/choose_demo_settings.py`). Accuracy in % over eight folds after 8 and 9 ",
        "arrived; *lost*: points that old digits lost.",
        "",
        "| network | layers that learn | replay | replays | lr shift | all | lost | new | arena |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for text in NETWORKS:
        made = folds(text)
        for settings in itertools.product(TRAIN_LAST, REPLAY, REPLAYS, LR_SHIFT):
            everything, old_before, old_after, new, arena = measure(made, *settings)
            lost = 100 * (old_before - old_after)
            row = f"| {text} | {' | '.join(map(str, settings))} | {100 * everything:.1f} "
            row += f"| {lost:.1f} | {100 * new:.1f} | {arena} |"
            chosen = (text, *settings) == (
                demo.NETWORK,
                demo.TRAIN_LAST,
                demo.REPLAY_BYTES // LATENT_BYTES,
                demo.LEARNING.replays,
                demo.LEARNING.lr_shift,
            )
            lines.append(row.replace("| ", "| **").replace(" |", "** |") if chosen else row)
            print(row, flush=True)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

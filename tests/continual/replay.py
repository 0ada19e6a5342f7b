"""The replay of a twin: the very samples that a board keeps and learns again."""

# SPDX-License-Identifier: MIT

import types

import numpy as np
import reference
from reference.sample import replayed

from continual.table import Strategy


def plan(
    known: np.ndarray, labels: np.ndarray, classes: int, capacity: int, replays: int, seed: int
) -> np.ndarray:
    """Which samples a board replays after each new one, (n, replays): SPEC 6.1 to 6.3.

    known, labels: classes of the samples that the replay begins with, and of the stream's. A
    sample is numbered as it stands in both together. It follows from labels and seed alone.
    """
    stored = list(zip(known.tolist(), range(len(known)), strict=True))
    model = types.SimpleNamespace(
        classes=classes,
        class_total=np.bincount(known, minlength=classes).tolist(),
        config=types.SimpleNamespace(seed=seed, replays=replays),
        inputs=False,
        replay=stored,
        replay_capacity=capacity,
        sample=0,
    )
    out = np.empty((len(labels), replays), np.int64)
    for number, label in enumerate(labels.tolist()):
        reference.replay_offer(model, len(known) + number, label)
        out[number] = [index for _, index in replayed(model)]
        model.sample += 1
    return out


def kept(strategy: Strategy, latent: int, frozen: bool) -> tuple[int, int]:
    """Samples that the twin's replay keeps, and its bytes; inputs take 8 bits."""
    each = 1 + latent * (strategy.latent_bits // 8 if frozen else 1)
    count = strategy.replay * (1 + latent) // each if strategy.same_bytes else strategy.replay
    return count, count * each

"""Training on the host and conversion for a board: the same runtime, the same bits."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from wage_host import network
from wage_host.core import Config, Core, Sample
from wage_host.network import Network


def train(
    net: Network,
    samples: Sequence[Sample],
    epochs: int,
    config: Config,
    progress: Callable[[int, int, int], None] = lambda epoch, done, right: None,
) -> Network:
    """All layers learn, one sample a step; the rate halves after each half of what is left.

    With 8 epochs the learning rate is 2^lr_shift for 4, a half of it for 2, a quarter for 1 and
    an eighth for the last. `progress` hears the epoch, and samples done and right so far in it.
    """
    blob = network.blob(net, "training", config, len(net.layers), 0, [])
    core = Core(blob)
    order = np.random.default_rng(config.seed)
    for epoch in range(epochs):
        left, drops = epochs - epoch, 0
        while (epochs >> drops + 1) >= left:
            drops += 1
        rate = dataclasses.replace(config, lr_shift=config.lr_shift - drops)
        core.start(epoch + 1, rate)
        right = 0
        for record in core.learn(samples[i] for i in order.permutation(len(samples))):
            right += record.prediction == record.label
            progress(epoch, record.id, right)
    return network.with_weights(net, core)


def balanced(samples: Sequence[Sample], count: int) -> list[Sample]:
    """The first `count` samples, taking classes in turn."""
    by_class: dict[int, list[Sample]] = {}
    for sample in samples:
        by_class.setdefault(sample[1], []).append(sample)
    turns = max((len(group) for group in by_class.values()), default=0)
    taken = [
        by_class[label][turn]
        for turn in range(turns)
        for label in sorted(by_class)
        if turn < len(by_class[label])
    ]
    return taken[:count]


def convert(
    net: Network,
    name: str,
    config: Config,
    train_last: int,
    replay_capacity: int,
    replay_samples: Sequence[Sample],
) -> bytes:
    """The blob of a network, its replay filled with `replay_samples` (up to the capacity)."""
    bare = network.blob(net, name, config, train_last, 0, [])
    core = Core(bare)
    chosen = balanced(replay_samples, replay_capacity)
    replay = [(core.latent(x), label) for x, label in chosen]
    return network.blob(net, name, config, train_last, replay_capacity, replay)

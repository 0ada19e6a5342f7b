"""An integer run of the table, through wage_host.train: arrays in, figures by epoch out."""

# SPDX-License-Identifier: MIT

from collections.abc import Callable
from pathlib import Path
from typing import Any

from wage_host import augment, data, network, rates, train
from wage_host.core import Config
from wage_host.pack import Rules

from accuracy.table import IntegerSettings, Task

Epoch = dict[str, Any]


def prepare(
    task: Task, settings: IntegerSettings, seed: int, epochs: int
) -> tuple[network.Network, train.How]:
    """The fresh network and how it is trained; a shorter try goes through all the task's rates."""
    net = network.parse(
        task.net,
        seed,
        settings.input_map,
        bits=network.parse_bits(task.net, settings.bits),
        bias=settings.bias,
        paper=settings.paper,
    )
    config = Config(
        seed=seed,
        lr_shift=0,
        replays=0,
        gain_shift=settings.gain_shift,
        threshold=settings.threshold,
    )
    planned = rates.schedule(settings.rates, task.epochs)
    how = train.How(
        config,
        tuple(planned[epoch * task.epochs // epochs] for epoch in range(epochs)),
        Rules(settings.paper, settings.sse, settings.batch, settings.momentum),
        augment.parse(task.augment),
    )
    return net, how


def run(
    task: Task,
    settings: IntegerSettings,
    seed: int,
    epochs: int,
    train_part: data.Data,
    measured: dict[str, data.Data],
    checkpoint: Path,
    progress: Callable[[list[Epoch]], None],
) -> list[Epoch]:
    """Trains, or goes on from the checkpoint; accuracy on each of `measured` after each epoch.

    What is to choose settings passes validation alone as `measured`.
    """
    net, how = prepare(task, settings, seed, epochs)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    heard: list[Epoch] = []

    def on_epoch(row: Epoch) -> None:
        heard.append(row)
        progress(heard)

    _, rows = train.run(net, train_part, how, others=measured, path=checkpoint, on_epoch=on_epoch)
    return rows

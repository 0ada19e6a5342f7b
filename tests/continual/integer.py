"""A stream learned by the C runtime in this process: what a board does, bit for bit."""

# SPDX-License-Identifier: MIT

import dataclasses
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import integer as host
from accuracy.table import IntegerSettings, Settings, Task
from wage_host import data, network, pack, train
from wage_host.core import Config, Core
from wage_host.network import Network

from continual.streams import Stream
from continual.table import HOST, LEARNING, Benchmark, Learning, Strategy

NAME = "continual"
NAIVE = Strategy("naive")


def task_of(benchmark: Benchmark) -> Task:
    """What the host learns before the stream, as the table of accuracies has it."""
    return Task(
        name=benchmark.name,
        title=benchmark.title,
        data=benchmark.name,
        net=benchmark.net,
        augment="",
        epochs=benchmark.epochs,
        seeds=benchmark.seeds,
        twin=None,
    )


def checkpoint(
    folder: Path, benchmark: Benchmark, seed: int, known: data.Data, how: Settings
) -> Path:
    """Where a host's training goes on; the name tells what it follows from."""
    folder.mkdir(parents=True, exist_ok=True)
    used = (benchmark.net, benchmark.epochs, how)
    mark = zlib.crc32(repr(used).encode(), known.crc())
    return folder / f"{benchmark.name}.{seed}.{mark:08x}.checkpoint"


def begun(
    benchmark: Benchmark,
    seed: int,
    known: data.Data,
    folder: Path,
    settings: IntegerSettings = HOST,
) -> tuple[Network, Network]:
    """The network before the stream, and one that has learned nothing."""
    if not benchmark.epochs:
        net = network.parse(
            benchmark.net, seed, settings.input_map, bits=network.parse_bits("", settings.bits)
        )
        return net, net
    fresh, how = host.prepare(task_of(benchmark), settings, seed, benchmark.epochs)
    how = dataclasses.replace(how, free_classes=benchmark.classes - 1 - int(known.labels.max()))
    path = checkpoint(folder, benchmark, seed, known, settings)
    return train.run(fresh, known, how, path=path)[0], fresh


def blob(
    net: Network,
    benchmark: Benchmark,
    learning: Learning,
    strategy: Strategy,
    seed: int,
    known: data.Data | None,
) -> tuple[bytes, Config]:
    """The model as a board takes it, its replay filled from what the host has learned."""
    config = Config(
        seed, learning.lr_shift, learning.replays, learning.gain_shift, learning.threshold
    )
    last = strategy.last or benchmark.train_last or len(net.weighted)
    samples = data.samples(known, net.info()) if known else []
    rules = pack.Rules(batch=learning.batch)
    return train.convert(net, NAME, config, last, strategy.replay, samples, rules), config


def accuracies(core: Core, stream: Stream) -> list[float]:
    """On each experience's test samples."""
    out = []
    for experience in stream:
        x = data.activations(experience.test.x, core.info.input_map)
        answers = core.predict(x, experience.test.labels)["prediction"]
        out.append(float(np.mean(answers == experience.test.labels)))
    return out


def run(
    benchmark: Benchmark,
    strategy: Strategy,
    learning: Learning,
    seed: int,
    stream: Stream,
    folder: Path,
) -> dict[str, Any]:
    """The accuracy matrix, and what the model needs; `folder` keeps what a host has learned."""
    first = 1 if benchmark.epochs else 0
    known = stream[0].learn if first else None
    net, fresh = begun(benchmark, seed, stream[0].learn, folder)
    model, config = blob(net, benchmark, learning, strategy, seed, known)
    core = Core(model)
    core.start(1, config)
    matrix = [accuracies(Core(blob(fresh, benchmark, learning, NAIVE, seed, None)[0]), stream)]
    matrix += [accuracies(core, stream)] * first
    if strategy.joint:
        learn_jointly(core, stream, learning.replays + 1, seed)
        matrix += [accuracies(core, stream)]
    else:
        for experience in stream[first:]:
            for _ in core.learn(data.samples(experience.learn, core.info)):
                pass
            matrix.append(accuracies(core, stream))
    return {
        "matrix": matrix,
        "replay_samples": strategy.replay,
        "replay_bytes": strategy.replay * (1 + core.info.latent_bytes),
        "arena_bytes": core.info.arena_bytes,
        "weight_crc": f"{core.weight_crc():08x}",
    }


def try_host(
    benchmark: Benchmark, settings: IntegerSettings, seed: int, stream: Stream, folder: Path
) -> float:
    """Accuracy on the first experience when a host has learned it with these settings."""
    net, _ = begun(benchmark, seed, stream[0].learn, folder, settings)
    return accuracies(Core(blob(net, benchmark, LEARNING, NAIVE, seed, None)[0]), stream[:1])[0]


def learn_jointly(core: Core, stream: Stream, passes: int, seed: int) -> None:
    """All samples of all experiences, shuffled, so many times."""
    x = np.concatenate([data.activations(e.learn.x, core.info.input_map) for e in stream])
    labels = np.concatenate([e.learn.labels for e in stream])
    orders = train.orders(seed, len(labels), 0)
    for _ in range(passes):
        order = next(orders)
        core.train(x[order], labels[order])

"""A stream learned by the C runtime in this process: what a board does, bit for bit."""

# SPDX-License-Identifier: MIT

import dataclasses
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import integer as host
from accuracy.table import IntegerSettings, Task
from wage_host import data, network, pack, train
from wage_host.core import Config, Core
from wage_host.network import Network

from continual import rates, table
from continual.streams import Experience, Stream
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


def kept_in(
    folder: Path, benchmark: Benchmark, seed: int, samples: data.Data, how: object, kind: str
) -> Path:
    """Where what a host has done is kept; the name tells what it follows from."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = zlib.crc32(repr((benchmark.net, benchmark.epochs, how)).encode(), samples.crc())
    return folder / f"{benchmark.name}.{seed}.{mark:08x}.{kind}"


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
    path = kept_in(folder, benchmark, seed, known, settings, "checkpoint")
    return train.run(fresh, known, how, path=path)[0], fresh


def in_stream(
    benchmark: Benchmark, learning: Learning, seed: int, known: data.Data, folder: Path
) -> Learning:
    """The settings of a stream; where a host learns before it, by the rule of the table."""
    if not benchmark.epochs:
        return learning
    learning = dataclasses.replace(learning, gain_shift=HOST.gain_shift)
    tries = [
        dataclasses.replace(learning, lr_shift=learning.lr_shift - k)
        for k in range(table.HALVINGS + 1)
    ]
    parts = rates.rehearsal(benchmark, known, seed)
    replay = Strategy("rehearsal", benchmark.budgets[1])

    def score(how: Learning) -> float:
        net, _ = begun(benchmark, seed, parts.old, folder)
        core = started(*blob(net, benchmark, how, replay, seed, parts.old))
        for _ in core.learn(data.samples(parts.new, core.info)):
            pass
        return accuracies(core, [Experience(parts.new, parts.held)])[0]

    path = kept_in(folder, benchmark, seed, known, (HOST, tries, replay, table.HELD), "rates")
    return rates.best(path, tries, score)


def capacity(net: Network, benchmark: Benchmark, strategy: Strategy) -> int:
    """How many samples the replay keeps."""
    if not strategy.same_bytes:
        return strategy.replay
    cut = pack.cut(net, benchmark.train_last)
    latent = math.prod([*net.places()][cut].input)
    return train.fitting(strategy.replay * (1 + latent), math.prod(net.shape))


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
    count = capacity(net, benchmark, strategy)
    net = pack.only_biases(net, last) if strategy.biases else net
    samples = data.samples(known, net.info()) if known else []
    rules = pack.Rules(batch=learning.batch, inputs=strategy.inputs, means=strategy.means)
    return train.convert(net, NAME, config, last, count, samples, rules), config


def started(model: bytes, config: Config) -> Core:
    """The runtime with what blob() gave, its first stream begun."""
    core = Core(model)
    core.start(1, config)
    return core


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
    learning = in_stream(benchmark, learning, seed, stream[0].learn, folder)
    core = started(*blob(net, benchmark, learning, strategy, seed, known))
    untrained = started(*blob(fresh, benchmark, learning, NAIVE, seed, None))
    matrix = [accuracies(untrained, stream)]
    matrix += [accuracies(core, stream)] * first
    if strategy.joint:
        learn_jointly(core, stream, learning.replays + 1, seed)
        matrix += [accuracies(core, stream)]
    else:
        for experience in stream[first:]:
            for _ in core.learn(data.samples(experience.learn, core.info)):
                pass
            matrix.append(accuracies(core, stream))
    count = capacity(net, benchmark, strategy)
    return {
        "matrix": matrix,
        "rate": f"2^{learning.lr_shift}",
        "replay_samples": count,
        "replay_bytes": count * (1 + core.info.replay_bytes),
        "arena_bytes": core.info.arena_bytes,
        "weight_crc": f"{core.weight_crc():08x}",
    }


def try_host(
    benchmark: Benchmark, settings: IntegerSettings, seed: int, stream: Stream, folder: Path
) -> float:
    """Accuracy on the first experience when a host has learned it with these settings."""
    net, _ = begun(benchmark, seed, stream[0].learn, folder, settings)
    core = started(*blob(net, benchmark, LEARNING, NAIVE, seed, None))
    return accuracies(core, stream[:1])[0]


def learn_jointly(core: Core, stream: Stream, passes: int, seed: int) -> None:
    """All samples of all experiences, shuffled, so many times."""
    x = np.concatenate([data.activations(e.learn.x, core.info.input_map) for e in stream])
    labels = np.concatenate([e.learn.labels for e in stream])
    orders = train.orders(seed, len(labels), 0)
    for _ in range(passes):
        order = next(orders)
        core.train(x[order], labels[order])

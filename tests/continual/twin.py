"""The float twin of a stream: PyTorch, the same net, samples, order and replayed samples."""

# SPDX-License-Identifier: MIT

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accuracy import twin as host
from accuracy.table import TwinSettings
from torch import nn
from wage_host import data, network, pack
from wage_host.train import balanced

from continual import rates, table
from continual.integer import kept_in, task_of
from continual.replay import kept, plan
from continual.streams import Stream, chosen
from continual.table import (
    INPUT_MAP,
    TWIN_HOST,
    TWIN_LEARNING,
    Benchmark,
    Strategy,
    TwinLearning,
)

EVALUATE = 500  # samples a batch when nothing is learned


class Twin:
    """A net whose layers from `cut` on learn."""

    def __init__(self, benchmark: Benchmark, learning: TwinLearning, model: host.Net):
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        self.net = network.parse(benchmark.net, 0)
        last = benchmark.train_last or len(self.net.weighted)
        self.cut, self.model, self.learning = pack.cut(self.net, last), model, learning
        self.latent = math.prod([*self.net.places()][self.cut].input)  # values
        learns = [p for step in model.steps[self.cut :] for p in step.parameters()]
        self.optimiser = torch.optim.SGD(learns, learning.rate, learning.momentum)

    def latents(self, x: np.ndarray) -> torch.Tensor:
        """Activations at the cut, float32 (n, c, h, w)."""
        with torch.inference_mode():
            parts = [
                self.model.part(
                    host.inputs(x[at : at + EVALUATE], self.net.shape, INPUT_MAP),
                    0,
                    self.cut,
                )
                for at in range(0, len(x), EVALUATE)
            ]
        return torch.cat(parts).clone()

    def accuracy(self, latents: torch.Tensor, labels: np.ndarray) -> float:
        """The share of samples that the model knows."""
        with torch.inference_mode():
            logits = [self.model.part(some, self.cut) for some in latents.split(EVALUATE)]
        return float(np.mean(torch.cat(logits).numpy().argmax(1) == labels))

    def step(self, latents: torch.Tensor, labels: torch.Tensor) -> None:
        """Learns some samples at once."""
        loss = nn.functional.cross_entropy(self.model.part(latents, self.cut), labels)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()


def begun(
    benchmark: Benchmark,
    seed: int,
    known: data.Data,
    folder: Path,
    settings: TwinSettings = TWIN_HOST,
) -> host.Net:
    """The net before the stream, trained by the host where the benchmark says so."""
    twin = host.Twin(task_of(benchmark), settings, seed, benchmark.epochs)
    path = kept_in(folder, benchmark, seed, known, settings, "checkpoint")
    if path.exists():
        twin.resume(path)
    while len(twin.history) < benchmark.epochs:
        twin.history.append({"loss": twin.epoch(known)})
        twin.save(path)
    twin.model.eval()
    return twin.model


def in_stream(
    benchmark: Benchmark, learning: TwinLearning, seed: int, known: data.Data, folder: Path
) -> TwinLearning:
    """As integer.in_stream()."""
    if not benchmark.epochs:
        return learning
    tries = [
        dataclasses.replace(learning, rate=learning.rate / 2**k) for k in range(table.HALVINGS + 1)
    ]
    parts = rates.rehearsal(benchmark, known, seed)
    replay = Strategy("rehearsal", benchmark.budgets[1], twin=True)

    def score(how: TwinLearning) -> float:
        twin = Twin(benchmark, how, begun(benchmark, seed, parts.old, folder))
        for _ in learned(twin, replay, seed, parts.old, [parts.new]):
            pass
        return twin.accuracy(twin.latents(parts.held.x), parts.held.labels)

    path = kept_in(folder, benchmark, seed, known, (TWIN_HOST, tries, replay, table.HELD), "rates")
    return rates.best(path, tries, score)


def learned(
    twin: Twin, strategy: Strategy, seed: int, known: data.Data | None, parts: list[data.Data]
) -> Iterator[None]:
    """Learns parts one after another, with the replay that a board would have; yields after each.

    The replay begins with known samples.
    """
    capacity, _ = kept(strategy, twin.latent, twin.cut > 0)
    index = (
        [k for k, _ in balanced(list(enumerate(known.labels.tolist())), capacity)] if known else []
    )
    count = len(index)
    parts = [chosen(known, np.array(index, np.int64)), *parts] if count else parts
    x = torch.cat([twin.latents(part.x) for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    again = plan(
        labels[:count], labels[count:], twin.net.classes, capacity, twin.learning.replays, seed
    )
    stored = rounded(x, strategy.latent_bits, count) if twin.cut else x
    y, at = torch.from_numpy(labels), count
    for part in parts[1:] if count else parts:
        for new in range(at, at + len(part)):
            old = torch.from_numpy(again[new - count])
            twin.step(
                torch.cat([x[new : new + 1], stored[old]]), torch.cat([y[new : new + 1], y[old]])
            )
        at += len(part)
        yield


def rounded(latents: torch.Tensor, bits: int, count: int) -> torch.Tensor:
    """Latents as they come back from where they are kept: float16, or int8 times a power of two.

    The largest of the first `count` latents just fits in int8; what is larger is cut off there.
    """
    if bits == 16:
        return latents.half().float()
    unit = 2.0 ** math.ceil(math.log2(float(latents[:count].max()) / 127))
    return latents.div(unit).round().clamp(-128, 127).mul(unit)


def run(
    benchmark: Benchmark,
    strategy: Strategy,
    learning: TwinLearning,
    seed: int,
    stream: Stream,
    folder: Path,
) -> dict[str, Any]:
    """As integer.run()."""
    first = 1 if benchmark.epochs else 0
    known = stream[0].learn if first else None
    learning = in_stream(benchmark, learning, seed, stream[0].learn, folder)
    fresh = Twin(benchmark, learning, host.Net(network.parse(benchmark.net, seed), seed))
    matrix = [[fresh.accuracy(fresh.latents(e.test.x), e.test.labels) for e in stream]]
    twin = Twin(benchmark, learning, begun(benchmark, seed, stream[0].learn, folder))
    tests = [(twin.latents(e.test.x), e.test.labels) for e in stream]
    matrix += [[twin.accuracy(*test) for test in tests]] * first
    for _ in learned(twin, strategy, seed, known, [e.learn for e in stream[first:]]):
        matrix.append([twin.accuracy(*test) for test in tests])
    capacity, size = kept(strategy, twin.latent, twin.cut > 0)
    return {
        "matrix": matrix,
        "rate": f"{learning.rate:g}",
        "replay_samples": capacity,
        "replay_bytes": size,
    }


def try_host(
    benchmark: Benchmark, settings: TwinSettings, seed: int, stream: Stream, folder: Path
) -> float:
    """As integer.try_host()."""
    model = begun(benchmark, seed, stream[0].learn, folder, settings)
    twin, test = Twin(benchmark, TWIN_LEARNING, model), stream[0].test
    return twin.accuracy(twin.latents(test.x), test.labels)

"""The float twin of a stream: PyTorch, the same net, samples, order and replayed samples."""

# SPDX-License-Identifier: MIT

from pathlib import Path
from typing import Any

import numpy as np
import torch
from accuracy import twin as host
from accuracy.table import TwinSettings
from torch import nn
from wage_host import data, network, pack
from wage_host.train import balanced

from continual.integer import checkpoint, task_of
from continual.replay import kept, plan
from continual.streams import Stream, chosen
from continual.table import TWIN_HOST, TWIN_LEARNING, Benchmark, Strategy, TwinLearning

EVALUATE = 500  # samples a batch when nothing is learned


class Twin:
    """A net whose layers from `cut` on learn."""

    def __init__(self, benchmark: Benchmark, learning: TwinLearning, model: host.Net):
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        self.net = network.parse(benchmark.net, 0)
        last = benchmark.train_last or len(self.net.weighted)
        self.cut, self.model = pack.cut(self.net, last), model
        learns = [p for step in model.steps[self.cut :] for p in step.parameters()]
        self.optimiser = torch.optim.SGD(learns, learning.rate, learning.momentum)

    def latents(self, x: np.ndarray) -> torch.Tensor:
        """Activations at the cut, float32 (n, c, h, w)."""
        with torch.inference_mode():
            parts = [
                self.model.part(
                    host.inputs(x[at : at + EVALUATE], self.net.shape, TWIN_HOST.input_map),
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
    path = checkpoint(folder, benchmark, seed, known, settings)
    if path.exists():
        twin.resume(path)
    while len(twin.history) < benchmark.epochs:
        twin.history.append({"loss": twin.epoch(known)})
        twin.save(path)
    twin.model.eval()
    return twin.model


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
    untrained = Twin(benchmark, learning, host.Net(network.parse(benchmark.net, seed), seed))
    twin = Twin(benchmark, learning, begun(benchmark, seed, stream[0].learn, folder))
    tests = [(twin.latents(e.test.x), e.test.labels) for e in stream]
    matrix = [[untrained.accuracy(untrained.latents(e.test.x), e.test.labels) for e in stream]]
    matrix += [[twin.accuracy(*test) for test in tests]] * first
    latent = int(np.prod(tests[0][0].shape[1:]))
    capacity, size = kept(strategy, latent, twin.cut > 0)
    known = stream[0].learn
    filled = balanced(list(enumerate(known.labels.tolist())), capacity if first else 0)
    index = np.array([k for k, _ in filled], np.int64)
    parts = [chosen(known, index)]
    parts += [experience.learn for experience in stream[first:]]
    x = torch.cat([twin.latents(part.x) for part in parts if len(part)])
    labels = np.concatenate([part.labels for part in parts])
    count = len(index)
    again = plan(
        labels[:count], labels[count:], benchmark.classes, capacity, learning.replays, seed
    )
    stored = x.half().float() if twin.cut else x
    y, at = torch.from_numpy(labels), count
    for part in parts[1:]:
        for new in range(at, at + len(part)):
            old = torch.from_numpy(again[new - count])
            twin.step(
                torch.cat([x[new : new + 1], stored[old]]), torch.cat([y[new : new + 1], y[old]])
            )
        at += len(part)
        matrix.append([twin.accuracy(*test) for test in tests])
    return {"matrix": matrix, "replay_samples": capacity, "replay_bytes": size}


def try_host(
    benchmark: Benchmark, settings: TwinSettings, seed: int, stream: Stream, folder: Path
) -> float:
    """As integer.try_host()."""
    model = begun(benchmark, seed, stream[0].learn, folder, settings)
    twin, test = Twin(benchmark, TWIN_LEARNING, model), stream[0].test
    return twin.accuracy(twin.latents(test.x), test.labels)

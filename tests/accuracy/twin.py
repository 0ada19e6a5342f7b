"""The float twin of a network: the same layers and data in PyTorch, for comparison only."""

# SPDX-License-Identifier: MIT

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from wage_host import augment, data, network
from wage_host._core import lib
from wage_host.layers import Place
from wage_host.train import orders

from accuracy.table import Task, TwinSettings

EVALUATE = 500  # samples a batch when nothing is learned

Epoch = dict[str, Any]


class Net(nn.Module):
    """The layers of a network in float32, without normalisation; He's initial weights.

    Bias where the network has it. ReLU does not saturate here, and `signed` is no activation.
    """

    def __init__(self, net: network.Network, seed: int):
        super().__init__()
        draws = torch.Generator().manual_seed(seed)
        self.layers = net.layers
        modules: list[nn.Module] = []
        for at in net.places():
            module = _module(at)
            if at.layer.weight_bits:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=draws)
            modules.append(module)
        self.steps = nn.ModuleList(modules)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes) of float32 (n, c, h, w)."""
        return self.part(x, 0)

    def part(self, x: torch.Tensor, begin: int, end: int | None = None) -> torch.Tensor:
        """What the layers from `begin` up to `end` give: logits when the last is one of them."""
        inputs, steps = [], self.steps[begin:end]
        for number, (layer, step) in enumerate(zip(self.layers[begin:end], steps, strict=True)):
            inputs.append(x)
            if layer.kind == lib.WAGE_DENSE:  # our order of inputs: row, column, channel
                x = x.permute(0, 2, 3, 1).flatten(1)
            x = step(x)
            if layer.kind == lib.WAGE_DENSE:
                x = x[:, :, None, None]
            if layer.kind == lib.WAGE_ADD:
                x = x + inputs[number - layer.skip]
            if layer.pool > 1:
                x = nn.functional.max_pool2d(x, layer.pool, ceil_mode=True)
            if layer.activation == lib.WAGE_RELU:
                x = nn.functional.relu(x)
        return x.flatten(1) if end is None else x


def _module(at: Place) -> nn.Module:
    """What one layer computes before pooling and activation."""
    layer, channels = at.layer, at.input[2]
    bias = layer.bias is not None
    if layer.kind == lib.WAGE_DENSE:
        return nn.Linear(math.prod(at.input), layer.out, bias)
    if layer.kind in (lib.WAGE_CONV2D, lib.WAGE_DEPTHWISE):
        groups = channels if layer.kind == lib.WAGE_DEPTHWISE else 1
        sizes = (layer.kernel, layer.stride, layer.padding)
        return nn.Conv2d(channels, layer.out, *sizes, groups=groups, bias=bias)
    if layer.kind == lib.WAGE_AVERAGE_POOL:
        return nn.AvgPool2d(layer.kernel, layer.stride, layer.padding)
    if layer.kind == lib.WAGE_MAX_POOL:
        return nn.MaxPool2d(layer.kernel, layer.stride, layer.padding)
    if layer.kind == lib.WAGE_ADD:
        return nn.Identity()
    raise NotImplementedError(f"a twin has no layer of kind {layer.kind}")


def inputs(x: np.ndarray, shape: tuple[int, int, int], input_map: int) -> torch.Tensor:
    """Bytes (n, h, w, c) as the integers see them, over 128: float32 (n, c, h, w)."""
    mapped = torch.from_numpy(data.activations(x, input_map)).float().div_(128)
    return mapped.reshape(len(x), *shape).permute(0, 3, 1, 2)


def accuracy(
    model: nn.Module, shape: tuple[int, int, int], part: data.Data, input_map: int
) -> float:
    """The share of samples that the model knows; of equal logits the lowest index counts."""
    right = 0
    model.eval()
    with torch.inference_mode():
        for at in range(0, len(part), EVALUATE):
            logits = model(inputs(part.x[at : at + EVALUATE], shape, input_map)).numpy()
            right += int((logits.argmax(1) == part.labels[at : at + EVALUATE]).sum())
    return round(right / len(part), 6)


def rate_at(settings: TwinSettings, step: int, steps: int, per_epoch: int) -> float:
    """The learning rate of one step: a short linear start, then half a cosine to zero."""
    start = settings.warm_up * per_epoch
    if step < start:
        return settings.rate * (step + 1) / start
    return settings.rate * 0.5 * (1 + math.cos(math.pi * (step - start) / (steps - start)))


class Twin:
    """A net, its optimiser, and what was measured after each epoch so far."""

    def __init__(self, task: Task, settings: TwinSettings, seed: int, epochs: int):
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        net = network.parse(task.net, seed)
        self.task, self.settings, self.seed, self.epochs = task, settings, seed, epochs
        self.shape = net.shape
        self.model = Net(net, seed)
        self.augment = augment.parse(task.augment)
        self.optimiser = torch.optim.SGD(
            self.model.parameters(),
            settings.rate,
            settings.momentum,
            weight_decay=settings.decay,
        )
        self.history: list[Epoch] = []

    def epoch(self, train: data.Data) -> float:
        """Learns each sample once; the mean loss of a batch.

        Order and augmentation are those of integers with this seed, and follow from seed and
        epoch alone: a run that went on from a checkpoint equals one that was never stopped.
        """
        number, batch = len(self.history), self.settings.batch
        order = next(orders(self.seed, len(train), number))
        steps = -(-len(train) // batch)
        self.model.train()
        total = 0.0
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            for group in self.optimiser.param_groups:
                group["lr"] = rate_at(
                    self.settings, number * steps + step, self.epochs * steps, steps
                )
            x = train.x[chosen].reshape(len(chosen), *self.shape)
            if self.augment:
                x = augment.augmented(x, chosen, self.augment, self.seed, number)
            logits = self.model(inputs(x, self.shape, self.settings.input_map))
            loss = nn.functional.cross_entropy(logits, torch.from_numpy(train.labels[chosen]))
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()
            total += loss.item()
        return total / steps

    def save(self, path: Path) -> None:
        """Writes all that going on needs, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "history": self.history,
        }
        torch.save(state, path.with_suffix(".new"))
        os.replace(path.with_suffix(".new"), path)

    def resume(self, path: Path) -> None:
        """Goes on from what save() wrote."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.history = state["history"]


def run(
    task: Task,
    settings: TwinSettings,
    seed: int,
    epochs: int,
    train: data.Data,
    measured: dict[str, data.Data],
    checkpoint: Path,
    progress: Callable[[list[Epoch]], None],
) -> list[Epoch]:
    """Trains, or goes on from the checkpoint; each epoch's loss and accuracy on `measured`.

    What is to choose settings passes validation alone as `measured`.
    """
    twin = Twin(task, settings, seed, epochs)
    if checkpoint.exists():
        twin.resume(checkpoint)
    while len(twin.history) < epochs:
        began = time.monotonic()
        record = {"epoch": len(twin.history) + 1, "loss": round(twin.epoch(train), 5)}
        for name, part in measured.items():
            record[name] = accuracy(twin.model, twin.shape, part, settings.input_map)
        record["seconds"] = round(time.monotonic() - began, 2)
        twin.history.append(record)
        twin.save(checkpoint)
        progress(twin.history)
    return twin.history

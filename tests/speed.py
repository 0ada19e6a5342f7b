"""How fast the host trains, beside PyTorch: same net, same machine, same run.

make speed      (or: python tests/speed.py; needs torch)

Five timings of each, in turn, after warming up; the median counts. PyTorch trains in float32
with plain SGD on all cores, in whichever of its two layouts is faster. Times are this
machine's; the ratio is what to look at.
"""

# SPDX-License-Identifier: MIT

import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from wage_host import network, pack, zoo
from wage_host._core import lib
from wage_host.core import Config, Core

RUNS = 5
SEED = 1


def net_of(text: str) -> torch.nn.Sequential:
    """The same net in PyTorch: convolutions with ReLU and pool, then dense layers."""
    modules: list[torch.nn.Module] = []
    for at in network.parse(text, SEED).places():
        layer, (h, w, c) = at.layer, at.input
        if layer.kind == lib.WAGE_CONV2D:
            sizes = (layer.kernel, layer.stride, layer.padding)
            modules.append(torch.nn.Conv2d(c, layer.out, *sizes, bias=False))
        else:
            modules += [torch.nn.Flatten(), torch.nn.Linear(h * w * c, layer.out, bias=False)]
        if layer.pool == 2:
            modules.append(torch.nn.MaxPool2d(2))
        modules.append(torch.nn.ReLU())
    return torch.nn.Sequential(*modules[:-1])


def ours(text: str, batch: int, paper: bool, x: np.ndarray, y: np.ndarray) -> Callable[[], None]:
    """Trains on all samples once, in integers."""
    net = network.parse(text, SEED, bits=(2, 8) if paper else (8, 16), paper=paper)
    rules = pack.Rules(paper=paper, sse=paper, batch=batch)
    config = Config(SEED, 0 if paper else -3, 0, 2, 0)
    core = Core(pack.blob(net, "speed", config, len(net.weighted), 0, [], rules))
    return lambda: core.train(x, y)


def theirs(
    text: str, batch: int, x: np.ndarray, y: np.ndarray, layout: torch.memory_format
) -> Callable[[], None]:
    """The same in PyTorch, in one of its two layouts of pictures."""
    model = net_of(text).to(memory_format=layout)
    optimiser = torch.optim.SGD(model.parameters(), 0.05)
    inputs = torch.from_numpy(x.astype(np.float32) / 128).permute(0, 3, 1, 2)
    inputs = inputs.contiguous(memory_format=layout)
    labels = torch.from_numpy(y.astype(np.int64))

    def train() -> None:
        for at in range(0, len(x), batch):
            optimiser.zero_grad(set_to_none=True)
            out = model(inputs[at : at + batch])
            torch.nn.functional.cross_entropy(out, labels[at : at + batch]).backward()
            optimiser.step()

    return train


def timed(train: Callable[[], None]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    train()
    return time.perf_counter() - began


def compare(title: str, text: str, batch: int, count: int, paper: bool, floor: float) -> bool:
    """Prints both medians a step, and their ratio; whether that reaches `floor`."""
    rng = np.random.default_rng(SEED)
    shape = network.parse(text, SEED).shape
    x = rng.integers(-127, 128, (count, *shape)).astype(np.int8)
    x[rng.random(x.shape) < 0.7] = -127 if paper else 0  # as in pictures of digits
    y = rng.integers(0, 10, count).astype(np.uint8)
    layouts = (torch.contiguous_format, torch.channels_last)
    all_ways = [ours(text, batch, paper, x, y)]
    all_ways += [theirs(text, batch, x, y, layout) for layout in layouts]
    for train in all_ways:
        train()
    times = np.array([[timed(train) for train in all_ways] for _ in range(RUNS)])
    mine, *others = (statistics.median(column) / (count / batch) for column in times.T)
    other = min(others)
    print(
        f"{title}: {1e6 * mine:,.0f} µs a step, PyTorch {1e6 * other:,.0f} µs: "
        f"{other / mine:.2f} times as fast (wanted: {floor:g})"
    )
    return other / mine >= floor


def main() -> int:
    """Both comparisons; 1 when one is slower than wanted."""
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(SEED)
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, "
          f"kernels of level {lib.wage_host_level()} (host)")  # fmt: skip
    met = [
        compare("LeNet, batch 128", zoo.text_of("lenet"), 128, 128 * 8, True, 1),
        compare("digits MLP 64-32-10, batch 1", "8x8x1 32FC 10FC", 1, 2000, False, 20),
    ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())

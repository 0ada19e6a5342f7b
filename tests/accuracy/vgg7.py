"""Trains the paper's VGG7 on an accelerator: the same run, bit for bit, as the C engine's.

PYTHONPATH=host:tests python -m accuracy.vgg7 --device cuda --data FOLDER --seed 1 --limit-s 560

Proves first that this device gives the bits of the C engine (accuracy.proof) and goes no further
when one differs. Then it goes on from the checkpoint, writes it after each epoch, and stops with
exit code 3 when the next epoch would not end within --limit-s: the same command goes on, on any
machine that has the file. So does `python -m accuracy shard`, whose checkpoints and results are
the same. The result is a shard of the table: docs/accuracy/cifar10-vgg7.paper.SEED.json.

--data is the folder of data sets, with cifar-10-batches-bin in it; or cifar10-jpeg.zip, which is
another set: its result has another name and does not count for the row of CIFAR-10.

A step of 128 samples is 237 · 10^9 products of 8 bits, an epoch of 45,000 samples 83 · 10^12.
How long one takes on a GPU is not known: nobody has measured it yet.
"""

# SPDX-License-Identifier: MIT

import argparse
import dataclasses
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from wage_host import augment, checkpoint, core, data, network, pack, rng
from wage_host import train as training
from wage_host.checkpoint import Progress
from wage_host.errors import WageError
from wage_host.rates import shown

from accuracy import integer, proof, sets, shards
from accuracy.exact import PRODUCTS, Exact, Tensor, draws, usual_product
from accuracy.table import TASKS, IntegerSettings, Task

EVALUATE = 500  # samples at a time when nothing is learned
TASK, MODE = "cifar10-vgg7", "paper"
JPEG_SET = "cifar10-jpeg"
STOPPED = 3  # exit code: time was over

Epoch = dict[str, Any]


class TimeOver(Exception):
    """The next epoch would not end in time."""


def activations(x: Tensor, input_map: int) -> Tensor:
    """int8 activations of bytes, as data.activations() (SPEC 3.2)."""
    if x.dtype == torch.int8:
        return x
    p = x.to(torch.int16)
    mapped = p >> 1 if input_map == 0 else (p - 128 + (p >= 128)).clamp(-127, 127)
    return mapped.to(torch.int8)


def augmented(x: Tensor, index: Tensor, how: augment.Augment, seed: int, epoch: int) -> Tensor:
    """Pictures (n, h, w, c) as this epoch learns them, as augment.augmented()."""
    n, h, w, _ = x.shape
    key = rng.key(seed, epoch, rng.STAGE_AUGMENT)
    top, left, mirror = (draws(key, 3 * index + k) for k in range(3))
    rows = torch.arange(h, device=x.device).expand(n, h)
    columns = torch.arange(w, device=x.device).expand(n, w)
    if how.flip:
        columns = torch.where((mirror >> 31 == 1)[:, None], w - 1 - columns, columns)
    if how.crop:
        around = (0, 0, *[how.crop] * 4)
        x = torch.nn.functional.pad(x, around)
        rows = rows + (top * (2 * how.crop + 1) >> 32)[:, None]
        columns = columns + (left * (2 * how.crop + 1) >> 32)[:, None]
    sample = torch.arange(n, device=x.device)[:, None, None]
    return x[sample, rows[:, :, None], columns[:, None, :]]


class Samples:
    """A part of the data on the device."""

    def __init__(self, part: data.Data, shape: tuple[int, ...], input_map: int, device: str):
        self.x = torch.from_numpy(part.x).reshape(-1, *shape).to(device)
        self.labels = torch.from_numpy(part.labels).to(device)
        self.input_map = input_map

    def accuracy(self, model: Exact) -> float:
        """The share of samples that the model knows."""
        right = torch.zeros((), dtype=torch.int64, device=self.x.device)
        for at in range(0, len(self.labels), EVALUATE):
            x = activations(self.x[at : at + EVALUATE], self.input_map)
            right += (model.predict(x) == self.labels[at : at + EVALUATE]).sum()
        return int(right) / len(self.labels)

    def learn(self, model: Exact, how: training.How, epoch: int, order: Tensor) -> float:
        """One epoch (from 0); the share known before each step."""
        right = torch.zeros((), dtype=torch.int64, device=self.x.device)
        for at in range(0, len(order), how.rules.batch):
            index = order[at : at + how.rules.batch]
            x = self.x[index]
            if how.augment:
                x = augmented(x, index, how.augment, how.config.seed, epoch)
            labels = self.labels[index]
            right += (model.train(activations(x, self.input_map), labels) == labels).sum()
        return int(right) / len(order)


def blob_of(net: network.Network, how: training.How) -> bytes:
    """The model as training.run() opens it."""
    return pack.blob(net, "training", how.of_epoch(0), len(net.weighted), 0, [], how.rules)


def run(
    task: Task,
    settings: IntegerSettings,
    seed: int,
    epochs: int,
    train: data.Data,
    measured: dict[str, data.Data],
    checkpoint_path: Path,
    progress: Callable[[list[Epoch]], None],
    device: str = "cpu",
    product: str | None = None,
    limit_s: float | None = None,
) -> list[Epoch]:
    """As integer.run(), on a device; TimeOver when `limit_s` from now ends before the run."""
    began = time.monotonic()
    net, how = integer.prepare(task, settings, seed, epochs)
    blob = blob_of(net, how)
    model = Exact(blob, device, product and PRODUCTS[product])
    this_run = training.identity(types.SimpleNamespace(info=core.info(blob)), train, how)
    at = Progress()
    if found := checkpoint.load(checkpoint_path, this_run):
        model.set_state(found[0])
        at = found[1]
        if at.done:
            raise WageError(f"{checkpoint_path} ends within an epoch: end it with the C engine")
    learn = Samples(train, net.shape, net.input_map, device)
    tests = {
        name: Samples(part, net.shape, net.input_map, device) for name, part in measured.items()
    }
    checkpoint_path.parent.mkdir(parents=True, exist_ok=True)
    orders = training.orders(seed, len(train), at.epoch)
    longest = 0.0
    while at.epoch < epochs:
        start = time.monotonic()
        if limit_s is not None and start - began + 1.1 * longest > limit_s:
            raise TimeOver
        model.rate(*how.rates[at.epoch])
        order = torch.from_numpy(next(orders)).to(device)
        row = {"epoch": at.epoch + 1, "rate": shown(how.rates[at.epoch])}
        row["train"] = learn.learn(model, how, at.epoch, order)
        took_s = time.monotonic() - start
        row |= {name: part.accuracy(model) for name, part in tests.items()}
        row["seconds"] = round(took_s, 3)
        at = Progress(at.epoch + 1, rows=[*at.rows, row])
        checkpoint.save(checkpoint_path, this_run, model.state(), at)
        progress(at.rows)
        longest = max(longest, time.monotonic() - start)
    return at.rows


def where_of(device: str) -> str:
    """The machine, and the accelerator when one is used."""
    if torch.device(device).type != "cuda":
        return shards.machine()
    return f"{torch.cuda.get_device_name()}; {shards.machine()}"


def prove(device: str, product: str, task: Task, settings: IntegerSettings) -> int:
    """All cases of the proof, and on an accelerator the net itself; how many."""
    count = proof.prove(device, product)
    if torch.device(device).type == "cpu":
        return count
    net, how = integer.prepare(task, settings, 1, task.epochs)
    proof.prove_whole(blob_of(net, how), device, product)
    return count + 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="accuracy.vgg7", description=__doc__.splitlines()[0])
    options.add_argument("--device", default="cpu", help="cpu or cuda")
    options.add_argument("--product", choices=PRODUCTS, help="how matrix products are made")
    options.add_argument("--data", type=Path, help="the folder of data sets, or cifar10-jpeg.zip")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--limit-s", type=float, help="stop before an epoch that ends later")
    options.add_argument(
        "--checkpoints", type=Path, default=shards.CHECKPOINTS, help="their folder"
    )
    options.add_argument("--results", type=Path, default=shards.RESULTS, help="their folder")
    options.add_argument("--only-prove", action="store_true", help="train nothing")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Proof, training, result."""
    began = time.monotonic()
    options = parser().parse_args(arguments)
    task, folder = TASKS[TASK], options.data
    settings = shards.in_table(task, MODE)
    if folder and folder.suffix == ".zip":
        task = dataclasses.replace(task, name=f"{JPEG_SET}-vgg7", data=JPEG_SET)
        folder = folder.parent
    shard = shards.Shard(task, MODE, options.seed, settings)

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {line}", flush=True)

    def progress(epochs: list[Epoch]) -> None:
        last = epochs[-1]
        left = (shard.count - last["epoch"]) * last["seconds"] / 3600
        say(
            f"{shard.name}: epoch {last['epoch']} of {shard.count}, validation "
            f"{100 * last['validation']:.2f} %, {last['seconds']:.1f} s, {left:.1f} h left"
        )

    if torch.device(options.device).type == "cuda" and not torch.cuda.is_available():
        say("PyTorch sees no GPU here")
        return 1
    try:
        made_by = options.product or usual_product(options.device)
        say(f"PyTorch {torch.__version__} on {options.device}, products in {made_by}")
        say(f"{prove(options.device, made_by, task, settings)} cases equal the C engine")
        if options.only_prove:
            return 0
        split = sets.load(task.data, folder)
        limit_s = options.limit_s and options.limit_s - (time.monotonic() - began)
        epochs = run(
            task,
            settings,
            shard.seed,
            shard.count,
            split.train,
            {"validation": split.validation, "test": split.test},
            shards.checkpoint_of(shard, options.checkpoints),
            progress,
            options.device,
            made_by,
            limit_s,
        )
    except proof.DifferentError as error:
        say(f"this device is not exact: {error}. Nothing was trained")
        return 1
    except WageError as error:
        say(str(error))
        return 1
    except TimeOver:
        say("time is over; the same command goes on from the checkpoint")
        return STOPPED
    made_with = shards.versions(shards.TWIN)
    shards.finish(shard, epochs, where_of(options.device), made_with, options.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())

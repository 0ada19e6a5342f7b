"""Instructions of learning a sample, counted by an emulated Cortex-M4."""

# SPDX-License-Identifier: MIT

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import bench
from accuracy import shards
from wage_host import data, emulate, firmware
from wage_host.device import Device
from wage_host.link import connector

from continual import integer, runs, streams, table
from continual.table import Benchmark, Strategy

BOARD = "mps2-an386"
SAMPLES = 20


def path_of(benchmark: Benchmark, results: Path = runs.RESULTS) -> Path:
    """Where the figures of a benchmark are."""
    return results / f"{benchmark.name}.costs.json"


def result(benchmark: Benchmark, results: Path = runs.RESULTS) -> dict[str, Any] | None:
    """What was counted; None when it was not, or with other settings."""
    return shards.of_settings(path_of(benchmark, results), _settings(benchmark))


def _settings(benchmark: Benchmark) -> dict[str, Any]:
    return {
        "net": benchmark.net,
        "train_last": benchmark.train_last,
        "kinds": list(counted(benchmark)),
        **dataclasses.asdict(table.LEARNING),
    }


def kind(strategy: Strategy) -> str:
    """What its instructions depend on, beside the benchmark: not on how much the replay keeps."""
    return strategy.name.partition("-")[0]


def counted(benchmark: Benchmark) -> dict[str, Strategy]:
    """A strategy of each kind that learns on a board sample by sample, its replay the smallest."""
    found = {}
    for one in table.strategies(benchmark):
        if not (one.twin or one.joint or kind(one) in found):
            least = min(one.replay, benchmark.budgets[0])
            found[kind(one)] = dataclasses.replace(one, replay=least)
    return found


def measure(benchmark: Benchmark, results: Path = runs.RESULTS) -> dict[str, Any]:
    """Counts the first samples of a stream: a mean for each kind of strategy."""
    emulate.need_emulator(BOARD)
    found = {
        "benchmark": benchmark.name,
        "settings": _settings(benchmark),
        "where": f"emulator, {BOARD}",
        "samples": SAMPLES,
        "instructions": {
            kind: _count(benchmark, strategy) for kind, strategy in counted(benchmark).items()
        },
    }
    runs.write(path_of(benchmark, results), found)
    return found["instructions"]


def _count(benchmark: Benchmark, strategy: Strategy) -> int:
    """Instructions of a sample."""
    seed, learning = benchmark.seeds[0], table.LEARNING
    stream = streams.stream(benchmark, seed)
    known = stream[0].learn if benchmark.epochs else None
    net, _ = integer.begun(benchmark, seed, stream[0].learn, runs.FOLDER)
    blob, config = integer.blob(net, benchmark, learning, strategy, seed, known)
    arriving = stream[1 if benchmark.epochs else 0].learn
    samples = data.samples(streams.chosen(arriving, slice(SAMPLES)), net.info())
    per_us, more = bench.counting(BOARD)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model.wage")
        model.write_bytes(blob)
        image = firmware.build(BOARD, firmware.Contents(model))
    with (
        emulate.running(BOARD, image, arguments=more) as url,
        Device(connector(url, 115200, None), answer_s=bench.ANSWER_S) as device,
    ):
        device.start(1, config)
        us = [record.us for record in device.learn(samples)]
    return round(sum(us) * per_us / len(us))

"""Instructions of learning a sample, counted by an emulated Cortex-M4."""

# SPDX-License-Identifier: MIT

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import bench
from accuracy import shards
from wage_host import data, emulate
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
        **dataclasses.asdict(table.LEARNING),
    }


def measure(benchmark: Benchmark, results: Path = runs.RESULTS) -> dict[str, Any]:
    """Counts the first samples of a stream: a mean for each, with its replays and without.

    The board has the smallest replay of the benchmark; the work does not depend on how large it is.
    """
    seed, learning = benchmark.seeds[0], table.LEARNING
    stream = streams.stream(benchmark, seed)
    known = stream[0].learn if benchmark.epochs else None
    strategy = Strategy("counted", benchmark.budgets[0])
    net, _ = integer.begun(benchmark, seed, stream[0].learn, runs.FOLDER)
    blob, config = integer.blob(net, benchmark, learning, strategy, seed, known)
    arriving = stream[1 if benchmark.epochs else 0].learn
    samples = data.samples(streams.chosen(arriving, slice(SAMPLES)), net.info())
    per_us, more = bench.counting(BOARD)
    emulate.need_emulator(BOARD)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model.wage")
        model.write_bytes(blob)
        image = emulate.build(BOARD, model)
    counted = {}
    with (
        emulate.running(BOARD, image, arguments=more) as url,
        Device(connector(url, 115200, None), answer_s=bench.ANSWER_S) as device,
    ):
        for number, replays in enumerate((learning.replays, 0), 1):
            device.start(number, dataclasses.replace(config, replays=replays))
            us = [record.us for record in device.learn(samples)]
            counted["replay" if replays else "naive"] = round(sum(us) * per_us / len(us))
    found = {
        "benchmark": benchmark.name,
        "settings": _settings(benchmark),
        "where": f"emulator, {BOARD}",
        "samples": len(samples),
        "instructions": counted,
    }
    runs.write(path_of(benchmark, results), found)
    return counted

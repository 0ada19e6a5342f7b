"""Runs of the table, one for each benchmark, strategy and seed: each is one small file."""

# SPDX-License-Identifier: MIT

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from accuracy import shards
from wage_host.files import write_whole

from continual import metrics, streams, table
from continual.table import BENCHMARKS, Benchmark, Strategy, strategies

RESULTS = Path(__file__).parents[2] / "docs" / "continual"
FOLDER = Path(__file__).parents[2] / "build" / "continual"  # what hosts have learned

Say = Callable[[str], None]
Settings = table.Learning | table.TwinLearning


@dataclasses.dataclass(frozen=True)
class Run:
    """A benchmark learned with a strategy and a seed; how: None for the settings of the table."""

    benchmark: Benchmark
    strategy: Strategy
    seed: int
    how: Settings | None = None

    @property
    def name(self) -> str:
        """As in its file's name."""
        return f"{self.benchmark.name}.{self.strategy.name}.{self.seed}"

    @property
    def learning(self) -> Settings:
        """How it learns the stream."""
        return self.how or (table.TWIN_LEARNING if self.strategy.twin else table.LEARNING)

    @property
    def settings(self) -> dict[str, Any]:
        """All that the result follows from, but for data and code."""
        of_host = table.TWIN_HOST if self.strategy.twin else table.HOST
        one, used = self.benchmark, {}
        if one.epochs:
            used = {"host": dataclasses.asdict(of_host), "epochs": one.epochs, "known": one.known}
            used |= {"held": table.HELD, "halvings": table.HALVINGS}
        shape = {"net": one.net, "samples": one.samples, "train_last": one.train_last}
        return {
            **shape,
            **used,
            "strategy": self.strategy.said,
            "learning": dataclasses.asdict(self.learning),
        }


def everything() -> list[Run]:
    """All runs of the table: the replay in the middle and its twins first, seed by seed."""
    parts = ([], [])
    for benchmark in BENCHMARKS.values():
        for seed in benchmark.seeds:
            for one in strategies(benchmark):
                parts[one.replay != benchmark.budgets[1]].append(Run(benchmark, one, seed))
    return parts[0] + parts[1]


def chosen(patterns: Iterable[str]) -> list[Run]:
    """Those of the benchmarks, strategies or seeds named; all for none."""
    patterns = tuple(f"{pattern}." for pattern in patterns)
    return [run for run in everything() if not patterns or f"{run.name}.".startswith(patterns)]


def result(run: Run, results: Path = RESULTS) -> dict[str, Any] | None:
    """What a finished run gave; None when it is not finished, or of other settings."""
    return shards.of_settings(results / f"{run.name}.json", run.settings)


def measure(run: Run, measured: str, folder: Path) -> dict[str, Any]:
    """Learns a stream and measures it on a part, `test` or `validation`."""
    stream = streams.stream(run.benchmark, run.seed, measured)
    if run.strategy.twin:  # PyTorch is there for twins only
        from continual.twin import run as learn
    else:
        from continual.integer import run as learn
    began = time.monotonic()
    found = learn(run.benchmark, run.strategy, run.learning, run.seed, stream, folder)
    counts = [len(experience.test) for experience in stream]
    matrix = found.pop("matrix")
    return {
        "average_accuracy": round(metrics.average_accuracy(matrix, counts), 6),
        "tests": counts,
        **found,
        "seconds": round(time.monotonic() - began, 1),
        "matrix": [[round(share, 4) for share in row] for row in matrix],
    }


def do(run: Run, results: Path = RESULTS, folder: Path = FOLDER) -> dict[str, Any]:
    """A run of the table, and its file."""
    found = {
        "benchmark": run.benchmark.name,
        "strategy": run.strategy.name,
        "seed": run.seed,
        "settings": run.settings,
        **measure(run, "test", folder),
        "where": shards.machine(),
        "versions": shards.versions(shards.TWIN if run.strategy.twin else ""),
    }
    write(results / f"{run.name}.json", found)
    return found


def choose(kind: str, say: Say = print, results: Path = RESULTS, folder: Path = FOLDER) -> None:
    """Tries the settings of one of table.CHOICES on validation; goes on where it stopped.

    All with the first seed, then those CLOSE to the best with the others.
    """
    path = results / f"{kind}.tries.json"
    tries, names, _ = table.CHOICES[kind]
    nets = [BENCHMARKS[name].net for name in names]
    done = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    done = [one for one in done if one["nets"] == nets]

    def attempt(how: Any, seeds: tuple[int, ...]) -> float:
        """The mean of the first seed."""
        settings = dataclasses.asdict(how)
        one = next((o for o in done if o["settings"] == settings), None)
        if one is None:
            one = {"settings": settings, "nets": nets, **{name: [] for name in names}}
            done.append(one)
        for seed in seeds[len(one[names[0]]) :]:
            for name in names:
                one[name].append(round(_try(kind, how, name, seed, folder), 6))
            one["score"] = round(
                statistics.fmean(share for name in names for share in one[name]), 6
            )
            say(f"{kind}, {how}, seed {seed}: {100 * one['score']:.2f} % of validation")
            write(path, done)
        return statistics.fmean(one[name][0] for name in names)

    first = {how: attempt(how, table.TRY_SEEDS[:1]) for how in tries}
    for how in tries:
        if first[how] >= max(first.values()) - table.CLOSE:
            attempt(how, table.TRY_SEEDS)


def best(tried: list[dict[str, Any]], names: Iterable[str]) -> dict[str, Any]:
    """Of the settings with the most seeds those with the best score."""
    name, *_ = names
    return max(tried, key=lambda one: (len(one[name]), one["score"]))["settings"]


def _try(kind: str, how: Any, name: str, seed: int, folder: Path) -> float:
    """The accuracy on validation of a benchmark that settings give; of hosts, before the stream."""
    benchmark, is_twin = BENCHMARKS[name], kind.startswith("twin")
    if kind.endswith("host"):
        from continual import integer, twin

        stream = streams.stream(benchmark, seed, "validation")
        of = twin if is_twin else integer
        return of.try_host(benchmark, how, seed, stream, folder)
    benchmark = dataclasses.replace(benchmark, samples=table.TRY_SAMPLES)
    strategy = Strategy(kind, benchmark.budgets[1], twin=is_twin)
    run = Run(benchmark, strategy, seed, how)
    return measure(run, "validation", folder)["average_accuracy"]


def write(path: Path, found: Any) -> None:
    """JSON, a row of lists a line, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    items = found.items() if isinstance(found, dict) else enumerate(found)
    named = isinstance(found, dict)
    lines = [f" {json.dumps(key)}: {json.dumps(v)}" if named else f" {json.dumps(v)}"
             for key, v in items]  # fmt: skip
    start, end = "{}" if named else "[]"
    write_whole(path, (start + "\n" + ",\n".join(lines) + "\n" + end + "\n").encode())

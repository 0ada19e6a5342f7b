"""From finished runs to the rows of docs/continual.json."""

# SPDX-License-Identifier: MIT

import statistics
from pathlib import Path
from typing import Any

import numpy as np

from continual import costs, metrics, runs
from continual.runs import Run
from continual.table import BENCHMARKS, Benchmark, Strategy, strategies

LEAST = -1.0  # points that integers may be behind their twin with as many samples

Row = dict[str, Any]
Results = dict[int, dict[str, Any]]  # finished runs by seed


def finished(benchmark: Benchmark, strategy: Strategy, results: Path) -> Results:
    """Runs of a strategy."""
    found = {s: runs.result(Run(benchmark, strategy, s), results) for s in benchmark.seeds}
    return {seed: result for seed, result in found.items() if result}


def percent(found: Results) -> list[float]:
    """Average accuracies in %."""
    return [100 * result["average_accuracy"] for result in found.values()]


def paired(ours: Results, twins: Results) -> tuple[float | None, float | None, int]:
    """Mean of ours less the twin's in points, half its 95 % interval, over how many seeds."""
    seeds = ours.keys() & twins.keys()
    pairs = [
        100 * (ours[s]["average_accuracy"] - twins[s]["average_accuracy"]) for s in sorted(seeds)
    ]
    if not pairs:
        return None, None, 0
    mean, half = metrics.interval_95(pairs)
    return round(mean, 2), None if half is None else round(half, 2), len(pairs)


def row(benchmark: Benchmark, strategy: Strategy, results: Path) -> Row | None:
    """One row of docs/continual.json, figures in %; None where nothing was measured."""
    found = finished(benchmark, strategy, results)
    if not found:
        return None
    values, one = percent(found), next(iter(found.values()))
    matrices = [np.array(result["matrix"]) for result in found.values()]
    counted = costs.result(benchmark, results)
    of_cost = "replay" if strategy.replay else "naive"
    on_device = counted and not (strategy.twin or strategy.joint or strategy.last)
    out = {
        "benchmark": benchmark.name,
        "strategy": strategy.name,
        "replay_samples": one["replay_samples"],
        "replay_bytes": one["replay_bytes"],
        "seeds": len(found),
        "average_accuracy": round(statistics.fmean(values), 2),
        "sd": round(statistics.stdev(values), 2) if len(values) > 1 else None,
        "forgetting": None,
        "bwt": None,
        "fwt": None,
        "twin": None,
        "arena_bytes": one.get("arena_bytes"),
        "instructions": counted["instructions"][of_cost] if on_device else None,
        "instructions_where": counted["where"] if on_device else None,
        "seeds_wanted": len(benchmark.seeds),
    }
    if not strategy.joint:
        lost = statistics.fmean(100 * metrics.forgetting(m) for m in matrices)
        forward = statistics.fmean(100 * metrics.forward_transfer(m) for m in matrices)
        out |= {"forgetting": round(lost, 2), "bwt": round(-lost, 2), "fwt": round(forward, 2)}
    if strategy.name == f"replay-{benchmark.budgets[1]}":
        out |= beside_twins(benchmark, found, results)
    return out


def beside_twins(benchmark: Benchmark, ours: Results, results: Path) -> Row:
    """What the row with the replay in the middle says of its twins."""
    kinds = {strategy.name: strategy for strategy in strategies(benchmark)}
    same = finished(benchmark, kinds["twin"], results)
    by_bytes = kinds.get("twin-bytes")
    fewer = finished(benchmark, by_bytes, results) if by_bytes else same
    out: Row = {}
    for key, found in (("twin", same), ("twin_bytes", fewer)):
        mean, half, seeds = paired(ours, found)
        out[key] = round(statistics.fmean(percent(found)), 2) if found else None
        out |= {f"{key}_difference": mean, f"{key}_95": half, f"{key}_seeds": seeds}
    return out


def all_rows(results: Path = runs.RESULTS) -> list[Row]:
    """All rows that were measured, in the order of the table."""
    made = (row(b, s, results) for b in BENCHMARKS.values() for s in strategies(b))
    return [found for found in made if found]


def verdicts(benchmark: Benchmark, found: Row) -> str:
    """Whether the row with the replay in the middle reaches what it must, in words."""
    parts = []
    if benchmark.floor is not None:
        short = benchmark.floor - found["average_accuracy"]
        word = "met" if short <= 0 else f"not met, {short:.2f} below"
        parts.append(f"≥ {benchmark.floor:.0f} %: {word}")
    if found["twin_difference"] is not None:
        parts.append(_word(f"≥ twin − {-LEAST:.1f}", found["twin_difference"] >= LEAST))
    if benchmark.train_last and found["twin_bytes_difference"] is not None:
        parts.append(_word("> twin with the same bytes", found["twin_bytes_difference"] > 0))
    seeds = [found["seeds"], found["twin_seeds"]]
    if benchmark.train_last:
        seeds.append(found["twin_bytes_seeds"])
    short = min(seeds) < found["seeds_wanted"]
    return "; ".join(parts) + (f" (so far {min(seeds)} seeds)" if short else "")


def _word(what: str, met: bool) -> str:
    return f"{what}: {'met' if met else 'not met'}"


def mean_matrix(found: Results) -> np.ndarray:
    """The accuracy matrix, a mean over seeds, 0 to 1."""
    return np.mean([result["matrix"] for result in found.values()], axis=0)

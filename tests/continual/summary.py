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
LEAST_8_BITS = -0.3  # points that a twin may lose when it keeps latents in 8 bits
LATENTS_WIN = ("split-fashion-front", "split-cifar10")  # over inputs in the same bytes

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
    on_device = counted and not (strategy.twin or strategy.joint)
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
        "instructions": counted["instructions"][costs.kind(strategy)] if on_device else None,
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
    """What the row with the replay in the middle says of others with as much of something.

    Each: their mean, ours less theirs; of int8 latents, the twin with them less the one with
    float16.
    """
    found = {one.name: finished(benchmark, one, results) for one in strategies(benchmark)}
    same = found["twin"]
    pairs = {"twin": (ours, same), "twin_bytes": (ours, found.get("twin-bytes", same))}
    if benchmark.train_last:
        pairs |= {"inputs": (ours, found["inputs"]), "int8": (found["twin-int8"], same)}
    out: Row = {}
    for key, (some, others) in pairs.items():
        mean, half, seeds = paired(some, others)
        of = some if key == "int8" else others
        out[key] = round(statistics.fmean(percent(of)), 2) if of else None
        out |= {f"{key}_difference": mean, f"{key}_95": half, f"{key}_seeds": seeds}
    return out


def all_rows(results: Path = runs.RESULTS) -> list[Row]:
    """All rows that were measured, in the order of the table."""
    made = (row(b, s, results) for b in BENCHMARKS.values() for s in strategies(b))
    return [found for found in made if found]


def verdicts(benchmark: Benchmark, found: Row) -> str:
    """Whether the row with the replay in the middle reaches what it must, in words."""
    parts, seeds = [], [found["seeds"], found["twin_seeds"]]
    if benchmark.floor is not None:
        short = benchmark.floor - found["average_accuracy"]
        word = "met" if short <= 0 else f"not met, {short:.2f} below"
        parts.append(f"≥ {benchmark.floor:.0f} %: {word}")
    if found["twin_difference"] is not None:
        parts.append(_word(f"≥ twin − {-LEAST:.1f}", found["twin_difference"] >= LEAST))
    if benchmark.train_last and found["twin_bytes_difference"] is not None:
        parts.append(_word("> twin with the same bytes", found["twin_bytes_difference"] > 0))
        seeds.append(found["twin_bytes_seeds"])
    return _with_seeds(parts, seeds, found)


def verdicts_of_latents(benchmark: Benchmark, found: Row) -> str:
    """The same for latents beside inputs, and for 8 bits of them beside 16."""
    parts, seeds = [], [found["inputs_seeds"], found["int8_seeds"]]
    if benchmark.name in LATENTS_WIN and found["inputs_difference"] is not None:
        parts.append(_word("≥ inputs", found["inputs_difference"] >= 0))
    if found["int8_difference"] is not None:
        words = f"≥ float16 − {-LEAST_8_BITS:.1f}"
        parts.append(_word(words, found["int8_difference"] >= LEAST_8_BITS))
    return _with_seeds(parts, seeds, found)


def _with_seeds(parts: list[str], seeds: list[int], found: Row) -> str:
    short = min(seeds) < found["seeds_wanted"]
    return "; ".join(parts) + (f" (so far {min(seeds)} seeds)" if short else "")


def _word(what: str, met: bool) -> str:
    return f"{what}: {'met' if met else 'not met'}"


def mean_matrix(found: Results) -> np.ndarray:
    """The accuracy matrix, a mean over seeds, 0 to 1."""
    return np.mean([result["matrix"] for result in found.values()], axis=0)


def rates(benchmark: Benchmark, results: Path) -> str:
    """What rates rehearsal found for integers and twin, seed by seed; empty without a host."""
    if not benchmark.epochs:
        return ""
    parts, found = [], {one.name: one for one in strategies(benchmark)}
    for word, name in (("integers", f"replay-{benchmark.budgets[1]}"), ("twin", "twin")):
        done = finished(benchmark, found[name], results).values()
        parts.append(f"{word} {', '.join(result['rate'] for result in done) or '–'}")
    return f"Rates that rehearsal found, by seed: {'; '.join(parts)}."

"""From finished shards to docs/accuracy.json and docs/accuracy.md."""

# SPDX-License-Identifier: MIT

import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

from wage_host import datasets

from accuracy import shards
from accuracy.table import ROWS, TASKS, Row, Task

DOCS = Path(__file__).parents[2] / "docs"

HEAD = """# Accuracy

Made by `make accuracy` from the runs in `docs/accuracy/`; the same figures for programs are in
`docs/accuracy.json`. Accuracy in % on the test part after the **last** epoch, mean ± standard
deviation over seeds; of equal logits the lowest index counts. A tenth of the training part
(drawn once, the same for all) is held out as validation in every run, and never learned;
settings and nets were chosen on it alone; ours and the twin's with about the same hours of
tries (listed below; integers are faster, so they had more of them). The test part is measured
after each epoch too, for the column *best epoch* only, and chose nothing.

The **twin** is the same net in float32 (PyTorch; no bias, no normalisation), with the same
data, augmentation, epochs and validation split; SGD with momentum 0.9, softmax cross-entropy,
a rate that falls as half a cosine. *Difference*: ours minus twin, seed by seed.
"""

TAIL = """## How to fill the rest

`make accuracy` runs what is missing, two runs at a time, and goes on where it was stopped (at
the last whole epoch). `make accuracy ROWS=cifar10-vgg` runs that task only. Settings that
change make their runs count as missing. Where data are: `WAGE_DATA` names the folder.
"""


def _runs(task: Task, mode: str, results: Path) -> dict[int, dict[str, Any]]:
    """Finished runs by seed."""
    if not shards.in_table(task, mode):
        return {}
    found = {s: shards.result(shards.Shard(task, mode, s), results) for s in task.seeds}
    return {seed: result for seed, result in found.items() if result}


def _mean(values: list[float]) -> float | None:
    return round(statistics.fmean(values), 3) if values else None


def _sd(values: list[float]) -> float | None:
    return round(statistics.stdev(values), 3) if len(values) > 1 else None


def row(entry: Row, results: Path) -> dict[str, Any]:
    """One row of docs/accuracy.json, figures in %; None where nothing was measured."""
    task = TASKS[entry.task]
    ours = _runs(task, entry.mode, results)
    twins = _runs(task, shards.TWIN, results)
    last = [100 * run["test"] for run in ours.values()]
    floats = [100 * run["test"] for run in twins.values()]
    pairs = [
        100 * (ours[s]["test"] - twins[s]["test"]) for s in task.seeds if s in ours and s in twins
    ]
    return {
        "task": task.name,
        "net": task.net,
        "mode": entry.mode,
        "seeds": len(ours),
        "mean": _mean(last),
        "sd": _sd(last),
        "best": _mean([100 * run["best_epoch_by_test"]["test"] for run in ours.values()]),
        "epochs": task.epochs,
        "twin_mean": _mean(floats),
        "where": "; ".join(sorted({run["where"] for run in ours.values()})) or None,
        "data": task.data,
        "seeds_wanted": len(task.seeds),
        "twin_seeds": len(twins),
        "twin_sd": _sd(floats),
        "paired_difference": _mean(pairs),
        "paired_difference_sd": _sd(pairs),
        "must": entry.must,
        "anchor": entry.anchor,
        "met": met(entry, _mean(last), _mean(floats), len(ours), len(twins)),
        "hours": round(sum(run["seconds"] for run in ours.values()) / 3600, 2),
        "twin_hours": round(sum(run["seconds"] for run in twins.values()) / 3600, 2),
    }


def met(entry: Row, mean: float | None, twin: float | None, ours: int, twins: int) -> str:
    """Whether the row reaches what it must, in words."""
    seeds = len(TASKS[entry.task].seeds)
    if mean is None:
        return f"not measured: {entry.later}" if entry.later else "not measured yet"
    short = [entry.floor - mean] if entry.floor is not None else []
    if entry.gap is not None:
        if twin is None:
            return "the twin is not measured yet"
        short.append(twin - entry.gap - mean)
    word = "met" if max(short) <= 0 else f"not met: {max(short):.2f} below"
    if word == "met" and entry.aim is not None:
        word += ", the aim too" if mean >= entry.aim else ", the aim not"
    if ours < seeds or (entry.gap is not None and twins < seeds):
        word += f" (so far {ours} and {twins} of {seeds} seeds)"
    return word


def cell(mean: float | None, sd: float | None) -> str:
    """A figure, with its spread when there is one."""
    if mean is None:
        return "–"
    return f"{mean:.2f}" if sd is None else f"{mean:.2f} ± {sd:.2f}"


def signed(mean: float | None, spread: float | None) -> str:
    """A difference in points, likewise."""
    return "–" if mean is None else f"{mean:+.2f}" + ("" if spread is None else f" ± {spread:.2f}")


def markdown(rows: list[dict[str, Any]], results: Path) -> str:
    """docs/accuracy.md."""
    lines = [
        HEAD,
        "| task | net, mode | anchor | ours | best epoch | twin | difference | must reach | met |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for entry, found in zip(ROWS, rows, strict=True):
        cells = [
            TASKS[entry.task].title,
            entry.title,
            entry.anchor,
            f"**{cell(found['mean'], found['sd'])}**" if found["seeds"] else "–",
            cell(found["best"], None),
            cell(found["twin_mean"], found["twin_sd"]),
            signed(found["paired_difference"], found["paired_difference_sd"]),
            entry.must or "–",
            found["met"],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    twin_hours = {found["task"]: found["twin_hours"] for found in rows}
    lines += [
        "",
        f"Hours of one core: integers {sum(found['hours'] for found in rows):.1f}, twins "
        f"{sum(twin_hours.values()):.1f}.",
        "",
        "## Nets and settings",
        "",
        "| task, mode | net | data | augmented | epochs | seeds | settings | s an epoch | where |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    seen = set()
    for entry in ROWS:
        task = TASKS[entry.task]
        for mode in (entry.mode, shards.TWIN):
            if (task.name, mode) in seen or (mode == shards.TWIN and not task.twin):
                continue
            seen.add((task.name, mode))
            lines.append(_settings_line(task, mode, results))
    lines += ["", *_tries(results), TAIL, *_published()]
    return "\n".join(lines)


def _settings_line(task: Task, mode: str, results: Path) -> str:
    runs = list(_runs(task, mode, results).values())
    how = shards.in_table(task, mode)
    pairs = dataclasses.asdict(how).items() if how else ()
    settings = ", ".join(f"{key} {value}" for key, value in pairs)
    speed = _mean([run["seconds"] / len(run["epochs"]) for run in runs])
    cells = [
        f"{task.name}, {mode}",
        f"`{task.net}`",
        task.data,
        task.augment or "–",
        str(task.epochs),
        f"{len(runs)} of {len(task.seeds)}",
        settings or "to be chosen",
        "–" if speed is None else f"{speed:.1f}",
        "; ".join(sorted({run["where"] for run in runs})) or "–",
    ]
    return f"| {' | '.join(cells)} |"


def _tries(results: Path) -> list[str]:
    """What was tried before settings were chosen."""
    lines = []
    for path in sorted(results.glob("*.tries.json")):
        tried = json.loads(path.read_text(encoding="utf-8"))
        varied = [key for key in tried[0] if len({str(one[key]) for one in tried}) > 1]
        lines += [
            f"- {path.name.removesuffix('.tries.json')}, {tried[0]['epochs']} epochs: "
            + "; ".join(
                ", ".join(f"{key} {one[key]}" for key in varied if key != "validation")
                + f": {100 * one['validation']:.2f}"
                for one in tried
            )
        ]
    return ["## What was tried, % of validation, one seed each", "", *lines, ""] if lines else []


def _published() -> list[str]:
    """Where each set is published."""
    lines = [
        f"- {name}: {known.published}; place `{known.places[0]}`"
        for name, known in datasets.KNOWN.items()
    ]
    return ["Where the sets are published, and their place in that folder:", "", *lines, ""]


def write(docs: Path = DOCS, results: Path = shards.RESULTS) -> list[dict[str, Any]]:
    """Writes both files."""
    rows = [row(entry, results) for entry in ROWS]
    docs.mkdir(exist_ok=True)
    text = ",\n".join(f" {json.dumps(found, ensure_ascii=False)}" for found in rows)
    (docs / "accuracy.json").write_text(f"[\n{text}\n]\n", encoding="utf-8")
    (docs / "accuracy.md").write_text(markdown(rows, results), encoding="utf-8")
    return rows

"""Shards of the table, one for each task, mode and seed: each is one run and one small file."""

# SPDX-License-Identifier: MIT

import dataclasses
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from wage_host import data

from accuracy import sets
from accuracy.table import ROWS, TASKS, Row, Settings, Task

TWIN = "twin"
RESULTS = Path(__file__).parents[2] / "docs" / "accuracy"
CHECKPOINTS = Path(__file__).parents[2] / "build" / "accuracy"

Epoch = dict[str, Any]
Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Shard:
    """One run: a task in a mode (`twin` or an integer one) with a seed.

    how: None for the settings of the table; a try has its own.
    """

    task: Task
    mode: str
    seed: int
    how: Settings | None = None
    epochs: int = 0  # 0: the task's

    @property
    def name(self) -> str:
        """As in its file's name."""
        return f"{self.task.name}.{self.mode}.{self.seed}"

    @property
    def chosen(self) -> Settings | None:
        """How it learns."""
        return self.how or in_table(self.task, self.mode)

    @property
    def count(self) -> int:
        """How many epochs it learns."""
        return self.epochs or self.task.epochs

    @property
    def settings(self) -> dict[str, Any]:
        """All that the result follows from, but for data and code."""
        return {
            "net": self.task.net,
            "data": self.task.data,
            "augment": self.task.augment,
            "epochs": self.count,
            **dataclasses.asdict(self.chosen),
        }


def row_of(task: Task, mode: str) -> Row:
    """The row of the table with this integer mode."""
    return next(row for row in ROWS if (row.task, row.mode) == (task.name, mode))


def in_table(task: Task, mode: str) -> Settings | None:
    """The settings of a mode; None when they are not chosen yet."""
    return task.twin if mode == TWIN else row_of(task, mode).settings


def shards(later: bool = False) -> list[Shard]:
    """All runs of the table, twins first; without those that are too long for two cores."""
    used = {row.task for row in ROWS}
    twins = [(task, TWIN) for task in TASKS.values() if task.twin and task.name in used]
    rows = [row for row in ROWS if row.settings and (later or not row.later)]
    modes = twins + [(TASKS[row.task], row.mode) for row in rows]
    return [Shard(task, mode, seed) for task, mode in modes for seed in task.seeds]


def chosen(patterns: Iterable[str]) -> list[Shard]:
    """Those of the tasks, modes or seeds named, even too long ones; all for none."""
    patterns = [f"{pattern}." for pattern in patterns]
    found = shards(later=bool(patterns))
    return [s for s in found if not patterns or f"{s.name}.".startswith(tuple(patterns))]


def result(shard: Shard, results: Path = RESULTS) -> dict[str, Any] | None:
    """What the shard's finished run gave; None when it is not finished, or of old settings."""
    return of_settings(results / f"{shard.name}.json", shard.settings)


def of_settings(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """What a file of results holds; None when there is none, or of other settings."""
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if found["settings"] == settings else None


def run(
    shard: Shard,
    say: Say = print,
    folder: Path | None = None,
    results: Path = RESULTS,
    checkpoints: Path = CHECKPOINTS,
) -> dict[str, Any]:
    """Runs a shard, or goes on with it, and writes its result."""
    split = sets.load(shard.task.data, folder)
    measured = {"validation": split.validation, "test": split.test}
    epochs = _train(shard, split.train, measured, checkpoints, say)
    return finish(shard, epochs, machine(), versions(shard.mode), results)


def finish(
    shard: Shard, epochs: list[Epoch], where: str, made_with: dict[str, str], results: Path
) -> dict[str, Any]:
    """Writes the result of a whole run, and returns it."""
    best = max(epochs, key=lambda epoch: epoch["test"])
    found = {
        "task": shard.task.name,
        "mode": shard.mode,
        "seed": shard.seed,
        "settings": shard.settings,
        "test": epochs[-1]["test"],
        "validation": epochs[-1]["validation"],
        "best_epoch_by_test": {"epoch": best["epoch"], "test": best["test"]},
        "seconds": round(sum(epoch["seconds"] for epoch in epochs)),
        "where": where,
        "versions": made_with,
        "epochs": epochs,
    }
    results.mkdir(parents=True, exist_ok=True)
    _write(results / f"{shard.name}.json", found)
    return found


def choose(
    task: Task,
    mode: str,
    say: Say = print,
    folder: Path | None = None,
    results: Path = RESULTS,
    checkpoints: Path = CHECKPOINTS,
) -> list[dict[str, Any]]:
    """Tries the settings of a mode on validation; the test part is not handed over."""
    split = sets.load(task.data, folder)
    measured = {"validation": split.validation}
    tried = []
    for settings in task.tries if mode == TWIN else row_of(task, mode).tries:
        shard = Shard(task, mode, 1, settings, task.tries_epochs)
        epochs = _train(shard, split.train, measured, checkpoints, say)
        tried.append({**shard.settings, "validation": epochs[-1]["validation"]})
    results.mkdir(parents=True, exist_ok=True)
    _write(results / f"{task.name}.{mode}.tries.json", tried)
    return tried


def checkpoint_of(shard: Shard, folder: Path, kind: str = "checkpoint") -> Path:
    """Where a run keeps its state. The name tells its settings: others do not go on."""
    mark = hashlib.sha256(json.dumps(shard.settings, sort_keys=True).encode()).hexdigest()[:8]
    return folder / f"{shard.name}.{mark}.{kind}"


def _train(
    shard: Shard, train: data.Data, measured: dict[str, data.Data], checkpoints: Path, say: Say
) -> list[Epoch]:
    """One run of either kind."""
    kind = "checkpoint" if "test" in measured else "try"  # which lacks figures of test
    checkpoint = checkpoint_of(shard, checkpoints, kind)
    began, fresh = 0.0, 0

    def progress(epochs: list[Epoch]) -> None:
        nonlocal fresh
        fresh += 1
        last = epochs[-1]
        left = (time.monotonic() - began) / fresh * (shard.count - last["epoch"])
        say(
            f"{shard.name}: epoch {last['epoch']} of {shard.count}, validation "
            f"{100 * last['validation']:.2f} %, {left / 60:.0f} min left"
        )

    if shard.mode == TWIN:  # PyTorch is there for twins only
        from accuracy.twin import run
    else:
        from accuracy.integer import run
    began = time.monotonic()
    return run(
        shard.task,
        shard.chosen,
        shard.seed,
        shard.count,
        train,
        measured,
        checkpoint,
        progress,
    )


def machine() -> str:
    """Where this runs, as the table says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def versions(mode: str) -> dict[str, str]:
    """Versions of what computed a run."""
    names = ("numpy", "torch") if mode == TWIN else ("numpy", "wage-host")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _write(path: Path, found: Any) -> None:
    """JSON with one epoch or try a line, whole or not at all."""
    text = json.dumps(found, indent=1, ensure_ascii=False)
    if isinstance(found, dict):
        rows = ",\n".join(f"  {json.dumps(epoch)}" for epoch in found["epochs"])
        text = json.dumps({**found, "epochs": []}, indent=1, ensure_ascii=False)
        text = text.replace('"epochs": []', f'"epochs": [\n{rows}\n ]')
    path.with_suffix(".new").write_text(text + "\n", encoding="utf-8")
    os.replace(path.with_suffix(".new"), path)

"""What the guard saves and what it costs, on the demo's digits: docs/guard.md and .json.

    .venv/bin/python tests/guard_figures.py         measures anew, in a minute

All integers and seeded: the figures are the same everywhere.
"""

# SPDX-License-Identifier: MIT

import dataclasses
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np
from wage_host import data, demo
from wage_host.core import Config, Policy, Sample, info
from wage_host.files import write_whole
from wage_host.twin import Twin

DOCS = Path(__file__).resolve().parents[1] / "docs"
SEEDS = (1, 2, 3, 4, 5)
GUARD, EVERY, FLIPPED = 66, 25, 0.3  # samples of new and of old digits; …; share
MARGINS = (2, 1)  # in % of the guard; 2 is what wage-host takes unless told otherwise
LATER = 400  # samples of all ten digits that come when the new ones are known

HEAD = "| what is learned | start | unguarded |" + "".join(f" {m} % | back |" for m in MARGINS)
TEXT = f"""# The guard

Made by `tests/guard_figures.py` (computed on the host, by the runtime that boards run; compared
by a test). The demo's digits: the model knows 0 to 7 from the factory. Accuracy in % on the test
part, all ten digits: mean of {len(SEEDS)} seeds and, in brackets, the change from a seed's own
start that was worst. The guard: {GUARD} samples of the new digits' stream that are not learned,
and {GUARD} old ones, asked every {EVERY} samples, with a margin of
{MARGINS[0]} or {MARGINS[1]} % of it; *back*: how often it went back, all seeds
together. "Once more": the new digits are known already, {LATER} samples of all ten follow.

{HEAD}
|---|---|---|---|---|---|---|
"""
NOTE = """
2 % is the default of `wage-host learn --guard`. A guard of so few samples does not
see every loss: single seeds may end further below their start than the margin.
"""


def flipped(samples: list[Sample], share: float, rng: np.random.Generator) -> list[Sample]:
    """Some labels become another one, each as likely."""
    wrong = rng.random(len(samples)) < share
    others = rng.integers(1, 10, len(samples))
    return [
        (x, int((y + other) % 10) if bad else y)
        for (x, y), bad, other in zip(samples, wrong, others, strict=True)
    ]


@dataclasses.dataclass
class Task:
    """The demo's model and data, split by a seed."""

    blob: bytes
    guard: list[Sample]
    new: list[Sample]
    later: list[Sample]
    test: list[Sample]
    config: Config

    def accuracy(self, twin: Twin) -> float:
        """In % of the test part."""
        records = list(twin.evaluate(self.test))
        return 100 * sum(r.prediction == r.label for r in records) / len(records)

    def run(self, parts: list[list[Sample]], margin: int | None) -> tuple[float, float, int]:
        """Learns all parts, the last one guarded: accuracy before it, after, times back."""
        twin = Twin(self.blob, 3, len(self.guard))
        for stream, part in enumerate(parts[:-1], 1):
            twin.start(stream, self.config)
            for _ in twin.learn(part):
                pass
        policy = Policy()
        if margin is not None:
            twin.guard(self.guard, 1)
            policy = Policy(EVERY, len(self.guard) * margin // 100)
        before = self.accuracy(twin)
        twin.start(len(parts), self.config, policy)
        for _ in twin.learn(parts[-1]):
            pass
        twin.save()
        return before, self.accuracy(twin), twin.wage.refused


def task(files: demo.Files, seed: int) -> Task:
    """Guard, streams and test samples of one seed."""
    blob = files.model.read_bytes()
    rng = np.random.default_rng(seed)
    parts = [data.samples(data.load(p), info(blob)) for p in (files.stream, files.train)]
    new, old = ([part[i] for i in rng.permutation(len(part))] for part in parts)
    rest = new[GUARD:] + old[GUARD:]
    return Task(
        blob,
        new[:GUARD] + old[:GUARD],
        new[GUARD:],
        [rest[i] for i in rng.permutation(len(rest))[:LATER]],
        data.samples(data.load(files.test), info(blob)),
        dataclasses.replace(demo.LEARNING, seed=seed),
    )


def measure(files: demo.Files) -> list[dict[str, object]]:
    """One row a kind of stream."""
    rows = []
    for name, share, known in (
        ("two new digits", 0.0, False),
        (f"two new digits, {FLIPPED:.0%} of the labels flipped", FLIPPED, False),
        ("all ten digits once more", 0.0, True),
        (f"all ten once more, {FLIPPED:.0%} of the labels flipped", FLIPPED, True),
    ):
        runs: dict[int | None, list[tuple[float, float, int]]] = {None: []}
        runs |= {margin: [] for margin in MARGINS}
        for seed in SEEDS:
            t = task(files, seed)
            rng = np.random.default_rng(1000 + seed)
            parts = [t.new, flipped(t.later, share, rng)] if known else []
            parts = parts or [flipped(t.new, share, rng)]
            for margin, found in runs.items():
                found.append(t.run(parts, margin))
        row: dict[str, object] = {"what": name, "seeds": len(SEEDS), "flipped": share}
        row["start"] = round(statistics.mean(r[0] for r in runs[None]), 2)
        for margin, found in runs.items():
            row["unguarded" if margin is None else f"margin_{margin}"] = {
                "mean": round(statistics.mean(r[1] for r in found), 2),
                "worst": round(min(r[1] - r[0] for r in found), 2),
                "back": sum(r[2] for r in found),
            }
        rows.append(row)
    return rows


def text(rows: list[dict[str, object]]) -> str:
    """docs/guard.md."""
    lines = []
    for row in rows:
        cells = [row["what"], f"{row['start']:.2f}"]
        for key in ("unguarded", *(f"margin_{m}" for m in MARGINS)):
            of = row[key]
            cells.append(f"{of['mean']:.2f} ({of['worst']:+.2f})")
            cells += [] if key == "unguarded" else [str(of["back"])]
        lines.append(f"| {' | '.join(cells)} |")
    return TEXT + "\n".join(lines) + "\n" + NOTE


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        found = measure(demo.make(Path(folder)))
    write_whole(DOCS / "guard.json", (json.dumps(found, indent=1) + "\n").encode())
    write_whole(DOCS / "guard.md", text(found).encode())
    print(text(found))

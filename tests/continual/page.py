"""docs/continual.json, docs/continual.md and its pictures, made of finished runs."""

# SPDX-License-Identifier: MIT

import dataclasses
import json
from pathlib import Path
from statistics import fmean
from typing import Any

from accuracy.summary import cell, signed
from wage_host.files import write_whole

from continual import plot, runs, summary, table
from continual.table import BENCHMARKS, Benchmark, strategies

DOCS = Path(__file__).parents[2] / "docs"
SHOWN = ("naive", "twin")  # in the curves, beside the replay in the middle

HEAD = """# Continual learning

Made by `make continual` from the runs in `docs/continual/`; the same figures for programs are in
`docs/continual.json`. Each stream is learned in one pass, sample by sample, by the C runtime in
the host's process: the same bits as on a board (a test compares the weights of such a run with
those of an emulated board). Words and figures are Avalanche's. Accuracy in % on the test part
(whole; classes of all experiences compete), mean ± standard deviation over seeds; a seed gives
every strategy the same stream.

- **naive**: each sample once, nothing is kept. **replay-N**: class-balanced reservoir of N samples
  at the cut between frozen and learning layers, {replays} of them replayed after each new one.
  **inputs**: the replay keeps inputs, as many as fit in the bytes of the replay in the middle.
  **head-N**: only the last layer learns, and the replay keeps what it takes. **biases**: of the
  learning layers only biases learn. **means**: the last layer holds the mean of each class, the
  cheap way, without replay. **joint**: all experiences at once, shuffled, in as many passes as a
  sample has steps with replay: an upper bound.
- **twin**: the same net in float32 (PyTorch, SGD, no bias), with the same samples in the same order
  and *the very same replayed ones*, a new one and its replays in one step; inputs kept in 8 bits,
  latents in float16. Where a host learns before the stream, the twin's host does so in float, too.
  **twin-bytes**: as many as fit in the bytes that integers take: half as many latents; of inputs
  as many, so that there is no second run. **twin-int8**: it keeps latents in int8 times a power of
  two, the least in which the largest latent of the first replay fits.
- *average*: accuracy in the end over all tests. *forgetting*: mean over all experiences but the
  last of accuracy just after it less accuracy in the end (-BWT). *FWT*: mean over all but the first
  of accuracy just before it less an untrained net's. In the class-incremental streams a class
  that was not there yet is hardly ever right, so FWT is not above zero there.
- *difference*: integers less twin, seed by seed, in points, ± half the 95 % interval (Student's t).
"""

TAIL = """## How to go on

`make continual` runs what is missing, one run after another, and goes on where it was stopped;
`make continual ROWS=split-mnist` (or `split-mnist.twin`, or a seed of it) runs those only. Settings
that change make their runs count as missing. `WAGE_DATA` names the folder of data sets;
BasicMotions and mnist1d come with the packages aeon and mnist1d, which `make` installs.
"""
DATA = """
Data: MNIST, Fashion-MNIST and CIFAR-10 (re-compressed as JPEG, comparable with the same files only)
without the tenth that is held out for validation; Free Spoken Digit Dataset, recordings 0 to 4 of
each speaker and digit are the test; BasicMotions (in aeon 1.6.0; 80 recordings, with each seed half
of each activity tests, as windows of 5 s, one a second; figures are pooled over ten resplits; the
width of its dense layer, 16, 32 or 64, was chosen on three recordings of each activity of the other
halves, replay-24 over seeds 1 to 5, rate 2^-4 and gain 1: 66.9, 77.8, 70.0 %, and 67.5 with three
convolutions and none);
mnist1d 0.0.2 (Apache 2.0) by its own generator, where a drift is another setting of it: more noise,
more slope, a longer signal, all three.
"""

TRIED = """
## How rehearsal came about

With the rate 2^-4 and gain 1, which split-mnist and split-fashion chose for nets that begin
untrained, integers were 13.7 ± 3.0 points behind the twin on mnist1d-drift and 1.1 ± 5.7 on
speakers. On other samples of mnist1d's generator (seeds 11 and 12; the table has 1 to 5) replay-200
gave, at gain 1:
33.4 (2^-4), 37.0 (2^-5), 41.0 (2^-6), 42.6 (2^-7), 44.7 (2^-8), 45.8 (2^-9) and 46.7 % (2^-10); at
gain 2, the host's: 39.6 (2^-4), 43.6 (2^-6), 47.2 (2^-8) and 48.0 % (2^-9); the twin 48.7 at 0.02
and 50.0 % at 0.005 (seed 11). So the rate was too high for a net that a host has trained to its
end, and no rate fits all: on validation of split-fashion-front, 2^-6 gave 80.3 % and 2^-8 72.2 %
(gain 2, seed 1). Another rule was dropped: the highest rate at which learning known samples again
costs at most a point of what is held out. Of 400 samples it could not see enough: for seed 12 it
kept 2^-5 (46.1 %, twin 54.0 %, with hosts of other rates).

What is left on mnist1d-drift comes from before the stream: with the settings chosen on
split-fashion-front the integers' host knows 71 % of the first experience, the twin's 78 % (seeds 11
and 12). With higher rates both hosts know more, and integers stay behind: 80 to 81 % with 2^-5 and
85 to 87 % with 0.05 (seeds 11 to 13), after the stream 51.2 and 54.6 %. So integers learn this net,
whose first layer has five inputs, less well even without a stream; why was not found.

speakers has ten seeds since the interval of its difference to the twin was ± 5 points with five
(integers were 1.8 ahead then). What 8 bits lose there, 0.30, is at the limit itself: one of its
300 test samples is 0.33 points. With the first five seeds it was 0.40 ± 0.35.
"""


def write(docs: Path = DOCS, results: Path = runs.RESULTS) -> list[summary.Row]:
    """Writes all files; returns the rows."""
    rows = summary.all_rows(results)
    runs.write(docs / "continual.json", rows)
    (docs / "continual").mkdir(exist_ok=True)
    for benchmark in BENCHMARKS.values():
        mine = [row for row in rows if row["benchmark"] == benchmark.name]
        if any(row["forgetting"] is not None for row in mine):
            svg = picture(benchmark, mine, results)
            write_whole(docs / "continual" / f"{benchmark.name}.svg", f"{svg}\n".encode())
    write_whole(docs / "continual.md", text(rows, results).encode())
    return rows


def picture(benchmark: Benchmark, rows: list[summary.Row], results: Path) -> str:
    """A benchmark's rows, and the curves of those that are SHOWN."""
    shown, series, counts = (*SHOWN, f"replay-{benchmark.budgets[1]}"), [], []
    for strategy in strategies(benchmark):
        found = summary.finished(benchmark, strategy, results)
        if strategy.name in shown and found:
            series.append((strategy.name, summary.mean_matrix(found)))
            counts = next(iter(found.values()))["tests"]
    return plot.picture(f"{benchmark.name}: {benchmark.title}", rows, series, counts)


def text(rows: list[dict[str, Any]], results: Path = runs.RESULTS) -> str:
    """The page."""
    lines = [HEAD.format(replays=table.LEARNING.replays), "## Integers and their twins", ""]
    lines += [
        "| benchmark | replay | ours | twin | difference | twin, same bytes | difference "
        "| must reach |",
        "|---|---|---|---|---|---|---|---|",
    ]
    by_name = {(row["benchmark"], row["strategy"]): row for row in rows}
    for benchmark in BENCHMARKS.values():
        name = f"replay-{benchmark.budgets[1]}"
        row = by_name.get((benchmark.name, name))
        lines.append(beside(benchmark, row) if row else f"| {benchmark.name} | not measured yet |")
    lines += ["", *latents(by_name), *missing(results), "## Settings", "", settings(results), ""]
    for benchmark in BENCHMARKS.values():
        mine = [row for row in rows if row["benchmark"] == benchmark.name]
        if mine:
            lines += section(benchmark, mine, results)
    return "\n".join([*lines, TAIL])


def beside(benchmark: Benchmark, row: dict[str, Any]) -> str:
    """A benchmark's row of the first table."""
    same_bytes = benchmark.train_last > 0
    cells = [
        f"[{benchmark.name}](#{benchmark.name})",
        f"{row['replay_samples']}",
        f"**{cell(row['average_accuracy'], row['sd'])}**",
        cell(row["twin"], None),
        signed(row["twin_difference"], row["twin_95"]),
        cell(row["twin_bytes"], None) if same_bytes else "the same run",
        signed(row["twin_bytes_difference"], row["twin_bytes_95"]) if same_bytes else "",
        summary.verdicts(benchmark, row),
    ]
    return f"| {' | '.join(cells)} |"


def latents(by_name: dict[tuple[str, str], summary.Row]) -> list[str]:
    """The second table: what a replay keeps, where there is a frozen front."""
    lines = [
        "## Latents and inputs, 8 bits and 16",
        "",
        "Ours with latents and with inputs in the same bytes; and the twin with int8 latents less "
        "the twin with float16 ones, all else the same, which is what 8 bits lose.",
        "",
        "| benchmark | bytes | latents | ours | inputs | ours | difference | twin, int8 latents "
        "| less float16 | must reach |",
        "|---" * 10 + "|",
    ]
    for benchmark in BENCHMARKS.values():
        row = by_name.get((benchmark.name, f"replay-{benchmark.budgets[1]}"))
        if not benchmark.train_last or not row:
            continue
        inputs = by_name.get((benchmark.name, "inputs"), {})
        cells = [
            f"[{benchmark.name}](#{benchmark.name})",
            f"{row['replay_bytes']:,}",
            f"{row['replay_samples']}",
            cell(row["average_accuracy"], row["sd"]),
            f"{inputs.get('replay_samples', '–')}",
            cell(row["inputs"], None),
            signed(row["inputs_difference"], row["inputs_95"]),
            cell(row["int8"], None),
            signed(row["int8_difference"], row["int8_95"]),
            summary.verdicts_of_latents(benchmark, row),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def missing(results: Path) -> list[str]:
    """What the table has and nobody has measured yet."""
    lines = []
    for benchmark in BENCHMARKS.values():
        wanted = len(benchmark.seeds)
        done = {s.name: len(summary.finished(benchmark, s, results)) for s in strategies(benchmark)}
        short = [f"{name} {count} of {wanted}" for name, count in done.items() if count < wanted]
        if short:
            words = f"{', '.join(short)} seeds" if any(done.values()) else "nothing"
            lines.append(f"- {benchmark.name}: {words}")
    return ["Not measured yet:", "", *lines, ""] if lines else []


def settings(results: Path) -> str:
    """What all runs share, and what was tried before."""
    columns = (*table.CHOSEN_ON, *table.HOST_ON)
    lines = [
        f"Chosen on the validation part of {' and '.join(table.CHOSEN_ON)} alone (the replay in",
        f"the middle, {table.TRY_SAMPLES:,} samples an experience), then kept for all benchmarks;",
        f"what hosts do before a stream, on that of {' and '.join(table.HOST_ON)}. All were",
        f"tried with seed {table.TRY_SEEDS[0]}, those at most {100 * table.CLOSE:.1f} points below",
        f"the best with {len(table.TRY_SEEDS)} seeds. The test part chose nothing.",
        "",
        "Where a host learns before the stream, the rate is found by *rehearsal* on what it knows,",
        "for each seed, by one rule for integers and twin: a tenth is held out, the host learns "
        "the",
        "others but their last class, and this class arrives as in the stream, with the replay in",
        f"the middle; of the rate chosen below and its halves, {table.HALVINGS} of them, the one "
        "is",
        "taken with which most of what is held out is right (the highest of equal ones). A user",
        "can do so before a board is flashed. The gain is then the host's, to which outputs were",
        "fitted.",
        "",
        f"| settings | of | {' | '.join(columns)} | seeds | |",
        "|---" * (4 + len(columns)) + "|",
    ]
    for kind, (_, names, used) in table.CHOICES.items():
        path = results / f"{kind}.tries.json"
        for one in json.loads(path.read_text(encoding="utf-8")) if path.exists() else []:
            scores = [f"{100 * fmean(one[c]):.2f}" if c in one else "" for c in columns]
            word = "chosen" if one["settings"] == dataclasses.asdict(used) else ""
            cells = [said(one["settings"]), kind, *scores, str(len(one[names[0]])), word]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, DATA, TRIED])


def said(fields: dict[str, Any]) -> str:
    """Settings in a line."""
    return ", ".join(f"{key} {value}" for key, value in fields.items())


def section(benchmark: Benchmark, rows: list[dict[str, Any]], results: Path) -> list[str]:
    """A benchmark: picture, all strategies, the matrix of its replay in the middle."""
    learns = f"the last {benchmark.train_last} layers learn" if benchmark.train_last else (
        "all layers learn"
    )  # fmt: skip
    before = (
        f"; of the first one {benchmark.known:,}, learned by the host in {benchmark.epochs} epochs"
        if benchmark.epochs
        else ""
    )
    where = next((row["instructions_where"] for row in rows if row["instructions_where"]), None)
    lines = [
        f"## {benchmark.name}",
        "",
        f"{benchmark.title[0].upper()}{benchmark.title[1:]}. {benchmark.scenario.capitalize()}; "
        f"`{benchmark.net}`, {learns}; at most {benchmark.samples:,} samples an experience"
        f"{before}.",
        "",
        f"![{benchmark.name}](continual/{benchmark.name}.svg)",
        "",
        "| strategy | average | forgetting | FWT | replay, bytes | arena, bytes | instructions a "
        "sample | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            row["strategy"],
            cell(row["average_accuracy"], row["sd"]),
            cell(row["forgetting"], None),
            cell(row["fwt"], None),
            f"{row['replay_bytes']:,}",
            f"{row['arena_bytes']:,}" if row["arena_bytes"] else "–",
            f"{row['instructions']:,}" if row["instructions"] else "–",
            f"{row['seeds']} of {row['seeds_wanted']}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", found] if (found := summary.rates(benchmark, results)) else []
    lines += ["", f"Instructions: learning one sample with its replays ({where})." if where else
              "Instructions were not counted yet.", ""]  # fmt: skip
    return lines + matrix(benchmark, results)


def matrix(benchmark: Benchmark, results: Path) -> list[str]:
    """The accuracy matrix of the replay in the middle."""
    name = f"replay-{benchmark.budgets[1]}"
    strategy = next(one for one in strategies(benchmark) if one.name == name)
    found = summary.finished(benchmark, strategy, results)
    if not found:
        return []
    values = summary.mean_matrix(found)
    lines = [
        f"Accuracy of {name} on each experience's tests (columns), untrained and after each "
        "experience (rows), %:",
        "",
        "| | " + " | ".join(str(k + 1) for k in range(len(values[0]))) + " |",
        "|---" * (len(values[0]) + 1) + "|",
    ]
    for number, shares in enumerate(values):
        cells = [f"{100 * share:.1f}" for share in shares]
        lines.append(f"| {number or 'untrained'} | {' | '.join(cells)} |")
    return [*lines, ""]

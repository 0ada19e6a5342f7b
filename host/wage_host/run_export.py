"""The command that writes a model, or a logged run, for other programs."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from wage_host import figures, files
from wage_host.convert import export
from wage_host.errors import FileError, ToolMissing, WrongUsage
from wage_host.log import RECORD, Log, default_path
from wage_host.options import FILE, LOG, command
from wage_host.screen import Screen

POINTS = 500  # of a curve in TensorBoard at most, each the mean of what lies between
CHUNK = 10_000  # records that are worked on at once
JSON_BOOL = ("false", "true")


def as_csv(log: Log, run: int) -> Iterator[str]:
    """A heading, then a line for each answer, as it came: all of a record, and its loss in nats.
    """
    yield ",".join([*RECORD.names, "loss"]) + "\n"
    for values, loss in _answers(log, run):
        yield f"{','.join(str(int(value)) for value in values)},{loss:.4f}\n"


def as_json_lines(log: Log, run: int) -> Iterator[str]:
    """An object a line: the run, its evaluations and events, then a line for each answer."""
    yield json.dumps({"kind": "run", **log.run(run)}) + "\n"
    for e in log.evaluations(run):
        lists = {name: e[name].tolist() for name in ("labels", "predictions")}
        yield json.dumps({"kind": "evaluation", **e, **lists}) + "\n"
    for event in log.events(run):
        yield json.dumps({"kind": "event", **event}) + "\n"
    head = json.dumps({"kind": "sample", **dict.fromkeys(RECORD.names)})
    line = head.replace("null", "%s")[:-1] + ', "loss": %.4f}\n'
    for (*counts, skipped, known, us), loss in _answers(log, run):
        yield line % (*counts, JSON_BOOL[skipped], JSON_BOOL[known], us, loss)


def _answers(log: Log, run: int) -> Iterator[tuple[tuple[int, ...], float]]:
    """The values of each record, and its loss."""
    records = log.records(run)
    for begin in range(0, len(records), CHUNK):
        some = records[begin : begin + CHUNK]
        yield from zip(some.tolist(), figures.loss(some["p_label"]).tolist(), strict=True)


def to_tensorboard(log: Log, run: int, folder: Path, tell: Callable[[int], None]) -> Path:
    """Writes the curves of a run into `folder`/run-N; returns that. tell: of records done."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise ToolMissing(
            "tensorboardX", "pip install 'wage-host[tensorboard]' to write its files"
        ) from None
    row, made = log.run(run), folder / f"run-{run}"
    if made.exists():
        raise FileError(f"{made} is there already: remove it, or name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with SummaryWriter(str(made)) as writer:
            for done in _write(writer, log, row):
                tell(done)
    except OSError as error:
        raise FileError(f"cannot write {made}: {error.strerror}") from None
    return made


def _write(writer: Any, log: Log, row: dict[str, Any]) -> Iterator[int]:
    """Curves over the samples, evaluations, and the conditions as text; gives what is done."""
    begin = datetime.fromisoformat(row["started"]).timestamp()
    records = figures.fresh(log.records(row["id"]))
    count, span = len(records), figures.seconds(row)
    right = records["label"] == records["prediction"]
    curves = {
        "accuracy of the samples between": right, "loss": figures.loss(records["p_label"]),
        "ms of a sample": records["us"] / 1e3, "skipped": records["skipped"],
    }  # fmt: skip
    ends = np.unique(np.linspace(0, count, min(count, POINTS) + 1, dtype=int))
    sums = {name: np.concatenate(([0.0], np.cumsum(values))) for name, values in curves.items()}
    for a, b in itertools.pairwise(ends):
        at, when = int(records["id"][b - 1]), begin + span * b / count
        for name, total in sums.items():
            writer.add_scalar(f"learning/{name}", (total[b] - total[a]) / (b - a), at, when)
        so_far = sums["accuracy of the samples between"][b] / b
        writer.add_scalar("learning/accuracy so far", so_far, at, when)
        yield int(b)
    for e in log.evaluations(row["id"]):
        share = float(np.mean(e["labels"] == e["predictions"])) if len(e["labels"]) else 0.0
        when = datetime.fromisoformat(e["time"]).timestamp()
        writer.add_scalar("evaluation/accuracy", share, e["at_sample"], when)
    lines = [f"| {name} | {value} |" for name, value in row["conditions"].items()]
    writer.add_text("conditions", "\n".join(["| | |", "|-|-|", *lines]), 0, begin)


@command
@click.argument("source", type=FILE)
@click.option("-o", "--output", type=FILE, help=".onnx, .safetensors, .npz or .h, of a model.")
@click.option("--csv", type=FILE, help="A file with all answers of a run.")
@click.option("--jsonl", type=FILE, help="A file with all of a run, an object a line.")
@click.option("--tensorboard", type=FILE, help="A folder that gets the curves of a run.")
@LOG
def do_export(
    screen: Screen,
    source: Path,
    output: Path | None,
    csv: Path | None,
    jsonl: Path | None,
    tensorboard: Path | None,
    log_path: Path | None,
) -> dict[str, Any]:
    """Write a .wage model, also a pulled one, or a run of the log (its number), for other programs.

    A model takes -o; a run --csv, --jsonl or --tensorboard, or several of them.
    """
    if csv or jsonl or tensorboard:
        if output or not str(source).isdigit():
            raise WrongUsage("--csv, --jsonl and --tensorboard are for a run: give its number")
        return _export_run(screen, int(str(source)), log_path, csv, jsonl, tensorboard)
    if not output:
        raise WrongUsage("say with -o where the model goes; a run goes to --csv, --jsonl or "
                         "--tensorboard")  # fmt: skip
    files.check_output(output)
    made = export.exported(files.read_blob(source), output)
    files.write_whole(output, made)
    screen.say(f"{output}: {len(made)} bytes")
    return {"file": str(output), "bytes": len(made)}


def _export_run(
    screen: Screen,
    run: int,
    log_path: Path | None,
    csv: Path | None,
    jsonl: Path | None,
    tensorboard: Path | None,
) -> dict[str, Any]:
    """Writes what was asked for of a run."""
    made = []
    with Log(log_path or default_path(), create=False) as log, log.whole():
        count = log.run(run)["records"]
        for path, lines in ((csv, as_csv), (jsonl, as_json_lines)):
            if path:
                files.check_output(path)
                files.write_whole(path, _joined(screen, path, count, lines(log, run)))
                made.append(path)
        if tensorboard:
            with screen.progress(str(tensorboard), count) as update:
                tell = functools.partial(update, note="samples")
                made.append(to_tensorboard(log, run, tensorboard, tell))
    for path in made:
        screen.say(f"run {run}: {path}")
    return {"run": run, "files": [str(path) for path in made]}


def _joined(screen: Screen, path: Path, count: int, lines: Iterable[str]) -> bytes:
    """All lines in UTF-8, with a display of how many there are."""
    parts = []
    with screen.progress(str(path), count) as update:
        for done, line in enumerate(lines):
            parts.append(line)
            if done % CHUNK == 0:
                update(min(done, count), "lines")
        update(count, "lines")
    return "".join(parts).encode()

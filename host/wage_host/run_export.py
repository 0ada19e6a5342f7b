"""The command that writes a model, or a logged run, for other programs."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterator
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

POINTS = 2000  # of a curve in TensorBoard at most, each the mean of what lies between


def as_csv(log: Log, run: int) -> bytes:
    """A line for each answer, as it came: all of a record, and its loss in nats."""
    records, out = log.records(run), io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*RECORD.names, "loss"])
    losses = figures.loss(records["p_label"])
    columns = [records[name].astype(int).tolist() for name in RECORD.names]
    writer.writerows(zip(*columns, (f"{x:.4f}" for x in losses), strict=True))
    return out.getvalue().encode()


def as_json_lines(log: Log, run: int) -> bytes:
    """An object a line: the run, its evaluations and events, then a line for each answer."""
    return "".join(json.dumps(line) + "\n" for line in _lines(log, run)).encode()


def _lines(log: Log, run: int) -> Iterator[dict[str, Any]]:
    yield {"kind": "run", **log.run(run)}
    for e in log.evaluations(run):
        lists = {name: e[name].tolist() for name in ("labels", "predictions")}
        yield {"kind": "evaluation", **e, **lists}
    for event in log.events(run):
        yield {"kind": "event", **event}
    records = log.records(run)
    for record, x in zip(records, figures.loss(records["p_label"]), strict=True):
        values = dict(zip(RECORD.names, record.tolist(), strict=True))
        yield {"kind": "sample", **values, "loss": round(float(x), 4)}


def to_tensorboard(log: Log, run: int, folder: Path) -> Path:
    """Writes the curves of a run into `folder`/run-N; returns that."""
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
            _write(writer, log, row)
    except OSError as error:
        raise FileError(f"cannot write {made}: {error.strerror}") from None
    return made


def _write(writer: Any, log: Log, row: dict[str, Any]) -> None:
    """Curves over the samples, evaluations, and the conditions as text."""
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
        log.run(run)
        for path, write in ((csv, as_csv), (jsonl, as_json_lines)):
            if path:
                files.check_output(path)
                files.write_whole(path, write(log, run))
                made.append(path)
        if tensorboard:
            made.append(to_tensorboard(log, run, tensorboard))
    for path in made:
        screen.say(f"run {run}: {path}")
    return {"run": run, "files": [str(path) for path in made]}

"""The runs in a log: listed, compared, tagged, deleted."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import click

from wage_host import figures
from wage_host.errors import FileError, WrongUsage
from wage_host.log import Log, default_path
from wage_host.options import LOG, command
from wage_host.screen import Screen, table, time_text

NOTHING = "-"
LISTED = ("board", "model", "data")  # conditions that the list shows
NEVER_COMPARED = ("start", "stream", "names", "samples")  # differ always, or are told above


def percent(share: float | None) -> str:
    """A share with one decimal."""
    return NOTHING if share is None else f"{100 * share:.1f} %"


def state(run: dict[str, Any]) -> str:
    """How a run ended, in a word or two."""
    return "cut off" if run["cut_off"] else run["state"]


def shown(figures_: dict[str, Any]) -> list[tuple[str, str]]:
    """Figures of a run as people read them: (title, text)."""
    f = figures_
    kind = f" ({f['uj_kind']})" if f["uj_kind"] else ""
    cells = {
        "samples": str(f["samples"]), "skipped": str(f["skipped"]),
        "right while learning": percent(f["right"]),
        "loss while learning": NOTHING if f["loss"] is None else f"{f['loss']:.3f}",
        "accuracy before": percent(f["before"]), "accuracy after": percent(f["after"]),
        "time": f"{f['seconds']:.1f} s" if f["seconds"] < 10 else time_text(f["seconds"]),
        "time of a sample": NOTHING if f["ms"] is None else f"{f['ms']:.3g} ms",
        "energy of a step": NOTHING if f["uj_step"] is None else f"{f['uj_step']:.4g} µJ{kind}",
        "link faults": str(f["faults"]), "checkpoints": str(f["saves"]),
        "weight CRC": f["weight_crc"] or NOTHING,
    }  # fmt: skip
    return list(cells.items())


def listed(log: Log) -> list[list[str]]:
    """A line for each run, under a heading."""
    rows = [["run", "begun (UTC)", "state", *LISTED, "samples", "right", "after", "tags"]]
    for run in log.runs():
        f = figures.of_run(log, run)
        told = [str(run["conditions"].get(name, NOTHING)) for name in LISTED]
        rows.append([
            str(run["id"]), run["started"][:16].replace("T", " "), state(run), *told,
            str(f["samples"]), percent(f["right"]), percent(f["after"]), " ".join(run["tags"]),
        ])  # fmt: skip
    return rows


def compared(log: Log, runs: Sequence[int]) -> list[list[str]]:
    """Runs side by side: figures, then the conditions in which they differ (all, of one run)."""
    found = [log.run(run) for run in runs]
    rows = [["run", *map(str, runs)], ["state", *map(state, found)],
            ["tags", *(" ".join(run["tags"]) or NOTHING for run in found)]]  # fmt: skip
    columns = [shown(figures.of_run(log, run)) for run in found]
    rows += [[title, *(column[k][1] for column in columns)]
             for k, (title, _) in enumerate(columns[0])]  # fmt: skip
    for name in dict.fromkeys(name for run in found for name in run["conditions"]):
        cells = [str(run["conditions"].get(name, NOTHING)) for run in found]
        if name not in NEVER_COMPARED and (len(found) == 1 or len(set(cells)) > 1):
            rows.append([name.replace("_", " "), *cells])
    return rows


def delete(log: Log, runs: Sequence[int]) -> None:
    """Deletes runs: records, inputs, models and recorded traces that are of no other run."""
    marks = ", ".join("?" * len(runs))
    sql = f"SELECT trace FROM power WHERE trace IS NOT NULL AND run IN ({marks})"
    traces = [log.path.with_name(row["trace"]) for row in log.read(sql, *runs)]
    log.delete(runs)
    for trace in traces:
        try:
            with contextlib.suppress(FileNotFoundError):
                trace.unlink()
        except OSError as error:
            raise FileError(f"cannot delete the trace {trace}: {error.strerror}") from None


@command
@click.argument("runs", type=int, nargs=-1)
@click.option("--tag", "tags", multiple=True, help="Add a word to these runs.")
@click.option("--untag", "gone", multiple=True, help="Take a word away.")
@click.option("--delete", "deletes", is_flag=True, help="Delete them, with the inputs they keep.")
@LOG
def do_runs(
    screen: Screen,
    runs: tuple[int, ...],
    tags: tuple[str, ...],
    gone: tuple[str, ...],
    deletes: bool,
    log_path: Any,
) -> dict[str, Any]:
    """What was learned: all runs of the log, or those named, side by side.

    --delete removes a run from the log for good: answers, events, power, and the samples that it
    kept to be replayed, unless another run was sent the same. What a board has learned from them
    stays on the board: see wage-host forget.
    """
    runs = tuple(dict.fromkeys(runs))
    if not runs and (tags or gone or deletes):
        raise WrongUsage("name the runs to tag or delete, by their numbers")
    if deletes and (tags or gone):
        raise WrongUsage("--delete goes with no tags")
    with Log(log_path or default_path(), create=False) as log:
        for run in runs:
            log.run(run)
        if deletes:
            delete(log, runs)
            screen.say(f"deleted: {', '.join(map(str, runs))}, with the inputs of no other run")
            return {"deleted": list(runs)}
        for run in runs:
            log.tag(run, tags)
            log.tag(run, gone, remove=True)
        rows = compared(log, runs) if runs else listed(log)
        for line in table(rows):
            screen.say(line)
        chosen = [log.run(run) for run in runs] if runs else log.runs()
        return {"runs": [{"run": run["id"], "state": state(run), "tags": run["tags"],
                          "conditions": run["conditions"], **figures.of_run(log, run)}
                         for run in chosen]}  # fmt: skip

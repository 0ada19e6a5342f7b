"""The part of a report about energy and time: what a step costs, by phase, and how it was measured.

What it reads is described in wage_host.power.tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from wage_host.log import Log
from wage_host.report import page, power, words

Row = dict[str, Any]
WHAT = {"sample": ("a sample", "a sample learned, with all its steps"),
        "step": ("a step", "a learning step"), "inference": ("an inference", "an inference")}
TILES = ("step", "inference")
GAPS = {"lost": "not measured", "unplugged": "unplugged"}  # kinds that are shown in the curve


@dataclass(frozen=True)
class Energy:
    """What the log holds of the energy of a run; all may be missing."""

    recording: Row | None
    gaps: list[Row]
    phases: list[Row]
    windows: list[Row]
    results: list[Row]
    curve: np.ndarray  # (k, 3) least, mean, most watts
    closeup: np.ndarray  # (k, 2) seconds, watts
    spans: list[power.Span]  # phases of the close-up

    def best(self, what: str) -> Row | None:
        """The result for a step, sample or inference: as measured, else as estimated."""
        found = [row for row in self.results if row["what"] == what]
        return next((row for row in found if row["kind"] == "measured"), next(iter(found), None))


def gather(log: Log, run: int) -> Energy:
    """Reads the tables of power of a run."""
    recording, closeup = (
        next(iter(log.read(f"SELECT * FROM {table} WHERE run = ?", run)), None)
        for table in ("power", "power_closeup"))
    gaps, phases, windows, results = (
        [dict(row) for row in log.read(f"SELECT * FROM {table} WHERE run = ? ORDER BY n", run)]
        for table in ("power_gap", "power_phase", "power_window", "energy"))
    order = [*power.PHASES]
    phases.sort(key=lambda row: order.index(row["phase"]) if row["phase"] in order else len(order))
    return Energy(
        dict(recording) if recording else None, gaps, phases, windows, results,
        _array(recording["curve"] if recording else b"", 3),
        _array(closeup["samples"] if closeup else b"", 2),
        [tuple(span) for span in json.loads(closeup["phases"])] if closeup else [])


def _array(blob: bytes, columns: int) -> np.ndarray:
    """float32 as the log has it, in rows."""
    return np.frombuffer(blob, "<f4").reshape(-1, columns)


def tiles(energy: Energy) -> list[tuple[str, str, str]]:
    """What learning and predicting cost, as far as it is known."""
    rows = [(what, energy.best(what)) for what in TILES]
    return [(f"Energy of {WHAT[what][0]}", words.energy(row["joules"]), _kind(energy, row))
            for what, row in rows if row]


def _kind(energy: Energy, row: Row) -> str:
    """Measured by what, or an estimate."""
    if row["kind"] == "estimate":
        return "estimate, not measured"
    above = row["joules_above_idle"]
    more = "" if above is None else f"; {words.energy(above)} above idle"
    return f"measured by {energy.recording['instrument']}{more}" if energy.recording else "measured"


def warnings(energy: Energy) -> list[str]:
    """What was not measured."""
    texts = []
    for gap in energy.gaps:
        if gap["kind"] == "unplugged":
            texts.append(f"The instrument was gone {words.duration(gap['at_s'])} after it began "
                         f"({gap['text']}): what came then was learned, but not measured.")
    if energy.recording and energy.recording["lost"]:
        texts.append(f"{words.count(energy.recording['lost'], 'sample')} of power were lost: "
                     "energies leave them out.")
    return texts


def sections(energy: Energy) -> Iterable[str]:
    """Charts and tables, under one heading."""
    yield "<h2>Energy and time</h2>"
    if not energy.results and not energy.recording:
        yield ('<p class="quiet">No instrument measured this run, and it holds no estimate of its '
               "energy.</p>")
        return
    if energy.results:
        yield from map(_result, energy.results)
    if energy.phases:
        yield from _phases(energy)
    if len(energy.closeup) > 1:
        chart = power.both(power.steps_chart, energy.closeup, energy.spans)
        yield page.figure("Some steps as they were measured",
                          _legend(power.shown(energy.spans)) + chart, _aligned(energy), "whole")
    if len(energy.curve):
        said = energy.recording
        gaps = [(gap["at_s"], gap["at_s"] + gap["seconds"], GAPS[gap["kind"]])
                for gap in energy.gaps if gap["kind"] in GAPS and gap["seconds"] > 0]
        hatched = " Hatched is what was not measured." if gaps else ""
        yield page.figure("Power over the run", power.both(
            power.run_chart, energy.curve, said["seconds"], gaps),
            "The line is the mean of each short time, the band its least and most." + hatched,
            "whole")
    if energy.recording:
        yield from _method(energy)


def _result(row: Row) -> str:
    """An energy, whether it was measured, and how."""
    above = row["joules_above_idle"]
    idle = "" if above is None else f", {words.energy(above)} above idle"
    kind = "measured" if row["kind"] == "measured" else "<em>estimate</em>, not measured"
    return (f'<p class="result"><b>{words.energy(row["joules"])}</b> for '
            f'{WHAT[row["what"]][1]}{idle}: {kind}. '
            f'<span class="quiet">{page.escape(row["how"])}</span></p>')


def _phases(energy: Energy) -> Iterable[str]:
    """Time and energy by phase: shares, and a table."""
    busy = [row for row in energy.phases if row["phase"] != "idle"] or energy.phases
    shares = [("time", [(row["phase"], row["seconds"]) for row in busy])]
    if any(row["joules"] for row in busy):
        shares.append(("energy", [(row["phase"], row["joules"]) for row in busy]))
    legend = _legend([row["phase"] for row in busy])
    chart = page.figure("Where time and energy go", legend + power.shares_chart(shares),
                        "Shares of the phases in the time that the board is busy.")
    rows = [[row["phase"], words.duration(row["seconds"] / row["times"]),
             words.energy(row["joules"] / row["times"]), f"{row['times']:,}",
             words.duration(row["seconds"]), words.energy(row["joules"]),
             "–" if row["joules_above_idle"] is None else words.energy(row["joules_above_idle"])]
            for row in energy.phases if row["times"]]
    table = page.table(["phase", "time each", "energy each", "times", "time", "energy",
                        "above idle"], rows, figures=range(1, 7))
    yield f'<div class="charts">{chart}</div>{table}'


def _legend(phases: Iterable[str]) -> str:
    """The colours of phases."""
    return page.legend((power.colour(phase), phase) for phase in phases)


def _aligned(energy: Energy) -> str:
    """How phases were laid over the samples."""
    said = energy.recording
    if not said or said["aligned"] == "none":
        return "Nothing told which phase the board was in."
    way = ("by the board's pins, in the samples themselves" if said["aligned"] == "pin"
           else "by the board's clock, fitted to the instrument's")
    sure = ("" if said["uncertainty_s"] is None
            else f"; a mark's time is uncertain by {words.duration(said['uncertainty_s'])}")
    return f"The colours are the phases that the board was in, told {way}{sure}."


def _method(energy: Energy) -> Iterable[str]:
    """How it was measured, in full."""
    said = energy.recording
    facts = [("instrument", said["instrument"]), ("began", words.clock(said["started"])),
             ("seconds", f"{said['seconds']:.3f}"), ("samples", f"{said['samples']:,}"),
             ("samples a second", f"{said['rate_hz']:,.6g}"), ("lost", f"{said['lost']:,}"),
             ("repeated", f"{said['repeated']:,}"), ("energy of all", words.energy(said["joules"])),
             ("phases by", said["aligned"])]
    if said["uncertainty_s"] is not None:
        facts.append(("uncertainty of a mark", words.duration(said["uncertainty_s"])))
    if said["trace"]:
        facts.append(("trace", said["trace"]))
    note = f"<p>{page.escape(said['note'])}</p>" if said["note"] else ""
    yield page.details("How it was measured", said["instrument"], note + page.pairs(facts))
    if energy.windows:
        rows = [[WHAT[row["what"]][0], f"{row['times']:,}",
                 words.duration(row["begin_s"]), words.duration(row["seconds"]),
                 words.energy(row["joules"]), words.energy(row["joules"] / row["times"])]
                for row in energy.windows if row["times"]]
        yield page.details("Windows", f"{len(rows):,}", page.table(
            ["of", "times", "begins at", "takes", "energy", "energy each"], rows,
            figures=range(1, 6)))
    if energy.gaps:
        rows = [[words.duration(row["at_s"]), row["kind"], words.duration(row["seconds"]),
                 f"{row['samples']:,}", row["text"]] for row in energy.gaps]
        yield page.details("Gaps", f"{len(rows):,}", page.table(
            ["at", "what", "takes", "samples", "text"], rows, figures=(2, 3)))

"""The part of a report about accuracy: figures that matter, charts, and the accuracy matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wage_host import draw, svg
from wage_host.report import story, words
from wage_host.report.story import Matrix, Story

CELL = 26.0  # height of a row of the accuracy matrix
ROWS = 60  # of it at most: the newest
LABEL = 14  # characters of a row's name


def tiles(told: Story) -> list[tuple[str, str, str]]:
    """Name, value and note of the figures that matter, each with where it was measured."""
    everything = range(told.classes)
    groups = [("All classes", list(everything))]
    if told.new:
        groups += [("Old classes", [c for c in everything if c not in told.new]),
                   ("New classes", told.new)]
    out = [(name, *_change(told, keep)) for name, keep in groups] if told.evaluations else []
    records, place = told.records, words.place(told.conditions)
    notes = [f"{int(records['skipped'].sum()):,} below the threshold, not learned"
             if records["skipped"].any() else "all of them learned" if len(records) else "",
             f"{told.repeated:,} sent twice, learned once" if told.repeated else ""]
    if len(records) or not told.evaluations:
        out.append(("Samples", f"{len(records):,}", "; ".join(filter(None, notes))))
    time_s = sample_time_s(told)
    if time_s:
        out.append(("Time for a sample", words.duration(time_s), f"median, {place}"))
    out.append(("Where", place, str(told.conditions.get("board", ""))))
    return out


def sample_time_s(told: Story) -> float | None:
    """The median time of a sample, None where nobody measured."""
    timed = told.records["us"][told.records["us"] > 0]
    return float(np.median(timed)) / 1e6 if len(timed) else None


def _change(told: Story, keep: Sequence[int]) -> tuple[str, str]:
    """Accuracy over some classes before and after, and a note on it."""
    both = [e for e in (told.before, told.after) if e]
    tested = int(np.isin(both[-1]["labels"], keep).sum())
    if not tested:
        return "not tested", ""
    shares = [story.share(e, keep) for e in both]
    note = f"{words.count(tested, 'test sample')}, {words.place(both[-1])}"
    if len(shares) == 2 and None not in shares:
        note = f"{words.signed(100 * (shares[1] - shares[0]))} points; {note}"
    return f" →{words.NBSP}".join(map(words.percent, shares)), note


def charts(told: Story) -> list[tuple[str, str, str]]:
    """Title, chart and caption of curve, bars and matrices."""
    out = curve(told)
    if told.evaluations:
        kind = "group" if told.groups else "class"
        out.append((f"By {kind}", bars(told), f"The share of the test samples of each {kind} "
                    "that were answered right, in percent."))
    last = "after" if told.before else told.after and told.after["when"]
    for moment, e in (("before", told.before), (last, told.after)):
        if e:
            chart = draw.confusion(e["labels"], e["predictions"], told.classes, told.names)
            out.append((f"What was taken for what, {moment}", chart, "Each row is one true class: "
                        "the stronger a cell, the larger its share of the row. Right answers "
                        f"are on the framed diagonal. Measured {words.place(e)}."))
    counts = np.array(told.run["summary"].get("confusion", []))
    if counts.shape == (told.classes, told.classes) and counts.any():
        seen = np.argwhere(counts).repeat(counts[counts > 0], axis=0)
        chart = draw.confusion(*seen.T, told.classes, told.names)
        out.append(("What was taken for what, while learning", chart, "Samples before they were "
                    f"learned, as counted {words.place(told.conditions)}."))
    table = story.matrix(told)
    if table and (told.groups or len(table.rows) > 2):  # else the figures above say it all
        out.append(("Accuracy matrix", matrix(table), _forgetting(table)))
    return out


def curve(told: Story) -> list[tuple[str, str, str]]:
    """Title, chart and caption of the learning, if there was any or nothing else is known."""
    if told.evaluations and not len(told.records):
        return []
    window = words.count(draw.window_of(len(told.records)), "sample")
    tests = [(e["at_sample"], story.share(e)) for e in told.evaluations if len(e["labels"])]
    marks = " Diamonds are evaluations on test samples, which it never learns." if tests else ""
    return [("While learning",
             draw.accuracy_curve(told.records, told.classes, told.new, told.names, tests),
             "Each sample is answered before it is learned. A point of the line is the mean of "
             f"the last {window}; it is pale where there were fewer.{marks}")]


def bars(told: Story) -> str:
    """Accuracy by class, or by group, of the evaluations there are."""
    if told.groups:
        both = [e and story.by_group(e, told.groups) for e in (told.before, told.after)]
        names = [name for name, _ in told.groups]
        said = {e["when"] for e in told.evaluations}
        one_by_one = any(f"after {name}" in said for name in names)
        new = [] if one_by_one else [len(names) - 1]
        return draw.bars_before_after(*both, len(names), new, names)
    both = map(story.answers, (told.before, told.after))
    return draw.bars_before_after(*both, told.classes, told.new, told.names)


def matrix(table: Matrix) -> str:
    """Accuracy in percent, one row an evaluation, one column an experience."""
    skipped = max(0, len(table.rows) - ROWS)
    rows = [r if len(r) <= LABEL else f"{r[:LABEL - 1]}…" for r in table.rows[skipped:]]
    columns = draw.class_names(len(table.experiences), table.experiences)
    shares = table.shares[skipped:]
    left, top = svg.margin(rows, 24), 4.0
    cell = min((svg.WIDTH - left - 4) / len(columns), 84.0)
    widest = max(map(len, columns)) * svg.CHARACTER
    upright = widest + 4 > cell
    bottom, right = top + CELL * len(rows), left + cell * len(columns)
    framed = [(row - skipped, k) for k, row in enumerate(table.learned) if row >= skipped]
    parts = [svg.rect(left, top, right - left, bottom - top, "panel"),
             *draw.cells(shares, left, top, cell, CELL, framed)]
    for r, name in enumerate(rows):
        y = top + CELL * (r + 0.5) + 4
        parts.append(svg.text(left - 6, y, name, "end"))
        if cell >= 24:
            parts += [svg.text(left + cell * (k + 0.5), y, f"{100 * shares[r, k]:.0f}", "middle")
                      for k in range(len(columns))]
    for k in range(0, len(columns), svg.label_step(cell, 13 if upright else widest)):
        x = left + cell * (k + 0.5)
        parts.append(svg.text(x + 4, bottom + 6, columns[k], "end", turn=-90) if upright
                     else svg.text(x, bottom + 16, columns[k], "middle"))
    said = "; ".join(f"{name}: {100 * shares[-1, k]:.0f}" for k, name in enumerate(columns))
    return svg.chart(bottom + (widest + 12 if upright else 24), "Accuracy matrix",
                     f"In the end, in percent: {said}.", parts)


def _forgetting(table: Matrix) -> str:
    """What the matrix says, in Avalanche's words."""
    text = ("Accuracy in percent: rows are evaluations, columns are experiences; framed is an "
            "experience when it had just been learned. Average accuracy in the end: "
            f"{words.percent(float(table.shares[-1].mean()))}.")
    if table.forgetting is not None:
        lost = 100 * table.forgetting
        text += (f" Forgetting, what was lost since then: {words.signed(lost)} points on average "
                 f"(backward transfer {words.signed(-lost)}).")
    return text

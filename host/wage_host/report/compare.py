"""The part of a report about several runs: what came out, and in what they differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from wage_host import draw, svg
from wage_host.report import learning, page, story, words
from wage_host.report.story import Story

COLOURS = ("old", "new-text", "third", "fourth", "fifth")
DASHES = ("", "6 3", "2 3")
CURVES = len(COLOURS) * len(DASHES)  # told apart at most
OWN = ("stream", "port")  # conditions that differ by themselves, and say nothing
HEAD = ("run", "before", "after", "samples", "a sample takes", "energy of it", "forgotten",
        "board", "where")  # columns without any figure are left out
LABEL = 12.0  # height of a label at the end of a curve


def headline(stories: Sequence[Story]) -> str:
    """Which run came out best, where that can be said."""
    ends = [(story.share(told.after), told.run["id"]) for told in stories if told.after]
    if len(ends) < len(stories) or not _comparable(stories) or None in [e for e, _ in ends]:
        return f"{len(stories)} runs beside each other"
    best, worst = max(e for e, _ in ends), min(e for e, _ in ends)
    if best == worst:
        return f"All {len(stories)} runs ended at an accuracy of {words.percent(best)}"
    at_best = [str(run) for end, run in ends if end == best]
    return (f"Of {len(stories)} runs, {'run' if len(at_best) == 1 else 'runs'} "
            f"{words.listed(at_best)} ended best: accuracy {words.percent(best)}; the lowest is "
            f"{words.percent(worst)}")


def _comparable(stories: Sequence[Story]) -> bool:
    """Whether all runs were tested with the same labels in the end."""
    tested = [told.after["labels"] for told in stories if told.after]
    return all(np.array_equal(tested[0], labels) for labels in tested[1:])


def sections(stories: Sequence[Story]) -> Iterable[str]:
    """Warnings, charts and tables of all runs together."""
    texts = []
    if not _comparable(stories):
        texts.append("Not all runs were tested on the same samples: their accuracies cannot be "
                     "compared.")
    if len({str(told.conditions.get("place")) for told in stories}) > 1:
        texts.append("Not all runs were measured at the same kind of place: compare accuracies, "
                     "but no times.")
    yield from page.notices(texts)
    differ, same = _differences(stories)
    names = [name for name, *_ in differ]
    yield (f'<p class="lead">They {"differ in " + words.listed(names) if names else "are alike"}.'
           "</p>")
    yield page.charts(_charts(stories))
    yield "<h2>Results</h2>"
    rows = [_row(told) for told in stories]
    kept = [c for c in range(len(HEAD)) if c < 3 or {row[c] for row in rows} != {"–"}]
    yield page.table([HEAD[c] for c in kept], [[row[c] for c in kept] for row in rows],
                     figures=[at for at, c in enumerate(kept) if 0 < c < 7])
    if differ:
        yield "<h2>What differs</h2>"
        yield page.table(["", *(f"run {told.run['id']}" for told in stories)], differ)
    if same:
        yield page.details("Conditions that all share", "", page.pairs(same))


def _row(told: Story) -> list[str]:
    """The results of a run in a table."""
    shares = [e and story.share(e) for e in (told.before, told.after)]
    table, time_s = story.matrix(told), learning.sample_time_s(told)
    lost = table.forgetting if table else None
    return [f"run {told.run['id']}", *("–" if s is None else words.percent(s) for s in shares),
            f"{len(told.records):,}", words.duration(time_s) if time_s else "–", _energy(told),
            "–" if lost is None else f"{words.signed(100 * lost)} points",
            *(str(told.conditions.get(key, "–")) for key in ("board", "place"))]


def _energy(told: Story) -> str:
    """What learning a sample costs, in a table."""
    row = told.energy.best("sample")
    if not row:
        return "–"
    estimate = " (estimate)" if row["kind"] == "estimate" else ""
    return f"{words.energy(row['joules'])}{estimate}"


def _differences(stories: Sequence[Story]) -> tuple[list[list[str]], list[tuple[str, str]]]:
    """Conditions that differ, a row each; and those that all share."""
    differ, same = [], []
    keys = dict.fromkeys(k for told in stories for k in told.conditions if k not in OWN)
    for key in keys:
        said = [_said(told.conditions, key) for told in stories]
        if len(set(said)) > 1:
            differ.append([words.key(key), *said])
        else:
            same.append((words.key(key), said[0]))
    return differ, same


def _said(conditions: dict[str, Any], key: str) -> str:
    """A condition in words, of a run that may lack it."""
    return words.value(key, conditions[key]) if key in conditions else "–"


def _charts(stories: Sequence[Story]) -> list[tuple[str, str, str]]:
    """Bars of the outcome, and all curves in one."""
    out = []
    tested = [told for told in stories if told.evaluations]
    if tested:
        shares = [[np.nan if e is None else story.share(e) for e in pair]
                  for pair in ((told.before, told.after) for told in tested)]
        names = [f"run {told.run['id']}" for told in tested]
        series = [("was", "before", [s[0] for s in shares]),
                  ("old", "after", [s[1] for s in shares])]
        out.append(("Before and after", draw.bars(names, series, (), "Accuracy of the runs", 1),
                    "The share of all test samples that were answered right, in percent."))
    learned = [told for told in stories if len(told.records)]
    if learned:
        some = f" Shown are the first {CURVES} runs." if len(learned) > CURVES else ""
        out.append(("While learning", curves(learned[:CURVES]), "Each sample is answered before "
                    "it is learned; a point is the mean over the last samples." + some))
    return out


def curves(stories: Sequence[Story]) -> str:
    """Test-then-train accuracy of several runs over their samples."""
    most = max(len(told.records) for told in stories)
    left, right, top, bottom = 36.0, svg.WIDTH - 56.0, 30.0, 220.0
    step = (right - left) / most
    parts = [*draw.grid(left, right, top, bottom), *draw.sample_axis(most, left, step, top, bottom)]
    ends, said = [], []
    for number, told in enumerate(stories):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS)]
        right_answers = told.records["label"] == told.records["prediction"]
        window = draw.window_of(len(right_answers))
        accuracy = draw.running_accuracy(right_answers, window)
        at = np.unique(np.linspace(window - 1, len(accuracy) - 1, 300).astype(int))
        path = " ".join(f"{svg.number(left + step * (i + 1))} "
                        f"{svg.number(bottom - (bottom - top) * accuracy[i])}" for i in at)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        parts.append(f'<path d="M{path}" fill="none" stroke="var(--{colour})" stroke-width="2" '
                     f'stroke-linejoin="round"{dashed}/>')
        ends.append((bottom - (bottom - top) * accuracy[-1], f"run {told.run['id']}", colour))
        said.append(f"run {told.run['id']} ends at {accuracy[-1]:.0%}")
    for y, name, colour in apart(ends, top, bottom):
        parts.append(svg.text(right + 6, y + 4, name, fill=colour))
    return svg.chart(bottom + 42, "Accuracy while learning", "; ".join(said) + ".", parts)


def apart(labels: Sequence[tuple[float, str, str]], top: float,
          bottom: float) -> list[tuple[float, str, str]]:
    """Labels at about the same heights, moved so that none covers another."""
    out: list[tuple[float, str, str]] = []
    least = top
    for y, name, colour in sorted(labels):
        least = max(y, least)
        out.append((least, name, colour))
        least += LABEL
    over = max(0.0, out[-1][0] - bottom - LABEL) if out else 0.0
    most = bottom + LABEL
    for i in reversed(range(len(out))) if over else ():
        y, name, colour = out[i]
        out[i] = (min(y, most), name, colour)
        most = out[i][0] - LABEL
    return out

"""What the log holds of a run, sorted for telling, and its outcome in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wage_host.draw import Answers
from wage_host.log import Log
from wage_host.report import energy, words
from wage_host.report.energy import Energy


@dataclass(frozen=True)
class Story:
    """A run, sorted for telling."""

    run: dict[str, Any]
    records: np.ndarray  # learned or skipped now, with a label
    repeated: int  # records of samples that the board knew already
    evaluations: list[dict[str, Any]]
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    classes: int
    new: list[int]
    names: list[str]
    groups: list[tuple[str, int]]  # of all test samples; none: classes are shown
    events: list[dict[str, Any]]
    energy: Energy

    @property
    def conditions(self) -> dict[str, Any]:
        """What the run says of itself."""
        return self.run["conditions"]


@dataclass(frozen=True)
class Matrix:
    """The accuracy matrix: shares of right answers, (evaluations, experiences), NaN untested.

    learned: the row in which each experience had just been learned.
    """

    experiences: list[str]
    rows: list[str]
    shares: np.ndarray
    learned: list[int]

    @property
    def forgetting(self) -> float | None:
        """Mean of what was lost since each was learned, but of the last; None of one."""
        last = len(self.rows) - 1
        lost = [self.shares[row, k] - self.shares[last, k]
                for k, row in enumerate(self.learned) if row < last]
        return float(np.mean(lost)) if lost else None


def gather(log: Log, run: int) -> Story:
    """Reads a run and finds its evaluations before and after."""
    row, records, evaluations = log.run(run), log.records(run), log.evaluations(run)
    conditions = row["conditions"]
    fresh = records[~records["known"] & (records["label"] >= 0)]
    # a board that fell back to its last save learned some samples again: the last time counts
    _, from_end = np.unique(fresh["id"][::-1], return_index=True)
    fresh = fresh[np.sort(len(fresh) - 1 - from_end)]
    first, last = (evaluations[0], evaluations[-1]) if evaluations else (None, None)
    before = first if first and first["when"] == "before" else None
    classes = conditions.get("classes")
    if not isinstance(classes, int) or classes < 1:
        labels = [fresh["label"], *(e["labels"] for e in evaluations)]
        classes = int(max((a.max() for a in labels if len(a)), default=0)) + 1
    new, names = conditions.get("new_classes"), conditions.get("names")
    return Story(row, fresh, int(records["known"].sum()), evaluations, before,
                 None if last is before else last, classes,
                 [c for c in new if c in range(classes)] if isinstance(new, list) else [],
                 [str(name) for name in names] if isinstance(names, list) else [],
                 _groups(conditions.get("groups"), evaluations), log.events(run),
                 energy.gather(log, run))


def _groups(said: Any, evaluations: Sequence[dict[str, Any]]) -> list[tuple[str, int]]:
    """The groups that a run says its test samples come in, when they are all of these."""
    try:
        found = [(str(name), int(count)) for name, count in said]
    except (TypeError, ValueError):
        return []
    total = sum(count for _, count in found)
    whole = all(count > 0 for _, count in found)
    return found if whole and all(len(e["labels"]) == total for e in evaluations) else []


def matrix(story: Story) -> Matrix | None:
    """The accuracy matrix over groups, or old and new classes; None where there is none.

    Group NAME had just been learned in the evaluation 'after NAME'. Without such a one the last
    group was learned last, and the others are known from the first evaluation on.
    """
    if not story.evaluations:
        return None
    labels = story.evaluations[-1]["labels"]
    rows = [e for e in story.evaluations if np.array_equal(e["labels"], labels)]
    if story.groups:
        names = [name for name, _ in story.groups]
        of = _group_of(story.groups)
    elif story.new and len(story.new) < story.classes:
        names, of = ["old", "new"], np.isin(labels, story.new).astype(int)
    else:
        return None
    if len(rows) < 2 or len(set(of.tolist())) < 2:
        return None
    right = np.array([e["predictions"] == labels for e in rows])
    shares = np.stack([right[:, of == k].mean(axis=1) for k in range(len(names))], axis=1)
    said = [e["when"] for e in rows]
    learned = [said.index(f"after {name}") if f"after {name}" in said
               else len(rows) - 1 if k == len(names) - 1 else 0 for k, name in enumerate(names)]
    return Matrix(names, said, shares, learned)


def _group_of(groups: Sequence[tuple[str, int]]) -> np.ndarray:
    """The number of the group of each test sample."""
    return np.repeat(np.arange(len(groups)), [count for _, count in groups])


def by_group(evaluation: dict[str, Any], groups: Sequence[tuple[str, int]]) -> Answers:
    """The group of each test sample as its label, and as its prediction when that was right."""
    of = _group_of(groups)
    return of, np.where(evaluation["labels"] == evaluation["predictions"], of, -1)


def answers(evaluation: dict[str, Any] | None) -> Answers | None:
    """Labels and predictions of an evaluation."""
    return evaluation and (evaluation["labels"], evaluation["predictions"])


def share(evaluation: dict[str, Any], keep: Sequence[int] | None = None) -> float | None:
    """Share of right answers among test samples (of some classes), None without any."""
    right = evaluation["labels"] == evaluation["predictions"]
    right = right if keep is None else right[np.isin(evaluation["labels"], keep)]
    return float(np.mean(right)) if len(right) else None


def accuracy(evaluation: dict[str, Any]) -> str:
    """Accuracy over all samples of an evaluation, in words."""
    return words.percent(share(evaluation))


def headline(story: Story) -> str:
    """The outcome of a run in one plain sentence."""
    before, after, count = story.before, story.after, len(story.records)
    if not after and not before:
        if not count:
            return "No samples were learned in this run"
        right = float(np.mean(story.records["label"] == story.records["prediction"]))
        return (f"{words.count(count, 'sample')} {words.place(story.conditions)}: "
                f"{words.percent(right)} were answered right before they were learned")
    tested = len(np.unique((after or before)["labels"]))
    classes = (f"all {story.classes} classes" if tested == story.classes
               else f"{tested} of {words.count(story.classes, 'class', 'classes')}")
    places = " and ".join(dict.fromkeys(words.place(e) for e in (before, after) if e))
    if not after:
        return (f"Accuracy on {classes} was {accuracy(before)} before learning, measured "
                f"{places}; {words.count(count, 'sample')} came since")
    samples = words.count(after["at_sample"], "sample")
    if before:
        return (f"Accuracy on {classes} went from {accuracy(before)} to {accuracy(after)} "
                f"after {samples}, measured {places}")
    learned = f" after {samples}" if after["at_sample"] else ""
    return f"Accuracy on {classes} is {accuracy(after)}{learned}, measured {places}"


WHERE = {
    "host": "It was simulated by this computer: what it computes is exact, its times are not "
            "those of a board.",
    "emulator": "It was emulated: what it computes is exact, its times are not those of a chip.",
    "board": "It is real hardware: its times were measured on it.",
}


def lead(story: Story) -> str:
    """What was learned and where, in plain words."""
    said = story.conditions
    board, model = said.get("board", "a board"), said.get("model")
    parts = [f"The board {board}" if "board" in said else "A board"]
    labels = np.unique(story.records["label"])
    if len(labels):
        what = words.count(len(story.records), "sample")
        known = [story.names[c] if c < len(story.names) else str(c) for c in labels.tolist()]
        kinds = "class" if len(known) == 1 else "classes"
        of = (f"the {kinds} {words.listed(known)}" if len(known) <= 4
              else f"{len(known)} {kinds}")
        parts.append(f" learned from {what} of {of}, one after another")
    else:
        tested = " was tested; it" if story.evaluations else ""
        parts.append(f"{tested} learned nothing in this run")
    parts.append(f", with the model {model}. " if model else ". ")
    parts.append(WHERE.get(str(said.get("place")), ""))
    if story.run["summary"].get("proved"):
        parts.append(" The host learned from the same samples and came to the same weights, "
                     "bit for bit.")
    return "".join(parts).strip()


def warnings(story: Story) -> list[str]:
    """What a reader must know before believing the figures."""
    run, texts = story.run, []
    if run["state"] == "live":
        how = "was cut off, and never ended" if run["cut_off"] else "is going on"
        texts.append(f"This run {how}. Shown is what came until {words.clock(run['touched'])}.")
    elif run["state"] != "done":
        why = run["summary"].get("error")
        texts.append(f"This run {'was interrupted' if run['state'] == 'interrupted' else 'failed'}"
                     f"{f': {why}' if why else ''}. Shown is what came until then.")
    if story.before and story.after:
        if not np.array_equal(story.before["labels"], story.after["labels"]):
            texts.append("Before and after were measured on different test samples.")
        if story.after["when"].split(" ")[0] != "after":
            texts.append(f"The last evaluation came at sample {story.after['at_sample']:,}, "
                         "not at the end.")
    return texts

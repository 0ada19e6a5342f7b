"""The report of a run: one HTML file that needs nothing else, and a picture for a README.

Of the conditions of a run it reads `classes`, `names` (of the classes), `new_classes` (those
that the model was not trained on before), `groups` (names and sizes of groups that the test
samples come in, what is new last: shown in place of the classes), `place`, `board` and `model`; it
shows all of them.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from wage_host import draw
from wage_host.draw import Answers, escape
from wage_host.log import Log

PLACES = {"host": "on the host", "emulator": "on an emulated board", "board": "on the board"}
EVENTS = 200  # shown at most
NBSP, MINUS = "\u00a0", "\u2212"

CSS = """
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5;
  font-family: system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .3rem 0 1rem; text-wrap: balance; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
.over, figcaption, .tile small, .quiet { color: var(--muted); font-size: .88rem; }
.state { border: 1px solid var(--muted); border-radius: 1rem; padding: .05rem .6rem; }
.notice { border-left: .25rem solid var(--new); background: var(--panel); padding: .6rem 1rem; }
.tiles, .charts { display: grid; gap: 1rem; }
.tiles { grid-template-columns: repeat(auto-fit, minmax(max(9rem, 30%), 1fr)); }
.tile { background: var(--panel); border-radius: .5rem; padding: .7rem .9rem; }
.tile small, .tile b { display: block; }
.tile b { font-size: 1.2rem; line-height: 1.4; }
.charts { grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
  gap: 2rem 3rem; }
figure { margin: 0; max-width: 36rem; }
figure h2 { margin-top: 1.2rem; }
svg { display: block; width: 100%; height: auto; }
figcaption { margin-top: .4rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem 1.2rem .25rem 0;
  border-bottom: 1px solid var(--grid); overflow-wrap: break-word; }
th { font-weight: 600; white-space: nowrap; }
pre { background: var(--panel); border-radius: .5rem; padding: .8rem 1rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class Story:
    """What the log holds of a run, sorted for telling."""

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
                 _groups(conditions.get("groups"), evaluations))


def _groups(said: Any, evaluations: Sequence[dict[str, Any]]) -> list[tuple[str, int]]:
    """The groups that a run says its test samples come in, when they are all of these."""
    try:
        found = [(str(name), int(count)) for name, count in said]
    except (TypeError, ValueError):
        return []
    total = sum(count for _, count in found)
    whole = all(count > 0 for _, count in found)
    return found if whole and all(len(e["labels"]) == total for e in evaluations) else []


def report(log: Log, run: int) -> str:
    """One self-contained HTML page about a run."""
    story = gather(log, run)
    title = f"WAGE run {run}"
    body = [f'<p class="over">{title} · {_when(story.run)} · '
            f'<span class="state">{story.run["state"]}</span></p>',
            f"<h1>{escape(headline(story))}</h1>", *_notices(story), _tiles(story),
            _charts(story), _reproduce(story), *_tables(story, log.events(run))]
    light, dark = (" ".join(f"--{k}: {v};" for k, v in palette.items())
                   for palette in (draw.LIGHT, draw.DARK))
    style = (f":root {{ color-scheme: light dark; {light} }}\n"
             f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}{CSS}")
    return "\n".join([
        '<!DOCTYPE html>', '<html lang="en">', "<head>", '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{title}</title>", f"<style>{style}</style>", "</head>", "<body>", "<main>",
        *body, "</main>", "</body>", "</html>", ""])


def picture(log: Log, run: int) -> str:
    """One stand-alone SVG with the curve and the accuracy by class, for a README."""
    story = gather(log, run)
    c = story.run["conditions"]
    note = " · ".join([f"run {run}", *(f"{key} {c[key]}" for key in
                                       ("board", "model", "seed") if key in c)])
    charts = [chart for _, chart, _ in _curve(story)] + [_bars(story)] * bool(story.evaluations)
    title = textwrap.wrap(headline(story), 68 if len(charts) == 2 else 32)
    note = textwrap.shorten(note, 50 * len(charts), placeholder=" …", break_on_hyphens=False)
    return draw.poster(title, charts, note)


def headline(story: Story) -> str:
    """The outcome of a run in one plain sentence."""
    before, after, count = story.before, story.after, len(story.records)
    if not after and not before:
        if not count:
            return "No samples were learned in this run"
        right = float(np.mean(story.records["label"] == story.records["prediction"]))
        return (f"{_count(count, 'sample')} {_place(story.run['conditions'])}: {_percent(right)} "
                "were answered right before they were learned")
    tested = len(np.unique((after or before)["labels"]))
    classes = (f"all {story.classes} classes" if tested == story.classes
               else f"{tested} of {_count(story.classes, 'class', 'classes')}")
    places = " and ".join(dict.fromkeys(_place(e) for e in (before, after) if e))
    if not after:
        return (f"Accuracy on {classes} was {_accuracy(before)} before learning, measured "
                f"{places}; {_count(count, 'sample')} came since")
    samples = _count(after["at_sample"], "sample")
    if before:
        return (f"Accuracy on {classes} went from {_accuracy(before)} to {_accuracy(after)} "
                f"after {samples}, measured {places}")
    learned = f" after {samples}" if after["at_sample"] else ""
    return f"Accuracy on {classes} is {_accuracy(after)}{learned}, measured {places}"


def _notices(story: Story) -> list[str]:
    """What a reader must know before believing the figures."""
    run, texts = story.run, []
    if run["state"] == "live":
        texts.append("This run has not ended: it is going on, or was cut off. "
                     f"Last written {_clock(run['touched'])}.")
    elif run["state"] != "done":
        why = run["summary"].get("error")
        texts.append(f"This run {'was interrupted' if run['state'] == 'interrupted' else 'failed'}"
                     f"{f': {why}' if why else ''}. Shown is what came until then.")
    if story.before and story.after:
        if not np.array_equal(story.before["labels"], story.after["labels"]):
            texts.append("Before and after were measured on different test samples.")
        if story.after["when"] != "after":
            texts.append(f"The last evaluation came at sample {story.after['at_sample']:,}, "
                         "not at the end.")
    return [f'<p class="notice">{escape(text)}</p>' for text in texts]


def _tiles(story: Story) -> str:
    """The figures that matter, each with where it was measured."""
    everything = range(story.classes)
    groups = [("All classes", list(everything))]
    if story.new:
        groups += [("Old classes", [c for c in everything if c not in story.new]),
                   ("New classes", story.new)]
    tiles = [(name, *_change(story, keep)) for name, keep in groups] if story.evaluations else []
    records, place = story.records, _place(story.run["conditions"])
    notes = [f"{int(records['skipped'].sum()):,} below the threshold, not learned"
             if records["skipped"].any() else "all of them learned" if len(records) else "",
             f"{story.repeated:,} sent twice, learned once" if story.repeated else ""]
    if len(records) or not story.evaluations:
        tiles.append(("Samples", f"{len(records):,}", "; ".join(filter(None, notes))))
    timed = records["us"][records["us"] > 0]
    if len(timed):
        tiles.append(("Time for a sample", _duration(float(np.median(timed)) / 1e6),
                      f"median, {place}"))
    board = story.run["conditions"].get("board", "")
    tiles.append(("Where", place, board))
    return '<div class="tiles">' + "".join(
        f'<div class="tile"><small>{escape(name)}</small><b>{escape(value)}</b>'
        f"<small>{escape(note)}</small></div>" for name, value, note in tiles) + "</div>"


def _change(story: Story, keep: Sequence[int]) -> tuple[str, str]:
    """Accuracy over some classes before and after, and a note on it."""
    both = [e for e in (story.before, story.after) if e]
    tested = int(np.isin(both[-1]["labels"], keep).sum())
    if not tested:
        return "not tested", ""
    shares = [_share(e, keep) for e in both]
    note = f"{_count(tested, 'test sample')}, {_place(both[-1])}"
    if len(shares) == 2 and None not in shares:
        note = f"{_signed(100 * (shares[1] - shares[0]))} points; {note}"
    return f" →{NBSP}".join(map(_percent, shares)), note


def _charts(story: Story) -> str:
    """Curve, bars and matrices."""
    charts = _curve(story)
    if story.evaluations:
        kind = "group" if story.groups else "class"
        charts.append((f"By {kind}", _bars(story), f"The share of the test samples of each {kind} "
                       "that were answered right, in percent."))
    last = "after" if story.before else story.after and story.after["when"]
    for moment, e in (("before", story.before), (last, story.after)):
        if e:
            svg = draw.confusion(e["labels"], e["predictions"], story.classes, story.names)
            charts.append((f"What was taken for what, {moment}", svg, "Each row is one true class: "
                           "the stronger a cell, the larger its share of the row. Right answers "
                           f"are on the framed diagonal. Measured {_place(e)}."))
    return '<div class="charts">' + "".join(
        f"<figure><h2>{escape(title)}</h2>{svg}<figcaption>{escape(caption)}</figcaption></figure>"
        for title, svg, caption in charts) + "</div>"


def _curve(story: Story) -> list[tuple[str, str, str]]:
    """Title, chart and caption of the learning, if there was any or nothing else is known."""
    if story.evaluations and not len(story.records):
        return []
    window = _count(draw.window_of(len(story.records)), "sample")
    return [("While learning",
             draw.accuracy_curve(story.records, story.classes, story.new, story.names),
             "Each sample is answered before it is learned. A point of the line is the mean of "
             f"the last {window}; it is pale where there were fewer.")]


def _bars(story: Story) -> str:
    """Accuracy by class, or by group, of the evaluations there are."""
    if story.groups:
        answers = [e and _by_group(e, story.groups) for e in (story.before, story.after)]
        names = [name for name, _ in story.groups]
        return draw.bars_before_after(*answers, len(names), [len(names) - 1], names)
    return draw.bars_before_after(_answers(story.before), _answers(story.after), story.classes,
                                  story.new, story.names)


def _reproduce(story: Story) -> str:
    """The command, and the check sum that it must end with."""
    crc = story.run["summary"].get("weight_crc")
    proof = ("" if crc is None else
             f"<p>It ends with weight CRC <b>{escape(_value('weight_crc', crc))}</b>. The same "
             "model, data and settings give the same weights, bit for bit, on the host, on an "
             "emulated board and on a board.</p>")
    if story.run["summary"].get("proved"):
        proof += ("<p>This was checked at the end of the run: the host learned from the same "
                  "samples and came to the same weights.</p>")
    return (f"<h2>How to reproduce</h2><pre><code>{escape(story.run['command'])}</code></pre>"
            f"{proof}")


def _tables(story: Story, events: list[dict[str, Any]]) -> Iterable[str]:
    """Conditions, result, evaluations and events as tables."""
    for title, values in (("Conditions", story.run["conditions"]),
                          ("Result", story.run["summary"])):
        if values:
            yield _table(title, [], [(k.replace("_", " "), _value(k, v))
                                     for k, v in values.items()])
    if story.evaluations:
        yield _table("Evaluations", ["when", "at sample", "right", "where"],
                     [(e["when"], f"{e['at_sample']:,}",
                       f"{_accuracy(e)} of {len(e['labels']):,}", _place(e))
                      for e in story.evaluations])
    if events:
        started = story.run["started"]
        yield _table("Events", ["after", "what", "text"],
                     [(_duration(_seconds(started, e["time"])), e["what"], e["text"])
                      for e in events[:EVENTS]])
    if len(events) > EVENTS:
        yield f'<p class="quiet">and {len(events) - EVENTS:,} more events</p>'


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table under its title; the first cell of a row names it."""
    heads = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = "".join(f'<tr><th scope="row">{escape(first)}</th>'
                    + "".join(f"<td>{escape(cell)}</td>" for cell in rest) + "</tr>"
                    for first, *rest in rows)
    return (f'<h2>{escape(title)}</h2><div class="wide"><table>'
            f"{f'<thead><tr>{heads}</tr></thead>' if head else ''}<tbody>{lines}</tbody>"
            "</table></div>")


def _answers(evaluation: dict[str, Any] | None) -> Answers | None:
    """Labels and predictions of an evaluation."""
    return evaluation and (evaluation["labels"], evaluation["predictions"])


def _by_group(evaluation: dict[str, Any], groups: Sequence[tuple[str, int]]) -> Answers:
    """The group of each test sample as its label, and as its prediction when that was right."""
    of = np.repeat(np.arange(len(groups)), [count for _, count in groups])
    return of, np.where(evaluation["labels"] == evaluation["predictions"], of, -1)


def _share(evaluation: dict[str, Any], keep: Sequence[int]) -> float | None:
    """Share of right answers among test samples of some classes, None without any."""
    kept = np.isin(evaluation["labels"], keep)
    right = evaluation["labels"][kept] == evaluation["predictions"][kept]
    return float(np.mean(right)) if len(right) else None


def _accuracy(evaluation: dict[str, Any]) -> str:
    """Accuracy over all samples of an evaluation, in words."""
    return _percent(_share(evaluation, np.unique(evaluation["labels"])))


def _place(source: dict[str, Any]) -> str:
    """Where something was measured, in words."""
    place = source.get("place", "at an unknown place")
    return PLACES.get(str(place), str(place))


def _percent(share: float | None) -> str:
    """A share as percent with one decimal."""
    return "no samples" if share is None else f"{100 * share:.1f}{NBSP}%"


def _signed(value: float) -> str:
    """A change with its sign."""
    return f"{value:+.1f}".replace("-", MINUS)


def _count(count: int, one: str, many: str = "") -> str:
    """A number and its noun."""
    return f"{count:,}{NBSP}{one if count == 1 else many or one + 's'}"


def _duration(time_s: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("min", 60), ("s", 1), ("ms", 1e-3)):
        if time_s >= size:
            return f"{time_s / size:.3g}{NBSP}{unit}"
    return f"{time_s * 1e6:.0f}{NBSP}µs"


def _clock(time: str) -> str:
    """An ISO time in UTC, to the second."""
    return f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M:%S} UTC"


def _seconds(start: str, end: str) -> float:
    """Seconds between two ISO times, none if the clock was set back."""
    span = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return max(span.total_seconds(), 0.0)


def _when(run: dict[str, Any]) -> str:
    """When a run began and how long it took."""
    time_s = _seconds(run["started"], run["ended"] or run["touched"])
    return f"{_clock(run['started'])} · {_duration(time_s)}"


def _value(key: str, value: object) -> str:
    """A condition as a reader wants it: CRCs in hex, lists in one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and key.endswith("crc"):
        return f"0x{value:08X}"
    if isinstance(value, int | float):
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        return text.replace("-", MINUS)
    if isinstance(value, list):
        return ", ".join(_value(key, v) for v in value) or "none"
    return "–" if value is None else value if isinstance(value, str) else json.dumps(value)

"""The report of runs: one HTML file that needs nothing else, and a picture for a README.

Of the conditions of a run it reads `classes`, `names` (of the classes), `new_classes` (those
that the model was not trained on before), `groups` (names and sizes of groups that the test
samples come in, what is new last: shown in place of the classes; group NAME had just been learned
in the evaluation 'after NAME'), `place`, `board` and `model`; it shows all of them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from wage_host import svg
from wage_host.log import Log
from wage_host.report import compare, energy, learning, page, words
from wage_host.report.story import Story, accuracy, gather, headline, lead, warnings
from wage_host.svg import escape

__all__ = ["gather", "picture", "report"]

SHOWN = ("energy", "confusion")  # of the result, as charts


def report(log: Log, runs: Sequence[int]) -> str:
    """One self-contained HTML page about one run, or several beside each other."""
    stories = [gather(log, run) for run in runs]
    if len(stories) == 1:
        over, *rest = _sections(stories[0])
        title = f"<h1>{escape(headline(stories[0]))}</h1>"
        return page.page(f"WAGE run {runs[0]}", [over, title, *rest])
    said = [f"<h1>{escape(compare.headline(stories))}</h1>", *compare.sections(stories)]
    for told in stories:
        title = f"Run {told.run['id']}"
        said.append(page.details(title, headline(told), "\n".join(_sections(told))))
    over = '<p class="over">WAGE runs ' + words.listed([str(run) for run in runs]) + "</p>"
    return page.page(f"WAGE runs {', '.join(map(str, runs))}", [over, *said])


def _sections(told: Story) -> Iterable[str]:
    """All about one run."""
    run = told.run
    yield (f'<p class="over">WAGE run {run["id"]} · {words.when(run)} · '
           f'<span class="state">{run["state"]}</span></p>')
    yield f'<p class="lead">{escape(lead(told))}</p>'
    yield from page.notices([*warnings(told), *energy.warnings(told.energy)])
    yield page.tiles([*learning.tiles(told), *energy.tiles(told.energy)])
    yield "<h2>Accuracy</h2>"
    yield page.charts(learning.charts(told))
    yield from energy.sections(told.energy)
    yield _reproduce(told)
    yield from _tables(told)


def picture(log: Log, run: int) -> str:
    """One stand-alone SVG with the curve and the accuracy by class, for a README."""
    told = gather(log, run)
    c = told.conditions
    note = " · ".join([f"run {run}", *(f"{key} {c[key]}" for key in
                                       ("board", "model", "seed") if key in c)])
    charts = [chart for _, chart, _ in learning.curve(told)]
    charts += [learning.bars(told)] * bool(told.evaluations)
    title = textwrap.wrap(headline(told), 68 if len(charts) == 2 else 32)
    note = textwrap.shorten(note, 50 * len(charts), placeholder=" …", break_on_hyphens=False)
    return svg.poster(title, charts, note)


def _reproduce(told: Story) -> str:
    """The command, and the check sum that it must end with."""
    crc = told.run["summary"].get("weight_crc")
    proof = ("" if crc is None else
             f"<p>It ends with weight CRC <b>{escape(words.value('weight_crc', crc))}</b>. The "
             "same model, data and settings give the same weights, bit for bit, on the host, on "
             "an emulated board and on a board.</p>")
    if told.run["summary"].get("proved"):
        proof += ("<p>This was checked at the end of the run: the host learned from the same "
                  "samples and came to the same weights.</p>")
    return (f"<h2>How to reproduce</h2><pre><code>{escape(told.run['command'])}</code></pre>"
            f"{proof}")


def _tables(told: Story) -> Iterable[str]:
    """Conditions, result, evaluations and events, to open and close."""
    result = {k: v for k, v in told.run["summary"].items() if k not in SHOWN}
    for title, values in (("Conditions", told.conditions), ("Result", result)):
        if values:
            said = [(words.key(k), words.value(k, v)) for k, v in values.items()]
            yield page.details(title, "", page.pairs(said), is_open=True)
    if told.evaluations:
        rows = [(e["when"], f"{e['at_sample']:,}", f"{accuracy(e)} of {len(e['labels']):,}",
                 words.place(e)) for e in told.evaluations]
        yield page.details("Evaluations", f"{len(rows):,}", page.table(
            ["when", "at sample", "right", "where"], rows, figures=(1,)))
    if told.events:
        started = told.run["started"]
        rows = [(words.duration(words.seconds(started, e["time"])), e["what"], e["text"])
                for e in told.events]
        yield page.details("Events", f"{len(rows):,}",
                           page.table(["after", "what", "text"], rows))

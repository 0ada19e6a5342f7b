"""The HTML around it: one page without scripts, that fetches nothing, for screens and paper."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence

from wage_host import svg
from wage_host.svg import escape

CSS = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5;
  font-family: system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .3rem 0 .8rem; text-wrap: balance; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .6rem; }
p { max-width: 46rem; }
.over, figcaption, .tile small, .quiet { color: var(--muted); font-size: .88rem; }
.lead { margin: 0 0 1.2rem; }
.result { margin: .5rem 0; }
.state { border: 1px solid var(--muted); border-radius: 1rem; padding: .05rem .6rem; }
.notice { border-left: .25rem solid var(--new); background: var(--panel); padding: .6rem 1rem; }
.tiles, .charts, dl { display: grid; }
.tiles { gap: .8rem; grid-template-columns: repeat(auto-fit, minmax(max(9rem, 30%), 1fr)); }
.tile { background: var(--panel); border-radius: .5rem; padding: .7rem .9rem; }
.tile small, .tile b { display: block; }
.tile b { font-size: 1.2rem; line-height: 1.4; }
.charts { grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr));
  gap: 1rem 3rem; }
figure { margin: 0; max-width: 32rem; }
figure.whole { max-width: none; }
figure + .wide, .charts + .wide { margin-top: 1rem; }
svg { display: block; width: 100%; height: auto; }
.narrow { display: none; }
figcaption { margin-top: .4rem; max-width: 46rem; }
.wide { overflow-x: auto; overflow-wrap: break-word; }
table { border-collapse: collapse; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem 1.2rem .25rem 0;
  border-bottom: 1px solid var(--grid); }
th { font-weight: 600; white-space: nowrap; }
td.figure, th.figure { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: 0 0 .5rem;
  font-size: .88rem; }
.legend i { display: inline-block; width: .75em; height: .75em; margin-right: .45em; }
dl { margin: 0; font-size: .92rem; column-gap: 2.5rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); }
dl div { display: flex; justify-content: space-between; gap: 1rem; padding: .25rem 0;
  border-bottom: 1px solid var(--grid); }
dt { font-weight: 600; flex: none; max-width: 55%; }
dd { margin: 0; text-align: right; }
.long { grid-column: 1 / -1; justify-content: flex-start; }
.long dd { text-align: left; }
details { border-top: 1px solid var(--grid); }
:not(details) + details { margin-top: 1.6rem; }
details:not(:has(+ details)) { border-bottom: 1px solid var(--grid); }
summary { cursor: pointer; padding: .6rem 0; font-weight: 600; }
summary small { color: var(--muted); font-weight: 400; font-size: .88rem; }
details[open] > summary { padding-bottom: .4rem; }
details > :last-child:not(summary) { margin-bottom: 1.2rem; }
pre { background: var(--panel); border-radius: .5rem; padding: .8rem 1rem; white-space: pre-wrap;
  font-size: .88rem; }
@media (max-width: 40rem) {
  h1 { font-size: 1.35rem; }
  .tile b { font-size: 1.08rem; }
  .broad { display: none; }
  .narrow { display: block; }
}
"""
PRINT = """
  @page { margin: 14mm; }
  html { font-size: 9.5pt; }
  body { print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  h1 { font-size: 1.35rem; }
  .charts { grid-template-columns: 1fr 1fr; gap: .5rem 2rem; }
  figure:not(.whole) svg { width: auto; max-height: 6cm; }
  figure, .tile, tr, dl div, pre { break-inside: avoid; }
  h2, h3, summary { break-after: avoid; }
  .broad { display: block; }
  .narrow { display: none; }
  .wide { overflow: visible; }
  details::details-content { content-visibility: visible; display: block; }
  summary { list-style: none; }
"""
ROWS = 200  # of a table, shown at most
LONG = 44  # characters of a value that has a row of its own


def _colours(palette: dict[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in palette.items())


def page(title: str, body: Iterable[str], script: str = "", more: str = "") -> str:
    """A whole page. script: the only one that may run, and ask this computer; more: styles."""
    light, dark = _colours(svg.LIGHT), _colours(svg.DARK)
    style = (f":root {{ color-scheme: light dark; {light} }}\n"
             f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}{CSS}{more}"
             f"@media print {{\n  :root {{ color-scheme: light; {light} }}{PRINT}}}\n")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    runs = f"; script-src 'sha256-{digest}'; connect-src 'self'" if script else ""
    return "\n".join([
        '<!DOCTYPE html>', '<html lang="en">', "<head>", '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta http-equiv="Content-Security-Policy" '
        f"content=\"default-src 'none'; style-src 'unsafe-inline'{runs}\">",
        f"<title>{escape(title)}</title>", f"<style>{style}</style>", "</head>", "<body>",
        "<main>", *body, "</main>",
        *[f"<script>{script}</script>"] * bool(script), "</body>", "</html>", ""])


def notices(texts: Iterable[str]) -> Iterable[str]:
    """What a reader must know before believing the figures."""
    return (f'<p class="notice">{escape(text)}</p>' for text in texts)


def tiles(entries: Iterable[tuple[str, str, str]]) -> str:
    """Name, value and note of figures that matter."""
    return '<div class="tiles">' + "".join(
        f'<div class="tile"><small>{escape(name)}</small><b>{escape(value)}</b>'
        f"<small>{escape(note)}</small></div>" for name, value, note in entries) + "</div>"


def charts(entries: Iterable[tuple[str, str, str]]) -> str:
    """Title, chart and caption of figures beside each other."""
    return f'<div class="charts">{"".join(figure(*entry) for entry in entries)}</div>'


def figure(title: str, chart: str, caption: str, kind: str = "") -> str:
    """A chart with its title and what it shows."""
    kind = f' class="{kind}"' if kind else ""
    return (f"<figure{kind}><h3>{escape(title)}</h3>{chart}"
            f"<figcaption>{escape(caption)}</figcaption></figure>")


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Colours and what they are of."""
    return '<p class="legend">' + "".join(
        f'<span><i style="background: var(--{colour})"></i>{escape(name)}</span>'
        for colour, name in entries) + "</p>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], figures: Sequence[int] = ()) -> str:
    """A table that scrolls by itself; the first cell of a row names it; figures: columns of them.

    More than ROWS rows are cut, and it says so.
    """
    kinds = [' class="figure"' if c in figures else "" for c in range(len(head or rows[0]))]
    heads = "".join(f'<th scope="col"{kind}>{escape(cell)}</th>'
                    for kind, cell in zip(kinds, head, strict=False))
    lines = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td{kind}>{escape(cell)}</td>"
                  for kind, cell in zip(kinds[1:], rest, strict=True)) + "</tr>"
        for first, *rest in rows[:ROWS])
    more = f'<p class="quiet">and {len(rows) - ROWS:,} more</p>' if len(rows) > ROWS else ""
    return (f'<div class="wide"><table>{f"<thead><tr>{heads}</tr></thead>" if head else ""}'
            f"<tbody>{lines}</tbody></table></div>{more}")


def pairs(entries: Iterable[tuple[str, str]]) -> str:
    """Names and what they are, in as many columns as there is room for."""
    return "<dl>" + "".join(
        f"<div{' class=long' if len(value) > LONG else ''}><dt>{escape(name)}</dt>"
        f"<dd>{escape(value)}</dd></div>" for name, value in entries) + "</dl>"


def details(summary: str, note: str, body: str, is_open: bool = False) -> str:
    """What a reader opens and closes; on paper it is open."""
    note = f" <small>{escape(note)}</small>" if note else ""
    return (f"<details{' open' if is_open else ''}><summary>{escape(summary)}{note}</summary>"
            f"{body}</details>")

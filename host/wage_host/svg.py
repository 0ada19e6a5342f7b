"""Pieces of charts as text: inline SVG, its colours CSS variables named as in LIGHT and DARK.

`explicit` writes the colours out. A chart is 360 units wide, so that its text stays readable on a
phone.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence

# Blue and orange of Okabe and Ito: apart for colour-blind eyes, in both themes.
LIGHT = {"paper": "#ffffff", "panel": "#f3f6f8", "ink": "#1b2733", "muted": "#586878",
         "grid": "#d9e0e6", "before": "#9ba8b4", "was": "#7d8b99", "old": "#0072b2",
         "new": "#d55e00", "new-text": "#b84f00", "third": "#007a5a", "fourth": "#a8508a",
         "fifth": "#7a5f00", "shade": "#4ca3dd"}
DARK = {"paper": "#10171e", "panel": "#19232d", "ink": "#e8edf2", "muted": "#9fb0c0",
        "grid": "#2e3b47", "before": "#71808f", "was": "#71808f", "old": "#56b4e9",
        "new": "#f0a030", "new-text": "#f0a030", "third": "#2fc79a", "fourth": "#e08ac0",
        "fifth": "#d8c94a", "shade": "#1f69a3"}

WIDTH = 360  # of every chart
CHARACTER = 7.0  # mean width of a character of 12 units
UNPRINTABLE = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def escape(text: object) -> str:
    """Text made safe for HTML and XML, between tags and inside quotes."""
    return html.escape(UNPRINTABLE.sub("\ufffd", str(text)))


def explicit(svg: str, palette: dict[str, str]) -> str:
    """The same SVG with its colours written out."""
    return re.sub(r"var\(--([a-z-]+)\)", lambda m: palette[m[1]], svg)


def margin(names: Sequence[str], least: float) -> float:
    """Width that names take beside a chart."""
    return max(least, max(map(len, names)) * CHARACTER + 8)


def label_step(row: float, label: float) -> int:
    """Every how many rows a label fits."""
    return next(step for step in (1, 2, 5, 10, 20, 50, 100, 10000) if step * row >= label)


def ticks(count: int) -> list[int]:
    """Round numbers from 0 to `count`, six at most."""
    steps = (m * 10**e for e in range(12) for m in (1, 2, 5))
    step = next(s for s in steps if count <= 5 * s)
    return list(range(0, count + 1, step))


def round_ticks(most: float) -> list[float]:
    """Round numbers from 0 to `most` or just above it, six at most."""
    steps = (m * 10.0**e for e in range(-12, 12) for m in (1, 2, 5))
    step = next(s for s in steps if most <= 5 * s)
    return [round(k * step, 12) for k in range(math.ceil(most / step - 1e-6) + 1)]


def number(value: float, digits: int = 1) -> str:
    """A coordinate, short."""
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") or "0"


def text(x: float, y: float, words: object, anchor: str = "start", fill: str = "ink",
          size: float = 12, weight: str = "normal", turn: int = 0) -> str:
    """A piece of text."""
    turned = f' transform="rotate({turn} {number(x)} {number(y)})"' if turn else ""
    bold = f' font-weight="{weight}"' if weight != "normal" else ""
    return (f'<text x="{number(x)}" y="{number(y)}" text-anchor="{anchor}" fill="var(--{fill})" '
            f'font-size="{number(size)}"{bold}{turned}>{escape(words)}</text>')


def line(x0: float, y0: float, x1: float, y1: float) -> str:
    """A line of the grid."""
    return (f'<line x1="{number(x0)}" y1="{number(y0)}" x2="{number(x1)}" y2="{number(y1)}" '
            f'stroke="var(--grid)"/>')


def rect(x: float, y: float, width: float, height: float, fill: str) -> str:
    """A filled rectangle."""
    return (f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" '
            f'height="{number(height)}" fill="var(--{fill})"/>')


def chart(height: float, title: str, said: str, parts: Sequence[str],
          width: float = WIDTH) -> str:
    """A chart with its text alternative."""
    return (f'<svg role="img" viewBox="0 0 {number(width)} {number(height)}" '
            f'font-family="system-ui, sans-serif"><title>{escape(title)}</title>'
            f'<desc>{escape(said)}</desc>{"".join(parts)}</svg>')


def poster(title: Sequence[str], charts: Sequence[str], note: str) -> str:
    """A stand-alone SVG: lines of title, charts side by side, a note below them."""
    gap, row = 28, 21
    top = gap + row * len(title)
    heights = [float(re.search(r'viewBox="0 0 \d+ ([\d.]+)"', chart)[1]) for chart in charts]
    width, height = gap + (WIDTH + gap) * len(charts), top + max(heights) + 40
    parts = [rect(0, 0, width, height, "paper")]
    parts += [text(gap, gap + 6 + row * i, words, size=16, weight="bold")
              for i, words in enumerate(title)]
    for i, (chart, tall) in enumerate(zip(charts, heights, strict=True)):
        place = f'x="{gap + (WIDTH + gap) * i}" y="{top}" width="{WIDTH}" height="{number(tall)}"'
        parts.append(chart.replace("<svg", f"<svg {place}", 1))
    parts.append(text(gap, height - 14, note, fill="muted"))
    svg = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {number(height)}" '
           f'font-family="system-ui, sans-serif">{"".join(parts)}</svg>')
    return explicit(svg, LIGHT)

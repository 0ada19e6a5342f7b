"""Charts of a run, as text: pure functions that return inline SVG.

Colours are CSS variables named as in LIGHT and DARK; `explicit` writes them out.
All charts are 360 units wide, so that their text stays readable on a phone.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

import numpy as np

# Blue and orange of Okabe and Ito: apart for colour-blind eyes, in both themes.
LIGHT = {"paper": "#ffffff", "panel": "#f3f6f8", "ink": "#1b2733", "muted": "#586878",
         "grid": "#d9e0e6", "before": "#9ba8b4", "old": "#0072b2", "new": "#d55e00",
         "shade": "#005a8f", "on-shade": "#ffffff"}
DARK = {"paper": "#10171e", "panel": "#19232d", "ink": "#e8edf2", "muted": "#9fb0c0",
        "grid": "#2e3b47", "before": "#71808f", "old": "#56b4e9", "new": "#f0a030",
        "shade": "#56b4e9", "on-shade": "#0b1117"}

WIDTH = 360  # of every chart
CHARACTER = 7.0  # mean width of a character of 12 units
NAME_CHARACTERS = 10  # longer class names are cut
SHADES = 20  # steps of a confusion matrix
DARK_SHADE = 0.7  # share from which a cell's text changes colour
UNPRINTABLE = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Answers = tuple[np.ndarray, np.ndarray]  # labels, predictions


def escape(text: object) -> str:
    """Text made safe for HTML and XML, between tags and inside quotes."""
    return html.escape(UNPRINTABLE.sub("\ufffd", str(text)))


def explicit(svg: str, palette: dict[str, str]) -> str:
    """The same SVG with its colours written out."""
    return re.sub(r"var\(--([a-z-]+)\)", lambda m: palette[m[1]], svg)


def running_accuracy(right: np.ndarray, window: int) -> np.ndarray:
    """Share of right answers among the last `window` at each place, fewer at the start."""
    total = np.concatenate(([0], np.cumsum(right)))
    end = np.arange(1, len(right) + 1)
    begin = np.maximum(end - window, 0)
    return (total[end] - total[begin]) / (end - begin)


def window_of(samples: int) -> int:
    """Samples that one point of the curve averages: 30, fewer or more for odd lengths."""
    return max(min(30, -(-samples // 3)), samples // 50, 1)


def class_names(classes: int, names: Sequence[str] = ()) -> list[str]:
    """A short name for each class: as given, else its number."""
    given = [str(name) for name in names] if len(names) == classes else map(str, range(classes))
    return [n if len(n) <= NAME_CHARACTERS else n[:NAME_CHARACTERS - 1] + "…" for n in given]


def accuracy_curve(records: np.ndarray, classes: int, new: Sequence[int] = (),
                   names: Sequence[str] = ()) -> str:
    """Test-then-train accuracy over the samples, and below it which class came when."""
    count = len(records)
    short = class_names(classes, names)
    row = min(11.0, 110 / classes)
    left, right, top, bottom = _margin(short, 36), WIDTH - 48, 30, 180
    strip = bottom + 30
    end = strip + row * classes
    step = (right - left) / max(count, 1)
    parts = [_text(0, 14, "right answers, %", fill="muted")]
    for percent in (0, 25, 50, 75, 100):
        y = bottom - (bottom - top) * percent / 100
        parts += [_line(left, y, right, y), _text(left - 6, y + 4, percent, "end", "muted")]
    parts += [_text(left, strip - 7, "class of each sample", fill="muted"),
              _rect(left, strip, right - left, end - strip, "panel")]
    for c in range(0, classes, _label_step(row, 11)):
        fill = "new" if c in new else "muted"
        parts.append(_text(left - 6, strip + row * (c + 0.5) + 4, short[c], "end", fill, 11))
    for tick in _ticks(count):
        x = left + tick * step
        parts += [_line(x, top, x, bottom), _line(x, end, x, end + 4),
                  _text(x, end + 17, f"{tick:,}", "middle", "muted")]
    parts.append(_text((left + right) / 2, end + 34, "samples", "middle", "muted"))
    if count:
        accuracy = running_accuracy(records["label"] == records["prediction"], window_of(count))
        parts += _curve(accuracy, window_of(count), left, right, top, bottom)
        parts += _arrivals(records["label"], classes, new, left, right, strip, row)
        said = (f"The mean over the last {window_of(count)} samples ends at "
                f"{accuracy[-1]:.0%} after {count:,} samples.")
    else:
        said = "No samples."
        parts.append(_text((left + right) / 2, (top + bottom) / 2, said, "middle", "muted"))
    return _svg(end + 42, "Accuracy while learning", said, parts)


def bars_before_after(before: Answers | None, after: Answers | None, classes: int,
                      new: Sequence[int] = (), names: Sequence[str] = ()) -> str:
    """Accuracy by class, or group, before and after learning; new ones are marked."""
    short = class_names(classes, names)
    row = max(6.0, min(24.0, 600 / classes))
    left, right, top = _margin(short, 24) + (32 if new else 0), WIDTH - 84, 32
    end = top + row * classes
    shares = [(fill, class_accuracy(answers, classes)) for fill, answers
              in (("before", before), ("old", after)) if answers is not None]
    parts = _legend(before is not None, after is not None, bool(new))
    for percent in (0, 25, 50, 75, 100):
        x = left + (right - left) * percent / 100
        parts += [_line(x, top, x, end),
                  _text(x, end + 16, percent, "middle", "muted")]
    parts.append(_text((left + right) / 2, end + 33, "right answers on test samples, %",
                       "middle", "muted"))
    bar = row * (0.36 if len(shares) == 2 else 0.6)
    labelled = set(range(0, classes, _label_step(row, 12.5)))
    said = []
    for c in range(classes):
        middle = top + row * (c + 0.5)
        values = [share[c] for _, share in shares]
        words = " → ".join(f"{100 * v:.0f}" for v in values if not np.isnan(v)) or "–"
        for i, (fill, share) in enumerate(shares):
            y = middle + bar * (i - len(shares) / 2)
            fill = "new" if fill == "old" and c in new else fill
            if share[c] > 0:
                parts.append(_rect(left, y, (right - left) * share[c], bar, fill))
        if c in labelled:
            parts += [_text(left - 6, middle + 4, short[c], "end"),
                      _text(right + 8, middle + 4, words, size=min(12, row + 4))]
            if c in new:
                parts.append(_text(0, middle + 4, "new", fill="new", weight="bold"))
        said.append(f"{short[c]}{' (new)' if c in new else ''}: {words or 'not tested'}")
    return _svg(end + 41, "Accuracy before and after, in percent",
                "; ".join(said) + ".", parts)


def confusion(labels: np.ndarray, predictions: np.ndarray, classes: int,
              names: Sequence[str] = ()) -> str:
    """Counts of each true class (row) against each answer, shaded by the share of the row."""
    short = class_names(classes, names)
    counts = confusion_counts(labels, predictions, classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    left, top = _margin(short, 0) + 24, 4
    cell = min((WIDTH - left - 4) / classes, 44.0)
    side = cell * classes
    left += (WIDTH - left - 4 - side) / 2
    widest = max(map(len, short))
    upright = widest > 3 and widest * CHARACTER > cell
    below = top + side + (_margin(short, 0) + 6 if upright else 18)
    parts = [_rect(left, top, side, side, "panel"), *_cells(shares, left, top, cell)]
    for r, c in np.argwhere(counts):
        size = min(12.0, cell * 1.5 / len(str(counts[r, c])))
        if cell >= 11 and size >= 5:
            fill = "on-shade" if shares[r, c] >= DARK_SHADE else "ink"
            parts.append(_text(left + cell * (c + 0.5), top + cell * (r + 0.5) + size * 0.35,
                               counts[r, c], "middle", fill, size))
    for c in range(0, classes, _label_step(cell, 12.5)):
        parts.append(_text(left - 6, top + cell * (c + 0.5) + 4, short[c], "end"))
    for c in range(0, classes, _label_step(cell, 12.5 if upright else widest * CHARACTER + 4)):
        x, y = left + cell * (c + 0.5), top + side
        parts.append(_text(x + 4, y + 6, short[c], "end", turn=-90) if upright
                     else _text(x, y + 15, short[c], "middle"))
    parts += [_text(left + side / 2, below + 14, "answer", "middle", "muted"),
              _text(left - _margin(short, 0) - 6, top + side / 2, "true class", "middle",
                    "muted", turn=-90)]
    right = int(np.trace(counts))
    return _svg(below + 22, "Confusion matrix",
                f"{right:,} of {int(counts.sum()):,} test samples lie on the diagonal.", parts)


def poster(title: Sequence[str], charts: Sequence[str], note: str) -> str:
    """A stand-alone SVG: lines of title, charts side by side, a note below them."""
    gap, line = 28, 21
    top = gap + line * len(title)
    heights = [float(re.search(r'viewBox="0 0 \d+ ([\d.]+)"', chart)[1]) for chart in charts]
    width, height = gap + (WIDTH + gap) * len(charts), top + max(heights) + 40
    parts = [_rect(0, 0, width, height, "paper")]
    parts += [_text(gap, gap + 6 + line * i, words, size=16, weight="bold")
              for i, words in enumerate(title)]
    for i, (chart, tall) in enumerate(zip(charts, heights, strict=True)):
        place = f'x="{gap + (WIDTH + gap) * i}" y="{top}" width="{WIDTH}" height="{_n(tall)}"'
        parts.append(chart.replace("<svg", f"<svg {place}", 1))
    parts.append(_text(gap, height - 14, note, fill="muted"))
    svg = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_n(height)}" '
           f'font-family="system-ui, sans-serif">{"".join(parts)}</svg>')
    return explicit(svg, LIGHT)


def confusion_counts(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Counts, (true class, answer); answers outside the classes are left out."""
    inside = (labels >= 0) & (labels < classes) & (predictions >= 0) & (predictions < classes)
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (labels[inside], predictions[inside]), 1)
    return counts


def class_accuracy(answers: Answers, classes: int) -> list[float]:
    """Share of right answers for each class, NaN where it has no samples."""
    labels, predictions = answers
    return [float(np.mean(predictions[labels == c] == c)) if np.any(labels == c) else np.nan
            for c in range(classes)]


def _curve(accuracy: np.ndarray, window: int, left: float, right: float, top: float,
           bottom: float) -> list[str]:
    """The line, pale while its window is not full, and its last value."""
    count = len(accuracy)
    at = np.unique(np.append(np.linspace(0, count - 1, 400).astype(int), window - 1))
    points = [(left + (right - left) * (i + 1) / count, bottom - (bottom - top) * accuracy[i])
              for i in at]
    full = int(np.searchsorted(at, window - 1))
    parts = []
    for some, opacity in ((points[:full + 1], 0.4), (points[full:], 1)):
        path = "M" + " ".join(f"{_n(x)} {_n(y)}" for x, y in some)
        parts.append(f'<path d="{path}" fill="none" stroke="var(--old)" stroke-width="2" '
                     f'stroke-linejoin="round" stroke-opacity="{opacity}"/>')
    x, y = points[-1]
    return [*parts, f'<circle cx="{_n(x)}" cy="{_n(y)}" r="3.5" fill="var(--old)"/>',
            _text(x + 7, y + 4, f"{100 * accuracy[-1]:.0f} %", weight="bold")]


def _arrivals(labels: np.ndarray, classes: int, new: Sequence[int], left: float, right: float,
              top: float, row: float) -> list[str]:
    """One row a class, with a mark where its samples came."""
    columns = max(1, min(len(labels), int(right - left)))
    width = (right - left) / columns
    bins = np.arange(len(labels)) * columns // len(labels)
    parts = []
    for c in range(classes):
        hit = np.unique(bins[labels == c])
        y = _n(top + row * (c + 0.5))
        runs = np.split(hit, np.flatnonzero(np.diff(hit) > 1) + 1) if len(hit) else []
        path = "".join(f"M{_n(left + run[0] * width)} {y}h{_n(len(run) * width)}" for run in runs)
        if path:
            parts.append(f'<path d="{path}" stroke="var(--{"new" if c in new else "old"})" '
                         f'stroke-width="{_n(row * 0.75)}"/>')
    return parts


def _cells(shares: np.ndarray, left: float, top: float, cell: float) -> list[str]:
    """Squares of a matrix, one path for each shade, and a frame around the diagonal."""
    levels = np.ceil(shares * SHADES).astype(int)
    gap = 1 if cell >= 6 else 0
    size = _n(cell - gap)
    parts = []
    for level in range(1, SHADES + 1):
        path = "".join(f"M{_n(left + cell * c)} {_n(top + cell * r)}h{size}v{size}h-{size}z"
                       for r, c in np.argwhere(levels == level))
        if path:
            parts.append(f'<path d="{path}" fill="var(--shade)" '
                         f'fill-opacity="{_n(level / SHADES, 2)}"/>')
    for i in range(len(shares)):
        at = cell * i
        parts.append(f'<rect x="{_n(left + at)}" y="{_n(top + at)}" width="{size}" '
                     f'height="{size}" fill="none" stroke="var(--muted)" stroke-width="0.8"/>')
    return parts


def _legend(before: bool, after: bool, new: bool) -> list[str]:
    """Coloured squares and words in one row."""
    last = "after" if before else "right answers"
    entries = [("before", "before")] * before + [("old", last)] * after
    entries += [("new", f"{last}, new")] * (after and new)
    parts, x = [], 0.0
    for fill, words in entries:
        parts += [_rect(x, 4, 11, 11, fill), _text(x + 16, 14, words)]
        x += 32 + len(words) * CHARACTER
    return parts


def _margin(names: Sequence[str], least: float) -> float:
    """Width that names take beside a chart."""
    return max(least, max(map(len, names)) * CHARACTER + 8)


def _label_step(row: float, label: float) -> int:
    """Every how many rows a label fits."""
    return next(step for step in (1, 2, 5, 10, 20, 50, 100, 10000) if step * row >= label)


def _ticks(count: int) -> list[int]:
    """Round numbers from 0 to `count`, six at most."""
    steps = (m * 10**e for e in range(12) for m in (1, 2, 5))
    step = next(s for s in steps if count <= 5 * s)
    return list(range(0, count + 1, step))


def _n(value: float, digits: int = 1) -> str:
    """A coordinate, short."""
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") or "0"


def _text(x: float, y: float, words: object, anchor: str = "start", fill: str = "ink",
          size: float = 12, weight: str = "normal", turn: int = 0) -> str:
    """A piece of text."""
    turned = f' transform="rotate({turn} {_n(x)} {_n(y)})"' if turn else ""
    bold = f' font-weight="{weight}"' if weight != "normal" else ""
    return (f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}" fill="var(--{fill})" '
            f'font-size="{_n(size)}"{bold}{turned}>{escape(words)}</text>')


def _line(x0: float, y0: float, x1: float, y1: float) -> str:
    """A line of the grid."""
    return (f'<line x1="{_n(x0)}" y1="{_n(y0)}" x2="{_n(x1)}" y2="{_n(y1)}" '
            f'stroke="var(--grid)"/>')


def _rect(x: float, y: float, width: float, height: float, fill: str) -> str:
    """A filled rectangle."""
    return (f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" '
            f'fill="var(--{fill})"/>')


def _svg(height: float, title: str, said: str, parts: Sequence[str]) -> str:
    """A chart with its text alternative."""
    return (f'<svg role="img" viewBox="0 0 {WIDTH} {_n(height)}" font-family="system-ui, '
            f'sans-serif"><title>{escape(title)}</title><desc>{escape(said)}</desc>'
            f'{"".join(parts)}</svg>')

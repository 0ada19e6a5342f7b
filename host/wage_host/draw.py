"""Charts of what a run learned, as text: pure functions that return inline SVG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from wage_host import svg
from wage_host.svg import number as n

NAME_CHARACTERS, TAIL = 10, 4  # longer class names are cut
SHADES = 20  # steps of a confusion matrix

Answers = tuple[np.ndarray, np.ndarray]  # labels, predictions


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
    """A short name for each class: as given, else its number.

    Of long names the ends are shown, too, where the beginnings are alike.
    """
    given = [str(name) for name in names] if len(names) == classes else map(str, range(classes))
    given = list(given)
    begin = NAME_CHARACTERS - 1
    heads = Counter(name[:begin] for name in given if len(name) > NAME_CHARACTERS)
    return [name if len(name) <= NAME_CHARACTERS else f"{name[:begin]}…"
            if heads[name[:begin]] == 1 else f"{name[:begin - TAIL]}…{name[-TAIL:]}"
            for name in given]


def accuracy_curve(records: np.ndarray, classes: int, new: Sequence[int] = (),
                   names: Sequence[str] = (), tests: Sequence[tuple[int, float]] = ()) -> str:
    """Test-then-train accuracy over the samples, and below it which class came when.

    tests: of each evaluation at which sample it was, and its share of right answers.
    """
    count = len(records)
    short = class_names(classes, names)
    row = min(11.0, 110 / classes)
    left, right, top, bottom = svg.margin(short, 36), svg.WIDTH - 48, 30, 180
    strip = bottom + 30
    end = strip + row * classes
    step = (right - left) / max(count, 1)
    parts = [*grid(left, right, top, bottom), *_curve_legend(bool(tests))]
    parts += [svg.text(left, strip - 7, "class of each sample", fill="muted"),
              svg.rect(left, strip, right - left, end - strip, "panel")]
    for c in range(0, classes, svg.label_step(row, 11)):
        fill = "new-text" if c in new else "muted"
        parts.append(svg.text(left - 6, strip + row * (c + 0.5) + 4, short[c], "end", fill, 11))
    parts += sample_axis(count, left, step, top, bottom, end)
    if count:
        accuracy = running_accuracy(records["label"] == records["prediction"], window_of(count))
        parts += _curve(accuracy, window_of(count), left, right, top, bottom)
        parts += [_diamond(left + step * min(max(at, 0), count), bottom - (bottom - top) * share)
                  for at, share in tests]
        parts += _arrivals(records["label"], classes, new, left, right, strip, row)
        said = (f"The mean over the last {window_of(count)} samples ends at "
                f"{accuracy[-1]:.0%} after {count:,} samples.")
    else:
        said = "No samples."
        parts.append(svg.text((left + right) / 2, (top + bottom) / 2, said, "middle", "muted"))
    return svg.chart(end + 42, "Accuracy while learning", said, parts)


def bars_before_after(before: Answers | None, after: Answers | None, classes: int,
                      new: Sequence[int] = (), names: Sequence[str] = ()) -> str:
    """Accuracy by class, or group, before and after learning; new ones are marked."""
    last = "after" if before is not None else "right answers"
    series = [(fill, said, class_accuracy(answers, classes)) for fill, said, answers
              in (("was", "before", before), ("old", last, after)) if answers is not None]
    return bars(class_names(classes, names), series, new)


def bars(names: Sequence[str], series: Sequence[tuple[str, str, Sequence[float]]],
         new: Sequence[int], title: str = "Accuracy before and after, in percent",
         digits: int = 0, axis: str = "right answers on test samples, %") -> str:
    """Shares as bars. series: colour, name and the share of each row, NaN where there is none.

    new: the rows that are marked, and whose bars of the colour `old` have another.
    """
    count = len(names)
    row = max(6.0, min(24.0, 600 / count))
    left, right, top = svg.margin(names, 24) + (32 if new else 0), svg.WIDTH - 84 - 24 * digits, 32
    end = top + row * count
    parts = _legend(series, bool(new))
    for percent in (0, 25, 50, 75, 100):
        x = left + (right - left) * percent / 100
        parts += [svg.line(x, top, x, end),
                  svg.text(x, end + 16, percent, "middle", "muted")]
    parts.append(svg.text((left + right) / 2, end + 33, axis, "middle", "muted"))
    bar = row * (0.36 if len(series) == 2 else 0.6)
    labelled = set(range(0, count, svg.label_step(row, 12.5)))
    said = []
    for c in range(count):
        middle = top + row * (c + 0.5)
        values = [shares[c] for _, _, shares in series]
        words = " → ".join(f"{100 * v:.{digits}f}" for v in values if not np.isnan(v)) or "–"
        for i, (fill, _, shares) in enumerate(series):
            y = middle + bar * (i - len(series) / 2)
            fill = "new" if fill == "old" and c in new else fill
            if shares[c] > 0:
                parts.append(svg.rect(left, y, (right - left) * shares[c], bar, fill))
        if c in labelled:
            parts += [svg.text(left - 6, middle + 4, names[c], "end"),
                      svg.text(right + 8, middle + 4, words, size=min(12, row + 4))]
            if c in new:
                parts.append(svg.text(0, middle + 4, "new", fill="new-text", weight="bold"))
        said.append(f"{names[c]}{' (new)' if c in new else ''}: {words}")
    return svg.chart(end + 41, title, "; ".join(said) + ".", parts)


def confusion(labels: np.ndarray, predictions: np.ndarray, classes: int,
              names: Sequence[str] = ()) -> str:
    """Counts of each true class (row) against each answer, shaded by the share of the row."""
    short = class_names(classes, names)
    counts = confusion_counts(labels, predictions, classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    left, top = svg.margin(short, 0) + 24, 4
    cell = min((svg.WIDTH - left - 4) / classes, 44.0)
    side = cell * classes
    left += (svg.WIDTH - left - 4 - side) / 2
    widest = max(map(len, short))
    upright = widest > 3 and widest * svg.CHARACTER > cell
    below = top + side + (svg.margin(short, 0) + 6 if upright else 18)
    parts = [svg.rect(left, top, side, side, "panel"),
             *cells(shares, left, top, cell, cell, [(i, i) for i in range(classes)])]
    for r, c in np.argwhere(counts):
        size = min(12.0, cell * 1.5 / len(str(counts[r, c])))
        if cell >= 11 and size >= 5:
            parts.append(svg.text(left + cell * (c + 0.5), top + cell * (r + 0.5) + size * 0.35,
                                  counts[r, c], "middle", size=size))
    for c in range(0, classes, svg.label_step(cell, 12.5)):
        parts.append(svg.text(left - 6, top + cell * (c + 0.5) + 4, short[c], "end"))
    wide = 12.5 if upright else widest * svg.CHARACTER + 4
    for c in range(0, classes, svg.label_step(cell, wide)):
        x, y = left + cell * (c + 0.5), top + side
        parts.append(svg.text(x + 4, y + 6, short[c], "end", turn=-90) if upright
                     else svg.text(x, y + 15, short[c], "middle"))
    parts += [svg.text(left + side / 2, below + 14, "answer", "middle", "muted"),
              svg.text(left - svg.margin(short, 0) - 6, top + side / 2, "true class", "middle",
                       "muted", turn=-90)]
    right = int(np.trace(counts))
    return svg.chart(below + 22, "Confusion matrix",
                     f"{right:,} of {int(counts.sum()):,} samples lie on the diagonal.", parts)


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


def grid(left: float, right: float, top: float, bottom: float) -> list[str]:
    """Level lines at 0, 25, …, 100 %, and what they are."""
    parts = [svg.text(0, 14, "right answers, %", fill="muted")]
    for percent in (0, 25, 50, 75, 100):
        y = bottom - (bottom - top) * percent / 100
        parts += [svg.line(left, y, right, y), svg.text(left - 9, y + 4, percent, "end", "muted")]
    return parts


def sample_axis(count: int, left: float, step: float, top: float, bottom: float,
                end: float | None = None) -> list[str]:
    """Upright lines at round numbers of samples; end: of what is below the chart."""
    end = bottom if end is None else end
    middle = left + max(count, 1) * step / 2
    parts = [svg.text(middle, end + 34, "samples", "middle", "muted")]
    for tick in svg.ticks(count):
        x = left + tick * step
        parts += [svg.line(x, top, x, bottom), svg.line(x, end, x, end + 4),
                  svg.text(x, end + 17, f"{tick:,}", "middle", "muted")]
    return parts


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
        path = "M" + " ".join(f"{n(x)} {n(y)}" for x, y in some)
        parts.append(f'<path d="{path}" fill="none" stroke="var(--old)" stroke-width="2" '
                     f'stroke-linejoin="round" stroke-opacity="{opacity}"/>')
    x, y = points[-1]
    return [*parts, f'<circle cx="{n(x)}" cy="{n(y)}" r="3.5" fill="var(--old)"/>',
            svg.text(x + 7, y + 4, f"{100 * accuracy[-1]:.0f} %", weight="bold")]


def _curve_legend(tests: bool) -> list[str]:
    """What line and diamonds are, where there are both."""
    if not tests:
        return []
    x = svg.WIDTH - 48
    return [f'<path d="M{x - 184} 10h16" stroke="var(--old)" stroke-width="2"/>',
            svg.text(x - 164, 14, "each sample"), _diamond(x - 72, 10),
            svg.text(x - 62, 14, "test samples")]


def _diamond(x: float, y: float) -> str:
    """The mark of an evaluation."""
    return (f'<path d="M{n(x - 5)} {n(y)}L{n(x)} {n(y - 5)}L{n(x + 5)} {n(y)}L{n(x)} {n(y + 5)}z" '
            'fill="var(--paper)" stroke="var(--ink)" stroke-width="1.6"/>')


def _arrivals(labels: np.ndarray, classes: int, new: Sequence[int], left: float, right: float,
              top: float, row: float) -> list[str]:
    """One row a class, with a mark where its samples came."""
    columns = max(1, min(len(labels), int(right - left)))
    width = (right - left) / columns
    bins = np.arange(len(labels)) * columns // len(labels)
    parts = []
    for c in range(classes):
        hit = np.unique(bins[labels == c])
        y = n(top + row * (c + 0.5))
        runs = np.split(hit, np.flatnonzero(np.diff(hit) > 1) + 1) if len(hit) else []
        path = "".join(f"M{n(left + run[0] * width)} {y}h{n(len(run) * width)}" for run in runs)
        if path:
            parts.append(f'<path d="{path}" stroke="var(--{"new" if c in new else "old"})" '
                         f'stroke-width="{n(row * 0.75)}"/>')
    return parts


def cells(shares: np.ndarray, left: float, top: float, width: float, height: float,
          framed: Sequence[tuple[int, int]]) -> list[str]:
    """Cells (row, column) of a matrix, one path for each shade, and frames around some."""
    levels = np.ceil(np.nan_to_num(shares) * SHADES).astype(int)
    gap = 1 if min(width, height) >= 6 else 0
    wide, high = n(width - gap), n(height - gap)
    parts = []
    for level in range(1, SHADES + 1):
        path = "".join(f"M{n(left + width * c)} {n(top + height * r)}h{wide}v{high}h-{wide}z"
                       for r, c in np.argwhere(levels == level))
        if path:
            parts.append(f'<path d="{path}" fill="var(--shade)" '
                         f'fill-opacity="{n(level / SHADES, 2)}"/>')
    for r, c in framed:
        parts.append(f'<rect x="{n(left + width * c)}" y="{n(top + height * r)}" width="{wide}" '
                     f'height="{high}" fill="none" stroke="var(--muted)" stroke-width="0.8"/>')
    return parts


def _legend(series: Sequence[tuple[str, str, Sequence[float]]], new: bool) -> list[str]:
    """Coloured squares and words in one row."""
    entries = [(fill, said) for fill, said, _ in series]
    entries += [("new", f"{said}, new") for fill, said in entries if new and fill == "old"]
    parts, x = [], 0.0
    for fill, words in entries:
        parts += [svg.rect(x, 4, 11, 11, fill), svg.text(x + 16, 14, words)]
        x += 32 + len(words) * svg.CHARACTER
    return parts

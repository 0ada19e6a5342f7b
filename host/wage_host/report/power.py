"""Charts of power: the whole run with its gaps, some steps with their phases, shares of phases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wage_host import svg
from wage_host.report import words
from wage_host.svg import number as n

PHASES = {"receive": "fourth", "forward": "old", "backward": "new", "update": "third",
          "save": "fifth", "idle": "before"}  # and the colour of each
BROAD = 720.0  # width on anything wider than a phone
LEFT, TOP, HEIGHT = 44.0, 30.0, 150.0
STRIP = 7  # height of the phases below a trace
HATCH = 7.0  # between two lines of what was not measured

Gap = tuple[float, float, str]  # begin and end in s, and a word
Span = tuple[float, float, str]  # begin and end in s, and the phase


def colour(phase: str) -> str:
    """Of a phase; of one that nobody told, the same as of text beside."""
    return PHASES.get(phase, "muted")


def both(draw, *given: object) -> str:
    """A chart for wide screens and paper, and one for phones; the page shows one of them."""
    broad, narrow = (draw(*given, width).replace("<svg", f'<svg class="{kind}"', 1)
                     for width, kind in ((BROAD, "broad"), (float(svg.WIDTH), "narrow")))
    return broad + narrow


def run_chart(curve: np.ndarray, seconds: float, gaps: Sequence[Gap], width: float) -> str:
    """Power over a whole run. curve: least, mean and most watts of equal parts of the time."""
    right = width - 12
    columns = int(min(len(curve), (right - LEFT) / 1.5))
    low, mean, high = _fewer(curve, columns)
    ends = max([seconds, *(end for _, end, _ in gaps)])
    frame = _Frame(right, 0.0, ends, float(np.nanmax(high, initial=0.0)))
    parts = frame.axes()
    at = (np.arange(columns) + 0.5) * seconds / max(columns, 1)
    for stretch in _stretches(at, mean, gaps):
        over = [(at[i], high[i]) for i in stretch] + [(at[i], low[i]) for i in reversed(stretch)]
        parts.append(f'<path d="{frame.path(over)}z" fill="var(--old)" fill-opacity="0.3"/>')
        parts.append(frame.line([(at[i], mean[i]) for i in stretch], "old", 1.6))
    for begin, end, word in _joined(gaps, 2 * frame.end / (right - LEFT)):
        parts += frame.gap(begin, end, word)
    whole = float(np.nanmean(mean)) if columns else 0.0
    said = f"{words.power(whole)} on average over {words.duration(seconds)}"
    said += f"; {words.count(len(gaps), 'gap')}" if gaps else ""
    return frame.chart("Power over the run", f"{said}.", parts)


def steps_chart(samples: np.ndarray, spans: Sequence[Span], width: float) -> str:
    """Power of a few steps with their phases. samples: (k, 2) seconds and watts.

    A narrow chart shows as much of the time as fits at the scale of a broad one.
    """
    right = width - 12
    room = (right - LEFT) / (BROAD - 12 - LEFT)
    samples = samples[: max(2, int(len(samples) * room))]
    begin, end = float(samples[0, 0]), float(samples[-1, 0])
    columns = int(min(len(samples), right - LEFT))
    frame = _Frame(right, begin, end, float(samples[:, 1].max()))
    parts = []
    for name in shown(spans):
        edges = [(frame.x(max(first, begin)), frame.x(min(last, end)))
                 for first, last, phase in spans if phase == name]
        pieces = [(n(x0, 2), n(x1 - x0, 2)) for x0, x1 in edges if x1 > x0]
        band = "".join(f"M{x} {n(TOP)}h{w}v{n(HEIGHT)}h-{w}z" for x, w in pieces)
        strip = "".join(f"M{x} {n(TOP + HEIGHT + STRIP / 2)}h{w}" for x, w in pieces)
        parts.append(f'<path d="{band}" fill="var(--{colour(name)})" fill-opacity="0.16"/>')
        parts.append(f'<path d="{strip}" stroke="var(--{colour(name)})" stroke-width="{STRIP}"/>')
    parts += frame.axes(below=STRIP)
    cuts = np.linspace(0, len(samples), columns, endpoint=False).astype(int)
    low, high = (f.reduceat(samples[:, 1], cuts) for f in (np.minimum, np.maximum))
    last = np.append(cuts[1:], len(samples)) - 1
    falls = samples[cuts, 1] > samples[last, 1]
    line = [(samples[i, 0], value) for i, a, b, falling in zip(cuts, low, high, falls, strict=True)
            for value in ((b, a) if falling else (a, b) if a != b else (a,))]
    parts.append(frame.line(line, "ink", 1.2))
    said = f"{words.duration(end - begin)} with the phases {words.listed(shown(spans))}."
    return frame.chart("Power of a few steps", said, parts, STRIP)


def shown(spans: Sequence[Span]) -> list[str]:
    """The phases that there are, in the order of PHASES."""
    found = {phase for _, _, phase in spans}
    return [phase for phase in PHASES if phase in found] + sorted(found - set(PHASES))


def shares_chart(rows: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> str:
    """Bars of shares of phases. rows: what is shared, and of each phase how much of it."""
    left, right, top, bar, row = 64.0, svg.WIDTH - 4.0, 4.0, 24.0, 36.0
    parts, said = [], []
    for number, (what, values) in enumerate(rows):
        total, x, y = sum(value for _, value in values) or 1.0, left, top + row * number
        parts.append(svg.text(left - 8, y + bar / 2 + 4, what, "end"))
        for phase, value in values:
            wide = (right - left) * value / total
            parts.append(svg.rect(x, y, wide, bar, colour(phase)))
            x += wide
        said.append(f"{what}: " + ", ".join(f"{phase} {value / total:.0%}"
                                            for phase, value in values))
    for share in (0, 25, 50, 75, 100):
        x = left + (right - left) * share / 100
        anchor = "end" if share == 100 else "middle"
        parts.append(svg.text(x, top + row * len(rows) + 6, f"{share} %", anchor, "muted"))
    return svg.chart(top + row * len(rows) + 12, "Shares of the phases", "; ".join(said) + ".",
                     parts)


def _fewer(curve: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least, mean and most of so many columns of a curve."""
    if not columns:
        return (np.empty(0),) * 3
    cuts = np.linspace(0, len(curve), columns, endpoint=False).astype(int)
    counts = np.diff(np.append(cuts, len(curve)))
    return (np.minimum.reduceat(curve[:, 0], cuts),
            np.add.reduceat(curve[:, 1].astype(float), cuts) / counts,
            np.maximum.reduceat(curve[:, 2], cuts))


def _joined(gaps: Sequence[Gap], nearest: float) -> list[Gap]:
    """Gaps in order; those nearer to each other than so many seconds are one."""
    out: list[Gap] = []
    for begin, end, word in sorted(gaps):
        if out and begin - out[-1][1] < nearest:
            first, last, before = out[-1]
            out[-1] = (first, max(last, end), before if last - first > end - begin else word)
        else:
            out.append((begin, end, word))
    return out


def _stretches(at: np.ndarray, mean: np.ndarray, gaps: Sequence[Gap]) -> list[list[int]]:
    """Indexes of columns that follow each other, without those in a gap or without a value."""
    keep = np.isfinite(mean)
    for begin, end, _ in gaps:
        keep &= (at < begin) | (at >= end)
    hit = np.flatnonzero(keep)
    return [part.tolist() for part in np.split(hit, np.flatnonzero(np.diff(hit) > 1) + 1)
            if len(part)]


class _Frame:
    """Axes of power in W, with the unit that suits it, over time in s."""

    def __init__(self, right: float, begin: float, end: float, most: float):
        self.right, self.begin, self.end = right, begin, max(end, begin + 1e-9)
        self.unit, self.factor = words.power_unit(most)
        self.levels = svg.round_ticks(most * self.factor or 1.0)
        self.most = self.levels[-1] / self.factor

    def x(self, seconds: float) -> float:
        """Where a time is."""
        share = (seconds - self.begin) / (self.end - self.begin)
        return LEFT + (self.right - LEFT) * share

    def y(self, watts: float) -> float:
        """Where a power is."""
        return TOP + HEIGHT * (1 - watts / self.most)

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        """Points (s, W) as a path."""
        return "M" + " ".join(f"{n(self.x(t))} {n(self.y(w))}" for t, w in points)

    def line(self, points: Sequence[tuple[float, float]], fill: str, width: float) -> str:
        """A line through points (s, W)."""
        return (f'<path d="{self.path(points)}" fill="none" stroke="var(--{fill})" '
                f'stroke-width="{width}" stroke-linejoin="round"/>')

    def axes(self, below: float = 0.0) -> list[str]:
        """Level lines with numbers, times, and the unit."""
        parts = [svg.text(0, 14, f"power, {self.unit}", fill="muted")]
        for level in self.levels:
            y = self.y(level / self.factor)
            parts += [svg.line(LEFT, y, self.right, y),
                      svg.text(LEFT - 6, y + 4, f"{level:g}", "end", "muted")]
        unit, factor = words.time_unit(self.end - self.begin)
        for tick in svg.round_ticks((self.end - self.begin) * factor):
            x = self.x(self.begin + tick / factor)
            if x <= self.right + 0.5:
                anchor = "end" if x > self.right - 12 else "middle"
                parts.append(svg.text(min(x, self.right), TOP + HEIGHT + below + 16, f"{tick:g}",
                                      anchor, "muted"))
        parts.append(svg.text((LEFT + self.right) / 2, TOP + HEIGHT + below + 33,
                              f"time, {unit}", "middle", "muted"))
        return parts

    def gap(self, begin: float, end: float, word: str) -> list[str]:
        """What was not measured: hatched, with its word where there is room."""
        x0 = self.x(max(begin, self.begin))
        x1 = max(self.x(min(end, self.end)), x0 + 1.5)
        x1 = min(x1, self.right)
        lines = "".join(
            f"M{n(max(x - HEIGHT, x0))} {n(TOP + HEIGHT - max(0.0, x0 - (x - HEIGHT)))}"
            f"L{n(min(x, x1))} {n(TOP + max(0.0, x - x1))}"
            for x in np.arange(x0 + HATCH, x1 + HEIGHT, HATCH))
        parts = [f'<rect x="{n(x0)}" y="{n(TOP)}" width="{n(x1 - x0)}" height="{n(HEIGHT)}" '
                 'fill="var(--panel)"/>',
                 f'<path d="{lines}M{n(x0)} {n(TOP)}v{n(HEIGHT)}M{n(x1)} {n(TOP)}v{n(HEIGHT)}" '
                 'stroke="var(--new)" stroke-opacity="0.55" fill="none"/>']
        wide = len(word) * svg.CHARACTER + 8
        if wide < x1 - x0:
            middle = (x0 + x1) / 2
            parts += [svg.rect(middle - wide / 2, TOP + HEIGHT / 2 - 10, wide, 20, "paper"),
                      svg.text(middle, TOP + HEIGHT / 2 + 4, word, "middle", "new-text")]
        return parts

    def chart(self, title: str, said: str, parts: Sequence[str], below: float = 0.0) -> str:
        """The whole of it."""
        return svg.chart(TOP + HEIGHT + below + 42, title, said, parts, self.right + 12)

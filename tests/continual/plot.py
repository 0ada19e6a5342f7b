"""A benchmark as a picture: what each strategy reaches, and how it goes on the way."""

# SPDX-License-Identifier: MIT

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from wage_host import svg

ROW, TOP = 24.0, 26.0
LEFT, RIGHT = 110.0, svg.WIDTH - 84.0  # of the bars
CURVE_LEFT, CURVE_RIGHT, CURVE_BOTTOM = 36.0, svg.WIDTH - 84.0, 190.0
COLOURS = {
    "naive": "before", "replay": "old", "inputs": "old", "head": "old", "biases": "old",
    "means": "old", "joint": "muted", "twin": "new",
}  # fmt: skip

Series = list[tuple[str, np.ndarray]]  # a strategy's name, its mean matrix


def colour(strategy: str) -> str:
    """Of a strategy, by its kind."""
    return COLOURS[strategy.partition("-")[0]]


def scale(parts: list[str], x_of: Sequence[float], bottom: float) -> None:
    """Upright lines at 0, 25, …, 100 %."""
    for percent, x in zip((0, 25, 50, 75, 100), x_of, strict=True):
        parts += [svg.line(x, TOP - 6, x, bottom)]
        parts += [svg.text(x, bottom + 16, percent, "middle", "muted")]


def bars(rows: list[dict[str, Any]]) -> str:
    """The average accuracy of each strategy, with its standard deviation over seeds."""
    bottom, width = TOP + ROW * len(rows), RIGHT - LEFT
    parts = [svg.text(0, 14, "average accuracy in the end, %", fill="muted")]
    scale(parts, [LEFT + width * k / 4 for k in range(5)], bottom)
    said = []
    for number, row in enumerate(rows):
        mean, sd, name = row["average_accuracy"], row["sd"] or 0.0, row["strategy"]
        y = TOP + ROW * number
        parts.append(svg.text(LEFT - 6, y + 15, name, "end"))
        parts.append(svg.rect(LEFT, y + 4, width * mean / 100, ROW - 8, colour(name)))
        low, high = (LEFT + width * min(100, max(0, mean + s)) / 100 for s in (-sd, sd))
        parts.append(
            f'<path d="M{low:.1f} {y + 12:.1f}H{high:.1f}" stroke="var(--ink)" stroke-width="2"/>'
        )
        parts.append(svg.text(RIGHT + 8, y + 15, f"{mean:.1f} ± {sd:.1f}"))
        said.append(f"{name} {mean:.1f}")
    return svg.chart(bottom + 24, "Average accuracy by strategy", "; ".join(said) + ".", parts)


def seen_so_far(matrix: np.ndarray, counts: Sequence[int]) -> list[float]:
    """After each experience, the accuracy on the tests of all so far, %."""
    after = matrix[1:]
    return [100 * float(np.average(r[: k + 1], weights=counts[: k + 1]))
            for k, r in enumerate(after)]  # fmt: skip


def curves(series: Series, counts: Sequence[int]) -> str:
    """The accuracy on what was seen so far, after each experience."""
    last = len(counts) - 1
    step, height = (CURVE_RIGHT - CURVE_LEFT) / last, CURVE_BOTTOM - TOP
    parts = [svg.text(0, 14, "accuracy on all experiences so far, %", fill="muted")]
    for percent in (0, 25, 50, 75, 100):
        y = CURVE_BOTTOM - height * percent / 100
        parts += [svg.line(CURVE_LEFT, y, CURVE_RIGHT, y)]
        parts += [svg.text(CURVE_LEFT - 6, y + 4, percent, "end", "muted")]
    for k in range(last + 1):
        parts.append(svg.text(CURVE_LEFT + k * step, CURVE_BOTTOM + 16, k + 1, "middle", "muted"))
    parts.append(
        svg.text((CURVE_LEFT + CURVE_RIGHT) / 2, CURVE_BOTTOM + 32, "experiences", "middle",
                   "muted")
    )  # fmt: skip
    said, labels = [], []
    for name, matrix in series:
        values = seen_so_far(matrix, counts)
        points = [(CURVE_LEFT + k * step, CURVE_BOTTOM - height * v / 100)
                  for k, v in enumerate(values)]  # fmt: skip
        path = "M" + " ".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f'<path d="{path}" fill="none" stroke="var(--{colour(name)})" '
                     'stroke-width="2" stroke-linejoin="round"/>')  # fmt: skip
        labels.append([points[-1][1], name])
        said.append(f"{name} ends at {values[-1]:.1f}")
    apart(labels)
    for y, name in labels:
        parts.append(svg.text(CURVE_RIGHT + 6, y + 4, name, fill=colour(name)))
    return svg.chart(CURVE_BOTTOM + 40, "Accuracy while experiences come", "; ".join(said) + ".",
                     parts)  # fmt: skip


def apart(labels: list[list], least: float = 14.0) -> None:
    """Moves names up until none lies on another."""
    labels.sort(key=lambda label: -label[0])
    for lower, upper in itertools.pairwise(labels):
        upper[0] = min(upper[0], lower[0] - least)


def picture(title: str, rows: list[dict[str, Any]], series: Series, counts: Sequence[int]) -> str:
    """Both charts side by side."""
    note = "Mean of the seeds; lines on bars: standard deviation. Measured on the host."
    return svg.poster([title], [bars(rows), curves(series, counts)], note)

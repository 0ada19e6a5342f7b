"""What data are, for people: shapes, range, classes and how many samples each has."""

import dataclasses
from collections import Counter
from typing import Any

import numpy as np

from wage_host.data.prepare import shape_text
from wage_host.data.raw import Raw
from wage_host.data.ready import Data
from wage_host.screen import table

BAR = 24  # characters of the largest class
CLASSES_SHOWN = 60
SHAPES_SHOWN = 8
UNEVEN = 5  # times as many samples in one class as in another deserve a word


@dataclasses.dataclass
class Range:
    """Least and largest value, over all samples, and the mean."""

    low: float = float("inf")
    high: float = float("-inf")
    total: float = 0.0
    count: int = 0

    def add(self, x: np.ndarray) -> None:
        """One more sample."""
        if x.size:
            self.low, self.high = min(self.low, x.min()), max(self.high, x.max())
            self.total += float(x.sum(dtype=np.float64))
            self.count += x.size

    def text(self) -> str:
        """For people."""
        return f"values {self.low:g} to {self.high:g}, mean {self.total / max(1, self.count):.4g}"


def summary(raw: Raw, data: Data | None = None) -> dict[str, Any]:
    """Of samples as they are, or of what pre-processing made of them (`data`)."""
    labels, names = (data.labels, data.names) if data else raw.numbered(None)
    shapes, values, kinds = Counter(), Range(), set()
    for x in data.x if data else raw.x:
        shapes[np.asarray(x).shape] += 1
        kinds.add(str(np.asarray(x).dtype))
        values.add(np.asarray(x))
    counts = Counter(labels.tolist())
    known = max(len(names), max(counts, default=-1) + 1) if min(counts, default=0) >= 0 else 0
    numbers = range(known) if known <= max(256, len(names)) else sorted(counts)
    return {
        "name": raw.name,
        "samples": len(labels),
        "shape_count": len(shapes),
        "shapes": {shape_text(shape): n for shape, n in shapes.most_common(SHAPES_SHOWN)},
        "type": ", ".join(sorted(kinds)),
        "low": float(values.low), "high": float(values.high),
        "range": values.text(),
        "seconds": [] if data or not raw.rates else _seconds(raw),
        "rates": [] if data else sorted(set(raw.rates)),
        "classes": {names[k] if k < len(names) else str(k): counts.get(k, 0) for k in numbers},
    }  # fmt: skip


def _seconds(raw: Raw) -> list[float]:
    lengths = [x.size / rate for x, rate in zip(raw.x, raw.rates, strict=True)]
    return [round(min(lengths), 3), round(max(lengths), 3)]


def lines(about: dict[str, Any]) -> list[str]:
    """summary() for people."""
    shapes = list(about["shapes"])
    count = about["shape_count"]
    shape = shapes[0] if count == 1 else f"{count} shapes, most {shapes[0]}"
    out = [f"{about['name']}: {about['samples']} samples of {shape}, {about['type']}"]
    if about["seconds"]:
        rates = " and ".join(map(str, about["rates"]))
        out.append(f"sound of {rates} Hz, {about['seconds'][0]} to {about['seconds'][1]} s long")
    out.append(about["range"])
    counts = about["classes"]
    most, least = max(counts.values()), min(counts.values())
    out.append(f"{len(counts)} classes, {least} to {most} samples each")
    rows = [
        (name, str(count), "#" * max(count > 0, round(BAR * count / most)))
        for name, count in list(counts.items())[:CLASSES_SHOWN]
    ]
    out += [f"  {row}" for row in table(rows, right=(1,))]
    if len(counts) > CLASSES_SHOWN:
        out.append(f"  and {len(counts) - CLASSES_SHOWN} more")
    if least == 0:
        out.append("note: a class has no sample yet")
    elif most > UNEVEN * least:
        out.append(f"note: uneven, {most / least:.0f} times as many of one class as of another")
    return out

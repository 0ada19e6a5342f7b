"""A live source: lines of CSV on standard input, each a sample as soon as it is there."""

import dataclasses
from collections.abc import Iterator
from typing import TextIO

import numpy as np

from wage_host._core import lib
from wage_host.core import Info, Sample
from wage_host.data import prepare, raw, ready, table
from wage_host.data.steps import check
from wage_host.errors import DataError
from wage_host.extras import Extras

NAME = "-"


@dataclasses.dataclass(frozen=True)
class Live:
    """What comes in on a text file; how to read it: label's column, steps, names of classes."""

    file: TextIO
    extras: Extras
    label: str | None = None
    name: str = NAME

    def __len__(self) -> int:
        return 0  # of which nothing is known before

    def crc(self) -> int:
        """Of data that nobody has seen yet."""
        return 0

    def samples(self, info: Info) -> Iterator[Sample]:
        """Each sample as the model takes it, as soon as its line, or its window's last, is read."""
        steps = self.extras.steps
        check(steps)
        fitted = bool(steps) and steps[-1].kind == lib.WAGE_NORMALISE
        for item in prepare.apply(steps, self._items()):
            x = ready.finished([item.x], steps, item.where)
            if x.dtype == np.int8 and not fitted and x.min() < 0:  # a file would be int8 as a whole
                raise DataError(
                    f"{item.where}: a live value is negative: live values are bytes, 0 to 255, "
                    "unless the model was trained with --prepare normalise"
                )
            one = ready.Data(item.where, x, np.array([item.label], np.int64), self.extras.names)
            yield ready.samples(one, info)[0]

    def _items(self) -> Iterator[prepare.Item]:
        number = {name: k for k, name in enumerate(self.extras.names)}
        lines = iter(self.file.readline, "")
        for row in table.rows(lines, "standard input", self.label):
            where = f"standard input, line {row.line}"
            label = raw.class_of(row.label, number, lambda where=where: where)
            yield prepare.Item(raw.hwc(np.array(row.values)), label, where)

"""CSV: rows of a label and values, from a file or as they come in live."""

import csv
import io
import itertools
import math
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from wage_host.data.raw import Raw
from wage_host.errors import DataError

LABEL = "label"  # what a label's column is called unless somebody says otherwise
INTEGER_MAX = 1 << 53
MISSING = ("", "na", "n/a", "null", "none")  # as programs write a value that is not there
TRUTH = {"true": 1, "false": 0}
SEPARATOR = re.compile(r"sep=.?")  # Excel's own first line
QUOTED = re.compile(r'"[^"]*"')
COMMA = re.compile(r"^([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)$")  # for the point, where ; is between
DECIMAL = re.compile(r"[+-]?\d{1,15}\.\d*")


class Row(NamedTuple):
    """One row: where it stood, its label as it is written, its values."""

    line: int
    label: str
    values: tuple[int | float, ...]


def standard_input() -> TextIO:
    """Standard input, in UTF-8 whatever the locale says."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="strict")
    return sys.stdin


def rows(lines: Iterable[str], name: str, label: str | None = None) -> Iterator[Row]:
    """Rows one by one, as soon as each is there; `label`: the column's name, in the header.

    Without `label`: the column that is called label, else the first. Columns without a name, as
    the numbers of rows that pandas writes, are left out.
    """
    at, header, width, left_out = 0, None, None, frozenset()
    try:
        lines, mark = _opened(iter(lines))
    except UnicodeDecodeError:
        raise DataError(f"{name}, line 1: no text in UTF-8: save it as such") from None
    reader = csv.reader(lines, strict=True, delimiter=mark)
    while True:
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except UnicodeDecodeError:
            at_line = reader.line_num + 1
            raise DataError(f"{name}, line {at_line}: no text in UTF-8: save it as such") from None
        except csv.Error as error:
            raise DataError(f"{name}, line {reader.line_num}: no CSV ({error})") from None
        where = f"{name}, line {reader.line_num}"
        if not any(cells) or (width is None and SEPARATOR.fullmatch(mark.join(cells))):
            continue
        if width is None:
            width = len(cells)
            if width < 2:
                raise DataError(f"{where}: one cell only: write label,value,value,… in each row")
            if _is_header(cells):
                header = cells
                at = _column(header, label, name)
                left_out = frozenset(k for k, cell in enumerate(cells) if not cell and k != at)
                continue
            if label is not None:
                raise DataError(f"{name} has no header, so no column '{label}': write one")
        if len(cells) != width:
            raise DataError(
                f"{where}: {len(cells)} cells, not {width} as in the first row: make all alike"
            )
        if mark != ",":
            cells = [COMMA.sub(r"\1.\2", cell) for cell in cells]
        values = tuple(
            _value(cell, where, header[k] if header else f"{k + 1}", header is not None)
            for k, cell in enumerate(cells)
            if k != at and k not in left_out
        )
        yield Row(reader.line_num, _label(cells[at], where, header, at), values)


def _opened(lines: Iterator[str]) -> tuple[Iterator[str], str]:
    """The lines, and the character between their cells, which the first one shows."""
    first = next(lines, "").removeprefix("\ufeff")
    mark = next((m for m in ";\t" if m in QUOTED.sub("", first)), ",")
    return itertools.chain([first] if first else [], lines), mark


def _label(cell: str, where: str, header: list[str] | None, at: int) -> str:
    """A label; 2.0 is 2. DataError for other decimals, which are a value."""
    if not cell:
        raise DataError(f"{where}: the label is empty: write one, or leave the row out")
    if not DECIMAL.fullmatch(cell):
        return cell
    if float(cell) != int(float(cell)):
        column = header[at] if header else f"{at + 1}"
        raise DataError(
            f"{where}: column {column} is {cell}, no label: name the columns in the first row, and "
            "say with --label which one holds the labels"
        )
    return str(int(float(cell)))


def _is_header(cells: list[str]) -> bool:
    names = [cell for cell in cells if cell]
    return cells[0].lower() == LABEL or not any(map(_is_number, names))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _column(header: list[str], label: str | None, name: str) -> int:
    """Where the label stands."""
    if label is None:
        lower = [cell.lower() for cell in header]
        return lower.index(LABEL) if LABEL in lower else 0
    if header.count(label) != 1:
        how = "no column" if label not in header else "more than one column"
        raise DataError(f"{name} has {how} '{label}': they are {', '.join(header)}")
    return header.index(label)


def _value(cell: str, where: str, column: str, named: bool) -> int | float:
    """A number; whole ones exactly."""
    try:
        if "_" in cell or not cell.isascii():  # though Python reads 1_000
            raise ValueError(cell)
        value = int(cell) if cell.lstrip("+-").isdigit() else float(cell)
    except ValueError:
        return _word(cell, where, column, named)
    if not math.isfinite(value) or abs(value) > INTEGER_MAX:
        raise DataError(
            f"{where}: column {column} is {cell}: leave out rows with values that are missing or "
            "far too large"
        )
    return value


def _word(cell: str, where: str, column: str, named: bool) -> int:
    """What stands for a number: True and False; DataError for anything else."""
    if cell.lower() in MISSING:
        raise DataError(f"{where}: column {column} is empty: fill it in, or leave the row out")
    if cell.lower() in TRUTH:
        return TRUTH[cell.lower()]
    where_labels = f"say --label '{column}'" if named else "put it first"
    raise DataError(
        f"{where}: column {column} is '{cell}', no number: leave the column out, or "
        f"{where_labels} if these are the labels"
    )


def load(path: Path, label: str | None = None) -> Raw:
    """All rows of a file: each (values), int64, or float64 when one has decimals."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        return collect(rows(file, str(path), label), path.name)


def collect(found: Iterable[Row], name: str) -> Raw:
    """Rows in one table."""
    some = list(found)
    values = [row.values for row in some]
    whole = all(isinstance(v, int) for row in values for v in row)
    width = len(values[0]) if values else 0
    x = np.array(values, np.int64 if whole else np.float64).reshape(len(some), width)
    lines = [row.line for row in some]
    return Raw(name, x, [row.label for row in some], place=lambda k: f"{name}, line {lines[k]}")

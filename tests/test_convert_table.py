"""docs/convert.md and docs/convert.json are what is measured, and within what they promise."""

# SPDX-License-Identifier: MIT

import json
import os
from typing import Any

import pytest
from converted import sets, table
from native import ROOT
from wage_host.errors import DataError

ROWS = json.loads((table.DOCS / "convert.json").read_text())["rows"]
MOST_LOST = 1.0  # points of accuracy
WANTED = {
    ("mlp", "fashion-mnist"), ("lenet", "fashion-mnist"), ("mobile", "cifar10-jpeg"),
    ("separable", "cifar10-jpeg"), ("sound", "spoken"), ("pictures", "fashion-mnist"),
    ("sounds", "spoken"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def data_beside_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where data sets are looked for when WAGE_DATA names no folder."""
    if not os.environ.get("WAGE_DATA"):
        monkeypatch.setenv("WAGE_DATA", str(ROOT.parent / "shared/data"))


def test_page_is_made_of_the_rows() -> None:
    assert (table.DOCS / "convert.md").read_text(encoding="utf-8") == table.page(ROWS)


def test_rows_keep_what_was_promised() -> None:
    assert {(row["name"], row["data"]) for row in ROWS} == WANTED
    formats = {row["format"].split(",")[0] for row in ROWS}
    assert formats == {"onnx", "safetensors", "npz", "tflite", "tflite int8"}
    for row in ROWS:
        assert row["samples"] == (300 if row["data"] == "spoken" else 10_000)
        assert row["quantised"] >= row["float"] - MOST_LOST, row
        assert row["layers_below_25_db"] == 0, row


def compare(found: dict[str, Any]) -> None:
    """A row measured now, and the one of the page: floats differ a little between computers."""
    (row,) = (r for r in ROWS if (r["name"], r["format"]) == (found["name"], found["format"]))
    near = {"float": 0.5, "quantised": 0.5, "least_sqnr_db": 1.0, "last_sqnr_db": 1.0}
    for name, value in row.items():
        if name in near:
            assert abs(found[name] - value) <= near[name], (name, found, row)
        elif name != "convert_cpu_s":
            assert found[name] == value, (name, found, row)


@pytest.mark.parametrize(
    "row", [row for row in table.keras() if row.data == "spoken"], ids=lambda row: row.format
)
def test_fixtures_are_measured_again(row: table.Row) -> None:
    try:
        sets.load(row.data)
    except (DataError, OSError) as error:
        pytest.skip(f"no data: {error}")
    compare(table.measure(row, table.fixture(row)))


@pytest.mark.soak
@pytest.mark.timeout(5400)
def test_every_row_is_measured_again() -> None:
    pytest.importorskip("torch")
    from converted import __main__ as whole

    try:
        for name in {row["data"] for row in ROWS}:
            sets.load(name)
    except (DataError, OSError) as error:
        pytest.skip(f"no data: {error}")
    whole.BUILD.mkdir(parents=True, exist_ok=True)
    for row in whole.rows():
        compare(whole.measure(row))

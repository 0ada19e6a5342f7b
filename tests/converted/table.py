"""Rows of docs/convert.md: what they are, how they are measured, the page that they make."""

# SPDX-License-Identifier: MIT

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
from wage_host import pack
from wage_host.convert import model, report
from wage_host.core import Config
from wage_host.data import Data

from . import sets

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
SAMPLES = 512  # to calibrate with
LEAST_DB = 25.0
KERAS = {
    "pictures": ("fashion-mnist", "separable, a residual sum, ReLU6, Keras", (0.0,), (1.0,)),
    "sounds": ("spoken", "1-D convolutions, Keras", (0.5,), (0.25,)),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    format: str
    title: str
    data: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def key(self) -> str:
        """What no other line has."""
        return f"{self.name}, {self.format}"


def keras() -> list[Row]:
    """The lines of the fixtures."""
    return [
        Row(name, f, title, data, mean, std)
        for name, (data, title, mean, std) in KERAS.items()
        for f in ("tflite", "tflite int8")
    ]


def fixture(row: Row) -> Path:
    """The TFLite file of a line of keras()."""
    return HERE / f"{row.name}{'-int8' if 'int8' in row.format else ''}.tflite"


def measure(
    row: Row,
    path: Path,
    theirs: float | None = None,
    described: tuple[str | None, str | None] = (None, None),
) -> dict[str, Any]:
    """Converts and measures. theirs: accuracy of the model itself; None: of its layers in NumPy.

    described: its layers and their names, of files of arrays.
    """
    (x, labels), (test_x, test_labels) = sets.load(row.data)
    some = np.random.default_rng(0).permutation(len(x))[:SAMPLES]
    known = Data(row.data, x[some], labels[some].astype(np.int64))
    test = Data(f"{row.data}, test", test_x, test_labels.astype(np.int64))
    started = time.process_time()
    graph = model.read(path, *described)
    imp = model.imported(path, graph, known, model.Input(None, row.mean, row.std), model.Wish())
    config = Config(1, -5, 3, imp.gain_shift, 0)
    blob = pack.blob(imp.network, "table", config, imp.train_last, 0, [])
    seconds = time.process_time() - started
    exact, whole = report.accuracies(imp, blob, test)
    lost = report.losses(imp, test)
    return {
        "model": row.title,
        "name": row.name,
        "format": row.format,
        "data": row.data,
        "samples": len(test),
        "float": round(100 * (exact if theirs is None else theirs), 2),
        "quantised": round(100 * whole, 2),
        "layers": len(imp.network.layers),
        "weights": sum(layer.weights.size for layer in imp.network.layers),
        "flash_bytes": len(blob),
        "least_sqnr_db": round(min(one.sqnr_db for one in lost), 1),
        "layers_below_25_db": sum(one.sqnr_db < LEAST_DB for one in lost),
        "last_sqnr_db": round(lost[-1].sqnr_db, 1),
        "convert_cpu_s": round(seconds, 1),
    }


def page(rows: list[dict[str, Any]]) -> str:
    """docs/convert.md, of the rows of docs/convert.json."""
    lines = [
        "# Models of others on a board",
        "",
        "`wage-host convert` takes ONNX, TFLite, safetensors and npz. This is what it costs, on",
        "the whole test sets, and how it works. `make convert-table` makes this page and",
        "`convert.json` anew (host; a board computes the same bits).",
        "",
        "| model | data | format | float | on a board | difference | least SQNR | last SQNR |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        gap = row["quantised"] - row["float"]
        lines.append(
            f"| {row['model']} | {row['data']} | {row['format']} | {row['float']:.2f} % | "
            f"{row['quantised']:.2f} % | {gap:+.2f} | {row['least_sqnr_db']:.1f} dB | "
            f"{row['last_sqnr_db']:.1f} dB |"
        )
    return "\n".join([*lines, "", (HERE / "page.md").read_text(encoding="utf-8")])

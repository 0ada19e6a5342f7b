"""docs/convert.md and docs/convert.json: models of others, in floats and on a board.

    make convert-table          all rows; goes on where it stopped
    python -m converted data    only what keras_fixtures.py needs
"""

# SPDX-License-Identifier: MIT

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from wage_host import pack
from wage_host.convert import model, report
from wage_host.core import Config
from wage_host.data import Data

from . import nets, sets

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
BUILD, DOCS = ROOT / "build/convert", ROOT / "docs"
SAMPLES = 512  # to calibrate with
LEAST_DB, MOST_LOST = 25.0, 1.0  # points
DESCRIBED = {  # those whose activations are all in our notation
    "mlp": ("28x28x1 128FC 64FC 10FC", "one+norm,two,three"),
    "lenet": ("28x28x1 12C5-MP2 24C5v-MP2 120FC 84FC 10FC", "one,two,head.0,head.2,head.4"),
    "sound": (
        "1x48x16 24C1x5 MP1x2 32C1x5 MP1x2 48C1x5 MP1x2 GAP 10FC",
        "path.0+path.1,path.4+path.5,path.8+path.9,head",
    ),
}
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


def rows() -> list[Row]:
    """All lines."""
    found = []
    for name, m in nets.MODELS.items():
        formats = ["onnx", "onnx, opset 13"] + (["safetensors", "npz"] if name in DESCRIBED else [])
        found += [Row(name, f, m.title, m.data, m.mean, m.std) for f in formats]
    for name, (data, title, mean, std) in KERAS.items():
        found += [Row(name, f, title, data, mean, std) for f in ("tflite", "tflite int8")]
    return found


def file_of(row: Row) -> Path:
    """The model file of a row, made when it is not there."""
    if row.format.startswith("tflite"):
        return HERE / f"{row.name}{'-int8' if 'int8' in row.format else ''}.tflite"
    net = nets.trained(row.name, BUILD)
    path = BUILD / {
        "onnx": f"{row.name}.onnx", "onnx, opset 13": f"{row.name}-13.onnx",
        "safetensors": f"{row.name}.safetensors", "npz": f"{row.name}-arrays.npz",
    }[row.format]  # fmt: skip
    if row.format.startswith("onnx"):
        old = "13" in row.format
        nets.export(net, nets.MODELS[row.name], path, not old, 13 if old else 18)
        return path
    state = {name: value.contiguous() for name, value in net.state_dict().items()}
    if row.format == "npz":
        np.savez(path, **{name: value.numpy() for name, value in state.items()})
    else:
        save_file(state, path)
    return path


def float_accuracy(row: Row, x: np.ndarray, labels: np.ndarray) -> float | None:
    """Of the net in PyTorch itself; None: it is none."""
    if row.name not in nets.MODELS:
        return None
    net, m = nets.trained(row.name, BUILD), nets.MODELS[row.name]
    with torch.no_grad():
        found = [net(m.inputs(x[k : k + 500])).argmax(1).numpy() for k in range(0, len(x), 500)]
    return float((np.concatenate(found) == labels).mean())


def measure(row: Row) -> dict[str, Any]:
    """Converts and measures."""
    (x, labels), (test_x, test_labels) = sets.load(row.data)
    some = np.random.default_rng(0).permutation(len(x))[:SAMPLES]
    known = Data(row.data, x[some], labels[some].astype(np.int64))
    test = Data(f"{row.data}, test", test_x, test_labels.astype(np.int64))
    path = file_of(row)
    started = time.process_time()
    graph = model.read(path, *DESCRIBED.get(row.name, (None, None))) if row.format in (
        "safetensors", "npz",
    ) else model.read(path, None, None)  # fmt: skip
    imp = model.imported(path, graph, known, model.Input(None, row.mean, row.std), model.Wish())
    config = Config(1, -5, 3, imp.gain_shift, 0)
    blob = pack.blob(imp.network, "table", config, imp.train_last, 0, [])
    seconds = time.process_time() - started
    exact, whole = report.accuracies(imp, blob, test)
    lost = report.losses(imp, test)
    theirs = float_accuracy(row, test_x, test_labels)
    return dataclasses.asdict(row) | {
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


def page(found: list[dict[str, Any]]) -> str:
    """docs/convert.md."""
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
    for row in found:
        gap = row["quantised"] - row["float"]
        lines.append(
            f"| {row['title']} | {row['data']} | {row['format']} | {row['float']:.2f} % | "
            f"{row['quantised']:.2f} % | {gap:+.2f} | {row['least_sqnr_db']:.1f} dB | "
            f"{row['last_sqnr_db']:.1f} dB |"
        )
    return "\n".join([*lines, "", (HERE / "page.md").read_text(encoding="utf-8")])


def main() -> None:
    """All rows that are not measured yet, then the files."""
    BUILD.mkdir(parents=True, exist_ok=True)
    if sys.argv[1:] == ["data"]:
        for name in ("fashion-mnist", "spoken"):
            (x, labels), _ = sets.load(name)
            np.savez(BUILD / f"{name}.npz", x=x, y=labels)
        return
    kept = BUILD / "rows.json"
    done = json.loads(kept.read_text()) if kept.exists() else {}
    for row in rows():
        key = f"{row.name}, {row.format}"
        if key not in done:
            done[key] = measure(row)
            kept.write_text(json.dumps(done, indent=1))
            print(key, {n: done[key][n] for n in ("float", "quantised", "least_sqnr_db")})
    found = [done[f"{row.name}, {row.format}"] for row in rows()]
    hidden = ("title", "mean", "std")
    shown = [
        {"model": row["title"], **{n: v for n, v in row.items() if n not in hidden}}
        for row in found
    ]
    (DOCS / "convert.json").write_text(json.dumps({"rows": shown}, indent=1) + "\n")
    (DOCS / "convert.md").write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()

"""docs/convert.md and docs/convert.json: models of others, in floats and on a board.

    make convert-table          all rows; goes on where it stopped
    python -m converted data    only what keras_fixtures.py needs
"""

# SPDX-License-Identifier: MIT

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from . import nets, sets, table
from .table import DOCS, Row

BUILD = Path(__file__).parents[2] / "build/convert"
DESCRIBED = {  # those whose activations are all in our notation
    "mlp": ("28x28x1 128FC 64FC 10FC", "one+norm,two,three"),
    "lenet": ("28x28x1 12C5-MP2 24C5v-MP2 120FC 84FC 10FC", "one,two,head.0,head.2,head.4"),
    "sound": (
        "1x48x16 24C1x5 MP1x2 32C1x5 MP1x2 48C1x5 MP1x2 GAP 10FC",
        "path.0+path.1,path.4+path.5,path.8+path.9,head",
    ),
}


def rows() -> list[Row]:
    """All lines."""
    found = []
    for name, m in nets.MODELS.items():
        formats = ["onnx", "onnx, opset 13"] + (["safetensors", "npz"] if name in DESCRIBED else [])
        found += [Row(name, f, m.title, m.data, m.mean, m.std) for f in formats]
    return found + table.keras()


def file_of(row: Row) -> Path:
    """The model file of a row, made when it is not there."""
    if row in table.keras():
        return table.fixture(row)
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
    """A row of docs/convert.json."""
    theirs = float_accuracy(row, *sets.load(row.data)[1])
    described = DESCRIBED[row.name] if row.format in ("safetensors", "npz") else (None, None)
    return table.measure(row, file_of(row), theirs, described)


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
        if row.key not in done:
            done[row.key] = measure(row)
            kept.write_text(json.dumps(done, indent=1))
            shown = {n: done[row.key][n] for n in ("float", "quantised", "least_sqnr_db")}
            print(row.key, shown, flush=True)
    found = [done[row.key] for row in rows()]
    (DOCS / "convert.json").write_text(json.dumps({"rows": found}, indent=1) + "\n")
    (DOCS / "convert.md").write_text(table.page(found), encoding="utf-8")


if __name__ == "__main__":
    main()

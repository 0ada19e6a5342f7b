"""What conversion costs: by layer, in floats and in integers, before anything is written."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from wage_host import boards, budget, fit
from wage_host.convert import floats, integers, steps
from wage_host.convert.fold import WEIGHTED, Block
from wage_host.convert.graph import ADD, AVERAGE, MAX
from wage_host.convert.model import Imported
from wage_host.convert.steps import Scale
from wage_host.core import Core
from wage_host.data import Data, activations
from wage_host.layers import Layer
from wage_host.progress import Tell, silent

BY_LAYER = 256  # samples that each layer is looked at with
AT_ONCE = 256
BAUD = 115200


@dataclasses.dataclass(frozen=True)
class Loss:
    """What one layer of the file loses.

    sqnr_db: power of the float model's output over that of the difference, infinite where that is
    0; bound: the largest difference that a layer adds itself, known beforehand, in floats;
    accuracy: with the layers to here in integers and the others in floats.
    """

    name: str
    sqnr_db: float
    bound: float
    accuracy: float


def accuracies(
    imp: Imported, blob: bytes, data: Data, tell: Tell = silent
) -> tuple[float, float]:
    """Shares of right answers of the float model and of the board's, on all samples."""
    found = []
    for at in range(0, len(data), AT_ONCE):
        tell(at, len(data), "in floats")
        found.append(floats.logits(imp.blocks, imp.exact(data.x[at : at + AT_ONCE])))
    exact = np.concatenate(found)
    tell(len(data), len(data), "in integers")
    x = activations(data.x, imp.network.input_map)
    whole = Core(blob).predict(x, data.labels)["prediction"]
    return float((exact.argmax(1) == data.labels).mean()), float((whole == data.labels).mean())


def losses(imp: Imported, data: Data, tell: Tell = silent) -> list[Loss]:
    """By layer, in front of the file's own there may be one that normalises."""
    x, labels = data.x[:BY_LAYER], data.labels[:BY_LAYER]
    made = imp.made
    a = activations(x, imp.network.input_map).reshape(len(x), *imp.network.shape)
    layers = made.layers
    own = dict(enumerate(floats.run(imp.blocks, imp.exact(x))))
    own[-1] = imp.exact(x)
    exact = [own[k - imp.extra] for k in made.origin]
    kept, found = {-1: a.astype(np.float32)}, []
    for k, whole in enumerate(integers.run(made.blocks, layers, a)):
        kept[k] = (whole * made.scales[k].step + made.scales[k].offset).astype(np.float32)
        tell(k, len(layers), made.blocks[k].op)
        at = made.origin[k] - imp.extra
        ends = (imp.blocks[at].low, imp.blocks[at].high) if at >= 0 else (-np.inf, np.inf)
        power, lost = (float(np.square(v, dtype=np.float64).sum()) for v in (
            exact[k], exact[k] - np.clip(kept[k], *ends)  # the next layer may be what cuts
        ))  # fmt: skip
        rest = list(floats.run(made.blocks, kept, k + 1))
        right = ((rest[-1] if rest else kept[k]).reshape(len(x), -1).argmax(1) == labels).mean()
        sqnr = math.inf if not lost else 10 * math.log10(power / lost) if power else -math.inf
        least = float(bound(imp, k).max())
        found.append(Loss(made.blocks[k].name, sqnr, least, float(right)))
    tell(len(layers), len(layers), "done")
    return found


def bound(imp: Imported, k: int) -> np.ndarray:
    """Most that layer k differs from the float layer of the same whole inputs, (channels).

    Where the float layer leaves what 8 bits hold, it is cut to that first.
    """
    made = imp.made
    block, layer, step = made.blocks[k], made.layers[k], made.scales[k].step
    ones = np.ones(block.input[2])
    under = made.scales[k - 1] if k else Scale(ones, 0 * ones)
    last = k + 1 == len(made.blocks)
    rounding = np.zeros_like(step) if last else step / 2
    if block.op in (MAX, ADD):
        return rounding if block.op == ADD else np.zeros_like(step)
    if block.op == AVERAGE:
        return rounding
    unit = step if last else step * 2.0 ** -integers.shift_of(layer)
    given, moved = (steps.by_weight(block, v) for v in (under.step, under.offset))
    w = block.weights.reshape(block.output[2], -1)
    q = layer.used(False) * unit[:, None] / given
    off = (np.abs(w - q) * given).sum(1) * (127 if k else 128)
    bias = 0.0 if layer.bias is None else layer.bias * unit
    exact = block.bias + (w * moved).sum(1) - made.scales[k].offset
    return rounding + off + np.abs(exact - bias)


def table(imp: Imported, blob: bytes, lost: list[Loss] | None) -> list[dict[str, Any]]:
    """A row a layer: what it is, what it takes, what it loses."""
    facts = budget.read(blob)
    parts, rows = budget.parts(facts), []
    for k, (block, layer, about) in enumerate(
        zip(imp.made.blocks, imp.network.layers, facts.layers, strict=True)
    ):
        row = {
            "layer": k,
            "node": block.name,
            "kind": _kind(block, layer),
            "output": "x".join(map(str, about.shape)),
            "bits": f"{layer.weight_bits}" if layer.weight_bits else "-",
            "state": "learns" if about.trainable else "frozen",
            "macs": about.macs,
            "flash_bytes": about.flash_bytes,
            "arena_bytes": sum(part.bytes for part in parts if part.layer == k),
        }
        if lost:
            sqnr = lost[k].sqnr_db  # JSON has no infinite numbers
            row |= {"sqnr_db": round(sqnr, 1) if math.isfinite(sqnr) else None}
            row["bound"] = lost[k].bound
            row |= {"accuracy_to_here": round(lost[k].accuracy, 4)}
        rows.append(row)
    return rows


def _kind(block: Block, layer: Layer) -> str:
    window = "x".join(map(str, block.kernel))
    text = block.op if block.op in ("dense", ADD) else f"{block.op} {window}"
    text += "+max 2x2" if block.pool == 2 else ""
    clip = "relu" if block.low == 0 else ""
    if math.isfinite(block.high) and block.acts:
        clip += f" to {block.high:g}"
    return f"{text} {clip}".strip() if block.op in (*WEIGHTED, ADD) else text


def fitting(blob: bytes) -> tuple[list[str], list[str]]:
    """Names of the boards that the model fits, and of those that it does not."""
    facts = budget.read(blob)
    answer: tuple[list[str], list[str]] = ([], [])
    for board in boards.every():
        answer[not fit.of(facts, blob, board, BAUD, None).fits].append(board.name)
    return answer

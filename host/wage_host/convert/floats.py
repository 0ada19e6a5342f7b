"""Layers in floats, many samples at once: what the quantised ones are to come near."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from wage_host.convert.fold import Block
from wage_host.convert.graph import ADD, AVERAGE, CONV, DENSE, DEPTHWISE, INPUT, MAX

SAMPLES = 32  # at once


def padded(a: np.ndarray, padding: Sequence[int], value: float = 0) -> np.ndarray:
    """(n, h, w, c) with what lies around it."""
    top, left, bottom, right = padding
    if not any(padding):
        return a
    around = ((0, 0), (top, bottom), (left, right), (0, 0))
    return np.pad(a, around, constant_values=value)


def windows(
    a: np.ndarray, kernel: Sequence[int], stride: Sequence[int], size: Sequence[int]
) -> Iterator[np.ndarray]:
    """What lies at each place of a kernel, row by row: (n, rows, columns, c) each."""
    rows, columns = (
        (n - 1) * s + 1 for n, s in zip(size[:2], stride, strict=True)
    )
    for y in range(kernel[0]):
        for x in range(kernel[1]):
            yield a[:, y : y + rows : stride[0], x : x + columns : stride[1]]


def products(block: Block, weights: np.ndarray, a: np.ndarray) -> np.ndarray:
    """The sums of a layer with weights, without its bias: (n, rows, columns, out), a's type."""
    weights = weights.astype(a.dtype)
    if block.op == DENSE:
        return (a.reshape(len(a), -1) @ weights.T).reshape(len(a), 1, 1, -1)
    a = padded(a, block.padding)
    sight = windows(a, block.kernel, block.stride, block.sums)
    if block.op == DEPTHWISE:
        flat = weights.reshape(len(weights), -1)
        out = np.zeros((len(a), *block.sums), a.dtype)
        for k, seen in enumerate(sight):
            out += seen * flat[:, k]
        return out
    if block.op != CONV:
        raise ValueError(block.op)
    seen = np.concatenate(list(sight), axis=3) if block.kernel != (1, 1) else next(sight)
    return seen @ weights.reshape(len(weights), -1).T


def pooled(sums: np.ndarray) -> np.ndarray:
    """The largest of each 2 x 2; the last of an odd size has one row or column."""
    if sums.shape[1] % 2 or sums.shape[2] % 2:
        sums = padded(sums, (0, 0, sums.shape[1] % 2, sums.shape[2] % 2), -np.inf)
    return np.maximum(
        np.maximum(sums[:, ::2, ::2], sums[:, ::2, 1::2]),
        np.maximum(sums[:, 1::2, ::2], sums[:, 1::2, 1::2]),
    )


def reduced(block: Block, a: np.ndarray) -> np.ndarray:
    """The largest, or the sum, of each window."""
    outside = 0 if block.op == AVERAGE else np.finfo(a.dtype).min
    sight = windows(padded(a, block.padding, outside), block.kernel, block.stride, block.sums)
    out = next(sight).copy()
    for seen in sight:
        out = out + seen if block.op == AVERAGE else np.maximum(out, seen)
    return out


def before(block: Block, a: np.ndarray, skip: np.ndarray | None = None) -> np.ndarray:
    """What a layer gives before its clip: (n, h, w, c)."""
    if block.op == ADD:
        return a + skip
    if block.op in (MAX, AVERAGE):
        out = reduced(block, a)
        return out / (block.kernel[0] * block.kernel[1]) if block.op == AVERAGE else out
    out = products(block, block.weights, a) + block.bias.astype(a.dtype)
    return pooled(out) if block.pool == 2 else out


def run(
    blocks: Sequence[Block], given: np.ndarray | dict[int, np.ndarray], first: int = 0
) -> Iterator[np.ndarray]:
    """The output of each block from `first` on; given: the input (n, h, w, c), or all below."""
    kept = dict(given) if isinstance(given, dict) else {first - 1: given}
    for k in range(first, len(blocks)):
        block = blocks[k]
        out = before(block, kept[k - 1], kept.get(block.sources[-1]))
        kept[k] = np.clip(out, block.low, block.high) if block.acts else out
        needed = {k, *(b.sources[-1] for b in blocks[k + 1 :])} | {INPUT - 1}
        kept = {name: value for name, value in kept.items() if name in needed}
        yield kept[k]


def logits(blocks: Sequence[Block], x: np.ndarray) -> np.ndarray:
    """What the last block gives, (n, classes), for samples (n, h, w, c) float32."""
    parts = []
    for at in range(0, len(x), SAMPLES):
        for out in run(blocks, x[at : at + SAMPLES]):
            last = out
        parts.append(last.reshape(len(last), -1))
    return np.concatenate(parts)

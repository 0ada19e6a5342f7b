"""Layers in a board's integers, many samples at once, with the bits of the runtime (SPEC 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from wage_host._core import lib
from wage_host.convert import floats
from wage_host.convert.fold import Block
from wage_host.convert.graph import ADD, AVERAGE, MAX
from wage_host.layers import Layer

EXACT = 1 << 24  # sums below it are exact in float32


def shift_of(layer: Layer) -> int:
    """H, the exponent from sums to activations (SPEC 2.5)."""
    return layer.alpha_shift + max(layer.weight_bits - 1, 0)


def sums(block: Block, layer: Layer, a: np.ndarray, skip: np.ndarray | None = None) -> np.ndarray:
    """Sums after pooling and with the bias, whole numbers in floats; a: (n, h, w, c) int8."""
    if block.op == ADD:
        return a.astype(np.float32) + skip
    if block.op == MAX:
        return floats.reduced(block, np.maximum(a, -127).astype(np.float32))
    if block.op == AVERAGE:
        return floats.reduced(block, a.astype(np.float64)) * layer.factor
    used = layer.used(False).reshape(block.held.shape)
    largest = np.abs(used).reshape(len(used), -1).sum(1) * 128
    if layer.bias is not None:
        largest = largest + np.abs(layer.bias)
    kind = np.float32 if largest.max(initial=0) < EXACT else np.float64
    out = floats.products(block, used, a.astype(kind))
    if layer.bias is not None:
        out += layer.bias.astype(kind)
    return floats.pooled(out) if block.pool == 2 else out


def activation(layer: Layer, z: np.ndarray) -> np.ndarray:
    """int8 activations of sums."""
    z = np.rint(z * 2.0 ** -shift_of(layer)).astype(z.dtype)
    low = 0 if layer.activation == lib.WAGE_RELU else -127
    return np.clip(z, low, 127).astype(np.int8)


def run(
    blocks: Sequence[Block], layers: Sequence[Layer], a: np.ndarray
) -> Iterator[np.ndarray]:
    """The output of each layer for inputs (n, h, w, c) int8; the last one gives its sums."""
    kept = {-1: a}
    for k, (block, layer) in enumerate(zip(blocks, layers, strict=True)):
        z = sums(block, layer, kept[k - 1], kept.get(block.sources[-1]))
        kept[k] = activation(layer, z) if k + 1 < len(layers) else z
        needed = {k, *(b.sources[-1] for b in blocks[k + 1 :])}
        kept = {name: value for name, value in kept.items() if name in needed}
        yield kept[k]

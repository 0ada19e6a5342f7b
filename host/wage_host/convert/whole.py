"""Models that are in whole numbers already, with one step a tensor: taken as they are, if a board
can have them: steps of weights that are a power of two times those of their tensors."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from math import prod

import numpy as np

from wage_host._core import lib
from wage_host.convert.fold import WEIGHTED, Block
from wage_host.convert.graph import ADD, AVERAGE, CONV, MAX
from wage_host.convert.quantise import H_MAX, H_MIN, KINDS, average_factor
from wage_host.layers import Layer

NEAR = 1e-4  # to a power of two, in powers
UNIT = 2.0**-7


def taken(
    blocks: Sequence[Block], input_step: float | None, told: Sequence[Sequence[int]]
) -> tuple[tuple[Layer, ...], tuple[float, ...]] | None:
    """Layers and the step of each one's output (the last: of its sums); None when it is not so.

    told: of each layer its kind, and bits of its weights in use and stored.
    """
    if input_step is None or len(told) != len(blocks):
        return None
    layers: list[Layer] = []
    found: dict[int, float] = {-1: input_step}
    for k, block in enumerate(blocks):
        last = k + 1 == len(blocks)
        step = UNIT if last else found[k - 1] if block.op == MAX else block.out_scale
        layer = step and _layer(block, found, k, step, last, told[k])
        if not layer:
            return None
        layers.append(layer)
        found[k] = step
    return tuple(layers), tuple(found[k] for k in range(len(blocks)))


def _power(x: float) -> int | None:
    """n for 2^n, when x is that."""
    n = round(math.log2(x))
    return n if abs(math.log2(x) - n) < NEAR else None


def _layer(
    block: Block, found: dict[int, float], k: int, step: float, last: bool, told: Sequence[int]
) -> Layer | None:
    below = found[k - 1]
    signed = lib.WAGE_SIGNED if block.low < 0 else lib.WAGE_RELU
    kind, *bits = told
    if block.op != CONV or block.held.shape[::3] != (1, 1):  # else ONNX has one word for both
        kind = KINDS[block.op]
    about = {
        "text": block.name, "kind": kind, "out": block.output[2],
        "kernel": block.kernel, "stride": block.stride, "padding": block.padding[:2],
        "padding_end": block.padding[2:], "pool": block.pool,
        "activation": lib.WAGE_NONE if last or block.op in (MAX, AVERAGE) else signed,
    }  # fmt: skip
    if block.op in WEIGHTED:
        return _weighted(block, below, step, bits, about)
    if block.op == MAX:
        return Layer(**about)
    if block.op == AVERAGE:
        shift, factor = average_factor(below / step, prod(block.kernel))
        return Layer(**about, alpha_shift=shift, factor=factor)
    if block.op != ADD or below != found[block.sources[1]]:
        return None
    shift = _power(step / below)
    if shift is None or not 0 <= shift <= 7:
        return None
    return Layer(**about, alpha_shift=shift, skip=k - 1 - block.sources[1])


def _weighted(
    block: Block, below: float, step: float, widths: Sequence[int], about: dict
) -> Layer | None:
    bits, stored = widths
    if block.scale is None or block.scale.size != 1 or not 2 <= bits <= min(stored, 8):
        return None
    scale = float(block.scale.reshape(()))
    high = _power(step / (below * scale)) if scale > 0 else None
    if high is None or not max(H_MIN, 1) <= high <= min(H_MAX, 19 + bits):
        return None
    w = np.rint(block.weights.reshape(block.output[2], -1) / scale * 2.0 ** (stored - bits))
    most = (1 << stored - 1) - (1 << stored - bits)
    bias = np.rint(block.bias / (below * scale))
    if np.abs(w).max() > most or np.abs(bias).max() > lib.WAGE_BIAS_MAX:
        return None
    layer = Layer(
        **about, weight_bits=bits, store_bits=stored, alpha_shift=high - bits + 1,
        weights=w.astype(np.int16), bias=bias.astype(np.int32),
    )  # fmt: skip
    return layer if block.biased else dataclasses.replace(layer, bias=None)

"""The steps of tensors: what a whole number stands for, from samples; which tensors share them.

Steps of a frozen part are one a channel, those of a part that learns one a tensor.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from wage_host.convert import floats
from wage_host.convert.fold import Block, Unfit
from wage_host.convert.graph import ADD, DEPTHWISE, INF, MAX
from wage_host.convert.weights import Weights

A_MAX = 127  # of an activation
ROWS = 4096  # places of a tensor whose values are looked at
CANDIDATES = np.concatenate([np.linspace(1.0, 0.3, 29), np.linspace(0.28, 0.1, 10)])
ADD_GROWS = math.sqrt(2)  # a sum that is larger than this times its parts is shifted


@dataclasses.dataclass
class Tensor:
    """What a layer gives: its step is the group's times 2^exponent."""

    group: int
    exponent: int = 0


class Split(Exception):
    """A block clips at another value than its sum's steps do: (its index)."""


def seen_in(blocks: tuple[Block, ...], x: np.ndarray) -> list[np.ndarray]:
    """Values of each layer's output in floats, (places, channels), some of them."""
    found: list[list[np.ndarray]] = [[] for _ in blocks]
    share = max(1, ROWS * floats.SAMPLES // max(len(x), 1))
    draws = np.random.default_rng(1)
    for at in range(0, len(x), floats.SAMPLES):
        part = x[at : at + floats.SAMPLES].astype(np.float32)
        for k, out in enumerate(floats.run(blocks, part)):
            if not np.isfinite(out).all():
                raise Unfit(f"{blocks[k].name}: it gives no finite numbers: look at its weights")
            rows = out.reshape(-1, out.shape[3])
            if len(rows) > share:
                rows = rows[draws.choice(len(rows), share, replace=False)]
            found[k].append(rows)
    return [np.concatenate(parts) for parts in found]


def best(block: Block, values: np.ndarray, by_channel: bool) -> np.ndarray:
    """Steps (channels) that lose least of these values (places, channels), in squares."""
    channels = values.shape[1]
    values = values if by_channel else values.reshape(-1, 1)
    most = np.abs(values).max(0).astype(np.float64)
    dead = most <= 1e-12
    most = np.where(dead, 1.0 if dead.all() else np.median(most[~dead]), most)
    most = np.minimum(most, block.high)
    best, least = most / A_MAX, np.full(len(most), INF)
    for share in CANDIDATES:
        step = (most * share / A_MAX).astype(np.float32)
        rounded = np.clip(np.rint(values / step), -A_MAX, A_MAX) * step
        error = np.square(values - rounded).mean(0, dtype=np.float64)
        best, least = np.where(error < least, step, best), np.minimum(error, least)
    return np.broadcast_to(best, channels).astype(np.float64)


def grouped(blocks: tuple[Block, ...], seen: list[np.ndarray]) -> list[Tensor]:
    """Which tensors share their steps: those that a sum joins, and those of a max-pool."""
    found: list[Tensor] = []
    for k, block in enumerate(blocks):
        mine = Tensor(k)
        if block.op == MAX and k:
            mine = dataclasses.replace(found[k - 1])
        elif block.op == ADD:
            one, other = found[k - 1], found[block.sources[1]]
            if one.group != other.group:
                gone, less = one.group, one.exponent - other.exponent
                for t in found:
                    if t.group == gone:
                        t.group, t.exponent = other.group, t.exponent - less
            elif one.exponent != other.exponent:
                raise Unfit(f"{block.name} adds two sums of different depth: nest them otherwise")
            parts = max(_spread(seen[k - 1]), _spread(seen[block.sources[1]]))
            grows = _spread(seen[k]) > ADD_GROWS * parts
            mine = Tensor(other.group, other.exponent + grows)
        found.append(mine)
    return found


def _spread(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean()))


def shared(
    blocks: tuple[Block, ...],
    tensors: list[Tensor],
    wanted: list[np.ndarray],
    seen: list[np.ndarray],
    trainable: int,
) -> dict[int, np.ndarray]:
    """Steps of each group with more than one tensor, before 2^exponent."""
    members: dict[int, list[int]] = {}
    for k, tensor in enumerate(tensors):
        members.setdefault(tensor.group, []).append(k)
    found = {}
    for group, ks in members.items():
        if any(blocks[k].op == ADD for k in ks):
            step = np.max([wanted[k] * 2.0 ** -tensors[k].exponent for k in ks], axis=0)
            found[group] = step if max(ks) < trainable else np.full_like(step, step.max())
            for k in ks:
                most = found[group] * 2.0 ** tensors[k].exponent * A_MAX
                clips = seen[k].max(0) >= blocks[k].high
                if (clips & (most > blocks[k].high * 1.001)).any():
                    raise Split(k)
    return found


def with_scaler(blocks: tuple[Block, ...], k: int) -> tuple[Block, ...]:
    """A layer behind block k that only gives its output other steps.

    A sum has the steps of its parts, so that its clip goes to the new layer.
    """
    below = blocks[k]
    if k in (b.sources[0] for b in blocks if b.op == MAX):
        raise Unfit(f"{below.names[-1]}: a clip and a max-pool in front of a sum: use Relu there")
    channels, low, high = below.output[2], below.low, INF
    if below.op == ADD:
        high, free = below.high, 0.0 if low == 0 else -INF
        below = dataclasses.replace(below, low=free, high=INF)
    scaler = Block(
        DEPTHWISE, (f"other steps behind {below.names[-1]}",), (k,), below.output, below.output,
        below.output, Weights.of(np.ones((channels, 1, 1))), np.zeros(channels), low=low,
        high=high, acts=True,
    )  # fmt: skip
    moved = [
        dataclasses.replace(b, sources=tuple(s + (s >= k) for s in b.sources))
        for b in blocks[k + 1 :]
    ]
    return (*blocks[:k], below, scaler, *moved)

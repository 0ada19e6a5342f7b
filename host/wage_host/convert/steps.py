"""The scales of tensors: what a whole number stands for, from samples; which tensors share them.

A value is step · q + offset, with q from -127 to 127. Those of a frozen part are one a channel,
those of a part that learns one a tensor, without offsets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wage_host.convert.fold import WEIGHTED, Block, Unfit
from wage_host.convert.graph import ADD, DEPTHWISE, INF, MAX
from wage_host.convert.seen import Seen
from wage_host.convert.weights import Weights

A_MAX = 127  # of an activation
NEAR = 0.99999  # so much of a clip's end is that end
CANDIDATES = np.concatenate([np.linspace(1.0, 0.3, 29), np.linspace(0.28, 0.1, 10)])


class Scale(NamedTuple):
    """Steps and offsets of a tensor, (channels) each."""

    step: np.ndarray
    offset: np.ndarray


@dataclasses.dataclass
class Tensor:
    """What a layer gives: its step is the group's times 2^exponent."""

    group: int
    exponent: int = 0


class Split(Exception):
    """Groups have steps that hold what the clips of some tensors cut off: (their indices)."""


def movable(blocks: Sequence[Block], trainable: int) -> list[bool]:
    """Which tensors may have offsets: those that only layers take that can make up for them.

    A bias does, in a frozen layer that pads nothing (what is around a picture is 0 to it); a
    max-pool and a sum hand them on.
    """
    takes = [False] * len(blocks)
    for k in reversed(range(len(blocks) - 1)):
        above = [k + 1, *(j for j in range(k + 2, len(blocks)) if k in blocks[j].sources)]
        takes[k] = all(j < trainable and _takes(blocks[j], takes[j]) for j in above)
    return takes


def _takes(block: Block, handed_on: bool) -> bool:
    if block.op in WEIGHTED:
        return not any(block.padding)
    return handed_on and not block.acts and block.op in (MAX, ADD)


def best(block: Block, seen: Seen, by_channel: bool, moves: bool) -> Scale:
    """The scale that loses least of what was seen, in squares.

    moves: it may have an offset. Behind a ReLU -127 is 0 then, so that its clip is a board's.
    """
    channels = seen.values.shape[1]
    seen = seen if by_channel else seen.together()
    low, high = (end.astype(np.float64) for end in seen.ends())
    moves = moves and block.op in WEIGHTED and (block.low == 0 or not block.acts)
    if not moves:
        high = np.maximum(high, -low)
        low = -high
    elif block.low == 0:
        low = 0 * high
    half, most = (high - low) / 2, block.high / 2 if moves else block.high
    dead = half <= 1e-12
    half = np.where(dead, 1.0 if dead.all() else np.median(half[~dead]), half)
    half = np.minimum(half, most)
    middle = half if moves and block.low == 0 else (high + low) / 2
    found, least = Scale(half / A_MAX, middle), np.full(len(half), INF)
    for share in CANDIDATES:
        scale = Scale((half * share / A_MAX).astype(np.float32), middle * share)
        error = lost(seen, scale)
        better = error < least
        pairs = zip(scale, found, strict=True)
        found = Scale(*(np.where(better, new, old) for new, old in pairs))
        least = np.minimum(error, least)
    return Scale(*(np.broadcast_to(v, channels).astype(np.float64) for v in found))


def lost(seen: Seen, scale: Scale, rounds: bool = True) -> np.ndarray:
    """Mean squares, (channels), of what a tensor loses; rounds: by rounding, not only by clips."""
    step, offset = (v.astype(np.float32) for v in scale)
    q = (seen.values - offset) / step
    q = np.clip(np.rint(q) if rounds else q, -A_MAX, A_MAX)
    return (np.square(q * step + offset - seen.values) * seen.shares).sum(0)


@dataclasses.dataclass
class Plan:
    """Scales of all tensors: wanted by each for itself, and steps that groups share.

    shared: of a group, before 2^exponent. tied: a step brings its offset, with 0 at -127.
    """

    tensors: list[Tensor]
    wanted: list[Scale]
    tied: list[bool]
    shared: dict[int, np.ndarray]


def plan(blocks: tuple[Block, ...], seen: list[Seen], trainable: int) -> Plan:
    """Scales by which least is lost, as far as that can be known from each tensor alone.

    Each sum may have the steps of its parts, so that it rounds nothing, or twice those.
    """
    tensors = grouped(blocks, frozenset())
    sums = [k for k, block in enumerate(blocks) if block.op == ADD]
    joined = {tensors[k].group for k in sums}
    moves = movable(blocks, trainable)
    for k, block in enumerate(blocks):
        moves[k] &= not (block.low == 0 and tensors[k].group in joined)
    wanted = [best(b, seen[k], k < trainable, moves[k]) for k, b in enumerate(blocks)]
    for k, block in enumerate(blocks):
        if block.op in (ADD, MAX):
            offset = sum(wanted[j].offset if j >= 0 else 0.0 for j in block.sources)
            wanted[k] = wanted[k]._replace(offset=offset)
    tied = [moves[k] and block.low == 0 for k, block in enumerate(blocks)]
    shared: dict[int, np.ndarray] = {}
    grows: frozenset[int] = frozenset()
    for group in sorted(joined):
        shared[group], least = _shared(blocks, tensors, wanted, seen, trainable, group)
        mine = [k for k in sums if tensors[k].group == group]
        before = None
        while before != grows:
            before = grows
            for k in mine:
                try:
                    tried = grouped(blocks, grows ^ {k})
                except Unfit:
                    continue
                step, loss = _shared(blocks, tried, wanted, seen, trainable, group)
                if loss < least:
                    shared[group], least, grows, tensors = step, loss, grows ^ {k}, tried
    _check_clips(blocks, tensors, shared, seen)
    return Plan(tensors, wanted, tied, shared)


def grouped(blocks: tuple[Block, ...], grows: frozenset[int]) -> list[Tensor]:
    """Which tensors share their steps: those that a sum joins, and those of a max-pool.

    grows: sums whose steps are twice those of their parts.
    """
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
            mine = Tensor(other.group, other.exponent + (k in grows))
        found.append(mine)
    return found


def _shared(
    blocks: tuple[Block, ...],
    tensors: list[Tensor],
    wanted: list[Scale],
    seen: list[Seen],
    trainable: int,
    group: int,
) -> tuple[np.ndarray, float]:
    """Steps of a group, before 2^exponent, and what it loses with them in shares of its power."""
    members = [k for k, tensor in enumerate(tensors) if tensor.group == group]
    whole = [2.0 ** tensors[k].exponent for k in members]
    most = np.max([wanted[k].step / w for k, w in zip(members, whole, strict=True)], axis=0)
    if max(members) >= trainable:
        most = np.full_like(most, most.max())
    steps, losses = [most * share for share in CANDIDATES], []
    powers = [seen[k].power or 1.0 for k in members]
    for step in steps:
        loss = np.zeros_like(most)
        for k, w, power in zip(members, whole, powers, strict=True):
            rounds = blocks[k].op in WEIGHTED or tensors[k - 1].exponent < tensors[k].exponent
            loss += lost(seen[k], Scale(step * w, wanted[k].offset), rounds) / power
        losses.append(loss if max(members) < trainable else np.full_like(loss, loss.sum()))
    at = np.argmin(losses, axis=0)[None]
    step, least = (np.take_along_axis(np.array(v), at, 0)[0] for v in (steps, losses))
    return step, float(least.sum())


def _check_clips(
    blocks: tuple[Block, ...],
    tensors: list[Tensor],
    shared: dict[int, np.ndarray],
    seen: list[Seen],
) -> None:
    """Split for tensors that clip below what their group's steps hold."""
    found = []
    for k, (block, tensor) in enumerate(zip(blocks, tensors, strict=True)):
        if tensor.group in shared:
            step = shared[tensor.group] * 2.0**tensor.exponent
            if spills(block, Scale(step, 0 * step), *seen[k].ends()):
                found.append(k)
    if found:
        raise Split(found)


def spills(block: Block, scale: Scale, low: np.ndarray, high: np.ndarray) -> bool:
    """The steps hold what the clip cuts off, and it is met; low, high: of a channel's values."""
    bottom, top = (scale.offset + q * scale.step for q in (-A_MAX, A_MAX))
    above = (high >= block.high * NEAR) & (top * NEAR > block.high)
    below = (low <= block.low * NEAR) & (bottom * NEAR < block.low)
    return bool(above.any() or (block.low < 0 and below.any()))


def by_weight(block: Block, values: np.ndarray) -> np.ndarray:
    """Of an input's channels, what each weight of a row meets: (1 or out, fan-in)."""
    if block.op == DEPTHWISE:
        return values[:, None]
    return np.tile(values, block.fan_in // len(values))[None]


def with_scaler(blocks: tuple[Block, ...], k: int) -> tuple[Block, ...]:
    """A layer behind block k that only gives its output other steps.

    A sum has the steps of its parts, so that its clip goes to the new layer.
    """
    below = blocks[k]
    channels, free = below.output[2], 0.0 if below.low == 0 else -INF
    low, high = free, INF
    if below.op == ADD:
        low, high = below.low, below.high
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

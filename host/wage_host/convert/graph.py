"""A model of another program in our own words: nodes on tensors that lie as on a board.

A reader names each operation of its file in turn to a Builder, which keeps account of how the
model's axes lie in memory (height, width, channel), so that what only moves data is no node.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from wage_host._core import lib
from wage_host.convert import windows
from wage_host.convert.order import Order, Unsupported, canonical
from wage_host.convert.weights import Weights
from wage_host.convert.windows import Padding, check_numbers, check_size, check_window, window
from wage_host.errors import ModelError
from wage_host.layers import Pair, Shape

CONV, DEPTHWISE, DENSE, AFFINE = "conv", "depthwise", "dense", "affine"
CLIP, MAX, AVERAGE, ADD = "clip", "max", "average", "add"
INPUT = -1  # the source of the model's input
INF = math.inf
LEAST = -3e38  # what is below it is below all values
NODES_MAX = 4 * lib.WAGE_LAYERS_MAX
ROOM_BYTES = 1 << 16  # of vectors, beside as many as the file has
SOME = 4096  # elements that are compared at once
AXES = "inputs have one, two or three axes behind the batch"
PLACES = "its constant differs from place to place: use one a channel"

@dataclasses.dataclass(frozen=True)
class Node:
    """One operation; `sources`: indices of the nodes whose outputs it takes, or INPUT.

    weights: conv (out, kernel height, kernel width, in), depthwise (channel, kernel height,
    kernel width), dense (out, in) in the order of memory, affine (channel); bias: (out).
    padding: top, left, bottom, right.
    """

    op: str
    name: str  # the model's, with its type
    sources: tuple[int, ...]
    input: Shape
    output: Shape
    weights: Weights | None = None
    bias: np.ndarray | None = None
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    low: float = -INF
    high: float = INF
    scale: np.ndarray | None = None  # of weights that came as integers, () or (out)
    out_scale: float | None = None  # of an output that the model quantises


@dataclasses.dataclass(frozen=True)
class Graph:
    """Nodes in the order in which they run, the last one gives the classes.

    shape: of the input; input_scale: of an input that the model quantises, a step in floats; first:
    the file has the input's channels first.
    """

    shape: Shape
    nodes: tuple[Node, ...]
    input_scale: float | None = None
    input_zero: int = 0
    first: bool = False
    told: dict[str, Any] | None = None  # of our own export: what ONNX has no place for


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Where each element of a tensor (the model's axes, without the batch) lies in memory.

    memory: height, width, channels there; pad: what the model puts around it for the window that
    comes next, (before, after) by axis, or (): zeros, or where `least` what is below all values.
    """

    source: int
    memory: Shape
    order: Order
    pad: tuple[Pair, ...] = ()
    least: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The model's axes, with the padding."""
        if not self.pad:
            return self.order.shape
        return tuple(n + sum(pad) for n, pad in zip(self.order.shape, self.pad, strict=True))


class Builder:
    """Takes operations in the order in which they run; says Unsupported of what cannot be."""

    def __init__(self, shape: Sequence[int], channels_first: bool, size: int):
        """shape: of the input in the model's axes, without the batch; size: bytes of the file."""
        check_size(shape)
        if len(shape) > 3:
            raise Unsupported(AXES)
        moved = (*shape[1:], shape[0]) if channels_first else tuple(shape)
        memory = (1,) * (3 - len(moved)) + moved
        self.shape: Shape = memory
        self.nodes: list[Node] = []
        self.room = size + ROOM_BYTES
        self.input = Tensor(INPUT, memory, canonical(memory, len(shape), channels_first))

    def take(self, bytes_: int) -> None:
        """Room for what is made of a file: numbers of its own, not the same ones in many layers."""
        self.room -= bytes_
        if self.room < 0:
            raise Unsupported("layers share their constants: export the model with some for each")

    @property
    def full(self) -> bool:
        """Whether no node fits in any more."""
        return len(self.nodes) == NODES_MAX

    def _append(self, node: Node) -> int:
        if self.full:
            raise Unsupported(f"behind {NODES_MAX} others: a board has far fewer layers")
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _put(self, node: Node, rank: int, first: bool) -> Tensor:
        check_size(node.output)
        return Tensor(self._append(node), node.output, canonical(node.output, rank, first))

    def _spatial(self, t: Tensor, first: bool) -> Shape:
        """Height, width, channels of what a window slides over."""
        s = t.order.shape
        _no_pad(t)
        if len(s) not in (2, 3):
            raise Unsupported("windows slide over one or two axes, here are others")
        shape = (*s[1:], s[0]) if first else s
        shape = shape if len(shape) == 3 else (1, *shape)
        if t.order != canonical(shape, len(s), first):
            raise Unsupported("the axes in front of it lie in another order: leave them in place")
        return self._seen(t, shape)

    def _seen(self, t: Tensor, shape: Shape) -> Shape:
        """What lies in memory has this shape from here on."""
        if t.memory != shape and t.source == INPUT and not self.nodes:
            self.shape = shape
        elif t.memory != shape:
            raise Unsupported("a reshape gives values another place in the picture: leave it out")
        return shape

    def conv(
        self,
        name: str,
        t: Tensor,
        weights: Weights,
        bias: Weights | None,
        stride: Pair,
        padding: Padding | str,
        groups: int,
        first: bool,
        scale: np.ndarray | None = None,
    ) -> Tensor:
        """A convolution; weights (out, kernel height, kernel width, in of a group).

        padding: top, left, bottom, right, or: same, same_lower.
        """
        shape = self._spatial(dataclasses.replace(t, pad=()), first)
        if t.pad:
            if t.least:
                raise Unsupported("padding with other than zeros in front of it: use zeros")
            padding = windows.with_pad(padding, t.pad, first)
        out, kh, kw, inside = weights.shape
        kernel = (kh, kw)
        if groups < 1 or inside * groups != shape[2] or out % groups:
            raise Unsupported(f"its weights are not for {shape[2]} channels")
        check_numbers(weights)
        padding, size = window(shape, kernel, stride, padding)
        about = {"kernel": kernel, "stride": stride, "padding": padding, "scale": scale}
        op, output = CONV, (*size, out)
        if groups == shape[2] == out and groups > 1:
            op, weights = DEPTHWISE, weights.moved(lambda w: w[..., 0])
        elif groups > 1:
            check_size((out, kh * kw * shape[2]))
            weights = dataclasses.replace(weights, shape=(out, kh, kw, shape[2]), groups=groups)
        node = Node(op, name, (t.source,), shape, output, weights, self._bias(bias, out), **about)
        return self._put(node, t.order.ndim, first)

    def dense(
        self,
        name: str,
        t: Tensor,
        weights: Weights,
        bias: Weights | None,
        scale: np.ndarray | None = None,
    ) -> Tensor:
        """A product with weights (out, in), in: the last axis, the only one above 1."""
        _no_pad(t)
        if t.order.size != t.order.shape[-1]:
            raise Unsupported(
                "a product with each row of a matrix: flatten in front of it, or use a "
                "convolution of kernel 1"
            )
        out, inside = weights.shape
        if inside != t.order.size:
            raise Unsupported(f"its weights are for {inside} inputs, and there are {t.order.size}")
        check_numbers(weights)
        moved = weights.moved(t.order.reshape((inside,)).in_memory)
        moved = dataclasses.replace(moved, shape=(out, inside))
        bias = self._bias(bias, out)
        node = Node(DENSE, name, (t.source,), t.memory, (1, 1, out), moved, bias, scale=scale)
        put = self._put(node, 1, False)
        return dataclasses.replace(put, order=put.order.reshape((1,) * (t.order.ndim - 1) + (out,)))

    def _bias(self, bias: Weights | None, out: int) -> np.ndarray | None:
        """A value for each output."""
        if bias is None:
            return None
        if bias.size != out:
            raise Unsupported(f"its bias is not one of {out} values")
        check_numbers(bias)
        self.take(8 * out)
        return bias.exact().reshape(out)

    def affine(self, name: str, t: Tensor, factor: np.ndarray, offset: np.ndarray) -> Tensor:
        """t * factor + offset, both broadcast against the model's axes, the same all over."""
        _no_pad(t)
        check_numbers(Weights.of(factor), Weights.of(offset))
        factor, offset = self._by_channel(t, factor), self._by_channel(t, offset)
        node = Node(AFFINE, name, (t.source,), t.memory, t.memory, Weights.of(factor), offset)
        return self._same(node, t)

    def _by_channel(self, t: Tensor, value: np.ndarray) -> np.ndarray:
        """A value for each channel."""
        channels = t.memory[2]
        self.take(8 * channels)
        if value.size == 1:
            return np.broadcast_to(value.reshape(()).astype(np.float64), channels)
        if value.size > channels:
            raise Unsupported(PLACES)
        try:
            full = np.broadcast_to(value, t.order.shape)
        except ValueError:
            raise Unsupported("its constant has another shape than its input") from None
        moved = t.order.in_memory(full).flat
        found = np.array(moved[:channels], np.float64)
        some = max(1, SOME // channels) * channels
        for at in range(0, t.order.size, some):
            if not (moved[at : at + some].reshape(-1, channels) == found).all():
                raise Unsupported(PLACES)
        return found

    def vector(self, t: Tensor, constant: Weights) -> np.ndarray:
        """A constant with no more values than t has channels, in float64."""
        if constant.size > max(1, t.memory[2]):
            raise Unsupported(PLACES)
        return constant.exact()

    def _same(self, node: Node, t: Tensor) -> Tensor:
        """The output lies as the input does."""
        return dataclasses.replace(t, source=self._append(node))

    def clip(self, name: str, t: Tensor, low: float, high: float) -> Tensor:
        """ReLU (0, inf), ReLU6 (0, 6), or a clip that is symmetrical; of a clip: both at once."""
        below = self.nodes[t.source] if t.source != INPUT else None
        if below and below.op == CLIP:
            low, high = max(low, below.low), min(high, below.high)
        if not low < high or (low != 0 and low != -high):
            raise Unsupported(
                f"a clip to {low:g} … {high:g}: from 0, or as far below it as above, can be"
            )
        _no_pad(t)
        node = Node(CLIP, name, (t.source,), t.memory, t.memory, low=float(low), high=float(high))
        return self._same(node, t)

    def pool(
        self,
        name: str,
        op: str,
        t: Tensor,
        kernel: Pair | None,
        stride: Pair,
        padding: Padding | str,
        first: bool,
        *,
        round_up: bool = False,
        counts_padding: bool = False,
    ) -> Tensor:
        """MAX or AVERAGE of windows; kernel None: of everything."""
        shape = self._spatial(dataclasses.replace(t, pad=()), first)
        if t.pad:
            self._check_pad(op, t)
            padding, counts_padding = windows.with_pad(padding, t.pad, first), True
        kernel = shape[:2] if kernel is None else kernel
        given, (padding, size) = padding, window(shape, kernel, stride, padding, round_up)
        if op == AVERAGE and round_up and padding != tuple(given):
            raise Unsupported("a last window that is not whole (ceil mode): choose another size")
        if op == AVERAGE and any(padding) and not counts_padding:
            raise Unsupported("an average that does not count its padding: count it, or do not pad")
        check_window(kernel, stride)
        about = {"kernel": kernel, "stride": stride, "padding": padding}
        node = Node(op, name, (t.source,), shape, (*size, shape[2]), **about)
        return self._put(node, t.order.ndim, first)

    def _check_pad(self, op: str, t: Tensor) -> None:
        """Around the largest is what is below all; zeros are, where nothing is below 0."""
        below = self.nodes[t.source] if t.source != INPUT else None
        positive = below is not None and below.op == CLIP and below.low == 0
        if (op == MAX and not (t.least or positive)) or (op == AVERAGE and t.least):
            raise Unsupported("padding in front of it, not of its own kind: let the pool pad")

    def reduce(self, name: str, op: str, t: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
        """MAX or AVERAGE over all places of each channel; axes without the batch's."""
        rank = t.order.ndim
        for first, places in ((True, range(1, rank)), (False, range(rank - 1))):
            if rank > 1 and set(axes) == set(places):
                made = self.pool(name, op, t, None, (1, 1), (0,) * 4, first)
                order = made.order if keep else made.order.reshape((made.order.size,))
                return dataclasses.replace(made, order=order)
        raise Unsupported(f"of these axes: the {op} of all places of each channel at once can be")

    def add(self, name: str, a: Tensor, b: Tensor) -> Tensor:
        """The sum of two tensors."""
        _no_pad(a), _no_pad(b)
        if a.order != b.order:
            raise Unsupported("a sum of tensors that are not alike: both need the same shape")
        if a.memory != b.memory:
            raise Unsupported("a sum of tensors that lie differently: leave out the reshape")
        if a.source == b.source:
            return self.affine(name, a, np.full(1, 2.0), np.zeros(1))
        return self._same(Node(ADD, name, (a.source, b.source), a.memory, a.memory), a)

    def reshape(self, t: Tensor, shape: Sequence[int]) -> Tensor:
        """The same values by other axes (without the batch); one may be -1."""
        shape = tuple(shape)
        if t.pad:
            return _by_ones(t, shape)
        known = prod(n for n in shape if n != -1)
        if shape.count(-1) == 1 and known > 0 and t.order.size % known == 0:
            shape = tuple(t.order.size // known if n == -1 else n for n in shape)
        if min(shape, default=1) < 1 or prod(shape) != t.order.size:
            raise Unsupported(f"a reshape of {t.order.size} values to {shape}")
        return dataclasses.replace(t, order=t.order.reshape(shape))

    def transpose(self, t: Tensor, axes: Sequence[int]) -> Tensor:
        """The axes (without the batch's) in another order."""
        if sorted(axes) != list(range(t.order.ndim)):
            raise Unsupported("a transpose that moves the batch")
        pad = tuple(t.pad[a] for a in axes) if t.pad else ()
        return dataclasses.replace(t, order=t.order.transpose(axes), pad=pad)

    def pad(self, t: Tensor, pads: Sequence[Sequence[int]], value: float) -> Tensor:
        """Zeros, or what is below all values, around a tensor: (before, after) by axis."""
        if value != 0 and value > LEAST:
            raise Unsupported("padding with other than zeros: use zeros")
        _no_pad(t)
        pad = tuple((int(a), int(b)) for a, b in pads)
        if len(pad) != t.order.ndim or min(map(min, pad), default=0) < 0:
            raise Unsupported("padding that cuts: choose another size")
        return dataclasses.replace(t, pad=pad, least=value != 0) if any(map(any, pad)) else t

    def quantised(self, t: Tensor, scale: float) -> None:
        """The model itself has this tensor in steps of `scale`."""
        if t.source != INPUT:
            node = self.nodes[t.source]
            self.nodes[t.source] = dataclasses.replace(node, out_scale=scale)

    def finish(self, t: Tensor, **about: object) -> Graph:
        """The graph that ends in t."""
        if t.pad:
            raise ModelError("the model ends in padding: remove it")
        if not self.nodes or t.source != len(self.nodes) - 1:
            raise ModelError("the model's output is not that of its last node: remove what is over")
        return Graph(self.shape, tuple(self.nodes), **about)


def _by_ones(t: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A padded tensor with more or fewer axes of 1, and otherwise as it was."""
    axes = zip(t.order.shape, t.shape, t.pad, strict=True)
    large = [(n, pad) for n, padded, pad in axes if padded > 1]
    sizes = [n + sum(pad) for n, pad in large]
    if [n for n in shape if n != 1] != sizes:
        _no_pad(t)
    left = iter(large)
    axes = [next(left) if n != 1 else (1, (0, 0)) for n in shape]
    order = t.order.reshape([n for n, _ in axes])
    return dataclasses.replace(t, order=order, pad=tuple(pad for _, pad in axes))


def _no_pad(t: Tensor) -> None:
    if t.pad:
        raise Unsupported("padding in front of it: only a convolution or a pool can have some")

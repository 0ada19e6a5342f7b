"""Layers and networks on the host: what they are, how large, and whether they fit 32 bits."""

import dataclasses
from collections.abc import Iterator
from math import prod

import numpy as np

from wage_host._core import lib
from wage_host.core import NO_WEIGHTS, Info
from wage_host.errors import ModelError
from wage_host.extras import NOTHING, Extras

Shape = tuple[int, int, int]  # height, width, channels
Pair = tuple[int, int]  # height, width; or kW, kG


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer, as in SPEC 9.2; `text` is how it was written.

    weights: stored ones, (out, fan-in) int16; bias: (out) int32 in the unit of the layer's sums,
    or None.
    """

    text: str
    kind: int
    out: int
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)  # above and left; below and right too, where padding_end says nothing
    pool: int = 1
    activation: int = lib.WAGE_NONE
    weight_bits: int = 0
    store_bits: int = 0
    alpha_shift: int = 0
    skip: int = 0
    factor: int = 0
    weights: np.ndarray = dataclasses.field(default_factory=lambda: NO_WEIGHTS)
    bias: np.ndarray | None = None
    padding_end: Pair | None = None  # below and right
    fixed: bool = False  # behind the cut only its bias learns

    @property
    def around(self) -> tuple[int, int, int, int]:
        """Padding: top, left, bottom, right."""
        return (*self.padding, *(self.padding_end or self.padding))

    def used(self, paper: bool) -> np.ndarray:
        """Weights in use, SPEC 2.4, under the paper's policy or the continual one."""
        w, spare = self.weights.astype(np.int32), self.store_bits - self.weight_bits
        if not paper and (self.weight_bits, self.store_bits) == (8, 16):
            return (w + 128) >> 8
        q = w >> spare
        rest, half = (w - (q << spare)) * 2, 1 << spare
        return q + ((rest > half) | ((rest == half) & (q & 1 == 1)))


@dataclasses.dataclass(frozen=True)
class Place:
    """A layer where it stands: the shapes of its input, of its sums before pooling, its output."""

    layer: Layer
    input: Shape
    sums: Shape
    output: Shape

    @property
    def fan_in(self) -> int:
        """Products in one sum; weights of one output."""
        if self.layer.kind == lib.WAGE_DENSE:
            return prod(self.input)
        return prod(self.layer.kernel) * (
            self.input[2] if self.layer.kind == lib.WAGE_CONV2D else 1
        )

    @property
    def macs(self) -> int:
        """Multiplications of weights and activations for one sample."""
        return prod(self.sums) * self.fan_in if self.layer.weight_bits else 0


def place(layer: Layer, shape: Shape) -> Place:
    """The layer behind a tensor of this shape."""
    if layer.kind == lib.WAGE_DENSE:
        sums = (1, 1, layer.out)
    else:
        pads = zip(layer.around[:2], layer.around[2:], strict=True)
        edges = zip(shape, layer.kernel, layer.stride, pads, strict=False)
        rows, columns = ((n + sum(pad) - k) // stride + 1 for n, k, stride, pad in edges)
        sums = (rows, columns, layer.out)
    output = (-(-sums[0] // layer.pool), -(-sums[1] // layer.pool), layer.out)
    return Place(layer, shape, sums, output)


@dataclasses.dataclass(frozen=True)
class Network:
    """Layers from the input to the classes; `paper`: they learn, or learned, by that policy."""

    shape: Shape
    input_map: int
    layers: tuple[Layer, ...]
    paper: bool = False
    extras: Extras = NOTHING

    @property
    def classes(self) -> int:
        """How many classes the last layer tells apart."""
        return self.layers[-1].out

    @property
    def weighted(self) -> list[int]:
        """Indices of the layers with weights."""
        return [k for k, layer in enumerate(self.layers) if layer.weight_bits]

    def places(self) -> Iterator[Place]:
        """The layers where they stand."""
        shape = self.shape
        for layer in self.layers:
            yield (at := place(layer, shape))
            shape = at.output

    def info(self) -> Info:
        """As far as samples need it."""
        h, w, c = self.shape
        shape, size, extras = self.shape, h * w * c, self.extras
        return Info("", 0, shape, self.input_map, self.classes, size, 0, 0, extras=extras)


def check(at: Place, batch: int) -> None:
    """Raises what the loader would refuse as LIMIT (SPEC 2.6, 9.6), naming the layer."""
    token, inside = f"'{at.layer.text}'", prod(at.input)
    if min(at.sums) < 1:
        raise ModelError(f"{token} leaves nothing of its input: use a smaller kernel")
    fan_out = at.layer.out * prod(at.layer.kernel) if at.layer.kind == lib.WAGE_CONV2D else 0
    positions = prod(at.sums[:2]) * batch
    for what, count, most in (
        ("inputs a sample", inside, lib.WAGE_ELEMENTS_MAX),
        ("outputs a sample", prod(at.output), lib.WAGE_ELEMENTS_MAX),
        ("products in a sum (its fan-in)", at.fan_in, lib.WAGE_PRODUCTS_MAX),
        ("products in an error's sum (its fan-out)", fan_out, lib.WAGE_PRODUCTS_MAX),
        (f"positions in a gradient's sum (batch {batch})", positions, lib.WAGE_PRODUCTS_MAX),
    ):
        if count > most:
            raise ModelError(
                f"{token} is too large: {count:,} {what}, and at most {most:,} are exact in 32 "
                "bits: make the layer, or the batch, smaller"
                if most == lib.WAGE_PRODUCTS_MAX
                else f"{token} is too large: {count:,} {what}, at most {most:,}: make it smaller"
            )

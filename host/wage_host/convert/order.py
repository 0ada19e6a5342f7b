"""Where the elements of a tensor lie in memory, told by a few numbers, however many they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from math import prod

import numpy as np

from wage_host.layers import Pair, Shape

AXES_MAX = 8


class Unsupported(Exception):
    """What a board cannot run: why, and what to do."""


@dataclasses.dataclass(frozen=True)
class Order:
    """The place in memory of each element of a tensor.

    shape: the model's axes, without the batch. An element has a number, counted along the last
    axis first. factors: (size, stride) of the digits of that number, the first counts most; an
    element's place is the sum of its digits times their strides. A factor of size 1 is left out
    and neighbours are joined where they can be, so that the same places always have the same
    factors.
    """

    shape: tuple[int, ...]
    factors: tuple[Pair, ...]

    @property
    def ndim(self) -> int:
        """Axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Elements."""
        return prod(self.shape)

    def reshape(self, shape: Sequence[int]) -> Order:
        """The same elements by other axes."""
        if len(shape) > AXES_MAX:
            raise Unsupported(f"a tensor of {len(shape)} axes: {AXES_MAX} can be")
        return Order(tuple(shape), self.factors)

    def transpose(self, axes: Sequence[int]) -> Order:
        """The axes in another order."""
        parts = self._by_axis()
        return Order(tuple(self.shape[a] for a in axes), _joined(f for a in axes for f in parts[a]))

    def in_memory(self, values: np.ndarray) -> np.ndarray:
        """A view of values (…, *shape) as they lie in memory, (…, an axis for each factor)."""
        parts = [factor for axis in self._by_axis() for factor in axis]
        before = values.ndim - self.ndim
        seen = values.reshape((*values.shape[:before], *(size for size, _ in parts)))
        by_stride = sorted(range(len(parts)), key=lambda k: -parts[k][1])
        return seen.transpose((*range(before), *(before + k for k in by_stride)))

    def _by_axis(self) -> list[list[Pair]]:
        """Factors of each axis."""
        left, found = list(self.factors), []
        for size in reversed(self.shape):
            axis: list[Pair] = []
            while size > 1:
                n, stride = left.pop()
                part = min(n, size)
                if n % part or size % part:
                    raise Unsupported("a reshape has mixed its axes: leave out that, or what moves")
                axis.insert(0, (part, stride))
                if n > part:
                    left.append((n // part, stride * part))
                size //= part
            found.append(axis)
        return found[::-1]


def canonical(memory: Shape, rank: int, first: bool) -> Order:
    """Order of a tensor (height, width, channels in memory) of 1, 2 or 3 axes.

    first: its channels come first, not last; one axis is as memory is.
    """
    h, w, c = memory
    shape, factors = [prod(memory[: 4 - rank]), *memory[4 - rank :]], [(h, w * c), (w, c), (c, 1)]
    if first and rank > 1:
        shape, factors = [shape[-1], *shape[:-1]], [factors[-1], *factors[:-1]]
    return Order(tuple(shape), _joined(factors))


def _joined(factors: Iterable[Pair]) -> tuple[Pair, ...]:
    found: list[Pair] = []
    for size, stride in factors:
        if size > 1 and found and found[-1][1] == size * stride:
            found[-1] = (found[-1][0] * size, stride)
        elif size > 1:
            found.append((size, stride))
    return tuple(found)

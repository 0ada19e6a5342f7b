"""Weights as a file has them, and what they stand for, which takes up to eight times the bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Weights:
    """(stored - zero) * factors[0] * factors[1] …, made in float64 when it is asked for.

    zero and the factors are views with the shape of `stored`. shape: of what is made, in which
    axes of `stored` may be joined. groups: of a convolution, whose weights are made as those of a
    whole one, with zeros between the groups.
    """

    shape: tuple[int, ...]
    stored: np.ndarray
    zero: np.ndarray | None = None
    factors: tuple[np.ndarray, ...] = ()
    groups: int = 1

    @staticmethod
    def of(stored: np.ndarray, zero: np.ndarray | None = None, *factors: np.ndarray) -> Weights:
        """zero and factors are broadcast."""
        wide = [None if a is None else np.broadcast_to(a, stored.shape) for a in (zero, *factors)]
        return Weights(stored.shape, stored, wide[0], tuple(wide[1:]))

    @property
    def ndim(self) -> int:
        """Axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Numbers in the file."""
        return self.stored.size

    def moved(self, change: Callable[[np.ndarray], np.ndarray]) -> Weights:
        """By other axes; change: to a view of an array."""
        zero = None if self.zero is None else change(self.zero)
        stored = change(self.stored)
        return Weights(stored.shape, stored, zero, tuple(map(change, self.factors)))

    def times(self, factor: np.ndarray) -> Weights:
        """Times one factor for each output (the first axis), or one for all."""
        by_row = factor.reshape(-1, *(1,) * (self.stored.ndim - 1))
        wide = np.broadcast_to(by_row, self.stored.shape)
        return dataclasses.replace(self, factors=(*self.factors, wide))

    def finite(self) -> bool:
        """There are some, and none is infinite or no number."""
        parts = [a for a in (self.stored, self.zero, *self.factors) if a is not None]
        return self.size > 0 and all(np.isfinite(a).all() for a in parts)

    def exact(self) -> np.ndarray:
        """What they stand for, in float64."""
        w = self.stored.astype(np.float64, order="C")
        if self.zero is not None:
            w -= self.zero
        for factor in self.factors:
            w *= factor
        if self.groups == 1:
            return w.reshape(self.shape)
        out, inside = len(w), w.shape[-1]
        whole = np.zeros(self.shape)
        for g in range(self.groups):
            rows = slice(g * out // self.groups, (g + 1) * out // self.groups)
            whole[rows, :, :, g * inside : (g + 1) * inside] = w[rows]
        return whole

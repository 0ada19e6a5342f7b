"""What tensors hold on the samples: a histogram for each channel."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from wage_host.convert import floats
from wage_host.convert.fold import Block, Unfit

HALF = 1023  # bins on either side of 0
BINS = 2 * HALF + 1
PLACES = 1 << 16  # of a tensor, about, that are counted


@dataclasses.dataclass(frozen=True)
class Seen:
    """Values that a tensor holds, and how often: (bins, channels) each; the shares sum up to 1."""

    values: np.ndarray
    shares: np.ndarray

    @property
    def power(self) -> float:
        """Mean squares, of all channels together."""
        return float((np.square(self.values) * self.shares).sum())

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and the largest value, (channels)."""
        there = self.shares > 0
        low, high = (np.where(there, self.values, end) for end in (np.inf, -np.inf))
        return low.min(0), high.max(0)

    def together(self) -> Seen:
        """All channels as one."""
        shares = self.shares.reshape(-1, 1) / self.shares.shape[1]
        return Seen(self.values.reshape(-1, 1), shares)


def seen_in(blocks: tuple[Block, ...], x: np.ndarray) -> list[Seen]:
    """What each layer's output holds in floats, for samples x (n, h, w, c) int8."""
    most = [np.zeros(block.output[2], np.float32) for block in blocks]
    for k, out in _outputs(blocks, x):
        if not np.isfinite(out).all():
            raise Unfit(f"{blocks[k].name}: it gives no finite numbers: look at its weights")
        np.maximum(most[k], np.abs(out).max((0, 1, 2)), out=most[k])
    widths = [np.where(m > 0, m, 1) / HALF for m in most]
    counts = [np.zeros(BINS * len(m), np.int64) for m in most]
    draws = np.random.default_rng(1)
    for k, out in _outputs(blocks, x):
        rows = out.reshape(-1, out.shape[3])
        share = max(1, PLACES * len(out) // len(x))
        if len(rows) > share:
            rows = rows[draws.choice(len(rows), share, replace=False)]
        bins = np.rint(rows / widths[k]).astype(np.int64) + HALF
        bins += np.arange(rows.shape[1]) * BINS
        counts[k] += np.bincount(bins.ravel(), minlength=len(counts[k]))
    scale = np.arange(-HALF, HALF + 1, dtype=np.float32)[:, None]
    found = []
    for width, count in zip(widths, counts, strict=True):
        by_channel = count.reshape(-1, BINS).T
        found.append(Seen(scale * width.astype(np.float32), by_channel / by_channel.sum(0)))
    return found


def _outputs(blocks: tuple[Block, ...], x: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for at in range(0, len(x), floats.SAMPLES):
        yield from enumerate(floats.run(blocks, x[at : at + floats.SAMPLES].astype(np.float32)))

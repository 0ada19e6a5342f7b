"""Augmentation as published for CIFAR-10: pictures moved and mirrored, by seed and epoch."""

import dataclasses
import re

import numpy as np

from wage_host import rng
from wage_host.errors import WrongUsage

CROP_MAX = 64


@dataclasses.dataclass(frozen=True)
class Augment:
    """`crop`: rows and columns of zeros around a picture, then a window anywhere in it."""

    crop: int = 0
    flip: bool = False

    def __bool__(self) -> bool:
        """Whether anything is done at all."""
        return self.crop > 0 or self.flip


def parse(text: str) -> Augment:
    """From text: `crop4,flip`, `crop2`, `flip`; nothing when it is empty."""
    crop, flip = 0, False
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"crop([1-9]\d?)", part)
        if match and int(match[1]) <= CROP_MAX:
            crop = int(match[1])
        elif part == "flip":
            flip = True
        else:
            raise WrongUsage(f"'{part}' is no augmentation: write crop4, flip or crop4,flip")
    return Augment(crop, flip)


def augmented(x: np.ndarray, index: np.ndarray, how: Augment, seed: int, epoch: int) -> np.ndarray:
    """Pictures (n, h, w, c) as this epoch learns them; index (n,): their numbers in the data.

    Where a picture moves depends on seed, epoch and its number alone.
    """
    key, n = rng.key(seed, epoch, rng.STAGE_AUGMENT), len(x)
    top, left, mirror = (rng.draws(key, 3 * index.astype(np.uint32) + k) for k in range(3))
    if how.crop:
        around = ((0, 0), (how.crop, how.crop), (how.crop, how.crop), (0, 0))
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(x, around), x.shape[1:3], axis=(1, 2)
        )  # (n, tops, lefts, c, h, w)
        top, left = (rng.below(bits, 2 * how.crop + 1) for bits in (top, left))
        x = windows[np.arange(n), top, left].transpose(0, 2, 3, 1)
    if how.flip:
        flipped = (mirror >> np.uint32(31)).astype(bool)
        x = np.where(flipped[:, None, None, None], x[:, :, ::-1], x)
    return np.ascontiguousarray(x)

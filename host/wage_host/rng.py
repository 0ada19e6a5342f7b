"""The random numbers of SPEC 1.6 to 1.9, many at once."""

import numpy as np

from wage_host._core import lib

# Stages of key() that the host alone uses, away from those of the SPEC.
STAGE_INIT = 128  # + the number of a layer
STAGE_AUGMENT = 192


def draws(key: int, index: np.ndarray) -> np.ndarray:
    """32 random bits for each index (0 to 2^32 - 1), uint32 in its shape: draw() of the SPEC."""
    x = np.uint32(key) + index.astype(np.uint32) * np.uint32(0x9E3779B9)
    x ^= x >> np.uint32(16)
    x *= x + x + np.uint32(1)
    return x ^ (x >> np.uint32(16))


def below(bits: np.ndarray, count: int) -> np.ndarray:
    """Uniform in 0 to count - 1, int64, from 32 random bits each: below() of the SPEC."""
    return ((bits.astype(np.uint64) * np.uint64(count)) >> np.uint64(32)).astype(np.int64)


def key(seed: int, step: int, stage: int) -> int:
    """Where a row of draws begins: key() of the SPEC."""
    return lib.wage_key(seed, step, stage)

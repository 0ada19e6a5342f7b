"""The weights and the constant scale that a layer begins with: integers, by seed."""

from math import isqrt

import numpy as np

from wage_host import rng

PUBLISHED, FILLED = "published", "filled"


def alpha_shift(fan_in: int) -> int:
    """The smallest s with 3 · fan-in < 16 · 2^(2s+1): log2 of the layer's constant scale.

    Weights then fill three quarters of full scale, where the paper's published program has
    them for 2 bits; alpha, its constant scale, does the rest.
    """
    return _smallest_shift(fan_in, 5)


def published_alpha_shift(fan_in: int, weight_bits: int) -> int:
    """log2 of alpha as published: the smallest s with 3 · fan-in < 2^(2 · kW + 2s + 1)."""
    return _smallest_shift(fan_in, 2 * weight_bits + 1)


def _smallest_shift(fan_in: int, bits: int) -> int:
    s = 0
    while 3 * fan_in >= 1 << (2 * s + bits):
        s += 1
    return s


def filled(seed: int, number: int, out: int, fan_in: int, bits: tuple[int, int]) -> np.ndarray:
    """Stored weights uniform over three quarters of full scale, (out, fan-in) int16.

    bits: (kW, kG). Full scale is 2^(kG-1), for 2-bit weights the half of it that they use.
    """
    weight_bits, store_bits = bits
    full = 1 << (store_bits - (2 if weight_bits == 2 else 1))
    return _uniform(seed, number, (out, fan_in), -(-3 * full // 4))


def published(seed: int, number: int, out: int, fan_in: int, bits: tuple[int, int]) -> np.ndarray:
    """Stored weights as published, (out, fan-in) int16; bits: (kW, kG).

    Uniform within the larger of 1.5 · 2^-(kW-1) and sqrt(3 / fan-in), but no farther than
    stored weights go; 2-bit weights begin on their grid, -0.5, 0 and 0.5 with equal chance.
    """
    weight_bits, store_bits = bits
    grid = 1 << (store_bits - weight_bits)
    if weight_bits == 2:
        return grid * _uniform(seed, number, (out, fan_in), 1)
    limit = isqrt((3 << 2 * (store_bits - 1)) // fan_in)
    farthest = (1 << store_bits - 1) - grid
    drawn = _uniform(seed, number, (out, fan_in), max(3 * grid // 2, limit))
    return np.clip(drawn, -farthest, farthest)


def _uniform(seed: int, number: int, shape: tuple[int, int], limit: int) -> np.ndarray:
    """Whole numbers in -limit..limit, int16; `number` is the layer's, from 0."""
    index = np.arange(shape[0] * shape[1], dtype=np.uint32)
    bits = rng.draws(rng.key(seed, 0, rng.STAGE_INIT + number), index)
    return (rng.below(bits, 2 * limit + 1) - limit).reshape(shape).astype(np.int16)

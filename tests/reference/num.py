"""SPEC 1: primitives. Python integers or integer arrays in, the same out."""

# SPDX-License-Identifier: MIT

import zlib

import numpy as np

Int = int | np.ndarray
WORD = 0xFFFFFFFF
GOLDEN = 0x9E3779B9


def floor_shift(x: Int, n: int) -> Int:
    """x / 2^n rounded towards minus infinity, n >= 0 (1.1)."""
    return x >> n


def rne(x: Int, n: int) -> Int:
    """x / 2^n rounded to the nearest integer, halves to the even one (1.2)."""
    if n <= 0:
        return x * (1 << -n)
    n = min(n, 62)  # what NumPy can shift; more gives 0 as well
    whole = x >> n
    rest = x - (whole << n)
    half = 1 << (n - 1)
    return whole + ((rest > half) | ((rest == half) & (whole & 1)))


def ilog2_round(m: int) -> int:
    """log2(m) rounded to the nearest integer, m > 0 (1.3)."""
    k = m.bit_length() - 1
    return k + 1 if m * m >= 1 << (2 * k + 1) else k


def clamp(x: Int, lo: int, hi: int) -> Int:
    """x, but at least lo and at most hi (1.4)."""
    if isinstance(x, np.ndarray):
        return np.minimum(np.maximum(x, lo), hi)
    return min(max(x, lo), hi)


def mix(x: Int) -> Int:
    """A permutation of 32-bit words (1.5)."""
    x = x ^ (x >> 16)
    x = (x * 0x21F0AAAD) & WORD
    x = x ^ (x >> 15)
    x = (x * 0x735A2D97) & WORD
    return x ^ (x >> 15)


def key(seed: int, step: int, stage: int) -> int:
    """The key of all draws for one purpose in one step (1.6)."""
    return mix(mix((seed + step * GOLDEN) & WORD) ^ ((stage * 0x85EBCA6B) & WORD))


def draw(key: int, i: Int) -> Int:
    """32 random bits, the i-th of this key; i an integer or uint32 array (1.7)."""
    x = (key + i * GOLDEN) & WORD
    x = x ^ (x >> 16)
    x = (x * (2 * x + 1)) & WORD
    return x ^ (x >> 16)


def fraction(key: int, index: Int) -> Int:
    """16 random bits for element `index`, an integer or uint32 array (1.8)."""
    return (draw(key, index // 2) >> (index % 2 * 16)) & 0xFFFF


def below(bits: int, n: int) -> int:
    """32 random bits to a number in 0..n-1 (1.9)."""
    return (bits * n) >> 32


def stochastic_shift(m: Int, n: int, r: Int) -> Int:
    """m / 2^n rounded at random with the 16 bits r; 0 <= m < 2^32 (1.10)."""
    if n <= 0:
        # m >= 1 shifted by 16 or more is above the bound: 16 says the same
        return clamp(m << min(-n, 16), 0, 65535)
    if n <= 16:
        return (m + (r >> (16 - n))) >> n
    return ((m >> min(n - 16, 32)) + r) >> 16


def crc32(data: bytes) -> int:
    """CRC-32/ISO-HDLC (1.11)."""
    return zlib.crc32(data)

"""SPEC 10: pre-processing of one sample, step by step, in plain integers."""

# SPDX-License-Identifier: MIT

import math
from fractions import Fraction

import numpy as np

SIN15 = [round(2**15 * math.sin(math.pi / 2 * i / 256)) for i in range(257)]
LOG8 = [round(256 * math.log2((128.5 + m) / 128)) for m in range(128)]


def half_even(x: Fraction) -> int:
    """To the nearest integer, halves to the even one: what Python's round() does exactly."""
    return round(x)


def resize(x: np.ndarray, h: int, w: int) -> np.ndarray:
    """Means of areas."""
    height, width, channels = x.shape
    out = np.zeros((h, w, channels), np.int64)
    for i in range(h):
        for j in range(w):
            for c in range(channels):
                total = 0
                for r in range(height):
                    down = min((r + 1) * h, (i + 1) * height) - max(r * h, i * height)
                    if down <= 0:
                        continue
                    for s in range(width):
                        across = min((s + 1) * w, (j + 1) * width) - max(s * w, j * width)
                        total += max(across, 0) * down * int(x[r, s, c])
                area = height * width
                out[i, j, c] = (total + area // 2) // area
    return out


def crop(x: np.ndarray, h: int, w: int) -> np.ndarray:
    """The middle."""
    top, left = (x.shape[0] - h) // 2, (x.shape[1] - w) // 2
    return x[top : top + h, left : left + w].astype(np.int64)


def grey(x: np.ndarray) -> np.ndarray:
    """One channel."""
    if x.shape[2] == 1:
        return x.astype(np.int64)
    return (x.astype(np.int64) @ np.array([[77], [150], [29]]) + 128) >> 8


def decimals(x: np.ndarray, *d: int) -> np.ndarray:
    """Whole numbers of 10^-d; x has at most so many decimals as a double tells."""
    values = x.reshape(-1).tolist()
    flat = [half_even(Fraction(str(v)) * 10 ** d[i % len(d)]) for i, v in enumerate(values)]
    return np.array(flat, np.int64).reshape(x.shape)


def cut(x: np.ndarray, n: int) -> np.ndarray:
    """The first n columns, zeros behind."""
    out = np.zeros((1, n, x.shape[2]), np.int64)
    out[:, : min(n, x.shape[1])] = x[:, :n]
    return out


def window(x: np.ndarray, n: int, hop: int) -> list[np.ndarray]:
    """All that fit."""
    return [x[:, k : k + n].astype(np.int64) for k in range(0, x.shape[1] - n + 1, hop)]


def normalise(x: np.ndarray, *triples: int) -> np.ndarray:
    """Activations."""
    ways, out = len(triples) // 3, []
    for i, value in enumerate(x.reshape(-1).tolist()):
        offset, factor, shift = triples[3 * (i % ways) : 3 * (i % ways) + 3]
        near = max(-65535, min(65535, value - offset))
        out.append(max(-127, min(127, half_even(Fraction(near * factor, 2**shift)))))
    return np.array(out, np.int8).reshape(x.shape)


# -- 10.4 and 10.5 ---------------------------------------------------------------


def sine(a: np.ndarray) -> np.ndarray:
    """2^15 sin; a in 2^-16 of a turn."""
    a = np.asarray(a, np.int64) % 65536
    p = np.where(a // 16384 % 2 == 1, 16384 - a % 16384, a % 16384)
    table = np.array([*SIN15, SIN15[-1]], np.int64)
    i, f = p // 64, p % 64
    y = table[i] + (table[i + 1] - table[i]) * f // 64
    return np.where(a >= 32768, -y, y)


def cosine(a: np.ndarray) -> np.ndarray:
    """2^15 cos."""
    return sine(np.asarray(a, np.int64) + 16384)


def scaled(x: np.ndarray, c: np.ndarray) -> np.ndarray:
    """x c / 2^15, floors as 10.4 puts them."""
    h = x // 4096
    return (h * c + (x - 4096 * h) * c // 4096) // 8


def turned(re: np.ndarray, im: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turned back by an angle."""
    c, s = cosine(a), sine(a)
    return scaled(re, c) + scaled(im, s), scaled(im, c) - scaled(re, s)


def reversed_bits(count: int) -> list[int]:
    """0..count-1 with their bits turned round."""
    bits = count.bit_length() - 1
    return [int(format(k, f"0{bits}b")[::-1], 2) for k in range(count)]


def powers(sound: np.ndarray, window: int, n: int) -> tuple[list[int], int]:
    """Powers of the bins of a frame, and the gain."""
    gain, i = 11 - (n.bit_length() - 1), np.arange(window)
    hann = (32768 - cosine(i * ((2**32 - 1) // window) // 65536)) // 2
    x = np.zeros(n, np.int64)
    x[:window] = [
        half_even(Fraction(int(v) * int(w), 2 ** (15 - gain)))
        for v, w in zip(sound, hann, strict=True)
    ]
    m, order = n // 2, reversed_bits(n // 2)
    re, im = x[0::2][order], x[1::2][order]
    half = 1
    while half < m:
        re, im = re.reshape(-1, 2, half), im.reshape(-1, 2, half)
        t_re, t_im = turned(re[:, 1], im[:, 1], np.arange(half) * 32768 // half)
        re = np.stack([re[:, 0] + t_re, re[:, 0] - t_re], 1).reshape(-1)
        im = np.stack([im[:, 0] + t_im, im[:, 0] - t_im], 1).reshape(-1)
        half *= 2
    p: list[int] = [0] * (m + 1)
    p[0], p[m] = int(re[0] + im[0]) ** 2, int(re[0] - im[0]) ** 2
    for k in range(1, m // 2 + 1):
        even = re[k] + re[m - k], im[k] - im[m - k]
        odd = turned(im[k] + im[m - k], re[m - k] - re[k], k * 32768 // m)
        for at, sign in ((m - k, -1), (k, 1)):
            parts = [int(e + sign * o) // 2 for e, o in zip(even, odd, strict=True)]
            p[at] = parts[0] ** 2 + parts[1] ** 2
    return p, gain


def log2_256(x: int, down: int) -> int:
    """256 log2(x / 2^down) from the table; 0 when negative."""
    if x == 0:
        return 0
    e = x.bit_length() - 1
    m = (x << 7 >> e) - 128
    return max(0, 256 * e + LOG8[m] - 256 * down)


def logmel(x: np.ndarray, rate: int, window: int, hop: int, n: int, *edges: int) -> np.ndarray:
    """(frames, bands, 1) of sound (1, samples, 1)."""
    sound, frames = x.reshape(-1), []
    for at in range(0, len(sound) - window + 1, hop):
        p, gain = powers(sound[at : at + window], window, n)
        values = []
        for u, v, w in zip(edges, edges[1:], edges[2:], strict=False):
            energy = 0
            for k, power in enumerate(p):
                if u < 64 * k < v:
                    energy += (64 * k - u) * (2**24 // (v - u)) // 16384 * power
                elif v <= 64 * k < w:
                    energy += (w - 64 * k) * (2**24 // (w - v)) // 16384 * power
            values.append(log2_256(energy, 2 * gain + 10))
        frames.append(values)
    return np.array(frames, np.int64).reshape(len(frames), len(edges) - 2, 1)

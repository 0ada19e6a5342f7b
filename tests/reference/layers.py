"""SPEC 2, 3, 5.1, 5.2: weights in use and the three kernels of each layer kind.

All tensors are int64 arrays; activations, sums and errors are (height, width,
channel), for a dense layer's output (1, 1, out); weights are (out, fan_in).
"""

# SPDX-License-Identifier: MIT

from dataclasses import dataclass

import numpy as np

from .num import clamp, floor_shift, rne

DENSE, CONV2D = 1, 2
Shape = tuple[int, int, int]


@dataclass
class Layer:
    """One layer: its record in the blob (9.2) and its weights."""

    kind: int
    index: int  # in the blob, from 0
    bits: int  # of a weight in use: 2 or 8
    trainable: bool
    alpha_shift: int
    in_shape: Shape
    out: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int, int, int]  # top, left, bottom, right
    pool: int
    w: np.ndarray | None = None  # (out, fan_in): stored (2.4); frozen: in use

    @property
    def h(self) -> int:
        """H, the exponent from sums to activations (2.5)."""
        return (7 if self.bits == 8 else 1) + self.alpha_shift

    @property
    def limit(self) -> int:
        """Largest magnitude of a weight as it is kept (2.3, 2.4)."""
        if self.trainable:
            return 32512 if self.bits == 8 else 64
        return 127 if self.bits == 8 else 1

    @property
    def fan_in(self) -> int:
        """Products in one sum."""
        h, w, c = self.in_shape
        return h * w * c if self.kind == DENSE else self.kernel[0] * self.kernel[1] * c

    @property
    def sum_shape(self) -> Shape:
        """Shape of the sums before pooling (3.3)."""
        if self.kind == DENSE:
            return 1, 1, self.out
        h, w, _ = self.in_shape
        top, left, bottom, right = self.pad
        rows = (h + top + bottom - self.kernel[0]) // self.stride[0] + 1
        columns = (w + left + right - self.kernel[1]) // self.stride[1] + 1
        return rows, columns, self.out

    @property
    def out_shape(self) -> Shape:
        """Shape of the sums after pooling (3.4)."""
        h, w, c = self.sum_shape
        return -(-h // self.pool), -(-w // self.pool), c

    @property
    def q(self) -> np.ndarray:
        """Weights in use, (out, fan_in) (2.4)."""
        if not self.trainable:
            return self.w
        if self.bits == 8:
            return floor_shift(self.w + 128, 8)
        return (self.w > 32).astype(np.int64) - (self.w < -32)


def latent_shape(layers: list[Layer]) -> Shape:
    """Shape of what goes from the frozen layers to the trainable ones (6.1)."""
    return next(layer.in_shape for layer in layers if layer.trainable)


def dense_forward(layer: Layer, a: np.ndarray) -> tuple[np.ndarray, None]:
    """Sums (1, 1, out) and no winners (3.3)."""
    return (layer.q @ a.reshape(-1)).reshape(1, 1, -1), None


def dense_error(layer: Layer, d: np.ndarray, winner: None = None) -> np.ndarray:
    """Error sums of the input, in_shape, before any mask (5.1)."""
    return (d.reshape(-1) @ layer.q).reshape(layer.in_shape)


def dense_gradient(layer: Layer, a: np.ndarray, d: np.ndarray, winner: None = None) -> np.ndarray:
    """Gradient (out, fan_in) (5.2)."""
    return d.reshape(-1, 1) * a.reshape(1, -1)


def patches(layer: Layer, a: np.ndarray) -> np.ndarray:
    """What each position of a convolution sees: (positions, fan_in), 0 outside the input."""
    top, left, bottom, right = layer.pad
    padded = np.pad(a, ((top, bottom), (left, right), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, layer.kernel, axis=(0, 1))
    windows = windows[:: layer.stride[0], :: layer.stride[1]]  # (rows, columns, c, kh, kw)
    return windows.transpose(0, 1, 3, 4, 2).reshape(-1, layer.fan_in)


def max_pool(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest of each 2 x 2 window and its index, the first of equals (3.4)."""
    h, w, _ = sums.shape
    low = np.iinfo(np.int64).min  # outside an odd size: never wins
    padded = np.pad(sums, ((0, h % 2), (0, w % 2), (0, 0)), constant_values=low)
    windows = np.stack([padded[y::2, x::2] for y in (0, 1) for x in (0, 1)])
    return windows.max(axis=0), windows.argmax(axis=0)


def unpool(layer: Layer, d: np.ndarray, winner: np.ndarray | None) -> np.ndarray:
    """d (out_shape) at the winner of each window, 0 elsewhere: sum_shape (5.1)."""
    if winner is None:
        return d
    h, w, c = layer.sum_shape
    full = np.zeros((2 * d.shape[0], 2 * d.shape[1], c), np.int64)
    for index in range(4):
        full[index // 2 :: 2, index % 2 :: 2] = np.where(winner == index, d, 0)
    return full[:h, :w]


def conv2d_forward(layer: Layer, a: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Sums after pooling (out_shape) and the winners, None without pooling (3.3, 3.4)."""
    sums = (patches(layer, a) @ layer.q.T).reshape(layer.sum_shape)
    return max_pool(sums) if layer.pool == 2 else (sums, None)


def conv2d_error(layer: Layer, d: np.ndarray, winner: np.ndarray | None) -> np.ndarray:
    """Error sums of the input, in_shape, before any mask (5.1)."""
    d = unpool(layer, d, winner)
    rows, columns, out = d.shape
    (kh, kw), (down, across) = layer.kernel, layer.stride
    (h, w, c), (top, left, bottom, right) = layer.in_shape, layer.pad
    spread = (d.reshape(-1, out) @ layer.q).reshape(rows, columns, kh, kw, c)
    e = np.zeros((h + top + bottom, w + left + right, c), np.int64)
    for y in range(kh):
        for x in range(kw):
            e[y : y + rows * down : down, x : x + columns * across : across] += spread[:, :, y, x]
    return e[top : top + h, left : left + w]


def conv2d_gradient(
    layer: Layer, a: np.ndarray, d: np.ndarray, winner: np.ndarray | None
) -> np.ndarray:
    """Gradient (out, fan_in), summed over all positions (5.2)."""
    return unpool(layer, d, winner).reshape(-1, layer.out).T @ patches(layer, a)


FORWARD = {DENSE: dense_forward, CONV2D: conv2d_forward}
ERROR = {DENSE: dense_error, CONV2D: conv2d_error}
GRADIENT = {DENSE: dense_gradient, CONV2D: conv2d_gradient}


def forward(layer: Layer, a: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Sums after pooling and winners of any layer."""
    return FORWARD[layer.kind](layer, a)


def activate(layer: Layer, z: np.ndarray) -> np.ndarray:
    """ReLU, rounding and saturation of a hidden layer's sums, unit 2^-7 (3.5)."""
    return clamp(rne(np.maximum(z, 0), layer.h), 0, 127)

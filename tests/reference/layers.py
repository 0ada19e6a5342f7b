"""SPEC 2, 3, 5.1, 5.2: weights in use and the three kernels of each layer kind.

A kernel works on one sample. All tensors are int64 arrays; activations, sums and
errors are (height, width, channel), for a dense layer's output (1, 1, out); weights
are (out, fan_in), for a depthwise layer (channel, kernel height * width).
"""

# SPDX-License-Identifier: MIT

from dataclasses import dataclass

import numpy as np

from .num import clamp, floor_shift, rne

DENSE, CONV2D, DEPTHWISE, AVERAGE_POOL, MAX_POOL, ADD = range(1, 7)
WEIGHTED, POOLS = (DENSE, CONV2D, DEPTHWISE), (AVERAGE_POOL, MAX_POOL)
NONE, RELU, SIGNED = 0, 1, 2
OUTSIDE = np.iinfo(np.int64).min  # what never wins a window
Shape = tuple[int, int, int]
Winner = np.ndarray | None


@dataclass
class Layer:
    """One layer: its record in the blob (9.2) and its weights."""

    kind: int
    index: int  # in the blob, from 0
    bits: int  # kW: of a weight in use, 2..8; 0 without weights
    trainable: bool
    alpha_shift: int
    in_shape: Shape
    out: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int, int, int]  # top, left, bottom, right
    pool: int
    w: np.ndarray | None = None  # (out, fan_in): stored (2.4); frozen: in use
    store_bits: int | None = None  # kG; None: 16 with 8 bits in use, else 8
    activation: int = RELU
    paper: bool = False  # the model's policy (2.8)
    skip: int = 0  # of an add
    factor: int = 0  # of an average pool
    bias: np.ndarray | None = None  # (out)
    v: np.ndarray | None = None  # (out, fan_in), with momentum
    fixed: bool = False  # only its bias learns
    factory_w: np.ndarray | None = None  # as w and bias were in the blob
    factory_bias: np.ndarray | None = None

    def __post_init__(self) -> None:
        """The usual width of stored weights."""
        if self.store_bits is None:
            kept = self.moves and self.kind in WEIGHTED
            self.store_bits = (16 if self.bits == 8 else 8) if kept else 0

    @property
    def moves(self) -> bool:
        """Whether its weights learn."""
        return self.trainable and not self.fixed

    @property
    def h(self) -> int:
        """H, the exponent from sums to activations (2.5)."""
        return self.alpha_shift + (self.bits - 1 if self.kind in WEIGHTED else 0)

    @property
    def limit(self) -> int:
        """Largest magnitude of a weight as it is kept (2.3, 2.4)."""
        if self.moves:
            return (1 << (self.store_bits - 1)) - (1 << (self.store_bits - self.bits))
        return (1 << (self.bits - 1)) - 1

    @property
    def fan_in(self) -> int:
        """Products in one sum."""
        h, w, c = self.in_shape
        if self.kind == DENSE:
            return h * w * c
        return self.kernel[0] * self.kernel[1] * (c if self.kind == CONV2D else 1)

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
        if not self.moves:
            return self.w
        if not self.paper and (self.bits, self.store_bits) == (8, 16):
            return floor_shift(self.w + 128, 8)
        return rne(self.w, self.store_bits - self.bits)


def latent_shape(layers: list[Layer]) -> Shape:
    """Shape of what goes from the frozen layers to the trainable ones (6.1)."""
    return next(layer.in_shape for layer in layers if layer.trainable)


# Windows


def patches(layer: Layer, a: np.ndarray, outside: int = 0) -> np.ndarray:
    """What each position sees: (rows, columns, kernel height, kernel width, channels)."""
    top, left, bottom, right = layer.pad
    padded = np.pad(a, ((top, bottom), (left, right), (0, 0)), constant_values=outside)
    windows = np.lib.stride_tricks.sliding_window_view(padded, layer.kernel, axis=(0, 1))
    windows = windows[:: layer.stride[0], :: layer.stride[1]]  # (rows, columns, c, kh, kw)
    return windows.transpose(0, 1, 3, 4, 2)


def by_channel(layer: Layer, a: np.ndarray, outside: int = 0) -> np.ndarray:
    """What each position sees of a channel: (rows, columns, kernel height * width, channels)."""
    windows = patches(layer, a, outside)
    return windows.reshape(*windows.shape[:2], -1, windows.shape[4])


def gather(layer: Layer, spread: np.ndarray) -> np.ndarray:
    """The sum for each input of what the positions send it, shaped as patches(): in_shape."""
    (h, w, c), (top, left, bottom, right) = layer.in_shape, layer.pad
    (rows, columns), (down, across) = spread.shape[:2], layer.stride
    spread = spread.reshape(rows, columns, *layer.kernel, c)
    e = np.zeros((h + top + bottom, w + left + right, c), np.int64)
    for y in range(layer.kernel[0]):
        for x in range(layer.kernel[1]):
            e[y : y + rows * down : down, x : x + columns * across : across] += spread[:, :, y, x]
    return e[top : top + h, left : left + w]


def max_pool(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest of each 2 x 2 window and its index, the first of equals (3.4)."""
    h, w, _ = sums.shape
    padded = np.pad(sums, ((0, h % 2), (0, w % 2), (0, 0)), constant_values=OUTSIDE)
    windows = np.stack([padded[y::2, x::2] for y in (0, 1) for x in (0, 1)])
    return windows.max(axis=0), windows.argmax(axis=0)


def unpool(layer: Layer, d: np.ndarray, winner: Winner) -> np.ndarray:
    """d (out_shape) at the winner of each window, 0 elsewhere: sum_shape (5.1)."""
    if winner is None:
        return d
    h, w, c = layer.sum_shape
    full = np.zeros((2 * d.shape[0], 2 * d.shape[1], c), np.int64)
    for index in range(4):
        full[index // 2 :: 2, index % 2 :: 2] = np.where(winner == index, d, 0)
    return full[:h, :w]


# Layers with weights (3.3, 5.1, 5.2). Sums have no bias yet; errors come unpooled.


def dense_sums(layer: Layer, a: np.ndarray) -> np.ndarray:
    """Sums (1, 1, out)."""
    return (layer.q @ a.reshape(-1)).reshape(1, 1, -1)


def dense_error(layer: Layer, d: np.ndarray, winner: Winner = None) -> np.ndarray:
    """Error sums of the input, in_shape, before any mask."""
    return (d.reshape(-1) @ layer.q).reshape(layer.in_shape)


def dense_gradient(layer: Layer, a: np.ndarray, d: np.ndarray, winner: Winner = None) -> np.ndarray:
    """Gradient (out, fan_in)."""
    return d.reshape(-1, 1) * a.reshape(1, -1)


def conv2d_sums(layer: Layer, a: np.ndarray) -> np.ndarray:
    """Sums before pooling, sum_shape."""
    return (patches(layer, a).reshape(-1, layer.fan_in) @ layer.q.T).reshape(layer.sum_shape)


def conv2d_error(layer: Layer, d: np.ndarray, winner: Winner) -> np.ndarray:
    """Error sums of the input, in_shape, before any mask."""
    return gather(layer, unpool(layer, d, winner) @ layer.q)


def conv2d_gradient(layer: Layer, a: np.ndarray, d: np.ndarray, winner: Winner) -> np.ndarray:
    """Gradient (out, fan_in), summed over all positions."""
    seen = patches(layer, a).reshape(-1, layer.fan_in)
    return unpool(layer, d, winner).reshape(-1, layer.out).T @ seen


def depthwise_sums(layer: Layer, a: np.ndarray) -> np.ndarray:
    """Sums before pooling, sum_shape."""
    return (by_channel(layer, a) * layer.q.T).sum(axis=2)


def depthwise_error(layer: Layer, d: np.ndarray, winner: Winner) -> np.ndarray:
    """Error sums of the input, in_shape, before any mask."""
    return gather(layer, unpool(layer, d, winner)[:, :, None] * layer.q.T)


def depthwise_gradient(layer: Layer, a: np.ndarray, d: np.ndarray, winner: Winner) -> np.ndarray:
    """Gradient (channel, fan_in), summed over all positions."""
    d = unpool(layer, d, winner)[:, :, None]
    return (d * by_channel(layer, a)).sum(axis=(0, 1)).T


# Layers without weights (3.7, 5.1)


def average_pool_sums(layer: Layer, a: np.ndarray) -> np.ndarray:
    """Sums, out_shape."""
    return by_channel(layer, a).sum(axis=2) * layer.factor


def average_pool_error(layer: Layer, d: np.ndarray, winner: Winner = None) -> np.ndarray:
    """Error sums of the input, in_shape."""
    return gather(layer, np.repeat(d[:, :, None] * layer.factor, layer.fan_in, axis=2))


def max_pool_error(layer: Layer, d: np.ndarray, winner: Winner) -> np.ndarray:
    """Error sums of the input, in_shape: those of the windows that it has won."""
    places = np.arange(layer.fan_in)[:, None]
    return gather(layer, np.where(winner[:, :, None] == places, d[:, :, None], 0))


def add_error(layer: Layer, d: np.ndarray, winner: Winner = None) -> np.ndarray:
    """Error of the input: that of the output. The skip's is join() in steps.py."""
    return d


SUMS = {
    DENSE: dense_sums,
    CONV2D: conv2d_sums,
    DEPTHWISE: depthwise_sums,
    AVERAGE_POOL: average_pool_sums,
}
ERROR = {
    DENSE: dense_error,
    CONV2D: conv2d_error,
    DEPTHWISE: depthwise_error,
    AVERAGE_POOL: average_pool_error,
    MAX_POOL: max_pool_error,
    ADD: add_error,
}
GRADIENT = {DENSE: dense_gradient, CONV2D: conv2d_gradient, DEPTHWISE: depthwise_gradient}


# Any layer


def sums(layer: Layer, a: np.ndarray) -> np.ndarray:
    """Sums with bias before pooling, of a layer that has sums (3.3, 3.7)."""
    acc = SUMS[layer.kind](layer, a)
    return acc if layer.bias is None else acc + layer.bias


def forward(
    layer: Layer, a: np.ndarray, side: np.ndarray | None = None
) -> tuple[np.ndarray, Winner]:
    """z after pooling and winners, None where nothing is pooled; side: an add's skip."""
    if layer.kind == ADD:
        return a + side, None
    if layer.kind == MAX_POOL:
        windows = by_channel(layer, a, OUTSIDE)
        return windows.max(axis=2), windows.argmax(axis=2)
    acc = sums(layer, a)
    return max_pool(acc) if layer.pool == 2 else (acc, None)


def activate(layer: Layer, z: np.ndarray) -> np.ndarray:
    """Activations of a hidden layer, unit 2^-7 (3.5, 3.7)."""
    if layer.kind == MAX_POOL:
        return np.maximum(z, -127)
    if layer.activation == RELU:
        return clamp(rne(np.maximum(z, 0), layer.h), 0, 127)
    return clamp(rne(z, layer.h), -127, 127)


def saturated(layer: Layer, z: np.ndarray) -> np.ndarray:
    """The mask of the paper policy where an activation was clipped (3.5)."""
    if layer.activation == NONE:
        return np.zeros(z.shape, bool)
    return (np.abs(z) if layer.activation == SIGNED else z) > 127 << layer.h


def opened(layer: Layer, z: np.ndarray) -> np.ndarray:
    """The mask of the paper policy where ReLU let through (3.5)."""
    return z > 0 if layer.activation == RELU else np.ones(z.shape, bool)


def blocked(layer: Layer, z: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Where the error of a hidden layer's output is 0 before it is quantised (5.1.3)."""
    if layer.paper or layer.activation == NONE:
        return saturated(layer, z)
    return (np.abs(a) == 127) | ((a <= 0) & (layer.activation == RELU))

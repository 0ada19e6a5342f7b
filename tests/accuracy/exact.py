"""The paper's training step once more in PyTorch, for accelerators: the integers of the C engine.

For dense and conv2d (stride 1, ReLU, zeros around, 2 x 2 pools) without bias and momentum.
Every tensor holds integers. Only matrix products differ between devices, and each way of making
them is exact by a bound that stands beside it; `accuracy.proof` compares the bits with C.
Tensors of a batch are (sample, row, column, channel), weights as in SPEC 2.3.
"""

# SPDX-License-Identifier: MIT

import dataclasses
from collections.abc import Callable
from math import prod

import numpy as np
import reference
import torch
from torch.nn import functional

WORD = 0xFFFFFFFF
GOLDEN = 0x9E3779B9
INT32_MAX = (1 << 31) - 1
BYTE = 128  # largest |activation|: a host's int8 may be -128
ERROR = 127  # largest |d| (5.1.4)
ROWS = 1 << 14  # of a product in floats at a time, to bound its memory
POWERS = (  # T[k] = round(2^16 * 2^(-k/16)) (4.2)
    65536, 62757, 60097, 57549, 55109, 52773, 50535, 48393,
    46341, 44376, 42495, 40693, 38968, 37316, 35734, 34219,
)  # fmt: skip

Tensor = torch.Tensor
Pads = tuple[int, int, int, int]  # top, left, bottom, right
Product = Callable[[Tensor, Tensor, int], Tensor]


# Exact products: a (m, k) int8, b (n, k) int8, |a · b| <= bound -> a · b^T (m, n) int32.
# Sums fit int32 (2.6): at most 131,072 products of at most 128 · 127.


def product_int8(a: Tensor, b: Tensor, bound: int) -> Tensor:
    """Products of int8 with sums in int32; zeros fill up to the sizes that cuBLAS takes.

    The first row by row, the second column by column is the one layout every GPU has.
    """
    rows, columns = len(a), len(b)
    depth = -a.shape[1] % 16
    a = functional.pad(a, (0, depth, 0, max(-rows % 8, 32 - rows)))
    b = functional.pad(b, (0, depth, 0, -columns % 16))
    return torch._int_mm(a.contiguous(), b.contiguous().t())[:rows, :columns]


def product_float32(a: Tensor, b: Tensor, bound: int) -> Tensor:
    """Floats, in parts whose sums stay within 2^24, where each integer is a float32.

    Holds for any order of the sums, with or without fused multiplication, and in TF32, too:
    both factors have at most 8 bits.
    """
    return _product_float(a, b, torch.float32, (1 << 24) // bound)


def product_float64(a: Tensor, b: Tensor, bound: int) -> Tensor:
    """Floats whose sums, below 2^31, stay far within 2^53."""
    return _product_float(a, b, torch.float64, max(1, a.shape[1]))


def _product_float(a: Tensor, b: Tensor, kind: torch.dtype, part: int) -> Tensor:
    out = torch.zeros((len(a), len(b)), dtype=torch.int32, device=a.device)
    for k in range(0, a.shape[1], part):
        some = b[:, k : k + part].to(kind).t()
        for row in range(0, len(a), ROWS):
            sums = a[row : row + ROWS, k : k + part].to(kind) @ some
            out[row : row + ROWS] += sums.to(torch.int32)
    return out


PRODUCTS = {"int8": product_int8, "float32": product_float32, "float64": product_float64}


def usual_product(device: str) -> str:
    """int8 where tensor cores have it; on a CPU float32, which was the fastest of the three."""
    return "int8" if torch.device(device).type == "cuda" else "float32"


# Primitives (SPEC 1) of integer tensors


def rne(x: Tensor, n: int) -> Tensor:
    """x / 2^n rounded to the nearest integer, halves to the even one, n <= 31 (1.2)."""
    if n <= 0:
        return x * (1 << -n)
    whole = x >> n
    rest, half = x & ((1 << n) - 1), 1 << (n - 1)
    return whole + ((rest > half) | ((rest == half) & ((whole & 1) == 1)))


def multiply(x: Tensor, y: Tensor) -> Tensor:
    """x · y modulo 2^32 of words in int64; nothing on the way reaches 2^63."""
    return (x * (y & 0xFFFF) + ((x * (y >> 16) & 0xFFFF) << 16)) & WORD


def draws(key: int, index: Tensor) -> Tensor:
    """32 random bits for each index, int64 (1.7)."""
    x = (key + multiply(index, torch.full_like(index, GOLDEN))) & WORD
    x = x ^ (x >> 16)
    x = multiply(x, (2 * x + 1) & WORD)
    return x ^ (x >> 16)


def fractions(key: int, count: int, device: torch.device) -> Tensor:
    """16 random bits for elements 0..count-1, int64 (1.8)."""
    words = draws(key, torch.arange((count + 1) // 2, device=device))
    return torch.stack((words & 0xFFFF, words >> 16), -1).reshape(-1)[:count]


def stochastic_shift(m: Tensor, n: int, r: Tensor) -> Tensor:
    """m / 2^n rounded at random; m int64, 0 <= m < 2^31 (1.10)."""
    if n <= 0:
        return (m << min(-n, 16)).clamp(max=65535)
    if n <= 16:
        return (m + (r >> (16 - n))) >> n
    return ((m >> min(n - 16, 32)) + r) >> 16


def largest(x: Tensor) -> int:
    """max |x|; no sum is as low as -2^31."""
    return int(x.abs().amax())


def lowest_largest(o: Tensor) -> Tensor:
    """The lowest index of the largest of each row (3.6); argmax promises no order of equals."""
    index = torch.arange(o.shape[1], device=o.device)
    return torch.where(o == o.amax(1, keepdim=True), index, o.shape[1]).amin(1)


def quantise(e: Tensor) -> tuple[Tensor, int]:
    """Errors of 8 bits, int8, and m = max |e|; zeros when m = 0 (4.5, 5.1.4)."""
    m = largest(e)
    if m == 0:
        return torch.zeros_like(e, dtype=torch.int8), 0
    n = reference.ilog2_round(m)
    return rne(e, n - 7).clamp(-ERROR, ERROR).to(torch.int8), m


# Windows and pools


def windows(a: Tensor, kernel: tuple[int, int], pad: Pads) -> Tensor:
    """What each position sees: (positions, kernel height · width · channels)."""
    top, left, bottom, right = pad
    padded = functional.pad(a, (0, 0, left, right, top, bottom))
    seen = padded.unfold(1, kernel[0], 1).unfold(2, kernel[1], 1)  # n, rows, columns, c, kh, kw
    return seen.permute(0, 1, 2, 4, 5, 3).reshape(prod(seen.shape[:3]), -1)


def windows_by_weight(a: Tensor, kernel: tuple[int, int], pad: Pads) -> Tensor:
    """The transpose of windows(): (kernel height · width · channels, positions)."""
    top, left, bottom, right = pad
    padded = functional.pad(a.permute(3, 0, 1, 2), (left, right, top, bottom))
    seen = padded.unfold(2, kernel[0], 1).unfold(3, kernel[1], 1)  # c, n, rows, columns, kh, kw
    return seen.permute(4, 5, 0, 1, 2, 3).reshape(-1, prod(seen.shape[1:4]))


def max_pool(sums: Tensor) -> tuple[Tensor, Tensor]:
    """Largest of each 2 x 2 window and its index, the first of equals (3.4)."""
    h, w = sums.shape[1:3]
    padded = functional.pad(sums, (0, 0, 0, w % 2, 0, h % 2), value=-INT32_MAX)
    best = padded[:, ::2, ::2]
    winner = torch.zeros_like(best, dtype=torch.int8)
    for index in (1, 2, 3):
        other = padded[:, index // 2 :: 2, index % 2 :: 2]
        winner = torch.where(other > best, index, winner)
        best = torch.maximum(best, other)
    return best, winner


def unpool(d: Tensor, winner: Tensor, h: int, w: int) -> Tensor:
    """d at the winner of each window, 0 elsewhere (5.1.1)."""
    n, rows, columns, c = d.shape
    full = torch.empty((n, 2 * rows, 2 * columns, c), dtype=d.dtype, device=d.device)
    for index in range(4):
        full[:, index // 2 :: 2, index % 2 :: 2] = torch.where(winner == index, d, 0)
    return full[:, :h, :w]


# Layers and the step


@dataclasses.dataclass
class Layer:
    """A layer of the oracle's model (9.2), its weights on the device, and its last pass."""

    of: reference.Layer
    w: Tensor  # (out, fan-in) int32, stored (2.4)
    product: Product
    q: Tensor | None = None  # (out, fan-in) int8, in use
    a: Tensor | None = None  # input
    winner: Tensor | None = None  # of pools
    opened: Tensor | None = None  # masks (3.5)
    saturated: Tensor | None = None
    largest_error: int = 0  # of the input: m of the last step that had one (5.1.4)
    largest_gradient: int = 0  # and of the weights (5.3)

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width; a dense layer's covers its input."""
        return self.of.in_shape[:2] if self.of.kind == reference.DENSE else self.of.kernel

    @property
    def pad(self) -> Pads:
        """Zeros around the input."""
        return (0, 0, 0, 0) if self.of.kind == reference.DENSE else self.of.pad

    def sums(self, a: Tensor) -> Tensor:
        """z, the sums after pooling, int32 (3.3, 3.4)."""
        self.q = rne(self.w, self.of.store_bits - self.of.bits).to(torch.int8)
        self.a = a
        bound = BYTE * ((1 << (self.of.bits - 1)) - 1)
        z = self.product(windows(a, self.kernel, self.pad), self.q, bound)
        z = z.reshape(len(a), *self.of.sum_shape)
        if self.of.pool == 2:
            z, self.winner = max_pool(z)
        return z

    def activate(self, z: Tensor) -> Tensor:
        """Activations int8, and the masks (3.5)."""
        self.opened = z > 0
        self.saturated = z > min(127 << self.of.h, INT32_MAX)
        return rne(z.clamp(min=0), self.of.h).clamp(max=127).to(torch.int8)

    def unpooled(self, d: Tensor) -> Tensor:
        """The error of the sums from that of the output (5.1.1)."""
        return unpool(d, self.winner, *self.of.sum_shape[:2]) if self.of.pool == 2 else d

    def error(self, d: Tensor) -> Tensor:
        """Error sums of the input, int32, from an unpooled error; before any mask (5.1.1)."""
        kh, kw = self.kernel
        bound = ERROR * ((1 << (self.of.bits - 1)) - 1)
        if d.shape[1:3] == (1, 1) and not any(self.pad):
            e = self.product(d.reshape(len(d), -1), self.q.t().contiguous(), bound)
        else:  # a convolution of d with the kernel turned around
            q = self.q.reshape(self.of.out, kh, kw, -1).flip(1, 2).permute(3, 1, 2, 0)
            top, left, bottom, right = self.pad
            around = (kh - 1 - top, kw - 1 - left, kh - 1 - bottom, kw - 1 - right)
            seen = windows(d, (kh, kw), around)
            e = self.product(seen, q.reshape(len(q), -1).contiguous(), bound)
        return e.reshape(len(d), *self.of.in_shape)

    def gradient(self, d: Tensor) -> Tensor:
        """g (out, fan-in) int32 from an unpooled error (5.2)."""
        by_output = d.permute(3, 0, 1, 2).reshape(self.of.out, -1)
        seen = windows_by_weight(self.a, self.kernel, self.pad)
        return self.product(by_output, seen, BYTE * ERROR)

    def update(self, g: Tensor, key: int, config: reference.Config) -> None:
        """Moves the stored weights against their gradient (5.3)."""
        self.largest_gradient = m = largest(g)
        if m == 0:
            return
        n = reference.ilog2_round(m) - config.lr_shift - (self.of.store_bits - 8)
        r = fractions(key, g.numel(), g.device).reshape(g.shape)
        size = (g.abs().to(torch.int64) * config.lr_factor).clamp(max=INT32_MAX)
        dw = stochastic_shift(size, n, r).to(torch.int32) * g.sign()
        self.w = (self.w - dw).clamp(-self.of.limit, self.of.limit)


class Unsupported(Exception):
    """A model that this implementation does not have."""


def _check(model: reference.Model) -> None:
    good = model.paper and not model.momentum and not model.frozen
    for layer in model.layers:
        good = good and layer.kind in (reference.DENSE, reference.CONV2D) and layer.bias is None
        good = good and (layer.kind == reference.DENSE or layer.stride == (1, 1))
        good = good and layer.activation != reference.SIGNED
    if not good:
        raise Unsupported("only dense and conv2d, stride 1, ReLU, the paper's policy, all learned")


class Exact:
    """A model that learns on a device, by the bits as the C engine does."""

    def __init__(self, blob: bytes, device: str = "cpu", product: Product | None = None):
        self.model = reference.open_model(blob)
        _check(self.model)
        self.device, self.config, self.step = torch.device(device), self.model.config, 0
        product = product or PRODUCTS[usual_product(device)]
        self.layers = [
            Layer(layer, self._here(layer.w).to(torch.int32), product)
            for layer in self.model.layers
        ]

    def _here(self, x: np.ndarray | Tensor) -> Tensor:
        return torch.as_tensor(x).to(self.device)

    def rate(self, factor: int, shift: int) -> None:
        """Another learning rate, factor · 2^shift."""
        self.config = dataclasses.replace(self.config, lr_factor=factor, lr_shift=shift)

    def logits(self, x: np.ndarray | Tensor) -> Tensor:
        """(n, classes) int32 of activations (n, …) int8 (3)."""
        a = self._here(x).reshape(-1, *self.model.input_shape)
        for layer in self.layers[:-1]:
            a = layer.activate(layer.sums(a))
        return self.layers[-1].sums(a).reshape(len(a), -1)

    def predict(self, x: np.ndarray | Tensor) -> Tensor:
        """The class of each sample (n) (3.6)."""
        return lowest_largest(self.logits(x))

    def output_error(self, o: Tensor, labels: Tensor) -> Tensor:
        """e (n, classes) int64 (4.1 to 4.4)."""
        o, h = o.to(torch.int64), self.layers[-1].of.h
        if self.model.sse:
            return o - (functional.one_hot(labels, o.shape[1]) << (7 + h))
        below = o.amax(1, keepdim=True) - o
        u = ((below << (4 + self.config.gain_shift)) >> (7 + h)).clamp(max=511)
        power = torch.tensor(POWERS, device=o.device)[u & 15] >> (u >> 4)
        total = power.sum(1, keepdim=True)
        p = torch.div((power << 14) + total // 2, total, rounding_mode="floor")
        return p - (functional.one_hot(labels, o.shape[1]) << 14)

    def train(self, x: np.ndarray | Tensor, labels: np.ndarray | Tensor) -> Tensor:
        """One step on 1..batch samples; their predictions before it (4, 5)."""
        labels = self._here(labels).to(torch.int64)
        o = self.logits(x)
        d, m = quantise(self.output_error(o, labels))
        if m and largest(d) >= self.config.threshold:
            self._backward(d.reshape(len(d), *self.layers[-1].of.out_shape))
        self.step = (self.step + 1) & WORD
        return lowest_largest(o)

    def _backward(self, d: Tensor) -> None:
        """Error, gradient and update, the last layer first (5)."""
        for layer, below in zip(self.layers[::-1], [*self.layers[-2::-1], None], strict=True):
            key = reference.key(self.config.seed, self.step, 1 + layer.of.index)
            d = layer.unpooled(d)
            if below:  # with the weights as they were
                e = torch.where(below.saturated, 0, layer.error(d))
                quantised, layer.largest_error = quantise(e)
            layer.update(layer.gradient(d), key, self.config)
            if not below or not layer.largest_error:
                return  # 5.5
            d = torch.where(below.opened, quantised, 0)

    def state(self) -> dict[str, np.ndarray]:
        """Weights w0…, and step, as Core.state() has them."""
        weights = {
            f"w{k}": layer.w.to(torch.int16).cpu().numpy() for k, layer in enumerate(self.layers)
        }
        return {"step": np.array(self.step, np.int64), **weights}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Takes what state() gave of the same model."""
        for k, layer in enumerate(self.layers):
            layer.w = self._here(state[f"w{k}"]).to(torch.int32).reshape(layer.w.shape)
        self.step = int(state["step"])

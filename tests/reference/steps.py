"""SPEC 3, 4, 5: one step on a batch, forward and back. Arrays of a batch begin with the sample."""

# SPDX-License-Identifier: MIT

from dataclasses import dataclass

import numpy as np

from . import layers as kernels
from .layers import ADD, GRADIENT, Layer
from .model import Model, wrapped
from .num import clamp, fraction, ilog2_round, key, rne, stochastic_shift

POWERS = np.array(  # T[k] = round(2^16 * 2^(-k/16)) (4.2)
    [65536, 62757, 60097, 57549, 55109, 52773, 50535, 48393,
     46341, 44376, 42495, 40693, 38968, 37316, 35734, 34219], np.int64
)  # fmt: skip
STAGE_MOMENTUM = 96  # plus the index of the layer (5.3)
V_MAX, BIAS_MAX, SIZE_MAX = 32767, (1 << 24) - 1, (1 << 31) - 1
Held = dict[int, tuple[np.ndarray, int]]


# Forward (SPEC 3)


@dataclass
class Pass:
    """What a step did in one layer."""

    layer: Layer
    a: np.ndarray  # its input
    z: np.ndarray  # sums after pooling, or what stands for them (3.5, 3.7)
    winner: list[np.ndarray | None]
    out: np.ndarray  # activations; of the last layer the logits
    ein: np.ndarray | None = None  # error sums of its output (5.1.1, 5.1.2)
    e: np.ndarray | None = None  # after the masks of 5.1.3; of the last layer 4.4
    n: int | None = None  # log2 of the largest; None: there is none
    dq: np.ndarray | None = None  # quantised (5.1.4, 4.5)
    d: np.ndarray | None = None  # after the mask of 5.1.5
    g: np.ndarray | None = None  # gradient (5.2)


def run(layers: list[Layer], a: np.ndarray, last: Layer) -> list[Pass]:
    """Forward through successive layers; `last` gives logits (3)."""
    passes: list[Pass] = []
    for at, layer in enumerate(layers):
        side = passes[at - layer.skip].a if layer.kind == ADD else [None] * len(a)
        pairs = [kernels.forward(layer, one, two) for one, two in zip(a, side, strict=True)]
        z, winner = np.stack([z for z, _ in pairs]), [w for _, w in pairs]
        out = z if layer is last else kernels.activate(layer, z)
        passes.append(Pass(layer, a, z, winner, out))
        a = out
    return passes


# Output error (SPEC 4)


def probabilities(o: np.ndarray, h: int, gain_shift: int) -> np.ndarray:
    """p of one sample's logits (classes), unit 2^-14 (4.1 to 4.3)."""
    u = np.minimum(((o.max() - o) * (16 << gain_shift)) >> (7 + h), 511)
    power = POWERS[u % 16] >> (u // 16)
    total = power.sum()
    return ((power << 14) + total // 2) // total


def output_error(
    o: np.ndarray, label: int, h: int, gain_shift: int, sse: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Errors e and probabilities p (classes) of one sample (4.4)."""
    p = probabilities(o, h, gain_shift)
    e = o.copy() if sse else p.copy()
    e[label] -= 1 << (7 + h if sse else 14)
    return e, p


def quantise_error(e: np.ndarray) -> tuple[np.ndarray, int | None]:
    """Errors of 8 bits and n = log2 of the largest; zeros and None without any (5.1.4)."""
    m = int(np.abs(e).max())
    if m == 0:
        return np.zeros_like(e), None
    n = ilog2_round(m)
    return clamp(rne(e, n - 7), -127, 127), n


def last_error(model: Model, of: Pass, e: np.ndarray) -> int:
    """Quantises the output error e (n, classes) of the last layer; its exponent x (4.5)."""
    unit = 7 + of.layer.h if model.sse else 14
    of.e = e.reshape(of.out.shape)
    if model.paper:
        of.dq, of.n = quantise_error(of.e)
        x = 0 if of.n is None else of.n - unit  # without an error the step is skipped
    else:
        of.dq, x = clamp(rne(of.e, unit - 7), -127, 127), 0
    of.d = of.dq
    return x


# Error, gradient, update (SPEC 5)


def join(
    e: np.ndarray, y: int, held: tuple[np.ndarray, int]
) -> tuple[np.ndarray, int]:
    """The error sums e of exponent y with those of an add's output, held for its skip (5.1.2)."""
    d_s, y_s = held
    if not e.any():
        return d_s, y_s
    t = y_s - y
    if t <= 16:
        return e + rne(d_s, -t), y
    down = min(t - 16, 31)
    return rne(e, down) + (d_s << 16), y + down


def lower_error(at: Pass, below: Pass, x: int, held: Held) -> int:
    """Error of a layer's input, which is the output of the one below; its exponent (5.1)."""
    layer, pairs = at.layer, zip(at.d, at.winner, strict=True)
    e = np.stack([kernels.ERROR[layer.kind](layer, d, winner) for d, winner in pairs])
    y = x - layer.h
    if layer.index in held:
        e, y = join(e, y, held.pop(layer.index))
    below.ein = e
    below.e = np.where(kernels.blocked(below.layer, below.z, below.out), 0, e)
    below.dq, below.n = quantise_error(below.e)
    is_open = kernels.opened(below.layer, below.z) | (not below.layer.paper)
    below.d = np.where(is_open, below.dq, 0)
    return y if below.n is None else y + below.n - 7


@dataclass(frozen=True)
class Rate:
    """How an update is made, as struct wage_rate (5.3)."""

    n: int
    factor: int
    momentum: int
    key: int
    leak_key: int


def moves(g: np.ndarray, rate: Rate, n: int, first: int = 0) -> np.ndarray:
    """dw of elements first, first + 1, ... with gradient g and shift n (5.3, 5.4)."""
    r = fraction(rate.key, np.arange(first, first + g.size, dtype=np.uint32))
    m = np.minimum(np.abs(g) * rate.factor, SIZE_MAX)
    return np.sign(g) * stochastic_shift(m, n, r.astype(np.int64).reshape(g.shape))


def update(layer: Layer, g: np.ndarray, rate: Rate) -> None:
    """Moves the stored weights against their gradient (5.3)."""
    dw = moves(g, rate, rate.n)
    if rate.momentum:
        r = fraction(rate.leak_key, np.arange(g.size, dtype=np.uint32))
        r = r.astype(np.int64).reshape(g.shape)
        leak = np.sign(layer.v) * stochastic_shift(np.abs(layer.v), rate.momentum, r)
        layer.v = clamp(layer.v - leak + dw, -V_MAX, V_MAX)
        dw = layer.v
    layer.w = clamp(layer.w - dw, -layer.limit, layer.limit)


def update_bias(layer: Layer, g: np.ndarray, n: int, rate: Rate) -> None:
    """Moves a trainable bias against its gradient g (out) (5.4)."""
    moved = layer.bias - moves(g, rate, n, first=layer.w.size)
    layer.bias = clamp(moved, -BIAS_MAX, BIAS_MAX)


def learn_layer(model: Model, at: Pass, x: int) -> None:
    """Gradient and update of one layer (5.2 to 5.4)."""
    layer, config = at.layer, model.config
    if layer.w is None:
        return
    samples = zip(at.a, at.d, at.winner, strict=True)
    at.g = sum(GRADIENT[layer.kind](layer, a, d, winner) for a, d, winner in samples)
    if model.paper:
        m = int(np.abs(at.g).max())
        if m == 0:
            return
        n = ilog2_round(m)
    else:
        n = 7 - x
    n -= config.lr_shift + layer.store_bits - 8
    stages = (1 + layer.index, STAGE_MOMENTUM + layer.index)
    keys = [key(config.seed, model.step, stage) for stage in stages]
    rate = Rate(n, config.lr_factor, model.momentum, *keys)
    if layer.moves:
        update(layer, at.g, rate)
    if layer.bias is not None:
        update_bias(layer, at.d.sum(axis=(0, 1, 2)), 1 - layer.bits - x - config.lr_shift, rate)


def backward(model: Model, passes: list[Pass], x: int) -> None:
    """Error, gradient and update of every trainable layer, the last one first (5)."""
    held: Held = {}  # by the index of the layer whose input waits
    first = passes[0].layer.index
    for at, below in zip(reversed(passes), [*reversed(passes[:-1]), None], strict=True):
        layer = at.layer
        if layer.kind == ADD and layer.index - layer.skip != first:  # the latent needs no error
            held[layer.index - layer.skip] = (at.d, x - layer.h)
        next_x = lower_error(at, below, x, held) if below else None
        learn_layer(model, at, x)
        if below and below.n is None and not held:
            return  # 5.5
        x = next_x


# A step


@dataclass
class Step:
    """What a step gave: of each sample, and of each trainable layer."""

    predictions: list[int]
    p_labels: list[int]
    skipped: int
    passes: list[Pass]


def step(model: Model, latents: np.ndarray, labels: list[int]) -> Step:
    """One training step on latents (n, latent_shape) (3, 4, 5)."""
    passes = run(model.trained, np.asarray(latents, np.int64), model.layers[-1])
    logits, h = passes[-1].out.reshape(len(labels), -1), passes[-1].layer.h
    both = [
        output_error(o, label, h, model.config.gain_shift, model.sse)
        for o, label in zip(logits, labels, strict=True)
    ]
    x = last_error(model, passes[-1], np.stack([e for e, _ in both]))
    skipped = int(np.abs(passes[-1].d).max()) < max(model.config.threshold, 1)
    if not skipped:
        backward(model, passes, x)
    model.step = wrapped(model.step + 1)
    model.metrics.steps = wrapped(model.metrics.steps + 1)
    p_labels = [int(p[label]) for (_, p), label in zip(both, labels, strict=True)]
    return Step([int(o.argmax()) for o in logits], p_labels, int(skipped), passes)

"""Layers in floats as a board's integers: scales from samples, weights rounded, biases corrected.

A board shifts only, but the step of each tensor may be any number, one a channel: the weights
that come next take it, and their bias takes its offset. So the sum of a · q + bias, with whole q
and bias, stands for (out - offset_out) · 2^H / step_out, where w = q · step_out[o] · 2^-H /
step_in[i].
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from math import prod

import numpy as np

from wage_host import initial
from wage_host._core import lib
from wage_host.convert import floats, integers, rounding, steps
from wage_host.convert.fold import WEIGHTED, Block, Unfit
from wage_host.convert.graph import ADD, AVERAGE, CONV, DENSE, DEPTHWISE, INF, MAX
from wage_host.convert.seen import seen_in
from wage_host.convert.steps import A_MAX, Scale
from wage_host.layers import Layer
from wage_host.progress import Tell, silent

KINDS = {
    CONV: lib.WAGE_CONV2D, DEPTHWISE: lib.WAGE_DEPTHWISE, DENSE: lib.WAGE_DENSE,
    AVERAGE: lib.WAGE_AVERAGE_POOL, MAX: lib.WAGE_MAX_POOL, ADD: lib.WAGE_ADD,
}  # fmt: skip
Q_MAX = 127
H_MIN, H_MAX = 1, 27  # of a layer with weights of 8 bits
TERNARY = 0.7
ROUNDS = 40  # of making shared steps coarser, and of layers between
LOG2_E = math.log2(math.e)
GAIN_SHIFTS = range(8)


@dataclasses.dataclass(frozen=True)
class Quantised:
    """Layers for a board.

    origin: the given block that each stands for. scales: of each layer's output; of the last one,
    of a sum. gain_shift: softmax as sharp as the model's own.
    """

    blocks: tuple[Block, ...]
    origin: tuple[int, ...]
    trainable: int  # the first that goes on learning
    layers: tuple[Layer, ...]
    scales: tuple[Scale, ...]
    gain_shift: int
    lowest: int  # bias of a class that nothing speaks for: well below all that won


class _Coarser(Exception):
    """A group needs coarser steps: (group, least step by channel)."""


def quantise(
    blocks: Sequence[Block],
    x: np.ndarray,
    trainable: int,
    gain_shift: int | None = None,
    bits: int = 8,
    tell: Tell = silent,
) -> Quantised:
    """Layers for a board, from samples x (n, h, w, c) int8.

    trainable: the first layer that goes on learning; from there on a tensor has one step for all
    channels. gain_shift: of the softmax; None: so that the last layer learns as fast as one of
    `train`. bits: 2 or 8, of weights in use from there on. tell: how far it is, in layers.
    """
    blocks = tuple(blocks)
    seen, origin = seen_in(blocks, x), list(range(len(blocks)))
    plan = None
    for _ in range(ROUNDS):
        try:
            plan = plan or steps.plan(blocks, seen, trainable)
            return _Pass(blocks, x, trainable, plan, gain_shift, bits).run(tuple(origin), tell)
        except _Coarser as more:
            group, least = more.args
            plan.shared[group] = np.maximum(plan.shared[group], least)
        except steps.Split as split:
            plan = None
            for k in reversed(split.args[0]):
                blocks = steps.with_scaler(blocks, k)
                for kept in (seen, origin):
                    kept.insert(k + 1, kept[k])
                trainable += k < trainable
    raise Unfit("its residual sums have steps that fit no 8 bits: train it with smaller weights")


# -- layers ----------------------------------------------------------------


class _Pass:
    """One walk through the layers, each calibrated on what the quantised ones below give."""

    def __init__(
        self,
        blocks: tuple[Block, ...],
        x: np.ndarray,
        trainable: int,
        plan: steps.Plan,
        gain_shift: int | None,
        bits: int,
    ):
        self.blocks, self.trainable, self.plan = blocks, trainable, plan
        self.gain_shift, self.bits = gain_shift, bits
        self.exact = {-1: x.astype(np.float32)}
        self.whole = {-1: x}
        self.scales = {-1: Scale(np.ones(x.shape[3]), np.zeros(x.shape[3]))}
        self.layers: list[Layer] = []

    def run(self, origin: tuple[int, ...], tell: Tell) -> Quantised:
        """All layers."""
        for k, block in enumerate(self.blocks):
            tell(k, len(self.blocks), block.op)
            skip = block.sources[-1]
            self.z = _parts(block, self.exact[k - 1], self.exact.get(skip))
            if not np.isfinite(self.z).all():
                raise Unfit(f"{block.name}: its sums are no finite numbers: look at its weights")
            layer = self._layer(k, block)
            self.layers.append(layer)
            last = k + 1 == len(self.blocks)
            if not last:
                ends = self.z.min((0, 1, 2)), self.z.max((0, 1, 2))
                if steps.spills(block, self.scales[k], *ends):
                    if self.plan.tensors[k].group in self.plan.shared:
                        raise steps.Split([k])
                    what = "use --weights 8" if layer.weight_bits == 2 else "train smaller weights"
                    raise Unfit(
                        f"{block.names[-1]}: what it cuts off is too large for the little it "
                        f"leaves: {what}"
                    )
                self.exact[k] = np.clip(self.z, block.low, block.high) if block.acts else self.z
                below, other = self.whole[k - 1], self.whole.get(skip, self.whole[k - 1])
                sums = (
                    integers.sums(block, layer, below[some], other[some])
                    for some in _some(len(below))
                )
                self.whole[k] = np.concatenate([integers.activation(layer, z) for z in sums])
                needed = {k, *(b.sources[-1] for b in self.blocks[k + 1 :])}
                for kept in (self.exact, self.whole):
                    for name in set(kept) - needed:
                        del kept[name]
        found = tuple(self.scales[k] for k in range(len(self.blocks)))
        below = self.whole[len(self.blocks) - 2]
        won = np.concatenate([
            integers.sums(block, layer, below[some], None).max((1, 2, 3))
            for some in _some(len(below))
        ])  # fmt: skip
        tell(len(self.blocks), len(self.blocks), "done")
        lowest = int(_whole(won.min() - (won.max() - won.min()) / 2 - 1))
        return Quantised(
            self.blocks, origin, self.trainable, tuple(self.layers), found, self.gain_shift, lowest
        )

    def _layer(self, k: int, block: Block) -> Layer:
        last, plan = k + 1 == len(self.blocks), self.plan
        tensor = plan.tensors[k]
        group = plan.shared.get(tensor.group)
        fixed = None if group is None else group * 2.0**tensor.exponent
        signed = lib.WAGE_SIGNED if block.low < 0 or plan.tied[k] else lib.WAGE_RELU
        activation = lib.WAGE_NONE if last or block.op in (MAX, AVERAGE) else signed
        about = {
            "text": block.name, "kind": KINDS[block.op], "out": block.output[2],
            "kernel": block.kernel, "stride": block.stride, "padding": block.padding[:2],
            "padding_end": block.padding[2:], "pool": block.pool, "activation": activation,
        }  # fmt: skip
        if block.op in WEIGHTED:
            return self._weighted(k, block, fixed, last, about)
        if block.op == MAX:
            self.scales[k] = self.scales[k - 1]
            return Layer(**about)
        if block.op == AVERAGE:
            return self._average(k, block, fixed, last, about)
        self.scales[k] = Scale(fixed, plan.wanted[k].offset)
        shift = tensor.exponent - plan.tensors[block.sources[1]].exponent
        return Layer(**about, alpha_shift=shift, skip=k - 1 - block.sources[1])

    def _average(
        self, k: int, block: Block, fixed: np.ndarray | None, last: bool, about: dict
    ) -> Layer:
        """An average whose result is made as large as 8 bits hold."""
        size, under = prod(block.kernel), self.scales[k - 1].step
        if fixed is not None:
            raise Unfit(f"{block.name}: an average is no part of a sum: put it behind the sum")
        grow = 1.0 if last else float((under / self.plan.wanted[k].step).min())
        grow = float(np.clip(grow, 1.0, 64.0))
        shift, factor = average_factor(grow, size)
        step = under / (factor * size) * (1.0 if last else 1 << shift)
        if last:
            self._gain(float(step.max()), 1, block)
        self.scales[k] = Scale(step, np.zeros_like(step))
        return Layer(**about, alpha_shift=shift, factor=factor)

    def _weighted(
        self, k: int, block: Block, fixed: np.ndarray | None, last: bool, about: dict
    ) -> Layer:
        """Weights and bias as whole numbers."""
        w = block.weights.reshape(block.output[2], -1)
        step_in = steps.by_weight(block, self.scales[k - 1].step)
        bits = self.bits if k >= self.trainable else 8
        if bits == 2:
            return self._ternary(k, block, w * step_in, last, about)
        if last:
            shift, step = self._last(w * step_in)
            unit = step
        else:
            activity = _activity(block, self.whole[k - 1])
            shift, step = self._scaled(k, block, w * step_in, activity, fixed)
            unit = step * 2.0**-shift
            self.scales[k] = Scale(step, self._offset(k, step))
        whole, exact = self.whole[k - 1], self.exact[k - 1]
        q = rounding.fitted(block, exact, whole, w * step_in / unit[:, None], unit)
        q = np.clip(q, -Q_MAX, Q_MAX).astype(np.int16)
        if last:
            self.scales[k] = Scale(unit, np.zeros_like(unit))
        layer = Layer(
            **about, weight_bits=8, store_bits=16, alpha_shift=shift - 7, weights=q << 8
        )  # fmt: skip
        return self._biased(k, layer, unit)

    def _ternary(self, k: int, block: Block, w: np.ndarray, last: bool, about: dict) -> Layer:
        """Weights -1, 0 and 1 of one unit: those above 0.7 of the mean are not 0."""
        q = np.sign(w) * (np.abs(w) > TERNARY * np.abs(w).mean())
        size = float(np.abs(w[q != 0]).mean()) if q.any() else 1.0
        unit = np.full(len(w), size)
        if last:
            shift = self._gain(size, 1, block)
        else:
            if self.plan.tensors[k].group in self.plan.shared:
                raise Unfit(f"{block.name}: weights of 2 bits in front of a sum: use --weights 8")
            want = self.plan.wanted[k].step.max()
            most = math.floor if math.isfinite(block.high) else round  # a clip must stay one
            shift = int(np.clip(most(math.log2(want / size)), 1, H_MAX - 6))
        self.scales[k] = Scale(unit if last else unit * 2.0**shift, np.zeros_like(unit))
        layer = Layer(
            **about, weight_bits=2, store_bits=16, alpha_shift=shift - 1,
            weights=(q * (1 << 14)).astype(np.int16),
        )  # fmt: skip
        return self._biased(k, layer, unit)

    def _offset(self, k: int, step: np.ndarray) -> np.ndarray:
        """Offset of what layer k gives, for the steps that it got."""
        return step * A_MAX if self.plan.tied[k] else self.plan.wanted[k].offset

    def _bias(self, k: int) -> np.ndarray:
        """Bias in floats, with what the offset of the layer's input comes to, (out)."""
        block = self.blocks[k]
        w = block.weights.reshape(block.output[2], -1)
        return block.bias + (w * steps.by_weight(block, self.scales[k - 1].offset)).sum(1)

    def _biased(self, k: int, layer: Layer, unit: np.ndarray) -> Layer:
        """The layer with its bias: of the model, then by the mean of what its sums lack."""
        bias = (self._bias(k) - self.scales[k].offset) / unit
        layer = dataclasses.replace(layer, bias=_whole(bias))
        return dataclasses.replace(layer, bias=_whole(bias + self._drift(k, layer, unit)))

    def _drift(self, k: int, layer: Layer, unit: np.ndarray) -> np.ndarray:
        """By how much the mean of each output's sums is too low, in their unit (out)."""
        block, below = self.blocks[k], self.whole[k - 1]
        total = np.zeros(block.output[2])
        for some in _some(len(below)):
            exact = (self.z[some] - self.scales[k].offset) / unit
            total += (exact - integers.sums(block, layer, below[some])).sum((0, 1, 2))
        return total / prod(self.z.shape[:3])

    def _scaled(
        self,
        k: int,
        block: Block,
        w: np.ndarray,
        activity: np.ndarray,
        fixed: np.ndarray | None,
    ) -> tuple[int, np.ndarray]:
        """Shift and steps that lose least; w: (out, fan-in) for inputs in whole numbers.

        fixed: the steps that a sum joins; None: as wanted, or coarser.
        """
        want = self.plan.wanted[k].step if fixed is None else fixed
        free = fixed is None and k < self.trainable
        bias, most = self._bias(k), block.high / (A_MAX << self.plan.tied[k])
        largest = np.maximum(np.abs(w).max(1), 1e-30)
        power = np.square(self.z).mean((0, 1, 2), dtype=np.float64)
        lives = power > 1e-12 * power.max()  # of the others no share of their power counts
        best, found = INF, None
        for shift in range(H_MIN, H_MAX + 1):
            needed = largest * 2.0**shift / Q_MAX
            coarser = np.maximum(want, needed)
            step = want
            if (needed > want).any():
                if not free and (fixed is not None or shift > H_MIN):
                    continue
                step = coarser if free else np.full_like(want, coarser.max())
                if (step > np.maximum(want, most)).any() and shift > H_MIN:
                    continue
            whole = (bias - self._offset(k, step)) / step * 2.0**shift
            if np.abs(whole).max(initial=0) >= lib.WAGE_BIAS_MAX / 2:
                continue
            noise = np.square(step) * (1 + 4.0**-shift * activity) / 12
            loss = float((noise[lives] / power[lives]).sum())
            if loss < best:
                best, found = loss, (shift, step)
        if found is None:
            if fixed is None:
                raise Unfit(
                    f"{block.name}: its bias is too large for its weights: train it with a "
                    "smaller one"
                )
            tensor = self.plan.tensors[k]
            least = np.maximum(largest / Q_MAX, np.abs(bias) / (lib.WAGE_BIAS_MAX / 4))
            least *= 2.0 ** (H_MIN - tensor.exponent)
            if any(t.group == tensor.group for t in self.plan.tensors[self.trainable :]):
                least = np.full_like(least, least.max())
            raise _Coarser(tensor.group, least * (1 + 1e-9))
        return found

    def _last(self, w: np.ndarray) -> tuple[int, np.ndarray]:
        """Shift and the unit of the sums, the same for all classes."""
        unit = max(float(np.abs(w).max()), 1e-30) / Q_MAX
        bias = self._bias(len(self.blocks) - 1)
        unit = max(unit, float(np.abs(bias).max(initial=0)) / (lib.WAGE_BIAS_MAX / 2))
        return self._gain(unit, H_MIN, self.blocks[-1]), np.full(len(w), unit)

    def _gain(self, unit: float, least: int, block: Block) -> int:
        """H for which the softmax is as sharp as the model's, and its gain.

        Both can be raised together. A weight counts 2^-alpha_shift in the sums, and no update is
        larger for it: with the H that a layer of `train` has, a learning rate means the same.
        """
        sharp = -math.log2(unit * LOG2_E) - 7
        if self.gain_shift is None:
            fan_in = block.fan_in or prod(block.kernel)
            usual = self.bits - 1 + initial.alpha_shift(fan_in)
            fits = [g for g in GAIN_SHIFTS if round(sharp + g) >= least]
            self.gain_shift = min(
                fits, key=lambda g: abs(sharp + g - usual), default=GAIN_SHIFTS[-1]
            )
        return int(np.clip(round(sharp + self.gain_shift), least, H_MAX))


def average_factor(grow: float, size: int) -> tuple[int, int]:
    """alpha_shift and factor of an average over `size` elements, times `grow`."""
    for shift in range(24, 0, -1):
        factor = round(grow * (1 << shift) / size)
        if factor < 1 << 15 and size * factor < 1 << 24:
            break
    return shift, factor


def _some(count: int) -> list[slice]:
    return [slice(at, at + floats.SAMPLES) for at in range(0, count, floats.SAMPLES)]


def _parts(block: Block, a: np.ndarray, skip: np.ndarray | None) -> np.ndarray:
    """floats.before() of many samples."""
    return np.concatenate([
        floats.before(block, a[some], None if skip is None else skip[some])
        for some in _some(len(a))
    ])  # fmt: skip


def _activity(block: Block, a: np.ndarray) -> np.ndarray:
    """Sum of the mean squares of the inputs of each output, (1 or out)."""
    squares = np.square(a.astype(np.float32)).mean((0, 1, 2), dtype=np.float64)
    if block.op == DEPTHWISE:
        return squares * prod(block.kernel)
    return np.array([squares.sum() * (block.fan_in // len(squares))])


def _whole(bias: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(bias), 1 - lib.WAGE_BIAS_MAX, lib.WAGE_BIAS_MAX - 1).astype(np.int32)

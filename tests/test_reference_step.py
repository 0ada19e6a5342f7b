"""The oracle's step (SPEC 3 to 5) once more in loops and fractions."""

# SPDX-License-Identifier: MIT

import random
from fractions import Fraction

import blobs
import numpy as np
import pytest
import random_models
import reference as ref
from blobs import PAPER, SSE, add, dense, make_blob

# A whole step in loops, for dense layers and adds. Errors are kept as exact fractions of one.

Batch = list[list[int]]


def clip(x: int, limit: int) -> int:
    """-limit..limit."""
    return max(-limit, min(limit, x))


def slow_q(layer: ref.Layer, w: int, paper: bool) -> int:
    """SPEC 2.4 for one weight."""
    if layer.fixed:
        return w
    if not paper and (layer.bits, layer.store_bits) == (8, 16):
        return (w + 128) // 256
    return round(Fraction(w, 2 ** (layer.store_bits - layer.bits)))


def slow_forward(model: ref.Model, layer: ref.Layer, a: list[int], side: list[int]) -> list[int]:
    """z of one sample (3.3, 3.7)."""
    if layer.kind == ref.ADD:
        return [v + s for v, s in zip(a, side, strict=True)]
    bias = [0] * layer.out if layer.bias is None else layer.bias.tolist()
    rows = [[slow_q(layer, w, model.paper) for w in row] for row in layer.w.tolist()]
    return [b + sum(q * v for q, v in zip(row, a, strict=True))
            for b, row in zip(bias, rows, strict=True)]  # fmt: skip


def slow_quantise(e: Batch, unit: Fraction) -> tuple[Batch, int]:
    """Eight bits of errors in this unit and the exponent of the result (5.1.4)."""
    largest = max(abs(v) for row in e for v in row)
    n = max(k for k in range(-1, 80) if k == -1 or largest**2 * 2 >= 4**k)  # 2^(n-1/2) <= largest
    d = [[clip(round(v * Fraction(2) ** (7 - n)), 127) for v in row] for row in e]
    exponent = n + unit.numerator.bit_length() - unit.denominator.bit_length()
    return (d, exponent) if largest else (e, 0)


def slow_output_error(model: ref.Model, o: Batch, labels: list[int]) -> tuple[Batch, int]:
    """d and x of the last layer (4.4, 4.5)."""
    h, gain = model.layers[-1].h, model.config.gain_shift
    e = [list(row) for row in o]
    if not model.sse:
        e = [ref.probabilities(np.array(row), h, gain).tolist() for row in o]
    bits = 7 + h if model.sse else 14
    for row, label in zip(e, labels, strict=True):
        row[label] -= 2**bits
    if model.paper:
        return slow_quantise(e, Fraction(1, 2**bits))
    return [[clip(round(Fraction(v, 2 ** (bits - 7))), 127) for v in row] for row in e], 0


def slow_lower(model: ref.Model, at: int, d: Batch, x: int, held: dict) -> tuple[Batch, int]:
    """The error sums that a layer's input gets, and y (5.1.1, 5.1.2)."""
    layer, y = model.layers[at], x - model.layers[at].h
    e = d
    if layer.kind != ref.ADD:
        q = [[slow_q(layer, w, model.paper) for w in row] for row in layer.w.tolist()]
        inputs = range(layer.fan_in)
        e = [[sum(q[o][i] * row[o] for o in range(layer.out)) for i in inputs] for row in d]
    if at not in held:
        return e, y
    d_s, y_s = held.pop(at)
    if not any(any(row) for row in d):
        return d_s, y_s
    t = y_s - y
    if t <= 16:
        unit, up = Fraction(1), Fraction(2) ** t
    else:
        unit, up = Fraction(2) ** -min(t - 16, 31), 2**16
        y += min(t - 16, 31)
    sums = [[round(v * unit) + round(s * up) for v, s in zip(row, row_s, strict=True)]
            for row, row_s in zip(e, d_s, strict=True)]  # fmt: skip
    return sums, y


def slow_mask(model: ref.Model, layer: ref.Layer, z: int, a: int) -> tuple[bool, bool]:
    """Whether an error is 0 before and after it is quantised (5.1.3, 5.1.5)."""
    signed = layer.activation == ref.SIGNED
    if model.paper:
        return (abs(z) if signed else z) > 127 * 2**layer.h, not signed and z <= 0
    return abs(a) == 127 or (not signed and a <= 0), False


def slow_update(model: ref.Model, at: int, inputs: Batch, d: Batch, x: int) -> None:
    """Weights and bias of one layer after the step (5.2 to 5.4)."""
    layer, config = model.layers[at], model.config
    if layer.kind == ref.ADD:
        return
    pairs = list(zip(d, inputs, strict=True))
    n_of, f = {"n": 7 - x}, layer.store_bits - 8
    g = [
        [sum(e[o] * a[i] for e, a in pairs) for i in range(layer.fan_in)] for o in range(layer.out)
    ]
    largest = max(abs(v) for row in g for v in row)
    if model.paper and largest == 0:
        return
    if model.paper:
        n_of["n"] = ref.ilog2_round(largest)
    key, leak = (ref.key(config.seed, model.step, k + at) for k in (1, 96))

    def dw(g: int, n: int, index: int) -> int:
        m = min(abs(g) * config.lr_factor, 2**32 - 1)
        step = ref.stochastic_shift(m, n - config.lr_shift, ref.fraction(key, index))
        return step if g > 0 else -step if g < 0 else 0

    w, v = layer.w.copy(), layer.v
    for index, (o, i) in enumerate(() if layer.fixed else np.ndindex(*w.shape)):
        move = dw(g[o][i], n_of["n"] - f, index)
        if model.momentum:
            old, r = int(v[o, i]), ref.fraction(leak, index)
            lost = ref.stochastic_shift(abs(old), model.momentum, r)
            move = v[o, i] = clip(old - (lost if old > 0 else -lost) + move, 32767)
        w[o, i] = clip(int(w[o, i]) - move, layer.limit)
    layer.w = w
    if layer.bias is not None:
        total = [sum(row[o] for row in d) for o in range(layer.out)]
        moved = [dw(t, 1 - layer.bits - x, w.size + o) for o, t in enumerate(total)]
        layer.bias = np.array([clip(b - m, 2**24 - 1) for b, m in
                               zip(layer.bias.tolist(), moved, strict=True)])  # fmt: skip


def slow_step(model: ref.Model, samples: Batch, labels: list[int]) -> None:
    """SPEC 3 to 5: changes the weights of a model all of whose layers are trainable."""
    layers, tensors, sums = model.layers, [samples], []
    for at, layer in enumerate(layers):
        sides = tensors[at - layer.skip]
        z = [slow_forward(model, layer, *both) for both in zip(tensors[at], sides, strict=True)]
        low = -127 if layer.activation == ref.SIGNED else 0
        sums.append(z)
        tensors.append(
            [[max(low, min(127, round(Fraction(v, 2**layer.h)))) for v in row] for row in z]
        )
    d, x = slow_output_error(model, sums[-1], labels)
    if max(abs(v) for row in d for v in row) < max(1, model.config.threshold):
        return
    held = {}
    for at in reversed(range(len(layers))):
        layer, next_d, next_x = layers[at], None, None
        if layer.kind == ref.ADD and at - layer.skip > 0:
            held[at - layer.skip] = (d, x - layer.h)
        if at:
            e, y = slow_lower(model, at, d, x, held)
            pairs = [
                list(zip(*both, strict=True))
                for both in zip(sums[at - 1], tensors[at], strict=True)
            ]
            masks = [[slow_mask(model, layers[at - 1], *pair) for pair in row] for row in pairs]
            e = [
                [0 if m[0] else v for v, m in zip(*both, strict=True)]
                for both in zip(e, masks, strict=True)
            ]
            next_d, next_x = slow_quantise(e, Fraction(2) ** (y - 7))
            next_d = [[0 if m[1] else v for v, m in zip(*both, strict=True)]
                      for both in zip(next_d, masks, strict=True)]  # fmt: skip
        slow_update(model, at, tensors[at], d, x)
        if at and not held and not any(any(row) for row in next_d):
            return
        d, x = next_d, next_x


def random_residual(seed: int) -> bytes:
    """Trainable dense layers of one size with adds between them: skips side by side and crossed."""
    rng = random.Random(seed)
    flags = rng.choice((0, PAPER, SSE, PAPER | SSE))
    shape, classes, layers = (1, 1, rng.choice((4, 6))), 3, []
    for _ in range(rng.randint(1, 3)):
        layers += [dense(shape[2]) for _ in range(rng.randint(1, 2))]
        taken = {
            at - layer["skip"] for at, layer in enumerate(layers) if layer["kind"] == blobs.ADD
        }
        free = [j for j in range(len(layers)) if j not in taken]
        if rng.randrange(4):
            scale = rng.choice((0, 1, 2, 7))
            layers.append(add(shape[2], len(layers) - rng.choice(free), alpha_shift=scale))
    layers.append(dense(classes))
    for layer in layers:
        layer |= {"flags": 1, "activation": rng.choice((1, 2))}
        if layer["kind"] != blobs.ADD:
            layer |= random_models.random_numbers(rng, layer, shape, paper=bool(flags & PAPER))
            layer["alpha_shift"] = rng.choice((layer["alpha_shift"], 0, 12))
    layers[-1] |= {"activation": 0, "alpha_shift": min(layers[-1]["alpha_shift"], 6)}
    settings = random_models.random_settings(rng, bool(flags & PAPER)) | {"flags": flags}
    return make_blob(layers, shape, header=settings)


@pytest.mark.parametrize("seed", range(120))
def test_step_is_that_of_the_document(seed: int) -> None:
    blob = random_residual(seed)
    model, twin = ref.open_model(blob), ref.open_model(blob)
    stream, rng = blobs.random_stream(blob, seed, 40), random.Random(seed)
    for _ in range(5):
        some = [next(stream) for _ in range(rng.randint(1, model.batch))]
        labels = [label for _, label in some]
        ref.train(model, some)
        slow_step(twin, [x.tolist() for x, _ in some], labels)
        twin.step += 1
        for mine, other in zip(model.learning, twin.learning, strict=True):
            for name in ("w", "v", "bias"):
                np.testing.assert_array_equal(getattr(mine, name), getattr(other, name), name)


def test_steps_of_the_document_reach_every_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, join = set(), ref.steps.join

    def spy(e: np.ndarray, y: int, held: tuple) -> tuple:
        t = held[1] - y
        far = "up" if t > 16 else "down" if t < 0 else "same"
        seen.add(far if e.any() else "only")
        return join(e, y, held)

    monkeypatch.setattr(ref.steps, "join", spy)
    for seed in range(120):
        blob = random_residual(seed)
        model = ref.open_model(blob)
        for x, label in blobs.random_stream(blob, seed, 3):
            ref.train(model, [(x, label)])
        seen |= {("policy", model.paper, model.sse, model.momentum > 0, model.batch > 1)}
    wanted = {("policy", *(bool(n >> k & 1) for k in range(4))) for n in range(16)}
    wanted |= {"up", "down", "same", "only"}
    assert wanted <= seen, wanted - seen

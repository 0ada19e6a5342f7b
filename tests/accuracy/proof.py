"""The proof that accuracy.exact gives the bits of the C engine: random and extreme cases.

A case is a model and steps of samples. After each step all stored weights, the step's number and
the predictions must be equal.
"""

# SPDX-License-Identifier: MIT

import contextlib
import dataclasses
import random
from collections.abc import Callable, Iterator

import blobs
import numpy as np
import random_models
import torch
from blobs import PAPER, SSE, TRAINABLE, Fields, Shape, conv2d, dense
from wage_host.core import Core
from wage_host.core import info as read_info

from accuracy.exact import PRODUCTS, Exact, Product, Tensor, product_float64

WHOLE = {"pad": (0, 0, 0, 0)}


class DifferentError(Exception):
    """A bit differs."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and the steps that it learns: x (n, inputs) int8 and labels (n)."""

    name: str
    blob: bytes
    steps: tuple[tuple[np.ndarray, np.ndarray], ...]


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a case reached, for tests that extremes are extreme."""

    error: int  # largest |e| of all layers, the last excepted, and steps
    gradient: int  # and |g|
    still: tuple[bool, ...]  # of each step: no weight changed


def compare(case: Case, device: str = "cpu", product: Product | None = None) -> Seen:
    """Runs a case in C and on a device; DifferentError when a bit differs."""
    core, exact = Core(case.blob), Exact(case.blob, device, product)
    error = gradient = 0
    still = []
    before = core.state()
    for number, (x, labels) in enumerate(case.steps):
        wanted = core.train(x, labels)["prediction"]
        found = exact.train(x, labels).cpu().numpy()
        here = f"{case.name}, step {number}"
        if not np.array_equal(found, wanted):
            raise DifferentError(f"{here}: {(found != wanted).sum()} predictions")
        after, ours = core.state(), exact.state()
        if after.keys() != ours.keys():
            raise DifferentError(f"{here}: other tensors")
        for name, array in after.items():
            if not np.array_equal(array, ours[name]):
                raise DifferentError(f"{here}, {name}: {(array != ours[name]).sum()} numbers")
        error = max(error, *(layer.largest_error for layer in exact.layers))
        gradient = max(gradient, *(layer.largest_gradient for layer in exact.layers))
        still.append(all(np.array_equal(before[n], after[n]) for n in after if n != "step"))
        before = after
    return Seen(error, gradient, tuple(still))


def model(
    layers: list[Fields], shape: Shape, sse: bool, fill: Callable[[Fields, Shape], object], **header
) -> bytes:
    """A blob whose layers all learn; fill(layer, input shape): a layer's weights."""
    inputs = blobs.shapes(layers, shape)
    whole = []
    for layer, at in zip(layers, inputs, strict=False):
        layer = {"flags": TRAINABLE, "alpha_shift": blobs.alpha_shift(blobs.fan_in(layer, at))} | {
            **layer
        }
        whole.append(layer | {"weights": fill(layer, at)})
    flags = PAPER | (SSE if sse else 0)
    return blobs.make_blob(whole, shape, header={"flags": flags, "lr_shift": 0, **header})


# Random cases


def _random_layers(rng: random.Random, shape: Shape, classes: int) -> list[Fields]:
    layers: list[Fields] = []
    for _ in range(rng.randint(0, 3)):
        at = blobs.shapes(layers, shape)[-1]
        window = random_models.random_window(rng, at) | {"stride": (1, 1)}
        layers.append(conv2d(rng.randint(1, 9), **window, pool=rng.choice((1, 2))))
    if rng.randrange(4) == 0:  # one pool window, or a part of one, is the output
        at = blobs.shapes(layers, shape)[-1]
        smaller = tuple(max(1, side - rng.randrange(2)) for side in at[:2])
        layers.append(conv2d(classes, kernel=smaller, **WHOLE, pool=2))
    else:
        layers += [dense(rng.randint(1, 20)) for _ in range(rng.choice((0, 1, 2)))]
        layers.append(dense(classes))
    for layer in layers:
        layer["bits"] = rng.choice((2, 2, 4, 8, rng.randint(2, 8)))
        layer["store_bits"] = rng.choice((8, 12, 16, rng.randint(layer["bits"], 16)))
    return layers


def random_case(seed: int, steps: int = 4) -> Case:
    """A small net of any widths, loss, rate and batch."""
    rng = random.Random(f"exact {seed}")
    shape, classes = (rng.randint(1, 9), rng.randint(1, 9), rng.randint(1, 4)), rng.randint(2, 6)
    batch = rng.choice((1, 2, rng.randint(3, 40)))
    blob = model(
        _random_layers(rng, shape, classes),
        shape,
        bool(rng.randrange(2)),
        lambda layer, at: blobs.random_weights(layer, at, rng),
        batch=batch,
        lr_shift=rng.choice((*range(-4, 4), -24, 7)),
        lr_factor=rng.choice((1, 1, 3, 15)),
        gain_shift=rng.randrange(8),
        threshold=rng.choice((0, 0, 40, 127)),
        seed=rng.getrandbits(32),
    )
    draws = np.random.default_rng(seed)
    taught = []
    for step in range(steps):
        n = batch if step + 1 < steps else rng.randint(1, batch)  # the last part of an epoch
        x = draws.integers(-128, 128, (n, np.prod(shape))).astype(np.int8)
        taught.append((x, draws.integers(0, classes, n)))
    return Case(f"random {seed}", blob, tuple(taught))


# Extreme cases


def _ends(rng: random.Random, *signs: int) -> Callable[[Fields, Shape], list[int]]:
    """Weights at the limits: a sign for each layer from the first on; 0 or none: both at random."""
    left = iter(signs)

    def fill(layer: Fields, at: Shape) -> list[int]:
        sign, most = next(left, 0), blobs.limit(layer)
        count = blobs.weight_count(layer, at)
        return [(sign or rng.choice((-1, 1))) * most for _ in range(count)]

    return fill


def _alike(value: int, n: int, size: int, label: int = 0, steps: int = 3):
    return tuple((np.full((n, size), value, np.int8), np.full(n, label)) for _ in range(steps))


def limit_cases() -> Iterator[Case]:
    """Inputs and weights at their ends, all labels alike, every width and either loss."""
    for bits in (2, 4, 8):
        for stored in (8, 12, 16):
            rng = random.Random(f"{bits} {stored}")
            sse = bool(rng.randrange(2))
            width = {"bits": bits, "store_bits": stored}
            layers = [conv2d(24, pool=2, **width), conv2d(16, **width)]
            layers += [dense(40, **width), dense(3, **width)]
            for value, signs in ((127, (1, 1, 1, 1)), (-127, (-1, 0)), (-128, ()), (127, ())):
                blob = model(layers, (9, 8, 3), sse, _ends(rng, *signs), batch=20, lr_shift=3)
                name = f"{bits}/{stored}, inputs {value}, weights at the ends {signs}"
                yield Case(name, blob, _alike(value, 20, 216))
            draws = np.random.default_rng(bits * stored)
            blob = model(layers, (9, 8, 3), not sse, _ends(rng), batch=20, lr_shift=7, lr_factor=15)
            steps = [
                (draws.choice((-127, 127), (20, 216)).astype(np.int8), draws.integers(0, 3, 20))
                for _ in range(3)
            ]
            yield Case(f"{bits}/{stored}, inputs at both ends", blob, tuple(steps))


def sum_cases() -> Iterator[Case]:
    """The longest sums of SPEC 2.6, all products alike and as large as they can be."""
    rng = random.Random("sums")
    wide = {"bits": 8, "store_bits": 16, "alpha_shift": 0}
    narrow = {"bits": 2, "store_bits": 8, "alpha_shift": 0}
    layers = [conv2d(2, kernel=(1, 1), **WHOLE, **wide), dense(2, **narrow)]
    for value, signs in ((127, (1, 1)), (-128, (-1, 1))):  # z at most 127 · 2^H: open everywhere
        blob = model(layers, (32, 32, 1), True, _ends(rng, *signs), batch=128)
        yield Case(f"131,072 positions, inputs {value}", blob, _alike(value, 128, 1024, steps=2))
    blob = model(  # |g| · lr_factor is cut to 31 bits
        layers,
        (32, 32, 1),
        True,
        lambda layer, at: (
            [blobs.limit(layer) // (layer["bits"] // 2)] * blobs.weight_count(layer, at)
        ),
        batch=128,
        lr_shift=-8,
        lr_factor=15,
    )
    yield Case("131,072 positions, lr_factor 15", blob, _alike(127, 128, 1024, steps=2))
    at_once = [dense(2, **wide | {"alpha_shift": 9})]
    for sign in (1, -1):
        blob = model(at_once, (256, 256, 2), False, _ends(rng, sign), batch=3)
        yield Case(f"fan-in 131,072, sign {sign}", blob, _alike(127, 3, 131072, steps=2))
    fan_out = [
        conv2d(1, kernel=(1, 1), **WHOLE, **wide),
        conv2d(65535, kernel=(2, 1), **WHOLE, **wide | {"alpha_shift": 1}),
        dense(2, **narrow),
    ]
    blob = model(fan_out, (3, 1, 1), True, _ends(rng, 1, 1, 1), batch=2)
    yield Case("fan-out 131,070", blob, _alike(127, 2, 3, steps=2))


def tie_cases() -> Iterator[Case]:
    """Pools whose windows hold equal sums, odd sizes too."""
    draws = np.random.default_rng(3)
    rng = random.Random("ties")
    for kernel, values in (((1, 1), (0, 64)), ((3, 3), (64,)), ((2, 2), (-64, 64))):
        layers = [
            conv2d(12, kernel=kernel, **WHOLE, pool=2, bits=2, store_bits=8),
            conv2d(8, kernel=(1, 1), **WHOLE, pool=2, bits=2, store_bits=8),
            dense(3, bits=2, store_bits=8),
        ]
        blob = model(layers, (9, 9, 1), True, _ends(rng), batch=16, lr_shift=3)
        steps = [
            (draws.choice(values, (16, 81)).astype(np.int8), draws.integers(0, 3, 16))
            for _ in range(4)
        ]
        yield Case(f"ties in pools, kernel {kernel}", blob, tuple(steps))


def zero_cases() -> Iterator[tuple[Case, tuple[bool, ...]]]:
    """Maxima that are zero, and in which steps no weight may change."""
    rng = random.Random("zeros")
    narrow = {"bits": 2, "store_bits": 8, "alpha_shift": 0}
    known = model(
        [dense(2, **narrow)], (1, 1, 4), True, lambda layer, at: [64] * 4 + [0] * 4, batch=2
    )
    yield Case("the error is zero", known, _alike(64, 2, 4)), (True, True, True)
    mixed = (*_alike(64, 2, 4, steps=1), *_alike(64, 2, 4, label=1, steps=1))
    yield Case("the error is zero at first", known, mixed), (True, False)
    layers = [conv2d(4, pool=2, **narrow), dense(3, **narrow)]
    blob = model(layers, (5, 5, 1), False, _ends(rng), batch=4)
    yield Case("inputs are zero", blob, _alike(0, 4, 25)), (True, True, True)
    blob = model(layers, (5, 5, 1), False, _ends(rng, -1), batch=4)
    yield Case("no ReLU is open", blob, _alike(127, 4, 25)), (True, True, True)
    blob = model(layers, (5, 5, 1), False, _ends(rng, 1), batch=4)
    yield Case("all is saturated", blob, _alike(127, 4, 25)), (False, False, False)
    layers = [dense(5, **narrow), dense(5, bits=2, store_bits=16, alpha_shift=3), dense(3)]

    def idle_middle(layer: Fields, at: Shape) -> list[int]:
        if layer["bits"] == 2:
            return [0 if layer["store_bits"] == 16 else 64] * blobs.weight_count(layer, at)
        return blobs.random_weights(layer, at, rng)

    layers[-1] |= {"bits": 8, "store_bits": 16}
    blob = model(layers, (1, 1, 3), False, idle_middle, batch=2, lr_shift=-2)
    yield Case("weights in use are zero", blob, _alike(20, 2, 3, steps=4)), (True,) * 4


def other_cases() -> Iterator[Case]:
    """The largest scale, the smallest and the largest rates, one sample."""
    rng = random.Random("others")
    draws = np.random.default_rng(5)

    def spread(layer: Fields, at: Shape) -> list[int]:
        return blobs.random_weights(layer, at, rng)

    def steps(n: int, size: int):
        return tuple(
            (draws.integers(-127, 128, (n, size)).astype(np.int8), draws.integers(0, 4, n))
            for _ in range(3)
        )

    for shift in (0, 7, 20):
        layers = [conv2d(6, alpha_shift=shift, bits=8), dense(4, alpha_shift=shift % 15, bits=8)]
        for rate in (-24, -9, 0, 7):
            blob = model(layers, (6, 6, 2), False, spread, batch=5, lr_shift=rate, lr_factor=15)
            yield Case(f"alpha_shift {shift}, rate 15 · 2^{rate}", blob, steps(5, 72))
    narrow = dense(2, bits=2, store_bits=8, alpha_shift=0)
    blob = model([narrow, narrow], (1, 1, 2), True, _ends(rng, 1, 1), batch=2, lr_shift=3)
    yield Case("the error's largest is 1", blob, _alike(65, 2, 2))  # 127 - 126
    blob = model([dense(7), dense(4)], (1, 1, 9), True, spread)
    yield Case("one sample", blob, steps(1, 9))


def extreme_cases() -> Iterator[Case]:
    """All of them."""
    yield from limit_cases()
    yield from sum_cases()
    yield from tie_cases()
    yield from (case for case, _ in zero_cases())
    yield from other_cases()


def whole_case(blob: bytes, steps: int = 2) -> Case:
    """Full batches of any inputs, and one at its end, for a net in its real size."""
    info = read_info(blob)
    draws = np.random.default_rng(7)
    shape = (info.batch, info.input_bytes)
    taught = [draws.integers(-127, 128, shape).astype(np.int8) for _ in range(steps)]
    taught[-1][:] = 127
    labels = [draws.integers(0, info.classes, info.batch) for _ in range(steps)]
    return Case("the whole net", blob, tuple(zip(taught, labels, strict=True)))


# The proof


def check_product(make: Product, device: str) -> None:
    """Products of random and extreme numbers, of sizes that fit nothing, equal NumPy's."""
    draws = np.random.default_rng(11)
    sizes = ((1, 1, 1), (3, 27, 5), (33, 1031, 9), (17, 1153, 31), (10, 4096, 130))
    for rows, depth, columns in (*sizes, (7, 131072, 2), (128, 8192, 16)):
        for low, high in ((-128, 127), (64, 127), (-128, -100), (0, 1)):
            a = draws.integers(low, high + 1, (rows, depth)).astype(np.int8)
            b = draws.integers(max(low, -127), high + 1, (columns, depth)).astype(np.int8)
            found = make(*(torch.from_numpy(x).to(device) for x in (a, b)), 128 * 127)
            wanted = a.astype(np.int64) @ b.astype(np.int64).T
            if not np.array_equal(found.cpu().numpy(), wanted):
                raise DifferentError(f"products of {rows} x {depth} x {columns}, {low} to {high}")


def checked(make: Product) -> Product:
    """The product, and DifferentError when one of its sums is not that of float64."""

    def both(a: Tensor, b: Tensor, bound: int) -> Tensor:
        out = make(a, b, bound)
        if not torch.equal(out, product_float64(a, b, bound)):
            raise DifferentError(f"products of {len(a)} x {a.shape[1]} x {len(b)}")
        return out

    return both


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """For small tensors: to wake a second thread takes longer than the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def prove(device: str, product: str, randoms: int = 40) -> int:
    """The products, every extreme case and random ones on a device; how many. DifferentError."""
    check_product(PRODUCTS[product], device)
    cases = [*extreme_cases(), *(random_case(seed) for seed in range(randoms))]
    with one_thread():
        for case in cases:
            compare(case, device, PRODUCTS[product])
    return len(cases)


def prove_whole(blob: bytes, device: str, product: str) -> None:
    """Steps of a net in its real size on a device, each sum of it looked at. DifferentError."""
    compare(whole_case(blob), device, checked(PRODUCTS[product]))

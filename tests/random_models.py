"""Random small models, all valid, that have something of everything, as blobs."""

# SPDX-License-Identifier: MIT

import random
from typing import Any

import numpy as np
from blobs import (
    ADD,
    AVERAGE_POOL,
    BIAS,
    FIXED,
    INPUTS,
    MAX_POOL,
    PAPER,
    POINT,
    RELU,
    SIGNED,
    SSE,
    TABLE,
    TRAINABLE,
    WEIGHTLESS,
    Fields,
    Shape,
    add,
    alpha_shift,
    average_pool,
    conv2d,
    dense,
    depthwise,
    fan_in,
    make_blob,
    max_pool,
    random_weights,
    shapes,
)


def random_window(rng: random.Random, shape: Shape, largest: int = 4) -> Fields:
    """Kernel, padding and stride that fit an input."""
    kernel = tuple(rng.randint(1, min(side, largest)) for side in shape[:2])
    stride = (rng.choice((1, 1, 2, 3)), rng.choice((1, 1, 2, 3)))
    return {"kernel": kernel, "pad": tuple(rng.randrange(k) for k in 2 * kernel), "stride": stride}


def random_same(rng: random.Random, shape: Shape) -> Fields:
    """A layer with weights whose output has the shape of its input."""
    kernel = tuple(rng.choice((1, 3)) if side > 1 else 1 for side in shape[:2])
    window = {"kernel": kernel, "pad": 2 * tuple(k // 2 for k in kernel)}
    return rng.choice((conv2d, depthwise))(shape[2], **window)


def random_average_pool(rng: random.Random, shape: Shape, whole: bool) -> Fields:
    """An average of the whole input, or of windows, now and then with an odd factor."""
    window = {"kernel": shape[:2], "pad": (0, 0, 0, 0)} if whole else random_window(rng, shape)
    pool = average_pool(shape[2], window["kernel"]) | window
    if rng.randrange(4) == 0:
        pool |= {"factor": rng.choice((1, 3, 65535)), "alpha_shift": rng.choice((0, 2, 18))}
    return pool


def random_layer(rng: random.Random, shape: Shape) -> Fields:
    """Any layer but dense or add."""
    what = rng.randrange(10)
    if what < 3:
        return random_same(rng, shape)
    if what < 6:
        window = random_window(rng, shape)
        return conv2d(rng.randint(1, 6), **window, pool=rng.choice((1, 2)))
    if what < 8:
        return depthwise(shape[2], **random_window(rng, shape), pool=rng.choice((1, 2)))
    if what < 9:
        return max_pool(shape[2], (1, 1)) | random_window(rng, shape)
    return random_average_pool(rng, shape, whole=False)


def random_skip(rng: random.Random, layers: list[Fields], shape: Shape) -> Fields | None:
    """An add that may follow the layers, if a tensor below has the right shape."""
    found = shapes(layers, shape)
    taken = {at - layer["skip"] for at, layer in enumerate(layers) if layer["kind"] == ADD}
    free = [j for j in range(len(layers)) if found[j] == found[-1] and j not in taken]
    if not free:
        return None
    scale = rng.choice((0, 0, 1, 1, 2, 7))
    return add(found[-1][2], len(layers) - rng.choice(free), alpha_shift=scale)


def random_head(rng: random.Random, shape: Shape, classes: int) -> list[Fields]:
    """The last layers: what gives as many sums as there are classes."""
    what, whole = rng.randrange(8), {"kernel": shape[:2], "pad": (0, 0, 0, 0)}
    if what < 4:
        hidden = [dense(rng.randint(1, 12)) for _ in range(rng.choice((0, 0, 1, 2)))]
        return [*hidden, dense(classes)]
    if what == 4:  # one pool window is the output
        smaller = tuple(max(1, side - rng.randrange(2)) for side in shape[:2])
        return [conv2d(classes, kernel=smaller, pad=(0, 0, 0, 0), pool=2)]
    if what == 5:
        return [conv2d(classes, **POINT), depthwise(classes, **whole)]
    at = (*shape[:2], classes)
    return [conv2d(classes, **POINT), random_average_pool(rng, at, whole=True)]


def random_cut(rng: random.Random, layers: list[Fields]) -> int:
    """Where the trainable layers begin: above no add's skip, and one of them has weights."""
    ends = {at: at - layer["skip"] for at, layer in enumerate(layers) if layer["kind"] == ADD}
    most = max(at for at, layer in enumerate(layers) if layer["kind"] not in WEIGHTLESS)
    crossed = {f for at, low in ends.items() for f in range(low + 1, at + 1)}
    free = [f for f in range(most + 1) if f not in crossed]
    return rng.choice((*free, free[-1]))


def random_numbers(rng: random.Random, layer: Fields, shape: Shape, paper: bool) -> Fields:
    """Widths, scale, weights and bias of a layer with weights."""
    bits = rng.choice((2, 8, 2, 8, rng.randint(2, 8)))
    fields = {"bits": bits, "alpha_shift": alpha_shift(fan_in(layer, shape))}
    fields["alpha_shift"] = max(0, fields["alpha_shift"] + rng.choice((-1, 0, 0, 1)))
    if layer["flags"] & TRAINABLE:
        fields["store_bits"] = rng.choice((*[16 if bits == 8 else 8] * 2, rng.randint(bits, 16)))
    if rng.randrange(3) == 0 and not (paper and layer["flags"] & TRAINABLE):
        one = 1 << (6 + bits + fields["alpha_shift"])  # 1.0 in the unit of the sums
        ends = (0, one, -one, (1 << 24) - 1, 1 - (1 << 24))
        bias = [rng.choice((rng.randint(-one, one),) * 6 + ends) for _ in range(layer["out"])]
        fields |= {"flags": layer["flags"] | BIAS, "bias": bias}
    steep = random.Random(31 * layer["out"] + fan_in(layer, shape))  # the stream of rng stays
    if fields.get("flags") == TRAINABLE | BIAS and steep.randrange(3) == 0:
        fields |= {"flags": TRAINABLE | BIAS | FIXED, "store_bits": 0}
    weights = random_weights(layer | fields, shape, rng)
    scale = steep.choice((*[fields["alpha_shift"]] * 3, steep.randint(2 - bits, 0)))
    return fields | {"weights": weights, "alpha_shift": scale}


def random_layers(
    rng: random.Random, shape: Shape, classes: int, paper: bool = False
) -> list[Fields]:
    """Layers of any kind with their weights, all valid, for either policy."""
    layers: list[Fields] = []
    for _ in range(rng.randint(0, 3)):
        layers.append(random_layer(rng, shapes(layers, shape)[-1]))
        if (skip := random_skip(rng, layers, shape)) and rng.randrange(3):
            layers.append(skip)
    layers += random_head(rng, shapes(layers, shape)[-1], classes)
    frozen = random_cut(rng, layers)
    for index, (layer, at) in enumerate(zip(layers, shapes(layers, shape), strict=False)):
        layer["flags"] = int(index >= frozen)
        if index < len(layers) - 1 and layer["kind"] not in (AVERAGE_POOL, MAX_POOL):
            layer["activation"] = rng.choice((RELU, RELU, SIGNED))
        if layer["kind"] not in WEIGHTLESS:
            layer |= random_numbers(rng, layer, at, paper)
    return layers


def random_settings(rng: random.Random, paper: bool) -> Fields:
    """Fields of the header that say how a model learns."""
    rates = (*range(-4, 4), -24, 7) if paper else (*range(-10, -1), -24, 7)
    return {
        "input_map": rng.randrange(2), "gain_shift": rng.randrange(5),
        "lr_shift": rng.choice(rates), "replays": rng.randrange(5),
        "threshold": rng.choice((0, 0, 8, 40)), "seed": rng.getrandbits(32),
        "batch": rng.choice((1, 1, rng.randint(1, 8))), "momentum": rng.choice((0, 0, 1, 3, 7)),
        "lr_factor": rng.choice((1, 1, 3, 15)),
    }  # fmt: skip


def random_model(seed: int, **header: Any) -> bytes:
    """A small valid blob with random shapes, kinds, widths, settings, weights and replay."""
    rng = random.Random(200 + seed)  # the first 48 models have something of everything
    sides = (
        (1, rng.randint(4, 20)) if rng.randrange(4) == 0 else (rng.randint(1, 9), rng.randint(1, 9))
    )
    shape, classes = (*sides, rng.randint(1, 3)), rng.randint(2, 6)
    flags = header.get("flags", rng.choice((0, 0, PAPER | SSE, rng.randrange(4))))
    if "flags" not in header:
        flags |= random.Random(seed).choice((0, INPUTS, TABLE, INPUTS | TABLE))
    layers = random_layers(rng, shape, classes, paper=bool(flags & PAPER))
    frozen = sum(not layer["flags"] & TRAINABLE for layer in layers)
    at = shape if flags & INPUTS else shapes(layers, shape)[frozen]
    capacity = header.get("replay_capacity", rng.choice((0, 1, 5, 12)))
    labels = [rng.randrange(classes) for _ in range(rng.randint(0, capacity))]
    relu = frozen and not flags & INPUTS
    low = 0 if relu and layers[frozen - 1].get("activation") == RELU else -127
    latents = [rng.randint(low, 127) for _ in range(len(labels) * at[0] * at[1] * at[2])]
    settings = random_settings(rng, bool(flags & PAPER))
    settings |= {"flags": flags, "replay_capacity": capacity, "name": b"random %d" % seed}
    factory = (labels, np.array(latents)) if labels else None
    return make_blob(layers, shape, factory=factory, header=settings | header)

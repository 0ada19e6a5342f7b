"""Small networks that have something of everything, as blobs, and samples for them."""

# SPDX-License-Identifier: MIT

import random
from collections.abc import Iterator
from typing import Any

import blobs
import numpy as np
import reference as ref
from blobs import (
    ADD,
    BIAS,
    PAPER,
    SIGNED,
    SSE,
    TRAINABLE,
    Fields,
    Shape,
    add,
    average_pool,
    conv2d,
    dense,
    depthwise,
    make_blob,
    max_pool,
)
from wage_host.core import Core

Samples = list[tuple[np.ndarray, int]]
POLICIES = {"continual": 0, "continual-sse": SSE, "paper-ce": PAPER, "paper": PAPER | SSE}
WIDTHS = range(2, 9)


def finished(
    layers: list[Fields], shape: Shape, bits: int, seed: int, *, frozen: int = 0, **header: Any
) -> bytes:
    """A blob: weights of `bits` bits, every third layer with a bias where it may have one."""
    rng, paper, at = random.Random(seed), bool(header.get("flags", 0) & PAPER), shape
    for index, layer in enumerate(layers):
        trainable = int(index >= frozen)
        layer.setdefault("flags", trainable * TRAINABLE)
        if layer["kind"] not in blobs.WEIGHTLESS:
            layer.setdefault("bits", bits)
            scale = blobs.alpha_shift(blobs.fan_in(layer, at))
            layer.setdefault("alpha_shift", scale)
            if trainable and not paper:
                layer["store_bits"] = rng.choice((16 if bits == 8 else 8, rng.randint(bits, 16)))
            elif trainable:
                layer["store_bits"] = rng.choice((8, 8, rng.randint(bits, 16)))
            if index % 3 == 0 and not (trainable and paper):
                one = 1 << (6 + bits + layer["alpha_shift"] - 2)
                layer["flags"] |= BIAS
                layer["bias"] = [rng.randint(-one, one) for _ in range(layer["out"])]
            layer["weights"] = blobs.random_weights(layer, at, rng)
        at = blobs.out_shape(layer, at)
    return make_blob(layers, shape, header={"seed": seed, "name": b"net"} | header)


def every_kind() -> tuple[list[Fields], Shape]:
    """Two dimensions: all six kinds, pools, strides, padding, two skips, both activations."""
    return [
        conv2d(6, pool=2),
        depthwise(6, activation=SIGNED),
        conv2d(6, **blobs.POINT, activation=SIGNED),
        add(6, 2, alpha_shift=1, activation=SIGNED),
        max_pool(6, (2, 3), stride=(1, 1), pad=(0, 1, 1, 1)),
        conv2d(6, activation=SIGNED),
        add(6, 1),
        average_pool(6, (2, 2), stride=(2, 1), pad=(1, 0, 0, 1)),
        conv2d(7, stride=(1, 2), pad=(0, 1, 1, 0)),
        dense(12),
        dense(5),
    ], (9, 7, 2)


def one_dimension() -> tuple[list[Fields], Shape]:
    """All six kinds along one dimension."""
    along = {"kernel": (1, 5), "pad": (0, 2, 0, 2)}
    return [
        conv2d(4, **along, stride=(1, 2)),
        depthwise(4, **along),
        add(4, 1, activation=SIGNED),
        max_pool(4, (1, 2)),
        conv2d(5, **along, activation=SIGNED),
        average_pool(5, (1, 3), stride=(1, 2)),
        dense(4),
    ], (1, 33, 2)


NETS = {"planes": every_kind, "lines": one_dimension}


def net(name: str, bits: int, policy: str, seed: int = 1, **header: Any) -> bytes:
    """One of NETS under a policy; settings at which all layers learn."""
    layers, shape = NETS[name]()
    flags = POLICIES[policy]
    rate = 2 if flags & PAPER else -3
    return finished(layers, shape, bits, seed, **{"lr_shift": rate, "flags": flags} | header)


def joined(scales: tuple[int, int, int], policy: str, seed: int, dead: bool = False) -> bytes:
    """Residual blocks one in the other, of convolutions with these scales."""
    same = {"activation": SIGNED}
    layers = [
        conv2d(3, **same),
        conv2d(3, alpha_shift=scales[0], **same),
        conv2d(3, alpha_shift=scales[1], **same),
        add(3, 1, alpha_shift=scales[2], **same),
        depthwise(3, **same),
        add(3, 4, **same),
        dense(4),
    ]
    flags = POLICIES[policy]
    rate = 3 if flags & PAPER else -4
    blob = finished(layers, (4, 3, 2), 4, seed, flags=flags, batch=3, lr_shift=rate)
    if dead:  # nothing comes through the inner block
        at = int.from_bytes(blob[64 + 48 * 2 + 16 : 64 + 48 * 2 + 20], "little")
        size = int.from_bytes(blob[64 + 48 * 2 + 20 : 64 + 48 * 2 + 24], "little")
        blob = blobs.patch(blob, at, bytes(size))
    return blob


def samples_of(blob: bytes, seed: int, count: int) -> Samples:
    """Samples that a model can learn."""
    return list(blobs.random_stream(blob, seed, count))


def batches(samples: Samples, size: int) -> Iterator[Samples]:
    """The samples, `size` at a time."""
    for at in range(0, len(samples), size):
        yield samples[at : at + size]


def kinds(blob: bytes) -> set[int]:
    """The kinds of layers in a blob."""
    at = range(blobs.HEADER.size, blobs.HEADER.size + blob[16] * blobs.RECORD.size, 48)
    return {blob[k] for k in at}


def is_complete(blob: bytes) -> bool:
    """Whether it has layers of all six kinds."""
    return kinds(blob) == set(range(1, ADD + 1))


def crcs(of: ref.Model | Core) -> str:
    """CRCs of weights and state, as the harness of parity prints them."""
    core = isinstance(of, Core)
    weights = of.weight_crc() if core else ref.weight_crc(of)
    state = of.state_crc() if core else ref.state_crc(of)
    return f"{weights:08x} {state:08x}"

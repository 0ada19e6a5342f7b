"""Builds blobs (SPEC 9) for tests: right ones, wrong ones, random ones.

    blob = make_blob([conv2d(8, pool=2), dense(10, flags=1)], (8, 8, 1))
    bad = make_blob(layers, shape, header={"classes": 0})
    bad = patch(blob, 16, b"\\0")          # the CRC is made right again

A layer is a dict of the fields of its record. What is left out is derived, so
every field can be set wrong on purpose: a wrong value is written as it is.
"""

# SPDX-License-Identifier: MIT

import random
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

HEADER = struct.Struct("<4sHHIIBBHHHHBBbBBBIHHI16sI")
HEADER_FIELDS = [
    "magic", "format", "header_bytes", "blob_bytes", "crc", "layers", "record_bytes", "classes",
    "height", "width", "channels", "input_map", "gain_shift", "lr_shift", "replays", "threshold",
    "reserved", "seed", "replay_capacity", "factory_samples", "factory_offset", "name",
    "reserved_end",
]  # fmt: skip
RECORD = struct.Struct("<BBBBH2B2B4BBBII24s")
DENSE, CONV2D = 1, 2
Shape = tuple[int, int, int]
Fields = dict[str, Any]


def dense(out: int, **fields: Any) -> Fields:
    """A dense layer of `out` outputs, 8 bits, frozen unless flags=1."""
    return {"kind": DENSE, "out": out, "kernel": (1, 1), "pad": (0, 0, 0, 0)} | fields


def conv2d(out: int, **fields: Any) -> Fields:
    """A 3 x 3 convolution to `out` channels, padding 1, 8 bits, frozen unless flags=1."""
    return {"kind": CONV2D, "out": out, "kernel": (3, 3), "pad": (1, 1, 1, 1)} | fields


def complete(layer: Fields, last: bool) -> Fields:
    """All fields of a record but its section, those left out by default."""
    default = {"bits": 8, "flags": 0, "alpha_shift": 0, "stride": (1, 1), "pool": 1}
    return default | {"activation": 0 if last else 1, "reserved": b""} | layer


def fan_in(layer: Fields, shape: Shape) -> int:
    """Products in one sum of a layer with input `shape`."""
    if layer["kind"] == DENSE:
        return shape[0] * shape[1] * shape[2]
    return layer["kernel"][0] * layer["kernel"][1] * shape[2]


def out_shape(layer: Fields, shape: Shape) -> Shape:
    """(height, width, channels) after pooling, of a layer with input `shape`."""
    if layer["kind"] == DENSE:
        return 1, 1, layer["out"]
    top, left, bottom, right = layer["pad"]
    down, across = (max(1, s) for s in layer.get("stride", (1, 1)))
    pool = max(1, layer.get("pool", 1))
    rows = (shape[0] + top + bottom - layer["kernel"][0]) // down + 1
    columns = (shape[1] + left + right - layer["kernel"][1]) // across + 1
    return -(-rows // pool), -(-columns // pool), layer["out"]


def limit(layer: Fields) -> int:
    """Largest magnitude of a weight of this layer as it is kept."""
    if layer.get("flags", 0) & 1:
        return 64 if layer.get("bits", 8) == 2 else 32512
    return 1 if layer.get("bits", 8) == 2 else 127


def pack_weights(layer: Fields, weights: Any) -> bytes:
    """Weights in canonical order as the section of a layer (9.3); bytes stay as they are."""
    if isinstance(weights, bytes):
        return weights
    w = np.asarray(weights, np.int64).reshape(-1)
    bits, trainable = layer.get("bits", 8), layer.get("flags", 0) & 1
    if bits == 2 and not trainable:
        codes = np.append(w & 3, np.zeros(-len(w) % 4, np.int64)).reshape(-1, 4)
        return (codes << np.array([0, 2, 4, 6])).sum(axis=1).astype(np.uint8).tobytes()
    return w.astype("<i2" if bits == 8 and trainable else "i1").tobytes()


def make_blob(
    layers: list[Fields],
    input_shape: Shape,
    *,
    factory: tuple[list[int], np.ndarray] | None = None,
    header: Fields | None = None,
) -> bytes:
    """A blob of these layers; factory: labels and latents of the first replayed samples.

    layer["weights"]: canonical integers or bytes, zeros when left out.
    layer["offset"], layer["weight_bytes"], every field in `header`: as they are.
    """
    header = header or {}
    at = HEADER.size + RECORD.size * len(layers)
    records, sections, shape = [], [], tuple(input_shape)
    for number, layer in enumerate(layers, 1):
        layer = complete(layer, last=number == len(layers))
        weights = layer.get("weights")
        if weights is None:
            weights = np.zeros(max(0, layer["out"] * fan_in(layer, shape)), np.int64)
        section = pack_weights(layer, weights)
        offset = layer.get("offset", at)
        size = layer.get("weight_bytes", len(section))
        records.append(
            RECORD.pack(
                layer["kind"], layer["bits"], layer["flags"], layer["alpha_shift"], layer["out"],
                *layer["kernel"], *layer["stride"], *layer["pad"], layer["pool"],
                layer["activation"], offset, size, layer["reserved"],
            )
        )  # fmt: skip
        sections.append(section)
        at += len(section)
        shape = out_shape(layer, shape)
    labels, latents = factory if factory else ([], np.zeros(0, np.int8))
    factory_section = bytes(labels) + np.asarray(latents).astype(np.int8).tobytes()
    fields = {
        "magic": b"WAGE", "format": 1, "header_bytes": HEADER.size,
        "blob_bytes": at + len(factory_section), "crc": 0, "layers": len(layers),
        "record_bytes": RECORD.size, "classes": max(0, shape[0] * shape[1] * shape[2]),
        "height": input_shape[0], "width": input_shape[1], "channels": input_shape[2],
        "input_map": 0, "gain_shift": 2, "lr_shift": -6, "replays": 1, "threshold": 0,
        "reserved": 0, "seed": 1, "replay_capacity": len(labels),
        "factory_samples": len(labels), "factory_offset": at if labels else 0,
        "name": b"test", "reserved_end": 0,
    } | header  # fmt: skip
    head = HEADER.pack(*(fields[name] for name in HEADER_FIELDS))
    blob = head + b"".join(records) + b"".join(sections) + factory_section
    return blob if "crc" in header else seal(blob)


def seal(blob: bytes) -> bytes:
    """The blob with its CRC made right."""
    return blob[:12] + struct.pack("<I", zlib.crc32(blob[16:])) + blob[16:]


def patch(blob: bytes, at: int, data: bytes) -> bytes:
    """The blob with other bytes at `at` and its CRC made right."""
    return seal(blob[:at] + data + blob[at + len(data) :])


def header_fields(blob: bytes) -> Fields:
    """The header of a blob by name."""
    return dict(zip(HEADER_FIELDS, HEADER.unpack_from(blob), strict=True))


def alpha_shift(fan_in: int) -> int:
    """The scale at which weights fill three quarters of their range: 3n < 16 * 2^(2s+1)."""
    s = 0
    while 3 * fan_in >= 16 << (2 * s + 1):
        s += 1
    return s


def small_blob(**header: int) -> bytes:
    """One trainable dense layer: 4 inputs, 3 classes."""
    layer = dense(3, flags=1, alpha_shift=1)
    layer["weights"] = random_weights(layer, (1, 1, 4), random.Random(3))
    return make_blob([layer], (1, 1, 4), header=header)


def random_weights(layer: Fields, shape: Shape, rng: random.Random) -> list[int]:
    """Stored weights of a layer, spread over three quarters of their range."""
    count, largest = layer["out"] * fan_in(layer, shape), limit(layer)
    spread = largest * 3 // 4 or 1
    weights = [rng.randint(-spread, spread) for _ in range(count)]
    for _ in range(1 + count // 50):  # and some at the ends
        weights[rng.randrange(count)] = rng.choice((-largest, largest))
    return weights


def random_conv2d(rng: random.Random, shape: Shape) -> Fields:
    """A convolution that fits its input, without weights."""
    kernel = tuple(rng.randint(1, min(side, 4)) for side in shape[:2])
    pad = tuple(rng.randrange(k) for k in (*kernel, *kernel))
    stride = (rng.choice((1, 1, 2, 3)), rng.choice((1, 1, 2, 3)))
    pool, out = rng.choice((1, 2)), rng.randint(1, 6)
    return conv2d(out, kernel=kernel, pad=pad, stride=stride, pool=pool)


def random_layers(rng: random.Random, shape: Shape, classes: int) -> list[Fields]:
    """Up to two convolutions, up to two dense layers, with the weights: all valid."""
    layers, at = [], shape
    for _ in range(rng.randint(0, 2)):
        layers.append(random_conv2d(rng, at))
        at = out_shape(layers[-1], at)
    if rng.randrange(4) == 0:  # no dense layer: one pool window is the output
        kernel = tuple(max(1, side - rng.randrange(2)) for side in at[:2])
        layers.append(conv2d(classes, kernel=kernel, pad=(0, 0, 0, 0), pool=2))
    else:
        layers += [dense(rng.randint(1, 12)) for _ in range(rng.randint(0, 1))]
        layers.append(dense(classes))
    frozen, at = rng.randint(0, len(layers) - 1), shape
    for index, layer in enumerate(layers):
        scale = max(0, alpha_shift(fan_in(layer, at)) + rng.choice((-1, 0, 0, 1)))
        layer |= {"bits": rng.choice((2, 8)), "flags": int(index >= frozen), "alpha_shift": scale}
        layer["weights"] = random_weights(layer, at, rng)
        at = out_shape(layer, at)
    return layers


def random_model(seed: int, **header: Any) -> bytes:
    """A small valid blob with random shapes, widths, settings, weights and replay."""
    rng = random.Random(seed)
    shape = (rng.randint(1, 9), rng.randint(1, 9), rng.randint(1, 3))
    classes = rng.randint(2, 6)
    layers = random_layers(rng, shape, classes)
    at = shape
    for layer in layers:
        if layer["flags"] & 1:
            break
        at = out_shape(layer, at)
    capacity = rng.choice((0, 1, 5, 12))
    labels = [rng.randrange(classes) for _ in range(rng.randint(0, capacity))]
    low = -127 if at == shape else 0
    latents = [rng.randint(low, 127) for _ in range(len(labels) * at[0] * at[1] * at[2])]
    settings = {
        "input_map": rng.randrange(2), "gain_shift": rng.randrange(5),
        "lr_shift": rng.choice((*range(-10, -1), -24, 7)), "replays": rng.randrange(4),
        "threshold": rng.choice((0, 0, 8, 40)), "seed": rng.getrandbits(32),
        "replay_capacity": capacity, "name": b"random %d" % seed,
    }  # fmt: skip
    factory = (labels, np.array(latents)) if labels else None
    return make_blob(layers, shape, factory=factory, header=settings | header)


def random_stream(blob: bytes, seed: int, count: int) -> Iterator[tuple[np.ndarray, int]]:
    """`count` samples for a model that it can learn: (input activations int8, label)."""
    rng, fields = random.Random(seed), header_fields(blob)
    size = fields["height"] * fields["width"] * fields["channels"]
    pattern = [[rng.choice((0, 0, 60, 127)) for _ in range(size)] for _ in range(fields["classes"])]
    for _ in range(count):
        label = rng.randrange(fields["classes"])
        noisy = [min(127, max(-127, p + rng.randint(-20, 20))) for p in pattern[label]]
        yield np.array(noisy, np.int8), label

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

HEADER = struct.Struct("<4sHHIIBBHHHHBBbBBBIHHI16sHBB")
HEADER_FIELDS = [
    "magic", "format", "header_bytes", "blob_bytes", "crc", "layers", "record_bytes", "classes",
    "height", "width", "channels", "input_map", "gain_shift", "lr_shift", "replays", "threshold",
    "flags", "seed", "replay_capacity", "factory_samples", "factory_offset", "name", "batch",
    "momentum", "lr_factor",
]  # fmt: skip
RECORD = struct.Struct("<BBBbH2B2B4BBBIIBBHI16s")
DENSE, CONV2D, DEPTHWISE, AVERAGE_POOL, MAX_POOL, ADD = range(1, 7)
WEIGHTLESS = (AVERAGE_POOL, MAX_POOL, ADD)
RELU, SIGNED = PAPER, SSE = 1, 2  # activations; flags of the header
INPUTS, MEANS, TABLE = 8, 16, 32  # flags of the header
TRAINABLE, BIAS, FIXED = 1, 2, 4  # flags of a layer
POINT = {"kernel": (1, 1), "pad": (0, 0, 0, 0)}
Shape = tuple[int, int, int]
Fields = dict[str, Any]


def dense(out: int, **fields: Any) -> Fields:
    """A dense layer of `out` outputs, 8 bits, frozen unless flags=1."""
    return {"kind": DENSE, "out": out} | POINT | fields


def conv2d(out: int, **fields: Any) -> Fields:
    """A 3 x 3 convolution to `out` channels, padding 1, 8 bits, frozen unless flags=1."""
    return {"kind": CONV2D, "out": out, "kernel": (3, 3), "pad": (1, 1, 1, 1)} | fields


def depthwise(channels: int, **fields: Any) -> Fields:
    """A 3 x 3 depthwise convolution, padding 1, 8 bits, frozen unless flags=1."""
    return {"kind": DEPTHWISE, "out": channels, "kernel": (3, 3), "pad": (1, 1, 1, 1)} | fields


def average_pool(channels: int, kernel: tuple[int, int], **fields: Any) -> Fields:
    """The average of windows, without padding, one beside the other."""
    factor, shift = average_factor(kernel[0] * kernel[1])
    own = {"kind": AVERAGE_POOL, "factor": factor, "alpha_shift": shift}
    return max_pool(channels, kernel) | own | fields


def max_pool(channels: int, kernel: tuple[int, int], **fields: Any) -> Fields:
    """The largest of windows, without padding, one beside the other."""
    window = {"kernel": kernel, "stride": kernel, "pad": (0, 0, 0, 0)}
    return {"kind": MAX_POOL, "out": channels} | window | fields


def add(channels: int, skip: int, **fields: Any) -> Fields:
    """Its input plus the input of the layer `skip` layers below."""
    return {"kind": ADD, "out": channels, "skip": skip} | POINT | fields


def average_factor(size: int) -> tuple[int, int]:
    """factor and shift S of an average over `size`: round(2^S / size), 15 bits if sums allow."""
    rounded = [((2 << shift) // size + 1) >> 1 for shift in range(25)]
    shift = max(s for s, f in enumerate(rounded) if size * f < 1 << 24 and f < 1 << 15)
    return rounded[shift], shift


def complete(layer: Fields, last: bool) -> Fields:
    """All fields of a record but its sections, those left out by default."""
    default = {"bits": 8, "flags": 0, "alpha_shift": 0, "stride": (1, 1), "pool": 1}
    default |= {"activation": 0 if last else RELU, "reserved": b"", "skip": 0, "factor": 0}
    if layer["kind"] in WEIGHTLESS:
        default |= {"bits": 0, "activation": 0 if layer["kind"] != ADD else default["activation"]}
    return default | {"store_bits": store_bits(layer)} | layer


def learns(layer: Fields) -> bool:
    """Whether its weights do, not only its bias."""
    return layer.get("flags", 0) & (TRAINABLE | FIXED) == TRAINABLE


def store_bits(layer: Fields) -> int:
    """kG of a layer: as given, else 16 with 8 bits in use and 8 with fewer."""
    if layer.get("kind", DENSE) in WEIGHTLESS or not learns(layer):
        return layer.get("store_bits", 0)
    return layer.get("store_bits", 16 if layer.get("bits", 8) == 8 else 8)


def fan_in(layer: Fields, shape: Shape) -> int:
    """Products in one sum of a layer with input `shape`."""
    if layer["kind"] == DENSE:
        return shape[0] * shape[1] * shape[2]
    channels = 1 if layer["kind"] in (DEPTHWISE, *WEIGHTLESS) else shape[2]
    return layer["kernel"][0] * layer["kernel"][1] * channels


def weight_count(layer: Fields, shape: Shape) -> int:
    """Weights of a layer with input `shape`."""
    return 0 if layer["kind"] in WEIGHTLESS else max(0, layer["out"] * fan_in(layer, shape))


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


def shapes(layers: list[Fields], shape: Shape) -> list[Shape]:
    """The input of each layer, and the output of the last."""
    found = [tuple(shape)]
    for layer in layers:
        found.append(out_shape(layer, found[-1]))
    return found


def limit(layer: Fields) -> int:
    """Largest magnitude of a weight of this layer as it is kept."""
    bits, kept = layer.get("bits", 8), store_bits(layer) or layer.get("bits", 8)
    return ((1 << (bits - 1)) - 1) << (kept - bits)


def pack_weights(layer: Fields, weights: Any) -> bytes:
    """Weights in canonical order as the section of a layer (9.3); bytes stay as they are."""
    if isinstance(weights, bytes):
        return weights
    w = np.asarray(weights, np.int64).reshape(-1)
    bits = layer.get("bits", 8)
    if bits == 2 and not learns(layer):
        codes = np.append(w & 3, np.zeros(-len(w) % 4, np.int64)).reshape(-1, 4)
        return (codes << np.array([0, 2, 4, 6])).sum(axis=1).astype(np.uint8).tobytes()
    return w.astype("<i2" if store_bits(layer) > 8 else "i1").tobytes()


def pack_bias(layer: Fields) -> bytes:
    """The bias of a layer that has one; zeros when left out."""
    if not layer["flags"] & BIAS:
        return b""
    bias = layer.get("bias")
    return (
        bias if isinstance(bias, bytes) else np.array(bias or [0] * layer["out"], "<i4").tobytes()
    )


def make_blob(
    layers: list[Fields],
    input_shape: Shape,
    *,
    factory: tuple[list[int], np.ndarray] | None = None,
    header: Fields | None = None,
) -> bytes:
    """A blob of these layers; factory: labels and latents of the first replayed samples.

    layer["weights"], layer["bias"]: canonical integers or bytes, zeros when left out (a bias
    only with its flag). Offsets, sizes and every field in `header`: as they are.
    """
    header = header or {}
    at = HEADER.size + RECORD.size * len(layers)
    records, sections, shape = [], [], tuple(input_shape)
    for number, layer in enumerate(layers, 1):
        layer = complete(layer, last=number == len(layers))
        weights = layer.get("weights")
        if weights is None:
            weights = np.zeros(weight_count(layer, shape), np.int64)
        section, bias = pack_weights(layer, weights), pack_bias(layer)
        own = {"offset": at if section else 0, "weight_bytes": len(section)}
        records.append(pack_record(own | {"bias_offset": at + len(section) if bias else 0} | layer))
        sections.append(section + bias)
        at += len(section + bias)
        shape = out_shape(layer, shape)
    labels, latents = factory if factory else ([], np.zeros(0, np.int8))
    factory_section = bytes(labels) + np.asarray(latents).astype(np.int8).tobytes()
    fields = {
        "magic": b"WAGE", "format": 1, "header_bytes": HEADER.size,
        "blob_bytes": at + len(factory_section), "crc": 0, "layers": len(layers),
        "record_bytes": RECORD.size, "classes": max(0, shape[0] * shape[1] * shape[2]),
        "height": input_shape[0], "width": input_shape[1], "channels": input_shape[2],
        "input_map": 0, "gain_shift": 2, "lr_shift": -6, "replays": 1, "threshold": 0,
        "flags": 0, "seed": 1, "replay_capacity": len(labels),
        "factory_samples": len(labels), "factory_offset": at if labels else 0,
        "name": b"test", "batch": 1, "momentum": 0, "lr_factor": 1,
    } | header  # fmt: skip
    head = HEADER.pack(*(fields[name] for name in HEADER_FIELDS))
    blob = head + b"".join(records) + b"".join(sections) + factory_section
    return blob if "crc" in header else seal(blob)


def pack_record(layer: Fields) -> bytes:
    """A layer's record from all of its fields."""
    return RECORD.pack(
        layer["kind"], layer["bits"], layer["flags"], layer["alpha_shift"], layer["out"],
        *layer["kernel"], *layer["stride"], *layer["pad"], layer["pool"], layer["activation"],
        layer["offset"], layer["weight_bytes"], layer["store_bits"], layer["skip"],
        layer["factor"], layer["bias_offset"], layer["reserved"],
    )  # fmt: skip


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
    weights = random_weights(layer, (1, 1, 4), random.Random(3))
    return make_blob([layer | {"weights": weights}], (1, 1, 4), header=header)


def random_weights(layer: Fields, shape: Shape, rng: random.Random) -> list[int]:
    """Stored weights of a layer, spread over three quarters of their range."""
    count, largest = weight_count(layer, shape), limit(layer)
    spread = largest * 3 // 4 or 1
    weights = [rng.randint(-spread, spread) for _ in range(count)]
    for _ in range(1 + count // 50):  # and some at the ends
        weights[rng.randrange(count)] = rng.choice((-largest, largest))
    return weights


def random_stream(blob: bytes, seed: int, count: int) -> Iterator[tuple[np.ndarray, int]]:
    """`count` samples for a model that it can learn: (input activations int8, label)."""
    rng, fields = random.Random(seed), header_fields(blob)
    size = fields["height"] * fields["width"] * fields["channels"]
    pattern = [[rng.choice((0, 0, 60, 127)) for _ in range(size)] for _ in range(fields["classes"])]
    for _ in range(count):
        label = rng.randrange(fields["classes"])
        noisy = [min(127, max(-127, p + rng.randint(-20, 20))) for p in pattern[label]]
        yield np.array(noisy, np.int8), label

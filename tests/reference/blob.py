"""SPEC 9 and 2.6: reads a blob and refuses what is not one."""

# SPDX-License-Identifier: MIT

import struct

import numpy as np

from .layers import CONV2D, DENSE, Layer, Shape, latent_shape
from .num import crc32
from .train import Config, Model, RefusedError, check_config

HEADER = struct.Struct("<4sHHIIBBHHHHBBbBBBIHHI16sI")  # 9.1
RECORD = struct.Struct("<BBBBH2B2B4BBBII24s")  # 9.2
FAN_MAX = 131071
CODES = np.array([0, 1, 2, -1], np.int64)  # of frozen 2-bit weights; 2 is none (9.3)


def refuse_if(wrong: bool, name: str) -> None:
    """Raises RefusedError("WAGE_E_" + name) when something is wrong."""
    if wrong:
        raise RefusedError("WAGE_E_" + name)


def open_model(blob: bytes) -> Model:
    """A model at the factory, or RefusedError. Checks in the order of the fields."""
    refuse_if(len(blob) < HEADER.size, "SHORT")
    (
        magic, version, header_bytes, blob_bytes, crc, count, record_bytes, classes,
        height, width, channels, input_map, gain_shift, lr_shift, replays, threshold, zero,
        seed, capacity, factory_count, factory_offset, name, last_zero,
    ) = HEADER.unpack_from(blob)  # fmt: skip
    refuse_if(magic != b"WAGE", "MAGIC")
    refuse_if(version != 1 or header_bytes != HEADER.size, "VERSION")
    refuse_if(blob_bytes > len(blob), "SHORT")
    refuse_if(blob_bytes < len(blob), "LENGTH")
    refuse_if(crc32(blob[16:]) != crc, "CRC")
    refuse_if(not 1 <= count <= 32, "LAYERS")
    refuse_if(record_bytes != RECORD.size, "VERSION")
    first_section = HEADER.size + RECORD.size * count
    refuse_if(first_section > len(blob), "RANGE")
    refuse_if(not 2 <= classes <= 255, "SHAPE")
    refuse_if(0 in (height, width, channels), "SHAPE")
    refuse_if(input_map > 1 or zero != 0 or last_zero != 0 or name[15] != 0, "RESERVED")
    config = Config(seed, lr_shift, replays, gain_shift, threshold)
    check_config(config)

    layers: list[Layer] = []
    shape = (height, width, channels)
    for index in range(count):
        layers.append(open_layer(blob, index, shape, count, layers))
        shape = layers[-1].out_shape
    refuse_if(shape[0] * shape[1] * shape[2] != classes, "SHAPE")

    refuse_if(factory_count > capacity, "REPLAY")
    replay = factory_samples(blob, layers, factory_count, factory_offset, first_section)
    refuse_if(any(label >= classes for label, _ in replay), "REPLAY")
    return Model(
        layers=layers,
        classes=classes,
        input_shape=(height, width, channels),
        input_map=input_map,
        name=name.rstrip(b"\0").decode(errors="replace"),
        blob_crc=crc,
        config=config,
        replay_capacity=capacity,
        replay=replay,
    )


def open_layer(blob: bytes, index: int, in_shape: Shape, count: int, before: list[Layer]) -> Layer:
    """The layer of record `index` with its weights (9.2, 9.3)."""
    (
        kind, bits, flags, alpha_shift, out, kernel_h, kernel_w, down, across,
        top, left, bottom, right, pool, activation, offset, weight_bytes, zeros,
    ) = RECORD.unpack_from(blob, HEADER.size + RECORD.size * index)  # fmt: skip
    refuse_if(kind not in (DENSE, CONV2D), "KIND")
    refuse_if(bits not in (2, 8), "BITS")
    refuse_if(flags > 1 or zeros != bytes(24), "RESERVED")
    refuse_if(any(layer.trainable for layer in before) and not flags & 1, "LAYERS")
    refuse_if(alpha_shift > 20, "LIMIT")
    refuse_if(activation != (index < count - 1), "SHAPE")
    layer = Layer(
        kind, index, bits, flags == 1, alpha_shift, in_shape, out, (kernel_h, kernel_w),
        (down, across), (top, left, bottom, right), pool,
    )  # fmt: skip
    check_shape(layer)
    layer.w = open_weights(blob, layer, offset, weight_bytes, HEADER.size + RECORD.size * count)
    return layer


def check_shape(layer: Layer) -> None:
    """Sizes that fit together (9.2) and sums that fit 32 bits (2.6)."""
    (kh, kw), (top, left, bottom, right) = layer.kernel, layer.pad
    refuse_if(0 in (layer.out, kh, kw, *layer.stride) or layer.pool not in (1, 2), "SHAPE")
    refuse_if(max(top, bottom) >= kh or max(left, right) >= kw, "SHAPE")
    if layer.kind == DENSE:
        refuse_if((layer.kernel, layer.stride, layer.pool) != ((1, 1), (1, 1), 1), "SHAPE")
    else:
        h, w, _ = layer.in_shape
        refuse_if(h + top + bottom < kh or w + left + right < kw, "SHAPE")
    rows, columns, out = layer.sum_shape
    refuse_if(max(layer.fan_in, out * kh * kw, rows * columns) > FAN_MAX, "LIMIT")


def open_weights(blob: bytes, layer: Layer, offset: int, size: int, first: int) -> np.ndarray:
    """Weights (out, fan_in) of a section that lies behind the records (9.3)."""
    weights = layer.out * layer.fan_in
    packed = layer.bits == 2 and not layer.trainable
    each = 2 if layer.bits == 8 and layer.trainable else 1
    refuse_if(size != (-(-weights // 4) if packed else weights * each), "RANGE")
    refuse_if(offset < first or offset + size > len(blob), "RANGE")
    data = np.frombuffer(blob, np.uint8, size, offset)
    if packed:
        codes = np.stack([(data >> shift) & 3 for shift in (0, 2, 4, 6)], axis=1).reshape(-1)
        refuse_if(bool(codes[weights:].any()), "WEIGHT")
        w = CODES[codes[:weights]]
    else:
        w = data.view("<i2" if each == 2 else "i1").astype(np.int64)
    refuse_if(bool((np.abs(w) > layer.limit).any()), "WEIGHT")
    return w.reshape(layer.out, layer.fan_in)


def factory_samples(
    blob: bytes, layers: list[Layer], count: int, offset: int, first: int
) -> list[tuple[int, np.ndarray]]:
    """Labels and latents that the replay begins with (9.1)."""
    refuse_if(count == 0 and offset != 0, "REPLAY")
    if count == 0:
        return []
    shape = latent_shape(layers)
    size = int(np.prod(shape, dtype=np.int64))
    refuse_if(offset < first or offset + count * (1 + size) > len(blob), "RANGE")
    labels = blob[offset : offset + count]
    latents = np.frombuffer(blob, np.int8, count * size, offset + count).astype(np.int64)
    return list(zip(labels, latents.reshape(count, *shape), strict=True))

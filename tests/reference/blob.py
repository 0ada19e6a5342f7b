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
SIDE_MAX = 65535
TENSOR_MAX, ARENA_MAX = 1 << 20, (1 << 30) - 1  # 9.4
CODES = np.array([0, 1, 0, -1], np.int64)  # of frozen 2-bit weights; there is no code 2 (9.3)


def refuse_if(wrong: bool, name: str) -> None:
    """Raises RefusedError("WAGE_E_" + name) when something is wrong."""
    if wrong:
        raise RefusedError("WAGE_E_" + name)


def elements(shape: Shape) -> int:
    """How many numbers a tensor has."""
    return shape[0] * shape[1] * shape[2]


def open_model(blob: bytes) -> Model:
    """A model at the factory, or RefusedError. Checks in the order of 9.6."""
    refuse_if(len(blob) < HEADER.size, "SHORT")
    (
        magic, version, header_bytes, blob_bytes, crc, count, record_bytes, classes,
        height, width, channels, input_map, gain_shift, lr_shift, replays, threshold, zero,
        seed, capacity, factory_count, factory_offset, name, last_zero,
    ) = HEADER.unpack_from(blob)  # fmt: skip
    refuse_if(magic != b"WAGE", "MAGIC")
    refuse_if((version, header_bytes, record_bytes) != (1, HEADER.size, RECORD.size), "VERSION")
    refuse_if(blob_bytes > len(blob), "SHORT")
    refuse_if(blob_bytes < len(blob), "LENGTH")
    refuse_if(crc32(blob[16:]) != crc, "CRC")
    refuse_if(not 1 <= count <= 32, "LAYERS")
    first_section = HEADER.size + RECORD.size * count
    refuse_if(first_section > len(blob), "RANGE")
    refuse_if(zero != 0 or last_zero != 0 or name[15] != 0 or input_map > 1, "RESERVED")
    refuse_if(not 2 <= classes <= 255, "SHAPE")
    config = Config(seed, lr_shift, replays, gain_shift, threshold)
    check_config(config)

    layers: list[Layer] = []
    shape = (height, width, channels)
    for index in range(count):
        layers.append(open_layer(blob, index, shape, count, layers))
        shape = layers[-1].out_shape
    refuse_if(not layers[-1].trainable, "LAYERS")
    refuse_if(elements(shape) != classes, "SHAPE")

    refuse_if(factory_count > capacity or (factory_count == 0 and factory_offset != 0), "REPLAY")
    replay = factory_samples(blob, layers, factory_count, factory_offset, first_section)
    refuse_if(any(label >= classes for label, _ in replay), "REPLAY")
    model = Model(
        layers=layers,
        classes=classes,
        input_shape=(height, width, channels),
        input_map=input_map,
        name=name.split(b"\0")[0].decode(errors="replace"),
        blob_crc=crc,
        config=config,
        replay_capacity=capacity,
        replay=replay,
    )
    refuse_if(kept_bytes(model) > ARENA_MAX, "LIMIT")
    return model


def open_layer(blob: bytes, index: int, in_shape: Shape, count: int, before: list[Layer]) -> Layer:
    """The layer of record `index` with its weights (9.2, 9.3)."""
    (
        kind, bits, flags, alpha_shift, out, kernel_h, kernel_w, down, across,
        top, left, bottom, right, pool, activation, offset, weight_bytes, zeros,
    ) = RECORD.unpack_from(blob, HEADER.size + RECORD.size * index)  # fmt: skip
    refuse_if(flags > 1 or zeros != bytes(24), "RESERVED")
    refuse_if(any(layer.trainable for layer in before) and not flags & 1, "LAYERS")
    refuse_if(kind not in (DENSE, CONV2D), "KIND")
    refuse_if(bits not in (2, 8), "BITS")
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
    """Sizes that fit together (9.2) and are not too large (2.6, 9.4)."""
    (kh, kw), (top, left, bottom, right) = layer.kernel, layer.pad
    h, w, _ = layer.in_shape
    refuse_if(0 in (*layer.in_shape, layer.out), "SHAPE")
    refuse_if(elements(layer.in_shape) > TENSOR_MAX, "LIMIT")
    if layer.kind == DENSE:
        ones = (*layer.kernel, *layer.stride, layer.pool)
        refuse_if(ones != (1,) * 5 or any(layer.pad), "SHAPE")
        refuse_if(layer.fan_in > FAN_MAX, "LIMIT")
    else:
        refuse_if(0 in (kh, kw, *layer.stride) or layer.pool not in (1, 2), "SHAPE")
        refuse_if(max(top, bottom) >= kh or max(left, right) >= kw, "SHAPE")
        refuse_if(h + top + bottom < kh or w + left + right < kw, "SHAPE")
        rows, columns, out = layer.sum_shape
        refuse_if(max(layer.fan_in, out * kh * kw, rows * columns) > FAN_MAX, "LIMIT")
        refuse_if(max(rows, columns) > SIDE_MAX, "LIMIT")
    refuse_if(elements(layer.out_shape) > TENSOR_MAX, "LIMIT")
    refuse_if(layer.out * layer.fan_in >= 1 << 31, "LIMIT")


def open_weights(blob: bytes, layer: Layer, offset: int, size: int, first: int) -> np.ndarray:
    """Weights (out, fan_in) of a section that lies behind the records (9.3)."""
    weights = layer.out * layer.fan_in
    packed = layer.bits == 2 and not layer.trainable
    each = 2 if layer.bits == 8 and layer.trainable else 1
    refuse_if(size != (-(-weights // 4) if packed else weights * each), "SHAPE")
    refuse_if(offset < first or offset + size > len(blob), "RANGE")
    data = np.frombuffer(blob, np.uint8, size, offset)
    if packed:
        codes = np.stack([(data >> shift) & 3 for shift in (0, 2, 4, 6)], axis=1).reshape(-1)
        refuse_if(bool((codes[:weights] == 2).any()), "WEIGHT")
        w = CODES[codes[:weights]]
    else:
        w = data.view("<i2" if each == 2 else "i1").astype(np.int64)
    refuse_if(bool((np.abs(w) > layer.limit).any()), "WEIGHT")
    return w.reshape(layer.out, layer.fan_in)


def factory_samples(
    blob: bytes, layers: list[Layer], count: int, offset: int, first: int
) -> list[tuple[int, np.ndarray]]:
    """Labels and latents that the replay begins with (9.1)."""
    if count == 0:
        return []
    shape = latent_shape(layers)
    size = elements(shape)
    refuse_if(offset < first or offset + count * (1 + size) > len(blob), "RANGE")
    labels = blob[offset : offset + count]
    latents = np.frombuffer(blob, np.int8, count * size, offset + count).astype(np.int64)
    return list(zip(labels, latents.reshape(count, *shape), strict=True))


def kept_bytes(model: Model) -> int:
    """What a learner must keep (9.4): weights, their inputs, the replay. An arena is larger."""
    weights = sum(layer.w.size * (2 if layer.bits == 8 else 1) for layer in model.trained)
    inputs = sum(elements(layer.in_shape) for layer in model.trained)
    return weights + inputs + model.replay_capacity * (1 + elements(model.latent_shape))

"""SPEC 9 and 2.6: reads a blob and refuses what is not one."""

# SPDX-License-Identifier: MIT

import struct
from copy import copy

import numpy as np

from .layers import (
    ADD,
    AVERAGE_POOL,
    CONV2D,
    DENSE,
    DEPTHWISE,
    MAX_POOL,
    NONE,
    POOLS,
    RELU,
    SIGNED,
    WEIGHTED,
    Layer,
    Shape,
    latent_shape,
)
from .model import Config, Model, check_config, refuse_if
from .num import crc32
from .steps import BIAS_MAX

HEADER = struct.Struct("<4sHHIIBBHHHHBBbBBBIHHI16sHBB")  # 9.1
RECORD = struct.Struct("<BBBbH2B2B4BBBIIBBHI16s")  # 9.2
PAPER, SSE, EXTRAS, INPUTS, MEANS, TABLE = 1, 2, 4, 8, 16, 32  # flags of the header
TRAINABLE, BIAS, FIXED = 1, 2, 4  # flags of a record
SUM_MAX, FACTOR_MAX = 131072, (1 << 24) - 1  # 2.6
SIDE_MAX, WORD_MAX = 65535, (1 << 31) - 1
TENSOR_MAX, ARENA_MAX = 1 << 20, (1 << 30) - 1  # 9.4
ALPHA_MAX = {DENSE: 20, CONV2D: 20, DEPTHWISE: 20, AVERAGE_POOL: 24, MAX_POOL: 0, ADD: 7}
CODES = np.array([0, 1, 0, -1], np.int64)  # of frozen 2-bit weights; there is no code 2 (9.3)


def elements(shape: Shape) -> int:
    """How many numbers a tensor has."""
    return shape[0] * shape[1] * shape[2]


def open_model(blob: bytes) -> Model:
    """A model at the factory, or RefusedError. Checks in the order of 9.6."""
    refuse_if(len(blob) < HEADER.size, "SHORT")
    (
        magic, version, header_bytes, blob_bytes, crc, count, record_bytes, classes,
        height, width, channels, input_map, gain_shift, lr_shift, replays, threshold, flags,
        seed, capacity, factory_count, factory_offset, name, batch, momentum, lr_factor,
    ) = HEADER.unpack_from(blob)  # fmt: skip
    refuse_if(magic != b"WAGE", "MAGIC")
    refuse_if((version, header_bytes, record_bytes) != (1, HEADER.size, RECORD.size), "VERSION")
    refuse_if(blob_bytes > len(blob), "SHORT")
    refuse_if(blob_bytes < len(blob), "LENGTH")
    refuse_if(crc32(blob[16:]) != crc, "CRC")
    refuse_if(not 1 <= count <= 32, "LAYERS")
    first = HEADER.size + RECORD.size * count
    refuse_if(first > len(blob), "RANGE")
    refuse_if(flags > 63 or name[15] != 0 or input_map > 1, "RESERVED")
    refuse_if(not 2 <= classes <= 255, "SHAPE")
    config = Config(seed, lr_shift, replays, gain_shift, threshold, lr_factor)
    check_config(config)
    refuse_if(not 1 <= batch <= 4096 or momentum > 7, "CONFIG")

    layers: list[Layer] = []
    shape = (height, width, channels)
    for index in range(count):
        layers.append(open_layer(blob, index, shape, layers, count, (flags, batch)))
        shape = layers[-1].out_shape
    refuse_if(not layers[-1].trainable, "LAYERS")
    refuse_if(bool(flags & MEANS) and not can_mean(layers, flags, momentum), "POLICY")
    refuse_if(elements(shape) != classes, "SHAPE")

    refuse_if(factory_count > capacity or (factory_count == 0 and factory_offset != 0), "REPLAY")
    kept = (height, width, channels) if flags & INPUTS else latent_shape(layers)
    replay = factory_samples(blob, kept, factory_count, factory_offset, first)
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
        paper=bool(flags & PAPER),
        sse=bool(flags & SSE),
        batch=batch,
        momentum=momentum,
        inputs=bool(flags & INPUTS),
        means=bool(flags & MEANS),
        table=bool(flags & TABLE),
    )
    refuse_if(kept_bytes(model) > ARENA_MAX, "LIMIT")
    return model


def can_mean(layers: list[Layer], flags: int, momentum: int) -> bool:
    """Whether the last layer can hold a mean a class, and only it learns (5.6)."""
    last = layers[-1]
    plain = not flags & (PAPER | SSE) and not momentum and not any(x.trainable for x in layers[:-1])
    wide = (last.kind, last.bits, last.store_bits) == (DENSE, 8, 16)
    return plain and wide and last.bias is not None and last.fan_in <= 2080


def check_extras(blob: bytes) -> None:
    """Pre-processing and names of a blob that was opened can be walked through (9.7)."""
    if not blob[31] & EXTRAS:
        return
    at, classes = HEADER.size + RECORD.size * blob[16], blob[18]
    refuse_if(len(blob) < at + 4, "RANGE")
    size, version, zero = struct.unpack_from("<HBB", blob, at)
    refuse_if(at + size > len(blob), "RANGE")
    refuse_if((version, zero) != (1, 0), "RESERVED")
    refuse_if(size < 4, "SHAPE")
    rest, last = blob[at + 4 : at + size], 0
    while rest:
        kind, contents, rest = chunk(rest, 1)
        refuse_if(not last < kind <= 2, "RESERVED")
        last = kind
        if kind == 2:
            whole = contents[-1:] == b"\0" and contents.count(0) == classes
            refuse_if(not whole, "SHAPE")
            continue
        while contents:
            step, _, contents = chunk(contents, 4)
            refuse_if(not 1 <= step <= 8, "RESERVED")


def chunk(raw: bytes, unit: int) -> tuple[int, bytes, bytes]:
    """Kind, contents and what follows; the size counts units of bytes. A kind of 0 is none."""
    refuse_if(len(raw) < 4, "SHAPE")
    kind, zero, count = struct.unpack_from("<BBH", raw)
    end = 4 + count * unit
    known = zero == 0 and kind <= (2 if unit == 1 else 8) and kind > 0
    order = [(not known, "RESERVED"), (end > len(raw), "SHAPE")]
    for wrong, name in order[:: 1 if unit > 1 else -1]:
        refuse_if(wrong, name)
    return kind, raw[4:end], raw[end:]


def open_layer(
    blob: bytes, index: int, in_shape: Shape, before: list[Layer], count: int, of: tuple[int, int]
) -> Layer:
    """The layer of record `index` with its weights (9.2, 9.3); of: the model's flags, batch."""
    (
        kind, bits, flags, alpha_shift, out, kernel_h, kernel_w, down, across,
        top, left, bottom, right, pool, activation, offset, size, store_bits, skip, factor,
        bias_offset, zeros,
    ) = RECORD.unpack_from(blob, HEADER.size + RECORD.size * index)  # fmt: skip
    model_flags, batch = of
    trainable, last = bool(flags & TRAINABLE), index == count - 1
    refuse_if(flags > TRAINABLE + BIAS + FIXED or zeros != bytes(16), "RESERVED")
    refuse_if(bool(flags & FIXED) and flags != TRAINABLE + BIAS + FIXED, "RESERVED")
    refuse_if(kind not in WEIGHTED and bool(flags & BIAS), "RESERVED")
    refuse_if((kind != ADD and skip != 0) or (kind != AVERAGE_POOL and factor != 0), "RESERVED")
    refuse_if(not flags & BIAS and bias_offset != 0, "RESERVED")
    refuse_if(kind in (*POOLS, ADD) and offset != 0, "RESERVED")
    refuse_if(any(layer.trainable for layer in before) and not trainable, "LAYERS")
    refuse_if(kind not in ALPHA_MAX, "KIND")
    layer = Layer(
        kind, index, bits, trainable, alpha_shift, in_shape, out, (kernel_h, kernel_w),
        (down, across), (top, left, bottom, right), pool, None, store_bits, activation,
        bool(model_flags & PAPER), skip, factor, fixed=bool(flags & FIXED),
    )  # fmt: skip
    check_widths(layer)
    refuse_if(layer.paper and trainable and bool(flags & BIAS), "POLICY")
    least = 2 - bits if kind in WEIGHTED else 0
    refuse_if(not least <= alpha_shift <= ALPHA_MAX[kind], "LIMIT")
    hidden = (NONE,) if kind in POOLS else (RELU, SIGNED)
    refuse_if(activation not in ((NONE,) if last else hidden), "SHAPE")
    refuse_if(last and kind in (MAX_POOL, ADD), "SHAPE")
    check_shape(layer)
    check_limits(layer, batch, sse_last=last and bool(model_flags & SSE))
    refuse_if(size != weight_bytes(layer), "SHAPE")
    first = HEADER.size + RECORD.size * count
    if kind in WEIGHTED:
        refuse_if(offset < first or offset + size > len(blob), "RANGE")
    if flags & BIAS:
        refuse_if(bias_offset < first or bias_offset + 4 * out > len(blob), "RANGE")
    if kind == ADD:
        check_skip(layer, before)
    if kind in WEIGHTED:
        layer.w = open_weights(blob, layer, offset, size)
    if flags & BIAS:
        layer.bias = np.frombuffer(blob, "<i4", out, bias_offset).astype(np.int64)
        refuse_if(int(np.abs(layer.bias).max()) > BIAS_MAX, "WEIGHT")
    layer.factory_w, layer.factory_bias = copy(layer.w), copy(layer.bias)
    return layer


def check_widths(layer: Layer) -> None:
    """kW and kG of the kind (9.2)."""
    if layer.kind not in WEIGHTED:
        refuse_if((layer.bits, layer.store_bits) != (0, 0), "BITS")
        return
    refuse_if(not 2 <= layer.bits <= 8, "BITS")
    widths = range(layer.bits, 17) if layer.moves else (0,)
    refuse_if(layer.store_bits not in widths, "BITS")


def check_shape(layer: Layer) -> None:
    """Sizes that fit together (9.2)."""
    (kh, kw), (top, left, bottom, right) = layer.kernel, layer.pad
    h, w, c = layer.in_shape
    refuse_if(0 in (*layer.in_shape, layer.out), "SHAPE")
    refuse_if(layer.kind not in (DENSE, CONV2D) and layer.out != c, "SHAPE")
    refuse_if(elements(layer.in_shape) > TENSOR_MAX, "LIMIT")
    if layer.kind in (DENSE, ADD):
        ones = (*layer.kernel, *layer.stride, layer.pool)
        refuse_if(ones != (1,) * 5 or any(layer.pad), "SHAPE")
        return
    refuse_if(0 in (kh, kw, *layer.stride), "SHAPE")
    refuse_if(layer.pool not in ((1,) if layer.kind in POOLS else (1, 2)), "SHAPE")
    refuse_if(max(top, bottom) >= kh or max(left, right) >= kw, "SHAPE")
    refuse_if(h + top + bottom < kh or w + left + right < kw, "SHAPE")
    refuse_if(layer.kind == AVERAGE_POOL and layer.factor == 0, "SHAPE")


def check_limits(layer: Layer, batch: int = 1, sse_last: bool = False) -> None:
    """Sums that stay exact in int32 (2.6), tensors that are not too large (9.4)."""
    (kh, kw), (rows, columns, out) = layer.kernel, layer.sum_shape
    refuse_if(max(layer.fan_in, rows * columns * batch) > SUM_MAX, "LIMIT")
    refuse_if(layer.kind == CONV2D and out * kh * kw > SUM_MAX, "LIMIT")
    refuse_if(kh * kw * layer.factor > FACTOR_MAX, "LIMIT")
    refuse_if(max(rows, columns) > SIDE_MAX, "LIMIT")
    refuse_if(elements(layer.out_shape) > TENSOR_MAX, "LIMIT")
    refuse_if(layer.kind in WEIGHTED and layer.out * layer.fan_in >= 1 << 31, "LIMIT")
    largest = layer.fan_in * 16256 + (1 << 24)
    if layer.kind == AVERAGE_POOL:
        largest = kh * kw * layer.factor * 128
    refuse_if(sse_last and largest + (1 << (7 + layer.h)) > WORD_MAX, "LIMIT")


def check_skip(layer: Layer, before: list[Layer]) -> None:
    """An add's skip is a tensor of its shape, nobody else's, on its side of the cut (9.4)."""
    refuse_if(not 1 <= layer.skip <= layer.index, "SHAPE")
    target = before[layer.index - layer.skip]
    refuse_if(target.in_shape != layer.in_shape, "SHAPE")
    taken = [other.index - other.skip for other in before if other.kind == ADD]
    refuse_if(target.index in taken or target.trainable != layer.trainable, "LAYERS")


def weight_bytes(layer: Layer) -> int:
    """Bytes of a layer's weights in the blob (9.3)."""
    if layer.kind not in WEIGHTED:
        return 0
    weights = layer.out * layer.fan_in
    if layer.moves:
        return weights * (2 if layer.store_bits > 8 else 1)
    return -(-weights // 4) if layer.bits == 2 else weights


def open_weights(blob: bytes, layer: Layer, offset: int, size: int) -> np.ndarray:
    """Weights (out, fan_in) of a section (9.3)."""
    weights = layer.out * layer.fan_in
    data = np.frombuffer(blob, np.uint8, size, offset)
    if layer.bits == 2 and not layer.moves:
        codes = np.stack([(data >> shift) & 3 for shift in (0, 2, 4, 6)], axis=1).reshape(-1)
        refuse_if(bool((codes[:weights] == 2).any()), "WEIGHT")
        w = CODES[codes[:weights]]
    else:
        w = data.view("<i2" if layer.store_bits > 8 else "i1").astype(np.int64)
    refuse_if(bool((np.abs(w) > layer.limit).any()), "WEIGHT")
    return w.reshape(layer.out, layer.fan_in)


def factory_samples(
    blob: bytes, shape: Shape, count: int, offset: int, first: int
) -> list[tuple[int, np.ndarray]]:
    """Labels and samples of this shape that the replay begins with (9.1)."""
    if count == 0:
        return []
    size = elements(shape)
    refuse_if(offset < first or offset + count * (1 + size) > len(blob), "RANGE")
    labels = blob[offset : offset + count]
    latents = np.frombuffer(blob, np.int8, count * size, offset + count).astype(np.int64)
    return list(zip(labels, latents.reshape(count, *shape), strict=True))


def kept_bytes(model: Model) -> int:
    """What a learner must keep (9.4): weights, their inputs, the replay. An arena is larger."""
    weights = sum(
        weight_bytes(layer)
        + (2 * layer.w.size if layer.v is not None else 0)
        + (4 * layer.out if layer.bias is not None else 0)
        for layer in model.learning
    )
    inputs = model.batch * sum(elements(layer.in_shape) for layer in model.learning)
    table = model.classes * (16 + 2 * model.classes) if model.table else 0
    return weights + inputs + table + model.replay_capacity * (1 + elements(model.replay_shape))

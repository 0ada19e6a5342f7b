"""SPEC 7: the canonical bytes of everything learned."""

# SPDX-License-Identifier: MIT

import struct

import numpy as np

from .layers import Layer
from .model import Config, Metrics, Model, RefusedError, check_config, refuse_if
from .num import crc32
from .steps import BIAS_MAX, V_MAX

CHECKPOINT_HEADER_BYTES, NAME_BYTES = 32, 16
FIRST = struct.Struct("<9Ib4B4I")  # 7.2 up to the classes


def stored_type(layer: Layer) -> str:
    """How a trainable layer's weights lie in memory (7.1)."""
    return "<i2" if layer.store_bits > 8 else "i1"


def weight_bytes(model: Model) -> bytes:
    """Stored weights and biases of the trainable layers in canonical order (7.1)."""
    parts = []
    for layer in model.learning:
        if layer.moves:
            parts.append(layer.w.astype(stored_type(layer)).tobytes())
        if layer.bias is not None:
            parts.append(layer.bias.astype("<i4").tobytes())
    return b"".join(parts)


def weight_crc(model: Model) -> int:
    """CRC-32 of weight_bytes (7.1)."""
    return crc32(weight_bytes(model))


def sample_bytes(model: Model) -> int:
    """Bytes of one replayed sample in the state, with its label."""
    return 1 + int(np.prod(model.replay_shape, dtype=np.int64))


def state_bytes(model: Model) -> bytes:
    """Everything learned; the length depends on the model only (7.2)."""
    config, metrics = model.config, model.metrics
    numbers = (*model.guard, model.stream, model.last_id, model.step, model.sample, config.seed)
    settings = (config.lr_shift, config.replays, config.gain_shift, config.threshold)
    counts = (metrics.samples, metrics.correct, metrics.skipped, metrics.steps)
    parts = [FIRST.pack(*numbers, *settings, config.lr_factor, *counts)]
    for of_class in zip(model.class_seen, model.class_correct, strict=True):
        parts.append(struct.pack("<2I", *of_class))
    if model.table:
        parts.append(model.confusion.astype("<u2").tobytes())
    parts.append(weight_bytes(model))
    moving = [layer.v for layer in model.learning if layer.v is not None]
    parts += [v.astype("<i2").tobytes() for v in moving]
    parts.append(struct.pack(f"<{model.classes}I", *model.class_total))
    if model.table:
        parts += [name.ljust(NAME_BYTES, b"\0") for name in model.names]
    parts.append(struct.pack("<I", len(model.replay)))
    for label, sample in model.replay:
        parts.append(bytes([label]) + sample.astype(np.int8).tobytes())
    parts.append(bytes(sample_bytes(model) * (model.replay_capacity - len(model.replay))))
    return b"".join(parts)


def state_crc(model: Model) -> int:
    """CRC-32 of state_bytes (7.2)."""
    return crc32(state_bytes(model))


def checkpoint_bytes(model: Model) -> int:
    """Length of a checkpoint with its header, without padding (7.3)."""
    return CHECKPOINT_HEADER_BYTES + len(state_bytes(model))


def checkpoint(model: Model, generation: int, program_bytes: int = 1, wear: int = 0) -> bytes:
    """What a slot holds: header, state, 0xff up to the program unit (7.3, 7.4).

    wear: slots erased so far; 0: the generation, as in a store that was never forgotten.
    """
    state = state_bytes(model)
    numbers = (1, generation, len(state), model.blob_crc, crc32(state), wear or generation)
    header = struct.pack("<4s6I", b"WCKP", *numbers)
    data = header + struct.pack("<I", crc32(header)) + state
    return data + b"\xff" * (-len(data) % program_bytes)


class Reader:
    """Takes arrays from bytes, one behind the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, kind: str, count: int) -> np.ndarray:
        """The next `count` numbers, int64."""
        found = np.frombuffer(self.data, kind, count, self.at)
        self.at += found.nbytes
        return found.astype(np.int64)


def load_state(model: Model, state: bytes) -> None:
    """Takes the bytes of state_bytes, or RefusedError and nothing has changed (7.5)."""
    refuse_if(len(state) != len(state_bytes(model)), "NO_CHECKPOINT")
    numbers, reader = FIRST.unpack_from(state), Reader(state)
    reader.at = FIRST.size
    config = Config(*numbers[8:14])
    by_class = reader.take("<u4", 2 * model.classes).reshape(-1, 2)
    side = model.classes if model.table else 0
    confusion = reader.take("<u2", side * side).reshape(side, side)
    weights, fits = [], settings_fit(config)
    for layer in model.learning:
        w = layer.w
        if layer.moves:
            w = reader.take(stored_type(layer), w.size).reshape(w.shape)
            fits = fits and int(np.abs(w).max()) <= layer.limit
        bias = None
        if layer.bias is not None:
            bias = reader.take("<i4", layer.bias.size)
            fits = fits and int(np.abs(bias).max()) <= BIAS_MAX
        weights.append((w, bias))
    moving = [layer for layer in model.learning if layer.v is not None]
    v = [reader.take("<i2", layer.w.size).reshape(layer.w.shape) for layer in moving]
    total = reader.take("<u4", model.classes).tolist()
    names = [reader.take("u1", NAME_BYTES).astype(np.uint8).tobytes() for _ in range(side)]
    fits = fits and not any(name[-1] for name in names)
    (count,) = reader.take("<u4", 1)
    fits = fits and all(int(np.abs(velocity).max()) <= V_MAX for velocity in v)
    refuse_if(not fits or count > model.replay_capacity, "NO_CHECKPOINT")
    replay = []
    for _ in range(count):
        label = int(reader.take("u1", 1)[0])
        sample = reader.take("i1", sample_bytes(model) - 1).reshape(model.replay_shape)
        replay.append((label, sample))
    refuse_if(any(label >= model.classes for label, _ in replay), "NO_CHECKPOINT")
    refuse_if(any(state[reader.at :]), "NO_CHECKPOINT")
    model.guard = numbers[:4]
    model.stream, model.last_id, model.step, model.sample = numbers[4:8]
    model.config, model.metrics = config, Metrics(*numbers[14:])
    model.class_seen, model.class_correct = by_class.T.tolist()
    model.class_total = total
    for layer, (w, bias) in zip(model.learning, weights, strict=True):
        layer.w, layer.bias = w, bias
    for layer, velocity in zip(moving, v, strict=True):
        layer.v = velocity
    if model.table:
        model.confusion, model.names = confusion, names
    model.replay = replay


def settings_fit(config: Config) -> bool:
    """Whether all settings are within their ranges."""
    try:
        check_config(config)
    except RefusedError:
        return False
    return True

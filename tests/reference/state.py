"""SPEC 7: the canonical bytes of everything learned."""

# SPDX-License-Identifier: MIT

import struct

import numpy as np

from .num import crc32
from .train import Config, Metrics, Model, RefusedError, check_config

CHECKPOINT_HEADER_BYTES = 32


def weight_bytes(model: Model) -> bytes:
    """Stored weights of the trainable layers in canonical order (7.1)."""
    return b"".join(
        layer.w.astype("<i2" if layer.bits == 8 else "i1").tobytes() for layer in model.trained
    )


def weight_crc(model: Model) -> int:
    """CRC-32 of weight_bytes (7.1)."""
    return crc32(weight_bytes(model))


def sample_bytes(model: Model) -> int:
    """Bytes of one replayed sample in the state: label and latent."""
    return 1 + int(np.prod(model.latent_shape, dtype=np.int64))


def state_bytes(model: Model) -> bytes:
    """Everything learned; the length depends on the model only (7.2)."""
    config, metrics = model.config, model.metrics
    numbers = (model.stream, model.last_id, model.step, model.sample, config.seed)
    settings = (config.lr_shift, config.replays, config.gain_shift, config.threshold)
    counts = (metrics.samples, metrics.correct, metrics.skipped, metrics.steps)
    parts = [struct.pack("<5IbBBB4I", *numbers, *settings, *counts)]
    for of_class in zip(model.class_total, model.class_seen, model.class_correct, strict=True):
        parts.append(struct.pack("<3I", *of_class))
    parts += [weight_bytes(model), struct.pack("<I", len(model.replay))]
    for label, latent in model.replay:
        parts.append(bytes([label]) + latent.astype(np.int8).tobytes())
    parts.append(bytes(sample_bytes(model) * (model.replay_capacity - len(model.replay))))
    return b"".join(parts)


def state_crc(model: Model) -> int:
    """CRC-32 of state_bytes (7.2)."""
    return crc32(state_bytes(model))


def checkpoint_bytes(model: Model) -> int:
    """Length of a checkpoint with its header, without padding (7.3)."""
    return CHECKPOINT_HEADER_BYTES + len(state_bytes(model))


def checkpoint(model: Model, generation: int, program_bytes: int = 1) -> bytes:
    """One half of the store: header, state, 0xff up to the program unit (7.3, 7.4)."""
    state = state_bytes(model)
    header = struct.pack(
        "<4s6I", b"WCKP", 1, generation, len(state), model.blob_crc, crc32(state), 0
    )
    data = header + struct.pack("<I", crc32(header)) + state
    return data + b"\xff" * (-len(data) % program_bytes)


def load_state(model: Model, state: bytes) -> None:
    """Takes the bytes of state_bytes, or RefusedError and nothing has changed (7.5)."""
    if len(state) != len(state_bytes(model)):
        raise RefusedError("WAGE_E_NO_CHECKPOINT")
    at = struct.calcsize("<5IbBBB4I")
    numbers = struct.unpack_from("<5IbBBB4I", state)
    config = Config(*numbers[4:9])
    by_class = np.frombuffer(state, "<u4", 3 * model.classes, at).reshape(-1, 3)
    at += by_class.nbytes
    weights, fits = [], True
    for layer in model.trained:
        kept = np.frombuffer(state, "<i2" if layer.bits == 8 else "i1", layer.w.size, at)
        weights.append(kept.astype(np.int64).reshape(layer.w.shape))
        fits = fits and bool((np.abs(weights[-1]) <= layer.limit).all())
        at += kept.nbytes
    (count,) = struct.unpack_from("<I", state, at)
    at, size, replay = at + 4, sample_bytes(model), []
    fits = fits and count <= model.replay_capacity
    for one in range(at, at + size * count if fits else at, size):
        latent = np.frombuffer(state, np.int8, size - 1, one + 1).astype(np.int64)
        replay.append((state[one], latent.reshape(model.latent_shape)))
        fits = fits and state[one] < model.classes
    try:
        check_config(config)
    except RefusedError:
        fits = False
    if not fits:
        raise RefusedError("WAGE_E_NO_CHECKPOINT")
    model.stream, model.last_id, model.step, model.sample = numbers[:4]
    model.config, model.metrics = config, Metrics(*numbers[9:])
    model.class_total, model.class_seen, model.class_correct = (
        [int(n) for n in column] for column in by_class.T
    )
    for layer, w in zip(model.trained, weights, strict=True):
        layer.w = w
    model.replay = replay

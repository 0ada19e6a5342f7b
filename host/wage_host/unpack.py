"""A blob as the network that it was packed from (SPEC section 9): pack.blob() the other way."""

from __future__ import annotations

import dataclasses
import struct
import zlib

import numpy as np

from wage_host import pack
from wage_host._core import lib
from wage_host.core import NO_WEIGHTS, Config, Core
from wage_host.errors import ModelError
from wage_host.layers import Layer, Network
from wage_host.pack import BIAS, FIXED, INPUTS, MEANS, PAPER, SSE, TABLE, Rules

HEADER = struct.Struct("<2BH3HBBb3BI2HI16sH2B")  # from byte 16 on
RECORD = struct.Struct("<3BbH10B2I2BHI16x")
KIND_NAMES = {
    lib.WAGE_DENSE: "dense", lib.WAGE_CONV2D: "conv2d", lib.WAGE_DEPTHWISE: "depthwise",
    lib.WAGE_AVERAGE_POOL: "average pool", lib.WAGE_MAX_POOL: "max pool", lib.WAGE_ADD: "add",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Unpacked:
    """All of a blob: as pack.blob() takes it; `first` layer that learns; replay: its samples."""

    network: Network
    name: str
    config: Config
    rules: Rules
    first: int
    replay_capacity: int
    replay: list[tuple[bytes, int]]

    @property
    def train_last(self) -> int:
        """How many layers with weights learn."""
        return sum(k >= self.first for k in self.network.weighted)


def unpacked(blob: bytes) -> Unpacked:
    """The parts of a blob; ModelError when the loader refuses it."""
    core = Core(blob)
    (
        count, _, _, height, width, channels, input_map, gain_shift, lr_shift, replays, threshold,
        flags, seed, capacity, stored, replay_at, name, batch, momentum, lr_factor,
    ) = HEADER.unpack_from(blob, 16)  # fmt: skip
    layers = tuple(
        _layer(blob, k, core.wage.layers[k], bool(flags & PAPER)) for k in range(count)
    )
    latents = replay_at + stored
    size = core.info.replay_bytes
    replay = [
        (blob[latents + k * size : latents + (k + 1) * size], blob[replay_at + k])
        for k in range(stored)
    ]
    return Unpacked(
        Network(
            (height, width, channels), input_map, layers, bool(flags & PAPER), core.info.extras
        ),
        name.rstrip(b"\0").decode("utf-8", "replace"),
        Config(seed, lr_shift, replays, gain_shift, threshold, lr_factor),
        Rules(
            bool(flags & PAPER), bool(flags & SSE), batch, momentum, bool(flags & INPUTS),
            bool(flags & MEANS), bool(flags & TABLE),
        ),
        core.wage.frozen_count,
        capacity,
        replay,
    )


def _layer(blob: bytes, k: int, seen: object, paper: bool) -> Layer:
    """Layer k; seen: as the loader has it."""
    at = lib.WAGE_HEADER_BYTES + k * lib.WAGE_RECORD_BYTES
    (
        kind, bits, flags, alpha_shift, out, kh, kw, down, across, top, left, bottom, right, pool,
        activation, weights_at, _, store_bits, skip, factor, bias_at,
    ) = RECORD.unpack_from(blob, at)  # fmt: skip
    weights, bias = NO_WEIGHTS, None
    if bits:
        shape = (out, seen.row_count)
        weights, store_bits = _weights(
            blob[weights_at:], shape, bits, store_bits, store_bits > 0
        )
    if flags & BIAS:
        bias = np.frombuffer(blob, "<i4", out, bias_at).astype(np.int32)
    return Layer(
        f"{KIND_NAMES[kind]} {k}", kind, out, (kh, kw), (down, across), (top, left), pool,
        activation, bits, store_bits, alpha_shift, skip, factor, weights, bias, (bottom, right),
        bool(flags & FIXED),
    )  # fmt: skip


def _weights(
    data: bytes, shape: tuple[int, int], bits: int, store_bits: int, learn: bool
) -> tuple[np.ndarray, int]:
    """Stored weights and their bits; of others those in use, kept in 8 bits more."""
    count = shape[0] * shape[1]
    if learn:
        kind = "<i2" if store_bits > 8 else "i1"
        return np.frombuffer(data, kind, count).astype(np.int16).reshape(shape), store_bits
    if bits == 2:
        codes = np.frombuffer(data, np.uint8, -(-count // 4))
        used = (codes[:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3).reshape(-1)[:count]
        used = np.where(used == 3, -1, used)
    else:
        used = np.frombuffer(data, np.int8, count)
    stored = min(16, bits + 8)
    return (used.astype(np.int16) << (stored - bits)).reshape(shape), stored


def learned_parts(blob: bytes) -> list[tuple[int, int, int]]:
    """What learning changes, in canonical order: layer, place in the blob, bytes."""
    core, parts = Core(blob), []
    for k in range(core.wage.frozen_count, core.wage.layer_count):
        record = RECORD.unpack_from(blob, lib.WAGE_HEADER_BYTES + k * lib.WAGE_RECORD_BYTES)
        flags, out, weights_at, weight_bytes, bias_at = (record[n] for n in (2, 4, 15, 16, 20))
        learned = 0 if flags & FIXED else weight_bytes
        parts += [(k, weights_at, learned), (k, bias_at, 4 * out * bool(flags & BIAS))]
    return parts


def with_weights(blob: bytes, learned: bytes) -> bytes:
    """The blob with other weights and biases where it learns, in canonical order (SPEC 7.1)."""
    made, at, parts = bytearray(blob), 0, learned_parts(blob)
    if sum(size for _, _, size in parts) != len(learned):
        raise ModelError("these weights are of another model: name the model that the board has")
    for _, place, size in parts:
        made[place : place + size] = learned[at : at + size]
        at += size
    made[12:16] = struct.pack("<I", zlib.crc32(bytes(made[16:])))
    return bytes(made)


def with_names(blob: bytes, names: tuple[str, ...]) -> bytes:
    """The blob with other names of classes, or none; itself when they are what it has."""
    up = unpacked(blob)
    extras = dataclasses.replace(up.network.extras, names=names)
    if extras == up.network.extras:
        return blob
    network = dataclasses.replace(up.network, extras=extras)
    return pack.blob(
        network, up.name, up.config, up.train_last, up.replay_capacity, up.replay, up.rules
    )

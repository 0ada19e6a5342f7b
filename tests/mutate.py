"""Random and hostile input: bytes changed at random, frames with wrong fields, wrong blobs."""

# SPDX-License-Identifier: MIT

import random
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import blobs
import random_models
from cobs import cobs
from wage_host._core import lib

WORDS = (
    0, 1, 2, 3, 5, 7, 8, 31, 32, 63, 64, 127, 128, 254, 255, 256, 257, 0x7FFF, 0x8000, 0xFFFF,
    0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFF00, 0xFFFFFFE8, 0xFFFFFFFE, 0xFFFFFFFF,
)  # fmt: skip


def change(rng: random.Random, data: bytes, others: Sequence[bytes], near: int = 0) -> bytes:
    """`data` with one to three changes; two of three fall into its first `near` bytes."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        end = min(near, len(out)) if near and rng.randrange(3) else len(out)
        at = rng.randrange(end) if end else 0
        size = rng.choice((1, 1, 2, 4, rng.randint(1, 16)))
        what = rng.randrange(8)
        if what <= 1 and out:
            out[at] ^= 1 << rng.randrange(8)
        elif what == 2 and out:
            out[at] = rng.choice(WORDS) & 0xFF
        elif what == 3:
            word = rng.choice((struct.pack("<H", rng.choice(WORDS) & 0xFFFF),
                               struct.pack("<I", rng.choice(WORDS))))  # fmt: skip
            out[at : at + len(word)] = word
        elif what == 4:
            del out[at : at + size]
        elif what == 5:
            out[at:at] = out[at : at + size] * rng.randint(1, 3)
        elif what == 6:
            other = rng.choice(others)
            cut = rng.randrange(len(other) + 1)
            out[at:] = other[cut:] if rng.randrange(2) else other[at:]
        else:
            del out[at:]
    return bytes(out)


NAMES = (b"", b"cat", b"fifteen letters", b"sixteen letters.")  # of classes; one too long


# -- frames ------------------------------------------------------------------


def body(kind: int, session: int, seq: int, fields: Sequence[int] = (), tail: bytes = b"") -> bytes:
    """A body without its CRC (wire.h)."""
    return struct.pack(f"<BBHH{len(fields)}I", kind, len(fields), session, seq, *fields) + tail


def frame(inner: bytes) -> bytes:
    """A body as it goes over the wire, with the right CRC."""
    return cobs.encode(inner + struct.pack("<I", zlib.crc32(inner))) + b"\0"


def good_body(rng: random.Random, session: int, last_id: int, size: int, classes: int) -> bytes:
    """A request that a board with a model of that input size takes, or a reply."""
    seq = rng.getrandbits(16)
    x = bytes(rng.choice((0, rng.getrandbits(8))) for _ in range(size))
    sample = (last_id + rng.choice((1, 1, 1, 0)), rng.randrange(classes))
    policy = (rng.choice((0, 1, 2, 3)), rng.randrange(2), rng.choice((0, 0, 9)), 0)
    guard = (rng.randint(1, 3), rng.randint(1, 3), rng.randint(1, 2), rng.randrange(classes))
    choices = [
        (lib.WAGE_HELLO, (1, 1), b""),
        (
            lib.WAGE_START,
            (rng.randint(1, 3), rng.getrandbits(32), rng.randrange(8), 1, 2, 0, rng.randint(1, 15),
             *policy),
            b"",
        ),
        (lib.WAGE_SAMPLE, sample, x),
        (lib.WAGE_SAMPLE, sample, x),
        (lib.WAGE_EVAL, sample, x),
        (lib.WAGE_GUARD, guard, x),
        (lib.WAGE_PUSH, (0, rng.choice((0, size)), 1), x),
        (lib.WAGE_STATS, (), b""),
        (lib.WAGE_SAVE, (), b""),
        (lib.WAGE_RESET, (rng.randrange(2),), b""),
        (lib.WAGE_LOOK, (rng.randrange(4),), b""),
        (lib.WAGE_ROLLBACK, (rng.randrange(4),), b""),
        (lib.WAGE_PROBE, (rng.choice((0, 0, 1, 255, 1 << 31)),), x),
        (lib.WAGE_CLASS, (rng.randrange(classes), rng.randrange(2)), rng.choice(NAMES)),
        (lib.WAGE_FORGET, (rng.randrange(classes),), b""),
        (lib.WAGE_PULL, (rng.choice((0, 1, 64, 100, 1 << 20)),), b""),
        (rng.randint(lib.WAGE_WELCOME, lib.WAGE_NAK), (0,) * rng.randrange(30), b"name\0"),
    ]
    kind, fields, tail = rng.choice(choices)
    return body(kind, session, seq, fields, tail)


def hostile_body(rng: random.Random, session: int, last_id: int, size: int, classes: int) -> bytes:
    """Well-formed, but what it says may be anything."""
    good = good_body(rng, session, last_id, size, classes)
    kind, count, session, seq = struct.unpack_from("<BBHH", good)
    fields = list(struct.unpack_from(f"<{count}I", good, 6))
    tail = good[6 + 4 * count :]
    what = rng.randrange(7)
    if what <= 1 and fields:
        near = (last_id + 2, classes, last_id, rng.getrandbits(32))
        fields[rng.randrange(len(fields))] = rng.choice((*WORDS, *near))
    elif what == 2:
        fields = [rng.choice(WORDS) for _ in fields]
    elif what == 3:  # a newer peer appends fields, and too many of them
        fields += [rng.getrandbits(32) for _ in range(rng.choice((1, 2, 8, 30, 40, 249)))]
    elif what == 4:  # fewer, or a count that lies
        del fields[rng.randrange(len(fields) + 1) :]
    elif what == 5:
        tail = rng.randbytes(rng.choice((0, 1, size - 1, size + 1, 2 * size, 150, 250, 1200)))
    else:
        session = rng.choice((0, 1, session ^ 1, session ^ 0x100, rng.getrandbits(16)))
    inner = body(kind, session, seq, fields[:255], tail)
    if rng.randrange(12) == 0:
        inner = inner[:1] + bytes([rng.choice(WORDS) & 0xFF]) + inner[2:]
    return inner


def frame_case(rng: random.Random, session: int, last_id: int, size: int, classes: int) -> bytes:
    """Bytes for the board, ended by a zero: half of them have a right CRC."""

    def good() -> bytes:
        return good_body(rng, session, last_id, size, classes)

    what = rng.randrange(8)
    if what == 0:
        data = rng.randbytes(rng.choice((1, 2, 9, 10, 40, 200, 700)))
    elif what <= 2:
        data = change(rng, frame(good()), [frame(good())])
    elif what == 3:
        parts = [frame(good()), change(rng, frame(good()), [frame(good())]), frame(good())]
        data = b"".join(parts[rng.randrange(2) :])
    elif what <= 5:
        data = frame(change(rng, good(), [good()]))
    else:
        data = frame(hostile_body(rng, session, last_id, size, classes))
    return data + b"\0"


# -- blobs -------------------------------------------------------------------

LAYER_FIELDS = {
    "kind": (0, 1, 2, 3, 4, 5, 6, 7, 255), "bits": (0, 1, 2, 5, 8, 9, 16),
    "flags": (0, 1, 2, 3, 4, 128, 255), "alpha_shift": (0, 1, 7, 8, 20, 21, 24, 25, -1, -6, -7),
    "stride": ((0, 1), (1, 0), (2, 3), (255, 255)), "pool": (0, 1, 2, 3, 255),
    "activation": (0, 1, 2, 3, 255), "reserved": (b"\1", bytes(15) + b"\1"),
    "pad": ((1, 1, 1, 1), (3, 0, 0, 0), (0, 2, 0, 2), (255, 255, 255, 255)),
    "offset": (0, 1, 63, 64, 112, 0x7FFFFFFF, 0xFFFFFFFF),
    "bias_offset": (0, 1, 63, 64, 112, 0x7FFFFFFF, 0xFFFFFFFF),
    "weight_bytes": (0, 1, 0x7FFFFFFF, 0xFFFFFFFF), "store_bits": (0, 1, 2, 8, 9, 15, 16, 17, 255),
    "skip": (0, 1, 2, 31, 255), "factor": (0, 1, 258, 0xFFFF),
}  # fmt: skip
HEADER_FIELDS = {
    "magic": (b"WAGF", b"EGAW"), "format": (0, 2, 0xFFFF), "header_bytes": (0, 63, 65),
    "blob_bytes": (0, 15, 16, 64, 0xFFFFFFFF), "layers": (0, 1, 2, 31, 32, 33, 255),
    "record_bytes": (0, 47, 49), "classes": (0, 1, 2, 255, 256, 0xFFFF),
    "height": (0, 1, 300, 0xFFFF), "width": (0, 1, 300, 0xFFFF), "channels": (0, 1, 300, 0xFFFF),
    "input_map": (0, 1, 2, 255), "gain_shift": (0, 7, 8, 255), "lr_shift": (-128, -25, -24, 7, 8),
    "replays": (0, 1, 255), "threshold": (0, 127, 128, 255), "flags": (0, 1, 2, 3, 4, 255),
    "replay_capacity": (0, 1, 100, 0xFFFF), "factory_samples": (0, 1, 100, 0xFFFF),
    "factory_offset": (0, 1, 64, 0xFFFFFFFF), "batch": (0, 1, 2, 9, 4096, 4097, 0xFFFF),
    "momentum": (0, 1, 7, 8, 255), "lr_factor": (0, 1, 15, 16, 255),
    "name": (b"x" * 16, b"\xff" * 15, b""), "seed": (0, 0xFFFFFFFF),
}  # fmt: skip


def wrong_model(rng: random.Random, seed: int) -> bytes:
    """A random model with one field of the header or of a layer set to an edge, CRC right."""
    draw = random.Random(seed)
    shape, classes = tuple(draw.randint(1, 7) for _ in range(3)), draw.randint(2, 6)
    layers = random_models.random_layers(draw, shape, classes, paper=draw.randrange(2) == 0)
    header: dict[str, Any] = {"flags": draw.choice((0, 0, 1, 2, 3))}
    if rng.randrange(2):
        field = rng.choice(list(LAYER_FIELDS))
        rng.choice(layers)[field] = rng.choice(LAYER_FIELDS[field])
    else:
        field = rng.choice(list(HEADER_FIELDS))
        header[field] = rng.choice(HEADER_FIELDS[field])
    try:
        return blobs.make_blob(layers, shape, header=header)
    except (ValueError, struct.error):  # no weights can be made up for such a layer
        return b""


def blob_cases(rng: random.Random, count: int) -> Iterator[bytes]:
    """Blobs as they are, changed with and without a right CRC, and with wrong fields."""
    good = [random_models.random_model(seed) for seed in range(60)]
    for number in range(count):
        blob, near = rng.choice(good), 64 + 48 * 4
        what = number % 8
        if what == 0:
            blob = wrong_model(rng, rng.randrange(60)) or blob
        elif what <= 4:
            blob = change(rng, blob, good, near)
            if len(blob) >= 16 and rng.randrange(8):  # and the length, mostly
                blob = blob[:8] + struct.pack("<I", len(blob)) + blob[12:]
            if len(blob) >= 16 and what <= 3:
                blob = blobs.seal(blob)
        else:
            blob = change(rng, blob, good, near)
        yield blob


# -- contents of a store -------------------------------------------------------


def seal_checkpoint(half: bytes) -> bytes:
    """A half of a store with both CRCs right for the length that it says."""
    size = struct.unpack_from("<I", half, 12)[0]
    head = half[:20] + struct.pack("<I", zlib.crc32(half[32 : 32 + size])) + half[24:28]
    return head + struct.pack("<I", zlib.crc32(head)) + half[32:]


def image_case(rng: random.Random, halves: Sequence[bytes], half_bytes: int) -> bytes:
    """A store of two halves, some erased, some changed, half of these with right CRCs."""
    image = b""
    for _ in range(2):
        half = rng.choice(halves).ljust(half_bytes, b"\xff")
        what = rng.randrange(6)
        if what == 0:
            half = b"\xff" * half_bytes
        elif what == 1:
            half = rng.randbytes(half_bytes)
        elif what <= 4:
            half = change(rng, half, halves, 32 + 60).ljust(half_bytes, b"\xff")[:half_bytes]
            if what >= 3:
                half = seal_checkpoint(half)
        image += half
    return image

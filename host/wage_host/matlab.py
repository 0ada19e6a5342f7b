"""MATLAB's .mat files of version 5, as far as arrays of numbers go: SVHN is published so."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

HEADER_BYTES = 128
MATRIX, COMPRESSED = 14, 15
# Type number of an element -> how its numbers are stored.
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
# Class number of an array -> its type, whatever smaller one its numbers are stored in.
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"}


def load(path: Path) -> dict[str, np.ndarray]:
    """The arrays of numbers by name; ValueError when it is no such file."""
    raw = memoryview(path.read_bytes())
    if len(raw) < HEADER_BYTES or bytes(raw[126:128]) not in (b"IM", b"MI"):
        raise ValueError("not a .mat file of version 5")
    order = "<" if bytes(raw[126:128]) == b"IM" else ">"
    arrays = {}
    for kind, body in _elements(raw[HEADER_BYTES:], order):
        if kind == COMPRESSED:
            ((kind, body),) = _elements(memoryview(zlib.decompress(body)), order)
        if kind == MATRIX:
            name, array = _matrix(body, order)
            if array is not None:
                arrays[name] = array
    return arrays


def _elements(raw: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Elements one after another: type and contents."""
    at = 0
    while at < len(raw):
        kind, count = struct.unpack_from(f"{order}II", raw, at)
        if kind >> 16:  # a small one: its size, its type and up to four bytes in eight
            kind, count, start = kind & 0xFFFF, kind >> 16, at + 4
            at += 8
        else:
            start = at + 8
            at = start + (count if kind == COMPRESSED else -(-count // 8) * 8)
        if start + count > len(raw):
            raise ValueError("an element goes past the end")
        yield kind, raw[start : start + count]


def _matrix(body: memoryview, order: str) -> tuple[str, np.ndarray | None]:
    """Name and array; None for what is no array of real numbers."""
    (_, flags), (_, sizes), (_, name), *parts = _elements(body, order)
    flag = struct.unpack_from(f"{order}I", flags)[0]
    text = bytes(name).decode("ascii")
    if flag & 0xFF not in CLASSES or flag & 0x800:
        return text, None
    kind, numbers = parts[0]
    array = np.frombuffer(numbers, np.dtype(f"{order}{NUMBERS[kind]}"))
    shape = np.frombuffer(sizes, np.dtype(f"{order}i4")).tolist()
    return text, array.reshape(shape, order="F").astype(CLASSES[flag & 0xFF], copy=False)

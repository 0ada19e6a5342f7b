"""Folders and zip files of WAV files, <class>/NAME.wav, or CLASS_….wav side by side."""

import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from wage_host.data.raw import Raw
from wage_host.errors import DataError
from wage_host.files import UNREADABLE
from wage_host.images import check_classes, hidden, in_zip

ENDING = ".wav"
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
WIDTHS = {(PCM, 1), (PCM, 2), (PCM, 3), (PCM, 4), (FLOAT, 4), (FLOAT, 8)}  # bytes
UNKNOWN = 0xFFFFFFFF  # the size of what a program wrote without knowing its end


class Unread(Exception):
    """A recording of a kind that is not read."""


def is_sound(path: Path) -> bool:
    """Whether a folder or a part of a zip file holds WAV files."""
    names, _ = _names(path)
    return any(name.lower().endswith(ENDING) and not hidden(name) for name in names)


def _names(path: Path) -> tuple[list[str], Callable[[str], IO[bytes]]]:
    """Names below a folder or a part of a zip file, and how to open one."""
    if not in_zip(path):
        found = [p.relative_to(path).as_posix() for g in ("*", "*/*") for p in path.glob(g)]
        return found, lambda name: (path / name).open("rb")
    file = next(p for p in (path, *path.parents) if p.suffix.lower() == ".zip" and p.is_file())
    inside, archive = path.relative_to(file).as_posix(), zipfile.ZipFile(file)
    prefix = "" if inside == "." else f"{inside}/"
    found = [n[len(prefix) :] for n in archive.namelist() if n.startswith(prefix)]
    return found, lambda name: archive.open(prefix + name)


def read(file: IO[bytes]) -> tuple[np.ndarray, int]:
    """A recording, (1, samples, 1) int16, the mean of its channels, and its samples a second.

    Whole numbers of 8 to 32 bits, of which the upper 16 are taken, and floats from -1 to 1.
    """
    parts = dict(_chunks(file))
    form, data = parts[b"fmt "], parts[b"data"]
    kind, channels, rate, _, step, bits = struct.unpack("<HHIIHH", form[:16])
    if kind == EXTENSIBLE:
        (kind,) = struct.unpack("<H", form[24:26])
    width = bits // 8
    if kind not in (PCM, FLOAT) or (kind, width) not in WIDTHS:
        raise Unread(f"of a kind that is not read (format {kind}, {bits} bits)")
    if step != channels * width or len(data) % step:
        raise EOFError("cut off")
    if kind == FLOAT:
        x = np.frombuffer(data, f"<f{width}").astype(np.float64) * 32768
        x = np.clip(np.floor(x), -32768, 32767).astype(np.int64)
    elif width == 1:
        x = (np.frombuffer(data, np.uint8).astype(np.int64) - 128) << 8
    else:
        upper = np.frombuffer(data, np.uint8).reshape(-1, width)[:, -2:]
        x = np.ascontiguousarray(upper).view("<i2").astype(np.int64)
    x = x.reshape(-1, channels).sum(1) // channels
    return x.astype(np.int16).reshape(1, -1, 1), rate


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Name and bytes of each part of a RIFF file, to the sound; EOFError when one is cut off."""
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise ValueError("no WAV")
    name = b""
    while name != b"data":
        name, size = struct.unpack("<4sI", file.read(8))
        data = file.read() if size == UNKNOWN else file.read(size)
        if len(data) < size != UNKNOWN:
            raise EOFError("cut off")
        file.read(size % 2)
        yield name, data


def load(path: Path, keep: Callable[[str], bool] = lambda name: True) -> Raw:
    """All recordings of a folder (those that are kept, by the file's name)."""
    names, opener = _names(path)
    names = sorted(
        n for n in names
        if n.lower().endswith(ENDING) and not hidden(n) and keep(n.split("/")[-1])
    )  # fmt: skip
    deep = [name for name in names if name.count("/") == 1]
    flat = [name for name in names if "/" not in name]
    chosen = deep or flat
    if not chosen:
        raise DataError(f"{path} holds no recordings as <class>/NAME.wav or CLASS_NAME.wav")
    classes = [n.split("/")[0] if deep else n.rsplit(".", 1)[0].split("_")[0] for n in chosen]
    known = tuple(sorted(set(classes)))
    if deep:
        check_classes(path, known, "recording")
    x, rates = [], []
    for name in chosen:
        try:
            with opener(name) as file:
                sound, rate = read(file)
        except Unread as why:
            raise DataError(f"{path}: {name} is {why}: save it as WAV, 16-bit PCM") from None
        except UNREADABLE:
            raise DataError(
                f"{path}: {name} is no WAV file, or is cut off: copy it again"
            ) from None
        if not sound.size:
            raise DataError(f"{path}: {name} holds no sound: record it again, or remove it")
        x.append(sound)
        rates.append(rate)
    labels = np.array([known.index(c) for c in classes], np.int64)
    return Raw(path.name, x, labels, known, rates, lambda k: f"{path}: {chosen[k]}")

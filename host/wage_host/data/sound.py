"""Folders and zip files of WAV files, <class>/NAME.wav, or CLASS_….wav side by side."""

import wave
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from wage_host.data.raw import Raw
from wage_host.errors import DataError
from wage_host.files import UNREADABLE
from wage_host.images import check_classes, in_zip

ENDING = ".wav"


def is_sound(path: Path) -> bool:
    """Whether a folder or a part of a zip file holds WAV files."""
    names, _ = _names(path)
    return any(name.lower().endswith(ENDING) for name in names)


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
    """A recording, (1, samples, 1) int16, the mean of its channels, and its samples a second."""
    with wave.open(file) as sound:
        channels, width, count = sound.getnchannels(), sound.getsampwidth(), sound.getnframes()
        rate, raw = sound.getframerate(), sound.readframes(sound.getnframes())
    if len(raw) != channels * width * count:
        raise EOFError("cut off")
    if width == 1:
        x = (np.frombuffer(raw, np.uint8).astype(np.int64) - 128) << 8
    elif width == 2:
        x = np.frombuffer(raw, "<i2").astype(np.int64)
    else:  # 24 or 32 bits: the upper 16
        part = np.frombuffer(raw, np.uint8).reshape(-1, width)[:, -2:]
        x = np.ascontiguousarray(part).view("<i2").astype(np.int64)
    x = x.reshape(-1, channels).sum(1) // channels
    return x.astype(np.int16).reshape(1, -1, 1), rate


def load(path: Path, keep: Callable[[str], bool] = lambda name: True) -> Raw:
    """All recordings of a folder (those that are kept, by the file's name)."""
    names, opener = _names(path)
    names = sorted(n for n in names if n.lower().endswith(ENDING) and keep(n.split("/")[-1]))
    deep = [name for name in names if name.count("/") == 1]
    flat = [name for name in names if "/" not in name]
    chosen = deep or flat
    if not chosen:
        raise DataError(f"{path} holds no recordings as <class>/NAME.wav or CLASS_NAME.wav")
    classes = [n.split("/")[0] if deep else n.rsplit(".", 1)[0].split("_")[0] for n in chosen]
    known = tuple(sorted(set(classes)))
    if deep:
        check_classes(path, known)
    x, rates = [], []
    for name in chosen:
        try:
            with opener(name) as file:
                sound, rate = read(file)
        except (*UNREADABLE, wave.Error):
            raise DataError(
                f"{path}: {name} is no WAV file of whole numbers (PCM), or is cut off: copy or "
                "convert it again"
            ) from None
        if not sound.size:
            raise DataError(f"{path}: {name} holds no sound: record it again, or remove it")
        x.append(sound)
        rates.append(rate)
    labels = np.array([known.index(c) for c in classes], np.int64)
    return Raw(path.name, x, labels, known, rates, lambda k: f"{path}: {chosen[k]}")

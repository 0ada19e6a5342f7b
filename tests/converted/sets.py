"""The data: whole published sets as uint8, (height, width, channel), and their usual tests."""

# SPDX-License-Identifier: MIT

import functools
from pathlib import Path

import numpy as np
from wage_host import data, datasets

RATE, FRAME, HOP = 8000, 256, 128  # Hz; samples
BANDS, FRAMES = 16, 48
FLOOR_DB, RANGE_DB = -70.0, 70.0
Part = tuple[np.ndarray, np.ndarray]


@functools.cache
def load(name: str) -> tuple[Part, Part]:
    """(x, labels) of train and test."""
    if name == "spoken":
        return spoken()
    return tuple(datasets.named(name, part) for part in ("train", "test"))


def bands() -> np.ndarray:
    """Triangles on the mel scale over the bins of a spectrum, (BANDS, bins)."""
    mel = np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = np.arange(FRAME // 2 + 1) * RATE / FRAME
    up = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.clip(np.minimum(up, down), 0, None)


def features(sound: np.ndarray) -> np.ndarray:
    """Loudness by time and band, (1, FRAMES, BANDS) uint8, of 16-bit sound."""
    need = FRAME + HOP * (FRAMES - 1)
    sound = sound[:need].astype(np.float64) / 32768
    sound = np.pad(sound, (0, need - len(sound)))
    frames = np.lib.stride_tricks.sliding_window_view(sound, FRAME)[::HOP] * np.hanning(FRAME)
    power = np.square(np.abs(np.fft.rfft(frames))) @ bands().T / FRAME
    loud = 10 * np.log10(power + 1e-12)
    return np.clip((loud - FLOOR_DB) / RANGE_DB * 255, 0, 255).round().astype(np.uint8)[None]


def spoken() -> tuple[Part, Part]:
    """Free Spoken Digit Dataset, in its usual parts."""
    raws = [data.read(Path(f"fsdd:{part}")) for part in ("train", "test")]
    return tuple((np.stack([features(x.ravel()) for x in raw.x]), raw.labels) for raw in raws)

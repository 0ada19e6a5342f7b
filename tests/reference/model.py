"""SPEC 2.8, 6, 9.1: an open model, its settings and what it says of a sample."""

# SPDX-License-Identifier: MIT

from dataclasses import dataclass, field

import numpy as np

from .layers import Layer, Shape, latent_shape
from .num import WORD


class RefusedError(Exception):
    """Something was refused; `name` is its name in enum wage_err."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def refuse_if(wrong: bool, name: str) -> None:
    """Raises RefusedError("WAGE_E_" + name) when something is wrong."""
    if wrong:
        raise RefusedError("WAGE_E_" + name)


def wrapped(count: int) -> int:
    """A counter of 32 bits (6.1)."""
    return count & WORD


@dataclass(frozen=True)
class Config:
    """Settings of learning, as struct wage_config."""

    seed: int
    lr_shift: int
    replays: int
    gain_shift: int
    threshold: int
    lr_factor: int = 1


def check_config(config: Config) -> None:
    """RefusedError when a setting is outside its range (9.1)."""
    good = (
        0 <= config.seed < 1 << 32
        and -24 <= config.lr_shift <= 7
        and 0 <= config.replays <= 255
        and 0 <= config.gain_shift <= 7
        and 0 <= config.threshold <= 127
        and 1 <= config.lr_factor <= 15
    )
    refuse_if(not good, "CONFIG")


@dataclass(frozen=True)
class Record:
    """What one prediction or one learned sample gave, as struct wage_record."""

    id: int
    label: int
    prediction: int
    p_label: int  # unit 2^-14
    skipped: int


@dataclass
class Metrics:
    """Counts since the stream began, as struct wage_metrics."""

    samples: int = 0
    correct: int = 0
    skipped: int = 0
    steps: int = 0


@dataclass
class Model:
    """An open model: what the blob says and everything learned since."""

    layers: list[Layer]
    classes: int
    input_shape: Shape
    input_map: int
    name: str
    blob_crc: int
    config: Config
    replay_capacity: int
    replay: list[tuple[int, np.ndarray]] = field(default_factory=list)  # label, sample
    paper: bool = False  # policy; else continual
    sse: bool = False  # loss; else CE
    batch: int = 1
    momentum: int = 0
    inputs: bool = False  # the replay keeps them; else latents
    means: bool = False  # classes learn by 5.6
    table: bool = False  # names and confusion of classes are kept (6.6)
    metrics: Metrics = field(default_factory=Metrics)
    class_total: list[int] = field(init=False)  # offered to the replay
    class_seen: list[int] = field(init=False)  # since the stream began
    class_correct: list[int] = field(init=False)
    confusion: np.ndarray = field(init=False)  # (classes, classes): label, prediction
    names: list[bytes] = field(init=False)  # given on the device
    guard: tuple[int, ...] = (0, 0, 0, 0)  # set, right, right of the best, times refused
    stream: int = 0
    last_id: int = 0
    step: int = 0
    sample: int = 0

    def __post_init__(self) -> None:
        """The factory: replayed samples count by class (6.3), no momentum yet (5.3)."""
        labels = [label for label, _ in self.replay]
        self.class_total = [labels.count(c) for c in range(self.classes)]
        self.class_seen = [0] * self.classes
        self.class_correct = [0] * self.classes
        self.confusion = np.zeros((self.classes, self.classes), np.int64)
        self.names = [b""] * self.classes
        if self.momentum:
            for layer in self.learning:
                layer.v = np.zeros(layer.w.shape, np.int64) if layer.moves else None

    @property
    def frozen(self) -> list[Layer]:
        """Leading layers that never change."""
        return [layer for layer in self.layers if not layer.trainable]

    @property
    def trained(self) -> list[Layer]:
        """Layers behind the cut, those without weights, too."""
        return [layer for layer in self.layers if layer.trainable]

    @property
    def learning(self) -> list[Layer]:
        """Layers whose weights or biases change."""
        return [layer for layer in self.trained if layer.w is not None]

    @property
    def replay_shape(self) -> Shape:
        """Shape of a sample in the replay."""
        return self.input_shape if self.inputs else self.latent_shape

    @property
    def latent_shape(self) -> Shape:
        """Shape of a sample at the cut between frozen and trainable layers."""
        return latent_shape(self.layers)

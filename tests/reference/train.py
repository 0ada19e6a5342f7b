"""SPEC 4, 5, 6: output error, update, step, replay and the life of a sample."""

# SPDX-License-Identifier: MIT

from dataclasses import dataclass, field, replace

import numpy as np

from .layers import ERROR, GRADIENT, Layer, Shape, activate, forward, latent_shape
from .num import WORD, below, clamp, draw, fraction, ilog2_round, key, rne, stochastic_shift

POWERS = np.array(  # T[k] = round(2^16 * 2^(-k/16)) (4.2)
    [65536, 62757, 60097, 57549, 55109, 52773, 50535, 48393,
     46341, 44376, 42495, 40693, 38968, 37316, 35734, 34219], np.int64
)  # fmt: skip
STAGE_RESERVOIR, STAGE_REPLAY = 64, 65


class RefusedError(Exception):
    """Something was refused; `name` is its name in enum wage_err."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True)
class Config:
    """Settings of learning, as struct wage_config."""

    seed: int
    lr_shift: int
    replays: int
    gain_shift: int
    threshold: int


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
    replay: list[tuple[int, np.ndarray]] = field(default_factory=list)  # label, latent
    metrics: Metrics = field(default_factory=Metrics)
    class_total: list[int] = field(init=False)  # offered to the replay
    class_seen: list[int] = field(init=False)  # since the stream began
    class_correct: list[int] = field(init=False)
    stream: int = 0
    last_id: int = 0
    step: int = 0
    sample: int = 0

    def __post_init__(self) -> None:
        """Counts of each class at the factory, where replayed samples count (6.3)."""
        labels = [label for label, _ in self.replay]
        self.class_total = [labels.count(c) for c in range(self.classes)]
        self.class_seen = [0] * self.classes
        self.class_correct = [0] * self.classes

    @property
    def frozen(self) -> list[Layer]:
        """Leading layers that never change."""
        return [layer for layer in self.layers if not layer.trainable]

    @property
    def trained(self) -> list[Layer]:
        """Layers that learn."""
        return [layer for layer in self.layers if layer.trainable]

    @property
    def latent_shape(self) -> Shape:
        """Shape of a sample at the cut between frozen and trainable layers."""
        return latent_shape(self.layers)


def input_activations(model: Model, p: np.ndarray) -> np.ndarray:
    """A host's bytes 0..255 as activations, unit 2^-7 (3.2)."""
    p = np.asarray(p, np.int64).reshape(model.input_shape)
    return p >> 1 if model.input_map == 0 else clamp(p - 128 + (p >= 128), -127, 127)


def output_error(
    o: np.ndarray, label: int, h: int, gain_shift: int
) -> tuple[np.ndarray, np.ndarray]:
    """Errors d (classes), exponent 0, and probabilities p (classes), unit 2^-14 (4.1-4.4)."""
    u = np.minimum(((o.max() - o) * (16 << gain_shift)) >> (7 + h), 511)
    power = POWERS[u % 16] >> (u // 16)
    total = power.sum()
    p = ((power << 14) + total // 2) // total
    e = p.copy()
    e[label] -= 1 << 14
    return clamp(rne(e, 7), -127, 127), p


def quantise_error(e: np.ndarray) -> tuple[np.ndarray, int]:
    """Errors d of 8 bits and n = log2 of the largest; not for an all-zero e (5.1)."""
    n = ilog2_round(int(np.abs(e).max()))
    return clamp(rne(e, n - 7), -127, 127), n


def update(layer: Layer, g: np.ndarray, x: int, config: Config, step: int) -> None:
    """Moves the stored weights against the gradient g of exponent x (5.3)."""
    n = 7 - x - config.lr_shift - (8 if layer.bits == 8 else 0)
    index = np.arange(g.size, dtype=np.uint32)
    r = fraction(key(config.seed, step, 1 + layer.index), index)
    r = r.astype(np.int64).reshape(g.shape)
    delta = np.sign(g) * stochastic_shift(np.abs(g), n, r)
    layer.w = clamp(layer.w - delta, -layer.limit, layer.limit)


def backward(
    model: Model, d: np.ndarray, inputs: list[np.ndarray], winners: list[np.ndarray | None]
) -> None:
    """Error, gradient and update of every trainable layer, the last one first (5)."""
    x = 0
    for layer, a, winner in reversed(list(zip(model.trained, inputs, winners, strict=True))):
        d = d.reshape(layer.out_shape)
        if layer is not model.trained[0]:
            e = ERROR[layer.kind](layer, d, winner)  # with the weights before the update
            e = np.where((a == 0) | (a == 127), 0, e)
        update(layer, GRADIENT[layer.kind](layer, a, d, winner), x, model.config, model.step)
        if layer is model.trained[0] or not e.any():
            return
        d, n = quantise_error(e)
        x = x - layer.h + n - 7


def wrapped(count: int) -> int:
    """A counter of 32 bits (6.1)."""
    return count & WORD


def step(model: Model, latent: np.ndarray, label: int) -> tuple[int, int, int]:
    """One training step: prediction, p[label] and whether it was skipped (3, 4, 5)."""
    a, inputs, winners = latent, [], []
    for layer in model.trained:
        inputs.append(a)
        z, winner = forward(layer, a)
        winners.append(winner)
        a = activate(layer, z)
    logits = z.reshape(-1)
    d, p = output_error(logits, label, layer.h, model.config.gain_shift)
    skipped = int(np.abs(d).max()) < max(model.config.threshold, 1)
    if not skipped:
        backward(model, d, inputs, winners)
    model.step = wrapped(model.step + 1)
    model.metrics.steps = wrapped(model.metrics.steps + 1)
    return int(logits.argmax()), int(p[label]), int(skipped)


def replay_offer(model: Model, latent: np.ndarray, label: int) -> None:
    """Class-balanced reservoir: keeps the sample, or not (6.2)."""
    model.class_total[label] = wrapped(model.class_total[label] + 1)
    if model.replay_capacity == 0:
        return
    if len(model.replay) < model.replay_capacity:
        model.replay.append((label, latent))
        return
    slots = [[] for _ in range(model.classes)]  # of each class, in order
    for slot, (c, _) in enumerate(model.replay):
        slots[c].append(slot)
    largest = max(len(s) for s in slots)
    k = key(model.config.seed, model.sample, STAGE_RESERVOIR)
    victim_class = label
    if len(slots[label]) < largest:
        victim_class = [len(s) for s in slots].index(largest)
    elif below(draw(k, 0), model.class_total[label]) >= largest:
        return
    model.replay[slots[victim_class][below(draw(k, 1), largest)]] = (label, latent)


def sample_input(model: Model, x: np.ndarray, label: int) -> np.ndarray:
    """The sample in its shape, or RefusedError."""
    x = np.asarray(x, np.int64)
    if x.size != np.prod(model.input_shape, dtype=np.int64):
        raise RefusedError("WAGE_E_INPUT")
    if not 0 <= label < model.classes:
        raise RefusedError("WAGE_E_LABEL")
    return x.reshape(model.input_shape)


def predict(model: Model, x: np.ndarray, label: int) -> Record:
    """Predicts the class of x (input activations), changes nothing."""
    a = sample_input(model, x, label)
    for layer in model.layers:
        z, _ = forward(layer, a)
        a = activate(layer, z)
    logits = z.reshape(-1)
    _, p = output_error(logits, label, layer.h, model.config.gain_shift)
    return Record(0, label, int(logits.argmax()), int(p[label]), 0)


def start(model: Model, stream: int, config: Config | None = None) -> None:
    """Begins a stream, or goes on with the current one (6.4)."""
    if stream == 0:
        raise RefusedError("WAGE_E_STREAM")
    if config is not None:
        check_config(config)
    if stream == model.stream:
        return
    if config is not None:
        model.config = replace(config)
    model.stream, model.last_id = stream, 0
    model.metrics = Metrics()
    model.class_seen = [0] * model.classes
    model.class_correct = [0] * model.classes


def check_config(config: Config) -> None:
    """RefusedError when a setting is outside its range (9.1)."""
    if not (
        0 <= config.seed < 1 << 32
        and -24 <= config.lr_shift <= 7
        and 0 <= config.replays <= 255
        and 0 <= config.gain_shift <= 7
        and 0 <= config.threshold <= 127
    ):
        raise RefusedError("WAGE_E_CONFIG")


def learn(model: Model, id: int, x: np.ndarray, label: int) -> Record:
    """Learns one sample and config.replays replayed ones (6.1)."""
    if model.stream == 0:
        raise RefusedError("WAGE_E_STREAM")
    if id != wrapped(model.last_id + 1):
        raise RefusedError("WAGE_E_ORDER")
    latent = sample_input(model, x, label)
    for layer in model.frozen:
        latent = activate(layer, forward(layer, latent)[0])
    prediction, p_label, skipped = step(model, latent, label)
    replay_offer(model, latent, label)
    choice = key(model.config.seed, model.sample, STAGE_REPLAY)
    for k in range(model.config.replays if model.replay else 0):
        old_label, old = model.replay[below(draw(choice, k), len(model.replay))]
        step(model, old, old_label)
    right, metrics = int(prediction == label), model.metrics
    model.sample = wrapped(model.sample + 1)
    model.last_id = id
    metrics.samples = wrapped(metrics.samples + 1)
    metrics.correct = wrapped(metrics.correct + right)
    metrics.skipped = wrapped(metrics.skipped + skipped)
    model.class_seen[label] = wrapped(model.class_seen[label] + 1)
    model.class_correct[label] = wrapped(model.class_correct[label] + right)
    return Record(id, label, prediction, p_label, skipped)

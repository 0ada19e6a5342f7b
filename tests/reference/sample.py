"""SPEC 3.2, 6: samples, the replay, streams."""

# SPDX-License-Identifier: MIT

from dataclasses import replace

import numpy as np

from .model import Config, Metrics, Model, Record, check_config, refuse_if, wrapped
from .num import below, clamp, draw, key
from .steps import Step, probabilities, run, step

STAGE_RESERVOIR, STAGE_REPLAY = 64, 65


def input_activations(model: Model, p: np.ndarray) -> np.ndarray:
    """A host's bytes 0..255 as activations, unit 2^-7 (3.2)."""
    p = np.asarray(p, np.int64).reshape(model.input_shape)
    return p >> 1 if model.input_map == 0 else clamp(p - 128 + (p >= 128), -127, 127)


def sample_input(model: Model, x: np.ndarray, label: int) -> np.ndarray:
    """The sample in its shape, or RefusedError."""
    x = np.asarray(x, np.int64)
    refuse_if(x.size != np.prod(model.input_shape, dtype=np.int64), "INPUT")
    refuse_if(not 0 <= label < model.classes, "LABEL")
    return x.reshape(model.input_shape)


def latent_of(model: Model, x: np.ndarray) -> np.ndarray:
    """What the frozen layers make of samples (n, input_shape) (6.1)."""
    return run(model.frozen, x, model.layers[-1])[-1].out if model.frozen else x


def predict(model: Model, x: np.ndarray, label: int) -> Record:
    """Predicts the class of x (input activations), changes nothing."""
    a = sample_input(model, x, label)[None]
    logits = run(model.layers, a, model.layers[-1])[-1].out.reshape(-1)
    p = probabilities(logits, model.layers[-1].h, model.config.gain_shift)
    return Record(0, label, int(logits.argmax()), int(p[label]), 0)


def train(model: Model, samples: list[tuple[np.ndarray, int]]) -> Step:
    """One step on 1..batch samples (input activations, label), without replay (6.1)."""
    refuse_if(not 1 <= len(samples) <= model.batch, "BATCH")
    x = np.stack([sample_input(model, x, label) for x, label in samples])
    return step(model, latent_of(model, x), [label for _, label in samples])


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


def replayed(model: Model) -> list[tuple[int, np.ndarray]]:
    """Label and latent of the stored samples that are learned after a new one (6.1)."""
    choice, stored = key(model.config.seed, model.sample, STAGE_REPLAY), model.replay
    count = model.config.replays if stored else 0
    return [stored[below(draw(choice, k), len(stored))] for k in range(count)]


def start(model: Model, stream: int, config: Config | None = None) -> None:
    """Begins a stream, or goes on with the current one (6.4)."""
    refuse_if(stream == 0, "STREAM")
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


def learn(model: Model, id: int, x: np.ndarray, label: int) -> Record:
    """Learns one sample and config.replays replayed ones (6.1)."""
    refuse_if(model.stream == 0, "STREAM")
    refuse_if(id != wrapped(model.last_id + 1), "ORDER")
    latent = latent_of(model, sample_input(model, x, label)[None])[0]
    replay_offer(model, latent, label)
    todo = [(label, latent), *replayed(model)]
    steps = []
    for at in range(0, len(todo), model.batch):
        some = todo[at : at + model.batch]
        steps.append(step(model, np.stack([a for _, a in some]), [c for c, _ in some]))
    prediction, p_label, skipped = steps[0].predictions[0], steps[0].p_labels[0], steps[0].skipped
    right, metrics = int(prediction == label), model.metrics
    model.sample = wrapped(model.sample + 1)
    model.last_id = id
    metrics.samples = wrapped(metrics.samples + 1)
    metrics.correct = wrapped(metrics.correct + right)
    metrics.skipped = wrapped(metrics.skipped + skipped)
    model.class_seen[label] = wrapped(model.class_seen[label] + 1)
    model.class_correct[label] = wrapped(model.class_correct[label] + right)
    return Record(id, label, prediction, p_label, skipped)

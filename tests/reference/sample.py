"""SPEC 3.2, 6: samples, the replay, streams."""

# SPDX-License-Identifier: MIT

from dataclasses import replace

import numpy as np

from .model import Config, Metrics, Model, Record, check_config, refuse_if, wrapped
from .num import below, clamp, draw, key
from .steps import BIAS_MAX, Step, probabilities, run, step

STAGE_RESERVOIR, STAGE_REPLAY, TIMES_MAX = 64, 65, 65535


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


def replay_offer(model: Model, sample: np.ndarray, label: int) -> None:
    """Class-balanced reservoir: keeps the sample, or not (6.2)."""
    model.class_total[label] = wrapped(model.class_total[label] + 1)
    if model.replay_capacity == 0:
        return
    if len(model.replay) < model.replay_capacity:
        model.replay.append((label, sample))
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
    model.replay[slots[victim_class][below(draw(k, 1), largest)]] = (label, sample)


def replayed(model: Model) -> list[tuple[int, np.ndarray]]:
    """Label and latent of the stored samples that are learned after a new one (6.1)."""
    choice, stored = key(model.config.seed, model.sample, STAGE_REPLAY), model.replay
    count = model.config.replays if stored else 0
    chosen = [stored[below(draw(choice, k), len(stored))] for k in range(count)]
    if not model.inputs:
        return chosen
    return [(c, latent_of(model, x[None])[0]) for c, x in chosen]


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
    model.confusion = np.zeros_like(model.confusion)


def learn_latent(model: Model, latent: np.ndarray, label: int) -> tuple[int, int, int]:
    """Prediction, p[label] before it and whether it was skipped (6.1); replayed ones follow."""
    if model.means:
        logits = run(model.trained, latent[None], model.layers[-1])[-1].out.reshape(-1)
        p = probabilities(logits, model.layers[-1].h, model.config.gain_shift)
        move_mean(model, latent, label)
        model.step = wrapped(model.step + 1)
        model.metrics.steps = wrapped(model.metrics.steps + 1)
        return int(logits.argmax()), int(p[label]), 0
    todo, steps = [(label, latent), *replayed(model)], []
    for at in range(0, len(todo), model.batch):
        some = todo[at : at + model.batch]
        steps.append(step(model, np.stack([a for _, a in some]), [c for c, _ in some]))
    return steps[0].predictions[0], steps[0].p_labels[0], steps[0].skipped


def move_mean(model: Model, latent: np.ndarray, label: int) -> None:
    """The mean of a class takes in one more latent (5.6)."""
    layer, total = model.layers[-1], model.class_total[label]
    n = total if layer.factory_bias[label] == -BIAS_MAX and 1 <= total < 256 else 256
    away = clamp(latent.reshape(-1), -127, 127) * 256 - layer.w[label]
    layer.w[label] += np.sign(away) * ((np.abs(away) + n // 2) // n)
    layer.bias[label] = -(int((layer.q[label] ** 2).sum()) // 2)


def name_class(model: Model, label: int, name: bytes) -> None:
    """A name of at most 15 bytes, or none (6.6)."""
    refuse_if(not 0 <= label < model.classes, "LABEL")
    refuse_if(not model.table or len(name) > 15, "NAME")
    model.names[label] = name


def forget_class(model: Model, label: int) -> None:
    """Forgets a class, but for what hidden layers learned with it (6.7)."""
    refuse_if(not 0 <= label < model.classes, "LABEL")
    refuse_if(not model.table, "NAME")
    model.replay = [(c, x) for c, x in model.replay if c != label]
    model.class_total[label] = 0
    model.names[label] = b""
    model.guard = (0, 0, 0, *model.guard[3:])
    last = model.layers[-1]
    if last.out != model.classes:
        return
    if last.w is not None and last.moves:
        last.w[label] = last.factory_w[label]
    if last.v is not None:
        last.v[label] = 0
    if last.bias is not None:
        last.bias[label] = last.factory_bias[label]


def learn(model: Model, id: int, x: np.ndarray, label: int) -> Record:
    """Learns one sample and config.replays replayed ones (6.1)."""
    refuse_if(model.stream == 0, "STREAM")
    refuse_if(id != wrapped(model.last_id + 1), "ORDER")
    x = sample_input(model, x, label)
    latent = latent_of(model, x[None])[0]
    replay_offer(model, x if model.inputs else latent, label)
    prediction, p_label, skipped = learn_latent(model, latent, label)
    right, metrics = int(prediction == label), model.metrics
    model.sample = wrapped(model.sample + 1)
    model.last_id = id
    metrics.samples = wrapped(metrics.samples + 1)
    metrics.correct = wrapped(metrics.correct + right)
    metrics.skipped = wrapped(metrics.skipped + skipped)
    model.class_seen[label] = wrapped(model.class_seen[label] + 1)
    model.class_correct[label] = wrapped(model.class_correct[label] + right)
    times = int(model.confusion[label, prediction])
    model.confusion[label, prediction] = min(times + 1, TIMES_MAX) if model.table else 0
    return Record(id, label, prediction, p_label, skipped)

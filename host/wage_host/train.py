"""Training on the host and conversion for a board: the same runtime, the same bits."""

import contextlib
import dataclasses
import json
import signal
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wage_host import augment, checkpoint, data, means, network, pack
from wage_host.augment import Augment
from wage_host.checkpoint import Progress
from wage_host.core import Config, Core, Sample
from wage_host.data import Data
from wage_host.errors import CheckpointError, Interrupted, LabelError, ModelError
from wage_host.network import Network
from wage_host.pack import Rules
from wage_host.rates import Rate, shown

REPLAY_MAX = 65535  # samples
CHUNK_S = 0.1  # about, between two looks at Ctrl-C and calls of `progress`


@dataclasses.dataclass(frozen=True)
class How:
    """How a network is trained.

    config: seed, gain_shift and threshold; rates: one an epoch; free_classes: how many of the
    last classes have no sample, because a board shall learn them later.
    """

    config: Config
    rates: tuple[Rate, ...]
    rules: Rules = dataclasses.field(default_factory=Rules)
    augment: Augment = dataclasses.field(default_factory=Augment)
    free_classes: int = 0

    def of_epoch(self, epoch: int) -> Config:
        """The settings in force in an epoch, from 0."""
        factor, shift = self.rates[epoch]
        return dataclasses.replace(self.config, lr_factor=factor, lr_shift=shift)


def run(
    net: Network,
    known: Data,
    how: How,
    *,
    others: dict[str, Data] | None = None,
    path: Path | None = None,
    progress: Callable[[int, int, int], None] = lambda epoch, done, right: None,
    on_epoch: Callable[[dict[str, Any]], None] = lambda row: None,
) -> tuple[Network, list[dict[str, Any]]]:
    """Trains all layers on `known`. Returns the network and one row an epoch.

    A row: `epoch` (from 1), `rate`, `train` (accuracy before each step), the accuracy on each of
    `others` by its name, `seconds`. `on_epoch` hears each; `progress` hears the epoch (from 0),
    and samples done and right so far in it. With `path` a checkpoint is written there after each
    epoch and on Ctrl-C; a run goes on from the one it finds, and ends with the same bits.
    """
    others = others or {}
    for samples in (known, *others.values()):
        data.check(samples, net.info())
    check_classes(known, net.classes, how.free_classes)
    blob = pack.blob(net, "training", how.of_epoch(0), len(net.weighted), 0, [], how.rules)
    core = Core(blob)
    this_run = identity(core, known, how)
    at = Progress()
    if path and (found := checkpoint.load(path, this_run)):
        state, at = found
        try:
            at.check(len(how.rates), len(known), {"train", *others})
            core.set_state(state)
        except ValueError as error:
            raise CheckpointError(f"{path} holds {error}: choose another file") from None
    inputs = Inputs(net, known, how)
    tests = {name: (Inputs(net, part, None), part.labels) for name, part in others.items()}
    order_of = orders(how.config.seed, len(known), at.epoch)
    with held_interrupt() as interrupted:
        while at.epoch < len(how.rates):
            core.start(at.epoch + 1, how.of_epoch(at.epoch))
            order = next(order_of)
            for _ in _steps(core, inputs, known.labels, order, at):
                progress(at.epoch, at.done, at.right)
                if interrupted():
                    break
            else:
                row = {"epoch": at.epoch + 1, "rate": shown(how.rates[at.epoch])}
                row |= {"train": at.right / at.done}
                for name, (test, labels) in tests.items():
                    answers = core.predict(test.all(), labels)
                    row[name] = float(np.mean(answers["prediction"] == labels))
                row["seconds"] = round(at.seconds, 3)
                at = Progress(at.epoch + 1, rows=[*at.rows, row])
                on_epoch(row)
            if path:
                checkpoint.save(path, this_run, core.state(), at)
            if interrupted() and at.epoch < len(how.rates):
                raise Interrupted(
                    f"interrupted; the same command goes on from {path}" if path else "interrupted"
                )
    trained = network.with_weights(net, core)
    return dataclasses.replace(trained, paper=how.rules.paper), at.rows


def _steps(
    core: Core, inputs: "Inputs", labels: np.ndarray, order: np.ndarray, at: Progress
) -> Iterator[None]:
    """Learns what is left of an epoch, a few steps at a time; counts in `at`."""
    batch = chunk = core.info.batch
    while at.done < len(order):
        began = time.perf_counter()
        index = order[at.done : at.done + chunk]
        answers = core.train(inputs.of(index, at.epoch), labels[index])
        at.right += int((answers["prediction"] == labels[index]).sum())
        at.done += len(index)
        took_s = time.perf_counter() - began
        at.seconds += took_s
        if took_s < CHUNK_S / 2:
            chunk *= 2
        elif took_s > CHUNK_S * 2 and chunk > batch:
            chunk -= chunk // batch // 2 * batch
        yield


class Inputs:
    """Samples as the network takes them, augmented when `how` says so."""

    def __init__(self, net: Network, samples: Data, how: How | None):
        self._shape, self._map = net.shape, net.input_map
        self._seed = how.config.seed if how else 0
        self._augment = how.augment if how else Augment()
        # without augmentation they are the same in each epoch
        self._x = samples.x if self._augment else data.activations(samples.x, net.input_map)

    def of(self, index: np.ndarray, epoch: int) -> np.ndarray:
        """These samples in this epoch, int8."""
        if not self._augment:
            return self._x[index]
        x = self._x[index].reshape(len(index), *self._shape)
        x = augment.augmented(x, index, self._augment, self._seed, epoch)
        return data.activations(x, self._map)

    def all(self) -> np.ndarray:
        """All samples, when nothing is augmented, int8."""
        return self._x


def orders(seed: int, count: int, epoch: int) -> Iterator[np.ndarray]:
    """The order of `count` samples in this epoch (from 0), the next, …"""
    draws = np.random.default_rng(seed)
    for _ in range(epoch):
        draws.permutation(count)
    while True:
        yield draws.permutation(count)


def split(samples: Data, share: float, seed: int) -> tuple[Data, Data]:
    """The samples that learn, and a share (0 to 1) held out for validation."""
    chosen = np.random.default_rng([seed, 1]).permutation(len(samples))
    held = np.zeros(len(samples), bool)
    held[chosen[: round(share * len(samples))]] = True
    parts = ((samples.name, ~held), (f"{samples.name}, held out", held))
    kept, out = (Data(name, samples.x[mask], samples.labels[mask]) for name, mask in parts)
    return kept, out


def check_classes(known: Data, classes: int, free: int) -> None:
    """Each class but the last `free` ones must have a sample."""
    if not 0 <= free < classes:
        raise LabelError(f"--free-classes is 0 to {classes - 1} for this network, not {free}")
    counts = np.bincount(known.labels, minlength=classes)
    empty = np.flatnonzero(counts[: classes - free] == 0).tolist()
    if empty:
        several = f"the classes {', '.join(map(str, empty))}" if empty[1:] else f"class {empty[0]}"
        last = empty == list(range(classes - free - len(empty), classes - free))
        raise LabelError(
            f"{known.name} has no sample of {several}: give some, or "
            + (
                f"keep the last classes for later with --free-classes {free + len(empty)}"
                if last
                else "number the classes without gaps"
            )
        )


def identity(core: Core, known: Data, how: How) -> dict[str, str]:
    """What makes a run this run: with another of these its bits would differ.

    The order of samples is NumPy's, and a later version may shuffle otherwise.
    """
    order = next(orders(0, 1000, 0)).astype("<i8")
    return {
        "network or settings": f"{core.info.crc:08x}",
        "samples": f"{known.crc():08x}",
        "epochs or learning rates": json.dumps([shown(rate) for rate in how.rates]),
        "version of NumPy, which shuffles otherwise": f"{zlib.crc32(order.tobytes()):08x}",
        "augmentation": json.dumps(dataclasses.asdict(how.augment)),
    }


@contextlib.contextmanager
def held_interrupt() -> Iterator[Callable[[], bool]]:
    """Gives a function that tells whether Ctrl-C came; a second Ctrl-C interrupts at once."""
    came = False

    def hear(*_: object) -> None:
        nonlocal came
        came = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        before = signal.signal(signal.SIGINT, hear)
    except ValueError:  # only the main thread hears signals
        yield lambda: False
        return
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGINT, before)


def balanced(samples: Sequence[Sample], count: int) -> list[Sample]:
    """The first `count` samples, taking classes in turn."""
    by_class: dict[int, list[Sample]] = {}
    for sample in samples:
        by_class.setdefault(sample[1], []).append(sample)
    turns = max((len(group) for group in by_class.values()), default=0)
    taken = [
        by_class[label][turn]
        for turn in range(turns)
        for label in sorted(by_class)
        if turn < len(by_class[label])
    ]
    return taken[:count]


def fitting(room: int, replay_bytes: int) -> int:
    """Samples, each with a label, that a replay of `room` bytes holds."""
    count = min(room // (replay_bytes + 1), REPLAY_MAX)
    if not count:
        raise ModelError(
            f"a replay of {room} bytes holds no sample: one takes {replay_bytes + 1}; give it more"
        )
    return count


def convert(
    net: Network,
    name: str,
    config: Config,
    train_last: int,
    replay_capacity: int,
    replay_samples: Sequence[Sample],
    rules: Rules | None = None,
) -> bytes:
    """The blob of a network, its replay filled with `replay_samples` (up to the capacity).

    With class means they are those of all these samples; without any they stay.
    """
    rules = rules or Rules()
    if rules.means:
        means.check(net, train_last)
    if rules.means and replay_samples:
        net = means.head(net, train_last, replay_samples)
    core = Core(pack.blob(net, name, config, train_last, 0, [], rules))
    chosen = balanced(replay_samples, replay_capacity)
    keep = (lambda x: x.tobytes()) if rules.inputs else core.latent
    replay = [(keep(x), label) for x, label in chosen]
    return pack.blob(net, name, config, train_last, replay_capacity, replay, rules)

"""What a model needs of a board, tensor by tensor, before anything is flashed.

The arena is laid out as runtime/arena.c does, in the same order and with the same rounding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from wage_host._core import ffi, lib
from wage_host.core import Core

REPLAY = "replay"  # its samples


@dataclasses.dataclass(frozen=True)
class Facts:
    """One layer of a blob, as far as memory and work go; sizes in elements of one sample."""

    kind: int
    trainable: bool
    weight_bits: int
    store_bits: int
    halves_up: bool
    masked: bool  # has an activation
    pool: int
    skip: int
    shape: tuple[int, int, int]
    in_count: int
    out_count: int
    row_count: int
    weight_count: int
    bias_count: int
    sum_count: int  # outputs before pooling
    window_rows: int  # of a kernel; dense: 1

    @property
    def macs(self) -> int:
        """Multiplications of weights and activations for one sample."""
        return self.sum_count * self.row_count if self.weight_bits else 0

    @property
    def flash_bytes(self) -> int:
        """Its weights and biases in the blob (SPEC 9.3)."""
        bits = self.weight_bits if self.weight_bits == 2 else 8
        if self.store_bits:
            bits = 16 if self.store_bits > 8 else 8
        return (self.weight_count * bits + 7) // 8 + 4 * self.bias_count


@dataclasses.dataclass(frozen=True)
class Model:
    """What of a blob decides how much memory it takes."""

    layers: tuple[Facts, ...]
    frozen: int
    batch: int
    paper: bool
    momentum: bool
    classes: int
    capacity: int  # of the replay, samples
    stored: int  # factory samples of it in the blob
    replays: int  # of a new sample
    inputs: bool  # the replay keeps them, not latents
    table: bool  # names and confusion of classes

    @property
    def replay_bytes(self) -> int:
        """Of one sample in the replay, without its label."""
        return self.layers[0 if self.inputs else self.frozen].in_count


@dataclasses.dataclass(frozen=True)
class Part:
    """One block of the arena: of a layer (its index), or of none (None)."""

    layer: int | None
    name: str
    bytes: int


def read(blob: bytes) -> Model:
    """The facts of a blob; ModelError when it is unusable."""
    core = Core(blob)
    w = core.wage
    layers = tuple(_facts(w.layers[k]) for k in range(w.layer_count))
    return Model(
        layers=layers,
        frozen=w.frozen_count,
        batch=w.batch,
        paper=bool(w.paper),
        momentum=bool(w.momentum),
        classes=w.classes,
        capacity=w.replay_capacity,
        stored=w.replay_count,
        replays=w.config.replays if w.replay_capacity and not w.means else 0,
        inputs=bool(w.inputs),
        table=bool(w.table),
    )


def _facts(layer: object) -> Facts:
    """Those of a struct wage_layer."""
    dense = layer.kind == lib.WAGE_DENSE
    has_bias = layer.blob_bias != ffi.NULL or layer.bias != ffi.NULL
    return Facts(
        kind=layer.kind,
        trainable=bool(layer.trainable),
        weight_bits=layer.weight_bits,
        store_bits=layer.store_bits,
        halves_up=bool(layer.halves_up),
        masked=layer.activation != lib.WAGE_NONE,
        pool=layer.pool,
        skip=layer.skip,
        shape=(layer.out_h, layer.out_w, layer.out_c),
        in_count=layer.in_count,
        out_count=layer.out_count,
        row_count=layer.row_count,
        weight_count=layer.weight_count,
        bias_count=layer.out_c if has_bias else 0,
        sum_count=layer.out_c if dense else layer.sum_h * layer.sum_w * layer.out_c,
        window_rows=layer.kernel_h,
    )


def parts(model: Model) -> list[Part]:
    """The blocks of the arena, in their order; their sum is wage_arena_bytes()."""
    found = [Part(None, "layers", lib.WAGE_LAYER_BYTES * len(model.layers))]
    for k, layer in enumerate(model.layers):
        found += [Part(k, name, count) for name, count in _kept(model, k, layer)]
    found += [Part(None, name, count) for name, count in _shared(model)]
    rounded = (dataclasses.replace(part, bytes=(part.bytes + 3) & ~3) for part in found)
    return [part for part in rounded if part.bytes]


def _kept(model: Model, k: int, layer: Facts) -> Iterator[tuple[str, int]]:
    """What a layer keeps: take_layer() and take_skip() of arena.c."""
    codes = (layer.out_count * model.batch + 3) // 4
    if layer.trainable:
        yield "activations", layer.in_count * model.batch
        learned = layer.weight_count if layer.store_bits else 0
        yield "weights", learned
        if layer.store_bits > 8:
            yield "weights, lower bytes", learned
        if model.momentum:
            yield "velocities", 2 * learned
        yield "bias", 4 * layer.bias_count
        if layer.pool == 2:
            yield "winners of pools", codes
        if model.paper and layer.masked:
            yield "masks", codes
    if layer.skip:
        source = k - layer.skip
        if source > (model.frozen if layer.trainable else 0):
            yield "error for the skip" if layer.trainable else "skip", layer.in_count * model.batch


def _shared(model: Model) -> Iterator[tuple[str, int]]:
    """What all layers share: lay_out() of arena.c."""
    n, classes, whole = model.batch, model.classes, model.paper or model.batch > 1
    narrow, error, wide, row = classes, 0, 0, 0
    for k, layer in enumerate(model.layers):
        if k + 1 != model.frozen and k + 1 != len(model.layers):
            narrow = max(narrow, layer.out_count)
        if layer.store_bits:
            wide = max(wide, layer.weight_count if whole else layer.row_count)
        else:  # forward has its row there, as int8
            wide = max(wide, (layer.row_count + 3) // 4)
        if k > model.frozen:
            error = max(error, layer.in_count)
        if k > model.frozen and not layer.halves_up and layer.store_bits != layer.weight_bits:
            row = max(row, layer.row_count)
    yield "labels", n
    yield "scratch", narrow * n
    yield "scratch", narrow * n
    yield "weights of one output", row
    yield "sums of errors and gradients", 4 * max(wide, error * n)
    yield "logits", 4 * classes * n
    for what in ("replay", "seen", "correct"):
        yield f"counts by class, {what}", 4 * classes
    if model.table:
        yield "confusion of classes", 2 * classes * classes
        yield "names of classes", lib.WAGE_NAME_BYTES * classes
    yield "replay, labels", model.capacity
    yield REPLAY, model.capacity * model.replay_bytes


def arena_bytes(model: Model) -> int:
    """What wage_arena_bytes() says of such a model."""
    return sum(part.bytes for part in parts(model))


# -- what would fit --------------------------------------------------------


def with_last(model: Model, first: int) -> Model:
    """The same model with the layers below `first` frozen, too; an empty factory replay."""
    layers = tuple(
        dataclasses.replace(layer, trainable=False, store_bits=0, halves_up=False)
        if k < first
        else layer
        for k, layer in enumerate(model.layers)
    )
    return dataclasses.replace(model, layers=layers, frozen=first)


def cuts(model: Model) -> list[tuple[int, int]]:
    """(K, first layer) of each smaller --train-last: no add may begin below it."""
    weighted = [k for k, layer in enumerate(model.layers) if layer.weight_bits]
    found = []
    for last in range(1, len(weighted)):
        first = weighted[-last]
        whole = all(
            k - layer.skip >= first or k < first
            for k, layer in enumerate(model.layers)
            if layer.skip
        )
        if first > model.frozen and whole:
            found.append((last, first))
    return found[::-1]


def most_replay(model: Model, room: int) -> int | None:
    """How many samples a replay can hold at most in an arena of `room` bytes; None: not even 0."""
    rest = room - arena_bytes(dataclasses.replace(model, capacity=0))
    if rest < 0:
        return None
    most = min(rest // (model.replay_bytes + 1), 65535)
    while most and arena_bytes(dataclasses.replace(model, capacity=most)) > room:
        most -= 1  # both blocks are rounded up to 4 bytes
    return most


def with_bits(model: Model) -> Model | None:
    """The same model with --bits 4/8; None when it stores no more than 8 bits already."""
    if not any(layer.trainable and layer.store_bits > 8 for layer in model.layers):
        return None
    layers = tuple(
        dataclasses.replace(layer, weight_bits=4, store_bits=8, halves_up=False)
        if layer.trainable and layer.weight_bits
        else layer
        for layer in model.layers
    )
    return dataclasses.replace(model, layers=layers)


def remedies(model: Model, room: int) -> list[str]:
    """What would make the arena fit `room` bytes, each by itself, as options of wage-host."""
    found = []

    def replay(other: Model) -> str | None:
        most = most_replay(other, room)
        if most is None:
            return None
        return f" --replay {most}" if most < model.capacity else ""

    if (option := replay(model)) is not None:
        found.append(f"convert it with{option}")
    for last, first in cuts(model):
        if (option := replay(with_last(model, first))) is not None:
            found.append(f"convert it with --train-last {last}{option}")
            break
    if (other := with_bits(model)) and (option := replay(other)) is not None:
        found.append(f"train it with --bits 4/8{option and f' and convert it with{option}'}")
    return found


# -- work ------------------------------------------------------------------

Counts = dict[str, int]
WORK = ("multiply", "row", "multiply back", "row back", "update", "step")


def forward_work(layers: tuple[Facts, ...]) -> Counts:
    """Of a prediction: multiplications, and rows of a window, each a loop of its own."""
    weighted = [layer for layer in layers if layer.weight_bits]
    return {
        "multiply": sum(layer.macs for layer in weighted),
        "row": sum(layer.sum_count * layer.window_rows for layer in weighted),
    }


def learn_work(model: Model) -> Counts:
    """Of learning a new sample and its replayed ones.

    The frozen layers run once (of a replay of inputs in each step), those that learn in each
    step: forward, then backward, where outputs (of a pool the winners only) go once into the
    gradient and, but for the first layer, once into the error below; then each weight is updated.
    """
    steps, mine = 1 + model.replays, model.layers[model.frozen :]
    front, again = forward_work(model.layers[: model.frozen]), forward_work(mine)
    times = steps if model.inputs else 1
    counts = {name: times * front[name] + steps * again[name] for name in front}
    counts |= dict.fromkeys(WORK[2:], 0) | {"step": steps}
    for k, layer in enumerate(mine):
        if layer.weight_bits:
            outputs = steps * layer.out_count * (2 if k else 1)
            counts["multiply back"] += outputs * layer.row_count
            counts["row back"] += outputs * layer.window_rows
            counts["update"] += steps * layer.weight_count * bool(layer.store_bits)
    return counts


def cost(counts: Counts, figures: dict[str, float]) -> float:
    """Instructions, where `figures` has them for one of each kind of work."""
    return sum(count * figures[name] for name, count in counts.items())

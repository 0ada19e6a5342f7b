"""The C runtime in this process: the same bits as a board, without one."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from wage_host._core import ffi, lib
from wage_host.errors import REMEDY, ArenaError, ModelError, Refused, WrongUsage, short
from wage_host.extras import NOTHING, Extras
from wage_host.extras import of as extras_of

ERROR_NAMES = ffi.typeof("enum wage_err").elements
PLACES = {
    lib.WAGE_PLACE_HOST: "host",
    lib.WAGE_PLACE_EMULATOR: "emulator",
    lib.WAGE_PLACE_BOARD: "board",
}

RECORD = ffi.typeof("struct wage_record")
RECORD_DTYPE = np.dtype(
    {
        "names": [name for name, _ in RECORD.fields],
        "formats": [f"u{ffi.sizeof(field.type)}" for _, field in RECORD.fields],
        "offsets": [field.offset for _, field in RECORD.fields],
        "itemsize": ffi.sizeof(RECORD),
    }
)

INT16_MAX = (1 << 15) - 1  # of a velocity; it has no -2^15 (SPEC 5.3)
NO_WEIGHTS = np.zeros((0, 0), np.int16)
Sample = tuple[np.ndarray, int]  # int8 activations of the model's input, label


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of learning, as struct wage_config; the rate is lr_factor · 2^lr_shift."""

    seed: int
    lr_shift: int
    replays: int
    gain_shift: int
    threshold: int
    lr_factor: int = 1

    def __post_init__(self) -> None:
        """Refuses what does not fit struct wage_config; the runtime checks the rest."""
        small = -128 <= self.lr_shift <= 127 and all(
            0 <= n <= 255 for n in (self.replays, self.gain_shift, self.threshold, self.lr_factor)
        )
        if not small or not 0 <= self.seed < 1 << 32:
            raise Refused("WAGE_E_CONFIG")


@dataclasses.dataclass(frozen=True)
class Policy:
    """When to save and what, as struct wage_policy; `margin` in samples of the guard."""

    every: int = 0
    margin: int = 0
    wear_max: int = 0
    improved: bool = False


@dataclasses.dataclass(frozen=True)
class Record:
    """What one sample gave; p_label in 2^-14, us in microseconds where it ran.

    `kept`: enum wage_kept; `score`: right answers of the guard when it was asked last.
    """

    id: int
    label: int
    prediction: int
    p_label: int
    skipped: bool
    known: bool
    us: int
    kept: int = 0
    score: int = 0
    generation: int = 0


@dataclasses.dataclass(frozen=True)
class Stats:
    """Counts of a stream and the CRCs of what was learned; by class: (seen, correct)."""

    samples: int
    correct: int
    skipped: int
    steps: int
    last_id: int
    generation: int
    replay_count: int
    replay_capacity: int
    frame_errors: int
    stack_bytes: int
    weight_crc: int
    state_crc: int
    score: int
    best: int
    refused: int
    by_class: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class ClassState:
    """A class on a board: samples seen and right since the stream began, learned since the factory,
    and stored in the replay; the name given there ("": as in the model), and how often it was
    taken for each class.
    """

    seen: int
    correct: int
    total: int
    stored: int
    name: str
    taken_for: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Info:
    """What a blob says of itself, as struct wage_info."""

    name: str
    crc: int
    shape: tuple[int, int, int]
    input_map: int
    classes: int
    input_bytes: int
    latent_bytes: int
    arena_bytes: int
    batch: int = 1
    extras: Extras = NOTHING
    replay_bytes: int = 0  # of a sample in the replay


def check(result: int) -> int:
    """The answer of a C function, or its error raised."""
    if result < 0:
        raise Refused(ERROR_NAMES[result])
    return result


def info(blob: bytes) -> Info:
    """What `blob` says of itself; ModelError when it is unusable."""
    out = ffi.new("struct wage_info *")
    data = ffi.from_buffer("uint8_t[]", blob)
    error = lib.wage_info(data, len(blob), out)
    error = error or lib.wage_prepare_step(data, len(blob), 0, ffi.new("struct wage_prepare *"))
    if error < 0:
        name = ERROR_NAMES[error]
        raise ModelError(f"unusable model ({short(name)}): {REMEDY[name]}")
    return Info(
        name=ffi.string(out.name).decode("utf-8", "replace"),
        crc=out.crc,
        shape=(out.input_h, out.input_w, out.input_c),
        input_map=out.input_map,
        classes=out.classes,
        input_bytes=out.input_bytes,
        latent_bytes=out.latent_bytes,
        arena_bytes=out.arena_bytes,
        batch=out.batch,
        replay_bytes=out.replay_bytes,
        extras=extras_of(blob),
    )


def kernels(level: int | None) -> Any:
    """The C kernels of a level, 0 (portable) to the best of this computer.

    None: $WAGE_KERNELS, else the best. All give the same bits.
    """
    given = os.environ.get("WAGE_KERNELS") if level is None else str(level)
    if given is None:
        return lib.wage_host_kernels(lib.wage_host_level())
    found = lib.wage_host_kernels(int(given)) if given in ("0", "1", "2") else ffi.NULL
    if found == ffi.NULL:
        raise WrongUsage(f"this computer has no kernels '{given}': WAGE_KERNELS is 0, 1 or 2")
    return found


class Core:
    """A model open in this process. Its methods are those of Device, and more."""

    def __init__(self, blob: bytes, arena_bytes: int | None = None, level: int | None = None):
        self.info = info(blob)
        size = self.info.arena_bytes if arena_bytes is None else arena_bytes
        self._blob = ffi.new("uint8_t[]", blob)
        self._arena = ffi.new("uint64_t[]", size // 8 + 1)  # aligned to 8 bytes
        self.wage = ffi.new("wage_t *")
        arena = ffi.cast("uint8_t *", self._arena)
        error = lib.wage_open(self.wage, self._blob, len(blob), arena, size)
        if error == lib.WAGE_E_ARENA:
            raise ArenaError(
                f"the model needs an arena of {self.info.arena_bytes} bytes and has {size}"
            )
        check(error)
        self.wage.kernels = kernels(level)

    def config(self) -> Config:
        """The settings in force."""
        c = self.wage.config
        return Config(
            **{field.name: getattr(c, field.name) for field in dataclasses.fields(Config)}
        )

    def start(self, stream: int, config: Config) -> int:
        """Begins or resumes `stream`. Returns the id learned last in it."""
        given = ffi.new("struct wage_config *", dataclasses.asdict(config))
        check(lib.wage_start(self.wage, stream, given))
        return self.wage.last_id

    def learn(self, samples: Iterable[Sample]) -> Iterator[Record]:
        """Learns the samples that follow the last one learned."""
        record = ffi.new("struct wage_record *")
        for x, label in samples:
            data = self._input(x)
            check(lib.wage_learn(self.wage, self.wage.last_id + 1, data, label, record))
            yield _taken(record)

    def evaluate(self, samples: Iterable[Sample]) -> Iterator[Record]:
        """Predicts each sample; learns nothing."""
        record = ffi.new("struct wage_record *")
        for number, (x, label) in enumerate(samples, 1):
            check(lib.wage_predict(self.wage, 1, self._input(x), [label], record))
            yield dataclasses.replace(_taken(record), id=number)

    def train(self, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Learns by steps of `batch` samples, the last one with what is left; no replay.

        x: (n, …) int8; labels: (n). Returns what each sample gave before its step, fields
        `prediction`, `p_label` (2^-14) and `skipped` (n).
        """
        return self._all(lib.wage_train, x, labels)

    def predict(self, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Predicts; as train(), but learns nothing."""
        return self._all(lib.wage_predict, x, labels)

    def _all(self, function: Callable[..., int], x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        count, size, step = len(x), self.info.input_bytes, self.info.batch
        labels = np.asarray(labels)
        if len(labels) != count or (x := np.ascontiguousarray(x, np.int8)).size != count * size:
            raise Refused("WAGE_E_INPUT")
        if count and not 0 <= labels.min() <= labels.max() < self.info.classes:
            raise Refused("WAGE_E_LABEL")
        data = ffi.from_buffer("int8_t[]", x)
        label = ffi.from_buffer("uint8_t[]", np.ascontiguousarray(labels, np.uint8))
        records = np.zeros(count, RECORD_DTYPE)
        out = ffi.cast("struct wage_record *", ffi.from_buffer(records))
        for at in range(0, count, step):
            some = min(step, count - at)
            check(function(self.wage, some, data + at * size, label + at, out + at))
        return records

    def _input(self, x: np.ndarray) -> Any:
        data = ffi.from_buffer("int8_t[]", np.ascontiguousarray(x, np.int8))
        if len(data) != self.info.input_bytes:
            raise Refused("WAGE_E_INPUT")
        return data

    def name_class(self, label: int, name: str) -> None:
        """Gives a class a name of at most 15 bytes."""
        text = name.encode()
        check(lib.wage_name_class(self.wage, label, text, len(text)))

    def weight_crc(self) -> int:
        """CRC-32 of all trainable weights in canonical order."""
        return lib.wage_weight_crc(self.wage)

    def state_crc(self) -> int:
        """CRC-32 of everything a checkpoint holds."""
        return lib.wage_state_crc(self.wage)

    def probe(self, x: np.ndarray, layer: int) -> int:
        """CRC-32 of what a layer (from 0) gives for an input (SPEC 8.8)."""
        if not 0 <= layer < self.wage.layer_count:
            raise Refused("WAGE_E_RANGE")
        return lib.wage_probe(self.wage, self._input(x), layer)

    def weight_bytes(self) -> bytes:
        """All trainable weights in canonical order (SPEC 7.1)."""
        room = ffi.new("uint8_t[]", lib.wage_read_weights(self.wage, 0, ffi.NULL, 0))
        lib.wage_read_weights(self.wage, 0, room, len(room))
        return bytes(ffi.buffer(room))

    def latent(self, x: np.ndarray) -> bytes:
        """Activations at the cut for one input."""
        record = ffi.new("struct wage_record *")
        check(lib.wage_predict(self.wage, 1, self._input(x), [0], record))
        return bytes(ffi.buffer(self.wage.latent, self.info.latent_bytes))

    # -- what was learned --------------------------------------------------

    def _trainable(self) -> Iterator[Any]:
        """struct wage_layer of each trainable layer, those without weights too."""
        for k in range(self.wage.frozen_count, self.wage.layer_count):
            yield self.wage.layers[k]

    def weights(self) -> list[np.ndarray]:
        """Weights that learn of each trainable layer, (out, fan-in) int16; empty without any."""
        out = []
        for layer in self._trainable():
            count = _learned(layer)
            w = _view(layer.high, count, np.int8).astype(np.int16)
            if layer.low != ffi.NULL:  # SPEC 2.4, layer.h
                w = w * np.int16(256) + _view(layer.low, count, np.int8)
            out.append(w.reshape(layer.out_c, layer.row_count) if count else NO_WEIGHTS)
        return out

    def biases(self) -> list[np.ndarray | None]:
        """Bias of each trainable layer, (out) int32, or None."""
        return [
            None if layer.bias == ffi.NULL else _view(layer.bias, layer.out_c, np.int32).copy()
            for layer in self._trainable()
        ]

    def state(self) -> dict[str, np.ndarray]:
        """All that train() changes, by name: weights w0…, biases b0…, velocities v0…, step."""
        out = {"step": np.array(self.wage.step, np.int64)}
        for k, (layer, w, b) in enumerate(
            zip(self._trainable(), self.weights(), self.biases(), strict=True)
        ):
            if w.size:
                out[f"w{k}"] = w
            if b is not None:
                out[f"b{k}"] = b
            if layer.velocity != ffi.NULL:
                out[f"v{k}"] = _view(layer.velocity, w.size, np.int16).copy()
        return out

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Takes what state() gave of the same model; else ValueError, and nothing changed."""
        if state.keys() != (mine := self.state()).keys():
            raise ValueError("the state of another model")
        for name, array in state.items():
            if array.shape != mine[name].shape or array.dtype != mine[name].dtype:
                raise ValueError(f"{name} of another model")
            low, high = self._range(name)
            if array.size and not low <= array.min() <= array.max() <= high:
                raise ValueError(f"{name} of another model")
        for k, layer in enumerate(self._trainable()):
            if f"w{k}" in state:
                _set_weights(layer, state[f"w{k}"].ravel())
            if f"b{k}" in state:
                _view(layer.bias, layer.out_c, np.int32)[:] = state[f"b{k}"]
            if f"v{k}" in state:
                _view(layer.velocity, layer.weight_count, np.int16)[:] = state[f"v{k}"]
        self.wage.step = int(state["step"])

    def _range(self, name: str) -> tuple[int, int]:
        """Of the numbers in an array of state(): the least and the largest."""
        if name == "step":
            return 0, (1 << 32) - 1
        most = {"b": lib.WAGE_BIAS_MAX, "v": INT16_MAX}.get(name[0])
        if most is None:
            most = lib.wage_weight_max(self.wage.layers + self.wage.frozen_count + int(name[1:]))
        return -most, most


def _learned(layer: Any) -> int:
    """How many weights of a layer learn."""
    return layer.weight_count if layer.store_bits else 0


def _view(pointer: Any, count: int, kind: type) -> np.ndarray:
    """The C array itself as numpy sees it."""
    if not count:
        return np.zeros(0, kind)
    return np.frombuffer(ffi.buffer(pointer, count * np.dtype(kind).itemsize), kind)


def _set_weights(layer: Any, w: np.ndarray) -> None:
    """wage_set_weight() of all weights."""
    high = w.astype(np.int32)
    if layer.low != ffi.NULL:
        high = (high + 128) >> 8
        _view(layer.low, layer.weight_count, np.int8)[:] = w - high * 256
    _view(layer.high, layer.weight_count, np.int8)[:] = high


def _taken(record: Any) -> Record:
    """A struct wage_record of this process."""
    r = record
    return Record(r.id, r.label, r.prediction, r.p_label, bool(r.skipped), False, 0)

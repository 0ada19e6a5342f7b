"""The C runtime in this process: the same bits as a board, without one."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from wage_host._core import ffi, lib
from wage_host.errors import REMEDY, ArenaError, ModelError, Refused, short

ERROR_NAMES = ffi.typeof("enum wage_err").elements
PLACES = {
    lib.WAGE_PLACE_HOST: "host",
    lib.WAGE_PLACE_EMULATOR: "emulator",
    lib.WAGE_PLACE_BOARD: "board",
}

Sample = tuple[np.ndarray, int]  # int8 activations of the model's input, label


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of learning, as struct wage_config."""

    seed: int
    lr_shift: int
    replays: int
    gain_shift: int
    threshold: int

    def __post_init__(self) -> None:
        """Refuses what does not fit struct wage_config; the runtime checks the rest."""
        small = -128 <= self.lr_shift <= 127 and all(
            0 <= n <= 255 for n in (self.replays, self.gain_shift, self.threshold)
        )
        if not small or not 0 <= self.seed < 1 << 32:
            raise Refused("WAGE_E_CONFIG")


@dataclasses.dataclass(frozen=True)
class Record:
    """What one sample gave; p_label in 2^-14, us in microseconds where it ran."""

    id: int
    label: int
    prediction: int
    p_label: int
    skipped: bool
    known: bool
    us: int


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
    by_class: tuple[tuple[int, int], ...]


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
    if error:
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
    )


class Core:
    """A model open in this process. Its methods are those of Device."""

    def __init__(self, blob: bytes, arena_bytes: int | None = None):
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

    def config(self) -> Config:
        """The settings in force."""
        c = self.wage.config
        return Config(c.seed, c.lr_shift, c.replays, c.gain_shift, c.threshold)

    def start(self, stream: int, config: Config) -> int:
        """Begins or resumes `stream`. Returns the id learned last in it."""
        given = ffi.new("struct wage_config *", dataclasses.asdict(config))
        check(lib.wage_start(self.wage, stream, given))
        return self.wage.last_id

    def learn(self, samples: Iterable[Sample]) -> Iterator[Record]:
        """Learns the samples that follow the last one learned."""
        for x, label in samples:
            yield self._run(lib.wage_learn, self.wage.last_id + 1, x, label)

    def evaluate(self, samples: Iterable[Sample]) -> Iterator[Record]:
        """Predicts each sample; learns nothing."""

        def predict(wage, _id, x, label, record):
            return lib.wage_predict(wage, x, label, record)

        for number, (x, label) in enumerate(samples, 1):
            yield dataclasses.replace(self._run(predict, 0, x, label), id=number)

    def _run(self, function, number: int, x: np.ndarray, label: int) -> Record:
        record = ffi.new("struct wage_record *")
        data = ffi.from_buffer("int8_t[]", np.ascontiguousarray(x, np.int8))
        if len(data) != self.info.input_bytes:
            raise Refused("WAGE_E_INPUT")
        check(function(self.wage, number, data, label, record))
        return Record(
            record.id,
            record.label,
            record.prediction,
            record.p_label,
            bool(record.skipped),
            False,
            0,
        )

    def weight_crc(self) -> int:
        """CRC-32 of all trainable weights in canonical order."""
        return lib.wage_weight_crc(self.wage)

    def state_crc(self) -> int:
        """CRC-32 of everything a checkpoint holds."""
        return lib.wage_state_crc(self.wage)

    def weights(self) -> list[np.ndarray]:
        """Stored weights of each trainable layer, (out, fan-in), int16."""
        layers = []
        for k in range(self.wage.frozen_count, self.wage.layer_count):
            layer = self.wage.layers[k]
            values = [
                lib.wage_weight(ffi.addressof(layer), i) for i in range(layer.weight_count)
            ]
            layers.append(np.array(values, np.int16).reshape(layer.out_c, layer.row_count))
        return layers

    def latent(self, x: np.ndarray) -> bytes:
        """Activations at the cut for one input: what a replay keeps."""
        self._run(lambda w, _i, d, y, r: lib.wage_predict(w, d, y, r), 0, x, 0)
        return bytes(ffi.buffer(self.wage.latent, self.info.latent_bytes))

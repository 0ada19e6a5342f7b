"""What a board answers, by SPEC 8: a model of the serve loop, with other people's codecs."""

# SPDX-License-Identifier: MIT

import dataclasses
import struct
import zlib

import reference as ref
from blobs import TABLE, header_fields
from cobs import cobs
from wage_host._core import lib
from wage_host.core import ERROR_NAMES, info

BODY, CRC = 6, 4  # bytes
FIELDS_KEPT, FIELDS_SPARE = 48, 8
DO = {  # fields that a request needs, and who answers it
    lib.WAGE_HELLO: (2, "hello"), lib.WAGE_START: (11, "start"), lib.WAGE_SAMPLE: (2, "sample"),
    lib.WAGE_EVAL: (2, "sample"), lib.WAGE_STATS: (0, "stats"), lib.WAGE_SAVE: (0, "save"),
    lib.WAGE_RESET: (1, "reset"), lib.WAGE_LOOK: (1, "look"), lib.WAGE_ROLLBACK: (1, "roll_back"),
    lib.WAGE_GUARD: (4, "put"), lib.WAGE_PUSH: (3, "push"), lib.WAGE_PULL: (1, "pull"),
    lib.WAGE_PROBE: (1, "probe"), lib.WAGE_CLASS: (2, "class"), lib.WAGE_FORGET: (1, "class"),
}  # fmt: skip
EMPTY = (0, 0, 0, 0, 0)  # a slot: generation, stream, last id, wear, guard asked
GUARD_BYTES, RANDOM = 4096, 0x5157
MODEL_ERRORS_OK = {lib.WAGE_HELLO, lib.WAGE_RESET, lib.WAGE_PUSH}


class RefusedError(Exception):
    """A NAK: name without WAGE_E_, and its fields A, B."""

    def __init__(self, name: str, a: int = 0, b: int = 0):
        super().__init__(name)
        self.name, self.a, self.b = "WAGE_E_" + name, a, b


@dataclasses.dataclass(frozen=True)
class Answer:
    """A frame of the board: the fields that matter, by index."""

    kind: int
    session: int
    seq: int
    fields: dict[int, int] = dataclasses.field(default_factory=dict)
    tail_bytes: int = 0  # where they depend on the model


@dataclasses.dataclass(frozen=True)
class Reply:
    """A frame taken apart."""

    kind: int
    session: int
    seq: int
    fields: tuple[int, ...]
    tail: bytes

    def fits(self, expected: Answer) -> bool:
        """Whether it says what was expected."""
        same = all(getattr(self, n) == getattr(expected, n) for n in ("kind", "session", "seq"))
        tail = expected.tail_bytes if self.kind == lib.WAGE_CLASSED else 0
        if self.kind == lib.WAGE_PULLED:
            at, total = self.fields[:2]
            tail = min(lib.WAGE_PULL_PART_BYTES, total - at)
        if self.kind not in (lib.WAGE_WELCOME, lib.WAGE_REPORT) and len(self.tail) != tail:
            return False
        return same and all(self.fields[i] == value for i, value in expected.fields.items())


def split(raw: bytes) -> list[bytes]:
    """The frames that zeros end in `raw`, without the empty ones."""
    return [frame for frame in raw.split(b"\0")[:-1] if frame]


def take_apart(raw: bytes, room: int) -> Reply:
    """A frame without its zero, or RefusedError."""
    if len(raw) > room:
        raise RefusedError("FRAME_LONG")
    try:
        inner = cobs.decode(raw)
    except cobs.DecodeError:
        raise RefusedError("COBS") from None
    if len(inner) < BODY + CRC:
        raise RefusedError("FRAME_SHORT")
    inner, crc = inner[:-CRC], inner[-CRC:]
    if zlib.crc32(inner) != int.from_bytes(crc, "little"):
        raise RefusedError("FRAME_CRC")
    kind, count, session, seq = struct.unpack_from("<BBHH", inner)
    if BODY + 4 * count > len(inner):
        raise RefusedError("PAYLOAD")
    fields = struct.unpack_from(f"<{count}I", inner, BODY)
    return Reply(kind, session, seq, fields[:FIELDS_KEPT], inner[BODY + 4 * count :])


class Board:
    """A board with this model. `model_error`: why it has none, as an enum wage_err."""

    def __init__(self, blob: bytes, store: bool = True, model_error: int = 0):
        self.model_error, self.store = model_error, store
        self.size = self.classes = self.latent = self.weight_bytes = self.layers = 0
        self.table = self.class_bytes = 0
        if model_error in (0, lib.WAGE_E_ARENA):
            header = header_fields(blob)
            self.size = header["height"] * header["width"] * header["channels"]
            self.classes = header["classes"]
            self.latent = info(blob).latent_bytes
            self.layers = header["layers"]
            self.table = bool(header["flags"] & TABLE)
            self.class_bytes = (lib.WAGE_NAME_BYTES + 2 * self.classes) * self.table
            self.weight_bytes = len(ref.weight_bytes(ref.open_model(blob)))
        most = BODY + self.size + 4 * (lib.WAGE_SAMPLE_FIELDS + FIELDS_SPARE)
        self.body = max(BODY + 4 * FIELDS_KEPT, 8 * self.classes, most)
        inner = self.body + CRC
        self.room = inner + inner // 254 + 2
        self.slots = [EMPTY] * lib.SIM_SLOTS
        self.guard = 0, 0  # in the store: set, samples
        self.unsure = False  # whether it did what this model cannot know
        self.boot()

    def boot(self) -> None:
        """As after power-on."""
        self.session = self.nonce = self.sessions = self.frame_errors = 0
        self.started = False
        self.generation, self.stream, self.last_id, self.wear, self.asked = max(self.slots)
        if self.stream < 0:  # forgotten
            self.generation = self.stream = self.last_id = 0
        self.kept, self.policy, self.erased = self.last_id, (0, 0, 0, 0), False
        self.put = (0, 0, 0)  # set and count of a guard on its way, samples so far
        self.changed = self.stored = self.restarted = False

    def answers(self, raw: bytes) -> list[Answer]:
        """What it answers to these bytes; `changed`, `stored`, `restarted`: what it did."""
        self.changed = self.stored = self.restarted = False
        out = []
        for frame in split(raw):
            out.append(self._answer(frame))
            if self.restarted:
                stored = self.stored
                self.boot()
                self.changed, self.stored, self.restarted = True, stored, True
                break  # what was still on its way is lost
        return out

    def _answer(self, raw: bytes) -> Answer:
        session = seq = 0
        try:
            try:
                m = take_apart(raw, self.room)
            except RefusedError:
                self.frame_errors += 1
                raise
            session, seq = m.session, m.seq
            kind, fields = self._do(m)
            return Answer(kind, session, seq, fields, self.class_bytes)
        except RefusedError as error:
            number = -next(n for n, name in ERROR_NAMES.items() if name == error.name)
            return Answer(lib.WAGE_NAK, session, seq, {0: number, 1: error.a, 2: error.b})

    def _do(self, m: Reply) -> tuple[int, dict[int, int]]:
        if m.kind not in DO:
            raise RefusedError("TYPE", m.kind)
        needed, answer = DO[m.kind]
        if len(m.fields) < needed:
            raise RefusedError("PAYLOAD", needed, len(m.fields))
        if m.kind != lib.WAGE_HELLO and (self.session == 0 or m.session != self.session):
            raise RefusedError("SESSION", self.nonce)
        if self.model_error and m.kind not in MODEL_ERRORS_OK:
            raise RefusedError("MODEL", -self.model_error)
        return getattr(self, f"_{answer}")(m)

    def _push(self, _: Reply) -> None:  # the store has no room for a model
        raise RefusedError("STORE_SIZE" if self.store else "STORE")

    def _stats(self, _: Reply) -> tuple[int, dict[int, int]]:
        return lib.WAGE_REPORT, self.report()

    def _pull(self, m: Reply) -> tuple[int, dict[int, int]]:
        if m.fields[0] > self.weight_bytes:
            raise RefusedError("RANGE")
        fields = {lib.WAGE_PULLED_AT: m.fields[0], lib.WAGE_PULLED_BYTES: self.weight_bytes}
        return lib.WAGE_PULLED, fields

    def welcome(self) -> dict[int, int]:
        """Fields of WELCOME that follow from what happened."""
        return {
            lib.WAGE_WELCOME_PROTOCOL: 1, lib.WAGE_WELCOME_SESSIONS: self.sessions,
            lib.WAGE_WELCOME_SESSION: self.session,
            lib.WAGE_WELCOME_BODY_BYTES: self.body,
            lib.WAGE_WELCOME_CLASSES: 0 if self.model_error else self.classes,
            lib.WAGE_WELCOME_MODEL_ERROR: -self.model_error,
            lib.WAGE_WELCOME_STREAM: self.stream, lib.WAGE_WELCOME_LAST_ID: self.last_id,
            lib.WAGE_WELCOME_GENERATION: self.generation,
            lib.WAGE_WELCOME_SLOTS: lib.SIM_SLOTS if self.store else 0,
            lib.WAGE_WELCOME_WEAR: 0 if self.model_error else self.wear,
            lib.WAGE_WELCOME_GUARD_SET: self.guard[0],
            lib.WAGE_WELCOME_GUARD_COUNT: self.guard[1],
            lib.WAGE_WELCOME_CLASS_TABLE: int(self.table and not self.model_error),
            lib.WAGE_WELCOME_PUSH_ROOM: 0, lib.WAGE_WELCOME_PUSHED: 0,
            lib.WAGE_WELCOME_GUARD_ROOM: 0 if self.model_error else self.guard_room(),
        }  # fmt: skip

    def guard_room(self) -> int:
        """Samples that a guard can have: a header of 32 bytes, then records of whole units."""
        record = -(-(self.latent + 1) // lib.SIM_PROGRAM_BYTES) * lib.SIM_PROGRAM_BYTES
        return (GUARD_BYTES - 32) // record if self.store else 0

    def report(self) -> dict[int, int]:
        """Fields of REPORT that follow from what happened."""
        return {
            lib.WAGE_REPORT_LAST_ID: self.last_id, lib.WAGE_REPORT_GENERATION: self.generation,
            lib.WAGE_REPORT_FRAME_ERRORS: self.frame_errors,
        }  # fmt: skip

    def _hello(self, m: Reply) -> tuple[int, dict[int, int]]:
        low, high = m.fields[:2]
        if m.session == 0:
            raise RefusedError("SESSION")
        if not low <= min(high, lib.WAGE_PROTOCOL_MAX) >= lib.WAGE_PROTOCOL_MIN:
            raise RefusedError("PROTOCOL", lib.WAGE_PROTOCOL_MIN, lib.WAGE_PROTOCOL_MAX)
        if m.session != self.nonce:  # port_random() always gives RANDOM in its upper half
            self.session = RANDOM + (self.session == RANDOM)
            self.nonce, self.started = m.session, False
        self.sessions += 1
        return lib.WAGE_WELCOME, self.welcome()

    def _start(self, m: Reply) -> tuple[int, dict[int, int]]:
        stream, _, lr_shift, replays, gain_shift, threshold, lr_factor = m.fields[:7]
        policy = m.fields[7:11]
        lr_shift -= lr_shift >> 31 << 32
        if not -128 <= lr_shift <= 127 or max(replays, gain_shift, threshold, lr_factor) > 255:
            raise RefusedError("CONFIG")
        if policy[0] and not self.store:
            raise RefusedError("STORE")
        if stream == 0:
            raise RefusedError("STREAM")
        good = -24 <= lr_shift <= 7 and gain_shift <= 7 and threshold <= 127
        if not good or not 1 <= lr_factor <= 15:
            raise RefusedError("CONFIG")
        if stream != self.stream:
            self.stream, self.last_id, self.changed = stream, 0, True
            self.kept = 0
        self.policy, self.started = policy, True
        self._keep_if_due()
        return lib.WAGE_STARTED, {lib.WAGE_STARTED_LAST_ID: self.last_id}

    def _probe(self, m: Reply) -> tuple[int, dict[int, int]]:
        if len(m.tail) != self.size:
            raise RefusedError("INPUT", self.size, len(m.tail))
        if m.fields[0] >= self.layers:
            raise RefusedError("RANGE")
        return lib.WAGE_PROBED, {lib.WAGE_PROBED_LAYER: m.fields[0]}

    def _class(self, m: Reply) -> tuple[int, dict[int, int]]:
        label = m.fields[0]
        if label >= self.classes:
            raise RefusedError("LABEL", self.classes, label)
        if not self.table:
            raise RefusedError("NAME")
        if m.kind == lib.WAGE_FORGET:
            self.changed = True
            if self.store:
                self._forget(self.stream, self.last_id)
                self.generation, _, _, self.wear, _ = max(self.slots)
                self.kept, self.erased = self.last_id, False
            return lib.WAGE_SAVED, {lib.WAGE_SAVED_GENERATION: self.generation}
        named = m.fields[1] != 0
        if named and len(m.tail) >= lib.WAGE_NAME_BYTES:
            raise RefusedError("NAME")
        self.changed = self.changed or named
        return lib.WAGE_CLASSED, {lib.WAGE_CLASSED_LABEL: label}

    def _sample(self, m: Reply) -> tuple[int, dict[int, int]]:
        (number, label), learn = m.fields[:2], m.kind == lib.WAGE_SAMPLE
        if len(m.tail) != self.size:
            raise RefusedError("INPUT", self.size, len(m.tail))
        if label >= self.classes:
            raise RefusedError("LABEL", self.classes, label)
        if learn and not self.started:
            raise RefusedError("STREAM")
        if learn and number > self.last_id + 1:
            raise RefusedError("ORDER", self.last_id, number)
        known = learn and number <= self.last_id
        if learn and not known:
            self.last_id, self.changed = number, True
            self._erase_ahead()
            self._keep_if_due()
        return lib.WAGE_RECORD, {
            lib.WAGE_RECORD_ID: number, lib.WAGE_RECORD_LABEL: label,
            lib.WAGE_RECORD_KNOWN: int(known), lib.WAGE_RECORD_GENERATION: self.generation,
        }  # fmt: skip

    def _save(self, _: Reply | None = None) -> tuple[int, dict[int, int]]:
        if not self.store:
            raise RefusedError("STORE")
        if self.policy[0] and self.guard[0]:
            self.asked = self.guard[0]
        self._write(self.stream, self.last_id, 1)
        self.generation, _, _, self.wear, _ = max(self.slots)
        self.kept, self.changed, self.erased = self.last_id, True, False
        return lib.WAGE_SAVED, {lib.WAGE_SAVED_GENERATION: self.generation}

    def _keep_if_due(self) -> None:
        """SPEC 7.9, but for the answers of the guard."""
        every, _, wear_max, improved = self.policy
        fresh = self.guard[0] not in (0, self.asked)
        if not every or self.last_id % every or (self.last_id == self.kept and not fresh):
            return
        self.kept, self.changed, self.erased = self.last_id, True, False
        if self.guard[0]:
            self.unsure = self.unsure or bool(improved and not fresh)
            self.asked = self.guard[0]
        if fresh or not wear_max or self.wear < wear_max:
            self._save()

    def _erase_ahead(self) -> None:
        """A checkpoint of this model lies in one erase unit."""
        if self.store and self.policy[0] and not self.erased:
            self.slots[self._next()] = EMPTY
            self.erased = self.stored = True

    def _next(self) -> int:
        """Slot of the next generation."""
        newest = max(self.slots)
        return (self.slots.index(newest) + 1) % len(self.slots) if newest[0] else 0

    def _write(self, stream: int, last_id: int, erased: int) -> None:
        """The next slot takes a generation."""
        generation, _, _, wear, _ = max(self.slots)
        new = (generation + 1, stream, last_id, wear + erased, max(self.asked, 0))
        self.slots[self._next()] = new
        self.stored = True

    def _put(self, m: Reply) -> tuple[int, dict[int, int]]:
        number, count, name, label = m.fields[:4]
        if not self.store:
            raise RefusedError("STORE")
        if len(m.tail) != self.size:
            raise RefusedError("INPUT", self.size, len(m.tail))
        if label >= self.classes:
            raise RefusedError("LABEL", self.classes, label)
        if name == 0 or not 1 <= number <= count:
            raise RefusedError("ORDER")
        if count > self.guard_room():
            raise RefusedError("STORE_SIZE")
        answer = lib.WAGE_GUARDED, {lib.WAGE_GUARDED_ID: number}
        if self.guard == (name, count) or self.put == (name, count, number):
            return answer
        if number == 1:
            self.guard, self.put = (0, 0), (name, count, 0)
            self.changed = self.stored = True
        if self.put != (name, count, number - 1):
            raise RefusedError("ORDER")
        self.put, self.changed, self.stored = (name, count, number), True, True
        if number == count:
            self.guard, self.put = (name, count), (0, 0, 0)
        return answer

    def _look(self, m: Reply) -> tuple[int, dict[int, int]]:
        slot = m.fields[0]
        if not self.store:
            raise RefusedError("STORE")
        if slot >= len(self.slots):
            raise RefusedError("STORE_SIZE")
        generation, stream, _, wear, asked = self.slots[slot]
        return lib.WAGE_SLOT, {
            lib.WAGE_SLOT_GENERATION: generation, lib.WAGE_SLOT_WEAR: wear,
            lib.WAGE_SLOT_OURS: int(generation > 0), lib.WAGE_SLOT_FORGOTTEN: int(stream < 0),
            lib.WAGE_SLOT_GUARD: asked,
        }  # fmt: skip

    def _roll_back(self, m: Reply) -> tuple[int, dict[int, int]]:
        wanted = m.fields[0]
        if not self.store:
            raise RefusedError("STORE")
        there = [slot[0] for slot in self.slots if slot[1] >= 0]
        if wanted and wanted not in there:
            raise RefusedError("NO_CHECKPOINT")
        policy, self.policy, self.asked = self.policy, (0, 0, 0, 0), 0
        answer = self._save()
        self.policy = policy
        return answer

    def _reset(self, m: Reply) -> tuple[int, dict[int, int]]:
        if m.fields[0] > lib.WAGE_FACTORY:
            raise RefusedError("CONFIG")
        if m.fields[0] == lib.WAGE_FACTORY and self.store and self.model_error:
            raise RefusedError("MODEL", -self.model_error)
        if m.fields[0] == lib.WAGE_FACTORY:
            self._forget(-1, 0)
        self.restarted = True
        return lib.WAGE_DONE, {}

    def _forget(self, stream: int, last_id: int) -> None:
        if not self.store:
            return
        self.asked = 0
        self._write(stream, last_id, len(self.slots))
        newest = max(self.slots)
        self.slots = [s if s == newest else EMPTY for s in self.slots]

"""Frames in Python: thin words around the C codec (runtime/wire.h)."""

import dataclasses
import struct
from types import SimpleNamespace

from wage_host._core import ffi, lib
from wage_host.core import ERROR_NAMES


def _names(enum: str, prefix: str) -> list[str]:
    """Field names of a message, in order, from its C enum."""
    elements = ffi.typeof(f"enum {enum}").elements
    return [elements[i].removeprefix(prefix).lower() for i in range(len(elements) - 1)]


FIELDS = {
    lib.WAGE_HELLO: _names("wage_hello_field", "WAGE_HELLO_"),
    lib.WAGE_START: _names("wage_start_field", "WAGE_START_"),
    lib.WAGE_SAMPLE: _names("wage_sample_field", "WAGE_SAMPLE_"),
    lib.WAGE_EVAL: _names("wage_sample_field", "WAGE_SAMPLE_"),
    lib.WAGE_STATS: [],
    lib.WAGE_SAVE: [],
    lib.WAGE_RESET: _names("wage_reset_field", "WAGE_RESET_"),
    lib.WAGE_LOOK: _names("wage_look_field", "WAGE_LOOK_"),
    lib.WAGE_ROLLBACK: _names("wage_rollback_field", "WAGE_ROLLBACK_"),
    lib.WAGE_WELCOME: _names("wage_welcome_field", "WAGE_WELCOME_"),
    lib.WAGE_STARTED: _names("wage_started_field", "WAGE_STARTED_"),
    lib.WAGE_RECORD: _names("wage_record_field", "WAGE_RECORD_"),
    lib.WAGE_REPORT: _names("wage_report_field", "WAGE_REPORT_"),
    lib.WAGE_SAVED: _names("wage_saved_field", "WAGE_SAVED_"),
    lib.WAGE_DONE: [],
    lib.WAGE_GUARD: _names("wage_guard_field", "WAGE_GUARD_"),
    lib.WAGE_GUARDED: _names("wage_guarded_field", "WAGE_GUARDED_"),
    lib.WAGE_PUSH: _names("wage_push_field", "WAGE_PUSH_"),
    lib.WAGE_PUSHED: _names("wage_pushed_field", "WAGE_PUSHED_"),
    lib.WAGE_PULL: _names("wage_pull_field", "WAGE_PULL_"),
    lib.WAGE_PULLED: _names("wage_pulled_field", "WAGE_PULLED_"),
    lib.WAGE_PROBE: _names("wage_probe_field", "WAGE_PROBE_"),
    lib.WAGE_PROBED: _names("wage_probed_field", "WAGE_PROBED_"),
    lib.WAGE_CLASS: _names("wage_class_field", "WAGE_CLASS_"),
    lib.WAGE_CLASSED: _names("wage_classed_field", "WAGE_CLASSED_"),
    lib.WAGE_FORGET: _names("wage_forget_field", "WAGE_FORGET_"),
    lib.WAGE_SLOT: _names("wage_slot_field", "WAGE_SLOT_"),
    lib.WAGE_TEACH: _names("wage_sample_field", "WAGE_SAMPLE_"),
    lib.WAGE_SENSE: [],
    lib.WAGE_SENSED: _names("wage_sensed_field", "WAGE_SENSED_"),
    lib.WAGE_MARKS: _names("wage_marks_field", "WAGE_MARKS_"),
    lib.WAGE_NAK: _names("wage_nak_field", "WAGE_NAK_"),
}


@dataclasses.dataclass(frozen=True)
class Message:
    """A body taken apart; `fields` are unsigned 32-bit words."""

    type: int
    session: int
    seq: int
    fields: tuple[int, ...] = ()
    tail: bytes = b""

    def named(self) -> SimpleNamespace:
        """The fields this version knows, by name; 0 for those an older peer left out."""
        names = FIELDS[self.type]
        values = self.fields + (0,) * (len(names) - len(self.fields))
        return SimpleNamespace(**dict(zip(names, values, strict=False)))


def message(kind: int, session: int, seq: int, tail: bytes = b"", **fields: int) -> Message:
    """A message of type `kind` with all of its fields by name; negative ones wrap."""
    values = tuple(fields[name] & 0xFFFFFFFF for name in FIELDS[kind])
    if len(fields) != len(values):
        raise TypeError(f"fields of message {kind} are {FIELDS[kind]}, not {list(fields)}")
    return Message(kind, session, seq, values, tail)


def body(m: Message) -> bytes:
    """A message before its CRC and its stuffing."""
    head = struct.pack("<BBHH", m.type, len(m.fields), m.session, m.seq)
    return head + struct.pack(f"<{len(m.fields)}I", *m.fields) + m.tail


def encode(m: Message) -> bytes:
    """The frame of `m`, with its closing 0x00."""
    out = ffi.new("struct wage_message *")
    out.type, out.fields, out.session, out.seq = m.type, len(m.fields), m.session, m.seq
    out.field[0 : len(m.fields)] = m.fields
    tail = ffi.new("uint8_t[]", m.tail) if m.tail else ffi.NULL
    out.tail, out.tail_bytes = tail, len(m.tail)
    room = lib.wage_frame_bytes(lib.WAGE_BODY_HEADER_BYTES + 4 * len(m.fields) + len(m.tail))
    frame = ffi.new("uint8_t[]", room)
    return bytes(ffi.buffer(frame, lib.wage_frame_encode(out, frame, room)))


class Reader:
    """Takes bytes as they come and gives messages; names of damage go to `errors`."""

    def __init__(self, frame_bytes: int = 1 << 16):
        self._buffer = ffi.new("uint8_t[]", frame_bytes)
        self._reader = ffi.new("struct wage_reader *")
        self._reader.buffer, self._reader.bytes = self._buffer, frame_bytes
        self._message = ffi.new("struct wage_message *")
        self.errors: list[str] = []

    def feed(self, data: bytes) -> list[Message]:
        """Messages that `data` completes. Names of errors go to `errors`."""
        out = []
        for byte in data:
            got = lib.wage_reader_push(self._reader, byte, self._message)
            if got < 0:
                self.errors.append(ERROR_NAMES[got])
            elif got:
                m = self._message
                out.append(
                    Message(
                        m.type,
                        m.session,
                        m.seq,
                        tuple(m.field[0 : m.fields]),
                        bytes(ffi.buffer(m.tail, m.tail_bytes)),
                    )
                )
        return out

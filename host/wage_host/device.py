"""A board over a link. Its methods are those of Core; every wait has a limit."""

import dataclasses
import secrets
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace

import numpy as np

from wage_host import wire
from wage_host._core import lib
from wage_host.core import ERROR_NAMES, PLACES, Config, Info, Record, Sample, Stats
from wage_host.errors import (
    REMEDY,
    ArenaError,
    ModelError,
    NoAnswer,
    NoStore,
    OtherModel,
    PortBusy,
    PortNotFound,
    ProtocolMismatch,
    Refused,
    short,
)
from wage_host.link import Link, LinkLost

SAVE_S = 30.0  # at least, for a checkpoint
DAMAGED = {"WAGE_E_COBS", "WAGE_E_FRAME_SHORT", "WAGE_E_FRAME_LONG", "WAGE_E_FRAME_CRC"}
FAULTS_MAX = 20  # in a row, without one answer between them


class NoReply(LinkLost):
    """Nothing is broken, but nothing came."""


def _signed(word: int) -> int:
    return word - (1 << 32) if word >> 31 else word


class Device:
    """A board that answered HELLO.

    Waits: `deadline_s` for the port and a first answer, `answer_s` for each answer, `hello_s`
    before HELLO is said again. `on_event(what, text)` hears of faults and saves.
    """

    def __init__(
        self,
        connect: Callable[[], Link],
        deadline_s: float = 30.0,
        answer_s: float = 5.0,
        hello_s: float = 1.0,
        on_event: Callable[[str, str], None] = lambda what, text: None,
        protocol: tuple[int, int] = (lib.WAGE_PROTOCOL_MIN, lib.WAGE_PROTOCOL_MAX),
    ):
        self._connect, self._deadline_s = connect, deadline_s
        self._answer_s, self._hello_s = answer_s, hello_s
        self._protocol = protocol
        self.on_event = on_event
        self._link = connect()
        self._seq = 0
        self._stream: tuple[int, Config] | None = None
        try:
            self.hello()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the port; the board goes on."""
        self._link.close()

    # -- frames ------------------------------------------------------------

    def _send(self, kind: int, tail: bytes = b"", **fields: int) -> int:
        self._seq = (self._seq + 1) & 0xFFFF
        self._link.write(wire.encode(wire.message(kind, self._session, self._seq, tail, **fields)))
        return self._seq

    def _receive(self, seq: int | None, timeout_s: float) -> wire.Message:
        """The answer to request `seq`; LinkLost after `timeout_s`, or on damage.

        None: any answer of this session, and damage is noise from before it.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            while self._inbox:
                m = self._inbox.popleft()
                if m.type == lib.WAGE_NAK and m.session == 0 and seq is not None:
                    name = ERROR_NAMES.get(-m.named().error, "")
                    if name in DAMAGED:
                        raise LinkLost(f"the board received a damaged frame ({short(name)})")
                if m.session == self._session and seq in (None, m.seq):
                    return m
            left = deadline - time.monotonic()
            if left <= 0:
                raise NoReply(f"no answer within {timeout_s:g} s")
            data = self._link.read(min(left, 0.5))
            self._inbox.extend(self._reader.feed(data))
            if seq is None:
                self._reader.errors.clear()
            elif self._reader.errors:
                raise LinkLost(f"a damaged frame came in ({short(self._reader.errors.pop())})")

    def _answer(self, seq: int | None, expected: int, timeout_s: float) -> wire.Message:
        m = self._receive(seq, timeout_s)
        if m.type == lib.WAGE_NAK:
            raise self._refusal(m.named())
        if m.type != expected:
            raise LinkLost(f"an unexpected answer came in (type {m.type})")
        return m

    def _refusal(self, nak: SimpleNamespace) -> Exception:
        name = ERROR_NAMES.get(-nak.error, "")
        if name == "WAGE_E_PROTOCOL":
            low, high = self._protocol
            older = "the board's firmware" if nak.b < low else "wage-host"
            return ProtocolMismatch(
                f"the board speaks protocol {nak.a} to {nak.b}, this host {low} to {high}: "
                f"update {older}"
            )
        if name in ("WAGE_E_SESSION", "WAGE_E_STREAM", "WAGE_E_ORDER"):
            return LinkLost(f"the board lost the thread ({short(name)})")
        if name == "WAGE_E_STORE":
            return NoStore("this board has no store, so it cannot save")
        if name == "":
            return Refused("WAGE_E_TYPE", f"the board refused with the unknown error {nak.error}")
        return Refused(name, a=nak.a, b=nak.b)

    # -- sessions ----------------------------------------------------------

    def hello(self) -> None:
        """Begins a session and learns what the board is (`welcome`, `info`)."""
        self._session = secrets.randbelow(0xFFFF) + 1
        self._reader, self._inbox = wire.Reader(), deque()
        deadline, wait_s = time.monotonic() + self._deadline_s, self._hello_s
        low, high = self._protocol
        while True:
            try:
                self._link.write(b"\0")  # ends whatever noise came before
                self._send(lib.WAGE_HELLO, protocol_min=low, protocol_max=high)
                m = self._answer(None, lib.WAGE_WELCOME, wait_s)
                break
            except LinkLost as lost:
                if time.monotonic() >= deadline:
                    raise NoAnswer(
                        f"no board answers there ({lost}): check that the firmware is WAGE's, "
                        "the port and the baud rate"
                    ) from lost
                # opening a port resets some boards, so silence alone is borne for a while
                if isinstance(lost, NoReply) and wait_s < 8 * self._hello_s:
                    wait_s *= 2
                    continue
                wait_s = self._hello_s
                self._reopen(deadline)
        self.welcome = m.named()
        self.board, _, name = m.tail.decode("utf-8", "replace").partition("\0")
        self.place = PLACES.get(self.welcome.place, "board")
        w = self.welcome
        self._generation = w.generation
        self.info = Info(
            name=name,
            crc=w.model,
            shape=(w.input_h, w.input_w, w.input_c),
            input_map=w.input_map,
            classes=w.classes,
            input_bytes=w.input_h * w.input_w * w.input_c,
            latent_bytes=w.latent_bytes,
            arena_bytes=w.arena_bytes,
        )

    def _reopen(self, deadline: float) -> None:
        """Opens the port anew, as after a replugged cable."""
        self._link.close()
        while True:
            try:
                self._link = self._connect()
                return
            except (PortNotFound, PortBusy):
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.2)

    def check_model(self) -> None:
        """Raises what keeps the board's model from being used."""
        error = ERROR_NAMES.get(-self.welcome.model_error, "unknown")
        if error == "WAGE_E_ARENA":
            raise ArenaError(
                f"the model needs an arena of {self.welcome.arena_bytes} bytes and the board has "
                f"{self.welcome.memory_bytes}: convert it with a smaller --replay, "
                "or train fewer layers"
            )
        if error != "WAGE_OK":
            remedy = REMEDY.get(error, "its firmware gives an error this host does not know")
            raise ModelError(f"the board's model is unusable: {remedy}")

    @property
    def can_save(self) -> bool:
        """Whether the board has a store that takes its model."""
        w = self.welcome
        return bool(w.store_bytes) and -w.store_error != lib.WAGE_E_STORE_SIZE

    def check_store(self) -> None:
        """Raises when the board could not read what it had saved."""
        if -self.welcome.store_error == lib.WAGE_E_STORE_IO:
            raise Refused(
                "WAGE_E_STORE_IO",
                "the board could not read its store and runs from its factory weights: check "
                "its flash, or make it forget with 'wage-host reset --factory'",
            )

    def config(self) -> Config:
        """The settings in force on the board."""
        w = self.welcome
        shift = _signed(w.lr_shift)
        return Config(w.seed, shift, w.replays, w.gain_shift, w.threshold, w.lr_factor)

    def request(self, kind: int, expected: int, **fields: int) -> wire.Message:
        """One question that may be asked twice, and its answer."""
        for _ in range(FAULTS_MAX):
            try:
                return self._answer(self._send(kind, **fields), expected, self._answer_s)
            except LinkLost as lost:
                self._recover(lost)
        raise NoAnswer("the board says HELLO but answers nothing else: check cable and baud rate")

    def _recover(self, lost: LinkLost) -> None:
        """Finds the board again after a fault, and goes on with the stream."""
        before = self.info
        for _ in range(FAULTS_MAX):
            self.on_event("fault", str(lost))
            self.hello()
            if self.info.crc != before.crc:
                raise OtherModel(
                    f"another board or model answers now ({self.info.name}, not {before.name}): "
                    "plug the first one in again"
                )
            try:
                if self._stream:
                    self._begin()
            except LinkLost as again:
                lost = again
                continue
            w = self.welcome
            self.on_event("resume", f"session {w.sessions} since boot, last sample {w.last_id}")
            return
        raise NoAnswer(f"too many faults in a row ({lost}): check cable and baud rate")

    # -- the methods of Core -----------------------------------------------

    def start(self, stream: int, config: Config) -> int:
        """Begins or resumes `stream`. Returns the id learned last in it."""
        self._stream = (stream, config)
        try:
            self._begin()
        except LinkLost as lost:
            self._recover(lost)
        return self._last_id

    def _begin(self) -> None:
        stream, config = self._stream
        seq = self._send(lib.WAGE_START, stream=stream, **dataclasses.asdict(config))
        self._last_id = self._answer(seq, lib.WAGE_STARTED, self._answer_s).named().last_id

    def learn(self, samples: Sequence[Sample], save_every: int = 0) -> Iterator[Record]:
        """Learns all samples of the stream begun with start() that the board has not yet.

        Sample k of the sequence has id k + 1. Survives faults and resets: after each it goes on
        behind the last sample that the board knows of.
        """
        return self._pump(lib.WAGE_SAMPLE, samples, lambda done: self._last_id, save_every)

    def evaluate(self, samples: Sequence[Sample]) -> Iterator[Record]:
        """Predicts each sample; learns nothing."""
        return self._pump(lib.WAGE_EVAL, samples, lambda done: done, 0)

    def _pump(
        self,
        kind: int,
        samples: Sequence[Sample],
        resume: Callable[[int], int],
        save_every: int,
    ) -> Iterator[Record]:
        done = sent = resume(0)
        saved, faults = done, 0
        waiting: deque[int] = deque()
        while done < len(samples) or (save_every and saved < done):
            try:
                at_a_save = save_every and (done % save_every == 0 or done == len(samples))
                if at_a_save and saved < done == sent:
                    self._save_once()
                    saved = done
                    continue
                end = len(samples)
                if save_every:  # do not run past the next save
                    end = min(end, (done // save_every + 1) * save_every)
                while sent < end and len(waiting) < max(1, self.welcome.window):
                    x, label = samples[sent]
                    tail = np.ascontiguousarray(x, np.int8).tobytes()
                    waiting.append(self._send(kind, tail, id=sent + 1, label=label))
                    sent += 1
                record = self._record(self._answer(waiting[0], lib.WAGE_RECORD, self._answer_s))
                waiting.popleft()
            except LinkLost as lost:
                faults += 1
                if faults > FAULTS_MAX:
                    raise NoAnswer(
                        f"{FAULTS_MAX} faults in a row ({lost}): check cable and baud rate"
                    ) from lost
                self._recover(lost)
                known = resume(done)
                if known > done:  # no answer came, but the board works
                    faults = 0
                done = sent = known
                saved = min(saved, done)
                waiting.clear()
                continue
            done, faults = record.id, 0
            yield record

    def _record(self, m: wire.Message) -> Record:
        r = m.named()
        return Record(r.id, r.label, r.prediction, r.p_label, bool(r.skipped), bool(r.known), r.us)

    def _save_once(self) -> int:
        """One checkpoint; LinkLost when it was not written. Returns its generation."""
        before = self._generation
        try:
            m = self._answer(self._send(lib.WAGE_SAVE), lib.WAGE_SAVED, max(self._answer_s, SAVE_S))
            self._generation = m.named().generation
        except LinkLost as lost:
            self._recover(lost)
            if self._generation <= before:  # else only the answer was lost
                raise
        self.on_event("save", f"checkpoint {self._generation}")
        return self._generation

    def save(self) -> int:
        """Has the board write a checkpoint. Returns its generation."""
        for _ in range(FAULTS_MAX):
            try:
                return self._save_once()
            except LinkLost:
                continue
        raise NoAnswer("the board answers HELLO but does not save: check cable and baud rate")

    def stats(self) -> Stats:
        """Counts and CRCs of the board."""
        m = self.request(lib.WAGE_STATS, lib.WAGE_REPORT)
        fields = vars(m.named())
        fields.pop("step")
        words = struct.unpack(f"<{len(m.tail) // 4}I", m.tail)
        return Stats(**fields, by_class=tuple(zip(words[::2], words[1::2], strict=True)))

    def reset(self, what: int) -> None:
        """Starts the board again: WAGE_RESTART from its checkpoint, WAGE_FACTORY from nothing."""
        self.request(lib.WAGE_RESET, lib.WAGE_DONE, what=what)
        self._stream = None
        self.hello()

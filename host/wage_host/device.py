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
    PortBusy,
    PortNotFound,
    ProtocolMismatch,
    Refused,
    short,
)
from wage_host.link import Link, LinkLost

DAMAGED = {"WAGE_E_COBS", "WAGE_E_FRAME_SHORT", "WAGE_E_FRAME_LONG", "WAGE_E_FRAME_CRC"}
FAULTS_MAX = 20  # in a row, without one answer between them


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

    def _receive(self, seq: int, timeout_s: float, noise_ok: bool) -> wire.Message:
        """The answer to request `seq`; LinkLost after `timeout_s` or on damage."""
        deadline = time.monotonic() + timeout_s
        while True:
            while self._inbox:
                m = self._inbox.popleft()
                if m.type == lib.WAGE_NAK and m.session == 0 and not noise_ok:
                    name = ERROR_NAMES.get(-m.named().error, "")
                    if name in DAMAGED:
                        raise LinkLost(f"the board received a damaged frame ({short(name)})")
                if (m.session, m.seq) == (self._session, seq):
                    return m
            left = deadline - time.monotonic()
            if left <= 0:
                raise LinkLost(f"no answer within {timeout_s:g} s")
            data = self._link.read(min(left, 0.5))
            self._inbox.extend(self._reader.feed(data))
            if self._reader.errors and not noise_ok:
                raise LinkLost(f"a damaged frame came in ({short(self._reader.errors.pop())})")

    def _answer(
        self, seq: int, expected: int, timeout_s: float | None = None, noise_ok: bool = False
    ) -> wire.Message:
        m = self._receive(seq, timeout_s or self._answer_s, noise_ok)
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
            return NoStore("this board has no store, so it cannot save: leave out saving")
        if name == "":
            return Refused("WAGE_E_TYPE", f"the board refused with the unknown error {nak.error}")
        return Refused(name, a=nak.a, b=nak.b)

    # -- sessions ----------------------------------------------------------

    def hello(self) -> None:
        """Begins a session and learns what the board is (`welcome`, `info`)."""
        self._session = secrets.randbelow(0xFFFF) + 1
        deadline = time.monotonic() + self._deadline_s
        low, high = self._protocol
        while True:
            self._reader, self._inbox = wire.Reader(), deque()
            try:
                self._link.write(b"\0")  # ends whatever noise came before
                seq = self._send(lib.WAGE_HELLO, protocol_min=low, protocol_max=high)
                m = self._answer(seq, lib.WAGE_WELCOME, self._hello_s, noise_ok=True)
                self._reader.errors.clear()
                break
            except LinkLost as lost:
                if time.monotonic() >= deadline:
                    raise NoAnswer(
                        f"no board answers there ({lost}): check that the firmware is WAGE's, "
                        "the port and the baud rate"
                    ) from lost
                self._reopen(deadline)
        self.welcome = m.named()
        self.board, _, name = m.tail.decode("utf-8", "replace").partition("\0")
        self.place = PLACES.get(self.welcome.place, "board")
        w = self.welcome
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
        error = ERROR_NAMES[-self.welcome.model_error]
        if error == "WAGE_E_ARENA":
            raise ArenaError(
                f"the model needs an arena of {self.welcome.arena_bytes} bytes and the board has "
                f"{self.welcome.memory_bytes}: convert it with a smaller --replay, "
                "or train fewer layers"
            )
        if error != "WAGE_OK":
            raise ModelError(f"the board's model is unusable: {REMEDY[error]}")

    def config(self) -> Config:
        """The settings in force on the board."""
        w = self.welcome
        return Config(w.seed, _signed(w.lr_shift), w.replays, w.gain_shift, w.threshold)

    def request(self, kind: int, expected: int, **fields: int) -> wire.Message:
        """One question that may be asked twice, and its answer."""
        for _ in range(FAULTS_MAX):
            try:
                return self._answer(self._send(kind, **fields), expected)
            except LinkLost as lost:
                self._recover(lost)
        raise NoAnswer("the board says HELLO but answers nothing else: check cable and baud rate")

    def _recover(self, lost: LinkLost) -> None:
        """Finds the board again after a fault, and goes on with the stream."""
        for _ in range(FAULTS_MAX):
            self.on_event("fault", str(lost))
            self.hello()
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
        self._last_id = self._answer(seq, lib.WAGE_STARTED).named().last_id

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
                if save_every and saved < done == sent and (
                    done % save_every == 0 or done == len(samples)
                ):
                    self.save_now()
                    saved = done
                    continue
                end = len(samples)
                if save_every:  # do not run past the next save
                    end = min(end, (done // save_every + 1) * save_every)
                while sent < end and len(waiting) < self.welcome.window:
                    x, label = samples[sent]
                    tail = np.ascontiguousarray(x, np.int8).tobytes()
                    waiting.append(self._send(kind, tail, id=sent + 1, label=label))
                    sent += 1
                record = self._record(self._answer(waiting[0], lib.WAGE_RECORD))
                waiting.popleft()
            except LinkLost as lost:
                faults += 1
                if faults > FAULTS_MAX:
                    raise NoAnswer(
                        f"{FAULTS_MAX} faults in a row ({lost}): check cable and baud rate"
                    ) from lost
                self._recover(lost)
                done = sent = resume(done)
                saved = min(saved, done)
                waiting.clear()
                continue
            done, faults = record.id, 0
            yield record

    def _record(self, m: wire.Message) -> Record:
        r = m.named()
        return Record(
            r.id, r.label, r.prediction, r.p_label, bool(r.skipped), bool(r.known), r.us
        )

    def save_now(self) -> int:
        """Asks for a checkpoint once; LinkLost when no answer comes. Returns its generation."""
        m = self._answer(self._send(lib.WAGE_SAVE), lib.WAGE_SAVED, max(self._answer_s, 30.0))
        generation = m.named().generation
        self.on_event("save", f"checkpoint {generation}")
        return generation

    def save(self) -> int:
        """Has the board write a checkpoint. Returns its generation."""
        generation = self.request(lib.WAGE_SAVE, lib.WAGE_SAVED).named().generation
        self.on_event("save", f"checkpoint {generation}")
        return generation

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

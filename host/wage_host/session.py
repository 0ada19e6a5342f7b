"""A board over a link: frames, sessions, and finding it again. Every wait has a limit."""

import dataclasses
import hmac
import secrets
import struct
import time
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from wage_host import auth, wire
from wage_host._core import lib
from wage_host.core import ERROR_NAMES, PLACES, Config, Info
from wage_host.errors import (
    REMEDY,
    ArenaError,
    KeyWanted,
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

SEQ_MAX = 0xFFFF
DAMAGED = {"WAGE_E_COBS", "WAGE_E_FRAME_SHORT", "WAGE_E_FRAME_LONG", "WAGE_E_FRAME_CRC"}
UNTAGGED = {"WAGE_E_SESSION", "WAGE_E_AUTH"}  # said to whoever has no session
FAULTS_MAX = 20  # in a row, without one answer between them


class NoReply(LinkLost):
    """Nothing is broken, but nothing came."""


class Garbled(LinkLost):
    """Something came, but no answer."""


Mark = tuple[int, int]  # enum wage_phase, microseconds
OnMarks = Callable[[list[Mark], int, int, float], None]


def _signed(word: int) -> int:
    return word - (1 << 32) if word >> 31 else word


class Session:
    """A board that answered HELLO.

    Waits, by `clock`: `deadline_s` for the port and an answer to HELLO, `answer_s` for each other
    answer, `hello_s` before HELLO is said again. It gives up after FAULTS_MAX faults in a row.
    `on_event(what, text)` hears of faults and saves, of these also `generation` or `score`.
    `on_marks(marks, lost, us, heard_s)` hears before each record when its phases began, if the
    board can tell it (welcome.marks): (enum wage_phase, microseconds of the board's clock, which
    wraps at 2^32), how many found no room, that clock when the board sent them, and `clock` when
    they came.
    """

    def __init__(
        self,
        connect: Callable[[], Link],
        deadline_s: float = 30.0,
        answer_s: float = 5.0,
        hello_s: float = 1.0,
        on_event: Callable[..., None] = lambda what, text, **_: None,
        protocol: tuple[int, int] = (lib.WAGE_PROTOCOL_MIN, lib.WAGE_PROTOCOL_MAX),
        clock: Any = time,
        key: bytes | None = None,
        on_marks: OnMarks | None = None,
    ):
        self.on_marks = on_marks
        self._connect, self._deadline_s = connect, deadline_s
        self._answer_s, self._hello_s = answer_s, hello_s
        self._protocol, self._clock = protocol, clock
        self.on_event = on_event
        self._link, self._heard_s = connect(), clock.monotonic()
        self._seq = self._faults = 0
        self._nonces: set[int] = set()
        self._key, self._session_key = key, b""  # empty: frames have no tags
        try:
            self.hello()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the port; the board goes on."""
        self._link.close()

    # -- frames ------------------------------------------------------------

    def _send(self, kind: int, tail: bytes = b"", **fields: int) -> int:
        if self._session_key and self._seq == SEQ_MAX:
            raise LinkLost("the session's numbers are used up")
        self._seq = (self._seq + 1) & SEQ_MAX
        m = wire.message(kind, self._session, self._seq, tail, **fields)
        if self._session_key:
            m = dataclasses.replace(m, tail=tail + auth.tag(self._session_key, lib.AUTH_HOST, m))
        self._link.write(wire.encode(m))
        return self._seq

    def _untagged(self, m: wire.Message) -> wire.Message:
        """A message of this session without its tag; LinkLost when it is not the board's."""
        if not self._session_key:
            return m
        name = ERROR_NAMES.get(-m.named().error, "") if m.type == lib.WAGE_NAK else ""
        if name in UNTAGGED and not m.tail:
            return m
        bare = dataclasses.replace(m, tail=m.tail[: -lib.AUTH_TAG_BYTES])
        expected = auth.tag(self._session_key, lib.AUTH_BOARD, bare)
        if not hmac.compare_digest(m.tail[-lib.AUTH_TAG_BYTES :], expected):
            raise LinkLost("a frame came in that is not the board's")
        return bare

    def _receive(self, seq: int | None, timeout_s: float) -> wire.Message:
        """The answer to request `seq`; LinkLost after `timeout_s`, or on damage.

        None: any answer of this session, and damage is noise from before it.
        """
        deadline, heard = self._clock.monotonic() + timeout_s, False
        while True:
            while self._inbox:
                m = self._inbox.popleft()
                if m.type == lib.WAGE_NAK and m.session == 0 and seq is not None:
                    name = ERROR_NAMES.get(-m.named().error, "")
                    if name in DAMAGED:
                        raise LinkLost(f"the board received a damaged frame ({short(name)})")
                if m.session != self._session or seq not in (None, m.seq):
                    continue
                m = self._untagged(m)
                if m.type != lib.WAGE_MARKS:
                    return m
                self._tell_marks(m)
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise (Garbled if heard else NoReply)(f"no answer within {timeout_s:g} s")
            data = self._link.read(min(left, 0.5))
            self._heard_s = self._clock.monotonic()
            heard = heard or bool(data)
            self._inbox.extend(self._reader.feed(data))
            if seq is None:
                self._reader.errors.clear()
            elif self._reader.errors:
                raise LinkLost(f"a damaged frame came in ({short(self._reader.errors.pop())})")

    def _tell_marks(self, m: wire.Message) -> None:
        """Hands on when phases began, if somebody asked."""
        if self.on_marks:
            size = lib.WAGE_MARK_BYTES
            marks = list(struct.iter_unpack("<BI", m.tail[: len(m.tail) // size * size]))
            self.on_marks(marks, m.named().lost, m.named().us, self._heard_s)

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
        if name == "WAGE_E_SESSION" and nak.a not in (0, *self._nonces):
            return PortBusy(REMEDY[name])
        if name in ("WAGE_E_SESSION", "WAGE_E_STREAM", "WAGE_E_ORDER", "WAGE_E_AUTH"):
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
        self._nonces.add(self._session)
        self._session_key, self._seq = b"", 0
        nonce = secrets.randbits(32), secrets.randbits(32)
        self._reader, self._inbox = wire.Reader(), deque()
        deadline, wait_s = self._clock.monotonic() + self._deadline_s, self._hello_s
        low, high = self._protocol
        while True:
            try:
                self._link.write(b"\0")  # ends whatever noise came before
                words = {
                    "nonce_a": nonce[0],
                    "nonce_b": nonce[1],
                    "marks": int(bool(self.on_marks)),
                }
                self._send(lib.WAGE_HELLO, protocol_min=low, protocol_max=high, **words)
                left = deadline - self._clock.monotonic()
                m = self._answer(None, lib.WAGE_WELCOME, min(wait_s, left))
                break
            except LinkLost as lost:
                if self._clock.monotonic() >= deadline:
                    raise NoAnswer(
                        f"no board answers there ({lost}): check that the firmware is WAGE's, "
                        "the port and the baud rate"
                    ) from lost
                if isinstance(lost, Garbled):
                    continue
                # opening a port resets some boards, so silence alone is borne for a while
                if isinstance(lost, NoReply) and wait_s < 8 * self._hello_s:
                    wait_s *= 2
                    continue
                wait_s = self._hello_s
                self._reopen(deadline)
        m = self._authenticate(m, nonce)
        self.welcome = m.named()
        self._session = self.welcome.session
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
            replay_bytes=w.replay_bytes,
            arena_bytes=w.arena_bytes,
        )

    def _authenticate(self, m: wire.Message, nonce: tuple[int, int]) -> wire.Message:
        """WELCOME without its tag; from here on frames have tags when there is a key."""
        w = m.named()
        if bool(w.keyed) != bool(self._key):
            raise KeyWanted(
                "this board has a key: give --key FILE with the one it was built with"
                if w.keyed
                else "this board has no key, so anything could answer in its place: build it with "
                "the key, or leave out --key"
            )
        if not self._key:
            return m
        self._session_key = auth.session_key(self._key, nonce, (w.nonce_a, w.nonce_b))
        try:
            return self._untagged(m)
        except LinkLost:
            raise KeyWanted("the board has another key: give --key FILE with its own") from None

    def _reopen(self, deadline: float) -> None:
        """Opens the port anew, as after a replugged cable."""
        self._link.close()
        while True:
            try:
                self._link = self._connect()
                return
            except (PortNotFound, PortBusy):
                if self._clock.monotonic() >= deadline:
                    raise
                self._clock.sleep(0.2)

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

    def request(
        self, kind: int, expected: int, tail: bytes = b"", patience_s: float = 0.0, **fields: int
    ) -> wire.Message:
        """One question that may be asked twice, and its answer; patience_s: for it, at least."""
        patience_s = max(self._answer_s, patience_s)
        while True:
            try:
                m = self._answer(self._send(kind, tail, **fields), expected, patience_s)
                self._faults = 0
                return m
            except LinkLost as lost:
                self._recover(lost)

    def _endure(self, lost: LinkLost) -> None:
        """Counts a fault; NoAnswer when there were too many in a row."""
        self._faults += 1
        if self._faults > FAULTS_MAX:
            raise NoAnswer(
                f"{FAULTS_MAX} faults in a row ({lost}): check cable and baud rate"
            ) from lost
        self.on_event("fault", str(lost))

    def _recover(self, lost: LinkLost) -> None:
        """Finds the board again after a fault, and goes on with the stream."""
        while True:
            self._endure(lost)
            before = self.info
            self.hello()
            if self.info.crc != before.crc:
                raise OtherModel(
                    f"another board or model answers now ({self.info.name}, not {before.name}): "
                    "plug the first one in again"
                )
            try:
                self._go_on()
            except LinkLost as again:
                lost = again
                continue
            w = self.welcome
            self.on_event("resume", f"session {w.sessions} since boot, last sample {w.last_id}")
            return

    def _go_on(self) -> None:
        """What a new session needs to go on where the last one stopped; LinkLost when it cannot."""

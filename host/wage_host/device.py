"""A board that learns over a link. Its methods are those of Core."""

import dataclasses
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace

import numpy as np

from wage_host import wire
from wage_host._core import lib
from wage_host.core import ClassState, Config, Policy, Record, Sample, Stats, info
from wage_host.errors import NoAnswer, Refused
from wage_host.link import LinkLost
from wage_host.session import FAULTS_MAX, Session

SAVE_S = 30.0  # at least, for a checkpoint


class Device(Session):
    """A board that answered HELLO, and what it can be asked for."""

    saved_id = 0  # last sample that we saw saved: of an earlier host we do not know it
    _stream: tuple[int, Config, Policy] | None = None
    _last_id = 0

    def __enter__(self) -> "Device":
        return self

    def _go_on(self) -> None:
        if self._stream:
            self._check_stream()
            self._begin()

    def _check_stream(self) -> None:
        """Raises when another stream was begun meanwhile: ours would begin anew on top."""
        w, before = self.welcome, self._stream_before
        went_back = w.stream == before.stream and w.last_id <= before.last_id
        if w.stream == lib.WAGE_FIELD_STREAM:  # it may have learned more by itself
            went_back = w.state_crc == before.state_crc
        if w.stream not in (0, self._stream[0]) and not went_back:
            raise Refused(
                "WAGE_E_STREAM",
                "the board has learned something else meanwhile, from another program or by "
                "itself: close the other program and start a new run",
            )

    @property
    def last_id(self) -> int:
        """The sample of the stream that the board learned last, as far as it has said."""
        return self._last_id

    def start(self, stream: int, config: Config, policy: Policy | None = None) -> int:
        """Begins or resumes `stream`. Returns the id learned last in it."""
        self._stream, self.saved_id = (stream, config, policy or Policy()), 0
        self._stream_before = self.welcome
        try:
            self._begin()
        except LinkLost as lost:
            self._recover(lost)
        self._faults = 0
        return self._last_id

    def _begin(self) -> None:
        stream, config, policy = self._stream
        fields = dataclasses.asdict(config) | dataclasses.asdict(policy)
        seq = self._send(lib.WAGE_START, stream=stream, **fields)
        patience_s = self._patience_s(0, policy)
        self._last_id = self._answer(seq, lib.WAGE_STARTED, patience_s).named().last_id

    def _patience_s(self, id: int, policy: Policy) -> float:
        """How long the answer about a sample may take: the board may save before it."""
        due = policy.every and id % policy.every == 0 and (id or self.welcome.guard_count)
        return max(self._answer_s, SAVE_S) if due else self._answer_s

    def guard(self, samples: Sequence[Sample], set: int) -> Iterator[int]:
        """Puts a held-out set named `set` (not 0) into the board's store.

        Gives the number of each sample put.
        """
        done = 0
        while done < len(samples):
            x, label = samples[done]
            tail = np.ascontiguousarray(x, np.int8).tobytes()
            fields = {"id": done + 1, "count": len(samples), "set": set, "label": label}
            try:
                seq = self._send(lib.WAGE_GUARD, tail, **fields)
                self._answer(seq, lib.WAGE_GUARDED, max(self._answer_s, SAVE_S))
            except LinkLost as lost:
                self._recover(lost)
                done = 0  # the board begins with the first one
                continue
            done, self._faults = done + 1, 0
            yield done

    def learn(self, samples: Sequence[Sample], save: bool = False) -> Iterator[Record]:
        """Learns all samples of the stream begun with start() that the board has not yet.

        Sample k of the sequence has id k + 1. Survives faults and resets: after each it goes on
        behind the last sample that the board knows of. `save`: all of it is saved in the end.
        """
        return self._pump(lib.WAGE_SAMPLE, samples, lambda done: self._last_id, save)

    def teach(self, label: int, count: int) -> Iterator[Record]:
        """Has the board learn `count` of its own inputs, each as it comes, as this class.

        Its own samples have ids of their own. Waits `answer_s` for each input at most.
        """
        done, deadline = 0, self._clock.monotonic() + self._answer_s
        while done < count:
            id = self._own_samples() + 1
            try:
                seq = self._send(lib.WAGE_TEACH, id=id, label=label)
                record = self._record(self._answer(seq, lib.WAGE_RECORD, SAVE_S))
            except LinkLost as lost:
                self._recover(lost)
                done += self._own_samples() >= id  # the answer was lost, not the sample
                deadline = self._clock.monotonic() + self._answer_s
                continue
            except Refused as refused:
                self._await_input(refused, deadline)
                continue
            deadline = self._clock.monotonic() + self._answer_s
            self.welcome.stream, self.welcome.last_id = lib.WAGE_FIELD_STREAM, record.id
            done, self._faults = done + 1, 0
            self._tell_kept(record.kept, record.score, record.generation)
            yield record

    def sense(self, rate: float = 0.0) -> Iterator[tuple[np.ndarray, int | None]]:
        """Inputs that the board senses, one after the other, none twice; nothing is learned.

        Gives each as int8 in the model's shape, and the class that a button says, or None. At most
        `rate` of them a second, 0: as they come. Waits `answer_s` for each at most.
        """
        due = self._clock.monotonic()
        deadline = due + self._answer_s
        while True:
            try:
                m = self.request(lib.WAGE_SENSE, lib.WAGE_SENSED)
            except Refused as refused:
                self._await_input(refused, deadline)
                continue
            if len(m.tail) != self.info.input_bytes:
                raise NoAnswer("the board gives inputs of another size: update its firmware")
            label = m.named().label
            x = np.frombuffer(m.tail, np.int8).reshape(self.info.shape)
            yield x, label if label < self.info.classes else None
            due = max(due + 1 / rate if rate else 0.0, self._clock.monotonic())
            self._clock.sleep(max(0.0, due - self._clock.monotonic()))
            deadline = self._clock.monotonic() + self._answer_s

    def _await_input(self, refused: Refused, deadline: float) -> None:
        """A little, when it has no new input yet; NoAnswer after the deadline."""
        if refused.name != "WAGE_E_INPUT":
            raise refused
        self._faults = 0
        if self._clock.monotonic() >= deadline:
            raise NoAnswer(
                f"the board sensed nothing for {self._answer_s:g} s: check its sensor"
            ) from refused
        self._clock.sleep(0.005)

    def _own_samples(self) -> int:
        """How many of its own inputs it has learned, since it learned another stream."""
        w = self.welcome
        return w.last_id if w.stream == lib.WAGE_FIELD_STREAM else 0

    def evaluate(self, samples: Sequence[Sample]) -> Iterator[Record]:
        """Predicts each sample; learns nothing."""
        return self._pump(lib.WAGE_EVAL, samples, lambda done: done, False)

    def _pump(
        self,
        kind: int,
        samples: Sequence[Sample],
        resume: Callable[[int], int],
        save: bool,
    ) -> Iterator[Record]:
        done = sent = most = resume(0)
        setbacks = 0
        waiting: deque[int] = deque()
        while done < len(samples) or (save and self.saved_id < done):
            try:
                if done >= len(samples):
                    self._save_once()
                    self.saved_id = done
                    continue
                while sent < len(samples) and len(waiting) < max(1, self.welcome.window):
                    x, label = samples[sent]
                    tail = np.ascontiguousarray(x, np.int8).tobytes()
                    waiting.append(self._send(kind, tail, id=sent + 1, label=label))
                    sent += 1
                policy = self._stream[2] if kind == lib.WAGE_SAMPLE else Policy()
                patience_s = self._patience_s(done + 1, policy)
                record = self._record(self._answer(waiting[0], lib.WAGE_RECORD, patience_s))
                waiting.popleft()
            except LinkLost as lost:
                self._recover(lost)
                known = resume(done)
                if known < done:
                    setbacks += 1
                    if setbacks > FAULTS_MAX:
                        raise NoAnswer(
                            f"the board starts again and again, and has not come past sample "
                            f"{most}: check its power supply"
                        ) from lost
                if known > done:  # no answer came, but the board works
                    self._faults = 0
                done = sent = known
                if kind == lib.WAGE_SAMPLE:
                    self.saved_id = min(self.saved_id, done)
                waiting.clear()
                continue
            done, self._faults = record.id, 0
            if kind == lib.WAGE_SAMPLE:
                self._last_id = done
            if done > most:
                most, setbacks = done, 0
            self._tell_kept(record.kept, record.score, record.generation)
            if record.kept == lib.WAGE_SAVED_NOW:
                self.saved_id = done
            yield record

    def _tell_kept(self, kept: int, score: int, generation: int) -> None:
        """What the board did about its store."""
        if kept == lib.WAGE_REFUSED:
            text = f"the guard refused: back to a score of {score}"
            self.on_event("refused", text, score=score)
        if kept == lib.WAGE_SAVED_NOW:
            self.on_event("save", f"checkpoint {generation}", generation=generation)

    def _record(self, m: wire.Message) -> Record:
        r = m.named()
        flags = bool(r.skipped), bool(r.known)
        kept = r.kept, r.score, r.generation
        return Record(r.id, r.label, r.prediction, r.p_label, *flags, r.us, *kept)

    def _save_once(self) -> int:
        """One checkpoint; LinkLost when nobody said that it was written. Returns its generation."""
        seq = self._send(lib.WAGE_SAVE)
        m = self._answer(seq, lib.WAGE_SAVED, max(self._answer_s, SAVE_S))
        self._faults, saved = 0, m.named()
        self._tell_kept(saved.kept, saved.score, saved.generation)
        return saved.generation

    def save(self) -> int:
        """Has the board write a checkpoint. Returns its generation."""
        while True:
            try:
                return self._save_once()
            except LinkLost as lost:
                self._recover(lost)

    def checkpoints(self) -> list[SimpleNamespace]:
        """What each slot of the store holds, as struct wage_checkpoint."""
        slots = range(self.welcome.slots)
        return [self.request(lib.WAGE_LOOK, lib.WAGE_SLOT, slot=k).named() for k in slots]

    def rollback(self, generation: int) -> int:
        """Back to the weights of a checkpoint, or the factory's (0). Returns the new one's number.

        Asked once only: a second time would make another checkpoint.
        """
        seq = self._send(lib.WAGE_ROLLBACK, generation=generation)
        try:
            m = self._answer(seq, lib.WAGE_SAVED, max(self._answer_s, SAVE_S))
            return m.named().generation
        except LinkLost as lost:
            before = self.welcome.generation
            self._recover(lost)
            if self.welcome.generation == before:
                raise
            return self.welcome.generation

    def stats(self) -> Stats:
        """Counts and CRCs of the board."""
        m = self.request(lib.WAGE_STATS, lib.WAGE_REPORT)
        fields = vars(m.named())
        fields.pop("step")
        words = struct.unpack(f"<{len(m.tail) // 4}I", m.tail)
        return Stats(**fields, by_class=tuple(zip(words[::2], words[1::2], strict=True)))

    def push(self, blob: bytes) -> Iterator[int]:
        """Puts a model into the board's store, from where it runs when all of it is there.

        Gives the number of bytes that are. Until the last one the board has no model; reset()
        gives up, and the board runs from the model of its image.
        """
        crc, done = info(blob).crc, 0
        room = self.welcome.body_bytes - lib.WAGE_BODY_HEADER_BYTES - 4 * lib.WAGE_PUSH_FIELDS
        part = room // lib.WAGE_PUSH_PART_BYTES * lib.WAGE_PUSH_PART_BYTES
        while done < len(blob):
            tail = blob[done : done + part]
            try:
                seq = self._send(lib.WAGE_PUSH, tail, at=done, bytes=len(blob), crc=crc)
                m = self._receive(seq, max(self._answer_s, SAVE_S))
                if m.type == lib.WAGE_NAK and m.named().error == -lib.WAGE_E_ORDER:
                    done = m.named().a  # it was restarted, or knows more
                    continue
                if m.type == lib.WAGE_NAK:
                    raise self._refusal(m.named())
                done, self._faults = m.named().done, 0
            except LinkLost as lost:
                self._endure(lost)
                self.hello()
                if self.welcome.pushed and self.welcome.model == crc:
                    done = len(blob)
            yield done
        self.hello()

    def pull(self) -> Iterator[bytes]:
        """The weights that the board learned (SPEC 7.1), part by part."""
        at, total, crc = 0, 1, 0
        while at < total:
            m = self.request(lib.WAGE_PULL, lib.WAGE_PULLED, at=at)
            total = m.named().bytes
            if not m.tail and at < total:
                raise NoAnswer("the board gives no more weights than it has: update its firmware")
            at, crc = at + len(m.tail), zlib.crc32(m.tail, crc)
            yield m.tail
        if crc != self.stats().weight_crc:
            raise Refused(
                "WAGE_E_ORDER", "the board learned while its weights were read: pull again"
            )

    def probe(self, x: np.ndarray, layer: int) -> int:
        """CRC-32 of what a layer (from 0) gives for an input (SPEC 8.8)."""
        tail = np.ascontiguousarray(x, np.int8).tobytes()
        m = self.request(lib.WAGE_PROBE, lib.WAGE_PROBED, tail, layer=layer)
        return m.named().crc

    def class_state(self, label: int, name: str | None = None) -> ClassState:
        """What the board has of a class, after giving it a name when there is one."""
        named = {"label": label, "named": int(name is not None)}
        m = self.request(lib.WAGE_CLASS, lib.WAGE_CLASSED, (name or "").encode(), **named)
        f = m.named()
        counts = f.seen, f.correct, f.total, f.stored
        text = m.tail[: lib.WAGE_NAME_BYTES].split(b"\0")[0].decode("utf-8", "replace")
        times = struct.unpack(f"<{self.info.classes}H", m.tail[lib.WAGE_NAME_BYTES :])
        return ClassState(*counts, text, times)

    def class_states(self) -> list[ClassState]:
        """Of all classes."""
        return [self.class_state(label) for label in range(self.info.classes)]

    def name_class(self, label: int, name: str) -> None:
        """Gives a class a name of at most 15 bytes."""
        self.class_state(label, name)
        self.hello()  # WELCOME tells the CRC of a state with this name

    def forget_class(self, label: int) -> int:
        """Has the board forget a class, in its store too. Returns the new checkpoint's number."""
        m = self.request(lib.WAGE_FORGET, lib.WAGE_SAVED, patience_s=SAVE_S, label=label)
        return m.named().generation

    def drop_pushed(self) -> None:
        """Back to the model of the board's image."""
        while True:
            try:
                seq = self._send(lib.WAGE_PUSH, at=0, bytes=0, crc=0)
                self._answer(seq, lib.WAGE_PUSHED, max(self._answer_s, SAVE_S))
                break
            except LinkLost as lost:  # once more does no harm
                self._endure(lost)
                self.hello()
        self.hello()

    def reset(self, what: int) -> None:
        """Starts the board again: WAGE_RESTART from its checkpoint, WAGE_FACTORY from nothing."""
        self.request(lib.WAGE_RESET, lib.WAGE_DONE, what=what)
        self._stream = None
        self.hello()

"""The log: one SQLite file of runs. Only this module writes it; tables.py says what is in it."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from wage_host import tables
from wage_host.core import Sample, info
from wage_host.errors import LogError

COMMIT_S = 0.5  # longest time that a record waits in memory
BEAT_S = 5.0  # between two signs of life of a live run
CUT_OFF_S = 15.0  # without one, the process that wrote it is gone
BLOCK = 256  # samples sent are kept in blocks of so many, each once

RECORD = np.dtype([
    ("id", "<i8"), ("label", "<i4"), ("prediction", "<i4"),
    ("p_label", "<i4"),  # probability of the label, unit 2^-14
    ("skipped", "?"), ("known", "?"), ("us", "<i8"),
])
PACK = struct.Struct("<q3i2?q").pack  # the same

Sent = tuple[int, str, int, bytes, bytes]  # run, what, first, labels, inputs


def default_path() -> Path:
    """Where the log is unless the user says otherwise: $WAGE_LOG, else ./wage.sqlite."""
    return Path(os.environ.get("WAGE_LOG") or "wage.sqlite")


def _now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _text(text: str) -> str:
    """A string that UTF-8 can hold: undecodable bytes of a path become escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _json(value: object) -> str:
    """JSON of plain values; numpy scalars become numbers, all else its text."""
    return json.dumps(value, default=lambda v: v.item() if isinstance(v, np.generic) else str(v))


def _blocks(sent: Iterable[Sent]) -> Iterator[Sent]:
    """What follows each other within a block, as one."""
    whole: Sent | None = None
    for part in sent:
        if whole and whole[:2] == part[:2] and whole[2] + len(whole[3]) == part[2] \
                and (part[2] - 1) % BLOCK:
            whole = (*whole[:3], whole[3] + part[3], whole[4] + part[4])
            continue
        if whole:
            yield whole
        whole = part
    if whole:
        yield whole


def _ranges(ids: Sequence[int]) -> str:
    """Sorted numbers in few words: '1 to 4, 6'."""
    spans: list[list[int]] = []
    for i in ids:
        if spans and spans[-1][-1] == i - 1:
            spans[-1] = [spans[-1][0], i]
        else:
            spans.append([i])
    return ", ".join(" to ".join(map(str, span)) for span in spans)


def _run_dict(row: sqlite3.Row, tags: list[str]) -> dict[str, Any]:
    """A row of SELECT_RUNS with its JSON read; cut_off: it never ended, and nobody writes it."""
    read = {k: dict(json.loads(row[k])) for k in ("conditions", "summary")}
    silent = datetime.now(timezone.utc) - datetime.fromisoformat(row["touched"])
    cut_off = row["state"] == "live" and silent.total_seconds() > CUT_OFF_S
    return dict(row) | read | {"tags": tags, "cut_off": cut_off}


class Log:
    """A file of runs, held open; a context manager. Threads may share one."""

    def __init__(self, path: Path, create: bool = True) -> None:
        """Opens the log; `create` False refuses a file that is not there."""
        self.path = Path(path)
        self._db = tables.connect(self.path, create)
        self._lock = threading.RLock()
        self._live: set[int] = set()
        self._waiting: list[tuple[int, Any]] = []  # run, record
        self._sent: list[Sent] = []
        self._closing = threading.Event()
        self._writer: threading.Thread | None = None
        self._fault: LogError | None = None

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Closes; an exception ends the live runs as interrupted or failed."""
        try:
            for run in sorted(self._live) if kind else ():
                state = "interrupted" if issubclass(kind, KeyboardInterrupt) else "failed"
                self.end(run, state, {"error": str(error) or kind.__name__})
        finally:
            self.close()

    def close(self) -> None:
        """Writes what waits and lets go of the file."""
        self._closing.set()
        if self._writer:
            self._writer.join()
        with self._lock:
            try:
                self.flush()
            finally:
                self._db.close()

    # writing

    def begin(self, command: str, conditions: dict[str, Any], blob: bytes | None = None) -> int:
        """Opens a run under its command line and conditions; returns its id.

        `blob`: the board's model, without which the run cannot be replayed.
        """
        now = _now()
        crc = info(blob).crc if blob else None
        with self._transaction():
            if blob:
                self._db.execute(tables.ADD_MODEL, (crc, blob))
            row = (_text(command), _json(conditions), now, now, crc)
            run = self._db.execute(tables.ADD_RUN, row).lastrowid
        self._live.add(run)
        if not self._writer:
            self._writer = threading.Thread(target=self._write_on, daemon=True)
            self._writer.start()
        return run

    def record(self, run: int, record: Any) -> None:
        """Adds what came back for one sample; it is in the file within COMMIT_S.

        It never waits for the disk: a board is at the other end.
        """
        if run not in self._live:
            self._check_live(run)
        if self._fault:
            raise self._fault
        self._waiting.append((run, record))

    def sent(self, run: int, what: str, first: int, samples: Sequence[Sample]) -> None:
        """Adds samples that the board gets, `first` the number of the first (from 1).

        what: 'sample' of the stream, or 'guard'. To be called before what comes back is recorded.
        Blocks that begin at 1, 1 + BLOCK, … are kept once, however many runs send the same.
        """
        self._check_live(run)
        labels = bytes([label for _, label in samples])
        inputs = np.array([x for x, _ in samples], np.int8).tobytes()
        self._sent.append((run, what, first, labels, inputs))

    def evaluation(self, run: int, when: str, at_sample: int, labels: Sequence[int],
                   predictions: Sequence[int], place: str) -> None:
        """Adds a test over held-out samples; `when` is 'before', 'after' or another word."""
        self._check_live(run)
        if len(labels) != len(predictions):
            raise LogError(f"{len(labels)} labels but {len(predictions)} predictions")
        lists = (_json(np.asarray(a, dtype=np.int64).tolist()) for a in (labels, predictions))
        with self._transaction():
            row = (run, _now(), _text(when), int(at_sample), _text(place), *lists)
            self._db.execute(tables.ADD_EVALUATION, row)

    def event(self, run: int, what: str, text: str, at_sample: int = 0,
              generation: int | None = None, score: int | None = None) -> None:
        """Adds something that happened: a link fault, a save, a reconnection.

        at_sample: the last one that was learned then; of checkpoints also what they are.
        """
        self._check_live(run)
        with self._transaction():
            row = (run, _now(), at_sample, _text(what), _text(text), generation, score)
            self._db.execute(tables.ADD_EVENT, row)

    def write(self, run: int, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Executes a statement for each row, in one transaction; for tables of others (tables.py).

        It waits for the disk: gather rows of what comes fast.
        """
        self._check_live(run)
        with self._transaction():
            self._db.executemany(sql, rows)

    def end(self, run: int, state: Literal["done", "interrupted", "failed"],
            summary: dict[str, Any]) -> None:
        """Ends a run; nothing can be added to it afterwards."""
        self._check_live(run)
        now = _now()
        with self._transaction():
            self._db.execute(tables.END_RUN, (state, now, now, _json(summary), run))
        self._live.discard(run)

    def tag(self, run: int, tags: Sequence[str], remove: bool = False) -> None:
        """Adds words to a run, or takes them away."""
        self._check(run)
        sql = ("DELETE FROM tag WHERE run = ? AND tag = ?" if remove else
               "INSERT OR IGNORE INTO tag (run, tag) VALUES (?, ?)")
        with self._transaction():
            self._db.executemany(sql, [(run, _text(tag)) for tag in tags])

    def delete(self, runs: Sequence[int]) -> None:
        """Deletes runs with all that belongs to them, and inputs and models of no other run."""
        for run in runs:
            row = self.run(run)
            if row["state"] == "live" and not row["cut_off"]:
                raise LogError(f"run {run} is live: end it first, or wait {CUT_OFF_S:.0f} s if "
                               "its process is gone")
        with self._transaction():
            self._db.executemany("DELETE FROM run WHERE id = ?", [(run,) for run in runs])
            for sql in tables.ORPHANS:
                self._db.execute(sql)
        with self._lock:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the journal has it, too

    def flush(self) -> None:
        """Writes the records that wait."""
        with self._lock:
            if self._waiting or self._sent:
                with self._transaction():
                    pass

    # reading

    def runs(self) -> list[dict[str, Any]]:
        """All runs, oldest first, as run() gives them."""
        tags: dict[int, list[str]] = {}
        for row in self.read("SELECT run, tag FROM tag ORDER BY run, tag"):
            tags.setdefault(row["run"], []).append(row["tag"])
        with self.whole():
            return [_run_dict(row, tags.get(row["id"], []))
                    for row in self.read(f"{tables.SELECT_RUNS} ORDER BY id")]

    def run(self, run: int) -> dict[str, Any]:
        """One run: id, command, conditions, times, state, summary, count of records, tags, model
        (its CRC, None when the log does not have it), cut_off.
        """
        self._check(run)
        tags = [row[0] for row in self.read("SELECT tag FROM tag WHERE run = ? ORDER BY tag", run)]
        with self.whole():
            return _run_dict(self.read(f"{tables.SELECT_RUNS} WHERE id = ?", run)[0], tags)

    def blob(self, run: int) -> bytes | None:
        """The model of a run, None when the log does not have it."""
        self._check(run)
        sql = "SELECT blob FROM model JOIN run ON run.model = model.crc WHERE run.id = ?"
        return next((row[0] for row in self.read(sql, run)), None)

    def samples(self, run: int, what: str) -> Iterator[tuple[int, int, np.ndarray]]:
        """What sent() was given of a run: number, label, input (input bytes) int8."""
        self._check(run)
        for first, labels, inputs in self.read(tables.SELECT_SENT, run, what):
            with self.whole():
                x = np.frombuffer(inputs, np.int8).reshape(len(labels), -1)
                numbers = range(first, first + len(labels))
            yield from zip(numbers, labels, x, strict=True)

    def records(self, run: int) -> np.ndarray:
        """The records of a run in order of arrival, as an array of dtype RECORD."""
        self._check(run)
        rows = self.read("SELECT records FROM record WHERE run = ? ORDER BY n", run)
        with self.whole():
            parts = [np.frombuffer(row[0], RECORD) for row in rows]
        return np.concatenate([np.zeros(0, RECORD), *parts])

    def evaluations(self, run: int) -> list[dict[str, Any]]:
        """The evaluations of a run in order, labels and predictions as int arrays."""
        self._check(run)
        with self.whole():
            return [dict(row) | {k: np.array(json.loads(row[k]), dtype=np.int64).reshape(-1)
                                 for k in ("labels", "predictions")}
                    for row in self.read(tables.SELECT_EVALUATIONS, run)]

    def events(self, run: int) -> list[dict[str, Any]]:
        """The events of a run in order: time, at_sample, what, text, generation, score."""
        self._check(run)
        return [dict(row) for row in self.read(tables.SELECT_EVENTS, run)]

    def last(self) -> int | None:
        """The newest run, or None."""
        return self.read("SELECT max(id) FROM run")[0][0]

    def read(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """All rows of a query, records that wait included."""
        with self._lock:
            self.flush()
            try:
                return self._db.execute(sql, values).fetchall()
            except (sqlite3.Error, ValueError) as error:
                raise LogError(f"cannot read the log {self.path}: {error}") from error

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Says that the log is damaged when what it holds cannot be read."""
        try:
            yield
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
            raise LogError(f"the log {self.path} is damaged ({error}): take a copy of it that is "
                           "whole, or another one") from None

    # inside

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One transaction, which begins with what waits."""
        with self._lock:
            begun = failed = False
            records, sent = len(self._waiting), len(self._sent)
            try:
                self._db.execute("BEGIN IMMEDIATE")
                begun = True
                self._write_waiting(self._sent[:sent], self._waiting[:records])
                yield
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                failed = True
                raise LogError(f"cannot write to the log {self.path}: {error}") from error
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                elif begun and not failed:  # committed, even if Ctrl-C came just then
                    del self._waiting[:records], self._sent[:sent]

    def _write_waiting(self, sent: list[Sent], records: list[tuple[int, Any]]) -> None:
        """What was sent, then what came back."""
        for run, what, first, labels, inputs in _blocks(sent):
            digest = hashlib.sha256(b"%d " % len(labels) + labels + inputs).digest()
            self._db.execute(tables.ADD_INPUT, (digest, labels, inputs))
            self._db.execute(tables.ADD_SENT, (run, what, first, digest))
        packed: dict[int, list[bytes]] = {}
        for run, r in records:
            packed.setdefault(run, []).append(
                PACK(r.id, r.label, r.prediction, r.p_label, r.skipped, r.known, r.us))
        for run, parts in packed.items():
            self._db.execute(tables.ADD_RECORDS, (run, len(parts), b"".join(parts)))
            self._db.execute(tables.TOUCH, (_now(), run))

    def _write_on(self) -> None:
        """Writes what waits, and signs of life; a failure is raised by the next record."""
        beat = time.monotonic()
        while not self._closing.wait(COMMIT_S):
            try:
                with self._lock:
                    self.flush()
                    if time.monotonic() - beat >= BEAT_S:
                        beat = time.monotonic()
                        with self._transaction():
                            now = _now()
                            self._db.executemany(tables.TOUCH, [(now, r) for r in self._live])
            except LogError as error:
                self._fault = error

    def _check(self, run: int) -> None:
        """Refuses a run that is not in the file."""
        ids = [row[0] for row in self.read("SELECT id FROM run ORDER BY id")]
        if run not in ids:
            held = f"it holds {_ranges(ids)}" if ids else "it holds no run yet"
            raise LogError(f"there is no run {run} in {self.path}: {held}")

    def _check_live(self, run: int) -> None:
        """Refuses to add to a run that this log did not begin, or has ended."""
        if run not in self._live:
            raise LogError(f"run {run} is not live here: begin a run before adding to it")

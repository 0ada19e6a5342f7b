"""The log: one SQLite file of runs. Only this module writes such files."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from wage_host.errors import LogError

COMMIT_S = 0.5  # longest time that a record waits in memory
BUSY_S = 10.0  # longest wait for another process that writes
APPLICATION = int.from_bytes(b"WAGE", "big")  # marks the file as ours
VERSION = 1  # of the tables below
MAGIC = b"SQLite format 3\0"

RECORD = np.dtype([
    ("id", "i8"), ("label", "i4"), ("prediction", "i4"),
    ("p_label", "i4"),  # probability of the label, unit 2^-14
    ("skipped", "?"), ("known", "?"), ("us", "i8"),
])

# WAL: a killed run loses nothing committed, and a reader never makes the live run wait.
OPEN = ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL")

CREATE = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS run (
    id INTEGER PRIMARY KEY AUTOINCREMENT, command TEXT NOT NULL,
    conditions TEXT NOT NULL, started TEXT NOT NULL, touched TEXT NOT NULL, ended TEXT,
    state TEXT NOT NULL CHECK (state IN ('live', 'done', 'interrupted', 'failed')),
    summary TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS record (
    n INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run, id INTEGER NOT NULL,
    label INTEGER NOT NULL, prediction INTEGER NOT NULL, p_label INTEGER NOT NULL,
    skipped INTEGER NOT NULL, known INTEGER NOT NULL, us INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS record_run ON record (run);
CREATE TABLE IF NOT EXISTS evaluation (
    n INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run, time TEXT NOT NULL,
    "when" TEXT NOT NULL, at_sample INTEGER NOT NULL, place TEXT NOT NULL,
    labels TEXT NOT NULL, predictions TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS event (
    n INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run, time TEXT NOT NULL,
    what TEXT NOT NULL, text TEXT NOT NULL);
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
COMMIT;
"""

ADD_RUN = """INSERT INTO run (command, conditions, started, touched, state, summary)
             VALUES (?, ?, ?, ?, 'live', '{}')"""
ADD_RECORD = f"""INSERT INTO record (run, {", ".join(RECORD.names)})
                 VALUES (?{", ?" * len(RECORD.names)})"""
ADD_EVALUATION = """INSERT INTO evaluation
                    (run, time, "when", at_sample, place, labels, predictions)
                    VALUES (?, ?, ?, ?, ?, ?, ?)"""
ADD_EVENT = "INSERT INTO event (run, time, what, text) VALUES (?, ?, ?, ?)"
END_RUN = "UPDATE run SET state = ?, ended = ?, touched = ?, summary = ? WHERE id = ?"
RUNS = "SELECT *, (SELECT count(*) FROM record WHERE run = run.id) AS records FROM run"
EVALUATIONS = """SELECT time, "when", at_sample, place, labels, predictions
                 FROM evaluation WHERE run = ? ORDER BY n"""


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


def _ranges(ids: Sequence[int]) -> str:
    """Sorted numbers in few words: '1 to 4, 6'."""
    spans: list[list[int]] = []
    for i in ids:
        if spans and spans[-1][-1] == i - 1:
            spans[-1] = [spans[-1][0], i]
        else:
            spans.append([i])
    return ", ".join(" to ".join(map(str, span)) for span in spans)


def _run_dict(row: sqlite3.Row) -> dict[str, Any]:
    """A row of RUNS with its JSON read."""
    return dict(row) | {k: json.loads(row[k]) for k in ("conditions", "summary")}


def _head(path: Path) -> bytes:
    """The first bytes of a file."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC))
    except OSError as error:
        raise LogError(f"cannot open the log {path}: {error.strerror}") from error


def _connect(path: Path, create: bool) -> sqlite3.Connection:
    """Opens the file; one that is not ours is refused and left as it was."""
    if not create and not path.exists():
        raise LogError(f"there is no log at {path}: no run has been logged there yet")
    if path.is_file() and _head(path) not in (b"", MAGIC):  # SQLite would overwrite a short one
        raise LogError(f"{path} is not a log of WAGE runs, and no SQLite file at all")
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    try:
        db = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None,
                             check_same_thread=False)
    except sqlite3.Error as error:
        raise LogError(f"cannot open the log {path}: {error}") from error
    try:
        owner = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if owner != APPLICATION and (owner or version or tables):
            raise LogError(f"{path} is not a log of WAGE runs, but another SQLite file")
        if version > VERSION:
            raise LogError(f"the log {path} has format {version}, from a newer wage-host; "
                           f"this one reads up to {VERSION}")
        for pragma in OPEN:
            db.execute(pragma)
        if not owner:
            db.executescript(CREATE)
    except sqlite3.Error as error:
        db.close()
        raise LogError(f"{path} cannot be used as a log of WAGE runs: {error}") from error
    except LogError:
        db.close()
        raise
    db.row_factory = sqlite3.Row
    return db


class Log:
    """A file of runs, held open; a context manager. Threads may share one."""

    def __init__(self, path: Path, create: bool = True) -> None:
        """Opens the log; `create` False refuses a file that is not there."""
        self.path = Path(path)
        self._db = _connect(self.path, create)
        self._lock = threading.RLock()
        self._live: set[int] = set()
        self._waiting: list[tuple[int, ...]] = []
        self._timer: threading.Timer | None = None
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
        with self._lock:
            if self._timer:
                self._timer.cancel()
            try:
                self.flush()
            finally:
                self._db.close()

    # writing

    def begin(self, command: str, conditions: dict[str, Any]) -> int:
        """Opens a run under its command line and conditions; returns its id."""
        now = _now()
        with self._transaction():
            row = (_text(command), _json(conditions), now, now)
            run = self._db.execute(ADD_RUN, row).lastrowid
        self._live.add(run)
        return run

    def record(self, run: int, record: Any) -> None:
        """Adds what came back for one sample; it is in the file within COMMIT_S."""
        self._check_live(run)
        row = (run, *(int(getattr(record, name)) for name in RECORD.names))
        with self._lock:
            if self._fault:
                raise self._fault
            self._waiting.append(row)
            if self._timer is None:
                self._timer = threading.Timer(COMMIT_S, self._on_timer)
                self._timer.start()

    def evaluation(self, run: int, when: str, at_sample: int, labels: Sequence[int],
                   predictions: Sequence[int], place: str) -> None:
        """Adds a test over held-out samples; `when` is 'before', 'after' or another word."""
        self._check_live(run)
        if len(labels) != len(predictions):
            raise LogError(f"{len(labels)} labels but {len(predictions)} predictions")
        lists = (_json(np.asarray(a, dtype=np.int64).tolist()) for a in (labels, predictions))
        with self._transaction():
            row = (run, _now(), _text(when), int(at_sample), _text(place), *lists)
            self._db.execute(ADD_EVALUATION, row)

    def event(self, run: int, what: str, text: str) -> None:
        """Adds something that happened: a link fault, a save, a reconnection."""
        self._check_live(run)
        with self._transaction():
            self._db.execute(ADD_EVENT, (run, _now(), _text(what), _text(text)))

    def end(self, run: int, state: Literal["done", "interrupted", "failed"],
            summary: dict[str, Any]) -> None:
        """Ends a run; nothing can be added to it afterwards."""
        self._check_live(run)
        now = _now()
        with self._transaction():
            self._db.execute(END_RUN, (state, now, now, _json(summary), run))
        self._live.discard(run)

    def flush(self) -> None:
        """Writes the records that wait."""
        with self._lock:
            if self._waiting:
                with self._transaction():
                    pass

    # reading

    def runs(self) -> list[dict[str, Any]]:
        """All runs, oldest first."""
        return [_run_dict(row) for row in self._rows(f"{RUNS} ORDER BY id")]

    def run(self, run: int) -> dict[str, Any]:
        """One run: id, command, conditions, times, state, summary, count of records."""
        self._check(run)
        return _run_dict(self._rows(f"{RUNS} WHERE id = ?", run)[0])

    def records(self, run: int) -> np.ndarray:
        """The records of a run in order of arrival, as an array of dtype RECORD."""
        self._check(run)
        sql = f"SELECT {', '.join(RECORD.names)} FROM record WHERE run = ? ORDER BY n"
        return np.array([tuple(row) for row in self._rows(sql, run)], dtype=RECORD)

    def evaluations(self, run: int) -> list[dict[str, Any]]:
        """The evaluations of a run in order, labels and predictions as int arrays."""
        self._check(run)
        return [dict(row) | {k: np.array(json.loads(row[k]), dtype=np.int64)
                             for k in ("labels", "predictions")}
                for row in self._rows(EVALUATIONS, run)]

    def events(self, run: int) -> list[dict[str, Any]]:
        """The events of a run in order: time, what, text."""
        self._check(run)
        sql = "SELECT time, what, text FROM event WHERE run = ? ORDER BY n"
        return [dict(row) for row in self._rows(sql, run)]

    def last(self) -> int | None:
        """The newest run, or None."""
        return self._rows("SELECT max(id) FROM run")[0][0]

    # inside

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One transaction, which begins with the records that wait."""
        with self._lock:
            begun = failed = False
            try:
                self._db.execute("BEGIN IMMEDIATE")
                begun = True
                self._db.executemany(ADD_RECORD, self._waiting)
                for run in {row[0] for row in self._waiting}:
                    self._db.execute("UPDATE run SET touched = ? WHERE id = ?", (_now(), run))
                yield
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                failed = True
                raise LogError(f"cannot write to the log {self.path}: {error}") from error
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                elif begun and not failed:  # committed, even if Ctrl-C came just then
                    self._waiting.clear()

    def _on_timer(self) -> None:
        """Writes what waits; a failure is raised by the next record."""
        with self._lock:
            self._timer = None
            try:
                self.flush()
            except LogError as error:
                self._fault = error

    def _rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """All rows of a query, records that wait included."""
        with self._lock:
            self.flush()
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise LogError(f"cannot read the log {self.path}: {error}") from error

    def _check(self, run: int) -> None:
        """Refuses a run that is not in the file."""
        ids = [row[0] for row in self._rows("SELECT id FROM run ORDER BY id")]
        if run not in ids:
            held = f"it holds {_ranges(ids)}" if ids else "it holds no run yet"
            raise LogError(f"there is no run {run} in {self.path}: {held}")

    def _check_live(self, run: int) -> None:
        """Refuses to add to a run that this log did not begin, or has ended."""
        if run not in self._live:
            raise LogError(f"run {run} is not live here: begin a run before adding to it")

"""The tables of the log, in SQL, and how its file is opened.

A part of the host that logs something of its own (its own module, which imports nothing of
wage_host.log) adds its CREATE text to PARTS and writes and reads with Log.write() and Log.read().
Rules: 1) each of its tables has a column `run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE`
and an index that begins with it, so that a deleted run takes its rows along; 2) CREATE statements
say IF NOT EXISTS (two processes may begin a file at once), end with a semicolon and leave
transactions to the log; 3) who changes a table raises VERSION: there is no migration.
"""

import sqlite3
from pathlib import Path

from wage_host.errors import LogError
from wage_host.power.tables import POWER

BUSY_S = 10.0  # longest wait for another process that writes
APPLICATION = int.from_bytes(b"WAGE", "big")  # marks the file as ours
VERSION = 4  # of the tables
MAGIC = b"SQLite format 3\0"

RUNS = """
CREATE TABLE IF NOT EXISTS model (crc INTEGER PRIMARY KEY, blob BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS run (
    id INTEGER PRIMARY KEY AUTOINCREMENT, command TEXT NOT NULL,
    conditions TEXT NOT NULL, started TEXT NOT NULL, touched TEXT NOT NULL, ended TEXT,
    state TEXT NOT NULL CHECK (state IN ('live', 'done', 'interrupted', 'failed')),
    summary TEXT NOT NULL, model INTEGER REFERENCES model);
CREATE TABLE IF NOT EXISTS tag (
    run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, tag TEXT NOT NULL,
    PRIMARY KEY (run, tag)) WITHOUT ROWID;
"""

# What came back. A board may be fast, so a row of `record` has all that came between two commits:
# `count` times 34 bytes, little-endian, of id (8), label, prediction, p_label (4 each; probability
# of the label, unit 2^-14), skipped, known (1 each), us (8; microseconds where it ran).
ANSWERS = """
CREATE TABLE IF NOT EXISTS record (
    n INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    count INTEGER NOT NULL, records BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS record_run ON record (run);
CREATE TABLE IF NOT EXISTS evaluation (
    n INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    time TEXT NOT NULL, "when" TEXT NOT NULL, at_sample INTEGER NOT NULL, place TEXT NOT NULL,
    labels TEXT NOT NULL, predictions TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS evaluation_run ON evaluation (run);
CREATE TABLE IF NOT EXISTS event (
    n INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    time TEXT NOT NULL, at_sample INTEGER NOT NULL, what TEXT NOT NULL, text TEXT NOT NULL,
    generation INTEGER, score INTEGER);
CREATE INDEX IF NOT EXISTS event_run ON event (run);
CREATE VIEW IF NOT EXISTS checkpoint AS SELECT run, time, at_sample, generation, score,
    what = 'refused' AS refused FROM event WHERE what IN ('save', 'refused');
CREATE VIEW IF NOT EXISTS fault AS SELECT run, time, at_sample, what, text
    FROM event WHERE what IN ('fault', 'resume', 'lost');
"""

# What was sent: labels (count) uint8 and inputs (count, input bytes) int8 of consecutive samples.
INPUTS = """
CREATE TABLE IF NOT EXISTS input (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, labels BLOB NOT NULL,
    bytes BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS sent (
    n INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    what TEXT NOT NULL CHECK (what IN ('sample', 'guard')), first INTEGER NOT NULL,
    input INTEGER NOT NULL REFERENCES input);
CREATE INDEX IF NOT EXISTS sent_run ON sent (run);
CREATE INDEX IF NOT EXISTS sent_input ON sent (input);
"""

PARTS = (RUNS, ANSWERS, INPUTS, POWER)

# WAL: a killed run loses nothing committed, and a reader never makes the live run wait.
# secure_delete: what is deleted is overwritten.
OPEN = ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA foreign_keys = ON",
        "PRAGMA secure_delete = ON")

CREATE = f"""
BEGIN IMMEDIATE;
{"".join(PARTS)}
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
COMMIT;
"""

ADD_MODEL = "INSERT OR IGNORE INTO model (crc, blob) VALUES (?, ?)"
ADD_RUN = """INSERT INTO run (command, conditions, started, touched, state, summary, model)
             VALUES (?, ?, ?, ?, 'live', '{}', ?)"""
ADD_RECORDS = "INSERT INTO record (run, count, records) VALUES (?, ?, ?)"
ADD_INPUT = "INSERT OR IGNORE INTO input (digest, labels, bytes) VALUES (?, ?, ?)"
ADD_SENT = """INSERT INTO sent (run, what, first, input)
              SELECT ?, ?, ?, id FROM input WHERE digest = ?"""
ADD_EVALUATION = """INSERT INTO evaluation
                    (run, time, "when", at_sample, place, labels, predictions)
                    VALUES (?, ?, ?, ?, ?, ?, ?)"""
ADD_EVENT = """INSERT INTO event (run, time, at_sample, what, text, generation, score)
               VALUES (?, ?, ?, ?, ?, ?, ?)"""
TOUCH = "UPDATE run SET touched = ? WHERE id = ?"
END_RUN = "UPDATE run SET state = ?, ended = ?, touched = ?, summary = ? WHERE id = ?"
SELECT_RUNS = """SELECT *, (SELECT coalesce(sum(count), 0) FROM record WHERE run = run.id)
                 AS records FROM run"""
SELECT_EVALUATIONS = """SELECT time, "when", at_sample, place, labels, predictions
                 FROM evaluation WHERE run = ? ORDER BY n"""
SELECT_EVENTS = """SELECT time, at_sample, what, text, generation, score
            FROM event WHERE run = ? ORDER BY n"""
SELECT_SENT = """SELECT first, labels, bytes FROM sent JOIN input ON input.id = sent.input
          WHERE run = ? AND what = ? ORDER BY n"""
ORPHANS = ("DELETE FROM input WHERE id NOT IN (SELECT input FROM sent)",
           "DELETE FROM model WHERE crc NOT IN (SELECT model FROM run WHERE model IS NOT NULL)")


def _head(path: Path) -> bytes:
    """The first bytes of a file."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC))
    except OSError as error:
        raise LogError(f"cannot open the log {path}: {error.strerror}") from error


def connect(path: Path, create: bool) -> sqlite3.Connection:
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
        if owner and version != VERSION:
            raise LogError(f"the log {path} has format {version}, from "
                           f"{'a newer' if version > VERSION else 'an older'} wage-host; this one "
                           f"reads format {VERSION}: name another file with --log")
        for pragma in OPEN:
            db.execute(pragma)
        if not owner:
            db.executescript(CREATE)
    except (sqlite3.Error, ValueError) as error:  # ValueError: its text is no UTF-8
        db.close()
        raise LogError(f"{path} cannot be used as a log of WAGE runs: {error}") from error
    except LogError:
        db.close()
        raise
    db.row_factory = sqlite3.Row
    return db

"""The log: what is put in comes out, and a kill at any moment loses half a second at most."""

# SPDX-License-Identifier: MIT

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from wage_host import log as log_module
from wage_host.core import Record
from wage_host.errors import LogError, WageError
from wage_host.log import RECORD, Log, default_path
from wage_host.tables import BUSY_S

PACKAGE = Path(log_module.__file__).parents[1]


def some_records(count: int, seed: int = 0) -> list[Record]:
    """Records with values over their whole ranges."""
    rng = np.random.default_rng(seed)
    return [Record(int(rng.integers(2**32)), int(rng.integers(100)), int(rng.integers(100)),
                   int(rng.integers(2**14 + 1)), bool(rng.integers(2)), bool(rng.integers(2)),
                   int(rng.integers(2**32))) for _ in range(count)]


def as_rows(records: list[Record]) -> list[tuple]:
    """Records as plain tuples, in the order of the dtype."""
    return [tuple(getattr(r, name) for name in RECORD.names) for r in records]


def child(code: str, path: Path) -> subprocess.Popen:
    """A second process that runs `code` with Log and Record defined and `path` set."""
    head = ("import sys, time\nfrom pathlib import Path\nfrom collections import namedtuple\n"
            "from wage_host.log import Log\npath = Path(sys.argv[1])\n"
            f"Record = namedtuple('Record', {list(RECORD.names)!r})\n")
    return subprocess.Popen([sys.executable, "-c", head + code, str(path)], text=True,
                            stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(PACKAGE)})


def test_log_roundtrip(tmp_path: Path) -> None:
    path, records = tmp_path / "a.sqlite", some_records(1000)
    conditions = {"board": "microbit", "seed": 7, "lr_shift": -8, "new_classes": [5, 6],
                  "names": ["ä", "<b>", "😀"], "model_crc": 0xFFFFFFFF, "nothing": None,
                  "rate": 0.1, "live": True}
    labels, predictions = np.arange(5), [4, 3, 2, 1, 0]
    with Log(path) as log:
        run = log.begin("wage-host learn --seed 7", conditions)
        log.evaluation(run, "before", 0, labels, predictions, "host")
        for record in records:
            log.record(run, record)
        log.event(run, "link", "fault\nand 'quotes'")
        log.evaluation(run, "after", 1000, [], [], "board")
        log.end(run, "done", {"weight_crc": 0xDEADBEEF})
    assert [p.name for p in tmp_path.iterdir()] == ["a.sqlite"]  # no journal is left
    with Log(path, create=False) as log:
        row = log.run(run)
        assert row["conditions"] == conditions
        assert row["command"] == "wage-host learn --seed 7"
        assert (row["state"], row["summary"]) == ("done", {"weight_crc": 0xDEADBEEF})
        assert (row["id"], row["records"]) == (run, 1000)
        assert row["started"] <= row["touched"] <= row["ended"]
        assert log.records(run).dtype == RECORD
        assert log.records(run).tolist() == as_rows(records)
        first, last = log.evaluations(run)
        assert (first["when"], first["at_sample"], first["place"]) == ("before", 0, "host")
        assert first["labels"].tolist() == labels.tolist()
        assert first["predictions"].tolist() == predictions
        assert first["labels"].dtype.kind == last["labels"].dtype.kind == "i"
        assert len(last["labels"]) == len(last["predictions"]) == 0
        assert [(e["what"], e["text"]) for e in log.events(run)] == [
            ("link", "fault\nand 'quotes'")]
        assert log.runs() == [row]
        assert log.last() == run


def test_log_takes_numpy_values_and_undecodable_text(tmp_path: Path) -> None:
    with Log(tmp_path / "a.sqlite") as log:
        run = log.begin("learn \udcff.npz", {"classes": np.int64(10), "data": Path("x.npz")})
        log.record(run, Record(*np.arange(4), np.bool_(True), True, np.int32(6)))
        log.end(run, "done", {"accuracy": np.float64(0.5)})
        assert log.run(run)["conditions"] == {"classes": 10, "data": "x.npz"}
        assert log.run(run)["command"] == "learn \\udcff.npz"
        assert log.run(run)["summary"] == {"accuracy": 0.5}
        assert log.records(run).tolist() == [(0, 1, 2, 3, True, True, 6)]


def test_log_keeps_runs_apart(tmp_path: Path) -> None:
    with Log(tmp_path / "a.sqlite") as log:
        assert log.last() is None
        assert log.runs() == []
        runs = [log.begin(f"run {i}", {}) for i in range(3)]
        many = [some_records(50, seed) for seed in range(3)]
        for row in zip(*many, strict=True):
            for run, record in zip(runs, row, strict=True):
                log.record(run, record)
        for run, records in zip(runs, many, strict=True):
            assert log.records(run).tolist() == as_rows(records)
        assert log.last() == runs[-1]


def test_log_killed_keeps_all_but_the_last_half_second(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    code = """
log = Log(path)
run = log.begin("learn", {"seed": 1})
i = 0
while True:
    i += 1
    log.record(run, Record(i, i % 10, 0, 0, False, False, 5))
    print(i, time.monotonic(), flush=True)
    time.sleep(0.001)
"""
    with child(code, path) as process:
        lines = []
        begin = time.monotonic()
        while time.monotonic() - begin < 1.7:
            lines.append(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        lines += process.stdout.readlines()
        assert process.wait() == -signal.SIGKILL
    put = [(int(i), float(t)) for i, t in (line.split() for line in lines if line.endswith("\n"))]
    slack = 0.25  # a commit takes time on a slow disk
    due = sum(t < killed - log_module.COMMIT_S - slack for _, t in put)
    with Log(path) as log:
        ids = log.records(log.last())["id"]
        assert log.run(log.last())["state"] == "live"
    assert due > 100
    assert due <= len(ids) <= len(put) + 1
    assert ids.tolist() == list(range(1, len(ids) + 1))


def test_log_stalled_and_killed_keeps_the_last_record(tmp_path: Path) -> None:
    code = """
log = Log(path)
run = log.begin("learn", {})
for i in range(3):
    log.record(run, Record(i, 0, 0, 0, False, False, 5))
print("put", flush=True)
time.sleep(60)
"""
    path = tmp_path / "a.sqlite"
    with child(code, path) as process:
        assert process.stdout.readline() == "put\n"
        time.sleep(log_module.COMMIT_S + 0.5)
        process.kill()
    with Log(path) as log:
        assert log.records(1)["id"].tolist() == [0, 1, 2]


def test_log_second_process_reads_while_live(tmp_path: Path) -> None:
    path, records = tmp_path / "a.sqlite", some_records(20)
    code = "log = Log(path)\nprint(log.run(1)['state'], len(log.records(1)), flush=True)\n"
    with Log(path) as log:
        run = log.begin("learn", {})
        for record in records:
            log.record(run, record)
        time.sleep(log_module.COMMIT_S + 0.5)
        with child(code, path) as process:
            assert process.stdout.read() == "live 20\n"
        log.record(run, records[0])  # the reader has not disturbed the writer
        log.end(run, "done", {})
        assert len(log.records(run)) == 21


def test_log_stopped_reader_does_not_hold_up_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    code = """
log = Log(path)
log._db.execute("BEGIN")
log.runs()
print("reading", flush=True)
time.sleep(60)
"""
    with Log(path) as log:
        run = log.begin("learn", {})
        with child(code, path) as process:
            assert process.stdout.readline() == "reading\n"
            begin = time.monotonic()
            log.event(run, "save", "generation 2")
            assert time.monotonic() - begin < BUSY_S / 2
            process.kill()


def test_log_two_processes_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    code = """
with Log(path) as log:
    run = log.begin("learn", {})
    for i in range(300):
        log.record(run, Record(i, 0, 0, 0, False, False, 5))
        if i % 100 == 0:
            log.event(run, "save", str(i))
    log.end(run, "done", {})
"""
    processes = [child(code, path) for _ in range(4)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with Log(path) as log:
        assert len(log.runs()) == 4
        for row in log.runs():
            assert log.records(row["id"])["id"].tolist() == list(range(300))


def test_log_exception_flushes_and_ends_the_run(tmp_path: Path) -> None:
    for error, state in ((RuntimeError("cable pulled"), "failed"),
                         (KeyboardInterrupt(), "interrupted")):
        path, records = tmp_path / f"{state}.sqlite", some_records(7)
        with pytest.raises(type(error)), Log(path) as log:
            done = log.begin("first", {})
            log.end(done, "done", {})
            run = log.begin("learn", {})
            for record in records:
                log.record(run, record)
            raise error
        with Log(path) as log:
            assert log.records(run).tolist() == as_rows(records)
            assert log.run(run)["state"] == state
            assert log.run(done)["state"] == "done"
    with Log(tmp_path / "failed.sqlite") as log:
        assert log.run(2)["summary"] == {"error": "cable pulled"}


def test_log_batches_commits(tmp_path: Path) -> None:
    with Log(tmp_path / "a.sqlite") as log:
        run = log.begin("learn", {})
        begins = []
        log._db.set_trace_callback(lambda sql: begins.append(sql) if "BEGIN" in sql else None)
        begin = time.monotonic()
        for record in some_records(5000):
            log.record(run, record)
        spent = time.monotonic() - begin
        assert len(begins) <= spent / log_module.COMMIT_S + 1


def test_log_threads_share_it(tmp_path: Path) -> None:
    with Log(tmp_path / "a.sqlite") as log:
        run = log.begin("learn", {})

        def put(seed: int) -> None:
            for record in some_records(200, seed):
                log.record(run, record)
            log.event(run, "thread", str(seed))

        threads = [threading.Thread(target=put, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wanted = sorted(row for seed in range(4) for row in as_rows(some_records(200, seed)))
        assert sorted(log.records(run).tolist()) == wanted
        assert len(log.events(run)) == 4


def test_log_missing_run_names_those_there(tmp_path: Path) -> None:
    with Log(tmp_path / "a.sqlite") as log:
        with pytest.raises(LogError, match=r"there is no run 1 in .*: it holds no run yet"):
            log.run(1)
        for _ in range(4):
            log.begin("learn", {})
        log._db.execute("DELETE FROM run WHERE id = 3")
        for read in (log.run, log.records, log.evaluations, log.events):
            with pytest.raises(LogError, match=r"there is no run 9 in .*: it holds 1 to 2, 4$"):
                read(9)
        with pytest.raises(LogError, match="there is no run"):
            log.run(2**70)
    assert issubclass(LogError, WageError)


def test_log_refuses_to_add_to_a_run_that_is_not_live(tmp_path: Path) -> None:
    path, record = tmp_path / "a.sqlite", some_records(1)[0]
    with Log(path) as log:
        run = log.begin("learn", {})
        log.end(run, "done", {})
        for add in (lambda: log.record(run, record), lambda: log.event(run, "a", "b"),
                    lambda: log.end(run, "failed", {}), lambda: log.record(99, record),
                    lambda: log.evaluation(run, "after", 0, [], [], "host")):
            with pytest.raises(LogError, match=r"run \d+ is not live here"):
                add()
        assert log.run(run)["state"] == "done"


def test_log_refuses_uneven_evaluation_and_unknown_state(tmp_path: Path) -> None:
    with Log(tmp_path / "a.sqlite") as log:
        run = log.begin("learn", {})
        with pytest.raises(LogError, match="2 labels but 1 predictions"):
            log.evaluation(run, "after", 0, [1, 2], [1], "host")
        with pytest.raises(LogError, match="cannot write to the log"):
            log.end(run, "broken", {})
        log.end(run, "done", {})


@pytest.mark.parametrize("content", [b"not a database, but long enough to look at\n" * 40, b"x"])
def test_log_refuses_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(LogError, match=r"notes\.txt is not a log .* no SQLite file at all"):
        Log(path)
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_log_refuses_a_foreign_database(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE run (id INTEGER)")
    db.close()
    content = path.read_bytes()
    with pytest.raises(LogError, match="is not a log of WAGE runs, but another SQLite file"):
        Log(path)
    assert path.read_bytes() == content


def test_log_refuses_a_damaged_database(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    Log(path).close()
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(len(content) - 100))
    with pytest.raises(LogError, match=r"cannot be used as a log of WAGE runs: .* malformed"):
        Log(path)


def test_log_refuses_a_newer_format(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    Log(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(LogError, match="has format 99, from a newer wage-host"):
        Log(path)


def test_log_refuses_a_place_where_it_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="cannot"):
        Log(tmp_path)
    with pytest.raises(LogError, match="cannot open the log"):
        Log(tmp_path / "none" / "a.sqlite")
    with pytest.raises(LogError, match="there is no log at"):
        Log(tmp_path / "a.sqlite", create=False)
    assert list(tmp_path.iterdir()) == []


def test_log_write_fault_is_raised_and_loses_nothing(tmp_path: Path) -> None:
    path, records = tmp_path / "a.sqlite", some_records(5)
    log = Log(path)
    run = log.begin("learn", {})
    pages = log._db.execute("PRAGMA page_count").fetchone()[0]
    log._db.execute(f"PRAGMA max_page_count = {pages}")  # as a full disk
    for record in records:
        log.record(run, record)
    with pytest.raises(LogError, match=r"cannot write to the log .* full"):
        log.event(run, "save", "x" * 100_000)
    time.sleep(log_module.COMMIT_S + 0.2)
    log._db.execute("PRAGMA max_page_count = 100000")
    log.close()
    with Log(path) as log:
        assert log.records(run).tolist() == as_rows(records)
        assert log.events(run) == []


def test_log_other_tools_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with Log(path) as log:
        run = log.begin("learn", {"seed": 3})
        log.evaluation(run, "before", 0, [1, 2], [1, 1], "host")
    with sqlite3.connect(path) as db:
        (conditions,), = db.execute("SELECT conditions FROM run").fetchall()
        (labels,), = db.execute("SELECT labels FROM evaluation").fetchall()
    db.close()
    assert (json.loads(conditions), json.loads(labels)) == ({"seed": 3}, [1, 2])


def test_default_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAGE_LOG", raising=False)
    assert default_path() == Path("wage.sqlite")
    monkeypatch.setenv("WAGE_LOG", "/elsewhere/runs.sqlite")
    assert default_path() == Path("/elsewhere/runs.sqlite")

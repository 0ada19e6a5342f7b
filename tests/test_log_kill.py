"""The host is killed at random moments: the log opens, and nothing that was committed is missing;
and what logging costs."""

# SPDX-License-Identifier: MIT

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from wage_host import data, demo, link, sim, stream
from wage_host.core import Config, Core, Record
from wage_host.device import Device
from wage_host.log import Log
from wage_host.replay import prove

COUNT = 4000  # samples of a run that is killed, 2 s long
CONFIG = Config(seed=3, lr_shift=-5, replays=6, gain_shift=2, threshold=0)
MILLION = 1_000_000

# wage-host learn that says after each commit how many records and samples are in the file.
CHILD = """
import contextlib, os, sys
from wage_host import cli, log
log.COMMIT_S = 0.03
plain = log.Log._transaction
@contextlib.contextmanager
def told(self):
    with plain(self):
        yield
    count = self._db.execute("SELECT sum(count) FROM record").fetchone()[0] or 0
    os.write(1, b"committed %d\\n" % count)
log.Log._transaction = told
sys.argv[0] = "wage-host"
cli.main()
"""


@pytest.fixture(scope="module")
def long_stream(demo_files: demo.Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's new digits, over and over."""
    path = tmp_path_factory.mktemp("kill") / "long.npz"
    with np.load(demo_files.stream) as found:
        x, y = found["x"], found["y"]
    again = np.arange(COUNT) % len(y)
    np.savez(path, x=x[again], y=y[again])
    return path


@pytest.fixture(scope="module")
def truth(demo_files: demo.Files, long_stream: Path) -> list[tuple[int, int, int]]:
    """What each sample must give: id, prediction, p_label."""
    core = Core(demo_files.model.read_bytes())
    core.start(1, CONFIG)
    samples = data.samples(data.load(long_stream), core.info)
    return [(r.id, r.prediction, r.p_label) for r in core.learn(samples)]


def killed(model: Path, file: Path, log: Path, url: str, after_s: float) -> int:
    """A run that is killed; returns how many records it had said to be committed."""
    words = ["learn", "--port", url, "--model", model, "--data", file, "--log", log, "--seed", 3,
             "--lr", "2^-5", "--replays", 6, "--gain-shift", 2, "--threshold", 0]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", CHILD, *map(str, words)],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
    first = process.stdout.readline()
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    lines = [first, *process.stdout.read().splitlines(keepends=True)]
    assert process.wait() in (-signal.SIGKILL, 0)
    counts = [int(line.split()[1]) for line in lines
              if line.startswith(b"committed") and line.endswith(b"\n")]  # fmt: skip
    return max(counts, default=0)


def check(log_path: Path, committed: int, truth: list[tuple[int, int, int]]) -> int:
    """The file is whole and has at least these records, each as it must be. Returns how many."""
    with sqlite3.connect(log_path) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.execute("PRAGMA foreign_keys = ON")
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    db.close()
    with Log(log_path, create=False) as log:
        run = log.last()
        records = log.records(run)
        sent = [number for number, _, _ in log.samples(run, "sample")]
    found = records[["id", "prediction", "p_label"]].tolist()
    assert len(found) >= committed
    assert found == truth[: len(found)]
    assert sent[: len(found)] == list(range(1, len(found) + 1))
    return len(found)


def many(
    count: int, seed: int, truth: list, files: demo.Files, stream_file: Path, folder: Path,
    served: Callable[..., str],
) -> list[int]:  # fmt: skip
    """Kills so many hosts, each with a board of its own; returns how many records each left."""
    draw, left = random.Random(seed), []
    for number in range(count):
        url = served(sim.serve_socket, sim.SimBoard(files.model.read_bytes()), 0)
        path = folder / f"{number}.sqlite"
        moment = draw.uniform(0, 2 * (number + 1) / count)  # the last ones late
        committed = killed(files.model, stream_file, path, url, moment)
        left.append(check(path, committed, truth))
    return left


def test_killed_host_leaves_all_that_was_committed(
    demo_files: demo.Files, long_stream: Path, truth: list, tmp_path: Path,
    served: Callable[..., str], seed: int,
) -> None:  # fmt: skip
    left = many(3, seed, truth, demo_files, long_stream, tmp_path, served)
    assert any(left), left


@pytest.mark.soak
def test_host_killed_at_20_moments(
    demo_files: demo.Files, long_stream: Path, truth: list, tmp_path: Path,
    served: Callable[..., str], seed: int,
) -> None:  # fmt: skip
    left = many(20, seed + 1, truth, demo_files, long_stream, tmp_path, served)
    assert sum(0 < n < COUNT for n in left) > 5, left


def test_killed_run_is_resumed_and_proved_and_another_process_reads_it_live(
    demo_files: demo.Files, long_stream: Path, tmp_path: Path, served: Callable[..., str]
) -> None:
    """What was killed is not live for ever; the run that goes on with it is proved with it."""
    url = served(sim.serve_socket, sim.SimBoard(demo_files.model.read_bytes()), 0)
    path = tmp_path / "log"
    words = ["learn", "--port", url, "--model", demo_files.model, "--data", long_stream, "--log",
             path]  # fmt: skip
    child = [sys.executable, "-c", CHILD, *map(str, words)]
    with subprocess.Popen(child, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        seen = [0]
        while len(seen) < 4 and process.poll() is None:
            process.stdout.readline()
            with Log(path, create=False) as log:  # beside the one that writes
                if log.last() and (count := len(log.records(1))) > seen[-1]:
                    seen.append(count)
                    assert log.run(1)["state"] == "live"
        process.kill()
    assert seen[-1] > 0
    done = subprocess.run([sys.executable, "-m", "wage_host", *map(str, words), "--resume", "1"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    with Log(path) as log:
        assert log.run(2)["summary"]["last_id"] == COUNT
        proof = prove(log, 2, None, lambda what, count, records: records)
        assert proof.told and proof.records > 0


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_million_logged_samples_cost_under_5_percent_of_the_fastest_link(
    demo_files: demo.Files, tmp_path: Path
) -> None:
    """CPU time of logging a sample (of all threads) against the time that a sample takes on the
    fastest link there is: the simulated board behind a socket, without replays."""
    core, rng = Core(demo_files.model.read_bytes()), np.random.default_rng(1)
    x = rng.integers(-127, 128, (MILLION, core.info.input_bytes)).astype(np.int8)
    samples = [(row, k % core.info.classes) for k, row in enumerate(x)]
    config = Config(seed=1, lr_shift=-8, replays=0, gain_shift=2, threshold=0)
    links_s = []
    with sim.running(demo_files.model) as url, Device(link.connector(url, 115200, None)) as device:
        for number in range(1, 6):
            device.start(number, config)
            begun = time.perf_counter()
            assert sum(1 for _ in device.learn(samples[:20_000])) == 20_000
            links_s.append((time.perf_counter() - begun) / 20_000)
    link_s, path = min(links_s), tmp_path / "log"
    with Log(path) as log:
        run, kept, spent = log.begin("million", {}), 0, 0.0
        for number, (_, label) in enumerate(samples, 1):
            if number % 5_000 == 1:  # as many as come in half a second
                chunk = [Record(number + k, label, 1, 8192, False, False, 123)
                         for k in range(5_000)]  # fmt: skip
                begun = time.process_time()
                for record in chunk:
                    kept = stream._keep_sent(log, run, "sample", samples, kept, record.id)
                    log.record(run, record)
                log.flush()
                spent += time.process_time() - begun
        log.end(run, "done", {})
    with Log(path) as log:
        assert len(log.records(run)) == MILLION
    share = spent / MILLION / link_s
    print(f"logging {1e6 * spent / MILLION:.2f} µs CPU a sample, link {1e6 * link_s:.1f} µs: "
          f"{share:.1%}; {os.path.getsize(path) / MILLION:.0f} bytes a sample")  # fmt: skip
    assert share < 0.05

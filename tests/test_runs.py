"""Runs of a log: listed, compared, tagged, deleted for good, and written for other programs."""

# SPDX-License-Identifier: MIT

import csv
import json
import math
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from wage_host import cli
from wage_host import log as log_module
from wage_host.core import Record
from wage_host.log import Log

SECRET = bytes(range(200, 240)) * 2  # an input that nobody else has


def do(*words: object) -> dict:
    """A command; its answer as JSON."""
    words = [*map(str, words), "--json"]
    return json.loads(CliRunner().invoke(cli.wage_host, words, standalone_mode=False)
                      .stdout.splitlines()[-1])  # fmt: skip


def shown(*words: object) -> str:
    """What people see of a command."""
    return CliRunner().invoke(cli.wage_host, [*map(str, words)], standalone_mode=False).output


def add_run(log: Log, inputs: bytes, right: int = 3, **conditions: object) -> int:
    """A finished run of four samples, of which so many were answered right."""
    run = log.begin("learn", {"board": "sim", "model": "m", "data": "d.npz"} | conditions)
    x = np.frombuffer(inputs, np.int8).reshape(4, -1)
    log.sent(run, "sample", 1, [(row, k) for k, row in enumerate(x)])
    for k in range(4):
        prediction = k if k < right else 9
        log.record(run, Record(k + 1, k, prediction, 1 << (14 - k), k == 3, False, 1000 * (k + 1)))
    log.event(run, "save", "checkpoint 1", 2, generation=1)
    log.event(run, "fault", "no answer", 3)
    log.evaluation(run, "before", 0, [1, 2], [0, 2], "host")
    log.evaluation(run, "after", 4, [1, 2], [1, 2], "host")
    log.end(run, "done", {"weight_crc": "0000beef"})
    return run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of two runs; the second has the inputs of SECRET."""
    path = tmp_path / "log.sqlite"
    with Log(path) as log:
        add_run(log, bytes(80), seed=1)
        add_run(log, SECRET, right=1, seed=2)
    return path


def test_runs_are_listed_and_compared(path: Path) -> None:
    first, second = do("runs", "--log", path)["runs"]
    assert (first["run"], first["samples"], first["right"], first["skipped"]) == (1, 4, 0.75, 1)
    assert (second["right"], second["before"], second["after"]) == (0.25, 0.5, 1.0)
    assert first["loss"] == pytest.approx(math.log(2) * (0 + 1 + 2 + 3) / 4)
    assert (first["faults"], first["saves"], first["ms"]) == (1, 1, 2.5)
    lines = shown("runs", "--log", path).splitlines()
    assert len(lines) == 3
    assert "75.0 %" in lines[1] and "100.0 %" in lines[1]
    beside = shown("runs", "2", "1", "--log", path).splitlines()
    assert [line.split()[1:] for line in beside if line.startswith("seed")] == [["2", "1"]]
    assert not any(line.startswith("board") for line in beside)  # the same in both
    assert any(line.startswith("board") for line in shown("runs", 1, "--log", path).splitlines())


def test_energy_is_shown_with_its_kind(path: Path) -> None:
    with Log(path) as log:
        run = log.begin("learn", {})
        sql = "INSERT INTO energy (run, what, joules, kind, how) VALUES (?, 'step', ?, ?, '')"
        log.write(run, sql, [(run, 2e-6, "estimate")])
        log.end(run, "done", {})
    assert do("runs", 3, "--log", path)["runs"][0]["uj_step"] == pytest.approx(2)
    assert "2 µJ (estimate)" in shown("runs", 3, "--log", path)


def test_tags_come_and_go(path: Path) -> None:
    do("runs", 1, 2, "--tag", "best", "--tag", "µ", "--log", path)
    answer = do("runs", 2, "--untag", "best", "--log", path)
    assert answer["runs"][0]["tags"] == ["µ"]
    assert [run["tags"] for run in do("runs", "--log", path)["runs"]] == [["best", "µ"], ["µ"]]


def test_deleted_run_leaves_nothing_of_its_samples_on_the_disk(path: Path) -> None:
    with Log(path) as log:
        add_run(log, SECRET)  # the same block, kept once
        assert log.read("SELECT count(*) FROM input")[0][0] == 2
    assert SECRET in path.read_bytes()
    assert do("runs", 2, "--delete", "--log", path)["deleted"] == [2]
    assert SECRET in path.read_bytes()  # of run 3
    with Log(path) as log:
        assert len(list(log.samples(3, "sample"))) == 4
        do("runs", 3, "--delete", "--log", path)  # while another process has the log open
        assert [run["id"] for run in log.runs()] == [1]
        for table in ("record", "sent", "event", "evaluation"):
            assert log.read(f"SELECT DISTINCT run FROM {table}")[0][0] == 1
        for file in path.parent.iterdir():  # the journal, too
            assert SECRET[:40] not in file.read_bytes(), file


def test_deleted_run_takes_model_and_trace_along(
    path: Path, demo_blob: Path
) -> None:
    trace = path.with_name("trace.npz")
    trace.write_bytes(b"x")
    row = "INSERT INTO power VALUES (?, 'i', '', 1, 1, 1, 0, 0, 1, ?, 'none', NULL, '', x'')"
    with Log(path) as log:
        run = log.begin("learn", {}, demo_blob.read_bytes())
        log.write(run, row, [(run, trace.name)])
        log.end(run, "done", {})
        assert log.blob(run) == demo_blob.read_bytes()
        do("runs", run, "--delete", "--log", path)
        assert log.read("SELECT count(*) FROM model")[0][0] == 0
        assert log.read("SELECT count(*) FROM power")[0][0] == 0
    assert not trace.exists()


def test_live_run_is_not_deleted_and_a_cut_off_one_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Log(path) as log:
        run = log.begin("learn", {})
        answer = do("runs", run, "--delete", "--log", path)
        assert (answer["code"], "run 3 is live: end it first" in answer["error"]) == (17, True)
        monkeypatch.setattr(log_module, "CUT_OFF_S", 0.0)
        assert do("runs", run, "--log", path)["runs"][0]["state"] == "cut off"
        do("runs", run, "--delete", "--log", path)
        assert [row["id"] for row in log.runs()] == [1, 2]
        log._live.clear()


def test_live_run_gives_signs_of_life(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "COMMIT_S", 0.01)
    monkeypatch.setattr(log_module, "BEAT_S", 0.02)
    with Log(path) as log:
        run = log.begin("learn", {})
        begun = log.run(run)["touched"]
        for _ in range(500):
            if log.run(run)["touched"] > begun:
                break
            log._closing.wait(0.01)
        else:
            pytest.fail("no sign of life came")
        log.end(run, "done", {})


def test_wrong_uses_say_one_line(path: Path) -> None:
    for words, code, line in (
        (("runs", 9), 17, "there is no run 9"),
        (("runs", "--delete"), 2, "name the runs"),
        (("runs", 1, "--delete", "--tag", "x"), 2, "goes with no tags"),
        (("export", 9, "--csv", path.with_name("x")), 17, "there is no run 9"),
        (("export", 1), 2, "say with -o"),
        (("export", "m.wage", "--csv", "x"), 2, "give its number"),
    ):
        answer = do(*words, "--log", path)
        assert (answer["code"], line in answer["error"]) == (code, True), answer
    assert "no log at" in do("runs", "--log", path.with_name("none"))["error"]
    assert not path.with_name("x").exists()


def test_csv_and_json_lines_have_every_answer(path: Path, tmp_path: Path) -> None:
    made = tmp_path / "a.csv", tmp_path / "a.jsonl"
    assert do("export", 1, "--csv", made[0], "--jsonl", made[1], "--log", path)["ok"]
    with made[0].open() as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in made[1].read_text().splitlines()]
    samples = [line for line in lines if line["kind"] == "sample"]
    assert [line["kind"] for line in lines[:5]] == ["run", *["evaluation"] * 2, *["event"] * 2]
    assert len(rows) == len(samples) == 4
    for k, (row, sample) in enumerate(zip(rows, samples, strict=True)):
        assert float(row["loss"]) == sample["loss"] == pytest.approx(k * math.log(2), abs=1e-4)
        assert (row["skipped"], sample["skipped"]) == (str(int(k == 3)), k == 3)
        assert int(row["us"]) == sample["us"] == 1000 * (k + 1)
    assert lines[3]["generation"] == 1


def test_tensorboard_gets_the_curves(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    folder = tmp_path / "tb"
    assert do("export", 1, "--tensorboard", folder, "--log", path)["ok"]
    (file,) = (folder / "run-1").iterdir()
    data, events = file.read_bytes(), []
    while data:  # TFRecord: length, its CRC, the bytes, their CRC
        (size,) = struct.unpack_from("<Q", data)
        events.append(Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    scalars = [(v.tag, e.step, v.simple_value) for e in events for v in e.summary.value
               if v.HasField("simple_value")]  # fmt: skip
    tests = [(s, x) for tag, s, x in scalars if tag.startswith("evaluation")]
    assert tests == [(0, 0.5), (4, 1.0)]
    losses = [(s, x) for tag, s, x in scalars if tag == "learning/loss"]
    assert losses == [(k + 1, pytest.approx(k * math.log(2))) for k in range(4)]
    assert [x for tag, _, x in scalars if tag.endswith("so_far")][-1] == 0.75
    assert "is there already" in do("export", 1, "--tensorboard", folder, "--log", path)["error"]


def test_tensorboard_that_is_not_there_is_named(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    answer = do("export", 1, "--tensorboard", tmp_path / "tb", "--log", path)
    assert answer["code"] == 13
    assert "pip install 'wage-host[tensorboard]'" in answer["error"]
    assert os.listdir(tmp_path) == ["log.sqlite"]

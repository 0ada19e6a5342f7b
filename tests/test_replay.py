"""A logged run is learned again: what agrees passes, one bit or one swapped sample does not."""

# SPDX-License-Identifier: MIT

import contextlib
import dataclasses
import json
import sqlite3
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from wage_host import cli, data, demo, figures, link, run_export, sim, stream, unpack
from wage_host.core import Config, Policy, Record
from wage_host.device import Device
from wage_host.errors import DataError, Interrupted, TwinDiffers, WageError, WrongUsage
from wage_host.log import Log
from wage_host.replay import prove

CONFIG = Config(seed=7, lr_shift=-4, replays=2, gain_shift=2, threshold=0)


def quiet(what: str, count: int, records: object) -> object:
    """No progress display."""
    return records


class Bench:
    """A simulated board, its model, and a log of what it learned."""

    def __init__(self, files: demo.Files, folder: Path):
        self.blob, self.path = files.model.read_bytes(), folder / "log"
        self.new, self.test = data.load(files.stream), data.load(files.test)
        self.board = sim.SimBoard(self.blob, folder / "store")
        self.pulled = b""

    def learn(self, number: int = 1, watch: Callable = quiet, **changes: object) -> int:
        """One run; returns its number in the log."""
        given = {"data": self.new, "test": None, "config": CONFIG, "stream": number,
                 "blob": self.blob} | changes  # fmt: skip
        with Device(lambda: link.SimLink(self.board)) as device, Log(self.path) as log:
            try:
                return stream.conduct(device, log, stream.Plan(**given), "test", watch).run
            finally:
                self.pulled = unpack.with_weights(self.blob, b"".join(device.pull()))

    def prove(self, run: int, pulled: bytes | None = None) -> object:
        """As verify --run."""
        with Log(self.path) as log:
            return prove(log, run, pulled, quiet)

    def alter(self, sql: str, *values: object) -> None:
        """Meddles with the log."""
        with sqlite3.connect(self.path) as db:
            assert db.execute(sql, values).rowcount == 1
        db.close()


@pytest.fixture
def bench(demo_files: demo.Files, tmp_path: Path) -> Bench:
    """A board from its factory."""
    return Bench(demo_files, tmp_path)


def flipped(blob: bytes, bit: int) -> bytes:
    """A model with one bit of its learned weights changed, and the CRC that then is right."""
    (_, place, _), *_ = unpack.learned_parts(blob)
    changed = bytearray(blob)
    changed[place + bit // 8] ^= 1 << bit % 8
    changed[12:16] = struct.pack("<I", zlib.crc32(bytes(changed[16:])))
    return bytes(changed)


def test_replay_proves_a_run_and_its_pulled_weights(bench: Bench) -> None:
    run = bench.learn()
    proof = bench.prove(run, bench.pulled)
    assert (proof.records, proof.samples, proof.told) == (len(bench.new), len(bench.new), True)
    assert proof.learned == b"".join(
        bench.pulled[at : at + size] for _, at, size in unpack.learned_parts(bench.pulled)
    )


def test_replay_finds_a_single_bit_of_pulled_weights(bench: Bench) -> None:
    run, rng = bench.learn(), np.random.default_rng(1)
    (layer, _, size), *_ = unpack.learned_parts(bench.blob)
    for bit in (0, *rng.integers(8 * size, size=5).tolist()):
        where = rf"differ from byte {bit // 8} of layer {layer} \("
        with pytest.raises(TwinDiffers, match=where):
            bench.prove(run, flipped(bench.pulled, bit))


def test_replay_finds_a_swapped_sample(bench: Bench) -> None:
    """Two neighbours change places: in what was sent, in labels, in what came back."""
    run = bench.learn()
    with Log(bench.path) as log:
        size = len(next(log.samples(run, "sample"))[2])
        inputs = log.read("SELECT bytes FROM input WHERE id = 1")[0][0]
        records = log.records(run)
    k = 1 + int(np.argmax(records["prediction"][1:255] != records["prediction"][2:256]))
    a, b = k * size, (k + 1) * size
    swapped = inputs[:a] + inputs[b : b + size] + inputs[a:b] + inputs[b + size :]
    bench.alter("UPDATE input SET bytes = ? WHERE id = 1", swapped)
    with pytest.raises(TwinDiffers, match=r"sample \d+ of run 1|weight CRC"):
        bench.prove(run)
    bench.alter("UPDATE input SET bytes = ? WHERE id = 1", inputs)
    bench.prove(run)
    swapped = np.sort(records, order="id")
    swapped["id"][[k, k + 1]] = k + 2, k + 1
    with sqlite3.connect(bench.path) as db:
        db.execute("DELETE FROM record")
        db.execute("INSERT INTO record VALUES (1, 1, ?, ?)", (len(swapped), swapped.tobytes()))
    db.close()
    with pytest.raises(TwinDiffers, match=r"sample \d+ of run 1: the log has"):
        bench.prove(run)


def test_replay_finds_a_swapped_sample_without_any_answer(bench: Bench) -> None:
    """Without records the CRC alone finds it."""
    run = bench.learn()
    with sqlite3.connect(bench.path) as db:
        db.execute("DELETE FROM record")
        ((inputs,),) = db.execute("SELECT bytes FROM input WHERE id = 1").fetchall()
        size = len(inputs) // 256
        last = inputs[: 254 * size] + inputs[255 * size :] + inputs[254 * size : 255 * size]
        db.execute("UPDATE input SET bytes = ? WHERE id = 1", (last,))
    db.close()
    with pytest.raises(TwinDiffers, match="the board told weight CRC"):
        bench.prove(run)


def test_replay_goes_through_earlier_runs_and_guards(bench: Bench) -> None:
    bench.learn(1, policy=Policy(50, 2), guard=bench.test)
    second = bench.learn(2, data=bench.test)
    assert bench.prove(second, bench.pulled).records == len(bench.test)
    with Log(bench.path) as log:
        log.delete([1])
        assert len(list(log.samples(second, "sample"))) == len(bench.test)
    with pytest.raises(DataError, match="had learned what this log does not have"):
        bench.prove(second)


def test_replay_of_an_interrupted_and_a_resumed_run(bench: Bench) -> None:
    def interrupt(what: str, count: int, records: object) -> object:
        for number, record in enumerate(records):
            if number == 100:
                raise KeyboardInterrupt
            yield record

    with pytest.raises(Interrupted):
        bench.learn(5, interrupt)
    assert bench.prove(1, bench.pulled).told
    second = bench.learn(5)
    proof = bench.prove(second, bench.pulled)
    assert 0 < proof.records < proof.samples == len(bench.new)
    with Log(bench.path) as log:
        log.delete([1])
    with pytest.raises(DataError, match="whose beginning this log does not have"):
        bench.prove(second)
    bench.board = sim.SimBoard(bench.blob)
    third = bench.learn(5)  # another board, the same number of a stream
    assert bench.prove(third, bench.pulled).records == len(bench.new)


def test_replay_says_what_the_log_lacks(bench: Bench) -> None:
    run = bench.learn(blob=None)
    with pytest.raises(DataError, match="no model of run 1: learn with --model"):
        bench.prove(run)
    run = bench.learn(2)
    with pytest.raises(DataError, match="had learned what this log does not have"):
        bench.prove(run)
    bench.board = sim.SimBoard(bench.blob)
    run = bench.learn(3)
    bench.alter("UPDATE run SET summary = '{}' WHERE id = ?", run)
    with pytest.raises(DataError, match="run 3 was cut off before the board told"):
        bench.prove(run)
    assert not bench.prove(run, bench.pulled).told
    bench.alter("DELETE FROM sent WHERE run = ? AND first = 1", run)
    with pytest.raises(DataError, match="lacks inputs of run 3: sample 1"):
        bench.prove(run, bench.pulled)
    bench.alter("DELETE FROM sent WHERE run = ?", run)
    with pytest.raises(DataError, match="no inputs of run 3"):
        bench.prove(run, bench.pulled)
    with Log(bench.path) as log:
        taught = log.begin("wage-host teach", {"model_crc": "0"})
        log.record(taught, Record(1, 1, 1, 5, False, False, 9))
        log.end(taught, "done", {"weight_crc": "0"})
        with pytest.raises(DataError, match="sensed its samples by itself"):
            prove(log, taught, None, quiet)
        tested = log.begin("wage-host eval", {})
        log.end(tested, "done", {"weight_crc": "0"})
        with pytest.raises(WrongUsage, match="run 5 learned nothing"):
            prove(log, tested, None, quiet)
        live = log.begin("test", {})
        with pytest.raises(WrongUsage, match="run 6 is live: wait for its end"):
            prove(log, live, None, quiet)


def test_verify_run_on_the_command_line(bench: Bench, tmp_path: Path) -> None:
    run = bench.learn()
    good, bad = tmp_path / "good.wage", tmp_path / "bad.wage"
    good.write_bytes(bench.pulled)
    bad.write_bytes(bench.pulled[:-1] + bytes([bench.pulled[-1] ^ 1]))

    def verify(*options: object) -> dict:
        words = ["verify", *map(str, options), "--json"]
        done = CliRunner().invoke(cli.wage_host, words, standalone_mode=False)
        return json.loads(done.stdout.splitlines()[-1])

    log = ("--log", bench.path)
    answer = verify("--run", run, *log, "--pulled", good)
    assert (answer["ok"], answer["records"], answer["pulled"]) == (True, len(bench.new), True)
    assert verify("--run", run, *log, "--pulled", bad)["code"] == 15  # its own CRC
    good.write_bytes(flipped(bench.pulled, 77))
    assert verify("--run", run, *log, "--pulled", good)["code"] == 18
    assert "there is no run 9" in verify("--run", 9, *log)["error"]
    assert verify(good, "--run", run, *log)["code"] == 2
    assert verify("--pulled", good)["code"] == 2
    assert verify()["code"] == 2


CELLS = {
    "run": ("conditions", "summary", "model", "touched", "state"), "input": ("labels", "bytes"),
    "sent": ("first", "input", "what"), "record": ("records", "count"),
    "evaluation": ("labels", "predictions"), "event": ("what",), "model": ("blob",),
}  # fmt: skip


def part(known: data.Data, begin: int, end: int) -> data.Data:
    """Some of the samples."""
    return dataclasses.replace(known, x=known.x[begin:end], labels=known.labels[begin:end])


def changed(value: object, rng: np.random.Generator) -> object:
    """A cell as a fault, or somebody, may leave it."""
    if isinstance(value, str | bytes) and len(value) and rng.integers(4):
        raw = bytearray(value if isinstance(value, bytes) else value.encode())
        at = int(rng.integers(len(raw)))
        if rng.integers(2):
            raw[at] ^= 1 << int(rng.integers(8))
        else:
            del raw[at : at + int(rng.integers(1, 40))]
        return bytes(raw) if isinstance(value, bytes) else raw.decode("utf-8", "replace")
    return [0, -1, 2**40, "[]", "{}", '{"start": 1}', b"", b"x", "3", 1.5][int(rng.integers(10))]


def test_damaged_log_gives_a_result_or_one_line(bench: Bench, seed: int) -> None:
    few, some = part(bench.test, 0, 20), part(bench.new, 100, 110)
    bench.learn(1, data=some, test=few)
    rng, whole = np.random.default_rng(seed), bench.path.read_bytes()
    for _ in range(30):
        bench.path.write_bytes(whole)
        table = list(CELLS)[int(rng.integers(len(CELLS)))]
        column = CELLS[table][int(rng.integers(len(CELLS[table])))]
        with sqlite3.connect(bench.path) as db:
            row, value = db.execute(f"SELECT rowid, {column} FROM {table}").fetchone()
            with contextlib.suppress(sqlite3.IntegrityError):
                sql = f"UPDATE {table} SET {column} = ? WHERE rowid = ?"
                db.execute(sql, (changed(value, rng), row))
        db.close()
        with contextlib.suppress(WageError), Log(bench.path) as log:
            figures.of_run(log, log.run(1))
            with log.whole():
                list(run_export.as_csv(log, 1))
            prove(log, 1, None, quiet)


def test_file_with_flipped_bytes_gives_a_result_or_one_line(bench: Bench, seed: int) -> None:
    few = part(bench.new, 0, 40)
    bench.learn(1, data=few, test=few)
    rng, whole = np.random.default_rng(seed), bench.path.read_bytes()
    for _ in range(20):
        raw = bytearray(whole)
        for at in rng.integers(len(raw), size=int(rng.integers(1, 200))):
            raw[at] = rng.integers(256)
        bench.path.write_bytes(raw)
        with contextlib.suppress(WageError), Log(bench.path) as log:
            figures.of_run(log, log.run(1))
            prove(log, 1, None, quiet)

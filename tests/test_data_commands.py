"""wage-host data show, the column of labels, and learning from names, sound and standard input."""

# SPDX-License-Identifier: MIT

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from blobs import small_blob
from click.testing import CliRunner
from test_data_extras import chunks, with_extras
from test_data_readers import png, put, wav
from wage_host import data
from wage_host.cli import wage_host
from wage_host.errors import DataError, WrongUsage

RNG = np.random.default_rng(2)
FIXTURES = Path(__file__).parent / "converted"


def run(*words: object, code: int = 0, text: str | None = None) -> str:
    """A command that ends with this exit code; what it printed."""
    done = CliRunner().invoke(wage_host, [str(w) for w in words], input=text, standalone_mode=False)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.return_value == code, done.output
    return done.output


def answer(*words: object, **more: object) -> dict:
    """Its JSON."""
    return json.loads(run(*words, "--json", **more).splitlines()[-1])


# -- show ----------------------------------------------------------------------


def test_show_counts_classes_with_bars(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("a,b,what\n" + "1,2,walk\n" * 12 + "3,200,sit\n" * 2)
    said = run("data", "show", tmp_path / "d.csv", "--label", "what")
    assert said.splitlines() == [
        "d.csv: 14 samples of 2, int64",
        "values 1 to 200, mean 15.79",
        "2 classes, 2 to 12 samples each",
        "  sit    2  ####",
        "  walk  12  ########################",
        "note: uneven, 6 times as many of one class as of another",
    ]
    about = answer("data", "show", tmp_path / "d.csv", "--label", "what")
    assert about["classes"] == {"sit": 2, "walk": 12}
    assert (about["low"], about["high"], about["shapes"]) == (1, 200, {"2": 14})


def test_show_tells_what_steps_make_of_it(tmp_path: Path) -> None:
    for k in range(3):
        put(tmp_path / f"s/yes/{k}.wav", wav(RNG.integers(-99, 99, 800 + 80 * k)))
    said = run("data", "show", tmp_path / "s")
    assert "s: 3 samples of 3 shapes, most 1x800x1, int16" in said
    assert "sound of 8000 Hz, 0.1 to 0.12 s long" in said
    how = "cut 640, logmel 8000 256/128 8, normalise"
    said = run("data", "show", tmp_path / "s", "--prepare", how)
    assert "s: 3 samples of 4x8x1, int8" in said
    assert "after cut 640, logmel 8000 256/128 8 60-4000, normalise (x - " in said
    assert (
        "--prepare says how, or --model"
        in answer("data", "show", tmp_path / "s", "--prepare", "grey", "--model", "m", code=2)[
            "error"
        ]
    )


def test_show_names_a_class_without_a_sample(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("0,1\n2,1\n")
    assert "note: a class has no sample yet" in run("data", "show", tmp_path / "d.csv")


def test_show_reads_standard_input() -> None:
    command = [sys.executable, "-m", "wage_host", "data", "show", "-"]
    done = subprocess.run(command, input="1,2\n0,5\n", capture_output=True, text=True, check=True)
    assert "-: 2 samples of 1, int64" in done.stdout


# -- the column of the labels --------------------------------------------------


LABELLED = {  # each command with --label, and its options that name samples
    "data show": ("",), "train": ("--data",), "eval": ("--data",), "verify": ("--data",),
    "learn": ("--data", "--eval-data", "--guard"),
    "convert": ("--samples", "--eval-data", "--replay-data"),
}  # fmt: skip


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """All commands of a group by their words."""
    for name, one in group.commands.items():
        if isinstance(one, click.Group):
            yield from commands(one, f"{before}{name} ")
        else:
            yield before + name, one


def test_every_command_with_a_label_is_looked_at() -> None:
    found = {name for name, one in commands(wage_host) if "label" in {p.name for p in one.params}}
    assert found == set(LABELLED)


@pytest.mark.parametrize(
    "command, option", [(name, option) for name, some in LABELLED.items() for option in some]
)
def test_label_of_data_without_columns_is_refused(
    command: str, option: str, tmp_path: Path
) -> None:
    model, table, out = small_model(tmp_path), tmp_path / "d.csv", tmp_path / "out"
    data.save(tmp_path / "d.npz", np.zeros((3, 2), np.int8), np.arange(3))
    port, fixture = ("--port", "sim", "--model", model), FIXTURES / "sounds.tflite"
    rest = {
        "data show": (), "train": ("--network", "1x1x2 3FC", "-o", out), "eval": port,
        "verify": (model, "--port", "sim"), "learn": (*port, "--data", table),
        "convert": {
            "--replay-data": (tmp_path / "n.npz", "--replay", 9, "-o", out),
            "--samples": (fixture, "-o", out),
            "--eval-data": (fixture, "--samples", table, "-o", out),
        }.get(option),
    }[command]  # fmt: skip
    at = (option, tmp_path / "d.npz") if option else (tmp_path / "d.npz",)
    log = ("--log", tmp_path / "log") if command in ("learn", "eval") else ()
    error = answer(*command.split(), *rest, *log, *at, "--label", "label", code=2)["error"]
    assert error == (
        f"--label label: {tmp_path / 'd.npz'} is no CSV and has no columns: leave out --label (a "
        "column that is called label is found without it)"
    )
    assert not out.exists() and not (tmp_path / "log").exists()


def test_label_is_for_csv_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 1), np.int8), y=[0, 1])
    put(tmp_path / "fsdd/recordings/3_ann_1.wav", wav(np.arange(9)))
    monkeypatch.setenv("WAGE_DATA", str(tmp_path))
    for name in ("d.npz", "fsdd/recordings", "fsdd:test"):
        assert len(data.read(Path(name)).labels)
        with pytest.raises(WrongUsage, match=rf"--label y: \S*{name} is no CSV and has no columns"):
            data.read(Path(name), "y")
    with pytest.raises(DataError, match=r"there is no data file gone.npz"):
        data.read(Path("gone.npz"), "y")


def test_label_without_data_is_refused(tmp_path: Path) -> None:
    model = small_model(tmp_path)
    words = ("convert", tmp_path / "n.npz", "-o", tmp_path / "out", "--label", "label")
    error = answer(*words, code=2)["error"]
    assert error == "--label names a column of --samples or --replay-data: give one of them"
    assert not (tmp_path / "out").exists()
    error = answer("verify", model, "--port", "sim", "--label", "label", code=2)["error"]
    assert error == "--label names a column of --data: give both, or neither"


# -- from data to a board ------------------------------------------------------


def test_sound_goes_all_the_way(tmp_path: Path) -> None:
    """Two tones; the model carries what the board's samples go through."""
    for name, hz in (("high", 2000), ("low", 400)):
        for k in range(8):
            t = np.arange(900) / 8000
            sound = 8000 * np.sin(2 * np.pi * (hz + 9 * k) * t) + RNG.normal(0, 99, 900)
            put(tmp_path / f"s/{name}/{k}.wav", wav(np.rint(sound).astype(int)))
    how = ("--prepare", "cut 896, logmel 8000 256/128 8, normalise")
    net, model = tmp_path / "n.npz", tmp_path / "m.wage"
    run("train", "--data", tmp_path / "s", *how, "--network", "6x8x1 8FC 2FC", "-o", net)
    run("convert", net, "-o", model, "--replay", 8, "--replay-data", tmp_path / "s")
    about = answer("info", model)
    assert about["names"] == "high, low"
    assert about["prepare"][1] == "logmel 8000 256/128 8 60-4000"
    port = ("--port", "sim", "--model", model, "--log", tmp_path / "log")
    assert answer("eval", *port, "--data", tmp_path / "s")["accuracy"] == 1.0
    assert answer("learn", *port, "--data", tmp_path / "s")["proved"]


def small_model(folder: Path) -> Path:
    """A model of two columns and three names."""
    rows = [f"{name},{k % 7 + 20 * c},{k % 5}" for c, name in enumerate(("sit", "walk", "run"))
            for k in range(12)]  # fmt: skip
    (folder / "d.csv").write_text("label,a,b\n" + "\n".join(rows) + "\n")
    net, model = folder / "n.npz", folder / "m.wage"
    how = ("--prepare", "normalise", "--classes", "sit, walk,run", "--network", "1x1x2 8FC 3FC")
    run("train", "--data", folder / "d.csv", *how, "-o", net)
    run("convert", net, "-o", model, "--replay", 12, "--replay-data", folder / "d.csv")
    return model


def test_standard_input_is_learned_line_by_line(tmp_path: Path) -> None:
    """A record is in the log before the next line is written."""
    model, log = small_model(tmp_path), tmp_path / "log.sqlite"
    command = ["learn", "--port", "sim", "--model", str(model), "--data", "-", "--log", str(log)]
    child = subprocess.Popen(
        [sys.executable, "-m", "wage_host", *command, "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for k, line in enumerate(("sit,3,1", "run,45,2", "walk,22,0"), 1):
            child.stdin.write(line + "\n")
            child.stdin.flush()
            assert learned(log, k), k
        child.stdin.close()
        told = json.loads(child.stdout.read().splitlines()[-1])
    finally:
        child.kill()
        child.wait()
    assert told["ok"] and told["samples"] == 3 and told["proved"]


def learned(log: Path, count: int) -> bool:
    """Whether so many records are in a log, within a while."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if log.exists():
            try:
                with sqlite3.connect(log) as db:
                    tables = [r[0] for r in db.execute("SELECT name FROM sqlite_master")]
                    table = next((t for t in tables if t.startswith("record")), None)
                    if table and db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] >= count:
                        return True
            except sqlite3.Error:
                pass
        time.sleep(0.02)
    return False


def test_each_live_sample_is_sent_once(tmp_path: Path) -> None:
    model = small_model(tmp_path)
    port = ("--port", "sim", "--model", model, "--log", tmp_path / "log")
    said = run("learn", *port, "--data", "-", text="sit,3,1\nrun,45,2\nwalk,22,0\n" * 5)
    assert "learning: 15, " in said
    assert "learned 15 samples" in said


def test_what_a_live_source_taught_is_saved_at_its_end(tmp_path: Path) -> None:
    model = small_model(tmp_path)
    port = ("--port", "sim", "--model", model, "--store", tmp_path / "store")
    log = ("--log", tmp_path / "log")
    told = answer("learn", *port, *log, "--data", "-", text="sit,3,1\nrun,45,2\n")
    kept = answer("persist", "show", *port)
    assert told["samples"] == 2 and kept["generation"] == 1  # once, not after each sample


def test_bad_line_ends_the_run_with_its_number(tmp_path: Path) -> None:
    model = small_model(tmp_path)
    port = ("--port", "sim", "--model", model, "--log", tmp_path / "log")
    error = answer("learn", *port, "--data", "-", code=9, text="sit,3,1\nhop,1,1\n")["error"]
    assert (
        error == "standard input, line 2: 'hop' is no class of the model: they are sit, walk, run"
    )
    error = answer("learn", *port, "--data", "-", "--resume", 1, code=2)["error"]
    assert error == "--resume needs the samples again: a live source has no past"


def test_names_and_outputs_must_be_as_many(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("sit,1\nrun,2\n")
    words = ("train", "--data", tmp_path / "d.csv", "--network", "1x1x1 3FC", "-o", tmp_path / "n")
    error = answer(*words, code=2)["error"]
    assert error.startswith("the data have 2 names of classes and the network 3 outputs: make them")
    assert not (tmp_path / "n").exists()


def test_a_model_with_bad_steps_is_refused_when_it_is_used(tmp_path: Path) -> None:
    bad = with_extras(small_blob(), chunks((1, 0, -1, b"\1\0\0\0")))  # resize to nothing
    (tmp_path / "m.wage").write_bytes(bad)
    (tmp_path / "d.csv").write_text("1,2,3,4,5\n")
    assert "resize with parameters that do not exist" in run("info", tmp_path / "m.wage")
    port = ("--port", "sim", "--model", tmp_path / "m.wage", "--log", tmp_path / "log")
    error = answer("eval", *port, "--data", tmp_path / "d.csv", code=8)["error"]
    assert "step 'resize' has parameters that do not exist: convert the model again" in error


def test_pictures_of_any_size_can_be_learned(tmp_path: Path) -> None:
    for k, shape in enumerate(((9, 7, 3), (12, 20, 3), (8, 8, 3), (30, 10, 3))):
        x = np.full(shape, 40 if k % 2 else 200, np.uint8)
        put(tmp_path / f"p/{'dark' if k % 2 else 'light'}/{k}.png", png(x))
    how = ("--prepare", "resize 4x4, grey", "--network", "4x4x1 2FC", "--epochs", 2)
    run("train", "--data", tmp_path / "p", *how, "-o", tmp_path / "n.npz")
    run("convert", tmp_path / "n.npz", "-o", tmp_path / "m.wage")
    assert answer("info", tmp_path / "m.wage")["prepare"] == ["resize 4x4", "grey"]

"""wage-host data show and fetch, and learning from names, sound and standard input."""

# SPDX-License-Identifier: MIT

import dataclasses
import gzip
import hashlib
import http.server
import io
import json
import re
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from blobs import small_blob
from click.testing import CliRunner
from test_data_extras import chunks, with_extras
from test_data_readers import png, put, wav
from wage_host import data
from wage_host.cli import wage_host
from wage_host.data import fetch

RNG = np.random.default_rng(2)


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


# -- fetch ---------------------------------------------------------------------


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that tells nobody; what is in `short` ends early."""

    short: ClassVar[set[str]] = set()

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        """A file, or part of it."""
        name = self.path.rsplit("/", 1)[1]
        if name not in self.short:
            return super().do_GET()
        raw = Path(self.directory, name).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw[: len(raw) // 2])
        return None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An address on this computer and the folder that is there."""
    folder = tmp_path / "published"
    folder.mkdir()
    Quiet.short = set()
    handler = lambda *a, **k: Quiet(*a, directory=str(folder), **k)  # noqa: E731
    own = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=own.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{own.server_port}/", folder
    own.shutdown()
    own.server_close()


def publish(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str, files: dict[str, bytes], folder: Path
) -> None:
    """Puts files onto the server and makes them a set's."""
    for file, raw in files.items():
        (folder / file).write_bytes(raw)
    remotes = tuple(
        fetch.Remote((url + "gone/" + file, url + file), hashlib.sha256(raw).hexdigest())
        for file, raw in files.items()
    )
    source = dataclasses.replace(fetch.SOURCES[name], files=remotes)
    monkeypatch.setitem(fetch.SOURCES, name, source)


def idx_files(names: list[str]) -> dict[str, bytes]:
    """Small files where MNIST has large ones."""
    x = RNG.integers(0, 256, (3, 4, 4)).astype(np.uint8)
    out = {}
    for name in names:
        array = x if "images" in name else np.uint8([1, 0, 2])
        head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
        out[name] = gzip.compress(head + array.tobytes())
    return out


MNIST = [remote.name for remote in fetch.SOURCES["mnist"].files]


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of data sets."""
    folder = tmp_path / "sets"
    folder.mkdir()
    monkeypatch.setenv("WAGE_DATA", str(folder))
    return folder


def test_fetch_takes_the_first_place_that_has_it(
    server: tuple, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, "mnist", server[0], idx_files(MNIST), server[1])
    about = answer("data", "fetch", "mnist")
    assert about["fetched"] and about["folder"] == str(room / "mnist")
    assert sorted(p.name for p in room.rglob("*")) == sorted(["mnist", *MNIST])
    assert data.load(Path("mnist:train")).labels.tolist() == [1, 0, 2]
    again = answer("data", "fetch", "mnist")
    assert not again["fetched"]
    assert "already in" in run("data", "fetch", "mnist")


@pytest.mark.parametrize("name", ["cifar10", "fsdd"])
def test_fetch_unpacks_what_belongs_to_the_set_and_nothing_else(
    name: str, server: tuple, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {
        "cifar10": {f"cifar-10-batches-bin/{b}.bin": bytes([3]) + bytes(3072)
                    for b in ("data_batch_1", "test_batch")},
        "fsdd": {f"free-spoken-digit-dataset-1.0.9/recordings/7_ann_{n}.wav": wav(np.arange(9))
                 for n in (3, 20)},
    }[name]  # fmt: skip
    bad = ("../../evil.bin", "/data_batch_9.bin", "x/README.md", "x/../../recordings/1_a_1.wav.sh")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as file:
        for member, raw in good.items() | {(b, b"bad") for b in bad}:
            about = tarfile.TarInfo(member)
            about.size = len(raw)
            file.addfile(about, io.BytesIO(raw))
        link = tarfile.TarInfo("x/recordings/1_a_1.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    (remote,) = fetch.SOURCES[name].files
    publish(monkeypatch, name, server[0], {remote.name: archive.getvalue()}, server[1])
    run("data", "fetch", name)
    found = sorted(p.name for p in room.rglob("*") if p.is_file())
    assert found == sorted(member.rsplit("/", 1)[1] for member in good)
    assert not [p for p in room.rglob("*") if p.is_symlink()]
    assert len(data.read(Path(f"{name}:train")).labels) == 1


def test_fetch_takes_nothing_that_was_changed_or_cut(
    server: tuple, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = idx_files(MNIST)
    publish(monkeypatch, "mnist", server[0], files, server[1])
    (server[1] / MNIST[2]).write_bytes(files[MNIST[2]] + b"\0")
    error = answer("data", "fetch", "mnist", code=8)["error"]
    assert f"{MNIST[2]}: not the file that was published (SHA-256 " in error
    assert list(room.iterdir()) == []
    (server[1] / MNIST[2]).write_bytes(files[MNIST[2]])
    Quiet.short = {MNIST[1]}
    error = answer("data", "fetch", "mnist", code=8)["error"]
    assert re.search(rf"{MNIST[1]}: the connection ended after \d+ of \d+ bytes", error)
    assert list(room.iterdir()) == []
    Quiet.short = set()
    run("data", "fetch", "mnist")


def test_fetch_without_a_network_says_what_to_do(
    room: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    remotes = tuple(
        dataclasses.replace(r, urls=("http://127.0.0.1:9/" + r.name,))
        for r in fetch.SOURCES["mnist"].files
    )
    source = dataclasses.replace(fetch.SOURCES["mnist"], files=remotes)
    monkeypatch.setitem(fetch.SOURCES, "mnist", source)
    error = answer("data", "fetch", "mnist", code=8)["error"]
    assert "mnist could not be fetched (http://127.0.0.1:9/train-images" in error
    assert f"put it into the folder that WAGE_DATA names, here {room / 'mnist'}" in error
    assert "published at yann.lecun.com" in error
    assert list(room.iterdir()) == []
    error = answer("data", "fetch", "minst", code=8)["error"]
    assert error == "'minst' cannot be fetched: what can is mnist, fashion-mnist, cifar10, fsdd"
    gone = tmp_path / "gone"
    error = answer("data", "fetch", "mnist", "--to", gone, code=19)["error"]
    assert error == f"there is no folder {gone}: make it, or choose another with --to"


def test_fetch_finds_what_is_in_the_folder_that_wage_data_names(room: Path, tmp_path: Path) -> None:
    put(room / "mnist" / MNIST[0], b"")
    about = answer("data", "fetch", "mnist", "--to", tmp_path)
    assert not about["fetched"] and about["folder"] == str(room / "mnist")


def test_checksums_are_whole() -> None:
    for name, source in fetch.SOURCES.items():
        assert name in data.datasets.KNOWN
        assert source.folder in data.datasets.KNOWN[name].places
        for remote in source.files:
            assert len(bytes.fromhex(remote.sha256)) == 32
            assert {url.rsplit("/", 1)[1] for url in remote.urls} == {remote.name}


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

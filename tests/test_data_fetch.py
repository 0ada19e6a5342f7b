"""wage-host data fetch: whole sets from where they are published, or one line that says why not."""

# SPDX-License-Identifier: MIT

import dataclasses
import errno
import gzip
import hashlib
import http.client
import http.server
import io
import re
import shutil
import ssl
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from test_data_commands import answer, run
from test_data_readers import put, wav
from wage_host import data
from wage_host.data import fetch

RNG = np.random.default_rng(2)


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


TS = b"@classLabel true Standing Running Walking Badminton\n@data\n1,2:3,4:Walking\n"


def wheel_for_pip(monkeypatch: pytest.MonkeyPatch, folder: Path) -> bytes:
    """The one wheel that pip finds, in place of the published one."""
    (remote,) = fetch.SOURCES["motions"].files
    raw, about = io.BytesIO(), "aeon-1.6.0.dist-info"
    with zipfile.ZipFile(raw, "w") as file:
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: aeon\nVersion: 1.6.0\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", "")
        for member in ("TRAIN.ts", "TEST.ts", "TEST.arff", "TEST.ts/../../../evil.ts"):
            file.writestr(f"aeon/datasets/data/BasicMotions/BasicMotions_{member}", TS)
    put(folder / remote.name, raw.getvalue())
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}.items():
        monkeypatch.setenv(name, value)
    return raw.getvalue()


def test_fetch_takes_a_set_out_of_a_wheel_that_pip_finds(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = wheel_for_pip(monkeypatch, tmp_path / "index")
    error = answer("data", "fetch", "motions", code=8)["error"]
    assert "aeon-1.6.0-py3-none-any.whl: not the file that was published" in error
    assert list(room.iterdir()) == []
    source = fetch.SOURCES["motions"]
    files = (dataclasses.replace(source.files[0], sha256=hashlib.sha256(raw).hexdigest()),)
    monkeypatch.setitem(fetch.SOURCES, "motions", dataclasses.replace(source, files=files))
    run("data", "fetch", "motions")
    found = sorted(p.relative_to(room).as_posix() for p in room.rglob("*") if p.is_file())
    assert found == [f"motions/BasicMotions_{part}.ts" for part in ("TEST", "TRAIN")]
    read = data.read(Path("motions:test"))
    assert [read.names[k] for k in read.labels] == ["Walking"]
    shown = run("data", "show", "motions:train")
    assert "motions:train: 1 samples of 1x2x2, float64" in shown  # and no picture of a train
    (tmp_path / "index" / files[0].name).unlink()
    shutil.rmtree(room / "motions")
    error = answer("data", "fetch", "motions", code=8)["error"]
    assert "ERROR: No matching distribution found for aeon==1.6.0" in error
    assert "without the network, put it into the folder that WAGE_DATA" in error


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
    assert error == "'minst' cannot be fetched: what can is " + ", ".join(fetch.SOURCES)
    gone = tmp_path / "gone"
    error = answer("data", "fetch", "mnist", "--to", gone, code=19)["error"]
    assert error == f"there is no folder {gone}: make it, or choose another with --to"


def test_fetch_finds_what_is_in_the_folder_that_wage_data_names(room: Path, tmp_path: Path) -> None:
    put(room / "mnist" / MNIST[0], b"")
    about = answer("data", "fetch", "mnist", "--to", tmp_path)
    assert not about["fetched"] and about["folder"] == str(room / "mnist")
    assert f"with WAGE_DATA={room}\n" in run("data", "fetch", "mnist", "--to", tmp_path)


@pytest.mark.parametrize("trouble", [ssl.SSLEOFError(8, "EOF in violation"), TimeoutError("slow")])
def test_fetch_tells_trouble_of_the_network_from_that_of_the_disk(
    trouble: OSError, server: tuple, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, "mnist", server[0], idx_files(MNIST), server[1])
    read = http.client.HTTPResponse.read

    def fails(answer: http.client.HTTPResponse, count: int | None = None) -> bytes:
        if MNIST[1] in answer.url:
            raise trouble
        return read(answer, count)

    with monkeypatch.context() as now:
        now.setattr(http.client.HTTPResponse, "read", fails)
        error = answer("data", "fetch", "mnist", code=8)["error"]
    assert f"{server[0]}{MNIST[1]}: {trouble})" in error and "\n" not in error
    assert list(room.iterdir()) == []

    class Full(io.FileIO):
        def write(self, _: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as now:
        now.setattr(Path, "open", lambda path, mode: Full(path, mode.replace("b", "")))
        error = answer("data", "fetch", "mnist", code=19)["error"]
    assert error == f"cannot write {room / 'mnist'}: No space left on device"
    assert list(room.iterdir()) == []


def test_fetch_waits_no_longer_than_its_patience(
    server: tuple, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, "mnist", server[0], idx_files(MNIST), server[1])
    ended = threading.Event()
    monkeypatch.setattr(fetch, "PATIENCE_S", 0.2)
    monkeypatch.setattr(Quiet, "do_GET", lambda _: ended.wait(60) and None)
    try:
        error = answer("data", "fetch", "mnist", code=8)["error"]
    finally:
        ended.set()
    assert f"{server[0]}gone/{MNIST[0]}: timed out; {server[0]}{MNIST[0]}: timed out" in error
    assert list(room.iterdir()) == []


def test_fetch_fills_an_empty_folder(
    server: tuple, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, "mnist", server[0], idx_files(MNIST), server[1])
    (room / "mnist").mkdir()
    assert answer("data", "fetch", "mnist")["fetched"]
    assert data.load(Path("mnist:train")).labels.tolist() == [1, 0, 2]


def test_checksums_are_whole() -> None:
    for name, source in fetch.SOURCES.items():
        assert name in data.datasets.KNOWN
        assert source.folder in data.datasets.KNOWN[name].places
        for remote in source.files:
            assert len(bytes.fromhex(remote.sha256)) == 32
            assert {re.split("[/:]", url)[-1] for url in remote.urls} == {remote.name}

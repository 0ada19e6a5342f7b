"""Public data sets from their publishers, each file checked by its SHA-256."""

import dataclasses
import hashlib
import http.client
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from wage_host import datasets
from wage_host.errors import DataError, FileError
from wage_host.files import UNREADABLE

CHUNK_BYTES = 1 << 16
MOST_BYTES = 1 << 30
PATIENCE_S = 30.0
WHEEL = "pip:"  # instead of a scheme: a wheel, from the index that this computer's pip uses
Progress = Callable[[str, int, int], None]  # a file's name, bytes so far, bytes in all or 0


@dataclasses.dataclass(frozen=True)
class Remote:
    """A file: where it is published (the first that answers counts), its SHA-256."""

    urls: tuple[str, ...]
    sha256: str

    @property
    def name(self) -> str:
        """Of the file."""
        return self.urls[0].removeprefix(WHEEL).rsplit("/", 1)[-1]


@dataclasses.dataclass(frozen=True)
class Source:
    """A set: its folder below the folder of data sets, its files; of an archive, which members.

    A member whose path ends in `members` is kept under its last group.
    """

    folder: str
    files: tuple[Remote, ...]
    members: str = ""


def _idx(places: tuple[str, ...], **sums: str) -> tuple[Remote, ...]:
    """The four files of MNIST and of what is like it."""
    names = {
        "train_images": "train-images-idx3-ubyte.gz", "train_labels": "train-labels-idx1-ubyte.gz",
        "test_images": "t10k-images-idx3-ubyte.gz", "test_labels": "t10k-labels-idx1-ubyte.gz",
    }  # fmt: skip
    return tuple(Remote(tuple(place + names[k] for place in places), sums[k]) for k in names)


SOURCES = {
    "mnist": Source(
        "mnist",
        _idx(
            (
                "http://yann.lecun.com/exdb/mnist/",
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            train_images="440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            train_labels="3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            test_images="8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            test_labels="f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    "fashion-mnist": Source(
        "fashion-mnist",
        _idx(
            (
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            ),
            train_images="3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            train_labels="a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            test_images="346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            test_labels="67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    "cifar10": Source(
        "cifar-10-batches-bin",
        (
            Remote(
                ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
        r"/((?:data_batch_[1-5]|test_batch)\.bin)",
    ),
    "fsdd": Source(
        "fsdd",
        (
            Remote(
                ("https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v1.0.9.tar.gz",),
                "8bc44cde129d505cbbb6b365c09f80c663f2aa77578afc634e6141a2f87100c0",
            ),
        ),
        r"/(recordings/\d_[a-z]+_\d+\.wav)",
    ),
    "motions": Source(
        "motions",
        (
            Remote(
                (f"{WHEEL}aeon-1.6.0-py3-none-any.whl",),
                "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
            ),
        ),
        r"/BasicMotions/(BasicMotions_(?:TRAIN|TEST)\.ts)",
    ),
}


def there(name: str, folder: Path) -> tuple[Path, Path] | None:
    """Where a set lies already, and in which folder of data sets: this, or that of WAGE_DATA."""
    if name not in SOURCES:
        raise DataError(f"'{name}' cannot be fetched: what can is {', '.join(SOURCES)}")
    for root in (folder, datasets.root()):
        try:
            place = datasets.find(name, root)
        except DataError:
            continue
        if place.is_file() or any(place.iterdir()):
            return place, root
    return None


def fetch(name: str, folder: Path, progress: Progress) -> Path:
    """Gets a set into its place in a folder, whole or not at all."""
    source, part = SOURCES[name], folder / f".{name}.part"
    target = folder / source.folder
    try:
        shutil.rmtree(part, ignore_errors=True)
        ready = part / "ready"
        ready.mkdir(parents=True)
        for remote in source.files:
            at = part / remote.name
            _download(name, remote, at, progress)
            if source.members:
                _unpack(at, source.members, ready)
            else:
                at.replace(ready / remote.name)
        ready.replace(target)
    except OSError as error:
        raise FileError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def _download(name: str, remote: Remote, path: Path, progress: Progress) -> None:
    """A file from the first place that has it as it was published."""
    troubles = []
    for url in remote.urls:
        try:
            found = _take(url, path, remote.name, progress)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ValueError,
                ConnectionError) as error:  # fmt: skip
            reason = getattr(error, "reason", None) or error
            troubles.append(f"{url}: {reason}")
            continue
        if found == remote.sha256:
            return
        troubles.append(f"{url}: not the file that was published (SHA-256 {found[:16]}…)")
    raise DataError(
        f"{name} could not be fetched ({'; '.join(troubles)}): without the network, put it into "
        f"the folder that WAGE_DATA names, here {datasets.root() / SOURCES[name].folder}; "
        f"published at {datasets.KNOWN[name].published}"
    )


def _take(url: str, path: Path, name: str, progress: Progress) -> str:
    """Downloads; gives the SHA-256 of what came."""
    if url.startswith(WHEEL):
        return _take_wheel(path)
    digest, done = hashlib.sha256(), 0
    request = urllib.request.Request(url, headers={"User-Agent": "wage-host"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer, path.open("wb") as file:
        total = int(answer.headers.get("Content-Length") or 0)
        while block := _block(answer):
            done += len(block)
            if done > MOST_BYTES:
                raise ValueError("too large")
            digest.update(block)
            file.write(block)
            progress(name, done, total)
    if total and done != total:
        raise ConnectionError(f"the connection ended after {done} of {total} bytes")
    return digest.hexdigest()


def _block(answer: http.client.HTTPResponse) -> bytes:
    """The next bytes; what fails here is the network's, not the file's."""
    try:
        return answer.read(CHUNK_BYTES)
    except OSError as error:
        raise ConnectionError(error) from None


def _take_wheel(path: Path) -> str:
    """Has pip download the wheel of this name; gives the SHA-256 of what came."""
    package, version, *_ = path.name.split("-")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    command += ["--only-binary=:all:", "--dest", str(path.parent), f"{package}=={version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not path.is_file():
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise ConnectionError((errors or ["pip did not get it"])[-1])
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _unpack(archive: Path, members: str, folder: Path) -> None:
    """Writes those members of a .tar.gz or a .whl, under names that cannot lead elsewhere."""
    count = 0
    try:
        for name, source in _members(archive, f".*{members}"):
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            with source, path.open("wb") as target:
                shutil.copyfileobj(source, target)
            count += 1
    except (tarfile.TarError, *UNREADABLE):
        raise DataError(f"{archive.name} cannot be unpacked: please report this") from None
    if not count:
        raise DataError(f"{archive.name} holds none of the files that it should: please report it")


def _members(archive: Path, pattern: str) -> Iterator[tuple[str, IO[bytes]]]:
    """Files of an archive whose path matches, each under the last group of its match."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                if found := re.fullmatch(pattern, name):
                    yield found[1], wheel.open(name)
        return
    with tarfile.open(archive, "r:gz") as file:
        for member in file:
            found = re.fullmatch(pattern, member.name)
            if found and member.isfile():
                yield found[1], file.extractfile(member)

"""Files of samples, cut and changed at random: samples, or one line that says what is wrong."""

# SPDX-License-Identifier: MIT

import gzip
import io
import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mutate import change
from scipy.io import savemat
from test_data_readers import png, put, wav
from wage_host import data
from wage_host.data import show
from wage_host.data.live import Live
from wage_host.errors import WageError
from wage_host.extras import Extras
from wage_host.network import parse

CASES = 300
RNG = np.random.default_rng(3)
X = RNG.integers(0, 256, (4, 6, 6, 3)).astype(np.uint8)
Y = np.array([0, 1, 2, 1])
CSV = b"label,a,b,c\n" + b"".join(b"walk,%d,2.5,-3\n" % k for k in range(30)) + b"run,1,2,3\n"


def npz() -> bytes:
    """Arrays x and y."""
    file = io.BytesIO()
    np.savez(file, x=X, y=Y)
    return file.getvalue()


def idx(array: np.ndarray) -> bytes:
    """An IDX file."""
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


def mat() -> bytes:
    """SVHN's format."""
    file = io.BytesIO()
    savemat(file, {"X": X.transpose(1, 2, 3, 0), "y": (Y[:, None] + 1).astype(np.uint8)})
    return file.getvalue()


def archive(**files: bytes) -> bytes:
    """A zip file of pictures or of sound."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        for name, raw in files.items():
            out.writestr(name.replace("__", "/").replace("_dot_", "."), raw)
    return file.getvalue()


SOUND = wav(RNG.integers(-9000, 9000, 700))
LABELS = {"d-labels-idx1-ubyte": idx(Y), "d-labels-idx1-ubyte.gz": gzip.compress(idx(Y))}
# Where a file lies, its right contents, how it is read, steps, what else must be there.
FORMATS: dict[str, tuple[str, bytes, str, str | None, dict[str, bytes]]] = {
    "npz": ("d.npz", npz(), "d.npz", None, {}),
    "npz, steps": ("d.npz", npz(), "d.npz", "resize 3x3, grey, normalise", {}),
    "csv": ("d.csv", CSV, "d.csv", None, {}),
    "csv, steps": ("d.csv", CSV, "d.csv", "window 4/2, normalise", {}),
    "idx": ("d-images-idx3-ubyte", idx(X[..., 0]), "d-images-idx3-ubyte", "crop 2x2", LABELS),
    "idx.gz": ("d-images-idx3-ubyte.gz", gzip.compress(idx(X[..., 0])),
               "d-images-idx3-ubyte.gz", None, LABELS),
    "labels": ("d-labels-idx1-ubyte", idx(Y), "d-images-idx3-ubyte", None,
               {"d-images-idx3-ubyte": idx(X[..., 0])}),
    "cifar": ("d.bin", bytes([3]) + bytes(range(256)) * 12, "d.bin", "resize 4x4", {}),
    "mat": ("d.mat", mat(), "d.mat", None, {}),
    "png": ("p/a/1.png", png(X[0]), "p", "resize 4x4", {"p/b/2.png": png(X[1])}),
    "ppm": ("p/a/1.ppm", b"P6 2 2 255\n" + X[0, :2, :2].tobytes(), "p", "resize 4x4",
            {"p/b/2.png": png(X[1])}),
    "wav": ("s/a/1.wav", SOUND, "s", "cut 640, logmel 8000 256/128 8, normalise",
            {"s/b/2.wav": SOUND}),
    "zip of pictures": ("d.zip", archive(a__1_dot_png=png(X[0]), b__2_dot_png=png(X[1])),
                        "d.zip", "resize 4x4", {}),
    "zip of sound": ("d.zip", archive(a__1_dot_wav=SOUND), "d.zip", "cut 90, normalise", {}),
}  # fmt: skip


def judged(read: Callable[[], data.Data]) -> str:
    """What became of a file: "" or the one line."""
    try:
        made = read()
    except WageError as error:
        line = str(error)
        assert line and "\n" not in line and error.exit_code in (2, 8, 9, 10), repr(line)
        return line
    assert made.x.dtype in (np.int8, np.uint8) and len(made.x) == len(made.labels) > 0
    return ""


@pytest.mark.parametrize("kind", FORMATS)
def test_changed_files_are_read_or_named(kind: str, tmp_path: Path, seed: int) -> None:
    name, good, place, how, beside = FORMATS[kind]
    warnings.simplefilter("ignore")
    for other, raw in beside.items():
        put(tmp_path / other, raw)
    rng, lines = random.Random(f"{seed} {kind}"), []
    read = lambda: data.learn_from(tmp_path / place, how)[0]  # noqa: E731
    put(tmp_path / name, good)
    unpicky = kind == "csv"  # which has decimals and needs steps
    assert judged(read) == "" or unpicky
    for k in range(CASES):
        if k % 3 == 0:
            raw = good[: rng.randrange(len(good))]
        else:
            raw = change(rng, good, [good, b"", bytes(99)], near=80)
        put(tmp_path / name, raw)
        lines.append(judged(read))
    assert sum(map(bool, lines)) > CASES // 10, "hardly any was refused"
    assert len(lines) == CASES


def test_changed_live_lines_are_read_or_named(seed: int) -> None:
    rng = random.Random(seed)
    _, extras = data.prepared_from(data.table.collect(data.table.rows(
        io.StringIO(CSV.decode()), "d"), "d"), "normalise")  # fmt: skip
    info, refused = parse("1x1x3 2FC", 1).info(), 0
    for _ in range(CASES):
        text = change(rng, CSV, [CSV, b"\xff\0"]).decode("utf-8", "replace")
        try:
            for x, label in Live(io.StringIO(text), Extras(extras.steps, extras.names)).samples(
                info
            ):
                assert x.size == 3 and label in (0, 1)
        except WageError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > CASES // 5


def test_changed_files_can_be_shown(tmp_path: Path, seed: int) -> None:
    """What is read is summed up without a fault, too: also what a model would not take."""
    rng, shown = random.Random(seed), 0
    for kind in ("npz", "csv", "idx", "zip of sound"):
        name, good, place, _, beside = FORMATS[kind]
        for other, raw in beside.items():
            put(tmp_path / other, raw)
        for _ in range(60):
            put(tmp_path / name, change(rng, good, [good], near=200))
            try:
                about = show.summary(data.read(tmp_path / place))
            except WageError as error:
                assert "\n" not in str(error)
                continue
            assert show.lines(about) and json.dumps(about)
            shown += 1
    assert shown > 20

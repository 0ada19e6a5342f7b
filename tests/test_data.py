"""Files of samples: what is read, and what is said of files that cannot be."""

# SPDX-License-Identifier: MIT

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from wage_host import data, network
from wage_host.errors import DataError, LabelError, ShapeError

NET = network.parse("2x2x1 3FC", 1)


def csv(folder: Path, text: str) -> Path:
    """A CSV file."""
    path = folder / "d.csv"
    path.write_text(text, encoding="utf-8")
    return path


def idx(array: np.ndarray) -> bytes:
    """An IDX file, written by hand from its publisher's description."""
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


def test_npz_comes_back(tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1)
    data.save(tmp_path / "d.npz", x, np.array([0, 2, 1]))
    read = data.load(tmp_path / "d.npz")
    assert np.array_equal(read.x, x)
    assert read.labels.tolist() == [0, 2, 1]
    taken = data.samples(read, NET.info())
    assert [label for _, label in taken] == [0, 2, 1]
    assert taken[2][0].tolist() == [4, 4, 5, 5]  # p >> 1
    assert taken[2][0].dtype == np.int8


@pytest.mark.parametrize("packed", [False, True])
def test_idx_pair_is_read(packed: bool, tmp_path: Path) -> None:
    x, y = np.arange(12).reshape(3, 2, 2), np.array([2, 0, 1])
    end = ".gz" if packed else ""
    pack = gzip.compress if packed else bytes
    (tmp_path / f"a-images-idx3-ubyte{end}").write_bytes(pack(idx(x)))
    with pytest.raises(DataError, match=r"the labels of .* are missing: put a-labels-idx1-ubyte"):
        data.load(tmp_path / f"a-images-idx3-ubyte{end}")
    (tmp_path / f"a-labels-idx1-ubyte{end}").write_bytes(pack(idx(y)))
    read = data.load(tmp_path / f"a-images-idx3-ubyte{end}")
    assert np.array_equal(read.x, x)
    assert read.labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    "text, kind, x",
    [
        ("1,0,255,3,4\n2,5,6,7,8\n", np.uint8, [[0, 255, 3, 4], [5, 6, 7, 8]]),
        ("\ufefflabel,a,b,c,d\r\n1,-128,127,0,1\r\n", np.int8, [[-128, 127, 0, 1]]),
        ("1,2,3,4,5\n\n", np.uint8, [[2, 3, 4, 5]]),
    ],
)
def test_csv_is_read(text: str, kind: type, x: list, tmp_path: Path) -> None:
    read = data.load(csv(tmp_path, text))
    assert read.x.dtype == kind
    assert read.x.tolist() == x


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "holds no samples: give at least one"),
        ("a,b\n", "holds no samples: give at least one"),
        ("1,2,3\n1,2\n", "line 2: 2 cells, not 3 as in the first row: make all alike"),
        ("1,2,3\n1,x,3\n", "line 2: column 2 is 'x', no number"),
        ("1 2 3\n", "line 1: one cell only: write label,value,value,… in each row"),
        ("1,0.5\n", "line 1: 0.5 is no whole number: give --prepare normalise"),
        ("1,256\n", "line 1: 256 is outside 0 to 255: give --prepare normalise"),
        ("1,-1\n1,128\n", "line 2: 128 is outside -128 to 127: give --prepare normalise"),
    ],
)
def test_csv_that_cannot_be_read_says_where(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        data.load(csv(tmp_path, text))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "x, y, said",
    [
        (np.zeros((2, 4), np.float32), [0, 1], "x has type float32; give uint8"),
        (np.zeros((2, 4), np.uint8), [0.5, 1.0], "labels have type float64"),
        (np.zeros((2, 4), np.uint8), [0j, 1], "labels have type complex128"),
        (np.zeros((2, 4), np.uint8), [[0, 1], [1, 1]], "give one label a sample"),
        (np.zeros((2, 4), np.uint8), 1, "give one label a sample"),
        (np.zeros((2, 4), np.uint8), [1], "2 samples but 1 labels"),
        (np.zeros((0, 4), np.uint8), np.zeros(0, int), "holds no samples"),
        (np.uint8(3), [1], "x has type uint8 and no axes"),
    ],
)
def test_arrays_that_do_not_fit_are_named(
    x: np.ndarray, y: object, said: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "d.npz", x=x, y=np.asarray(y))
    with pytest.raises(DataError) as caught:
        data.load(tmp_path / "d.npz")
    assert said in str(caught.value)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.array([{}], object), y=np.array([1]))
    with pytest.raises(DataError, match="holds Python objects"):
        data.load(tmp_path / "d.npz")


def test_paper_map_is_that_of_the_paper() -> None:
    """SPEC 3.2: p / 127.5 - 1 in 2^-7, halves to even; 0 never occurs."""
    p = np.arange(256, dtype=np.uint8)
    expected = [round((2 * int(v) - 255) * 128 / 255) for v in p]
    mapped = data.activations(p, 1).astype(int).tolist()
    assert mapped == np.clip(expected, -127, 127).tolist()


def test_labels_and_shapes_are_checked_before_anything_is_sent() -> None:
    whole = data.Data("d", np.zeros((2, 2, 2), np.uint8), np.array([0, 3]))
    with pytest.raises(LabelError, match="d, sample 2: label 3 is out of range"):
        data.samples(whole, NET.info())
    other = data.Data("d", np.zeros((2, 5), np.uint8), np.array([0, 1]))
    with pytest.raises(ShapeError, match=r"samples of 5 \(5 values\), the model takes 2x2x1 \(4\)"):
        data.samples(other, NET.info())

"""Published data sets: small files in each publisher's format, and what is said of bad ones."""

# SPDX-License-Identifier: MIT

import dataclasses
import gzip
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from wage_host import data, datasets, images, matlab
from wage_host.errors import DataError, ToolMissing

RNG = np.random.default_rng(3)


def idx(array: np.ndarray) -> bytes:
    """An IDX file, gzipped, from its publisher's description."""
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes())


def cifar_bytes(x: np.ndarray, labels: list[int]) -> bytes:
    """Records of the binary version: the label, then planes of red, green and blue."""
    rows = zip(x, labels, strict=True)
    return b"".join(
        bytes([y]) + b"".join(picture[:, :, c].tobytes() for c in range(3)) for picture, y in rows
    )


def png(array: np.ndarray) -> bytes:
    """A picture that loses nothing."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def pictures(n: int, h: int = 32, w: int = 32) -> np.ndarray:
    """Random colour pictures."""
    return RNG.integers(0, 256, (n, h, w, 3), np.uint8)


# -- MNIST and Fashion-MNIST -----------------------------------------------


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_sets_are_found_by_name(name: str, tmp_path: Path) -> None:
    folder, parts = tmp_path / name, {"train": "train", "test": "t10k"}
    folder.mkdir()
    for number, stem in enumerate(parts.values()):
        x = np.arange(24).reshape(2, 3, 4) + number
        (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(idx(x))
        (folder / f"{stem}-labels-idx1-ubyte.gz").write_bytes(idx(np.array([number, 7])))
    for number, part in enumerate(parts):
        x, labels = datasets.named(name, part, tmp_path)
        assert x.shape == (2, 3, 4, 1)
        assert x.ravel().tolist() == list(range(number, 24 + number))
        assert labels.tolist() == [number, 7]


# -- CIFAR-10, binary version ----------------------------------------------


def test_cifar_has_planes_of_red_green_and_blue(tmp_path: Path) -> None:
    x = pictures(5)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "data_batch_1.bin").write_bytes(cifar_bytes(x[:2], [3, 9]))
    (folder / "data_batch_2.bin").write_bytes(cifar_bytes(x[2:4], [0, 1]))
    (folder / "test_batch.bin").write_bytes(cifar_bytes(x[4:], [5]))
    read, labels = datasets.named("cifar10", "train", tmp_path)
    assert np.array_equal(read, x[:4])
    assert read.flags.c_contiguous
    assert labels.tolist() == [3, 9, 0, 1]
    read, labels = datasets.named("cifar10", "test", tmp_path)
    assert np.array_equal(read, x[4:])
    assert labels.tolist() == [5]
    assert np.array_equal(data.load(folder).x, x[:4])
    assert np.array_equal(data.load(folder / "test_batch.bin").x, x[4:])


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "0 bytes are no whole records"),
        (bytes(3072), "3072 bytes are no whole records"),
        (bytes([10]) + bytes(3072), "is not of CIFAR-10: it has a label above 9"),
    ],
)
def test_cifar_that_is_none_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(content)
    with pytest.raises(DataError, match=said):
        data.load(tmp_path / "data_batch_1.bin")


# -- SVHN ------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.float64])
def test_svhn_puts_the_sample_last_and_calls_zero_ten(
    packed: bool, kind: type, tmp_path: Path
) -> None:
    x, y = pictures(4, 32, 32), np.array([[10], [1], [9], [10]], kind)
    (tmp_path / "svhn").mkdir()
    path = tmp_path / "svhn" / "train_32x32.mat"
    savemat(path, {"X": x.transpose(1, 2, 3, 0), "y": y}, do_compression=packed)
    read, labels = datasets.named("svhn", "train", tmp_path)
    assert np.array_equal(read, x)
    assert read.flags.c_contiguous
    assert labels.tolist() == [0, 1, 9, 0]
    assert labels.dtype == np.uint8
    assert data.load(path).labels.tolist() == [0, 1, 9, 0]


@pytest.mark.parametrize(
    "arrays, said",
    [
        ({"X": np.zeros((2, 2, 3, 1), np.uint8)}, "must have the arrays X and y"),
        ({"X": np.zeros((2, 2, 3, 1), np.uint8), "y": np.uint8([[0]])}, "labels of SVHN are 1"),
        ({"X": np.zeros((2, 2, 3, 1), np.uint8), "y": np.uint8([[11]])}, "labels of SVHN are 1"),
        ({"X": np.zeros((2, 2, 2, 1), np.uint8), "y": np.uint8([[1]])}, "X must be height x"),
        ({"X": np.zeros((2, 2, 3, 1)), "y": np.uint8([[1]])}, "X must be height x"),
    ],
)
def test_svhn_that_is_none_is_named(arrays: dict, said: str, tmp_path: Path) -> None:
    savemat(tmp_path / "d.mat", arrays)
    with pytest.raises(DataError, match=said):
        data.load(tmp_path / "d.mat")


def test_mat_files_cut_anywhere_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.mat"
    savemat(path, {"X": pictures(1, 2, 2).transpose(1, 2, 3, 0), "y": np.uint8([[1]])})
    whole = path.read_bytes()
    for length in range(len(whole) - 8):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            data.load(path)


def test_mat_arrays_come_back_in_every_class(tmp_path: Path) -> None:
    kinds = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64]
    arrays = {np.dtype(k).name: RNG.integers(0, 100, (3, 2, 4)).astype(k) for k in kinds}
    savemat(tmp_path / "d.mat", {**arrays, "text": "no numbers"})
    read = matlab.load(tmp_path / "d.mat")
    assert set(read) == set(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == name
        assert np.array_equal(read[name], array)


# -- pictures --------------------------------------------------------------


def fill(x: np.ndarray, put: object) -> None:
    """Writes pictures of two classes, the later letter first, as 'put' wants them."""
    put("train/zebra/0001.png", png(x[2]))
    put("train/ant/0002.png", png(x[1]))
    put("train/ant/0001.png", png(x[0]))
    put("train/ant/notes.txt", b"no picture")
    put("test/ant/0001.png", png(x[3]))


def test_zip_of_pictures_is_read_by_part_class_and_name(tmp_path: Path) -> None:
    x, path = pictures(4, 6, 5), tmp_path / "cifar10" / "cifar10-jpeg.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        fill(x, archive.writestr)
    read, labels = datasets.named("cifar10-jpeg", "train", tmp_path)
    assert np.array_equal(read, x[:3])
    assert labels.tolist() == [0, 0, 1]
    assert np.array_equal(data.load(path / "test").x, x[3:])
    with pytest.raises(DataError, match=r"name one of its parts, as .*cifar10-jpeg.zip/test"):
        data.load(path)
    with pytest.raises(
        DataError,
        match=r"holds no pictures as <class>/NAME\.jpg, and no sound as <class>/NAME\.wav$",
    ):
        data.load(path / "other")


def test_folder_of_pictures_is_read_like_the_zip(tmp_path: Path) -> None:
    x = pictures(4, 6, 5)

    def put(name: str, content: bytes) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)

    fill(x, put)
    read = data.load(tmp_path / "train")
    assert np.array_equal(read.x, x[:3])
    assert read.labels.tolist() == [0, 0, 1]
    with pytest.raises(DataError, match="name one of its parts, as "):
        data.load(tmp_path)
    put("train/ant/0003.png", png(pictures(1, 5, 5)[0]))
    with pytest.raises(DataError, match=r"0003.png is 5x5x3, others are 6x5x3"):
        data.load(tmp_path / "train")
    put("train/ant/0003.png", png(x[0])[:-40])
    with pytest.raises(DataError, match=r"ant/0003.png is no picture, or is damaged"):
        data.load(tmp_path / "train")


def test_grey_pictures_have_one_channel(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    grey = pictures(1, 4, 4)[0, :, :, 0]
    (tmp_path / "a" / "1.png").write_bytes(png(grey))
    assert np.array_equal(data.load(tmp_path).x, grey[None, :, :, None])


def test_jpegs_are_nearly_what_they_were(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    flat = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    Image.fromarray(flat).save(tmp_path / "a" / "1.JPEG", quality=95)
    assert np.abs(data.load(tmp_path).x.astype(int) - flat).max() < 6  # red is not blue


def test_imagenet_is_cut_from_the_middle(tmp_path: Path) -> None:
    """A folder a synset; the short side becomes 256, the middle 224 are kept."""
    for part, synset in (("train", "n02"), ("train", "n01"), ("val", "n02")):
        (tmp_path / "imagenet" / part / synset).mkdir(parents=True)
    wide = np.zeros((128, 300, 3), np.uint8)
    wide[:, 140:160] = 255  # a bar in the middle
    for synset in ("n01", "n02"):
        path = tmp_path / "imagenet" / "train" / synset / f"{synset}_1.png"
        path.write_bytes(png(wide))
    read, labels = datasets.named("imagenet", "train", tmp_path)
    assert read.shape == (2, 224, 224, 3)
    assert labels.tolist() == [0, 1]
    bar = np.flatnonzero(read[0, 112, :, 0] > 127)
    assert (bar.min(), bar.max()) == (92, 131)  # 40 wide, in the middle of 224
    found = images.find(tmp_path / "imagenet" / "train")
    assert found.classes == ["n01", "n02"]
    assert found.read([1], images.Size(32, 28)).shape == (1, 28, 28, 3)


def test_missing_pillow_is_said_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(ToolMissing, match=r"Pillow is not installed: pip install 'wage-host\[im"):
        data.load(tmp_path)


# -- motions ---------------------------------------------------------------

TS = """#Made by hand.
@problemName Moves
@classLabel true Rest Run
@data
1,2.5,-3:4,5,6e1:Run
7,8,9:10,11,12:Rest
"""


def test_time_series_come_by_time_and_channel(tmp_path: Path) -> None:
    path = tmp_path / "BasicMotions_TEST.ts"
    path.write_text(TS)
    x, labels = datasets.series(path)
    assert labels.tolist() == [1, 0]
    assert x.tolist() == [[[[1, 4], [2.5, 5], [-3, 60]]], [[[7, 10], [8, 11], [9, 12]]]]


@pytest.mark.parametrize(
    "text", [TS[:-5], TS.replace("2.5", "2,5"), TS.replace("Rest Run", "Rest"), TS[:60], ""]
)
def test_time_series_that_are_damaged_are_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "motions").mkdir()
    (tmp_path / "motions" / "BasicMotions_TRAIN.ts").write_text(text)
    with pytest.raises(DataError, match="is truncated or not the set motions: copy it again"):
        datasets.named("motions", "train", tmp_path)


# -- where sets are --------------------------------------------------------


@pytest.mark.parametrize("name", datasets.KNOWN)
def test_missing_set_says_where_it_is_published(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = datasets.KNOWN[name]
    inside = tuple(place for place in known.places if not place.startswith("/"))
    monkeypatch.setitem(datasets.KNOWN, name, dataclasses.replace(known, places=inside))
    with pytest.raises(DataError) as caught:
        datasets.named(name, "train", tmp_path)
    line = str(caught.value)
    assert f"the data set {name} is not there: put it into {tmp_path}" in line
    assert "WAGE_DATA" in line
    assert datasets.KNOWN[name].published in line
    assert "\n" not in line


def test_fashion_mnist_is_also_found_where_debian_puts_it() -> None:
    assert "/usr/share/datasets/fashion-mnist" in datasets.KNOWN["fashion-mnist"].places


def test_set_with_a_file_missing_or_cut_is_named(tmp_path: Path) -> None:
    (tmp_path / "svhn").mkdir()
    with pytest.raises(DataError, match=r"test_32x32\.mat is missing: the set svhn is published"):
        datasets.named("svhn", "test", tmp_path)
    (tmp_path / "mnist").mkdir()
    with pytest.raises(DataError, match=r"has no train-images-idx3-ubyte\.gz: copy all four"):
        datasets.named("mnist", "train", tmp_path)
    (tmp_path / "mnist" / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08")
    (tmp_path / "mnist" / "train-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(DataError, match="is truncated or not the set mnist: copy it again"):
        datasets.named("mnist", "train", tmp_path)


def test_unknown_sets_and_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'minst' is no known data set: they are mnist, fashion"):
        datasets.named("minst", "train", tmp_path)
    with pytest.raises(DataError, match="'val' is no part of a data set: they are train and test"):
        datasets.named("mnist", "val", tmp_path)


def test_wage_data_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = pictures(1)
    (tmp_path / "cifar-10-batches-bin").mkdir()
    (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(cifar_bytes(x, [4]))
    monkeypatch.setenv("WAGE_DATA", str(tmp_path))
    assert np.array_equal(datasets.named("cifar10", "test")[0], x)
    assert np.array_equal(data.load(Path("cifar-10-batches-bin/test_batch.bin")).x, x)
    with pytest.raises(DataError, match=r"^there is no data file none\.bin$"):
        data.load(Path("none.bin"))


def test_other_files_are_told_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "d.txt").write_bytes(b"")
    with pytest.raises(DataError, match=r"data are \.npz, \.csv, IDX .*CIFAR-10's \.bin, SVHN's"):
        data.load(tmp_path / "d.txt")
    (tmp_path / "d.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match="is truncated or not what its name says"):
        data.load(tmp_path / "d.zip" / "train")

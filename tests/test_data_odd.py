"""Samples as other programs and systems leave them: odd arrays, kinds of sound, and pictures."""

# SPDX-License-Identifier: MIT

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_data_readers import csv, png, put, wav
from wage_host import data, images
from wage_host.data.table import rows
from wage_host.errors import DataError, LabelError, ShapeError
from wage_host.network import parse


@pytest.mark.parametrize(
    "y, labels, names",
    [
        (np.eye(3)[[2, 0, 1]], [2, 0, 1], ()),
        (np.array([[2], [0], [1]]), [2, 0, 1], ()),
        (np.float32([2, 0, 1]), [2, 0, 1], ()),
        (np.array([True, False, True]), [1, 0, 1], ()),
        (np.array(["no", "maybe", "yes"]), [1, 0, 2], ("maybe", "no", "yes")),
        (np.array([b"no", b"maybe", b"yes"]), [1, 0, 2], ("maybe", "no", "yes")),
    ],
)
def test_labels_of_arrays_as_programs_have_them(
    y: np.ndarray, labels: list[int], names: tuple[str, ...], tmp_path: Path
) -> None:
    np.savez(tmp_path / "d.npz", x=np.array([[[1]], [[255]], [[3]]]), y=y)  # int64
    made, extras = data.learn_from(tmp_path / "d.npz", None)
    assert (made.labels.tolist(), extras.names) == (labels, names)
    assert made.x.dtype == np.uint8 and made.x.reshape(-1).tolist() == [1, 255, 3]


@pytest.mark.parametrize(
    "arrays, said",
    [
        ({"y": [0, -1]}, "d.npz, sample 2: label -1 is out of range; give whole numbers from 0,"),
        ({"y": [0, 0.5]}, "d.npz: labels have type float64; give whole numbers from 0, or texts"),
        ({"y": np.eye(2) * 0.5}, "d.npz: give one label a sample, not labels of 2x2"),
        ({"y": np.array(["a", 1], object)}, "an array is damaged, or holds Python objects: save t"),
        ({"x": np.array([[256], [0]])}, "d.npz, sample 1: 256 is outside 0 to 255: give --prep"),
        ({"x": np.array([[0.5], [1]])}, "give uint8 (0 to 255) as (x * 255).astype('uint8') or"),
        ({"x": np.array([[0.5], [2]])}, "give uint8 (0 to 255) or int8"),
        ({"x": np.array([["a"], ["b"]])}, "d.npz: x has type <U1; give numbers"),
    ],
)
def test_arrays_that_cannot_be_samples(arrays: dict, said: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **{"x": np.zeros((2, 1), np.uint8), "y": [0, 1]} | arrays)
    with pytest.raises((DataError, LabelError)) as caught:
        data.load(tmp_path / "d.npz")
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_arrays_of_other_names_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x_train=[[1]], y_train=[0])
    with pytest.raises(DataError, match=r"d.npz has the arrays x_train, y_train: save those of ea"):
        data.load(tmp_path / "d.npz")


def test_axes_in_pytorchs_order_are_refused() -> None:
    for has, takes, how in (
        ((3, 8, 8), "8x8x3 2FC", r"x.transpose\(0, 2, 3, 1\)"),
        ((4, 9), "1x9x4 2FC", r"x.transpose\(0, 2, 1\)"),
    ):
        one = data.Data("d.npz", np.zeros((2, *has), np.uint8), np.zeros(2, np.int64))
        with pytest.raises(ShapeError, match=rf"the model takes {takes[:5]}, .* last, as {how}"):
            data.check(one, parse(takes, 1).info())
    for has in ((8, 8, 3), (192,), (1, 8, 8, 3)):
        one = data.Data("d.npz", np.zeros((2, *has), np.uint8), np.zeros(2, np.int64))
        data.check(one, parse("8x8x3 2FC", 1).info())


def form(kind: int, bits: int, channels: int = 1) -> bytes:
    """What the first part of a WAV file says; WAVE_FORMAT_EXTENSIBLE where it is to hold a kind."""
    step = channels * bits // 8
    return struct.pack("<HHIIHH", kind, channels, 8000, 8000 * step, step, bits)


def extended(kind: int, bits: int) -> bytes:
    """The same as WAVE_FORMAT_EXTENSIBLE, of 24 bits and more as programs for sound write it."""
    end = bytes.fromhex("000000001000800000aa00389b71")
    return form(0xFFFE, bits) + struct.pack("<HHIH", 22, bits, 4, kind) + end


def riff(told: bytes, sound: bytes, known: bool = True) -> bytes:
    """A WAV file with a part that only some programs know; its size may have been unknown."""
    size = len(sound) if known else 0xFFFFFFFF
    head = b"fmt " + struct.pack("<I", len(told)) + told + b"LIST\3\0\0\0abc\0data"
    body = b"WAVE" + head + struct.pack("<I", size) + sound
    return b"RIFF" + struct.pack("<I", len(body) if known else size) + body


def test_programs_for_sound_write_more_than_one_kind(tmp_path: Path) -> None:
    x = np.array([0, 256, -256, 32512, -32768, 512])
    whole = {16: x.astype("<i2").tobytes(), 32: (x << 16).astype("<i4").tobytes()}
    files = [riff(extended(1, bits), sound) for bits, sound in whole.items()]
    files += [riff(form(1, 16), whole[16], known=False)]
    for bits in (32, 64):
        sound = (x / 32768).astype(f"<f{bits // 8}").tobytes()
        files += [riff(form(3, bits), sound), riff(extended(3, bits), sound)]
    for k, file in enumerate(files):
        put(tmp_path / f"s/yes/{k}.wav", file)
    raw = data.read(tmp_path / "s")
    assert [one.reshape(-1).tolist() for one in raw.x] == [x.tolist()] * 7
    put(tmp_path / "s/yes/0.wav", riff(form(3, 32), np.array([9, -9, 1], "<f4").tobytes()))
    assert data.read(tmp_path / "s").x[0].reshape(-1).tolist() == [32767, -32768, 32767]


def test_kinds_of_sound_that_are_not_read_are_named(tmp_path: Path) -> None:
    for kind, bits in ((3, 16), (6, 8), (17, 4), (1, 64)):
        put(tmp_path / "s/no/2.wav", riff(form(kind, bits), b"\0" * 8))
        said = rf"s: no/2.wav is of a kind that is not read \(format {kind}, {bits} bits\): save it"
        with pytest.raises(DataError, match=said):
            data.read(tmp_path / "s")


def test_pictures_are_seen_as_people_see_them(tmp_path: Path) -> None:
    corner = np.zeros((8, 8, 3), np.uint8)
    corner[:4, :4] = 255
    file, turned = io.BytesIO(), Image.Exif()
    turned[0x112] = 6  # a camera held on its side: what is above lies to the right
    Image.fromarray(corner).save(file, "JPEG", exif=turned)
    put(tmp_path / "p/a/1.JPG", file.getvalue())
    seen = data.load(tmp_path / "p").x[0]
    assert seen[:4, 4:].min() > 200 and seen[:4, :4].max() < 50 and seen[4:].max() < 50


def test_pictures_of_16_bits_keep_the_upper_8(tmp_path: Path) -> None:
    deep = np.array([[0, 255, 256], [32768, 65279, 65535]], np.uint16)
    put(tmp_path / "p/a/1.png", png(deep))
    assert data.load(tmp_path / "p").x[..., 0].tolist() == [[[0, 0, 1], [128, 254, 255]]]


def test_what_systems_put_into_folders_is_no_sample(tmp_path: Path) -> None:
    some = png(np.zeros((4, 4), np.uint8))
    for name in ("a/1.png", "b/1.PNG", "b/more/2.png"):
        put(tmp_path / "p" / name, some)
    put(tmp_path / "s/yes/1.wav", wav(np.arange(5)))
    for folder in ("p", "s"):
        for name in (".DS_Store", "Thumbs.db", "a/.DS_Store", "__MACOSX/x.png", ".cache/x.png"):
            if folder == "p" or not name.startswith("a/"):
                put(tmp_path / folder / name, b"\0")
    put(tmp_path / "p/a/._1.png", b"\0")
    put(tmp_path / "s/yes/._1.wav", b"\0")
    assert data.load(tmp_path / "p").labels.tolist() == [0, 1, 1]
    assert len(data.read(tmp_path / "s").x) == 1
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as file:
        for name in ("a/1.png", "b/1.png", "__MACOSX/a/._1.png", "a/._1.png"):
            file.writestr(name, some)
    assert data.load(tmp_path / "d.zip").labels.tolist() == [0, 1]


def test_many_pictures_say_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "TOLD", 2)
    for k in range(5):
        put(tmp_path / f"p/a/{k}.png", png(np.zeros((4, 4), np.uint8)))
    said: list[tuple[int, int, str]] = []
    data.learn_from(tmp_path / "p", "resize 2x2", tell=lambda *how: said.append(how))
    assert said == [(2, 5, "a/1.png"), (4, 5, "a/3.png")]
    data.load(tmp_path / "p", tell=lambda *how: said.append(how))
    assert said[2:] == said[:2]


def test_folders_without_samples_say_where_they_may_be(tmp_path: Path) -> None:
    some = png(np.zeros((4, 4), np.uint8))
    put(tmp_path / "p/1.png", some)
    with pytest.raises(DataError, match=r"p holds no pictures as .* and no sound as .*: put those"):
        data.read(tmp_path / "p")
    put(tmp_path / "p/data_batch_1", b"")
    with pytest.raises(DataError, match=r"CIFAR-10 for Python, which is not read: get its binary"):
        data.read(tmp_path / "p")


@pytest.mark.parametrize(
    "text, x",
    [
        ("label;a;b\n1;1,5;-2\n", [1.5, -2]),
        ("label;a;b\n1;,5;2.25\n", [0.5, 2.25]),
        ("label\ta\tb\n1\t1,5e1\t2\n", [15, 2]),
        ("label,a,b\n1.0,True,false\n", [1, 0]),
    ],
)
def test_numbers_as_other_programs_write_them(text: str, x: list[float], tmp_path: Path) -> None:
    raw = data.read(csv(tmp_path, text))
    assert raw.x.tolist() == [x] and raw.labels == ["1"]
    assert [row.values for row in rows(io.StringIO("\ufeff" + text), "d")] == [tuple(x)]


def test_endings_may_be_capitals(tmp_path: Path) -> None:
    for name, text in (("d.CSV", "1,2\n"), ("d.tsv", "1\t2\n")):
        (tmp_path / name).write_text(text)
        assert data.load(tmp_path / name).x.tolist() == [[2]]


def test_decimals_of_arrays_need_preparing_and_gaps_are_named(tmp_path: Path) -> None:
    x = np.array([[0.5, 1.5], [2.5, 3.5], [1, 9]])
    np.savez(tmp_path / "d.npz", x=x, y=[0, 1, 1])
    with pytest.raises(
        DataError, match=r"x has type float64; give uint8 .* or --prepare normalise"
    ):
        data.load(tmp_path / "d.npz")
    made, extras = data.learn_from(tmp_path / "d.npz", "normalise")
    assert made.x.shape == (3, 1, 1, 2) and made.x.dtype == np.int8
    assert np.array_equal(data.load(tmp_path / "d.npz", extras).x, made.x)
    x[1, 0] = np.nan
    np.savez(tmp_path / "d.npz", x=x, y=[0, 1, 1])
    with pytest.raises(DataError, match=r"d.npz, sample 2: a value is missing"):
        data.learn_from(tmp_path / "d.npz", "normalise")

"""Tables, sound and pictures as people keep them, and what is said of those that cannot be read."""

# SPDX-License-Identifier: MIT

import io
import struct
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from wage_host import data
from wage_host.data.live import Live
from wage_host.data.table import rows
from wage_host.errors import DataError, LabelError, ToolMissing, WrongUsage
from wage_host.extras import NOTHING, Extras
from wage_host.network import parse

RNG = np.random.default_rng(5)
NAMES = Extras((), ("sit", "walk", "run"))


def csv(folder: Path, text: str) -> Path:
    """A CSV file."""
    path = folder / "d.csv"
    path.write_text(text, encoding="utf-8")
    return path


# -- CSV -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, label",
    [
        ("x,y,what\n1,2,walk\n3,4,sit\n", "what"),
        ("what,x,y\nwalk,1,2\nsit,3,4\n", None),
        ("x,label,y\n1,walk,2\n3,sit,4\n", None),
        ("x,Label,y\n1,walk,2\n3,sit,4\n", None),
        ("\ufeffx,y,what\r\n1,2, walk \r\n\r\n3,4,sit\r\n", "what"),
        ('x,y,"what"\n1,2,"walk"\n3,4,"sit"', "what"),
        ("walk,1,2\nsit,3,4\n", None),
        ("label;x;y\r\nwalk;1;2\r\nsit;3;4\r\n", None),  # Excel, in half of Europe
        ("sep=;\r\nlabel;x;y\r\nwalk;1,0;2\r\nsit;3;4\r\n", None),
        ("label\tx\ty\nwalk\t1\t2\nsit\t3\t4\n", None),
        (",x,y,what\n0,1,2,walk\n1,3,4,sit\n", "what"),  # pandas
        (",label,x,y\n0,walk,1,2\n1,sit,3,4\n", None),
        ("label,x,y,\nwalk,1,2,\nsit,3,4,\n", None),
        ('"what;",x,y\nwalk,1,2\nsit,3,4\n', "what;"),
    ],
)
def test_label_column_is_found(text: str, label: str | None, tmp_path: Path) -> None:
    made, extras = data.learn_from(csv(tmp_path, text), None, label)
    assert made.x.tolist() == [[1, 2], [3, 4]]
    assert extras.names == made.names == ("sit", "walk")  # in alphabetical order
    assert made.labels.tolist() == [1, 0]
    again = data.load(csv(tmp_path, text), NAMES, label)
    assert again.labels.tolist() == [1, 0]
    assert again.names == NAMES.names


def test_numbers_stay_numbers_and_names_may_be_numbers(tmp_path: Path) -> None:
    path = csv(tmp_path, "label,1,2\n7,1,2\n5,3,4\n")
    assert data.load(path).labels.tolist() == [7, 5]
    assert data.learn_from(path, None)[1].names == ()
    named = Extras((), ("5", "7"))
    assert data.load(path, named).labels.tolist() == [1, 0]


def test_classes_may_be_named_before_they_are_met(tmp_path: Path) -> None:
    path = csv(tmp_path, "walk,1\nsit,2\n")
    made, extras = data.learn_from(path, None, None, ("walk", "sit", "run"))
    assert made.labels.tolist() == [0, 1]
    assert extras.names == ("walk", "sit", "run")
    with pytest.raises(WrongUsage, match=r"--classes names a class twice"):
        data.learn_from(path, None, None, ("walk", "walk"))
    with pytest.raises(LabelError, match=r"d.csv, line 2: 'sit' is no class .* they are walk, run"):
        data.learn_from(path, None, None, ("walk", "run"))


@pytest.mark.parametrize(
    "text, label, said",
    [
        ("a,b\n1,2\n", "c", "d.csv has no column 'c': they are a, b"),
        ("a,a,b\n1,2,3\n", "a", "d.csv has more than one column 'a': they are a, a, b"),
        ("1,2\n", "a", "d.csv has no header, so no column 'a': write one"),
        (
            "a,b\n1,2\n3\n",
            None,
            "d.csv, line 3: 1 cells, not 2 as in the first row: make all alike",
        ),
        ("a,b\n1,2\n3,4,5\n", None, "d.csv, line 3: 3 cells, not 2"),
        ("a,b\n1,\n", None, "d.csv, line 2: column b is empty: fill it in, or leave the row out"),
        ("a,b\n,1\n", None, "d.csv, line 2: the label is empty: write one, or leave the row out"),
        ("a,b\n1,nan\n", None, "d.csv, line 2: column b is nan: leave out rows with values that"),
        ("a,b\n1,inf\n", None, "d.csv, line 2: column b is inf: leave out rows"),
        ("a,b\n1,1e999\n", None, "d.csv, line 2: column b is 1e999: leave out rows"),
        ("a,b\n1,2 3\n", None, "d.csv, line 2: column b is '2 3', no number"),
        ("a,b\n1,0x1\n", None, "d.csv, line 2: column b is '0x1', no number"),
        ("1,1_0\n2,3\n", None, "d.csv, line 1: column 2 is '1_0', no number"),
        ("a,b\n1,300\n", None, "d.csv, line 2: 300 is outside 0 to 255: give --prepare normalise"),
        ("a,b\n1,-1\n1,200\n", None, "d.csv, line 3: 200 is outside -128 to 127"),
        ('a,b\n1,"2\n', None, "d.csv, line 2: no CSV (unexpected end of data)"),
        ("a\n1\n", None, "d.csv, line 1: one cell only: write label,value,value"),
        ("a,b\n1,NA\n", None, "d.csv, line 2: column b is empty: fill it in"),
        ("a,b\n1,x\n", None, "no number: leave the column out, or say --label 'b' if these are th"),
        ("1,x\n", None, "column 2 is 'x', no number: leave the column out, or put it first if"),
        ("a,b\n1.5,2\n", None, "d.csv, line 2: column a is 1.5, no label: name the columns in"),
        ("1,5;2\n", None, "d.csv, line 1: column 1 is 1.5, no label"),
        ("a,b\n", None, "d.csv holds no samples: give at least one"),
    ],
)
def test_tables_that_cannot_be_read_say_where(
    text: str, label: str | None, said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        data.load(csv(tmp_path, text), NOTHING, label)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_need_a_model_that_has_them(tmp_path: Path) -> None:
    path = csv(tmp_path, "walk,1\nrun,2\nhop,3\n")
    with pytest.raises(
        LabelError, match=r"line 1: the label 'walk' is a name: give the model that"
    ):
        data.load(path)
    with pytest.raises(
        LabelError, match=r"line 3: 'hop' is no class of the model: they are sit, w"
    ):
        data.load(path, NAMES)


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "d.csv.gz").write_bytes(b"\x1f\x8b")  # only IDX is read packed
    with pytest.raises(DataError, match=r"d.csv.gz: data are .npz, .csv, IDX"):
        data.load(tmp_path / "d.csv.gz")
    (tmp_path / "d.csv").write_bytes(b"1,2\n\xff\xfe\n")
    with pytest.raises(DataError, match=r"d.csv, line 1: no text in UTF-8: save it as such"):
        data.load(tmp_path / "d.csv")
    file = io.TextIOWrapper(io.BytesIO(b"sit,2,3\n\xff,1,2\n"), encoding="utf-8")
    with pytest.raises(DataError, match=r"standard input, line \d: no text in UTF-8"):
        list(Live(file, NAMES).samples(parse("1x1x2 3FC", 1).info()))


# -- sound ---------------------------------------------------------------------


def wav(x: np.ndarray, rate: int = 8000, width: int = 2, channels: int = 1) -> bytes:
    """A WAV file of 16-bit samples, written in `width` bytes."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        if width == 1:
            raw = ((x >> 8) + 128).astype(np.uint8).tobytes()
        elif width == 2:
            raw = x.astype("<i2").tobytes()
        else:
            raw = b"".join(
                int(v << (8 * width - 16)).to_bytes(width, "little", signed=True) for v in x
            )
        out.writeframes(raw)
    return file.getvalue()


def put(path: Path, raw: bytes) -> None:
    """A file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_every_width_gives_the_same_sound(width: int, tmp_path: Path) -> None:
    x = np.array([0, 256, -256, 32512, -32768, 512])
    put(tmp_path / "s/yes/1.wav", wav(x, width=width))
    raw = data.read(tmp_path / "s")
    assert raw.x[0].reshape(-1).tolist() == x.tolist()
    assert (raw.rates, raw.names, raw.labels.tolist()) == ([8000], ("yes",), [0])


def test_channels_become_their_mean(tmp_path: Path) -> None:
    put(tmp_path / "s/yes/1.WAV", wav(np.array([100, 200, -5, -6, 32767, 32767]), channels=2))
    assert data.read(tmp_path / "s").x[0].reshape(-1).tolist() == [150, -6, 32767]


def test_folders_name_the_classes(tmp_path: Path) -> None:
    for name in ("yes/b.wav", "no/a.wav", "yes/a.wav"):
        put(tmp_path / "s" / name, wav(RNG.integers(-900, 900, 700)))
    made, extras = data.learn_from(tmp_path / "s", "cut 640, logmel 8000 256/128 8, normalise")
    assert made.labels.tolist() == [0, 1, 1]
    assert extras.names == ("no", "yes")
    assert made.x.shape == (3, 4, 8, 1)
    other = data.load(tmp_path / "s", Extras(extras.steps, ("yes", "maybe", "no")))
    assert other.labels.tolist() == [2, 0, 0]
    assert np.array_equal(other.x, made.x)


def test_flat_folders_and_zip_files_name_them_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as file:
        for name in ("0_ann_0.wav", "1_ann_0.wav", "1_bob_7.wav"):
            file.writestr(f"recordings/{name}", wav(np.arange(5)))
    raw = data.read(tmp_path / "d.zip" / "recordings")
    assert (raw.names, raw.labels.tolist()) == (("0", "1"), [0, 1, 1])


def test_spoken_digits_have_the_usual_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(7):
        put(tmp_path / f"fsdd/recordings/3_ann_{n}.wav", wav(np.arange(n + 1)))
    put(tmp_path / "fsdd/recordings/3_ann_14.wav", wav(np.arange(9)))
    monkeypatch.setenv("WAGE_DATA", str(tmp_path))
    assert [x.size for x in data.read(Path("fsdd:test")).x] == [1, 2, 3, 4, 5]
    assert sorted(x.size for x in data.read(Path("fsdd:train")).x) == [6, 7, 9]
    with pytest.raises(DataError, match=r"'val' is no part of a data set"):
        data.read(Path("fsdd:val"))
    put(tmp_path / "fsdd/fsdd.zip", b"PK\3\4")
    with pytest.raises(DataError, match=r"recordings is truncated or not the set fsdd: copy it a"):
        data.read(Path("fsdd:test"))


def test_samples_without_values_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 0), np.uint8), y=[0, 1])
    with pytest.raises(DataError, match=r"d.npz: samples without any value: give one a sample"):
        data.read(tmp_path / "d.npz")


def test_sound_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    good = wav(np.arange(100))
    put(tmp_path / "s/yes/1.wav", good)
    with pytest.raises(DataError, match=r"s is sound: say how it becomes a model's input"):
        data.load(tmp_path / "s")
    with pytest.raises(DataError, match=r"s: yes/1.wav: recorded with 8000 samples a second"):
        data.learn_from(tmp_path / "s", "logmel 16000 64/32 8, normalise")
    (tmp_path / "s/no").mkdir()
    with pytest.raises(DataError, match=r"s/no holds no recording: put some of the class there,"):
        data.read(tmp_path / "s")
    put(tmp_path / "s/no/2.wav", wav(np.arange(0)))
    with pytest.raises(DataError, match=r"s: no/2.wav holds no sound"):
        data.read(tmp_path / "s")
    for bad in (
        good[:-1],
        good[:50],
        good[:3],
        b"",
        b"RIFF" + good[4:20],
        b"RIFX" + good[4:],
    ):
        put(tmp_path / "s/no/2.wav", bad)
        with pytest.raises(DataError, match=r"s: no/2.wav is no WAV file, or is cut off: copy it"):
            data.read(tmp_path / "s")


def test_recordings_of_several_lengths_need_a_step(tmp_path: Path) -> None:
    put(tmp_path / "s/a/1.wav", wav(np.arange(100)))
    put(tmp_path / "s/a/2.wav", wav(np.arange(90)))
    with pytest.raises(DataError, match=r"samples have several shapes, 1x90x1 and 1x100x1: give"):
        data.learn_from(tmp_path / "s", "normalise")
    with pytest.raises(DataError, match=r"no recording is as long as a window|leaves no sample"):
        data.learn_from(tmp_path / "s", "window 101/1")


# -- pictures ------------------------------------------------------------------


def png(array: np.ndarray) -> bytes:
    """A picture that loses nothing."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def test_pictures_of_any_size_and_colour_become_alike(tmp_path: Path) -> None:
    put(tmp_path / "p/cat/1.png", png(RNG.integers(0, 256, (9, 7, 3)).astype(np.uint8)))
    put(tmp_path / "p/dog/1.png", png(RNG.integers(0, 256, (12, 20)).astype(np.uint8)))
    with pytest.raises(DataError, match=r"make all pictures of one size"):
        data.load(tmp_path / "p")
    made, extras = data.learn_from(tmp_path / "p", "resize 8x8, crop 6x4, grey")
    assert made.x.shape == (2, 6, 4, 1) and made.x.dtype == np.uint8
    assert made.labels.tolist() == [0, 1]
    assert np.array_equal(data.load(tmp_path / "p", extras).x, made.x)
    with pytest.raises(DataError, match=r"samples have several shapes"):
        data.learn_from(tmp_path / "p", "resize 8x8")


def test_colours_keep_their_order(tmp_path: Path) -> None:
    put(tmp_path / "p/a/1.png", png(np.full((4, 4, 3), (10, 20, 30), np.uint8)))
    made, _ = data.learn_from(tmp_path / "p", "resize 2x2")
    assert made.x.reshape(-1, 3).tolist() == [[10, 20, 30]] * 4


def test_pictures_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    put(tmp_path / "p/a/1.png", png(np.zeros((4, 4), np.uint8)))
    (tmp_path / "p/b").mkdir()
    with pytest.raises(DataError, match=r"p/b holds no picture: put some of the class there"):
        data.load(tmp_path / "p")
    put(tmp_path / "p/b/2.png", png(np.zeros((40, 40), np.uint8))[:-30])
    for how in (None, "resize 2x2"):
        with pytest.raises(DataError, match=r"p: b/2.png is no picture, or is damaged: copy it"):
            data.learn_from(tmp_path / "p", how)


def test_missing_pillow_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "p/a/1.png", b"")
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(ToolMissing, match=r"pip install 'wage-host\[images\]'"):
        data.learn_from(tmp_path / "p", "resize 2x2")


# -- published formats ---------------------------------------------------------


def test_published_sets_go_through_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = RNG.integers(0, 256, (6, 8, 8)).astype(np.uint8), np.arange(6).astype(np.uint8)
    for kind, array in (("images-idx3", x), ("labels-idx1", y)):
        head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        put(tmp_path / f"mnist/t10k-{kind}-ubyte", head + array.tobytes())
    monkeypatch.setenv("WAGE_DATA", str(tmp_path))
    plain = data.load(Path("mnist:test"))
    assert plain.x.shape == (6, 8, 8, 1) and plain.name == "mnist:test"
    made, extras = data.learn_from(Path("mnist:test"), "resize 4x4")
    assert made.x.shape == (6, 4, 4, 1)
    by_path = data.load(tmp_path / "mnist/t10k-images-idx3-ubyte", extras)
    assert np.array_equal(by_path.x, made.x)


# -- live ----------------------------------------------------------------------


class Source(io.StringIO):
    """Text whose lines are counted as they are read."""

    read_lines = 0

    def readline(self, *_: object) -> str:  # type: ignore[override]
        """The next one."""
        line = super().readline()
        self.read_lines += bool(line)
        return line


def test_a_live_source_gives_each_sample_as_its_line_comes() -> None:
    source = Source("walk,1,2\nrun,3,4\nsit,5,6\n")
    info = parse("1x1x2 3FC", 1).info()
    taken = Live(source, NAMES).samples(info)
    x, label = next(taken)
    assert (x.tolist(), label, source.read_lines) == ([0, 1], 1, 1)  # p >> 1
    assert next(taken)[1] == 2 and source.read_lines == 2
    assert [label for _, label in taken] == [0]


def test_a_live_source_gives_what_the_file_gives(tmp_path: Path) -> None:
    lines = [f"{'walk' if k < 9 else 'run'},{k / 4},{k * k}" for k in range(20)]
    path = csv(tmp_path, "\n".join(lines) + "\n")
    made, extras = data.learn_from(path, "window 4/3, normalise")
    extras = Extras(extras.steps, ("run", "walk"))
    info = parse("1x4x2 2FC", 1).info()
    live = list(Live(io.StringIO(path.read_text()), extras).samples(info))
    assert [x.tolist() for x, _ in live] == made.x.reshape(len(made), -1).tolist()
    assert [label for _, label in live] == made.labels.tolist()
    assert len(live) == 2 + 3


@pytest.mark.parametrize(
    "text, said",
    [
        ("walk,1,2\nwalk,1\n", "standard input, line 2: 2 cells, not 3"),
        ("walk,1,2\nhop,1,2\n", "standard input, line 2: 'hop' is no class of the model"),
        ("walk,1,2\nwalk,1,x\n", "standard input, line 2: column 3 is 'x', no number"),
        ("walk,1,2\nwalk,1,999\n", "standard input, line 2: values from 1 to 999 must lie in 0 to"),
        ("walk,1,2\nwalk,1,0.5\n", "standard input, line 2: 0.5 is no whole number"),
        ("walk,1,2\nwalk,1,-2\n", "standard input, line 2: a live value is negative: live values"),
    ],
)
def test_a_live_line_that_is_none_is_named(text: str, said: str) -> None:
    taken = Live(io.StringIO(text), NAMES).samples(parse("1x1x2 3FC", 1).info())
    next(taken)
    with pytest.raises((DataError, LabelError)) as caught:
        next(taken)
    assert said in str(caught.value)


def test_rows_are_read_one_by_one() -> None:
    source = Source("label,x\n1,2\n3,4\n")
    some = rows(iter(source.readline, ""), "d")
    assert next(some).values == (2,) and source.read_lines == 2

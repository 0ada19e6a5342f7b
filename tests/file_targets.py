"""What reads files on the host, as targets of a fuzzer: each takes any bytes.

It must give a result or one of the package's own errors, in bounded time and memory, and a blob
that is made must be accepted by the loader. The last byte of an input says how it becomes a file:
SEALED, from pieces, with the sums of its container right. fuzz_host.py fuzzes them.
"""

# SPDX-License-Identifier: MIT

import contextlib
import gzip
import io
import json
import struct
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path

import model_files
import numpy as np
from PIL import Image
from wage_host import checkpoint, core, data, initial, network, pack, rates, train, zoo
from wage_host.errors import WageError

USUAL = b"\1\0\1\0\2\0\0"  # options of convert, as check_blob() takes them
LARGE = 1 << 16  # more weights of a layer, elements, pixels are not worth the time
RAW, SEALED = b"\0", b"\1"
CONFIG = core.Config(seed=1, lr_shift=-5, replays=1, gain_shift=2, threshold=0)
FOLDER = Path(tempfile.mkdtemp(prefix="wage-fuzz-"))


class TooLarge(Exception):
    """Allowed, and not worth the time."""


# -- files from inputs ---------------------------------------------------------


def pieces(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents: the name, the end of its line, length of the contents (2 bytes), they."""
    while raw:
        name, _, rest = raw.partition(b"\n")
        end = 2 + int.from_bytes(rest[:2], "little")
        yield name.decode("latin-1"), rest[2:end]
        raw = rest[end:]


def piece(name: str, contents: bytes) -> bytes:
    """One, as pieces() takes it apart."""
    return name.encode("latin-1") + b"\n" + struct.pack("<H", len(contents)) + contents


def archive(raw: bytes) -> bytes:
    """A zip file of pieces.

    NAME TYPE SIZES becomes an array for NumPy of that type and shape, and `about` one of text.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, contents in pieces(raw):
            name, *head = name.split(" ", 2)
            if name == "about":
                head = [f"<U{len(contents)}", ""]
                contents = contents.decode("latin-1").encode("utf-32-le")
            if head:
                sizes = head[-1].replace("x", ",")
                text = f"{{'descr': '{head[0]}', 'fortran_order': False, 'shape': ({sizes})}}\n"
                text = text.encode("latin-1", "replace")
                contents = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + contents
                name += ".npy"
            file.writestr(zipfile.ZipInfo(name or "0"), contents)
    return out.getvalue()


def compressed(raw: bytes) -> bytes:
    """A .mat file: each piece becomes a compressed element behind the usual header."""
    parts = [zlib.compress(contents) for _, contents in pieces(raw)]
    head = b"".ljust(124) + b"\0\1IM"
    return head + b"".join(struct.pack("<II", 15, len(part)) + part for part in parts)


def written(name: str, contents: bytes) -> Path:
    """A file of this name."""
    path = FOLDER / name
    path.write_bytes(contents)
    return path


# -- targets -------------------------------------------------------------------


def check_blob(net: network.Network, options: bytes) -> None:
    """Any settings make a blob that the loader accepts, or are refused by name."""
    last, flags, batch, momentum, gain, threshold, replay = (options + USUAL[len(options) :])[:7]
    rules = pack.Rules(bool(flags & 1), bool(flags & 2), batch, momentum)
    config = core.Config(1, -5, 1, gain % 8, threshold % 128)
    if max(prod(shape) for at in net.places() for shape in (at.input, at.output)) > LARGE:
        raise TooLarge
    blob = pack.blob(net, "fuzzed", config, last, replay, [], rules)
    try:
        core.info(blob)
    except WageError as error:
        raise AssertionError(f"the loader refuses a blob that was made: {error}") from error


def one_network(raw: bytes, how: int) -> None:
    """A network of 'wage-host train'; the first seven bytes are options of 'convert'."""
    net = network.load(written("n.npz", archive(raw[7:]) if how & 1 else raw[7:]))
    network.warnings(net)
    check_blob(net, raw[:7])


def one_text(raw: bytes, how: int) -> None:
    """A network in text, bits behind a line's end, a schedule of rates behind another."""
    text, bits, schedule, *options = [*raw.decode("latin-1").split("\n", 3), "", "", ""][:4]
    chosen = network.parse_bits("--bits", bits) if bits else (8, 16)
    kind = (None, initial.FILLED, initial.PUBLISHED)[how % 3]
    net = network.parse(text, 1, bits=chosen, init=kind, bias=how & 4 > 0, paper=how & 8 > 0)
    network.warnings(net)
    if schedule:
        rates.schedule(schedule, 1 + how)
    check_blob(net, options[0].encode("latin-1"))


def one_samples(raw: bytes, how: int) -> None:
    """Samples in any format; the last byte chooses it."""
    name, make = FORMATS[how // 2 % len(FORMATS)]
    if "images" in name:  # the labels follow; before both the bytes of the images
        count = int.from_bytes(raw[:2], "little")
        raw, labels = raw[2 : 2 + count], raw[2 + count :]
        written(name.replace("images", "labels").replace("idx3", "idx1"), make(labels))
    path = written(name, make(raw) if how & 1 else raw)
    found = data.load(path)
    of = core.Info("", 0, found.x.shape[1:], how >> 7, 10, found.x[0].size, 0, 0)
    for x, label in data.samples(found, of):
        assert x.dtype == np.int8 and x.size == of.input_bytes and 0 <= label < 10


def as_it_is(raw: bytes) -> bytes:
    """A format without sums."""
    return raw


FORMATS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("s.npz", archive),
    ("s.csv", as_it_is),
    ("s-images-idx3-ubyte", as_it_is),
    ("s-images-idx3-ubyte.gz", gzip.compress),
    ("s.bin", as_it_is),
    ("s.mat", compressed),
    ("s.zip", archive),
]
NET = network.parse("1x1x2 2FC", 1, bias=True)
KNOWN = data.Data("known", np.array([[0, 9], [8, 1], [7, 2]], np.uint8), np.array([0, 1, 1]))
HOW = train.How(CONFIG, ((1, -3), (1, -4)), pack.Rules(momentum=2))


def this_run() -> dict[str, str]:
    """What a checkpoint of the run below must say."""
    blob = pack.blob(NET, "training", HOW.of_epoch(0), 1, 0, [], HOW.rules)
    return train.identity(core.Core(blob), KNOWN, HOW)


def one_checkpoint(raw: bytes, how: int) -> None:
    """A checkpoint of a training run, which goes on from there. RUN stands for what it is of."""
    if how & 1:
        raw = archive(raw.replace(b"RUN", json.dumps(this_run()).encode()))
    _, rows = train.run(NET, KNOWN, HOW, path=written("checkpoint", raw))
    assert [(row["epoch"], sorted(row)) for row in rows] == [
        (n, ["epoch", "rate", "seconds", "train"]) for n in (1, 2)
    ]
    assert all(0 <= row["train"] <= 1 for row in rows)


def one_model(raw: bytes, how: int) -> None:
    """Another program's model, or an export of ours; the last byte chooses the format."""
    suffix, make = MODELS[how // 2 % len(MODELS)]
    path = written(f"m{suffix}", make(raw) if how & 1 else raw)
    for reader in model_files.READERS[suffix]:
        model_files.refused(reader, path)


def with_its_length(raw: bytes) -> bytes:
    """A safetensors file of a header, the end of its line, and contents."""
    head, _, rest = raw.partition(b"\n")
    return struct.pack("<Q", len(head)) + head + rest


MODELS: list[tuple[str, Callable[[bytes], bytes]]] = [
    (".onnx", as_it_is),
    (".tflite", as_it_is),
    (".npz", archive),
    (".safetensors", with_its_length),
]
TARGETS: dict[str, Callable[[bytes, int], None]] = {
    "networks": one_network, "texts": one_text, "samples": one_samples,
    "checkpoints": one_checkpoint, "models": one_model,
}  # fmt: skip


def limit() -> None:
    """Large weights and pictures, which are allowed, take no time."""
    honest = initial._uniform

    def uniform(seed: int, number: int, shape: tuple[int, int], limit: int) -> np.ndarray:
        if shape[0] * shape[1] > LARGE:
            raise TooLarge
        return honest(seed, number, shape, limit)

    warnings.simplefilter("ignore", UserWarning)  # of zip files with a name twice
    initial._uniform = uniform
    Image.MAX_IMAGE_PIXELS = LARGE


def run(target: str, data: bytes) -> None:
    """An input to a target."""
    with contextlib.suppress(WageError, TooLarge):
        TARGETS[target](data[:-1], data[-1] if data else 0)


# -- seeds: right files ---------------------------------------------------------


def seeds_of_networks() -> list[bytes]:
    """Networks of all kinds, as files and as pieces."""
    found = []
    for text, bias, paper, options in (
        ("1x1x3 2FC", False, False, b"\1\0\1\0\2\0\0"),
        ("5x4x2 3C3/2-MP2 DW3s GAP 2FC:2", False, True, b"\2\3\4\0\2\0\0"),
        ("4x4x1 2C3 2C3s +1 MP2 AP2/1 3FC:3/9", True, False, b"\1\0\1\3\2\5\4"),
    ):
        path = FOLDER / "seed.npz"
        network.save(network.parse(text, 1, bias=bias, paper=paper), path)
        found += [options + path.read_bytes() + RAW, options + unpacked(path) + SEALED]
    return found


def unpacked(path: Path) -> bytes:
    """A .npz file as pieces."""
    out = b""
    with np.load(path) as file:
        for name, array in file.items():
            sizes = "".join(f"{n}x" for n in array.shape)
            head = f"{name} {array.dtype.str} {sizes}"
            text = name == "about"
            out += piece(name, str(array).encode()) if text else piece(head, array.tobytes())
    return out


def seeds_of_texts() -> list[bytes]:
    """Networks in text: all that the notation has."""
    texts = [named.text for named in zoo.NETWORKS.values()]
    texts += ["8x8x2 4C1x3v/2s:2/8 DW3:3/9 4C1s +1 MP2/1 AP2 GAP 3FC:8", "1x1x2 2FC\n4/12\n2..0\n"]
    texts += ["1x2x3 4FC\n2\n8@0,1/8@1\n\1\1\2\3\4\5\6"]
    return [text.encode() + bytes([number & 7]) for number, text in enumerate(texts)]


def mat(name: str, kind: int, shape: tuple[int, ...], contents: bytes) -> bytes:
    """An array of bytes of a .mat file, from the format's description."""

    def part(number: int, contents: bytes) -> bytes:
        padded = contents.ljust(-(-len(contents) // 8) * 8, b"\0")
        return struct.pack("<II", number, len(contents)) + padded

    sizes = struct.pack(f"<{len(shape)}i", *shape)
    parts = (6, struct.pack("<II", kind, 0)), (5, sizes), (1, name.encode()), (2, contents)
    return part(14, b"".join(part(*each) for each in parts))


def seeds_of_samples() -> list[bytes]:
    """Four samples in each format."""
    x, y = np.arange(48).reshape(4, 2, 2, 3).astype(np.uint8), np.uint8([1, 3, 1, 9])
    np.savez(FOLDER / "seed.npz", x=x, y=y.astype(np.int64))
    rows = zip(y.tolist(), x.reshape(4, -1).tolist(), strict=True)
    lines = [["label", *"abcdefghijkl"], *([label, *row] for label, row in rows)]
    csv = "".join(",".join(map(str, line)) + "\n" for line in lines)
    images = struct.pack(">4B3I", 0, 0, 8, 3, 4, 2, 6) + x.tobytes()
    idx = struct.pack("<H", len(images)) + images + struct.pack(">4BI", 0, 0, 8, 1, 4) + y.tobytes()
    arrays = mat("X", 9, (2, 2, 3, 4), x.tobytes()), mat("y", 9, (4, 1), y.tobytes())
    pictures = piece("a/0.ppm", b"P6 2 2 255\n" + x[0].tobytes()), piece("b/1.pgm", b"P5 1 1 9\n1")
    Image.fromarray(x[1]).save(FOLDER / "seed.png")
    pictures += (piece("b/2.png", (FOLDER / "seed.png").read_bytes()),)
    cifar = bytes([7]) + bytes(range(256)) * 12
    contents = [
        unpacked(FOLDER / "seed.npz"), csv.encode(), idx, idx, cifar,
        b"".join(piece("", array) for array in arrays), b"".join(pictures[::2]),
    ]  # fmt: skip
    found = [part + bytes([2 * k + 1]) for k, part in enumerate(contents)]
    found.append((FOLDER / "seed.npz").read_bytes() + b"\0")
    found.append(b"".ljust(124) + b"\0\1IM" + b"".join(arrays) + bytes([2 * 5]))
    return [*found, pictures[1] + bytes([2 * 6 + 1]), b"1,-2,3\n" + bytes([2])]


def seeds_of_checkpoints() -> list[bytes]:
    """A run that was interrupted in its second epoch, and one that was not begun."""
    state = core.Core(pack.blob(NET, "training", HOW.of_epoch(0), 1, 0, [], HOW.rules)).state()
    row = {"epoch": 1, "rate": "2^-3", "train": 0.5, "seconds": 0.1}
    path, found = FOLDER / "seed.checkpoint", []
    for at in (train.Progress(), train.Progress(1, 2, 1, 0.5, [row])):
        checkpoint.save(path, this_run(), state, at)
        sealed = unpacked(path).replace(json.dumps(this_run()).encode(), b"RUN")
        found += [path.read_bytes() + RAW, sealed + SEALED]
    return found


def seeds_of_models() -> list[bytes]:
    """Models in each format, and exports of ours."""
    from test_convert_fuzz import MAKERS

    parts = {archive: in_pieces, with_its_length: without_its_length}
    found = []
    for number, (suffix, make) in enumerate(MODELS):
        for file in MAKERS[suffix]():
            found.append(file + bytes([2 * number]))
            if make in parts:
                found.append(parts[make](file) + bytes([2 * number + 1]))
    return found


def in_pieces(file: bytes) -> bytes:
    """An .npz file as archive() takes it."""
    return unpacked(written("seed.npz", file))


def without_its_length(file: bytes) -> bytes:
    """A safetensors file as with_its_length() takes it."""
    end = 8 + int.from_bytes(file[:8], "little")
    return file[8:end] + b"\n" + file[end:]


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "networks": seeds_of_networks, "texts": seeds_of_texts, "samples": seeds_of_samples,
    "checkpoints": seeds_of_checkpoints, "models": seeds_of_models,
}  # fmt: skip

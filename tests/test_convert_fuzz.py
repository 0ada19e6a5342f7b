"""Damaged model files of every format: a result or one named error, in little time and memory."""

# SPDX-License-Identifier: MIT

import dataclasses
import io
import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from greedy_files import GREEDY
from model_files import READERS, graph_of, refused
from onnx_models import Maker
from safetensors.numpy import save as save_safetensors
from test_convert import HERE, blob_of, converted
from wage_host import network, pack
from wage_host._core import lib
from wage_host.convert import export, model, read_arrays
from wage_host.core import Config
from wage_host.errors import ModelError
from wage_host.extras import Extras

FILES = 500  # of a format; a first hundred of them in `make test`


def onnx_files() -> list[bytes]:
    """A model of floats, and our own export."""
    make = Maker((3, 8, 7))
    start = make.conv(4, 3, 3, 3, pads=[1, 1, 1, 1])
    make.norm(4)
    make.node("Relu")
    make.conv(4, 1, 3, 3, group=4, pads=[1, 1, 1, 1])
    make.node("Add", start)
    make.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    make.node("Transpose", perm=[0, 2, 3, 1])
    make.node("Reshape", make.array(np.array([0, -1], np.int64)))
    make.dense(3, 4 * 4 * 3)
    make.node("Softmax")
    own = export.exported(blob_of(converted("sounds")), Path("m.onnx"))
    return [make.model().SerializeToString(), own]


def tflite_files() -> list[bytes]:
    """The fixtures."""
    return [path.read_bytes() for path in sorted(HERE.rglob("*.tflite"))]


def arrays() -> dict[str, np.ndarray]:
    """Of the description above."""
    draws = np.random.default_rng(1)
    shapes = {"a.weight": (4, 3, 3, 3), "a.bias": (4,), "b.weight": (3, 4), "b.bias": (3,)}
    return {name: draws.normal(0, 1, s).astype(np.float32) for name, s in shapes.items()}


def npz_files() -> list[bytes]:
    """Plain arrays, packed and not, and our own export."""
    files = []
    for put in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        put(file, **arrays())
        files.append(file.getvalue())
    return [*files, export.exported(blob_of(converted("sounds")), Path("m.npz"))]


def safetensors_files() -> list[bytes]:
    """Plain arrays, and our own export."""
    own = export.exported(blob_of(converted("sounds")), Path("m.safetensors"))
    return [save_safetensors(arrays()), own]


MAKERS = {
    ".onnx": onnx_files, ".tflite": tflite_files, ".npz": npz_files,
    ".safetensors": safetensors_files,
}  # fmt: skip


def damaged(draws: random.Random, files: list[bytes]) -> bytes:
    """One of the files, cut off, with other bytes, or with parts of it elsewhere."""
    data = bytearray(draws.choice(files))
    what = draws.randrange(6)
    if what == 0:
        return bytes(data[: draws.randrange(len(data))])
    # structure is at one end or the other
    end = min(len(data), draws.choice((64, 1024, len(data))))
    base = draws.choice((0, len(data) - end))
    for _ in range(draws.choice((1, 1, 2, 8, 50))):
        at = base + draws.randrange(end)
        if what in (1, 2):
            data[at] ^= 1 << draws.randrange(8)
        elif what == 3:
            data[at] = draws.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif what == 4:
            data[at : at + 4] = draws.choice(
                (b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\0\0\x10\0")
            )
        else:
            size, other = draws.choice((1, 4, 32)), base + draws.randrange(end)
            data[at : at + size] = data[other : other + size]
    return bytes(data)


def test_arrays_that_unpack_to_far_more_are_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    np.savez_compressed(path, **{"a.weight": np.zeros(1 << 23, np.float32)})
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match="unpacks to far more"):
            graph_of(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_names_in_a_file_stay_in_the_line(tmp_path: Path) -> None:
    make = Maker((3, 8, 7))
    make.node("Sigmoid")
    make.node("Relu")
    model_, path = make.model(), tmp_path / "m.onnx"
    model_.graph.node[0].name = "a\nb\x1b[2J"
    path.write_bytes(model_.SerializeToString())
    with pytest.raises(ModelError, match=r"Sigmoid 'a\?b\?\[2J' \(node 0\): train it with Relu"):
        graph_of(path)
    model_.graph.input[0].name = model_.graph.node[0].input[0] = "in\nput"
    del model_.graph.input[0].type.tensor_type.shape.dim[1:]
    path.write_bytes(model_.SerializeToString())
    with pytest.raises(ModelError, match=r"its input: 'in\?put' has no fixed size behind the ba"):
        graph_of(path)


@pytest.fixture
def traced(format: str, tmp_path: Path) -> Iterator[Path]:
    """A path for files of the format that the test is for; from here on memory is counted."""
    path = tmp_path / f"m{format}"
    tracemalloc.start()
    yield path
    tracemalloc.stop()


@pytest.mark.parametrize("count", [FILES // 5, pytest.param(FILES, marks=pytest.mark.soak)])
@pytest.mark.parametrize("format", READERS)
def test_damaged_files_give_a_result_or_a_named_error(
    format: str, count: int, traced: Path, seed: int
) -> None:
    files, draws, no = MAKERS[format](), random.Random(seed), 0
    for number in range(len(files) + count):
        traced.write_bytes(files[number] if number < len(files) else damaged(draws, files))
        no += sum([refused(reader, traced) for reader in READERS[format]])
    assert no > count // 5


@pytest.mark.parametrize(
    ("format", "make"), [(format, make) for format, makes in GREEDY.items() for make in makes]
)
def test_files_get_no_more_memory_than_they_have_bytes_for(
    format: str, make: Callable[[], bytes], traced: Path
) -> None:
    traced.write_bytes(make())
    for reader in READERS[format]:
        refused(reader, traced)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".onnx"])
def test_the_largest_export_of_a_board_is_no_greedy_file(suffix: str, tmp_path: Path) -> None:
    text = "4x4x1" + " 2C3s" * (lib.WAGE_LAYERS_MAX - 1) + f" {lib.WAGE_CLASSES_MAX}FC"
    names = tuple(f"class {k}" for k in range(lib.WAGE_CLASSES_MAX))
    net = dataclasses.replace(network.parse(text, 1, bias=True), extras=Extras((), names))
    path = tmp_path / f"m{suffix}"
    path.write_bytes(export.exported(pack.blob(net, "", Config(1, -5, 1, 2, 0), 1, 0, []), path))
    if suffix == ".onnx":
        assert model.told_extras(path, model.read(path, None, None)).names == names
    else:
        told = read_arrays.metadata(path)
        again, _ = export.rebuilt(path, told, read_arrays.load(path))
        assert len(again.layers) == lib.WAGE_LAYERS_MAX and again.extras.names == names

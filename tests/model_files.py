"""Reading model files of any bytes: a result or one named error, in little time and memory."""

# SPDX-License-Identifier: MIT

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from wage_host.convert import export, fold, model, read_arrays
from wage_host.errors import WageError

# Beside four times the file: what readers and parsers are made of (60 KB, most of it to unpack an
# .npz file), and objects for up to 128 nodes or 2,048 parts of JSON (230 KB were seen).
TIMES, SPARE_BYTES = 4, 1 << 18
LONG_S = 10.0
TEXT, TENSORS = "8x7x3 4C3 GAP 3FC", "a,b"  # of files that hold arrays only


def graph_of(path: Path) -> None:
    """As `wage-host convert` reads another program's model."""
    described = (TEXT, TENSORS) if path.suffix in model.ARRAYS else (None, None)
    try:
        fold.blocks(model.read(path, *described))
    except fold.Unfit as why:
        assert str(why)


def network_of(path: Path) -> None:
    """As it reads our own export."""
    told = read_arrays.metadata(path)
    if told is not None:
        network, _ = export.rebuilt(path, told, read_arrays.load(path))
        assert network.layers


READERS: dict[str, tuple[Callable[[Path], None], ...]] = {
    ".onnx": (graph_of,),
    ".tflite": (graph_of,),
    ".npz": (graph_of, network_of),
    ".safetensors": (graph_of, network_of),
}


def refused(reader: Callable[[Path], None], path: Path) -> bool:
    """Whether a reader refuses a file; it takes no more memory than it may, and little time.

    Memory is counted while tracemalloc is at work.
    """
    started = time.process_time()
    allowed = TIMES * path.stat().st_size + SPARE_BYTES
    most, no = taken(reader, path)
    if most > allowed:
        most, no = taken(reader, path)  # without what the first file imports
    assert most <= allowed, most
    assert time.process_time() - started < LONG_S
    return no


def taken(reader: Callable[[Path], None], path: Path) -> tuple[int, bool]:
    """Bytes that a reader needs at most for a file, and whether it refuses it."""
    tracemalloc.reset_peak()
    before, no = tracemalloc.get_traced_memory()[0], False
    try:
        reader(path)
    except WageError as error:
        assert "\n" not in str(error)
        no = True
    return tracemalloc.get_traced_memory()[1] - before, no

"""Small model files that would take much memory if they were believed, and large honest ones."""

# SPDX-License-Identifier: MIT

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tflite
from onnx import TensorProto, helper
from onnx_models import Maker
from safetensors.numpy import save

MANY = 100_000


def ended(make: Maker) -> bytes:
    """The file of a model with classes at its end."""
    make.node("GlobalAveragePool")
    make.node("Flatten")
    make.dense(3, 4)
    return make.model().SerializeToString()


def large_shape() -> bytes:
    """A picture of some 2^20 values."""
    make = Maker((1, 1020, 1020))
    make.conv(4, 1, 3, 3, strides=[4, 4])
    make.node("Mul", make.array(np.ones((4, 1, 1))))
    make.node("Transpose", perm=[0, 2, 3, 1])
    make.node("Relu")
    make.node("Transpose", perm=[0, 3, 1, 2])
    return ended(make)


def constant_for_a_large_shape() -> bytes:
    """A value for each of 2^20 places, from a few."""
    make = Maker((4, 512, 512))
    make.node("Mul", make.array(np.arange(512.0)))
    return ended(make)


def constant_for_each_place() -> bytes:
    """In bytes, which would become floats."""
    make = Maker((1, 400, 400))
    numbers = make.array(np.ones((1, 400, 400), np.int8))
    make.node("Add", make.node("DequantizeLinear", make.array(0.5), x=numbers), x="input")
    return ended(make)


def shared(*kernel: int, out: int, inside: int, groups: int, bias: bool) -> bytes:
    """The same weights in many layers."""
    make = Maker((out, 1, 1))
    weights = make.random(out, inside, *kernel)
    more = [make.random(out)] if bias else []
    for _ in range(200):
        make.node("Conv", weights, *more, group=groups)
        make.node("Mul", make.array(2.0))
    make.node("Flatten")
    make.dense(3, out)
    return make.model().SerializeToString()


def shared_biases() -> bytes:
    """Sums of one product and a bias."""
    return shared(1, 1, out=4096, inside=1, groups=4096, bias=True)


def shared_weights() -> bytes:
    """A matrix."""
    return shared(1, 1, out=128, inside=128, groups=1, bias=False)


def wide_groups() -> bytes:
    """As weights of a whole convolution they are 512 times as many."""
    return shared(1, 1, out=1024, inside=2, groups=512, bias=False)


def dense_again_and_again() -> bytes:
    """The same matrix in many layers, its columns in another order."""
    make = Maker((4, 8, 8))
    weights = make.random(256, 256)
    for _ in range(100):
        make.node("Transpose", perm=[0, 2, 3, 1])
        make.node("Flatten")
        make.node("MatMul", weights)
        make.node("Reshape", make.array(np.array([0, 4, 8, 8], np.int64)))
    return ended(make)


def gathered() -> bytes:
    """Each of 2,000 rows 2,000 times."""
    make = Maker((4, 8, 8))
    indices = make.array(np.zeros(2000, np.int64))
    made = make.node("Gather", indices, x=make.array(np.zeros((1, 2000))), axis=0)
    make.node("Add", made, x="input")
    return ended(make)


def joined() -> bytes:
    """A constant, a thousand times."""
    make = Maker((4, 8, 8))
    part = make.array(np.zeros(1000))
    made = make.node("Concat", *[part] * 999, x=part, axis=0)
    make.node("Add", made, x="input")
    return ended(make)


def moved() -> bytes:
    """A matrix whose rows are its columns, copied again and again."""
    make = Maker((4, 8, 8))
    made = make.random(128, 128)
    for rows in (64, 128) * 50:
        turned = make.node("Transpose", x=made, perm=[1, 0])
        made = make.node("Reshape", make.array(np.array([rows, -1], np.int64)), x=turned)
    make.node("Add", made, x="input")
    return ended(make)


def nodes(count: int) -> bytes:
    """Many that do little."""
    make = Maker((4, 8, 8))
    for number in range(count):
        make.node("Clip", make.array(-1.0 - number), make.array(1.0 + number))
    return ended(make)


def many_nodes() -> bytes:
    """More than a board has layers."""
    return nodes(120)


def more_nodes() -> bytes:
    """More than a board's layers are made of."""
    return nodes(250)


def far_more_nodes() -> bytes:
    """More than are looked at."""
    return nodes(3000)


def long_name() -> bytes:
    """Of a node that cannot be."""
    make = Maker((4, 8, 8))
    make.node("Sigmoid")
    make.nodes[-1].name = make.nodes[-1].domain = "\N{SNOWMAN}" * MANY
    return ended(make)


def packed(field: str, kind: int, value: object = 1) -> Callable[[], bytes]:
    """Numbers of one byte each in the file."""

    def file() -> bytes:
        make = Maker((4, 8, 8))
        make.node("Add", make.array(0.0))
        tensor = make.arrays[-1]
        tensor.ClearField("raw_data")
        tensor.data_type = kind
        del tensor.dims[:]
        tensor.dims.extend([MANY])
        getattr(tensor, field).extend([value] * MANY)
        return ended(make)

    file.__name__ = f"packed_{field}"
    return file


def long_attribute() -> bytes:
    """Numbers of two bytes in the file, and more as Python's."""
    make = Maker((4, 8, 8))
    make.node("MaxPool", kernel_shape=[1000] * MANY)
    return ended(make)


def many_constants() -> bytes:
    """Of no value."""
    make = Maker((4, 8, 8))
    make.arrays = [TensorProto(name=f"{n:x}") for n in range(MANY // 10)]
    return ended(make)


def many_axes() -> bytes:
    """Of an input."""
    make = Maker((1,) * MANY)
    make.node("Flatten")
    make.dense(3, 1)
    return make.model().SerializeToString()


def told_of_much() -> bytes:
    """As our own export's metadata."""
    make = Maker((4, 8, 8))
    make.node("Relu")
    model = make.model()
    helper.set_model_props(model, {"wage": "[" + "[]," * MANY + "[]]"})
    return model.SerializeToString()


def honest(bits: int) -> Callable[[], bytes]:
    """A network that is almost nothing but weights, 100,000 of them."""

    def file() -> bytes:
        make = Maker((4, 16, 16))
        make.node("Transpose", perm=[0, 2, 3, 1])
        make.node("Flatten")
        if bits == 32:
            make.dense(100, 1024)
        else:
            numbers = make.array(make.draws.integers(-128, 128, (100, 1024)).astype(np.int8))
            scale = make.array(np.full(100, 0.01))
            x = make.x
            weights = make.node("DequantizeLinear", scale, x=numbers, axis=0)
            make.node("Gemm", weights, make.random(100), x=x, transB=1)
        make.node("Relu")
        make.dense(10, 100)
        return make.model().SerializeToString()

    file.__name__ = f"honest_{bits}_bits"
    return file


ONNX = [
    large_shape, constant_for_a_large_shape, constant_for_each_place, shared_biases,
    shared_weights, wide_groups, dense_again_and_again, gathered, joined, moved, many_nodes,
    more_nodes, far_more_nodes, long_name, long_attribute, many_constants, many_axes, told_of_much,
    honest(8), honest(32), packed("int64_data", TensorProto.INT64),
    packed("int32_data", TensorProto.INT32), packed("string_data", TensorProto.STRING, b"1"),
    packed("float_data", TensorProto.FLOAT),
]  # fmt: skip


def larger(constants: bool) -> bytes:
    """A TFLite file whose constants, or whose other tensors, say that they are large."""
    data = bytearray((Path(__file__).parent / "converted/sounds-int8.tflite").read_bytes())
    model = tflite.Model.GetRootAsModel(data, 0)
    graph = model.Subgraphs(0)
    for tensor in map(graph.Tensors, range(graph.TensorsLength())):
        shape = tensor.ShapeAsNumpy()  # written through
        if constants == (model.Buffers(tensor.Buffer()).DataLength() > 0) and len(shape) > 2:
            shape[1] = 1000 if constants else 2000
    return bytes(data)


def larger_constants() -> bytes:
    """Than the bytes that are there for them."""
    return larger(True)


def larger_tensors() -> bytes:
    """Than a board takes."""
    return larger(False)


# -- files of arrays -----------------------------------------------------------


def zipped(*members: tuple[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A .zip file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as out:
        for name, contents in members:
            out.writestr(name, contents)
    return file.getvalue()


def array(text: str, contents: bytes = b"") -> bytes:
    """An .npy file with this header."""
    head = text.encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head + contents


def of_floats(count: int, text: str = "") -> bytes:
    """An .npy file of this many zeros."""
    shape = text or f"({count},)"
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"
    return array(head, b"\0" * 4 * count)


def packed_zeros() -> bytes:
    """A thousand times as many."""
    return zipped(("a.weight.npy", of_floats(MANY)))


def packed_zeros_lzma() -> bytes:
    """With a dictionary of megabytes."""
    return zipped(("a.weight.npy", of_floats(1)), how=zipfile.ZIP_LZMA)


def declared_zeros() -> bytes:
    """More than there are."""
    return zipped(("a.weight.npy", of_floats(4, f"({MANY},)")), how=zipfile.ZIP_STORED)


def deep_header() -> bytes:
    """Lists in lists."""
    return zipped(("a.weight.npy", array("[" * 30_000)))


def many_members() -> bytes:
    """Of nothing."""
    return zipped(*((f"{n:x}", b"") for n in range(3000)), how=zipfile.ZIP_STORED)


def long_member_name() -> bytes:
    """Which zipfile repeats where two of them differ."""
    file = bytearray(zipped(("a" * 60_000, b""), how=zipfile.ZIP_STORED))
    file[50:50_000] = b"\xff" * 49_950
    return bytes(file)


def lists_in_about() -> bytes:
    """JSON of an export."""
    text = json.dumps({"wage_export": [[]] * MANY})
    file = io.BytesIO()
    np.savez_compressed(file, about=text)
    return file.getvalue()


NPZ = [
    packed_zeros, packed_zeros_lzma, declared_zeros, deep_header, many_members, long_member_name,
    lists_in_about,
]  # fmt: skip


def many_arrays() -> bytes:
    """Of nothing."""
    return save({f"{n:x}": np.zeros(0, np.int8) for n in range(3000)})


def lists_in_metadata() -> bytes:
    """JSON of an export."""
    about = json.dumps({"wage_export": [[]] * MANY})
    return save({"a": np.zeros(1, np.int8)}, {"about": about})


def lists_in_header() -> bytes:
    """JSON that safetensors refuses."""
    head = b"[" + b"[]," * MANY + b"[]]"
    return struct.pack("<Q", len(head)) + head


GREEDY: dict[str, list[Callable[[], bytes]]] = {
    ".onnx": ONNX,
    ".tflite": [larger_constants, larger_tensors],
    ".npz": NPZ,
    ".safetensors": [many_arrays, lists_in_metadata, lists_in_header],
}  # fmt: skip

"""The C runtime's side of a comparison: the oracle's layers and arrays as C has them.

Arrays are one sample's or a batch's, (n, …), as given.
"""

# SPDX-License-Identifier: MIT

from typing import Any

import blobs
import numpy as np
import reference as ref
from wage_host._core import ffi, lib
from wage_host.core import ERROR_NAMES, Core

GUARD = 0x5A  # bytes behind every array that C writes
GUARD_BYTES = 16
NO_LAYER = 255
LEVELS = [level for level in range(3) if lib.wage_host_kernels(level) != ffi.NULL]


def given(values: Any, kind: str) -> Any:
    """An array for C to read; `kind` is its dtype. Values must fit."""
    wide = np.asarray(values)
    narrow = np.ascontiguousarray(wide.reshape(-1), kind)
    assert np.array_equal(narrow, wide.reshape(-1))
    return ffi.from_buffer(f"{kind}_t[]", narrow)


class Written:
    """An array that C writes, and the proof that it wrote nothing behind it."""

    def __init__(self, count: int, kind: str, values: Any = None) -> None:
        self.count, self.kind = count, kind
        self.bytes = np.full(count * np.dtype(kind).itemsize + GUARD_BYTES, GUARD, np.uint8)
        self.c = ffi.cast(f"{kind}_t *", ffi.from_buffer(self.bytes))
        if values is not None:
            self.bytes[:-GUARD_BYTES].view(kind)[:] = np.asarray(values).reshape(-1)

    def array(self) -> np.ndarray:
        """What was written, int64."""
        assert (self.bytes[-GUARD_BYTES:] == GUARD).all(), "written behind the end"
        return self.bytes[:-GUARD_BYTES].view(self.kind).astype(np.int64)


def codes(packed: Written, count: int) -> np.ndarray:
    """The first `count` numbers of 2 bits."""
    index = np.arange(count)
    return (packed.array()[index // 4] >> (index % 4 * 2)) & 3


def fields_of(layer: ref.Layer, last: bool) -> dict[str, int]:
    """The numbers of struct wage_layer."""
    (in_h, in_w, in_c), (sum_h, sum_w, _) = layer.in_shape, layer.sum_shape
    out_h, out_w, out_c = layer.out_shape
    kept = layer.store_bits if layer.trainable else 0
    has_weights = layer.kind in (ref.DENSE, ref.CONV2D, ref.DEPTHWISE)
    row = layer.fan_in if has_weights else 0
    return {
        "kind": layer.kind, "weight_bits": layer.bits, "store_bits": kept,
        "trainable": int(layer.trainable), "last": int(last),
        "activation": ref.NONE if last else layer.activation,
        "halves_up": int(not layer.paper and (layer.bits, kept) == (8, 16)),
        "shift": layer.h, "pool": layer.pool, "skip": layer.skip, "joined": NO_LAYER,
        "factor": layer.factor, "kernel_h": layer.kernel[0], "kernel_w": layer.kernel[1],
        "stride_h": layer.stride[0], "stride_w": layer.stride[1],
        "pad_top": layer.pad[0], "pad_left": layer.pad[1],
        "pad_bottom": layer.pad[2], "pad_right": layer.pad[3],
        "in_h": in_h, "in_w": in_w, "in_c": in_c, "sum_h": sum_h, "sum_w": sum_w,
        "out_h": out_h, "out_w": out_w, "out_c": out_c, "in_count": in_h * in_w * in_c,
        "out_count": out_h * out_w * out_c, "row_count": row, "weight_count": row * out_c,
    }  # fmt: skip


class CLayer:
    """A layer of the oracle as struct wage_layer, for up to n samples and a level of kernels.

    `last`: it gives sums, not activations; `winners`: it keeps them though it is frozen.
    """

    def __init__(
        self, layer: ref.Layer, last: bool = False, winners: bool = False, n: int = 1,
        level: int = 0,
    ) -> None:  # fmt: skip
        self.layer, self.last, self.n = layer, last, n
        self.kernels = lib.wage_host_kernels(level)
        self.c = ffi.new("struct wage_layer *", fields_of(layer, last))
        self.winner, self.mask = (Written((n * self.c.out_count + 3) // 4, "uint8") for _ in "wm")
        if layer.pool == 2 and (layer.trainable or winners):
            self.c.winner = self.winner.c
        if layer.trainable and layer.paper and self.c.activation != ref.NONE:
            self.c.mask = self.mask.c
        if layer.w is not None:
            self._stored() if layer.trainable else self._in_blob()
        if layer.v is not None:
            self.velocity = Written(layer.v.size, "int16", layer.v)
            self.c.velocity = self.velocity.c

    def _stored(self) -> None:
        layer = self.layer
        self.high, self.low = (Written(self.c.weight_count, "int8") for _ in "hl")
        self.c.high = self.high.c
        self.c.low = self.low.c if layer.store_bits > 8 else ffi.NULL
        for i, w in enumerate(layer.w.reshape(-1).tolist()):
            lib.wage_set_weight(self.c, i, w)
        if layer.bias is not None:
            self.bias = Written(layer.out, "int32", layer.bias)
            self.c.bias = self.bias.c

    def _in_blob(self) -> None:
        section = blobs.pack_weights({"bits": self.layer.bits}, self.layer.w)
        self.section = given(np.frombuffer(section, np.uint8), "uint8")
        self.c.blob = ffi.cast("const uint8_t *", self.section)
        if self.layer.bias is not None:
            odd = b"\0" + self.layer.bias.astype("<i4").tobytes()  # at any address
            self.bias_section = given(np.frombuffer(odd, np.uint8), "uint8")
            self.c.blob_bias = ffi.cast("const uint8_t *", self.bias_section) + 1

    @property
    def kernel(self) -> Any:
        """The kernels of its kind."""
        return self.kernels.layer[self.layer.kind - 1]

    def weights(self) -> np.ndarray:
        """Stored weights, (out, fan_in)."""
        self.high.array(), self.low.array()
        found = [lib.wage_weight(self.c, i) for i in range(self.c.weight_count)]
        return np.array(found, np.int64).reshape(self.layer.w.shape)

    def used(self) -> np.ndarray:
        """Weights in use, (out, fan_in)."""
        row, rows = self.row(), []
        for o in range(self.layer.out):
            q = ffi.buffer(lib.wage_row(self.c, o, row), self.c.row_count)
            rows.append(np.frombuffer(bytes(q), np.int8).astype(np.int64))
        return np.stack(rows)

    def row(self) -> Any:
        """Scratch for a row of weights; none where the weights in use lie in memory."""
        kept, bits = self.c.store_bits, self.c.weight_bits
        ready = self.c.halves_up or kept == bits if self.layer.trainable else bits != 2
        self.scratch = Written(0 if ready else self.c.row_count, "int8")
        return self.scratch.c

    def winners(self) -> np.ndarray:
        """Winners of the last forward, (n, out_shape); of one sample out_shape."""
        return self._shaped(codes(self.winner, self.n * self.c.out_count), self.layer.out_shape)

    def masks(self) -> np.ndarray:
        """Masks of the last forward, shaped as winners()."""
        return self._shaped(codes(self.mask, self.n * self.c.out_count), self.layer.out_shape)

    def _shaped(self, values: np.ndarray, shape: ref.layers.Shape) -> np.ndarray:
        return values.reshape(shape if self.n == 1 else (self.n, *shape))

    def forward(self, a: np.ndarray, side: np.ndarray | None = None) -> np.ndarray:
        """Activations, or the sums of a last layer; side: an add's skip."""
        self.n = a.size // self.c.in_count
        out = Written(self.n * self.c.out_count, "int32" if self.last else "int8")
        target = ffi.new("struct wage_output *", {"sum" if self.last else "a": out.c})
        if side is not None:
            self.side = given(side, "int8")
            self.c.side = self.side
        self.kernel.forward(self.c, self.n, given(a, "int8"), target, self.row())
        self.scratch.array()
        return out.array().reshape(*a.shape[:-3], *self.layer.out_shape)

    def error(self, d: np.ndarray, a: np.ndarray | None = None) -> np.ndarray:
        """Error sums of the input; a: the input, for a max pool."""
        n = d.size // self.c.out_count
        e = Written(n * self.c.in_count, "int32")
        if a is not None:
            self.input = Written(a.size, "int8", a)
            setattr(self.c, "in", self.input.c)
        self.kernel.error(self.c, n, given(d, "int8"), e.c, self.row())
        self.scratch.array()
        return e.array().reshape(*d.shape[:-3], *self.layer.in_shape)

    def gradient(self, a: np.ndarray, d: np.ndarray, rows: int | None = None) -> np.ndarray:
        """Gradient of all weights, (out, fan_in), the rows of `rows` outputs a call."""
        n, parts, out = a.size // self.c.in_count, [], self.layer.out
        self.input = Written(a.size, "int8", a)
        setattr(self.c, "in", self.input.c)
        d, rows = given(d, "int8"), rows or out
        for o in range(0, out, rows):
            some = min(rows, out - o)
            g = Written(some * self.c.row_count, "int32")
            self.kernel.gradient(self.c, n, d, o, some, g.c)
            parts.append(g.array())
        return np.concatenate(parts).reshape(out, -1)

    def update(self, g: np.ndarray, rate: ref.Rate, parts: list[int]) -> None:
        """wage_update of all weights, those between two numbers of `parts` at once."""
        flat, c_rate = g.reshape(-1), c_rate_of(rate)
        for begin, end in zip([0, *parts], [*parts, g.size], strict=True):
            some = given(flat[begin:end], "int32")
            self.kernels.update(self.c, begin, end - begin, some, c_rate)


def c_rate_of(rate: ref.Rate) -> Any:
    """struct wage_rate."""
    return ffi.new("struct wage_rate *", vars(rate))


def mask_error(
    below: CLayer, e: np.ndarray, a: np.ndarray, parts: tuple[int, ...] = ()
) -> tuple[np.ndarray, int]:
    """wage_mask_error, in parts: the errors and the largest."""
    out, largest, activations = Written(e.size, "int32", e), 0, given(a, "int8")
    for begin, end in zip((0, *parts), (*parts, e.size), strict=True):
        found = below.kernels.mask_error(below.c, begin, end - begin, out.c, activations)
        largest = max(largest, found)
    return out.array().reshape(e.shape), largest


def round_error(below: CLayer, e: np.ndarray, n: int, parts: tuple[int, ...] = ()) -> np.ndarray:
    """wage_round_error, in parts: d in the shape of e."""
    d, errors = Written(e.size, "int8"), given(e, "int32")
    for begin, end in zip((0, *parts), (*parts, e.size), strict=True):
        below.kernels.round_error(below.c, begin, end - begin, n, errors, d.c)
    return d.array().reshape(e.shape)


def quantise_error(e: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, int]:
    """Below a layer with ReLU under the continual policy: d in the shape of e, and n or -1."""
    relu = CLayer(ref.Layer(ref.ADD, 0, 0, True, 0, (1, 1, 1), 1, (1, 1), (1, 1), (0,) * 4, 1))
    wide, largest = mask_error(relu, e, a)
    n = lib.wage_ilog2_round(largest) if largest else -1
    return round_error(relu, wide, n if largest else 7), n


def join(layer: CLayer, e: np.ndarray, y: int, d_s: np.ndarray, x_s: int) -> tuple[Any, int]:
    """wage_join of the error that an add holds: the errors and y."""
    held, out = Written(d_s.size, "int8", d_s), Written(e.size, "int32", e)
    layer.c.held, layer.c.held_x = held.c, x_s
    y = lib.wage_join(layer.c, out.c, e.size, y)
    return out.array().reshape(e.shape), y


def last_of(
    o: np.ndarray, layer: CLayer, gain_shift: int, paper: bool = False, sse: bool = False
) -> Any:
    """A wage_t of which only the output error needs something; o: (n, classes)."""
    logits = Written(o.size, "int32", o)
    fields = {"layers": layer.c, "layer_count": 1, "classes": o.shape[-1], "logits": logits.c,
              "paper": paper, "sse": sse, "config": {"gain_shift": gain_shift},
              "kernels": layer.kernels}  # fmt: skip
    return ffi.new("wage_t *", fields), logits


def output_error(
    o: np.ndarray, label: int, layer: CLayer, gain_shift: int, sse: bool = False
) -> tuple[np.ndarray, int]:
    """wage_output_error of one sample's logits: e and p[label]."""
    w, logits = last_of(o, layer, gain_shift, sse=sse)
    p = lib.wage_output_error(w, logits.c, label)
    return logits.array(), p


def quantise_output(
    e: np.ndarray, layer: CLayer, paper: bool, sse: bool
) -> tuple[np.ndarray, int, int]:
    """wage_quantise_output of errors (n, classes): d, x and the largest |d|."""
    w, errors = last_of(e, layer, 0, paper, sse)
    d, largest = Written(e.size, "int8"), ffi.new("int *")
    x = lib.wage_quantise_output(w, len(e), d.c, largest)
    assert np.array_equal(errors.array(), e.reshape(-1))
    return d.array().reshape(e.shape), x, largest[0]


def learn(core: Core, id: int, x: np.ndarray, label: int) -> Any:
    """wage_learn: its record, or its error as a name."""
    record = ffi.new("struct wage_record *")
    error = lib.wage_learn(core.wage, id, given(x, "int8"), label, record)
    return ERROR_NAMES[error] if error else record


def together(core: Core, function: Any, x: list[np.ndarray], labels: list[int]) -> Any:
    """wage_train or wage_predict of samples at once: their records, or its error as a name."""
    records = ffi.new("struct wage_record[]", max(1, len(x)))
    data = given(np.concatenate([np.zeros(0, np.int8), *(one.reshape(-1) for one in x)]), "int8")
    error = function(core.wage, len(x), data, given(labels or [0], "uint8"), records)
    return ERROR_NAMES[error] if error else records


def replay(core: Core) -> list[tuple[int, bytes]]:
    """The stored samples: label, latent or input."""
    w = core.wage
    size = w.input_bytes if w.inputs else w.latent_bytes
    samples = bytes(ffi.buffer(w.replay_sample, w.replay_count * size))
    return [
        (w.replay_label[i], samples[i * size : (i + 1) * size])
        for i in range(w.replay_count)
    ]

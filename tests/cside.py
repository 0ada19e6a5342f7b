"""The C runtime's side of a comparison: the oracle's layers and arrays as C has them."""

# SPDX-License-Identifier: MIT

from typing import Any

import blobs
import numpy as np
import reference as ref
from wage_host._core import ffi, lib
from wage_host.core import ERROR_NAMES, Core

GUARD = 0x5A  # bytes behind every array that C writes
GUARD_BYTES = 16
KERNELS = {
    ref.DENSE: (lib.wage_dense_forward, lib.wage_dense_error, lib.wage_dense_gradient),
    ref.CONV2D: (lib.wage_conv2d_forward, lib.wage_conv2d_error, lib.wage_conv2d_gradient),
}


def given(values: Any, kind: str) -> Any:
    """An array for C to read; `kind` is its dtype. Values must fit."""
    wide = np.asarray(values)
    narrow = np.ascontiguousarray(wide.reshape(-1), kind)
    assert np.array_equal(narrow, wide.reshape(-1))
    return ffi.from_buffer(f"{kind}_t[]", narrow)


class Written:
    """An array that C writes, and the proof that it wrote nothing behind it."""

    def __init__(self, count: int, kind: str) -> None:
        self.count, self.kind = count, kind
        self.bytes = np.full(count * np.dtype(kind).itemsize + GUARD_BYTES, GUARD, np.uint8)
        self.c = ffi.cast(f"{kind}_t *", ffi.from_buffer(self.bytes))

    def array(self) -> np.ndarray:
        """What was written, int64."""
        assert (self.bytes[-GUARD_BYTES:] == GUARD).all(), "written behind the end"
        return self.bytes[:-GUARD_BYTES].view(self.kind).astype(np.int64)


class CLayer:
    """A layer of the oracle as struct wage_layer; `last`: it gives sums, not activations."""

    def __init__(self, layer: ref.Layer, last: bool = False, winners: bool = False) -> None:
        self.layer, self.last = layer, last
        (in_h, in_w, in_c), (sum_h, sum_w, _) = layer.in_shape, layer.sum_shape
        out_h, out_w, out_c = layer.out_shape
        fields = {
            "kind": layer.kind, "weight_bits": layer.bits, "trainable": int(layer.trainable),
            "relu": int(not last), "shift": layer.h, "pool": layer.pool,
            "kernel_h": layer.kernel[0], "kernel_w": layer.kernel[1],
            "stride_h": layer.stride[0], "stride_w": layer.stride[1],
            "pad_top": layer.pad[0], "pad_left": layer.pad[1],
            "pad_bottom": layer.pad[2], "pad_right": layer.pad[3],
            "in_h": in_h, "in_w": in_w, "in_c": in_c, "sum_h": sum_h, "sum_w": sum_w,
            "out_h": out_h, "out_w": out_w, "out_c": out_c, "in_count": in_h * in_w * in_c,
            "out_count": out_h * out_w * out_c, "row_count": layer.fan_in,
            "weight_count": layer.out * layer.fan_in,
        }  # fmt: skip
        self.c = ffi.new("struct wage_layer *", fields)
        self.winner = Written((self.c.out_count + 3) // 4, "uint8")
        if layer.pool == 2 and (layer.trainable or winners):
            self.c.winner = self.winner.c
        if layer.trainable:
            self.high = Written(self.c.weight_count, "int8")
            self.low = Written(self.c.weight_count, "int8")
            self.c.high = self.high.c
            self.c.low = self.low.c if layer.bits == 8 else ffi.NULL
            for i, w in enumerate(layer.w.reshape(-1).tolist()):
                lib.wage_set_weight(self.c, i, w)
        else:
            section = blobs.pack_weights({"bits": layer.bits}, layer.w)
            self.section = given(np.frombuffer(section, np.uint8), "uint8")
            self.c.blob = ffi.cast("const uint8_t *", self.section)

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
        """Scratch for 2-bit weights; none where the weights need none."""
        self.scratch = Written(self.c.row_count if self.layer.bits == 2 else 0, "int8")
        return self.scratch.c

    def winners(self) -> np.ndarray:
        """Winners of the last forward, out_shape."""
        packed = self.winner.array()
        index = np.arange(self.c.out_count)
        return ((packed[index // 4] >> (index % 4 * 2)) & 3).reshape(self.layer.out_shape)

    def forward(self, a: np.ndarray) -> np.ndarray:
        """Activations, or the sums of a last layer, out_shape."""
        out = Written(self.c.out_count, "int32" if self.last else "int8")
        target = ffi.new("struct wage_output *", {"sum" if self.last else "a": out.c})
        KERNELS[self.layer.kind][0](self.c, given(a, "int8"), target, self.row())
        self.scratch.array()
        return out.array().reshape(self.layer.out_shape)

    def error(self, d: np.ndarray) -> np.ndarray:
        """Error sums of the input, in_shape."""
        e = Written(self.c.in_count, "int32")
        KERNELS[self.layer.kind][1](self.c, given(d, "int8"), e.c, self.row())
        self.scratch.array()
        return e.array().reshape(self.layer.in_shape)

    def gradient(self, a: np.ndarray, d: np.ndarray) -> np.ndarray:
        """Gradient of all weights, (out, fan_in)."""
        a, d, rows = given(a, "int8"), given(d, "int8"), []
        for o in range(self.layer.out):
            g = Written(self.c.row_count, "int32")
            KERNELS[self.layer.kind][2](self.c, a, d, o, g.c)
            rows.append(g.array())
        return np.stack(rows)


def quantise_error(e: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, int]:
    """wage_quantise_error: d in the shape of e, and n."""
    d = Written(e.size, "int8")
    n = lib.wage_quantise_error(given(e.copy(), "int32"), given(a, "int8"), d.c, e.size)
    return d.array().reshape(e.shape), n


def output_error(
    o: np.ndarray, label: int, layer: CLayer, gain_shift: int
) -> tuple[np.ndarray, int]:
    """wage_output_error of these logits: d and p[label]."""
    d, logits = Written(o.size, "int8"), given(o, "int32")
    fields = {"layers": layer.c, "layer_count": 1, "classes": o.size, "logits": logits}
    w = ffi.new("wage_t *", fields)
    w.config.gain_shift = gain_shift
    p = lib.wage_output_error(w, label, d.c)
    return d.array(), p


def learn(core: Core, id: int, x: np.ndarray, label: int) -> Any:
    """wage_learn: its record, or its error as a name."""
    record = ffi.new("struct wage_record *")
    error = lib.wage_learn(core.wage, id, given(x, "int8"), label, record)
    return ERROR_NAMES[error] if error else record


def replay(core: Core) -> list[tuple[int, bytes]]:
    """The stored samples: label and latent."""
    w = core.wage
    latents = bytes(ffi.buffer(w.replay_latent, w.replay_count * w.latent_bytes))
    return [
        (w.replay_label[i], latents[i * w.latent_bytes : (i + 1) * w.latent_bytes])
        for i in range(w.replay_count)
    ]

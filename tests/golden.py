"""The golden vectors as models, samples and tensors of ours, for any implementation of a step.

    for case in CASES:                                  # paths
        golden = Golden(case)
        found = my_step(golden.blob(lr_shift=3), golden.samples())
        golden.compare(found, lr_shift=3)

What `my_step` gives is a list with a dict for each layer: tensors by their name in
vectors/README.md without the type, batches first, images (n, height, width, channels), weights
(out, fan_in); besides "w", the stored weights after the step. It may leave tensors out.
"""

# SPDX-License-Identifier: MIT

import json
import re
from collections.abc import Callable
from pathlib import Path

import blobs
import numpy as np
import reference as ref

CASES = sorted((Path(__file__).parent / "vectors").glob("*.npz"))
Tensors = dict[str, np.ndarray]
Step = Callable[[bytes, list[tuple[np.ndarray, int]]], list[Tensors]]
WEIGHTS = (
    "w_store",
    "q",
    "g",
    "v_lr1",
    "v_lr8",
    "dw_lo_lr1",
    "dw_lo_lr8",
    "dw_hi_lr1",
    "dw_hi_lr8",
)
RATES = {0: "lr1", 3: "lr8"}  # lr_shift
SEED = 77


class Golden:
    """One file: the layers, and of each its tensors in our layout."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as z:
            self.arrays = dict(z)
        self.bits = json.loads(str(self.arrays["meta_json"]))["kW"]
        self.arch = json.loads(str(self.arrays["arch_json"]))
        shape = self.arrays["a0_int8"].shape[1:]
        self.input_shape = shape if len(shape) == 3 else (1, 1, *shape)
        self.layers = [self._tensors(f"L{i}_") for i in range(1, len(self.arch) + 1)]

    def _tensors(self, prefix: str) -> Tensors:
        names = [name for name in self.arrays if name.startswith(prefix)]
        plain = [re.sub("_(u?int|float)[0-9]+$", "", name[len(prefix) :]) for name in names]
        pairs = zip(plain, names, strict=True)
        return {name: self._ours(name, self.arrays[full]) for name, full in pairs}

    def _ours(self, name: str, tensor: np.ndarray) -> np.ndarray:
        if tensor.dtype != np.float64:
            tensor = tensor.astype(np.int64)
        if name in WEIGHTS:
            return np.moveaxis(tensor, -1, 0).reshape(tensor.shape[-1], -1)
        return tensor[:, None, None, :] if tensor.ndim == 2 else tensor

    def samples(self) -> list[tuple[np.ndarray, int]]:
        """The batch: input activations as bytes become them by map 1, and labels."""
        labels = self.arrays["labels_uint8"].argmax(axis=1).tolist()
        return list(zip(self.arrays["a0_int8"].astype(np.int64), labels, strict=True))

    def blob(self, lr_shift: int, **header: int) -> bytes:
        """The network under the paper's policy and loss, stored with 8 bits."""
        layers = []
        for arch, t in zip(self.arch, self.layers, strict=True):
            fields = {
                "flags": 1, "bits": self.bits, "store_bits": 8, "weights": t["w_store"],
                "alpha_shift": int(t["alpha_shift"]),
            }  # fmt: skip
            out = len(t["q"])
            if arch["type"] == "conv":
                pad, pool = (arch["k"] - 1) // 2, arch["pool"] or 1
                pad = (pad if arch["pad"] == "SAME" else 0,) * 4
                layers.append(
                    blobs.conv2d(out, kernel=(arch["k"],) * 2, pad=pad, pool=pool, **fields)
                )
            else:
                layers.append(blobs.dense(out, **fields))
        flags, batch = blobs.PAPER | blobs.SSE, len(self.arrays["a0_int8"])
        settings = {"flags": flags, "batch": batch, "lr_shift": lr_shift, "seed": SEED}
        settings |= {"input_map": 1} | header
        return blobs.make_blob(layers, self.input_shape, header=settings)

    def stored(self, index: int, lr_shift: int) -> np.ndarray:
        """The stored weights after the step: which way each was rounded is SPEC 1.8's to say."""
        t, rate = self.layers[index], RATES[lr_shift]
        if "g_shift" not in t:
            return t["w_store"]  # no update: our convention
        g, n = t["g"], int(t["g_shift"])
        r = [ref.fraction(ref.key(SEED, 0, 1 + index), i) for i in range(g.size)]
        m = np.abs(g) << lr_shift
        down = m >> n
        up = ((m << 16) + (np.array(r).reshape(g.shape) << n)) >> (n + 16) > down
        lo, hi = t[f"dw_lo_{rate}"], t[f"dw_hi_{rate}"]
        dw = np.where(up == (g > 0), hi, lo)
        limit = 128 - (1 << (8 - self.bits))
        return np.clip(t["w_store"] - dw, -limit, limit)

    def compare(self, found: list[Tensors], lr_shift: int) -> list[set[str]]:
        """Every bit of every tensor that both have; their names."""
        names = []
        for index, (mine, t) in enumerate(zip(found, self.layers, strict=True)):
            want = t | {"w": self.stored(index, lr_shift)}
            names.append(set(want) & set(mine))
            for name in names[-1]:
                message = f"layer {index + 1}: {name}"
                np.testing.assert_array_equal(mine[name], want[name], message)
        return names

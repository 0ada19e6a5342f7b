"""The oracle: SPEC.md once more, in plain integer NumPy, to check the C runtime against.

One function per C function, of the same name without the prefix. Readable
before fast. Nothing here is a float: arrays are int64 (words are uint32 or
Python integers), tables are integers.
"""

# SPDX-License-Identifier: MIT

from .blob import open_model
from .layers import (
    CONV2D,
    DENSE,
    Layer,
    activate,
    conv2d_error,
    conv2d_forward,
    conv2d_gradient,
    dense_error,
    dense_forward,
    dense_gradient,
    max_pool,
    unpool,
)
from .num import (
    below,
    clamp,
    crc32,
    draw,
    floor_shift,
    fraction,
    ilog2_round,
    key,
    mix,
    rne,
    stochastic_shift,
)
from .state import (
    checkpoint,
    checkpoint_bytes,
    load_state,
    state_bytes,
    state_crc,
    weight_bytes,
    weight_crc,
)
from .train import (
    Config,
    Metrics,
    Model,
    Record,
    RefusedError,
    input_activations,
    learn,
    output_error,
    predict,
    quantise_error,
    replay_offer,
    start,
    step,
    update,
)

__all__ = [
    "CONV2D", "DENSE", "Config", "Layer", "Metrics", "Model", "Record", "RefusedError",
    "activate", "below", "checkpoint", "checkpoint_bytes", "clamp", "conv2d_error",
    "conv2d_forward", "conv2d_gradient", "crc32", "dense_error", "dense_forward",
    "dense_gradient", "draw", "floor_shift", "fraction", "ilog2_round", "input_activations",
    "key", "learn", "load_state", "max_pool", "mix", "open_model", "output_error", "predict",
    "quantise_error", "replay_offer", "rne", "start", "state_bytes", "state_crc", "step",
    "stochastic_shift", "unpool", "update", "weight_bytes", "weight_crc",
]  # fmt: skip

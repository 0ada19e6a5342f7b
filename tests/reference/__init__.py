"""The oracle: SPEC.md once more, in plain integer NumPy, to check the C runtime against.

One function per C function, of the same name without the prefix. Readable
before fast. Nothing here is a float: arrays are int64 (words are uint32 or
Python integers), tables are integers.
"""

# SPDX-License-Identifier: MIT

from .blob import check_extras, open_model
from .layers import (
    ADD,
    AVERAGE_POOL,
    CONV2D,
    DENSE,
    DEPTHWISE,
    MAX_POOL,
    NONE,
    RELU,
    SIGNED,
    Layer,
    activate,
    blocked,
    forward,
    max_pool,
    opened,
    saturated,
    sums,
    unpool,
)
from .model import Config, Metrics, Model, Record, RefusedError
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
from .sample import (
    forget_class,
    input_activations,
    learn,
    name_class,
    predict,
    replay_offer,
    start,
    train,
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
from .steps import (
    Pass,
    Rate,
    Step,
    output_error,
    probabilities,
    quantise_error,
    run,
    step,
    update,
    update_bias,
)

__all__ = [
    "ADD", "AVERAGE_POOL", "CONV2D", "DENSE", "DEPTHWISE", "MAX_POOL", "NONE", "RELU", "SIGNED",
    "Config", "Layer", "Metrics", "Model", "Pass", "Rate", "Record", "RefusedError", "Step",
    "activate", "below", "blocked", "check_extras", "checkpoint", "checkpoint_bytes", "clamp",
    "crc32", "draw",
    "floor_shift", "forget_class", "forward", "fraction", "ilog2_round", "input_activations",
    "key", "learn", "load_state", "max_pool", "mix", "name_class", "open_model", "opened",
    "output_error", "predict",
    "probabilities", "quantise_error", "replay_offer", "rne", "run", "saturated", "start",
    "state_bytes", "state_crc", "step", "stochastic_shift", "sums", "train", "unpool", "update",
    "update_bias", "weight_bytes", "weight_crc",
]  # fmt: skip

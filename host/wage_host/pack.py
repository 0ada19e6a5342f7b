"""The blob: a network as the bytes a board takes (SPEC section 9)."""

import dataclasses
import struct
import zlib

import numpy as np

from wage_host import extras, layers
from wage_host._core import lib
from wage_host.core import Config
from wage_host.errors import ModelError
from wage_host.layers import Layer, Network

TRAINABLE, BIAS, FIXED = 1, 2, 4  # flags of a layer
PAPER, SSE, INPUTS, MEANS, TABLE = 1, 2, 8, 16, 32  # flags of the header, beside extras
INT32_MAX = (1 << 31) - 1


@dataclasses.dataclass(frozen=True)
class Rules:
    """By what a model learns, fixed in its blob: policy and loss (SPEC 2.8).

    batch: samples a step, 1 to 4096; momentum: velocities fade by 2^-momentum a step, 1 to 7,
    or 0: there are none. inputs: the replay keeps them, not latents; means: the last layer holds
    the mean of each class (SPEC 5.6); table: names and confusion of classes are kept (SPEC 6.6).
    """

    paper: bool = False
    sse: bool = False
    batch: int = 1
    momentum: int = 0
    inputs: bool = False
    means: bool = False
    table: bool = False

    @property
    def flags(self) -> int:
        """Those of the header."""
        return (
            PAPER * self.paper | SSE * self.sse | INPUTS * self.inputs | MEANS * self.means
            | TABLE * self.table
        )  # fmt: skip


def cut(network: Network, train_last: int) -> int:
    """Index of the first layer that goes on learning, when `train_last` with weights do."""
    weighted = network.weighted
    if not 1 <= train_last <= len(weighted):
        raise ModelError(f"--train-last is 1 to {len(weighted)} for this network")
    first = weighted[-train_last]
    for k, layer in enumerate(network.layers):
        if layer.kind == lib.WAGE_ADD and k - layer.skip < first <= k:
            raise ModelError(
                f"--train-last {train_last} begins between '{layer.text}' and what it adds, the "
                f"input of '{network.layers[k - layer.skip].text}': train more layers, or fewer"
            )
    return first


def only_biases(network: Network, train_last: int) -> Network:
    """The network with weights that stay as they are: of the last layers only biases learn."""
    first = cut(network, train_last)
    layers = tuple(
        dataclasses.replace(
            layer, fixed=True,
            bias=np.zeros(layer.out, np.int32) if layer.bias is None else layer.bias,
        )
        if k >= first and layer.weight_bits else layer
        for k, layer in enumerate(network.layers)
    )  # fmt: skip
    return dataclasses.replace(network, layers=layers)


def check(network: Network, rules: Rules) -> None:
    """Raises what the loader would refuse, in words that name the layer."""
    if not 1 <= rules.batch <= lib.WAGE_BATCH_MAX:
        raise ModelError(f"a batch has 1 to {lib.WAGE_BATCH_MAX} samples, not {rules.batch}")
    most = lib.WAGE_MOMENTUM_MAX
    if not 0 <= rules.momentum <= most:
        raise ModelError(f"momentum is 1 to {most}, or 0 for none, not {rules.momentum}")
    for at in network.places():
        layers.check(at, rules.batch)
        if rules.paper and at.layer.bias is not None:
            raise ModelError("the paper's policy trains no bias: leave out --bias, or the policy")
    high = at.layer.alpha_shift + max(at.layer.weight_bits - 1, 0)
    largest = at.fan_in * lib.WAGE_PRODUCT_MAX + lib.WAGE_BIAS_MAX + 1
    if at.layer.kind == lib.WAGE_AVERAGE_POOL:
        largest = at.fan_in * at.layer.factor * 128
    if rules.sse and largest + (1 << 7 + high) > INT32_MAX:
        raise ModelError(
            f"'{at.layer.text}' is too large for a last layer with the loss sse: "
            "use ce, or make it smaller"
        )


def blob(
    network: Network,
    name: str,
    config: Config,
    train_last: int,
    replay_capacity: int,
    replay: list[tuple[bytes, int]],
    rules: Rules | None = None,
) -> bytes:
    """The model as a board takes it.

    `train_last`: how many layers with weights, counted from the output, go on learning.
    `replay`: factory samples, (latent, label), for a replay of `replay_capacity` samples.
    """
    rules = rules or Rules()
    check(network, rules)
    first, count = cut(network, train_last), len(network.layers)
    if len(name.encode()) > 15:
        raise ModelError(f"the name '{name}' is longer than 15 bytes: choose a shorter one")
    sections, records = b"", b""
    more = extras.pack(network.extras)
    start = lib.WAGE_HEADER_BYTES + count * lib.WAGE_RECORD_BYTES + len(more)
    for k, layer in enumerate(network.layers):
        learns = (TRAINABLE | FIXED * layer.fixed) * (k >= first)
        weights = _weights(layer, learns == TRAINABLE, network.paper)
        records += _record(layer, learns, start + len(sections), len(weights))
        sections += weights
        sections += b"" if layer.bias is None else layer.bias.astype("<i4").tobytes()
    replay_at = start + len(sections) if replay else 0
    sections += bytes(label for _, label in replay) + b"".join(latent for latent, _ in replay)
    body = struct.pack(
        "<2BH3HBBb3BI2HI16sH2B",
        count,
        lib.WAGE_RECORD_BYTES,
        network.classes,
        *network.shape,
        network.input_map,
        config.gain_shift,
        config.lr_shift,
        config.replays,
        config.threshold,
        rules.flags | lib.WAGE_EXTRAS * bool(more),
        config.seed,
        replay_capacity,
        len(replay),
        replay_at,
        name.encode(),
        rules.batch,
        rules.momentum,
        config.lr_factor,
    )
    body += records + more + sections
    head = struct.pack("<4s2HI", b"WAGE", lib.WAGE_FORMAT, lib.WAGE_HEADER_BYTES, 16 + len(body))
    return head + struct.pack("<I", zlib.crc32(body)) + body


def _record(layer: Layer, learns: int, at: int, weight_bytes: int) -> bytes:
    """The record of a layer whose weights, then bias, lie at `at`; learns: its flags but BIAS."""
    bias = layer.bias is not None
    return struct.pack(
        "<3BbH10B2I2BHI16x",
        layer.kind,
        layer.weight_bits,
        learns | BIAS * bias,
        layer.alpha_shift,
        layer.out,
        *layer.kernel,
        *layer.stride,
        *layer.around,
        layer.pool,
        layer.activation,
        at if weight_bytes else 0,
        weight_bytes,
        layer.store_bits if learns == TRAINABLE else 0,
        layer.skip,
        layer.factor,
        at + weight_bytes if bias else 0,
    )


def _weights(layer: Layer, trainable: bool, paper: bool) -> bytes:
    """The weights of a layer as SPEC 9.3 has them."""
    if trainable:
        return layer.weights.astype("<i2" if layer.store_bits > 8 else "i1").tobytes()
    used = layer.used(paper)
    return _pack2(used) if layer.weight_bits == 2 else used.astype("i1").tobytes()


def _pack2(values: np.ndarray) -> bytes:
    codes = np.zeros(-(-values.size // 4) * 4, np.uint8)
    codes[: values.size] = values.ravel() & 3
    return (codes.reshape(-1, 4) << np.array([0, 2, 4, 6], np.uint8)).sum(1, np.uint8).tobytes()

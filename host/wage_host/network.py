"""A network on the host: its description in text, its weights, its .npz file, its blob."""

import dataclasses
import io
import json
import re
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from wage_host._core import lib
from wage_host.core import Config, Core, Info
from wage_host.errors import ModelError
from wage_host.files import write_whole

STAGE_INIT = 128  # of key(): away from the stages of the SPEC
LAYER = r"([1-9]\d*)(?:C([1-9]\d*)(v?)(?:/([1-9]\d*))?|FC)(-MP2)?(?::([28]))?"
INIT_MAX = {8: 96 * 256, 2: 48}  # three quarters of full scale


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer; weights are stored ones, (out, fan-in) int16."""

    kind: int
    out: int
    weight_bits: int
    kernel: int
    stride: int
    padding: int
    pool: int
    alpha_shift: int
    weights: np.ndarray

    def used(self) -> np.ndarray:
        """Weights in use, SPEC 2.4: -127..127 or -1..1."""
        w = self.weights.astype(np.int32)
        return (w + 128) >> 8 if self.weight_bits == 8 else (w > 32) * 1 - (w < -32) * 1


@dataclasses.dataclass(frozen=True)
class Network:
    """Layers from the input to the classes."""

    shape: tuple[int, int, int]
    input_map: int
    layers: tuple[Layer, ...]

    @property
    def classes(self) -> int:
        """How many classes the last layer tells apart."""
        return self.layers[-1].out

    def info(self) -> Info:
        """As far as samples need it."""
        h, w, c = self.shape
        return Info("", 0, self.shape, self.input_map, self.classes, h * w * c, 0, 0)


def alpha_shift(fan_in: int) -> int:
    """The smallest s with 3 · fan-in < 16 · 2^(2s+1): log2 of the layer's constant scale.

    Weights then fill three quarters of full scale, where the paper's published program has
    them for 2 bits; alpha, its constant scale, does the rest.
    """
    s = 0
    while 3 * fan_in >= 16 << (2 * s + 1):
        s += 1
    return s


def parse(text: str, seed: int, input_map: int = 0) -> Network:
    """A fresh network from the paper's notation, for example `8x8x1 8C3-MP2 32FC 10FC`.

    First the input, height x width x channels. Then layers: `nCk`, n channels, kernel k, zero
    padding to keep the size (`v` behind it: none; `/s`: stride s), `-MP2` behind it: max-pool;
    `nFC`, n outputs. `:2` behind a layer: weights of 2 bits, else 8.
    """
    first, *rest = text.split() or [""]
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", first)
    if not match or not rest:
        raise ModelError(f"'{text}': begin with the input and name layers, as 8x8x1 8C3-MP2 10FC")
    h, w, c = shape = tuple(int(n) for n in match.groups())
    layers = []
    for number, token in enumerate(rest):
        match = re.fullmatch(LAYER, token)
        if not match or (match[2] is None and match[5]):
            raise ModelError(f"'{token}' is no layer: write 8C3, 8C3v, 8C3/2, 8C3-MP2 or 10FC")
        if match[2] and not match[3] and int(match[2]) % 2 == 0:
            raise ModelError(f"'{token}': an even kernel cannot keep the size: write {token}v")
        out, bits = int(match[1]), int(match[6] or 8)
        pool = 2 if match[5] else 1
        if match[2]:
            kind, kernel, stride = lib.WAGE_CONV2D, int(match[2]), int(match[4] or 1)
            padding = 0 if match[3] else (kernel - 1) // 2
            fan_in = kernel * kernel * c
            h, w = ((n + 2 * padding - kernel) // stride + 1 for n in (h, w))
            h, w, c = -(-h // pool), -(-w // pool), out
        else:
            kind, kernel, stride, padding = lib.WAGE_DENSE, 1, 1, 0
            fan_in, h, w, c = h * w * c, 1, 1, out
        if h < 1 or w < 1:
            raise ModelError(f"'{token}' leaves nothing of its input: use a smaller kernel")
        if max(kernel, stride) > 255 or max(out, *shape) > 65535:
            raise ModelError(f"'{token}' is too large: kernels to 255, channels to 65535")
        weights = _init(seed, number, out, fan_in, INIT_MAX[bits])
        layers.append(
            Layer(kind, out, bits, kernel, stride, padding, pool, alpha_shift(fan_in), weights)
        )
    if h * w != 1 or not 2 <= c <= lib.WAGE_CLASSES_MAX:
        raise ModelError(f"'{token}' gives no classes: end with a layer of 2FC to 255FC")
    return Network(shape, input_map, tuple(layers))


def _init(seed: int, number: int, out: int, fan_in: int, limit: int) -> np.ndarray:
    """Uniform stored weights in -limit..limit, (out, fan-in)."""
    key = lib.wage_key(seed, 0, STAGE_INIT + number)
    draws = [lib.wage_below(lib.wage_draw(key, i), 2 * limit + 1) for i in range(out * fan_in)]
    return (np.array(draws, np.int32) - limit).astype(np.int16).reshape(out, fan_in)


def with_weights(network: Network, core: Core) -> Network:
    """The network with the trainable weights of an open model of it."""
    learned = core.weights()
    kept = len(network.layers) - len(learned)
    layers = network.layers[:kept] + tuple(
        dataclasses.replace(layer, weights=weights)
        for layer, weights in zip(network.layers[kept:], learned, strict=True)
    )
    return dataclasses.replace(network, layers=layers)


def save(network: Network, path: Path) -> None:
    """Writes the network as .npz: a JSON description and one array of weights a layer."""
    layers = [
        {k: v for k, v in dataclasses.asdict(layer).items() if k != "weights"}
        for layer in network.layers
    ]
    about = {"wage": 1, "shape": network.shape, "input_map": network.input_map, "layers": layers}
    weights = {f"w{k}": layer.weights for k, layer in enumerate(network.layers)}
    file = io.BytesIO()
    np.savez_compressed(file, about=json.dumps(about), **weights)
    write_whole(path, file.getvalue())


def load(path: Path) -> Network:
    """Reads what save() wrote."""
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            layers = tuple(
                Layer(**layer, weights=file[f"w{k}"]) for k, layer in enumerate(about["layers"])
            )
        return Network(tuple(about["shape"]), about["input_map"], layers)
    except FileNotFoundError:
        raise ModelError(f"there is no model file {path}") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        raise ModelError(f"{path} is no network of 'wage-host train', or is damaged") from None


# -- the blob (SPEC section 9) ---------------------------------------------


def _pack2(values: np.ndarray) -> bytes:
    codes = np.zeros(-(-values.size // 4) * 4, np.uint8)
    codes[: values.size] = values.ravel() & 3
    return (codes.reshape(-1, 4) << np.array([0, 2, 4, 6], np.uint8)).sum(1, np.uint8).tobytes()


def _weight_bytes(layer: Layer, trainable: bool) -> bytes:
    if trainable:
        return layer.weights.astype("<i2" if layer.weight_bits == 8 else "i1").tobytes()
    if layer.weight_bits == 8:
        return layer.used().astype("i1").tobytes()
    return _pack2(layer.used())


def blob(
    network: Network,
    name: str,
    config: Config,
    train_last: int,
    replay_capacity: int,
    replay: list[tuple[bytes, int]],
) -> bytes:
    """The model as a board takes it.

    `train_last`: how many layers, counted from the output, go on learning. `replay`: factory
    samples, (latent, label), for a replay of `replay_capacity` samples.
    """
    count = len(network.layers)
    if not 1 <= train_last <= count:
        raise ModelError(f"--train-last is 1 to {count} for this network")
    if len(name.encode()) > 15:
        raise ModelError(f"the name '{name}' is longer than 15 bytes: choose a shorter one")
    sections, records = b"", b""
    start = lib.WAGE_HEADER_BYTES + count * lib.WAGE_RECORD_BYTES
    for k, layer in enumerate(network.layers):
        trainable = k >= count - train_last
        weights = _weight_bytes(layer, trainable)
        records += struct.pack(
            "<4BH8B2B2I24x",
            layer.kind,
            layer.weight_bits,
            trainable,
            layer.alpha_shift,
            layer.out,
            *(layer.kernel, layer.kernel),
            *(layer.stride, layer.stride),
            *(layer.padding,) * 4,
            layer.pool,
            k + 1 < count,
            start + len(sections),
            len(weights),
        )
        sections += weights
    replay_at = start + len(sections) if replay else 0
    sections += bytes(label for _, label in replay) + b"".join(latent for latent, _ in replay)
    body = struct.pack(
        "<2BH3HBBbBBxIHHI16s4x",
        count,
        lib.WAGE_RECORD_BYTES,
        network.classes,
        *network.shape,
        network.input_map,
        config.gain_shift,
        config.lr_shift,
        config.replays,
        config.threshold,
        config.seed,
        replay_capacity,
        len(replay),
        replay_at,
        name.encode(),
    )
    body += records + sections
    head = struct.pack("<4sHHI", b"WAGE", lib.WAGE_FORMAT, lib.WAGE_HEADER_BYTES, 16 + len(body))
    return head + struct.pack("<I", zlib.crc32(body)) + body

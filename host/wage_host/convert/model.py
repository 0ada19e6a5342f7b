"""A model of another program as a network for a board: what the user wishes, and how it is done."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wage_host import initial
from wage_host._core import lib
from wage_host.convert import fold, integers, quantise, read_arrays, read_onnx, read_tflite, whole
from wage_host.convert.fold import WEIGHTED, Block, Unfit
from wage_host.convert.graph import ADD, AFFINE, DENSE, INPUT, Graph
from wage_host.convert.source import shown
from wage_host.convert.steps import Scale
from wage_host.data import Data, activations
from wage_host.data.ready import check_shape
from wage_host.errors import DataError, ModelError, WrongUsage
from wage_host.extras import NOTHING, Extras
from wage_host.layers import Layer, Network
from wage_host.network import extras_of
from wage_host.progress import Tell, silent

CALIBRATION = 512  # samples that are looked at
READERS = {".onnx": read_onnx.read, ".tflite": read_tflite.read}
ARRAYS = (".npz", ".safetensors")
EXPORTS = {
    **dict.fromkeys((".pt", ".pth", ".ckpt"), "write it with torch.onnx.export"),
    **dict.fromkeys(
        (".keras", ".h5", ".hdf5", ".pb", "folder"),
        "write it with model.export('net.onnx', format='onnx') or TensorFlow's TFLiteConverter",
    ),
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), "write it with skl2onnx"),
}
GAIN_SHIFT = 2  # of a last layer that begins anew
BYTE = 255.0  # what a picture's 1.0 is


@dataclasses.dataclass(frozen=True)
class Input:
    """How values of the data become what the model takes: (value * scale - mean) / std.

    scale None: 1 / 255 for bytes, or as the file says when mean and std are not given, either;
    mean and std by channel, or one for all.
    """

    scale: float | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


@dataclasses.dataclass(frozen=True)
class Wish:
    """What of the model goes on learning, and how.

    train: how many layers with weights, from the last one; 0: all; None: as the file says, or 1;
    or behind the node `until`.
    classes: of a head that is begun anew (`fresh`); room: rows of the head, for new classes, too.
    bits: of weights in use in the part that learns, 2 or 8.
    """

    train: int | None = None
    until: str | None = None
    classes: int | None = None
    room: int | None = None
    fresh: bool = False
    bits: int = 8
    gain_shift: int | None = None
    seed: int = 1


@dataclasses.dataclass(frozen=True)
class Imported:
    """A network for a board, and the floats it comes from.

    blocks: of the file, for inputs in its own floats; made: those that were quantised, for inputs
    in whole numbers, `extra` of them in front of the file's. train_last: as pack.cut() takes it.
    """

    network: Network
    train_last: int
    gain_shift: int
    blocks: tuple[Block, ...]
    made: quantise.Quantised
    extra: int
    input: Input
    notes: tuple[str, ...] = ()
    fresh: bool = False  # the last layer was begun anew
    whole: bool = False  # the file's model was in whole numbers, and was taken as it is

    def exact(self, x: np.ndarray) -> np.ndarray:
        """Samples of the data as the file's model takes them, (n, h, w, c) float32."""
        if self.whole:
            return activations(x, self.network.input_map).reshape(
                len(x), *self.network.shape
            ) * np.float32(whole.UNIT)
        x = x.reshape(len(x), *self.network.shape).astype(np.float32)
        mean, std = np.float32(self.input.mean), np.float32(self.input.std)
        return (x * np.float32(self.input.scale) - mean) / std


def unread(path: Path) -> ModelError:
    """Of a file of another kind: how its program writes one that is read."""
    kind = "folder" if path.is_dir() else path.suffix.lower()
    how = EXPORTS.get(kind, "export it as one of them")
    return ModelError(f"{path}: models are .onnx, .tflite, .safetensors, or .npz files: {how}")


@np.errstate(invalid="ignore")  # of floats that are no numbers: check_numbers() refuses them
def read(path: Path, description: str | None, tensors: str | None) -> Graph:
    """The graph of a file; its name says the format."""
    suffix = path.suffix.lower()
    if suffix in READERS:
        if description or tensors:
            raise WrongUsage("--network and --tensors describe .npz and .safetensors files only")
        return READERS[suffix](path)
    if suffix in ARRAYS:
        return read_arrays.read(path, description, tensors)
    raise unread(path)


def imported(
    path: Path, graph: Graph, data: Data | None, given: Input, wish: Wish, tell: Tell = silent
) -> Imported:
    """The network for a board; `data`: samples like those that it will see.

    They may be missing where the file is one of our own exports. tell: how far it is.
    """
    if graph.told and wish.train is None and wish.until is None:
        wish = dataclasses.replace(wish, train=graph.told["train_last"])
    try:
        blocks = fold.blocks(graph)
        own = _own(path, graph, blocks, wish)
        if own and given != Input():
            raise WrongUsage(
                f"{path} is an export of a board's model, which says itself what bytes are to it: "
                "leave out --input-scale, --mean and --std"
            )
        if own:
            return own
        if data is None:
            raise WrongUsage(
                "a model in floats needs samples to find its ranges: give some hundreds with "
                "--samples"
            )
        check_data(data)
        return _imported(graph, blocks, data, given, wish, tell)
    except Unfit as why:
        raise ModelError(f"{path} cannot be converted: {why}") from None


def _imported(
    graph: Graph, blocks: tuple[Block, ...], data: Data, given: Input, wish: Wish, tell: Tell
) -> Imported:
    shape = graph.shape
    check_shape(data, shape)
    notes = _notes(graph, data, given)
    given = _input(graph, data, given)
    input_map, factor, offset = _whole_inputs(data.x.dtype, given, shape[2])
    x = activations(data.x, input_map).reshape(len(data), *shape)
    x = x[np.random.default_rng(1).permutation(len(x))[:CALIBRATION]]
    made = _with_input(blocks, shape, factor, offset)
    first = _cut(made, wish)
    gain, bits = wish.gain_shift, wish.bits
    if wish.fresh:  # of a last layer that is not kept
        gain, bits = GAIN_SHIFT if gain is None else gain, 8
    done = quantise.quantise(made, x, first, gain, bits, tell)
    layers = list(done.layers)
    layers[-1] = _head(layers[-1], made[-1], done, wish)
    if not wish.fresh and layers[-1].out > made[-1].output[2]:
        notes.append(f"rows for {layers[-1].out - made[-1].output[2]} new classes")
    network = Network(shape, input_map, tuple(layers))
    weighted = [k for k in network.weighted if k >= done.trainable]
    return Imported(
        network, len(weighted), done.gain_shift, blocks, done, len(made) - len(blocks), given,
        tuple(notes), wish.fresh,
    )  # fmt: skip


def _notes(graph: Graph, data: Data, given: Input) -> list[str]:
    """What may be meant otherwise, and no check can know."""
    notes, front, (height, steps, channels) = [], graph.nodes[0], graph.shape
    if graph.first and height == 1 and steps == channels > 1:
        notes.append(f"samples are {steps} steps of {channels} channels, the steps first")
    small = front.op == AFFINE and np.abs(front.weights.exact()).max() < 4 / BYTE
    if small and given == Input() and data.x.dtype == np.uint8:
        notes.append(
            f"{front.name} divides, and bytes / {BYTE:g} are what it gets: if the model takes "
            "bytes as they are, say --input-scale 1"
        )
    return notes


def told_extras(path: Path, graph: Graph) -> Extras:
    """Pre-processing and names of classes that our own export carries; of others: nothing."""
    if graph.told is None:
        return NOTHING
    try:
        return extras_of(graph.told, graph.nodes[-1].output[2])
    except (TypeError, ValueError, AttributeError, OverflowError):
        raise ModelError(
            f"{path}: its pre-processing or names are damaged: export the model again"
        ) from None


def _own(path: Path, graph: Graph, blocks: tuple[Block, ...], wish: Wish) -> Imported | None:
    """Our own export as it was; None when it is none, or another head is wished for."""
    told = graph.told
    if told is None or wish.fresh or wish.room is not None or wish.bits != 8:
        return None
    found = whole.taken(blocks, graph.input_scale, told["layers"])
    if found is None or told["input_map"] not in (0, 1):
        return None
    layers, steps = found
    blocks = tuple(
        dataclasses.replace(b, low=max(b.low, -127 * s), high=min(b.high, 127 * s), acts=True)
        if k + 1 < len(blocks) else b
        for k, (b, s) in enumerate(zip(blocks, steps, strict=True))
    )  # fmt: skip
    first = _cut(blocks, wish)
    unit = steps[-1] * 2.0 ** -integers.shift_of(layers[-1])
    scales = tuple(
        Scale(np.full(b.output[2], s), np.zeros(b.output[2]))
        for b, s in zip(blocks, (*steps[:-1], unit), strict=True)
    )
    gain = told["gain_shift"] if wish.gain_shift is None else wish.gain_shift
    done = quantise.Quantised(blocks, tuple(range(len(blocks))), first, layers, scales, gain, 0)
    # blocks for whole inputs
    given = fold.with_input(blocks[0], *(np.full(graph.shape[2], v) for v in (whole.UNIT, 0.0)))
    done = dataclasses.replace(done, blocks=(given, *blocks[1:])) if given else done
    network = Network(
        graph.shape, told["input_map"], layers, told["paper"], told_extras(path, graph)
    )
    last = len([k for k in network.weighted if k >= first])
    return Imported(network, last, gain, blocks, done, 0, Input(), whole=True)


def _input(graph: Graph, data: Data, given: Input) -> Input:
    """With everything said."""
    for name, values in (("--mean", given.mean), ("--std", given.std)):
        if len(values) not in (1, graph.shape[2]):
            raise WrongUsage(f"{name} has {len(values)} values for {graph.shape[2]} channels")
    if min(given.std) <= 0 or (given.scale is not None and given.scale <= 0):
        raise WrongUsage("--std and --input-scale are above 0")
    if given.scale is not None:
        return given
    if given == Input() and graph.told:  # of a board's activations
        if data.x.dtype == np.int8:
            return Input(whole.UNIT)
        if graph.told["input_map"] == 0:
            return Input(whole.UNIT / 2)
        return Input(whole.UNIT, (127.5 * whole.UNIT,))
    if given == Input() and graph.input_scale is not None:  # bytes stand for its steps
        zero = graph.input_zero + (128 if data.x.dtype == np.uint8 else 0)
        return Input(graph.input_scale, (graph.input_scale * zero,), (1.0,))
    if data.x.dtype == np.int8:
        raise WrongUsage(
            f"{data.name} has int8 values: say with --input-scale what a step of them is to the "
            "model"
        )
    return dataclasses.replace(given, scale=1 / BYTE)


def _whole_inputs(
    kind: np.dtype, given: Input, channels: int
) -> tuple[int, np.ndarray, np.ndarray]:
    """Input map, and factor and offset (channels) from activations to the model's floats."""
    mean, std = (np.broadcast_to(np.float64(v), channels) for v in (given.mean, given.std))
    if kind == np.int8:
        return 0, given.scale / std, -mean / std
    black = (mean == 0).all()  # then zeros around a picture are black, too
    step, middle = (2, 0.5) if black else (1, 127.5)
    return 0 if black else 1, given.scale * step / std, (given.scale * middle - mean) / std


def _with_input(
    blocks: tuple[Block, ...], shape: tuple[int, int, int], factor: np.ndarray, offset: np.ndarray
) -> tuple[Block, ...]:
    """Blocks for inputs in whole numbers: folded into the first, or by a layer in front."""
    first = blocks[0]
    off = (np.abs(offset) > factor / 2 * 1.01).any()
    sums = any(block.op == ADD and INPUT in block.sources for block in blocks)
    if first.op not in WEIGHTED or sums or (off and any(first.padding)):
        return fold.in_front(fold.normaliser(shape, factor, offset), blocks)
    return (fold.with_input(first, factor, offset), *blocks[1:])


def _cut(blocks: Sequence[Block], wish: Wish) -> int:
    """The first layer that goes on learning; no sum may have it between its parts."""
    first = _first(blocks, wish)
    for k, block in enumerate(blocks):
        if block.op == ADD and block.sources[1] + 1 < first <= k:
            raise WrongUsage(
                f"{blocks[first].name} would be the first layer that learns, but begins inside "
                f"the sum {block.name}: let more layers learn, or fewer"
            )
    return first


def _first(blocks: Sequence[Block], wish: Wish) -> int:
    """The layer that a wish means."""
    weighted = [k for k, block in enumerate(blocks) if block.op in WEIGHTED]
    if wish.until is not None:
        at = [
            k for k, block in enumerate(blocks)
            if any(re.search(r"'(.*)'", n)[1] == shown(wish.until) for n in block.names if "'" in n)
        ]  # fmt: skip
        if not at:
            names = [re.search(r"'(.*)'", b.name)[1] for b in blocks if "'" in b.name]
            raise WrongUsage(
                f"no layer has a node '{wish.until}': layers begin at {', '.join(names)}"
            )
        weighted = [k for k in weighted if k > at[0]]
        if not weighted:
            raise WrongUsage(f"no layer with weights is behind '{wish.until}'")
        return weighted[0]
    count = 1 if wish.train is None else wish.train
    if not weighted or not 0 <= count <= len(weighted):
        raise WrongUsage(f"--train-last is 1 to {len(weighted)} for this network")
    return weighted[-count] if count else weighted[0]


def _head(layer: Layer, block: Block, done: quantise.Quantised, wish: Wish) -> Layer:
    """The last layer, begun anew or with rows for new classes."""
    has = layer.out
    classes = has if wish.classes is None else wish.classes
    room = classes if wish.room is None else wish.room
    if classes != has and not wish.fresh:
        raise WrongUsage(
            f"the model tells {has} classes apart, not {classes}: begin its last layer anew with "
            "--fresh-head, or leave room with --max-classes"
        )
    if room < classes:
        raise WrongUsage(f"--max-classes {room} is less than the {classes} classes there are")
    if not 2 <= room <= lib.WAGE_CLASSES_MAX:
        raise WrongUsage(f"a board tells 2 to {lib.WAGE_CLASSES_MAX} classes apart, not {room}")
    if (wish.fresh or room > has) and block.op != DENSE:
        raise WrongUsage("only a dense last layer can be begun anew, or have room for new classes")
    if wish.fresh:
        fan_in = block.fan_in
        shift = initial.alpha_shift(fan_in)
        weights = initial.filled(wish.seed, len(done.layers) - 1, room, fan_in, (wish.bits, 16))
        bias = np.zeros(room, np.int32)
        return dataclasses.replace(
            layer, out=room, weights=weights, bias=bias, alpha_shift=shift, weight_bits=wish.bits
        )
    if room == has:
        return layer
    rows = ((0, room - has), (0, 0))
    bias = np.pad(layer.bias, rows[0], constant_values=done.lowest)
    return dataclasses.replace(layer, out=room, weights=np.pad(layer.weights, rows), bias=bias)


def numbers(text: str, name: str) -> tuple[float, ...]:
    """Numbers with commas between them."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise WrongUsage(f"{name} {text}: write numbers with commas between them") from None
    if not np.isfinite(values).all():
        raise WrongUsage(f"{name} {text}: write finite numbers")
    return values


def fraction(text: str, name: str) -> float:
    """One number, or 1/255."""
    above, _, below = text.partition("/")
    (a,), (b,) = numbers(above, name), numbers(below or "1", name)
    if not b:
        raise WrongUsage(f"{name} {text}: nothing is divided by 0")
    return a / b


def check_data(data: Data) -> None:
    """Enough samples to calibrate with."""
    if len(data) < 2:
        raise DataError(f"{data.name} has {len(data)} sample: give some hundreds to calibrate with")

"""Whether board, this computer and the oracle compute the same integers, layer by layer."""

import dataclasses
import functools
import importlib.util
import itertools
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np

from wage_host import boards, data, files, replay, unpack
from wage_host._core import lib
from wage_host.core import Config, Core, info
from wage_host.device import Device
from wage_host.errors import DataError, LayerDiffers, WageError, WrongUsage
from wage_host.log import Log, default_path
from wage_host.options import (
    FILE,
    LABEL,
    LOG,
    board_line,
    command,
    open_device,
    port_options,
)
from wage_host.screen import Screen

INPUTS = 4
NAME = "wage_host_oracle"


@dataclasses.dataclass(frozen=True)
class Machine:
    """What computes a model: its name in a sentence, and CRCs of what it computes.

    outputs(x): of each layer's output; learned(x, label): of what each layer that learns has
    after one training step, by its number.
    """

    name: str
    outputs: Callable[[np.ndarray], list[int]]
    learned: Callable[[np.ndarray, int], dict[int, int]]


@functools.cache
def oracle() -> ModuleType:
    """SPEC.md once more, in plain NumPy: tests/reference, which shares nothing with the runtime."""
    root = boards.tree()
    for folder in (root / "oracle", root / "tests" / "reference"):
        if (folder / "__init__.py").is_file():
            spec = importlib.util.spec_from_file_location(
                NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
            )
            sys.modules[NAME] = module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise WageError(f"the oracle is not in {root}: install wage-host again")


def crc_of(out: np.ndarray, logits: bool) -> int:
    """As SPEC 8.8 has it."""
    return zlib.crc32(out.astype("<i4" if logits else np.int8).tobytes())


def by_layer(blob: bytes, learned: bytes) -> dict[int, int]:
    """The CRC of what each layer learned, out of all of it in canonical order (SPEC 7.1)."""
    found, at = {}, 0
    for k, _, size in unpack.learned_parts(blob):
        found[k] = zlib.crc32(learned[at : at + size], found.get(k, 0))
        at += size
    return found


def of_oracle(blob: bytes, config: Config) -> Machine:
    """The oracle."""
    ref = oracle()
    model = ref.open_model(blob)

    def outputs(x: np.ndarray) -> list[int]:
        a = x.astype(np.int64).reshape(1, *model.input_shape)
        layers = model.layers
        return [crc_of(p.out, p.layer is layers[-1]) for p in ref.run(layers, a, layers[-1])]

    def learned(x: np.ndarray, label: int) -> dict[int, int]:
        ref.start(model, 1, ref.Config(**dataclasses.asdict(config)))
        ref.learn(model, 1, x, label)
        return by_layer(blob, ref.weight_bytes(model))

    return Machine("the oracle", outputs, learned)


def of_computer(blob: bytes, config: Config) -> Machine:
    """The runtime in this process."""
    core = Core(blob)

    def learned(x: np.ndarray, label: int) -> dict[int, int]:
        core.start(1, config)
        list(core.learn([(x, label)]))
        return by_layer(blob, core.weight_bytes())

    layers = range(core.wage.layer_count)
    return Machine("this computer", lambda x: [core.probe(x, k) for k in layers], learned)


def of_board(
    blob: bytes, config: Config, device: Device, probed: Callable[[], object] = lambda: None
) -> Machine:
    """A board, which is as it was before afterwards; `probed` is called after each layer."""
    layers = range(Core(blob).wage.layer_count)

    def outputs(x: np.ndarray) -> list[int]:
        found = []
        for k in layers:
            found.append(device.probe(x, k))
            probed()
        return found

    def learned(x: np.ndarray, label: int) -> dict[int, int]:
        device.start(1, config)
        try:
            list(device.learn([(x, label)]))
            return by_layer(blob, b"".join(device.pull()))
        finally:
            device.reset(lib.WAGE_RESTART)

    return Machine("the board", outputs, learned)


def differing(found: Sequence[Any]) -> bool:
    """Not all are the same."""
    return any(one != found[0] for one in found[1:])


def compare(
    machines: Sequence[Machine], names: Sequence[str], xs: Sequence[np.ndarray], label: int | None
) -> None:
    """Raises LayerDiffers that names the first layer where the machines differ.

    names: of the layers. label: of a training step on the last input; None: no step. In a step the
    last layer is the first.
    """
    for number, x in enumerate(xs, 1):
        crcs = [m.outputs(x) for m in machines]
        for k, found in enumerate(zip(*crcs, strict=True)):
            if differing(found):
                _raise(machines, found, f"forward, layer {k} ({names[k]}), input {number}")
    if label is None:
        return
    steps = [m.learned(xs[-1], label) for m in machines]
    for k in sorted(steps[0], reverse=True):
        found = [crcs[k] for crcs in steps]
        if differing(found):
            _raise(machines, found, f"one training step, weights of layer {k} ({names[k]})")


def _raise(machines: Sequence[Machine], found: Sequence[int], where: str) -> None:
    """Who has what, there."""
    told = ", ".join(
        f"{m.name} has {crc:08x}" for m, crc in zip(machines, found, strict=True)
    )
    raise LayerDiffers(f"not the same integers: {where}: {told}")


def golden(size: int, count: int) -> list[np.ndarray]:
    """Inputs that need no data, (size) int8: nothing, the ends, then noise."""
    draws = np.random.default_rng(1)
    ends = [np.full(size, value, np.int8) for value in (0, 127, -127)]
    noise = [draws.integers(-127, 128, size).astype(np.int8) for _ in range(count)]
    return (ends[: count - 1] + noise)[:count]


def verify(
    blob: bytes,
    device: Device,
    xs: Sequence[np.ndarray],
    probed: Callable[[], object] = lambda: None,
) -> bool:
    """Compares oracle, this computer and the board that has this model; LayerDiffers.

    xs: inputs, int8. Whether there was a training step, too: not when the board has learned
    something, which a step would change. probed: called after each layer of the board.
    """
    fresh = device.stats().state_crc == Core(blob).state_crc()
    if not fresh:
        blob = unpack.with_weights(blob, b"".join(device.pull()))
    config = dataclasses.replace(device.config(), replays=0, threshold=0)
    board = of_board(blob, config, device, probed)
    machines = [of_oracle(blob, config), of_computer(blob, config), board]
    label = None
    if fresh:  # any class but the one that it would say
        said = int(Core(blob).predict(xs[-1][None], [0])["prediction"][0])
        label = (said + 1) % device.info.classes
    compare(machines, names(blob), xs, label)
    return fresh


def names(blob: bytes) -> list[str]:
    """What messages call the layers."""
    return [layer.text for layer in unpack.unpacked(blob).network.layers]


@command
@functools.partial(port_options, model=False)
@click.option("--data", "file", type=FILE, help="Its first samples instead of made-up inputs.")
@LABEL
@click.option("--inputs", default=INPUTS, show_default=True, help="How many of them.")
@click.option("--run", type=int, help="Prove a run of the log instead: learn it again here.")
@click.option("--pulled", type=FILE, help="With --run: what wage-host pull made of the board.")
@LOG
def do_verify(
    screen: Screen,
    file: Path | None,
    label: str | None,
    inputs: int,
    run: int | None,
    pulled: Path | None,
    log_path: Path | None,
    **port: Any,
) -> dict[str, Any]:
    """Prove that a board computes a model right, layer by layer; or that a run was as the log says.

    The oracle (the specification once more, in NumPy), this computer and the board each run the
    same inputs forward and one training step; CRCs of each layer are compared, and the first
    layer that differs is named. The board is left as it was. A step is made on a board that
    has learned nothing yet.

    With --run no board is asked: this computer learns what the log says was sent, and compares
    each answer, the CRCs that the board told, and weights that were pulled from it.
    """
    if run is not None:
        if port["model"] or file:
            raise WrongUsage("--run takes model and samples from the log: leave out the others")
        return prove_run(screen, log_path, run, pulled)
    if pulled or log_path:
        raise WrongUsage("--pulled and --log go with --run, the number of a run")
    if not port["model"]:
        raise WrongUsage("name the .wage model of the board, or a run with --run")
    blob = files.read_blob(port["model"])
    about = info(blob)
    if not 1 <= inputs <= 1000:
        raise WrongUsage("--inputs is 1 to 1000")
    if label is not None and not file:
        raise WrongUsage("--label names a column of --data: give both, or neither")
    if file:
        known = data.load(file, about.extras, label)
        xs = [x.ravel() for x, _ in data.samples(known, about)[:inputs]]
        if not xs:
            raise DataError(f"{known.name} has no samples: leave out --data for made-up inputs")
    else:
        xs = golden(about.input_bytes, inputs)
    with open_device(**port) as device:
        screen.say(f"board: {board_line(device)}")
        count, probes = len(names(blob)), itertools.count(1)
        with screen.progress("comparing layers", len(xs) * count) as update:
            stepped = verify(blob, device, xs, lambda: update(next(probes), "on the board"))
    same = "the same integers in the oracle, on this computer and on the board"
    screen.say(f"forward: {count} layers, {len(xs)} inputs: {same}")
    screen.say(
        f"one training step: {same}" if stepped else
        "no training step: the board has learned something, and a step would change it "
        "(wage-host reset --factory)"
    )  # fmt: skip
    return {"layers": count, "inputs": len(xs), "step": stepped}


def prove_run(
    screen: Screen, log_path: Path | None, run: int, pulled: Path | None
) -> dict[str, Any]:
    """Learns a logged run again and says what agrees; TwinDiffers."""
    weights = files.read_blob(pulled) if pulled else None
    with Log(log_path or default_path(), create=False) as log:
        proof = replay.prove(log, run, weights, screen.watch)
    answers = f"{proof.records} answers of {proof.samples} samples"
    screen.say(f"run {run}: {answers}, as this computer gives them")
    if proof.told:
        screen.say(f"weights and state: those that the board told ({proof.weight_crc:08x})")
    if pulled:
        screen.say(f"pulled weights: the same {len(proof.learned)} bytes")
    return {
        "run": run, "records": proof.records, "samples": proof.samples, "told": proof.told,
        "pulled": bool(pulled), "weight_crc": f"{proof.weight_crc:08x}",
    }  # fmt: skip

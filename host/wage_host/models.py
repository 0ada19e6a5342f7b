"""Commands that make and show models; cli.py is their manual."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from wage_host import data, files, network, train
from wage_host._core import lib
from wage_host.core import ERROR_NAMES, Config, Core, Info, info
from wage_host.errors import ModelError, WrongUsage, short
from wage_host.options import FILE, command, open_device
from wage_host.screen import Screen

OF_A_BOARD = ("memory_bytes", "window", "store_bytes", "generation", "last_id", "protocol")
CRCS_OF_A_BOARD = ("weight_crc", "state_crc")
KINDS = {lib.WAGE_DENSE: "dense", lib.WAGE_CONV2D: "conv2d"}


@command
@click.option("--data", "file", type=FILE, required=True, help="Labelled samples.")
@click.option("--network", "text", required=True, help="Such as '8x8x1 8C3-MP2 32FC 10FC'.")
@click.option("--epochs", type=click.IntRange(1), default=16, show_default=True)
@click.option("--lr-shift", default=-3, show_default=True, help="Learning rate 2^N at first.")
@click.option("--gain-shift", default=2, show_default=True, help="Softmax sharpness 2^N.")
@click.option("--seed", default=1, show_default=True)
@click.option("-o", "--output", type=FILE, required=True, help="The network, .npz.")
def do_train(
    screen: Screen,
    file: Path,
    text: str,
    epochs: int,
    lr_shift: int,
    gain_shift: int,
    seed: int,
    output: Path,
) -> dict[str, Any]:
    """Train a network on this computer, in integers."""
    files.check_output(output)
    config = Config(seed, lr_shift, 0, gain_shift, 0)
    net = network.parse(text, seed)
    known = data.samples(data.load(file), net.info())
    net = watch_training(screen, net, known, epochs, config)
    network.save(net, output)
    screen.say(f"{output}: trained on {len(known)} samples, {epochs} times")
    return {"network": str(output), "samples": len(known), "epochs": epochs}


def watch_training(
    screen: Screen, net: network.Network, known: list, epochs: int, config: Config
) -> network.Network:
    """train.train() under a progress display."""
    with screen.progress("training", epochs * len(known)) as update:
        return train.train(
            net,
            known,
            epochs,
            config,
            lambda epoch, done, right: update(
                epoch * len(known) + done, f"epoch {epoch + 1}: {100 * right / done:.1f} % right"
            ),
        )


@command
@click.argument("source", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="The model, .wage.")
@click.option("--name", help="At most 15 bytes; default: the output's name.")
@click.option("--train-last", default=1, show_default=True, help="Layers that go on learning.")
@click.option("--replay", default=0, show_default=True, help="Samples the replay can hold.")
@click.option("--replay-data", type=FILE, help="Samples to fill it with, classes in turn.")
@click.option("--replays", default=3, show_default=True, help="Replayed steps a sample.")
@click.option("--lr-shift", default=-4, show_default=True, help="Learning rate 2^N.")
@click.option("--gain-shift", default=2, show_default=True, help="Softmax sharpness 2^N.")
@click.option("--threshold", default=0, show_default=True, help="Skip errors below N / 127.")
@click.option("--seed", default=1, show_default=True, help="Of the board's random draws.")
def do_convert(
    screen: Screen,
    source: Path,
    output: Path,
    name: str | None,
    train_last: int,
    replay: int,
    replay_data: Path | None,
    **settings: int,
) -> dict[str, Any]:
    """Make a model for a board from a trained network."""
    files.check_output(output)
    if replay_data and not replay:
        raise WrongUsage("--replay-data fills a replay: say with --replay how large it is")
    net = network.load(source)
    filling = data.samples(data.load(replay_data), net.info()) if replay_data else []
    if not 0 <= replay <= 65535:
        raise ModelError("--replay is 0 to 65535 samples")
    config = Config(**settings)
    blob = train.convert(net, name or output.stem, config, train_last, replay, filling)
    about = info(blob)
    files.write_whole(output, blob)
    screen.say(f"{output}: {len(blob)} bytes of flash, {about.arena_bytes} bytes of arena")
    return {"model": str(output), "flash_bytes": len(blob), **_shown(about)}


@command
@click.argument("model", type=FILE, required=False)
@click.option("--port", envvar="WAGE_PORT", help="Ask a board instead of a file.")
@click.option("--baud", default=115200, show_default=True, help="Of a serial device.")
def do_info(screen: Screen, model: Path | None, port: str | None, baud: int) -> dict[str, Any]:
    """What a model file or a board is."""
    if model:
        blob = files.read_blob(model)
        core = Core(blob)
        about = _shown(core.info) | {"flash_bytes": len(blob)}
        about |= dataclasses.asdict(core.config())
        about |= {"replay_samples": core.wage.replay_count, "replay": core.wage.replay_capacity}
        about["layers"] = [_layer(core.wage.layers[k]) for k in range(core.wage.layer_count)]
    elif port and port != "sim":
        with open_device(port, baud, None, None, 5.0) as device:
            about = {"board": device.board, "place": device.place, **_shown(device.info)}
            about |= dataclasses.asdict(device.config())
            about |= {name: getattr(device.welcome, name) for name in OF_A_BOARD}
            about |= {name: f"{getattr(device.welcome, name):08x}" for name in CRCS_OF_A_BOARD}
            about["store_error"] = short(ERROR_NAMES.get(-device.welcome.store_error, "unknown"))
    else:
        raise WrongUsage("name a .wage file, or a board with --port")
    for key, value in about.items():
        for line in value if isinstance(value, list) else [value]:
            screen.say(f"{key:>16}  {line}")
    return about


def _layer(layer: Any) -> str:
    """One struct wage_layer for people."""
    shape = f"{layer.out_h}x{layer.out_w}x{layer.out_c}"
    state = "trainable" if layer.trainable else "frozen"
    pool = " max-pooled" if layer.pool == 2 else ""
    weights = f"{layer.weight_count} weights of {layer.weight_bits} bits"
    return f"{KINDS[layer.kind]} to {shape}{pool}, {weights}, {state}"


def _shown(about: Info) -> dict[str, Any]:
    shown = dataclasses.asdict(about)
    return {**shown, "crc": f"{about.crc:08x}", "shape": "x".join(map(str, about.shape))}

"""Commands that make and show models; cli.py is their manual."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from wage_host import augment, data, files, initial, network, rates, teach, train, zoo
from wage_host._core import ffi, lib
from wage_host.core import ERROR_NAMES, Config, Core, Info
from wage_host.errors import WrongUsage, short
from wage_host.options import FILE, LABEL, PREPARE, RATE, command, open_device
from wage_host.pack import Rules
from wage_host.screen import Screen

OF_A_BOARD = ("memory_bytes", "window", "store_bytes", "generation", "last_id", "protocol")
CRCS_OF_A_BOARD = ("weight_crc", "state_crc")
KINDS = {
    kind: name.removeprefix("WAGE_").lower().replace("_", " ")
    for kind, name in ffi.typeof("enum wage_kind").elements.items()
}


@dataclasses.dataclass(frozen=True)
class Policy:
    """What a policy takes where nothing else is said."""

    loss: str
    batch: int
    lr: rates.Rate
    bits: str
    input_map: int


POLICIES = {
    "continual": Policy("ce", 1, (1, -3), "8/16", 0),
    "paper": Policy("sse", 128, (1, 3), "2/8", 1),
}


def rules_options(function: Callable) -> Callable:
    """By what a model learns: pack.Rules."""
    for option in (
        click.option(
            "--policy", type=click.Choice(list(POLICIES)),
            help="The paper's WAGE, or as a device learns; default: continual.",
        ),
        click.option("--loss", type=click.Choice(["ce", "sse"]), help="Default: ce; paper: sse."),
        click.option(
            "--batch", type=int,
            help="Samples a step; default: 1 (halve the rate as it doubles); paper: 128.",
        ),
        click.option(
            "--momentum", type=int, help="1 to 7: fades by 2^-N a step; default: 0, none."
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def rules(
    policy: str | None, loss: str | None, batch: int | None, momentum: int | None,
    before: Rules | None = None,
) -> Rules:  # fmt: skip
    """What options (None: not given) make of the rules there were; a policy brings its own loss
    and batch.
    """
    before = before or Rules()
    if policy:
        usual = POLICIES[policy]
        before = dataclasses.replace(
            before, paper=policy == "paper", sse=usual.loss == "sse", batch=usual.batch
        )
    given = {"sse": loss and loss == "sse", "batch": batch, "momentum": momentum}
    return dataclasses.replace(
        before, **{name: value for name, value in given.items() if value is not None}
    )


@command
@click.option("--data", "file", type=FILE, help="Labelled samples. Required.")
@click.option("--network", "text", required=True, help="'8x8x1 8C3-MP2 10FC', a name, or: list.")
@click.option("-o", "--output", type=FILE, help="The network, .npz. Required.")
@LABEL
@PREPARE
@click.option("--classes", help="Names of all classes in order, a,b,c; default: those found.")
@click.option("--epochs", type=click.IntRange(1), default=16, show_default=True)
@rules_options
@click.option("--lr", type=RATE, help="Learning rate at first; default: 2^-3; paper: 8.")
@click.option(
    "--schedule",
    help="Rates by epoch, '8@0,1@200,1/8@250', or '2..0': evenly down; default: one that halves.",
)
@click.option("--bits", help="Of weights, in use/stored; default: 8/16; paper: 2/8.")
@click.option(
    "--init",
    type=click.Choice([initial.FILLED, initial.PUBLISHED]),
    help="Default: filled; paper: published for weights of 2 bits.",
)
@click.option("--bias", is_flag=True, help="A bias for each layer with weights.")
@click.option("--gain-shift", default=2, show_default=True, help="Softmax sharpness 2^N.")
@click.option("--threshold", default=0, show_default=True, help="Skip errors below N / 127.")
@click.option("--augment", "augmenting", default="", help="crop4, flip or crop4,flip.")
@click.option("--validation", type=click.FloatRange(0, 0.9), default=0.0, help="Share held out.")
@click.option("--free-classes", default=0, help="The last classes, to be learned by a board.")
@click.option("--checkpoint", type=FILE, help="Written each epoch; goes on from it.")
@click.option("--seed", default=1, show_default=True)
def do_train(screen: Screen, text: str, **options: Any) -> dict[str, Any]:
    """Train a network on this computer, in integers.

    \b
    A network is its input and its layers, as '28x28x1 16C3-MP2 DW3 GAP 10FC':
      16C3  convolution to 16 channels, kernel 3 (8C1x9: 1 high, 9 wide)
      DW3   depthwise convolution
      10FC  dense, 10 outputs
      MP2   max-pool, AP2 average pool (AP3/2: stride 2), GAP average over all
      +2    adds the input of the layer two below
    Behind a convolution: v no zeros around, /2 stride 2, -MP2 max-pool.
    Behind these and FC: s signed output, no ReLU; :2/8 bits in use/stored.

    \b
    Steps of --prepare, commas between them; the model carries them to later commands:
      resize 16x16, crop 14x14, grey     pictures
      cut 8000                           the first samples of sound, zeros behind
      window 50/25                       of each recording 50 rows, 25 later the next 50
      logmel 8000 256/128 24 60-3800     Hz; samples of a frame, from one to the next; bands; Hz
      decimals 2                         to whole numbers; without a number: what columns need
      normalise                          to activations, as these data need it
    """
    if text == "list":
        return _list(screen)
    file, output, path = (options[name] for name in ("file", "output", "checkpoint"))
    if file is None or output is None:
        raise WrongUsage("say what to learn with --data and where the network goes with -o")
    if output == path:
        raise WrongUsage("the checkpoint and the network need a file each: -o and --checkpoint")
    for target in filter(None, (output, path)):
        files.check_output(target)
    how, net = _plan(text, **options)
    names = [name.strip() for name in (options["classes"] or "").split(",") if name.strip()]
    with screen.counted("reading pictures") as read:
        known, extras = data.learn_from(file, options["prepare"], options["label"], names, read)
    net, others = dataclasses.replace(net, extras=extras), {}
    if extras.names and len(extras.names) != net.classes:
        raise WrongUsage(
            f"the data have {len(extras.names)} names of classes and the network {net.classes} "
            "outputs: make them as many, or name all classes with --classes a,b,c"
        )
    data.check(known, net.info())
    if options["validation"]:
        known, others["validation"] = train.split(known, options["validation"], options["seed"])
        if not min(len(known), len(others["validation"])):
            raise WrongUsage(f"--validation {options['validation']} leaves a part without samples")
    for line in network.warnings(net):
        screen.say(f"warning: {line}")

    def tell(row: dict[str, Any]) -> None:
        shares = ", ".join(f"{n} {row[n]:.2%}" for n in ("train", "validation") if n in row)
        about = f"rate {row['rate']}: {shares}, {row['seconds']:.1f} s"
        screen.say(f"epoch {row['epoch']} of {options['epochs']}, {about}")

    net, rows = watch_training(screen, net, known, how, others=others, path=path, on_epoch=tell)
    network.save(net, output)
    screen.say(f"{output}: trained on {len(known)} samples, {len(rows)} times")
    last = {name: rows[-1][name] for name in ("train", *others)}
    return {"network": str(output), "samples": len(known), "epochs": len(rows), **last}


def _list(screen: Screen) -> dict[str, Any]:
    """The networks with a name."""
    rows = zoo.table()
    for row in rows:
        screen.say(f"{row['name']}: {row['for']}")
        screen.say(f"    {row['weights']:,} weights, {row['macs']:,} multiplications a sample")
        screen.say(f"    {row['network']}")
    return {"networks": rows}


def _plan(text: str, **given: Any) -> tuple[train.How, network.Network]:
    """How to train, and the fresh network, from the options of a command."""
    usual, epochs = POLICIES[given["policy"] or "continual"], given["epochs"]
    chosen = rules(*(given[name] for name in ("policy", "loss", "batch", "momentum")))
    if given["schedule"]:
        if given["lr"]:
            raise WrongUsage("--schedule has its own rates: leave out --lr")
        by_epoch = rates.schedule(given["schedule"], epochs)
    else:
        by_epoch = rates.halving(given["lr"] or usual.lr, epochs)
    config = Config(given["seed"], 0, 0, given["gain_shift"], given["threshold"])
    wanted = augment.parse(given["augmenting"])
    how = train.How(config, by_epoch, chosen, wanted, given["free_classes"])
    net = network.parse(
        zoo.text_of(text),
        given["seed"],
        usual.input_map,
        bits=network.parse_bits("--bits", given["bits"] or usual.bits),
        init=given["init"],
        bias=given["bias"],
        paper=chosen.paper,
    )
    return how, net


def watch_training(
    screen: Screen, net: network.Network, known: data.Data, how: train.How, **more: Any
) -> tuple[network.Network, list[dict[str, Any]]]:
    """train.run() under a progress display."""
    with screen.progress("training", len(how.rates) * len(known)) as update:

        def progress(epoch: int, done: int, right: int) -> None:
            note = f"epoch {epoch + 1}: {100 * right / done:.1f} % right"
            update(epoch * len(known) + done, note)

        return train.run(net, known, how, progress=progress, **more)


@command
@click.argument("model", type=FILE, required=False)
@click.option("--port", envvar="WAGE_PORT", help="Ask a board instead of a file.")
@click.option("--baud", default=115200, show_default=True, help="Of a serial device.")
@click.option("--key", type=FILE, help="The key of the board, when it was built with one.")
def do_info(
    screen: Screen, model: Path | None, port: str | None, baud: int, key: Path | None
) -> dict[str, Any]:
    """What a model file or a board is."""
    if model:
        blob = files.read_blob(model)
        core = Core(blob)
        about = shown(core.info) | {"flash_bytes": len(blob)}
        about |= dataclasses.asdict(core.config()) | _rules_of(core.wage)
        about |= {"replay_samples": core.wage.replay_count, "replay": core.wage.replay_capacity}
        about["layers"] = [_layer(core.wage.layers[k]) for k in range(core.wage.layer_count)]
    elif port and port != "sim":
        with open_device(port, baud, None, None, key, 5.0) as device:
            about = {"board": device.board, "place": device.place, **shown(device.info)}
            about |= {"authenticated": bool(device.welcome.keyed)}
            about |= dataclasses.asdict(device.config())
            about |= {name: getattr(device.welcome, name) for name in OF_A_BOARD}
            about |= {name: f"{getattr(device.welcome, name):08x}" for name in CRCS_OF_A_BOARD}
            about |= teach.by_itself(device)
            about["store_error"] = short(ERROR_NAMES.get(-device.welcome.store_error, "unknown"))
    else:
        raise WrongUsage("name a .wage file, or a board with --port")
    for key, value in about.items():
        for line in value if isinstance(value, list) else [value]:
            screen.say(f"{key:>16}  {line}")
    return about


def _rules_of(wage: Any) -> dict[str, Any]:
    """By what an open model learns."""
    policy, loss = ("continual", "paper")[wage.paper], ("ce", "sse")[wage.sse]
    learns = "class means" if wage.means else "gradients"
    kept = ("latents", "inputs")[wage.inputs]
    return {
        "policy": policy, "loss": loss, "batch": wage.batch, "momentum": wage.momentum,
        "learns_by": learns, "replay_of": kept, "class_table": bool(wage.table),
    }  # fmt: skip


def _layer(layer: Any) -> str:
    """One struct wage_layer for people."""
    window = layer.kind not in (lib.WAGE_DENSE, lib.WAGE_ADD)
    parts = [f"{KINDS[layer.kind]} {layer.kernel_h}x{layer.kernel_w}" if window else
             KINDS[layer.kind]]  # fmt: skip
    if layer.skip:
        parts[0] += f" of the input {layer.skip} layers below"
    parts[0] += f" to {layer.out_h}x{layer.out_w}x{layer.out_c}"
    parts += ["max-pooled"] * (layer.pool == 2)
    parts += ["signed"] * (layer.activation == lib.WAGE_SIGNED)
    if layer.weight_bits:
        stored = f" stored in {layer.store_bits}" if layer.store_bits else ""
        parts.append(f"{layer.weight_count} weights of {layer.weight_bits} bits{stored}")
    parts += ["bias"] * (layer.bias != ffi.NULL or layer.blob_bias != ffi.NULL)
    fixed = layer.weight_bits and not layer.store_bits
    learns = "trainable, only its bias" if fixed else "trainable"
    return ", ".join([*parts, learns if layer.trainable else "frozen"])


def shown(about: Info) -> dict[str, Any]:
    fields = dataclasses.asdict(about)
    del fields["extras"]
    if about.extras.names:
        fields["names"] = ", ".join(name or "(free)" for name in about.extras.names)
    if about.extras.steps:
        fields["prepare"] = [data.steps.say(step) for step in about.extras.steps]
    return {**fields, "crc": f"{about.crc:08x}", "shape": "x".join(map(str, about.shape))}

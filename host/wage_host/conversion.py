"""The command that makes a model for a board, of our own networks and of other programs'."""

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

import click

from wage_host import classes, data, files, network, pack, train, unpack
from wage_host.convert import export, model, read_arrays, report, settings
from wage_host.convert.graph import Graph
from wage_host.convert.settings import Settings
from wage_host.core import Core, info
from wage_host.errors import ModelError, TwinDiffers, WrongUsage
from wage_host.extras import Extras
from wage_host.layers import Network
from wage_host.models import rules, rules_options, shown
from wage_host.options import FILE, LABEL, PREPARE, RATE, command, open_device, port_options
from wage_host.progress import Tell
from wage_host.screen import Screen, table

FOREIGN = {  # options that are for other programs' models only
    "samples": None, "eval_data": None, "input_scale": None, "mean": None, "std": None,
    "description": None, "tensors": None, "until": None, "classes": None, "room": None,
    "fresh": False, "weights": None, "prepare": None,
}  # fmt: skip
LAYERS = re.compile(r"\d+x\d+x\d+ ")  # a network's notation, no file


def import_options(function: Any) -> Any:
    """For models of other programs."""
    for option in reversed((
        click.option("--samples", type=FILE, help="Samples to calibrate with, some hundreds."),
        click.option("--eval-data", type=FILE, help="Samples for the accuracy in the report."),
        click.option("--input-scale", help="value * this is the model's input; default: 1/255."),
        click.option("--mean", help="Taken off it, by channel: 0.49,0.48,0.45."),
        click.option("--std", help="Divides it then, by channel."),
        click.option("--network", "description", help="Layers of .npz and .safetensors files."),
        click.option("--tensors", help="Their names in these files: conv1+bn1,conv2,fc."),
        click.option("--frozen-until", "until", help="Node of the model; what follows learns."),
        click.option("--classes", type=int, help="That a last layer begun anew tells apart."),
        click.option("--max-classes", "room", type=int, help="With room for new ones."),
        click.option("--fresh-head", "fresh", is_flag=True, help="Begin the last layer anew."),
        PREPARE,
        click.option("--weights", type=click.Choice(["2", "8"]), help="Bits of what learns."),
    )):  # fmt: skip
        function = option(function)
    return function


class Amount(click.ParamType):
    """What a replay holds: samples, as 200, or bytes, as 32KB (of 1,024)."""

    name = "amount"

    def convert(self, value: Any, _param: Any, _context: Any) -> tuple[int, bool]:
        """(number, whether it counts bytes)."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,9})(B|KB|MB)?", value.upper())
        if not match:
            raise click.BadParameter(f"'{value}' is no amount: write samples, as 200, or 32KB")
        return int(match[1]) << {"KB": 10, "MB": 20}.get(match[2], 0), match[2] is not None


def strategy_options(function: Any) -> Any:
    """What learns, and from what: pack.Rules."""
    for option in reversed((
        click.option("--train-last", type=int, help="Layers that go on learning; default: 1."),
        click.option("--train", type=click.Choice(["all"]), help="All layers go on learning."),
        click.option("--bias-only/--no-bias-only", "biases", default=None,
                     help="Of these only the biases."),
        click.option("--class-means/--no-class-means", "means", default=None,
                     help="Nearest mean of --replay-data, no gradients."),
        click.option("--replay", type=Amount(),
                     help="What the replay can hold: samples, or bytes, as 32KB; default: 0."),
        click.option("--replay-inputs/--no-replay-inputs", "inputs", default=None,
                     help="Keep inputs, not latents."),
        click.option("--replay-data", type=FILE, help="Samples to fill it with, classes in turn."),
        click.option("--class-table/--no-class-table", "table", default=None,
                     help="Keep names and confusion of classes; so does --max-classes."),
    )):  # fmt: skip
        function = option(function)
    return function


@command
@click.argument("source", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="The model, .wage.")
@click.option("--name", help="At most 15 bytes; default: an export's, or the output's name.")
@strategy_options
@import_options
@LABEL
@click.option("--replays", type=int, help="Replayed samples a new one; default: 3.")
@click.option("--lr", type=RATE, help="Learning rate; default: 2^-5.")
@rules_options
@click.option("--gain-shift", type=int, help="Softmax sharpness 2^N; default: 2, or as it fits.")
@click.option("--threshold", type=int, help="Skip errors below N / 127; default: 0.")
@click.option("--seed", type=int, help="Of the board's random draws; default: 1.")
def do_convert(
    screen: Screen, source: Path, output: Path, replay_data: Path | None, label: str | None,
    **options: Any,
) -> dict[str, Any]:  # fmt: skip
    """Make a model for a board.

    \b
    Of a network of 'wage-host train' (.npz), of layers in its notation ('8x8x1 32FC 10FC': one that
    has learned nothing), or of another program's model:
      .onnx          as PyTorch, Keras, tf2onnx and skl2onnx export it, opsets 13 to 21
      .tflite        in floats or quantised
      .safetensors   arrays as PyTorch has them, layers described by --network
      .npz           the same
    These need --samples, like those that the board will see. What 'wage-host export' wrote needs
    nothing: it is the model again, without the samples of its replay.
    """
    files.check_output(output)
    if label is not None and not (replay_data or options["samples"] or options["eval_data"]):
        raise WrongUsage("--label names a column of --samples or --replay-data: give one of them")
    last = layers_that_learn(options)
    imp = known = test = None
    if own(source, options):
        net, told = load(source, options["seed"])
        chosen = choose(told, options, replay_data)
        last = told.train_last if last is None else last or len(net.weighted)
    else:
        graph = model.read(source, options["description"], options["tensors"])
        chosen = choose(settings.of(graph.told) if graph.told else Settings(), options, replay_data)
        wish = model.Wish(
            last, options["until"], options["classes"], options["room"], options["fresh"],
            int(options["weights"] or 8), options["gain_shift"], chosen.config.seed,
        )  # fmt: skip
        imp, known, test = imported(screen, source, graph, wish, options, label)
        net, last = imp.network, imp.train_last
        gain = dataclasses.replace(chosen.config, gain_shift=imp.gain_shift)
        chosen = dataclasses.replace(chosen, config=gain)
    net = pack.only_biases(net, last) if chosen.biases else net
    filling = []
    if replay_data:
        filling = data.samples(data.load(replay_data, net.extras, label), net.info())
    packed = functools.partial(
        train.convert, net, chosen.name or output.stem, chosen.config, last, rules=chosen.rules
    )
    samples = chosen.replay
    if chosen.replay_in_bytes:
        samples = train.fitting(chosen.replay, info(packed(0, filling)).replay_bytes)
    blob = packed(samples, filling)
    answer: dict[str, Any] = {}
    if imp and (test or known):
        answer = show(screen, imp, blob, test or known, bool(test))
    about = info(blob)
    files.write_whole(output, blob)
    screen.say(f"{output}: {len(blob)} bytes of flash, {about.arena_bytes} bytes of arena")
    if chosen.replay_in_bytes:
        screen.say(f"replay: {samples} samples of {about.replay_bytes} bytes")
    return {"model": str(output), "flash_bytes": len(blob), **shown(about), **answer}


def layers_that_learn(options: dict[str, Any]) -> int | None:
    """How many with weights, from the last one; 0: all; None: nothing was said."""
    every, count = bool(options["train"]), options["train_last"]
    if every and (count is not None or options["until"]):
        raise WrongUsage("--train all, --train-last and --frozen-until exclude each other")
    if count is not None and options["until"]:
        raise WrongUsage("--train-last and --frozen-until exclude each other")
    if count == 0:
        raise WrongUsage("--train-last is 1 at least: the last layer always learns")
    return 0 if every else count


def choose(told: Settings, options: dict[str, Any], replay_data: Path | None) -> Settings:
    """What the file says, and the options; WrongUsage for what does not go together."""
    by = rules(*(options[name] for name in ("policy", "loss", "batch", "momentum")), told.rules)
    chosen = settings.merged(told, options, by)
    means, replay, in_bytes = chosen.rules.means, chosen.replay, chosen.replay_in_bytes
    if means and (chosen.biases or replay):
        raise WrongUsage(
            "--class-means takes no replay and no --bias-only: leave them out"
            + ("" if options["means"] else ", or the model's means with --no-class-means")
        )
    kept = told.rules.means and not any(options[name] for name in ("fresh", "room", "weights"))
    if means and not replay_data and not kept:
        raise WrongUsage("class means are of samples: give them with --replay-data")
    if in_bytes and not replay:
        raise WrongUsage("a replay of 0 bytes holds no sample: give it more, or leave out --replay")
    if chosen.rules.inputs and not replay:
        raise WrongUsage("--replay-inputs is for a replay: say with --replay how large it is")
    if replay_data and not replay and not means:
        raise WrongUsage("--replay-data fills a replay: say with --replay how large it is")
    if not in_bytes and replay > train.REPLAY_MAX:
        raise ModelError(f"--replay is 0 to {train.REPLAY_MAX} samples")
    if chosen.biases and chosen.rules.paper:
        raise WrongUsage("the paper's policy trains no bias: leave out --bias-only, or the policy")
    return chosen


def own(source: Path, options: dict[str, Any]) -> bool:
    """A network of `wage-host train`, not another program's model."""
    suffix = source.suffix.lower()
    if suffix in model.READERS or options["description"]:
        return False
    if suffix not in model.ARRAYS and not in_notation(source):
        raise model.unread(source)
    if suffix == ".safetensors" and read_arrays.metadata(source) is None:
        return False
    given = [name for name, default in FOREIGN.items() if options[name] != default]
    if given:
        raise WrongUsage(
            f"{source} would be a network of 'wage-host train' or an export, and these options are "
            "for .onnx and other programs' models: describe its layers with --network, or leave "
            "them out"
        )
    return True


def in_notation(source: Path) -> bool:
    """Whether it is no file but layers, as 8x8x1 32FC 10FC."""
    return bool(LAYERS.match(str(source))) and not source.exists()


def load(source: Path, seed: int | None) -> tuple[Network, Settings]:
    """A network of `wage-host train`, a fresh one of its notation, or an export of a model, and
    what the file says beside it.
    """
    if in_notation(source):
        return network.parse(str(source), 1 if seed is None else seed), Settings()
    told = read_arrays.metadata(source)
    if told is None:
        return network.load(source), Settings()
    return export.rebuilt(source, told, read_arrays.load(source))


def imported(
    screen: Screen,
    source: Path,
    graph: Graph,
    wish: model.Wish,
    options: dict[str, Any],
    label: str | None,
) -> tuple[model.Imported, data.Data | None, data.Data | None]:
    """Another program's model, the samples it was calibrated with, those to judge it by."""
    with screen.counted("reading pictures") as tell:
        extras = model.told_extras(source, graph)
        known, test, extras = _samples(extras, wish, options, label, tell)
    scale = options["input_scale"]
    given = model.Input(
        None if scale is None else model.fraction(scale, "--input-scale"),
        model.numbers(options["mean"] or "0", "--mean"),
        model.numbers(options["std"] or "1", "--std"),
    )
    with screen.counted("quantising layers") as tell:
        imp = model.imported(source, graph, known, given, wish, tell)
    if known:
        free = imp.network.classes - len(extras.names)
        if extras.names and free > 0 and wish.room is not None:
            extras = dataclasses.replace(extras, names=(*extras.names, *[""] * free))
        if extras.names and len(extras.names) != imp.network.classes:
            told = f"{known.name} has {len(extras.names)} classes: the model's stay without names"
            imp, extras = dataclasses.replace(imp, notes=(*imp.notes, told)), Extras(extras.steps)
        imp = dataclasses.replace(imp, network=dataclasses.replace(imp.network, extras=extras))
    for one in filter(None, (known, test)):
        data.check(one, imp.network.info(), labels=not imp.fresh)
    return imp, known, test


def _samples(
    told: Extras, wish: model.Wish, options: dict[str, Any], label: str | None, tell: Tell
) -> tuple[data.Data | None, data.Data | None, Extras]:
    """Samples to calibrate with and to judge by, and extras; told: what the file says of them."""
    samples, text, known, extras = options["samples"], options["prepare"], None, told
    if text and told.steps:
        raise WrongUsage("the model carries its own pre-processing: leave out --prepare")
    if text and not samples:
        raise WrongUsage("--prepare is how --samples become inputs: give --samples, too")
    if samples and told.steps:
        raw = data.read(samples, label, tell)
        names = raw.numbered(None)[1] if wish.fresh else told.names
        extras = dataclasses.replace(told, names=names)
        known = data.prepared(raw, extras)
    elif samples:
        names = () if wish.fresh else told.names
        known, extras = data.learn_from(samples, text, label, names, tell)
    path = options["eval_data"]
    test = data.load(path, extras, label, tell) if path else None
    return known, test, extras


def show(
    screen: Screen, imp: model.Imported, blob: bytes, judge: data.Data, held_out: bool
) -> dict[str, Any]:
    """The report, before anything is written."""
    lost = None
    if not imp.fresh:
        with screen.counted("comparing layers") as tell:
            lost = report.losses(imp, judge, tell)
    rows = report.table(imp, blob, lost)
    heads = ["", "layer", "node", "output", "bits", "", "macs", "flash", "RAM"]
    heads += ["bound", "SQNR", "to here"]
    lines = [heads]
    for row in rows:
        counts = [f"{row[key]:,}" for key in ("macs", "flash_bytes", "arena_bytes")]
        losses = ["-", "-", "-"]
        if lost:
            sqnr = row["sqnr_db"]
            losses = [f"{row['bound']:.2g}", "-" if sqnr is None else f"{sqnr:.1f} dB"]
            losses.append(f"{row['accuracy_to_here']:.1%}")
        lines.append([
            str(row["layer"]), row["kind"], _short(row["node"]), row["output"], row["bits"],
            row["state"], *counts, *losses,
        ])  # fmt: skip
    for line in table(lines, right=(6, 7, 8, 9, 10, 11)):
        screen.say(line)
    told: dict[str, Any] = {}
    if lost:
        with screen.counted("judging samples") as tell:
            exact, whole = report.accuracies(imp, blob, judge, tell)
        told = {"accuracy_float": exact, "accuracy": whole, "judged_by": len(judge)}
        what = "samples" if held_out else "samples it was calibrated with (others: --eval-data)"
        screen.say(f"accuracy: {exact:.2%} in floats, {whole:.2%} on a board, {len(judge)} {what}")
    for note in imp.notes:
        screen.say(note)
    fits, others = report.fitting(blob)
    screen.say(f"fits: {', '.join(fits) or 'none'}")
    if others:
        screen.say(f"does not fit: {', '.join(others)}")
    screen.say("more: wage-host plan --model FILE.wage")
    return {"layers": rows, "fits": fits, "fits_not": others, **told}


def _short(node: str) -> str:
    """The name that a node has in the file."""
    parts = node.split("'")
    return parts[1] if len(parts) > 1 else node


@command
@port_options
@click.option("-o", "--output", type=FILE, required=True, help="The model as it is now, .wage.")
def do_pull(screen: Screen, output: Path, **port: Any) -> dict[str, Any]:
    """Take home what a board learned: its model (--model) with the weights that it has now, and
    the names that classes got on it.
    """
    files.check_output(output)
    if port["model"] is None:
        raise WrongUsage("say with --model which model the board has: frozen layers stay there")
    blob = files.read_blob(port["model"])
    with open_device(**port) as device:
        learned, size = b"", len(Core(blob).weight_bytes())
        with screen.progress("reading weights", size) as update:
            for part in device.pull():
                learned += part
                update(len(learned), "bytes")
        crc = device.stats().weight_crc
        names = classes.on_board(device, info(blob).extras.names)
    made = unpack.with_names(unpack.with_weights(blob, learned), names)
    if Core(made).weight_crc() != crc:
        raise TwinDiffers("the weights of the board are not those that were read: pull again")
    files.write_whole(output, made)
    screen.say(f"{output}: {len(learned)} bytes of learned weights ({crc:08x})")
    return {"model": str(output), "weight_bytes": len(learned), "weight_crc": f"{crc:08x}"}

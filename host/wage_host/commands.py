"""What each command of wage-host does; cli.py is its manual."""

import contextlib
import dataclasses
import functools
import secrets
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from wage_host import auth, classes, data, files, link, replay, stream
from wage_host import report as reports
from wage_host._core import lib
from wage_host.core import Config, Policy, info
from wage_host.course import Course
from wage_host.data import table
from wage_host.data.live import Live
from wage_host.device import Device
from wage_host.errors import (
    REMEDY,
    ArenaError,
    DataError,
    NoStore,
    OtherModel,
    Refused,
    WageError,
    WrongUsage,
)
from wage_host.extras import NOTHING
from wage_host.log import Log, default_path
from wage_host.options import (
    FILE,
    LABEL,
    LOG,
    RATE,
    board_line,
    command,
    open_device,
    port_options,
)
from wage_host.power import beside, estimate
from wage_host.power.options import beside_run, power_options
from wage_host.power.recorder import Recorder
from wage_host.screen import Screen
from wage_host.serve import served


def this_command() -> str:
    """The command line, to be logged."""
    return shlex.join(["wage-host", *sys.argv[1:]])


@command
@port_options
@click.option("--data", "file", type=FILE, required=True, help="New samples; -: CSV, live.")
@LABEL
@click.option("--eval-data", type=FILE, help="Samples for the accuracy before and after.")
@click.option("--seed", type=int, help="Of the random draws; default: the model's.")
@click.option("--lr", type=RATE, help="Learning rate, as 2^-4; default: the model's.")
@click.option("--replays", type=int, help="Replayed samples a new one; default: the model's.")
@click.option("--gain-shift", type=int, help="Softmax sharpness 2^N; default: the model's.")
@click.option("--threshold", type=int, help="Skip errors below N / 127; default: the model's.")
@click.option("--save-every", type=click.IntRange(1), help="Save every N samples, too.")
@click.option("--guard", type=FILE, help="Held-out samples: what does worse on them is undone.")
@click.option("--margin", type=click.FloatRange(0, 100), help="Of the guard, in %; default: 2.")
@click.option("--improved", is_flag=True, default=None, help="Save only what does better on it.")
@click.option("--erase-budget", type=click.IntRange(1), help="Slots to erase at most.")
@click.option("--new-class", "new_class", help="A class to be added: NAME, or LABEL=NAME.")
@click.option("--resume", type=int, help="Go on with an interrupted run, by its number.")
@click.option("--serve", type=click.IntRange(0, 65535), is_flag=False, flag_value=0,
              metavar="[PORT]", help="Show it in browsers of this computer, too.")
@power_options
@LOG
def do_learn(
    screen: Screen,
    file: Path,
    label: str | None,
    eval_data: Path | None,
    guard: Path | None,
    new_class: str | None,
    resume: int | None,
    serve: int | None,
    power: str | None,
    volts: float | None,
    log_path: Path | None,
    port: str,
    baud: int,
    model: Path | None,
    store: Path | None,
    key: Path | None,
    timeout: float,
    **settings: Any,
) -> dict[str, Any]:
    """Stream labelled samples to a board and watch it learn."""
    blob = files.read_blob(model) if model else None
    extras = info(blob).extras if blob else NOTHING
    live = file == data.STANDARD_INPUT
    if live and resume is not None:
        raise WrongUsage("--resume needs the samples again: a live source has no past")
    raw = [data.read(path, label) if path else None
           for path in (None if live else file, eval_data, guard)]  # fmt: skip
    with (
        Log(log_path or default_path()) as log,
        beside_run(power, volts, screen.say) as recorder,  # first: it may supply the board
        open_device(port, baud, model, store, key, timeout) as device,
    ):
        device.check_store()
        names = classes.named(device, extras.names, new_class)
        extras = dataclasses.replace(extras, names=names)
        new, test, held_out = (data.prepared(one, extras) if one else None for one in raw)
        if live:
            new = Live(table.standard_input(), extras, label)
        given = {name: value for name, value in settings.items() if value is not None}
        if "lr" in given:
            given["lr_factor"], given["lr_shift"] = given.pop("lr")
        number = secrets.randbits(32) | 1
        if resume is None:
            policy = _policy(given, held_out, device)
            config = dataclasses.replace(device.config(), **given)
        else:
            number, config, policy = _earlier(log, resume, new, held_out, device, given)
        if device.welcome.store_bytes and not device.can_save:
            screen.say(f"warning: {REMEDY['WAGE_E_STORE_SIZE']}")
        screen.say(f"board: {board_line(device)}")
        plan = stream.Plan(new, test, config, number, policy, blob, held_out)
        course = course_of(device, plan.names, config.replays, blob, recorder)
        watch = functools.partial(screen.watch, course=course)
        with served(screen, serve, course, file.name):
            done = stream.conduct(
                device, log, plan, this_command(), watch, course.hear, recorder=recorder, port=port
            )
        tell(screen, log, done)
    return {"run": done.run, "log": str(log.path), "board": device.board, **done.summary}


def course_of(
    device: Device,
    names: tuple[str, ...],
    replays: int,
    blob: bytes | None,
    recorder: Recorder | None = None,
) -> Course:
    """How a run on this board will go."""
    stats, batch = device.stats(), info(blob).batch if blob else 1
    replay = stats.replay_count, stats.replay_capacity
    course = Course(device.info.classes, names, replay, -(-(1 + replays) // batch))
    if recorder:
        course.joules = lambda: recorder.joules
    return course


GUARD_EVERY = 50  # samples between two looks at the guard, unless the user says otherwise
MARGIN = 2.0  # % of the guard


def _policy(given: dict[str, Any], guard: data.Data | None, device: Device) -> Policy:
    """When to save, out of the options of do_learn."""
    every = given.pop("save_every", GUARD_EVERY if guard else 0)
    margin, improved = given.pop("margin", None), given.pop("improved", False)
    budget = given.pop("erase_budget", 0)
    if not guard and (improved or margin is not None):
        raise WrongUsage("--improved and --margin need --guard: held-out samples to judge by")
    if budget and not every:
        raise WrongUsage("--erase-budget is for --save-every or --guard")
    return Policy(
        every=every,
        margin=int(len(guard) * (MARGIN if margin is None else margin) / 100) if guard else 0,
        wear_max=device.welcome.wear + budget if budget else 0,
        improved=improved,
    )


def _earlier(
    log: Log,
    run: int,
    new: data.Data,
    guard: data.Data | None,
    device: Device,
    given: dict[str, Any],
) -> tuple[int, Config, Policy]:
    """Stream and settings of an earlier run, which this board must have learned last."""
    earlier = log.run(run)["conditions"]
    if log.run(run)["state"] == "done":
        raise WrongUsage(f"run {run} is finished: learn without --resume")
    if "stream" not in earlier:
        raise WrongUsage(f"run {run} learned nothing: give the number of a learn run")
    if given:
        raise WrongUsage("--resume takes the settings of that run: leave out the others")
    if earlier["data_crc"] != f"{new.crc():08x}":
        raise DataError(f"run {run} learned other data than {new.name}: give the same file")
    if earlier.get("guard_crc") != (f"{guard.crc():08x}" if guard else None):
        name = earlier.get("guard", "none")
        raise DataError(f"the guard of run {run} was {name}: give the same with --guard")
    if earlier["model_crc"] != f"{device.info.crc:08x}":
        raise OtherModel(f"run {run} was of the model {earlier['model']}: use a board with it")
    if device.welcome.stream not in (0, earlier["stream"]):
        raise Refused(
            "WAGE_E_STREAM",
            f"the board has learned something else since run {run}: start a new run",
        )
    return replay.settings(earlier)


def tell(screen: Screen, log: Log, done: stream.Outcome) -> None:
    """The end of a run, in a few lines."""
    screen.say(f"learned {done.summary['samples']} samples in {done.summary['steps']} steps")
    if done.after:
        before, after = stream.accuracy(done.before), stream.accuracy(done.after)
        screen.say(f"accuracy: {before:.1%} before, {after:.1%} after")
    if "refused" in done.summary:
        score, of = done.summary["guard_score"], done.summary["guard_count"]
        times = done.summary["refused"]
        screen.say(f"guard: {score} of {of} right; {times} times it went back to a better state")
    if done.summary["proved"]:
        crc = done.summary["weight_crc"]
        screen.say(f"proved: this computer learned the same weights from the same samples ({crc})")
    else:
        screen.say("not proved: that takes --model, and a board that starts from its factory")
    for line in beside.lines(log, done.run):
        screen.say(line)
    screen.say(f"log: run {done.run} in {log.path}")
    screen.say(f"show it: wage-host report {done.run} --log {log.path}")


@command
@port_options
@click.option("--data", "file", type=FILE, required=True, help="Labelled samples.")
@LABEL
@power_options
@LOG
def do_eval(
    screen: Screen,
    file: Path,
    label: str | None,
    power: str | None,
    volts: float | None,
    log_path: Path | None,
    **port: Any,
) -> dict[str, Any]:
    """Accuracy of a board on labelled samples; nothing is learned."""
    model, raw = port["model"], data.read(file, label)
    blob = files.read_blob(model) if model else None
    extras = info(blob).extras if blob else NOTHING
    with (
        Log(log_path or default_path()) as log,
        beside_run(power, volts, screen.say) as recorder,
        open_device(**port) as device,
    ):
        names = classes.named(device, extras.names, None)
        test = data.prepared(raw, dataclasses.replace(extras, names=names))
        tests = data.samples(test, device.info)
        about = stream.conditions(device, test, device.config())
        run = log.begin(this_command(), about)
        course = course_of(device, test.names, 0, None, recorder)

        def hear(what: str, text: str, **numbers: int) -> None:
            log.event(run, what, text)
            course.hear(what, text, **numbers)

        device.on_event = hear
        shown = functools.partial(screen.watch, course=course)
        with beside.measured(recorder, log, run, device, shown) as watch:
            records = stream.evaluate(device, log, run, "now", 0, tests, watch)
        if not recorder:
            estimate.keep(log, run, device, blob, [record.us for record in records], 0.0)
        result = {"samples": len(records), "accuracy": stream.accuracy(records)}
        result |= beside.summary(log, run)
        log.end(run, "done", result)
        screen.say(f"accuracy: {result['accuracy']:.1%} of {len(records)} samples")
        for line in beside.lines(log, run):
            screen.say(line)
    return {"run": run, "board": device.board, "place": device.place, **result}


@command
@port_options
def do_save(screen: Screen, **port: Any) -> dict[str, Any]:
    """Have a board keep what it learned."""
    with open_device(**port) as device:
        device.check_store()
        generation = device.save()
    screen.say(f"saved as checkpoint {generation}")
    return {"generation": generation}


@command
@port_options
@click.option("--factory", is_flag=True, help="Forget everything learned, checkpoints too.")
def do_reset(screen: Screen, factory: bool, **port: Any) -> dict[str, Any]:
    """Restart a board from its last checkpoint, or make it forget."""
    with open_device(**port) as device:
        device.reset(lib.WAGE_FACTORY if factory else lib.WAGE_RESTART)
        generation = device.welcome.generation
    screen.say(f"the board runs from {f'checkpoint {generation}' if generation else 'its factory'}")
    return {"generation": generation}


@command
@port_options
@click.argument("file", type=FILE, required=False)
@click.option("--remove", is_flag=True, help="Back to the model in the board's image.")
def do_push(screen: Screen, file: Path | None, remove: bool, **port: Any) -> dict[str, Any]:
    """Send a board another model, without flashing: it keeps it in its store.

    Checkpoints of other models stay until others need their place.
    """
    if (file is None) != remove:
        raise WrongUsage("give the .wage model to push, or --remove")
    blob = files.read_blob(file) if file else b""
    about = info(blob) if file else None
    with open_device(**port, any_model=True) as device:
        room = device.welcome.push_room
        if not room:
            raise NoStore(
                f"{device.board} keeps no models in its store: build its image with the model "
                "(wage-host flash, emulate)"
            )
        if len(blob) > room:
            text = f"{file} has {len(blob)} bytes and {device.board} room for {room}"
            raise ArenaError(f"{text}: convert it with fewer --replay-data, or flash it")
        if remove:
            device.drop_pushed()
        else:
            _push(screen, device, blob)
        device.check_model()
        if about and device.info.crc != about.crc:
            raise OtherModel(f"{device.board} has dropped the model: its flash may be worn out")
        name = device.info.name
    screen.say(f"{device.board} runs with the model {name} ({device.info.crc:08x})")
    return {"board": device.board, "model": name, "model_crc": f"{device.info.crc:08x}"}


def _push(screen: Screen, device: Device, blob: bytes) -> None:
    """Sends all of a model; what interrupts that leaves the board with its image's."""
    try:
        with screen.progress("sending the model", len(blob)) as update:
            for done in device.push(blob):
                update(done, "bytes")
    except (KeyboardInterrupt, WageError):
        with contextlib.suppress(WageError):
            device.reset(lib.WAGE_RESTART)
        raise


@command
@click.argument("file", type=FILE)
def do_key(screen: Screen, file: Path) -> dict[str, Any]:
    """Make a key that a board and its hosts share, for links that others can reach."""
    auth.make(file)
    screen.say(f"a new key is in {file}: build the board with it, and give it with --key")
    return {"file": str(file)}


@command
def do_ports(screen: Screen) -> dict[str, Any]:
    """Serial ports with a USB device behind them."""
    found = link.ports()
    screen.say("\n".join(found) or "no serial port found: plug a board in, or try --port sim")
    return {"ports": found}


MANY = 2_000_000  # samples whose report takes more than two seconds


@command
@click.argument("runs", type=int, nargs=-1, metavar="[RUN]…")
@click.option("-o", "--output", type=FILE, help="The HTML file; default: run-N.html.")
@click.option("--picture", type=FILE, help="Also the curve of the first as an SVG file.")
@LOG
def do_report(
    screen: Screen,
    runs: tuple[int, ...],
    output: Path | None,
    picture: Path | None,
    log_path: Path | None,
) -> dict[str, Any]:
    """Draw a run (default: the last one), or several beside each other, into one HTML file."""
    with Log(log_path or default_path(), create=False) as log:
        numbers = list(dict.fromkeys(runs)) or [log.last()]
        if numbers == [None]:
            raise DataError(f"{log.path} holds no run yet: learn something first")
        samples = sum(log.run(number)["records"] for number in numbers)
        if samples >= MANY:
            screen.say(f"reading {samples:,} samples: some seconds")
        names = "-".join(map(str, numbers))
        output = output or Path(f"run-{names}.html")
        files.write_whole(output, reports.report(log, numbers).encode())
        if picture:
            files.write_whole(picture, reports.picture(log, numbers[0]).encode())
    screen.say(f"{'run' if len(numbers) == 1 else 'runs'} {', '.join(map(str, numbers))}: {output}")
    return {"runs": numbers, "report": str(output)}

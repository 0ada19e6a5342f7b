"""A stream of samples to a board: evaluate, learn, prove, evaluate again, and log all of it."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from typing import Any

from wage_host.core import Config, Core, Record, Sample
from wage_host.data import Data, samples
from wage_host.device import Device
from wage_host.errors import (
    Interrupted,
    NoAnswer,
    NoStore,
    PortBusy,
    PortNotFound,
    TwinDiffers,
    WageError,
)
from wage_host.log import Log

# Wraps what is iterated over, for a progress display: (what, how many, records) -> records.
Watch = Callable[[str, int, Iterable[Record]], Iterable[Record]]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to learn and how. `blob` (the board's model) lets this computer prove the result."""

    data: Data
    test: Data | None
    config: Config
    stream: int
    save_every: int = 0
    blob: bytes | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A finished run: its number in the log, what to tell, and the two evaluations."""

    run: int
    summary: dict[str, Any]
    before: list[Record]
    after: list[Record]


def conditions(device: Device, data: Data, config: Config, **more: Any) -> dict[str, Any]:
    """What a run must say of itself to be repeated."""
    return {
        "board": device.board,
        "place": device.place,
        "model": device.info.name,
        "model_crc": f"{device.info.crc:08x}",
        "data": data.name,
        "data_crc": f"{data.crc():08x}",
        "samples": len(data),
        "classes": device.info.classes,
        **dataclasses.asdict(config),
        "version": version("wage-host"),
        **more,
    }


def evaluate(
    device: Device, log: Log, run: int, when: str, at: int, tests: Sequence[Sample], watch: Watch
) -> list[Record]:
    """Predicts all samples on the board and logs them as evaluation `when`, `at` a sample."""
    records = list(watch(f"accuracy {when}", len(tests), device.evaluate(tests)))
    labels, predictions = [r.label for r in records], [r.prediction for r in records]
    log.evaluation(run, when, at, labels, predictions, device.place)
    return records


def conduct(
    device: Device, log: Log, plan: Plan, command: str, watch: Watch, **more: Any
) -> Outcome:
    """One whole run, kept in the board's store when it has one.

    Whatever interrupts it, the log says how far it came.
    """
    stream = samples(plan.data, device.info)
    tests = samples(plan.test, device.info) if plan.test else []
    about = conditions(device, plan.data, plan.config, stream=plan.stream, **more)
    run = log.begin(command, about)
    device.on_event = lambda what, text: log.event(run, what, text)
    before, after = [], []
    try:
        if tests:
            before = evaluate(device, log, run, "before", 0, tests, watch)
        summary = _learn(device, log, run, plan, stream, watch)
        if tests:
            after = evaluate(device, log, run, "after", len(stream), tests, watch)
            summary |= {"accuracy_before": accuracy(before), "accuracy_after": accuracy(after)}
    except KeyboardInterrupt:
        kept = _save_before_leaving(device, plan.stream, run)
        log.end(run, "interrupted", {})
        raise Interrupted(f"interrupted; {kept}") from None
    except (NoAnswer, PortNotFound, PortBusy) as error:
        log.end(run, "interrupted", {"error": str(error)})
        raise type(error)(f"{error}; then go on with --resume {run}") from error
    except WageError as error:
        log.end(run, "failed", {"error": str(error)})
        raise
    log.end(run, "done", summary)
    return Outcome(run, summary, before, after)


def _save_before_leaving(device: Device, stream: int, run: int) -> str:
    """Keeps what was learned of the stream so far, and says how it stands."""
    try:
        device.hello()  # forgets whatever was under way
        if device.welcome.stream != stream:
            return "nothing was learned yet"
        if not device.can_save:
            known = device.welcome.last_id
            return f"the board knows {known} samples until power-off; go on with --resume {run}"
        device.save()
        return f"{device.welcome.last_id} samples are saved; go on with --resume {run}"
    except WageError as error:
        return f"nothing more could be saved ({error})"


def _learn(
    device: Device, log: Log, run: int, plan: Plan, stream: Sequence[Sample], watch: Watch
) -> dict[str, Any]:
    if plan.save_every and not device.can_save:
        raise NoStore(f"{device.board} cannot save this model: leave out --save-every")
    twin = _fresh_twin(device, plan.blob)
    first, told = device.start(plan.stream, plan.config), set()
    for record in watch("learning", len(stream), device.learn(stream, plan.save_every)):
        log.record(run, record)
        told.add(record.id)
    if device.can_save and not plan.save_every:
        device.save()
    stats = device.stats()
    learned = stats.last_id - first
    if learned > len(told):
        text = f"{learned - len(told)} samples were learned whose answers the link lost"
        log.event(run, "lost", text)
    if twin:
        twin.start(plan.stream, plan.config)
        for _ in twin.learn(stream):
            pass
        if twin.weight_crc() != stats.weight_crc:
            raise TwinDiffers(
                f"the board's weights ({stats.weight_crc:08x}) are not those that this computer "
                f"learned from the same samples ({twin.weight_crc():08x}): please report this "
                "with the model and the data"
            )
    return {
        "samples": learned,
        "skipped": stats.skipped,
        "steps": stats.steps,
        "weight_crc": f"{stats.weight_crc:08x}",
        "state_crc": f"{stats.state_crc:08x}",
        "stack_bytes": stats.stack_bytes,
        "generation": stats.generation,
        "proved": True if twin else None,
    }


def _fresh_twin(device: Device, blob: bytes | None) -> Core | None:
    """The same model in this process, when the board has not learned anything yet."""
    twin = Core(blob) if blob else None
    return twin if twin and twin.state_crc() == device.welcome.state_crc else None


def accuracy(records: Iterable[Record], classes: Iterable[int] | None = None) -> float:
    """Share of the records (of these classes) that were predicted right."""
    keep = None if classes is None else set(classes)
    right = [r.prediction == r.label for r in records if keep is None or r.label in keep]
    return sum(right) / len(right) if right else 0.0

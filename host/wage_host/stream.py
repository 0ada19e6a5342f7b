"""A stream of samples to a board: evaluate, learn, prove, evaluate again, and log all of it."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from typing import Any

from wage_host import replay
from wage_host.core import Config, Core, Policy, Record, Sample, Stats
from wage_host.data import Data, samples
from wage_host.data.live import Live
from wage_host.device import Device
from wage_host.errors import (
    DataError,
    Interrupted,
    NoAnswer,
    NoStore,
    PortBusy,
    PortNotFound,
    TwinDiffers,
    WageError,
)
from wage_host.log import BLOCK, Log
from wage_host.power import beside, estimate
from wage_host.power.recorder import Recorder
from wage_host.twin import Twin

NO_POLICY = Policy()  # saves in the end only

# Wraps what is iterated over, for a progress display: (what, how many, records) -> records.
Watch = Callable[[str, int, Iterable[Any]], Iterable[Any]]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to learn and how. `blob` (the board's model) lets this computer prove the result."""

    data: Data | Live
    test: Data | None
    config: Config
    stream: int
    policy: Policy = NO_POLICY
    blob: bytes | None = None
    guard: Data | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes, or none."""
        return self.data.extras.names if isinstance(self.data, Live) else self.data.names


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
        "protocol": device.welcome.protocol,
        "version": version("wage-host"),
        **more,
    }


def strategy(blob: bytes) -> str:
    """How a model keeps what it knew, in words."""
    wage = Core(blob).wage
    if wage.means:
        return "class means"
    kept = f"replay of {wage.replay_capacity} {('latents', 'inputs')[wage.inputs]}"
    return ", ".join(["paper policy"] * wage.paper + [kept if wage.replay_capacity else "no replay"]
                     + [f"momentum 2^-{wage.momentum}"] * bool(wage.momentum))


def evaluate(
    device: Device, log: Log, run: int, when: str, at: int, tests: Sequence[Sample], watch: Watch
) -> list[Record]:
    """Predicts all samples on the board and logs them as evaluation `when`, `at` a sample."""
    records = list(watch(f"accuracy {when}", len(tests), device.evaluate(tests)))
    labels, predictions = [r.label for r in records], [r.prediction for r in records]
    log.evaluation(run, when, at, labels, predictions, device.place)
    return records


def conduct(
    device: Device,
    log: Log,
    plan: Plan,
    command: str,
    watch: Watch,
    on_event: Callable[..., None] = lambda what, text, **_: None,
    recorder: Recorder | None = None,
    **more: Any,
) -> Outcome:
    """One whole run, kept in the board's store when it has one.

    Whatever interrupts it, the log says how far it came. on_event: hears what the device tells;
    recorder: measures power meanwhile.
    """
    live = isinstance(plan.data, Live)
    stream = [] if live else samples(plan.data, device.info)
    tests = samples(plan.test, device.info) if plan.test else []
    policy = dataclasses.asdict(plan.policy)
    about = conditions(device, plan.data, plan.config, stream=plan.stream, **policy, **more)
    about |= {"strategy": strategy(plan.blob)} if plan.blob else {}
    about |= {"start": replay.start_of(device)}
    if any(names := plan.names):
        about |= {"names": [name or str(c) for c, name in enumerate(names)]}
    if plan.guard:
        about |= {"guard": plan.guard.name, "guard_crc": f"{plan.guard.crc():08x}"}
    run = log.begin(command, about, plan.blob)
    events: list[str] = []

    def hear(what: str, text: str, **numbers: int) -> None:
        events.append(what)
        log.event(run, what, text, device.last_id, **numbers)
        on_event(what, text, at_sample=device.last_id, **numbers)

    device.on_event = hear
    before, after = [], []
    try:
        with beside.measured(recorder, log, run, device, watch) as watch:
            if tests:
                before = evaluate(device, log, run, "before", 0, tests, watch)
            summary = _learn(device, log, run, plan, stream, watch, events)
            if recorder and summary["samples"]:
                recorder.steps_per_sample = summary["steps"] / summary["last_id"]
            if tests:
                after = evaluate(device, log, run, "after", len(stream), tests, watch)
                summary |= {"accuracy_before": accuracy(before), "accuracy_after": accuracy(after)}
        if not recorder:
            steps = summary["steps"] / summary["last_id"] if summary["samples"] else 0.0
            estimate.keep(log, run, device, plan.blob, [r.us for r in before + after], steps)
        summary |= beside.summary(log, run)
    except KeyboardInterrupt:
        kept, came_to = _save_before_leaving(device, plan.stream, run)
        log.end(run, "interrupted", came_to)
        raise Interrupted(f"interrupted; {kept}") from None
    except (NoAnswer, PortNotFound, PortBusy) as error:
        log.end(run, "interrupted", {"error": str(error)})
        raise type(error)(f"{error}; then go on with --resume {run}") from error
    except WageError as error:
        log.end(run, "failed", {"error": str(error)})
        raise
    log.end(run, "done", summary)
    return Outcome(run, summary, before, after)


def _save_before_leaving(device: Device, stream: int, run: int) -> tuple[str, dict[str, Any]]:
    """Keeps what was learned of the stream so far; in words, and for the log, how it stands."""
    try:
        device.hello()  # forgets whatever was under way
        if device.welcome.stream != stream:
            return "nothing was learned yet", {}
        known, go_on = device.welcome.last_id, f"go on with --resume {run}"
        if device.can_save:
            if device.saved_id < known:
                device.save()
            return f"{known} samples are saved; {go_on}", _came_to(device.stats())
        text = f"the board knows {known} samples until power-off; {go_on}"
        return text, _came_to(device.stats())
    except WageError as error:
        return f"nothing more could be saved ({error})", {}


def _came_to(stats: Stats) -> dict[str, Any]:
    """Where a board is, by which a replay is measured."""
    crcs = {name: f"{getattr(stats, name):08x}" for name in ("weight_crc", "state_crc")}
    return {"last_id": stats.last_id, **crcs}


def _learn(
    device: Device,
    log: Log,
    run: int,
    plan: Plan,
    stream: Sequence[Sample],
    watch: Watch,
    events: Sequence[str],
) -> dict[str, Any]:
    guard = _put_guard(device, plan, watch)
    _keep_sent(log, run, "guard", guard, 0, len(guard))
    twin = _fresh_twin(device, plan, guard)
    first, told, sent = device.start(plan.stream, plan.config, plan.policy), set(), 0
    if isinstance(plan.data, Live):
        records = _follow(device, plan.data, stream)
    else:
        records = device.learn(stream, device.can_save)
    for record in watch("learning", len(stream), records):
        sent = _keep_sent(log, run, "sample", stream, sent, record.id)
        log.record(run, record)
        told.add(record.id)
    stats = device.stats()
    _keep_sent(log, run, "sample", stream, sent, stats.last_id)
    if stats.last_id < len(stream):
        raise NoAnswer("the board started again and lost what it had not saved")
    learned = stats.last_id - first
    if learned > len(told):
        text = f"{learned - len(told)} samples were learned whose answers the link lost"
        log.event(run, "lost", text, stats.last_id)
    # a save that a fault cut off counts against the board's budget, not against the twin's
    proved = bool(twin) and not (plan.policy.wear_max and "fault" in events)
    if proved:
        _prove(twin, plan, stream, stats)
    return {
        "samples": learned,
        "skipped": stats.skipped,
        "steps": stats.steps,
        **_came_to(stats),
        "stack_bytes": stats.stack_bytes,
        "generation": stats.generation,
        "proved": True if proved else None,
        **({"confusion": [state.taken_for for state in device.class_states()]}
           if device.welcome.class_table else {}),
        **({"guard_score": stats.score, "guard_count": len(guard), "refused": stats.refused}
           if guard else {}),
    }  # fmt: skip


def _keep_sent(
    log: Log, run: int, what: str, samples: Sequence[Sample], kept: int, upto: int
) -> int:
    """Has the log keep what was sent from `kept` up to a sample, in blocks. Returns how many are.
    """
    while kept < upto:
        part = samples[kept : kept + BLOCK - kept % BLOCK]
        log.sent(run, what, kept + 1, part)
        kept += len(part)
    return kept


def _follow(device: Device, source: Live, stream: list[Sample]) -> Iterator[Record]:
    """Learns samples one by one, each as soon as it comes, and keeps them in `stream`.

    A fault of the link or the board does no harm: what it lost is sent again.
    """
    for sample in source.samples(device.info):
        stream.append(sample)
        yield from device.learn(stream)
    yield from device.learn(stream, device.can_save)


def _put_guard(device: Device, plan: Plan, watch: Watch) -> Sequence[Sample]:
    """The held-out samples, in the board's store before anything is learned."""
    if plan.policy.every and not device.can_save:
        raise NoStore(f"{device.board} cannot save this model: leave out --save-every and --guard")
    if not plan.guard:
        return []
    guard = samples(plan.guard, device.info)
    if len(guard) > device.welcome.guard_room:
        raise DataError(
            f"the guard has {len(guard)} samples and the board room for "
            f"{device.welcome.guard_room}: give fewer"
        )
    name = plan.guard.crc() or 1
    if (device.welcome.guard_set, device.welcome.guard_count) != (name, len(guard)):
        for _ in watch("guard", len(guard), device.guard(guard, name)):
            pass
    return guard


def _fresh_twin(device: Device, plan: Plan, guard: Sequence[Sample]) -> Twin | None:
    """The same model in this process, when the board has not learned anything yet."""
    if not plan.blob:
        return None
    twin = replay.fresh_twin(plan.blob, replay.start_of(device), len(guard))
    if twin and guard:
        twin.guard(guard, plan.guard.crc() or 1)
    return twin


def _prove(twin: Twin, plan: Plan, stream: Sequence[Sample], stats: Stats) -> None:
    """TwinDiffers unless this computer learns the same from the same samples."""
    twin.start(plan.stream, plan.config, plan.policy)
    for _ in twin.learn(stream):
        pass
    twin.save()
    if (twin.weight_crc(), twin.state_crc()) != (stats.weight_crc, stats.state_crc):
        raise TwinDiffers(
            f"what the board learned (weights {stats.weight_crc:08x}, all {stats.state_crc:08x}) "
            f"is not what this computer learned from the same samples ({twin.weight_crc():08x}, "
            f"{twin.state_crc():08x}): please report this with the model and the data"
        )


def accuracy(records: Iterable[Record], classes: Iterable[int] | None = None) -> float:
    """Share of the records (of these classes) that were predicted right."""
    keep = None if classes is None else set(classes)
    right = [r.prediction == r.label for r in records if keep is None or r.label in keep]
    return sum(right) / len(right) if right else 0.0

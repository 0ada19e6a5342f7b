"""A logged run once more on this computer: whether board, log and pulled weights agree."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from wage_host import unpack
from wage_host.core import Config, Core, Policy, Record, Sample, info
from wage_host.errors import DataError, TwinDiffers, WrongUsage
from wage_host.log import Log
from wage_host.twin import Twin

LOGGED = ("label", "prediction", "p_label", "skipped")  # of a record, the same wherever it ran
Watch = Callable[[str, int, Iterable[Any]], Iterable[Any]]


@dataclasses.dataclass(frozen=True)
class Proof:
    """What was compared: records of so many samples; whether the CRCs of the board; the weights as
    they came out.
    """

    records: int
    samples: int
    told: bool
    learned: bytes
    weight_crc: int


def start_of(device: Any) -> dict[str, Any]:
    """What a replay must know of a board when a run begins; JSON."""
    w = device.welcome
    states = device.class_states() if w.class_table else []
    return {
        "state_crc": f"{w.state_crc:08x}", "stream": w.stream, "slots": w.slots, "wear": w.wear,
        "names": [state.name for state in states],
    }  # fmt: skip


def fresh_twin(blob: bytes, start: dict[str, Any], guard_count: int) -> Twin | None:
    """The model in this process as a board had it at `start`; None when that had learned."""
    twin = Twin(blob, start["slots"] or 2, guard_count, start["wear"])
    _name(twin, start)
    return twin if f"{twin.state_crc():08x}" == start["state_crc"] else None


def _name(twin: Twin, start: dict[str, Any]) -> None:
    """Gives the classes the names that they had on the board."""
    for label, name in enumerate(start["names"]):
        if name:
            twin.name_class(label, name)


def settings(conditions: dict[str, Any]) -> tuple[int, Config, Policy]:
    """Stream, settings and policy of a run, out of its conditions."""
    config, policy = (
        kind(**{f.name: conditions[f.name] for f in dataclasses.fields(kind)
                if f.name in conditions})
        for kind in (Config, Policy)
    )  # fmt: skip
    return conditions["stream"], config, policy


def prove(log: Log, run: int, pulled: bytes | None, watch: Watch) -> Proof:
    """Learns a run again from what the log has of it, and compares all that can be compared.

    pulled: the model that `wage-host pull` made of the board. TwinDiffers at the first difference;
    DataError when the log has too little of the run.
    """
    row = log.run(run)
    if row["state"] == "live" and not row["cut_off"]:
        raise WrongUsage(f"run {run} is live: wait for its end")
    if pulled is None and "weight_crc" not in row["summary"]:
        raise DataError(
            f"run {run} was cut off before the board told what it had learned: give the weights "
            "that it has with --pulled (wage-host pull)"
        )
    with log.whole():
        twin, *counts = _replayed(log, row, watch, 0)
    _check_told(row, twin)
    if pulled is not None:
        _check_pulled(log.blob(run), twin, pulled)
    told = "weight_crc" in row["summary"]
    return Proof(*counts, told, twin.weight_bytes(), twin.weight_crc())


def _replayed(
    log: Log, row: dict[str, Any], watch: Watch, guard_room: int
) -> tuple[Twin, int, int]:
    """A twin that has learned what the run learned, how many records were compared, and samples.

    guard_room: samples of a guard that a later run puts into it.
    """
    run, about, blob = row["id"], row["conditions"], log.blob(row["id"])
    if "stream" not in about and not row["records"]:
        raise WrongUsage(f"run {run} learned nothing: give the number of a learn run")
    if "start" not in about:
        raise DataError(
            f"the board of run {run} sensed its samples by itself: the log has no inputs to replay"
        )
    if blob is None:
        raise DataError(f"the log has no model of run {run}: learn with --model to have it proved")
    samples = _inputs(log, run, "sample")
    guard = _inputs(log, run, "guard")
    if not samples:
        raise DataError(f"the log has no inputs of run {run}: there is nothing to replay")
    if about.get("wear_max") and any(e["what"] == "fault" for e in log.events(run)):
        raise DataError(
            f"run {run} had a budget of erasures and faults of the link: how many saves they "
            "cut off is not known, so it cannot be replayed"
        )
    origin = _origin(log, row)
    twin = _at_start(log, origin, blob, max(guard_room, len(guard)), watch)
    if guard:
        twin.guard(guard, int(about["guard_crc"], 16) or 1)
    stream, config, policy = settings(about)
    begun = twin.start(stream, config, policy)
    records: dict[int, list[Any]] = {}  # a board that fell back gives the same answer again
    for r in log.records(run):
        if not r["known"]:
            records.setdefault(int(r["id"]), []).append(r)
    last = row["summary"].get("last_id", max(records, default=0))
    if last > len(samples):
        raise DataError(f"the log has {len(samples)} of the {last} inputs of run {run}")
    compared = 0
    for made in watch(f"run {run} again", last - begun, twin.learn(samples[begun:last])):
        for logged in records.get(made.id, ()):
            _check_record(run, logged, made)
            compared += 1
    twin.save()
    return twin, compared, last - begun


def _inputs(log: Log, run: int, what: str) -> list[Sample]:
    """What was sent, from 1 on without a gap."""
    found: list[Sample] = []
    for number, label, x in log.samples(run, what):
        if number != len(found) + 1:
            raise DataError(f"the log lacks inputs of run {run}: {what} {len(found) + 1}")
        found.append((x, label))
    return found


def _origin(log: Log, row: dict[str, Any]) -> dict[str, Any]:
    """The run that began the stream that this one goes on with, or itself."""
    stream, runs = row["conditions"]["stream"], log.runs()
    while row["conditions"]["start"]["stream"] == stream:
        before = [r for r in runs if r["id"] < row["id"] and r["model"] == row["model"]
                  and r["conditions"].get("stream") == stream]  # fmt: skip
        if not before:
            raise DataError(
                f"run {row['id']} went on with a stream whose beginning this log does not have: it "
                "cannot be replayed"
            )
        row = before[-1]
    return row


def _at_start(
    log: Log, row: dict[str, Any], blob: bytes, guard_count: int, watch: Watch
) -> Twin:
    """A twin as the board was when the run began: from its factory, or after an earlier run."""
    start = row["conditions"]["start"]
    if twin := fresh_twin(blob, start, guard_count):
        return twin
    for earlier in reversed(log.runs()):
        same = earlier["model"] == row["model"] and earlier["id"] < row["id"]
        if same and earlier["summary"].get("state_crc") == start["state_crc"]:
            return _replayed(log, earlier, watch, guard_count)[0]
    raise DataError(
        f"run {row['id']} began with a board that had learned what this log does not have: it "
        "cannot be replayed (wage-host reset --factory before a run that shall be)"
    )


def _check_record(run: int, logged: Any, made: Record) -> None:
    """TwinDiffers when a sample gave something else."""
    for name in LOGGED:
        was, is_ = int(logged[name]), int(getattr(made, name))
        if was != is_:
            raise TwinDiffers(
                f"sample {made.id} of run {run}: the log has {name} {was}, and what it has of the "
                f"inputs gives {is_} on this computer"
            )


def _check_told(row: dict[str, Any], twin: Twin) -> None:
    """TwinDiffers when the board told other CRCs."""
    for name, made in (("weight_crc", twin.weight_crc()), ("state_crc", twin.state_crc())):
        told = row["summary"].get(name)
        if told is not None and told != f"{made:08x}":
            raise TwinDiffers(
                f"run {row['id']}: the board told {name.replace('_crc', '')} CRC {told}, and this "
                f"computer comes to {made:08x} from the inputs in the log"
            )


def _check_pulled(blob: bytes, twin: Twin, pulled: bytes) -> None:
    """TwinDiffers when other weights were pulled; says where the first one is."""
    ours, theirs = twin.weight_bytes(), Core(pulled).weight_bytes()
    pulled = unpack.with_names(pulled, info(blob).extras.names)  # a board may have given others
    if len(ours) != len(theirs) or unpack.with_weights(pulled, Core(blob).weight_bytes()) != blob:
        raise WrongUsage("the pulled weights are of another model than the run's")
    at = next((k for k, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b), None)
    if at is None:
        return
    layers = unpack.unpacked(blob).network.layers
    end = 0
    for k, _, size in unpack.learned_parts(blob):
        begin, end = end, end + size
        if at < end:
            raise TwinDiffers(
                f"the pulled weights differ from byte {at - begin} of layer {k} "
                f"({layers[k].text}) on: {theirs[at]:02x}, and this computer has {ours[at]:02x}"
            )

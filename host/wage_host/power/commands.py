"""wage-host power: which instruments there are, whether one works, and a measurement by itself."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import click

from wage_host import files
from wage_host.errors import InstrumentError, WrongUsage
from wage_host.options import FILE, command
from wage_host.power import energy, phases
from wage_host.power.beside import joules_text
from wage_host.power.instrument import drivers, open_instrument
from wage_host.power.options import VOLTS
from wage_host.power.recorder import Recorder
from wage_host.power.trace import Trace
from wage_host.screen import Screen, table

TEST_S = 2.0
BEAT_S = 0.2  # between two looks at how far it is

INSTRUMENT = click.argument("instrument", metavar="NAME[:PORT]")


@command
def do_list(screen: Screen) -> dict[str, Any]:
    """The drivers there are, and what is plugged in."""
    rows, found = [["driver", "plugged in"]], {}
    for name, point in drivers().items():
        found[name] = point.load().find()
        rows.append([name, ", ".join(found[name]) or "-"])
    for line in table(rows):
        screen.say(line)
    screen.say("measure with one: wage-host power test NAME:PORT")
    return {"drivers": found}


@command
@INSTRUMENT
@VOLTS
def do_test(screen: Screen, instrument: str, volts: float | None) -> dict[str, Any]:
    """Measure for two seconds, and say what comes."""
    recorder = _record(screen, instrument, volts, TEST_S)
    trace = recorder.trace()
    told = _tell(screen, trace)
    if recorder.gone or not len(trace):
        why = trace.gaps[-1].text if recorder.gone else "it gave no sample"
        raise InstrumentError(f"{recorder.instrument.name} does not measure: {why}")
    pins = [k for k in range(8) if (trace.marks >> k & 1).any()]
    still = "none is high" if not pins else f"high at times: {', '.join(map(str, pins))}"
    screen.say(f"pins: {recorder.instrument.pins}; {still}")
    return told | {"pins_high": pins}


@command
@INSTRUMENT
@VOLTS
@click.option("-o", "--output", type=FILE, required=True, help="The trace, a .npz file.")
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), help="How long; default: until Ctrl-C."
)
@click.option(
    "--per", type=click.IntRange(1), help="Inferences in a window; the first pin rises around it."
)
def do_record(
    screen: Screen,
    instrument: str,
    volts: float | None,
    output: Path,
    seconds: float | None,
    per: int | None,
) -> dict[str, Any]:
    """Measure into a file; with --per also the energy of an inference, as MLPerf Tiny does.

    For that the board does what it does five times, ten seconds or more each, and raises the
    first pin before and after.
    """
    files.check_output(output)
    if output.suffix != ".npz":
        raise WrongUsage(f"a trace is a .npz file: name it {output.with_suffix('.npz')}")
    recorder = _record(screen, instrument, volts, seconds)
    trace = recorder.trace()
    trace.save(output)
    told = _tell(screen, trace) | {"trace": str(output)}
    screen.say(f"written to {output}; measure it again with replay:{output}")
    if per:
        result = energy.paired(trace, per)
        above = f" ({joules_text(result.above_idle)} above idle)"
        screen.say(f"{joules_text(result.joules)}{above} an inference: {result.how}")
        told["inference"] = dataclasses.asdict(result)
    return told


def _record(screen: Screen, text: str, volts: float | None, seconds: float | None) -> Recorder:
    """Measures for so long, or until Ctrl-C, or until there is no more."""
    recorder = Recorder(open_instrument(text, volts), screen.say)
    try:
        begin = time.monotonic()
        total = int(seconds or 0) if recorder.instrument.live else 0
        with recorder, screen.progress("measuring, s", total) as update:
            while not recorder.ended.wait(BEAT_S) and not recorder.gone:
                passed = time.monotonic() - begin
                mean = recorder.joules / recorder.seconds if recorder.seconds else 0.0
                update(int(recorder.seconds), f"{1e3 * mean:.4g} mW on average")
                if seconds and recorder.instrument.live and passed >= seconds:
                    break
    except KeyboardInterrupt:
        if seconds:
            raise
    finally:
        recorder.close()
    return recorder


def _tell(screen: Screen, trace: Trace) -> dict[str, Any]:
    """A trace in a few lines and numbers."""
    if not len(trace):
        return {"samples": 0}
    total = trace.joules(trace.begin_s, trace.end_s)
    counts = {kind: sum(gap.samples for gap in trace.gaps if gap.kind == kind)
              for kind in ("lost", "repeated")}  # fmt: skip
    rate = 1 / trace.step_s if trace.step_s else 0.0
    screen.say(
        f"{len(trace)} samples in {trace.seconds:.4g} s, {rate:,.0f} a second; {counts['lost']} "
        f"lost, {counts['repeated']} repeated"
    )
    curve = trace.curve(1)[0]
    screen.say(
        f"{joules_text(total)}, {1e3 * total / trace.seconds:.4g} mW on average, "
        f"{1e3 * curve[0]:.4g} to {1e3 * curve[2]:.4g} mW"
    )
    found = energy.by_phase(trace, spans) if (spans := phases.by_pin(trace)) else []
    rows = [[p.phase, str(p.times), f"{1e3 * p.seconds:.4g} ms", joules_text(p.joules)]
            for p in found]  # fmt: skip
    for line in table([["phase", "times", "time", "energy"], *rows], right=(1, 2, 3)):
        if rows:
            screen.say(line)
    return {
        "samples": len(trace),
        "seconds": trace.seconds,
        "rate_hz": rate,
        **counts,
        "joules": total,
        "phases": [dataclasses.asdict(p) for p in found],
    }


@click.group()
def power() -> None:
    """What a board draws: instruments, and measurements by themselves."""


for _command in (do_list, do_test, do_record):
    power.add_command(_command)

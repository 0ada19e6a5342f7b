"""Energy where nothing measures it: time or instructions, times the current of a data sheet.

It is an estimate, and always called so. Boards say in board.ini what they draw while they compute
(custom_microamps_per_mhz, custom_volts); others have no estimate.
"""

import statistics
from collections.abc import Sequence

from wage_host import boards, budget, fit
from wage_host.boards import Board
from wage_host.device import Device
from wage_host.errors import WageError
from wage_host.log import Log
from wage_host.power import tables

CURRENT = "a typical current, of boards/{0}/board.ini"


def of_board(name: str) -> tuple[Board, float, float] | None:
    """(board, µA per MHz, V) of a board that says what it draws; None for others."""
    try:
        board = boards.get(name)
        current = float(board.custom.get("microamps_per_mhz", 0))
        volts = float(board.custom.get("volts", 0))
    except WageError:
        return None
    return (board, current, volts) if current and volts else None


def by_time(name: str, seconds: float) -> tuple[float, str] | None:
    """(joules, formula) of so long at work on a board."""
    found = of_board(name)
    if not found or not found[0].clock_hz:
        return None
    board, current, volts = found
    mhz = board.clock_hz / 1e6
    joules = seconds * mhz * current * 1e-6 * volts
    return joules, (
        f"{1e3 * seconds:.4g} ms × {mhz:g} MHz × {current:g} µA/MHz × {volts:g} V; time by the "
        f"board's clock, {CURRENT.format(name)}"
    )


def by_instructions(name: str, count: float) -> tuple[float, str] | None:
    """(joules, formula) of so many instructions."""
    found = of_board(name)
    if not found:
        return None
    _, current, volts = found
    joules = count * 1e-6 * current * 1e-6 * volts
    return joules, (
        f"{count:,.0f} instructions × 1 cycle × {current:g} µA/MHz × {volts:g} V; instructions as "
        f"counted in emulators (costs.json), {CURRENT.format(name)}"
    )


def keep(
    log: Log,
    run: int,
    device: Device,
    blob: bytes | None,
    predicted_us: Sequence[int],
    steps_per_sample: float,
) -> None:
    """Writes estimates of a run into the log, where something was done and the board says enough.

    predicted_us: what inferences took by the board's clock. An emulated board's clock says
    nothing of a real one: there instructions are counted, for which the model is needed.
    """
    learned_us = [us for us in log.records(run)["us"].tolist() if us]
    rows = []
    if device.place == "board":
        for what, times in (("inference", predicted_us), ("sample", learned_us)):
            if any(times):
                rows.append((what, by_time(device.board, statistics.fmean(times) / 1e6)))
    elif device.place == "emulator" and blob and (found := of_board(device.board)):
        one = fit.of(budget.read(blob), blob, found[0], 115200, None)
        for what, done, count in (
            ("inference", predicted_us, one.predict_instructions),
            ("sample", learned_us, one.learn_instructions),
        ):
            if len(done) and count:
                rows.append((what, by_instructions(device.board, count)))
    told = [(run, what, *found) for what, found in rows if found]
    for run_, what, joules, how in list(told):
        if what == "sample" and steps_per_sample:
            text = f"{steps_per_sample:.3g} steps a sample; {how}"
            told.append((run_, "step", joules / steps_per_sample, text))
    log.write(run, tables.ADD_ENERGY, [
        (run, what, joules, None, "estimate", how) for run, what, joules, how in told
    ])  # fmt: skip

"""An instrument beside a run: what is in the log is what was drawn, and nothing stops learning."""

# SPDX-License-Identifier: MIT

import json
import struct
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from emulated import LIMIT_S
from fakes import running
from measure import by_phase, steps
from wage_host import boards, budget, cli, demo, emulate, firmware, fit, sim
from wage_host.errors import InstrumentError
from wage_host.log import Log
from wage_host.power import beside, estimate
from wage_host.power import trace as traces
from wage_host.power.instrument import NOTHING, Block
from wage_host.power.recorder import Recorder

AMPERES, VOLTS = 0.0125, 3.0
CONSTANT = [(1000, AMPERES, 0)]


@pytest.fixture(scope="session")
def longer(demo_files: demo.Files, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The demo's files, its test three times over: a simulated board is fast."""
    path = tmp_path_factory.mktemp("longer") / "test.npz"
    with np.load(demo_files.test) as test:
        np.savez(path, **{name: np.concatenate([test[name]] * 3) for name in ("x", "y")})
    return SimpleNamespace(model=demo_files.model, stream=demo_files.stream, test=path)


@pytest.fixture
def board(served: Callable[..., str], demo_blob: Path) -> str:
    """A simulated board that tells its phases; the port of it."""
    return served(sim.serve_socket, sim.SimBoard(demo_blob.read_bytes(), phases=True), 0)


def learn(port: str, power: str, files: SimpleNamespace, folder: Path, *more: str) -> Log:
    """A run with an instrument beside it; its log."""
    named = {"--port": port, "--power": power, "--model": files.model, "--data": files.stream}
    named |= {"--eval-data": files.test, "--log": folder / "l.sqlite"}
    command = ["learn", *(str(part) for pair in named.items() for part in pair), *more]
    assert cli.wage_host.main(command, standalone_mode=False) == 0
    return Log(folder / "l.sqlite", create=False)


def row(log: Log, table: str, **where: object) -> SimpleNamespace:
    """The only row of a table."""
    tests = " AND ".join(f"{key} = ?" for key in where) or "1"
    (found,) = log.read(f"SELECT * FROM {table} WHERE {tests}", *where.values())
    return SimpleNamespace(**dict(found))


def rows(log: Log, table: str) -> list[SimpleNamespace]:
    """All rows of a table."""
    return [SimpleNamespace(**dict(found)) for found in log.read(f"SELECT * FROM {table}")]


def check_constant(log: Log) -> None:
    """With one current all the time energy is time, in each phase and altogether."""
    power = row(log, "power", run=1)
    assert power.lost == power.repeated == 0
    assert power.joules == pytest.approx(AMPERES * VOLTS * power.seconds, rel=1e-3)
    assert power.aligned == "clock"
    found = {phase.phase: phase for phase in rows(log, "power_phase")}
    assert {"idle", "receive", "forward", "backward", "update"} <= set(found)
    for phase in found.values():
        # short phases hold few samples of a current that wavers by a step of the converter
        assert phase.joules == pytest.approx(AMPERES * VOLTS * phase.seconds, rel=5e-3), phase
    curve = np.frombuffer(power.curve, np.float32).reshape(-1, 3)
    assert curve[:, 1] == pytest.approx(AMPERES * VOLTS, rel=5e-3)


def test_the_log_has_what_was_drawn(board, longer, tmp_path, capsys):
    with running("ppk2", steps=CONSTANT) as port:
        log = learn(board, f"ppk2:{port}", longer, tmp_path)
    with log:
        check_constant(log)
        frames = rows(log, "phase_frame")
        assert len(frames) == 2 * 1077 + 265
        assert sum(frame.lost for frame in frames) == 0
        first = [code for code, _ in struct.iter_unpack("<BI", frames[0].marks)]
        assert first == [1, 2, 0]  # received, predicted, idle
        kinds = {one.what: one for one in rows(log, "energy")}
        assert set(kinds) == {"inference", "sample", "step"}
        assert {one.kind for one in kinds.values()} == {"measured"}
        assert kinds["sample"].joules == pytest.approx(16 * kinds["step"].joules)
        assert "no windows: a window is" in kinds["sample"].how  # the run is too short for five
        assert json.loads(row(log, "power_closeup").phases)
        kept = traces.load(tmp_path / row(log, "power").trace)
        assert len(kept) == row(log, "power").samples
        assert kept.about["run"] == 1
    told = capsys.readouterr().out
    assert "phases by clocks, each within " in told
    assert " µJ above idle) a sample: mean over all " in told


def test_phases_by_pin_come_before_those_by_clock(board, longer, tmp_path):
    with running("ppk2", steps=steps(4)) as port:
        log = learn(board, f"ppk2:{port}", longer, tmp_path)
    with log:
        power = row(log, "power")
        assert (power.aligned, power.uncertainty_s) == ("pin", pytest.approx(1e-5))
        for phase in rows(log, "power_phase"):
            true = by_phase(steps(4), VOLTS)[phase.phase]
            assert phase.joules / phase.seconds == pytest.approx(true, rel=2e-3)


def test_without_phases_energy_is_still_there(longer, tmp_path):
    with running("ppk2", steps=CONSTANT) as port:
        log = learn("sim", f"ppk2:{port}", longer, tmp_path)
    with log:
        power = row(log, "power")
        assert power.aligned == "none"
        assert power.uncertainty_s is None
        assert "flash it with --phases" in power.note
        assert "no windows: no marks" in row(log, "energy", what="inference").how


def test_an_instrument_is_pulled_out_and_learning_goes_on(board, longer, tmp_path):
    with running("ppk2", steps=CONSTANT, unplug=8000) as port:
        log = learn(board, f"ppk2:{port}", longer, tmp_path)
    with log:
        assert log.run(1)["state"] == "done"
        assert log.run(1)["summary"]["proved"] is True
        gap = row(log, "power_gap")
        assert gap.kind == "unplugged"
        assert 0.02 < gap.at_s <= 0.08  # what a pty held is lost
        assert gap.seconds > 0
        told = [event["text"] for event in log.events(1) if event["what"] == "power"]
        assert told[-1].startswith("unplugged: ")
        assert row(log, "power").seconds == pytest.approx(gap.at_s, abs=1e-4)
        measured = sum(phase.seconds for phase in rows(log, "power_phase"))
        assert measured <= row(log, "power").seconds  # nothing of what came later


def test_losses_are_in_the_log(board, longer, tmp_path):
    losses = [[1000, 5], [2000, 30]]
    with running("ppk2", steps=CONSTANT, losses=losses) as port:
        log = learn(board, f"ppk2:{port}", longer, tmp_path)
    with log:
        assert row(log, "power").lost == 35
        assert [gap.samples for gap in rows(log, "power_gap")] == [5, 30]
        assert [e["text"] for e in log.events(1) if e["what"] == "power"] == [
            f"lost: {count} samples, or 64 more, or …" for _, count in losses
        ]


def test_eval_measures_too(board, longer, tmp_path):
    command = ["eval", "--port", board, "--model", longer.model, "--data", longer.test]
    with running("ppk2", steps=CONSTANT) as port:
        more = ["--power", f"ppk2:{port}", "--log", tmp_path / "l.sqlite"]
        assert cli.wage_host.main([*map(str, [*command, *more])], standalone_mode=False) == 0
    with Log(tmp_path / "l.sqlite", create=False) as log:
        assert row(log, "energy").what == "inference"
        assert row(log, "power").aligned == "clock"


class Silent:
    """An instrument that says nothing, and refuses to begin when it is told to."""

    name, rate_hz, pins, live, stopped = "silent", 1.0, 0, True, False

    def __init__(self, refuses: bool = False):
        self.refuses = refuses

    def start(self) -> None:
        if self.refuses:
            raise InstrumentError("it does not begin")

    def read(self, timeout_s: float) -> object:
        return NOTHING

    def gaps(self) -> list:
        return []

    def stop(self) -> None:
        self.stopped = True


class Late(Silent):
    """One whose samples come 0.2 s after they were taken, at 1 kHz."""

    def start(self) -> None:
        self.begin, self.sent = time.monotonic(), 0

    def read(self, timeout_s: float) -> object:
        time.sleep(0.01)
        count = int((time.monotonic() - self.begin - 0.2) * 1000) - self.sent
        if count <= 0:
            return NOTHING
        t = (self.sent + np.arange(count)) / 1000
        self.sent += count
        ones = np.ones(count, np.float32)
        return Block(t, ones, ones, np.zeros(count, np.uint8))


def test_the_end_of_a_run_is_measured_though_it_comes_late():
    with Recorder(Late()) as recorder:
        time.sleep(0.3)
        seconds = time.monotonic() - recorder.begin_s
    assert recorder.trace().end_s >= seconds


def test_an_instrument_that_gives_nothing(tmp_path):
    device = SimpleNamespace(welcome=SimpleNamespace(marks=0), last_id=0, on_marks=None)
    with Log(tmp_path / "l.sqlite") as log:
        run = log.begin("test", {})
        silent = Silent()
        with beside.measured(Recorder(silent), log, run, device, lambda *a: a[2]):
            pass
        log.end(run, "done", {})
        power = row(log, "power")
        assert (power.samples, power.joules, power.aligned) == (0, 0.0, "none")
        assert power.note == "the instrument gave no sample"
        assert silent.stopped


def test_a_driver_that_fails_is_a_gap(tmp_path):
    class Broken(Silent):
        def read(self, timeout_s: float) -> object:
            raise ZeroDivisionError("of somebody else")

    device = SimpleNamespace(welcome=SimpleNamespace(marks=0), last_id=0, on_marks=None)
    with Log(tmp_path / "l.sqlite") as log:
        run = log.begin("test", {})
        with beside.measured(Recorder(Broken()), log, run, device, lambda *a: a[2]):
            pass
        log.end(run, "done", {})
        gap = row(log, "power_gap")
        assert gap.kind == "unplugged"
        assert gap.text == "the driver failed: ZeroDivisionError('of somebody else')"


def test_whatever_ends_a_run_the_measurement_is_kept(tmp_path):
    device = SimpleNamespace(welcome=SimpleNamespace(marks=0), last_id=0, on_marks=None)
    with Log(tmp_path / "l.sqlite") as log:
        run = log.begin("test", {})
        measured = beside.measured(Recorder(Silent()), log, run, device, lambda *a: a[2])
        with pytest.raises(KeyboardInterrupt), measured:
            raise KeyboardInterrupt
        assert row(log, "power").run == run


# -- estimates ---------------------------------------------------------------


def test_an_estimate_shows_its_formula():
    joules, how = estimate.by_time("microbit", 0.1)
    assert joules == pytest.approx(0.1 * 16e6 * 275e-12 * 3.0)
    assert how.startswith("100 ms × 16 MHz × 275 µA/MHz × 3 V; time by the board's clock, ")
    joules, how = estimate.by_instructions("microbit", 1_600_000)
    assert joules == pytest.approx(0.1 * 16e6 * 275e-12 * 3.0)
    assert how.startswith("1,600,000 instructions × 1 cycle × 275 µA/MHz × 3 V; ")
    assert estimate.by_time("mps2-an386", 1.0) is None  # nobody says what it draws
    assert estimate.by_time("sim", 1.0) is None


@pytest.mark.parametrize("place", ["board", "emulator", "host"])
def test_estimates_of_a_run(place, tmp_path, demo_blob):
    blob = demo_blob.read_bytes()
    device = SimpleNamespace(place=place, board="microbit")
    with Log(tmp_path / "l.sqlite") as log:
        run = log.begin("test", {})
        for k, us in enumerate((30_000, 50_000), 1):
            log.record(run, SimpleNamespace(id=k, label=1, prediction=1, p_label=0, skipped=False,
                                            known=False, us=us))  # fmt: skip
        estimate.keep(log, run, device, blob, [10_000, 20_000], 16.0)
        found = {one.what: one for one in rows(log, "energy")}
        if place == "host":
            assert not found
            return
        assert {one.kind for one in found.values()} == {"estimate"}
        a_second = 16e6 * 275e-12 * 3.0
        if place == "board":
            true = {"inference": 0.015 * a_second, "sample": 0.04 * a_second}
        else:
            one = fit.of(budget.read(blob), blob, boards.get("microbit"), 115200, None)
            cycles = {"inference": one.predict_instructions, "sample": one.learn_instructions}
            true = {what: count / 16e6 * a_second for what, count in cycles.items()}
        for what, joules in (true | {"step": true["sample"] / 16}).items():
            assert found[what].joules == pytest.approx(joules)
        assert beside.lines(log, run)[0].startswith("estimate: ")
        log.end(run, "done", {})


# -- an emulated board ---------------------------------------------------------


class Slow(sim.SimBoard):
    """A simulated board that takes its time: 10 ms for each zero that frames are put between."""

    def exchange(self, data: bytes) -> bytes:
        answer = super().exchange(data)
        time.sleep(0.01 * answer.count(b"\0"))
        return answer


@pytest.mark.soak
def test_a_minute_has_windows_as_mlperf_tiny_wants_them(served, demo_files, demo_blob, tmp_path):
    port = served(sim.serve_socket, Slow(demo_blob.read_bytes(), phases=True), 0)
    with np.load(demo_files.test) as test:
        four = {name: np.concatenate([test[name]] * 4) for name in ("x", "y")}
    np.savez(tmp_path / "t.npz", **four)
    with running("ppk2", steps=CONSTANT) as where:
        named = {"--port": port, "--model": demo_blob, "--data": tmp_path / "t.npz"}
        named |= {"--power": f"ppk2:{where}", "--log": tmp_path / "l.sqlite"}
        command = ["eval", *(str(part) for pair in named.items() for part in pair)]
        assert cli.wage_host.main(command, standalone_mode=False) == 0
    with Log(tmp_path / "l.sqlite", create=False) as log:
        windows = rows(log, "power_window")
        assert [window.what for window in windows] == ["inference"] * 5
        assert min(window.seconds for window in windows) >= 10
        assert sum(window.times for window in windows) == 4 * 359
        each = sorted(AMPERES * VOLTS * window.seconds / window.times for window in windows)
        found = row(log, "energy")
        assert found.joules == pytest.approx(each[2], rel=1e-3)
        assert found.how.startswith("median of 5 windows of 1")
        assert row(log, "power").lost == 0


@pytest.mark.soak
def test_an_emulated_board_with_an_instrument_beside_it(need_emulator, demo_files, tmp_path):
    image = firmware.build("mps2-an386", firmware.Contents(demo_files.model, phases=True))
    with emulate.running("mps2-an386", image) as url, running("ppk2", steps=CONSTANT) as port:
        log = learn(url, f"ppk2:{port}", demo_files, tmp_path, "--timeout", str(LIMIT_S))
    with log:
        check_constant(log)
        assert log.run(1)["conditions"]["place"] == "emulator"
        assert log.run(1)["summary"]["proved"] is True
        seconds = row(log, "power").seconds
        assert sum(phase.seconds for phase in rows(log, "power_phase")) <= seconds

"""Wrong uses of instruments: one clear line each, and an exit code of its own."""

# SPDX-License-Identifier: MIT

import errno
import os
import pty
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
import serial
from fakes import running
from measure import steps
from wage_host import cli, data, demo
from wage_host.power import trace as traces
from wage_host.power.instrument import Block
from wage_host.power.trace import Writer

DRAWN = steps(10)


class Refused(Protocol):
    """Exit code and the last line of a command that must fail."""

    def __call__(self, *arguments: object) -> tuple[int, str]: ...


@pytest.fixture
def refused(capsys, monkeypatch, tmp_path) -> Refused:
    """Runs wage-host in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str]:
        code = cli.wage_host.main([str(part) for part in arguments], standalone_mode=False)
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert line.startswith("wage-host: ")
        return code, line.removeprefix("wage-host: ")

    return run


def test_no_instrument(refused):
    code, line = refused("power", "test", "ppk2")
    assert code == 3
    assert line == "no PPK2 is plugged in: name the port, as ppk2:PORT"


def test_no_such_port(refused):
    code, line = refused("power", "test", "lpm:/dev/ttyNONE", "--volts", 3)
    assert code == 3
    assert line.startswith("there is no port /dev/ttyNONE: plug the LPM01A or STLINK-V3PWR in, or")


def test_no_such_driver(refused):
    code, line = refused("power", "test", "ppk3:/dev/ttyACM0")
    assert code == 25
    assert line.startswith("there is no driver for 'ppk3': write one of csv, joulescope, lpm, otii")


@pytest.mark.parametrize("name", ["ppk2", "lpm"])
def test_nobody_answers(name, refused):
    _, theirs = pty.openpty()
    volts = ("--volts", 3) if name == "lpm" else ()
    code, line = refused("power", "test", f"{name}:{os.ttyname(theirs)}", *volts)
    assert code == 25
    assert "is no " in line
    assert "it says nothing: name" in line


def test_the_shell_of_a_ppk2(refused):
    with running("ppk2", steps=DRAWN, shell=True) as port:
        code, line = refused("power", "test", f"ppk2:{port}")
    assert code == 25
    assert f"PPK2 at {port} is no PPK2, for it answers b'ppk2:~$ " in line
    assert line.endswith("name the port at which it measures, the first of its two")


def test_a_ppk2_without_calibration(refused):
    with running("ppk2", steps=DRAWN, lacking=["GS2", "UG4"]) as port:
        code, line = refused("power", "test", f"ppk2:{port}")
    assert code == 25
    assert "has no calibration for GS2 UG4: restore it with Nordic's Power Profiler" in line


def test_an_ampere_meter_without_volts(refused):
    with running("ppk2", steps=DRAWN, mode=1) as port:
        code, line = refused("power", "test", f"ppk2:{port}")
    assert code == 25
    assert "does not see the voltage: say with --volts what your supply gives" in line


def test_volts_that_a_ppk2_does_not_give(refused):
    with running("ppk2", steps=DRAWN) as port:
        code, line = refused("power", "test", f"ppk2:{port}", "--volts", 12)
    assert code == 25
    assert line == "a PPK2 gives 0.8 to 5.0 V, not 12 V"


def test_an_lpm_without_volts(refused):
    code, line = refused("power", "test", "lpm:/dev/ttyNONE")
    assert code == 25
    assert "supplies the board: say with --volts how much" in line


def test_an_lpm_that_refuses(refused):
    with running("lpm", steps=DRAWN, refuses="freq 5k") as port:
        code, line = refused("power", "test", f"lpm:{port}", "--volts", 3)
    assert code == 25
    assert line == f"LPM at {port} refused 'freq 5k': error freq 5k"


def test_an_lpm_that_trips(refused):
    with running("lpm", steps=DRAWN, trips=2000) as port:
        code, line = refused("power", "test", f"lpm:{port}", "--volts", 3)
    assert code == 25
    assert f"LPM at {port} stopped: error: overcurrent" in line


def test_lines_of_something_else(refused):
    with running("csvlines", steps=DRAWN, text="hello\nworld\n1;2;3\n" * 20) as port:
        code, line = refused("power", "test", f"csv:{port}")
    assert code == 25
    assert "are not t_us,V,A,mark, but '1;2;3'" in line


def test_no_permission(refused, monkeypatch):
    def denied(self: serial.Serial) -> None:
        raise serial.SerialException(errno.EACCES, "denied")

    monkeypatch.setattr(serial.Serial, "open", denied)
    code, line = refused("power", "test", "ppk2:/dev/ttyACM1")
    assert code == 4
    assert line.startswith("no permission to open /dev/ttyACM1: add yourself to the group that")


def test_in_use(refused):
    with running("ppk2", steps=DRAWN) as port, serial.Serial(port, exclusive=True):
        code, line = refused("power", "test", f"ppk2:{port}")
    assert code == 4
    assert line == f"{port} is in use by another program: close it and try again"


def test_a_file_beside_a_run(demo_files: demo.Files, tmp_path: Path, refused):
    Writer().trace(heard=np.empty((0, 2)), about={"pins": 8}).save(tmp_path / "t.npz")
    command = ["eval", "--port", "sim", "--model", demo_files.model, "--data", demo_files.test]
    code, line = refused(*command, "--power", f"replay:{tmp_path / 't.npz'}")
    assert code == 2
    assert line.endswith("is a file, and measures nothing now: name an instrument")
    code, line = refused(*command, "--volts", 3)
    assert code == 2
    assert line == "--volts is for --power: name the instrument, too"


def test_what_is_no_trace(demo_files: demo.Files, refused):
    other = demo_files.test
    assert len(data.load(other))
    code, line = refused("power", "record", f"replay:{other}", "-o", "x.npz")
    assert code == 25
    assert line.startswith(f"{other} is no power trace of wage-host: ")
    code, line = refused("power", "record", "replay:none.npz", "-o", "x.npz")
    assert code == 25
    assert line == "none.npz is no power trace of wage-host: No such file or directory"
    code, line = refused("power", "record", "ppk2:/dev/ttyNONE", "-o", "none/x.npz")
    assert code == 19  # before anything is measured
    assert line.startswith("cannot write none/x.npz: make the folder none")
    code, line = refused("power", "record", "ppk2", "-o", "x.csv")
    assert code == 2
    assert line == "a trace is a .npz file: name it x.npz"


def windows(folder: Path, rises: int, every_s: float, gaps: bool = False) -> Path:
    """A trace at 1 kHz whose first pin rises so often; 60 mW in every second of them, else 30."""
    n = int(max(rises, 1) * every_s * 1000)
    t = np.arange(n) / 1000
    marks = ((t % every_s) >= every_s / 2).astype(np.uint8)
    volts = np.full(n, 3, np.float32)
    amperes = np.where((t / every_s - 0.5) % 2 < 1, 0.02, 0.01).astype(np.float32)
    writer = Writer()
    keep = np.ones(n, bool)
    if gaps:
        keep[n // 2 : n // 2 + int(every_s * 1000) // 3] = False
    writer.add(Block(t[keep], volts[keep], amperes[keep], marks[keep]))
    path = folder / "t.npz"
    writer.trace(heard=np.empty((0, 2)), about={"pins": 8, "instrument": "made up"}).save(path)
    return path


@pytest.mark.parametrize(
    ("rises", "every_s", "gaps", "says"),
    [
        (0, 10, False, "no marks: the first pin never rose; wire it, or leave out --per"),
        (4, 10, False, "the first pin rose 4 times; 5 windows take 10: once before and once after"),
        (10, 4, False, "a window is 4 s long, and has to be 10 s: have the board do 2.5 times as"),
        (10, 12, True, "were not measured: measure again"),
    ],
)
def test_windows_that_are_none(rises, every_s, gaps, says, tmp_path, refused):
    path = windows(tmp_path, rises, every_s, gaps)
    if not rises:
        made = traces.load(path)
        made.marks[:] = 0
        made.save(path)
    options = "-o", "x.npz", "--per", 100
    code, line = refused("power", "record", f"replay:{path}", *options)
    assert code == 25
    assert says in line


def test_windows(tmp_path, capsys):
    path, out = windows(tmp_path, 10, 12.0), tmp_path / "x.npz"
    command = ["power", "record", f"replay:{path}", "-o", str(out), "--per", "100"]
    assert cli.wage_host.main(command, standalone_mode=False) == 0
    told = capsys.readouterr().out
    assert "7.2 mJ (3.6 mJ above idle) an inference: median of 5 windows of 12 s or more" in told

"""The command line as a user meets it: every failure is one clear line and its own exit code."""

# SPDX-License-Identifier: MIT

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import serial
from wage_host import cli, data, demo, errors, network, options, sim, train
from wage_host.core import Config, info


def run(*arguments: object, cwd: Path, timeout: float = 100.0) -> subprocess.CompletedProcess:
    """wage-host as a process of its own."""
    command = [sys.executable, "-m", "wage_host", *map(str, arguments)]
    environment = {**os.environ, "WAGE_LOG": str(cwd / "wage.sqlite"), "COLUMNS": "400"}
    environment.pop("WAGE_PORT", None)
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout
    )


def refused(*arguments: object, cwd: Path) -> tuple[int, str]:
    """Exit code and the one line of a command that must fail; --json says the same."""
    plain = run(*arguments, cwd=cwd)
    lines = plain.stderr.strip().splitlines()
    assert lines, plain
    assert lines[-1].startswith("wage-host: ")
    assert "Traceback" not in plain.stderr
    as_json = run(*arguments, "--json", cwd=cwd)
    answer = json.loads(as_json.stdout.strip().splitlines()[-1])
    assert answer["ok"] is False
    assert answer["code"] == plain.returncode == as_json.returncode
    return plain.returncode, lines[-1].removeprefix("wage-host: ")


def learn(made: demo.Files, *arguments: object) -> list[object]:
    """Arguments of a learn command against a simulated board, unless others are given."""
    given = {"--port": "sim", "--model": made.model, "--data": made.stream}
    given |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    return ["learn", *(part for pair in given.items() for part in pair)]


def test_each_kind_of_error_has_its_own_exit_code() -> None:
    kinds = errors.WageError.__subclasses__()
    codes = [kind.exit_code for kind in kinds]
    assert len(set(codes)) == len(codes)
    assert {0, 1}.isdisjoint(codes)
    for code in codes:
        assert f" {code} " in cli.__doc__.replace("\n", " ")


def test_every_error_of_the_runtime_has_a_remedy() -> None:
    from wage_host.core import ERROR_NAMES

    assert set(errors.REMEDY) == set(ERROR_NAMES.values()) - {"WAGE_OK"}


def test_learn_tells_what_it_did(demo_files: demo.Files, tmp_path: Path) -> None:
    done = run(*learn(demo_files, "--eval-data", demo_files.test), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["ok"] is True
    assert answer["samples"] == len(data.load(demo_files.stream))
    assert len(answer["weight_crc"]) == 8
    assert 0 < answer["accuracy_before"] < answer["accuracy_after"] < 1
    assert answer["proved"] is True
    assert done.stdout.count("\n") == 1  # nothing but the object


def test_learn_logs_and_report_draws(demo_files: demo.Files, tmp_path: Path) -> None:
    done = run(*learn(demo_files, "--eval-data", demo_files.test), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "log: run 1 in " in done.stdout
    assert run("report", "-o", "r.html", "--picture", "r.svg", cwd=tmp_path).returncode == 0
    assert "<svg" in (tmp_path / "r.html").read_text()
    assert (tmp_path / "r.svg").read_text().startswith("<svg")


def test_wrong_port(demo_files: demo.Files, tmp_path: Path) -> None:
    code, line = refused(*learn(demo_files, "--port", "/dev/ttyNONE"), cwd=tmp_path)
    assert code == 3
    assert line.startswith("there is no port /dev/ttyNONE: plug the board in, or choose one")


def test_no_listener(demo_files: demo.Files, tmp_path: Path) -> None:
    code, line = refused(*learn(demo_files, "--port", "socket://127.0.0.1:9"), cwd=tmp_path)
    assert code == 3
    assert line == "nothing listens at socket://127.0.0.1:9: is 'wage-host emulate' running there?"


def test_nonsense_port(demo_files: demo.Files, tmp_path: Path) -> None:
    code, line = refused(*learn(demo_files, "--port", "nonsense://x"), cwd=tmp_path)
    assert code == 3
    assert "there is no port nonsense://x" in line


def test_auto_without_a_board(demo_files: demo.Files, tmp_path: Path) -> None:
    code, line = refused(*learn(demo_files, "--port", "auto"), cwd=tmp_path)
    assert code == 3
    assert line == options.NO_BOARD


def test_busy_port(demo_files: demo.Files, tmp_path: Path) -> None:
    _, theirs = pty.openpty()
    name = os.ttyname(theirs)
    with serial.serial_for_url(name, exclusive=True):
        code, line = refused(*learn(demo_files, "--port", name), cwd=tmp_path)
    assert code == 4
    assert line == f"{name} is in use by another program: close it and try again"


def test_silent_port(demo_files: demo.Files, tmp_path: Path) -> None:
    _, theirs = pty.openpty()
    port = ("--port", os.ttyname(theirs), "--timeout", 1)
    code, line = refused(*learn(demo_files, *port), cwd=tmp_path)
    assert code == 5
    assert "check that the firmware is WAGE's, the port and the baud rate" in line


def test_board_with_another_model(demo_files: demo.Files, tmp_path: Path) -> None:
    other = tmp_path / "other.wage"
    net = network.parse("8x8x1 10FC", 3)
    other.write_bytes(train.convert(net, "other", Config(1, -4, 0, 2, 0), 1, 0, []))
    with sim.running(demo_files.model) as url:
        code, line = refused(*learn(demo_files, "--port", url, "--model", other), cwd=tmp_path)
    assert code == 7
    assert "the board holds the model digits (" in line
    assert "flash that one, or name the other" in line


def test_board_with_another_protocol(
    demo_files: demo.Files, tmp_path: Path, served: Callable[..., str]
) -> None:
    board = sim.SimBoard(demo_files.model.read_bytes())
    board.serve.protocol_min, board.serve.protocol_max = 5, 6
    url = served(sim.serve_socket, board, 0)
    code, line = refused(*learn(demo_files, "--port", url), cwd=tmp_path)
    assert (code, line) == (
        6,
        "the board speaks protocol 5 to 6, this host 1 to 1: update wage-host",
    )


def test_truncated_data(demo_files: demo.Files, tmp_path: Path) -> None:
    whole = demo_files.stream.read_bytes()
    for size in (0, 1, 30, len(whole) // 2, len(whole) - 1):
        cut = tmp_path / "cut.npz"
        cut.write_bytes(whole[:size])
        code, line = refused(*learn(demo_files, "--data", cut), cwd=tmp_path)
        assert code == 8
        assert line == f"{cut} is truncated or not what its name says: copy it again"


def test_missing_data(demo_files: demo.Files, tmp_path: Path) -> None:
    code, line = refused(*learn(demo_files, "--data", tmp_path / "none.npz"), cwd=tmp_path)
    assert (code, line) == (8, f"there is no data file {tmp_path / 'none.npz'}")


@pytest.mark.parametrize("label", [10, 255, -1, 1 << 40])
def test_label_out_of_range(label: int, demo_files: demo.Files, tmp_path: Path) -> None:
    bad = tmp_path / "bad.npz"
    data.save(bad, np.zeros((3, 8, 8), np.uint8), np.array([1, label, 2]))
    code, line = refused(*learn(demo_files, "--data", bad), cwd=tmp_path)
    assert code == 9
    what = "give whole numbers from 0, or texts" if label < 0 else "the model's classes are 0 to 9"
    assert line == f"bad.npz, sample 2: label {label} is out of range; {what}"


def test_input_of_the_wrong_shape(demo_files: demo.Files, tmp_path: Path) -> None:
    bad = tmp_path / "bad.npz"
    data.save(bad, np.zeros((3, 28, 28), np.uint8), np.array([1, 2, 3]))
    code, line = refused(*learn(demo_files, "--data", bad), cwd=tmp_path)
    assert code == 10
    assert line == (
        "bad.npz has samples of 28x28 (784 values), the model takes 8x8x1 (64): "
        "use the data of this model"
    )


def _ram_for(model: Path) -> int:
    """Bytes a simulated board must have for this model, to the byte."""
    board = sim.SimBoard(model.read_bytes())
    frames = sim.MEMORY_BYTES - board.serve.memory_bytes
    return info(model.read_bytes()).arena_bytes + frames


@pytest.mark.parametrize("missing", [0, 1])
def test_arena_one_byte_short(missing: int, demo_files: demo.Files, tmp_path: Path) -> None:
    needed = info(demo_files.model.read_bytes()).arena_bytes
    ram = _ram_for(demo_files.model) - missing
    with Emulated("--model", demo_files.model, "--ram", ram) as url:
        command = learn(demo_files, "--port", url)
        if not missing:
            assert run(*command, cwd=tmp_path).returncode == 0
            return
        code, line = refused(*command, cwd=tmp_path)
    assert code == 11
    assert line == (
        f"the model needs an arena of {needed} bytes and the board has {needed - 1}: "
        "convert it with a smaller --replay, or train fewer layers"
    )


class Emulated:
    """wage-host emulate as a user starts it; gives the port it prints."""

    def __init__(self, *arguments: object):
        command = [sys.executable, "-m", "wage_host", "emulate", *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> str:
        line = ""
        while not line.startswith(("socket://", "/dev/")):
            line = self.process.stdout.readline().strip()
            assert self.process.poll() is None
        return line

    def __exit__(self, *_exception: object) -> None:
        self.process.kill()
        self.process.wait()


def test_emulated_board_is_used_like_any_other(demo_files: demo.Files, tmp_path: Path) -> None:
    with Emulated("--model", demo_files.model, "--pty", "--store", tmp_path / "store") as name:
        assert name.startswith("/dev/")
        told = run("info", "--port", name, "--json", cwd=tmp_path)
        assert json.loads(told.stdout)["board"] == "sim"
        assert run(*learn(demo_files, "--port", name), cwd=tmp_path).returncode == 0
        saved = run("save", "--port", name, "--json", cwd=tmp_path)
        assert json.loads(saved.stdout) == {"ok": True, "generation": 2}
        test = ("--data", demo_files.test, "--json")
        good = json.loads(run("eval", "--port", name, *test, cwd=tmp_path).stdout)
        assert run("reset", "--port", name, "--factory", cwd=tmp_path).returncode == 0
        bad = json.loads(run("eval", "--port", name, *test, cwd=tmp_path).stdout)
    assert good["accuracy"] > 0.9 > 0.8 > bad["accuracy"]


def test_learn_gives_the_same_weights_on_an_emulated_cortex_m4(
    demo_files: demo.Files, tmp_path: Path, need_emulator: None
) -> None:
    settings = ("--replays", 3, "--seed", 5)
    here = json.loads(run(*learn(demo_files, *settings), "--json", cwd=tmp_path).stdout)
    emulated = ("--board", "mps2-an386", "--model", demo_files.model)
    with Emulated(*emulated) as url:
        done = run(*learn(demo_files, "--port", url, *settings), "--json", cwd=tmp_path)
    there = json.loads(done.stdout)
    assert there["board"] == "mps2-an386"
    assert there["steps"] == 4 * there["samples"] >= 300
    assert there["weight_crc"] == here["weight_crc"]
    assert there["proved"] is here["proved"] is True


def test_saving_without_a_store(demo_files: demo.Files, tmp_path: Path) -> None:
    code, line = refused("save", "--port", "sim", "--model", demo_files.model, cwd=tmp_path)
    assert (code, line) == (
        16,
        "this board has no store, so it cannot save",
    )


def test_saving_often_without_a_store(demo_files: demo.Files, tmp_path: Path) -> None:
    code, line = refused(*learn(demo_files, "--save-every", 9), cwd=tmp_path)
    assert (code, line) == (16, "sim cannot save this model: leave out --save-every and --guard")


def test_setting_out_of_range(demo_files: demo.Files, tmp_path: Path) -> None:
    code, line = refused(*learn(demo_files, "--gain-shift", 9), cwd=tmp_path)
    assert code == 12
    assert "gain-shift 0..7" in line


def test_learning_rate_is_written_as_in_training(demo_files: demo.Files, tmp_path: Path) -> None:
    usual, same, other = (
        json.loads(run(*learn(demo_files, *lr), "--json", cwd=tmp_path).stdout)["weight_crc"]
        for lr in ((), ("--lr", "1/16"), ("--lr", "3*2^-5"))
    )
    assert usual == same != other


def test_damaged_model(demo_files: demo.Files, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wage"
    bad.write_bytes(demo_files.model.read_bytes()[:-1] + b"?")
    code, line = refused("info", bad, cwd=tmp_path)
    assert (code, line) == (
        15,
        "unusable model (crc): the model file is damaged: copy or convert it again",
    )


def test_unknown_board(demo_files: demo.Files, tmp_path: Path) -> None:
    code, line = refused("emulate", "--board", "toaster", "--model", demo_files.model, cwd=tmp_path)
    assert code == 2
    assert line.startswith("no board named toaster; there are: sim, ") and "mps2-an386" in line


def test_info_of_nothing_says_what_to_name(tmp_path: Path) -> None:
    code, line = refused("info", cwd=tmp_path)
    assert (code, line) == (2, "name a .wage file, or a board with --port")


def test_wrong_usage_is_told_in_json_too(tmp_path: Path) -> None:
    done = run("learn", "--json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["code"], answer["ok"]) == (2, 2, False)
    assert "--data" in answer["error"]


class WaitingBoard(sim.SimBoard):
    """One that has learned 20 samples and waits until it may go on."""

    def __init__(self, *arguments: object):
        super().__init__(*arguments)
        self.waits, self.may_go_on = threading.Event(), threading.Event()

    def exchange(self, data: bytes) -> bytes:
        if self.serve.model.last_id >= 20:
            self.waits.set()
            assert self.may_go_on.wait(60)
        return super().exchange(data)


def test_interrupted_run_saves_and_resumes(
    demo_files: demo.Files, tmp_path: Path, served: Callable[..., str]
) -> None:
    """Ctrl-C keeps what was learned; --resume ends with the weights of an undisturbed run."""
    straight = run(*learn(demo_files, "--replays", 9), "--json", cwd=tmp_path)
    expected = json.loads(straight.stdout)["weight_crc"]
    board = WaitingBoard(demo_files.model.read_bytes(), tmp_path / "store")
    url = served(sim.serve_socket, board, 0)
    command = learn(demo_files, "--port", url, "--replays", 9)
    process = subprocess.Popen(
        [sys.executable, "-m", "wage_host", *map(str, command), "--json"],
        cwd=tmp_path,
        env={**os.environ, "WAGE_LOG": str(tmp_path / "wage.sqlite")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert board.waits.wait(60)
    process.send_signal(signal.SIGINT)
    board.may_go_on.set()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert "samples are saved; go on with --resume 2" in json.loads(out)["error"]
    told = json.loads(run("info", "--port", url, "--json", cwd=tmp_path).stdout)
    assert told["generation"] == 1
    assert 20 <= told["last_id"] < len(data.load(demo_files.stream))
    done = run(*learn(demo_files, "--port", url), "--resume", 2, "--json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert answer["samples"] == len(data.load(demo_files.stream)) - told["last_id"]
    assert answer["weight_crc"] == expected

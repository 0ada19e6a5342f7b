"""Boards as their users meet them: the table, flash, init; every refusal is one clear line."""

# SPDX-License-Identifier: MIT

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import emulated
import native
import pytest
from test_cli import refused, run
from wage_host import boards, demo, emulate, firmware, hardware
from wage_host.core import Core, info
from wage_host.errors import NoStore, ToolMissing, WageError

EMULATED = [board for board in boards.read().values() if board.status == boards.EMULATED]
# one of each emulator; the commands are the same, test_boards.py talks to every board
ONE_OF_EACH = ("microbit", "riscv-virt")
INI = """\
[env:pico]
platform = raspberrypi
custom_status = not tried
custom_title = Raspberry Pi Pico
custom_core = cortex-m0plus
custom_f_cpu = 133000000L
custom_ram = 264 KB
custom_flash = 2M
[env:other]
custom_core = xtensa
"""
NAMES = ["board", "core", "MHz", "RAM", "flash", "store", "status"]


# -- the table -----------------------------------------------------------------------


def test_table_of_boards(tmp_path: Path) -> None:
    text = run("boards", cwd=tmp_path).stdout.splitlines()
    assert text[0].split() == NAMES
    assert [line.split()[0] for line in text[1:]] == ["sim", *boards.read()]
    words = "microbit cortex-m0 16 16 KB 176 KB 4 slots emulated in tests"
    assert any(" ".join(line.split()).startswith(words) for line in text)
    told = json.loads(run("boards", "--json", cwd=tmp_path).stdout)["boards"]
    microbit = next(row for row in told if row["name"] == "microbit")
    assert (microbit["ram"], microbit["clock_hz"], microbit["status"]) == (
        16_384, 16_000_000, boards.EMULATED
    )  # fmt: skip


def test_every_board_says_what_it_is() -> None:
    for board in boards.read().values():
        assert board.status in (boards.EMULATED, boards.BUILT, boards.NOT_TRIED), board.name
        assert bool(board.emulator) == (board.status == boards.EMULATED), board.name
        assert board.core != "?" and min(board.clock_hz, board.ram, board.flash) > 0, board.name
        assert bool(board.slots) == bool(board.endurance), board.name


def test_vendors_boards_are_read_from_their_sections(tmp_path: Path) -> None:
    folder = tmp_path / "boards" / "vendors"
    folder.mkdir(parents=True)
    (folder / "board.ini").write_text(INI)
    found = boards.read(tmp_path)
    assert list(found) == ["other", "pico"]
    pico = found["pico"]
    assert (pico.title, pico.core, pico.status) == (
        "Raspberry Pi Pico", "cortex-m0plus", boards.NOT_TRIED
    )  # fmt: skip
    assert (pico.clock_hz, pico.ram, pico.flash) == (133_000_000, 264 << 10, 2 << 20)
    assert (pico.ours, pico.store, pico.emulator) == (False, "none", ())
    assert found["other"].status == boards.BUILT
    (folder / "board.ini").write_text(INI.replace("264 KB", "a lot"))
    boards.read.cache_clear()
    with pytest.raises(WageError, match="'a lot' is no number of a board"):
        boards.read(tmp_path)


def test_geometry_of_a_store() -> None:
    assert boards.geometry("microbit") == (4, 20_000)
    with pytest.raises(NoStore, match="mps2-an386 has no store"):
        boards.geometry("mps2-an386")


# -- flash -----------------------------------------------------------------------------


class Flashed:
    """wage-host flash --json, as a process that goes on; gives what it said first."""

    def __init__(self, folder: Path, *arguments: object):
        command = [sys.executable, "-m", "wage_host", "flash", "--json", *map(str, arguments)]
        self._process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> dict:
        return json.loads(self._process.stdout.readline())

    def __exit__(self, *_exception: object) -> None:
        self._process.send_signal(signal.SIGINT)  # as Ctrl-C does, so that the emulator ends, too
        self._process.wait()
        self._process.stdout.close()


def need_tools(board: boards.Board) -> None:
    """Skips without the board's compiler or emulator."""
    if board.compiler:
        native.need(board.compiler)
    if board.emulator:
        try:
            emulate.need_emulator(board.name)
        except ToolMissing as error:
            native.miss(f"needs a tool: {error}")


@pytest.mark.parametrize(
    "board",
    [
        pytest.param(board, marks=() if board.name in ONE_OF_EACH else pytest.mark.soak)
        for board in EMULATED
    ],
    ids=lambda board: board.name,
)
def test_flash_and_learn_work_at_the_first_try(board: boards.Board, tmp_path: Path) -> None:
    """The README's two commands, as printed, for every board that says it is tested."""
    need_tools(board)
    with Flashed(tmp_path, "--board", board.name) as told:
        assert told["ok"] and told["board"] == board.name
        _, *command = told["next"].split()
        learned = run(*command, "--json", cwd=tmp_path)
        assert learned.returncode == 0, learned.stderr
    answer = json.loads(learned.stdout)
    assert (answer["board"], answer["proved"]) == (board.name, True)
    assert answer["accuracy_before"] < 0.78 and answer["accuracy_after"] > 0.9


def test_boards_that_are_built_are_built(tmp_path: Path) -> None:
    made = demo.make(tmp_path, recipe=demo.STARTER)
    for board in boards.read().values():
        if board.status == boards.BUILT:
            need_tools(board)
            image = firmware.build(board.name, firmware.Contents(made.model))
            assert made.model.read_bytes() in image.read_bytes(), board.name


def test_starter_is_the_same_each_time(tmp_path: Path) -> None:
    made = [demo.make(tmp_path / name, recipe=demo.STARTER) for name in ("a", "b")]
    blobs = [files.model.read_bytes() for files in made]
    assert blobs[0] == blobs[1] and info(blobs[0]).arena_bytes < 4096  # 8 KB of RAM are enough
    assert Core(blobs[0]).wage.replay_count == demo.STARTER.replay_bytes // (32 + 1)


def test_simulated_board_with_a_model(demo_files: demo.Files, tmp_path: Path) -> None:
    with Flashed(tmp_path, "--board", "sim", "--model", demo_files.model, "--store", "s") as told:
        assert told["next"].endswith("--data FILE")
        saved = run("save", "--port", told["port"], cwd=tmp_path)
        assert saved.returncode == 0, saved.stderr
    assert not (tmp_path / "starter").exists()


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """What a micro:bit looks like over USB."""
    folder = tmp_path / "MICROBIT"
    folder.mkdir()
    return folder


def test_upload_of_the_microbit(drive: Path, tmp_path: Path, need_emulator: None) -> None:
    done = run("flash", "--board", "microbit", "--upload-port", drive, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["place"], told["board"]) == ("board", "microbit")
    assert told["next"].startswith("wage-host learn --port auto --model starter/starter.wage")
    (image,) = drive.iterdir()
    lines = image.read_text(encoding="ascii").splitlines()
    assert lines[-1] == ":00000001FF"
    data = b"".join(bytes.fromhex(line[9:-2]) for line in lines if line[7:9] == "00")
    assert (tmp_path / "starter/starter.wage").read_bytes() in data


def test_microbit_drive_is_found_by_its_name(monkeypatch, drive: Path) -> None:
    util = pytest.importorskip("platformio.device.list.util")
    found = [{"path": "/", "name": ""}, {"path": str(drive), "name": "MICROBIT"}]
    monkeypatch.setattr(util, "list_logical_devices", lambda: found)
    assert hardware._drive(boards.get("microbit")) == str(drive)
    monkeypatch.setattr(util, "list_logical_devices", lambda: found[:1])
    assert hardware._drive(boards.get("microbit")) is None
    monkeypatch.setitem(sys.modules, "platformio.device.list.util", None)
    with pytest.raises(ToolMissing, match="platformio is not installed: pip install"):
        hardware._drive(boards.get("microbit"))


def test_upload_without_a_drive(tmp_path: Path, need_emulator: None) -> None:
    where = ("--board", "microbit", "--upload-port", tmp_path / "nothing")
    code, line = refused("flash", *where, cwd=tmp_path)
    assert code == 23
    assert line == (
        f"no drive of the board is mounted at {tmp_path / 'nothing'}: plug it in, mount it, or "
        "name its folder with --upload-port"
    )


def test_upload_with_pyocd(tmp_path: Path, need_emulator: None) -> None:
    """The project's own upload_protocol; pyocd is one of ours that writes down its arguments."""
    folder = project(tmp_path, "microbit")
    ini = folder / "platformio.ini"
    ini.write_text(ini.read_text() + "upload_protocol = pyocd\n")
    done = pio(folder, "-t", "upload")
    assert done.returncode and "pyocd is not installed: pip install pyocd" in done.stderr
    tool = tmp_path / "bin" / "pyocd"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/said\n')
    tool.chmod(0o755)
    assert pio(folder, "-t", "upload", path=tool.parent).returncode == 0
    assert (tmp_path / "said").read_text().startswith("flash -t nrf51 /")


def test_flash_refuses_in_one_line(demo_files: demo.Files, tmp_path: Path) -> None:
    model = ("--model", demo_files.model)
    code, line = refused("flash", "--board", "microbitt", *model, cwd=tmp_path)
    assert code == 2 and "did you mean microbit?" in line
    code, line = refused("flash", "--board", "microbit", *model, cwd=tmp_path)
    assert code == 11 and "convert it with --replay 15" in line
    code, line = refused("flash", "--board", "mps2-an386", "--store", "s", *model, cwd=tmp_path)
    assert (code, line) == (16, "mps2-an386 has no store: leave out --store")
    code, line = refused("flash", "--board", "mps2-an386", "--upload-port", "x", cwd=tmp_path)
    assert (code, line) == (2, "mps2-an386 is emulated only: leave out --upload-port")
    code, line = refused("flash", "--board", "microbit", "--store", "s", cwd=tmp_path)
    assert (code, line) == (2, "microbit keeps nothing in a file: leave out --store")
    code, line = refused("flash", "--board", "sim", "--model", "none", cwd=tmp_path)
    assert (code, line) == (15, "cannot read the model none: No such file or directory")
    (tmp_path / "file").touch()
    code, line = refused("flash", "--board", "sim", "--dir", "file", cwd=tmp_path)
    assert (code, line) == (19, "cannot make the folder file: File exists")


def test_flash_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, line = refused("flash", "--board", "microbit", cwd=tmp_path)
    assert code == 13 and line.startswith("arm-none-eabi-gcc is not installed: apt install")


# -- init ------------------------------------------------------------------------------


def project(folder: Path, board: str, *arguments: object) -> Path:
    """What wage-host init makes."""
    done = run("init", "mine", "--board", board, *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "mine"


def pio(folder: Path, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess:
    """pio run in a project of its own, as its user calls it; `path`: a folder of more programs."""
    pytest.importorskip("platformio")
    own = {k: v for k, v in os.environ.items() if not k.startswith(("PLATFORMIO_", "WAGE_"))}
    own |= {"PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no"}
    own |= {"PATH": f"{path}:{own['PATH']}"} if path else {}
    command = [sys.executable, "-m", "platformio", "run", *arguments]
    return subprocess.run(
        command, cwd=folder, env=own, capture_output=True, text=True, timeout=200, check=False
    )


def test_commands_of_a_project_work(tmp_path: Path, need_emulator: None) -> None:
    """Both of its README, for an emulated board."""
    folder = project(tmp_path, "mps2-an386")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    text = (folder / "README.md").read_text().replace("127.0.0.1:4000", f"127.0.0.1:{port}")
    begin, learn = (line.strip() for line in text.splitlines() if line.startswith("    "))
    assert pio(folder).returncode == 0
    _, emulator = begin.split(" && ")
    with (folder / "out").open("wb") as out:
        board = subprocess.Popen(
            shlex.split(emulator), cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        end = time.monotonic() + 20
        while (done := run(*shlex.split(learn)[1:], cwd=folder)).returncode == 3:
            assert time.monotonic() < end, done.stderr
    finally:
        emulate.stop(board)
    assert "proved: this computer learned the same weights" in done.stdout, done.stderr


@pytest.mark.parametrize("board", ["microbit", "mps2-an386"])
def test_project_builds_as_it_stands(
    board: str, demo_files: demo.Files, tmp_path: Path, need_emulator: None
) -> None:
    ours = ("--model", demo_files.model) if board == "mps2-an386" else ()
    folder = project(tmp_path, board, *ours)
    model = folder / ("model.wage" if ours else "starter/starter.wage")
    assert f"custom_model = {model.relative_to(folder)}" in (folder / "platformio.ini").read_text()
    assert "../" not in (folder / "platformio.ini").read_text()
    done = pio(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    image = folder / ".pio" / "build" / board / "firmware.elf"
    assert model.read_bytes() in image.read_bytes()
    readme = (folder / "README.md").read_text()
    commands = [line.strip() for line in readme.splitlines() if line.startswith("    ")]
    assert len(commands) == 2 and commands[1].startswith("wage-host learn --port ")
    if not ours:
        assert commands[0] == "pio run -t upload"
        assert "--data starter/stream.npz" in commands[1]
    assert (folder / "boards" / board).is_dir()
    there = {path.stem for path in (folder / "boards/platform/boards").iterdir()}
    assert there == {board}


def test_image_of_a_project_learns(tmp_path: Path, need_emulator: None) -> None:
    """The project's image is the one that flash builds."""
    folder = project(tmp_path, "microbit")
    assert pio(folder).returncode == 0
    flashed = emulated.image("microbit", folder / "starter/starter.wage")
    image = folder / ".pio/build/microbit/firmware.elf"
    texts = [
        subprocess.check_output(["arm-none-eabi-objcopy", "-O", "binary", file, "/dev/stdout"])
        for file in (image, flashed)
    ]
    assert texts[0] == texts[1]


def test_init_refuses_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    code, line = refused("init", "mine", "--board", "microbit", cwd=tmp_path)
    assert (code, line) == (19, "mine is not empty: name a new folder")
    code, line = refused("init", "mine/thesis.txt", "--board", "microbit", cwd=tmp_path)
    assert code == 19 and line.startswith("cannot make the folder mine/thesis.txt")
    code, line = refused("init", "new", "--board", "sim", cwd=tmp_path)
    assert (code, line) == (2, "the simulated board needs no project: name another")
    code, line = refused("init", "new", "--board", "microbit", "--model", "none", cwd=tmp_path)
    assert code == 15
    assert not (tmp_path / "new" / "src").exists()

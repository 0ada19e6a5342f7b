"""The Arduino library, assembled from the tree, built for the Mega 2560 and run under simavr."""

# SPDX-License-Identifier: MIT

import re
import subprocess
import zipfile
from pathlib import Path

import avr
import bench
import emulated
import native
import pytest
import workloads
from blobs import random_stream
from wage_host import arduino, boards, emulate
from wage_host._core import lib
from wage_host.core import Core
from wage_host.device import Device
from wage_host.errors import FileError
from wage_host.link import connector

CORE = Path("/usr/share/arduino/hardware/arduino/avr")
SAMPLES = 120
INCLUDE = [f"-I{CORE}/cores/arduino", f"-I{CORE}/variants/mega"]
RAM_END = 0x2200  # of the Mega 2560
STACK_BYTES = 700  # mega2560 tells 569 of W1 (bench.json); interrupts take some more
FLAGS = ("-mmcu=atmega2560", "-DF_CPU=16000000L", "-DARDUINO=10819", "-DARDUINO_AVR_MEGA2560",
         "-DARDUINO_ARCH_AVR", "-Os", "-ffunction-sections", "-fdata-sections",
         "-w")  # fmt: skip
STRICT = ("-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers")


def compiled(sources: list[Path], flags: list[str], folder: Path) -> list[Path]:
    """Objects of C, C++ and assembler files."""
    out = []
    folder.mkdir()
    for path in sources:
        tool = "avr-g++" if path.suffix in (".cpp", ".ino") else "avr-gcc"
        own = {".cpp": ["-std=gnu++11", "-fpermissive", "-fno-exceptions"], ".c": ["-std=gnu11"],
               ".ino": ["-x", "c++", "-std=gnu++11", "-include", "Arduino.h"],
               ".S": ["-x", "assembler-with-cpp"]}[path.suffix]  # fmt: skip
        out.append(folder / f"{path.name}.o")
        command = [native.need(tool), *FLAGS, *own, *flags, "-c", path, "-o", out[-1]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of the Arduino core, which no sketch changes."""
    if not CORE.is_dir():
        native.miss("needs arduino-core-avr")
    folder = tmp_path_factory.mktemp("core")
    files = [p for p in (CORE / "cores/arduino").iterdir() if p.suffix in (".c", ".cpp", ".S")]
    files = [p for p in files if p.name != "WString.cpp"]  # which this avr-gcc does not take
    archive = folder / "core.a"
    objects = compiled(files, INCLUDE, folder / "objects")
    subprocess.run(["avr-gcc-ar", "rcs", archive, *objects], check=True)
    return archive


def built(library: Path, core: Path, folder: Path, sketch: str = "learn") -> Path:
    """The image of the sketch, as the Arduino IDE would build it."""
    include = [*INCLUDE, f"-I{library}/src"]
    ours = [p for p in (library / "src").rglob("*") if p.suffix in (".c", ".cpp")]
    objects = compiled(ours, [*include, *STRICT], folder / "ours")
    objects += compiled([library / f"examples/{sketch}/{sketch}.ino"], include, folder / "sketch")
    image = folder / "sketch.elf"
    command = ["avr-gcc", "-mmcu=atmega2560", "-Os", "-Wl,--gc-sections", *objects, core, "-lm"]
    subprocess.run([*command, "-o", image], check=True)
    return image


def ram_left(image: Path) -> int:
    """Bytes between an image's variables and the top of the stack."""
    text = subprocess.check_output(["avr-nm", image], text=True)
    end = int(re.search(r"^00(\w+) \w _end$", text, re.MULTILINE)[1], 16) & 0xFFFF
    return RAM_END - end


# ternary weights take the simulator long, and the other two run the same sketch
@pytest.mark.parametrize(
    "name", ["small", "W1", pytest.param("W1 ternary", marks=pytest.mark.soak)]
)
def test_the_sketch_learns_the_same_bits(name: str, core: Path, tmp_path: Path) -> None:
    """For W1 after 300 steps of training, as on the other boards (test_bench.py)."""
    avr.simulator()
    blob = emulated.small_model(20) if name == "small" else workloads.blob(name)
    arduino.assemble(tmp_path / "WAGE", blob)
    image = built(tmp_path / "WAGE", core, tmp_path)
    assert ram_left(image) > STACK_BYTES
    host = Core(blob)
    samples = (
        list(random_stream(blob, 1, SAMPLES))
        if name == "small"
        else workloads.samples(bench.PARITY_SAMPLES)
    )
    host.start(1, host.config())
    expected = list(host.learn(samples))
    with (
        emulate.running(avr.BOARD, image) as url,
        Device(connector(url, 115200, None), answer_s=60) as board,
    ):
        assert board.welcome.place == lib.WAGE_PLACE_EMULATOR
        assert board.welcome.memory_bytes >= host.info.arena_bytes
        board.start(1, board.config())
        records = list(board.learn(samples))
        stats = board.stats()
        assert [r.p_label for r in records] == [r.p_label for r in expected]
        assert (stats.weight_crc, stats.state_crc) == (host.weight_crc(), host.state_crc())
        board.reset(lib.WAGE_RESTART)
        assert board.welcome.weight_crc == Core(blob).weight_crc()


def test_the_sketch_with_inputs_learns_what_it_senses(core: Path, tmp_path: Path) -> None:
    avr.simulator()
    arduino.assemble(tmp_path / "WAGE", emulated.small_model(20))
    image = built(tmp_path / "WAGE", core, tmp_path, "sense")
    assert ram_left(image) > STACK_BYTES
    with (
        emulate.running(avr.BOARD, image) as url,
        Device(connector(url, 115200, None), answer_s=60) as board,
    ):
        assert board.welcome.senses == 1
        assert [r.label for r in board.teach(1, 3)] == [1, 1, 1]
        stats = board.stats()
        assert (stats.samples, stats.by_class[1][0]) == (3, 3)
        x, label = next(board.sense())
        assert (x.size, set(x.ravel().tolist()), label) == (board.info.input_bytes, {-128}, None)


def test_a_model_too_large_for_the_board_is_refused_by_the_compiler(
    core: Path, tmp_path: Path
) -> None:
    arduino.assemble(tmp_path / "WAGE", emulated.small_model(600))
    with pytest.raises(AssertionError, match="The model needs more RAM than this board has"):
        built(tmp_path / "WAGE", core, tmp_path)


def test_zip_and_folder_hold_the_same_files(tmp_path: Path) -> None:
    blob, own = emulated.small_model(3), arduino.about() | {"version": "7.8.9"}
    arduino.assemble(tmp_path / "WAGE", blob, own)
    arduino.assemble(tmp_path / "WAGE.zip", blob, own)
    with zipfile.ZipFile(tmp_path / "WAGE.zip") as archive:
        for name in archive.namelist():
            assert archive.read(name) == (tmp_path / name).read_bytes()
        names = {name.removeprefix("WAGE/") for name in archive.namelist()}
    assert names == {
        str(path.relative_to(tmp_path / "WAGE"))
        for path in (tmp_path / "WAGE").rglob("*")
        if path.is_file()
    }
    rows = (tmp_path / "WAGE/library.properties").read_text(encoding="utf-8").splitlines()
    pairs = dict(row.split("=", 1) for row in rows)
    assert (pairs["version"], pairs["includes"]) == ("7.8.9", "WageBoard.h")
    wanted = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category",
              "architectures", "includes"}  # fmt: skip
    assert set(pairs) == wanted
    assert {p.name for p in (tmp_path / "WAGE/src").iterdir()} == {"WageBoard.h", "wage"}


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot make the library"):
        arduino.assemble(tmp_path, emulated.small_model(3))
    assert list(tmp_path.iterdir()) == []


def test_boards_to_buy_are_marked_as_not_tried() -> None:
    retail = {name: board for name, board in boards.read().items() if not board.ours}
    assert len(retail) == 7 and not set(retail) & set(emulate.boards())
    assert {board.status for board in retail.values()} == {boards.NOT_TRIED}

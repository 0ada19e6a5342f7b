"""Images built by PlatformIO and run in an emulator."""

# SPDX-License-Identifier: MIT

import json
import shutil
import socket
import struct
import subprocess
import sys
import time
import zlib

import emulated
import pytest
from blobs import random_stream
from cobs import cobs
from wage_host import emulate, firmware
from wage_host._core import lib
from wage_host.core import Core
from wage_host.device import Device
from wage_host.errors import BuildFailed, ToolMissing, WageError
from wage_host.link import connector

BOARD = "mps2-an386"
PROTOCOLS = lib.WAGE_PROTOCOL_MIN, lib.WAGE_PROTOCOL_MAX
LIMIT_S = 20.0


@pytest.fixture(scope="session")
def image(demo_blob):
    """The built image, with the demo's model."""
    return emulated.image(BOARD, demo_blob)


def hello(url, session):
    """Sends HELLO; returns type, session, fields and tail of the answer."""
    host, port = url.removeprefix("socket://").split(":")
    body = struct.pack("<BBHHII", lib.WAGE_HELLO, 2, session, 0, *PROTOCOLS)
    body += struct.pack("<I", zlib.crc32(body))
    with socket.create_connection((host, int(port)), LIMIT_S) as link:
        link.sendall(b"\0" + cobs.encode(body) + b"\0")
        frame, end = b"", time.monotonic() + LIMIT_S
        while not frame.endswith(b"\0"):
            assert time.monotonic() < end, f"no whole answer, only {frame!r}"
            frame = (frame + link.recv(4096)).lstrip(b"\0")  # zeros flush the line
    body = cobs.decode(frame[:-1])
    assert zlib.crc32(body[:-4]) == struct.unpack("<I", body[-4:])[0]
    kind, count, session, _ = struct.unpack("<BBHH", body[:6])
    fields = struct.unpack(f"<{count}I", body[6 : 6 + 4 * count])
    return kind, session, fields, body[6 + 4 * count : -4]


def test_every_board_has_its_files():
    tree = emulate.tree()
    for name in emulate.boards():
        manifest = tree / "boards" / "platform" / "boards" / f"{name}.json"
        parts = json.loads(manifest.read_text(encoding="utf-8"))["build"].get("parts", [])
        files = [tree / "boards" / name / file for file in ("port.c", "link.ld")]
        files += [tree / "boards" / "platform" / "parts" / part for part in parts]
        assert all(file.is_file() for file in files), name


def test_image_holds_the_blob(image, demo_blob):
    assert demo_blob.read_bytes() in image.read_bytes()


def test_hello_is_answered(image, demo_blob):
    with emulate.running(BOARD, image) as url:
        kind, session, fields, tail = hello(url, 7)
    assert (kind, session) == (lib.WAGE_WELCOME, 7)
    assert fields[lib.WAGE_WELCOME_MODEL_ERROR] == 0
    assert fields[lib.WAGE_WELCOME_PLACE] == lib.WAGE_PLACE_EMULATOR
    assert fields[lib.WAGE_WELCOME_MODEL] == struct.unpack_from("<I", demo_blob.read_bytes(), 12)[0]
    assert tail.split(b"\0")[0] == BOARD.encode()


def test_hello_again_on_a_new_connection(image):
    with emulate.running(BOARD, image) as url:
        assert [hello(url, session)[1] for session in (1, 2, 3)] == [1, 2, 3]


def test_board_learns_the_same_bits(image, demo_blob):
    blob = demo_blob.read_bytes()
    samples, core = list(random_stream(blob, 0, 20)), Core(blob)
    core.start(1, core.config())
    expected = list(core.learn(samples))
    with emulate.running(BOARD, image) as url, Device(connector(url, 115200, None)) as board:
        board.start(1, board.config())
        records = list(board.learn(samples))
        stats = board.stats()
    assert [r.p_label for r in records] == [r.p_label for r in expected]
    assert (stats.weight_crc, stats.state_crc) == (core.weight_crc(), core.state_crc())
    assert 0 < stats.stack_bytes < 16384


def test_reset_is_a_fresh_boot(image):
    with emulate.running(BOARD, image) as url, Device(connector(url, 115200, None)) as board:
        board.hello()
        assert board.welcome.sessions == 2
        board.reset(lib.WAGE_RESTART)
        assert board.welcome.sessions == 1


def test_another_model_makes_another_image(image, demo_blob, tmp_path):
    other = tmp_path / "other.blob"
    other.write_bytes(demo_blob.read_bytes()[::-1])
    other_image = firmware.build(BOARD, firmware.Contents(other))
    assert other.read_bytes() in other_image.read_bytes()
    assert demo_blob.read_bytes() in image.read_bytes()


def test_build_that_fails_shows_why(image, tmp_path):
    empty = tmp_path / "empty.blob"
    empty.touch()
    with pytest.raises(BuildFailed, match="WAGE_MODEL names"):
        firmware.build(BOARD, firmware.Contents(empty))


def test_emulator_that_ends_at_once_says_why(image):
    with pytest.raises(WageError, match=r"ended at once.*no-such-option"):
        emulate.start(BOARD, image, arguments=["-no-such-option"])


def test_stop_ends_the_emulator(image):
    process, _ = emulate.start(BOARD, image)
    emulate.stop(process)
    assert process.returncode is not None
    emulate.stop(process)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's promise")
def test_emulator_dies_with_its_parent(image):
    script = (
        "import sys, time\nfrom wage_host import emulate\n"
        f"process, _ = emulate.start({BOARD!r}, sys.argv[1])\n"
        "print(process.pid, flush=True)\ntime.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(image)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    end = time.monotonic() + LIMIT_S
    while alive(pid):
        assert time.monotonic() < end, "the emulator outlived its parent"
        time.sleep(0.01)


def alive(pid):
    """Whether process `pid` runs; a zombie that nobody waited for does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_missing_program_names_its_package(monkeypatch, image):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ToolMissing, match="gcc-arm-none-eabi"):
        firmware.build(BOARD, firmware.Contents(image))
    with pytest.raises(ToolMissing, match="apt install qemu-system-arm"):
        emulate.start(BOARD, image)


def test_unknown_board_names_those_there_are(tmp_path):
    with pytest.raises(WageError, match=rf"no board named nix; there are: .*{BOARD}"):
        firmware.build("nix", firmware.Contents(tmp_path))

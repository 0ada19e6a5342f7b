"""The wheel as somebody installs it: no checkout, and yet it builds firmware."""

# SPDX-License-Identifier: MIT

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_wheel_shows_the_demo_and_builds_firmware(tmp_path: Path, need_emulator: None) -> None:
    source, wheels, home = tmp_path / "source", tmp_path / "wheels", tmp_path / "home"
    home.mkdir()
    subprocess.run(["git", "clone", "-q", str(ROOT), str(source)], check=True)
    pip = [sys.executable, "-m", "pip", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(wheels), str(source)], check=True)
    (wheel,) = wheels.glob("*.whl")
    assert "-abi3-" in wheel.name  # one for all versions of Python
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "-q", "install", f"{wheel}[boards]"], check=True)

    def answer(*command: str) -> dict:
        done = subprocess.run(
            [python, "-m", "wage_host", *command, "--json"],
            cwd=home,
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout.splitlines()[-1])

    shown = answer("demo")
    assert shown["ok"]
    assert len(answer("boards")["boards"]) >= 4
    assert answer("plan", "--model", "demo/digits.wage", "--board", "mps2-an386")["board"]["fits"]
    assert answer("init", "mine", "--board", "microbit")["ok"]
    pio = [python, "-m", "platformio", "run", "-d", "mine"]
    subprocess.run(pio, cwd=home, check=True, capture_output=True)
    board = ["--board", "mps2-an386", "--model", "demo/digits.wage", "--json"]
    emulated = subprocess.Popen(
        [python, "-m", "wage_host", "emulate", *board],
        cwd=home,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = json.loads(emulated.stdout.readline())["port"]
        data = ["--model", "demo/digits.wage", "--data", "demo/stream.npz"]
        learned = answer("learn", "--port", port, *data)
    finally:
        emulated.terminate()
        emulated.wait()
    assert learned["weight_crc"] == shown["weight_crc"]

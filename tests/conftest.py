"""What tests share: the demo's model, the seed of random cases, the option to accept sizes."""

# SPDX-License-Identifier: MIT

import os
import shutil
from pathlib import Path

import pytest
from wage_host import demo

SEED = 1802


def pytest_addoption(parser: pytest.Parser) -> None:
    """Our own options."""
    parser.addoption("--seed", type=int, default=SEED, help="of random cases in fuzz tests")
    parser.addoption(
        "--accept-sizes", action="store_true", help="write measured sizes to tests/size.json"
    )


def pytest_report_header(config: pytest.Config) -> str:
    """Says how to repeat this very run."""
    return f"random cases: --seed={config.getoption('--seed')}"


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """Where all random cases begin."""
    return pytestconfig.getoption("--seed")


@pytest.fixture(scope="session")
def demo_files(tmp_path_factory: pytest.TempPathFactory) -> demo.Files:
    """What the demo makes, made once a session."""
    return demo.make(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def demo_blob(demo_files: demo.Files) -> Path:
    """The demo's model."""
    return demo_files.model


@pytest.fixture(scope="session")
def need_emulator() -> None:
    """Skips without the tools of emulated boards; fails where WAGE_NEED_EMULATORS is 1."""
    tools = ("arm-none-eabi-gcc", "qemu-system-arm")
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        text = f"{', '.join(missing)} not installed: apt install gcc-arm-none-eabi qemu-system-arm"
        if os.environ.get("WAGE_NEED_EMULATORS") == "1":
            pytest.fail(text)
        pytest.skip(text)

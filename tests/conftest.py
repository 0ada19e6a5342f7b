"""What tests share: the demo's model, the seed of random cases, the option to accept sizes."""

# SPDX-License-Identifier: MIT

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
def demo_blob(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's model, made once a session."""
    return demo.make(tmp_path_factory.mktemp("demo")).model

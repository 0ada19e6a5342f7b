"""What tests share: the demo's model, the seed of random cases, the option to accept sizes."""

# SPDX-License-Identifier: MIT

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import native
import pytest
import reliability
from wage_host import demo

if TYPE_CHECKING:
    import browser

SEED = 1802
# These begin first: a long file at the end would leave a core idle.
LONG = ("test_coverage", "test_costs", "test_fuzzers", "test_hardware", "test_bench", "test_static")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Our own options."""
    parser.addoption("--seed", type=int, default=SEED, help="of random cases in fuzz tests")
    parser.addoption(
        "--accept-sizes", action="store_true", help="write measured sizes to tests/size.json"
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Counts begin anew, unless the long tests or the proofs add to those of `make test`."""
    adds = session.config.getoption("markexpr") in ("soak", "prove")
    if not hasattr(session.config, "workerinput") and not adds:
        reliability.forget()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order in which workers take files."""
    items.sort(key=lambda item: item.path.stem not in LONG)


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


@pytest.fixture
def served() -> Callable[..., str]:
    """Runs sim.serve_socket or sim.serve_pty in a thread; gives the port to use."""

    def start(serve: Callable[..., None], *arguments: object) -> str:
        ports: list[str] = []
        threading.Thread(target=serve, args=(*arguments, ports.append), daemon=True).start()
        while not ports:
            time.sleep(0.01)
        return ports[0]

    return start


@pytest.fixture(scope="session")
def page() -> Iterator["browser.Page"]:
    """A window of a browser, for all tests of a worker; skips without one."""
    import browser

    with browser.opened() as window:
        yield window


@pytest.fixture(scope="session")
def need_emulator() -> None:
    """Skips without the tools of emulated boards; fails where WAGE_NEED_EMULATORS is 1."""
    for tool in ("arm-none-eabi-gcc", "qemu-system-arm"):
        native.need(tool)

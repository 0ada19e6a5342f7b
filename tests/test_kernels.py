"""The host's kernels at work in several threads: whole steps give the portable kernels' bits."""

# SPDX-License-Identifier: MIT

from collections.abc import Iterator

import numpy as np
import pytest
from cside import LEVELS
from wage_host import network, pack
from wage_host._core import lib
from wage_host.core import Config, Core

# outputs that end inside a byte of masks, strides, pools of odd sizes, all kinds of layers
NETS = (
    "11x9x3 5C3-MP2 7C3 9C3v-MP2 33FC 10FC",
    "13x13x2 7C3/2 7C3 7C3s +2 DW3 12C1 AP2 10FC",
    "1x41x3 6C1x5v 9C1x3-MP2 MP1x2/1 DW1x3 GAP 10FC",
    "70FC 50FC 10FC",
)
SAMPLES, STEPS, PIECE = 37, 3, 50


@pytest.fixture
def threads() -> Iterator[None]:
    """Next to nothing is worth a thread."""
    before = lib.wage_host_thread_work(PIECE)
    yield
    lib.wage_host_thread_work(before)


def learned(blob: bytes, level: int) -> list[int]:
    """CRCs of the weights after each of a few batches, the last one smaller, and predictions."""
    core = Core(blob, level=level)
    rng = np.random.default_rng(1)
    x = rng.integers(-127, 128, (STEPS * SAMPLES - 5, core.info.input_bytes)).astype(np.int8)
    y = rng.integers(0, 10, len(x)).astype(np.uint8)
    found = []
    for at in range(0, len(x), SAMPLES):
        core.train(x[at : at + SAMPLES], y[at : at + SAMPLES])
        found.append(core.weight_crc())
    return [*found, *core.predict(x, y)["prediction"].tolist()]


@pytest.mark.parametrize("level", LEVELS[1:])
@pytest.mark.parametrize("paper", [False, True], ids=["continual", "paper"])
@pytest.mark.parametrize("bits", [(8, 16), (2, 8), (5, 7)], ids=str)
@pytest.mark.parametrize("text", NETS)
def test_threads_give_the_same_bits(
    text: str, bits: tuple[int, int], paper: bool, level: int, threads: None
) -> None:
    text = text if "x" in text.split()[0] else f"1x1x90 {text}"
    net = network.parse(text, 1, 1, bits=bits, paper=paper)
    rules = pack.Rules(paper=paper, batch=SAMPLES, momentum=2 * (bits[0] == 5))
    config = Config(1, 2 if paper else -6, 0, 2, 0)
    blob = pack.blob(net, "threads", config, len(net.weighted), 0, [], rules)
    found = learned(blob, 0)
    assert len(set(found[:STEPS])) == STEPS
    assert learned(blob, level) == found

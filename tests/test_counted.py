"""A PPK2's samples in their place, where the counter in them does not suffice: by a clock."""

# SPDX-License-Identifier: MIT

import numpy as np
import pytest
from wage_host.power.counted import Counted

RATE = 100_000
BLOCK_S = 0.01


def arrive(lags: np.ndarray, lost: dict[int, int]) -> Counted:
    """Blocks of 10 ms, each so many seconds late; samples lost before some of them."""
    counted, sent = Counted(RATE), 0
    for k, lag in enumerate(lags):
        sent += lost.get(k, 0)
        count = max(0, round((k + 1) * BLOCK_S * RATE) - sent)
        words = ((sent + np.arange(count)) % 64).astype(np.uint32) << 18
        sent += count
        counted.feed(words.astype("<u4").tobytes())
        if count:
            counted.compare((k + 1) * BLOCK_S + float(lag))
    return counted


def late(seed: int, count: int) -> np.ndarray:
    """What links do to blocks."""
    random = np.random.default_rng(seed)
    return 0.002 + random.exponential(0.002, count) + (random.random(count) < 0.02) * 0.05


@pytest.mark.parametrize("count", [3200, 12_800, 64_000])
def test_a_loss_that_the_counter_cannot_show(count):
    counted = arrive(late(1, 1500), {300: count})
    (gap,) = counted.gaps
    assert gap.kind == "lost"
    assert abs(gap.samples - count) <= 64 * 5  # half a millisecond of each level
    assert "by the computer's clock" in gap.text
    _, numbers = counted.feed((np.uint32(1500 * 1000 % 64) << 18).astype("<u4").tobytes())
    assert abs(int(numbers[0]) - 1500 * 1000) <= 64 * 5


@pytest.mark.parametrize("what", ["nothing", "stalls", "drift", "a backlog"])
def test_what_is_no_loss(what):
    lags = late(2, 3000)
    if what == "stalls":
        for k in range(200, 3000, 400):
            lags[k : k + 150] = np.linspace(1.5, 0.0, 150)  # a computer that slept, and catches up
    if what == "drift":
        lags += np.arange(3000) * BLOCK_S * 100e-6
    if what == "a backlog":
        lags += np.clip(np.arange(3000) * BLOCK_S * 0.03 - 0.2, 0, None)  # it is too slow by 3 %
    assert arrive(lags, {}).gaps == []


@pytest.mark.parametrize("count", [1, 4096, 100_001])
def test_noise_is_dropped_and_told(count):
    counted = Counted(RATE)
    good = ((np.arange(2000) % 64).astype(np.uint32) << 18).astype("<u4").tobytes()
    noise = np.random.default_rng(count).bytes(count)
    found = [counted.feed(part) for part in (good, noise, good, good)]
    assert sum(len(words) for words, _ in found) >= 5000
    numbers = np.concatenate([numbers for _, numbers in found])
    assert (np.diff(numbers) > 0).all()
    assert "lost" in {gap.kind for gap in counted.gaps}

"""The long tests: the same fuzzing with many more seeds."""

# SPDX-License-Identifier: MIT

from pathlib import Path

import pytest
import test_fuzz

pytestmark = pytest.mark.soak
TURNS = range(1000, 1020)


@pytest.mark.parametrize("turn", TURNS)
def test_frames(turn: int, seed: int, tmp_path: Path) -> None:
    blob = test_fuzz.frames_model()
    count = test_fuzz.run_frames(blob, test_fuzz.random_frames(blob, seed + turn), tmp_path)
    assert sum(count.values()) > test_fuzz.CASES // 2


@pytest.mark.parametrize("turn", TURNS)
def test_blobs(turn: int, seed: int) -> None:
    test_fuzz.test_blobs_are_refused_by_name_or_open_and_learn(seed + turn)


@pytest.mark.parametrize("turn", TURNS)
def test_stores(turn: int, seed: int) -> None:
    test_fuzz.test_stores_are_refused_or_restored_within_ranges(seed + turn)

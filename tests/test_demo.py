"""The demo: honest splits, and what it must reach on digits it never learned from."""

# SPDX-License-Identifier: MIT

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from wage_host import data, demo
from wage_host._core import lib


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The last line of `wage-host demo --json`."""
    folder = tmp_path_factory.mktemp("shown")
    command = [sys.executable, "-m", "wage_host", "demo", "--dir", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_demo_learns_the_new_and_keeps_the_old(answer: dict) -> None:
    assert answer["ok"] is True
    assert answer["accuracy_after"] >= 0.90
    assert answer["new_after"] >= 0.80
    assert answer["old_before"] - answer["old_after"] <= 0.03
    assert answer["new_before"] == 0
    assert answer["accuracy_before"] < 0.85
    assert int(answer["weight_crc"], 16) > 0
    for name in ("log", "report"):
        assert Path(answer[name]).is_file()


def test_demo_gives_the_same_bits_every_time(answer: dict, demo_files: demo.Files) -> None:
    """Accepted by hand when the method changes: it is the demo's own fingerprint."""
    assert answer["weight_crc"] == "ce045a92"


def test_training_set_knows_no_new_digit(demo_files: demo.Files) -> None:
    known = data.load(demo_files.train)
    assert len(known) > 1000
    assert set(known.labels.tolist()) == set(range(8))
    assert set(data.load(demo_files.stream).labels.tolist()) == set(demo.NEW)
    assert set(data.load(demo_files.test).labels.tolist()) == set(range(10))


def test_test_samples_are_in_no_stream(demo_files: demo.Files) -> None:
    seen = {
        x.tobytes()
        for path in (demo_files.train, demo_files.stream)
        for x in data.load(path).x.reshape(-1, 64)
    }
    test = data.load(demo_files.test)
    assert not [x for x in test.x.reshape(-1, 64) if x.tobytes() in seen]
    x, _ = demo.digits()
    total = sum(len(data.load(p)) for p in (demo_files.train, demo_files.stream, demo_files.test))
    assert total == len(x) == 1797


def test_replay_holds_training_samples_only(demo_files: demo.Files) -> None:
    blob = demo_files.model.read_bytes()
    at = int.from_bytes(blob[40:44], "little")
    count = int.from_bytes(blob[38:40], "little")
    assert count == demo.REPLAY_BYTES // (128 + 1) == 480
    assert set(blob[at : at + count]) == set(range(8))


def test_digits_are_those_of_their_publisher() -> None:
    """Every pixel and label against scikit-learn's own copy."""
    datasets = pytest.importorskip("sklearn.datasets")
    theirs = datasets.load_digits()
    x, labels = demo.digits()
    assert np.array_equal(labels, theirs.target)
    assert np.array_equal(x[..., 0], np.minimum(theirs.images.astype(int) * 16, 255))


def test_digits_travel_with_source_and_licence() -> None:
    folder = Path(demo.__file__).parent / "digits"
    text = (folder / "LICENSE.md").read_text()
    assert "CC BY 4.0" in text
    assert "Alpaydin" in text


def test_models_are_made_in_integers(demo_files: demo.Files) -> None:
    blob = demo_files.model.read_bytes()
    assert blob[:4] == b"WAGE"
    assert int.from_bytes(blob[4:6], "little") == lib.WAGE_FORMAT
    assert os.path.getsize(demo_files.model) == len(blob) == int.from_bytes(blob[8:12], "little")

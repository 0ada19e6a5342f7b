"""An emulated board that learns alone, and what is said to who has no such board."""

# SPDX-License-Identifier: MIT

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import test_cli
from wage_host import emulate, firmware, network, pack, sim, train
from wage_host.core import Config


def waves_model() -> bytes:
    """A network that has learned nothing."""
    net = network.parse("1x1x32 32FC 4FC", 1, 1, bits=(8, 16))
    config = Config(seed=1, lr_shift=-4, replays=3, gain_shift=1, threshold=0)
    return train.convert(net, "waves", config, 2, 40, [], pack.Rules())


@pytest.mark.timeout(300)
def test_emulated_board_learns_alone_and_tells_the_host(tmp_path: Path, need_emulator: None):
    """RISC-V with a store: alone, power-off, alone again, a host that comes and teaches."""
    model, store = tmp_path / "waves.wage", tmp_path / "store"
    model.write_bytes(waves_model())
    emulate.make_store("riscv-virt", store)
    image = firmware.build("riscv-virt", firmware.Contents(model, field="demo_waves"))
    learned = 0
    for _ in range(2):
        with emulate.running("riscv-virt", image, store=store) as url:
            time.sleep(4)
            told = test_cli.run("info", "--port", url, "--json", cwd=tmp_path)
            about = json.loads(told.stdout)
        assert about["own_inputs"] >= learned + 16
        assert about["generation"] >= 1
        learned = about["own_inputs"] // 16 * 16  # saved, as nothing was learned while it told
    assert about["right"] > 0.4 * about["own_inputs"]  # of four classes, from nothing
    with emulate.running("riscv-virt", image, store=store) as url:
        done = test_cli.run("teach", "--port", url, "2", "--samples", 5, "--json", cwd=tmp_path)
        answer = json.loads(done.stdout)
        assert (answer["samples"], answer["label"]) == (5, 2)
        assert answer["own_inputs"] >= learned + 5
        assert answer["generation"] > 1
        to = ("--port", url, "--samples", 12, "-o", "own.npz", "--json")
        done = test_cli.run("data", "record", "wave", *to, cwd=tmp_path)
        assert json.loads(done.stdout)["classes"] == {"wave": 12}
        x = np.load(tmp_path / "own.npz")["x"]
        assert x.shape == (12, 1, 1, 32) and len(np.unique(x, axis=0)) == 12
        # triangles of up to 85 with a noise of 16, as waves.c makes them
        assert 60 < x.max() <= 101 and -101 <= x.min() < -60


def test_teach_needs_a_board_that_senses(demo_files, tmp_path: Path, served: Callable[..., str]):
    board = sim.SimBoard(demo_files.model.read_bytes())
    url = served(sim.serve_socket, board, 0)
    code, line = test_cli.refused("teach", "--port", url, "3", cwd=tmp_path)
    assert code == 2
    assert line.startswith("the board has no inputs of its own: build its image with --field")
    code, line = test_cli.refused(
        "emulate", "--model", demo_files.model, "--field", "demo_waves", cwd=tmp_path
    )
    assert (code, line) == (
        2,
        "the simulated board has no inputs of its own: name an emulated one",
    )

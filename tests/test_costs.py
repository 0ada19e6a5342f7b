"""The estimates of wage-host plan beside what emulated boards take.

pytest tests/test_costs.py --accept-sizes measures the figures of each core anew.
"""

# SPDX-License-Identifier: MIT

from collections.abc import Iterator
from pathlib import Path

import bench
import costs
import emulated
import numpy as np
import pytest
from scipy.optimize import nnls
from wage_host import boards, budget, data, demo, emulate, fit, network, train
from wage_host.core import Config
from wage_host.device import Device
from wage_host.link import connector

NETS = {  # text, trainable layers, replay: they fit 13 KB
    "dense": ("8x8x1 8C3-MP2 32FC 10FC", 2, 8),
    "dense alone": ("8x8x1 32FC 10FC", 2, 8),
    "starter": ("8x8x1 32FC 10FC", 1, 80),
    "convolutions": ("8x8x1 8C3-MP2 16C3-MP2 10FC", 3, 8),
    "depthwise": ("8x8x1 8C3-MP2 DW3 8C1 DW3-MP2 10FC", 5, 8),
}
REPLAYS = 7
SAMPLES = {"instructions": 12, "cycles": 3}  # by what an emulator counts; cycles take long
CLOSE = 1.5  # an estimate may be off by this factor, either way
EMULATED = [board for board in boards.read().values() if board.ours and board.emulator]
CORES = {board.core: board for board in reversed(EMULATED)}
# of each instruction set one; the others run the same code in as many instructions, a few % apart
ONE_OF_EACH = ("cortex-m4", "rv32imac")  # the slower two are in the soak

Measured = list[tuple[budget.Counts, float]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list]]:
    """Each of NETS, trained on the digits 0 to 7, and samples of 8 and 9."""
    folder, found = tmp_path_factory.mktemp("costs"), {}
    made = demo.make(folder, recipe=demo.STARTER)
    known, new = data.load(made.train), data.load(made.stream)
    config = Config(1, -5, REPLAYS, 2, 0)
    for name, (text, last, replay) in NETS.items():
        net, _ = train.run(network.parse(text, 1), known, demo.TRAINING)
        filling = data.samples(known, net.info())
        path = folder / f"{name}.wage"
        path.write_bytes(train.convert(net, name, config, last, replay, filling))
        found[name] = path, data.samples(new, net.info())
    return found


def instructions(board: boards.Board, model: Path, samples: list) -> list[float]:
    """Of a prediction and of a sample learned; nothing of a model that does not fit."""
    image = emulated.image(board.name, model)
    per_us, arguments = bench.counting(board.name)
    samples = samples[: SAMPLES[emulate.setting(board.name, "counter", "instructions")]]
    with (
        emulate.running(board.name, image, arguments=arguments) as url,
        Device(connector(url, 115200, None), answer_s=60) as device,
    ):
        if device.welcome.arena_bytes > device.welcome.memory_bytes:
            return []
        predicted = [record.us for record in device.evaluate(samples)]
        device.start(1, device.config())
        learned = [record.us for record in device.learn(samples)]
    return [float(np.mean(us)) * per_us for us in (predicted, learned)]


def measure(board: boards.Board, models: dict[str, tuple[Path, list]]) -> Iterator:
    """For each model: work of a prediction and of learning, and what they took."""
    for path, samples in models.values():
        model = budget.read(path.read_bytes())
        work = budget.forward_work(model.layers), budget.learn_work(model)
        yield from zip(work, instructions(board, path, samples), strict=False)


def fitted(measured: Measured) -> dict[str, float]:
    """Figures, none below 0, with the least relative errors."""
    rows = np.array([[work.get(name, 0) for name in budget.WORK] for work, _ in measured], float)
    took = np.array([count for _, count in measured])
    found, _ = nnls(rows / took[:, None], np.ones(len(took)))
    return {name: round(float(x), 2) for name, x in zip(budget.WORK, found, strict=True)}


@pytest.mark.parametrize(
    "core",
    [pytest.param(c, marks=() if c in ONE_OF_EACH else pytest.mark.soak) for c in CORES],
)
def test_estimates_are_close(core, models, pytestconfig):
    measured = list(measure(CORES[core], models))
    if pytestconfig.getoption("--accept-sizes"):
        costs.accept("cores", core, fitted(measured))
    figures = costs.read()["cores"].get(core)
    assert figures, f"costs.json has no {core}: pytest tests/test_costs.py --accept-sizes"
    for work, took in measured:
        assert took / CLOSE <= budget.cost(work, figures) <= took * CLOSE, (work, took)


def test_estimate_of_the_demo_is_close(demo_blob):
    """The demo's model had no part in the figures; what it takes is in size.json."""
    model, work = budget.read(demo_blob.read_bytes()), fit.figures("cortex-m4")
    sizes = costs.read_sizes()["demo"]
    for what, counts in (
        ("a prediction", budget.forward_work(model.layers)),
        ("a sample learned", budget.learn_work(model)),
    ):
        took = 1000 * sizes[f"thousand instructions, {what}"]
        assert took / CLOSE <= budget.cost(counts, work) <= took * CLOSE


def test_figures_of_boards_are_those_of_the_sizes():
    sizes, known = costs.read_sizes(), costs.read()["boards"]
    measured = {name for name in boards.read() if name in sizes}
    assert known == {name: costs.of_board(sizes[name]) for name in measured}


def test_each_core_with_an_emulator_has_figures():
    assert set(CORES) <= set(costs.read()["cores"])
    assert fit.figures("cortex-m0plus") == fit.figures("cortex-m0")
    assert fit.figures("cortex-m33") is not None
    assert fit.figures("xtensa") is None

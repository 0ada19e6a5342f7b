"""The float twin: the same net as the integers', and runs that go on where they stopped."""

# SPDX-License-Identifier: MIT

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from wage_host import augment, data, network, train
from wage_host._core import lib
from wage_host.layers import Place

pytest.importorskip("torch", reason="twins need PyTorch: pip install -e '.[accuracy]'")
import torch
from accuracy import sets, table, twin

RNG = np.random.default_rng(5)


def windows(x: np.ndarray, at: Place, outside: float) -> np.ndarray:
    """(h, w, c) to (rows, columns, kernel rows, kernel columns, c)."""
    (kh, kw), (sy, sx), (py, px) = at.layer.kernel, at.layer.stride, at.layer.padding
    x = np.pad(x, ((py, py), (px, px), (0, 0)), constant_values=outside)
    rows, columns = at.sums[:2]
    return np.array(
        [
            [x[r * sy : r * sy + kh, c * sx : c * sx + kw] for c in range(columns)]
            for r in range(rows)
        ]
    )


def layer(x: np.ndarray, at: Place, inputs: list[np.ndarray]) -> np.ndarray:
    """One layer as SPEC 3 has it, without alpha, rounding and saturation; float64."""
    kind, w = at.layer.kind, at.layer.weights.astype(float)
    if kind == lib.WAGE_DENSE:
        z = (w @ x.ravel())[None, None]
    elif kind == lib.WAGE_CONV2D:
        z = windows(x, at, 0).reshape(*at.sums[:2], -1) @ w.T
    elif kind == lib.WAGE_DEPTHWISE:
        z = np.einsum("rckld,dkl->rcd", windows(x, at, 0), w.reshape(-1, *at.layer.kernel))
    elif kind == lib.WAGE_AVERAGE_POOL:
        z = windows(x, at, 0).mean((2, 3))
    elif kind == lib.WAGE_MAX_POOL:
        z = windows(x, at, -np.inf).max((2, 3))
    else:
        z = x + inputs[len(inputs) - 1 - at.layer.skip]
    if at.layer.pool == 2:
        h, w = z.shape[:2]
        z = np.array(
            [[z[r : r + 2, c : c + 2].max((0, 1)) for c in range(0, w, 2)] for r in range(0, h, 2)]
        )
    return np.maximum(z, 0) if at.layer.activation == lib.WAGE_RELU else z


def weights_of(net: network.Network, model: twin.Net) -> None:
    """Gives the twin our weights: (out, fan-in) in our order to PyTorch's."""
    with torch.no_grad():
        for at, step in zip(net.places(), model.steps, strict=True):
            if not at.layer.weight_bits:
                continue
            w = torch.from_numpy(at.layer.weights.astype(np.float64))
            if at.layer.kind == lib.WAGE_CONV2D:
                w = w.reshape(len(w), *at.layer.kernel, -1).permute(0, 3, 1, 2)
            if at.layer.kind == lib.WAGE_DEPTHWISE:
                w = w.reshape(len(w), 1, *at.layer.kernel)
            step.weight.copy_(w)


@pytest.mark.parametrize(
    "text",
    [
        "3x2x2 5FC 4FC",
        "7x5x2 3C3-MP2 4FC",
        "9x8x1 3C3/2 4C3v-MP2 6FC 3FC",
        "1x9x2 4C1x5v/2 3FC",
        "12x12x3 4C3 4C3 4C3s +2 DW3-MP2 AP2 4C3 MP2 5FC",
        "4x4x2 3C3 3C1s +1 GAP",
    ],
)
def test_twin_is_the_same_net(text: str) -> None:
    net = network.parse(text, 3)
    small = tuple(
        dataclasses.replace(one, weights=RNG.integers(-3, 4, one.weights.shape).astype(np.int16))
        for one in net.layers
    )
    net = dataclasses.replace(net, layers=small)
    model = twin.Net(net, 1).double()
    weights_of(net, model)
    raw = RNG.integers(0, 256, (3, *net.shape), np.uint8)
    logits = model(twin.inputs(raw, net.shape, 1).double()).detach().numpy()
    for one, found in zip(raw, logits, strict=True):
        x, inputs = data.activations(one, 1) / 128, []
        for at in net.places():
            inputs.append(x)
            x = layer(x, at, inputs)
            assert x.shape == at.output
        assert np.allclose(found, x.ravel(), rtol=1e-9, atol=1e-9)


def test_twin_begins_as_he_says_and_by_seed() -> None:
    net = network.parse("8x8x4 64C3 10FC", 1)
    first, again, other = (twin.Net(net, seed) for seed in (1, 1, 2))
    w = first.steps[0].weight
    assert abs(float(w.detach().std()) / np.sqrt(2 / 36) - 1) < 0.05
    assert torch.equal(w, again.steps[0].weight)
    assert not torch.equal(w, other.steps[0].weight)
    assert [step.bias for step in first.steps] == [None, None]
    biased = twin.Net(network.parse("8x8x4 64C3 10FC", 1, bias=True), 1)
    assert all(step.bias is not None for step in biased.steps)


def test_rate_rises_in_the_first_epoch_and_falls_to_zero() -> None:
    settings = table.TwinSettings(0.1, 0.0)
    rates = [twin.rate_at(settings, step, 50, 10) for step in range(50)]
    assert rates[:10] == pytest.approx([0.01 * k for k in range(1, 11)])
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[30] == pytest.approx(0.05)
    assert rates[-1] < 0.001


def test_of_equal_logits_the_lowest_index_counts() -> None:
    class Ties(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[1.0, 3.0, 3.0]]).repeat(len(x), 1)

    part = data.Data("d", np.zeros((4, 1, 1, 1), np.uint8), np.array([0, 1, 2, 1]))
    assert twin.accuracy(Ties(), (1, 1, 1), part, 1) == 0.5


def test_run_that_goes_on_equals_one_that_was_never_stopped(tmp_path: Path) -> None:
    split = sets.load("digits", None)
    task = dataclasses.replace(
        table.TASKS["digits-mlp"], net="8x8x1 8C3-MP2 10FC", augment="crop1,flip"
    )
    measured = {"validation": split.validation}

    def run(name: str, stop: int) -> list[dict]:
        class Stopped(Exception):
            pass

        def progress(epochs: list[dict]) -> None:
            if len(epochs) == stop:
                raise Stopped

        arguments = (task, task.twin, 1, 3, split.train, measured, tmp_path / name)
        try:
            rows = twin.run(*arguments, progress)
        except Stopped:
            rows = twin.run(*arguments, lambda epochs: None)
        return [{key: row[key] for key in ("epoch", "loss", "validation")} for row in rows]

    whole = run("whole", 0)
    assert [row["epoch"] for row in whole] == [1, 2, 3]
    assert whole[2]["validation"] > 0.3
    assert run("stopped once", 1) == whole
    assert run("stopped later", 2) == whole


def test_twin_learns_what_integers_of_its_seed_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same order, and the same augmentation, in each epoch."""
    split = sets.load("digits", None)
    task = dataclasses.replace(table.TASKS["digits-mlp"], net="8x8x1 10FC", augment="crop1")
    seen: dict[tuple[int, int], list[np.ndarray]] = {}
    real = augment.augmented

    def note(
        x: np.ndarray, index: np.ndarray, how: augment.Augment, seed: int, epoch: int
    ) -> np.ndarray:
        assert np.array_equal(x, split.train.x[index])
        seen.setdefault((seed, epoch), []).append(index)
        return real(x, index, how, seed, epoch)

    monkeypatch.setattr(augment, "augmented", note)
    twin.run(task, task.twin, 7, 2, split.train, {}, tmp_path / "t", lambda epochs: None)
    assert list(seen) == [(7, 0), (7, 1)]
    for (seed, epoch), batches in seen.items():
        expected = next(train.orders(seed, len(split.train), epoch))
        assert np.array_equal(np.concatenate(batches), expected)

"""Oracle, host library at every level of kernels and emulated CPUs: the same bits."""

# SPDX-License-Identifier: MIT

from itertools import product
from pathlib import Path

import native
import nets
import numpy as np
import pytest
import reference as ref
from cside import LEVELS
from wage_host.core import Core

STEPS, BATCH = 3, 2
NETWORKS = list(product(nets.NETS, nets.POLICIES, nets.WIDTHS))


def network(name: str, policy: str, bits: int) -> bytes:
    """A network of all kinds of layers, with a replay; some have momentum."""
    return nets.net(name, bits, policy, seed=bits, batch=BATCH, momentum=bits % 3,
                    lr_factor=1 + bits % 2, replay_capacity=3, replays=2)  # fmt: skip


def oracle_says(blob: bytes, samples: nets.Samples) -> list[str]:
    """The oracle's lines: opened, three steps of a batch, a sample with replays."""
    model = ref.open_model(blob)
    ref.start(model, 1)
    lines = [nets.crcs(model)]
    before = [layer.w for layer in model.learning]
    for some in nets.batches(samples[:-1], BATCH):
        ref.train(model, some)
        lines.append(nets.crcs(model))
    assert all((a != b.w).any() for a, b in zip(before, model.learning, strict=True))
    ref.learn(model, 1, *samples[-1])
    return [*lines, nets.crcs(model)]


def core_says(blob: bytes, samples: nets.Samples, level: int) -> list[str]:
    """The host library's."""
    core = Core(blob, level=level)
    core.start(1, core.config())
    lines = [nets.crcs(core)]
    for some in nets.batches(samples[:-1], BATCH):
        core.train(np.stack([x for x, _ in some]), [label for _, label in some])
        lines.append(nets.crcs(core))
    assert len(list(core.learn(samples[-1:]))) == 1
    return [*lines, nets.crcs(core)]


@pytest.fixture(scope="module")
def learned() -> tuple[list[bytes], list[str]]:
    """Cases for the harness, and what the oracle and every level of kernels say of them."""
    cases, lines = [], []
    for name, policy, bits in NETWORKS:
        blob = network(name, policy, bits)
        assert nets.is_complete(blob)
        samples = nets.samples_of(blob, bits, STEPS * BATCH + 1)
        said = oracle_says(blob, samples)
        for level in LEVELS:
            assert core_says(blob, samples, level) == said, (name, policy, bits, level)
        cases.append(b"B" + blob)
        cases += [native.case_of(b"T", some) for some in nets.batches(samples[:-1], BATCH)]
        cases.append(native.case_of(b"L", samples[-1:]))
        lines += said
    return cases, lines


def test_oracle_and_every_level_agree(learned: tuple[list[bytes], list[str]]) -> None:
    cases, lines = learned
    assert len(cases) == len(lines) == len(NETWORKS) * (STEPS + 2)
    assert len(set(lines)) > len(lines) * 3 // 4
    assert LEVELS[:2] == [0, 1]


@pytest.mark.parametrize("cpu", native.CPUS)
def test_emulated_cpu_agrees(
    cpu: str, learned: tuple[list[bytes], list[str]], tmp_path: Path
) -> None:
    cases, lines = learned
    assert native.emulate("parity", cpu, cases, tmp_path) == lines


def test_harness_that_dies_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="died after 0 of 1"):
        native.emulate("parity", "cortex-m3", [b"T"], tmp_path)

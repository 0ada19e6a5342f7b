"""Long training: interrupted, killed and resumed to the same bits; what is refused beforehand."""

# SPDX-License-Identifier: MIT

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_train import CONFIG, NETWORK, crcs, some
from wage_host import checkpoint, cli, data, demo, network, rates, train
from wage_host.augment import Augment
from wage_host.data import Data
from wage_host.errors import CheckpointError, Interrupted, LabelError, ShapeError
from wage_host.pack import Rules
from wage_host.train import How

HOW = How(
    dataclasses.replace(CONFIG, seed=3),
    rates.halving((1, 1), 6),
    Rules(True, True, 4, 2),
    Augment(1, True),
)
NET = network.parse(NETWORK, 4, paper=True)


def test_resumed_after_each_epoch_gives_the_same_bits(tmp_path: Path) -> None:
    known, path = some(41), tmp_path / "c"
    others = {"held": some(9, seed=2)}
    whole, rows = train.run(NET, known, HOW, others=others)

    class Stop(Exception):
        pass

    for _ in range(len(HOW.rates)):  # one epoch at a time: the next one is never finished
        seen: list[dict] = []

        def stop_after_one(row: dict, seen: list[dict] = seen) -> None:
            if seen:
                raise Stop
            seen.append(row)

        try:
            got = train.run(NET, known, HOW, others=others, path=path, on_epoch=stop_after_one)
            break
        except Stop:
            continue
    assert crcs(got[0]) == crcs(whole)
    assert [without_time(row) for row in got[1]] == [without_time(row) for row in rows]
    again = train.run(NET, known, HOW, others=others, path=path)  # nothing is left to do
    assert crcs(again[0]) == crcs(whole)
    assert again[1] == got[1]


def without_time(row: dict) -> dict:
    """A row of train.run(), but for what differs from run to run."""
    return {name: value for name, value in row.items() if name != "seconds"}


def test_interrupted_in_an_epoch_gives_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, path = some(41), tmp_path / "c"
    whole, rows = train.run(NET, known, HOW)
    monkeypatch.setattr(train, "CHUNK_S", 0.0)  # a look at Ctrl-C after each step
    calls = 0

    def interrupt(epoch: int, done: int, right: int) -> None:
        nonlocal calls
        calls += 1
        if calls % 7 == 0:
            os.kill(os.getpid(), signal.SIGINT)

    stops = 0
    while True:
        try:
            got, told = train.run(NET, known, HOW, path=path, progress=interrupt)
            break
        except Interrupted as error:
            assert str(error) == f"interrupted; the same command goes on from {path}"
            stops += 1
    assert stops >= 6
    assert crcs(got) == crcs(whole)
    assert [without_time(row) for row in told] == [without_time(row) for row in rows]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"config": dataclasses.replace(HOW.config, seed=4)}, "network or settings"),
        ({"rules": Rules(True, True, 5, 2)}, "network or settings"),
        ({"rates": rates.schedule("2@0,1@5", 6)}, "epochs or learning rates"),
        ({"rates": HOW.rates[:5]}, "epochs or learning rates"),
        ({"augment": Augment(1, False)}, "augmentation"),
    ],
)
def test_checkpoint_of_another_run_is_refused(change: dict, what: str, tmp_path: Path) -> None:
    path, known = tmp_path / "c", some(12)
    train.run(NET, known, HOW, path=path)
    kept = path.read_bytes()
    for net, samples, how, other in (
        (NET, known, dataclasses.replace(HOW, **change), what),
        (NET, some(12, seed=3), HOW, "samples"),
        (network.parse(NETWORK, 5, paper=True), known, HOW, "network or settings"),
    ):
        with pytest.raises(CheckpointError) as caught:
            train.run(net, samples, how, path=path)
        assert str(caught.value) == (
            f"{path} is the checkpoint of a run with other {other}: choose another file, or "
            "delete it to begin anew"
        )
    assert path.read_bytes() == kept


def test_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path, known = tmp_path / "c", some(12)
    train.run(NET, known, HOW, path=path)
    whole = path.read_bytes()
    at = whole.rindex(b"\x93NUMPY") + 100  # an array
    damaged = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    for wrong in (b"", whole[:50], whole[:-10], damaged):
        path.write_bytes(wrong)
        with pytest.raises(CheckpointError, match="is no checkpoint of a training run, or is dam"):
            train.run(NET, known, HOW, path=path)
    assert checkpoint.load(tmp_path / "none", {}) is None


def test_checkpoint_of_a_numpy_that_shuffles_otherwise_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, known = tmp_path / "c", some(12)
    train.run(NET, known, HOW, path=path)
    orders = train.orders
    monkeypatch.setattr(train, "orders", lambda *given: (o[::-1] for o in orders(*given)))
    with pytest.raises(CheckpointError, match="with other version of NumPy, which shuffles"):
        train.run(NET, known, HOW, path=path)


def test_order_is_that_of_the_epoch() -> None:
    first = [order.tolist() for order, _ in zip(train.orders(5, 30, 0), range(4), strict=False)]
    assert next(train.orders(5, 30, 3)).tolist() == first[3]
    assert len({tuple(order) for order in first}) == 4
    assert all(sorted(order) == list(range(30)) for order in first)


def test_validation_is_held_out(seed: int) -> None:
    samples = some(200)
    kept, held = train.split(samples, 0.1, seed)
    assert (len(kept), len(held)) == (180, 20)
    rows = {x.tobytes() for x in kept.x} | {x.tobytes() for x in held.x}
    assert len(rows) == 200
    again = train.split(samples, 0.1, seed)
    assert np.array_equal(again[1].x, held.x)
    assert not np.array_equal(train.split(samples, 0.1, seed + 1)[1].x, held.x)


@pytest.mark.parametrize(
    ("labels", "free", "said"),
    [
        ([0, 1], 0, "no sample of class 2: give some, or keep the last classes for later with "
         "--free-classes 1"),
        ([0, 0], 0, "no sample of the classes 1, 2: give some, or keep the last classes for "
         "later with --free-classes 2"),
        ([0, 2], 0, "no sample of class 1: give some, or number the classes without gaps"),
        ([0, 0], 1, "no sample of class 1: give some, or keep the last classes for later with "
         "--free-classes 2"),
        ([0, 1], 3, "--free-classes is 0 to 2 for this network, not 3"),
        ([0, 3], 0, "sample 2: label 3 is out of range; the model's classes are 0 to 2"),
    ],
)  # fmt: skip
def test_classes_are_checked_before_training(labels: list[int], free: int, said: str) -> None:
    known = Data("d", some(2).x, np.array(labels))
    with pytest.raises(LabelError) as caught:
        train.run(NET, known, dataclasses.replace(HOW, free_classes=free))
    assert said in str(caught.value)
    train.run(NET, Data("d", some(2).x, np.array([0, 1])), dataclasses.replace(HOW, free_classes=1))


def test_shapes_are_checked_before_training() -> None:
    with pytest.raises(ShapeError, match="the model takes 6x6x2"):
        train.run(NET, some(9, (6, 6, 1)), HOW)
    with pytest.raises(ShapeError, match="the model takes 6x6x2"):
        train.run(NET, some(9), HOW, others={"held": some(9, (5, 6, 2))})


# -- the command -----------------------------------------------------------


def command(folder: Path, *arguments: object) -> list[str]:
    """wage-host train on the demo's digits."""
    return [sys.executable, "-m", "wage_host", "train", *map(str, arguments), "--json"]


def answer(folder: Path, *arguments: object) -> dict:
    """The object that a command prints."""
    done = subprocess.run(
        command(folder, *arguments), cwd=folder, capture_output=True, text=True, timeout=200
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) | {"told": done.stderr}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits of the package as a data file."""
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    data.save(path, *demo.digits())
    return path


def test_killed_run_goes_on_to_the_same_bits(digits: Path, tmp_path: Path) -> None:
    """SIGKILL between and in epochs, then Ctrl-C: the network is that of an undisturbed run."""
    how = ["--data", digits, "--network", "8x8x1 16C3-MP2 16C3 10FC", "--policy", "paper"]
    how += ["--epochs", 8, "--augment", "crop1", "--validation", 0.2, "--momentum", 3]
    whole = answer(tmp_path, *how, "-o", "whole.npz")
    assert whole["ok"], whole
    path = tmp_path / "c"
    for stop in (signal.SIGKILL, signal.SIGKILL, signal.SIGINT):
        before = path.stat().st_mtime_ns if path.exists() else 0
        process = subprocess.Popen(
            command(tmp_path, *how, "-o", "n.npz", "--checkpoint", path),
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while (path.stat().st_mtime_ns if path.exists() else 0) == before:
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(stop)
        assert process.wait(60) == (130 if stop == signal.SIGINT else -signal.SIGKILL)
    assert not (tmp_path / "n.npz").exists()
    resumed = answer(tmp_path, *how, "-o", "n.npz", "--checkpoint", path)
    assert resumed["ok"], resumed
    assert crcs(network.load(tmp_path / "n.npz")) == crcs(network.load(tmp_path / "whole.npz"))
    assert resumed["validation"] == whole["validation"] > 0.2


def test_trained_networks_of_both_policies_know_the_digits(digits: Path, tmp_path: Path) -> None:
    plain, mixed = "8x8x1 16C3-MP2 32C3 32FC 10FC", "8x8x1 8C3-MP2 16C3s DW3s +1 GAP 32FC 10FC"
    ways = (
        [plain, "--policy", "paper", "--batch", 32, "--epochs", 12],
        [plain, "--policy", "paper", "--batch", 32, "--loss", "ce", "--bits", "8/16"],
        [mixed, "--epochs", 4, "--bias"],
        [mixed, "--batch", 4, "--momentum", 3, "--lr", "2^-5", "--epochs", 4, "--bits", "4/12"],
    )
    for way in ways:
        given = ("--data", digits, "--validation", 0.2, "-o", "n.npz")
        got = answer(tmp_path, *given, "--network", *way)
        assert got["ok"], got
        assert got["validation"] > 0.85, way


def test_told_before_training(
    digits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    good = {"--data": digits, "--network": "8x8x1 10FC", "-o": "n.npz", "--epochs": 1}
    labels = np.arange(20) % 9
    data.save(tmp_path / "nine.npz", np.zeros((20, 8, 8), np.uint8), labels)
    for change, code, said in (
        ({"--network": "8x8x1 8C3:8/4 10FC"}, 15, "'8C3:8/4': weights of 8 bits in use cannot"),
        ({"--bits": "8/4"}, 15, "'--bits': weights of 8 bits in use cannot be stored in 4"),
        ({"--network": "8x8x1 8Q3 10FC"}, 15, "'8Q3' is no layer"),
        ({"--network": "letnet"}, 15, "begin with the input"),
        ({"--network": "8x8x1 8C3 10FC", "--batch": 2049}, 15, "'8C3' is too large: 131,136 p"),
        ({"--network": "2x2x1 3FC 10FC"}, 10, "the model takes 2x2x1"),
        ({"--network": "8x8x1 9FC"}, 9, "label 9 is out of range"),
        ({"--data": "nine.npz"}, 9, "no sample of class 9: give some, or keep"),
        ({"--lr": "0.3"}, 2, "'0.3' is no learning rate"),
        ({"--lr": 8, "--schedule": "8@0"}, 2, "leave out --lr"),
        ({"--schedule": "8@1"}, 2, "a schedule begins at epoch 0"),
        ({"--augment": "rotate"}, 2, "'rotate' is no augmentation"),
        ({"--validation": 0.0001}, 2, "leaves a part without samples"),
        ({"--momentum": 8}, 15, "momentum is 1 to 7"),
        ({"--batch": 0}, 15, "a batch has 1 to 4096 samples, not 0"),
        ({"--checkpoint": "n.npz"}, 2, "the checkpoint and the network need a file each"),
        ({"--policy": "paper", "--bias": None}, 15, "the paper's policy trains no bias"),
        ({"-o": "no/n.npz"}, 19, "make the folder no"),
        ({"--checkpoint": "no/c"}, 19, "make the folder no"),
    ):
        given = [part for pair in (good | change).items() for part in pair if part is not None]
        monkeypatch.setattr(sys, "argv", ["wage-host", "train", *map(str, given), "--json"])
        with pytest.raises(SystemExit):
            cli.main()
        shown = capsys.readouterr()
        got = json.loads(shown.out)
        assert (got["ok"], got.get("code")) == (False, code), (change, got)
        assert said in got["error"], (change, got)
        assert "Traceback" not in shown.err
        assert "epoch 1" not in shown.err
    assert not list(tmp_path.glob("n.npz"))


def test_warned_of_weights_without_a_buffer(digits: Path, tmp_path: Path) -> None:
    got = answer(tmp_path, "--data", digits, "--network", "8x8x1 10FC", "-o", "n.npz",
                 "--epochs", 1, "--bits", "8/8")  # fmt: skip
    assert got["ok"]
    assert "warning: no bits between weights in use and stored ones in 10FC" in got["told"]
    assert "epoch 1 of 1, rate 2^-3: train " in got["told"]


def test_list_of_named_networks(tmp_path: Path) -> None:
    got = answer(tmp_path, "--network", "list")
    rows = {row["name"]: row for row in got["networks"]}
    assert rows["lenet"]["weights"] == 581408
    assert rows["vgg7"]["weights"] == 12973440
    assert rows["vgg7"]["macs"] == 615917568
    assert len(rows) >= 7
    assert "lenet: the paper's" in got["told"]


def test_info_shows_how_a_model_learns(tmp_path: Path) -> None:
    text = "8x8x1 8C3-MP2 DW3s:3/9 8C1s +2 AP2 GAP 10FC"
    net = tmp_path / "n.npz"
    network.save(network.parse(text, 1, bias=True), net)
    rules = ["--policy", "continual", "--loss", "sse", "--batch", 3, "--momentum", 4]
    settings = ["--lr", "3*2^-5", "--train-last", 3]
    convert = ["convert", net, "-o", tmp_path / "n.wage", *rules, *settings]
    wage_host = [sys.executable, "-m", "wage_host"]
    subprocess.run([*wage_host, *map(str, convert)], check=True, capture_output=True)
    shown = subprocess.check_output([*wage_host, "info", str(tmp_path / "n.wage"), "--json"])
    about = json.loads(shown)
    expected = {"policy": "continual", "loss": "sse", "batch": 3, "momentum": 4}
    expected |= {"lr_factor": 3, "lr_shift": -5}
    assert {name: about[name] for name in expected} == expected
    assert about["layers"] == [
        "conv2d 3x3 to 4x4x8, max-pooled, 72 weights of 8 bits, bias, frozen",
        "depthwise 3x3 to 4x4x8, signed, 72 weights of 3 bits stored in 9, bias, trainable",
        "conv2d 1x1 to 4x4x8, signed, 64 weights of 8 bits stored in 16, bias, trainable",
        "add of the input 2 layers below to 4x4x8, trainable",
        "average pool 2x2 to 2x2x8, trainable",
        "average pool 2x2 to 1x1x8, trainable",
        "dense to 1x1x10, 80 weights of 8 bits stored in 16, bias, trainable",
    ]

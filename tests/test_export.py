"""What `wage-host export` writes is the model: converted again, nothing of it is lost."""

# SPDX-License-Identifier: MIT

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from wage_host import cli, data, network, unpack
from wage_host.core import Core, info

FORMATS = (".npz", ".safetensors", ".onnx")
TEXT = "8x8x1 6C3-MP2 6C3 +1 MP2 12FC 4FC"
STRATEGIES = {
    "plain": (),
    "settings": ("--lr", "3*2^-7", "--replays", 7, "--threshold", 5, "--seed", 99, "--gain-shift",
                 4, "--replay", 9, "--batch", 4, "--momentum", 3, "--loss", "sse"),
    "all layers": ("--train", "all", "--replay", 5),
    "replayed inputs": ("--replay", 6, "--replay-inputs", "--class-table"),
    "biases only": ("--bias-only", "--train-last", 2, "--replay", "1KB"),
    "class means": ("--class-means", "--replay-data", "known.npz"),
    "the paper's": ("--policy", "paper", "--train-last", 3, "--lr", "2^-2"),
    "the paper's with 8 bits": ("--policy", "paper", "--train", "all"),
}  # fmt: skip
BITS = {"the paper's": (2, 8), "settings": (5, 12), "all layers": (8, 8)}


def do(folder: Path, *words: object) -> dict:
    """A command in this process, and what it says in JSON."""
    runner = CliRunner()
    text = [str(folder / w) if str(w).endswith((".npz", ".wage", *FORMATS)) else str(w)
            for w in words]  # fmt: skip
    done = runner.invoke(cli.wage_host, [*text, "--json"], standalone_mode=False)
    return json.loads(done.stdout.splitlines()[-1])


def made(folder: Path, strategy: str) -> bytes:
    """first.wage of a fresh network, by this strategy."""
    net = network.parse(TEXT, 3, bits=BITS.get(strategy, (8, 16)), init="filled")
    if net.layers[0].store_bits == 16:
        net.layers[0].weights[0, :2] = 128, -128  # half a step: each policy rounds otherwise
    network.save(net, folder / "net.npz")
    rng = np.random.default_rng(2)
    data.save(folder / "known.npz", rng.integers(-128, 128, (40, 8, 8, 1)).astype(np.int8),
              np.arange(40) % 3)  # fmt: skip
    told = do(folder, "convert", "net.npz", *STRATEGIES[strategy], "-o", "first.wage")
    assert told["ok"], told
    return (folder / "first.wage").read_bytes()


def and_back(folder: Path, ending: str, *more: object) -> bytes:
    """first.wage exported, and converted again."""
    assert do(folder, "export", "first.wage", "-o", f"out{ending}")["ok"]
    told = do(folder, "convert", f"out{ending}", *more, "-o", "again.wage")
    assert told["ok"], told
    return (folder / "again.wage").read_bytes()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_model_comes_back_whole(strategy: str, tmp_path: Path) -> None:
    blob = made(tmp_path, strategy)
    for ending in FORMATS:
        assert and_back(tmp_path, ending) == blob, ending


NETS = (
    "9x9x2 4C3v:5/12 DW3 +1 6C1x3v/2 MP2/1 AP2 8FC:2/8 3FC",
    "6x12x1 DW3-MP2:4/16 DW3 +1s 5C3:3/9 3C1 GAP",
    "1x1x20 16FC:7/16 5FC:6/6",
)  # fmt: skip


@pytest.mark.parametrize("text", NETS)
def test_layers_of_every_kind_and_width_come_back(text: str, tmp_path: Path) -> None:
    for bias in (False, True):
        network.save(network.parse(text, 5, 1, bias=bias, init="filled"), tmp_path / "net.npz")
        for learn in ((), ("--train", "all"), ("--train", "all", "--bias-only")):
            assert do(tmp_path, "convert", "net.npz", *learn, "-o", "first.wage")["ok"]
            blob = (tmp_path / "first.wage").read_bytes()
            for ending in FORMATS:
                assert and_back(tmp_path, ending) == blob, (ending, bias, learn)


def test_network_that_has_learned_nothing_needs_no_file(tmp_path: Path) -> None:
    for seed in (1, 5):
        told = do(tmp_path, "convert", "6x6x2 4C3/2 5FC", "--seed", seed, "-o", "first.wage")
        assert told["ok"], told
        up = unpack.unpacked((tmp_path / "first.wage").read_bytes())
        net = network.parse("6x6x2 4C3/2 5FC", seed)
        for layer, fresh in zip(up.network.layers, net.layers, strict=True):
            np.testing.assert_array_equal(layer.used(False), fresh.used(False))
        assert up.config.seed == seed
    for text, part in (("6x6x2 4C3 5F", "'5F' is no layer"), ("nothing", "nothing")):
        told = do(tmp_path, "convert", text, "-o", "first.wage")
        assert told["code"] == 15 and part in told["error"]
    told = do(tmp_path, "convert", "6x6x2 5FC", "--mean", 1, "-o", "first.wage")
    assert told["code"] == 2 and "leave them out" in told["error"]


OVERRIDES = {
    ("--lr", "2^-3"): {"lr_shift": -3, "lr_factor": 1},
    ("--seed", 7, "--replays", 1): {"seed": 7, "replays": 1},
    ("--policy", "continual"): {"policy": "continual", "loss": "ce", "batch": 1, "momentum": 3},
    ("--loss", "ce"): {"loss": "ce", "batch": 4},
    ("--replay", 3): {"replay": 3},
    ("--replay", 0): {"replay": 0},
    ("--replay-data", "known.npz"): {"replay": 9, "replay_samples": 9},
    ("--name", "other"): {"name": "other"},
    ("--train-last", 2): {"replay": 9, "batch": 4},
}


@pytest.mark.parametrize("ending", FORMATS)
def test_what_is_said_counts_more_than_what_the_file_says(ending: str, tmp_path: Path) -> None:
    made(tmp_path, "settings")
    before = do(tmp_path, "info", "first.wage")
    for options, changed in OVERRIDES.items():
        and_back(tmp_path, ending, *options)
        after = do(tmp_path, "info", "again.wage")
        same = set(before) - set(changed) - {"crc", "arena_bytes", "flash_bytes", "layers", "ok"}
        assert {k: after[k] for k in changed} == changed, options
        if "--train-last" not in options:
            assert {k: after[k] for k in same} == {k: before[k] for k in same}, options


@pytest.mark.parametrize("ending", FORMATS)
def test_strategies_can_be_left(ending: str, tmp_path: Path) -> None:
    def told(strategy: str, *options: object) -> dict:
        made(tmp_path, strategy)
        and_back(tmp_path, ending, *options)
        return do(tmp_path, "info", "again.wage")

    about = told("replayed inputs", "--no-replay-inputs", "--no-class-table")
    assert (about["replay_of"], about["class_table"], about["replay"]) == ("latents", False, 6)
    assert told("replayed inputs", "--replay", 0)["replay_of"] == "latents"
    about = told("class means", "--no-class-means", "--replay", 2)
    assert (about["learns_by"], about["replay"]) == ("gradients", 2)
    only = "only its bias"
    assert sum(only in layer for layer in told("biases only")["layers"]) == 2
    for leave in (("--no-bias-only",), ("--train-last", 1), ("--class-means", "--train-last", 1,
                  "--replay-data", "known.npz")):  # fmt: skip
        assert not any(only in layer for layer in told("biases only", *leave)["layers"])
    about = told("biases only", "--bias-only", "--train", "all")
    assert sum(only in layer for layer in about["layers"]) == 4


@pytest.mark.parametrize("ending", FORMATS)
def test_weights_that_learn_no_more_are_rounded_as_they_were(ending: str, tmp_path: Path) -> None:
    before = unpack.unpacked(made(tmp_path, "the paper's with 8 bits")).network.layers[0]
    assert (before.used(True) != before.used(False)).any()
    after = unpack.unpacked(and_back(tmp_path, ending, "--train-last", 1)).network.layers[0]
    np.testing.assert_array_equal(after.used(True), before.used(True))


def test_class_means_stay_or_are_of_new_samples(tmp_path: Path) -> None:
    blob = made(tmp_path, "class means")
    rng = np.random.default_rng(9)
    data.save(tmp_path / "other.npz", rng.integers(-128, 128, (9, 8, 8, 1)).astype(np.int8),
              np.arange(9) % 3)  # fmt: skip
    other = and_back(tmp_path, ".onnx", "--replay-data", "other.npz")
    assert Core(other).weight_crc() != Core(blob).weight_crc()
    assert and_back(tmp_path, ".onnx", "--replay-data", "known.npz") == blob
    for options, text in (
        (("--replay", 3), "--no-class-means"),
        (("--bias-only",), "takes no replay and no --bias-only"),
        (("--train-last", 2), "the place of a last dense layer"),
        (("--fresh-head", "--samples", "known.npz"), "give them with --replay-data"),
        (("--max-classes", 7, "--samples", "known.npz"), "give them with --replay-data"),
    ):
        told = do(tmp_path, "convert", "out.onnx", *options, "-o", "again.wage")
        assert not told["ok"] and text in told["error"]


DAMAGES = (
    {"seed": -1}, {"lr_shift": 8}, {"replays": 256}, {"momentum": 8}, {"batch": 0}, {"means": 1},
    {"lr_factor": 0}, {"threshold": "3"}, {"name": "n" * 16}, {"name": "a\0b"}, {"name": "ü" * 8},
    {"name": None}, {"train_last": 0},
    {"replay": 65536}, {"biases": None}, {"gain_shift": True},
)  # fmt: skip


@pytest.mark.parametrize("ending", FORMATS)
def test_settings_that_no_blob_has_are_refused(ending: str, tmp_path: Path) -> None:
    made(tmp_path, "settings")
    path = tmp_path / f"out{ending}"
    for change in (*DAMAGES, {"wage_export": 1}):
        assert do(tmp_path, "export", "first.wage", "-o", path.name)["ok"]
        spoil(path, change)
        told = do(tmp_path, "convert", path.name, "-o", "again.wage")
        assert not told["ok"] and "internal" not in told["error"], change
        assert ("another version" in told["error"]) == ("wage_export" in change)


def spoil(path: Path, change: dict) -> None:
    """Other settings in an export."""
    if path.suffix == ".onnx":
        model = onnx.load(path)
        (about,) = model.metadata_props
        about.value = json.dumps(json.loads(about.value) | change)
        onnx.save(model, path)
    elif path.suffix == ".npz":
        with np.load(path) as file:
            parts = dict(file)
        np.savez(path, **parts | {"about": json.dumps(json.loads(str(parts["about"])) | change)})
    else:
        data = path.read_bytes()
        size = int.from_bytes(data[:8], "little")
        head = json.loads(data[8 : 8 + size])
        told = head["__metadata__"]
        told["about"] = json.dumps(json.loads(told["about"]) | change)
        text = json.dumps(head).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])


LEARNERS = {
    "gradients": ("--train-last", 2, "--replay", 5, "--class-table"),
    "biases": ("--bias-only", "--class-table"),
    "means": ("--class-means", "--replay-data", "known.npz", "--class-table"),
}


@pytest.mark.parametrize("learner", LEARNERS)
def test_what_a_board_learned_comes_back(learner: str, tmp_path: Path) -> None:
    made(tmp_path, "plain")
    assert do(tmp_path, "convert", "net.npz", *LEARNERS[learner], "-o", "first.wage")["ok"]
    data.save(tmp_path / "new.npz", np.random.default_rng(4).integers(-128, 128, (12, 64))
              .astype(np.int8), np.full(12, 3))  # fmt: skip
    board = ("--port", "sim", "--model", "first.wage", "--store", tmp_path / "store")
    new = ("--data", "new.npz", "--new-class", "3=a bell", "--save-every", 12)
    log = tmp_path / "log"
    learned = do(tmp_path, "learn", *board, *new, "--log", log)
    assert learned["ok"], learned
    assert do(tmp_path, "pull", *board, "-o", "pulled.wage")["ok"]
    told = do(tmp_path, "verify", "--run", learned["run"], "--pulled", tmp_path / "pulled.wage",
              "--log", log)  # fmt: skip
    assert told["ok"], told
    pulled = (tmp_path / "pulled.wage").read_bytes()
    core = Core(pulled)
    assert f"{core.weight_crc():08x}" == learned["weight_crc"]
    assert core.weight_crc() != Core((tmp_path / "first.wage").read_bytes()).weight_crc()
    assert info(pulled).extras.names == ("0", "1", "2", "a bell")
    (tmp_path / "first.wage").write_bytes(pulled)
    for ending in FORMATS:
        assert and_back(tmp_path, ending) == pulled, ending

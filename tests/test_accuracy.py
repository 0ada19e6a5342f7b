"""The table of accuracies: its split, its choices, its shards, and the integers' own figures."""

# SPDX-License-Identifier: MIT

import dataclasses
import json
import sys
import types
import zlib
from pathlib import Path

import numpy as np
import pytest
from accuracy import __main__ as command
from accuracy import integer, sets, shards, summary, table
from wage_host import datasets, network

DIGITS = table.TASKS["digits-mlp"]
PARTS = ("train", "validation", "test")
PAPER = table.IntegerSettings("8@0,1@24,1/8@34", "2/8", paper=True, sse=True, batch=32)
CONTINUAL = table.IntegerSettings("2^-3@0,2^-4@4,2^-5@6", "8/16", batch=1)


def pairs(name: str, count: int, tag: int) -> datasets.Arrays:
    """Samples that tell which they are: three bytes, the last one the part's."""
    index = np.arange(count)
    x = np.stack([index // 256, index % 256, np.full(count, tag)], 1).astype(np.uint8)
    return x.reshape(count, 1, 1, 3), (index % 10).astype(np.uint8)


# -- the split -------------------------------------------------------------


def test_split_holds_out_a_tenth_of_train_and_nothing_of_test() -> None:
    split = sets.split("set", pairs("set", 1000, 1), pairs("set", 200, 2))
    assert [len(getattr(split, part)) for part in PARTS] == [900, 100, 200]
    seen = {part: {tuple(x.ravel()) for x in getattr(split, part).x} for part in PARTS}
    assert not seen["train"] & seen["validation"]
    assert len(seen["train"] | seen["validation"]) == 1000
    assert {x[2] for x in seen["train"] | seen["validation"]} == {1}
    assert {x[2] for x in seen["test"]} == {2}
    for part in PARTS:  # labels stay with their samples
        data = getattr(split, part)
        numbers = data.x[:, 0, 0, 0].astype(int) * 256 + data.x[:, 0, 0, 1]
        assert np.array_equal(numbers % 10, data.labels)


def test_split_is_the_one_of_all_recorded_runs() -> None:
    """Another one would mix what was validation with what learns: all runs would be void."""
    for count, crc in ((1438, 0x1FC07F41), (50000, 0x55210AEC), (60000, 0x85918B8D)):
        index = np.arange(count, dtype="<u4")
        x = index.view(np.uint8).reshape(count, 1, 1, 4)
        split = sets.split("set", (x, np.zeros(count, np.uint8)), (x[:1], np.zeros(1, np.uint8)))
        held = split.validation.x.reshape(-1, 4).copy().view("<u4").ravel()
        assert zlib.crc32(held.astype("<u4").tobytes()) == crc


# -- choices ---------------------------------------------------------------


def stub(monkeypatch: pytest.MonkeyPatch, name: str, figure: float = 0.5) -> list[dict]:
    """Puts a trainer in the place of a real one; it notes what it is given."""
    given: list[dict] = []

    def run(task, settings, seed, epochs, train, measured, checkpoint, progress) -> list[dict]:
        given.append({"train": train, "measured": measured, "settings": settings})
        rows = [
            {"epoch": k + 1, "seconds": 2.0, **dict.fromkeys(measured, figure - 0.01 * (k % 2))}
            for k in range(epochs)
        ]
        for k in range(epochs):
            progress(rows[: k + 1])
        return rows

    module = types.ModuleType(f"accuracy.{name}")
    module.run = run
    monkeypatch.setitem(sys.modules, f"accuracy.{name}", module)
    return given


def test_choices_never_see_the_test_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = dataclasses.replace(DIGITS, tries=table.TRIES, tries_epochs=2)
    given = stub(monkeypatch, "twin")
    lines: list[str] = []
    tried = shards.choose(task, "twin", lines.append, results=tmp_path, checkpoints=tmp_path)
    assert [one["rate"] for one in tried] == [try_.rate for try_ in table.TRIES]
    split = sets.load("digits", None)
    for call in given:
        assert call["train"] is split.train
        assert list(call["measured"]) == ["validation"]
        assert call["measured"]["validation"] is split.validation
    assert json.loads((tmp_path / "digits-mlp.twin.tries.json").read_text()) == tried
    assert not any("test" in one for one in tried)
    assert lines[0].startswith("digits-mlp.twin.1: epoch 1 of 2, validation 50.00 %")


def test_what_the_table_says_is_what_validation_chose() -> None:
    for path in sorted(shards.RESULTS.glob("*.tries.json")):
        name, mode = path.name.split(".")[:2]
        tried = json.loads(path.read_text(encoding="utf-8"))
        best = max(tried, key=lambda one: one["validation"])
        settings = shards.Shard(table.TASKS[name], mode, 1).settings
        # runs may be longer than tries, and an integer schedule stretches with the epochs
        same = [key for key in settings if key not in ("epochs", "rates")]
        assert {key: best[key] for key in same} == {key: settings[key] for key in same}, path.name


def test_run_does_not_go_on_from_a_try_of_the_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A try measures no test part, so its checkpoint has no figures of it."""
    entry = dataclasses.replace(
        table.ROWS[0], task="digits-mlp", settings=CONTINUAL, tries=(CONTINUAL,)
    )
    monkeypatch.setattr(shards, "ROWS", (entry,))
    task = dataclasses.replace(DIGITS, epochs=8, tries_epochs=8)
    folders = {"results": tmp_path, "checkpoints": tmp_path}
    (tried,) = shards.choose(task, entry.mode, lambda line: None, **folders)
    found = shards.run(shards.Shard(task, entry.mode, 1), lambda line: None, **folders)
    assert found["validation"] == tried["validation"]
    assert round(359 * found["test"]) == 349


# -- shards ----------------------------------------------------------------


def test_shard_writes_the_last_epoch_and_the_best_one_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = stub(monkeypatch, "twin", 0.75)
    monkeypatch.setattr(shards, "version", lambda name: "1")  # PyTorch need not be there
    shard = shards.Shard(DIGITS, "twin", 1)
    found = shards.run(shard, lambda line: None, results=tmp_path, checkpoints=tmp_path)
    split = sets.load("digits", None)
    assert given[0]["train"] is split.train
    assert given[0]["measured"] == {"validation": split.validation, "test": split.test}
    assert (found["test"], found["best_epoch_by_test"]) == (0.74, {"epoch": 1, "test": 0.75})
    assert found["seconds"] == 20
    assert shards.result(shard, tmp_path) == found
    other = dataclasses.replace(DIGITS, epochs=11)
    assert shards.result(shards.Shard(other, "twin", 1), tmp_path) is None  # settings changed


def test_names_pick_shards_and_long_ones_only_by_name() -> None:
    everything = [shard.name for shard in shards.chosen([])]
    assert len(everything) == len(set(everything))
    assert "mnist-lenet.twin.1" in everything
    assert not any("vgg7" in name or "imagenet" in name for name in everything)
    assert [s.seed for s in shards.chosen(["cifar10-vgg7.paper"])] == [1, 2, 3]
    assert {s.mode for s in shards.chosen(["mnist-lenet.twin"])} == {"twin"}
    assert {s.task.name for s in shards.chosen(["cifar10-vgg"])} == {"cifar10-vgg"}
    assert not shards.chosen(["cifar10"])


def test_nets_are_as_large_as_the_table_says() -> None:
    most = {"fashion-cnn": (100_000, 6_000_000), "cifar10-vgg": (300_000, 25_000_000)}
    for name, (weights, macs) in most.items():
        net = network.parse(table.TASKS[name].net, 1)
        assert sum(layer.weights.size for layer in net.layers) <= weights
        assert sum(at.macs for at in net.places()) <= macs
    for row in table.ROWS:
        task = table.TASKS[row.task]
        if row.settings and row.task != "imagenet-alexnet":
            small = dataclasses.replace(task, net=f"{task.net.split()[0]} 10FC")
            _, how = integer.prepare(small, row.settings, 1, task.epochs)
            assert len(how.rates) == task.epochs
            assert (how.rules.paper, bool(how.augment)) == (row.settings.paper, bool(task.augment))


def test_command_lists_runs_and_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert command.main(["list", "cifar10-vgg7"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == [f"cifar10-vgg7.paper.{s}" for s in (1, 2, 3)]
    assert command.main(["run", "minst"]) == 1
    assert "the table has no minst: see list" in capsys.readouterr().out
    assert command.main(["shard", "cifar10-vgg7.paper.1", "--data", str(tmp_path)]) == 1
    assert "the data set cifar10 is not there: put it into" in capsys.readouterr().out


# -- the summary -----------------------------------------------------------


def results(folder: Path, task: str, mode: str, figures: list[float]) -> None:
    """Files as finished shards leave them."""
    for seed, figure in zip(table.TASKS[task].seeds, figures, strict=False):
        shard = shards.Shard(table.TASKS[task], mode, seed)
        found = {
            "settings": shard.settings,
            "test": figure,
            "best_epoch_by_test": {"epoch": 1, "test": figure + 0.001},
            "seconds": 3600,
            "where": "a machine",
            "epochs": [{}] * 10,
        }
        (folder / f"{shard.name}.json").write_text(json.dumps(found), encoding="utf-8")


def test_summary_has_mean_deviation_twin_and_paired_difference(tmp_path: Path) -> None:
    results(tmp_path, "fashion-mlp", "best", [0.993, 0.994, 0.995, 0.993, 0.995])
    results(tmp_path, "fashion-mlp", "twin", [0.994] * 5)
    docs = tmp_path / "docs"
    rows = summary.write(docs, tmp_path)
    assert json.loads((docs / "accuracy.json").read_text(encoding="utf-8")) == rows
    row = next(row for row in rows if row["task"] == "fashion-mlp")
    keys = "task net mode seeds mean sd best epochs twin_mean where"
    assert [*row][:10] == keys.split()
    assert (row["mean"], row["sd"], row["best"], row["seeds"]) == (99.4, 0.1, 99.5, 5)
    assert (row["twin_mean"], row["paired_difference"]) == (99.4, 0.0)
    assert row["paired_difference_sd"] == 0.1
    assert (row["hours"], row["where"], row["epochs"]) == (5.0, "a machine", 40)
    assert row["met"] == "met, the aim too"
    text = (docs / "accuracy.md").read_text(encoding="utf-8")
    assert "| **99.40 ± 0.10** | 99.50 | 99.40 ± 0.00 | +0.00 ± 0.10 |" in text
    empty = next(row for row in rows if row["task"] == "svhn-vgg7")
    assert (empty["mean"], empty["seeds"], empty["where"]) == (None, 0, None)
    assert empty["met"].startswith("not measured: the data set is not at hand")


@pytest.mark.parametrize(
    "mean, twin, ours, twins, said",
    [
        (None, 92.0, 0, 3, "not measured yet"),
        (91.5, None, 3, 0, "the twin is not measured yet"),
        (91.5, 92.0, 3, 3, "met"),
        (91.0, 91.7, 3, 3, "met"),
        (90.9, 91.0, 3, 3, "not met: 0.10 below"),
        (91.5, 92.5, 3, 3, "not met: 0.30 below"),
        (91.5, 92.0, 1, 3, "met (so far 1 and 3 of 3 seeds)"),
    ],
)
def test_met_says_by_how_much_not(
    mean: float | None, twin: float | None, ours: int, twins: int, said: str
) -> None:
    entry = next(row for row in table.ROWS if row.task == "fashion-cnn")
    assert summary.met(entry, mean, twin, ours, twins) == said


# -- the integers themselves: always the same figures ----------------------


@pytest.mark.parametrize(
    "settings, epochs, expected",
    [
        (PAPER, 40, [(71, 167), (97, 218), (134, 341), (131, 340)]),
        (CONTINUAL, 8, [(132, 334), (137, 335), (138, 348), (139, 349)]),
    ],
    ids=["paper", "continual"],
)
def test_digits_give_these_very_figures(
    settings: table.IntegerSettings, epochs: int, expected: list, tmp_path: Path
) -> None:
    """Known samples, of 144 and 359, after the first two and the last two epochs."""
    split = sets.load("digits", None)
    measured = {"validation": split.validation, "test": split.test}
    heard: list[int] = []
    rows = integer.run(
        dataclasses.replace(DIGITS, epochs=epochs),
        settings,
        1,
        epochs,
        split.train,
        measured,
        tmp_path / "checkpoint",
        lambda rows: heard.append(rows[-1]["epoch"]),
    )
    assert heard == list(range(1, epochs + 1))
    known = [(round(144 * row["validation"]), round(359 * row["test"])) for row in rows]
    assert known[:2] + known[-2:] == expected

"""wage-host convert on models of others: what it says, what it is wished for, what it refuses."""

# SPDX-License-Identifier: MIT

import json
import sys
from pathlib import Path

import numpy as np
import onnx_models
import pytest
from click.testing import CliRunner
from native import ROOT
from test_cli import refused
from test_convert import HERE, LEAST_DB, known
from wage_host import cli, data, network, pack, unpack
from wage_host._core import lib
from wage_host.convert import export, model
from wage_host.core import Config, info
from wage_host.data import Data
from wage_host.errors import WageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files for the command."""
    made = tmp_path_factory.mktemp("convert")
    for name in ("pictures", "sounds"):
        one = known(name)
        data.save(made / f"{name}.npz", one.x, one.labels)
    return made


SOUNDS = (HERE / "sounds.tflite", "--mean", "0.5", "--std", "0.25")


def told(folder: Path, *more: object, samples: str | None = "sounds.npz") -> dict:
    """What the command says of `sounds`, in this process: 30 processes take too long."""
    known = ("--samples", folder / samples) if samples else ()
    source = ("convert", *SOUNDS, *known, "-o", folder / "m.wage")
    arguments = [str(part) for part in (*source, *more, "--json")]
    done = CliRunner().invoke(cli.wage_host, arguments, standalone_mode=False)
    return json.loads(done.stdout.splitlines()[-1])


def convert(folder: Path, *more: object) -> tuple[dict, unpack.Unpacked]:
    """The same, and the model."""
    answer = told(folder, *more)
    assert answer["ok"], answer
    return answer, unpack.unpacked((folder / "m.wage").read_bytes())


def test_command_reports_before_it_writes(folder: Path) -> None:
    said, up = convert(folder, "--eval-data", folder / "sounds.npz")
    assert said["accuracy_float"] == said["accuracy"] == 1.0 and said["judged_by"] == 48
    assert len(said["layers"]) == len(up.network.layers) == 8
    first = said["layers"][0]
    assert first["kind"] == "conv 1x5 relu" and first["output"] == "1x48x24"
    assert first["macs"] == 48 * 24 * 5 * 16 and first["bits"] == "8"
    assert first["sqnr_db"] > LEAST_DB and first["accuracy_to_here"] == 1.0
    assert first["state"] == "frozen" and said["layers"][-1]["state"] == "learns"
    assert "mps2-an386" in said["fits"] and said["flash_bytes"] == 15304


def test_report_for_people_says_how_far_it_is(folder: Path) -> None:
    judged = ("--eval-data", folder / "sounds.npz", "-o", folder / "people.wage")
    source = ("convert", *SOUNDS, "--samples", folder / "sounds.npz", *judged)
    said = CliRunner().invoke(cli.wage_host, [str(part) for part in source]).output
    order = ["quantising layers: 8 of 8", "comparing layers: 8 of 8", "bound     SQNR  to here"]
    order += ["judging samples: 48 of 48", "accuracy: 100.00% in floats", "fits: ", "people.wage: "]
    assert [said.count(part) for part in order] == [1] * len(order), said
    assert sorted(order, key=said.index) == order


@pytest.mark.parametrize(
    ("options", "learn"),
    [((), 1), (("--train-last", 3), 3), (("--train", "all"), 4)],
)
def test_layers_that_learn(options: tuple, learn: int, folder: Path) -> None:
    assert convert(folder, *options)[1].train_last == learn


def test_frozen_until_a_node(folder: Path) -> None:
    said, _ = convert(folder)
    node = said["layers"][2]["node"].split("'")[1]
    assert convert(folder, "--frozen-until", node)[1].train_last == 2
    refusal = told(folder, "--frozen-until", "nothing")
    assert refusal["code"] == 2 and "layers begin at" in refusal["error"]


def test_head_with_room_and_head_begun_anew(folder: Path) -> None:
    _, plain = convert(folder)
    said, up = convert(folder, "--max-classes", 14)
    assert said["accuracy"] == 1.0 and up.network.classes == 14
    kept = up.network.layers[-1].weights[:10]
    np.testing.assert_array_equal(kept, plain.network.layers[-1].weights)
    assert not up.network.layers[-1].weights[10:].any()
    _, fresh = convert(folder, "--fresh-head", "--classes", 3, "--max-classes", 5, "--weights", 2)
    assert fresh.network.classes == 5 and fresh.network.layers[-1].weight_bits == 2
    for options, text in (
        (("--classes", 7), "--fresh-head"),
        (("--max-classes", 7), "less than"),
        (("--max-classes", 256), "2 to 255"),
        (("--train-last", 0), "1 at least"),
        (("--train-last", 9), "1 to 4"),
        (("--train", "all", "--train-last", 1), "exclude"),
        (("--mean", "a"), "numbers"),
        (("--mean", "1,2,3"), "16 channels"),
        (("--std", "0"), "above 0"),
        (("--input-scale", "1/0"), "divided by 0"),
        (("--network", "1x1x4 3FC"), "describe"),
    ):
        refusal = told(folder, *options)
        assert refusal["code"] == 2 and text in refusal["error"], refusal


def test_two_bits_in_the_part_that_learns(folder: Path) -> None:
    _, up = convert(folder, "--weights", 2, "--train-last", 2)
    bits = [layer.weight_bits for layer in up.network.layers if layer.weight_bits]
    assert bits == [8, 8, 2, 2]
    used = up.network.layers[-1].used(False)
    assert set(np.unique(used)) == {-1, 0, 1}


def test_what_is_missing_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = ("-o", folder / "m.wage")
    refusal = told(folder, samples=None)
    assert refusal["code"] == 2 and "--samples" in refusal["error"]
    code, text = refused("convert", "none.onnx", *out, cwd=folder)
    assert code == 15 and "cannot read" in text
    refusal = told(folder, samples="pictures.npz")
    assert refusal["code"] == 10 and "28x28" in refusal["error"]
    (folder / "x.pt").write_bytes(b"PK")
    code, text = refused("convert", "x.pt", *out, cwd=folder)
    assert code in (2, 15)
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(WageError, match=r"pip install 'wage-host\[tflite\]'"):
        model.read(HERE / "sounds.tflite", None, None)


def test_samples_of_any_format_give_names_and_steps_that_exports_keep(tmp_path: Path) -> None:
    maker = onnx_models.Maker((4,))
    maker.dense(3, 4)
    source, first = onnx_models.save(maker.model(), tmp_path), tmp_path / "first.wage"
    known = ("--samples", ROOT / "docs/iris.csv", "--label", "species", "--prepare", "normalise")
    run = CliRunner()

    def do(*arguments: object) -> None:
        done = run.invoke(cli.wage_host, list(map(str, arguments)), standalone_mode=False)
        assert done.exit_code == 0, done.output

    do("convert", source, *known, "--input-scale", "1/128", "-o", first)
    extras = info(first.read_bytes()).extras
    assert extras.names == ("setosa", "versicolor", "virginica")
    assert [step.kind for step in extras.steps] == [lib.WAGE_DECIMALS, lib.WAGE_NORMALISE]
    for ending in (".onnx", ".npz", ".safetensors"):
        do("export", first, "-o", tmp_path / f"out{ending}")
        do("convert", tmp_path / f"out{ending}", "--name", "first", "-o", tmp_path / "again.wage")
        assert (tmp_path / "again.wage").read_bytes() == first.read_bytes()
    do("convert", source, *known, "--input-scale", "1/128", "--fresh-head", "--classes", "2",
       "--max-classes", "5", "-o", first)  # fmt: skip
    assert info(first.read_bytes()).extras.names == ("setosa", "versicolor", "virginica", "", "")


def test_our_own_export_goes_on_with_its_steps_names_and_inputs(tmp_path: Path) -> None:
    first, own, again = tmp_path / "first.wage", tmp_path / "own.onnx", tmp_path / "again.wage"
    maker = onnx_models.Maker((4,))
    maker.dense(3, 4)
    source, iris = onnx_models.save(maker.model(), tmp_path), ROOT / "docs/iris.csv"
    label, scale = ("--label", "species"), ("--input-scale", "1/128")

    def do(*words: object) -> dict:
        done = CliRunner().invoke(
            cli.wage_host, [*map(str, words), "--json"], standalone_mode=False
        )
        return json.loads(done.stdout.splitlines()[-1])

    known = ("--samples", iris, *label)
    judged = do("convert", source, *known, "--prepare", "normalise", *scale, "-o", first)
    assert do("export", first, "-o", own)["ok"]
    out = ("-o", again, "--name", "first")
    for more in (known, ("--eval-data", iris, *label)):
        told = do("convert", own, *more, *out)
        assert again.read_bytes() == first.read_bytes()
        assert told["accuracy"] == judged["accuracy"]
    extras = info(first.read_bytes()).extras
    assert do("convert", own, *known, "--fresh-head", *out)["ok"]
    assert info(again.read_bytes()).extras == extras
    told = do("convert", own, *known, "--prepare", "normalise", *out)
    assert told["code"] == 2 and "carries its own pre-processing" in told["error"]
    for more in (scale, ("--mean", 3), ("--std", 2)):
        told = do("convert", own, *more, *out)
        assert told["code"] == 2 and "leave out --input-scale, --mean and" in told["error"]


@pytest.mark.parametrize("input_map", [0, 1])
def test_our_own_export_with_more_room_takes_the_same_bytes(input_map: int, tmp_path: Path) -> None:
    net = network.parse("8x8x1 6C3 MP2 8FC 3FC", 1, input_map)
    blob = pack.blob(net, "first", Config(1, -5, 2, 2, 0), 2, 0, [])
    (tmp_path / "first.onnx").write_bytes(export.exported(blob, tmp_path / "first.onnx"))
    x = np.random.default_rng(1).integers(0, 256, (200, 8, 8, 1)).astype(np.uint8)
    known = Data("d", x, np.zeros(200, np.int64))
    graph = model.read(tmp_path / "first.onnx", None, None)
    same = model.imported(tmp_path, graph, None, model.Input(), model.Wish())
    more = model.imported(tmp_path, graph, known, model.Input(), model.Wish(room=5))
    assert (more.train_last, more.network.input_map) == (2, input_map)
    half = 0.5 / 128 + 1e-7  # a whole number stands for two bytes, or for the place between two
    for kind, near in ((np.uint8, half), (np.int8, 1e-7)):
        given = x if kind == np.uint8 else (x >> 1).astype(kind)
        other = model.imported(tmp_path, graph, Data("d", given, known.labels), model.Input(),
                               model.Wish(room=5))  # fmt: skip
        assert np.abs(same.exact(given) - other.exact(given)).max() <= near


def test_mean_and_std_count_more_than_the_steps_of_an_int8_file() -> None:
    path, one = HERE / "sounds-int8.tflite", known("sounds-int8")
    graph = model.read(path, None, None)
    for given, mean, std in (
        (model.Input(None, (0.25,), (0.5,)), 0.25, 0.5),
        (model.Input(), 0.5, 0.25),  # with which it was trained
    ):
        found = model.imported(path, graph, one, given, model.Wish()).exact(one.x[:1])
        wanted = (one.x[:1] / 255 - mean) / std
        assert np.abs(found.ravel() - wanted.ravel()).max() < 0.02, given

"""Classes of a board: one more at run time, named and kept; what it took each for; forgetting."""

# SPDX-License-Identifier: MIT

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import test_guard
from blobs import TABLE, patch
from test_board_faults import Faulty
from test_cli import refused, run
from wage_host import data, files, link, sim
from wage_host._core import lib
from wage_host.classes import names_of
from wage_host.core import ClassState, Core, info
from wage_host.device import Device
from wage_host.errors import Refused

SIDE = 6
NETWORK = f"1x1x{SIDE} 12FC 4FC"


def table(path: Path, names: tuple[str, ...], count: int = 40) -> Path:
    """A CSV file of `count` noisy samples of each class; each has a peak of its own."""
    rng = np.random.default_rng(7)
    peaks = {"0": 0, "1": 2, "2": 4, "round": 4}
    rows = ["label," + ",".join(f"v{k}" for k in range(SIDE))]
    for k in range(count):
        name = names[k % len(names)]
        x = rng.integers(0, 60, SIDE)
        x[peaks[name]] += 190
        rows.append(",".join([name, *map(str, x)]))
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def unnamed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a class table, whose classes the blob does not name."""
    where = tmp_path_factory.mktemp("classes")
    known = table(where / "known.csv", ("0", "1"), 80)
    training = ("--free-classes", 2, "--epochs", 6, "-o", "net.npz")
    assert run("train", "--data", known, "--network", NETWORK, *training, cwd=where).returncode == 0
    done = run("convert", "net.npz", "-o", "m.wage", "--replay", 40, "--replay-data", known,
               "--train-last", 2, "--class-table", cwd=where)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return where / "m.wage"


def board(model: Path, where: Path) -> list[object]:
    """Options of a simulated board with a store."""
    return ["--port", "sim", "--model", model, "--store", where / "store"]


def told(*arguments: object, cwd: Path) -> dict:
    """The answer of a command."""
    done = run(*arguments, "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout.splitlines()[-1])


def test_a_class_is_added_learned_kept_and_forgotten(unnamed: Path, tmp_path: Path) -> None:
    port, new = board(unnamed, tmp_path), table(tmp_path / "new.csv", ("round",), 50)
    answer = told("learn", *port, "--data", new, "--new-class", "2=round", "--save-every", 10,
                  cwd=tmp_path)  # fmt: skip
    assert answer["proved"] and answer["samples"] == 50
    shown = told("classes", *port, cwd=tmp_path)["classes"]
    assert [c["name"] for c in shown] == ["0", "1", "round", "3"]
    assert shown[2]["seen"] == shown[2]["total"] == sum(shown[2]["taken_for"]) == 50
    assert shown[2]["taken_for"][2] == shown[2]["correct"] > 25
    assert answer["confusion"][2] == shown[2]["taken_for"]
    # the name is known after power-off, for data that have it
    some = table(tmp_path / "test.csv", ("round", "0", "1"), 60)
    assert told("eval", *port, "--data", some, cwd=tmp_path)["accuracy"] > 0.9
    again = told("learn", *port, "--data", new, "--new-class", "round", cwd=tmp_path)
    assert again["samples"] == 50
    gone = told("forget", *port, "--class", "round", cwd=tmp_path)
    assert gone["forgotten"] == 2 and gone["generation"]
    shown = told("classes", *port, cwd=tmp_path)["classes"]
    assert (shown[2]["name"], shown[2]["total"], shown[2]["stored"]) == ("2", 0, 0)
    store = (tmp_path / "store").read_bytes()
    assert b"round" not in store
    code, line = refused("forget", *port, "--class", "round", cwd=tmp_path)
    assert code == 9 and "'round' is no class of the board" in line


def test_everything_is_forgotten(unnamed: Path, tmp_path: Path) -> None:
    port, new = board(unnamed, tmp_path), table(tmp_path / "new.csv", ("round",), 20)
    told("learn", *port, "--data", new, "--new-class", "3=round", cwd=tmp_path)
    assert told("forget", *port, "--all", cwd=tmp_path)["generation"] == 0
    shown = told("classes", *port, cwd=tmp_path)["classes"]
    assert [c["name"] for c in shown] == ["0", "1", "2", "3"] and not shown[3]["total"]


def test_a_model_with_names_gives_its_first_free_class(tmp_path: Path) -> None:
    states = [ClassState(0, 0, 0, 0, name, ()) for name in ("", "", "new", "")]
    assert names_of(states, ("flat", "steep", "", "")) == ("flat", "steep", "new", "")
    assert names_of(states[:2], ()) == ()


WRONG = {
    "an unknown class": (["forget", "--class", "cat"], 9, "'cat' is no class of the board"),
    "a class beyond the last": (["forget", "--class", "4"], 9, "0 to 3"),
    "nothing": (["forget"], 2, "--class, or --all"),
    "all and one": (["forget", "--all", "--class", "1"], 2, "--class, or --all"),
    "no number": (["learn", "--new-class", "cat"], 2, "--new-class LABEL=cat"),
    "no room": (["learn", "--new-class", "4=cat"], 9, "room for 4 classes, 0 to 3"),
    "a long name": (["learn", "--new-class", "2=a name of 16 byt"], 2, "longer than 15 bytes"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_uses_are_one_line(wrong: str, unnamed: Path, tmp_path: Path) -> None:
    arguments, code, text = WRONG[wrong]
    new = table(tmp_path / "new.csv", ("1",), 4)
    more = ["--data", new] if arguments[0] == "learn" else []
    found, line = refused(*arguments, *more, *board(unnamed, tmp_path), cwd=tmp_path)
    assert found == code and text in line


def test_a_model_without_a_table_says_how_to_get_one(unnamed: Path, tmp_path: Path) -> None:
    where = unnamed.parent
    done = run("convert", "net.npz", "-o", tmp_path / "plain.wage", cwd=where)
    assert done.returncode == 0
    new = table(tmp_path / "new.csv", ("cat",), 0)
    new.write_text("label," + ",".join("abcdef") + "\ncat,1,2,3,4,5,6\n")
    port = ["--port", "sim", "--model", tmp_path / "plain.wage"]
    code, line = refused("learn", *port, "--data", new, "--new-class", "2=cat", cwd=tmp_path)
    assert code == 2 and "--class-table" in line
    for command in (["classes"], ["forget", "--class", "1"]):
        code, line = refused(*command, *port, cwd=tmp_path)
        assert code == 12 and "convert it with --class-table" in line


CONVERT = {
    "zero bytes": (["--replay", "0KB"], 2, "a replay of 0 bytes holds no sample"),
    "too few bytes": (["--replay", "5B"], 15, "one takes 13"),
    "no amount": (["--replay", "many"], 2, "no amount"),
    "inputs of no replay": (["--replay-inputs"], 2, "--replay-inputs is for a replay"),
    "means without samples": (["--class-means"], 2, "--replay-data"),
    "means and a replay": (["--class-means", "--replay", 3], 2, "takes no replay"),
    "means below the head": (
        ["--class-means", "--train-last", 2, "--replay-data", "known.csv"], 15, "--train-last 1"
    ),
    "biases of the paper": (["--bias-only", "--policy", "paper"], 2, "trains no bias"),
}


@pytest.mark.parametrize("wrong", CONVERT)
def test_strategies_that_do_not_go_together(wrong: str, unnamed: Path, tmp_path: Path) -> None:
    arguments, code, text = CONVERT[wrong]
    done = run("convert", "net.npz", "-o", tmp_path / "x.wage", *arguments, cwd=unnamed.parent)
    assert done.returncode == code and text in done.stderr
    assert not (tmp_path / "x.wage").exists()


@pytest.mark.parametrize(
    "options, check",
    [
        (["--replay", "1KB"], lambda a: a["replay_bytes"] == 12),
        (["--replay", "1KB", "--replay-inputs"], lambda a: a["replay_bytes"] == SIDE),
        (["--bias-only", "--train", "all"], lambda a: a["arena_bytes"] < 2000),
        (["--class-means", "--replay-data", "known.csv"], lambda a: a["replay_bytes"] == 12),
    ],
)
def test_strategies_are_converted_and_learn(
    options: list[str], check: Callable[[dict], bool], unnamed: Path, tmp_path: Path
) -> None:
    model, where = tmp_path / "s.wage", unnamed.parent
    answer = told("convert", "net.npz", "-o", model, *options, cwd=where)
    assert check(answer)
    if "1KB" in options:
        held = Core(model.read_bytes()).wage.replay_capacity
        assert held == 1024 // (answer["replay_bytes"] + 1)
    plan = told("plan", "--model", model, "--board", "sim", cwd=tmp_path)
    assert sum(part["bytes"] for part in plan["arena"]) == answer["arena_bytes"]
    port = ["--port", "sim", "--model", model]
    new = table(tmp_path / "new.csv", ("0", "1", "2"), 90)
    test = table(tmp_path / "test.csv", ("0", "1"), 60)
    learned = told("learn", *port, "--data", new, "--eval-data", test, cwd=tmp_path)
    assert learned["proved"] and learned["accuracy_after"] > 0.8


def test_means_begin_with_the_samples(unnamed: Path, tmp_path: Path) -> None:
    where, model = unnamed.parent, tmp_path / "means.wage"
    told("convert", "net.npz", "-o", model, "--class-means", "--replay-data", "known.csv",
         cwd=where)  # fmt: skip
    core, known = Core(model.read_bytes()), data.load(where / "known.csv")
    latents = {0: [], 1: []}
    for x, label in data.samples(known, core.info):
        latents[label].append(np.frombuffer(core.latent(x), np.int8))
    (w,), (bias,) = core.weights(), core.biases()
    for label in (0, 1):
        assert np.abs(w[label] / 256 - np.mean(latents[label], axis=0)).max() < 0.01
    assert bias[2] == bias[3] == -lib.WAGE_BIAS_MAX


def served(model: Path, store: Path | None = None) -> Device:
    """A simulated board."""
    blob = files.read_blob(model)
    connect = link.connector("sim", 115200, lambda: sim.SimBoard(blob, store))
    return Device(connect, deadline_s=5.0)


def test_requests_about_no_class_are_refused(unnamed: Path, tmp_path: Path) -> None:
    with served(unnamed) as device:
        for ask in (device.class_state, device.forget_class):
            with pytest.raises(Refused) as caught:
                ask(4)
            assert (caught.value.name, caught.value.a, caught.value.b) == ("WAGE_E_LABEL", 4, 4)
        with pytest.raises(Refused) as caught:
            device.name_class(1, "a name of 16 byt")
        assert caught.value.name == "WAGE_E_NAME"
        assert device.forget_class(1) == 0  # no store: nothing was saved
        assert info(files.read_blob(unnamed)).crc == device.info.crc
    plain = Faulty(tmp_path, store=None)
    assert plain.do(lib.WAGE_CLASS, label=1) == plain.do(lib.WAGE_FORGET, label=1) == "NAME"


def test_a_store_that_fails_is_told_and_forgets_when_asked_again(tmp_path: Path) -> None:
    blob = patch(test_guard.BLOB, 31, bytes([test_guard.BLOB[31] | TABLE]))
    faulty = Faulty(tmp_path, blob)
    assert [faulty.start(), faulty.do(lib.WAGE_SAVE)] == ["ok", "ok"]
    found = []
    for number in range(9):
        faulty.fail("erase", number)
        found.append(faulty.do(lib.WAGE_FORGET, label=1))
    assert {"ok", "STORE_IO"} == set(found)
    faulty.mend()
    assert faulty.do(lib.WAGE_FORGET, label=1) == "ok"
    slots = [faulty.ask(lib.WAGE_LOOK, faulty.session, slot=k).named() for k in range(3)]
    assert sum(slot.generation > 0 for slot in slots) == 1

"""Every demo on the one flow: honest parts, what it shows, and what stays after power-off."""

# SPDX-License-Identifier: MIT

import dataclasses
import gzip
import json
import re
import sqlite3
import subprocess
from pathlib import Path

import choose_demos
import numpy as np
import pytest
from click.testing import CliRunner
from test_data_readers import wav
from wage_host import boards, budget, data, demo, demos, files, firmware, fit, rates
from wage_host.cli import wage_host
from wage_host.demo import Parts, Recipe

RNG = np.random.default_rng(7)
WAYS = RNG.integers(0, 256, (4, 1, 1, 12))  # what a sample of a class is near to


def samples(seed: int, labels: list[int], shift: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy samples (n, 1, 1, 12) uint8 of classes; a shift makes them a stranger's."""
    noise = np.random.default_rng(seed).integers(-20, 21, (len(labels), 1, 1, 12))
    x = np.clip(np.roll(WAYS[labels], shift, -1) + noise, 0, 255).astype(np.uint8)
    return x, np.array(labels)


def class_parts() -> Parts:
    """Three classes are known, the fourth comes."""
    return Parts(samples(1, [0, 1, 2] * 20), samples(2, [3] * 30), samples(3, [0, 1, 2, 3] * 10))


def group_parts() -> Parts:
    """Somebody is known, a stranger comes, of all classes."""
    known, stranger = samples(4, [0, 1, 2, 3] * 5), samples(5, [0, 1, 2, 3] * 5, 5)
    test = tuple(np.concatenate(pair) for pair in zip(known, stranger, strict=True))
    groups = (("friend", 20), ("stranger", 20))
    return Parts(samples(6, [0, 1, 2, 3] * 20), samples(7, [0, 1, 2, 3] * 10, 5), test, groups)


def small(name: str, parts: object, **more: object) -> Recipe:
    """A demo of seconds."""
    how = dataclasses.replace(demo.TRAINING, rates=rates.halving((1, -3), 8), free_classes=0)
    learning = dataclasses.replace(demo.LEARNING, replays=7)
    fields = {"network": "1x1x12 16FC 4FC", "training": how, "train_last": 2, "replay_bytes": 600}
    return Recipe(name, "old", "new", parts, learning=learning, **fields | more)


def of_class() -> Recipe:
    """The fourth class, whose name is known, is new."""
    how = dataclasses.replace(demo.TRAINING, rates=rates.halving((1, -3), 8), free_classes=1)
    names = ("north", "east", "south", "west")
    return small("class", class_parts, training=how, new_classes=(3,), names=names)


def of_group() -> Recipe:
    """A stranger is new."""
    return small("group", group_parts)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one, with no data sets; the two demos of this file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WAGE_DATA", str(tmp_path))
    for recipe in (of_class(), of_group()):
        monkeypatch.setitem(demos.DEMOS, recipe.name, recipe)
    return tmp_path


def show(*words: object) -> tuple[int, dict]:
    """Exit code and JSON of a demo."""
    command = ["demo", *map(str, words), "--json"]
    done = CliRunner().invoke(wage_host, command, standalone_mode=False)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.return_value, json.loads(done.stdout.splitlines()[-1])


def shares(answer: dict, which: str) -> list[float]:
    """Before, after, and after power-off."""
    return [answer[f"{which}_{when}"] for when in ("before", "after", "powered")]


# -- the flow ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["class", "group"])
def test_simulated_board_learns_what_is_new_and_keeps_it(name: str, here: Path) -> None:
    code, answer = show(name)
    assert code == 0
    before, after, powered = shares(answer, "new")
    assert before < 0.6 and after >= 0.9 and powered == after
    assert min(shares(answer, "old")) >= 0.9
    assert answer["kept"] and answer["place"] == "host"
    assert answer["replay_samples"] == 600 // 13
    for file in ("train.npz", "stream.npz", "test.npz", f"{name}.wage", "picture.svg"):
        assert (here / "demo" / name / file).is_file()
    page = Path(answer["report"]).read_text(encoding="utf-8")
    assert ("By group" in page) == (name == "group")
    assert ("stranger (new)" if name == "group" else "west (new)") in page
    assert show(name)[1]["weight_crc"] == answer["weight_crc"]


def test_shares_are_those_of_the_log(here: Path) -> None:
    _, answer = show("group", "--dir", here / "x")
    with sqlite3.connect(answer["log"]) as log:
        rows = log.execute("SELECT labels, predictions FROM evaluation ORDER BY n").fetchall()
    for when, row in zip(("before", "after"), rows, strict=True):
        labels, predictions = (np.array(json.loads(text)) for text in row)
        right = labels == predictions
        assert answer[f"old_{when}"] == right[:20].mean()
        assert answer[f"new_{when}"] == right[20:].mean()
        assert answer[f"accuracy_{when}"] == right.mean()


@pytest.mark.usefixtures("need_emulator")
@pytest.mark.parametrize("board", ["mps2-an386", "riscv-virt"])
def test_emulated_board_keeps_it_where_it_has_a_store(board: str, here: Path) -> None:
    _, simulated = show("class")
    code, answer = show("class", "--board", board)
    assert code == 0
    assert answer["weight_crc"] == simulated["weight_crc"]
    assert answer["place"] == "emulator" and answer["kept"] == (board == "riscv-virt")
    for which in ("accuracy", "old", "new"):
        before, after, powered = shares(answer, which)
        assert [before, after] == shares(simulated, which)[:2]
        assert powered == (after if answer["kept"] else before)
    text = CliRunner().invoke(wage_host, ["demo", "class", "--board", board]).stdout
    assert ("keeps a checkpoint without power" in text) == (not answer["kept"])


# -- what it refuses -----------------------------------------------------------


def refused(*words: object) -> str:
    """The one line of a demo that is refused."""
    code, answer = show(*words)
    assert code != 0 and "\n" not in answer["error"]
    return answer["error"]


def test_wrong_uses_are_one_line(here: Path) -> None:
    line = "there is no demo 'speech': they are digits, fashion, speak, motion"
    assert refused("speech").startswith(line)
    assert "no board named microbiy: did you mean microbit?" in refused("--board", "microbiy")
    assert "nucleo-f446re has no emulator" in refused("class", "--board", "nucleo-f446re")
    assert not (here / "demo").exists()  # all before anything is trained
    error = refused("digits", "--board", "microbit")
    assert "microbit has" in error and "convert it with" in error
    (here / "file").touch()
    assert "cannot make the folder" in refused("class", "--dir", here / "file")


@pytest.mark.parametrize(
    ("name", "wanted"), [("fashion", "fashion-mnist"), ("speak", "fsdd"), ("motion", "motions")]
)
def test_demo_without_its_data_says_how_to_get_them(
    name: str, wanted: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = data.datasets.KNOWN[wanted]
    inside = tuple(place for place in known.places if not place.startswith("/"))
    monkeypatch.setitem(data.datasets.KNOWN, wanted, dataclasses.replace(known, places=inside))
    error = refused(name)
    assert error.startswith(f"get it with 'wage-host data fetch {wanted}': the data set {wanted} ")
    assert name != "fashion" or "sudo apt install dataset-fashion-mnist" in error
    assert not (here / "demo").exists()


# -- the parts -----------------------------------------------------------------


def rows(arrays: tuple[np.ndarray, np.ndarray]) -> set[bytes]:
    """Each sample as bytes."""
    return {x.tobytes() for x in arrays[0]}


def check_apart(parts: Parts) -> None:
    """No sample is in two parts."""
    three = [rows(arrays) for arrays in (parts.known, parts.stream, parts.test)]
    assert sum(map(len, three)) == len(set().union(*three))
    for (x, _), some in zip((parts.known, parts.stream, parts.test), three, strict=True):
        assert len(x) == len(some)


def test_garments_come_in_parts_that_are_apart(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demos, "KNOWN_GARMENTS", 60)
    monkeypatch.setattr(demos, "NEW_GARMENTS", 5)
    monkeypatch.setattr(demos, "TESTED_GARMENTS", 20)
    (here / "fashion-mnist").mkdir()
    for stem, count in (("train", 200), ("t10k", 40)):
        x = RNG.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        for kind, array in (("images-idx3", x), ("labels-idx1", np.arange(count) % 10)):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(
                n.to_bytes(4, "big") for n in array.shape
            )
            raw = gzip.compress(head + array.astype(np.uint8).tobytes())
            (here / "fashion-mnist" / f"{stem}-{kind}-ubyte.gz").write_bytes(raw)
    parts = demos.garments()
    check_apart(parts)
    assert set(parts.known[1].tolist()) == set(range(8)) and len(parts.known[1]) == 48
    assert parts.stream[1].tolist() == [8, 9] * 5
    assert parts.test[1].tolist() == [*range(10)] * 2


def test_voices_come_in_parts_that_are_apart(here: Path) -> None:
    folder = here / "fsdd" / "recordings"
    folder.mkdir(parents=True)
    names = {}
    for turn, speaker in enumerate(demos.SPEAKERS):
        for digit in range(10):
            for number in (0, 4, 5, 9, 10, 49):
                x = np.array([turn + 1, digit, number] * 5000 if number == 49 else
                             [turn + 1, digit, number])  # fmt: skip
                (folder / f"{digit}_{speaker}_{number}.wav").write_bytes(wav(x))
                names[speaker] = turn + 1
    parts = demos.voices()
    check_apart(parts)
    about = {
        part: getattr(parts, part)[0][:, 0, :3, 0].tolist() for part in ("known", "stream", "test")
    }
    for part, (_, labels) in (("known", parts.known), ("stream", parts.stream),
                              ("test", parts.test)):  # fmt: skip
        assert labels.tolist() == [digit for _, digit, _ in about[part]]
    assert parts.known[0].shape == (4 * 10 * 4, 1, 8000, 1)
    assert about["known"][:5] == [[1, 0, 5], [2, 0, 5], [3, 0, 5], [4, 0, 5], [1, 1, 5]]
    assert {n for _, _, n in about["known"]} == {5, 9, 10, 49}
    assert about["stream"] == [[5, d, n] for n in (5, 9) for d in range(10)]
    assert {n for _, _, n in about["test"]} == {0, 4}
    assert parts.groups == tuple((name, 20) for name in demos.SPEAKERS[:5])
    assert [w for w, _, _ in about["test"]] == [w for w in range(1, 6) for _ in range(20)]
    other = demos.voices("theo")
    assert [name for name, _ in other.groups] == ["jackson", "nicolas", "yweweler", "george",
                                                  "theo"]  # fmt: skip
    assert {x[0, 0, 0] for x in other.stream[0]} == {names["theo"]}
    for file in folder.glob("*_george_*"):
        file.unlink()
    with pytest.raises(data.datasets.DataError, match="has no recordings of george: copy the set"):
        demos.voices()


def test_activities_come_in_parts_that_are_apart(here: Path) -> None:
    (here / "motions").mkdir()
    names = data.datasets.KNOWN["motions"].names
    for part in ("TRAIN", "TEST"):
        lines = [f"@classLabel true {' '.join(names)}", "@data"]
        for label in names * 3:
            channels = [",".join(f"{v:.2f}" for v in RNG.normal(size=100)) for _ in range(6)]
            lines.append(":".join([*channels, label]))
        path = here / "motions" / f"BasicMotions_{part}.ts"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    parts = demos.activities()
    check_apart(parts)
    assert parts.known[1].tolist() == [0, 1, 2] * 3 and parts.stream[1].tolist() == [3] * 3
    code, answer = show("motion")
    assert code == 0 and answer["samples"] == 3 * 5  # windows of a recording


# -- the pages -----------------------------------------------------------------

DOCS = Path(__file__).parents[1] / "docs"
BOARD = "mps2-an386"
RAM = 64 << 10
SETS = {"fashion": "fashion-mnist", "speak": "fsdd", "motion": "motions"}


@pytest.mark.parametrize("name", SETS)
def test_readme_has_the_figures_of_the_page(name: str) -> None:
    page = (DOCS / f"demo-{name}.md").read_text(encoding="utf-8")
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| \[`wage-host demo {name}`\].*$", readme, re.MULTILINE)[0]
    for title in ("old", "new"):
        before, after = re.search(rf"\| {title}[^|]*\| ([\d.]+) % \| \**([\d.]+) %", page).groups()
        assert f"| {before} → {after} |" in row
    assert f"| {re.search('([0-9,]+) bytes of RAM', page)[1]} |" in row
    assert (DOCS / f"demo-{name}.svg").is_file() and f"(demo-{name}.svg)" in page


def need_set(name: str) -> None:
    """Skips where the data of a demo are not there."""
    try:
        data.datasets.find(SETS[name])
    except data.datasets.DataError as error:
        pytest.skip(str(error))


def ram_bytes(model: Path) -> int:
    """All RAM that the image with this model takes: arena, frames, stack, and what is static."""
    blob = files.read_blob(model)
    one = fit.of(budget.read(blob), blob, boards.get(BOARD), 115200, None)
    command = ["arm-none-eabi-size", "-A", firmware.build(BOARD, firmware.Contents(model))]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    static = sum(int(n) for n in re.findall(r"^\.(?:data|bss) +(\d+)", text, re.MULTILINE))
    return one.arena + one.frames + one.stack + static - one.memory


@pytest.mark.soak
@pytest.mark.usefixtures("need_emulator")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", SETS)
def test_page_has_the_figures_of_the_emulated_board(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_set(name)
    monkeypatch.chdir(tmp_path)
    code, answer = show(name, "--board", BOARD)
    assert code == 0
    page = (DOCS / f"demo-{name}.md").read_text(encoding="utf-8")
    for which, title in (("accuracy", "all"), ("old", "old"), ("new", "new")):
        before, after, powered = (f"{100 * share:.1f} %" for share in shares(answer, which))
        row = rf"\| {title}[^|]*\| {before} \| \**{after}\** \| {powered} \| {after} \|"
        assert re.search(row, page), (which, before, after, powered)
    model = tmp_path / "demo" / name / f"{name}.wage"
    facts = [answer["arena_bytes"], ram_bytes(model), answer["replay_samples"], answer["samples"]]
    told = re.search(r"([\d,]+) bytes of arena.*?([\d,]+) bytes of RAM.*?([\d,]+) samples in its "
                     r"replay.*?([\d,]+) samples arrive", " ".join(page.split()))  # fmt: skip
    assert [int(word.replace(",", "")) for word in told.groups()] == facts
    assert answer["weight_crc"] in page
    if name == "speak":
        assert ram_bytes(model) <= RAM
        assert answer["new_after"] - answer["new_before"] >= 0.15
        assert answer["old_before"] - answer["old_after"] <= 0.02
    else:
        assert answer["new_after"] >= 0.8


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", SETS)
def test_page_has_the_figures_of_the_repetitions(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    need_set(name)
    choose_demos.tested(name)
    measured = re.findall(r"(\|(?: [\d.]+ \|){4})$", capsys.readouterr().out, re.MULTILINE)
    page = (DOCS / f"demo-{name}.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| [\w' ]+ (\|(?: [\d.]+ \|){4})$", page, re.MULTILINE) == measured
    assert len(measured) >= 4

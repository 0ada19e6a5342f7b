"""wage-host plan: its arena is the runtime's to the byte, and what it advises fits."""

# SPDX-License-Identifier: MIT

import dataclasses
import json
import re
from pathlib import Path

import pytest
from random_models import random_model
from test_cli import refused, run
from wage_host import boards, budget, demo, fit, network, sim, train
from wage_host._core import lib
from wage_host.core import Config, info
from wage_host.errors import ModelError

HEADER_BYTES, RECORD_BYTES = lib.WAGE_HEADER_BYTES, lib.WAGE_RECORD_BYTES
CONFIG = Config(1, -5, 3, 2, 0)
NETS = (
    "8x8x1 16C3-MP2 32C3-MP2 32FC 10FC",
    "8x8x1 8C3 8C3 +1 DW3 MP2 GAP 10FC",
    "9x9x2 4C3:2 8C3v/2s:2 12FC 3FC",
    "6x6x4 4C3 4C3s +2 16FC 8FC 5FC",
)


def test_arena_is_that_of_the_runtime(seed):
    """Every part by SPEC and arena.c; the sum is what wage_arena_bytes() says."""
    for number in range(600):
        blob = random_model(number if number < 300 else seed + number)
        model = budget.read(blob)
        assert budget.arena_bytes(model) == lib.wage_arena_bytes(blob, len(blob)), number
        layers = sum(layer.flash_bytes for layer in model.layers)
        replay = model.stored * (1 + model.replay_bytes)
        records = HEADER_BYTES + RECORD_BYTES * len(model.layers)
        assert records + layers + replay == len(blob), number


def convert(text: str, last: int, replay: int, bits: tuple[int, int] = (8, 16)) -> bytes:
    """The blob of a fresh network."""
    return train.convert(network.parse(text, 1, bits=bits), "net", CONFIG, last, replay, [])


@pytest.mark.parametrize("text", NETS)
def test_what_would_be_is_what_conversion_gives(text):
    """Another cut, another width, another replay: as calculated, so converted."""
    weighted = len(network.parse(text, 1).weighted)
    for whole in range(weighted, 1, -1):
        try:
            model = budget.read(convert(text, whole, 20))
        except ModelError as error:  # a cut between an add and its skip
            assert "--train-last" in str(error)
            continue
        for last, first in budget.cuts(model):
            blob = convert(text, last, 20)
            assert budget.arena_bytes(budget.with_last(model, first)) == info(blob).arena_bytes
        if ":" not in text:
            narrow = convert(text, whole, 20, bits=(4, 8))
            assert budget.arena_bytes(budget.with_bits(model)) == info(narrow).arena_bytes


@pytest.mark.parametrize("text", NETS)
def test_largest_replay_fits_and_one_more_does_not(text):
    for room in (4000, 9001, 20_002, 77_777):
        model = budget.read(convert(text, 1, 20))
        most = budget.most_replay(model, room)
        assert info(convert(text, 1, most)).arena_bytes <= room
        assert info(convert(text, 1, most + 1)).arena_bytes > room
    assert budget.most_replay(model, 100) is None


@pytest.mark.parametrize("text", NETS)
def test_remedies_fit(text):
    """What is advised is done, and then it fits."""
    last, kinds = len(network.parse(text, 1).weighted), set()
    model = budget.read(convert(text, last, 300))
    for share in (95, 60, 30, 12):
        room = budget.arena_bytes(model) * share // 100
        for advice in budget.remedies(model, room):
            chosen = re.search(r"--train-last (\d+)", advice)
            replay = re.search(r"--replay (\d+)", advice)
            bits = (4, 8) if "--bits" in advice else (8, 16)
            if bits == (4, 8) and ":" in text:
                continue  # that network says its bits itself
            many = int(replay[1]) if replay else 300
            blob = convert(text, int(chosen[1]) if chosen else last, many, bits)
            assert info(blob).arena_bytes <= room, advice
            kinds.add(advice.split(" --")[1].split()[0])
    assert kinds


def test_frames_are_those_of_the_serve_loop(demo_blob):
    blob = demo_blob.read_bytes()
    board = sim.SimBoard(blob, memory_bytes=info(blob).arena_bytes + fit.frames_bytes(blob))
    assert board.serve.model_error == 0
    board = sim.SimBoard(blob, memory_bytes=info(blob).arena_bytes + fit.frames_bytes(blob) - 1)
    assert board.serve.model_error == lib.WAGE_E_ARENA
    assert fit.frames_bytes(blob, bytes(range(32))) > fit.frames_bytes(blob)


def on(board: str, blob: bytes) -> fit.Fit:
    """A model on a board."""
    return fit.of(budget.read(blob), blob, boards.get(board), 115200, None)


def test_what_is_too_large_is_named():
    many = convert(NETS[0], 2, 480)
    (line,) = fit.troubles(budget.read(many), on("microbit", many))
    assert "the largest part is the replay of 480 samples (61,440 bytes)" in line
    assert "convert it with --replay 15" in line
    wide = convert("8x8x1 99FC 10FC", 2, 0)
    (line,) = fit.troubles(budget.read(wide), on("microbit", wide))
    assert "weights of layer 0" in line or "weights, lower bytes of layer 0" in line
    assert "--train-last 1" in line
    flash = convert("28x28x1 256FC 10FC", 1, 0)
    assert any("of flash" in line and "weights of layer 0" in line
               for line in fit.troubles(budget.read(flash), on("microbit", flash)))  # fmt: skip
    board = boards.Board("new", "a new board", "xtensa", 0, 40_000, 90_000, boards.NOT_TRIED)
    guess = fit.of(budget.read(many), many, board, 115200, None)
    assert not guess.measured and guess.memory == 30_000
    assert guess.seconds(guess.learn_instructions) is None
    assert any("about 30,000 bytes" in line for line in fit.troubles(budget.read(many), guess))


def test_plan_for_all_boards(demo_files: demo.Files, tmp_path: Path) -> None:
    plan = run("plan", "--model", demo_files.model, cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr
    assert re.search(r"^microbit +no ", plan.stdout, re.MULTILINE)
    assert re.search(r"^mps2-an386 +yes ", plan.stdout, re.MULTILINE)
    told = json.loads(run("plan", "--model", demo_files.model, "--json", cwd=tmp_path).stdout)
    about = info(demo_files.model.read_bytes())
    assert told["arena_bytes"] == about.arena_bytes == sum(p["bytes"] for p in told["arena"])
    assert [row["board"] for row in told["boards"]] == [b.name for b in boards.every()]
    assert told["flash_bytes"] == demo_files.model.stat().st_size
    assert sum(layer["macs"] for layer in told["layers"]) == 87_360


def test_plan_for_one_board(demo_files: demo.Files, tmp_path: Path) -> None:
    command = ("plan", "--model", demo_files.model, "--board", "microbit")
    text = run(*command, cwd=tmp_path).stdout
    for line in (
        r"flash: [\d,]+ of 180,224 bytes",
        r"RAM: 73,204 of the 13,312 bytes for arena \(72,708\) and frames \(496\)",
        r"replay: 480 samples; 15 would fit",
        r"a sample learned: \d+ ms, [\d,]+ instructions \(estimate from emulators\)",
        r"link: 12 ms for a sample and its answer",
        r"store: 4 slots, 80,000 saves; 2\.2 years with 5000 samples a day and a save every 50",
        r"microbit has 13,312 bytes .* convert it with --replay 15, or",
    ):
        assert re.search(line, text), line
    life = ("--samples-per-day", 500, "--json")
    told = json.loads(run(*command, *life, cwd=tmp_path).stdout)["board"]
    assert not told["fits"] and told["store"]["years"] == pytest.approx(80_000 / 10 / 365.25)
    assert told["troubles"]


def test_plan_of_what_is_not_there(demo_files: demo.Files, tmp_path: Path) -> None:
    assert refused("plan", "--model", "none.wage", cwd=tmp_path)[0] == 15
    code, line = refused("plan", "--model", demo_files.model, "--board", "micobit", cwd=tmp_path)
    assert code == 2
    assert line.startswith("no board named micobit: did you mean microbit?; there are: sim, ")


def test_parts_have_the_layers_that_they_belong_to():
    model = budget.read(convert(NETS[0], 2, 20))
    kept = {part.layer for part in budget.parts(model)} - {None}
    assert kept == {2, 3}
    without = dataclasses.replace(model, capacity=0)
    assert budget.REPLAY not in {part.name for part in budget.parts(without)}

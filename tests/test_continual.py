"""The table of continual learning: its figures, its replay, its runs, its page."""

# SPDX-License-Identifier: MIT

import dataclasses
import json
import math
from pathlib import Path

import emulated
import numpy as np
import pytest
from continual import integer, metrics, page, rates, replay, runs, streams, summary, table
from continual.runs import Run
from continual.table import BENCHMARKS, Strategy, strategies
from scipy import stats
from wage_host import data, emulate, train
from wage_host.core import Core
from wage_host.device import Device
from wage_host.link import connector

DIGITS = BENCHMARKS["split-digits"]
# The same with a frozen front, which a host has trained on two classes.
FRONT = dataclasses.replace(DIGITS, train_last=1, epochs=2, known=200)
BOARD = "mps2-an386"
# Untrained, then after each of three experiences: accuracy on the tests of each.
MATRIX = np.array([[0.1, 0.2, 0.0], [0.9, 0.3, 0.0], [0.7, 0.8, 0.2], [0.5, 0.6, 1.0]])


# -- figures ---------------------------------------------------------------


def test_figures_of_a_matrix_made_by_hand() -> None:
    assert metrics.average_accuracy(MATRIX, [10, 10, 20]) == pytest.approx((5 + 6 + 20) / 40)
    assert metrics.forgetting(MATRIX) == pytest.approx(((0.9 - 0.5) + (0.8 - 0.6)) / 2)
    assert metrics.forward_transfer(MATRIX) == pytest.approx(((0.3 - 0.2) + (0.2 - 0.0)) / 2)


@pytest.mark.parametrize("count", range(2, 2 + len(metrics.STUDENT_95)))
def test_interval_is_that_of_a_paired_t_test(count: int) -> None:
    ours, twins = np.random.default_rng(count).normal(90, 1, (2, count))
    found = stats.ttest_rel(ours, twins).confidence_interval(0.95)
    mean, half = metrics.interval_95(list(ours - twins))
    assert (mean - half, mean + half) == pytest.approx((found.low, found.high), abs=1e-4)


def test_interval_of_one_seed_is_none() -> None:
    assert metrics.interval_95([-0.5]) == (-0.5, None)


# -- streams ---------------------------------------------------------------


def test_stream_has_each_class_once_and_no_test_sample() -> None:
    found = streams.stream(DIGITS, 1)
    assert [sorted(set(e.learn.labels.tolist())) for e in found] == [
        [k, k + 1] for k in range(0, 10, 2)
    ]
    assert [set(e.test.labels.tolist()) for e in found] == [{k, k + 1} for k in range(0, 10, 2)]
    seen = {x.tobytes() for e in found for x in e.learn.x}
    assert not seen & {x.tobytes() for e in found for x in e.test.x}
    held = streams.stream(DIGITS, 1, "validation")
    assert not seen & {x.tobytes() for e in held for x in e.test.x}


def test_stream_follows_from_its_seed() -> None:
    crc = [[e.learn.crc() for e in streams.stream(DIGITS, seed)] for seed in (1, 1, 2)]
    assert crc[0] == crc[1] != crc[2]


# -- the replay of a twin --------------------------------------------------


@pytest.mark.parametrize("known", [0, 12])
def test_plan_is_what_the_runtime_replays(known: int) -> None:
    """Its samples learned one by one give the weights of a board that chose them itself."""
    learning = table.LEARNING
    capacity, seed = 20, 3
    stream = streams.stream(DIGITS, seed)
    parts = [e.learn for e in stream[:3]]
    x, labels = (np.concatenate([getattr(p, name) for p in parts]) for name in ("x", "labels"))
    net, _ = integer.begun(DIGITS, seed, parts[0], Path())
    before = data.Data("known", x[:known], labels[:known]) if known else None
    blob, config = integer.blob(net, DIGITS, learning, Strategy("r", capacity), seed, before)
    board, other = Core(blob), Core(blob)
    for core in (board, other):
        core.start(1, config)
    filled = train.balanced(list(enumerate(labels[:known].tolist())), capacity)
    x = np.concatenate([x[[k for k, _ in filled]], x[known:]])
    labels = np.concatenate([labels[[k for k, _ in filled]], labels[known:]])
    samples = data.samples(data.Data("new", x, labels), board.info)
    for _ in board.learn(samples[known:]):
        pass
    again = replay.plan(
        labels[:known], labels[known:], DIGITS.classes, capacity, learning.replays, seed
    )
    for number, old in enumerate(again, known):
        for index in (number, *old):
            other.train(samples[index][0][None], labels[index : index + 1])
    assert board.weight_crc() == other.weight_crc()


def test_twin_keeps_half_as_many_latents_in_the_same_bytes() -> None:
    same, fewer = Strategy("twin", 100, twin=True), Strategy("b", 100, twin=True, same_bytes=True)
    assert replay.kept(same, 1024, False) == (100, 100 * 1025)
    assert replay.kept(same, 1024, True) == (100, 100 * 2049)
    assert replay.kept(fewer, 1024, True) == (50, 50 * 2049)
    assert 50 * 2049 <= 100 * 1025 < 51 * 2049


def test_twin_keeps_int8_latents_within_half_a_unit() -> None:
    torch = pytest.importorskip("torch")
    from continual.twin import rounded

    latents = torch.tensor([[0.0, 0.013, 1.3], [0.5, 0.26, 3.0]])
    found = rounded(latents, 8, 1)  # the largest of the first one is 1.3: a unit of 1/64
    assert found.tolist() == [[0, 1 / 64, 83 / 64], [0.5, 17 / 64, 127 / 64]]
    assert (rounded(latents, 16, 1) == latents.half().float()).all()
    kept = [replay.kept(Strategy("t", 10, latent_bits=bits), 32, True) for bits in (8, 16)]
    assert kept == [(10, 10 * 33), (10, 10 * 65)]


# -- rates -----------------------------------------------------------------


def test_rehearsal_keeps_its_class_and_what_is_held_out_apart() -> None:
    known = streams.stream(FRONT, 1)[0].learn
    found = rates.rehearsal(FRONT, known, 1)
    assert set(found.old.labels.tolist()) == {0}
    assert set(found.new.labels.tolist()) == {1}
    assert set(found.held.labels.tolist()) == {0, 1}
    seen = {x.tobytes() for part in (found.old, found.new) for x in part.x}
    assert not seen & {x.tobytes() for x in found.held.x}
    assert len(found.old) + len(found.new) + len(found.held) == len(known) == 200


def test_highest_of_the_best_rates_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "some.rates"
    shares = {-4: 0.7, -5: 0.9, -6: 0.9, -7: 0.8}
    assert rates.best(path, list(shares), shares.__getitem__) == -5
    assert rates.best(path, list(shares), lambda rate: pytest.fail("was kept")) == -5


# -- runs ------------------------------------------------------------------


def test_run_gives_the_same_bits_again_and_learns(tmp_path: Path) -> None:
    run = Run(DIGITS, strategies(DIGITS)[2], 1)
    first, again = (runs.do(run, tmp_path / name, tmp_path) for name in "ab")
    same = ("weight_crc", "matrix", "average_accuracy")
    assert [first[key] for key in same] == [again[key] for key in same]
    naive = runs.do(Run(DIGITS, Strategy("naive"), 1), tmp_path, tmp_path)
    assert naive["average_accuracy"] < 0.3 < 0.7 < first["average_accuracy"]
    assert naive["matrix"][0] == first["matrix"][0]
    assert naive["replay_bytes"] == 0 < first["replay_bytes"]
    assert runs.result(run, tmp_path / "a") == first
    other = dataclasses.replace(run, how=dataclasses.replace(table.LEARNING, lr_shift=-1))
    assert runs.result(other, tmp_path / "a") is None  # settings changed


def test_twin_learns_the_same_stream(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    found = runs.do(Run(DIGITS, Strategy("twin", 50, twin=True), 1), tmp_path, tmp_path)
    matrix = np.array(found["matrix"])
    assert matrix.shape == (6, 5)
    assert (np.diagonal(matrix[1:]) > 0.8).all()  # what has just been learned is known
    assert found["average_accuracy"] > 0.7
    assert (found["replay_samples"], found["replay_bytes"]) == (50, 50 * 65)


def test_each_strategy_changes_what_it_says(tmp_path: Path) -> None:
    """Behind a frozen front: what the replay keeps, and whether weights and biases learn."""
    stream = streams.stream(FRONT, 1)
    known, new = stream[0].learn, stream[1].learn
    net, _ = integer.begun(FRONT, 1, known, tmp_path)
    found = {}
    for one in strategies(FRONT):
        if not (one.twin or one.joint):
            core = integer.started(*integer.blob(net, FRONT, table.LEARNING, one, 1, known))
            parts = [(core.weights()[0].copy(), core.biases()[0])]
            for _ in core.learn(data.samples(new, core.info)):
                pass
            parts.append((core.weights()[0], core.biases()[0]))
            changes = tuple(not np.array_equal(*pair) for pair in zip(*parts, strict=True))
            kept = integer.capacity(net, FRONT, one), core.info.replay_bytes
            found[one.name] = (*kept, *changes)
    assert found == {
        "naive": (0, 32, True, False),
        "replay-20": (20, 32, True, False),
        "replay-50": (50, 32, True, False),
        "replay-100": (100, 32, True, False),
        "inputs": (50 * 33 // 65, 64, True, False),
        "head-50": (50, 32, True, False),
        "biases": (50, 32, False, True),
        "means": (0, 32, True, True),
    }


def test_strategies_behind_a_frozen_front(tmp_path: Path) -> None:
    """Their rate is that of rehearsal; inputs and means know of all classes in the end."""
    names = ("naive", "inputs", "biases", "means")
    found = {
        one.name: runs.do(Run(FRONT, one, 1), tmp_path, tmp_path)
        for one in strategies(FRONT)
        if one.name in names
    }
    assert len({one["rate"] for one in found.values()}) == 1
    halves = range(table.HALVINGS + 1)
    assert found["naive"]["rate"] in [f"2^{table.LEARNING.lr_shift - k}" for k in halves]
    right = {name: one["average_accuracy"] for name, one in found.items()}
    assert max(right["naive"], right["biases"]) < 0.3 < 0.4 < min(right["inputs"], right["means"])
    assert found["inputs"]["replay_samples"] == 25


def test_choices_never_see_the_test_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are tried with the first seed, what is close to the best with the others, too."""
    asked = []

    def measure(run: Run, measured: str, folder: Path) -> dict[str, float]:
        asked.append((run.learning.lr_shift, run.seed, measured, run.benchmark.samples))
        score = {-4: 0.9, -5: 0.896, -6: 0.89}[run.learning.lr_shift]
        return {"average_accuracy": score if run.seed == 1 else 1.7 - score}

    monkeypatch.setattr(runs, "measure", measure)
    tries = [table.Learning(lr, 2, 3) for lr in (-4, -5, -6)]
    monkeypatch.setitem(table.CHOICES, "integer", (tries, ("split-digits",), tries[1]))
    for _ in range(2):  # nothing is left to try the second time
        runs.choose("integer", lambda line: None, tmp_path, tmp_path)
    assert {ask[2:] for ask in asked} == {("validation", table.TRY_SAMPLES)}
    first = [(-4, 1), (-5, 1), (-6, 1)]
    assert [ask[:2] for ask in asked] == [*first, (-4, 2), (-4, 3), (-5, 2), (-5, 3)]
    tried = json.loads((tmp_path / "integer.tries.json").read_text(encoding="utf-8"))
    assert [one["split-digits"] for one in tried] == [
        [0.9, 0.8, 0.8],
        [0.896, 0.804, 0.804],
        [0.89],
    ]
    assert runs.best(tried, ["split-digits"]) == dataclasses.asdict(tries[1])


def test_what_the_table_says_is_what_validation_chose() -> None:
    for kind, (tries, names, used) in table.CHOICES.items():
        path = runs.RESULTS / f"{kind}.tries.json"
        tried = json.loads(path.read_text(encoding="utf-8"))
        assert len(tried) == len(tries), kind
        for one in tried:
            assert one["nets"] == [BENCHMARKS[name].net for name in names], kind
            mean = np.mean([one[name] for name in names])
            assert math.isclose(one["score"], mean, abs_tol=1e-6), kind
        assert runs.best(tried, names) == dataclasses.asdict(used), kind


def test_host_and_emulated_board_learn_the_same_bits(tmp_path: Path) -> None:
    """A stream of the table, shortened, sample by sample over the link."""
    stream = streams.stream(dataclasses.replace(DIGITS, samples=10), 1)
    net, _ = integer.begun(DIGITS, 1, stream[0].learn, tmp_path)
    strategy = Strategy("replay", DIGITS.budgets[0])
    blob, config = integer.blob(net, DIGITS, table.LEARNING, strategy, 1, None)
    model = tmp_path / "model.wage"
    model.write_bytes(blob)
    image = emulated.image(BOARD, model)
    core = Core(blob)
    samples = [s for e in stream for s in data.samples(e.learn, core.info)]
    core.start(1, config)
    expected = list(core.learn(samples))
    with emulate.running(BOARD, image) as url, Device(connector(url, 115200, None)) as board:
        board.start(1, config)
        records = list(board.learn(samples))
        found = board.stats()
    assert [r.prediction for r in records] == [r.prediction for r in expected]
    assert (found.weight_crc, found.state_crc) == (core.weight_crc(), core.state_crc())


# -- the page --------------------------------------------------------------


def made(
    accuracies: dict[str, list[float]], folder: Path, benchmark: table.Benchmark = DIGITS
) -> None:
    """Files of finished runs of a benchmark, with these average accuracies by seed."""
    for strategy in strategies(benchmark):
        for seed, average in enumerate(accuracies.get(strategy.name, ()), 1):
            run = Run(benchmark, strategy, seed)
            found = {
                "settings": run.settings,
                "average_accuracy": average,
                "tests": [10] * 5,
                "rate": f"2^-{3 + seed}",
                "replay_samples": strategy.replay,
                "replay_bytes": 65 * strategy.replay,
                "matrix": [[average] * 5] * 6,
            }
            runs.write(folder / f"{run.name}.json", found)


def test_rows_are_means_and_paired_differences(tmp_path: Path) -> None:
    middle = f"replay-{DIGITS.budgets[1]}"
    made({middle: [0.9, 0.8, 0.91], "twin": [0.89, 0.82], "naive": [0.2]}, tmp_path)
    rows = {row["strategy"]: row for row in summary.all_rows(tmp_path)}
    assert list(rows) == ["naive", middle, "twin"]
    row = rows[middle]
    assert (row["average_accuracy"], row["seeds"], row["seeds_wanted"]) == (87.0, 3, 5)
    assert row["sd"] == 6.08
    assert (row["twin"], row["twin_difference"], row["twin_seeds"]) == (85.5, -0.5, 2)
    assert row["twin_95"] == pytest.approx(12.7062 * 1.5, abs=0.01)
    assert rows["naive"]["sd"] is None
    text = page.text(list(rows.values()), tmp_path)
    assert "- split-mnist: nothing\n" in text
    assert "**87.00 ± 6.08** | 85.50 | -0.50 ± 19.06 |" in text
    assert f"naive 1 of 5, replay-20 0 of 5, {middle} 3 of 5, " in text


@pytest.mark.parametrize(("average", "word"), [(0.79, "not met"), (0.801, "met")])
def test_page_says_what_is_not_reached(tmp_path: Path, average: float, word: str) -> None:
    middle = f"replay-{DIGITS.budgets[1]}"
    made({middle: [average] * 5, "twin": [0.81] * 5}, tmp_path)
    row = next(row for row in summary.all_rows(tmp_path) if row["strategy"] == middle)
    assert summary.verdicts(DIGITS, row) == f"≥ twin − 1.0: {word}"
    few = summary.verdicts(DIGITS, row | {"twin_seeds": 3})
    assert few == f"≥ twin − 1.0: {word} (so far 3 seeds)"
    floor = dataclasses.replace(DIGITS, floor=80.0)
    short = "met" if average > 0.8 else "not met, 1.00 below"
    assert summary.verdicts(floor, row).startswith(f"≥ 80 %: {short};")


@pytest.mark.parametrize(
    ("inputs", "int8", "words"),
    [
        (0.7999, 0.7981, "≥ inputs: met; ≥ float16 − 0.3: met"),
        (0.8001, 0.7969, "≥ inputs: not met; ≥ float16 − 0.3: not met"),
    ],
)
def test_latents_stand_beside_inputs_and_fewer_bits(
    tmp_path: Path, inputs: float, int8: float, words: str
) -> None:
    front = BENCHMARKS["split-fashion-front"]
    middle = f"replay-{front.budgets[1]}"
    shares = {middle: 0.8, "inputs": inputs, "twin": 0.8, "twin-int8": int8, "twin-bytes": 0.8}
    made({name: [share] * 5 for name, share in shares.items()}, tmp_path, front)
    rows = summary.all_rows(tmp_path)
    row = next(row for row in rows if row["strategy"] == middle)
    assert row["inputs_difference"] == pytest.approx(100 * (0.8 - inputs), abs=0.006)
    assert row["int8_difference"] == pytest.approx(100 * (int8 - 0.8), abs=0.006)
    assert (row["inputs"], row["int8"]) == (round(100 * inputs, 2), round(100 * int8, 2))
    assert summary.verdicts_of_latents(front, row) == words
    text = page.text(rows, tmp_path)
    assert f"| {words} |" in text
    assert "by seed: integers 2^-4, 2^-5, 2^-6, 2^-7, 2^-8; twin 2^-4, " in text


def test_documents_are_made_of_the_runs(tmp_path: Path) -> None:
    page.write(tmp_path)
    for name in ("continual.json", "continual.md"):
        found = (page.DOCS / name).read_text(encoding="utf-8")
        assert (tmp_path / name).read_text(encoding="utf-8") == found
    for picture in (tmp_path / "continual").glob("*.svg"):
        assert picture.read_bytes() == (page.DOCS / "continual" / picture.name).read_bytes()

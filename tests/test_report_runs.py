"""Reports of several runs, of experiences, and of long runs."""

# SPDX-License-Identifier: MIT

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import power_rows
import pytest
from test_cli import run
from test_report import EVIL, NBSP, check_page, check_svg, learn
from wage_host.core import Record
from wage_host.errors import LogError
from wage_host.log import Log
from wage_host.report import compare, gather, learning, report, story

GROUPS = [["ann", 4], ["bob", 2], ["cho", 4]]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """An empty log."""
    with Log(tmp_path / "a.sqlite") as log:
        yield log


def shown(log: Log, *runs: int) -> str:
    """The text of a report."""
    return check_page(report(log, runs)).text.replace(NBSP, " ")


def ended(log: Log, right: int, **more: object) -> int:
    """A run that answers so many of ten test samples right in the end."""
    run = log.begin("wage-host learn", {"classes": 2, "board": "b", "place": "host"} | more)
    labels = np.arange(10) % 2
    for when, good in (("before", 5), ("after", right)):
        answers = np.where(np.arange(10) < good, labels, 1 - labels)
        log.evaluation(run, when, 0, labels, answers, "host")
    log.end(run, "done", {})
    return run


def test_several_runs_are_compared_in_one_page(log: Log) -> None:
    runs = [ended(log, right, seed=seed, stream=right, port=f"p{right}")
            for right, seed in ((9, 1), (7, 2), (8, 1))]  # fmt: skip
    text = shown(log, *runs)
    assert "Of 3 runs, run 1 ended best: accuracy 90.0 %; the lowest is 70.0 %" in text
    assert "They differ in seed." in text  # stream and port differ by themselves
    assert "run 250.0 %70.0 %" in text
    assert "seed121" in text
    assert "Run 3 Accuracy on all 2 classes went from 50.0 % to 80.0 %" in text
    page = report(log, runs)
    assert "run 1: 50.0 → 90.0; run 2: 50.0 → 70.0; run 3: 50.0 → 80.0." in page
    assert page.count("<h1>") == 1


def test_runs_that_share_the_best_are_all_named(log: Log) -> None:
    runs = [ended(log, 9), ended(log, 7), ended(log, 9)]
    assert "Of 3 runs, runs 1 and 3 ended best" in shown(log, *runs)
    assert "All 2 runs ended at an accuracy of 90.0 %" in shown(log, 1, 3)
    assert "They are alike." in shown(log, 1, 3)


def test_runs_with_different_tests_or_places_are_not_ranked(log: Log) -> None:
    one, other = ended(log, 9), learn(log)
    text = shown(log, one, other)
    assert "2 runs beside each other" in text
    assert "Not all runs were tested on the same samples" in text
    assert "Not all runs were measured at the same kind of place" in text
    assert "ended best" not in text


def test_energies_of_runs_stand_beside_each_other_with_their_kind(log: Log) -> None:
    runs = [learn(log, state="live") for _ in range(3)]
    power_rows.measured(log, runs[0])
    power_rows.energies(log, runs[1], [("sample", 1e-3, None, "estimate", "so many cycles")])
    page = report(log, runs).replace(NBSP, " ")
    for number, energy in enumerate(("2.03 mJ", "1 mJ (estimate)", "–"), 1):
        row = page[page.index(f'<th scope="row">run {number}</th>'):].partition("</tr>")[0]
        assert f">{energy}</td>" in row


@pytest.mark.parametrize("count", [2, 26])
def test_any_runs_make_a_whole_page(log: Log, count: int) -> None:
    kinds = [{}, {"samples": 0}, {"tests": 0}, {"samples": 0, "tests": 0}, {"board": EVIL}]
    runs = [learn(log, **kinds[i % len(kinds)]) for i in range(count)]
    page = check_page(report(log, runs))
    assert "nan" not in page.text
    assert ("Shown are the first 15 runs." in page.text) == (count == 26)


def test_labels_of_curves_do_not_cover_each_other() -> None:
    heights = (200.0, 30.0, 31.0, 199.0, 219.0, 220.0)
    labels = [(y, f"run {i}", "old") for i, y in enumerate(heights)]
    placed = compare.apart(labels, 30.0, 220.0)
    heights = [y for y, _, _ in placed]
    assert [name for _, name, _ in placed] == ["run 1", "run 2", "run 3", "run 0", "run 4", "run 5"]
    assert min(np.diff(heights)) >= compare.LABEL
    assert heights[0] == 30.0
    assert heights[-1] <= 220.0 + compare.LABEL


def learn_groups(log: Log) -> int:
    """Three people are learned one after another; what was known of the first is lost by half."""
    run = log.begin("learn", {"classes": 2, "groups": GROUPS, "place": "host"})
    right = {"before": (1, 0, 1), "after ann": (4, 0, 1), "after bob": (3, 2, 1),
             "after cho": (2, 1, 4)}  # fmt: skip
    labels = np.zeros(10, int)
    for number, (when, counts) in enumerate(right.items()):
        answers = np.concatenate([np.arange(size) >= good for good, (_, size)
                                  in zip(counts, GROUPS, strict=True)])  # fmt: skip
        log.evaluation(run, when, 10 * number, labels, answers, "host")
    log.end(run, "done", {})
    return run


def test_accuracy_matrix_and_forgetting(log: Log) -> None:
    run = learn_groups(log)
    table = story.matrix(gather(log, run))
    assert table.experiences == ["ann", "bob", "cho"]
    assert table.rows == ["before", "after ann", "after bob", "after cho"]
    assert table.shares.tolist() == [[0.25, 0, 0.25], [1, 0, 0.25], [0.75, 1, 0.25], [0.5, 0.5, 1]]
    assert table.learned == [1, 2, 3]
    assert table.forgetting == 0.5  # ann 1 to 0.5, bob 1 to 0.5
    text = shown(log, run)
    assert "Average accuracy in the end: 66.7 %." in text
    assert "+50.0 points on average (backward transfer −50.0)" in text
    assert "not at the end" not in text
    assert "ann: 25 → 50; bob: 0 → 50; cho: 25 → 100." in report(log, [run])  # none is the new one
    root = check_svg(learning.matrix(table))
    frames = [e for e in root.iter("rect") if e.attrib["fill"] == "none"]
    corner = float(frames[0].attrib["x"]), float(frames[0].attrib["y"])
    wide, high = (float(frames[1].attrib[k]) - at for k, at in zip("xy", corner, strict=True))
    assert len(frames) == 3
    assert corner[1] == 4 + learning.CELL  # ann, in the second row
    assert (wide, high) == (84.0, learning.CELL)  # bob, one to the right and below
    assert [e.text for e in root.iter("text")].count("50") == 2


def test_matrix_leaves_out_evaluations_of_other_samples(log: Log) -> None:
    run = learn_groups(log)
    other = log.begin("learn", {"classes": 2, "groups": GROUPS})
    for e in log.evaluations(run):
        log.evaluation(other, e["when"], 0, e["labels"], e["predictions"], "host")
        log.evaluation(other, "quick", 0, 1 - e["labels"], e["predictions"], "host")
    last = log.evaluations(run)[-1]
    log.evaluation(other, "end", 0, last["labels"], last["predictions"], "host")
    table = story.matrix(gather(log, other))
    assert table.rows == ["before", "after ann", "after bob", "after cho", "end"]


def test_known_groups_are_learned_from_the_start(log: Log) -> None:
    """As in the demos: what is new comes last, all others are known before."""
    run = log.begin("learn", {"classes": 2, "groups": GROUPS, "place": "host"})
    for when, wrong in (("before", [8, 9]), ("after", [0, 9])):
        answers = np.isin(np.arange(10), wrong).astype(int)
        log.evaluation(run, when, 0, np.zeros(10, int), answers, "host")
    table = story.matrix(gather(log, run))
    assert table.learned == [0, 0, 1]
    assert table.forgetting == (0.25 + 0) / 2


def test_long_matrix_shows_the_newest_rows() -> None:
    many = story.Matrix([f"person {k}" for k in range(40)], [f"e {r}" for r in range(200)],
                        np.full((200, 40), 0.5), [0] * 39 + [199])  # fmt: skip
    root = check_svg(learning.matrix(many))
    texts = [e.text for e in root.iter("text")]
    assert "e 199" in texts
    assert f"e {199 - learning.ROWS}" not in texts


def test_evaluations_are_diamonds_in_the_curve(log: Log) -> None:
    run = learn(log, classes=4, samples=100, tests=40)
    page = report(log, [run])
    assert page.count('fill="var(--paper)" stroke="var(--ink)"') == 3  # one in the legend
    assert "Diamonds are evaluations on test samples" in page
    assert "Diamonds" not in report(log, [learn(log, tests=0)])


def test_what_the_board_counted_while_learning_is_a_matrix(log: Log) -> None:
    run = log.begin("learn", {"classes": 3, "place": "board"})
    log.end(run, "done", {"confusion": [[5, 1, 0], [0, 0, 0], [0, 2, 30]]})
    page = report(log, [run])
    assert "What was taken for what, while learning" in page
    assert "35 of 38 samples lie on the diagonal." in page
    assert "as counted on the board" in page
    strange = log.begin("learn", {"classes": 3})
    log.end(strange, "done", {"confusion": [[5, 1]]})
    assert "while learning</h3>" not in report(log, [strange])


def test_command_takes_several_runs(log: Log, tmp_path: Path) -> None:
    runs = [learn(log), learn(log)]
    log.flush()
    done = run("report", "2", "1", "2", "--log", "a.sqlite", cwd=tmp_path)
    assert done.returncode == 0
    assert "runs 2, 1: run-2-1.html" in done.stdout
    text = check_page((tmp_path / "run-2-1.html").read_text(encoding="utf-8")).text
    assert text.index("Run 2") < text.index("Run 1")
    assert runs == [1, 2]
    with pytest.raises(LogError, match="there is no run 7"):
        report(log, [1, 7])


def long_run(log: Log, samples: int) -> int:
    """A run of so many samples, with evaluations, power and gaps."""
    rng = np.random.default_rng(0)
    run = log.begin("learn", {"classes": 10, "place": "board", "new_classes": [8, 9]})
    labels = rng.integers(10, size=samples)
    answers = np.where(rng.random(samples) < 0.8, labels, 9 - labels)
    for number, (label, answer) in enumerate(zip(labels.tolist(), answers.tolist(), strict=True)):
        log.record(run, Record(number + 1, label, answer, 8000, False, False, 900))
    tests = np.arange(10_000) % 10
    for number in range(11):
        log.evaluation(run, "later" if number else "before", number * samples // 10, tests,
                       np.roll(tests, number), "board")  # fmt: skip
    power_rows.measured(log, run, (power_rows.LOST, power_rows.UNPLUGGED), parts=20_000)
    log.end(run, "done", {})
    return run


@pytest.mark.parametrize("samples", [
    50_000, pytest.param(1_000_000, marks=pytest.mark.soak)])  # fmt: skip
def test_report_of_a_long_run_is_quick_and_small(tmp_path: Path, samples: int) -> None:
    with Log(tmp_path / "log") as log:
        run = long_run(log, samples)
    with Log(tmp_path / "log") as log:
        begin = time.perf_counter()
        page = report(log, [run])
        took_s = time.perf_counter() - begin
    assert took_s < 20
    assert len(page.encode()) < 5e6
    assert f"{samples:,}" in check_page(page).text


def test_a_run_whose_process_is_gone_was_cut_off(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = learn(log, state="live")
    monkeypatch.setattr("wage_host.log.CUT_OFF_S", -1.0)
    assert "This run was cut off, and never ended. Shown is what came until 20" in shown(log, run)


def test_a_run_of_nothing_is_not_said_to_be_tested(log: Log) -> None:
    text = shown(log, learn(log, samples=0, tests=0))
    assert "The board microbit learned nothing in this run." in text
    assert "was tested" not in text
    assert "was tested; it learned nothing" in shown(log, learn(log, samples=0))

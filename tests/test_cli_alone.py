"""Commands for boards that are left alone: guard, checkpoints, keys."""

# SPDX-License-Identifier: MIT

import json
from pathlib import Path

import numpy as np
import pytest
from test_cli import Emulated, learn, refused, run
from wage_host import demo


def test_guard_and_checkpoints(demo_files: demo.Files, tmp_path: Path) -> None:
    """What the README says of a board that is left alone."""
    board = ["--port", "sim", "--model", demo_files.model, "--store", tmp_path / "store"]

    def ask(*arguments: object) -> dict:
        return json.loads(run(*arguments, "--json", cwd=tmp_path).stdout)

    guarded = ["--save-every", 50, "--guard", demo_files.test]
    learned = ask("learn", *board, "--data", demo_files.stream, *guarded)
    assert learned["ok"] and learned["proved"] and learned["guard_count"] == 359
    assert 0.9 * 359 < learned["guard_score"] <= 359
    shown = ask("persist", "show", *board)
    there = [slot["generation"] for slot in shown["slots"]]
    newest = learned["generation"]
    assert newest == shown["generation"] == shown["wear"]
    assert sorted(there)[1:] == [newest - 1, newest]  # the oldest may be erased ahead
    scores = {slot["generation"]: slot["score"] for slot in shown["slots"]}
    assert scores[newest] == learned["guard_score"]
    back = ask("persist", "rollback", *board)
    assert (back["from"], back["generation"]) == (newest - 1, newest + 1)
    factory = ask("persist", "rollback", *board, "--to", 0)
    assert (factory["from"], factory["generation"]) == (0, newest + 2)
    code, line = refused("persist", "rollback", *board, "--to", 99, cwd=tmp_path)
    assert code == 2 and "there is no checkpoint 99" in line
    plain = run("persist", "show", *board, cwd=tmp_path).stdout
    assert f"{newest + 2}: state" in plain and "<- newest" in plain


def test_years_of_a_store(tmp_path: Path) -> None:
    plan = ["persist", "plan", "--samples-per-day", 5000, "--save-every", 50]
    made = json.loads(
        run(*plan, "--slots", 3, "--endurance", 10_000, "--json", cwd=tmp_path).stdout
    )
    assert (made["saves_per_day"], made["saves_left"]) == (100, 30_000)
    assert made["years"] == pytest.approx(300 / 365.25)
    assert made["save_every_for_10_years"] == 609
    worn = run(*plan, "--slots", 3, "--endurance", 10_000, "--wear", 30_000, cwd=tmp_path).stdout
    assert "so 0 saves are left" in worn and "0.0 years" in worn
    assert refused(*plan, cwd=tmp_path)[0] == 2
    assert refused(*plan, "--board", "no such", cwd=tmp_path)[0] == 2
    assert refused(*plan, "--board", "mps2-an386", cwd=tmp_path) == (
        16, "mps2-an386 has no store"
    )  # fmt: skip


def test_guard_that_cannot_be(demo_files: demo.Files, tmp_path: Path) -> None:
    for more in (["--improved"], ["--margin", 3]):
        code, line = refused(*learn(demo_files), *more, cwd=tmp_path)
        assert code == 2 and "need --guard" in line
    code, line = refused(*learn(demo_files), "--erase-budget", 3, cwd=tmp_path)
    assert code == 2 and "is for --save-every or --guard" in line
    code, line = refused(*learn(demo_files), "--guard", demo_files.test, cwd=tmp_path)
    assert (code, "leave out --save-every and --guard" in line) == (16, True)
    with np.load(demo_files.train) as some:
        np.savez(tmp_path / "big.npz", **{k: np.concatenate([some[k]] * 2) for k in some.files})
    store = ["--store", tmp_path / "store", "--guard", tmp_path / "big.npz"]
    code, line = refused(*learn(demo_files), *store, cwd=tmp_path)
    assert code == 8 and "the guard has" in line and "give fewer" in line


def test_store_file_for_a_board_that_has_none(demo_files: demo.Files, tmp_path: Path) -> None:
    board = ("--board", "microbit", "--model", demo_files.model, "--store", "store")
    code, line = refused("emulate", *board, cwd=tmp_path)
    assert (code, line) == (2, "microbit keeps nothing in a file: leave out --store")
    assert not (tmp_path / "store").exists()


def test_key(demo_files: demo.Files, tmp_path: Path) -> None:
    """What the manual says of boards on open links."""
    made = run("key", "board.key", cwd=tmp_path)
    key = tmp_path / "board.key"
    assert made.returncode == 0 and key.stat().st_mode & 0o777 == 0o600
    assert len(bytes.fromhex(key.read_text().strip())) == 32
    assert "exists" in refused("key", "board.key", cwd=tmp_path)[1]
    sim = learn(demo_files)
    assert ", authenticated)" in run(*sim, "--key", key, cwd=tmp_path).stdout
    for text, code in (("", 21), ("ab" * 31, 21), ("00" * 32, 21), ("xy" * 32, 21)):
        (tmp_path / "bad.key").write_text(text)
        assert refused(*sim, "--key", "bad.key", cwd=tmp_path)[0] == code
    assert refused(*sim, "--key", "none.key", cwd=tmp_path)[0] == 21
    with Emulated("--model", demo_files.model, "--key", key) as url:
        code, line = refused("info", "--port", url, cwd=tmp_path)
        assert code == 22 and "give --key FILE" in line
        run("key", "other.key", cwd=tmp_path)
        code, line = refused("info", "--port", url, "--key", "other.key", cwd=tmp_path)
        assert code == 22 and "another key" in line
        told = run("info", "--port", url, "--key", key, "--json", cwd=tmp_path)
        assert json.loads(told.stdout)["authenticated"] is True
    with Emulated("--model", demo_files.model) as url:
        code, line = refused("info", "--port", url, "--key", key, cwd=tmp_path)
        assert code == 22 and "has no key" in line

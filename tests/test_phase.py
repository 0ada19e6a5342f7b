"""The phases that a board shows at its pins, on the simulated one, which remembers eight."""

# SPDX-License-Identifier: MIT

import test_guard
from test_board_faults import Faulty
from wage_host._core import ffi, lib

IDLE, WORK, SAVE = lib.PHASE_IDLE, lib.PHASE_WORK, lib.PHASE_SAVE


def phases(board: Faulty, count: int) -> list[int]:
    """The last so many, in order."""
    found = lib.sim_phases(board.board._port)
    return [found >> 4 * n & 15 for n in reversed(range(count))]


def test_learning_and_predicting_is_work(tmp_path):
    board = Faulty(tmp_path, store=None)
    assert board.start() == "ok"
    assert phases(board, 8) == [IDLE] * 8
    assert set(board.learn(test_guard.easy(5, 2))) == {"ok"}
    assert phases(board, 5) == [IDLE, WORK, IDLE, WORK, IDLE]
    ((x, label),) = test_guard.easy(6, 1)
    assert board.do(lib.WAGE_EVAL, x.tobytes(), id=1, label=label) == "ok"
    assert phases(board, 3) == [IDLE, WORK, IDLE]


def test_what_is_refused_or_known_is_no_work(tmp_path):
    board = Faulty(tmp_path, store=None)
    assert board.start() == "ok"
    ((x, label),) = test_guard.easy(5, 1)
    assert board.do(lib.WAGE_SAMPLE, x.tobytes(), id=2, label=label) == "ORDER"
    assert board.do(lib.WAGE_SAVE) == "STORE"
    assert phases(board, 8) == [IDLE] * 8
    for _ in range(2):
        assert board.do(lib.WAGE_SAMPLE, x.tobytes(), id=1, label=label) == "ok"
    assert phases(board, 5) == [IDLE, IDLE, WORK, IDLE, IDLE]


def test_saving_by_itself_and_when_asked(tmp_path):
    board = Faulty(tmp_path)
    board.put()
    assert phases(board, 4) == [SAVE, IDLE, SAVE, IDLE]
    assert board.start(every=4) == "ok"
    assert set(board.learn(test_guard.easy(5, 1))) == {"ok"}
    assert phases(board, 3) == [WORK, SAVE, IDLE]  # erases ahead
    for request, fields in ((lib.WAGE_SAVE, {}), (lib.WAGE_ROLLBACK, {"generation": 0})):
        assert board.do(request, **fields) == "ok"
        assert phases(board, 3) == [IDLE, SAVE, IDLE]
    assert board.do(lib.WAGE_RESET, what=lib.WAGE_FACTORY) == "ok"
    assert phases(board, 3) == [IDLE, SAVE, IDLE]


def test_save_that_fails_ends_in_idle(tmp_path):
    board = Faulty(tmp_path)
    assert board.start() == "ok"
    fails = ffi.callback(ffi.typeof(board.store.erase), lambda *_: lib.WAGE_E_STORE_IO)
    board.store.erase = fails
    assert board.do(lib.WAGE_SAVE) == "STORE_IO"
    assert phases(board, 3) == [IDLE, SAVE, IDLE]

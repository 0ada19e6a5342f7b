"""No input can break it: random and hostile frames, blobs and stores, under sanitizers.

Every case is either accepted, and safe, or refused with a named error before anything was
written; and the board then still answers. What to expect is not taken from the C code: frames
are judged by board.py, blobs and stores by the oracle in reference/.
"""

# SPDX-License-Identifier: MIT

import random
import struct
import zlib
from collections import Counter
from pathlib import Path

import mutate
import native
import numpy as np
import pytest
import reference
from blobs import CONV2D, conv2d, dense, make_blob, patch, random_model, random_stream, small_blob
from board import Board, split, take_apart
from wage_host._core import lib
from wage_host.core import ERROR_NAMES

CASES = 10_000
SESSION = 0x5157  # as in native/frames.c
LOADER = {
    "SHORT", "MAGIC", "VERSION", "LENGTH", "CRC", "RESERVED", "LAYERS", "KIND", "BITS", "SHAPE",
    "LIMIT", "RANGE", "WEIGHT", "REPLAY", "CONFIG", "ARENA", "ALIGN",
}  # fmt: skip
STORE = {"STORE_SIZE", "STORE_IO", "NO_CHECKPOINT"}  # wage_save and _restore: test_persist.py
SERVE = {name.removeprefix("WAGE_E_") for name in ERROR_NAMES.values()} - LOADER - STORE - {
    "WAGE_OK"
} | {"CONFIG"}  # a setting is checked in the blob and in START


def names(errors: set[int]) -> set[str]:
    """Of error codes, negative as in the enum."""
    return {ERROR_NAMES[error].removeprefix("WAGE_E_") for error in errors}


# -- frames --------------------------------------------------------------------


def frames_model() -> bytes:
    """A small frozen convolution, then a trainable layer of five classes, with a replay."""
    layers = [conv2d(2, pool=2, alpha_shift=2), dense(5, flags=1, alpha_shift=2)]
    draw = random.Random(9)
    layers[0]["weights"] = [draw.randint(-127, 127) for _ in range(2 * 9)]
    layers[1]["weights"] = [draw.randint(-32000, 32000) for _ in range(5 * 18)]
    return make_blob(layers, (6, 6, 1), header={"replay_capacity": 4, "replays": 1})


def probe_state(board: Board, text: str) -> tuple:
    """What HELLO and STATS say of the state; they must be answered as the model of a board."""
    frames = [take_apart(f, 4096) for f in split(bytes.fromhex(text))]
    assert [f.kind for f in frames][:1] == [lib.WAGE_WELCOME], f"HELLO was not answered: {frames}"
    board.answers(mutate.frame(mutate.body(lib.WAGE_HELLO, SESSION, 0, (1, 1))))
    welcome, report = frames
    assert {i: welcome.fields[i] for i in board.welcome()} == board.welcome()
    if board.model_error:
        assert (report.kind, report.fields[0]) == (lib.WAGE_NAK, -lib.WAGE_E_MODEL)
        return ()
    assert report.kind == lib.WAGE_REPORT
    assert {i: report.fields[i] for i in board.report()} == board.report()
    hidden = {lib.WAGE_WELCOME_SESSIONS, lib.WAGE_WELCOME_STORE_ERROR}
    state = [v for i, v in enumerate(welcome.fields) if i not in hidden]
    state += [v for i, v in enumerate(report.fields) if i != lib.WAGE_REPORT_FRAME_ERRORS]
    return (*state, welcome.tail, report.tail)


def judge(board: Board, cases: list[bytes], expected: list, lines: list[str]) -> Counter:
    """Compares each line of the harness with what was expected; counts the answers."""
    before, count = None, Counter()
    for case, (answers, after), line in zip(cases, expected, lines, strict=True):
        text, probe, store = line.split(" ")
        replies = [take_apart(f, 4096) for f in split(bytes.fromhex(text.replace("-", "")))]
        told = f"case {case.hex()}\nanswered {replies}\nnot {answers}"
        assert len(replies) == len(answers), told
        assert all(r.fits(a) for r, a in zip(replies, answers, strict=True)), told
        now = probe_state(after, probe), store
        if before and not after.changed_then:
            assert now[0] == before[0], f"refused, yet the state changed: {told}"
        if before and not after.stored_then:
            assert now[1] == before[1], f"the store changed: {told}"
        before = now
        count.update((r.kind, r.fields[0] if r.kind == lib.WAGE_NAK else 0) for r in replies)
    return count

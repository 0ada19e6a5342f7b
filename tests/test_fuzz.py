"""No input can break it: random and hostile frames, blobs and stores, under sanitizers.

Every case is either accepted, and safe, or refused with a named error before anything was
written; and the board then still answers. What to expect is not taken from the C code: frames
are judged by board.py, blobs and stores by the oracle in reference/.
"""

# SPDX-License-Identifier: MIT

import copy
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
from blobs import (
    PAPER,
    SSE,
    TABLE,
    add,
    average_pool,
    conv2d,
    dense,
    make_blob,
    max_pool,
    patch,
    random_stream,
    small_blob,
)
from board import Board, split, take_apart
from random_models import random_model
from wage_host._core import lib
from wage_host.core import ERROR_NAMES

CASES, SESSION = 10_000, 0x5157  # a session as in native/frames.c
LOADER = {
    "SHORT", "MAGIC", "VERSION", "LENGTH", "CRC", "RESERVED", "LAYERS", "KIND", "BITS", "SHAPE",
    "LIMIT", "RANGE", "WEIGHT", "REPLAY", "CONFIG", "POLICY", "ARENA", "ALIGN",
}  # fmt: skip
STORE = {"STORE_IO", "GUARD", "AUTH"}  # of a store that fails, of a key: other tests
CALLER = {"BATCH"}  # of the C function only: test_runtime.py
SERVE = {name.removeprefix("WAGE_E_") for name in ERROR_NAMES.values()} - LOADER - STORE - CALLER
# a setting is checked in the blob and in START, a place in PULL and PROBE, too
SERVE = SERVE - {"WAGE_OK"} | {"CONFIG", "RANGE"}


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
    return make_blob(layers, (6, 6, 1), header={"replay_capacity": 4, "flags": TABLE})


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


def after_case(board: Board, blob: bytes, case: bytes) -> tuple[Board, list]:
    """The board after a case of the harness, and the answers to expect."""
    if case in (b"R", b"N"):
        return Board(blob, case == b"R", board.model_error), []
    return board, board.answers(case)


def run_frames(blob: bytes, cases: list[bytes], tmp_path: Path, model_error: int = 0, *more: str):
    """Gives the cases to a board and checks every answer; returns how often each came."""
    program = native.build("frames", native.SANITIZE)
    lines = native.run(program, [blob, *cases], str(tmp_path / "store"), *more)[1:]
    board, before, count = Board(blob, model_error=model_error), None, Counter()
    for case, line in zip(cases, lines, strict=True):
        text, probe, store = line.split(" ")
        board, expected = after_case(board, blob, case)
        new = case in (b"R", b"N")
        changed, stored = board.changed or new, board.stored or new
        replies = [take_apart(f, 4096) for f in split(bytes.fromhex(text.replace("-", "")))]
        told = f"case {case.hex()}\nanswered {replies}\nnot {expected}"
        assert len(replies) == len(expected), told
        assert all(r.fits(e) for r, e in zip(replies, expected, strict=True)), told
        state = probe_state(board, probe)
        if before:
            assert changed or state == before[0], f"the state changed: {told}"
            assert stored or store == before[1], f"the store changed: {told}"
        before = state, store
        count.update((r.kind, r.fields[0] if r.kind == lib.WAGE_NAK else 0) for r in replies)
    return count


def refusals(count: Counter) -> set[str]:
    """Names of the errors among counted answers."""
    return names({-error for kind, error in count if kind == lib.WAGE_NAK})


def random_frames(blob: bytes, seed: int) -> list[bytes]:
    """Cases for the board; it is followed, so that ids can be the right ones."""
    rng, board, cases = random.Random(seed), Board(blob), []
    hello = mutate.frame(mutate.body(lib.WAGE_HELLO, SESSION, 0, (1, 1)))
    board.answers(hello)  # the probe after the first case
    while len(cases) < CASES:
        case = mutate.frame_case(rng, SESSION, board.last_id, board.size, board.classes)
        case = rng.choice((b"R", b"N")) if rng.randrange(500) == 0 else case
        trial, _ = after_case(copy.deepcopy(board), blob, case)
        if trial.unsure:
            continue
        board = trial
        board.answers(hello)
        cases.append(case)
    return cases


def test_frames_are_refused_by_name_or_accepted(seed, tmp_path):
    blob = frames_model()
    count = run_frames(blob, random_frames(blob, seed), tmp_path)
    kinds = {kind for kind, _ in count}
    assert kinds == {lib.WAGE_WELCOME, lib.WAGE_STARTED, lib.WAGE_RECORD, lib.WAGE_REPORT,
                     lib.WAGE_SAVED, lib.WAGE_DONE, lib.WAGE_SLOT, lib.WAGE_GUARDED,
                     lib.WAGE_PULLED, lib.WAGE_PROBED, lib.WAGE_CLASSED, lib.WAGE_NAK}  # fmt: skip
    assert refusals(count) == SERVE - {"MODEL"}
    assert min(count.values()) >= 3, f"hardly tried: {count}"


def request(kind: int, *fields: int, tail: bytes = b"", session: int = SESSION) -> bytes:
    return mutate.frame(mutate.body(kind, session, 7, fields, tail))


def test_every_refusal_of_the_serve_loop(tmp_path):
    blob, x = frames_model(), bytes(36)
    start = request(lib.WAGE_START, 1, 1, 0xFFFFFFFA, 1, 2, 0, 1, 0, 0, 0, 0)
    cut = request(lib.WAGE_STATS)
    crc = bytes([*cut[:3], cut[3] ^ 2, *cut[4:]])
    wanted = {
        "COBS": b"\x09\x01\0", "FRAME_SHORT": b"\x02\x01\0", "FRAME_LONG": b"\1" * 900 + b"\0",
        "FRAME_CRC": crc, "TYPE": request(64), "PAYLOAD": request(lib.WAGE_SAMPLE, 1, tail=x),
        "SESSION": request(lib.WAGE_STATS, session=SESSION ^ 1),
        "PROTOCOL": request(lib.WAGE_HELLO, 2, 9), "STREAM": request(lib.WAGE_SAMPLE, 1, 0, tail=x),
        "INPUT": request(lib.WAGE_EVAL, 1, 0, tail=x[1:]), "STORE": request(lib.WAGE_SAVE),
        "STORE_SIZE": request(lib.WAGE_LOOK, 99), "NO_CHECKPOINT": request(lib.WAGE_ROLLBACK, 99),
        "LABEL": request(lib.WAGE_EVAL, 1, 256, tail=x),
        "ORDER": start + request(lib.WAGE_SAMPLE, 2, 0, tail=x),
        "CONFIG": request(lib.WAGE_START, 1, 1, 8, 1, 2, 0, 1, 0, 0, 0, 0),
        "NAME": request(lib.WAGE_CLASS, 1, 1, tail=b"sixteen letters."),
        "RANGE": request(lib.WAGE_PULL, 1 << 20) + request(lib.WAGE_PROBE, 99, tail=x),
    }  # fmt: skip
    reached = set()
    for name, case in wanted.items():
        case = start + case if name not in ("STREAM", "ORDER") else case
        board = b"R" if name in ("STORE_SIZE", "NO_CHECKPOINT") else b"N"
        count = run_frames(blob, [board, b"\0", case], tmp_path)
        assert refusals(count) == {name}
        reached.add(name)
    bad = blob[:20] + b"\1" + blob[21:]
    reached |= refusals(run_frames(bad, [b"\0", cut, start], tmp_path, lib.WAGE_E_CRC))
    count = run_frames(blob, [b"\0", cut, start], tmp_path, lib.WAGE_E_ARENA, "700")
    assert refusals(count) == {"MODEL"}
    assert reached == SERVE


def test_longest_frame_is_taken_and_one_byte_more_is_not(tmp_path):
    blob = frames_model()
    room = Board(blob).room
    frames = {len(f) - 1: f for n in range(400) if (f := request(99, tail=bytes(n)))}
    assert refusals(run_frames(blob, [b"\0", frames[room]], tmp_path)) == {"TYPE"}
    assert refusals(run_frames(blob, [b"\0", frames[room + 1]], tmp_path)) == {"FRAME_LONG"}


# -- blobs ---------------------------------------------------------------------


def verdict(blob: bytes) -> int:
    """The error that SPEC 9.6 as the oracle reads it gives this blob, or 0."""
    try:
        reference.open_model(blob)
    except reference.RefusedError as refused:
        return getattr(lib, refused.name)
    return 0


def run_blobs(cases: list[bytes]) -> list[list[int]]:
    """For each blob: its error, then the errors of opening it into wrong arenas."""
    lines = native.run(native.build("blobs", native.SANITIZE), cases)
    words = [line.split() for line in lines]
    return [[int(w[0]), *map(int, w[3:])] for w in words]


def test_blobs_are_refused_by_name_or_open_and_learn(seed):
    cases = list(mutate.blob_cases(random.Random(seed), CASES))
    count = Counter()
    for blob, (error, *wrong_arena) in zip(cases, run_blobs(cases), strict=True):
        count.update([error])
        assert wrong_arena == ([] if error else [lib.WAGE_E_ARENA] + 7 * [lib.WAGE_E_ALIGN])
        assert error == verdict(blob), f"{ERROR_NAMES[error]}: {blob.hex()}"
    assert names(set(count) - {0}) == LOADER - {"ARENA", "ALIGN"}
    assert count[0] > CASES // 20
    assert min(count.values()) >= 3, f"hardly tried: {count}"


def wrong_blobs() -> dict[str, list[bytes]]:
    """For each error of the loader, blobs that have just this fault."""
    good = small_blob()

    def layer(header=None, **fields) -> bytes:
        return make_blob([dense(3, flags=1) | fields], (1, 1, 4), header=header)

    def below(*layers) -> bytes:
        return make_blob([*layers, dense(3, flags=1)], (4, 4, 2))

    two = make_blob([dense(2, bits=2, weights=b"\0\2"), dense(2, flags=1)], (1, 1, 3))
    order = make_blob([dense(4, flags=1), dense(2)], (1, 1, 3))
    latents = np.zeros(4)
    return {
        "SHORT": [b"", good[:63], good[:-1]],
        "MAGIC": [b"WAGF" + good[4:]],
        "VERSION": [patch(good, 4, b"\2"), patch(good, 6, b"\0"), patch(good, 17, b"\0")],
        "LENGTH": [good + b"\0"],
        "CRC": [good[:-1] + bytes([good[-1] ^ 1]), good[:12] + bytes(4) + good[16:]],
        "RESERVED": [small_blob(flags=64), small_blob(input_map=2), small_blob(name=b"x" * 16),
                     layer(flags=5), layer(reserved=bytes(15) + b"\1"), layer(skip=1),
                     layer(factor=1), layer(bias_offset=64), below(max_pool(2, (2, 2), factor=1)),
                     below(max_pool(2, (2, 2), offset=64)), below(add(2, 1, flags=2))],
        "LAYERS": [small_blob(layers=0), small_blob(layers=33), layer(flags=0), order,
                   below(conv2d(2), add(2, 1), add(2, 2)), below(conv2d(2), add(2, 1, flags=1))],
        "KIND": [layer(kind=0, weights=bytes(24)), layer(kind=7, weights=bytes(24))],
        "BITS": [layer(bits=1, weights=bytes(24)), layer(bits=9, weights=bytes(24)),
                 layer(store_bits=7), layer(store_bits=17), below(add(2, 1, bits=8)),
                 below(dense(3, store_bits=8))],
        "POLICY": [layer(header={"flags": PAPER}, flags=3)],
        "SHAPE": [small_blob(classes=1), small_blob(classes=256), small_blob(classes=4),
                  small_blob(height=0), layer(activation=1), layer(pool=2), layer(pad=(0, 1, 0, 0)),
                  layer(weight_bytes=23), layer(kernel=(1, 2)), layer(activation=3),
                  below(add(2, 0)), below(add(2, 2)), below(add(3, 1)), below(add(2, 1, pool=2)),
                  below(max_pool(2, (2, 2), activation=1)),
                  below(average_pool(2, (2, 2), factor=0)),
                  make_blob([add(2, 1, flags=1)], (1, 1, 2))],
        "LIMIT": [layer(alpha_shift=21), layer(alpha_shift=-7), below(add(2, 1, alpha_shift=8)),
                  below(max_pool(2, (2, 2), alpha_shift=1)),
                  below(average_pool(2, (2, 2), alpha_shift=25)), *too_large()],
        "RANGE": [layer(offset=0), layer(offset=111), layer(offset=113), layer(offset=2**32 - 1),
                  small_blob(layers=32), factory(good, at=0), factory(good, at=len(good))],
        "WEIGHT": [layer(weights=[32513] * 12), layer(weights=[-32513] * 12), two,
                   layer(bits=2, weights=[65] * 12), layer(bits=2, weights=[-65] * 12),
                   layer(bits=5, store_bits=5, weights=[16] * 12),
                   layer(flags=3, bias=[0, 0, 1 << 24]), layer(flags=3, bias=[0, -(1 << 31), 0])],
        "REPLAY": [small_blob(factory_samples=1), small_blob(factory_offset=112),
                   make_blob([dense(3, flags=1)], (1, 1, 4), factory=([3], latents))],
        "CONFIG": [small_blob(lr_shift=8), small_blob(lr_shift=-25), small_blob(gain_shift=8),
                   small_blob(threshold=128), small_blob(lr_factor=0), small_blob(lr_factor=16),
                   small_blob(batch=0), small_blob(batch=4097), small_blob(momentum=8)],
    }  # fmt: skip


def factory(blob: bytes, at: int) -> bytes:
    """The blob with two factory samples that begin at `at`."""
    return patch(blob, 36, struct.pack("<HHI", 2, 2, at))


def too_large() -> list[bytes]:
    """Shapes whose sums could overflow, or which no arena should hold."""
    wide = make_blob([dense(2, flags=1, weights=bytes(4 * 131_073))], (3, 43_691, 1))
    one = {"kernel": (1, 1), "pad": (0, 0, 0, 0), "flags": 1}
    last = dense(2, flags=1, weights=b"")
    positions = make_blob([conv2d(1, **one), last], (3, 43_691, 1))
    batch = make_blob([conv2d(1, **one), last], (256, 256, 1), header={"batch": 3})
    out = make_blob([conv2d(9, **one), last], (340, 350, 1))
    huge = make_blob(
        [dense(2, flags=1, weights=bytes(4 * 130_000))], (1, 2, 65_000),
        header={"replay_capacity": 0xFFFF},
    )  # fmt: skip
    pool = make_blob([average_pool(1, (255, 255), factor=259), last], (255, 255, 1))
    steep = make_blob([dense(2, flags=1, alpha_shift=17)], (1, 1, 4), header={"flags": SSE})
    return [wide, positions, batch, out, huge, pool, steep]


def test_every_error_of_the_loader():
    wanted = wrong_blobs()
    pairs = [(name, blob) for name, group in wanted.items() for blob in group]
    found = run_blobs([blob for _, blob in pairs])
    told = [(name, names({codes[0]})) for (name, _), codes in zip(pairs, found, strict=True)]
    assert [(name, got) for name, got in told if got != {name}] == []
    wrong_arena = set(run_blobs([small_blob()])[0][1:])
    assert set(wanted) | names(wrong_arena) == LOADER


def test_largest_sums_are_taken():
    one = {"kernel": (1, 1), "pad": (0, 0, 0, 0)}
    layers = [conv2d(1, **one), dense(2, flags=1, weights=bytes(4 * 131_072))]
    wide = make_blob([dense(2, flags=1, weights=bytes(4 * 131_072))], (256, 512, 1))
    positions = make_blob(layers, (256, 512, 1))
    shifted = small_blob(lr_shift=-24, gain_shift=7, threshold=127, replays=255)
    steep = make_blob([dense(3, flags=1, alpha_shift=20)], (1, 1, 4), header={"lr_shift": 7})
    assert [codes[0] for codes in run_blobs([wide, positions, shifted, steep])] == [0, 0, 0, 0]


# -- stores --------------------------------------------------------------------

NEWER = 3  # of two generations in a store


def images_model() -> bytes:
    """Both types of stored weights, a bias, velocities, a frozen layer, a replay."""
    own = {"replay_capacity": 5, "momentum": 2}
    return next(b for s in range(1000) if fits_images(b := random_model(s, **own)))


def fits_images(blob: bytes) -> bool:
    model = reference.open_model(blob)
    wide = {layer.store_bits > 8 for layer in model.learning}
    small = reference.checkpoint_bytes(model) < 800
    biased = any(layer.bias is not None for layer in model.learning)
    kept = small and wide == {False, True} and len(model.replay) < 3
    return kept and bool(model.momentum) and biased and bool(model.frozen)


def checkpoints(blob: bytes) -> list[bytes]:
    """Halves of a store: generations, the last possible ones, one of another model."""
    model, out = reference.open_model(blob), []
    reference.start(model, 5)
    for number, (x, label) in enumerate(random_stream(blob, 1, 6), 1):
        reference.learn(model, number, x.astype(np.int64).reshape(model.input_shape), label)
        out.append(reference.checkpoint(model, number, 4))
    out.append(reference.checkpoint(model, 0xFFFFFFFE, 4))
    out.append(reference.checkpoint(model, 0xFFFFFFFF, 4))
    model.blob_crc ^= 1
    out.append(reference.checkpoint(model, NEWER, 4))
    return out


def usable(half: bytes, blob: bytes) -> tuple[int, int]:
    """Generation and state CRC of a slot of this model; -1: it was forgotten; 0, 0 (SPEC 7.5)."""
    magic, version, generation, size, model_crc, crc, _, own = struct.unpack_from("<4s7I", half)
    state, model = half[32 : 32 + size], reference.open_model(blob)
    good = (magic, version, own) == (b"WCKP", 1, zlib.crc32(half[:28]))
    if not good or size > len(half) - 32 or crc != zlib.crc32(state):
        return 0, 0
    if model_crc != model.blob_crc or generation in (0, 0xFFFFFFFF):
        return 0, 0
    if size == 0:
        return generation, -1
    try:
        reference.load_state(model, state)
    except reference.RefusedError:
        return 0, 0
    # what is not kept must be zero, so that the same state comes out again
    return (generation, crc) if reference.state_bytes(model) == state else (0, 0)


def test_stores_are_refused_or_restored_within_ranges(seed):
    blob, rng = images_model(), random.Random(seed)
    halves = checkpoints(blob)
    half_bytes = -(-len(halves[0]) // 256) * 256
    cases = [mutate.image_case(rng, halves, half_bytes) for _ in range(CASES // 2)]
    lines = native.run(native.build("images", native.SANITIZE), [blob, *cases])[1:]
    count = Counter()
    for image, line in zip(cases, lines, strict=True):
        first, second = (usable(image[at:][:half_bytes], blob) for at in (0, half_bytes))
        best = first if first[0] > second[0] else second
        expected = f"0 {best[0]} {best[1]:08x}"
        if best[0] == 0 or best[1] < 0:
            expected = str(lib.WAGE_E_NO_CHECKPOINT)
        assert line == expected, image.hex()
        count.update([line.split()[0]])
    assert min(count.values()) > CASES // 20, count
    assert set(count) == {"0", str(lib.WAGE_E_NO_CHECKPOINT)}


# -- the tests of these tests ----------------------------------------------------


@pytest.mark.parametrize("fault, told", [(b"a", "heap-buffer-overflow"), (b"u", "signed integer")])
def test_sanitizers_are_alive(fault, told):
    with pytest.raises(AssertionError, match=rf"died in case 1 (?s:.*){told}"):
        native.run(native.build("alive", native.SANITIZE), [b"-", fault, b"-"])

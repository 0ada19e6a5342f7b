"""Host and board over a link on which everything goes wrong: 10,000 runs on a virtual clock."""

# SPDX-License-Identifier: MIT

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import bad_link
import link_faults
import native
import pytest
import reliability
from cffi import FFI
from wage_host import build_core, session, sim
from wage_host.device import Device
from wage_host.link import LinkLost

RUNS, CHUNK = 10_000, 500
ENOUGH = 400  # runs in which a planted mistake must be seen


def failure(seed: int, number: int, folder: Path) -> Exception | None:
    """What a run showed, if it failed."""
    try:
        link_faults.run(seed, number, folder)
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("first", range(0, RUNS, CHUNK))
def test_no_fault_of_the_link_does_harm(first: int, seed: int, tmp_path: Path) -> None:
    found = {n: failure(seed, n, tmp_path) for n in range(first, first + CHUNK)}
    failed = {n: error for n, error in found.items() if error}
    reliability.record(
        link_fault_runs=len(found),
        wrong_samples=sum(isinstance(e, bad_link.Wrong) for e in failed.values()),
        hangs=sum(isinstance(e, bad_link.Hang) for e in failed.values()),
        lost=sum(isinstance(e, bad_link.Lost) for e in failed.values()),
    )
    for number, error in failed.items():
        raise AssertionError(
            f"run {number} and {len(failed) - 1} more of {CHUNK} failed; repeat it alone with "
            f".venv/bin/python tests/link_faults.py {seed} {number}"
        ) from error


def test_every_fault_occurs(seed: int, tmp_path: Path) -> None:
    told: list[str] = []
    for number in range(300):
        link_faults.run(seed, number, tmp_path, told.append)
    text = "\n".join(told)
    for event in (
        "a byte is hit", "doubled", "a copy will come late", "the cable is pulled for 8",
        "the cable is pulled for inf", "the board is reset", "nothing gets through",
        "hardly anything gets through", "is killed", "another host comes", "save: checkpoint",
        "resume:", "a damaged frame came in", "the board received a damaged frame",
        "no answer within", "the board lost the thread", "stops: PortBusy", "stops: Refused",
        "stops: NoAnswer", "stops: PortNotFound", "stops: ProtocolMismatch",
    ):  # fmt: skip
        assert event in text, event


# -- planted mistakes: the runs must see them ---------------------------------

LEARN = "wage_learn(&s->model, f[WAGE_SAMPLE_ID], x, label, record);"
LEARN_NEXT = "wage_learn(&s->model, s->model.last_id + 1, x, label, record);"
IN_C = {
    "a sample that is known is learned again": (
        "firmware/src/requests.c",
        (("int known = learn && id <= w->last_id;", "int known = 0;"),
         (LEARN, LEARN_NEXT)),
    ),
    "a later sample is learned in place of the next": (
        "firmware/src/requests.c", (("id > w->last_id + 1", "0"), (LEARN, LEARN_NEXT)),
    ),
    "the session is not checked": (
        "firmware/src/serve.c",
        (("s->session == 0\n                || s->message.session != s->session", "0"),),
    ),
    "nobody is told whose the session is": (
        "firmware/src/serve.c",
        (("serve_refuse(s, error, s->nonce, 0);",
          "serve_refuse(s, error, s->nonce ^ 0x5555u, 0);"),),
    ),
    "saved is said without saving": (
        "runtime/guard.c",
        (("    error = wage_save(w, store);",
          "    error = w->last_id % 4 ? wage_save(w, store) : 0;"),),
    ),
    "the CRC is not checked": (
        "runtime/wire.c", (("load32(frame + body) != wage_crc(0, frame, body)", "0"),),
    ),
    "START begins a known stream anew": (
        "runtime/metrics.c", (("if (stream == w->stream)", "if (0)"),),
    ),
}  # fmt: skip


def with_mistake(
    file: str, replacements: Sequence[tuple[str, str]], folder: Path
) -> tuple[FFI, object]:
    """The simulated board as a library of its own, with one mistake in it."""
    text = (native.ROOT / file).read_text(encoding="utf-8")
    for old, new in replacements:
        assert text.count(old) == 1, f"{file} has {text.count(old)} times: {old}"
        text = text.replace(old, new)
    changed = folder / Path(file).name
    changed.write_text(text, encoding="utf-8")
    folders = "runtime/*.c", "firmware/src/**/*.c", "boards/sim/*.c"
    files = [path for name in folders for path in native.ROOT.glob(name) if path.stem != "main"]
    files = [changed if path.name == changed.name else path for path in files]
    out = folder / "board.so"
    command = [native.need("gcc"), "-std=c99", "-O1", "-shared", "-fPIC", *files, "-o", out]
    command += [f"-I{native.ROOT / folder}" for folder in build_core.FOLDERS]
    command += [f"-D{name}={value}" for name, value in build_core.DEFINES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ffi = FFI()
    ffi.cdef(build_core.declarations())
    return ffi, ffi.dlopen(str(out))


def seen_after(seed: int, folder: Path) -> int:
    """How many runs it took to see a mistake."""
    for number in range(ENOUGH):
        if error := failure(seed, number, folder):
            print(f"seen in run {number}: {error!r}")
            return number + 1
    pytest.fail(f"not seen in {ENOUGH} runs")


@pytest.mark.parametrize("name", IN_C)
def test_mistake_of_the_board_is_seen(
    name: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ffi, lib = with_mistake(*IN_C[name], tmp_path)
    monkeypatch.setattr(sim, "ffi", ffi)
    monkeypatch.setattr(sim, "lib", lib)
    seen_after(seed, tmp_path)


def goes_on_without_asking(patch: Callable) -> None:
    """After a fault it trusts its own count."""
    honest = Device._pump
    patch(Device, "_pump", lambda d, kind, x, resume, every: honest(
        d, kind, x, lambda done: done or d._last_id, every))  # fmt: skip


def takes_any_answer(patch: Callable) -> None:
    """Answers are not matched to requests."""
    honest = Device._receive
    patch(Device, "_receive", lambda d, seq, timeout_s: honest(d, None, timeout_s))


def believes_in_saves(patch: Callable) -> None:
    """A SAVE without an answer counts as done."""
    honest = Device._save_once

    def save(d: Device) -> int:
        try:
            return honest(d)
        except LinkLost:
            d.on_event("save", "checkpoint")
            return 0

    patch(Device, "_save_once", save)


def keeps_its_session(patch: Callable) -> None:
    """Each HELLO has the same session number."""
    honest = Device.hello

    def hello(d: Device) -> None:
        session.secrets.randbelow = lambda below: 7
        honest(d)

    patch(Device, "hello", hello)


def takes_the_board_back(patch: Callable) -> None:
    """Another host's stream is not minded."""
    patch(Device, "_check_stream", lambda d: None)


def never_gives_up(patch: Callable) -> None:
    """No deadline for HELLO."""
    honest = Device.__init__
    patch(Device, "__init__", lambda d, *a, **more: honest(d, *a, deadline_s=1e9, **more))


IN_PYTHON = [goes_on_without_asking, takes_any_answer, believes_in_saves, keeps_its_session,
             takes_the_board_back, never_gives_up]  # fmt: skip


@pytest.mark.parametrize("mistake", IN_PYTHON, ids=lambda mistake: mistake.__name__)
def test_mistake_of_the_host_is_seen(
    mistake: Callable, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake(monkeypatch.setattr)
    seen_after(seed, tmp_path)

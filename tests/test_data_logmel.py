"""Log-mel in C: the same integers as the oracle, near a float one, safe with any parameters."""

# SPDX-License-Identifier: MIT

import functools
import struct
from pathlib import Path
from typing import Any

import logmel_tables
import native
import numpy as np
import pytest
import scipy.signal
from reference import prepare as oracle
from wage_host._core import ffi, lib
from wage_host.data.steps import c_step, logmel_params
from wage_host.extras import Step

GUARD = 0x55AA55AA
RNG = np.random.default_rng(7)


def frames(params: tuple[int, ...], sound: np.ndarray) -> np.ndarray:
    """wage_logmel of each frame, (frames, bands); what lies around its memory stays as it is."""
    mel, (step, alive) = ffi.new("struct wage_logmel *"), c_step(Step(lib.WAGE_LOGMEL, params))
    assert lib.wage_logmel_open(mel, step) == lib.WAGE_OK, alive
    work = ffi.new("union wage_bin[]", mel.fft // 2 + 2)
    values = ffi.new("int32_t[]", mel.bands + 1)
    work[mel.fft // 2 + 1].power, values[mel.bands] = GUARD, GUARD
    out = []
    for at in range(0, len(sound) - mel.window + 1, mel.hop):
        frame = ffi.new("int16_t[]", sound[at : at + mel.window].tolist())
        lib.wage_logmel(mel, frame, work, values)
        out.append(list(values)[:-1])
    assert (work[mel.fft // 2 + 1].power, values[mel.bands]) == (GUARD, GUARD)
    return np.array(out)


SOUNDS = {
    "noise": lambda n: RNG.integers(-32768, 32768, n),
    "soft": lambda n: RNG.integers(-3, 4, n),
    "loudest": lambda n: np.full(n, -32768),
    "steps": lambda n: np.where(np.arange(n) % 2, 32767, -32768),
    "square": lambda n: np.where(np.arange(n) // 8 % 2, 32767, -32768),
    "silence": lambda n: np.zeros(n, int),
    "click": lambda n: np.eye(1, n, n // 3, dtype=int)[0] * 32767,
    "tone": lambda n: np.rint(20000 * np.sin(np.arange(n) * 0.37)).astype(int),
}
SHAPES = [  # rate, window, hop, bands, low, high
    (8000, 256, 128, 24, 60, 4000), (8000, 200, 80, 20, 100, 3800), (16000, 512, 160, 40, 20, 8000),
    (16000, 1024, 512, 64, 60, 7600), (4000, 32, 16, 5, 0, 2000), (8000, 2, 2, 3, 0, 4000),
    (48000, 1000, 333, 30, 60, 20000), (8000, 33, 7, 8, 60, 4000), (100, 64, 32, 10, 0, 50),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("sound", SOUNDS)
def test_every_integer_is_that_of_the_oracle(shape: tuple, sound: str) -> None:
    params = logmel_params(*shape)
    x = SOUNDS[sound](shape[1] + 2 * shape[2]).astype(np.int16)
    wanted = oracle.logmel(x.reshape(1, -1, 1), *params)[..., 0]
    assert np.array_equal(frames(params, x), wanted)


def test_any_edges_that_are_allowed_give_the_oracle_s_integers() -> None:
    for _ in range(60):
        fft = 1 << int(RNG.integers(5, 11))
        bands = int(RNG.integers(1, 40))
        edges = np.sort(RNG.choice(fft // 2 * 64 + 1, bands + 2, replace=False))
        window = int(RNG.integers(2, fft + 1))
        params = (1, window, 1, fft, *edges.tolist())
        x = RNG.integers(-32768, 32768, window).astype(np.int16)
        wanted = oracle.logmel(x.reshape(1, -1, 1), *params)[..., 0]
        assert np.array_equal(frames(params, x), wanted), params


def test_the_softest_sounds_are_zero_or_the_oracle_s() -> None:
    """Sums of a few units, below the table's range."""
    edges, seen = (63, 100, 200, 2000, 2047, 2048), set()
    for at in range(0, 64, 3):
        for size in (-1, 1, 2, 40):
            x = np.zeros(64, np.int16)
            x[at] = size
            wanted = oracle.logmel(x.reshape(1, -1, 1), 1, 64, 1, 64, *edges)[..., 0]
            assert np.array_equal(frames((1, 64, 1, 64, *edges), x), wanted)
            seen |= set(wanted.reshape(-1).tolist())
    assert 0 in seen and max(seen) > 100


def float_logmel(params: tuple[int, ...], sound: np.ndarray) -> np.ndarray:
    """256 log2 of the energies in floats: SciPy's window and transform, triangles from edges."""
    _, window, hop, fft, *edges = params
    hann = scipy.signal.get_window("hann", window)
    out = []
    for at in range(0, len(sound) - window + 1, hop):
        power = np.abs(np.fft.rfft(sound[at : at + window] * hann, fft)) ** 2
        bins = np.arange(fft // 2 + 1) * 64.0
        energies = [
            np.interp(bins, [u, v, w], [0, 1, 0], 0, 0) @ power
            for u, v, w in zip(edges, edges[1:], edges[2:], strict=False)
        ]
        out.append([256 * np.log2(max(e, 1.0)) for e in energies])
    return np.array(out)


@pytest.mark.parametrize("shape", SHAPES[:5], ids=str)
def test_it_is_near_a_float_log_mel(shape: tuple) -> None:
    """Units of 1/256: 0.012 dB. In mean 1.5; at most 5 in bands up to 20 dB below the loudest of
    a frame, 12 to 50 dB; 40 where all sound is near the last bits (40 of 32,768).
    """
    params, rng = logmel_params(*shape), np.random.default_rng(7)
    n = shape[1] + 20 * shape[2]
    t = np.arange(n) / shape[0]
    chirp = 9000 * np.sin(2 * np.pi * (50 + shape[0] / 5 * t / t[-1]) * t) + rng.normal(0, 30, n)
    noise, soft = rng.integers(-2000, 2001, n), np.rint(rng.normal(0, 40, n))
    for sound, near, further in ((np.rint(chirp), 5, 12), (noise, 5, 12), (soft, 40, 40)):
        wanted, found = float_logmel(params, sound), frames(params, sound.astype(np.int16))
        below = wanted.max(1, keepdims=True) - wanted
        far = np.abs(found - wanted)
        assert far[below < 256 * 20 / 3.01].max() <= near
        assert far[below < 256 * 50 / 3.01].max() <= further
        assert far[below < 256 * 50 / 3.01].mean() <= 1.5


def test_bands_are_where_the_mel_scale_has_them() -> None:
    """A tone of each band's own frequency is loudest there; the edges are those of the formula."""
    params = logmel_params(8000, 256, 128, 16, 60, 4000)
    edges = np.array(params[4:]) / 64 * 8000 / 256
    mels = 2595 * np.log10(1 + edges / 700)
    assert np.abs(np.diff(mels) / np.diff(mels).mean() - 1).max() < 0.01
    for band, hz in enumerate(edges[1:-1]):
        sound = np.rint(8000 * np.sin(2 * np.pi * hz * np.arange(256) / 8000)).astype(np.int16)
        assert frames(params, sound)[0].argmax() == band


def opened(params: tuple[int, ...], kind: int = lib.WAGE_LOGMEL) -> int:
    """What wage_logmel_open says."""
    step, alive = c_step(Step(kind, params))
    result = lib.wage_logmel_open(ffi.new("struct wage_logmel *"), step)
    del alive
    return result


GOOD = (8000, 64, 32, 64, 0, 100, 2048)


@pytest.mark.parametrize(
    "at, value, right",
    [
        (0, 1, True), (0, 0, False), (1, 2, True), (1, 1, False), (1, 65, False), (1, -1, False),
        (2, 1, True), (2, 0, False), (2, 65535, True), (2, 65536, False), (3, 63, False),
        (3, 48, False), (3, 16, False), (3, 2048, False), (3, 0, False), (3, -64, False),
        (4, 99, True), (4, 100, False), (4, -1, False), (5, 1, True), (5, 0, False),
        (6, 101, True), (6, 100, False), (6, 2049, False), (5, 2048, False), (3, 128, True),
    ],
)  # fmt: skip
def test_parameters_are_checked(at: int, value: int, right: bool) -> None:
    params = (*GOOD[:at], value, *GOOD[at + 1 :])
    assert opened(params) == (lib.WAGE_OK if right else lib.WAGE_E_CONFIG)


def test_other_steps_and_too_few_parameters_are_refused() -> None:
    assert opened(GOOD) == lib.WAGE_OK
    assert opened(GOOD[:6]) == opened(()) == lib.WAGE_E_CONFIG
    assert opened(GOOD, lib.WAGE_CUT) == lib.WAGE_E_CONFIG


def test_any_parameters_are_safe() -> None:
    """Random ones: refused, or a frame can be computed (memory guarded in frames())."""
    taken = 0
    for _ in range(4000):
        params = [int(v) for v in RNG.choice([*GOOD, 1, 2, 32, 1024, 65536], RNG.integers(0, 12))]
        if len(params) > 4 and RNG.integers(2):
            params[4:] = sorted(set(params[4:]))
        if opened(tuple(params)) == lib.WAGE_OK:
            taken += 1
            frames(tuple(params), RNG.integers(-32768, 32768, params[1]).astype(np.int16))
    assert taken > 20


def test_normalise_is_the_oracle_s() -> None:
    for _ in range(200):
        ways = int(RNG.integers(1, 6))
        triples = [
            v
            for _ in range(ways)
            for v in (
                int(RNG.integers(-(2**31), 2**31)) if RNG.integers(2) else int(RNG.integers(-9, 9)),
                int(RNG.choice([1, 2, 3, 100, 32767])), int(RNG.integers(0, 31)),
            )
        ]  # fmt: skip
        x = RNG.choice([-(2**31), 2**31 - 1, -70000, 70000, -3, -1, 0, 1, 2, 5, 1000], 4 * ways)
        x = x.astype(np.int32)
        assert normalised(tuple(triples), x) == oracle.normalise(x, *triples).tolist()
        split = 2 * ways - 1  # in two calls
        first = normalised(tuple(triples), x[:split])
        assert first + normalised(tuple(triples), x[split:], split) == normalised(tuple(triples), x)


def normalised(params: tuple[int, ...], x: np.ndarray, first: int = 0) -> Any:
    """wage_normalise, or its error."""
    step, alive = c_step(Step(lib.WAGE_NORMALISE, params))
    out = ffi.new("int8_t[]", len(x) + 1)
    out[len(x)] = 99
    error = lib.wage_normalise(step, ffi.from_buffer("int32_t[]", x), first, len(x), out)
    assert out[len(x)] == 99, alive
    return error or list(out)[:-1]


@pytest.mark.parametrize(
    "params",
    [(), (1,), (1, 2), (0, 0, 0), (0, 32768, 0), (0, -1, 0), (0, 1, 31), (0, 1, -1), (0, 1, 2, 3)],
)
def test_normalise_that_does_not_exist_is_refused(params: tuple[int, ...]) -> None:
    assert normalised(params, np.array([1, 2], np.int32)) == lib.WAGE_E_CONFIG
    step, alive = c_step(Step(lib.WAGE_CUT, (0, 1, 0)))
    nothing = ffi.new("int32_t[1]"), 0, 1, ffi.new("int8_t[1]")
    assert lib.wage_normalise(step, *nothing) == lib.WAGE_E_CONFIG, alive


def test_tables_are_those_of_the_script() -> None:
    file = native.ROOT / "runtime/logmel_tables.h"
    assert file.read_text(encoding="utf-8") == logmel_tables.header() + "\n"
    assert (oracle.SIN15, oracle.LOG8) == (logmel_tables.SINE, logmel_tables.LOG2)


# -- on a device -------------------------------------------------------------------------

PROGRAM = Path(__file__).parent / "native" / "logmel.c"


@functools.cache
def cases() -> list[tuple[tuple[int, ...], np.ndarray]]:
    """Parameters and a frame for each."""
    return [
        (params, SOUNDS[name](shape[1]).astype(np.int16))
        for shape in SHAPES
        for params in [logmel_params(*shape)]
        for name in ("noise", "tone", "square")
    ]


def packed(params: tuple[int, ...], sound: np.ndarray) -> bytes:
    """A case of tests/native/logmel.c."""
    return struct.pack(f"<I{len(params)}i", len(params), *params) + sound.astype("<i2").tobytes()


@functools.cache
def answers() -> list[str]:
    """What it must print: the values of each case."""
    return [
        " ".join(map(str, oracle.logmel(x.reshape(1, -1, 1), *params).reshape(-1).tolist()))
        for params, x in cases()
    ]


def test_sanitized_program_gives_the_same() -> None:
    program = native.build("logmel", native.SANITIZE)
    assert native.run(program, [packed(*case) for case in cases()]) == answers()


@pytest.mark.parametrize("cpu", ["cortex-m0", "cortex-m4", "riscv32"])
def test_emulated_cpus_give_the_same(cpu: str, tmp_path: Path) -> None:
    found = native.emulate("logmel", cpu, [packed(*case) for case in cases()], tmp_path)
    assert found == answers()

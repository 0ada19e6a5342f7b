"""Steps of pre-processing in words and in a blob (SPEC 10); prepare.py does what they say.

People write them in a line, `resize 16x16, grey`. Of each step: what is written, and what it does.

    resize 16x16               a picture of this height and width, each pixel the mean of an area
    crop 14x14                 the middle of a picture
    grey                       one channel of three
    decimals 2                 whole numbers of hundredths; `1 2`: of tenths and hundredths by
                               turns; without a number: what each column of the data needs
    cut 8000                   the first columns, or samples of sound; zeros behind a shorter one
    window 50/25               from each recording 50 columns, 25 further the next 50, and so on
    logmel 8000 256/128 24     sound of 8000 Hz in frames of 256 samples, each 128 after the last,
                               to 24 bands; 24 60-3800: of this range in Hz
    normalise                  to activations; offsets and factors are taken from the data
"""

import math
import re
from collections.abc import Callable, Sequence

import numpy as np

from wage_host._core import ffi, lib
from wage_host.errors import DataError, WrongUsage
from wage_host.extras import Step

NAMES = {
    kind: name.removeprefix("WAGE_").lower()
    for kind, name in ffi.typeof("enum wage_step").elements.items()
}
KINDS = {name: kind for kind, name in NAMES.items()}
DECIMALS_MAX = 9
SIDE_MAX, SOUND_MAX = 4096, 1 << 24  # of a picture; of a recording
BANDS_MAX = 128
INT32 = 1 << 31
MEL_HZ, MEL_LOW_HZ = 700.0, 60.0  # of the mel scale; where bands begin unless said otherwise


def parse(text: str) -> tuple[Step, ...]:
    """Steps as people write them; what the data must give first is left without parameters."""
    steps = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, *words = part.split()
        if name not in KINDS:
            raise WrongUsage(f"--prepare knows no step '{name}': they are {', '.join(EXAMPLES)}")
        try:
            steps.append(Step(KINDS[name], _PARSERS[name](words)))
        except (ValueError, IndexError):
            raise WrongUsage(f"--prepare: '{part}' is not as in '{EXAMPLES[name]}'") from None
    if not steps:
        raise WrongUsage("--prepare has no step: write, say, 'resize 16x16, grey'")
    return tuple(steps)


EXAMPLES = {
    "resize": "resize 16x16", "crop": "crop 16x16", "grey": "grey", "decimals": "decimals 2",
    "cut": "cut 8000", "window": "window 50/25", "logmel": "logmel 8000 256/128 24 60-3800",
    "normalise": "normalise",
}  # fmt: skip


def _numbers(pattern: str, word: str, most: int) -> tuple[int, ...]:
    found = re.fullmatch(pattern, word)
    numbers = tuple(map(int, found.groups())) if found else ()
    if not numbers or not all(1 <= n <= most for n in numbers):
        raise ValueError(word)
    return numbers


def _only(words: Sequence[str], pattern: str, most: int) -> tuple[int, ...]:
    (word,) = words
    return _numbers(pattern, word, most)


def _none(words: Sequence[str]) -> tuple[int, ...]:
    if words:
        raise ValueError(words)
    return ()


def _decimals(words: Sequence[str]) -> tuple[int, ...]:
    if not words:
        return ()
    if not all(re.fullmatch(r"\d", word) for word in words):
        raise ValueError(words)
    return tuple(map(int, words))


def _logmel(words: Sequence[str]) -> tuple[int, ...]:
    rate_word, frame, bands_word, *rest = words
    (rate,) = _numbers(r"(\d+)", rate_word, 1_000_000)
    window, hop = _numbers(r"(\d+)/(\d+)", frame, 65535)
    (bands,) = _numbers(r"(\d+)", bands_word, BANDS_MAX)
    low, high = MEL_LOW_HZ, rate / 2
    if rest:
        (word,) = rest
        low, high = map(float, _numbers(r"(\d+)-(\d+)", word, rate // 2))
    return logmel_params(rate, window, hop, bands, low, high)


_PARSERS: dict[str, Callable[[Sequence[str]], tuple[int, ...]]] = {
    "resize": lambda words: _only(words, r"(\d+)x(\d+)", SIDE_MAX),
    "crop": lambda words: _only(words, r"(\d+)x(\d+)", SIDE_MAX),
    "grey": _none,
    "decimals": _decimals,
    "cut": lambda words: _only(words, r"(\d+)", SOUND_MAX),
    "window": lambda words: _only(words, r"(\d+)/(\d+)", SOUND_MAX),
    "logmel": _logmel,
    "normalise": _none,
}


def logmel_params(
    rate: int, window: int, hop: int, bands: int, low_hz: float, high_hz: float
) -> tuple[int, ...]:
    """Parameters of logmel: edges evenly spaced in mel, each triangle over one bin at least."""
    most = lib.WAGE_LOGMEL_MOST
    fft = max(lib.WAGE_LOGMEL_LEAST, 1 << (window - 1).bit_length())
    if window < 2 or fft > most:
        raise WrongUsage(f"--prepare: a frame of logmel has 2 to {most} samples, not {window}")
    if not 0 <= low_hz < high_hz <= rate / 2:
        raise WrongUsage(f"--prepare: bands of logmel lie in 0 to {rate // 2} Hz, half the rate")
    low, high = (math.log2(1 + hz / MEL_HZ) for hz in (low_hz, high_hz))
    hz = [MEL_HZ * (2 ** (low + (high - low) * k / (bands + 1)) - 1) for k in range(bands + 2)]
    unit = 1 << lib.WAGE_EDGE_BITS
    edges = [min(round(f * fft / rate * unit), fft // 2 * unit) for f in hz]
    for u, v, w in zip(edges, edges[1:], edges[2:], strict=False):
        if not u < v < w or (w - 1) // unit * unit <= u:
            raise WrongUsage(
                f"--prepare: {bands} bands are too many for frames of {window} samples at {rate} "
                "Hz, some would lie between two frequencies: give fewer bands or longer frames"
            )
    return (rate, window, hop, fft, *edges)


def say(step: Step) -> str:
    """A step for people."""
    name, p = NAMES[step.kind], step.params
    if not allowed(step):
        return f"{name} with parameters that do not exist"
    if not p:
        return name
    if name in ("resize", "crop"):
        return f"{name} {p[0]}x{p[1]}"
    if name == "window":
        return f"window {p[0]}/{p[1]}"
    if name == "logmel":
        unit = p[3] * (1 << lib.WAGE_EDGE_BITS)
        low, high = (round(edge * p[0] / unit) for edge in (p[4], p[-1]))
        return f"logmel {p[0]} {p[1]}/{p[2]} {len(p) - 6} {low}-{high}"
    if name == "normalise":
        triples = zip(p[::3], p[1::3], p[2::3], strict=True)
        some = [f"(x - {o}) * {f} / 2^{s}" for o, f, s in triples]
        return f"normalise {some[0]}" + (f" and {len(some) - 1} more" if len(some) > 1 else "")
    return " ".join([name, *map(str, p)])


def check(steps: Sequence[Step]) -> None:
    """DataError when steps of a blob have parameters that SPEC 10 does not allow."""
    for step in steps:
        if not allowed(step):
            raise DataError(
                f"the model's pre-processing step '{NAMES[step.kind]}' has parameters that do not "
                "exist: convert the model again"
            )


def allowed(step: Step) -> bool:
    """Whether SPEC 10 has such a step."""
    name, p = NAMES.get(step.kind), step.params
    if name is None or not all(-INT32 <= n < INT32 for n in p):
        return False
    if name in ("resize", "crop"):
        return len(p) == 2 and all(1 <= n <= SIDE_MAX for n in p)
    if name == "grey":
        return not p
    if name == "decimals":
        return len(p) >= 1 and all(0 <= d <= DECIMALS_MAX for d in p)
    if name in ("cut", "window"):
        return len(p) == 1 + (name == "window") and all(1 <= n <= SOUND_MAX for n in p)
    c, _alive = c_step(step)
    if name == "logmel":
        return lib.wage_logmel_open(ffi.new("struct wage_logmel *"), c) == lib.WAGE_OK
    nothing = ffi.new("int32_t[1]"), 0, 0, ffi.new("int8_t[1]")
    return lib.wage_normalise(c, *nothing) == lib.WAGE_OK


def c_step(step: Step) -> tuple:
    """The step as C takes it, and what must stay alive for it."""
    params = ffi.from_buffer("uint8_t[]", np.array(step.params, "<i4").tobytes())
    fields = {"kind": step.kind, "count": len(step.params), "params": params}
    return ffi.new("struct wage_prepare *", fields), params

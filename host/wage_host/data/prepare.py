"""From a sample as it was recorded to a model's input: what each step does (SPEC 10).

Log-mel and the last rounding are the runtime's own C, as on a device that samples by itself.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from wage_host._core import ffi, lib
from wage_host.data.steps import DECIMALS_MAX, KINDS, NAMES, c_step
from wage_host.errors import DataError
from wage_host.extras import Step

SPREAD = 2.5  # standard deviations that a fitted normalise maps to 127
LIMIT = 65535  # of a value less its offset (SPEC 10.3)
FACTOR_MAX, SHIFT_MAX = 32767, 30
FINE = 1024  # units that SPREAD deviations have at least, where decimals are chosen
INT32 = 1 << 31
TENS = np.array([10.0**d for d in range(DECIMALS_MAX + 1)])


def shape_text(shape: Sequence[int]) -> str:
    """For people: 28x28x1."""
    return "x".join(map(str, shape)) or "1"


@dataclasses.dataclass(frozen=True)
class Item:
    """A sample on its way: (height, width, channels), its class, Hz of sound (0: not known)."""

    x: np.ndarray
    label: int
    where: str
    rate: int = 0

    @property
    def shape(self) -> str:
        """For people."""
        return shape_text(self.x.shape)

    def now(self, x: np.ndarray) -> "Item":
        """The same after a step."""
        return dataclasses.replace(self, x=x)


def apply(steps: Sequence[Step], items: Iterable[Item]) -> Iterator[Item]:
    """Items after all steps, one by one as they come."""
    for step in steps:
        items = _APPLY[NAMES[step.kind]](step, items)
    return iter(items)


def _each(function: Callable[[Step, Item], np.ndarray]) -> Callable:
    """A step that makes one sample of one."""

    def run(step: Step, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            yield item.now(function(step, item))

    return run


def _refuse(item: Item, text: str) -> DataError:
    return DataError(f"{item.where}: {text}")


def _overlaps(before: int, after: int) -> np.ndarray:
    """(after, before): the length that an old and a new pixel share, in 1 / (before · after)."""
    r, i = np.arange(before), np.arange(after)[:, None]
    ends = np.minimum((r + 1) * after, (i + 1) * before)
    return np.maximum(0, ends - np.maximum(r * after, i * before)).astype(np.float64)


def _resize(step: Step, item: Item) -> np.ndarray:
    (h, w), (height, width, _) = step.params, item.x.shape
    if (height, width) == (h, w):
        return item.x
    x = _integers(item, "resize").astype(np.float64)  # exact: their sums stay below 2^53
    down, across = _overlaps(height, h), _overlaps(width, w)
    total = np.tensordot(down, x, (1, 0))  # (h, width, channels)
    total = np.tensordot(across, total, (1, 1)).transpose(1, 0, 2)
    area = height * width
    return ((total.astype(np.int64) + area // 2) // area).astype(item.x.dtype)


def _crop(step: Step, item: Item) -> np.ndarray:
    h, w = step.params
    height, width, _ = item.x.shape
    if h > height or w > width:
        raise _refuse(item, f"{item.shape} is too small for 'crop {h}x{w}': resize it before")
    top, left = (height - h) // 2, (width - w) // 2
    return item.x[top : top + h, left : left + w]


def _grey(step: Step, item: Item) -> np.ndarray:
    if item.x.shape[2] == 1:
        return item.x
    if item.x.shape[2] != 3:
        raise _refuse(item, f"grey takes 3 channels or 1, not {item.x.shape[2]}")
    total = _integers(item, "grey").astype(np.int64) @ np.array([77, 150, 29]) + 128
    return (total >> 8).astype(item.x.dtype)[..., None]


def _whole(step: Step, item: Item) -> np.ndarray:
    ways = len(step.params)
    if item.x.size % ways:
        raise _refuse(item, f"decimals are for {ways} columns, which do not fit {item.shape}")
    x = np.asarray(item.x, np.float64).reshape(-1, ways) * TENS[list(step.params)]
    x = np.rint(x).reshape(item.x.shape)
    if np.abs(x).max(initial=0) >= INT32:
        raise _refuse(item, "a value is too large for 32 bits: give fewer decimals")
    return x.astype(np.int64)


def _row(item: Item, name: str) -> np.ndarray:
    if item.x.shape[0] != 1:
        raise _refuse(item, f"{name} is for sound and sensors, not for pictures ({item.shape})")
    return item.x


def _cut(step: Step, item: Item) -> np.ndarray:
    x, (n,) = _row(item, "cut"), step.params
    if x.shape[1] >= n:
        return x[:, :n]
    return np.concatenate([x, np.zeros((1, n - x.shape[1], x.shape[2]), x.dtype)], 1)


def _window(step: Step, items: Iterable[Item]) -> Iterator[Item]:
    """Recordings: rows of a table that come one after another, with one label, are one."""
    n, hop = step.params
    rows: list[np.ndarray] = []
    last, skip = None, 0
    for item in items:
        x = _row(item, "window")
        if x.shape[1] > 1:
            for at in range(0, x.shape[1] - n + 1, hop):
                yield item.now(x[:, at : at + n])
            continue
        if item.label != last:
            rows, last, skip = [], item.label, 0
        if skip:  # between two windows that do not touch
            skip -= 1
            continue
        rows.append(x)
        if len(rows) == n:
            yield item.now(np.concatenate(rows, 1))
            skip = max(0, hop - n)
            rows = rows[hop:]


def _logmel_all(step: Step, items: Iterable[Item]) -> Iterator[Item]:
    mel, (c, alive) = ffi.new("struct wage_logmel *"), c_step(step)
    if lib.wage_logmel_open(mel, c) != lib.WAGE_OK:
        raise DataError("there is no such log-mel: look at --prepare")
    work = ffi.new("union wage_bin[]", mel.fft // 2 + 1)
    for item in items:
        x = _row(item, "logmel")
        if item.rate not in (0, mel.rate):
            raise _refuse(
                item,
                f"recorded with {item.rate} samples a second, and logmel takes {mel.rate}: "
                "convert the recordings, or say another rate",
            )
        if x.shape[2] != 1 or x.dtype.kind not in "iu" or np.abs(x.astype(np.int64)).max() > 32768:
            raise _refuse(item, "logmel takes sound: one channel of 16 bits")
        frames = (x.shape[1] - mel.window) // mel.hop + 1
        if frames < 1:
            raise _refuse(
                item, f"{x.shape[1]} samples are less than a frame of {mel.window}: 'cut' it before"
            )
        sound = np.ascontiguousarray(x.reshape(-1).clip(-32768, 32767), np.int16)
        source = ffi.from_buffer("int16_t[]", sound)
        values = np.empty((frames, mel.bands, 1), np.int32)
        out = ffi.from_buffer("int32_t[]", values)
        for k in range(frames):
            lib.wage_logmel(mel, source + k * mel.hop, work, out + k * mel.bands)
        yield item.now(values)
    del alive


def _normalise_all(step: Step, items: Iterable[Item]) -> Iterator[Item]:
    (c, alive), ways = c_step(step), len(step.params) // 3
    for item in items:
        if item.x.size % ways:
            raise _refuse(
                item, f"normalise has {ways} factors, which do not fit {item.shape} values"
            )
        x = np.ascontiguousarray(_integers(item, "normalise"), np.int32)
        out = np.empty(x.shape, np.int8)
        lib.wage_normalise(
            c, ffi.from_buffer("int32_t[]", x), 0, x.size, ffi.from_buffer("int8_t[]", out)
        )
        yield item.now(out)
    del alive


def _integers(item: Item, name: str) -> np.ndarray:
    """The values of an item as the step `name` takes them."""
    x = item.x
    if x.dtype.kind == "f":
        if not np.array_equal(x, np.rint(x)):
            raise _refuse(item, f"a value is no whole number: put 'decimals' before '{name}'")
        x = x.astype(np.int64)
    if x.size and (x.min() < -INT32 or x.max() >= INT32):
        raise _refuse(item, "a value does not fit into 32 bits")
    return x


_APPLY: dict[str, Callable[[Step, Iterable[Item]], Iterator[Item]]] = {
    "resize": _each(_resize), "crop": _each(_crop), "grey": _each(_grey),
    "decimals": _each(_whole), "cut": _each(_cut), "window": _window, "logmel": _logmel_all,
    "normalise": _normalise_all,
}  # fmt: skip


# -- what the data must give ---------------------------------------------------------------


def fit(steps: Sequence[Step], items: Iterable[Item]) -> tuple[tuple[Step, ...], list[Item]]:
    """The steps with the parameters that the data give, of decimals and normalise; and the items
    after all of them.

    Where values have decimals and no step rounds them before normalise, one is put there.
    Samples as they were recorded are not kept: of large pictures only what steps leave is.
    """
    done: list[Step] = []
    ahead: list[Step] = []  # steps that `items` have not gone through yet
    for step in steps:
        if step.kind in (lib.WAGE_NORMALISE, lib.WAGE_DECIMALS) and not step.params:
            some = list(apply(ahead, items))
            items, ahead = some, []
            if not some:
                raise DataError("the pre-processing leaves no sample: make its windows shorter")
            _check_channels(some)
            if step.kind == lib.WAGE_DECIMALS or _has_fractions(some):
                found = _fit_decimals(some)
                items = some = list(apply([found], some))
                done.append(found)
            if step.kind == lib.WAGE_DECIMALS:
                continue
            bands = bool(done) and done[-1].kind == lib.WAGE_LOGMEL
            step = _fit_normalise(some, bands)
        done.append(step)
        ahead.append(step)
    return tuple(done), list(apply(ahead, items))


def _check_channels(items: Sequence[Item]) -> None:
    """All items have as many."""
    wanted = items[0].x.shape[2]
    for item in items:
        if item.x.shape[2] != wanted:
            raise _refuse(
                item,
                f"{item.shape} has other channels than {items[0].shape} before: put 'grey' in "
                "front for pictures of both kinds",
            )


def _has_fractions(items: Iterable[Item]) -> bool:
    return any(
        item.x.dtype.kind == "f" and not np.array_equal(item.x, np.rint(item.x)) for item in items
    )


def _moments(items: Iterable[Item], ways: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each way."""
    count, total, square = 0, 0.0, 0.0
    origin: np.ndarray | None = None
    for item in items:
        x = item.x.reshape(-1, ways).astype(np.float64)
        if origin is None:  # moments about a value of the data lose no digits
            origin = x[0]
        count, total = count + len(x), total + (x - origin).sum(0)
        square = square + ((x - origin) ** 2).sum(0)
    mean = total / count
    return origin + mean, np.sqrt(np.maximum(square / count - mean**2, 0))


def _fit_decimals(items: Sequence[Item]) -> Step:
    """By column, as many as the values have; or fewer, when they are fine enough for 8 bits."""
    ways = items[0].x.shape[2]
    found = [_decimals_of(items, ways, k) for k in range(ways)]
    return Step(KINDS["decimals"], tuple(found[:1] if len(set(found)) == 1 else found))


def _decimals_of(items: Sequence[Item], ways: int, way: int) -> int:
    """Of one column."""
    x = np.concatenate([item.x.reshape(-1, ways)[:, way].astype(np.float64) for item in items])
    spread, largest = SPREAD * float(x.std()), float(np.abs(x).max())
    fits = [
        d for d in range(DECIMALS_MAX + 1)
        if largest * 10.0**d < INT32 and spread * 10.0**d <= LIMIT
    ]  # fmt: skip
    for d in fits:
        y = x * 10.0**d
        if spread * 10.0**d >= FINE or np.allclose(y, np.rint(y), rtol=1e-12, atol=1e-6):
            return d
    return max(fits, default=0)


def _fit_normalise(items: Sequence[Item], bands: bool) -> Step:
    """Offset and factor of each column, channel, or band of log-mel."""
    ways = items[0].x.shape[1 if bands else 2]
    means, deviations = _moments(items, ways)
    params: list[int] = []
    for mean, deviation in zip(means.tolist(), deviations.tolist(), strict=True):
        if not abs(mean) < INT32 - 1 or SPREAD * deviation > LIMIT:
            raise DataError(
                "values spread over more than 16 bits: put 'decimals' with fewer before "
                "'normalise', or scale them"
            )
        ratio = min(127 / (SPREAD * deviation), float(FACTOR_MAX)) if deviation else 1.0
        shift = max(0, min(SHIFT_MAX, int(np.floor(np.log2(FACTOR_MAX / ratio)))))
        factor = min(FACTOR_MAX, max(1, round(ratio * 2**shift)))
        params += [round(mean), factor, shift]
    return Step(KINDS["normalise"], tuple(params))

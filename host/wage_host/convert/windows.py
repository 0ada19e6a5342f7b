"""What a board takes: sizes of tensors, numbers, and windows that slide over them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from wage_host._core import lib
from wage_host.convert.order import Unsupported
from wage_host.convert.weights import Weights
from wage_host.layers import Pair, Shape

Padding = tuple[int, int, int, int]  # top, left, bottom, right


def check_size(shape: Sequence[int]) -> None:
    """Before anything is allocated for a tensor."""
    if min(shape, default=0) < 1:
        raise Unsupported(f"a tensor of {'x'.join(map(str, shape))} is empty")
    if prod(shape) > lib.WAGE_ELEMENTS_MAX:
        raise Unsupported(
            f"a tensor of {'x'.join(map(str, shape))} elements is too large: a board takes "
            f"{lib.WAGE_ELEMENTS_MAX:,}: use a smaller input"
        )


def check_numbers(*given: Weights) -> None:
    """Weights are finite, and there are some."""
    if not all(one.finite() for one in given):
        raise Unsupported("its weights are missing, or are no finite numbers: train it again")


def check_window(kernel: Pair, stride: Pair) -> None:
    """Kernels and strides as a blob can say them."""
    if not (min(*kernel, *stride) >= 1 and max(*kernel, *stride) <= 255):
        raise Unsupported("kernels and strides are 1 to 255")


def window(
    shape: Shape, kernel: Pair, stride: Pair, padding: Padding | str, round_up: bool = False
) -> tuple[Padding, Pair]:
    """Padding as top, left, bottom, right, and height and width of the output.

    round_up: a last window that is not whole counts, through more padding behind.
    """
    check_window(kernel, stride)
    if isinstance(padding, str):
        over = [
            max((-(-n // s) - 1) * s + k - n, 0)
            for n, k, s in zip(shape, kernel, stride, strict=False)
        ]
        less, more = [n // 2 for n in over], [n - n // 2 for n in over]
        padding = (*less, *more) if padding == "same" else (*more, *less)
    if min(padding) < 0 or any(p >= k for p, k in zip(padding, kernel * 2, strict=True)):
        raise Unsupported("padding as wide as the kernel, or negative")
    if round_up:
        padding = _rounded_up(shape, kernel, stride, padding)
    edges = zip(shape, kernel, stride, padding[:2], padding[2:], strict=False)
    rows, columns = ((n + a + b - k) // s + 1 for n, k, s, a, b in edges)
    if min(rows, columns) < 1:
        raise Unsupported("the kernel is larger than its input")
    return padding, (rows, columns)


def _rounded_up(shape: Shape, kernel: Pair, stride: Pair, padding: Padding) -> Padding:
    more = []
    for n, k, s, a, b in zip(shape, kernel, stride, padding[:2], padding[2:], strict=False):
        last = -(-(n + a + b - k) // s) * s  # where that window begins
        more.append(max(0, last + k - n - a - b) if last < n + a else 0)
    return (*padding[:2], padding[2] + more[0], padding[3] + more[1])


def with_pad(padding: Padding | str, pad: Sequence[Pair], first: bool) -> Padding:
    """The padding of a window and that in front of it, (before, after) by axis."""
    if isinstance(padding, str):
        raise Unsupported("padding twice, once to keep the size: give it all at once")
    around = list(pad)
    if any(around.pop(0 if first else -1)):
        raise Unsupported("padding of channels: only height and width can have some")
    (top, bottom), (left, right) = ((0, 0), *around)[-2:]
    return tuple(a + b for a, b in zip(padding, (top, left, bottom, right), strict=True))

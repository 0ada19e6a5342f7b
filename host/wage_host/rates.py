"""Learning rates, factor · 2^shift: how they are written, and how they fall with the epochs."""

import contextlib
import re
from fractions import Fraction

from wage_host.errors import WrongUsage

Rate = tuple[int, int]  # lr_factor 1..15 (odd), lr_shift -24..7
FACTOR_MAX, SHIFT_MIN, SHIFT_MAX = 15, -24, 7  # SPEC 9.1


def rate(text: str) -> Rate:
    """A rate from text: `8`, `1/8`, `0.125`, `2^-3` or `3*2^-4`."""
    match = re.fullmatch(r"(?:([1-9]\d{0,3})\*)?2\^(-?\d{1,3})", text.strip())
    value = Fraction(int(match[1] or 1)) * Fraction(2) ** int(match[2]) if match else Fraction(0)
    if re.fullmatch(r"[0-9./]{1,40}", text.strip()):
        with contextlib.suppress(ValueError, ZeroDivisionError):
            value = Fraction(text.strip())
    if value <= 0 or value.denominator & (value.denominator - 1):
        raise WrongUsage(f"'{text}' is no learning rate: write 8, 1/8, 2^-3 or 3*2^-4")
    factor, shift = _odd(value)
    if factor > FACTOR_MAX or not SHIFT_MIN <= shift <= SHIFT_MAX:
        raise WrongUsage(
            f"the learning rate {text} does not exist: it is 1 to {FACTOR_MAX} times a power of "
            f"two from 2^{SHIFT_MIN} to 2^{SHIFT_MAX}"
        )
    return factor, shift


def _odd(value: Fraction) -> Rate:
    """An odd factor and a shift; the denominator is a power of two."""
    factor, shift = value.numerator, 1 - value.denominator.bit_length()
    while factor % 2 == 0:
        factor, shift = factor // 2, shift + 1
    return factor, shift


def shown(rate: Rate) -> str:
    """A rate as people read it: `8`, `2^-3`, `3*2^-4`."""
    factor, shift = rate
    if shift >= 0:
        return str(factor << shift)
    return f"2^{shift}" if factor == 1 else f"{factor}*2^{shift}"


def halving(first: Rate, epochs: int) -> tuple[Rate, ...]:
    """One rate an epoch; it halves after each half of what is left.

    With 8 epochs it is `first` for 4, a half of it for 2, a quarter for 1 and an eighth for the
    last.
    """
    rates = []
    for epoch in range(epochs):
        left, drops = epochs - epoch, 0
        while (epochs >> drops + 1) >= left:
            drops += 1
        rates.append((first[0], max(first[1] - drops, SHIFT_MIN)))
    return tuple(rates)


def linear(first: Rate, epochs: int) -> tuple[Rate, ...]:
    """One rate an epoch, falling evenly from `first` towards 0; the nearest that exist."""
    rates = []
    for epoch in range(epochs):
        value = first[0] * Fraction(2) ** first[1] * Fraction(epochs - epoch, epochs)
        unit = Fraction(2) ** SHIFT_MIN
        while value / unit > FACTOR_MAX + Fraction(1, 2):
            unit *= 2
        rates.append(_odd(max(1, round(value / unit)) * unit))
    return tuple(rates)


def schedule(text: str, epochs: int) -> tuple[Rate, ...]:
    """One rate an epoch, from text.

    `8@0,1@200,1/8@250`: 8 from epoch 0 on, 1 from epoch 200 on, …; `2..0`: evenly down from 2.
    """
    if text.strip().endswith("..0"):
        return linear(rate(text.strip().removesuffix("..0")), epochs)
    starts: dict[int, Rate] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*([^@]+)@(\d{1,9})\s*", part)
        if not match:
            raise WrongUsage(f"'{part}' is no part of a schedule: write rate@epoch, as 8@0,1@200")
        epoch = int(match[2])
        if epoch != 0 if not starts else epoch <= max(starts):
            raise WrongUsage(f"'{text}': a schedule begins at epoch 0, and its epochs rise")
        if epoch >= epochs:
            raise WrongUsage(f"'{part}': there are only {epochs} epochs, 0 to {epochs - 1}")
        starts[epoch] = rate(match[1])
    return tuple(starts[max(at for at in starts if at <= epoch)] for epoch in range(epochs))

"""Figures as people read them: shares, counts, times, conditions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

PLACES = {"host": "on the host", "emulator": "on an emulated board", "board": "on the board"}
NBSP, MINUS = "\u00a0", "\u2212"


def place(source: dict[str, Any]) -> str:
    """Where something was measured."""
    said = str(source.get("place", "at an unknown place"))
    return PLACES.get(said, said)


def percent(share: float | None) -> str:
    """A share as percent with one decimal."""
    return "no samples" if share is None else f"{100 * share:.1f}{NBSP}%"


def signed(value: float) -> str:
    """A change with its sign."""
    return f"{value:+.1f}".replace("-", MINUS) if abs(value) >= 0.05 else "0.0"


def count(number: int, one: str, many: str = "") -> str:
    """A number and its noun."""
    return f"{number:,}{NBSP}{one if number == 1 else many or one + 's'}"


def listed(words: list[str]) -> str:
    """One, two and three."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def duration(time_s: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("h", 3600), ("min", 60), ("s", 1), ("ms", 1e-3)):
        if time_s >= size * (2 if unit == "h" else 1):
            return f"{time_s / size:.3g}{NBSP}{unit}"
    return f"{time_s * 1e6:.3g}{NBSP}µs"


UNITS = (("", 1.0), ("m", 1e3), ("µ", 1e6), ("n", 1e9))


def _prefix(value: float) -> tuple[str, float]:
    """The prefix that suits a value, and the factor that goes with it."""
    return next((unit for unit in UNITS if abs(value) * unit[1] >= 1), UNITS[-1] if value
                else UNITS[0])


def energy(joules: float) -> str:
    """An energy in the unit that suits it."""
    prefix, factor = _prefix(joules)
    return f"{joules * factor:.3g}{NBSP}{prefix}J".replace("-", MINUS)


def power(watts: float) -> str:
    """A power in the unit that suits it."""
    prefix, factor = _prefix(watts)
    return f"{watts * factor:.3g}{NBSP}{prefix}W"


def power_unit(watts: float) -> tuple[str, float]:
    """The unit that suits a power, and by what to multiply W."""
    prefix, factor = _prefix(watts)
    return f"{prefix}W", factor


def time_unit(time_s: float) -> tuple[str, float]:
    """The unit that suits a time, and by what to multiply s."""
    if time_s >= 300:
        return "min", 1 / 60
    prefix, factor = _prefix(time_s)
    return f"{prefix}s", factor


def clock(time: str) -> str:
    """An ISO time in UTC, to the second."""
    return f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M:%S} UTC"


def seconds(start: str, end: str) -> float:
    """Seconds between two ISO times, none if the clock was set back."""
    span = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return max(span.total_seconds(), 0.0)


def when(run: dict[str, Any]) -> str:
    """When a run began and how long it took."""
    time_s = seconds(run["started"], run["ended"] or run["touched"])
    return f"{clock(run['started'])} · {duration(time_s)}"


def key(name: str) -> str:
    """The name of a condition."""
    return name.replace("_", " ")


def value(name: str, said: object) -> str:
    """A condition as a reader wants it: CRCs in hex, lists in one line."""
    if isinstance(said, bool):
        return "yes" if said else "no"
    if isinstance(said, int) and name.endswith("crc"):
        return f"0x{said:08X}"
    if isinstance(said, int | float):
        text = f"{said:.6g}" if isinstance(said, float) else str(said)
        return text.replace("-", MINUS)
    if isinstance(said, list):
        return ", ".join(value(name, v) for v in said) or "none"
    if isinstance(said, dict):
        return ", ".join(f"{key(str(k))} {value(str(k), v)}" for k, v in said.items()) or "none"
    return "–" if said is None else str(said)

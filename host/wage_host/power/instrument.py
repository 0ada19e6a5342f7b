"""What an instrument is, and how one is found: a name, a colon, and where it is.

Drivers are the entry points of the group `wage_host.power`; a package of somebody else's may
bring more. An entry point names a class with the methods and attributes of Instrument; to make
one is to open it: driver(where, volts). `where` is what the user wrote behind the colon, "" for
the only one that is plugged in; `volts` the supply as the user says it, or None.
"""

import dataclasses
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

import numpy as np

from wage_host.errors import InstrumentError, PortNotFound
from wage_host.link import SerialLink, ports

GROUP = "wage_host.power"
WIDE = np.float32


@dataclasses.dataclass(frozen=True)
class Block:
    """Samples in order: t in s of the instrument's clock, V, A, and logic pins as bits."""

    t: np.ndarray  # (n) float64
    volts: np.ndarray  # (n) float32
    amperes: np.ndarray  # (n) float32
    marks: np.ndarray  # (n) uint8

    def __len__(self) -> int:
        return len(self.t)


NOTHING = Block(np.empty(0), np.empty(0, WIDE), np.empty(0, WIDE), np.empty(0, np.uint8))


@dataclasses.dataclass(frozen=True)
class Gap:
    """What was not measured, or not believed.

    kind: 'lost' (samples were), 'repeated' (they came twice, and were dropped), 'marks' (edges
    of a pin are missing), 'unplugged' (nothing came any more). seconds: how long nothing was
    measured.
    """

    at_s: float
    seconds: float
    samples: int
    kind: str
    text: str


class Instrument(Protocol):
    """Something that measures. read() may raise link.LinkLost: it is gone."""

    name: str  # which one it is, and where
    rate_hz: float  # samples a second; 0: as they come
    pins: int  # bits of Block.marks that it has
    live: bool  # its samples are measured now, not read from a file

    def start(self) -> None:
        """Begins to measure; its clock begins at 0."""

    def read(self, timeout_s: float) -> Block | None:
        """What has come, waiting up to `timeout_s` for it; None: there is no more."""

    def gaps(self) -> list[Gap]:
        """What went wrong since this was asked last."""

    def stop(self) -> None:
        """Ends the measurement and lets go of the instrument."""

    @staticmethod
    def find() -> list[str]:
        """Where such instruments are plugged in, as far as this computer can tell."""


def drivers() -> dict[str, EntryPoint]:
    """All drivers there are, by name."""
    return {point.name: point for point in sorted(entry_points(group=GROUP))}


def driver(name: str) -> type[Instrument]:
    """A driver by name; InstrumentError when there is none."""
    known = drivers()
    if name not in known:
        raise InstrumentError(
            f"there is no driver for '{name}': write one of {', '.join(known)}, and behind a "
            "colon where it is, as ppk2:/dev/ttyACM1"
        )
    return known[name].load()


def open_instrument(text: str, volts: float | None = None) -> Instrument:
    """The instrument that the user wrote as NAME or NAME:WHERE, open."""
    name, _, where = text.partition(":")
    return driver(name)(where, volts)


def open_port(name: str, title: str, where: str, found: list[str], baud: int) -> SerialLink:
    """The serial port of an instrument: `where`, or the only one of those `found`."""
    if not where and len(found) != 1:
        what = f"several {title} are" if found else f"no {title} is"
        choice = f"{name}:{found[0]}" if found else f"{name}:PORT"
        raise PortNotFound(f"{what} plugged in: name the port, as {choice}")
    try:
        return SerialLink(where or found[0], baud)
    except PortNotFound:
        known = ", ".join(ports()) or "none"
        raise PortNotFound(
            f"there is no port {where or found[0]}: plug the {title} in, or name its port, as "
            f"{name}:PORT (found: {known})"
        ) from None
